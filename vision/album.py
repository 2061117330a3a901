"""The pictures that the events of one view ask for: before, best and now."""

from __future__ import annotations

from collections import deque

import msgspec

from core.snapshots import picture_name
from core.units import NS_PER_S
from vision.darkroom import Box, Negative, Shot

#: A frame is kept this often, for as long as a thing may have stood before it is told of:
#: seven of some 100 kB for each camera.
_KEPT_EVERY_S = 10.0
_KEPT = 7

#: Things come to rest within about this time; an earlier frame shows the place without them.
_ARRIVES_S = 3.0


class Pictured(msgspec.Struct):
    """The names of one thing's pictures; leaves with it.

    ``before`` shows its place without it, ``best`` where it is seen most clearly, ``last`` is
    the newest.
    """

    before: str = ""
    best: str = ""
    last: str = ""
    best_ratio: float = -1.0
    slot: int = -1

    def is_due(self, phase: str, dwell_s: float) -> bool:
        """Whether it is time for another picture; takes note of it."""
        slot, before = picture_slot(dwell_s), self.slot
        self.slot = slot
        return phase == "end" or slot != before

    @property
    def names(self) -> tuple[str, ...]:
        """Each once, the newest last."""
        return tuple(dict.fromkeys(name for name in (self.before, self.best, self.last) if name))


def picture_slot(dwell_s: float) -> int:
    """Things are pictured every half minute for five minutes, then every five.

    Example:
        >>> [picture_slot(dwell_s) for dwell_s in (20.0, 31.0, 120.0, 301.0, 599.0, 601.0)]
        [0, 1, 4, 10, 10, 11]
    """
    if dwell_s < 300.0:
        return int(dwell_s // 30.0)
    return 9 + int(dwell_s // 300.0)


class Album:
    """Collects the pictures that are wanted of a frame, and keeps frames for those of before.

    Bounded: ``_KEPT`` negatives.
    """

    def __init__(self) -> None:
        self._kept: deque[Negative] = deque(maxlen=_KEPT)
        self._befores: list[Negative] = []
        self._shots: list[Shot] = []

    def wants(self, time_ns: int) -> bool:
        """Whether the negative of this frame should be given to :meth:`close`."""
        return bool(self._shots) or self._is_due(time_ns)

    def ask(
        self, pictured: Pictured, camera_id: str, time_ns: int, box: Box, number: int, phase: str,
        *, clear_ratio: float, stopped_ns: int,
    ) -> None:  # fmt: skip
        """Ask for a thing's picture in this frame, and for one of before when it is new.

        Args:
            pictured: Takes the names.
            camera_id: Whose frame it is.
            time_ns: Of the frame.
            box: Of the thing in the full picture.
            number: Of the thing.
            phase: ``new``, ``update`` or ``end``.
            clear_ratio: How clearly it is seen, 0 to 1.
            stopped_ns: When it came to rest.
        """
        pictured.last = picture_name(camera_id, time_ns, number, phase)
        self._shots.append(Shot(pictured.last, box))
        if phase != "end" and clear_ratio > pictured.best_ratio:
            pictured.best, pictured.best_ratio = pictured.last, clear_ratio
        if phase != "new":
            return
        until_ns = stopped_ns - round(_ARRIVES_S * NS_PER_S)
        kept = next((one for one in reversed(self._kept) if one.time_ns <= until_ns), None)
        if kept is not None:
            pictured.before = picture_name(camera_id, kept.time_ns, number, "before")
            shot = Shot(pictured.before, box)
            self._befores.append(msgspec.structs.replace(kept, shots=(shot,)))

    def close(self, negative: Negative) -> tuple[Negative, ...]:
        """End a frame.

        Args:
            negative: Of the frame, without shots.

        Returns:
            What is to be developed, in this order.
        """
        wanted = self._befores
        if self._shots:
            wanted.append(msgspec.structs.replace(negative, shots=tuple(self._shots)))
        if self._is_due(negative.time_ns):
            self._kept.append(negative)
        self._befores, self._shots = [], []
        return tuple(wanted)

    def _is_due(self, time_ns: int) -> bool:
        return not self._kept or time_ns - self._kept[-1].time_ns >= _KEPT_EVERY_S * NS_PER_S
