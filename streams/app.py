"""The Faust app: topics, agents and the checkpoint table, built in a function.

Faust is a thin shell here: it keeps topics, assignment, offsets and one small table. What is
done with a record is in :mod:`streams.partition` and :mod:`streams.decisions`
(docs/decisions/0005).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import traceback
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import faust
import msgspec
from prometheus_client import Counter, Histogram

from core import topics
from core.city import Device
from core.clock import Clock
from core.errors import DecodeError, QingniaoError
from core.events import EventBatch, encode_events
from core.observations import ObservationBatch, encode_batch
from core.ports import Redriven, Rejection, decode_rejections, encode_rejections
from geo.tagging import Tagger
from scenarios.engine import RuleEngine
from streams.checkpoints import CheckpointStore
from streams.decisions import DecisionWriter
from streams.fence_watch import FenceWatch
from streams.partition import PartitionWorker, Processed
from streams.poison import isolate

logger = logging.getLogger(__name__)

#: A checkpoint is written after this many records or seconds of the loop's clock, whichever
#: comes first: it bounds the work that is done again after a kill.
CHECKPOINT_RECORDS = 500
CHECKPOINT_S = 2.0

#: Records read at once where the log is read backwards.
_PAGE_RECORDS = 256

#: What topics are made with on Kafka; the embedded log needs none of it.
_TOPIC_CONFIG = {"max.message.bytes": str(topics.MAX_RECORD_BYTES)}
#: Kafka cleans closed segments only. Small ones keep what a start has to read small.
_CHANGELOG_CONFIG = {"segment.bytes": str(32 * 1024 * 1024), "min.cleanable.dirty.ratio": "0.1"}

_OBSERVATIONS = Counter(
    "qingniao_stream_observations_total", "Observations that reached the rules", ["partition"]
)
_DUPLICATES = Counter(
    "qingniao_stream_duplicates_total", "Observations dropped because seen before", ["partition"]
)
_EVENTS = Counter("qingniao_stream_events_total", "Edges that rules emitted", ["partition"])
_FAILED = Counter(
    "qingniao_stream_failed_records_total", "Log records set aside because an agent failed", []
)
_BATCH_SECONDS = Histogram(
    "qingniao_stream_record_seconds",
    "Time to tag and apply the rules to one log record",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5),
)
_CHECKPOINT_SECONDS = Histogram(
    "qingniao_stream_checkpoint_seconds",
    "Time that a partition stands still for a checkpoint",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0),
)


class StreamServices(NamedTuple):
    """What the agents need, passed in.

    ``new_engine`` makes a rule engine without state; ``decisions`` takes event batches in
    order; ``store_rejections`` keeps what could not be read; ``observed`` is told of every
    processed record (the live picture); ``new_fences`` makes what follows things through fences,
    without state.
    """

    tagger: Tagger
    devices: Mapping[str, Device]
    new_engine: Callable[[], RuleEngine]
    decisions: DecisionWriter
    store_rejections: Callable[[Sequence[Rejection | Redriven]], Any]
    observed: Callable[[Processed], None]
    clock: Clock
    new_fences: Callable[[], FenceWatch | None] = lambda: None


class FaustLog:
    """The log as ingest sees it (core.ports.LogWriter), through the app's producer."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._topics = {
            name: app.topic(name, key_type=bytes, value_type=bytes)
            for name in (topics.OBSERVATIONS, topics.REJECTIONS, topics.METER)
        }

    async def append(self, topic: str, partition: int, value: bytes, *, key: bytes | None) -> None:
        """Write one record; returns when it is durable."""
        sent = await self._topics[topic].send(key=key, value=value, partition=partition)
        await sent

    async def append_all(self, topic: str, records: Sequence[tuple[int, bytes]]) -> None:
        """Write records in their order; returns when all are durable."""
        sent = [
            await self._topics[topic].send(key=None, value=value, partition=partition)
            for partition, value in records
        ]
        await asyncio.gather(*sent)

    async def backwards(self, topic: str, partition: int) -> AsyncGenerator[bytes, None]:
        """The records of a partition of the embedded log, the newest first."""
        transport = self._app.transport
        log = await transport.acquire()
        try:
            upto = log.end(topic, partition)
            while upto > (first := log.first(topic, partition)):
                start = max(first, upto - _PAGE_RECORDS)
                page, at = [], start
                while at < upto and (found := await log.fetch(topic, partition, at)):
                    page += [one for one in found if one.offset < upto]
                    at = found[-1].offset + 1
                for record in reversed(page):
                    if record.value is not None:
                        yield record.value
                upto = start
        finally:
            await transport.release()


