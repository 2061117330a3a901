"""The embedded log: durable topics in one folder, for one event loop, with no server.

Appends are gathered while the previous batch is on its way to the disk and go out together:
one thread writes them as frames and forces them down once (group commit), then their futures
resolve, readers see them, and whoever waits is woken. Offsets are given at once, in the order
of the calls, so what is appended later is never on disk without what was appended before.

A disk error stops the log: every waiting and every later call gets a ServiceError.

Not supported: several processes or several event loops on one folder; a smaller or larger
number of partitions for a topic that exists; transactions beyond one append; Windows.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from core.clock import Clock, SystemClock
from core.errors import InputError, ServiceError, SettingsError
from streams.embedded.cleaning import Cleaner, Plan, Policy, compact_bytes, plan, record_bytes
from streams.embedded.frames import (
    MAX_FRAME_BYTES,
    SEGMENT_HEAD_BYTES,
    Commit,
    Headers,
    Record,
    TopicInfo,
    TopicPartition,
    encode_frame,
)
from streams.embedded.segments import (
    FolderLock,
    Recovery,
    Segment,
    SegmentWriter,
    frames_of,
    list_segments,
    mapped,
    read_records,
    recover,
)

_LOG = logging.getLogger(__name__)

#: A frame is closed at about this size; one append is never split.
_FRAME_TARGET_BYTES = 1 << 20

#: Values below this size are copied before they are kept: some encoders hand out bytes
#: objects that hold on to a whole page.
_COPY_BELOW_BYTES = 4096


_Size = Annotated[int, msgspec.Meta(ge=1024)]
_Duration = Annotated[float, msgspec.Meta(ge=0)]


class LogOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a log is kept. Sizes in bytes, times in seconds.

    ``sync`` full forces every batch to the disk before it is acknowledged; normal leaves that
    to the kernel (kill -9 loses nothing, power loss does). ``damage`` says what to do with a
    log whose acknowledged data is damaged: refuse to open, or cut it there. Retention only
    ever takes what every group has read.
    """

    sync: Literal["full", "normal"] = "full"
    damage: Literal["refuse", "cut"] = "refuse"
    segment_bytes: _Size = 64 << 20
    max_pending_bytes: _Size = 32 << 20
    tail_bytes: _Size = 32 << 20
    retain_bytes: _Size = 8 << 30
    retain_s: _Duration = 7 * 86_400.0
    tombstone_s: _Duration = 86_400.0

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> LogOptions:
        """Options as they stand in a URL.

        Raises:
            SettingsError: An unknown name or a value of the wrong kind.

        Example:
            >>> LogOptions.from_query({"sync": "normal"}).sync
            'normal'
        """
        try:
            return msgspec.convert(dict(query), cls, strict=False)
        except msgspec.ValidationError as error:
            names = ", ".join(cls.__struct_fields__)
            raise SettingsError(
                f"embedded:// takes the options {names}; got {dict(query)}: {error}"
            ) from error


class NewRecord(NamedTuple):
    """A record to append. ``timestamp_ms`` None is now."""

    topic: str
    partition: int
    value: bytes | None
    key: bytes | None = None
    timestamp_ms: int | None = None
    headers: Headers | None = None


class Receipt(NamedTuple):
    """Where a record went."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


class LogStats(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a log since it was opened."""

    segments: int
    n_bytes: int
    pending_bytes: int
    records: int
    batches: int
    cold_reads: int
    cleaned_runs: int
    clean_failures: int


class _Append:
    """One append on its way to the disk."""

    __slots__ = ("commits", "future", "n_bytes", "records", "result", "topics")

    def __init__(
        self,
        future: asyncio.Future[Any],
        result: Any,
        n_bytes: int,
        records: Sequence[tuple[TopicPartition, Record]],
        commits: Sequence[Commit],
        topics: Sequence[TopicInfo],
    ) -> None:
        self.future = future
        self.result = result
        self.n_bytes = n_bytes
        self.records = records
        self.commits = commits
        self.topics = topics


