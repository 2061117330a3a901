"""One real thing, one incident: which case an event belongs to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import Edge, Event, Place, event_id
from core.incidents import Status
from scenarios.correlation import (
    CaseRaise,
    DecisionKind,
    OpenCase,
    better_place,
    decide,
    observer_of,
    reach_m,
)

LON, LAT = 120.3846, 36.0614
#: Metres of a degree here.
EAST_M = 90_089.0


def lon_at(east_m: float) -> float:
    return LON + east_m / EAST_M


def an_event(
    words: SimpleNamespace,
    at_s: float = 100.0,
    *,
    scenario: str = "illegal-parking",
    rule: str = "camera",
    thing: str = "camera-1/1",
    source: str = "vision",
    east_m: float | None = 0.0,
    edge: Edge = Edge.RAISE,
    began_s: float | None = None,
    **error: float,
) -> Event:
    began_ns = words.at_ns(at_s if began_s is None else began_s)
    place = Place(unplaced="no_position")
    if east_m is not None:
        place = Place(lon_deg=lon_at(east_m), lat_deg=LAT, **error)
    full = f"{scenario}/{rule}"
    return Event(
        id=event_id(
            rule=full, thing_id=thing, began_ns=began_ns, edge=edge, at_ns=words.at_ns(at_s)
        ),
        scenario=scenario,
        rule=full,
        edge=edge,
        source=source,
        thing_id=thing,
        kind="any",
        began_ns=began_ns,
        at_ns=words.at_ns(at_s),
        place=place,
    )


def a_case(event: Event, **changes: Any) -> OpenCase:
    """The case that an event opened; `cleared` says that its raise is over."""
    active = not changes.pop("cleared", False)
    case = OpenCase(
        incident_id=f"case-of-{event.thing_id}",
        scenario=event.scenario,
        status=Status.DISPATCHED,
        began_ns=event.began_ns,
        last_ns=event.at_ns,
        lon_deg=event.place.lon_deg,
        lat_deg=event.place.lat_deg,
        error_major_m=event.place.error_major_m,
        error_minor_m=event.place.error_minor_m,
        error_azimuth_deg=event.place.error_azimuth_deg,
        raises=(
            CaseRaise(
                source=event.source,
                rule=event.rule,
                thing_id=event.thing_id,
                began_ns=event.began_ns,
                active=active,
            ),
        ),
    )
    return msgspec.structs.replace(case, **changes)


def outcome(words: SimpleNamespace, event: Event, *cases: OpenCase) -> tuple[str, str | None]:
    decision = decide(event, words.shipped(event.scenario), cases)
    return str(decision.kind), decision.incident_id


def test_nothing_there_opens(words: SimpleNamespace) -> None:
    assert outcome(words, an_event(words)) == ("open", None)


def test_the_same_raise_again_attaches_whatever_became_of_the_case(words: SimpleNamespace) -> None:
    event = an_event(words)
    for status in Status:
        case = a_case(event, status=status, lon_deg=0.0, closed_ns=words.at_ns(150))
        assert outcome(words, event, case) == ("attach", case.incident_id)


@pytest.mark.parametrize("edge", [Edge.STILL, Edge.CLEAR])
def test_what_goes_on_or_ends_follows_its_raise(words: SimpleNamespace, edge: Edge) -> None:
    raised = an_event(words, 100)
    case = a_case(raised, status=Status.CLOSED, closed_ns=words.at_ns(150))
    other = a_case(an_event(words, 90, thing="camera-1/2"))
    later = an_event(words, 200, edge=edge, began_s=100)
    assert outcome(words, later, other, case) == ("attach", case.incident_id)
    assert outcome(words, later, other) == ("ignore", None)
    assert outcome(words, later) == ("ignore", None)


PARK = {"scenario": "illegal-parking", "rule": "camera", "source": "vision"}
LANE_SENSOR = {"scenario": "fire-lane-blocked", "rule": "sensor", "source": "plain"}
LANE_CAMERA = {"scenario": "fire-lane-blocked", "rule": "camera", "source": "vision"}
COVER = {"scenario": "manhole-cover", "rule": "tilt", "source": "plain"}
FLOOD = {"scenario": "road-flooding", "rule": "level", "source": "plain"}
REPORT = {"rule": "report", "source": "plain"}


@pytest.mark.parametrize(
    ("first", "second", "cleared", "expected"),
    [
        pytest.param(
            {**PARK, "thing": "camera-1/1"},
            {**PARK, "thing": "camera-1/2", "east_m": 3.0},
            False,
            "open",
            id="one camera sees two cars",
        ),
        pytest.param(
            {**PARK, "thing": "camera-1/1"},
            {**PARK, "thing": "camera-1/2", "east_m": 1.0},
            True,
            "attach",
            id="one camera lost the car and found it again",
        ),
        pytest.param(
            {**PARK, "thing": "camera-1/1"},
            {**PARK, "thing": "camera-1/2", "east_m": 1.0},
            False,
            "attach",
            id="one camera sees one car twice",
        ),
        pytest.param(
            {**PARK, "thing": "camera-1/1"},
            {**PARK, "thing": "camera-1/2", "east_m": 15.0},
            True,
            "open",
            id="another car 15 m on",
        ),
        pytest.param(
            {**PARK, "thing": "camera-1/1"},
            {**PARK, "thing": "camera-2/1", "east_m": 5.0},
            False,
            "attach",
            id="two cameras see one car",
        ),
        pytest.param(
            {**LANE_SENSOR, "thing": "parking-1"},
            {**LANE_CAMERA, "thing": "camera-2/4", "east_m": 5.0},
            False,
            "attach",
            id="sensor and camera see one car",
        ),
        pytest.param(
            {**LANE_SENSOR, "thing": "parking-1"},
            {**LANE_SENSOR, "thing": "parking-2", "east_m": 5.0},
            False,
            "open",
            id="two bays are two cars",
        ),
        pytest.param(
            {**LANE_SENSOR, "thing": "parking-1"},
            {**LANE_SENSOR, "thing": "parking-2", "east_m": 5.0},
            True,
            "open",
            id="two bays are two cars, one after the other too",
        ),
        pytest.param(
            {**COVER, "thing": "manhole-1"},
            {**COVER, "thing": "manhole-2", "east_m": 4.0},
            False,
            "open",
            id="two covers",
        ),
        pytest.param(
            {**COVER, "thing": "manhole-1"},
            {**COVER, "thing": "lora-7", "source": "chirpstack", "east_m": 1.0},
            False,
            "attach",
            id="two makes of sensor in one cover",
        ),
        pytest.param(
            {**FLOOD, "thing": "water-1"},
            {**FLOOD, "thing": "water-2", "east_m": 50.0},
            False,
            "attach",
            id="two gauges in one flood",
        ),
        pytest.param(
            {**FLOOD, "thing": "water-1"},
            {**FLOOD, "thing": "water-2", "east_m": 70.0},
            False,
            "open",
            id="two floods",
        ),
        pytest.param(
            {**FLOOD, "thing": "water-1"},
            {**FLOOD, "thing": "water-2", "east_m": 70.0, "error_major_m": 5.0},
            False,
            "attach",
            id="a position error of 5 m bridges 10 m",
        ),
        pytest.param(
            {**FLOOD, "thing": "water-1"},
            {
                **FLOOD,
                "thing": "water-2",
                "east_m": 70.0,
                "error_major_m": 5.0,
                "error_minor_m": 0.5,
                "error_azimuth_deg": 0.0,
            },
            False,
            "open",
            id="not an error across the line between them",
        ),
        pytest.param(
            {**FLOOD, "thing": "water-1"},
            {**FLOOD, "thing": "water-2", "east_m": 121.0, "error_major_m": 500.0},
            False,
            "open",
            id="an error never more than doubles the radius",
        ),
        pytest.param(
            {**COVER, "thing": "manhole-1"},
            {**COVER, **REPORT, "thing": "report/1", "east_m": 20.0},
            False,
            "attach",
            id="a citizen points at a known thing",
        ),
        pytest.param(
            {**COVER, **REPORT, "thing": "report/1"},
            {**COVER, **REPORT, "thing": "report/2", "east_m": 12.0},
            False,
            "attach",
            id="two citizens",
        ),
        pytest.param(
            {**COVER, **REPORT, "thing": "report/1"},
            {**COVER, "thing": "manhole-1", "east_m": 15.0},
            False,
            "attach",
            id="the sensor confirms the citizen",
        ),
        pytest.param(
            {**COVER, "thing": "manhole-1"},
            {**COVER, **REPORT, "thing": "report/1", "east_m": 31.0, "error_major_m": 100.0},
            False,
            "open",
            id="a citizen far off",
        ),
        pytest.param(
            {**FLOOD, "thing": "water-1", "east_m": None},
            {**FLOOD, "thing": "water-2"},
            False,
            "open",
            id="a case without a place",
        ),
        pytest.param(
            {**FLOOD, "thing": "water-1"},
            {**FLOOD, "thing": "water-1", "east_m": None},
            True,
            "attach",
            id="the same thing without a place",
        ),
    ],
)
def test_which_two_are_one(
    words: SimpleNamespace,
    first: dict[str, Any],
    second: dict[str, Any],
    cleared: bool,
    expected: str,
) -> None:
    case = a_case(an_event(words, 100, **first), cleared=cleared)
    kind, _ = outcome(words, an_event(words, 160, **second), case)
    assert kind == expected


def aircraft(words: SimpleNamespace, at_s: float, sn: str, east_m: float) -> Event:
    return an_event(
        words, at_s, scenario="height-limit", rule="height", thing=sn, source="dji", east_m=east_m
    )


def test_an_aircraft_is_itself_wherever_it_flies(words: SimpleNamespace) -> None:
    case = a_case(aircraft(words, 100, "sn-1", 0.0), cleared=True)
    assert outcome(words, aircraft(words, 150, "sn-1", 3000.0), case)[0] == "attach"
    assert outcome(words, aircraft(words, 150, "sn-2", 0.0), case)[0] == "open"
    assert outcome(words, aircraft(words, 100 + 121, "sn-1", 0.0), case)[0] == "open"


@pytest.mark.parametrize(
    ("gap_s", "cleared", "expected"),
    [
        (600, True, "attach"),
        (601, True, "open"),
        (86400, False, "attach"),
        (-600, True, "attach"),
        (-601, True, "open"),
    ],
)
def test_time_counts_from_the_last_word_unless_it_goes_on(
    words: SimpleNamespace, gap_s: float, cleared: bool, expected: str
) -> None:
    case = a_case(an_event(words, 10_000, thing="camera-1/1"), cleared=cleared)
    event = an_event(words, 10_000 + gap_s, thing="camera-2/1")
    assert outcome(words, event, case)[0] == expected


@pytest.mark.parametrize(
    ("status", "at_s", "expected"),
    [
        (Status.CLOSED, 500 + 600, "rework"),
        (Status.EVALUATED, 501, "rework"),
        (Status.CLOSED, 501 + 600, "open"),
        (Status.CANCELLED, 501, "open"),
        (Status.CLOSED, 400, "attach"),
    ],
)
def test_a_closed_case(words: SimpleNamespace, status: Status, at_s: float, expected: str) -> None:
    first = an_event(words, 100, thing="camera-1/1")
    case = a_case(first, status=status, closed_ns=words.at_ns(500), cleared=True)
    event = an_event(words, at_s, thing="camera-1/9", east_m=2.0)
    assert outcome(words, event, case)[0] == expected


def test_another_cover_is_no_rework(words: SimpleNamespace) -> None:
    first = an_event(words, 100, **COVER, thing="manhole-1")
    case = a_case(first, status=Status.CLOSED, closed_ns=words.at_ns(500), cleared=True)
    assert outcome(words, an_event(words, 600, **COVER, thing="manhole-2"), case)[0] == "open"
    assert outcome(words, an_event(words, 600, **COVER, thing="manhole-1"), case)[0] == "rework"


def test_an_open_case_comes_before_a_closed_one_and_the_nearest_first(
    words: SimpleNamespace,
) -> None:
    closed = a_case(
        an_event(words, 90, thing="camera-3/1", east_m=0.0),
        status=Status.CLOSED,
        closed_ns=words.at_ns(95),
    )
    far = a_case(an_event(words, 91, thing="camera-3/2", east_m=5.0))
    near = a_case(an_event(words, 92, thing="camera-3/3", east_m=-2.0))
    decision = decide(an_event(words, 100), words.shipped("illegal-parking"), [far, closed, near])
    assert decision.kind is DecisionKind.ATTACH
    assert decision.incident_id == near.incident_id
    assert decision.distance_m == pytest.approx(2.0, abs=0.01)


def test_cases_of_other_scenarios_do_no_harm(words: SimpleNamespace) -> None:
    case = a_case(an_event(words, 90, **LANE_CAMERA, thing="camera-3/1"))
    assert outcome(words, an_event(words, 100), case) == ("open", None)


def test_observer() -> None:
    assert observer_of("camera-1/17") == "camera-1"
    assert observer_of("water-0001") == ""


@given(
    east_m=st.floats(-400, 400),
    error_m=st.floats(0, 1000),
    order=st.permutations(range(4)),
)
def test_nothing_beyond_reach_and_no_order_matters(
    words: SimpleNamespace, east_m: float, error_m: float, order: list[int]
) -> None:
    scenario = words.shipped("road-flooding")
    event = an_event(words, 100, **FLOOD, thing="water-9", east_m=east_m, error_major_m=error_m)
    cases = [
        a_case(an_event(words, 50, **FLOOD, thing=f"water-{n}", east_m=200.0 * n - 300))
        for n in range(4)
    ]
    decision = decide(event, scenario, cases)
    assert decision == decide(event, scenario, [cases[n] for n in order])
    if decision.distance_m is not None:
        assert decision.distance_m <= reach_m(scenario)
    near = min(abs(east_m - (200.0 * n - 300)) for n in range(4))
    if near < 59.9:
        assert decision.kind is DecisionKind.ATTACH


@pytest.mark.parametrize(
    ("old", "new", "by_hand", "moves"),
    [
        ({"error_major_m": 4.0}, {"error_major_m": 2.0, "east_m": 8.0}, False, True),
        ({"error_major_m": 4.0}, {"error_major_m": 2.1, "east_m": 8.0}, False, False),
        # It must lie where the errors allow: 2.45 sigma of 4 m and 2 m is 10.9 m.
        ({"error_major_m": 4.0}, {"error_major_m": 2.0, "east_m": 10.9}, False, True),
        ({"error_major_m": 4.0}, {"error_major_m": 2.0, "east_m": 11.0}, False, False),
        # A device stands where the register says; a report that says nothing is 8 m off.
        ({}, {"error_major_m": 0.1, "east_m": 0.1}, False, False),
        ({"error_major_m": 4.0}, {"east_m": 1.0}, False, False),
        ({}, {"east_m": 15.0}, True, True),
        ({}, {"error_major_m": 4.0, "east_m": 15.0}, True, True),
        ({}, {"error_major_m": 4.1, "east_m": 15.0}, True, False),
        ({"error_major_m": 4.0}, {"east_m": None}, False, False),
        ({"east_m": None}, {"error_major_m": 40.0, "east_m": 50.0}, False, True),
    ],
)
def test_whose_place_a_case_takes(
    words: SimpleNamespace,
    old: dict[str, Any],
    new: dict[str, Any],
    by_hand: bool,
    moves: bool,
) -> None:
    before, event = an_event(words, **old).place, an_event(words, **new)
    found = better_place(before, event, words.shipped("illegal-parking"), by_hand=by_hand)
    assert found == (event.place if moves else before)


def test_what_moves_stays_where_it_was_first_seen(words: SimpleNamespace) -> None:
    flown = an_event(words, scenario="height-limit", east_m=2.0, error_major_m=0.5)
    before = Place(lon_deg=LON, lat_deg=LAT, error_major_m=4.0)
    assert better_place(before, flown, words.shipped("height-limit"), by_hand=False) == before
