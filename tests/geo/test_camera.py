from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.city import CameraPose
from core.errors import GeometryError
from core.ports import GroundProjector
from geo.camera import FlatGroundProjector
from geo.distance import bearing_deg, distance_m

PROJECTOR = FlatGroundProjector()


def a_pose(
    yaw: float = 30.0, pitch: float = -45.0, roll: float = 0.0, height: float = 100.0
) -> CameraPose:
    return CameraPose(
        lon_deg=120.3846,
        lat_deg=36.0614,
        height_agl_m=height,
        yaw_deg=yaw,
        pitch_deg=pitch,
        roll_deg=roll,
        hfov_deg=73.7,
        width_px=1920,
        height_px=1080,
    )


def a_street_pose() -> CameraPose:
    return CameraPose(
        lon_deg=120.0,
        lat_deg=36.0,
        height_agl_m=7.0,
        yaw_deg=80.0,
        pitch_deg=-25.0,
        hfov_deg=70.0,
        width_px=640,
        height_px=360,
    )


def offset_m(lon: float, lat: float, pose: CameraPose) -> tuple[float, float]:
    away = float(distance_m(pose.lon_deg, pose.lat_deg, lon, lat))
    angle = math.radians(float(bearing_deg(pose.lon_deg, pose.lat_deg, lon, lat)))
    return away * math.cos(angle), away * math.sin(angle)


@pytest.mark.parametrize(
    ("pixel", "pose", "north", "east"),
    [
        ((960, 540), a_pose(30, -45, 0, 100), 86.603, 50.000),
        ((1200, 700), a_pose(30, -45, 0, 100), 55.592, 59.295),
        ((100, 1000), a_pose(215, -60, 2, 80), -43.619, 34.031),
        ((960, 540), a_pose(90, -20, 0, 120), 0.0, 329.697),
        ((960, 540), a_pose(123, -90, 0, 50), 0.0, 0.0),
    ],
    ids=["centre", "off-centre", "rolled", "shallow", "nadir"],
)
def test_pixels_land_where_photogrammetry_says(
    pixel: tuple[float, float], pose: CameraPose, north: float, east: float
) -> None:
    points = PROJECTOR.to_ground(np.array([pixel], dtype=float), pose)
    got = offset_m(float(points.lon_deg[0]), float(points.lat_deg[0]), pose)
    assert got == pytest.approx((north, east), abs=0.01)


def test_degrees_agree_with_the_published_vector() -> None:
    points = PROJECTOR.to_ground(np.array([[1200.0, 700.0]]), a_pose())
    assert float(points.lat_deg[0]) == pytest.approx(36.061901012, abs=1e-8)
    assert float(points.lon_deg[0]) == pytest.approx(120.385258151, abs=1e-8)


def test_rays_at_and_above_the_horizon_are_refused() -> None:
    pose = a_street_pose()
    focal = 320.0 / math.tan(math.radians(35.0))
    flat = [180.0 - focal * math.tan(math.radians(25.0 - down)) for down in (-5.0, 0.0, 2.9, 3.1)]
    points = PROJECTOR.to_ground(np.array([[320.0, v] for v in [*flat, math.nan]]), pose)
    assert points.seen.tolist() == [False, False, False, True, False]
    for column in points[:-1]:
        assert np.isnan(column).tolist() == [True, True, True, False, True]


def test_no_pixels_give_no_points() -> None:
    points = PROJECTOR.to_ground(np.empty((0, 2)), a_pose())
    assert [column.shape for column in points] == [(0,)] * 6
    pixels, ahead = PROJECTOR.to_pixels(np.empty(0), np.empty(0), a_pose())
    assert (pixels.shape, ahead.shape) == ((0, 2), (0,))


def test_impossible_input_is_refused() -> None:
    with pytest.raises(GeometryError, match=r"shape \(n, 2\), got \(3,\)"):
        PROJECTOR.to_ground(np.zeros(3), a_pose())
    with pytest.raises(GeometryError, match="height_agl_m > 0 were wanted"):
        PROJECTOR.to_ground(np.zeros((1, 2)), a_pose(height=-2.0))


poses = st.builds(
    a_pose,
    st.floats(0.0, 360.0),
    st.floats(-90.0, -8.0),
    st.floats(-20.0, 20.0),
    st.floats(3.0, 150.0),
)


@settings(deadline=None)
@given(poses, st.floats(0.0, 1920.0), st.floats(0.0, 1080.0))
def test_ground_goes_back_to_its_pixel(pose: CameraPose, u: float, v: float) -> None:
    points = PROJECTOR.to_ground(np.array([[u, v]]), pose)
    assume(points.seen[0])
    pixels, ahead = PROJECTOR.to_pixels(points.lon_deg, points.lat_deg, pose)
    assert ahead[0]
    np.testing.assert_allclose(pixels[0], (u, v), atol=1e-3)


