"""What steps change of a case, and when its time runs out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import TransitionError
from core.events import Place
from core.incidents import Incident, Severity, Status, Text
from core.units import NS_PER_S, ns_to_rfc3339, rfc3339_to_ns
from scenarios.deadlines import deadline_ns, time_left_s
from scenarios.escalation import Level, is_due, next_alert_ns
from scenarios.lifecycle import Action, Role, check_transition
from scenarios.model import Deadline, DeadlineClock
from scenarios.steps import Step, possible_actions, take_step

#: A Monday, 09:00 in China.
MONDAY_NS = rfc3339_to_ns("2026-01-05T09:00:00+08:00")
HOUR_NS = 3600 * NS_PER_S
FOUR_HOURS = Deadline(duration_s=4 * 3600.0, clock=DeadlineClock.WORKING)


def a_case(**more: Any) -> Incident:
    given_fields: dict[str, Any] = {
        "status": Status.HANDLING,
        "dispatched_ns": MONDAY_NS,
        "deadline_ns": deadline_ns(MONDAY_NS, FOUR_HOURS),
    } | more
    return Incident(
        id="i",
        case_number="QD-1",
        scenario="road-flooding",
        scenario_name=Text("", ""),
        domain="交通",
        category_system="",
        category_code="",
        department=Text("", ""),
        severity=Severity.MINOR,
        place=Place(),
        began_ns=MONDAY_NS,
        opened_ns=MONDAY_NS,
        updated_ns=MONDAY_NS,
        **given_fields,
    )


def after(case: Incident, action: str, at_hours: float = 1.0, **more: Any) -> Incident:
    words = {"actor": "worker-1", "role": "operator", "reason": "because"} | more
    step = Step(action=action, at_ns=MONDAY_NS + round(at_hours * HOUR_NS), **words)
    return msgspec.structs.replace(case, **take_step(case, step, FOUR_HOURS))


def test_more_time_is_asked_for_granted_and_moves_the_deadline_in_hours_that_count() -> None:
    case = after(a_case(), "extend", extension_s=2 * 3600.0, role="worker")
    assert case.extension_s == 7200.0
    assert Action.EXTEND not in possible_actions(case)
    assert {Action.GRANT, Action.REFUSE} <= set(possible_actions(case))
    granted = after(case, "grant", 2.0)
    # Monday 13:00 and two hours; four would go over into Tuesday.
    assert ns_to_rfc3339(granted.deadline_ns or 0) == "2026-01-05T07:00:00.000Z"
    assert (granted.extension_s, granted.extension_count) == (None, 1)
    less = after(case, "grant", 2.0, extension_s=5 * 3600.0)
    assert ns_to_rfc3339(less.deadline_ns or 0) == "2026-01-06T02:00:00.000Z"
    refused = after(case, "refuse", 2.0)
    assert (refused.deadline_ns, refused.extension_count) == (case.deadline_ns, 0)
    assert Action.EXTEND in possible_actions(refused)


def test_a_suspended_case_keeps_the_time_it_had_left() -> None:
    case = after(a_case(), "suspend", 1.0)  # three hours left
    assert case.status is Status.SUSPENDED
    assert case.next_alert_ns is None
    resumed = after(case, "resume", 7.0)  # 16:00: one hour today, two tomorrow
    assert ns_to_rfc3339(resumed.deadline_ns or 0) == "2026-01-06T03:00:00.000Z"
    assert resumed.status is Status.HANDLING
    assert resumed.suspended_ns is None


def test_who_handled_it_does_not_verify_it() -> None:
    case = after(a_case(), "feedback", actor="worker-1", photos=("cases/i/1.jpg",))
    assert (case.handled_by, case.after_photos) == ("worker-1", ("cases/i/1.jpg",))
    with pytest.raises(TransitionError, match="'worker-1' handled this case"):
        after(case, "close", actor="worker-1", role="verifier")
    assert after(case, "close", actor="worker-2", role="verifier").closed_ns is not None


def test_returned_work_is_no_longer_disposed() -> None:
    case = after(a_case(), "feedback")
    back = after(case, "return", 2.0, role="verifier")
    assert (back.status, back.disposed_ns, back.rework_count) == (Status.HANDLING, None, 1)


@pytest.mark.parametrize(
    ("case", "action", "more", "words"),
    [
        (a_case(), "grant", {}, "nobody has asked"),
        (a_case(), "refuse", {}, "nobody has asked"),
        (a_case(), "extend", {}, "60 to 2592000 was wanted, got None"),
        (a_case(), "extend", {"extension_s": 5.0}, "got 5.0"),
        (a_case(), "extend", {"extension_s": float("nan")}, "got nan"),
        (a_case(extension_s=60.0), "extend", {"extension_s": 60.0}, "asked for already"),
        (a_case(deadline_ns=None), "extend", {"extension_s": 60.0}, "no deadline"),
        (a_case(), "suspend", {"reason": " "}, "needs a reason"),
        (a_case(), "suspend", {"role": "worker"}, "not for role 'worker'"),
        (a_case(), "grant", {"role": "worker"}, "not for role 'worker'"),
        (a_case(), "handle", {"photos": ("x",) * 10}, "at most 9 photos"),
    ],
)
def test_refusals(case: Incident, action: str, more: dict[str, Any], words: str) -> None:
    with pytest.raises(TransitionError, match=words):
        after(case, action, **more)


def test_every_step_that_is_offered_can_be_taken() -> None:
    for status in Status:
        for extension_s in (None, 600.0):
            case = a_case(status=status, extension_s=extension_s, handled_by="somebody")
            for action in possible_actions(case):
                roles = [r for r in ("operator", "system") if action in possible_actions(case, r)]  # type: ignore[arg-type]
                taken = after(case, action, role=roles[0], extension_s=600.0)
                assert taken.status in Status


MOVES = st.lists(
    st.tuples(st.sampled_from(list(Action)), st.sampled_from(list(Role)), st.integers(0, 3)),
    max_size=40,
)


@given(moves=MOVES)
def test_whatever_people_try_a_case_stays_a_case(moves: list[tuple[Action, Role, int]]) -> None:
    """Any steps by anybody in any order: what is refused changes nothing, what is taken adds up."""
    case = a_case(status=Status.FILED, dispatched_ns=None, deadline_ns=None)
    verified_by: str | None = None
    for number, (action, role, who) in enumerate(moves, start=1):
        before = case
        step = Step(
            action=action,
            actor=f"person-{who}",
            role=role,
            at_ns=MONDAY_NS + number * HOUR_NS // 4,
            reason="because",
            extension_s=600.0 if action in (Action.EXTEND, Action.GRANT) else None,
        )
        offered = action in possible_actions(case, role)
        try:
            case = msgspec.structs.replace(case, **take_step(case, step, FOUR_HOURS))
        except TransitionError:
            # Refused though offered: only where who handled it would verify it.
            assert not offered or (action is Action.CLOSE and step.actor == before.handled_by)
            assert case is before
            continue
        assert offered
        assert case.status is check_transition(before.status, action, role, "because")
        assert case.updated_ns >= before.updated_ns
        if action is Action.CLOSE:
            verified_by = step.actor
        if case.status in (Status.CLOSED, Status.EVALUATED):
            assert before.handled_by != verified_by
        if case.status in (Status.DISPATCHED, Status.HANDLING):
            assert case.dispatched_ns is not None
            assert case.deadline_ns is not None
            assert case.deadline_ns > case.dispatched_ns
        if case.status is Status.DISPATCHED and before.status is not Status.DISPATCHED:
            assert case.escalation_level == 0


def alerts(case: Incident) -> list[tuple[Level, str]]:
    found = []
    for _ in range(6):
        at_ns = next_alert_ns(case, FOUR_HOURS)
        if at_ns is None:
            return found
        level = Level(case.escalation_level + 1)
        found.append((level, ns_to_rfc3339(at_ns + 8 * HOUR_NS)[5:16]))
        case = msgspec.structs.replace(case, escalation_level=int(level))
    raise AssertionError("a case that never stops rising")


def test_the_chain_of_escalation_counts_working_hours() -> None:
    assert alerts(a_case()) == [
        (Level.WARNED, "01-05T12:12"),
        (Level.UNIT, "01-05T13:00"),
        (Level.DISTRICT, "01-05T15:00"),
        (Level.CITY, "01-05T17:00"),
    ]
    granted = after(after(a_case(), "extend", extension_s=3600.0), "grant")
    assert [at for _, at in alerts(granted)] == [
        "01-05T13:12",
        "01-05T14:00",
        "01-05T16:00",
        "01-06T10:00",
    ]


@pytest.mark.parametrize("status", [Status.FEEDBACK, Status.CLOSED, Status.SUSPENDED])
def test_no_clock_runs_where_nobody_works_on_it(status: Status) -> None:
    assert next_alert_ns(a_case(status=status), FOUR_HOURS) is None


def test_due_is_from_the_instant_on() -> None:
    case = a_case(next_alert_ns=MONDAY_NS)
    assert not is_due(case, MONDAY_NS - 1)
    assert is_due(case, MONDAY_NS)


@given(
    start_s=st.integers(0, 4_000_000_000),
    hours=st.floats(0.02, 100),
    clock=st.sampled_from(DeadlineClock),
)
def test_the_time_left_leads_back_to_the_deadline(
    start_s: int, hours: float, clock: DeadlineClock
) -> None:
    start_ns = start_s * NS_PER_S
    due_ns = deadline_ns(start_ns, Deadline(duration_s=hours * 3600, clock=clock))
    left_s = time_left_s(start_ns, due_ns, clock)
    assert left_s == pytest.approx(hours * 3600, abs=1e-3)
    assert time_left_s(due_ns, start_ns, clock) == -left_s
