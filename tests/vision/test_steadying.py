"""A camera that hovers: its pictures are laid onto the first, and all else is as on a pole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from core.frames import Frame
from core.observations import Observation
from ingest.video.camera_ground import watch_of
from vision.camera_file import parse_camera_file
from vision.configured import ConfiguredCamera
from vision.picture_state import PictureState
from vision.steadying import Steadier
from vision.watch import CameraWatch, Look

FPS = 10
S = 1_000_000_000
WIDTH, HEIGHT = 640, 360
#: The ground is drawn so much larger all round.
MARGIN = 90

CAMERA = """
id: drone
ground:
  origin: [120.0, 36.0]
  from_above: true
  points:
    - {pixel: [0, 360], metres: [0, 0]}
    - {pixel: [640, 360], metres: [64, 0]}
    - {pixel: [640, 0], metres: [64, 36]}
    - {pixel: [0, 0], metres: [0, 36]}
zones:
  - {id: shoulder, kind: hard_shoulder, polygon_px: [[0, 230], [640, 230], [640, 330], [0, 330]]}
lines:
  - {id: across, from_px: [320, 360], to_px: [320, 0]}
detectors:
  moving: {min_area_px: 30}
  static: {new_after_s: 8}
"""


def ground(seed: int = 5) -> np.ndarray:
    """Asphalt with markings, joints and verges, from above."""
    random = np.random.default_rng(seed)
    size = (HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN)
    fine = cv2.GaussianBlur(random.integers(0, 255, size, np.uint8), (0, 0), 1.5).astype(float)
    coarse = cv2.GaussianBlur(random.integers(0, 255, size, np.uint8), (0, 0), 12.0).astype(float)
    grey = 95 + 1.1 * (fine - 127) + 4.0 * (coarse - 127)
    image = np.clip(np.stack([grey] * 3, axis=2), 30, 200).astype(np.uint8)
    for u in range(0, size[1], 60):
        cv2.rectangle(image, (u, MARGIN + 150), (u + 30, MARGIN + 154), (215, 215, 215), -1)
    for _ in range(60):
        u, v = int(random.integers(size[1])), int(random.integers(MARGIN + 60))
        cv2.circle(image, (u, v), int(random.integers(4, 14)), (40, 90, 50), -1)
    return image


def hover(at_s: float) -> np.ndarray:
    """Pixels of the first view to pixels of the view now: drift, sway, yaw, climb and tilt."""
    yaw = np.radians(2.0 * np.sin(at_s / 7.0))
    zoom = 1.0 + 0.03 * np.sin(at_s / 11.0)
    turn = zoom * np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    aside = [30 * np.sin(at_s / 9.0) + 3 * np.sin(5 * at_s), 18 * np.sin(at_s / 5.0)]
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = middle - turn @ middle + aside
    matrix[2, 0] = 1e-5 * np.sin(at_s / 3.0)
    return matrix


def view(base: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """What a camera there sees of the ground, (HEIGHT, WIDTH, 3)."""
    aside = np.eye(3)
    aside[:2, 2] = -MARGIN
    return cv2.warpPerspective(base, matrix @ aside, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)


def flight(seconds: float, paint: Callable[[np.ndarray, float], None]) -> Iterator[np.ndarray]:
    base, random = ground(), np.random.default_rng(11)
    for number in range(round(seconds * FPS)):
        image = base.copy()
        paint(image[MARGIN:-MARGIN, MARGIN:-MARGIN], number / FPS)
        noise = random.integers(-4, 5, (HEIGHT, WIDTH, 3)).astype(np.int16)
        yield cv2.add(view(image, hover(number / FPS)), noise, dtype=cv2.CV_8U)


def car(image: np.ndarray, u: float, v: float, colour: tuple[int, int, int]) -> None:
    cv2.rectangle(image, (int(u), int(v)), (int(u) + 44, int(v) + 18), colour, -1)
    cv2.rectangle(image, (int(u) + 10, int(v) + 3), (int(u) + 30, int(v) + 15), (30, 30, 30), -1)


def watched(
    text: str, pictures: Iterator[np.ndarray]
) -> tuple[CameraWatch, list[Look], list[Observation]]:
    one = watch_of(parse_camera_file(text, "test"))
    looks = [one.look(image, S + n * S // FPS) for n, image in enumerate(pictures)]
    return one, looks, [observation for look in looks for observation in look.observations]


def traffic(image: np.ndarray, at_s: float) -> None:
    """Three cars to the right, two to the left, and one that stops on the shoulder."""
    for begin in (7.0, 12.0, 19.0):
        car(image, -60 + (at_s - begin) * 130, 100, (40, 40, 190))
    for begin in (9.0, 16.0):
        car(image, 660 - (at_s - begin) * 110, 180, (210, 210, 210))
    if at_s >= 10.0:
        car(image, min(-50 + (at_s - 10.0) * 80, 350), 270, (190, 60, 40))


def test_cars_seen_from_a_drone_are_counted_placed_and_timed_as_from_a_pole():
    one, looks, told = watched(CAMERA, flight(34.0, traffic))
    assert {str(look.state) for look in looks} == {"live"}
    assert one.counts == {}
    assert one.totals == {"across": [4, 2]}
    speeds = [
        (speed, row[0] < 160)
        for look in looks
        for speed, moves, row in zip(
            look.speed_mps, look.moving, look.tracks.xyxy_px[:, 1:2], strict=True
        )
        if moves and speed == speed
    ]
    assert float(np.median([v for v, upper in speeds if upper])) == pytest.approx(13.0, rel=0.1)
    stopped = [one for one in told if one.kind == "detection.static_object"]
    assert {one.thing_id for one in stopped} == {stopped[0].thing_id}
    assert stopped[0].labels["zone"] == "shoulder"
    assert stopped[0].lon_deg is not None
    assert stopped[0].lat_deg is not None
    east = (stopped[0].lon_deg - 120.0) * 111_195 * np.cos(np.radians(36.0))
    north = (stopped[0].lat_deg - 36.0) * 111_195
    assert np.hypot(east - 37.2, north - 8.1) < 1.0


def test_without_steadying_the_same_flight_is_a_muddle():
    one, looks, told = watched("steady: false\n" + CAMERA.lstrip(), flight(34.0, traffic))
    stopped = {one.thing_id for one in told if one.kind == "detection.static_object"}
    assert one.totals != {"across": [4, 2]} or len(stopped) != 1 or "moved" in {
        str(look.state) for look in looks
    }  # fmt: skip


def apart_px(one: np.ndarray, other: np.ndarray) -> float:
    """By how much two homographies differ, at most, where the picture is."""
    points = np.array([[100, 80], [540, 80], [540, 280], [100, 280], [320, 180]], float)[:, None]
    there = [cv2.perspectiveTransform(points, matrix)[:, 0] for matrix in (one, other)]
    return float(np.hypot(*(there[0] - there[1]).T).max())


@pytest.mark.parametrize("at_s", [0.7, 4.0, 13.0, 40.0])
def test_each_picture_lies_on_the_first_to_half_a_pixel(at_s: float):
    base = ground()
    steadier = Steadier(view(base, hover(0.0)))
    steady = steadier.steady(view(base, hover(at_s)))
    assert steady is not None
    assert steady.seen is not None
    assert apart_px(steady.matrix, hover(at_s) @ np.linalg.inv(hover(0.0))) < 0.5
    rows, columns = np.mgrid[0:HEIGHT:7, 0:WIDTH:7].reshape(2, -1)
    spots = np.column_stack([columns, rows]).astype(float)[:, None]
    there = cv2.perspectiveTransform(spots, steady.matrix)[:, 0]
    aside = np.minimum(there, np.array([WIDTH - 1, HEIGHT - 1]) - there).min(axis=1)
    sure = np.abs(aside) > 2.0
    assert ((steady.seen[rows, columns] == 255) == (aside > 0))[sure].all()


def test_a_gust_is_found_again_and_light_that_changes_is_followed():
    base = ground()
    steadier = Steadier(view(base, hover(0.0)))
    gust = np.eye(3)
    gust[:2, 2] = 70, -50
    found = steadier.steady(view(base, gust))
    assert found is not None
    assert apart_px(found.matrix, gust) < 0.5
    for step in range(60):
        darker = np.clip(view(base, hover(step / 5.0)).astype(float) * (1 - step / 100), 0, 255)
        assert steadier.steady(darker.astype(np.uint8)) is not None
    home = steadier.steady(np.clip(view(base, hover(0.0)) * 0.4, 0, 255).astype(np.uint8))
    assert home is not None
    assert apart_px(home.matrix, np.eye(3)) < 1.0


def test_who_flies_on_is_moving_and_begins_with_the_new_view():
    other = ground(99)
    first = list(flight(4.0, lambda image, at_s: None))
    away = [view(other, hover(n / FPS)) for n in range(80)]
    one, looks, _ = watched(CAMERA, iter(first + away))
    states = [str(look.state) for look in looks]
    assert states[: len(first)] == ["live"] * len(first)
    assert states[len(first)] == "moving"
    assert states[-1] == "live"
    assert one.counts["new_view"] == 1
    assert looks[len(first)].image is away[0]
    assert PictureState.MOVING.words == "live"


def test_what_cannot_be_laid_onto_the_first_picture_is_blurred_as_a_whole():
    one = watch_of(parse_camera_file(CAMERA, "test"))
    for number, image in enumerate(flight(3.0, lambda image, at_s: None)):
        one.look(image, S + number * S // FPS)
    strange = view(ground(99), hover(0.0))
    look = one.look(strange, 20 * S)
    assert look.state is PictureState.MOVING
    assert (one.suspects() == 255).all()
    shown = one.blurred(look.image)
    sharp, soft = (
        cv2.Laplacian(cv2.cvtColor(each, cv2.COLOR_BGR2GRAY), cv2.CV_16S).std()
        for each in (strange, shown)
    )
    assert soft < 0.3 * sharp


def test_a_view_with_nothing_to_hold_on_to_is_taken_as_it_is():
    water = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    steady = Steadier(water).steady(water)
    assert steady is not None
    assert steady.image is water


def test_the_platform_steadies_a_hovering_camera_of_a_camera_file():
    """Evidence has the pixels of the first picture, and nothing sharp of who is beside it."""
    camera = ConfiguredCamera(parse_camera_file(CAMERA, "test"), None, watch_of)
    told, negatives = [], []
    for number, image in enumerate(flight(26.0, traffic)):
        jpeg = cv2.imencode(".jpg", image)[1].tobytes()
        frame = Frame(
            camera_id="drone", time_ns=S + number * S // FPS,
            width_px=WIDTH, height_px=HEIGHT, jpeg=jpeg,
        )  # fmt: skip
        result = camera.process(frame)
        told += result.observations
        negatives += [one for one in (*result.negatives, result.view) if one is not None]
    stopped = {one.thing_id for one in told if one.kind == "detection.static_object"}
    assert len(stopped) == 1
    assert camera.counts == {}
    first = cv2.imdecode(np.frombuffer(negatives[0].jpeg, np.uint8), cv2.IMREAD_COLOR)
    last = cv2.imdecode(np.frombuffer(negatives[-1].jpeg, np.uint8), cv2.IMREAD_COLOR)
    (right, down), response = cv2.phaseCorrelate(*(
        cv2.cvtColor(one, cv2.COLOR_BGR2GRAY)[60:-60, 80:-80].astype(np.float32)
        for one in (first, last)
    ))  # fmt: skip
    assert response > 0.3
    assert np.hypot(right, down) < 0.5
