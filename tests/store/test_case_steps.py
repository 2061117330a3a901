"""What people do to a case: steps, versions, repeated requests."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from core.errors import ConflictError, NotFoundError, TransitionError
from core.events import Edge
from core.incidents import Status
from core.units import seconds_to_ns
from scenarios.steps import Step
from store.cases import CaseStore


@pytest.fixture
def case(store: CaseStore, make: Any) -> str:
    [change] = store.apply([make.batch(make.event(60))], 0)
    return change.incident.id


def step(store: CaseStore, case: str, action: str, **more: Any) -> Any:
    about = {
        name: more.pop(name) for name in ("expected_version", "idempotency_key") if name in more
    }
    given = {"actor": "worker-2", "role": "operator", "at_ns": 2**60} | more
    return store.transition(case, Step(action=action, **given), **about)


def test_the_whole_way(store: CaseStore, case: str, make: Any) -> None:
    seen = []
    for second, (action, role) in enumerate(
        [
            ("accept", "worker"),
            ("handle", "worker"),
            ("feedback", "worker"),
            ("close", "verifier"),
            ("evaluate", "operator"),
        ],
        100,
    ):
        actor = "worker-2" if role == "worker" else "desk-1"
        one = step(store, case, action, role=role, actor=actor, at_ns=make.at(second))
        seen.append(one.status.value)
    assert seen == ["handling", "handling", "feedback", "closed", "evaluated"]
    assert one.closed_ns == make.at(103)
    assert one.worker_id == "worker-2"  # who accepted it
    history = [msgspec.json.decode(line) for line in store.history(case)]
    assert [line["action"] for line in history] == [
        "collect",
        "file",
        "dispatch",
        "accept",
        "handle",
        "feedback",
        "close",
        "evaluate",
    ]
    assert [line.payload for line in store.feed_after(0, 100)][-1].startswith(
        b'{"change":"transition"'
    )


def test_a_returned_task_is_dispatched_anew(store: CaseStore, case: str) -> None:
    one = step(store, case, "return", reason="不在我的网格")
    assert (one.status, one.worker_id) == (Status.FILED, None)
    one = step(store, case, "dispatch")
    assert one.status is Status.DISPATCHED
    assert one.worker_id is not None


def test_rework_is_counted(store: CaseStore, case: str) -> None:
    for action in ("accept", "feedback"):
        step(store, case, action)
    assert step(store, case, "return", reason="水还在").rework_count == 1
    step(store, case, "feedback")
    step(store, case, "close", actor="desk-1")
    one = step(store, case, "reopen", reason="又积水")
    assert (one.rework_count, one.closed_ns, one.status) == (2, None, Status.DISPATCHED)


@pytest.mark.parametrize(
    ("action", "more", "error", "words"),
    [
        ("close", {}, TransitionError, "allowed there: accept"),
        ("fly", {}, TransitionError, "actions: file"),
        ("accept", {"role": "verifier"}, TransitionError, "is for: operator, worker"),
        ("cancel", {}, TransitionError, "needs a reason"),
        ("accept", {"expected_version": 9}, ConflictError, "it is at version 1"),
        ("accept", {"expected_version": 0}, ConflictError, "it is at version 1"),
    ],
)
def test_refusals_change_nothing(
    store: CaseStore, case: str, action: str, more: dict[str, Any], error: Any, words: str
) -> None:
    before = store.detail(case)
    with pytest.raises(error, match=words):
        step(store, case, action, **more)
    assert store.detail(case) == before
    assert store.latest_sequence() == 1


def test_no_such_case(store: CaseStore) -> None:
    with pytest.raises(NotFoundError, match="'nothing'"):
        step(store, "nothing", "accept")
    with pytest.raises(NotFoundError):
        store.get("nothing")
    with pytest.raises(NotFoundError):
        store.detail("nothing")


def test_two_people_at_once(store: CaseStore, case: str) -> None:
    step(store, case, "accept", expected_version=1)
    with pytest.raises(ConflictError, match="status 'handling' since version 2"):
        step(store, case, "cancel", reason="误报", expected_version=1)


def test_new_evidence_is_no_conflict(store: CaseStore, case: str, make: Any) -> None:
    store.apply([make.batch(make.event(70, Edge.STILL)), make.batch(make.event(80, Edge.CLEAR))], 0)
    assert store.get(case).version == 3
    assert step(store, case, "accept", expected_version=1).version == 4


def test_a_repeated_request_has_the_same_answer(store: CaseStore, case: str) -> None:
    first = step(store, case, "accept", idempotency_key="k-1", expected_version=1)
    step(store, case, "feedback")
    again = step(store, case, "accept", idempotency_key="k-1", expected_version=1, at_ns=5)
    assert again == first
    assert store.latest_sequence() == 3
    with pytest.raises(ConflictError, match="another request"):
        step(store, case, "accept", idempotency_key="k-1")


def test_keys_are_bounded(store: CaseStore, case: str, monkeypatch: Any) -> None:
    from store import answers

    monkeypatch.setattr(answers, "MAX_IDEMPOTENCY_KEYS", 2)
    step(store, case, "accept", at_ns=1)
    for second in range(2, 6):
        step(store, case, "handle", idempotency_key=f"k-{second}", at_ns=second)
    # The newest two are remembered; the others would be carried out again.
    assert step(store, case, "handle", idempotency_key="k-4", at_ns=9).version == 5
    assert step(store, case, "handle", idempotency_key="k-2", at_ns=9).version == 7


def test_a_case_whose_time_runs_out_rises_level_by_level(
    store: CaseStore, case: str, make: Any
) -> None:
    opened = store.get(case)
    allowed_s = 3600.0
    assert store.escalate(make.at(0)) == []
    [warned] = store.escalate(opened.opened_ns + seconds_to_ns(0.8 * allowed_s))
    assert (warned.kind.value, warned.incident.escalation_level) == ("escalated", 1)
    assert store.escalate(opened.opened_ns + seconds_to_ns(0.9 * allowed_s)) == []
    # Nobody looked for long: what was passed meanwhile is told line by line.
    risen = store.escalate(opened.opened_ns + seconds_to_ns(1.6 * allowed_s))
    assert [one.incident.escalation_level for one in risen] == [2, 3]
    assert store.get(case).next_alert_ns == opened.opened_ns + seconds_to_ns(2 * allowed_s)
    history = [msgspec.json.decode(line) for line in store.history(case)][3:]
    assert [(line["action"], line["actor"]) for line in history] == [
        ("warn", "system"),
        ("escalate", "system"),
        ("escalate", "system"),
    ]
    # An alert takes nothing away from a person who decided before it.
    done = step(store, case, "accept", expected_version=1, at_ns=make.at(6000))
    assert done.status is Status.HANDLING
    assert step(store, case, "feedback", at_ns=make.at(6100)).next_alert_ns is None
    assert store.escalate(2**62) == []


def test_few_at_a_time(store: CaseStore, make: Any) -> None:
    for number in range(3):
        store.apply([make.batch(make.event(60, thing=f"w-{number}", lon=120.0 + number))], 0)
    late_ns = make.at(100 * 86400)
    found = [len({one.incident.id for one in store.escalate(late_ns, limit=2)}) for _ in range(3)]
    assert found == [2, 1, 0]
