"""What has long been over is forgotten, and nothing that is open or belongs to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import create_engine, text

from core.errors import NotFoundError
from core.events import Edge, Event
from core.exclusions import Circle, Exclusion, ExclusionKind
from scenarios.model import PartOf
from scenarios.steps import Step
from scenarios.verdicts import Verdict
from store import retention, tables
from store.cases import CaseStore
from store.filters import EventFilter, IncidentFilter
from store.outbox import Extent
from store.rows import Judgement, Report
from store.things import Thing

DAY_S = 86_400.0
EAST_M = 89_900.0  # metres of a degree of longitude at 36.06° N


def a_case(store: CaseStore, make: Any, n: int, at_s: float = 0.0, **more: Any) -> str:
    """A case of its own, hundreds of metres from the others."""
    event = make.event(at_s, began_s=at_s, thing=f"water-{n}", lon=120.0 + n * 400 / EAST_M, **more)
    return str(store.apply([make.batch(event)], event.at_ns)[0].incident.id)


def step(store: CaseStore, case: str, action: str, at_ns: int, role: str = "operator") -> None:
    actor = "desk-2" if role == "verifier" else "worker-1"
    store.transition(case, Step(action=action, actor=actor, role=role, at_ns=at_ns, reason="x"))


def close(store: CaseStore, case: str, at_ns: int) -> None:
    step(store, case, "accept", at_ns)
    step(store, case, "feedback", at_ns)
    step(store, case, "close", at_ns, "verifier")


def forget(store: CaseStore, before_ns: int) -> Counter[str]:
    total: Counter[str] = Counter()
    for counts in store.forget(before_ns):
        total.update(counts)
    return +total


def kept(store: CaseStore) -> set[str]:
    return {
        msgspec.json.decode(row.body)["id"] for row in store.list_incidents(IncidentFilter()).rows
    }


def rows(url: str) -> dict[str, int]:
    """How many rows each table has."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = {
            table.name: connection.scalar(text(f"SELECT count(*) FROM {table.name}"))
            for table in tables.metadata.sorted_tables
        }
    engine.dispose()
    return found


def test_a_case_that_is_long_over_goes_whole(store: CaseStore, make: Any, store_url: str) -> None:
    closed, cancelled, opened = (a_case(store, make, n) for n in range(3))
    close(store, closed, make.at(60))
    step(store, cancelled, "cancel", make.at(60))
    store.judge(
        closed,
        Judgement(verdict=Verdict.WRONG_PLACE, actor="a", role="operator", at_ns=make.at(70)),
    )
    assert forget(store, make.at(60)) == Counter(feed=3, progress=1)
    assert kept(store) == {closed, cancelled, opened}
    counts = forget(store, make.at(DAY_S))
    assert counts["incidents"] == 2
    assert kept(store) == {opened}
    assert len(store.list_events(EventFilter()).rows) == len(store.evidence(opened)) == 1
    with pytest.raises(NotFoundError):
        store.detail(closed)
    left = rows(store_url)
    assert [left[name] for name in ("incidents", "evidence", "incident_raises", "verdicts")] == [
        1, 1, 1, 0,
    ]  # fmt: skip
    assert left["history"] == len(store.history(opened)) == 3
    assert forget(store, make.at(DAY_S)) == Counter()


@pytest.mark.parametrize("happens", ["step", "event", "verdict"])
def test_what_something_happened_to_stays(store: CaseStore, make: Any, happens: str) -> None:
    case = a_case(store, make, 0)
    close(store, case, make.at(60))
    later_ns = make.at(DAY_S)
    if happens == "step":
        step(store, case, "evaluate", later_ns)
    elif happens == "verdict":
        said = Judgement(verdict=Verdict.WRONG_PLACE, actor="a", role="operator", at_ns=later_ns)
        store.judge(case, said)
    else:
        store.apply([make.batch(make.event(DAY_S, Edge.CLEAR, thing="water-0"))], later_ns)
    forget(store, later_ns)
    assert kept(store) == {case}
    assert len(store.evidence(case)) == (2 if happens == "event" else 1)
    forget(store, later_ns + 1)
    assert kept(store) == set()


def a_family(store_url: str, make: Any) -> tuple[CaseStore, str, str]:
    """A burst pipe and a flood that is part of it."""
    part_of = PartOf(scenario="burst-pipe", radius_m=300.0, within_s=3600.0)
    scenarios = (
        make.scenario("burst-pipe", radius_m=20.0),
        msgspec.structs.replace(make.scenario(radius_m=20.0), part_of=part_of),
    )
    store = CaseStore(store_url, scenarios, make.units, make.workers, "QD")
    parent = a_case(store, make, 0, scenario="burst-pipe")
    flood: Event = make.event(5, began_s=5, thing="flood", lon=120.0 + 100 / EAST_M)
    part = store.apply([make.batch(flood)], flood.at_ns)[0].incident
    assert part.parent_id == parent
    return store, parent, part.id


@pytest.mark.parametrize("open_one", ["parent", "part", None])
def test_what_belongs_to_an_open_case_stays(
    store_url: str, make: Any, open_one: str | None
) -> None:
    store, parent, part = a_family(store_url, make)
    with store:
        for name, case in (("parent", parent), ("part", part)):
            if name != open_one:
                close(store, case, make.at(60))
        forget(store, make.at(DAY_S))
        assert kept(store) == (set() if open_one is None else {parent, part})


