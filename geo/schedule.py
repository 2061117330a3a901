"""When something is active: dates, days of the week, hours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import InputError
from core.units import NS_PER_S

Day = Literal["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]

_DAYS: tuple[Day, ...] = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_DAY_NS = 86_400 * NS_PER_S


class Period(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One span of activity; what is not given does not limit it.

    ``from_ns`` and ``to_ns`` bound it as a whole (to is not part of it); within them it holds
    on ``days`` between ``start_s`` and ``end_s``, seconds of the day in UTC. A span that ends
    before it starts runs past midnight and belongs to the day it starts on.
    """

    from_ns: int | None = None
    to_ns: int | None = None
    days: tuple[Day, ...] = ()
    start_s: int | None = None
    end_s: int | None = None


_DECODER = msgspec.json.Decoder(tuple[Period, ...])


class Schedule:
    """When something is active: in any of its periods; without any, always.

    Args:
        periods: The spans.

    Example:
        >>> from core.units import rfc3339_to_ns
        >>> office = Schedule([Period(days=("MON",), start_s=8 * 3600, end_s=17 * 3600)])
        >>> times = [rfc3339_to_ns(f"2026-01-05T{hour}:00:00Z") for hour in ("07", "08", "17")]
        >>> office.active(times).tolist(), Schedule().active(times).tolist()
        ([False, True, False], [True, True, True])
        >>> Schedule.parse(office.text).periods == office.periods, Schedule().text
        (True, '')
    """

    def __init__(self, periods: Sequence[Period] = ()) -> None:
        self.periods = tuple(periods)

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read what :attr:`text` wrote; an empty text is always.

        Raises:
            InputError: It is no such text.
        """
        if not text:
            return cls()
        try:
            return cls(_DECODER.decode(text))
        except msgspec.MsgspecError as exc:
            raise InputError(
                f"active: a JSON list of periods was wanted, got {text[:80]!r}: {exc}"
            ) from exc

    @property
    def text(self) -> str:
        """As JSON, for a column of a layer; empty for always."""
        return msgspec.json.encode(self.periods).decode() if self.periods else ""

    @property
    def is_always(self) -> bool:
        """Whether there is nothing to ask."""
        return not self.periods

    def active(self, time_ns: ArrayLike) -> NDArray[np.bool_]:
        """Whether it is active at instants.

        Args:
            time_ns: UTC nanoseconds, shape (n,).

        Returns:
            Shape (n,).
        """
        times = np.atleast_1d(np.asarray(time_ns, dtype=np.int64))
        if not self.periods:
            return np.ones(len(times), dtype=np.bool_)
        found = np.zeros(len(times), dtype=np.bool_)
        for period in self.periods:
            found |= _within(period, times)
        return found


def _within(period: Period, times: NDArray[np.int64]) -> NDArray[np.bool_]:
    inside = np.ones(len(times), dtype=np.bool_)
    if period.from_ns is not None:
        inside &= times >= period.from_ns
    if period.to_ns is not None:
        inside &= times < period.to_ns
    # 1970-01-01 was a Thursday.
    day = (times // _DAY_NS + 3) % 7
    wanted = np.array([not period.days or one in period.days for one in _DAYS])
    if period.start_s is None or period.end_s is None:
        return np.asarray(inside & wanted[day])
    second = times % _DAY_NS
    start, end = period.start_s * NS_PER_S, period.end_s * NS_PER_S
    if start < end:
        return np.asarray(inside & wanted[day] & (second >= start) & (second < end))
    today = wanted[day] & (second >= start)
    since_yesterday = wanted[(day - 1) % 7] & (second < end)
    return np.asarray(inside & (today | since_yesterday))
