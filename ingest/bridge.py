"""From a source to the log: decode, batch, stamp, write, and only then acknowledge."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from itertools import chain

import msgspec
import numpy as np

from core import topics
from core.clock import Clock, SystemClock
from core.errors import DecodeError, ServiceError
from core.ledger import Meter, accounts_of, encode_meter
from core.observations import (
    Columns,
    Stamp,
    decode_batch,
    encode_batch,
    partitions_of,
    stamped,
)
from core.ports import LogWriter, MessageSource, RawMessage, Rejection, encode_rejections
from core.rows import choose
from core.units import NS_PER_S, seconds_to_ns
from ingest import metrics
from ingest.gathered import ROUND_BYTES, Gathered, GatheredRecord, Rows, cut_rows, times_ns
from ingest.pipeline import decode_rows
from ingest.recording.tap import RecordingTap
from ingest.redrive import open_redrives, redriven
from ingest.repeats import REMEMBERED, DeliveryWriter, Repeats

log = logging.getLogger("ingest.bridge")

#: What was received is written to the log so often (wall seconds).
METER_S = 1.0

#: Rejections of one log record: payloads are cut to 64 KiB, so a record is at most 1 MiB.
REJECTIONS_BYTES = 1024 * 1024

#: A clock behind the log by more than this (seconds) is told.
CLOCK_BACK_S = 1.0

#: Records of each partition that are read at the start, at most, to know repeated messages.
RESTORED_RECORDS = 65_536


class Bridge:
    """Carries a source's messages to the log.

    Each round takes all that has arrived, writes one record to every partition (empty where
    a partition got nothing, so that its frontier moves), waits until they are durable, and
    acknowledges. Where nothing comes for a while and the source is live, the records are
    ticks: only time has passed. Rounds of a source that has more at hand share records, each
    with its own place in the order, its own watermark and time.

    Args:
        source: Where messages come from. A source with an attribute ``live`` that is False
            gets no ticks: while we are cut off, silence means nothing. While its attribute
            ``more_at_hand`` is True it gives the next round without a pause.
        log_writer: The log.
        clock: City time.
        city: Name of the city; messages of others are rejected.
        partitions: Partitions of topic ``observations``.
        ingest_id: Names this ingest and its start, e.g. ``ingest-0/17``; the caller keeps the
            number and adds one at every start, because sequences begin at 1 again.
        allowed_lateness_s: How far the watermark stays behind the newest observation.
        tick_interval_s: City seconds of silence after which a tick is written.
        watermark_ns: Where the watermark stood before a restart; it never goes back.
        remembered: Messages that are looked for in the log at the start, because the broker may
            repeat them, and remembered for the same reason.
        recording: Told of every round and tick that the log has.
    """

    def __init__(
        self,
        source: MessageSource,
        log_writer: LogWriter,
        clock: Clock,
        *,
        city: str,
        partitions: int,
        ingest_id: str,
        allowed_lateness_s: float = 30.0,
        tick_interval_s: float = 5.0,
        watermark_ns: int = 0,
        remembered: int = REMEMBERED,
        recording: RecordingTap | None = None,
    ) -> None:
        self._source = source
        self._log = log_writer
        self._clock = clock
        self._city = city
        self._partitions = partitions
        self._ingest_id = ingest_id
        self._lateness_ns = seconds_to_ns(allowed_lateness_s)
        self._tick_ns = seconds_to_ns(tick_interval_s)
        # A city that runs faster than the wall has its ticks sooner on the wall.
        factor = float(getattr(clock, "factor", 1.0))
        self._tick_wall_s = max(0.01, tick_interval_s / max(factor, 1e-6))
        self._repeats = Repeats(remembered=remembered)
        self._remembered = remembered
        self._recording = recording
        self._last_round_ns = clock.now_ns()
        self._gathered = Gathered()

        self._meter = Meter(ingest_id)
        self._metered_s = time.monotonic()
        self.watermark_ns = watermark_ns
        self.sequence = 0
        self.messages = 0
        self.observations = 0
        self.rejections = 0
        self.ticks = 0
        self.lag_s = 0.0
        self.append_s = 0.0
        self._rate = Rate()

    @property
    def observations_per_s(self) -> float:
        """Observations written per wall second, over the last seconds."""
        return self._rate.per_s()

    async def run(self) -> None:
        """Carry messages until the source ends.

        Raises:
            ServiceError: The log failed. What it did not take is not acknowledged, so the
                broker keeps it.
        """
        await self._restore()
        batches = self._source.batches()
        pending: asyncio.Task[Sequence[RawMessage]] | None = None
        try:
            while True:
                if pending is None:
                    pending = asyncio.ensure_future(_next(batches))
                done, _ = await asyncio.wait({pending}, timeout=self._tick_wall_s)
                if not done:
                    await self._write_gathered()
                    await self._write_meter_if_due()
                    await self._tick_if_due()
                    continue
                task, pending = pending, None
                try:
                    await self._take(task.result())
                    while self._more_at_hand():
                        await self._take(await anext(batches))
                except StopAsyncIteration:
                    await self._write_gathered()
                    await self._write_meter()
                    return
        finally:
            if pending is not None:
                pending.cancel()
                with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                    await pending

    async def carry(self, messages: Sequence[RawMessage]) -> None:
        """Decode messages, write them to the log, acknowledge them.

        Raises:
            ServiceError: The log failed; what it did not take was not acknowledged.
        """
        await self._gather(messages)
        await self._write_gathered()

    async def tick(self) -> None:
        """Write that only time has passed.

        Raises:
            ServiceError: The log failed.
        """
        await self._gather_tick()
        await self._write_gathered()
        await self._write_meter()

    async def _take(self, messages: Sequence[RawMessage]) -> None:
        """Carry what the source gave; rounds that come without a pause share their records."""
        if messages:
            await self._gather(messages)
        elif self._is_tick_due():
            await self._gather_tick()
        if not self._more_at_hand():
            await self._write_gathered()

    def _more_at_hand(self) -> bool:
        return bool(getattr(self._source, "more_at_hand", False))

    async def _gather(self, messages: Sequence[RawMessage]) -> None:
        for part in _parts(messages):
            settled = self._repeats.settle(part)
            opened, redrives = open_redrives(settled)
            rows, rejections = decode_rows(opened, city=self._city)
            payload_bytes = sum(len(one.payload) for one in part)
            oldest_ns = newest_ns = self.watermark_ns
            if len(rows):
                oldest_ns, newest_ns = times_ns(rows)
            if not self._gathered.has_room(len(rows), payload_bytes, oldest_ns):
                await self._write_gathered()
            self._gathered.payload_bytes += payload_bytes
            self._advance_to(newest_ns - self._lateness_ns)
            self._gathered.settled += settled
            self._gathered.rejections += rejections
            self._gathered.redriven += redriven(redrives, rejections)
            # Usually one round; packs may hold more observations than a record. Cut before they
            # are dealt out, so that a round is the same however many partitions there are.
            for run in cut_rows(rows):
                self._gather_round(run)
            self._gathered.carried.append((self._last_round_ns, part))

    async def _gather_tick(self) -> None:
        if not self._gathered.has_room(0, 0, self.watermark_ns):
            await self._write_gathered()
        self._advance_to(self._clock.now_ns() - self._lateness_ns)
        self._gather_round([])
        self._gathered.carried.append((self._last_round_ns, ()))

    def _gather_round(self, rows: Rows) -> None:
        self._last_round_ns = self._clock.now_ns()
        self._gathered.add(rows, self.watermark_ns, self._last_round_ns)

    async def _write_gathered(self) -> None:
        """Write what was gathered, then acknowledge it.

        Raises:
            ServiceError: The log failed.
        """
        gathered, self._gathered = self._gathered, Gathered()
        if not gathered.rounds:
            return
        first = self.sequence + 1
        rejections = [
            msgspec.structs.replace(one, ingest_id=self._ingest_id, sequence=first)
            for one in gathered.rejections
        ]
        messages = [message for _, part in gathered.carried for message in part]
        records = gathered.by_record()
        # Counted here, before anything is written: what the log loses is then still known.
        accounts = accounts_of(
            [one.source for one in rejections], [one.received_ns for one in rejections]
        )
        for columns, _ in records:
            accounts += accounts_of(columns.sources, columns.received_ns.tolist())
        try:
            await self._write_rejections(rejections)
            await self._write_observations(records, DeliveryWriter(gathered.settled))
            if gathered.redriven:
                await self._append(topics.REJECTIONS, 0, encode_rejections(gathered.redriven))
            self._meter.count(accounts, len(messages))
            self._meter.cover(first, self.sequence)
            await self._write_meter_if_due()
        except ServiceError as exc:
            log.critical(
                "the log failed: %s; %d messages stay unacknowledged with the broker, ingest stops",
                exc,
                len(messages),
            )
            raise
        if self._recording is not None:
            for instant_ns, part in gathered.carried:
                if part:
                    self._recording.carried(part)
                else:
                    self._recording.ticked(instant_ns)
        self.ticks += sum(not part for _, part in gathered.carried)
        if messages:
            self._source.acknowledge(messages)
            self._count(messages, [columns for columns, _ in records], rejections)

    def _is_tick_due(self) -> bool:
        due = self._clock.now_ns() - self._last_round_ns >= self._tick_ns
        return due and bool(getattr(self._source, "live", True))

    async def _tick_if_due(self) -> None:
        if self._is_tick_due():
            await self.tick()

    async def _write_meter_if_due(self) -> None:
        if time.monotonic() - self._metered_s >= METER_S:
            await self._write_meter()

    async def _write_meter(self) -> None:
        """Write what was received, after the batches that it speaks of are durable."""
        record = self._meter.take()
        self._metered_s = time.monotonic()
        if record is not None:
            await self._append(topics.METER, 0, encode_meter(record))

    async def _restore(self) -> None:
        """Learn from the log what the broker may repeat, and how far time had come.

        Acknowledgements go out in the order of the log, so what the broker was not told of, or
        did not read before the connection broke, are the newest messages of the log; what it has
        repeated already counts once. How many they are is up to it: Mosquitto 2.0.11 goes on
        sending while it does not read, 11,000 messages have been seen.
        """
        newest_ns = 0
        restored: list[tuple[int, int, bytes]] = []
        for partition in range(self._partitions):
            messages = records = 0
            ids: set[str] = set()
            newest_first_ns = 0
            async with aclosing(self._log.backwards(topics.OBSERVATIONS, partition)) as newest:
                async for record in newest:
                    records += 1
                    try:
                        batch = decode_batch(record)
                    except DecodeError:
                        continue  # not ours; whoever reads it sets it aside
                    self.watermark_ns = max(self.watermark_ns, batch.stamp.watermark_ns)
                    newest_ns = max(newest_ns, batch.stamp.logged_ns)
                    if self._repeats.is_forgotten(batch.stamp.logged_ns, newest_first_ns):
                        break
                    came_ns = np.frombuffer(batch.deliveries, np.int64)[1::2]
                    newest_first_ns = max(newest_first_ns, int(came_ns.max(initial=0)))
                    # All rows of a message are received at once.
                    rows = zip(batch.topics, batch.received_ns.tolist(), batch.ids, strict=True)
                    count = len({(topic, at_ns) for topic, at_ns, one in rows if one not in ids})
                    restored.append((batch.stamp.logged_ns, count, batch.deliveries))
                    messages += count
                    ids.update(batch.ids)
                    if messages >= self._remembered or records >= RESTORED_RECORDS:
                        break
        # The newest first, as they were read: what was logged at one instant keeps its order.
        restored.sort(key=lambda one: -one[0])
        self._repeats.restore(reversed(restored))
        if isinstance(self._clock, SystemClock):
            # Set back while we were away: readings without a time of their own would be late.
            self._clock.advance_to(newest_ns)
            if (back_s := self._clock.set_back_s()) > CLOCK_BACK_S:
                log.error(
                    "the machine's clock is %.0f s behind the log; time goes on from the log's "
                    "newest record. Set the clock right; rules see devices with a right clock "
                    "as that late until then",
                    back_s,
                )

    def _advance_to(self, watermark_ns: int) -> None:
        self.watermark_ns = max(self.watermark_ns, min(watermark_ns, self._clock.now_ns()))

    async def _write_observations(
        self, gathered: Sequence[GatheredRecord], deliveries: DeliveryWriter
    ) -> None:
        records: list[tuple[int, bytes]] = []
        started_ns = time.monotonic_ns()
        for one in gathered:
            records += self._records(one, deliveries)
            await asyncio.sleep(0)  # packs are many records; the API is served between them
        # Durable together: packs would else wait for the disk once per 512 observations.
        await self._log.append_all(topics.OBSERVATIONS, records)
        metrics.RECORDS.labels(topics.OBSERVATIONS).inc(len(records))
        self.append_s = (time.monotonic_ns() - started_ns) / NS_PER_S

    def _records(
        self, gathered: GatheredRecord, deliveries: DeliveryWriter
    ) -> list[tuple[int, bytes]]:
        """One record for every partition, in the order of the sequence."""
        columns, rounds = gathered
        count = self._partitions
        of_row = partitions_of(columns.thing_ids, count)
        first, self.sequence = self.sequence, self.sequence + count * len(rounds)
        records = []
        for partition in range(count):
            mine = of_row == partition
            part = columns if mine.all() else choose(columns, mine)
            ends = np.concatenate([[0], np.cumsum(mine)])
            table = [
                (ends[end], first + 1 + number * count + partition, watermark_ns, logged_ns)
                for number, (end, watermark_ns, logged_ns) in enumerate(rounds)
            ]
            _, sequence, watermark_ns, logged_ns = table[-1]
            stamp = Stamp(
                ingest_id=self._ingest_id,
                sequence=sequence,
                partition=partition,
                watermark_ns=watermark_ns,
                logged_ns=logged_ns,
                wall_ns=time.monotonic_ns(),
            )
            batch = stamped(
                part,
                stamp,
                deliveries.of(part),
                np.array(table, np.int64).tobytes() if len(table) > 1 else b"",
            )
            records.append((partition, encode_batch(batch)))
        return records

    async def _write_rejections(self, rejections: list[Rejection]) -> None:
        part: list[Rejection] = []
        size = 0
        for one in rejections:
            if part and size + len(one.payload) > REJECTIONS_BYTES:
                await self._append(topics.REJECTIONS, 0, encode_rejections(part))
                part, size = [], 0
            part.append(one)
            size += len(one.payload)
        if part:
            await self._append(topics.REJECTIONS, 0, encode_rejections(part))

    async def _append(self, topic: str, partition: int, value: bytes) -> None:
        await self._log.append(topic, partition, value, key=None)
        metrics.RECORDS.labels(topic).inc()

    def _count(
        self,
        messages: Sequence[RawMessage],
        observations: Sequence[Columns],
        rejections: Sequence[Rejection],
    ) -> None:
        count = sum(map(len, observations))
        self.messages += len(messages)
        self.observations += count
        self.rejections += len(rejections)
        self._rate.add(count)
        self.lag_s = (self._clock.now_ns() - messages[0].received_ns) / NS_PER_S
        metrics.LAG.set(self.lag_s)
        for kind, count in Counter(chain(*(one.kinds for one in observations))).items():
            metrics.OBSERVATIONS.labels(metrics.kind_label(kind)).inc(count)
        for columns in observations:
            _, skews_s = columns.measure("clock_skew_s")
            for skew_s in skews_s.tolist():
                metrics.CLOCK_SKEW.labels("clock_ahead" if skew_s > 0 else "clock_behind").inc()
        for rejection in rejections:
            metrics.REJECTIONS.labels(rejection.reason).inc()


class Rate:
    """Events per wall second over the last five whole seconds."""

    def __init__(self) -> None:
        self._seconds: OrderedDict[int, int] = OrderedDict()

    def add(self, count: int) -> None:
        """Count events now."""
        second = time.monotonic_ns() // NS_PER_S
        self._seconds[second] = self._seconds.get(second, 0) + count
        while len(self._seconds) > 8:
            self._seconds.popitem(last=False)

    def per_s(self) -> float:
        """The mean of the five seconds before this one."""
        now = time.monotonic_ns() // NS_PER_S
        return sum(self._seconds.get(now - back, 0) for back in range(1, 6)) / 5


def _parts(messages: Sequence[RawMessage]) -> Iterator[Sequence[RawMessage]]:
    """Messages in runs of at most :data:`ROUND_BYTES`; nearly always one."""
    start = size = 0
    for row, message in enumerate(messages):
        if row > start and size + len(message.payload) > ROUND_BYTES:
            yield messages[start:row]
            start, size = row, 0
        size += len(message.payload)
    if messages:
        yield messages[start:]


async def _next(batches: AsyncIterator[Sequence[RawMessage]]) -> Sequence[RawMessage]:
    return await anext(batches)
