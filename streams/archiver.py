"""Carries the log into the archive, beside the rules and at its own pace.

It de-duplicates with a memory of its own, which is kept with its position: so it comes to the
same verdicts as the rules without asking them, and ``accepted = archived`` is a check of two
computations, not of one with itself. What it has read and not written is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from prometheus_client import Counter, Gauge

from core import topics
from core.city import Device
from core.clock import Clock
from core.errors import DecodeError, ServiceError
from core.ledger import start_of, tallies
from core.observations import ObservationBatch, decode_batch
from core.ports import LogReader, LogRecord
from core.rows import concat
from geo.tagging import Tagger
from store.archive.catalog import Progress
from store.archive.postings import ARCHIVE, ARCHIVED, Frontier, Posting
from store.archive.schema import Origin, to_table
from store.archive.writer import ArchiveWriter
from streams.dedup import Deduplicator
from streams.enrich import fill_positions, tag_batch
from streams.selection import select_rows

logger = logging.getLogger(__name__)

#: Rows that wait for the next file: about 60 MB.
FLUSH_ROWS = 65_536

#: The log is asked for more so often (wall seconds).
POLL_S = 0.2

#: Merging and retention run so often (wall seconds).
TEND_S = 60.0

#: After the disk or the catalog has refused, the same files are tried again.
RETRY_S = 5.0

_ARCHIVED = Counter("qingniao_archive_observations_total", "Observations written to the archive")
_LOST = Counter(
    "qingniao_archive_lost_records_total", "Log records gone before the archive had read them"
)
_FAILURES = Counter("qingniao_archive_failures_total", "Times the archive could not be written")
_WAITING = Gauge("qingniao_archive_waiting_observations", "Read from the log, not in a file yet")


class _Partition:
    """Where one partition is, and what of it waits."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.dedup = Deduplicator()
        self.dedup.load([progress.dedup])
        self.tables: list[Any] = []
        self.rows = 0
        self.postings: list[Posting] = []
        self.frontiers: dict[str, Frontier] = {}


