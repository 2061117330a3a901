"""One burst pipe, twelve floods: cases that are part of another."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from core.city import Unit
from core.events import Event
from core.incidents import Incident
from scenarios.model import Domain, PartOf
from scenarios.steps import Step
from store.cases import CaseStore
from store.filters import IncidentFilter

EAST_M = 89_900.0  # metres of a degree of longitude at 36.06° N


WATER = Unit(unit_id="water", name="水务集团", department="城管", area_code="")


def open_grouped(url: str, make: Any, *more_units: Unit) -> CaseStore:
    """A store in which floods, the traffic police's, are part of burst pipes."""
    part_of = PartOf(scenario="burst-pipe", radius_m=300.0, within_s=3600.0)
    scenarios = (
        make.scenario("burst-pipe", domain=Domain.URBAN, radius_m=20.0),
        msgspec.structs.replace(make.scenario(radius_m=20.0), part_of=part_of),
    )
    return CaseStore(url, scenarios, (make.units[0], *more_units), make.workers, "QD")


@pytest.fixture
def grouped(store_url: str, make: Any) -> Iterator[CaseStore]:
    with open_grouped(store_url, make, WATER) as store:
        yield store


def a_flood(make: Any, n: int, east_m: float, began_s: float = 60.0, lon: float = 120.38) -> Event:
    return make.event(
        began_s + 10, began_s=began_s, thing=f"water-{n}-{lon}", lon=lon + east_m / EAST_M
    )


def a_burst(make: Any, n: int, east_m: float, began_s: float = 0.0, lon: float = 120.38) -> Event:
    return make.event(
        began_s + 5,
        scenario="burst-pipe",
        began_s=began_s,
        thing=f"pipe-{n}-{lon}",
        lon=lon + east_m / EAST_M,
    )


def apply(store: CaseStore, make: Any, events: Sequence[Event]) -> dict[str, Incident]:
    """The events one by one; gives the incidents they opened, as they then are, by thing."""
    opened: dict[str, str] = {}
    for event in events:
        for change in store.apply([make.batch(event)], 0):
            if change.kind.value == "opened" and change.evidence is not None:
                opened[change.evidence.thing_id] = change.incident.id
    return {thing: store.detail(case_id).incident for thing, case_id in opened.items()}


def test_floods_go_where_the_burst_pipe_went(grouped: CaseStore, make: Any) -> None:
    events = [a_burst(make, 0, 0.0)] + [a_flood(make, n, 40.0 * n - 260) for n in range(12)]
    found = list(apply(grouped, make, events).values())
    burst, floods = found[0], found[1:]
    assert len(floods) == 12
    assert (burst.unit_id, burst.parent_id) == ("water", None)
    assert {(one.parent_id, one.unit_id, one.worker_id) for one in floods} == {
        (burst.id, "water", burst.worker_id)
    }
    assert burst.case_number in floods[0].explanation.en
    assert burst.case_number in floods[0].explanation.zh
    parts = grouped.list_incidents(IncidentFilter(parent_id=burst.id), limit=100).rows
    assert {msgspec.json.decode(row.body)["parent_id"] for row in parts} == {burst.id}
    assert len(parts) == 12
    # Twelve parts are no further tasks: the other worker, who has none, is not overrun.
    [other] = apply(grouped, make, [a_flood(make, 99, 5000.0)]).values()
    [last] = apply(grouped, make, [a_flood(make, 98, 6000.0)]).values()
    assert (other.parent_id, other.unit_id) == (None, "traffic")
    assert other.worker_id != burst.worker_id
    assert {other.worker_id, last.worker_id} == {"worker-1", "worker-2"}


def test_a_late_parent_adopts_but_calls_nobody_back(grouped: CaseStore, make: Any) -> None:
    events = [a_flood(make, 1, 100.0), a_flood(make, 2, 200.0), a_flood(make, 3, 400.0)]
    free, taken, far = apply(grouped, make, events).values()
    assert {one.unit_id for one in (free, taken, far)} == {"traffic"}
    step = Step(action="accept", actor="worker-1", role="worker", at_ns=make.at(75))
    taken = grouped.transition(taken.id, step)
    changes = grouped.apply([make.batch(a_burst(make, 0, 0.0, began_s=80.0))], 0)
    assert [change.kind.value for change in changes] == ["opened", "grouped", "grouped"]
    burst = changes[0].incident
    now = {one.id: grouped.detail(one.id).incident for one in (free, taken, far)}
    assert (now[free.id].parent_id, now[free.id].unit_id) == (burst.id, "water")
    assert now[free.id].worker_id == burst.worker_id
    assert (now[taken.id].parent_id, now[taken.id].unit_id) == (burst.id, "traffic")
    assert now[taken.id].worker_id == "worker-1"
    assert now[far.id] == far
    assert now[free.id].case_number == free.case_number
    assert burst.case_number in now[free.id].explanation.en
    last = msgspec.json.decode(grouped.history(free.id)[-1])
    assert (last["action"], last["actor"]) == ("group", "system")
    assert burst.case_number in last["reason"]


def test_a_closed_parent_keeps_its_parts_and_takes_no_more(grouped: CaseStore, make: Any) -> None:
    burst, flood = apply(grouped, make, [a_burst(make, 0, 0.0), a_flood(make, 1, 50.0)]).values()
    step = Step(action="cancel", actor="a", role="operator", at_ns=make.at(90), reason="no burst")
    grouped.transition(burst.id, step)
    [later] = apply(grouped, make, [a_flood(make, 2, 100.0, began_s=120.0)]).values()
    assert (later.parent_id, later.unit_id) == (None, "traffic")
    assert grouped.detail(flood.id).incident.parent_id == burst.id


def test_a_part_of_what_nobody_answers_for_goes_its_own_way(store_url: str, make: Any) -> None:
    with open_grouped(store_url, make) as store:
        events = [a_burst(make, 0, 0.0), a_flood(make, 1, 10.0)]
        burst, flood = apply(store, make, events).values()
    assert burst.unit_id == "unclear-duty"
    assert (flood.parent_id, flood.unit_id) == (burst.id, "traffic")


def test_grouping_does_not_depend_on_the_order(grouped: CaseStore, make: Any) -> None:
    found = []
    for turn in range(8):
        lon = 119.0 + turn / 10  # a street of its own for each order
        pipes = [a_burst(make, n, 400.0 * n, 30.0 * n, lon) for n in range(3)]
        floods = [a_flood(make, n, 90.0 * n - 250, 45.0 * n, lon) for n in range(14)]
        events = [*pipes, *floods]
        random.Random(turn).shuffle(events)
        cases = apply(grouped, make, events)
        assert len(cases) == 17
        name_of = {one.id: thing.rpartition("-")[0] for thing, one in cases.items()}
        for one in cases.values():
            if one.parent_id is not None:
                parent = grouped.detail(one.parent_id).incident
                assert (one.unit_id, one.worker_id) == (parent.unit_id, parent.worker_id)
        found.append({name_of[one.id]: name_of.get(one.parent_id or "") for one in cases.values()})
    assert found[0] == found[-1]
    assert all(one == found[0] for one in found)
    assert set(found[0].values()) == {None, "pipe-0", "pipe-1", "pipe-2"}
