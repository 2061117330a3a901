from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import GeometryError, LayerError
from geo.crs import (
    MetricFrame,
    bd09_to_gcj02,
    bd09_to_wgs84,
    convert_points,
    gauss_kruger_epsg,
    gcj02_to_bd09,
    gcj02_to_wgs84,
    geometries_to_wgs84,
    normal_crs,
    wgs84_to_bd09,
    wgs84_to_gcj02,
)
from geo.distance import distance_m

# lat, lon in WGS 84, GCJ-02 and BD-09.
VECTORS = np.array(
    [
        (31.1774276, 121.5272106, 31.175303984, 121.531541859, 31.181328607, 121.538015686),
        (22.543847, 113.912316, 22.540796132, 113.917176481, 22.546667438, 113.923684729),
        (39.911954, 116.377817, 39.913345455, 116.384047225, 39.919575551, 116.390454713),
        (36.0614, 120.3846, 36.061676488, 120.389733162, 36.067681031, 120.396229971),
        (36.065, 120.312, 36.065161482, 120.317039804, 36.070933380, 120.323602603),
        (36.17, 120.62, 36.169952964, 120.624612927, 36.176056572, 120.631092344),
        (35.96, 120.18, 35.960149002, 120.185150151, 35.965796489, 120.191737465),
        (36.362, 120.088, 36.362356821, 120.093402502, 36.368421381, 120.099885526),
    ]
).T

mainland = st.tuples(st.floats(73.0, 135.0), st.floats(18.0, 53.5))


def test_shifts_agree_with_the_published_vectors() -> None:
    lat, lon, gcj_lat, gcj_lon, bd_lat, bd_lon = VECTORS
    np.testing.assert_allclose(wgs84_to_gcj02(lon, lat), (gcj_lon, gcj_lat), atol=1e-8)
    np.testing.assert_allclose(gcj02_to_bd09(gcj_lon, gcj_lat), (bd_lon, bd_lat), atol=1e-8)
    np.testing.assert_allclose(wgs84_to_bd09(lon, lat), (bd_lon, bd_lat), atol=1e-8)


@settings(deadline=None)
@given(mainland)
def test_inverses_are_exact_to_a_millimetre(position: tuple[float, float]) -> None:
    lon, lat = position
    for there, back in (
        (wgs84_to_gcj02, gcj02_to_wgs84),
        (gcj02_to_bd09, bd09_to_gcj02),
        (wgs84_to_bd09, bd09_to_wgs84),
    ):
        again = back(*there(lon, lat))
        assert float(distance_m(lon, lat, *again)) < 0.001


@pytest.mark.parametrize(
    ("lon", "lat"),
    [(24.9, 60.2), (-122.4, 37.8), (121.0, -33.0), (float("nan"), 36.0)],
    ids=["helsinki", "san-francisco", "australia", "unknown"],
)
def test_nothing_moves_outside_the_mainland_box(lon: float, lat: float) -> None:
    for shift in (wgs84_to_gcj02, gcj02_to_wgs84):
        np.testing.assert_array_equal(shift(lon, lat), (lon, lat))


def test_empty_arrays_stay_empty() -> None:
    assert [part.shape for part in bd09_to_wgs84([], [])] == [(0,), (0,)]


def test_metric_frame_agrees_with_the_published_vectors() -> None:
    frame = MetricFrame(4549)
    lon = np.array([120.3846, 120.088, 120.18, 119.6])
    lat = np.array([36.0614, 36.362, 35.96, 36.9])
    east = [534650.135, 507897.985, 516237.664, 464348.677]
    north = [3992424.046, 4025714.641, 3981119.303, 4085488.025]
    np.testing.assert_allclose(frame.to_metric(lon, lat), (east, north), atol=0.001)
    np.testing.assert_allclose(frame.to_lonlat(east, north), (lon, lat), atol=1e-8)


