"""The component's owner answers first: the map knows whose the manhole is."""

from __future__ import annotations

from pathlib import Path

import pytest
import shapely

from commands.owners import component_owners
from core.city import LayerRole, Unit
from core.events import Edge, Event, EventBatch, Place, event_id
from core.incidents import Text
from core.observations import Stamp
from geo.layers import build_layer
from geo.model import City
from scenarios.loader import load_packs
from store.cases import CaseStore
from store.database import migrate

PACKS = {one.id: one for one in load_packs()}
LON, LAT = 120.0005, 36.0005
#: About a metre of latitude.
METRE = 1 / 111_000

UNITS = (
    Unit(unit_id="urban", name="执法支队", department="城管", area_code="370202"),
    Unit(unit_id="drains", name="排水公司", department="水务", area_code=""),
)


def a_city() -> City:
    """A lamp two metres from the place, a manhole six; and one whose owner nobody knows."""
    parts = build_layer(
        "parts",
        LayerRole.COMPONENT,
        [
            shapely.Point(LON, LAT + 2 * METRE),
            shapely.Point(LON, LAT + 6 * METRE),
            shapely.Point(LON, LAT + 100 * METRE),
            shapely.Point(LON, LAT + 200 * METRE),
        ],
        feature_id=["lamp-1", "lid-1", "lid-2", "lid-3"],
        name=["路灯", "雨水井盖", "井盖", "井盖"],
        kind=["lamp", "manhole", "manhole", "manhole"],
        unit=["路灯所", "排水公司", "no-such-unit", ""],
    )
    return City("x", Text("x", "x"), 4549, {"parts": parts}, units=UNITS)


def a_place(north_m: float = 0.0) -> Place:
    return Place(lon_deg=LON, lat_deg=LAT + north_m * METRE, district_code="370202")


@pytest.mark.parametrize(
    ("scenario", "north_m", "unit"),
    [
        ("manhole-cover", 0.0, "drains"),
        ("manhole-cover", 40.0, None),
        ("manhole-cover", 100.0, None),
        ("manhole-cover", 200.0, None),
        ("street-trading", 0.0, None),
    ],
    ids=["near", "too far", "a unit of no city", "no unit", "asks for none"],
)
def test_whose_it_is(scenario: str, north_m: float, unit: str | None) -> None:
    found = component_owners(a_city())(a_place(north_m), PACKS[scenario])
    assert (found and found.unit.unit_id) == unit


def test_a_place_that_is_not_known_is_nobodys() -> None:
    owner_of = component_owners(a_city())
    assert owner_of(Place(unplaced="no_position"), PACKS["manhole-cover"]) is None


def test_the_case_goes_to_the_owner_and_says_why(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite3'}"
    migrate(url)
    city = a_city()
    event = Event(
        id=event_id(rule="r", thing_id="m-1", began_ns=1, edge=Edge.RAISE, at_ns=1),
        scenario="manhole-cover",
        rule="manhole-cover/tilt",
        edge=Edge.RAISE,
        source="plain",
        thing_id="m-1",
        kind="manhole",
        began_ns=1,
        at_ns=1,
        place=a_place(),
    )
    stamp = Stamp(ingest_id="i", sequence=1, partition=0, watermark_ns=1, logged_ns=1)
    batch = EventBatch(stamp=stamp, events=(event,))
    owner_of = component_owners(city)
    with CaseStore(url, PACKS.values(), city.units, (), "QD", owner_of=owner_of) as store:
        [change] = store.apply([batch], 0)
    assert change.incident.unit_id == "drains"
    assert "排水公司（水务）是部件“雨水井盖”的权属单位" in change.incident.explanation.zh
    assert "owns the component 雨水井盖" in change.incident.explanation.en
