"""Rays that meet hills."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from core.city import CameraPose
from core.errors import GeometryError
from geo.camera import FlatGroundProjector
from geo.crs import MetricFrame
from geo.terrain import Terrain, TerrainProjector, load_terrain

FRAME = MetricFrame(4549)
EAST, NORTH = (float(one) for one in FRAME.to_metric(120.3846, 36.0614))


def a_pose(**more: float) -> CameraPose:
    given = {"yaw_deg": 0.0, "pitch_deg": -45.0, "height_agl_m": 100.0} | more
    return CameraPose(
        lon_deg=120.3846, lat_deg=36.0614, hfov_deg=73.7, width_px=1920, height_px=1080, **given
    )


def terrain(shape: np.ndarray) -> Terrain:
    """Heights on a 10 m grid of 2 km about the camera."""
    return Terrain(shape, "EPSG:4549", (EAST - 1000.0, NORTH + 1000.0), (10.0, 10.0), 0.0)


def distances(projector: TerrainProjector, pixels: list[tuple[float, float]], pose: CameraPose):
    points = projector.to_ground(np.array(pixels), pose)
    east, north = FRAME.to_metric(points.lon_deg, points.lat_deg)
    return np.hypot(east - EAST, north - NORTH), points


CENTRE = (960.0, 540.0)


@pytest.mark.parametrize("level_m", [0.0, 250.0])
def test_level_ground_at_any_height_is_flat_ground(level_m: float) -> None:
    projector = TerrainProjector(terrain(np.full((200, 200), level_m)))
    pixels = np.array([CENTRE, (1200.0, 700.0), (100.0, 1000.0), (960.0, -9e9)])
    flat = FlatGroundProjector().to_ground(pixels, a_pose(yaw_deg=30.0))
    found = projector.to_ground(pixels, a_pose(yaw_deg=30.0))
    assert found.seen.tolist() == flat.seen.tolist() == [True, True, True, False]
    for ours, theirs in zip(found, flat, strict=True):
        assert ours[:3] == pytest.approx(theirs[:3], rel=1e-6)


def test_a_slope_is_met_earlier_uphill_and_later_downhill() -> None:
    rows = (np.arange(200) - 99.5)[:, None]
    north_up = np.broadcast_to(-rows * 10.0 * 0.1, (200, 200))  # a tenth of the way north
    projector = TerrainProjector(terrain(north_up))
    uphill, _ = distances(projector, [CENTRE], a_pose())
    downhill, _ = distances(projector, [CENTRE], a_pose(yaw_deg=180.0))
    assert uphill[0] == pytest.approx(100.0 / 1.1, rel=0.002)
    assert downhill[0] == pytest.approx(100.0 / 0.9, rel=0.002)


def test_a_hill_hides_what_is_behind_it() -> None:
    heights = np.zeros((200, 200))
    heights[85:88] = 60.0  # a wall 60 m high, 120 to 150 m north
    away, points = distances(TerrainProjector(terrain(heights)), [CENTRE], a_pose(pitch_deg=-30.0))
    assert points.seen[0]
    assert away[0] < 150.0  # level ground would be met at 173 m


def test_off_the_grid_nothing_is_seen() -> None:
    projector = TerrainProjector(terrain(np.zeros((200, 200))))
    _, points = distances(projector, [CENTRE], a_pose(pitch_deg=-4.0))
    assert points.seen.tolist() == [False]
    assert np.isnan(points.lon_deg).all()
    far = CameraPose(
        lon_deg=119.0,
        lat_deg=36.0,
        height_agl_m=100.0,
        yaw_deg=0.0,
        pitch_deg=-45.0,
        hfov_deg=73.7,
        width_px=1920,
        height_px=1080,
    )
    with pytest.raises(GeometryError, match="the height under the camera"):
        projector.to_ground(np.array([CENTRE]), far)


def test_the_error_of_the_terrain_widens_the_ellipse() -> None:
    level = np.zeros((200, 200))
    sure = TerrainProjector(terrain(level)).to_ground(np.array([CENTRE]), a_pose())
    rough = Terrain(level, "EPSG:4549", (EAST - 1000.0, NORTH + 1000.0), (10.0, 10.0), 5.0)
    unsure = TerrainProjector(rough).to_ground(np.array([CENTRE]), a_pose())
    assert unsure.error_major_m[0] > sure.error_major_m[0] + 3.0


def test_a_raster_is_read(tmp_path: Path) -> None:
    path = tmp_path / "dem.tif"
    heights = np.arange(12, dtype=np.float32).reshape(3, 4)
    heights[2, 3] = -9999
    size = {"width": 4, "height": 3, "count": 1, "dtype": "float32", "nodata": -9999}
    place = {"crs": "EPSG:4326", "transform": Affine(0.1, 0.0, 120.0, 0.0, -0.1, 36.3)}
    with rasterio.open(path, "w", driver="GTiff", **size, **place) as file:
        file.write(heights, 1)
    ground = load_terrain(path)
    found = ground.height(
        np.array([120.05, 120.1, 120.35, 121.0]), np.array([36.25, 36.25, 36.05, 36.0])
    )
    assert found[:2] == pytest.approx([0.0, 0.5])
    assert np.isnan(found[2:]).all()


def test_what_is_no_raster_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dem.tif"
    path.write_text("no")
    with pytest.raises(GeometryError, match=r"dem\.tif: cannot be read as heights"):
        load_terrain(path)
