"""Labelled scenes made here, through the whole watch: bag, shoulder, wrong way, flame, states."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from core.observations import Observation
from ingest.video.camera_ground import watch_of
from vision.camera_file import CameraFile, CameraFileError, parse_camera_file
from vision.picture_state import PictureState
from vision.watch import CameraWatch, Look

FPS = 10
S = 1_000_000_000
SIZE = (480, 270)

GROUND = """
id: cam
ground:
  origin: [120.0, 36.0]
  points:
    - {pixel: [0, 270], metres: [0, 0]}
    - {pixel: [480, 270], metres: [48, 0]}
    - {pixel: [480, 0], metres: [48, 27]}
    - {pixel: [0, 0], metres: [0, 27]}
  from_above: true
zones:
  - {id: shoulder, kind: hard_shoulder, polygon_px: [[0, 180], [480, 180], [480, 260], [0, 260]]}
  - id: lane
    kind: carriageway
    polygon_px: [[0, 60], [480, 60], [480, 179], [0, 179]]
    flow_px: [[0, 120], [480, 120]]
lines:
  - {id: across, from_px: [240, 270], to_px: [240, 0]}
detectors:
  moving: {min_area_px: 30}
  static: {new_after_s: 8}
"""


def street(seed: int = 3) -> np.ndarray:
    random = np.random.default_rng(seed)
    base = cv2.GaussianBlur(random.integers(60, 170, (SIZE[1], SIZE[0]), np.uint8), (0, 0), 2.0)
    return cv2.cvtColor(np.clip(base.astype(int) * 2 - 110, 40, 190).astype(np.uint8), 8)


def scene(seconds: float, paint: Callable[[np.ndarray, float], None]) -> Iterator[np.ndarray]:
    """Noisy pictures of a street into which something is painted."""
    random, base = np.random.default_rng(11), street()
    noises = random.integers(-4, 5, (7, *base.shape)).astype(np.int16)
    for number in range(round(seconds * FPS)):
        image = base.copy()
        paint(image, number / FPS)
        yield cv2.add(image, noises[number % len(noises)], dtype=cv2.CV_8U)


def car(
    image: np.ndarray, u: float, v: float, colour: tuple[int, int, int] = (40, 40, 190)
) -> None:
    cv2.rectangle(image, (int(u), int(v)), (int(u) + 44, int(v) + 18), colour, -1)
    cv2.rectangle(image, (int(u) + 10, int(v) + 3), (int(u) + 30, int(v) + 15), (30, 30, 30), -1)


def watch(
    text: str, pictures: Iterator[np.ndarray]
) -> tuple[CameraWatch, list[Look], list[Observation]]:
    one = watch_of(parse_camera_file(text, "test"))
    looks = [one.look(image, S + n * S // FPS) for n, image in enumerate(pictures)]
    return one, looks, [observation for look in looks for observation in look.observations]


def phases(told: list[Observation], kind: str) -> list[str]:
    return [one.labels["phase"] for one in told if one.kind == kind and "phase" in one.labels]


def test_a_stop_on_the_hard_shoulder_is_one_event_in_its_place():
    def paint(image: np.ndarray, at_s: float) -> None:
        if 8.0 <= at_s < 12.0:
            car(image, -50 + (at_s - 8.0) * 62.5, 210)
        elif 12.0 <= at_s < 28.0:
            car(image, 200, 210)
        elif at_s >= 28.0:
            car(image, 200 + (at_s - 28.0) * 80, 210)
        if 14.0 <= at_s < 20.0:  # the rest of the traffic drives by
            car(image, -50 + (at_s - 14.0) * 100, 110, (200, 200, 200))

    _, _, told = watch(GROUND, scene(45.0, paint))
    static = [one for one in told if one.kind == "detection.static_object"]
    assert {one.thing_id for one in static} == {static[0].thing_id}
    assert phases(told, "detection.static_object")[0] == "new"
    assert phases(told, "detection.static_object").count("new") == 1
    assert phases(told, "detection.static_object")[-1] == "end"
    new = static[0]
    assert new.labels["object"] == "vehicle"
    assert new.labels["zone_kind"] == "hard_shoulder"
    assert 19.0 <= (new.observed_ns - S) / S <= 23.0
    assert new.lon_deg is not None
    assert new.lat_deg is not None
    east = (new.lon_deg - 120.0) * 111_195 * np.cos(np.radians(36.0))
    north = (new.lat_deg - 36.0) * 111_195
    assert np.hypot(east - 22.2, north - 5.1) < 1.0


def test_a_bag_left_behind_is_told_and_its_owner_is_not():
    def paint(image: np.ndarray, at_s: float) -> None:
        walk = 40 + (at_s - 7.0) * 40
        if 7.0 <= at_s < 19.0:
            cv2.rectangle(image, (int(walk), 190), (int(walk) + 10, 218), (120, 60, 40), -1)
        if at_s >= 11.0:
            cv2.rectangle(image, (205, 210), (217, 219), (20, 20, 20), -1)

    _, looks, told = watch(GROUND, scene(30.0, paint))
    new = [one for one in told if one.labels.get("phase") == "new"]
    assert [(one.kind, one.labels["object"]) for one in new] == [
        ("detection.static_object", "small")
    ]
    assert looks[-1].open[0][1].xyxy == pytest.approx((205, 210, 218, 220), abs=4)


def test_counts_over_a_line_in_both_directions_with_speed():
    def paint(image: np.ndarray, at_s: float) -> None:
        for begin in (7.0, 11.0, 15.0):
            car(image, -60 + (at_s - begin) * 150, 110)
        car(image, 500 - (at_s - 9.0) * 120, 215, (210, 210, 210))

    one, looks, told = watch(GROUND, scene(24.0, paint))
    assert one.totals == {"across": [3, 1]}
    speeds = [v for look in looks for v, m in zip(look.speed_mps, look.moving, strict=True) if m]
    assert 11.0 < float(np.nanmedian(speeds)) < 16.0
    assert "detection.wrong_way" not in {one.kind for one in told}
    assert {"detection.moving_count", "detection.traffic", "detection.line_count"} <= {
        one.kind for one in told
    }
    # All but the count of the whole view are somewhere, to within an error.
    for each in told:
        placed = [each.lon_deg, each.lat_deg, each.error_major_m, each.error_minor_m]
        assert (None in placed) == (each.kind == "detection.moving_count"), each.kind


def test_driving_against_the_flow_is_told_once():
    def paint(image: np.ndarray, at_s: float) -> None:
        car(image, 520 - (at_s - 8.0) * 60, 110)

    _, _, told = watch(GROUND, scene(20.0, paint))
    assert phases(told, "detection.wrong_way").count("new") == 1
    first = next(one for one in told if one.kind == "detection.wrong_way")
    assert first.labels["zone_kind"] == "carriageway"
    assert first.measures["speed_mps"] == pytest.approx(6.0, abs=1.0)


def flame(image: np.ndarray, at_s: float) -> None:
    random = np.random.default_rng(round(at_s * 100))
    for _ in range(14):
        u, v = 240 + random.normal(0, 7), 200 - random.random() * 34
        colour = (int(random.integers(10, 60)), int(random.integers(110, 220)), 250)
        cv2.circle(image, (int(u), int(v)), int(random.integers(3, 8)), colour, -1)


def test_a_flame_is_told_within_seconds_and_a_red_car_is_not():
    def paint(image: np.ndarray, at_s: float) -> None:
        car(image, -60 + (at_s - 7.0) * 100, 80, (30, 90, 235))
        if 10.0 <= at_s < 20.0:
            flame(image, at_s)

    _, _, told = watch(GROUND + "  fire: {}\n", scene(26.0, paint))
    fire = [one for one in told if one.kind == "detection.flame"]
    assert phases(told, "detection.flame").count("new") == 1
    assert phases(told, "detection.flame")[-1] == "end"
    assert 12.0 <= (fire[0].observed_ns - S) / S <= 15.0


def test_nothing_is_told_of_an_empty_street():
    _, _, told = watch(GROUND + "  fire: {}\n", scene(20.0, lambda image, at_s: None))
    assert [one for one in told if "phase" in one.labels] == []


def test_states_are_told_as_they_are():
    one = CameraWatch(CameraFile())
    pictures = list(scene(4.0, lambda image, at_s: None))
    times = iter(range(S, 400 * S, S // 2))
    look = [one.look(image, next(times)) for image in pictures]
    assert {str(each.state) for each in look} == {"live"}
    still = [one.look(pictures[0], next(times)).state for _ in range(14)]
    assert still[-1] is PictureState.FROZEN
    assert one.look(np.zeros_like(pictures[0]), next(times)).state is PictureState.BLACK
    assert one.look(np.full_like(pictures[0], 255), next(times)).state is PictureState.OVEREXPOSED
    smeared = np.asarray(cv2.GaussianBlur(pictures[1], (0, 0), 4.0), np.uint8)
    assert one.look(smeared, next(times)).state is PictureState.BLURRED
    turned = [one.look(np.roll(image, 60, axis=1), next(times)).state for image in pictures[:8]]
    assert PictureState.MOVED in turned
    assert one.look(pictures[2], S).state is PictureState.LATE
    assert PictureState.FROZEN.words == "lying"
    assert one.counts.keys() >= {"frozen", "black", "overexposed", "old_picture"}


def test_who_walks_by_is_blurred_in_what_may_be_stored():
    def paint(image: np.ndarray, at_s: float) -> None:
        if at_s >= 7.0:
            walk = int(60 + (at_s - 7.0) * 30)
            for row in range(0, 30, 4):  # stripes: detail that a blur must destroy
                image[150 + row : 152 + row, walk : walk + 12] = (20, 20, 230)

    one = watch_of(parse_camera_file(GROUND, "test"))
    for number, image in enumerate(scene(12.0, paint)):
        one.look(image, S + number * S // FPS)
        if number < 80 or number % 10:
            continue
        walk = int(60 + (number / FPS - 7.0) * 30)
        part = np.s_[152:176, walk + 1 : walk + 11]
        detail = [
            float(np.diff(each[part].astype(int), axis=0).std())
            for each in (image, one.blurred(image))
        ]
        assert detail[1] < 0.25 * detail[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "zones: [{id: a, kind: b, polygon_px: [[0, 0]]}]",
            "at least 3 corners were wanted, got 1",
        ),
        ("ground: {points: []}", "at least 4 points were wanted, got 0"),
        ("ground: {tsai: a.xml, matrix: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}", "one of points, matr"),
        (
            "ground: {points: [{pixel: [0, 0], metres: [0, 0]}"
            + ", {pixel: [1, 0], lonlat: [1, 1]}" * 3
            + "]}",
            "need ground.origin",
        ),
        ("detectors: {motion: {}}", "line 1: unknown key 'motion'; accepted: moving, static, fire"),
        ("unblurred: {reason: x, until: soon}", "Expected `str` of length >= 8"),
        ("unblurred: {until: 2999-01-01T00:00:00Z}", "missing required field `reason`"),
        ("unblurred: {reason: staged with actors}", "missing required field `until`"),
    ],
)
def test_a_wrong_camera_file_says_where(text: str, words: str):
    with pytest.raises(CameraFileError, match=words):
        parse_camera_file(text, "c.yaml")
