"""Days of the Chinese calendar: worked, not worked, holidays. Pure.

Holidays and the weekend days worked in exchange (调休) are decreed each year by the State
Council; the library ``chinesecalendar`` holds the decrees. For a year without one (before 2004,
or not decreed yet) Saturdays and Sundays are not worked and no day is a holiday.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from functools import lru_cache

import chinese_calendar
import numpy as np
from numpy.typing import NDArray

from core.units import CHINA_OFFSET_S, NS_PER_S
from scenarios.model import DayKind

_DAY_S = 86400
_EPOCH = date(1970, 1, 1)


@lru_cache(maxsize=4096)
def day_kinds(day: date) -> frozenset[DayKind]:
    """What a day in China is.

    Example:
        >>> sorted(day_kinds(date(2026, 10, 1)))  # National Day, a Thursday
        [<DayKind.HOLIDAY: 'holiday'>, <DayKind.RESTDAY: 'restday'>]
        >>> sorted(day_kinds(date(2026, 10, 10)))  # a Saturday worked in exchange
        [<DayKind.WORKDAY: 'workday'>]
        >>> sorted(day_kinds(date(2090, 1, 1)))  # a Sunday; its year is not decreed yet
        [<DayKind.RESTDAY: 'restday'>]
    """
    try:
        off, name = chinese_calendar.get_holiday_detail(day)
    except NotImplementedError:
        off, name = day.weekday() >= 5, None
    if not off:
        return frozenset({DayKind.WORKDAY})
    return frozenset({DayKind.RESTDAY, DayKind.HOLIDAY} if name else {DayKind.RESTDAY})


def fall_on(observed_ns: NDArray[np.int64], kinds: Iterable[DayKind]) -> NDArray[np.bool_]:
    """Which instants, shape (n,), fall on a day in China of one of these kinds.

    Example:
        >>> new_year = 1_767_225_600 * 10**9  # 2026-01-01T08:00 in China
        >>> fall_on(np.array([new_year, new_year + 4 * 86400 * 10**9]), [DayKind.WORKDAY]).tolist()
        [False, True]
    """
    wanted = frozenset(kinds)
    numbers = (observed_ns // NS_PER_S + CHINA_OFFSET_S) // _DAY_S
    days, where = np.unique(numbers, return_inverse=True)
    held = [bool(wanted & day_kinds(_EPOCH + timedelta(days=int(day)))) for day in days.tolist()]
    return np.array(held, np.bool_)[where]
