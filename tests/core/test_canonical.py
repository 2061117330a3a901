"""The canonical form: what must not matter does not, what must matter does."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from builders import an_event, at_s

from core.canonical import canonical_json
from core.events import Edge
from core.incidents import Evidence, Incident, Severity, Status, Text, incident_id


def a_word(seconds: float = 0.0, edge: Edge = Edge.RAISE) -> Evidence:
    event = an_event(seconds, edge=edge)
    return Evidence(
        event_id=event.id,
        source=event.source,
        thing_id=event.thing_id,
        kind=event.kind,
        rule=event.rule,
        edge=edge,
        at_ns=event.at_ns,
        observation_ids=("o-1",),
    )


def an_incident(**given: Any) -> Incident:
    fields: dict[str, Any] = {
        "id": incident_id("road-flooding", a_word().event_id),
        "case_number": "QD-20260701-000001",
        "scenario": "road-flooding",
        "scenario_name": Text("道路积水", "Road flooding"),
        "domain": "transport",
        "category_system": "GB/T 47678.5-2026",
        "category_code": "01003",
        "department": Text("城管", "Urban management"),
        "severity": Severity.SEVERE,
        "status": Status.DISPATCHED,
        "place": an_event().place,
        "began_ns": at_s(0),
        "opened_ns": at_s(2),
        "updated_ns": at_s(2),
    }
    return Incident(**(fields | given))


WORDS = [a_word(), a_word(30, Edge.CLEAR)]


@pytest.mark.parametrize(
    "given",
    [
        {"case_number": "QD-20260702-000009"}, {"worker_id": "w-1", "worker_name": "李"},
        {"status": Status.CLOSED, "closed_ns": at_s(99)}, {"opened_ns": at_s(7)},
        {"updated_ns": at_s(9), "version": 4, "event_count": 9}, {"deadline_ns": at_s(3600)},
        {"rework_count": 2},
    ],
    ids=lambda given: next(iter(given)),
)  # fmt: skip
def test_what_depends_on_the_day_does_not_matter(given: dict[str, Any]) -> None:
    assert canonical_json([(an_incident(**given), WORDS)]) == canonical_json(
        [(an_incident(), WORDS)]
    )


@pytest.mark.parametrize(
    "given",
    [{"id": "f" * 32}, {"scenario": "gas-leak"}, {"began_ns": at_s(1)}, {"cleared_ns": at_s(30)},
     {"place": msgspec.structs.replace(an_event().place, lon_deg=120.4)}],
    ids=lambda given: next(iter(given)),
)  # fmt: skip
def test_what_was_found_matters(given: dict[str, Any]) -> None:
    assert canonical_json([(an_incident(**given), WORDS)]) != canonical_json(
        [(an_incident(), WORDS)]
    )


def test_order_given_does_not_matter_and_evidence_does() -> None:
    first, second = an_incident(), an_incident(id="f" * 32)
    one = canonical_json([(first, WORDS), (second, WORDS[:1])])
    assert one == canonical_json([(second, WORDS[:1]), (first, WORDS[::-1])])
    assert one != canonical_json([(first, WORDS[:1]), (second, WORDS[:1])])
    lines = [json.loads(line) for line in one.splitlines()]
    assert [len(line["evidence"]) for line in lines] in ([1, 2], [2, 1])
    assert [line["id"] for line in lines] == sorted(line["id"] for line in lines)