def test_ground_behind_the_camera_has_no_pixel() -> None:
    pose = a_street_pose()
    pixels, ahead = PROJECTOR.to_pixels(np.array([119.99, 120.01, np.nan]), np.full(3, 36.0), pose)
    assert ahead.tolist() == [False, True, False]
    assert np.isnan(pixels).all(axis=1).tolist() == [True, False, True]


@settings(deadline=None, max_examples=40)
@given(poses, st.floats(0.0, 1920.0), st.floats(300.0, 1080.0))
def test_the_ellipse_is_the_spread_of_many_wrong_poses(
    pose: CameraPose, u: float, v: float
) -> None:
    """First order against a numerical Jacobian of the same projection."""
    pixel = np.array([[u, v]])
    points = PROJECTOR.to_ground(pixel, pose)
    assume(points.seen[0])

    def moved(at: CameraPose, du: float = 0.0, dv: float = 0.0) -> np.ndarray:
        got = PROJECTOR.to_ground(pixel + np.array([[du, dv]]), at)
        assume(got.seen[0])
        return np.array(offset_m(float(got.lon_deg[0]), float(got.lat_deg[0]), pose))

    def slope(name: str, step: float) -> np.ndarray:
        up = msgspec.structs.replace(pose, **{name: getattr(pose, name) + step})
        down = msgspec.structs.replace(pose, **{name: getattr(pose, name) - step})
        return (moved(up) - moved(down)) / (2.0 * step)

    columns = [slope(n, 1e-3) * 0.3 for n in ("yaw_deg", "pitch_deg", "roll_deg")]
    columns.append(slope("height_agl_m", 1e-3) * 0.5)
    columns += [(moved(pose, 0.01) - moved(pose, -0.01)) / 0.02]
    columns += [(moved(pose, 0.0, 0.01) - moved(pose, 0.0, -0.01)) / 0.02]
    jacobian = np.column_stack(columns)
    covariance = jacobian @ jacobian.T + np.eye(2) * 0.25
    values, vectors = np.linalg.eigh(covariance)
    assert float(points.error_minor_m[0]) == pytest.approx(math.sqrt(values[0]), rel=1e-2)
    assert float(points.error_major_m[0]) == pytest.approx(math.sqrt(values[1]), rel=1e-2)
    if values[1] > 1.1 * values[0]:
        azimuth = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1])) % 180.0
        apart = abs(azimuth - float(points.error_azimuth_deg[0]))
        assert min(apart, 180.0 - apart) < 2.0


def test_the_ellipse_points_away_from_a_street_camera_and_grows_with_distance() -> None:
    pose = a_street_pose()
    points = PROJECTOR.to_ground(np.array([[320.0, 300.0], [320.0, 180.0], [320.0, 60.0]]), pose)
    assert (np.diff(points.error_major_m) > 0).all()
    np.testing.assert_allclose(points.error_azimuth_deg, 80.0, atol=0.5)
    assert points.error_major_m[1] < 1.5


def test_a_nadir_footprint_is_the_picture_on_the_ground() -> None:
    pose = a_pose(yaw=0.0, pitch=-90.0, height=60.0)
    footprint = PROJECTOR.footprint(pose)
    west, south, east, north = footprint.bounds
    width = 2.0 * 60.0 * math.tan(math.radians(73.7 / 2.0))
    assert float(distance_m(west, 36.0614, east, 36.0614)) == pytest.approx(width, abs=0.01)
    assert float(distance_m(120.3846, south, 120.3846, north)) == pytest.approx(
        width * 1080 / 1920, abs=0.01
    )


def test_a_footprint_holds_exactly_what_the_picture_shows() -> None:
    pose = a_street_pose()
    footprint = PROJECTOR.footprint(pose)
    rng = np.random.default_rng(3)
    lon = 120.0 + rng.uniform(-0.002, 0.003, 4000)
    lat = 36.0 + rng.uniform(-0.002, 0.002, 4000)
    pixels, ahead = PROJECTOR.to_pixels(lon, lat, pose)
    shown = ahead & (pixels >= 0).all(axis=1) & (pixels <= (640, 360)).all(axis=1)
    near = distance_m(120.0, 36.0, lon, lat) < 7.0 / math.tan(math.radians(3.0))
    inside = shapely.contains_xy(footprint, lon, lat)
    assert (inside != (shown & near)).sum() <= 4
    assert inside.sum() > 100


def test_a_camera_that_looks_up_has_no_footprint() -> None:
    assert PROJECTOR.footprint(a_pose(pitch=60.0)).is_empty


def test_it_is_a_ground_projector() -> None:
    port: GroundProjector = PROJECTOR
    assert port.to_ground(np.array([[960.0, 540.0]]), a_pose()).seen.tolist() == [True]
