"""Clocks. Nobody below the edges reads the real one; a clock is an argument."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time of the city in integer UTC nanoseconds."""

    def now_ns(self) -> int:
        """The present instant."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        """The present instant of the machine."""
        return time.time_ns()  # noqa: TID251 (this is the one place)


class ManualClock:
    """A clock that stands still until it is moved: for tests and replays.

    Example:
        >>> clock = ManualClock(5)
        >>> clock.advance_to(7)
        >>> clock.advance_to(6)
        >>> clock.now_ns()
        7
    """

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """The instant it was last moved to."""
        return self._now_ns

    def advance_to(self, instant_ns: int) -> None:
        """Move forward; an earlier instant leaves the clock where it is."""
        self._now_ns = max(self._now_ns, instant_ns)


class ScaledClock:
    """City time: starts at an epoch and runs faster than the wall by a factor.

    Args:
        epoch_ns: City time at the moment ``started_ns``.
        factor: City seconds per wall second.
        started_ns: Monotonic nanoseconds at the start; now unless given. Processes on one
            machine share the monotonic clock, so they share city time by sharing this number.
    """

    def __init__(self, epoch_ns: int, factor: float, started_ns: int | None = None) -> None:
        self.epoch_ns = epoch_ns
        self.factor = factor
        self.started_ns = time.monotonic_ns() if started_ns is None else started_ns

    def now_ns(self) -> int:
        """City time now."""
        return self.epoch_ns + round((time.monotonic_ns() - self.started_ns) * self.factor)

    def wall_seconds_until(self, city_ns: int) -> float:
        """Wall seconds until city time reaches an instant; 0 when it has passed."""
        return max(0.0, (city_ns - self.now_ns()) / 1e9 / self.factor)
