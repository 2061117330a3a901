"""Early warning and escalation: who hears of a case whose time runs out, and when. Pure.

A case is warned of when four fifths of its time are gone, is told to its unit as overdue at
its deadline, to the district's command centre (指挥中心) when half as much time again has
passed, and to the city's when as much again has.
"""

from __future__ import annotations

from enum import IntEnum

from core.incidents import OPEN_STATUSES, Incident, Status, Text
from scenarios.deadlines import deadline_ns
from scenarios.model import Deadline


class Level(IntEnum):
    """How far a case has been escalated."""

    IN_TIME = 0
    WARNED = 1
    UNIT = 2
    DISTRICT = 3
    CITY = 4


#: Share of the time allowed that has passed when a level is reached.
SHARE_OF_TIME: dict[Level, float] = {
    Level.WARNED: 0.8,
    Level.UNIT: 1.0,
    Level.DISTRICT: 1.5,
    Level.CITY: 2.0,
}

LEVEL_NAMES: dict[Level, Text] = {
    Level.IN_TIME: Text("时限内", "in time"),
    Level.WARNED: Text("临期预警：责任人", "running out: told to who handles it"),
    Level.UNIT: Text("超期：责任单位", "overdue: told to the unit"),
    Level.DISTRICT: Text("超期：区指挥中心", "overdue: told to the district's command centre"),
    Level.CITY: Text("超期：市指挥中心", "overdue: told to the city's command centre"),
}

#: Statuses in which the clock runs: it starts at dispatch and ends at feedback.
_RUNNING = frozenset({Status.DISPATCHED, Status.HANDLING})


def next_alert_ns(case: Incident, deadline: Deadline) -> int | None:
    """When a case will rise to its next level; None where it will not.

    The instant is counted back from the case's own deadline, which extensions and suspensions
    have moved, in the hours that count.

    Args:
        case: The case as it stands.
        deadline: How much time its scenario allows.

    Example:
        >>> from core.incidents import Severity
        >>> from core.events import Place
        >>> case = Incident(id="i", case_number="n", scenario="s", scenario_name=Text("", ""),
        ...                 domain="", category_system="", category_code="",
        ...                 department=Text("", ""), severity=Severity.MINOR,
        ...                 status=Status.DISPATCHED, place=Place(), began_ns=0, opened_ns=0,
        ...                 updated_ns=0, dispatched_ns=0, deadline_ns=100 * 10**9)
        >>> next_alert_ns(case, Deadline(duration_s=100.0)) // 10**9
        80
    """
    if case.status not in _RUNNING or case.deadline_ns is None:
        return None
    level = Level(min(case.escalation_level, Level.CITY))
    if level is Level.CITY:
        return None
    share = SHARE_OF_TIME[Level(level + 1)]
    if share >= 1.0:
        over = Deadline(duration_s=(share - 1.0) * deadline.duration_s, clock=deadline.clock)
        return deadline_ns(case.deadline_ns, over)
    started_ns = case.dispatched_ns if case.dispatched_ns is not None else case.opened_ns
    early = Deadline(duration_s=share * deadline.duration_s, clock=deadline.clock)
    # An extension moves the warning with the deadline.
    moved_ns = case.deadline_ns - deadline_ns(started_ns, deadline)
    return min(deadline_ns(started_ns, early) + max(0, moved_ns), case.deadline_ns)


def is_due(case: Incident, now_ns: int) -> bool:
    """Whether a case must rise now."""
    return (
        case.status in OPEN_STATUSES
        and case.next_alert_ns is not None
        and case.next_alert_ns <= now_ns
    )
