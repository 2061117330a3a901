from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from core.city import AltitudeDatum, LayerRole
from core.errors import GeometryError
from core.incidents import Text
from geo.city import City
from geo.layers import Layer, build_layer
from geo.schedule import Period, Schedule
from geo.tagging import Tagger


def a_city(*layers: Layer) -> City:
    return City(
        name="test",
        title=Text("试", "Test"),
        crs_epsg=4549,
        layers={layer.id: layer for layer in layers},
    )


def boxes(west: float, south: float, count: int, side: float = 0.01) -> list[shapely.Polygon]:
    """Squares side by side, from west to east."""
    return [
        shapely.box(west + n * side, south, west + (n + 1) * side, south + side)
        for n in range(count)
    ]


def a_small_city() -> City:
    """A district with two streets; the eastern one has a community with two grids."""
    west, east = boxes(120.0, 36.0, 2)
    lower, upper = (
        shapely.box(120.01, 36.0, 120.02, 36.005),
        shapely.box(120.01, 36.005, 120.02, 36.01),
    )
    return a_city(
        build_layer(
            "districts",
            LayerRole.DISTRICT,
            [shapely.box(120.0, 36.0, 120.03, 36.01)],
            code=["370202"],
            name=["市南区"],
        ),
        build_layer(
            "streets",
            LayerRole.STREET,
            [west, east],
            code=["370202001", "370202002"],
            name=["香港中路街道", "八大峡街道"],
        ),
        build_layer(
            "communities",
            LayerRole.COMMUNITY,
            [east],
            code=["370202002001"],
            name=["福州路社区"],
            generated=True,
        ),
        build_layer(
            "grids",
            LayerRole.GRID,
            [lower, upper],
            code=["370202002001001", "370202002001002"],
            generated=True,
        ),
    )


def tag(city: City, *positions: tuple[float, float], **heights_m: float) -> object:
    lon, lat = (np.array(column, dtype=float) for column in zip(*positions, strict=True))
    altitudes = {
        AltitudeDatum(name): np.full(len(positions), value) for name, value in heights_m.items()
    }
    return Tagger(city).tag(lon, lat, altitudes or None)


NAN = math.nan


@pytest.mark.parametrize(
    ("position", "codes", "area_name", "unplaced"),
    [
        (
            (120.015, 36.002),
            ("370202", "370202002", "370202002001", "370202002001001"),
            "市南区·八大峡街道·福州路社区",
            None,
        ),
        ((120.005, 36.002), ("370202", "370202001", None, None), "市南区·香港中路街道", None),
        ((120.025, 36.002), ("370202", None, None, None), "市南区", None),
        ((121.0, 36.0), (None,) * 4, "", "outside_city"),
        ((120.0, 99.0), (None,) * 4, "", "outside_city"),
        ((NAN, 36.0), (None,) * 4, "", "no_position"),
        ((120.0, NAN), (None,) * 4, "", "no_position"),
        ((math.inf, 36.0), (None,) * 4, "", "no_position"),
    ],
    ids=[
        "all-levels",
        "no-community",
        "no-street",
        "outside",
        "not-on-earth",
        "no-lon",
        "no-lat",
        "infinite",
    ],
)
def test_levels(
    position: tuple[float, float],
    codes: tuple[str | None, ...],
    area_name: str,
    unplaced: str | None,
) -> None:
    place = tag(a_small_city(), position).place(0)
    got = (place.district_code, place.street_code, place.community_code, place.grid_code)
    assert (got, place.area_name, place.unplaced) == (codes, area_name, unplaced)
    assert place.generated == (codes[3] is not None)


@pytest.mark.parametrize(
    ("position", "grid", "street"),
    [
        ((120.015, 36.005), "370202002001001", "370202002"),
        # On the border of the streets the grid, being the finest, decides for all levels.
        ((120.01, 36.002), "370202002001001", "370202002"),
        ((120.01, 36.005), "370202002001001", "370202002"),
        ((120.0, 36.0), None, "370202001"),
        ((120.02, 36.01), "370202002001002", "370202002"),
    ],
    ids=["between-grids", "between-streets", "three-corners", "corner-of-city", "far-corner"],
)
def test_a_point_on_a_border_belongs_to_the_first_feature(
    position: tuple[float, float], grid: str | None, street: str
) -> None:
    place = tag(a_small_city(), position).place(0)
    assert (place.grid_code, place.street_code) == (grid, street)


def test_no_rows_work(generated_city: City) -> None:
    tags = Tagger(generated_city).tag(np.empty(0), np.empty(0), {AltitudeDatum.AGL: np.empty(0)})
    assert len(tags) == 0
    assert tags.in_zone("site").shape == tags.in_airspace("protected").shape == (0,)


def test_a_city_without_areas_says_so() -> None:
    zone = build_layer("z", LayerRole.ZONE, boxes(120.0, 36.0, 1), kind=["site"])
    tags = tag(a_city(zone), (120.005, 36.005), (121.0, 36.0))
    assert tags.in_zone("site").tolist() == [True, False]
    assert [tags.place(row).unplaced for row in (0, 1)] == ["no_area_layer"] * 2


def test_zones_of_several_layers_overlap() -> None:
    one = build_layer("a", LayerRole.ZONE, boxes(120.0, 36.0, 2), kind=["site", "pavement"])
    two = build_layer("b", LayerRole.ZONE, boxes(120.005, 36.0, 1), kind=["pavement"])
    tags = tag(
        a_city(one, two), (120.002, 36.001), (120.007, 36.001), (120.012, 36.001), (NAN, NAN)
    )
    assert [tags.zones(row) for row in range(4)] == [("a-1",), ("a-1", "b-1"), ("a-2", "b-1"), ()]
    assert tags.in_zone("pavement").tolist() == [False, True, True, False]
    assert tags.in_zone("site").tolist() == [True, True, False, False]
    assert not tags.in_zone("unheard-of").any()
    assert tags.layer_versions == {"a": one.version, "b": two.version}


def roads_city() -> City:
    """Two roads, 100 m apart about; the first is the southern one."""
    lines = [
        shapely.LineString([(120.0, 36.0), (120.01, 36.0)]),
        shapely.LineString([(120.0, 36.0009), (120.01, 36.0009)]),
    ]
    return a_city(build_layer("roads", LayerRole.ROAD, lines, name=["甲路", "乙路"]))


@pytest.mark.parametrize(
    ("position", "name", "metres"),
    [
        ((120.005, 36.0), "甲路", 0.0),
        ((120.005, 36.0001), "甲路", 11.096),
        ((120.005, 36.0008), "乙路", 11.096),
        ((120.005, 35.99956), "甲路", 48.82),
        ((120.005, 35.99954), None, None),
        ((NAN, 36.0), None, None),
        ((120.005, 95.0), None, None),
    ],
    ids=["on-it", "near-first", "near-second", "just-near", "just-far", "unknown", "not-on-earth"],
)
def test_the_nearest_road_names_the_place(
    position: tuple[float, float], name: str | None, metres: float | None
) -> None:
    place = tag(roads_city(), position).place(0)
    assert place.road_name == name
    assert place.road_distance_m == (None if metres is None else pytest.approx(metres, abs=0.05))


def test_of_two_roads_that_cross_here_the_first_names_the_place() -> None:
    lines = [
        shapely.LineString([(120.0, 36.0), (120.005, 36.0), (120.01, 36.0)]),
        shapely.LineString([(120.005, 35.99), (120.005, 36.0), (120.005, 36.01)]),
    ]
    for names in (["甲路", "乙路"], ["乙路", "甲路"]):
        city = a_city(build_layer("roads", LayerRole.ROAD, lines, name=names))
        assert tag(city, (120.005, 36.0)).place(0).road_name == names[0]


