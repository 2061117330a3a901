"""De-duplication of observations with bounded memory that survives a restart. Pure.

An observation is a duplicate when its id was seen among the last ``capacity`` ids of its
partition. A device that sends neither time nor number gets its time of receipt into its id;
that a message of such a device is a repeat is told by MQTT (the DUP flag), and ingest then
gives it the time of receipt it had at first (docs/decisions/0008).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from core.observations import ObservationBatch

#: Ids remembered per partition, 8 bytes each where they are kept.
DEFAULT_CAPACITY = 65_536


class Deduplicator:
    """Remembers the last ids of one partition; the oldest are evicted first.

    Example:
        >>> from core.observations import Observation, Stamp, pack
        >>> stamp = Stamp(ingest_id="i", sequence=1, partition=0, watermark_ns=0, logged_ns=0)
        >>> one = Observation(source="s", thing_id="t", kind="k", observed_ns=1, received_ns=1)
        >>> Deduplicator(capacity=8).fresh(pack([one, one], stamp)).tolist()
        [True, False]
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._capacity = capacity
        self._order: deque[int] = deque()
        self._seen: set[int] = set()
        self._added_count = 0

    def __len__(self) -> int:
        return len(self._order)

    @property
    def added_count(self) -> int:
        """Ids remembered since they were last written; no more than there are."""
        return min(self._added_count, len(self._order))

    def fresh(self, batch: ObservationBatch) -> NDArray[np.bool_]:
        """Which rows have not been seen before, shape (n,); remembers them all."""
        mask = np.ones(len(batch), np.bool_)
        # Half of the 128-bit id: a false match among 65,536 has a chance of 1 in 10^14.
        numbers = np.frombuffer(bytes.fromhex("".join(batch.ids)), ">u8")[::2].tolist()
        if len(set(numbers)) == len(numbers) and self._seen.isdisjoint(numbers):
            self._remember(numbers)  # nearly always
            return mask
        for row, number in enumerate(numbers):
            if number in self._seen:
                mask[row] = False
            else:
                self._remember([number])
        return mask

    def _remember(self, numbers: list[int]) -> None:
        self._seen.update(numbers)
        self._order.extend(numbers)
        self._added_count += len(numbers)
        surplus = max(0, len(self._order) - self._capacity)
        self._seen.difference_update([self._order.popleft() for _ in range(surplus)])

    def dump(self) -> bytes:
        """The whole state: the ids as uint64, the oldest first; nothing counts as written."""
        return np.array(self._order, np.uint64).tobytes()

    def write_added(self) -> bytes:
        """The ids since the last time, likewise; they count as written."""
        count, self._added_count = self.added_count, 0
        newest = np.fromiter(islice(reversed(self._order), count), np.uint64, count)
        return newest[::-1].tobytes()

    def mark_written(self) -> None:
        """Take it that the state is written as it is."""
        self._added_count = 0

    def load(self, states: Iterable[bytes]) -> None:
        """Take over a state, and what was added to it since, the oldest first; none is written."""
        self._order = deque(maxlen=self._capacity)
        for state in states:
            self._order.extend(np.frombuffer(state, np.uint64).tolist())
        self._order = deque(self._order)
        self._seen = set(self._order)
        self._added_count = len(self._order)