class Archiver:
    """Reads every partition of ``observations`` and writes the archive.

    Args:
        reader: The log.
        writer: The archive.
        partitions: Partitions of ``observations``.
        tagger: The map.
        devices: Register of devices by thing id.
        clock: City time, for retention and merging.
        flush_s: Wall seconds after which what waits is written.

    Attributes:
        failure: Why the archive cannot be written at present; empty while it can.
    """

    def __init__(
        self,
        reader: LogReader,
        writer: ArchiveWriter,
        *,
        partitions: int,
        tagger: Tagger,
        devices: Mapping[str, Device],
        clock: Clock,
        flush_s: float = 10.0,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._tagger = tagger
        self._devices = devices
        self._clock = clock
        self._flush_s = flush_s
        known = writer.catalog.progress()
        self._partitions = [_Partition(known.get(n, Progress())) for n in range(partitions)]
        self._moved = False
        self._flushed_s = time.monotonic()
        self._tended_s = time.monotonic()
        self._waiters: list[asyncio.Future[None]] = []
        self.failure = ""

    @property
    def waiting(self) -> int:
        """Observations read and not written yet."""
        return sum(one.rows for one in self._partitions)

    def positions(self) -> dict[int, int]:
        """The next offset wanted, by partition; what lies before may not be written yet."""
        return {n: one.progress.next_offset for n, one in enumerate(self._partitions)}

    async def run(self) -> None:
        """Archive until cancelled; what cannot be written is tried again."""
        while True:
            moved = await self.read_once() if self.waiting < FLUSH_ROWS else False
            full = self.waiting >= FLUSH_ROWS
            asked = bool(self._waiters) and not moved
            due = self._moved and time.monotonic() - self._flushed_s >= self._flush_s
            if full or due or (asked and self._moved):
                await self._try(self.flush)
            elif asked:
                for waiter in self._waiters:
                    if not waiter.done():
                        waiter.set_result(None)
                self._waiters.clear()
            elif not moved:
                await asyncio.sleep(POLL_S)
            if time.monotonic() - self._tended_s >= TEND_S:
                self._tended_s = time.monotonic()
                await self._try(self._tend)

    async def read_once(self) -> bool:
        """Take in what the log has, up to a fetch per partition; whether there was anything."""
        moved = False
        for number, partition in enumerate(self._partitions):
            wanted = partition.progress.next_offset
            records = await self._reader.fetch(topics.OBSERVATIONS, number, wanted)
            if records:
                moved = self._moved = True
                await in_thread(self._take, number, partition, records)
        _WAITING.set(self.waiting)
        return moved

    async def flush(self) -> None:
        """Write what waits, then tell the log.

        Raises:
            ServiceError: Disk, catalog or log refused; what waited still waits.
        """
        await in_thread(self._write)
        for partition in self._partitions:
            partition.tables.clear()
            partition.rows = 0
            partition.postings.clear()
            partition.frontiers.clear()
        self._moved = False
        self._flushed_s = time.monotonic()
        _WAITING.set(0)
        await self._reader.done(
            {(topics.OBSERVATIONS, n): offset for n, offset in self.positions().items()}
        )

    async def caught_up(self) -> None:
        """Wait until the archive has all that the log has, while :meth:`run` runs."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    async def _tend(self) -> None:
        await in_thread(self._writer.tend, self._clock.now_ns())

    async def _try(self, work: Any) -> None:
        try:
            await work()
        except ServiceError as error:
            if not self.failure:
                logger.error("%s; trying again every %.0f s", error, RETRY_S)
            self.failure = str(error)
            _FAILURES.inc()
            await asyncio.sleep(RETRY_S)
        else:
            self.failure = ""

    def _take(self, number: int, partition: _Partition, records: Sequence[LogRecord]) -> None:
        before = partition.progress
        # A log that is older than the archive has lost nothing before its first record.
        first = before.next_offset or records[0].offset
        lost = records[-1].offset + 1 - first - len(records)
        if lost:
            _LOST.inc(lost)
            logger.critical(
                "archive: the log does not have %d of the records observations[%d] %d to %d",
                lost,
                number,
                first,
                records[-1].offset,
            )
        batches: list[ObservationBatch] = []
        offsets: list[int] = []
        duplicates = 0
        for record in records:
            try:
                batch = decode_batch(record.value)
            except DecodeError as error:
                # The stream app sets it aside and counts it; here it has no rows.
                logger.error("archive: observations[%d]@%d: %s", number, record.offset, error)
                continue
            ingest, start = start_of(batch.stamp.ingest_id)
            partition.frontiers[ingest] = Frontier(
                ARCHIVE, ingest, number, start, batch.stamp.sequence
            )
            if batch.set_aside.any():
                # Sent again after they made the rules fail: they are here from then.
                batch = select_rows(batch, ~batch.set_aside)
            fresh = partition.dedup.fresh(batch)
            if not fresh.all():
                duplicates += int((~fresh).sum())
                batch = select_rows(batch, fresh)
            if len(batch):
                batches.append(batch)
                offsets.append(record.offset)
                counted = tallies(batch.sources, batch.received_ns, np.ones(len(batch), np.bool_))
                partition.postings += [
                    Posting(
                        ingest,
                        start,
                        batch.stamp.sequence,
                        one.source,
                        one.minute_s,
                        ARCHIVED,
                        one.accepted,
                    )
                    for one in counted
                ]
        rows = sum(map(len, batches))
        if rows:
            partition.tables.append(self._table(number, batches, offsets))
            partition.rows += rows
        partition.progress = Progress(
            next_offset=records[-1].offset + 1,
            observations=before.observations + rows,
            duplicates=before.duplicates + duplicates,
            lost_records=before.lost_records + lost,
        )

    def _table(
        self, number: int, batches: Sequence[ObservationBatch], offsets: Sequence[int]
    ) -> Any:
        batch = fill_positions(concat(batches), self._devices)
        stamps = [one.stamp for one in batches]
        lengths = [len(one) for one in batches]
        origin = Origin(
            ingest_ids=[
                stamp.ingest_id
                for stamp, length in zip(stamps, lengths, strict=True)
                for _ in range(length)
            ],
            sequence=np.repeat([stamp.sequence for stamp in stamps], lengths),
            partition=np.full(len(batch), number, np.int32),
            offset=np.repeat(np.array(offsets, np.int64), lengths),
            watermark_ns=np.repeat([stamp.watermark_ns for stamp in stamps], lengths),
        )
        return to_table(batch, tag_batch(batch, self._tagger), origin)

    def _write(self) -> None:
        tables = {
            number: pa.concat_tables(one.tables)
            for number, one in enumerate(self._partitions)
            if one.tables
        }
        progress = {
            number: one.progress._replace(dedup=one.dedup.dump())
            for number, one in enumerate(self._partitions)
        }
        self._writer.write(
            tables,
            progress,
            [one for partition in self._partitions for one in partition.postings],
            [one for partition in self._partitions for one in partition.frontiers.values()],
        )
        _ARCHIVED.inc(sum(len(table) for table in tables.values()))


async def in_thread(work: Callable[..., None], *arguments: Any) -> None:
    """Run blocking work in a thread; cancelled, wait until the thread has finished with it."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise
