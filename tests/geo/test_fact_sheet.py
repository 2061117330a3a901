"""All that the map says of a point."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from core.city import AltitudeDatum, LayerRole
from core.incidents import Text
from geo.fact_sheet import Asked, FactSheet, fact_sheets
from geo.layers import build_layer
from geo.model import City
from geo.tagging import Tagger
from geo.touching import grid_shares


def a_city() -> City:
    frame_point = (120.0005, 36.0005)
    grids = [
        shapely.box(120.0 + x / 1000, 36.0 + y / 1000, 120.001 + x / 1000, 36.001 + y / 1000)
        for y in (0, 1)
        for x in (0, 1)
    ]
    codes = [f"37020200100100{number}" for number in (1, 2, 3, 4)]
    layers = [
        build_layer("grids", LayerRole.GRID, grids, code=codes),
        build_layer(
            "roads",
            LayerRole.ROAD,
            [shapely.LineString([(120.0, 36.0005), (120.002, 36.0005)])],
            name=["东西路"],
        ),
        build_layer(
            "parts",
            LayerRole.COMPONENT,
            [shapely.Point(*frame_point), shapely.Point(120.0019, 36.0019)],
            feature_id=["lamp-1", "lid-2"],
            name=["路灯", "井盖"],
            kind=["lamp", "manhole"],
            unit=["路灯所", ""],
        ),
    ]
    return City("x", Text("x", "x"), 4549, {layer.id: layer for layer in layers})


def ask(lon: float, lat: float, error_m: float = np.nan, alt: float | None = None) -> FactSheet:
    city = a_city()
    heights = {} if alt is None else {AltitudeDatum.WGS84: np.array([alt])}
    asked = Asked.of_points(
        np.array([lon]), np.array([lat]), heights, np.array([0]), np.array([error_m])
    )
    (sheet,) = fact_sheets(Tagger(city), city, asked)
    return sheet


def test_everything_at_once() -> None:
    sheet = ask(120.0005, 36.00055, alt=120.0)
    assert sheet.grid_code == "370202001001001"
    assert (sheet.road_name, sheet.road_side) == ("东西路", "left")
    assert sheet.road_distance_m == pytest.approx(5.55, abs=0.01)
    assert sheet.component is not None
    assert (sheet.component.id, sheet.component.unit) == ("lamp-1", "路灯所")
    assert sheet.component.distance_m == pytest.approx(5.55, abs=0.01)
    assert sheet.beidou_code is not None
    assert sheet.beidou_code.startswith("N51J00")
    assert sheet.beidou_code_3d is not None
    assert len(sheet.beidou_code_3d) == 32
    assert sheet.h3_cell is not None
    assert sheet.unknown == {
        "district_code": "no_layer",
        "street_code": "no_layer",
        "community_code": "no_layer",
    }


@pytest.mark.parametrize(("lat", "side"), [(36.0006, "left"), (36.0004, "right"), (36.0005, "on")])
def test_the_side_is_by_the_direction_of_the_road(lat: float, side: str) -> None:
    assert ask(120.001, lat).road_side == side


def test_a_component_without_a_unit_says_so_and_a_far_one_is_none() -> None:
    near = ask(120.0019, 36.0019)
    assert near.component is not None
    assert near.component.unit is None
    assert ask(120.0015, 36.0012).component is None
    assert ask(120.0015, 36.0012).unknown["component"] == "none_near"


def test_unknown_and_outside_say_why() -> None:
    assert set(ask(121.0, 36.0).unknown.values()) >= {"outside_city", "none_near"}
    nowhere = ask(np.nan, 36.0)
    assert nowhere.unknown["grid_code"] == "no_position"
    assert (nowhere.lon_deg, nowhere.beidou_code, nowhere.h3_cell) == (None, None, None)


def test_a_point_on_a_corner_may_lie_in_any_of_four_grids() -> None:
    shares = ask(120.001, 36.001, error_m=5.0).grid_shares
    assert len(shares) == 4
    assert sum(one.share_ratio for one in shares) == pytest.approx(1.0)
    for one in shares:
        assert one.share_ratio == pytest.approx(0.25, abs=0.03)


def test_shares_are_those_of_the_normal_distribution() -> None:
    # The border runs one sigma east: 84.1 % and 15.9 %.
    city = a_city()
    east, north = city.frame.to_metric(120.001, 36.0005)
    lon, lat = city.frame.to_lonlat(east - 8.0, north)
    (shares,) = grid_shares(
        Tagger(city),
        city.frame,
        np.array([lon]),
        np.array([lat]),
        np.array([8.0]),
        np.array([1.0]),
        np.array([90.0]),
    )
    assert [one.grid_code for one in shares] == ["370202001001001", "370202001001002"]
    assert shares[0].share_ratio == pytest.approx(0.841, abs=0.01)


def test_the_long_axis_decides_which_grids_are_touched() -> None:
    city = a_city()
    place = (np.array([120.00095]), np.array([36.00095]), np.array([12.0]), np.array([0.5]))
    north = grid_shares(Tagger(city), city.frame, *place, np.array([0.0]))[0]
    east = grid_shares(Tagger(city), city.frame, *place, np.array([90.0]))[0]
    assert {one.grid_code for one in north} == {"370202001001001", "370202001001003"}
    assert {one.grid_code for one in east} == {"370202001001001", "370202001001002"}


@pytest.mark.parametrize("error_m", [np.nan, 0.0])
def test_without_an_error_there_are_no_shares(error_m: float) -> None:
    assert ask(120.001, 36.001, error_m=error_m).grid_shares == ()
