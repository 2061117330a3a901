"""Segments: the log's files, their lock, their recovery and their index in memory.

A folder holds ``lock`` and segment files ``{first}-{last}.{generation}.segment``. The writer
appends to the newest one and starts another when it is full. Cleaning replaces a run of
sealed segments by one file that covers their numbers in a higher generation, so a crash
between "new file in place" and "old files gone" leaves nothing ambiguous: of two files for
one number the higher generation counts.

Not supported: Windows (``fcntl``), network file systems, two processes on one folder.
"""

from __future__ import annotations

import bisect
import contextlib
import ctypes
import fcntl
import logging
import mmap
import os
import re
import weakref
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from core.errors import ServiceError
from streams.embedded.frames import (
    FRAME_HEAD_BYTES,
    MAX_FRAME_BYTES,
    SEGMENT_HEAD_BYTES,
    Block,
    Frame,
    Record,
    TopicInfo,
    TopicPartition,
    check_frame,
    check_segment_head,
    decode_frame,
    durable_after,
    encode_segment_head,
)

_LOG = logging.getLogger(__name__)

#: One index entry per partition and this many bytes of a segment.
INDEX_STRIDE_BYTES = 64 << 10

_NAME = re.compile(r"(\d{10})-(\d{10})\.(\d{6})\.segment")
_fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync

#: fallocate(2) of Linux: keeps the file's size, so that nothing that reads it notices.
_KEEP_SIZE = 1
_fallocate = getattr(ctypes.CDLL(None), "fallocate", None)
if _fallocate is not None:
    _fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class Span:
    """What one segment holds of one partition, and a sparse index into it."""

    __slots__ = ("first", "last", "max_timestamp_ms", "n_bytes", "offsets", "positions")

    def __init__(self, first: int) -> None:
        self.first = first
        self.last = first
        self.max_timestamp_ms = 0
        self.n_bytes = 0
        self.offsets = array("q")
        self.positions = array("q")

    def add(self, position: int, first: int, last: int, timestamp_ms: int, n_bytes: int) -> None:
        """Count the records of one frame."""
        if not self.positions or position - self.positions[-1] >= INDEX_STRIDE_BYTES:
            # A reader in another thread looks at offsets first, so they come last.
            self.positions.append(position)
            self.offsets.append(first)
        self.last = last
        self.n_bytes += n_bytes
        self.max_timestamp_ms = max(self.max_timestamp_ms, timestamp_ms)

    def seek(self, offset: int) -> int:
        """Index of the last entry at or before an offset."""
        return max(0, bisect.bisect_right(self.offsets, offset) - 1)


class Segment:
    """One segment file. ``size`` is how much of it is written and may be read."""

    def __init__(self, folder: Path, first: int, last: int, generation: int = 0) -> None:
        self.path = folder / f"{first:010d}-{last:010d}.{generation:06d}.segment"
        self.first = first
        self.last = last
        self.generation = generation
        self.size = SEGMENT_HEAD_BYTES
        self.spans: dict[TopicPartition, Span] = {}

    def add(
        self, position: int, key: TopicPartition, first: int, last: int, ts_ms: int, n_bytes: int
    ) -> None:
        """Count a block of the frame at a position."""
        span = self.spans.get(key)
        if span is None:
            span = self.spans[key] = Span(first)
        span.add(position, first, last, ts_ms, n_bytes)

    def add_blocks(self, position: int, blocks: Sequence[Block]) -> None:
        """Count the blocks of the frame at a position."""
        for block in blocks:
            self.add(
                position, block.key, block.first, block.last, block.max_timestamp_ms, block.n_bytes
            )


class FolderLock:
    """Exclusive hold on a log folder, for as long as this process has it open.

    Raises:
        ServiceError: Another process (or this one, elsewhere) has it; the message names it.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "lock"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ServiceError(
                f"log folder {folder} cannot be opened: {error.strerror}; "
                "name a folder this user may write to"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise ServiceError(
                f"log folder {folder} is in use by process {holder}; "
                "stop that process or give this one a folder of its own"
            ) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode("ascii"), 0)
        _HELD.add(self)

    def release(self) -> None:
        """Let go; a second call does nothing."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


_HELD: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _release_in_child() -> None:
    # A forked child shares the lock's open file and would hold it after we died.
    for lock in list(_HELD):
        lock.release()


os.register_at_fork(after_in_child=_release_in_child)


class Recovery(msgspec.Struct, kw_only=True):
    """What opening a log found and did."""

    segments: int = 0
    frames: int = 0
    #: Bytes of a torn tail that were cut: an append nobody had been told was durable.
    cut_bytes: int = 0
    #: Where and why, in words; empty when nothing was cut.
    cut: str = ""
    #: Files cleared away: replaced by cleaning, or a cleaning that was not finished.
    removed: list[str] = msgspec.field(default_factory=list)