class _Placed(NamedTuple):
    """A frame that is on disk."""

    segment: Segment
    position: int
    end: int
    records: dict[TopicPartition, list[Record]]


class _Tail:
    """The newest records of one partition, in memory, without gaps up to the end."""

    __slots__ = ("firsts", "head", "runs")

    def __init__(self) -> None:
        self.firsts: list[int] = []
        self.runs: list[list[Record]] = []
        self.head = 0

    def add(self, run: list[Record]) -> None:
        self.firsts.append(run[0].offset)
        self.runs.append(run)

    def drop_oldest(self) -> int:
        """Forget the oldest run; about how many bytes that frees."""
        freed = sum(record_bytes(record) for record in self.runs[self.head])
        self.runs[self.head] = []
        self.head += 1
        if self.head > 256 and self.head * 2 > len(self.runs):
            del self.firsts[: self.head], self.runs[: self.head]
            self.head = 0
        return freed

    def read(self, offset: int, max_records: int) -> list[Record] | None:
        """Records from an offset on; None when the oldest here is newer than that."""
        if self.head == len(self.runs) or offset < self.firsts[self.head]:
            return None
        number = bisect.bisect_right(self.firsts, offset, self.head) - 1
        run = self.runs[number]
        skip = offset - run[0].offset  # appended records have no gaps
        out = run[skip : skip + max_records]
        while len(out) < max_records and number + 1 < len(self.runs):
            number += 1
            out += self.runs[number][: max_records - len(out)]
        return out


