"""Clocks. Nobody below the edges reads the real one; a clock is an argument."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Tells the time of the city in integer UTC nanoseconds."""

    def now_ns(self) -> int:
        """The present instant."""
        ...


class SystemClock:
    """The machine's own clock, but it never goes back.

    Where the machine's clock is set back, time goes on from where it was, at its pace, until
    the machine has caught up: an instant that was told is never told to be yet to come.
    """

    def __init__(self) -> None:
        self._ahead_ns = -(1 << 62)

    def now_ns(self) -> int:
        """The present instant."""
        monotonic_ns = time.monotonic_ns()
        wall_ns = time.time_ns()  # noqa: TID251 (this is the one place)
        self._ahead_ns = max(self._ahead_ns, wall_ns - monotonic_ns)
        return monotonic_ns + self._ahead_ns

    def advance_to(self, instant_ns: int) -> None:
        """Go on from an instant that was told before; an earlier one changes nothing."""
        self._ahead_ns = max(self._ahead_ns, instant_ns - time.monotonic_ns())

    def set_back_s(self) -> float:
        """By how many seconds the machine's clock is behind what was told."""
        wall_ns = time.time_ns()  # noqa: TID251 (this is the one place)
        return max(0.0, (self.now_ns() - wall_ns) / 1e9)


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


class HeldClock(ScaledClock):
    """City time that stands at its epoch until somebody starts it.

    A city whose parts need a while to get ready begins when they are, however long that takes.
    The start is a small file, so that all processes that were given its path start together.

    Args:
        epoch_ns: City time until the start, and at it.
        factor: City seconds per wall second.
        start_path: The file; a clock whose file exists already runs.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "city-start"
        >>> parent, child = HeldClock(5, 20.0, path), HeldClock(5, 20.0, path)
        >>> parent.now_ns(), child.held
        (5, True)
        >>> child.start()
        >>> parent.held, parent.started_ns == child.started_ns
        (False, True)
    """

    def __init__(self, epoch_ns: int, factor: float, start_path: Path) -> None:
        super().__init__(epoch_ns, factor, 0)
        self.start_path = start_path
        self._held = True

    @property
    def held(self) -> bool:
        """Whether city time still stands."""
        if self._held:
            try:
                self.started_ns = int(self.start_path.read_text())
            except FileNotFoundError:
                return True
            self._held = False
        return False

    def start(self) -> None:
        """Let city time run; a clock that runs already goes on."""
        begun = self.start_path.with_name(f"{self.start_path.name}.{os.getpid()}")
        begun.write_text(str(time.monotonic_ns()))
        with contextlib.suppress(FileExistsError):
            os.link(begun, self.start_path)  # whole or not at all, and the first one wins
        begun.unlink()
        self._held = True
        assert not self.held  # reads the start that won

    def now_ns(self) -> int:
        """City time now; the epoch while it is held."""
        return self.epoch_ns if self.held else super().now_ns()
