"""Keeps the ledger: reads what ingest, the rules and the quarantine say, beside all of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import Counter as Metric
from prometheus_client import Gauge

from core import topics
from core.clock import Clock
from core.errors import DecodeError, ServiceError
from core.events import decode_events
from core.ledger import MeterRecord, account_of, decode_meter, start_of
from core.ports import LogReader, LogRecord, Redriven, decode_rejections
from core.units import NS_PER_S
from store.archive.postings import ACCEPTED, ARCHIVED, DUPLICATE, REJECTED, RULES, Frontier, Posting
from store.ledger import KEPT_S, Difference, Ledger
from streams.archiver import RETRY_S, in_thread

logger = logging.getLogger(__name__)

#: What the bookkeeper reads, in this order. Rejections were written before the meter or the rules
#: spoke of their batch, so they are there when these are read.
TOPICS = (topics.METER, topics.EVENTS, topics.REJECTIONS)

#: The log is asked for more so often (wall seconds).
POLL_S = 1.0

#: Records of a topic that are taken into one transaction.
MAX_RECORDS = 4096

#: Old minutes are forgotten so often (wall seconds).
PRUNE_S = 3600.0

_DIFFERENCES = Metric(
    "qingniao_ledger_differences_total", "Spans of batches whose observations do not add up"
)
_MISSING = Gauge("qingniao_ledger_missing", "Observations received and not accounted for, ever")


class Bookkeeper:
    """Reads the log into the ledger.

    Args:
        reader: The log.
        ledger: Its ledger, opened to write.
        clock: City time.
        partitions: Partitions of ``observations``.
        report: Called with differences that nobody was told of; they are told again until it
            returns. Without it they are only kept.
    """

    def __init__(
        self,
        reader: LogReader,
        ledger: Ledger,
        clock: Clock,
        *,
        partitions: int,
        report: Callable[[Sequence[Difference]], Awaitable[None]] | None = None,
    ) -> None:
        self._reader = reader
        self._ledger = ledger
        self._clock = clock
        self._reading = asyncio.Lock()
        self._pruned_s = time.monotonic()
        self._partitions = partitions
        self.report = report
        self._positions = dict.fromkeys(TOPICS, 0) | ledger.positions()
        self._told: set[int] = set()
        self.failure = ""

    async def run(self) -> None:
        """Keep the ledger until cancelled; what cannot be written is tried again."""
        while True:
            try:
                moved = await self.read_once()
                await self._report()
            except ServiceError as error:
                if not self.failure:
                    logger.error("%s; trying again every %.0f s", error, RETRY_S)
                self.failure = str(error)
                await asyncio.sleep(RETRY_S)
                continue
            self.failure = ""
            if time.monotonic() - self._pruned_s >= PRUNE_S:
                self._pruned_s = time.monotonic()
                oldest_s = self._clock.now_ns() // NS_PER_S - KEPT_S
                await asyncio.to_thread(self._ledger.prune, oldest_s)
            if not moved:
                await asyncio.sleep(POLL_S)

    async def read_once(self) -> bool:
        """Take in what the log has now, and settle; whether there was anything.

        Raises:
            ServiceError: Log or catalog refused; nothing was taken in.
        """
        async with self._reading:
            return await self._read_once()

    async def _read_once(self) -> bool:
        taken = _Taken()
        positions = {
            topic: await self._read(topic, take)
            for topic, take in (
                (topics.METER, taken.meter),
                (topics.EVENTS, taken.events),
                (topics.REJECTIONS, taken.rejections),
            )
        }
        moved = positions != self._positions
        if moved or await asyncio.to_thread(self._ledger.waiting):
            await in_thread(
                lambda: self._ledger.record(
                    meters=taken.meters,
                    postings=taken.postings,
                    frontiers=list(taken.frontiers.values()),
                    positions=positions,
                    partitions=self._partitions,
                )
            )
        if moved:
            self._positions = positions
            await self._reader.done({(topic, 0): offset for topic, offset in positions.items()})
        return moved

    async def _read(self, topic: str, take: Callable[[LogRecord], None]) -> int:
        """Take in what a topic has now; gives the next offset.

        Rejections to the last one: a batch must not be settled before they are known.
        """
        at = self._positions[topic]
        records = 0
        while records < MAX_RECORDS or topic == topics.REJECTIONS:
            found = await self._reader.fetch(topic, 0, at)
            if not found:
                break
            for record in found:
                take(record)
            at = found[-1].offset + 1
            records += len(found)
        return at

    async def _report(self) -> None:
        differences = await asyncio.to_thread(self._ledger.unreported)
        for one in differences:
            if one.number not in self._told:
                self._told.add(one.number)
                _DIFFERENCES.inc()
                _MISSING.inc(one.missing)
                logger.critical(
                    "ledger: of source %s, batches %d to %d of %s: %d observations received and "
                    "not accounted for, %d accepted and not archived",
                    one.source,
                    one.first,
                    one.last,
                    one.ingest_id,
                    one.missing,
                    one.unarchived,
                )
        if differences and self.report is not None:
            await self.report(differences)
            await asyncio.to_thread(self._ledger.mark_reported, [one.number for one in differences])
            self._told.clear()


class _Taken:
    """What was read of the log in one round."""

    def __init__(self) -> None:
        self.meters: list[MeterRecord] = []
        self.postings: list[Posting] = []
        self.frontiers: dict[tuple[str, int], Frontier] = {}

    def meter(self, record: LogRecord) -> None:
        """Take what ingest says it received."""
        with _told_if_unreadable(topics.METER, record):
            self.meters.append(decode_meter(record.value))

    def events(self, record: LogRecord) -> None:
        """Take what the rules say of a batch, and how far they have come."""
        with _told_if_unreadable(topics.EVENTS, record):
            batch = decode_events(record.value)
            stamp = batch.stamp
            ingest, start = start_of(stamp.ingest_id)
            new = Frontier(RULES, ingest, stamp.partition, start, stamp.sequence)
            where = (ingest, stamp.partition)
            self.frontiers[where] = max(self.frontiers.get(where, new), new)
            for one in batch.tallies:
                of = (ingest, start, stamp.sequence, one.source, one.minute_s)
                for account, amount in ((ACCEPTED, one.accepted), (DUPLICATE, one.duplicates)):
                    if amount:
                        self.postings.append(Posting(*of, account, amount))
                if one.again:
                    # The archive took them when they were set aside, and passes them over now.
                    self.postings.append(Posting(*of, ARCHIVED, one.again, "again"))

    def rejections(self, record: LogRecord) -> None:
        """Take what was rejected by ingest, or set aside by the stream app."""
        with _told_if_unreadable(topics.REJECTIONS, record):
            found: Counter[tuple[str, int, int, str, int, str, str]] = Counter()
            for one in decode_rejections(record.value):
                if isinstance(one, Redriven) or not one.ingest_id:
                    continue  # of a record that nobody could read: its rows stay missing
                source, minute_s = account_of(one.source, one.received_ns)
                # What the stream app sets aside again after a kill is named by its place in the
                # log; two equal messages are two.
                again = one.topic.startswith(f"{topics.OBSERVATIONS}[")
                item = one.topic if again else f"rejections@{record.offset}"
                ingest, start = start_of(one.ingest_id)
                account = REJECTED + one.reason
                found[ingest, start, one.sequence, source, minute_s, account, item] += 1
            self.postings += [Posting(*key[:6], amount, key[6]) for key, amount in found.items()]


@contextmanager
def _told_if_unreadable(topic: str, record: LogRecord) -> Iterator[None]:
    try:
        yield
    except DecodeError as error:
        logger.error("ledger: %s@%d: %s", topic, record.offset, error)
