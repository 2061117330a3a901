"""Deadlines: when a case must be done, around the clock or in working hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from core.units import CHINA, NS_PER_S, china_time, seconds_to_ns
from scenarios.calendar import day_kinds
from scenarios.model import DayKind, Deadline, DeadlineClock

#: Working hours in China time: from 9 until 17 on working days.
OPENS_HOUR = 9
CLOSES_HOUR = 17

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


def is_working_day(day: date) -> bool:
    """Whether a day in China has working hours, by the decreed holidays and exchanges (调休).

    Example:
        >>> is_working_day(date(2026, 1, 2)), is_working_day(date(2026, 1, 4))  # a Sunday
        (False, True)
    """
    return DayKind.WORKDAY in day_kinds(day)


def deadline_ns(start_ns: int, deadline: Deadline) -> int:
    """When a case that starts now must be done.

    Args:
        start_ns: When the clock starts, UTC nanoseconds.
        deadline: How long, and which hours count.

    Returns:
        UTC nanoseconds.

    Example:
        >>> from core.units import ns_to_rfc3339, rfc3339_to_ns
        >>> friday = rfc3339_to_ns("2026-01-09T16:00:00+08:00")
        >>> four_hours = Deadline(duration_s=4 * 3600, clock=DeadlineClock.WORKING)
        >>> ns_to_rfc3339(deadline_ns(friday, four_hours))  # Monday noon in China
        '2026-01-12T04:00:00.000Z'
    """
    left_ns = seconds_to_ns(deadline.duration_s)
    if deadline.clock is DeadlineClock.HOURS24:
        return start_ns + left_ns
    day = china_time(start_ns).date()
    now_ns = start_ns
    while True:
        if is_working_day(day):
            now_ns = max(now_ns, _hour_ns(day, OPENS_HOUR))
            end_ns = now_ns + left_ns
            closes_ns = _hour_ns(day, CLOSES_HOUR)
            if end_ns <= closes_ns:
                return end_ns
            left_ns -= max(0, closes_ns - now_ns)
        day += _DAY
        now_ns = max(now_ns, _hour_ns(day, 0))


def time_left_s(now_ns: int, due_ns: int, clock: DeadlineClock) -> float:
    """How much of the time that counts lies between two instants.

    Args:
        now_ns: UTC nanoseconds.
        due_ns: UTC nanoseconds; before ``now_ns`` the answer is negative.
        clock: Which hours count.

    Example:
        >>> from core.units import rfc3339_to_ns
        >>> friday = rfc3339_to_ns("2026-01-09T16:00:00+08:00")
        >>> monday = rfc3339_to_ns("2026-01-12T12:00:00+08:00")
        >>> time_left_s(friday, monday, DeadlineClock.WORKING) / 3600
        4.0
        >>> time_left_s(monday, friday, DeadlineClock.HOURS24) / 3600
        -68.0
    """
    if due_ns < now_ns:
        return -time_left_s(due_ns, now_ns, clock)
    if clock is DeadlineClock.HOURS24:
        return (due_ns - now_ns) / NS_PER_S
    day, last = china_time(now_ns).date(), china_time(due_ns).date()
    counted_ns = 0
    while day <= last:
        if is_working_day(day):
            opens_ns, closes_ns = _hour_ns(day, OPENS_HOUR), _hour_ns(day, CLOSES_HOUR)
            counted_ns += max(0, min(closes_ns, due_ns) - max(opens_ns, now_ns))
        day += _DAY
    return counted_ns / NS_PER_S


def _hour_ns(day: date, hour: int) -> int:
    moment = datetime(day.year, day.month, day.day, hour, tzinfo=CHINA)
    return round((moment - _EPOCH).total_seconds()) * NS_PER_S
