"""The last seconds of each camera, kept in memory so that an event can show how it came about.

Pure: time is the frames' own. What is kept are negatives: nothing of them is on the disk before
it was blurred.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from core.units import NS_PER_S
from vision.darkroom import Negative

#: A thing is told of some 20 s after it has stopped: the clip begins before that.
BEFORE_S, AFTER_S = 24.0, 4.0

#: Of all cameras together; 40 at 640x360 and two a second need 60 MB.
MAX_BYTES = 64 * 1024 * 1024

#: Clips that wait for their last seconds; each holds frames that may have left the ring.
MAX_PENDING = 16

#: After a pause this long the frames before show another scene.
_GAP_S = 60.0


class Clip(NamedTuple):
    """Frames around a moment, in the order of time, and what the clip is to be called."""

    name: str
    frames: tuple[Negative, ...]


class _Pending(NamedTuple):
    name: str
    camera_id: str
    until_ns: int
    frames: list[Negative]


class ClipRing:
    """Keeps the negatives of the last seconds of every camera, within a number of bytes.

    Args:
        max_bytes: Of all cameras together; beyond it the oldest frames go.

    Attributes:
        dropped: Frames that went too early, and clips that were not begun, for want of room.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.dropped = 0
        self._max_bytes = max_bytes
        self._bytes = 0
        self._rings: dict[str, deque[Negative]] = {}
        self._pending: list[_Pending] = []

    @property
    def byte_count(self) -> int:
        """What the rings hold."""
        return self._bytes

    def add(self, negative: Negative) -> list[Clip]:
        """Take the next frame of a camera; gives the clips that it completes."""
        ring = self._rings.setdefault(negative.camera_id, deque())
        step_s = 0.0 if not ring else (negative.time_ns - ring[-1].time_ns) / NS_PER_S
        if not 0.0 <= step_s < _GAP_S:
            while ring:
                self._drop_first(ring)
        ring.append(negative)
        self._bytes += negative.byte_count
        while negative.time_ns - ring[0].time_ns > BEFORE_S * NS_PER_S:
            self._drop_first(ring)
        while self._bytes > self._max_bytes:
            oldest = min((one for one in self._rings.values() if one), key=lambda r: r[0].time_ns)
            self._drop_first(oldest)
            self.dropped += 1
        for one in self._pending:
            if one.camera_id == negative.camera_id:
                one.frames.append(negative)
        for name in negative.clips:
            if len(self._pending) >= MAX_PENDING:
                self.dropped += 1
                continue
            until_ns = negative.time_ns + round(AFTER_S * NS_PER_S)
            self._pending.append(_Pending(name, negative.camera_id, until_ns, list(ring)))
        return self._done(
            lambda one: one.camera_id == negative.camera_id and negative.time_ns >= one.until_ns
        )

    def flush(self) -> list[Clip]:
        """What waits, as far as it has come: there will be no more frames."""
        return self._done(lambda _one: True)

    def _done(self, is_done: Callable[[_Pending], bool]) -> list[Clip]:
        done: list[Clip] = []
        still: list[_Pending] = []
        for one in self._pending:
            if is_done(one):
                done.append(Clip(one.name, tuple(one.frames)))
            else:
                still.append(one)
        self._pending = still
        return done

    def _drop_first(self, ring: deque[Negative]) -> None:
        self._bytes -= ring.popleft().byte_count
