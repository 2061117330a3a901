"""Faust transport driver for ``embedded:///folder``: the app's broker is a local log.

The URL's query takes the fields of ``streams.embedded.log.LogOptions``, for instance
``embedded:///var/lib/qingniao/log?sync=normal``. Topics, partitions, keys (Kafka's murmur2),
headers, timestamps, consumer offsets, tables with changelog recovery and sinks behave as on
Kafka, so the same app runs on both.

One process owns the folder and one app id owns all partitions of what it subscribes to; several
apps may share a folder within one event loop. At least once: an offset is committed in the same
stream after the records that depend on it, and never past a message that is still in work.

Not supported, and refused where it could be asked for: ``processing_guarantee=exactly_once``,
topic patterns, changing a topic's number of partitions, ``producer_threaded``, standby
replicas, ``agent.ask()`` and the client-only mode, sharing partitions between processes, more
than one event loop, network file systems, Windows.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from aiokafka.partitioner import DefaultPartitioner
from faust.transport import base
from faust.transport.consumer import Consumer as FaustConsumer
from faust.types import TP, ConsumerMessage, RecordMetadata
from mode.utils.times import want_seconds

from core.errors import InputError, ServiceError, SettingsError
from streams.commits import CommitsInOrder
from streams.embedded.frames import Headers, Record
from streams.embedded.log import EmbeddedLog, LogOptions

_LOG = logging.getLogger(__name__)

#: Messages handed on for one partition before agents and the next partition have their turn.
_TURN_MESSAGES = 64
#: Safety net only: whatever makes records readable also wakes the consumer.
_IDLE_WAKE_S = 1.0
#: Delivered messages of one partition that may wait for their acknowledgement.
_MAX_IN_FLIGHT = 200_000
_TOPIC_NAME_LENGTH = 249


class _Shared:
    """A log that is open in this process, and how many use it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, opening: asyncio.Task[EmbeddedLog]) -> None:
        self.loop = loop
        self.opening = opening
        self.users = 0
        #: Set while the last user closes it.
        self.closing: asyncio.Future[None] | None = None


_OPEN: dict[Path, _Shared] = {}


async def acquire_log(folder: Path, options: LogOptions) -> EmbeddedLog:
    """Open a folder's log, or share the one this process has open. Pair with ``release_log``.

    Who shares it takes it as it is; the options of the first one count.

    Raises:
        ServiceError: The folder is in use by another process or another event loop, or the
            log in it cannot be opened.
    """
    loop = asyncio.get_running_loop()
    while True:
        shared = _OPEN.get(folder)
        if shared is not None and shared.loop is not loop:
            if not shared.loop.is_closed():
                raise ServiceError(f"log folder {folder} is in use by another event loop")
            del _OPEN[folder]
            left = shared.opening
            if left.done() and not left.cancelled() and left.exception() is None:
                left.result().abandon()
            shared = None
        if shared is None or shared.closing is None:
            break
        await asyncio.shield(shared.closing)
    if shared is None:
        opening = loop.create_task(
            asyncio.to_thread(EmbeddedLog, folder, options, receipt=_record_metadata)
        )
        shared = _OPEN[folder] = _Shared(loop, opening)
    shared.users += 1
    try:
        return await asyncio.shield(shared.opening)
    except BaseException:
        shared.users -= 1
        if not shared.users:
            _OPEN.pop(folder, None)
        raise


async def release_log(folder: Path) -> None:
    """Give back what ``acquire_log`` gave; the last user closes the log.

    Raises:
        ServiceError: What waited for the disk could not be written.
    """
    shared = _OPEN[folder]
    shared.users -= 1
    if shared.users:
        return
    shared.closing = shared.loop.create_future()
    try:
        log = await shared.opening
        await log.close()
    finally:
        _OPEN.pop(folder, None)
        shared.closing.set_result(None)


