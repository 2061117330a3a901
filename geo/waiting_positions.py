"""Positions that wait until their order is certain. Pure.

Many wait at a time (a city's positions of some seconds) and few come and go with each batch, so
the columns have room to grow, what goes leaves a gap, and gaps are closed when they are many: the
cost of a batch is one look at the times, whatever else a position holds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geo.fence_kernels import NEVER

_ROOM = 1024

#: In place of a time: a gap. It is later than any that anything is certain of.
_GAP = np.iinfo(np.int64).max // 2


class Positions(NamedTuple):
    """Positions as columns; ``places`` has shape (n, m)."""

    times: NDArray[np.int64]
    things: NDArray[np.int64]
    places: NDArray[np.float64]

    def chosen(self, which: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Positions:
        """The rows that a mask of shape (n,), row numbers or (as views) a slice choose."""
        return Positions(self.times[which], self.things[which], self.places[which])


class WaitingPositions:
    """Positions in the order in which they came, until they are taken.

    Args:
        width: Columns of a place.
        settle_ns: A position is certain once its thing was somewhere so much later, or once the
            watermark has come to it.

    Example:
        >>> waiting = WaitingPositions(width=1, settle_ns=5)
        >>> at = np.array([10, 12, 17]), np.array([0, 0, 0]), np.zeros((3, 1))
        >>> waiting.add(Positions(*at))
        >>> waiting.take_certain(watermark_ns=11).times.tolist(), len(waiting)
        ([10, 12], 1)
    """

    def __init__(self, width: int, settle_ns: int) -> None:
        self._settle_ns = settle_ns
        self._columns = self._empty(width, _ROOM)
        self._begin = self._end = self._count = 0
        # Of each thing the newest time that waits or has waited: what has gone was certain, and
        # so is what is older.
        self._newest = np.full(_ROOM, NEVER)

    def __len__(self) -> int:
        return self._count

    @property
    def earliest_ns(self) -> int:
        """The earliest time that waits; one beyond all times where none does."""
        return int(self._held().times.min(initial=_GAP))

    def all(self) -> Positions:
        """All that waits, in the order in which it came."""
        held = self._held()
        return held.chosen(held.times != _GAP)

    def forget(self, things: NDArray[np.intp]) -> None:
        """These numbers, shape (k,), may become other things'; nothing of them waits."""
        self._newest[things[things < len(self._newest)]] = NEVER

    def add(self, fresh: Positions) -> None:
        """Let positions wait."""
        count = len(fresh.times)
        if not count:
            return
        if self._end + count > len(self._columns.times):
            self._make_room(count)
        for column, values in zip(self._columns, fresh, strict=True):
            column[self._end : self._end + count] = values
        self._end += count
        self._count += count
        most = int(fresh.things.max())
        if most >= len(self._newest):
            grown = np.full(2 * most, NEVER)
            grown[: len(self._newest)] = self._newest
            self._newest = grown
        np.maximum.at(self._newest, fresh.things, fresh.times)

    def take_certain(self, watermark_ns: int) -> Positions:
        """The positions whose order is certain, in the order in which they came; they go."""
        held = self._held()
        if not self._count:
            return held.chosen(np.empty(0, np.intp))
        certain = held.times + self._settle_ns <= self._newest[held.things]
        certain |= held.times <= watermark_ns
        rows = np.flatnonzero(certain)
        taken = held.chosen(rows)
        held.times[rows] = _GAP
        self._count -= len(rows)
        # What came first goes first, nearly always.
        while self._begin < self._end and self._columns.times[self._begin] == _GAP:
            ahead = self._columns.times[self._begin : self._begin + _ROOM] != _GAP
            self._begin += int(np.argmax(ahead)) if ahead.any() else len(ahead)
        self._begin = min(self._begin, self._end)
        return taken

    def _held(self) -> Positions:
        return self._columns.chosen(slice(self._begin, self._end))

    def _make_room(self, count: int) -> None:
        """Close the gaps; leave as much room as is taken."""
        kept = self.all()
        width = self._columns.places.shape[1]
        self._columns = self._empty(width, max(_ROOM, 2 * (len(kept.times) + count)))
        for column, values in zip(self._columns, kept, strict=True):
            column[: len(values)] = values
        self._begin, self._end = 0, len(kept.times)

    @staticmethod
    def _empty(width: int, room: int) -> Positions:
        return Positions(
            np.empty(room, np.int64), np.empty(room, np.int64), np.empty((room, width))
        )