class Recovered(msgspec.Struct, kw_only=True):
    """The state of a log as its files tell it."""

    segments: list[Segment]
    topics: dict[str, TopicInfo]
    commits: dict[tuple[str, str, int], int]
    report: Recovery


def list_segments(folder: Path) -> tuple[list[Segment], list[Path]]:
    """The segment files that count, in order, and those that cleaning has replaced."""
    found = []
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if match:
            found.append(Segment(folder, *(int(part) for part in match.groups())))
    found.sort(key=lambda one: (-one.generation, one.first))
    kept: list[Segment] = []
    replaced: list[Path] = []
    for segment in found:
        if any(one.first <= segment.first and segment.last <= one.last for one in kept):
            replaced.append(segment.path)
        else:
            kept.append(segment)
    kept.sort(key=lambda one: one.first)
    return kept, replaced


def recover(folder: Path, *, cut_damage: bool = False) -> Recovered:
    """Read every segment, cut a torn tail, rebuild the index. Call with the lock held.

    Args:
        folder: Where the segments are.
        cut_damage: Give up everything from a damaged frame on (kept beside as ``*.cut``),
            instead of refusing.

    Raises:
        ServiceError: Acknowledged data is damaged and ``cut_damage`` is off, or a file
            cannot be read.
    """
    report = Recovery()
    try:
        segments, replaced = list_segments(folder)
        for path in [*replaced, *folder.glob("*.cleaning")]:
            path.unlink()
            report.removed.append(path.name)
        topics: dict[str, TopicInfo] = {}
        commits: dict[tuple[str, str, int], int] = {}
        for number, segment in enumerate(segments):
            newest = number == len(segments) - 1
            good = _load(segment, newest, topics, commits, report, cut_damage=cut_damage)
            if not good:
                for later in segments[number + 1 :]:
                    later.path.rename(later.path.with_name(later.path.name + ".cut"))
                    report.cut += f", and all of {later.path.name}"
                del segments[number + 1 :]
                break
        report.segments = len(segments)
        if report.cut or report.removed:
            sync_folder(folder)
    except OSError as error:
        raise ServiceError(f"log folder {folder} cannot be read: {error}") from error
    if report.cut:
        _LOG.warning("log %s: cut %s", folder, report.cut)
    return Recovered(segments=segments, topics=topics, commits=commits, report=report)


