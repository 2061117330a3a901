"""One aircraft may be heard under two names: its own, and that of a beacon strapped to it."""

from __future__ import annotations

import pytest
from builders import an_event, at_s

from core.events import Place
from core.incidents import Status
from geo.distance import destination
from scenarios.correlation import CaseRaise, DecisionKind, OpenCase, decide
from scenarios.loader import load_packs

INTRUSION = next(one for one in load_packs() if one.id == "airspace-intrusion")


@pytest.mark.parametrize(
    ("source", "seconds", "metres", "wanted"),
    [
        ("remote_id", 0, 3, DecisionKind.ATTACH),
        ("remote_id", 4, 90, DecisionKind.ATTACH),  # it flew on meanwhile
        ("remote_id", -4, 90, DecisionKind.ATTACH),  # the other system was first
        ("remote_id", 0, 60, DecisionKind.OPEN),  # nothing flies 60 m in no time
        ("remote_id", 45, 3, DecisionKind.OPEN),  # too long after
        ("remote_id", 20, 300, DecisionKind.OPEN),
        ("dji", 0, 3, DecisionKind.OPEN),  # one system tells its aircraft apart
    ],
)
def test_twins(source: str, seconds: float, metres: float, wanted: DecisionKind) -> None:
    lon, lat = destination(120.3846, 36.0614, 90.0, metres)
    case = OpenCase(
        incident_id="i-1",
        scenario=INTRUSION.id,
        status=Status.DISPATCHED,
        began_ns=at_s(100),
        last_ns=at_s(100),
        lon_deg=120.3846,
        lat_deg=36.0614,
        raises=(
            CaseRaise(
                source="dji",
                rule="airspace-intrusion/inside",
                thing_id="1581F6Q8D23QN0001",
                began_ns=at_s(100),
            ),
        ),
    )
    event = an_event(
        100 + seconds,
        scenario=INTRUSION.id,
        rule="airspace-intrusion/inside",
        source=source,
        thing_id="1596F28F3E7548C3E849",
        kind="aircraft",
        place=Place(lon_deg=float(lon), lat_deg=float(lat)),
    )
    assert decide(event, INTRUSION, [case]).kind is wanted
