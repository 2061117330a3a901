"""One order for decisions: merges event batches of all partitions as ingest stamped them. Pure.

Ingest writes rounds: one record to every partition, numbered over all of them. A round is
decided on once every partition has shown a record of it or of a later one, because then nothing
of it can still come; its events are merged by instant, rule and thing, so that the decisions do
not depend on how many partitions there are (docs/decisions/0007). With several ingests, rounds
are ordered by (start, number) of each, so that every run over the same log decides alike.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from core.errors import ServiceError
from core.events import EventBatch
from core.ledger import start_of


class Sequencer:
    """Holds event batches back until the turn of their round.

    Memory: at most ``capacity`` batches are held; more means that a partition has stopped,
    which is an error to be told, not to be buffered.

    Example:
        >>> from core.observations import Stamp
        >>> def batch(partition, sequence):
        ...     return EventBatch(stamp=Stamp(ingest_id="i", sequence=sequence,
        ...         partition=partition, watermark_ns=0, logged_ns=0))
        >>> two = Sequencer(partitions=2)
        >>> [[b.stamp.sequence for b in r] for r in two.push(batch(0, 1))]
        []
        >>> [[b.stamp.sequence for b in r] for r in two.push(batch(0, 3))]
        []
        >>> [[b.stamp.sequence for b in r] for r in two.push(batch(1, 2))]
        [[1, 2]]
        >>> [[b.stamp.sequence for b in r] for r in two.push(batch(1, 4))]
        [[3, 4]]
    """

    def __init__(self, partitions: int, *, capacity: int = 100_000) -> None:
        self._partitions = partitions
        self._capacity = capacity
        # Of each ingest: (start, round) per partition; what waits, and its order, by the same.
        self._frontiers: dict[str, list[tuple[int, int]]] = {}
        self._held: dict[str, dict[tuple[int, int], list[EventBatch]]] = {}
        self._order: dict[str, list[tuple[int, int]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, batch: EventBatch) -> list[list[EventBatch]]:
        """Take a batch in; gives the rounds whose turn has come, in order.

        A batch at or below its partition's frontier came before (a worker was killed before
        its checkpoint). Where its round still waits, it waits with it; else it is passed
        through at once, because the store knows its events.

        Raises:
            ServiceError: More than ``capacity`` batches wait for a partition that is silent.
        """
        stamp = batch.stamp
        ingest, start = start_of(stamp.ingest_id)
        number = (start, (stamp.sequence - 1) // self._partitions)
        frontiers = self._frontiers.setdefault(ingest, [(-1, -1)] * self._partitions)
        held = self._held.setdefault(ingest, {})
        order = self._order.setdefault(ingest, [])
        if number <= frontiers[stamp.partition] and number not in held:
            return [[batch]]
        frontiers[stamp.partition] = max(number, frontiers[stamp.partition])
        if number not in held:
            held[number] = []
            heapq.heappush(order, number)
        held[number].append(batch)
        self._count += 1
        if self._count > self._capacity:
            silent = frontiers.index(min(frontiers))
            raise ServiceError(
                f"sequencer: {self._count} event batches of {ingest!r} wait for "
                f"partition {silent}, whose frontier (start, round) stands at "
                f"{min(frontiers)}; is its worker up?"
            )
        frontier = min(frontiers)
        due: list[list[EventBatch]] = []
        while order and order[0] <= frontier:
            due.append(held.pop(heapq.heappop(order)))
            self._count -= len(due[-1])
        return due


def merge_round(batches: Sequence[EventBatch]) -> EventBatch:
    """The events of one round in the order of decisions, under its last stamp.

    By instant, scenario, rule and thing; what one thing does under one rule at one instant
    keeps its order, because all of a thing is in one partition. An event that came again is
    there once.

    Raises:
        ValueError: There are none.
    """
    stamp = max((batch.stamp for batch in batches), key=lambda one: one.sequence)
    if not any(batch.events or batch.exclusions for batch in batches):
        return EventBatch(stamp=stamp)
    events = list({event.id: event for batch in batches for event in batch.events}.values())
    events.sort(key=lambda one: (one.at_ns, one.scenario, one.rule, one.thing_id))
    records = {(one.at_ns, one.id): one for batch in batches for one in batch.exclusions}
    exclusions = tuple(records[key] for key in sorted(records))
    return EventBatch(stamp=stamp, events=tuple(events), exclusions=exclusions)
