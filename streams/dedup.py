"""De-duplication of observations with bounded memory that survives a restart. Pure.

An observation is a duplicate when its id was seen among the last ``capacity`` ids of its
partition. A device that sends neither time nor number gets its time of receipt into its id;
that a message of such a device is a repeat is told by MQTT (the DUP flag), and ingest then
gives it the time of receipt it had at first (docs/decisions/0008).
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from core.observations import ObservationBatch

#: Ids remembered per partition; at 8 bytes each this is 512 kB in a checkpoint.
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

    def fresh(self, batch: ObservationBatch) -> NDArray[np.bool_]:
        """Which rows have not been seen before, shape (n,); remembers them all."""
        mask = np.ones(len(batch), np.bool_)
        # Half of the 128-bit id: a false match among 65,536 has a chance of 1 in 10^14.
        numbers = np.frombuffer(bytes.fromhex("".join(batch.ids)), ">u8")[::2].tolist()
        for row, number in enumerate(numbers):
            if number in self._seen:
                mask[row] = False
                continue
            self._seen.add(number)
            self._order.append(number)
            if len(self._order) > self._capacity:
                self._seen.discard(self._order.popleft())
        return mask

    def dump(self) -> bytes:
        """The whole state, for a checkpoint: the ids as uint64, the oldest first."""
        return np.array(self._order, np.uint64).tobytes()

    def load(self, state: bytes) -> None:
        """Take over a dumped state."""
        self._order = deque(np.frombuffer(state, np.uint64).tolist())
        self._seen = set(self._order)
