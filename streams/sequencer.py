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
        # Of each ingest: (start, sequence) per partition, and what waits, by the same.
        self._frontiers: dict[str, list[tuple[int, int]]] = {}
        self._held: dict[str, list[tuple[tuple[int, int], EventBatch]]] = {}
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
        ingest, start = _start_of(stamp.ingest_id)
        number = (start, stamp.sequence)
        frontiers = self._frontiers.setdefault(ingest, [(-1, -1)] * self._partitions)
        if number <= frontiers[stamp.partition]:
            return [batch]
        frontiers[stamp.partition] = number
        held = self._held.setdefault(ingest, [])
        heapq.heappush(held, (number, batch))
        self._count += 1
        if self._count > self._capacity:
            silent = frontiers.index(min(frontiers))
            raise ServiceError(
                f"sequencer: {self._count} event batches of {ingest!r} wait for "
                f"partition {silent}, whose frontier (start, sequence) stands at "
                f"{min(frontiers)}; is its worker up?"
            )
        frontier = min(frontiers)
        due: list[EventBatch] = []
        while held and held[0][0] <= frontier:
            due.append(heapq.heappop(held)[1])
        self._count -= len(due)
        return due


def _start_of(ingest_id: str) -> tuple[str, int]:
    """An ingest's name, and the number of its start, by which its sequences are ordered.

    What an ingest wrote before it died is thus followed by what it wrote after, also where it
    died within a round and some partitions have no record of that.

    Example:
        >>> _start_of("ingest/000017")
        ('ingest', 17)
        >>> _start_of("ingest-1")
        ('ingest-1', 0)
    """
    name, _, start = ingest_id.rpartition("/")
    return (name, int(start)) if name and start.isdigit() else (ingest_id, 0)