@pytest.mark.parametrize("original_is_open", [True, False])
def test_a_duplicate_stays_as_long_as_what_it_doubles_is_open(
    store: CaseStore, make: Any, original_is_open: bool
) -> None:
    original, double = a_case(store, make, 0), a_case(store, make, 1)
    said = Judgement(
        verdict=Verdict.DUPLICATE, actor="a", role="operator", at_ns=make.at(60),
        duplicate_of=original,
    )  # fmt: skip
    assert store.judge(double, said).status.value == "cancelled"
    if not original_is_open:
        close(store, original, make.at(60))
    forget(store, make.at(DAY_S))
    assert kept(store) == ({original, double} if original_is_open else set())


def test_events_of_no_case_stay_while_their_exclusion_holds(store: CaseStore, make: Any) -> None:
    permit = Exclusion(
        id="works", kind=ExclusionKind.SILENCE, from_ns=make.at(0),
        until_ns=make.at(2 * DAY_S), at_ns=make.at(0), reason="x", actor="a",
        circle=Circle(lon_deg=120.0, lat_deg=36.06, radius_m=50.0),
    )  # fmt: skip
    left_out = make.event(1, thing="a", lon=120.0)
    nobody = make.event(2, Edge.CLEAR, thing="b", lon=121.0)
    batch = msgspec.structs.replace(make.batch(left_out, nobody), exclusions=(permit,))
    store.apply([batch], make.at(3))
    assert forget(store, make.at(DAY_S)) == Counter(evidence=1, progress=1)
    assert len(store.exclusion("works").left_out) == 1
    # What is still held at the end becomes a case then.
    store.apply([make.batch(make.event(3 * DAY_S, Edge.CLEAR, thing="c"))], make.at(3 * DAY_S))
    assert len(kept(store)) == 1


def test_lines_go_from_the_oldest_on(store: CaseStore, make: Any) -> None:
    a_case(store, make, 0)
    for second in (1, 9, 3, 12):  # a line whose writer's clock was behind
        store.apply(
            [make.batch(make.event(second, Edge.STILL, thing="water-0", lon=120.0))],
            make.at(second),
        )
    assert forget(store, make.at(5))["feed"] == 2
    assert [line.sequence for line in store.feed_after(0, 9)] == [3, 4, 5]
    assert forget(store, make.at(60))["feed"] == 3
    assert store.outbox.extent() == Extent(oldest=6, latest=5)
    a_case(store, make, 1, 60)
    assert [line.sequence for line in store.feed_after(0, 9)] == [6]


def test_last_states_and_reports(store: CaseStore, make: Any) -> None:
    store.upsert_things(
        Thing(thing_id=f"t{n}", kind="x", observed_ns=make.at(n)) for n in range(2500)
    )
    for n, name in enumerate(("taken", "not-taken", "new")):
        at_ns = make.at(0 if n < 2 else 3000)
        store.add_report(
            Report(
                id=name,
                scenario="road-flooding",
                lon_deg=120.0,
                lat_deg=36.0,
                words="x",
                at_ns=at_ns,
            )
        )
    store.apply([make.batch(make.event(1, thing="report/taken"))], make.at(1))
    counts = forget(store, make.at(2400))
    assert (counts["things"], counts["reports"]) == (2400, 1)
    assert len(store.list_things()) == 100
    assert store.report("taken").incident_id is not None
    with pytest.raises(NotFoundError):
        store.report("not-taken")


def test_one_transaction_is_small(
    store: CaseStore, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others write between the steps; who opens a case again meanwhile keeps it."""
    monkeypatch.setattr(retention, "ROWS", 10)
    cases = [a_case(store, make, n) for n in range(25)]
    for second in range(1, 5):
        words = [
            make.event(second, Edge.STILL, thing=f"water-{n}", lon=120.0 + n * 400 / EAST_M)
            for n in range(25)
        ]
        store.apply([make.batch(*words)], make.at(second))
    for case in cases:
        step(store, case, "cancel", make.at(60))
    steps: Iterator[Any] = store.forget(make.at(DAY_S))
    first = next(steps)
    assert (first["incidents"], first["evidence"]) == (2, 10)
    [again] = [one for one in kept(store) if one == cases[-1]]
    step(store, again, "reopen", make.at(2 * DAY_S))
    rest = list(steps)
    assert sum(one.get("incidents", 0) for one in rest) == 22
    assert all(max(one.values()) <= 10 for one in rest)
    assert kept(store) == {again}
    assert len(store.evidence(again)) == 5


def test_a_repeat_after_a_start_is_still_known(
    open_store: Callable[..., CaseStore], make: Any
) -> None:
    """Forgetting up to an instant leaves every later event's name, so it counts once."""
    store = open_store()
    case = a_case(store, make, 0)
    close(store, case, make.at(60))
    late = make.event(DAY_S, began_s=DAY_S, thing="water-9", lon=121.0)
    assert len(store.apply([make.batch(late)], late.at_ns)) == 1
    forget(store, make.at(DAY_S))
    assert open_store().apply([make.batch(late)], late.at_ns) == []
