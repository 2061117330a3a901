"""An underpass: puddles, and what only looks like one; and a wall up which water rises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.observations import Observation
from ingest.video.camera_ground import watch_of
from vision.camera_file import CameraFileError, parse_camera_file, read_camera_file
from vision.watch import CameraWatch

S = 1_000_000_000
SIZE = (480, 360)
Paint = Callable[[np.ndarray], np.ndarray]

#: A twentieth of a metre a pixel.
GROUND = """
id: low
ground:
  origin: [120.38, 36.06]
  from_above: true
  points:
    - {pixel: [0, 360], metres: [0, 0]}
    - {pixel: [480, 360], metres: [24, 0]}
    - {pixel: [480, 0], metres: [24, 18]}
    - {pixel: [0, 0], metres: [0, 18]}
"""
WATER = (
    GROUND
    + """
zones:
  - {id: dip, kind: underpass, polygon_px: [[20, 40], [460, 40], [460, 340], [20, 340]]}
detectors:
  standing_water: {sample_s: 1, new_after_s: 4, gone_after_s: 5}
"""
)
GAUGE = """
id: low
detectors:
  gauges:
    - id: pier
      every_s: 5
      marks:
        - {pixel: [240, 340], level_m: 0.0}
        - {pixel: [240, 180], level_m: 0.8}
        - {pixel: [240, 60], level_m: 1.4}
"""


def road() -> np.ndarray:
    grain = np.random.default_rng(2).normal(0.0, 60.0, (SIZE[1], SIZE[0])).astype(np.float32)
    grey = 105 + cv2.GaussianBlur(grain, (0, 0), 1.3)
    image = cv2.cvtColor(np.clip(grey, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    cv2.line(image, (0, 190), (480, 190), (210, 215, 215), 6)
    return image


def dry(image: np.ndarray) -> np.ndarray:
    return image


def puddle(image: np.ndarray) -> np.ndarray:
    """The sky in it, brighter to the back: an ellipse of 120 x 60 pixels about its middle."""
    wet = image.copy()
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.ellipse(mask, (240, 200), (120, 60), 0, 0, 360, 1, -1)
    sky = np.linspace(190, 130, image.shape[0])[:, None, None] * np.array([1.0, 0.97, 0.92])
    return np.where(mask[..., None] > 0, sky, wet).astype(np.uint8)


PUDDLE_M2 = np.pi * 120 * 60 / 400.0


def shadow(image: np.ndarray) -> np.ndarray:
    dark = image.copy()
    dark[100:260, 120:360] = dark[100:260, 120:360] * 0.5
    return dark


def wet(image: np.ndarray) -> np.ndarray:
    """Rain has darkened everything."""
    return (image * 0.65).astype(np.uint8)


def red_van(image: np.ndarray) -> np.ndarray:
    van = image.copy()
    cv2.rectangle(van, (180, 120), (330, 200), (40, 40, 190), -1)
    return van


def cars(image: np.ndarray) -> np.ndarray:
    """Grey, with windows, lamps and wheels."""
    full = image.copy()
    for u in (60, 240):
        cv2.rectangle(full, (u, 130), (u + 110, 185), (150, 150, 148), -1)
        for left in range(u + 6, u + 104, 14):
            cv2.rectangle(full, (left, 136), (left + 7, 178), (30, 32, 35), -1)
    return full


def run(text: str, scenes: list[tuple[Paint, int]], per_s: int = 2) -> list[Observation]:
    watch = watch_of(parse_camera_file(text, "test"))
    return shown(watch, road(), scenes, per_s)


def shown(
    watch: CameraWatch, base: np.ndarray, scenes: list[tuple[Paint, int]], per_s: int = 2
) -> list[Observation]:
    """Each scene for some seconds, with the noise of a sensor."""
    random = np.random.default_rng(8)
    told: list[Observation] = []
    number = 0
    for paint, seconds in scenes:
        picture = paint(base).astype(np.int16)
        for _ in range(seconds * per_s):
            noise = random.integers(-5, 6, base.shape).astype(np.int16)
            image = np.clip(picture + noise, 0, 255).astype(np.uint8)
            told += watch.look(image, S + number * S // per_s).observations
            number += 1
    return told


def test_a_puddle_is_one_event_with_its_area_and_ends_when_it_has_drained():
    told = run(WATER, [(dry, 8), (puddle, 16), (dry, 14)])
    assert [one.kind for one in told] == ["detection.standing_water"] * 2
    assert [one.labels["phase"] for one in told] == ["new", "end"]
    new = told[0]
    assert new.measures["water_area_m2"] == pytest.approx(PUDDLE_M2, rel=0.12)
    assert (new.labels["zone_kind"], new.labels["platform"]) == ("underpass", "fixed")
    assert new.lat_deg == pytest.approx(36.06 + 8.0 / 111_195, abs=1e-5)


@pytest.mark.parametrize("other", [shadow, wet, red_van, cars])
def test_what_only_looks_like_water_is_not_told(other: Paint):
    assert run(WATER, [(dry, 8), (other, 16)]) == []


def test_a_puddle_in_rain_and_after_a_restart_against_the_dry_picture(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "dry.png"), road())
    file = tmp_path / "camera.yaml"
    file.write_text(WATER.replace("{sample_s: 1", "{dry_picture: dry.png, sample_s: 1"))
    watch = watch_of(read_camera_file(file))
    told = shown(watch, road(), [(lambda image: puddle(wet(image)), 14)])
    assert [one.labels["phase"] for one in told] == ["new"]
    assert told[0].measures["water_area_m2"] == pytest.approx(PUDDLE_M2, rel=0.12)
    (tmp_path / "dry.png").unlink()
    with pytest.raises(CameraFileError, match=r"dry\.png: dry_picture: cannot be read"):
        watch_of(read_camera_file(file))


def flooded(row: int) -> Paint:
    def paint(image: np.ndarray) -> np.ndarray:
        high = image.copy()
        high[row:] = np.linspace(90, 120, SIZE[1] - row)[:, None, None]
        return high

    return paint


def test_the_gauge_reads_the_level_as_it_rises_and_falls():
    levels = [(260, 0.4), (140, 1.0), (220, 0.6)]
    scenes = [(dry, 11)] + [(flooded(row), 15) for row, _ in levels]
    told = [one for one in run(GAUGE, scenes) if one.kind == "water_level"]
    assert {one.thing_id for one in told} == {"low/pier"}
    assert told[0].measures["water_level_m"] == 0.0
    assert told[0].labels["state"] == "below"
    for (_, level_m), end_s in zip(levels, (26, 41, 56), strict=True):
        last = [one for one in told if one.observed_ns < S + end_s * S][-1]
        assert last.measures["water_level_m"] == pytest.approx(level_m, abs=0.03)
        assert last.labels["state"] == "measured"


def test_darkness_and_rain_do_not_move_the_gauge():
    told = run(GAUGE, [(dry, 11), (wet, 15), (shadow, 15)])
    assert {one.measures["water_level_m"] for one in told if one.kind == "water_level"} == {0.0}
