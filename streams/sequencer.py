"""One order for decisions: merges event batches of all partitions as ingest stamped them. Pure.

Each ingest numbers its records over all partitions. A batch may be decided on once every
partition has shown a number at least as large, because then nothing smaller can still come
(docs/decisions/0007). With several ingests, batches are ordered by (boot, sequence) of each
and ingests by name, so that every run over the same log decides alike.
"""

from __future__ import annotations

import heapq

from core.errors import ServiceError
from core.events import EventBatch


class Sequencer:
    """Holds event batches back until their turn.

    Memory: at most ``capacity`` batches are held; more means that a partition has stopped,
    which is an error to be told, not to be buffered.

    Example:
        >>> from core.observations import Stamp
        >>> def batch(partition, sequence):
        ...     return EventBatch(stamp=Stamp(ingest_id="i", sequence=sequence,
        ...         partition=partition, watermark_ns=0, logged_ns=0))
        >>> two = Sequencer(partitions=2)
        >>> [b.stamp.sequence for b in two.push(batch(0, 1))]
        []
        >>> [b.stamp.sequence for b in two.push(batch(1, 2))]
        [1]
        >>> [b.stamp.sequence for b in two.push(batch(0, 3))]
        [2]
    """

    def __init__(self, partitions: int, *, capacity: int = 100_000) -> None:
        self._partitions = partitions
        self._capacity = capacity
        self._frontiers: dict[str, list[int]] = {}
        self._held: dict[str, list[tuple[int, int, EventBatch]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, batch: EventBatch) -> list[EventBatch]:
        """Take a batch in; gives those whose turn has come, in order.

        A batch at or below its partition's frontier came before (a re-delivery after a
        crash): it is passed through at once, because the store knows its events already or
        has yet to.

        Raises:
            ServiceError: More than ``capacity`` batches wait for a partition that is silent.
        """
        stamp = batch.stamp
        frontiers = self._frontiers.setdefault(stamp.ingest_id, [-1] * self._partitions)
        if stamp.sequence <= frontiers[stamp.partition]:
            return [batch]
        frontiers[stamp.partition] = stamp.sequence
        held = self._held.setdefault(stamp.ingest_id, [])
        heapq.heappush(held, (stamp.sequence, stamp.partition, batch))
        self._count += 1
        if self._count > self._capacity:
            silent = frontiers.index(min(frontiers))
            raise ServiceError(
                f"sequencer: {self._count} event batches of {stamp.ingest_id!r} wait for "
                f"partition {silent}, whose frontier stands at {min(frontiers)}; is its worker up?"
            )
        frontier = min(frontiers)
        due: list[EventBatch] = []
        while held and held[0][0] <= frontier:
            due.append(heapq.heappop(held)[2])
        self._count -= len(due)
        return due
