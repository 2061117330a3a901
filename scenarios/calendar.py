"""Days of the Chinese calendar: worked, not worked, holidays.

Holidays and the weekend days worked in exchange (调休) are decreed each November for the year
after by the State Council; the library ``chinesecalendar`` holds the decrees it knew when it was
released. A city's own calendar adds days, or a year that the library does not have. For a year
that neither has Saturdays and Sundays are not worked, no day is a holiday, and the log warns of
it once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

import chinese_calendar
import msgspec
import numpy as np
from numpy.typing import NDArray

from core.errors import SettingsError
from core.strict_yaml import read_struct
from core.units import CHINA_OFFSET_S, NS_PER_S
from scenarios.model import DayKind

logger = logging.getLogger(__name__)

_DAY_S = 86400
_EPOCH = date(1970, 1, 1)

#: Most days of one entry: the longest holiday decreed so far has nine.
MAX_DAYS = 31


class Days(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"first": "from"}):
    """Days from ``first`` on, ``until`` included; one day without it."""

    first: date
    until: date | None = None
    name: str = ""

    def __len__(self) -> int:
        return max(0, ((self.until or self.first) - self.first).days + 1)

    def dates(self) -> list[date]:
        """Each of them."""
        return [self.first + timedelta(days=number) for number in range(len(self))]


class CityCalendar(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A city's own calendar: days off and days worked, whatever the library says of them."""

    source: str
    holidays: tuple[Days, ...] = ()
    workdays: tuple[Days, ...] = ()


#: Set once at start; a process serves one city. Day to whether it is off.
_own: dict[date, bool] = {}


def load_calendar(path: Path) -> CityCalendar:
    """Read a city's calendar.

    Raises:
        SettingsError: It is missing, or no calendar; names the line and what is accepted.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"calendar {path}: cannot be read as UTF-8 text: {exc}") from exc
    found = read_struct(text, CityCalendar, str(path), what="a calendar", error=SettingsError)
    for one in (*found.holidays, *found.workdays):
        if not 1 <= len(one) <= MAX_DAYS:
            raise SettingsError(
                f"calendar {path}: {one.first} until {one.until}: 1 to {MAX_DAYS} days were wanted"
            )
    off = {day for one in found.holidays for day in one.dates()}
    both = sorted(day for one in found.workdays for day in one.dates() if day in off)
    if both:
        raise SettingsError(f"calendar {path}: {both[0]} is both off and worked; one is accepted")
    return found


def use_calendar(calendar: CityCalendar | None) -> None:
    """Let a city's calendar count from now on, instead of the one before; None for none."""
    _own.clear()
    for one in calendar.holidays if calendar else ():
        _own.update(dict.fromkeys(one.dates(), True))
    for one in calendar.workdays if calendar else ():
        _own.update(dict.fromkeys(one.dates(), False))
    day_kinds.cache_clear()
    _warn_of.cache_clear()


def is_decreed(year: int) -> bool:
    """Whether the holidays of a year are known, by the library or by the city's calendar.

    Example:
        >>> is_decreed(2026), is_decreed(2090)
        (True, False)
    """
    if any(day.year == year for day in _own):
        return True
    try:
        chinese_calendar.is_holiday(date(year, 1, 1))
    except NotImplementedError:
        return False
    return True


@lru_cache(maxsize=64)
def _warn_of(year: int) -> None:
    logger.warning(
        "no holidays are known for %d: Saturdays and Sundays are off, nothing else; name the "
        "city's own calendar in the setting calendar (docs/writing-scenarios.md)",
        year,
    )


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
    own = _own.get(day)
    if own is not None:
        return frozenset({DayKind.RESTDAY, DayKind.HOLIDAY} if own else {DayKind.WORKDAY})
    try:
        off, name = chinese_calendar.get_holiday_detail(day)
    except NotImplementedError:
        if not is_decreed(day.year):
            _warn_of(day.year)
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
