"""ED-269 and ED-318 as authorities publish them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import LayerError
from core.units import rfc3339_to_ns
from geo.schedule import Schedule
from geo.sources.geozones import read_ed318
from geo.sources.reader import read_source

ED318 = "drone/ed318/examples"
CHE = "drone/interuss/che/geoawareness"


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "count", "first"),
    [
        (f"{ED318}/Example_GeoZone_Circle.json", 1, ("ABC1234", "prohibited", 50.0, 150.0)),
        (
            f"{ED318}/Example_GeoZone_2_Layers.json",
            2,
            ("NFZ6547", "req_authorization", 50.0, 150.0),
        ),
        (f"{ED318}/Example_Collection.json", 3, ("NFZ6547", "req_authorization", 50.0, 150.0)),
        (f"{ED318}/Example_GeoZone_with_extension.json", 1, ("ABC1234", "prohibited", 50.0, 150.0)),
        (
            f"{ED318}/PartialExample_featureGeoJSON.json",
            2,
            ("NFZ6547", "req_authorization", 50.0, 150.0),
        ),
        (
            f"{CHE}/cis_source_sample_ed318.json",
            3,
            ("LSZB003", "req_authorization", 60.0, float("inf")),
        ),
        (
            f"{CHE}/cis_source_sample_ed269.json",
            1,
            ("LSXX", "req_authorisation", 0.0, float("inf")),
        ),
    ],
)
def test_real_zones(realdata: Path, name: str, count: int, first: tuple[Any, ...]) -> None:
    source = read_source(realdata / name)
    assert len(source.shapes) == count
    row = source.columns.iloc[0]
    assert (row["volume_id"], row["kind"], row["floor_m"], row["ceiling_m"]) == first
    assert all(shape.is_valid and shape.area > 0 for shape in source.shapes)


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name", ["GeoZoneProperties", "TimePeriod", "ZoneAuthority"], ids=lambda name: str(name)
)
def test_parts_of_a_zone_are_no_layer(realdata: Path, name: str) -> None:
    with pytest.raises(LayerError, match="GeoJSON, or an array of its features"):
        read_source(realdata / ED318 / f"PartialExample_{name}.json")


@pytest.mark.realdata
def test_a_circle_has_its_radius_and_its_hours(realdata: Path) -> None:
    source = read_source(realdata / ED318 / "Example_GeoZone_Circle.json")
    _, south, _, north = source.shapes[0].bounds
    assert (north - south) * 111_230.0 / 2 == pytest.approx(3500.0, rel=0.002)
    layers = read_source(realdata / ED318 / "Example_GeoZone_2_Layers.json")
    hours = Schedule.parse(layers.columns.iloc[0]["active"])
    times = [
        "2019-06-03T16:30:00Z",
        "2019-06-03T18:00:00Z",
        "2019-06-02T11:00:00Z",
        "2020-06-03T16:30:00Z",
    ]
    assert hours.active([rfc3339_to_ns(one) for one in times]).tolist() == [
        True,
        False,
        True,
        False,
    ]


def a_zone(**layer: Any) -> dict[str, Any]:
    square = [[[120, 36], [120.1, 36], [120.1, 36.1], [120, 36]]]
    geometry = {"type": "Polygon", "coordinates": square, "layer": layer}
    return {
        "type": "FeatureCollection",
        "features": [{"properties": {"identifier": "Z1"}, "geometry": geometry}],
    }


def test_feet_and_references_are_read() -> None:
    row = read_ed318(
        a_zone(lower=100, lowerReference="AGL", upper=1000, upperReference="AMSL", uom="ft"), "x"
    ).columns.iloc[0]
    assert row["floor_m"] == pytest.approx(30.48)
    assert row["ceiling_m"] == pytest.approx(304.8)
    assert (row["datum"], row["ceiling_datum"]) == ("agl", "msl")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"lower": 0, "lowerReference": "MOON"}, "zone Z1: a vertical reference of"),
        ({"lower": "low"}, "zone Z1: a height was wanted, got 'low'"),
    ],
)
def test_a_wrong_zone_is_named(layer: dict[str, Any], message: str) -> None:
    with pytest.raises(LayerError, match=message):
        read_ed318(a_zone(**layer), "x")
