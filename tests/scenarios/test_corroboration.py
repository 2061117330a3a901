"""When a raise has enough others beside it: voices, distance with errors, time."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from core.events import Edge, Event, Place
from core.units import seconds_to_ns
from geo.distance import destination
from scenarios.corroboration import Waiting, agreeing, explain_waiting
from scenarios.loader import load_packs
from scenarios.model import Corroborate, Independent, Scenario

FLOOD = next(one for one in load_packs() if one.id == "road-flooding")
LON, LAT = 120.3846, 36.0614


def a_scenario(**changes: Any) -> Scenario:
    given: dict[str, Any] = {"at_least": 2, "radius_m": 30.0, "within_s": 600.0}
    return msgspec.structs.replace(FLOOD, corroborate=Corroborate(**(given | changes)))


def a_raise(
    thing: str, *, at_s: float = 0.0, east_m: float = 0.0, rule: str = "level", **place: Any
) -> Event:
    lon, lat = destination(LON, LAT, 90.0, east_m)
    kinds = {"level": "water_level", "seen": "detection.standing_water", "report": "report"}
    return Event(
        id=f"{thing}@{at_s:g}",
        scenario="road-flooding",
        rule=f"road-flooding/{rule}",
        edge=Edge.RAISE,
        source="plain",
        thing_id=thing,
        kind=kinds[rule],
        began_ns=seconds_to_ns(at_s),
        at_ns=seconds_to_ns(at_s),
        place=Place(lon_deg=float(lon), lat_deg=float(lat), **place),
    )


def over(event: Event, at_s: float) -> Waiting:
    ended = msgspec.structs.replace(event, edge=Edge.CLEAR, at_ns=seconds_to_ns(at_s))
    return Waiting(raised=event, ended=ended)


def waits(*events: Event) -> list[Waiting]:
    return [Waiting(raised=one) for one in events]


@pytest.mark.parametrize(
    ("scenario", "waiting", "event", "enough"),
    [
        (FLOOD, [], a_raise("w-1"), True),
        (a_scenario(), [], a_raise("w-1"), False),
        (a_scenario(), waits(a_raise("w-1")), a_raise("w-2", at_s=60), True),
        # The same device again, or another object of the same camera, is no other voice.
        (a_scenario(), waits(a_raise("w-1")), a_raise("w-1", at_s=60), False),
        (a_scenario(), waits(a_raise("c-1/7")), a_raise("c-1/8", at_s=60), False),
        (a_scenario(), waits(a_raise("c-1/7")), a_raise("c-2/7", at_s=60), True),
        (a_scenario(at_least=3), waits(a_raise("w-1")), a_raise("w-2"), False),
        (a_scenario(at_least=3), waits(a_raise("w-1"), a_raise("w-2")), a_raise("w-3"), True),
        # Of another kind: two gauges are one.
        (a_scenario(of=Independent.KINDS), waits(a_raise("w-1")), a_raise("w-2"), False),
        (
            a_scenario(of=Independent.KINDS),
            waits(a_raise("w-1")),
            a_raise("c-1/2", rule="seen"),
            True,
        ),
        # Near, and near only as far as the errors bridge.
        (a_scenario(), waits(a_raise("w-1")), a_raise("w-2", east_m=29), True),
        (a_scenario(), waits(a_raise("w-1")), a_raise("w-2", east_m=40), False),
        (
            a_scenario(),
            waits(a_raise("w-1")),
            a_raise("w-2", east_m=40, error_major_m=5.0),
            True,
        ),
        (
            a_scenario(),
            waits(a_raise("w-1")),
            a_raise("w-2", east_m=40, error_major_m=5.0, error_minor_m=0.5, error_azimuth_deg=0.0),
            False,
        ),
        (
            a_scenario(),
            waits(a_raise("w-1")),
            a_raise("w-2", east_m=61, error_major_m=50.0),
            False,
        ),
        # Soon: what goes on still speaks, what is over speaks for a while.
        (a_scenario(), waits(a_raise("w-1")), a_raise("w-2", at_s=7200), True),
        (a_scenario(), [over(a_raise("w-1"), 100)], a_raise("w-2", at_s=700), True),
        (a_scenario(), [over(a_raise("w-1"), 100)], a_raise("w-2", at_s=701), False),
        # Enough in themselves.
        (a_scenario(), [], a_raise("report/1", rule="report"), True),
        (a_scenario(alone=("road-flooding/level",)), [], a_raise("w-1"), True),
        (a_scenario(alone=("road-flooding/seen",)), [], a_raise("w-1"), False),
    ],
)
def test_who_agrees(scenario: Scenario, waiting: list[Waiting], event: Event, enough: bool) -> None:
    found = agreeing(event, scenario, waiting)
    assert (found is not None) is enough


def test_a_place_that_is_not_known_agrees_with_none() -> None:
    nowhere = msgspec.structs.replace(a_raise("w-2"), place=Place(unplaced="no_position"))
    assert agreeing(nowhere, a_scenario(), waits(a_raise("w-1"))) is None
    assert agreeing(a_raise("w-1"), a_scenario(), waits(nowhere)) is None


def test_the_order_of_those_who_wait_changes_nothing() -> None:
    others = waits(*(a_raise(f"w-{n}", east_m=10.0 * n) for n in range(5)))
    last = a_raise("w-9", at_s=60)
    found = agreeing(last, a_scenario(at_least=4), others)
    assert found is not None
    for permuted in itertools.permutations(others):
        again = agreeing(last, a_scenario(at_least=4), permuted)
        assert again is not None
        assert {one.raised.id for one in again} == {one.raised.id for one in found}


def test_what_is_told() -> None:
    assert explain_waiting(a_scenario()).en == ("no incident yet: 2 independent sources must agree")
    assert explain_waiting(a_scenario(of=Independent.KINDS)).zh == ("暂不立案，待 2 类来源相互印证")
    with pytest.raises(ValueError, match="road-flooding"):
        explain_waiting(FLOOD)
