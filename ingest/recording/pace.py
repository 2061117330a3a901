"""How fast a recording is played: as fast as it goes, or at a factor; paused, or step by step.

The pace decides only how long is waited between rounds, never what is in them, so results do
not depend on it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from core.errors import InputError
from core.units import NS_PER_S

MIN_SPEED, MAX_SPEED = 0.01, 100_000.0

#: Settles what the recording gave so far and says whether a step ends here.
StepEnds = Callable[[], Awaitable[bool]]


class Pace:
    """Holds a player back; all of it runs on one event loop.

    Args:
        speed: Recorded seconds per wall second; None is as fast as it goes.
        step_ends: Asked after every round of a step; without it steps are single rounds.

    Raises:
        InputError: The speed is out of range.

    Example:
        >>> asyncio.run(Pace().until(5))
        >>> Pace(speed=0.0)
        Traceback (most recent call last):
        ...
        core.errors.InputError: speed between 0.01 and 100000 wanted, got 0
    """

    def __init__(self, speed: float | None = None, step_ends: StepEnds | None = None) -> None:
        self.speed = _checked(speed)
        self.stepping = False
        self.step_ends = step_ends
        self._running = asyncio.Event()
        self._running.set()
        self._changed = asyncio.Event()
        self._anchor: tuple[float, int] | None = None  # wall seconds, recorded instant

    @property
    def paused(self) -> bool:
        """Whether nothing moves until :meth:`resume` or :meth:`step`."""
        return not self._running.is_set()

    def pause(self) -> None:
        """Stop before the next round."""
        self._running.clear()
        self._turn()

    def resume(self) -> None:
        """Go on at the speed."""
        self.stepping = False
        self._running.set()
        self._turn()

    def step(self) -> None:
        """Go on as fast as possible to the next incident, then pause."""
        self.stepping = True
        self._running.set()
        self._turn()

    def set_speed(self, speed: float | None) -> None:
        """Change the speed from here on.

        Raises:
            InputError: It is out of range.
        """
        self.speed = _checked(speed)
        self._turn()

    def is_due(self, instant_ns: int) -> bool:
        """Whether a recorded instant is due, and nothing is to be asked or shown before it."""
        return not self.paused and not self.stepping and self._left_s(instant_ns) <= 0

    def _left_s(self, instant_ns: int) -> float:
        if self.speed is None:
            return 0.0
        now_s = time.monotonic()
        if self._anchor is None:
            self._anchor = (now_s, instant_ns)
        began_s, began_ns = self._anchor
        return began_s + (instant_ns - began_ns) / NS_PER_S / self.speed - now_s

    async def until(self, instant_ns: int) -> None:
        """Wait until a recorded instant is due."""
        while True:
            await self._running.wait()
            if self.stepping or (left_s := self._left_s(instant_ns)) <= 0:
                return
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left_s)
            except TimeoutError:
                return

    async def passed(self) -> None:
        """A round was carried: a step may end here."""
        if self.stepping and (self.step_ends is None or await self.step_ends()):
            self.stepping = False
            self.pause()

    def _turn(self) -> None:
        self._anchor = None  # the next round is due at once
        self._changed.set()


def _checked(speed: float | None) -> float | None:
    if speed is not None and not MIN_SPEED <= speed <= MAX_SPEED:
        raise InputError(f"speed between {MIN_SPEED:g} and {MAX_SPEED:g} wanted, got {speed:g}")
    return speed