class _Pending:
    """The records of one partition that no checkpoint includes yet."""

    def __init__(self, store: CheckpointStore, worker: PartitionWorker, now_s: float) -> None:
        self.store = store
        self.worker = worker
        self.events: list[Any] = []
        # Event batches on their way into the log; no checkpoint is written before they are there.
        self.sent: list[Any] = []
        self.since_s = now_s
        self.must_checkpoint = False


def build_app(
    *,
    log_url: str,
    data_dir: Path,
    partitions: int,
    services: StreamServices,
    app_id: str = "qingniao",
) -> Any:
    """Build the Faust app with its agents; nothing runs until it is started.

    Args:
        log_url: ``embedded:///path`` or ``kafka://host:port``.
        data_dir: Folder for what Faust keeps on disk.
        partitions: Partitions of ``observations``; results do not depend on it.
        services: What the agents call.
        app_id: Consumer group.
    """
    if log_url.startswith("embedded:"):
        from streams.embedded import register
    else:
        from streams.kafka import register
    register()
    (data_dir / "faust").mkdir(parents=True, exist_ok=True)
    app = faust.App(
        app_id,
        broker=log_url,
        datadir=str(data_dir / "faust"),
        store="memory://",
        key_serializer="raw",
        value_serializer="raw",
        topic_partitions=partitions,
        topic_replication_factor=1,
        topic_disable_leader=True,
        table_standby_replicas=0,
        broker_commit_interval=0.5,
        # A worker that was killed is missed after this; until then its partitions wait.
        broker_session_timeout=10.0,
        broker_heartbeat_interval=2.0,
        producer_max_request_size=topics.MAX_RECORD_BYTES,
        consumer_max_fetch_size=topics.MAX_RECORD_BYTES,
        stream_wait_empty=False,
        web_enabled=False,
        autodiscover=False,
        origin=None,
    )

    def a_topic(name: str, count: int) -> Any:
        # Faust makes a topic only when it is called internal; others it leaves to the broker.
        return app.topic(
            name,
            partitions=count,
            key_type=bytes,
            value_type=bytes,
            internal=True,
            config=_TOPIC_CONFIG,
        )

    observations = a_topic(topics.OBSERVATIONS, partitions)
    events = a_topic(topics.EVENTS, 1)
    rejections = a_topic(topics.REJECTIONS, 1)
    meter = a_topic(topics.METER, 1)
    checkpoints = app.Table(
        "checkpoints",
        partitions=partitions,
        key_type=bytes,
        value_type=bytes,
        extra_topic_configs=_TOPIC_CONFIG | _CHANGELOG_CONFIG,
    )
    pending: dict[int, _Pending] = {}

    def new_worker(partition: int, store: CheckpointStore) -> PartitionWorker:
        """A worker in the state of the last checkpoint."""
        worker = PartitionWorker(
            partition,
            engine=services.new_engine(),
            tagger=services.tagger,
            devices=services.devices,
            fences=services.new_fences(),
        )
        checkpoint = store.load()
        if checkpoint is not None:
            worker.restore(checkpoint)
        return worker

    def worker_of(partition: int) -> _Pending:
        held = pending.get(partition)
        if held is None:
            store = CheckpointStore(checkpoints, partition, secrets.token_hex(4))
            worker = new_worker(partition, store)
            held = pending[partition] = _Pending(store, worker, app.loop.time())
        return held

    async def forget_partitions(_app: Any, revoked: Any, **_kwargs: Any) -> None:
        """Another worker may go on from the last checkpoint; what came after it is done again."""
        for tp in revoked:
            if tp.topic == topics.OBSERVATIONS:
                pending.pop(tp.partition, None)
            elif tp.topic == topics.EVENTS:
                services.decisions.forget()

    async def set_aside(
        event: Any, error: Exception, payload: bytes, one: ObservationBatch | None = None
    ) -> None:
        """Put a record aside, or one observation of it, where people can list it."""
        _FAILED.inc()
        message = event.message
        detail = "".join(traceback.format_exception(error))[-4000:]
        where = f"{message.topic}[{message.partition}]@{message.offset}"
        if one is not None:
            where += f" {one.topics[0]} {one.ids[0]}"
        logger.error("record %s set aside: %s", where, error)
        rejection = Rejection(
            topic=where,
            reason=error.reason if isinstance(error, DecodeError) else "agent_failed",
            detail=detail,
            payload=payload[: 64 * 1024],
            payload_bytes=len(payload),
            received_ns=services.clock.now_ns(),
        )
        if one is not None:
            # The ledger counts it where ingest did; set aside again after a kill, it is the same.
            rejection = msgspec.structs.replace(
                rejection,
                # Set aside again, it is not archived again.
                reason="agent_failed_again" if one.set_aside[0] else "agent_failed",
                received_ns=int(one.received_ns[0]),
                source=one.sources[0],
                ingest_id=one.stamp.ingest_id,
                sequence=one.stamp.sequence,
            )
        sent = await rejections.send(key=None, value=encode_rejections([rejection]), partition=0)
        await sent

    async def apply_rules(stream: Any) -> None:
        """Tag each batch, apply the rules, hand the edges on, checkpoint now and then."""
        async for event in stream.noack().events():
            partition = event.message.partition
            try:
                held = worker_of(partition)
            except QingniaoError as error:
                await app.crash(error)  # its state is lost to us: going on would be worse
                raise
            try:
                with _BATCH_SECONDS.time():
                    processed = held.worker.process(event.message.offset, event.value)
            except DecodeError as error:
                await set_aside(event, error, event.value)
                held.worker.position.applied_offset = event.message.offset
                processed = None
            except Exception as error:
                logger.warning("a record failed, looking for the observation: %r", error)
                processed = None
                await without_poison(held, event)
            if processed is not None:
                held.sent.append(await _send(events, processed.events))
                services.observed(processed)
                _count(partition, processed)
            held.events.append(event)
            due = held.must_checkpoint or app.loop.time() - held.since_s >= CHECKPOINT_S
            if due or len(held.events) >= CHECKPOINT_RECORDS:
                # Not one by one: each would wait for the disk alone, and the next record with it.
                sent, held.sent = held.sent, []
                await asyncio.gather(*sent)
                if pending.get(partition) is not held:
                    # Revoked while we waited: another worker may write this checkpoint by now.
                    continue
                with _CHECKPOINT_SECONDS.time():
                    held.store.write(held.worker.checkpoint())
                for done in held.events:
                    done.ack()
                held.events.clear()
                held.since_s = app.loop.time()
                held.must_checkpoint = False
            else:
                await asyncio.sleep(0)  # a backlog must not keep ingest and API waiting

    async def without_poison(held: _Pending, event: Any) -> None:
        """Apply a record but for the observations that fail; those are set aside, each alone."""
        partition, offset = event.message.partition, event.message.offset
        worker = new_worker(partition, held.store)
        for done in held.events:
            with suppress(DecodeError):
                worker.process(done.message.offset, done.value)
        found = isolate(worker, offset, event.value)
        held.worker, held.must_checkpoint = worker, True
        for batch, error in found.poisoned:
            await set_aside(event, error, encode_batch(batch), batch)
        held.sent.append(await _send(events, found.events))
        for part in found.parts:
            services.observed(part)
            _count(partition, part)

    async def decide(stream: Any) -> None:
        """Hand event batches to the decision writer, which acknowledges what the store has."""
        async for event in stream.noack().events():
            await services.decisions.submit(event.value, event.ack)

    async def keep_rejections(stream: Any) -> None:
        """Keep what could not be read where people can list it."""
        async for event in stream.noack().events():
            try:
                kept = decode_rejections(event.value)
                await services.store_rejections(kept)
            except DecodeError as error:
                _FAILED.inc()
                logger.error("rejections record %d unreadable: %s", event.message.offset, error)
            event.ack()

    async def declare_meter() -> None:
        """Make the topic that no agent reads: the ledger does, beside the app."""
        await meter.declare()

    app.task(declare_meter)
    app.on_partitions_revoked.connect(forget_partitions)
    app.agent(observations, name="apply_rules")(apply_rules)
    app.agent(events, name="decide")(decide)
    app.agent(rejections, name="keep_rejections")(keep_rejections)
    return app


async def _send(topic: Any, batch: EventBatch) -> Any:
    """Write an event batch; what it gives resolves when the batch is durable."""
    return await topic.send(key=None, value=encode_events(batch), partition=0)


def _count(partition: int, processed: Processed) -> None:
    """Add a processed record to the metrics."""
    _OBSERVATIONS.labels(str(partition)).inc(len(processed.batch))
    _DUPLICATES.labels(str(partition)).inc(processed.duplicate_count)
    _EVENTS.labels(str(partition)).inc(len(processed.events.events))
