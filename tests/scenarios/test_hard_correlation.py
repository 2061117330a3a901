"""Sets that tempt correlation to merge what is two, or to split what is one; truth beside each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from builders import an_event, at_s
from hypothesis import given, settings
from hypothesis import strategies as st

from core.events import Edge, Event, Place
from core.incidents import OPEN_STATUSES, Status
from geo.distance import destination
from scenarios.correlation import CaseRaise, DecisionKind, OpenCase, decide
from scenarios.loader import load_packs

PACKS = {one.id: one for one in load_packs()}
LON, LAT = 120.3846, 36.0614


class Word(NamedTuple):
    """One raise, and which real thing it is truly about."""

    truth: str
    seconds: float
    thing: str
    east_m: float
    north_m: float = 0.0
    rule: str = "camera"
    source: str = "vision"
    sigma_m: float = 1.0
    cleared_s: float | None = None


def place(word: Word) -> Place:
    away = math.hypot(word.east_m, word.north_m)
    azimuth = math.degrees(math.atan2(word.east_m, word.north_m))
    lon, lat = destination(LON, LAT, azimuth, away)
    return Place(lon_deg=float(lon), lat_deg=float(lat), error_major_m=word.sigma_m)


def correlate(scenario: str, said: Sequence[Word]) -> dict[str, set[str]]:
    """Decide on each word in turn; the truths that ended up in each case."""
    cases: dict[str, OpenCase] = {}
    truths: dict[str, set[str]] = {}
    for word in said:
        for key, case in cases.items():
            raises = tuple(
                CaseRaise(
                    source=one.source,
                    rule=one.rule,
                    thing_id=one.thing_id,
                    began_ns=one.began_ns,
                    active=not any(
                        other.thing == one.thing_id
                        and other.cleared_s is not None
                        and other.cleared_s <= word.seconds
                        for other in said
                    ),
                )
                for one in case.raises
            )
            cases[key] = _replace(case, raises=raises)
        event = an_event(
            word.seconds,
            scenario=scenario,
            rule=f"{scenario}/{word.rule}",
            source=word.source,
            thing_id=word.thing,
            place=place(word),
        )
        decision = decide(event, PACKS[scenario], list(cases.values()))
        held = CaseRaise(
            source=word.source,
            rule=event.rule,
            thing_id=word.thing,
            began_ns=event.began_ns,
        )
        if decision.kind is DecisionKind.OPEN:
            key = f"case-{len(cases)}"
            cases[key] = _opened(key, event, held)
            truths[key] = {word.truth}
        else:
            key = str(decision.incident_id)
            case = cases[key]
            cases[key] = _replace(
                case, raises=(*case.raises, held), last_ns=max(case.last_ns, event.at_ns)
            )
            truths[key].add(word.truth)
    return truths


def _replace(case: OpenCase, **changes: object) -> OpenCase:
    return msgspec.structs.replace(case, **changes)


def _opened(key: str, event: Event, held: CaseRaise) -> OpenCase:
    return OpenCase(
        incident_id=key,
        scenario=event.scenario,
        status=Status.DISPATCHED,
        began_ns=event.began_ns,
        last_ns=event.at_ns,
        lon_deg=event.place.lon_deg,
        lat_deg=event.place.lat_deg,
        error_major_m=event.place.error_major_m,
        raises=(held,),
    )


HARD: list[tuple[str, str, list[Word]]] = [
    (
        "two cars 15 m apart, each seen by two cameras",
        "illegal-parking",
        [
            Word("a", 0, "c1/1", 0.0),
            Word("b", 10, "c1/2", 15.0),
            Word("a", 20, "c2/7", 1.5, 1.0, sigma_m=2.0),
            Word("b", 30, "c2/8", 14.0, -1.0, sigma_m=2.0),
        ],
    ),
    (
        "two covers 15 m apart and a citizen at each",
        "manhole-cover",
        [
            Word("a", 0, "m-1", 0.0, rule="tilt", source="plain"),
            Word("b", 5, "m-2", 15.0, rule="tilt", source="plain"),
            Word("a", 60, "report/1", -3.0, rule="report", source="plain", sigma_m=3.0),
            Word("b", 70, "report/2", 17.0, rule="report", source="plain", sigma_m=3.0),
        ],
    ),
    (
        "the same place an hour later",
        "illegal-parking",
        [
            Word("a", 0, "c1/1", 0.0, cleared_s=300),
            Word("a", 30, "c2/1", 1.0, cleared_s=310),
            Word("b", 3900, "c1/9", 0.5),
            Word("b", 3920, "c2/4", 1.2),
        ],
    ),
    (
        "reports that drift along a street, 12 m a step, of three heaps",
        "exposed-waste",
        [
            Word("a", 0, "report/1", 0.0, rule="report", source="plain", sigma_m=2.0),
            Word("a", 20, "report/2", 6.0, rule="report", source="plain", sigma_m=2.0),
            Word("b", 40, "report/3", 24.0, rule="report", source="plain", sigma_m=2.0),
            Word("b", 60, "report/4", 30.0, rule="report", source="plain", sigma_m=2.0),
            Word("c", 80, "report/5", 48.0, rule="report", source="plain", sigma_m=2.0),
        ],
    ),
    (
        "sensor, camera, aircraft and citizen on one car in a fire lane",
        "fire-lane-blocked",
        [
            Word("a", 0, "bay-1", 0.0, rule="sensor", source="plain"),
            Word("a", 5, "c1/3", 2.0, 2.0, sigma_m=2.0),
            Word("a", 9, "air-1/8", -3.0, 4.0, sigma_m=3.0),
            Word("a", 40, "report/1", 9.0, rule="report", source="plain", sigma_m=6.0),
        ],
    ),
]


@pytest.mark.parametrize(("scenario", "said"), [one[1:] for one in HARD], ids=[o[0] for o in HARD])
def test_one_thing_one_case_and_no_wrong_merge(scenario: str, said: list[Word]) -> None:
    cases = correlate(scenario, said)
    assert all(len(truths) == 1 for truths in cases.values()), cases
    assert len(cases) == len({word.truth for word in said}), cases


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), order=st.randoms(use_true_random=False))
def test_noise_within_the_stated_error_and_any_order(seed: int, order: object) -> None:
    """Two cars 15 m apart, two cameras of 1 m error: always two cases, whoever is first."""
    noise = np.random.default_rng(seed).normal(0.0, 1.0, (4, 2)).clip(-2.4, 2.4)
    said = [
        Word("a", 0, "c1/1", *noise[0].tolist()),
        Word("b", 0, "c1/2", 15.0 + noise[1, 0], noise[1, 1]),
        Word("a", 0, "c2/1", *noise[2].tolist()),
        Word("b", 0, "c2/2", 15.0 + noise[3, 0], noise[3, 1]),
    ]
    order.shuffle(said)  # type: ignore[attr-defined]
    cases = correlate("illegal-parking", said)
    assert sorted("".join(sorted(truths)) for truths in cases.values()) == ["a", "b"]


@pytest.mark.parametrize("sigma", [(20.0, 1.0, 45.0), (20.0, 1.0, 90.0)])
def test_a_long_ellipse_bridges_along_itself_only(sigma: tuple[float, float, float]) -> None:
    """A grazing camera 20 m wrong along its view joins what lies there, not what lies aside."""
    flood = PACKS["road-flooding"]
    first = an_event(
        0, scenario=flood.id, rule=f"{flood.id}/level", thing_id="w-1", place=place_of(0.0, 0.0)
    )
    held = CaseRaise(source="plain", rule=first.rule, thing_id="w-1", began_ns=first.began_ns)
    case = _opened("case", first, held)
    lon, lat = destination(LON, LAT, 90.0, 85.0)
    event = an_event(
        30,
        scenario=flood.id,
        rule=f"{flood.id}/seen",
        source="vision",
        thing_id="c/water",
        place=Place(
            lon_deg=float(lon),
            lat_deg=float(lat),
            error_major_m=sigma[0],
            error_minor_m=sigma[1],
            error_azimuth_deg=sigma[2],
        ),
    )
    wanted = DecisionKind.ATTACH if sigma[2] == 90.0 else DecisionKind.OPEN
    assert decide(event, flood, [case]).kind is wanted


def place_of(east_m: float, north_m: float) -> Place:
    return place(Word("", 0, "", east_m, north_m, sigma_m=0.5))


@pytest.mark.parametrize(
    ("status", "edge", "after_s", "wanted"),
    [
        (Status.CLOSED, Edge.STILL, 300, DecisionKind.REWORK),
        (Status.EVALUATED, Edge.STILL, 300, DecisionKind.REWORK),
        (Status.CLOSED, Edge.STILL, 30, DecisionKind.ATTACH),  # it may need a moment to settle
        (Status.CLOSED, Edge.STILL, 3600, DecisionKind.OPEN),  # the re-open window is past
        (Status.CLOSED, Edge.CLEAR, 300, DecisionKind.ATTACH),
        (Status.CANCELLED, Edge.STILL, 300, DecisionKind.ATTACH),  # the verdict stands
    ],
)
def test_closed_while_the_water_is_still_high(
    status: Status, edge: Edge, after_s: float, wanted: DecisionKind
) -> None:
    flood = PACKS["road-flooding"]
    raised = an_event(0, scenario=flood.id, rule=f"{flood.id}/level", thing_id="w-1")
    held = CaseRaise(source="plain", rule=raised.rule, thing_id="w-1", began_ns=raised.began_ns)
    case = _replace(_opened("case", raised, held), status=status, closed_ns=at_s(600))
    later = an_event(
        600 + after_s,
        scenario=flood.id,
        rule=raised.rule,
        thing_id="w-1",
        edge=edge,
        began_ns=raised.began_ns,
    )
    decision = decide(later, flood, [case])
    assert decision.kind is wanted
    if wanted is DecisionKind.OPEN:
        fresh = _replace(case, incident_id="new", status=Status.DISPATCHED, closed_ns=None)
        assert decide(later, flood, [case, fresh]).incident_id == "new"
    assert case.status not in OPEN_STATUSES


def noise(seconds: float, scenario: str, edge: Edge = Edge.RAISE, east_m: float = 0.0) -> Event:
    return an_event(
        seconds,
        scenario=scenario,
        rule=f"{scenario}/any",
        thing_id="air-1",
        edge=edge,
        began_ns=at_s(0),
        place=place_of(east_m, 0.0),
    )


@pytest.mark.parametrize(
    ("changes", "east_m", "wanted"),
    [
        ({}, 0.0, DecisionKind.IGNORE),
        ({}, 90.0, DecisionKind.OPEN),
        ({"cleared_ns": at_s(50)}, 0.0, DecisionKind.OPEN),
        ({"status": Status.CLOSED, "closed_ns": at_s(50)}, 0.0, DecisionKind.OPEN),
    ],
    ids=["inhibited", "too far", "it is over", "it was closed"],
)
@pytest.mark.parametrize("edge", [Edge.RAISE, Edge.STILL])
def test_inhibition(
    changes: dict[str, object], east_m: float, wanted: DecisionKind, edge: Edge
) -> None:
    night = noise(0, "night-work")
    held = CaseRaise(source="plain", rule=night.rule, thing_id="air-1", began_ns=night.began_ns)
    case = _replace(_opened("night", night, held), **changes)
    event = noise(100, "site-noise", edge, east_m)
    assert decide(event, PACKS["site-noise"], [case]).kind is wanted
