"""What an exclusion leaves out is counted and explained, and becomes a case when it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from core.errors import NotFoundError
from core.events import Edge, EventBatch
from core.exclusions import Circle, Exclusion, ExclusionKind
from core.observations import Stamp
from store.cases import CaseStore
from store.filters import EventFilter, IncidentFilter


def an_exclusion(make: Any, until_s: float = 3600.0, **changes: Any) -> Exclusion:
    given: dict[str, Any] = {
        "id": "silence-1",
        "kind": ExclusionKind.SILENCE,
        "from_ns": make.at(0),
        "until_ns": make.at(until_s),
        "at_ns": make.at(0),
        "reason": "演练",
        "actor": "desk",
        "circle": Circle(lon_deg=120.38, lat_deg=36.06, radius_m=100.0),
    }
    return Exclusion(**(given | changes))


def a_round(
    make: Any, number: int, *events: Any, at_s: float, exclusions: tuple[Exclusion, ...] = ()
) -> EventBatch:
    stamp = Stamp(
        ingest_id="ingest-1",
        sequence=number,
        partition=0,
        watermark_ns=make.at(at_s),
        logged_ns=make.at(at_s),
    )
    return EventBatch(stamp=stamp, events=events, exclusions=exclusions)


def opened(store: CaseStore) -> list[dict[str, Any]]:
    return [msgspec.json.decode(row.body) for row in store.list_incidents(IncidentFilter()).rows]


def test_a_raise_is_left_out_counted_and_explained(store: CaseStore, make: Any) -> None:
    permit = an_exclusion(make)
    store.apply([a_round(make, 1, make.event(10), at_s=11, exclusions=(permit,))], 0)
    assert opened(store) == []
    [event] = [msgspec.json.decode(body) for body in store.list_events(EventFilter()).rows]
    assert event["exclusion_id"] == "silence-1"
    assert event["incident_id"] is None
    assert event["why_not"]["en"] == (
        "not an incident because silence silence-1 holds until 2026-01-01 11:00: 演练"
    )
    detail = store.exclusion("silence-1")
    assert detail.now.excluded_count == 1
    assert [msgspec.json.decode(one)["event_id"] for one in detail.left_out] == [event["event_id"]]
    assert store.wakes_ns() == permit.until_ns


def test_what_still_goes_on_at_the_end_becomes_a_case_then(store: CaseStore, make: Any) -> None:
    rounds = [
        a_round(make, 1, make.event(10), at_s=11, exclusions=(an_exclusion(make),)),
        a_round(make, 2, make.event(610, Edge.STILL), at_s=611),
        a_round(make, 3, at_s=3599),
        a_round(make, 4, at_s=3601),
    ]
    store.apply(rounds[:3], 0)
    assert opened(store) == []
    store.apply(rounds[3:], 0)
    [case] = opened(store)
    assert case["began_at"] == "2026-01-01T02:00:00.000Z"
    assert case["opened_at"] == "2026-01-01T03:00:01.000Z"
    assert (
        "silence-1 ended at 2026-01-01 11:00:00 and it still goes on" in (case["explanation"]["en"])
    )
    assert store.wakes_ns() is None
    # What follows of the same raise is evidence of it, and closes nothing anew.
    store.apply([a_round(make, 5, make.event(4210, Edge.STILL), at_s=4211)], 0)
    [case] = opened(store)
    assert case["event_count"] == 2


def test_what_is_over_before_the_end_is_no_case(store: CaseStore, make: Any) -> None:
    raised, over = make.event(10), make.event(600, Edge.CLEAR)
    store.apply([a_round(make, 1, raised, at_s=11, exclusions=(an_exclusion(make),))], 0)
    store.apply([a_round(make, 2, over, at_s=601), a_round(make, 3, at_s=9999)], 0)
    assert opened(store) == []
    assert store.wakes_ns() is None


@pytest.mark.parametrize("until_s", [900.0, 7200.0], ids=["ended early", "prolonged"])
def test_a_later_version_moves_the_end(store: CaseStore, make: Any, until_s: float) -> None:
    first = an_exclusion(make)
    later = msgspec.structs.replace(first, until_ns=make.at(until_s), at_ns=make.at(300))
    store.apply([a_round(make, 1, make.event(10), at_s=11, exclusions=(first,))], 0)
    store.apply([a_round(make, 2, at_s=301, exclusions=(later,))], 0)
    # The version before, delivered again, changes nothing.
    store.apply([a_round(make, 3, at_s=302, exclusions=(first,))], 0)
    assert store.wakes_ns() == later.until_ns
    store.apply([a_round(make, 4, at_s=until_s - 1)], 0)
    assert opened(store) == []
    store.apply([a_round(make, 5, at_s=until_s)], 0)
    assert len(opened(store)) == 1
    detail = store.exclusion("silence-1")
    assert [one.until_ns for one in detail.versions] == [first.until_ns, later.until_ns]
    assert detail.now.excluded_count == 1


def test_of_two_that_follow_each_other_the_second_holds_on(store: CaseStore, make: Any) -> None:
    both = (
        an_exclusion(make),
        an_exclusion(make, 7200, id="silence-2", from_ns=make.at(3600)),
    )
    store.apply([a_round(make, 1, make.event(10), at_s=11, exclusions=both)], 0)
    store.apply([a_round(make, 2, at_s=3600)], 0)
    assert opened(store) == []
    assert store.wakes_ns() == make.at(7200)
    store.apply([a_round(make, 3, at_s=7200)], 0)
    assert len(opened(store)) == 1


def test_an_open_case_stays_and_takes_evidence(store: CaseStore, make: Any) -> None:
    store.apply([a_round(make, 1, make.event(10), at_s=11)], 0)
    later = make.event(20, thing="water-2", began_s=20)
    store.apply([a_round(make, 2, later, at_s=21, exclusions=(an_exclusion(make),))], 0)
    [case] = opened(store)
    assert case["event_count"] == 2


def test_rounds_may_come_in_any_pieces_and_again(
    open_store: Callable[..., CaseStore], store_url: str, make: Any
) -> None:
    """One transaction or many, and after a crash some of it twice: the same rows."""
    rounds = [
        a_round(make, 1, make.event(10), at_s=11, exclusions=(an_exclusion(make),)),
        a_round(make, 2, make.event(20, began_s=20, thing="water-9", lon=120.3805), at_s=30),
        a_round(make, 3, make.event(40, Edge.CLEAR), at_s=41),
        a_round(make, 4, make.event(3600, Edge.CLEAR, began_s=20, thing="water-9"), at_s=3601),
        a_round(make, 5, make.event(3700, began_s=3700), at_s=3701),
    ]
    store = open_store()
    for n in range(len(rounds)):
        store.apply(rounds[max(0, n - 2) : n + 1], 0)
    # The end at 3600 s comes before the edge of that instant: it still went on when it ended.
    assert [one["thing"] if "thing" in one else one["case_number"] for one in opened(store)] == [
        "QD-20260101-000001"
    ]
    [case] = opened(store)
    assert case["event_count"] == 3
    assert store.exclusion("silence-1").now.excluded_count == 2


def test_lists(store: CaseStore, make: Any) -> None:
    old = an_exclusion(make, 60, id="old")
    store.apply([a_round(make, 1, at_s=1, exclusions=(old, an_exclusion(make)))], 0)
    assert [one.record.id for one in store.exclusions()] == ["silence-1", "old"]
    assert [one.record.id for one in store.exclusions(in_force_ns=make.at(100))] == ["silence-1"]
    with pytest.raises(NotFoundError, match="'none'"):
        store.exclusion("none")


def test_long_ended_ones_are_forgotten(store: CaseStore, make: Any) -> None:
    old = an_exclusion(make, 60, id="old")
    new = an_exclusion(
        make, 500 * 86400, id="new", from_ns=make.at(450 * 86400), at_ns=make.at(450 * 86400)
    )
    store.apply([a_round(make, 1, at_s=1, exclusions=(old,))], 0)
    store.apply([a_round(make, 2, at_s=450 * 86400, exclusions=(new,))], 0)
    assert [one.record.id for one in store.exclusions()] == ["new"]
