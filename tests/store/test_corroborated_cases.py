"""A case of several voices: it waits for them, opens with all of them, and grows sure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from core.events import Edge
from scenarios.model import Corroborate
from store.cases import CaseStore
from store.filters import EventFilter, IncidentFilter


@pytest.fixture
def store(store_url: str, make: Any) -> Iterator[CaseStore]:
    """Two sources within 80 m and ten minutes make a flood."""
    flood = msgspec.structs.replace(
        make.scenario(), corroborate=Corroborate(at_least=2, radius_m=80.0, within_s=600.0)
    )
    opened = CaseStore(store_url, [flood], make.units, make.workers, "QD")
    yield opened
    opened.close()


def cases(store: CaseStore) -> list[dict[str, Any]]:
    return [msgspec.json.decode(row.body) for row in store.list_incidents(IncidentFilter()).rows]


def events(store: CaseStore) -> dict[str, dict[str, Any]]:
    found = [msgspec.json.decode(body) for body in store.list_events(EventFilter()).rows]
    return {f"{one['thing_id']} {one['edge']}": one for one in found}


def test_the_second_voice_opens_it_with_the_word_of_both(store: CaseStore, make: Any) -> None:
    first = make.event(10, began_s=10, thing="water-1", confidence_ratio=0.6)
    second = make.event(300, began_s=300, thing="water-2", lon=120.3804, confidence_ratio=0.7)
    store.apply([make.batch(first)], 0)
    assert cases(store) == []
    why_not = events(store)["water-1 raise"]["why_not"]
    assert why_not["en"] == "no incident yet: 2 independent sources must agree"
    store.apply([make.batch(second)], 0)
    [case] = cases(store)
    assert case["began_at"] == "2026-01-01T02:00:10.000Z"
    assert case["opened_at"] == "2026-01-01T02:05:01.000Z"
    assert (case["source_count"], case["event_count"]) == (2, 2)
    assert case["confidence_ratio"] == pytest.approx(1 - 0.4 * 0.3)
    assert "water-2 agree" in case["explanation"]["en"]
    told = events(store)
    assert {one["incident_id"] for one in told.values()} == {case["id"]}
    assert told["water-1 raise"]["why_not"] is None
    assert store.wakes_ns() is None
    # A third is evidence like any other.
    store.apply([make.batch(make.event(400, began_s=400, thing="water-3"))], 0)
    [case] = cases(store)
    assert case["source_count"] == 3


def test_a_report_opens_it_with_what_waits_there(store: CaseStore, make: Any) -> None:
    store.apply([make.batch(make.event(10, began_s=10))], 0)
    report = make.event(60, began_s=60, thing="report/1", rule="road-flooding/report")
    store.apply([make.batch(report)], 0)
    [case] = cases(store)
    assert (case["source_count"], case["event_count"]) == (2, 2)
    assert case["began_at"] == "2026-01-01T02:00:10.000Z"
    assert all(one["incident_id"] == case["id"] for one in events(store).values())


def test_one_voice_alone_is_never_a_case(store: CaseStore, make: Any) -> None:
    rounds = [
        make.batch(make.event(10, began_s=10)),
        make.batch(make.event(610, Edge.STILL, began_s=10)),
        make.batch(make.event(900, Edge.CLEAR, began_s=10)),
        make.batch(make.event(1000, began_s=1000)),
    ]
    store.apply(rounds, 0)
    assert cases(store) == []


def test_what_is_over_agrees_for_a_while_and_is_then_forgotten(store: CaseStore, make: Any) -> None:
    store.apply([make.batch(make.event(10, began_s=10))], 0)
    store.apply([make.batch(make.event(100, Edge.CLEAR, began_s=10))], 0)
    assert store.wakes_ns() == make.at(700)
    late = make.event(701, began_s=701, thing="water-2")
    store.apply([make.batch(late)], 0)
    assert cases(store) == []
    soon = make.event(750, began_s=650, thing="water-3")
    store.apply([make.batch(soon)], 0)
    [case] = cases(store)
    assert {one["thing_id"] for one in events(store).values() if one["incident_id"]} == {
        "water-2",
        "water-3",
    }
    assert case["began_at"] == "2026-01-01T02:10:50.000Z"


def test_one_that_is_over_by_then_is_evidence_with_its_end(store: CaseStore, make: Any) -> None:
    store.apply([make.batch(make.event(10, began_s=10))], 0)
    store.apply([make.batch(make.event(100, Edge.CLEAR, began_s=10))], 0)
    second = make.event(300, began_s=300, thing="water-2")
    store.apply([make.batch(second)], 0)
    [case] = cases(store)
    assert (case["event_count"], case["cleared_at"]) == (3, None)
    store.apply([make.batch(make.event(500, Edge.CLEAR, began_s=300, thing="water-2"))], 0)
    [case] = cases(store)
    assert case["cleared_at"] == "2026-01-01T02:08:20.000Z"


def test_what_nobody_agrees_with_is_waited_for_so_long_and_no_longer(
    store: CaseStore, make: Any
) -> None:
    month_s = 30 * 86400.0
    store.apply([make.batch(make.event(10, began_s=10))], 0)
    assert store.wakes_ns() == make.at(10 + month_s)
    late = make.event(20 + month_s, began_s=20 + month_s, thing="water-2")
    store.apply([make.batch(late)], 0)
    assert cases(store) == []
    assert store.wakes_ns() == make.at(20 + 2 * month_s)


def test_all_in_one_transaction_or_each_in_its_own(
    store: CaseStore, make: Any, store_url: str
) -> None:
    rounds = [
        make.batch(make.event(10, began_s=10)),
        make.batch(make.event(100, Edge.CLEAR, began_s=10)),
        make.batch(make.event(300, began_s=300, thing="water-2")),
    ]
    store.apply(rounds, 0)
    store.apply(rounds, 0)
    [case] = cases(store)
    assert case["event_count"] == 3
    assert all(one["incident_id"] == case["id"] for one in events(store).values())
