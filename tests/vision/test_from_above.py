"""A drawn site from straight above: soil, net, concrete, plants, each of known area."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from core.observations import Observation
from ingest.video.camera_ground import watch_of
from vision.camera_file import parse_camera_file

S = 1_000_000_000
SIZE = (480, 360)

#: A quarter of a metre a pixel.
CAMERA = """
id: sky
ground:
  origin: [120.38, 36.06]
  from_above: true
  points:
    - {pixel: [0, 360], metres: [0, 0]}
    - {pixel: [480, 360], metres: [120, 0]}
    - {pixel: [480, 0], metres: [120, 90]}
    - {pixel: [0, 0], metres: [0, 90]}
zones:
  - {id: site-3, kind: site, polygon_px: [[40, 40], [440, 40], [440, 320], [40, 320]]}
detectors:
  from_above: {every_s: 5}
"""
SITE_M2 = 400 * 280 / 16.0

SOIL, NET, CONCRETE = (80, 112, 150), (70, 135, 60), (150, 152, 150)
Rectangle = tuple[int, int, int, int]


def site(soil: Rectangle, net: Rectangle, plants: Rectangle, gain: float = 1.0) -> np.ndarray:
    """Left, top, width, height of each, on concrete."""
    random = np.random.default_rng(4)
    image = np.full((SIZE[1], SIZE[0], 3), CONCRETE, np.uint8)
    for (u, v, width, height), colour in ((soil, SOIL), (net, NET)):
        image[v : v + height, u : u + width] = colour
    u, v, width, height = plants
    leaves = random.integers(0, 2, (height // 4 + 1, width // 4 + 1, 1), np.uint8)
    leaves = cv2.resize(leaves, (width, height), interpolation=cv2.INTER_NEAREST)[..., None]
    image[v : v + height, u : u + width] = np.where(
        leaves > 0, np.array([50, 140, 95]), np.array([25, 70, 48])
    )
    noise = random.normal(0.0, 5.0, image.shape)
    return np.clip(image * gain + noise, 0, 255).astype(np.uint8)


def told(image: np.ndarray, pictures: int = 1) -> list[Observation]:
    watch = watch_of(parse_camera_file(CAMERA, "test"))
    random = np.random.default_rng(1)
    seen = []
    for number in range(pictures):
        noise = random.integers(0, 5, image.shape, np.uint8)
        seen += watch.look(cv2.add(image, noise), S + number * S).observations
    return seen


def test_areas_of_soil_net_and_plants_are_those_that_were_drawn():
    found = {
        one.kind: one
        for one in told(site((60, 60, 120, 100), (200, 60, 100, 100), (60, 200, 160, 80)))
    }
    bare, green = found["detection.bare_soil"], found["detection.vegetation"]
    assert bare.measures["bare_area_m2"] == pytest.approx(120 * 100 / 16, rel=0.05)
    assert bare.measures["bare_ratio"] == pytest.approx(120 * 100 / 16 / SITE_M2, rel=0.05)
    assert bare.measures["net_ratio"] == pytest.approx(100 * 100 / 16 / SITE_M2, rel=0.2)
    assert green.measures["vegetation_area_m2"] == pytest.approx(160 * 80 / 16, rel=0.15)
    assert bare.thing_id == "sky/site-3"
    assert bare.labels["zone_kind"] == "site"
    assert bare.labels["platform"] == "aircraft"
    assert bare.lat_deg == pytest.approx(36.06 + 45 / 111_195, abs=2e-6)


@pytest.mark.parametrize("gain", [0.6, 0.8, 1.3])
def test_brighter_or_darker_light_changes_little(gain: float):
    found = told(site((60, 60, 200, 160), (300, 60, 80, 80), (300, 180, 100, 100), gain))
    assert found[0].measures["bare_area_m2"] == pytest.approx(200 * 160 / 16, rel=0.06)


def test_covered_with_a_net_it_is_no_longer_bare():
    found = told(site((0, 0, 1, 1), (60, 60, 200, 160), (300, 180, 100, 100)))
    assert found[0].measures["bare_ratio"] < 0.01
    assert found[0].measures["net_ratio"] == pytest.approx(200 * 160 / 16 / SITE_M2, rel=0.15)


def test_soil_beside_the_site_does_not_count_and_it_is_told_at_its_interval():
    found = told(site((0, 0, 480, 36), (0, 0, 1, 1), (0, 0, 8, 8)), pictures=11)
    bare = [one for one in found if one.kind == "detection.bare_soil"]
    assert [one.observed_ns // S - 1 for one in bare] == [0, 5, 10]
    assert max(one.measures["bare_ratio"] for one in bare) < 0.01


def test_of_a_site_in_the_dark_nothing_is_told():
    assert told(site((60, 60, 200, 160), (0, 0, 1, 1), (300, 180, 100, 100), 0.15)) == []