def test_metric_frame_keeps_unknown_positions_unknown() -> None:
    east, north = MetricFrame(3067).to_metric([24.9, np.nan, np.inf], [60.2, 60.2, 60.2])
    assert np.isnan(east).tolist() == np.isnan(north).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("epsg", "message"),
    [
        (4326, "a projected CRS in metres was wanted"),
        (2230, "a projected CRS in metres was wanted"),
        (999_999, "an EPSG code of a projected CRS was wanted"),
    ],
    ids=["degrees", "feet", "unknown"],
)
def test_metric_frame_refuses_what_has_no_metres(epsg: int, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        MetricFrame(epsg)


@pytest.mark.parametrize(
    ("declared", "spelled"),
    [
        (4549, "EPSG:4549"),
        ("epsg:4490", "EPSG:4490"),
        ("WGS84", "EPSG:4326"),
        ("gcj_02", "GCJ-02"),
        ("BD-09", "BD-09"),
    ],
)
def test_declared_crs_has_one_spelling(declared: str | int, spelled: str) -> None:
    assert normal_crs(declared) == spelled


def test_unreadable_crs_is_refused() -> None:
    with pytest.raises(LayerError, match=r"EPSG:<number>, GCJ-02 or BD-09 was wanted, got 'mars'"):
        normal_crs("mars")


def test_geometries_come_from_any_declared_crs() -> None:
    lon, lat = 120.3846, 36.0614
    frame = MetricFrame(4549)
    for crs, (x, y) in {
        "EPSG:4326": (lon, lat),
        "GCJ-02": wgs84_to_gcj02(lon, lat),
        "BD-09": wgs84_to_bd09(lon, lat),
        "EPSG:4549": frame.to_metric(lon, lat),
    }.items():
        (point,) = geometries_to_wgs84(np.array([shapely.Point(x, y, 9.0)], dtype=object), crs)
        assert not point.has_z
        assert float(distance_m(point.x, point.y, lon, lat)) < 0.001, crs


def test_geometries_that_cannot_be_in_the_declared_crs_are_refused() -> None:
    far = np.array([shapely.Point(1e12, 1e12)], dtype=object)
    with pytest.raises(GeometryError, match="is the declared CRS the true one"):
        geometries_to_wgs84(far, "EPSG:4549")
    with pytest.raises(LayerError, match="known to PROJ"):
        geometries_to_wgs84(far, "EPSG:999999")


@pytest.mark.realdata
def test_shifts_agree_with_another_library_in_157_cities(realdata: Path) -> None:
    text = (realdata / "geodesy" / "city_triples.jsonl").read_text(encoding="utf-8")
    cities = [json.loads(line)["coords"] for line in text.splitlines()]
    wgs, gcj, bd = (np.array([c[k] for c in cities]).T for k in ("WGS84", "GCJ02", "BD09"))
    assert len(cities) == 157
    assert distance_m(*gcj02_to_wgs84(*gcj), *wgs).max() < 1.0
    assert distance_m(*bd09_to_wgs84(*bd), *wgs).max() < 1.0
    assert distance_m(*bd09_to_gcj02(*bd), *gcj).max() < 1.0


KNOWN_CRS = ["EPSG:4326", "GCJ-02", "BD-09", "EPSG:3857", 4490, 4549, 4528, 4508, 4499]


@pytest.mark.parametrize("source", KNOWN_CRS)
@pytest.mark.parametrize("target", KNOWN_CRS)
def test_any_two_systems_convert_and_back_to_a_millimetre(
    source: str | int, target: str | int
) -> None:
    lon, lat = np.meshgrid(np.linspace(119.2, 121.4, 9), np.linspace(35.4, 37.3, 9))
    x, y = convert_points(lon, lat, "EPSG:4326", source)
    assert x.shape == lon.shape
    back = convert_points(*convert_points(x, y, source, target), target, source)
    there_lon, there_lat = convert_points(*back, source, "EPSG:4326")
    east_m = (there_lon - lon) * 111_320.0 * np.cos(np.radians(lat))
    north_m = (there_lat - lat) * 111_320.0
    assert np.hypot(east_m, north_m).max() < 1e-3


def test_what_is_unknown_stays_unknown_in_every_system() -> None:
    for target in KNOWN_CRS:
        x, y = convert_points([np.nan, 120.0], [36.0, np.nan], 4326, target)
        assert np.isnan(x[0])
        assert np.isnan(y[1])
        assert convert_points([], [], 4326, target)[0].shape == (0,)


def test_an_unknown_system_is_named() -> None:
    with pytest.raises(LayerError, match="EPSG:999999"):
        convert_points(120.0, 36.0, 4326, 999999)


@pytest.mark.parametrize(
    ("lon", "lat", "east", "north"),
    [
        (120.3846, 36.0614, 534650.135, 3992424.046),
        (120.088, 36.362, 507897.985, 4025714.641),
        (120.18, 35.96, 516237.664, 3981119.303),
        (119.6, 36.9, 464348.677, 4085488.025),
    ],
)
def test_gauss_kruger_of_qingdao(lon: float, lat: float, east: float, north: float) -> None:
    plain = convert_points(lon, lat, 4490, gauss_kruger_epsg(lon))
    assert plain == (pytest.approx(east, abs=6e-4), pytest.approx(north, abs=6e-4))
    prefixed = convert_points(lon, lat, 4490, gauss_kruger_epsg(lon, zone_prefix=True))
    assert prefixed[0] == pytest.approx(east + 40_000_000, abs=6e-4)


@pytest.mark.parametrize(("lon", "degrees"), [(60.0, 3), (140.0, 6), (120.0, 5), (np.inf, 3)])
def test_longitudes_outside_the_zones_are_refused(lon: float, degrees: int) -> None:
    with pytest.raises(GeometryError, match=r"Gauss-Kr"):
        gauss_kruger_epsg(lon, degrees)


@pytest.mark.realdata
def test_the_zone_of_every_city_is_near_its_meridian(realdata: Path) -> None:
    lines = (realdata / "geodesy" / "city_triples.jsonl").read_text().splitlines()
    for line in lines:
        lon, lat = json.loads(line)["coords"]["WGS84"]
        east, _ = convert_points(lon, lat, 4326, gauss_kruger_epsg(lon))
        assert abs(float(east) - 500_000.0) < 1.5 * 111_320.0 * np.cos(np.radians(lat)) + 1.0
        mercator = json.loads(line)["coords"]["EPSG3857"]
        assert convert_points(lon, lat, 4326, 3857) == (
            pytest.approx(mercator[0], abs=0.02),
            pytest.approx(mercator[1], abs=0.02),
        )
