"""De-duplication of observations with bounded memory that survives a restart. Pure.

An observation is a duplicate when its id was seen among the last ``capacity`` ids of its
partition. A device that sends neither time nor number gets its time of receipt into its id;
that a message of such a device is a repeat is told by MQTT (the DUP flag), and ingest then
gives it the time of receipt it had at first (docs/decisions/0008).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from core.observations import ObservationBatch

#: Ids remembered per partition, 8 bytes each where they are kept.
DEFAULT_CAPACITY = 65_536


#: Places of the table for each id that is remembered: with one in four taken, an id is found or
#: missed at the first place or the next.
_SPREAD = 4

#: Places in the state of :func:`_remember`.
_NEXT, _COUNT, _ADDED, _STATE = range(4)

_F = TypeVar("_F", bound=Callable[..., object])


def _compiled(function: _F) -> _F:
    return cast("_F", numba.njit(cache=True, nogil=True, error_model="numpy")(function))


class Deduplicator:
    """Remembers the last ids of one partition; the oldest are evicted first.

    The ids lie in a ring, and a table of open addresses says where: both are small enough to
    stay near the processor, which a set and its 65,536 numbers do not.

    Example:
        >>> from core.observations import Observation, Stamp, pack
        >>> stamp = Stamp(ingest_id="i", sequence=1, partition=0, watermark_ns=0, logged_ns=0)
        >>> one = Observation(source="s", thing_id="t", kind="k", observed_ns=1, received_ns=1)
        >>> Deduplicator(capacity=8).fresh(pack([one, one], stamp)).tolist()
        [True, False]
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._clear(capacity)

    def __len__(self) -> int:
        return int(self._state[_COUNT])

    @property
    def added_count(self) -> int:
        """Ids remembered since they were last written; no more than there are."""
        return min(int(self._state[_ADDED]), len(self))

    def fresh(self, batch: ObservationBatch) -> NDArray[np.bool_]:
        """Which rows have not been seen before, shape (n,); remembers them all."""
        # Half of the 128-bit id: a false match among 65,536 has a chance of 1 in 10^14.
        numbers = np.frombuffer(bytes.fromhex("".join(batch.ids)), ">u8")[::2]
        return self._remember(numbers)

    def warm_up(self) -> None:
        """Compile what looks ids up before the first batch needs it; changes nothing."""
        self._remember(np.empty(0, np.uint64))

    def _remember(self, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
        fresh = np.empty(len(numbers), np.bool_)
        _remember(numbers.astype(np.uint64), self._ring, self._table, self._state, fresh)
        return fresh

    def _clear(self, capacity: int) -> None:
        self._ring = np.zeros(capacity, np.uint64)
        # Where an id lies in the ring, counted from 1; 0 where there is none.
        places = 1 << (_SPREAD * capacity - 1).bit_length()
        self._table = np.zeros(places, np.int32)
        self._state = np.zeros(_STATE, np.int64)

    def _newest(self, count: int) -> NDArray[np.uint64]:
        """The last ids, the oldest of them first."""
        last = int(self._state[_NEXT])
        newest: NDArray[np.uint64] = self._ring[np.arange(last - count, last) % len(self._ring)]
        return newest

    def dump(self) -> bytes:
        """The whole state: the ids as uint64, the oldest first; nothing counts as written."""
        return self._newest(len(self)).tobytes()

    def write_added(self) -> bytes:
        """The ids since the last time, likewise; they count as written."""
        added = self._newest(self.added_count)
        self.mark_written()
        return added.tobytes()

    def mark_written(self) -> None:
        """Take it that the state is written as it is."""
        self._state[_ADDED] = 0

    def load(self, states: Iterable[bytes]) -> None:
        """Take over a state, and what was added to it since, the oldest first; none is written."""
        self._clear(len(self._ring))
        for state in states:
            self._remember(np.frombuffer(state, np.uint64))


@_compiled
def _remember(
    numbers: NDArray[np.uint64],
    ring: NDArray[np.uint64],
    table: NDArray[np.int32],
    state: NDArray[np.int64],
    fresh: NDArray[np.bool_],
) -> None:
    """Say which ids are not among those remembered, and remember them, one after the other."""
    capacity, mask = len(ring), len(table) - 1
    for row in range(len(numbers)):
        number = numbers[row]
        fresh[row] = table[_place(number, ring, table)] == 0
        if not fresh[row]:
            continue
        at = state[_NEXT] % capacity
        if state[_COUNT] == capacity:
            # The oldest lies where the newest goes. What stood behind it moves up, so that
            # looking on from an id's first place to an empty one still finds it.
            hole = _place(ring[at], ring, table)
            place = (hole + 1) & mask
            while table[place]:
                first = np.int64(ring[table[place] - 1] & np.uint64(mask))
                if (place - first) & mask >= (place - hole) & mask:
                    table[hole] = table[place]
                    hole = place
                place = (place + 1) & mask
            table[hole] = 0
        else:
            state[_COUNT] += 1
        ring[at] = number
        table[_empty_place(number, table)] = at + 1
        state[_NEXT] += 1
        state[_ADDED] += 1


@_compiled
def _place(number: np.uint64, ring: NDArray[np.uint64], table: NDArray[np.int32]) -> np.int64:
    """Where in the table an id is, or the empty place where it would be."""
    mask = len(table) - 1
    place = np.int64(number & np.uint64(mask))
    while table[place] and ring[table[place] - 1] != number:
        place = (place + 1) & mask
    return place


@_compiled
def _empty_place(number: np.uint64, table: NDArray[np.int32]) -> np.int64:
    """The first empty place for an id."""
    mask = len(table) - 1
    place = np.int64(number & np.uint64(mask))
    while table[place]:
        place = (place + 1) & mask
    return place