def _record_metadata(topic: str, partition: int, offset: int, timestamp_ms: int) -> Any:
    return RecordMetadata(
        topic=topic,
        partition=partition,
        topic_partition=TP(topic, partition),
        offset=offset,
        timestamp=timestamp_ms,
        timestamp_type=0,
    )


class Consumer(CommitsInOrder, FaustConsumer):  # type: ignore[misc]
    """Reads the log for the agents and tables of one app, which owns all partitions."""

    _log: EmbeddedLog | None = None
    _n_acked: int

    def __post_init__(self) -> None:
        # Faust calls this in its constructor, before the first use of anything below.
        self._held: set[Any] = set()
        self._positions: dict[Any, int] = {}
        #: Read ahead of the position, a chunk at most per partition; cleared by a seek.
        self._ahead: dict[Any, deque[Record]] = {}
        #: Offsets handed to agents, oldest first, until they are acknowledged.
        self._in_flight: dict[Any, deque[int]] = {}
        self._committable: dict[Any, int] = {}
        self._frozen = False
        self._epoch = 0
        self._generation = 0
        self._delivering: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._rebalancing = asyncio.Lock()
        self._unlisten: list[Any] = []
        self._partitioner = self.app.conf.producer_partitioner or DefaultPartitioner()

    # Life

    async def on_start(self) -> None:
        """Open the log and listen to it."""
        if self.in_transaction:
            raise SettingsError(
                "embedded:// gives at-least-once; set processing_guarantee to at_least_once "
                "and keep sinks idempotent, got exactly_once"
            )
        if self.app.conf.table_standby_replicas and not self.app.client_only:
            # One process owns everything, so a replica has nowhere to be.
            self.app.assignor.replicas = 0
        await super().on_start()
        log = self._log = await self.transport.acquire()
        self._unlisten = [log.on_durable(self._wake), log.on_failure(self._log_failed)]

    async def on_stop(self) -> None:
        """Commit what was processed, then let the log go."""
        try:
            await super().on_stop()
        except ServiceError as error:
            # What is not committed comes again. Everybody was told when the log stopped.
            self.log.error("the last commit failed: %s", error)
        finally:
            for unlisten in self._unlisten:
                unlisten()
            self._unlisten = []
            if self._log is not None:
                self._log = None
                await self.transport.release()

    @property
    def disk_log(self) -> EmbeddedLog:
        """The open log.

        Raises:
            ServiceError: The consumer has not started or has stopped.
        """
        if self._log is None:
            raise ServiceError("the consumer of the embedded log is not running")
        return self._log

    def _log_failed(self, error: ServiceError) -> None:
        self.add_future(self._crash_app(error))

    async def _crash_app(self, error: ServiceError) -> None:
        await self.app.crash(error)
        await self.crash(error)

    # Membership: this process is the whole group

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Take all partitions of these topics, in a task: Faust waits for this call."""
        if self.app.client_only:
            return
        self.add_future(self._rebalance(set(topics)))

    async def _rebalance(self, topics: set[str]) -> None:
        async with self._rebalancing:
            try:
                await self._reassign(topics)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                await self.crash(error)

    async def _reassign(self, topics: set[str]) -> None:
        app = self.app
        log = self.disk_log
        await self.commit()
        app.on_rebalance_start()
        await self.on_partitions_revoked(set(self._held))
        for topic in topics:
            if log.topic(topic) is None:
                await self.create_topic(topic, self._wanted_partitions(topic), 1)
        member = app.conf.broker_client_id
        assignor = app.assignor
        metadata = assignor.metadata(topics)
        assignment = assignor.assign(_Cluster(log), {member: metadata})[member]
        assignor.on_assignment(assignment)
        held = {
            TP(topic, partition)
            for topic, partitions in assignment.assignment
            for partition in partitions
        }
        self._forget(set(self._held) - held)
        self._held = held
        for tp in held:
            self._positions.setdefault(tp, self._start_of(tp))
        await self._pin(held)
        self._generation += 1
        app.consumer_generation_id = self._generation
        await self.on_partitions_assigned(held, self._generation)

    async def _pin(self, held: set[Any]) -> None:
        """Commit where a new reader starts: nothing it has not read may be cleaned away."""
        group = self.app.conf.id
        acks = self.app.topics.acks_enabled_for
        fresh = {
            (tp.topic, tp.partition): self._start_of(tp)
            for tp in held
            if acks(tp.topic) and self.disk_log.committed(group, *tp) is None
        }
        if fresh:
            await self.disk_log.append((), group=group, offsets=fresh)

    def _start_of(self, tp: Any) -> int:
        log = self.disk_log
        latest = self.app.conf.consumer_auto_offset_reset == "latest"
        if latest and self.app.topics.acks_enabled_for(tp.topic):
            return log.end(*tp)
        return log.first(*tp)

    def _wanted_partitions(self, topic: str) -> int:
        for channel in self.app.topics:
            if topic in channel.topics and channel.partitions:
                return int(channel.partitions)
        return int(self.app.conf.topic_partitions)

    def _forget(self, tps: Iterable[Any]) -> None:
        self._epoch += 1
        for tp in tps:
            for state in (self._positions, self._ahead, self._in_flight, self._committable):
                state.pop(tp, None)

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Stop delivery and drop what was delivered but not acknowledged."""
        self._epoch += 1
        self._buffered_partitions.clear()
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self._restart_tracking(tp)

    def assignment(self) -> set[Any]:
        """All partitions of the topics subscribed to."""
        return set(self._held)

    # Positions

    async def seek_to_committed(self) -> Mapping[Any, int]:
        """Go back to what is committed; partitions without acknowledgements stay."""
        log = self.disk_log
        group = self.app.conf.id
        found: dict[Any, int] = {}
        for tp in self._held:
            offset = log.committed(group, *tp)
            if offset is None:
                if not self.app.topics.acks_enabled_for(tp.topic):
                    continue
                offset = self._start_of(tp)
            self._restart_tracking(tp)
            self._move(tp, offset)
            found[tp] = offset
        return found

    async def seek_wait(self, partitions: Mapping[Any, int]) -> None:
        """Go to these offsets (recovery of tables)."""
        for tp, offset in partitions.items():
            await self._seek(tp, offset)
            self._read_offset[tp] = offset or None

    async def _seek(self, partition: Any, offset: int) -> None:
        tp = TP(*partition)
        self._restart_tracking(tp)
        self._move(tp, offset)

    def _move(self, tp: Any, offset: int) -> None:
        self._epoch += 1
        self._positions[tp] = offset
        self._ahead.pop(tp, None)
        self._wake()

    def _restart_tracking(self, tp: Any) -> None:
        self._in_flight.pop(tp, None)
        self._committable.pop(tp, None)
        self._acked.pop(tp, None)
        self._acked_index.pop(tp, None)

    async def position(self, tp: Any) -> int | None:
        """The next offset that will be delivered."""
        return self._positions.get(tp)

    def highwater(self, tp: Any) -> int:
        """The next offset of a partition."""
        return self.disk_log.end(*tp)

    async def highwaters(self, *partitions: Any) -> Mapping[Any, int]:
        """The next offset of each partition. Cleaning keeps the record before it."""
        return {tp: self.disk_log.end(*tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: Any) -> Mapping[Any, int]:
        """Offset of the oldest record of each partition."""
        return {tp: self.disk_log.first(*tp) for tp in partitions}

    def topic_partitions(self, topic: str) -> int | None:
        """How many partitions a topic has; None when it does not exist."""
        info = None if self._log is None else self._log.topic(topic)
        return None if info is None else info.partitions

    def key_partition(
        self, topic: str, key: bytes | None, partition: int | None = None
    ) -> int | None:
        """Where a key belongs, as Kafka's default partitioner says."""
        count = self.topic_partitions(topic)
        if count is None:
            return None
        if partition is not None:
            return partition
        return _partition_of(self._partitioner, key, count)

    async def create_topic(self, topic: str, partitions: int, replication: int, **how: Any) -> None:
        """Declare a topic on the log."""
        _declare(self.disk_log, topic, partitions, **how)

    # Flow

    def on_buffer_drop(self, tp: Any) -> None:
        """Deliver a partition again whose agents have caught up."""
        if tp in self._buffered_partitions:
            self._buffered_partitions.discard(tp)
            if tp in self._held and tp not in self._paused_partitions:
                self._active_partitions.add(tp)
                self._wake()

    def resume_partitions(self, tps: Iterable[Any]) -> None:
        """Deliver these partitions."""
        super().resume_partitions(set(tps))
        self._wake()

    def resume_flow(self) -> None:
        """Deliver messages."""
        super().resume_flow()
        self._wake()

    def stop_flow(self) -> None:
        """Deliver nothing; when the app stops, also count no further acknowledgement."""
        super().stop_flow()
        if self.app.should_stop and not self.app.conf.stream_wait_empty:
            self._freeze()

    async def wait_empty(self) -> None:
        """Wait until agents have finished what they took, and commit it."""
        await super().wait_empty()
        if self.app.should_stop:
            self._freeze()

    def _freeze(self) -> None:
        # A stopping app cancels its agents, and Faust acknowledges what a cancelled agent had
        # in work. Only what was acknowledged before counts; the rest comes again.
        if not self._frozen:
            for tp in self._held:
                self._new_offset(tp)
            self._frozen = True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _idle(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(_IDLE_WAKE_S, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    # Delivery

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand messages to the conductor as they become durable.

        Faust's own loop starts four tasks per message so that a rebalance can interrupt one
        delivery. Here the conductor is awaited directly; the position moves only after it,
        and only when nothing was revoked or sought meanwhile.
        """
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)
                elif not self.disk_log.has_room:
                    await self.disk_log.room()
                elif not await self._deliver_round():
                    await self._idle()
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise
        except ServiceError as error:
            if self._log is not None:
                await self._crash_app(error)

    async def _deliver_round(self) -> bool:
        """One turn for every partition; False when there was nothing to deliver."""
        epoch = self._epoch
        delivered = False
        for tp in sorted(self._active_partitions & self._held):
            ahead = self._ahead.get(tp)
            if not ahead:
                ahead = await self._read_ahead(tp, epoch)
            if epoch != self._epoch or not self.flow_active:
                return True
            if ahead:
                delivered = True
                await self._deliver(tp, ahead, epoch)
                await asyncio.sleep(0)
                if epoch != self._epoch or not self.flow_active:
                    return True
        return delivered

    async def _read_ahead(self, tp: Any, epoch: int) -> deque[Record] | None:
        log = self.disk_log
        position = self._positions[tp]
        limit = max(1, min(512, self.app.conf.stream_buffer_maxsize // 5))
        found = log.fetch_tail(tp.topic, tp.partition, position, limit)
        if found is None:
            found = await log.fetch(tp.topic, tp.partition, position, max_records=8192)
        if not found or epoch != self._epoch:
            return None
        ahead = self._ahead[tp] = deque(found)
        return ahead

    async def _deliver(self, tp: Any, ahead: deque[Record], epoch: int) -> None:
        callback = self.callback
        acks = self.app.topics.acks_enabled_for(tp.topic)
        in_flight = self._in_flight.setdefault(tp, deque())
        commit_every = self._commit_every
        for _ in range(min(len(ahead), _TURN_MESSAGES)):
            if tp not in self._active_partitions:
                return
            if len(in_flight) >= _MAX_IN_FLIGHT:
                self._hold_back(tp)
                return
            if commit_every is not None and self._n_acked >= commit_every:
                self._n_acked = 0
                await self.commit()
            if epoch != self._epoch or not self.flow_active:
                return
            record = ahead[0]
            message = self._to_message(tp, record)
            if acks:
                in_flight.append(record.offset)
            self._delivering = message
            try:
                await callback(message)
            finally:
                self._delivering = None
            if epoch != self._epoch:
                # Meanwhile the partition was revoked or moved: this message will come again.
                return
            if acks and not message.refcount and not message.acked:
                in_flight.pop()  # nobody subscribes to it
            ahead.popleft()
            self._positions[tp] = record.offset + 1
            self._read_offset[tp] = record.offset
        self.app.monitor.track_tp_end_offset(tp, self.disk_log.end(*tp))

    def _hold_back(self, tp: Any) -> None:
        self._new_offset(tp)
        if len(self._in_flight[tp]) >= _MAX_IN_FLIGHT:
            self.log.error(
                "%r: %d messages wait for their acknowledgement, the oldest at offset %d; "
                "nothing more is delivered until some are acknowledged",
                tp,
                len(self._in_flight[tp]),
                self._in_flight[tp][0],
            )
            self._active_partitions.discard(tp)

    def _to_message(self, tp: Any, record: Record) -> Any:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.offset,
            record.timestamp_ms / 1000.0,
            0,
            list(record.headers) if record.headers else [],
            record.key,
            record.value,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _getmany(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("messages are delivered by _drain_messages")

    def _new_topicpartition(self, topic: str, partition: int) -> Any:
        return TP(topic, partition)

    # Acknowledgement and commit

    def _new_offset(self, tp: Any) -> int | None:
        """The first offset that was delivered and not acknowledged; none new once we stop."""
        if self._frozen:
            return self._committable.get(tp)
        committable = super()._new_offset(tp)
        in_flight = self._in_flight.get(tp)
        if tp not in self._active_partitions and in_flight is not None:
            self._let_go_on(tp, in_flight)
        return committable

    def _let_go_on(self, tp: Any, in_flight: deque[int]) -> None:
        held_back = tp in self._held and tp not in self._paused_partitions
        if held_back and tp not in self._buffered_partitions and len(in_flight) < _MAX_IN_FLIGHT:
            self._active_partitions.add(tp)
            self._wake()

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:
        group = self.app.conf.id
        await self.disk_log.append(
            (), group=group, offsets={(tp.topic, tp.partition): at for tp, at in offsets.items()}
        )
        return True


class _Cluster:
    """As much of a Kafka cluster as the assignor looks at."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """Numbers of a topic's partitions."""
        info = self._log.topic(topic)
        return None if info is None else set(range(info.partitions))


class Producer(base.Producer):  # type: ignore[misc]
    """Appends to the log. A send resolves when the record is as durable as ``sync`` says."""

    _log: EmbeddedLog | None = None

    def __post_init__(self) -> None:
        self._partitioner = self.partitioner or DefaultPartitioner()

    async def on_start(self) -> None:
        """Open the log."""
        await super().on_start()
        self._log = await self.transport.acquire()

    async def on_stop(self) -> None:
        """Wait until everything sent is durable, then let the log go."""
        await super().on_stop()
        if self._log is not None:
            try:
                await self.flush()
            finally:
                self._log = None
                await self.transport.release()

    @property
    def disk_log(self) -> EmbeddedLog:
        """The open log.

        Raises:
            ServiceError: The producer has not started or has stopped.
        """
        if self._log is None:
            raise ServiceError("the producer of the embedded log is not running")
        return self._log

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[Any]:
        """Append a record once there is room; what it returns resolves when it is durable.

        Args:
            topic: Made with the app's number of partitions when it does not exist.
            key: Decides the partition when none is given.
            value: None deletes the key in a compacted topic.
            partition: Overrides the key.
            timestamp: Seconds since 1970; now when None.
            headers: Pairs or a mapping of name to bytes.
            transactional_id: Not supported.

        Raises:
            InputError: No such partition, or key or value are not bytes.
            ServiceError: The log has stopped.
        """
        log = self.disk_log
        if not log.has_room:
            await log.room()
        return self._append(topic, key, value, partition, timestamp, headers)

    async def send_and_wait(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> Any:
        """Append a record and wait until it is durable; see ``send``."""
        return await (await self.send(topic, key, value, partition, timestamp, headers))

    def send_soon(self, fut: Any) -> None:
        """Append now, without waiting for room: this is how tables write their changelog.

        Delivery to agents pauses while the log has no room, which bounds what piles up.
        """
        message = fut.message
        channel = message.channel
        topic = channel.get_topic_name()
        key, value = message.key, message.value
        state = self.app.sensors.on_send_initiated(
            self,
            topic,
            message=message,
            keysize=len(key) if key else 0,
            valsize=len(value) if value else 0,
        )
        future = self._append(
            topic, key, value, message.partition, message.timestamp, message.headers
        )
        future.add_done_callback(
            partial(channel._on_published, message=fut, state=state, producer=self)
        )

    def _append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
    ) -> asyncio.Future[Any]:
        log = self.disk_log
        info = log.topic(topic)
        if info is None:
            info = log.declare(topic, int(self.app.conf.topic_partitions))
        if partition is None:
            partition = _partition_of(self._partitioner, key, info.partitions)
        return log.send(
            topic,
            partition,
            value,
            key=key,
            timestamp_ms=None if timestamp is None else round(timestamp * 1000),
            headers=_plain_headers(headers),
        )

    async def flush(self) -> None:
        """Wait until everything sent is durable.

        Returns at once when the log has stopped before: every send was told, and an app that
        is being stopped for it must be able to stop.

        Raises:
            ServiceError: The log stopped just now.
        """
        await self.buffer.flush()
        if self._log is not None and not self._log.failure:
            await self._log.flush()

    def key_partition(self, topic: str, key: bytes) -> Any:
        """The partition a key belongs to."""
        info = self.disk_log.topic(topic)
        count = int(self.app.conf.topic_partitions) if info is None else info.partitions
        return TP(topic, _partition_of(self._partitioner, key, count))

    async def create_topic(self, topic: str, partitions: int, replication: int, **how: Any) -> None:
        """Declare a topic on the log."""
        _declare(self.disk_log, topic, partitions, **how)

    def supports_headers(self) -> bool:
        """They are kept."""
        return True


class Transport(base.Transport):  # type: ignore[misc]
    """The transport of ``embedded:///folder?option=value``.

    Raises:
        SettingsError: The URL has no absolute folder, or an option it does not know.
    """

    Consumer: ClassVar[Any] = Consumer
    Producer: ClassVar[Any] = Producer

    default_port = 0
    driver_version = "embedded"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        url = self.url[0]
        if len(self.url) != 1 or url.host or not url.path.strip("/"):
            raise SettingsError(
                "the embedded log takes one URL with an absolute folder, "
                f"embedded:///var/lib/qingniao/log, got {', '.join(map(str, self.url))}"
            )
        self.options = LogOptions.from_query(url.query)
        self.folder = Path(url.path).resolve()

    async def acquire(self) -> EmbeddedLog:
        """The open log; pair with ``release``."""
        return await acquire_log(self.folder, self.options)

    async def release(self) -> None:
        """Give the log back; the last one closes it."""
        await release_log(self.folder)


def _declare(log: EmbeddedLog, topic: str, partitions: int, **how: Any) -> None:
    if len(topic) > _TOPIC_NAME_LENGTH:
        raise InputError(f"a topic name has at most {_TOPIC_NAME_LENGTH} letters, got {topic!r}")
    retention = how.get("retention")
    log.declare(
        topic,
        partitions,
        compact=bool(how.get("compacting")),
        delete=how.get("deleting"),
        retention_ms=round(want_seconds(retention) * 1000) if retention else None,
    )


def _partition_of(partitioner: Any, key: bytes | None, count: int) -> int:
    if key is not None and not isinstance(key, bytes):
        raise InputError(f"the key of a record must be bytes or None, got {type(key).__name__}")
    everywhere = list(range(count))
    return int(partitioner(key, everywhere, everywhere))


def _plain_headers(headers: Any) -> Headers | None:
    if not headers:
        return None
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return tuple((str(name), bytes(value)) for name, value in pairs)