def _load(
    segment: Segment,
    newest: bool,
    topics: dict[str, TopicInfo],
    commits: dict[tuple[str, str, int], int],
    report: Recovery,
    *,
    cut_damage: bool,
) -> bool:
    """Index one segment; False when it was damaged and what follows is given up."""
    with mapped(segment.path) as data:
        why = check_segment_head(data, segment.first, segment.last)
        position = SEGMENT_HEAD_BYTES
        if why:
            position = 0
        while not why and position < len(data):
            end = check_frame(data, position)
            if isinstance(end, str):
                why = end
                break
            frame = decode_frame(data, position, end)
            segment.add_blocks(position, frame.blocks)
            for commit in frame.commits:
                commits[commit.group, commit.topic, commit.partition] = commit.offset
            for topic in frame.topics:
                topics[topic.name] = topic
            report.frames += 1
            position = end
        segment.size = max(position, SEGMENT_HEAD_BYTES)
        if not why:
            return True
        size = len(data)
        torn = newest and segment.generation == 0 and durable_after(data, position) <= position
        if position == 0 and size >= SEGMENT_HEAD_BYTES:
            torn = False
    where = f"{size - position} bytes of {segment.path.name} from byte {position} on ({why})"
    if not torn and not cut_damage:
        raise ServiceError(
            f"log segment {segment.path} is damaged at byte {position}: {why}; "
            f"{size - position} bytes from there on, and later segments, held acknowledged "
            "data. Nothing was changed. Restore the folder from a copy, or open it with "
            "damage=cut to go on without them (they are kept beside as *.cut)"
        )
    if not torn:
        tail = segment.path.read_bytes()[position:]
        segment.path.with_name(segment.path.name + ".cut").write_bytes(tail)
    with segment.path.open("r+b") as file:
        file.truncate(position)
        if position == 0:
            file.write(encode_segment_head(segment.first, segment.last))
        file.flush()
        os.fsync(file.fileno())
    report.cut_bytes += size - position
    report.cut = where
    return torn


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    """A file's bytes for the time of a ``with`` block; empty files too."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            yield view


class SegmentWriter:
    """Appends frames to the newest segment. Used by one thread.

    After an ``OSError`` it must not be used again: what reached the disk is unknown, and a
    second ``fdatasync`` would report success for pages the kernel has already dropped.
    """

    def __init__(self, folder: Path, active: Segment | None, *, segment_bytes: int) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._fd = -1
        if active is None or active.generation or active.first != active.last:
            number = 0 if active is None else active.last + 1
            self.segment = self._create(number)
        else:
            self.segment = active
            self._fd = os.open(active.path, os.O_WRONLY | os.O_CLOEXEC)
            os.lseek(self._fd, active.size, os.SEEK_SET)
            self._reserve()
        self.position = self.segment.size
        self.durable = self.segment.size

    def roll(self) -> Segment | None:
        """Start another segment when this one is full; the new one, or None."""
        if self.position < self._segment_bytes:
            return None
        self._give_back()
        os.fsync(self._fd)
        os.close(self._fd)
        self.segment = self._create(self.segment.last + 1)
        self.position = self.durable = self.segment.size
        return self.segment

    def write(self, frame: bytearray) -> int:
        """Append one frame; its position."""
        at = self.position
        with memoryview(frame) as view:
            done = 0
            while done < len(view):
                done += os.write(self._fd, view[done:])
        self.position += len(frame)
        return at

    def sync(self) -> None:
        """Force what was written to the disk."""
        _fdatasync(self._fd)
        self.durable = self.position

    def close(self, *, sync: bool = True) -> None:
        """Let the file go; a second call does nothing."""
        if self._fd >= 0:
            try:
                if sync:
                    self._give_back()
                    os.fsync(self._fd)
            finally:
                fd, self._fd = self._fd, -1
                os.close(fd)

    def _create(self, number: int) -> Segment:
        segment = Segment(self._folder, number, number)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = os.open(segment.path, flags, 0o644)
        os.write(self._fd, encode_segment_head(number, number))
        self._reserve()
        os.fsync(self._fd)
        sync_folder(self._folder)
        return segment

    def _reserve(self) -> None:
        """Have the file system find room for the segment now, and not with every append.

        An append that must also find blocks waits for more of the file system's journal: on ext4
        its fdatasync took a fifth longer, on an idle disk.
        Where the file system cannot, or has no room, appends find their blocks as they come.
        """
        if _fallocate is not None:
            _fallocate(self._fd, _KEEP_SIZE, 0, self._segment_bytes)

    def _give_back(self) -> None:
        """Give back room that was reserved and not used."""
        os.ftruncate(self._fd, os.fstat(self._fd).st_size)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def frames_of(path: Path, start: int, size: int) -> Iterator[tuple[int, Frame]]:
    """Frames of a segment from a position on, one in memory at a time.

    Raises:
        ServiceError: A frame is damaged.
    """
    with path.open("rb") as file:
        file.seek(start)
        position = start
        while position < size:
            head = file.read(FRAME_HEAD_BYTES)
            length = int.from_bytes(head[4:8], "little") if len(head) >= 8 else 0
            data = head + file.read(min(length, MAX_FRAME_BYTES))
            end = check_frame(data, 0)
            if isinstance(end, str):
                raise ServiceError(f"log segment {path} is damaged at byte {position}: {end}")
            yield position, decode_frame(data, 0, end)
            position += end


def read_records(
    segments: Sequence[Segment],
    key: TopicPartition,
    offset: int,
    *,
    max_records: int,
    max_bytes: int,
) -> list[Record]:
    """Records of a partition from an offset on, read from disk; empty at the end.

    Works on a snapshot of the segments and may run in any thread.

    Raises:
        FileNotFoundError: Cleaning has replaced a segment meanwhile; take the segments anew.
        ServiceError: A frame is damaged.
    """
    out: list[Record] = []
    n_bytes = 0
    for segment in segments:
        span = segment.spans.get(key)
        if span is None or span.last < offset:
            continue
        entry = span.seek(offset)
        position = span.positions[entry]
        while position < segment.size:
            # Past the stride of an entry the next record has an entry of its own.
            limit = segment.size
            if entry + 1 < len(span.offsets):
                limit = min(limit, span.positions[entry + 1])
            elif span.positions[entry] + INDEX_STRIDE_BYTES < limit:
                limit = span.positions[entry] + INDEX_STRIDE_BYTES
            for _, frame in frames_of(segment.path, position, limit):
                for block in frame.blocks:
                    if block.key != key or block.last < offset:
                        continue
                    found = block.decode()
                    if found[0].offset < offset:
                        found = [record for record in found if record.offset >= offset]
                    out += found
                    n_bytes += block.n_bytes
                if len(out) >= max_records or n_bytes >= max_bytes:
                    return out
            entry += 1
            if entry >= len(span.offsets):
                break
            position = span.positions[entry]
    return out