class EmbeddedLog:
    """A durable log in a folder. Use it from one loop.

    Making one locks the folder and recovers what is in it; that blocks while it reads.

    Args:
        folder: Where it lives; made when missing.
        options: How it is kept.
        clock: Gives records without a timestamp theirs.
        receipt: Makes what the future of ``send`` resolves to, from (topic, partition,
            offset, timestamp_ms).

    Raises:
        ServiceError: The folder is in use, damaged, or cannot be written.

    Example:
        >>> import asyncio, tempfile
        >>> async def run(folder):
        ...     log = EmbeddedLog(Path(folder))
        ...     _ = log.declare("events", 1)
        ...     receipt = await log.send("events", 0, b"value")
        ...     records = await log.fetch("events", 0, 0)
        ...     await log.close()
        ...     return receipt.offset, [record.value for record in records]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     asyncio.run(run(folder))
        (0, [b'value'])
    """

    def __init__(
        self,
        folder: Path,
        options: LogOptions | None = None,
        *,
        clock: Clock | None = None,
        receipt: Callable[[str, int, int, int], Any] = Receipt,
    ) -> None:
        self.folder = folder
        self.options = options or LogOptions()
        self._clock = clock or SystemClock()
        self._receipt = receipt
        self._lock = FolderLock(folder)
        try:
            found = recover(folder, cut_damage=self.options.damage == "cut")
            newest = found.segments[-1] if found.segments else None
            self._writer = SegmentWriter(folder, newest, segment_bytes=self.options.segment_bytes)
        except OSError as error:
            self._lock.release()
            raise ServiceError(f"log folder {folder} cannot be written: {error}") from error
        except BaseException:
            self._lock.release()
            raise
        self.recovery: Recovery = found.report
        self._segments = found.segments
        if newest is not self._writer.segment:
            self._segments.append(self._writer.segment)
        self._topics = found.topics
        self._committed = {key: offset for key, offset in found.commits.items() if offset >= 0}
        self._ends: dict[TopicPartition, int] = {}
        for segment in self._segments:
            for key, span in segment.spans.items():
                self._ends[key] = max(self._ends.get(key, 0), span.last + 1)
        self._next = dict(self._ends)

        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._to_disk: queue.SimpleQueue[list[_Append] | None] = queue.SimpleQueue()
        self._pending: list[_Append] = []
        self._pending_bytes = 0
        self._in_hand: list[_Append] = []
        self._flush_due = False
        self._closed = False
        self._failure = ""
        self._room: deque[asyncio.Future[None]] = deque()
        self._tails: dict[TopicPartition, _Tail] = {}
        self._tail_order: deque[_Tail] = deque()
        self._tail_bytes = 0
        self._on_durable: list[Callable[[], None]] = []
        self._on_failure: list[Callable[[ServiceError], None]] = []
        self._reader: ThreadPoolExecutor | None = None
        self._cleaning: threading.Thread | None = None
        self._cancel_cleaning = threading.Event()
        self._compacted_bytes = 0
        self._records = self._batches = self._cold_reads = 0
        self._cleaned_runs = self._clean_failures = 0

    # Topics

    def declare(
        self,
        topic: str,
        partitions: int,
        *,
        compact: bool = False,
        delete: bool | None = None,
        retention_ms: int | None = None,
    ) -> TopicInfo:
        """Make a topic, or change how an existing one is cleaned.

        The number of partitions of an existing topic stays: another would send keys
        elsewhere.

        Raises:
            InputError: No name, or fewer than one partition.
            ServiceError: The log has stopped.
        """
        if not topic or partitions < 1:
            raise InputError(f"a topic has a name and partitions >= 1, got {topic!r}, {partitions}")
        old = self._topics.get(topic)
        if old is not None and old.partitions != partitions:
            _LOG.warning(
                "topic %s has %d partitions in %s and keeps them, %d were asked for",
                topic,
                old.partitions,
                self.folder,
                partitions,
            )
            partitions = old.partitions
        delete = not compact if delete is None else delete
        info = TopicInfo(topic, partitions, compact, delete, retention_ms)
        if info != old:
            _unwatched(self._enqueue(64 + len(topic), None, topics=(info,)))
            self._topics[topic] = info
        return info

    def topic(self, name: str) -> TopicInfo | None:
        """What is declared of a topic; None when there is none."""
        return self._topics.get(name)

    # Writing

    def send(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        *,
        key: bytes | None = None,
        timestamp_ms: int | None = None,
        headers: Headers | None = None,
    ) -> asyncio.Future[Any]:
        """Append one record; the future resolves to its receipt when it is durable.

        Does not wait for room: ``await room()`` first where the caller can.

        Raises:
            InputError: No such topic or partition, or the record is not bytes.
            ServiceError: The log has stopped.
        """
        new = NewRecord(topic, partition, value, key, timestamp_ms, headers)
        if timestamp_ms is None:
            timestamp_ms = self._clock.now_ns() // 1_000_000
        n_bytes = self._check(new)
        where = (topic, partition)
        record = self._make(where, new, timestamp_ms)
        result = self._receipt(topic, partition, record.offset, record.timestamp_ms)
        future = self._enqueue(n_bytes, result, records=((where, record),))
        self._next[where] = record.offset + 1
        return future

    def append(
        self,
        records: Sequence[NewRecord],
        *,
        group: str = "",
        offsets: Mapping[TopicPartition, int] | None = None,
    ) -> asyncio.Future[Any]:
        """Append records and commit offsets of a group, all or nothing.

        Returns:
            A future; it resolves to the list of receipts when all of it is durable.

        Raises:
            InputError: No such topic or partition, a record that is not bytes, or offsets
                without a group; nothing of it was appended.
            ServiceError: The log has stopped.
        """
        if offsets and not group:
            raise InputError("offsets are committed for a group, got none")
        now_ms = self._clock.now_ns() // 1_000_000
        n_bytes = sum(self._check(new) for new in records) + 64 * len(offsets or {})
        if n_bytes > MAX_FRAME_BYTES // 2:
            raise InputError(f"one append takes {MAX_FRAME_BYTES // 2} bytes, got {n_bytes}")
        before = {(new.topic, new.partition): 0 for new in records}
        before = {where: self._next.get(where, 0) for where in before}
        made = []
        for new in records:
            where = (new.topic, new.partition)
            stamp = now_ms if new.timestamp_ms is None else new.timestamp_ms
            record = self._make(where, new, stamp)
            self._next[where] = record.offset + 1
            made.append((where, record))
        receipts = [self._receipt(*where, one.offset, one.timestamp_ms) for where, one in made]
        commits = [Commit(group, *where, offset) for where, offset in (offsets or {}).items()]
        try:
            return self._enqueue(n_bytes, receipts, records=made, commits=commits)
        except BaseException:
            self._next.update(before)
            raise

    async def forget_group(self, group: str) -> int:
        """Drop what a group has committed, so that it no longer holds records back.

        For groups that are gone for good; the number of partitions it had committed on.

        Raises:
            ServiceError: The log has stopped.
        """
        held = [key[1:] for key in self._committed if key[0] == group]
        if held:
            commits = [Commit(group, topic, partition, -1) for topic, partition in held]
            await self._enqueue(64 * len(commits), None, commits=commits)
        return len(held)

    async def room(self) -> None:
        """Wait until fewer bytes wait for the disk than may.

        Raises:
            ServiceError: The log has stopped.
        """
        while self._pending_bytes >= self.options.max_pending_bytes:
            self._check_open()
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._room.append(waiter)
            await waiter
        self._check_open()

    @property
    def has_room(self) -> bool:
        """Whether ``room`` would return at once."""
        return self._pending_bytes < self.options.max_pending_bytes

    async def flush(self) -> None:
        """Wait until everything appended so far is durable.

        Raises:
            ServiceError: The log has stopped.
        """
        if self._pending or self._in_hand:
            await self._enqueue(0, None)
        else:
            self._check_open()

    # Reading

    def first(self, topic: str, partition: int) -> int:
        """Offset of the oldest record there is; the next offset when there is none."""
        key = (topic, partition)
        for segment in self._segments:
            if key in segment.spans:
                return segment.spans[key].first
        return self._ends.get(key, 0)

    def end(self, topic: str, partition: int) -> int:
        """The next offset: one more than that of the newest durable record."""
        return self._ends.get((topic, partition), 0)

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """The next offset a group wants; None when it never committed."""
        return self._committed.get((group, topic, partition))

    def fetch_tail(
        self, topic: str, partition: int, offset: int, max_records: int = 512
    ) -> list[Record] | None:
        """Durable records from an offset on, from memory; None when they are on disk only."""
        key = (topic, partition)
        if offset >= self._ends.get(key, 0):
            return []
        tail = self._tails.get(key)
        return None if tail is None else tail.read(offset, max_records)

    async def fetch(
        self,
        topic: str,
        partition: int,
        offset: int,
        *,
        max_records: int = 512,
        max_bytes: int = 1 << 20,
    ) -> list[Record]:
        """Durable records from an offset on, as many as are wanted or a few more.

        Empty at the end of the partition. Offsets that cleaning took away are passed over.

        Raises:
            ServiceError: The log is closed, or what is on disk is damaged.
        """
        found = self.fetch_tail(topic, partition, offset, max_records)
        if found is not None:
            return found
        self._check_open()
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, "embedded-log-reader")
        self._cold_reads += 1
        while True:
            segments = tuple(self._segments)
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._reader,
                    lambda segments=segments: read_records(  # type: ignore[misc]
                        segments,
                        (topic, partition),
                        offset,
                        max_records=max_records,
                        max_bytes=max_bytes,
                    ),
                )
            except FileNotFoundError:
                if segments == tuple(self._segments):
                    raise ServiceError(
                        f"a segment of log {self.folder} has been removed from outside"
                    ) from None
            except OSError as error:
                raise ServiceError(f"log {self.folder} cannot be read: {error}") from error

    def on_durable(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back in the loop whenever new records can be read; returns how to stop that."""
        self._on_durable.append(callback)
        return lambda: self._on_durable.remove(callback)

    def on_failure(self, callback: Callable[[ServiceError], None]) -> Callable[[], None]:
        """Call back in the loop when the log stops for a disk error."""
        self._on_failure.append(callback)
        return lambda: self._on_failure.remove(callback)

    @property
    def failure(self) -> str:
        """Why the log has stopped; empty while it works."""
        return self._failure

    def stats(self) -> LogStats:
        """Figures for people and metrics."""
        return LogStats(
            segments=len(self._segments),
            n_bytes=sum(segment.size for segment in self._segments),
            pending_bytes=self._pending_bytes,
            records=self._records,
            batches=self._batches,
            cold_reads=self._cold_reads,
            cleaned_runs=self._cleaned_runs,
            clean_failures=self._clean_failures,
        )

    # Closing

    async def close(self) -> None:
        """Write what waits, stop the threads, let the folder go. A second call does nothing.

        Raises:
            ServiceError: What waited could not be written.
        """
        if self._closed:
            return
        try:
            if not self._failure:
                await self.flush()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let the folder go without waiting for the disk; appends that wait get an error."""
        if self._closed:
            return
        self._closed = True
        self._cancel_cleaning.set()
        if self._thread is not None:
            self._to_disk.put(None)
            self._thread.join()
        if self._cleaning is not None:
            # It may be handing a file to a loop that is blocked here; it gives up soon.
            self._cleaning.join(timeout=5)
        if self._reader is not None:
            self._reader.shutdown(wait=True)
        try:
            self._writer.close(sync=not self._failure)
        except OSError as error:
            self._failure = self._failure or str(error)
            raise ServiceError(f"log {self.folder} could not be closed: {error}") from error
        finally:
            self._lock.release()
            if self._loop is not None and not self._loop.is_closed():
                self._refuse_waiting("it was closed")

    # Inside: the loop's side

    def _check_open(self) -> None:
        if self._failure:
            raise ServiceError(self._failure)
        if self._closed:
            raise ServiceError(f"log {self.folder} is closed")

    def _check(self, new: NewRecord) -> int:
        topic = self._topics.get(new.topic)
        if topic is None:
            raise InputError(f"log {self.folder} has no topic {new.topic!r}; declare it first")
        if not 0 <= new.partition < topic.partitions:
            raise InputError(
                f"topic {new.topic} has partitions 0 to {topic.partitions - 1}, got {new.partition}"
            )
        for name, value in (("key", new.key), ("value", new.value)):
            if value is not None and not isinstance(value, bytes):
                raise InputError(
                    f"the {name} of a record for {new.topic} must be bytes or None, "
                    f"got {type(value).__name__}"
                )
        n_bytes = 64 + len(new.key or b"") + len(new.value or b"")
        if n_bytes > MAX_FRAME_BYTES // 2:
            raise InputError(f"a record takes {MAX_FRAME_BYTES // 2} bytes, got {n_bytes}")
        return n_bytes

    def _make(self, where: TopicPartition, new: NewRecord, timestamp_ms: int) -> Record:
        value = new.value
        if value is not None and len(value) < _COPY_BELOW_BYTES:
            value = bytes(memoryview(value))
        return Record(self._next.get(where, 0), timestamp_ms, new.key, value, new.headers or None)

    def _enqueue(
        self,
        n_bytes: int,
        result: Any,
        *,
        records: Sequence[tuple[TopicPartition, Record]] = (),
        commits: Sequence[Commit] = (),
        topics: Sequence[TopicInfo] = (),
    ) -> asyncio.Future[Any]:
        self._check_open()
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._start(loop)
        future: asyncio.Future[Any] = loop.create_future()
        self._pending.append(_Append(future, result, n_bytes, records, commits, topics))
        self._pending_bytes += n_bytes
        if not self._in_hand and not self._flush_due:
            # One turn later, so that everything appended in this turn goes together.
            self._flush_due = True
            loop.call_soon(self._hand_over)
        return future

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None:
            raise ServiceError(f"log {self.folder} belongs to another event loop")
        self._loop = loop
        self._thread = threading.Thread(target=self._write_all, name="embedded-log", daemon=True)
        self._thread.start()
        self._clean_if_due()

    def _hand_over(self) -> None:
        self._flush_due = False
        if self._pending and not self._in_hand and not self._closed and not self._failure:
            self._in_hand, self._pending = self._pending, []
            self._to_disk.put(self._in_hand)

    def _written(
        self, batch: list[_Append], placed: list[_Placed], error: BaseException | None
    ) -> None:
        if self._closed:
            return
        if error is not None:
            self._stop(error)
            return
        for segment, position, end, runs in placed:
            if segment is not self._segments[-1]:
                self._segments.append(segment)
            for key, run in runs.items():
                newest = max(record.timestamp_ms for record in run)
                size = sum(record_bytes(record) for record in run)
                segment.add(position, key, run[0].offset, run[-1].offset, newest, size)
                self._ends[key] = run[-1].offset + 1
                self._records += len(run)
                self._keep(key, run, size)
            segment.size = end
        self._batches += 1
        self._in_hand = []
        for one in batch:
            self._pending_bytes -= one.n_bytes
            for commit in one.commits:
                whose = (commit.group, commit.topic, commit.partition)
                if commit.offset >= 0:
                    self._committed[whose] = commit.offset
                else:
                    self._committed.pop(whose, None)
            if not one.future.done():
                one.future.set_result(one.result)
        self._hand_over()
        if self.has_room:
            while self._room:
                waiter = self._room.popleft()
                if not waiter.done():
                    waiter.set_result(None)
        for callback in tuple(self._on_durable):
            callback()
        if placed and placed[0].position == SEGMENT_HEAD_BYTES:
            self._clean_if_due()

    def _keep(self, key: TopicPartition, run: list[Record], size: int) -> None:
        tail = self._tails.get(key)
        if tail is None:
            tail = self._tails[key] = _Tail()
        tail.add(run)
        self._tail_order.append(tail)
        self._tail_bytes += size
        while self._tail_bytes > self.options.tail_bytes and self._tail_order:
            self._tail_bytes -= self._tail_order.popleft().drop_oldest()

    def _stop(self, error: BaseException) -> None:
        what = f"{type(error).__name__}: {error}"
        self._failure = (
            f"log {self.folder} has stopped: writing failed ({what}); nothing that was not "
            "acknowledged may be relied on. Make room or repair the disk, then start again"
        )
        _LOG.error("%s", self._failure)
        self._cancel_cleaning.set()
        self._refuse_waiting("")
        for callback in tuple(self._on_failure):
            callback(ServiceError(self._failure))

    def _refuse_waiting(self, why: str) -> None:
        text = self._failure or f"log {self.folder}: {why}"
        waiting = [*self._in_hand, *self._pending]
        self._in_hand, self._pending, self._pending_bytes = [], [], 0
        futures: list[asyncio.Future[Any]] = [one.future for one in waiting]
        futures += self._room
        self._room.clear()
        for future in futures:
            if not future.done():
                future.set_exception(ServiceError(text))

    # Inside: the writer's side

    def _write_all(self) -> None:
        while True:
            batch = self._to_disk.get()
            if batch is None:
                return
            placed: list[_Placed] = []
            error: BaseException | None = None
            try:
                self._write(batch, placed)
            except BaseException as caught:  # the loop tells every waiter
                error = caught
            loop = self._loop
            assert loop is not None
            try:
                loop.call_soon_threadsafe(self._written, batch, placed, error)
            except RuntimeError:  # the loop was closed without closing the log
                return
            if error is not None:
                return

    def _write(self, batch: list[_Append], placed: list[_Placed]) -> None:
        writer = self._writer
        writer.roll()
        for records, commits, topics in _frames(batch):
            frame = encode_frame(records, commits, topics, durable_before=writer.durable)
            position = writer.write(frame)
            placed.append(_Placed(writer.segment, position, writer.position, records))
        if placed and self.options.sync == "full":
            writer.sync()

    # Inside: cleaning

    def _clean_if_due(self) -> None:
        if self._cleaning is not None or self._loop is None:
            return
        sealed = self._segments[:-1]
        if not sealed:
            return
        floors: dict[TopicPartition, int] = {}
        for (_, topic, partition), offset in self._committed.items():
            key = (topic, partition)
            floors[key] = min(floors.get(key, offset), offset)
        options = self.options
        policy = Policy(
            topics=dict(self._topics),
            floors=floors,
            ends=dict(self._ends),
            now_ms=self._clock.now_ns() // 1_000_000,
            segment_bytes=options.segment_bytes,
            retain_bytes=options.retain_bytes,
            retain_ms=round(options.retain_s * 1000),
            tombstone_ms=round(options.tombstone_s * 1000),
            total_bytes=sum(segment.size for segment in self._segments),
        )
        # Twice what was live last time: the cost of compaction stays a share of the writing.
        due = compact_bytes(sealed, policy.topics)
        compact = due > 2 * self._compacted_bytes + options.segment_bytes // 2
        work = plan(sealed, policy, compact=compact)
        if not work.runs:
            return
        self._cleaning = threading.Thread(
            target=self._clean,
            args=(work, sealed, policy),
            name="embedded-log-cleaner",
            daemon=True,
        )
        self._cleaning.start()

    def _clean(self, work: Plan, sealed: list[Segment], policy: Policy) -> None:
        failed = False
        try:
            Cleaner(self.folder, self._install, self._cancel_cleaning).run(work, sealed, policy)
        except (OSError, ServiceError) as error:
            # The log itself is whole; the next segment tries again.
            failed = True
            if not self._cancel_cleaning.is_set():
                _LOG.warning("log %s: cleaning failed and was undone: %s", self.folder, error)
        loop = self._loop
        assert loop is not None
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._cleaned, work, failed)

    def _install(self, run: list[Segment], target: Segment) -> None:
        done: ThreadFuture[None] = ThreadFuture()

        def swap() -> None:
            at = self._segments.index(run[0])
            self._segments[at : at + len(run)] = [target]
            self._cleaned_runs += 1
            done.set_result(None)

        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(swap)
        except RuntimeError as error:
            raise ServiceError("the event loop was closed") from error
        while not self._cancel_cleaning.is_set():
            try:
                return done.result(timeout=0.05)
            except TimeoutError:
                continue
        raise ServiceError("the log was closed")

    def _cleaned(self, work: Plan, failed: bool) -> None:
        self._cleaning = None
        self._clean_failures += failed
        if work.compact and not failed:
            self._compacted_bytes = compact_bytes(self._segments[:-1], self._topics)