def airspace_city(floor: float, ceiling: float, datum: str) -> City:
    return a_city(
        build_layer(
            "airspace",
            LayerRole.AIRSPACE,
            boxes(120.0, 36.0, 1),
            feature_id=["v"],
            kind=["protected"],
            floor_m=[floor],
            ceiling_m=[ceiling],
            datum=[datum],
        )
    )


@pytest.mark.parametrize(
    ("volume", "heights", "inside", "unsure"),
    [
        ((0, 120, "agl"), {"agl": 60.0}, True, False),
        ((0, 120, "agl"), {"agl": 120.0}, True, False),
        ((0, 120, "agl"), {"agl": 120.1}, False, False),
        ((0, 120, "agl"), {"agl": -2.0}, True, False),
        ((30, 120, "agl"), {"agl": 30.0}, True, False),
        ((30, 120, "agl"), {"agl": 29.9}, False, False),
        ((0, 120, "agl"), {"takeoff": 60.0}, True, False),
        ((0, 120, "takeoff"), {"agl": 60.0}, True, False),
        ((0, 120, "agl"), {"agl": 200.0, "takeoff": 60.0}, False, False),
        ((0, 120, "agl"), {"agl": NAN, "takeoff": 60.0}, True, False),
        ((0, 120, "agl"), {"wgs84": 60.0}, False, True),
        ((0, 120, "agl"), {"agl": NAN}, False, True),
        ((0, 120, "agl"), {}, False, True),
        ((0, 120, "msl"), {"msl": -1.0}, False, False),
        ((0, 120, "msl"), {"agl": 60.0}, False, True),
        ((100, 300, "wgs84"), {"wgs84": 150.0, "agl": 60.0}, True, False),
    ],
)
def test_a_volume_has_a_floor_and_a_ceiling_above_its_own_datum(
    volume: tuple[float, float, str], heights: dict[str, float], inside: bool, unsure: bool
) -> None:
    tags = tag(airspace_city(*volume), (120.005, 36.005), (120.5, 36.005), **heights)
    assert tags.in_airspace("protected").tolist() == [inside, False]
    assert tags.airspace_unsure("protected").tolist() == [unsure, False]
    assert tags.airspaces(0) == tags.place(0).airspaces == (("v",) if inside else ())
    assert not tags.in_airspace("corridor").any()


def test_place_takes_the_error_and_drops_what_is_not_a_number() -> None:
    tags = tag(a_small_city(), (120.015, 36.002), (NAN, NAN))
    place = tags.place(0, 120.015, 36.002, 3.0, 1.0, NAN)
    assert (place.lon_deg, place.lat_deg) == (120.015, 36.002)
    assert (place.error_major_m, place.error_minor_m, place.error_azimuth_deg) == (3.0, 1.0, None)
    nowhere = tags.place(1, NAN, NAN, NAN, NAN, NAN)
    assert (nowhere.lon_deg, nowhere.lat_deg, nowhere.error_major_m) == (None, None, None)


def test_arrays_of_other_shapes_are_refused() -> None:
    tagger = Tagger(a_small_city())
    with pytest.raises(GeometryError, match=r"one shape \(n,\), got \(2,\) and \(3,\)"):
        tagger.tag(np.zeros(2), np.zeros(3))
    with pytest.raises(GeometryError, match=r"altitudes\[agl\] must have shape \(2,\), got \(1,\)"):
        tagger.tag(np.zeros(2), np.zeros(2), {AltitudeDatum.AGL: np.zeros(1)})


