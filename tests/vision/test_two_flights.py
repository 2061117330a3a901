"""Two flights over drawn ground: turned, brighter, noisy, with known changes of known area."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from cli import app
from core.city import CameraPose
from geo.camera import FlatGroundProjector
from vision.detectors.two_flights import RegistrationError, find_changes, register
from vision.ground import PoseGround

SIZE = (960, 720)

#: Straight down from 60 m: 0.0722 m a pixel.
POSE = CameraPose(
    lon_deg=120.38,
    lat_deg=36.06,
    height_agl_m=60.0,
    yaw_deg=30.0,
    pitch_deg=-90.0,
    hfov_deg=60.0,
    width_px=SIZE[0],
    height_px=SIZE[1],
)
PIXEL_M = 2.0 * 60.0 * np.tan(np.radians(30.0)) / SIZE[0]


def place(seed: int = 5) -> np.ndarray:
    """Roofs, roads and trees, somewhat larger than a picture."""
    random = np.random.default_rng(seed)
    soil = random.integers(0, 255, (1000, 1300, 3), np.uint8)
    ground = cv2.GaussianBlur(soil, (0, 0), 4.0).astype(np.int16)
    ground = np.clip((ground - 127) * 3 + [95, 115, 120], 0, 255).astype(np.uint8)
    for _ in range(160):
        u, v, width, height = random.integers([0, 0, 14, 14], [1280, 980, 80, 60])
        colour = tuple(int(one) for one in random.integers(30, 220, 3))
        cv2.rectangle(ground, (u, v), (u + width, v + height), colour, -1)
    return ground


def flight(
    ground: np.ndarray, *, turn_deg: float, shift: tuple[float, float], gain: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """A picture of the place, and what took the place's pixels to its own."""
    turned = cv2.getRotationMatrix2D((650.0, 500.0), turn_deg, 1.0)
    matrix = np.vstack([turned, [0.0, 0.0, 1.0]])
    matrix = np.array([[1, 0, shift[0] - 170], [0, 1, shift[1] - 140], [0, 0, 1.0]]) @ matrix
    matrix = np.array([[1, 0, 0], [0, 1, 0], [2e-5, -1e-5, 1.0]]) @ matrix
    picture = cv2.warpPerspective(ground, matrix, SIZE)
    noise = np.random.default_rng(seed).normal(0.0, 3.0, picture.shape)
    return np.clip(picture * gain + 6.0 + noise, 0, 255).astype(np.uint8), matrix


@pytest.fixture(scope="module")
def flights() -> tuple[np.ndarray, np.ndarray, list[tuple[np.ndarray, float]], np.ndarray]:
    """Before, after, what was built with its area in pixels, before to after."""
    was = place()
    now = was.copy()
    built = []
    for (u, v, width, height), colour in (
        ((520, 420, 90, 60), (235, 235, 240)),
        ((760, 560, 40, 70), (20, 25, 160)),
    ):
        cv2.rectangle(now, (u, v), (u + width - 1, v + height - 1), colour, -1)
        corners = np.array([[u, v], [u + width, v], [u + width, v + height], [u, v + height]])
        built.append(corners.astype(np.float64))
    before, first = flight(was, turn_deg=0.0, shift=(0.0, 0.0), gain=1.0, seed=1)
    after, second = flight(now, turn_deg=12.0, shift=(14.0, -9.0), gain=0.78, seed=2)
    truth = [cv2.perspectiveTransform(one[:, None], second)[:, 0] for one in built]
    areas = [float(cv2.contourArea(one.astype(np.float32))) for one in truth]
    return before, after, list(zip(truth, areas, strict=True)), second @ np.linalg.inv(first)


def test_the_registration_is_right_to_a_fraction_of_a_pixel(flights):
    before, after, _, truth = flights
    found = register(before, after)
    corners = np.array([[200.0, 150], [760, 150], [760, 570], [200, 570]])[:, None]
    apart = cv2.perspectiveTransform(corners, found.matrix) - cv2.perspectiveTransform(
        corners, truth
    )
    assert np.hypot(*apart[:, 0].T).max() < 0.5
    assert found.inlier_ratio > 0.5


def test_what_was_built_is_told_with_its_area_on_the_ground_and_nothing_else(flights):
    before, after, built, _ = flights
    found = find_changes(before, after, PoseGround(FlatGroundProjector(), POSE))
    assert len(found.regions) == len(built)
    for region, (corners, area_px) in zip(found.regions, built, strict=True):
        assert region.polygon_px.mean(axis=0) == pytest.approx(corners.mean(axis=0), abs=8)
        assert region.area_m2 == pytest.approx(area_px * PIXEL_M**2, rel=0.12)
        assert region.lonlat_deg is not None


def test_the_same_place_in_another_light_has_not_changed(flights):
    before = flights[0]
    after, _ = flight(place(), turn_deg=-6.0, shift=(-10.0, 5.0), gain=1.2, seed=4)
    assert find_changes(before, after).regions == []


@pytest.mark.parametrize("other", ["another place", "plain ground"])
def test_weak_registration_is_refused_with_the_inlier_ratio(flights, other: str):
    after = np.full((SIZE[1], SIZE[0], 3), 120, np.uint8)
    if other == "another place":
        after, _ = flight(place(77), turn_deg=0.0, shift=(0.0, 0.0), gain=1.0, seed=3)
    with pytest.raises(RegistrationError, match=r"weak registration: .*inlier ratio"):
        find_changes(flights[0], after)


def test_the_command_writes_places_and_a_picture(flights, tmp_path: Path):
    cv2.imwrite(str(tmp_path / "before.png"), flights[0])
    cv2.imwrite(str(tmp_path / "after.png"), flights[1])
    (tmp_path / "after.yaml").write_text(
        "pose: {lon_deg: 120.38, lat_deg: 36.06, height_agl_m: 60, yaw_deg: 30, pitch_deg: -90,"
        " hfov_deg: 60, width_px: 960, height_px: 720}\n"
    )
    out, show = tmp_path / "changes.geojson", tmp_path / "changes.png"
    words = ["before.png", "after.png", "--camera", "after.yaml"]
    paths = [one if one.startswith("--") else str(tmp_path / one) for one in words]
    done = CliRunner().invoke(
        app, ["vision", "changes", *paths, "--out", str(out), "--show", str(show)]
    )
    assert done.exit_code == 0, done.output
    features = json.loads(out.read_text())["features"]
    assert [one["properties"]["kind"] for one in features] == ["detection.ground_change"] * 2
    ring = np.array(features[0]["geometry"]["coordinates"][0])
    assert np.abs(ring - [120.38, 36.06]).max() < 5e-4
    assert (cv2.imread(str(show)) != flights[1]).any()
