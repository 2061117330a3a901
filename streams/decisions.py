"""The decision writer: event batches in the one order, into the case store, many at a time.

Batches that arrive while the store is committing wait together and go into its next
transaction (group commit). A batch is acknowledged only after the store has it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from core.clock import Clock
from core.errors import DecodeError
from core.events import EventBatch, decode_events
from streams.sequencer import Sequencer, merge_round

logger = logging.getLogger(__name__)

#: Event batches that may wait for the store; beyond it the stream is paused (back-pressure).
QUEUE_BATCHES = 1024

#: Events of one transaction, unless one round has more. The store holds every event against the
#: cases that its transaction opened before: with a backlog of 27,000 in one, none came for minutes.
TRANSACTION_EVENTS = 256

_Round = tuple[EventBatch, list[Callable[[], Any]]]


class DecisionWriter:
    """Takes event records, orders them, applies them to the store.

    Args:
        apply: Called in a thread with batches in order and the city time; idempotent.
        wakes_ns: Called in a thread after each ``apply``: the watermark at which the store
            wants to be called though nothing was noticed (a permit ends); None for never.
        clock: City time.
        partitions: Partitions of ``observations``.
    """

    def __init__(
        self,
        apply: Callable[[Sequence[EventBatch], int], object],
        clock: Clock,
        partitions: int,
        wakes_ns: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._apply = apply
        self._wakes_ns = wakes_ns
        #: As the store last said; 0 asks it anew: another worker may have decided meanwhile.
        self._wake_ns: int | None = 0
        self._clock = clock
        self._partitions = partitions
        self._sequencer = Sequencer(partitions)
        self._queue: asyncio.Queue[tuple[bytes, Callable[[], Any]]] = asyncio.Queue(QUEUE_BATCHES)
        self._acks: dict[int, Callable[[], Any]] = {}
        self.watermark_ns = 0
        self.applied_sequence = 0
        self.unreadable_count = 0

    async def submit(self, record: bytes, ack: Callable[[], Any]) -> None:
        """Queue a record; waits while the store is behind."""
        await self._queue.put((record, ack))

    def forget(self) -> None:
        """Drop what the store does not have: another worker decides now, or it comes again."""
        self._sequencer = Sequencer(self._partitions)
        self._wake_ns = 0
        self._acks.clear()
        while not self._queue.empty():
            self._queue.get_nowait()

    async def run(self) -> None:
        """Apply what is submitted until cancelled.

        Raises:
            ServiceError: The store refused; nothing of that transaction is acknowledged.
        """
        while True:
            entries = [await self._queue.get()]
            while len(entries) < QUEUE_BATCHES and not self._queue.empty():
                entries.append(self._queue.get_nowait())
            due: list[list[EventBatch]] = []
            for record, ack in entries:
                try:
                    batch = decode_events(record)
                except DecodeError as error:
                    self.unreadable_count += 1
                    logger.error("%s", error)
                    ack()
                    continue
                self._acks[id(batch)] = ack
                for one in (*batch.earlier, batch):
                    due.extend(self._sequencer.push(one))
            merged = [(merge_round(batches), self._acks_of(batches)) for batches in due]
            for part in _transactions(merged):
                rounds = [one for one, _ in part]
                if any(map(self._concerns_store, rounds)):
                    self._wake_ns = await asyncio.to_thread(self._decide, rounds)
                for _, acks in part:
                    for acknowledge in acks:
                        acknowledge()
                for one in rounds:
                    self.watermark_ns = max(self.watermark_ns, one.stamp.watermark_ns)
                    self.applied_sequence = one.stamp.sequence

    def _acks_of(self, batches: Sequence[EventBatch]) -> list[Callable[[], Any]]:
        """What acknowledges the records that end with these batches."""
        return [self._acks.pop(id(one)) for one in batches if id(one) in self._acks]

    def _concerns_store(self, batch: EventBatch) -> bool:
        wakes = self._wake_ns is not None and self._wake_ns <= batch.stamp.watermark_ns
        return bool(batch.events or batch.exclusions) or wakes

    def _decide(self, rounds: Sequence[EventBatch]) -> int | None:
        self._apply(rounds, self._clock.now_ns())
        return self._wakes_ns()


def _transactions(rounds: Sequence[_Round]) -> Iterator[list[_Round]]:
    """Rounds in their order, as many together as go into one transaction."""
    part: list[_Round] = []
    count = 0
    for one in rounds:
        if part and count + len(one[0].events) > TRANSACTION_EVENTS:
            yield part
            part, count = [], 0
        part.append(one)
        count += len(one[0].events)
    if part:
        yield part