def _unwatched(future: asyncio.Future[Any]) -> None:
    """Nobody awaits this one; when the log stops, everybody hears of it otherwise."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())


def _frames(
    batch: Sequence[_Append],
) -> Iterator[tuple[dict[TopicPartition, list[Record]], list[Commit], list[TopicInfo]]]:
    """The appends of a batch as frames; one append is never split."""
    records: dict[TopicPartition, list[Record]] = {}
    commits: list[Commit] = []
    topics: list[TopicInfo] = []
    n_bytes = 0
    for one in batch:
        for where, record in one.records:
            records.setdefault(where, []).append(record)
        commits += one.commits
        topics += one.topics
        n_bytes += one.n_bytes
        if n_bytes >= _FRAME_TARGET_BYTES:
            yield records, commits, topics
            records, commits, topics, n_bytes = {}, [], [], 0
    if records or commits or topics:
        yield records, commits, topics


def read_topic(
    path: str | os.PathLike[str], topic: str
) -> Iterator[tuple[int, int, bytes | None, bytes | None, int]]:
    """Records of a topic, read from the folder without a lock; for tools.

    Works beside a running log: what it has written when this starts is read, a frame that is
    still being written ends the reading.

    Args:
        path: The log's folder.
        topic: Its name.

    Yields:
        (partition, offset, key, value, timestamp_ms), by partition in order of offset.

    Raises:
        ServiceError: There is no log in the folder, a sealed segment is damaged, or cleaning
            replaced one meanwhile (read again).
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ServiceError(f"there is no log in {folder}")
    segments, _ = list_segments(folder)
    for number, segment in enumerate(segments):
        try:
            with mapped(segment.path) as data:
                size = len(data)
            for _, frame in frames_of(segment.path, SEGMENT_HEAD_BYTES, size):
                for block in frame.blocks:
                    if block.topic == topic:
                        for one in block.decode():
                            yield block.partition, one.offset, one.key, one.value, one.timestamp_ms
        except FileNotFoundError as error:
            raise ServiceError(f"log {folder} was cleaned meanwhile; read it again") from error
        except ServiceError:
            if number < len(segments) - 1:
                raise