def test_tagging_does_not_change_what_it_is_given() -> None:
    lon, lat = np.array([120.0, 1.0]), np.array([NAN, 2.0])
    lon.flags.writeable = lat.flags.writeable = False
    Tagger(a_small_city()).tag(lon, lat)
    assert lon.tolist() == [120.0, 1.0]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_a_batch_says_what_shapely_says_point_by_point(generated_city: City, seed: int) -> None:
    rng = np.random.default_rng(seed)
    west, south, east, north = generated_city.bounds
    lon, lat = rng.uniform(west, east, 40), rng.uniform(south, north, 40)
    tags = Tagger(generated_city).tag(lon, lat)
    grids, zones = generated_city.layers["grids"], generated_city.layers["zones"]
    roads = generated_city.frame.geometry_to_metric(generated_city.layers["roads"].geometries)
    for row in range(40):
        point = shapely.Point(lon[row], lat[row])
        inside = np.flatnonzero(shapely.intersects(grids.geometries, point))
        place = tags.place(row)
        assert place.grid_code == (grids.column("code")[inside[0]] if len(inside) else None)
        if place.grid_code is not None:
            assert place.grid_code.startswith(place.community_code or "?")
        ids = np.array(zones.column("feature_id"), dtype=object)
        assert list(place.zones) == ids[shapely.intersects(zones.geometries, point)].tolist()
        east_m, north_m = generated_city.frame.to_metric(lon[row], lat[row])
        away = shapely.distance(roads, shapely.Point(float(east_m), float(north_m))).min()
        assert (place.road_name is not None) == (away <= 50.0)
        if place.road_distance_m is not None:
            assert place.road_distance_m == pytest.approx(away)


def test_corners_of_grids_are_never_lost(generated_city: City) -> None:
    """Every lattice point, and points a hair beside it, has exactly one grid in the district."""
    corners = np.unique(shapely.get_coordinates(generated_city.layers["grids"].geometries), axis=0)
    district = generated_city.layers["districts"].geometries[0]
    for step in (0.0, 1e-9, -1e-9):
        lon, lat = corners[:, 0] + step, corners[:, 1]
        tags = Tagger(generated_city).tag(lon, lat)
        placed = np.array([tags.place(row).grid_code is not None for row in range(len(lon))])
        within = shapely.intersects_xy(district, lon, lat)
        assert (placed == within).all()
        assert placed.sum() > 300


def test_a_volume_between_two_datums_needs_both_altitudes() -> None:
    volume = build_layer(
        "air",
        LayerRole.AIRSPACE,
        [shapely.box(120.0, 36.0, 121.0, 37.0)] * 2,
        kind=["mixed", "plain"],
        floor_m=[60.0, 60.0],
        ceiling_m=[300.0, 300.0],
        datum=["agl", "msl"],
        ceiling_datum=["msl", "msl"],
    )
    tagger = Tagger(City("x", Text("x", "x"), 4549, {"air": volume}))
    agl = np.array([100.0, 10.0, 100.0, np.nan, 100.0, 10.0])
    msl = np.array([150.0, 150.0, 400.0, 150.0, np.nan, np.nan])
    n = len(agl)
    tags = tagger.tag(
        np.full(n, 120.5),
        np.full(n, 36.5),
        {AltitudeDatum.AGL: agl, AltitudeDatum.MSL: msl},
    )
    assert tags.in_airspace("mixed").tolist() == [True, False, False, False, False, False]
    assert tags.airspace_unsure("mixed").tolist() == [False, False, False, True, True, False]
    assert tags.in_airspace("plain").tolist() == [True, True, False, True, False, False]


def test_a_volume_counts_only_while_it_is_active() -> None:
    office = Schedule([Period(start_s=0, end_s=3600)]).text
    volume = build_layer(
        "air",
        LayerRole.AIRSPACE,
        [shapely.box(120.0, 36.0, 121.0, 37.0)] * 2,
        kind=["hours", "always"],
        floor_m=[0.0, 0.0],
        ceiling_m=[300.0, 300.0],
        datum=["agl", "agl"],
        active=[office, ""],
    )
    tagger = Tagger(City("x", Text("x", "x"), 4549, {"air": volume}))
    place = (np.full(2, 120.5), np.full(2, 36.5), {AltitudeDatum.AGL: np.full(2, 50.0)})
    tags = tagger.tag(*place, np.array([10, 4000]) * 10**9)
    assert tags.in_airspace("hours").tolist() == [True, False]
    assert tags.in_airspace("always").tolist() == [True, True]
    assert tagger.tag(*place).in_airspace("hours").tolist() == [True, True]
