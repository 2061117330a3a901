"""Cleaning: make old segments smaller, or fewer, without losing what still counts.

A record of a sealed segment may go when

* its topic deletes, its whole span in that segment is older than the retention (or the log is
  larger than it may be), and every group that has ever committed on the partition is past it;
* its topic compacts and a later sealed record has its key, or it is a tombstone past its time.

The newest record of a partition always stays, so offsets never go back and recovery of a table
always finds the record its high-water mark names. The last commit of every group and the last
declaration of every topic stay too. Offsets do not change.

Runs of neighbouring segments become one file each, oldest first, each durable before the next:
a tombstone can only go after what it deletes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from streams.embedded.frames import (
    SEGMENT_HEAD_BYTES,
    Block,
    Commit,
    Record,
    TopicInfo,
    TopicPartition,
    encode_frame,
    encode_segment_head,
)
from streams.embedded.segments import Segment, Span, frames_of, sync_folder

_FRAME_TARGET_BYTES = 1 << 20


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What cleaning has to respect, taken at one moment."""

    topics: Mapping[str, TopicInfo]
    #: Lowest committed offset of any group; a partition nobody commits on is missing.
    floors: Mapping[TopicPartition, int]
    #: Next offset of every partition.
    ends: Mapping[TopicPartition, int]
    now_ms: int
    segment_bytes: int
    retain_bytes: int
    retain_ms: int
    tombstone_ms: int
    #: Size of the whole log.
    total_bytes: int


class Plan(msgspec.Struct, frozen=True):
    """Runs of segments to rewrite, with the partitions to drop from each segment."""

    runs: list[list[Segment]]
    dropped: dict[int, set[TopicPartition]]
    compact: bool


def compact_bytes(segments: Sequence[Segment], topics: Mapping[str, TopicInfo]) -> int:
    """Bytes of compacted topics in these segments."""
    return sum(
        span.n_bytes
        for segment in segments
        for (topic, _), span in segment.spans.items()
        if topic in topics and topics[topic].compact
    )


def plan(sealed: Sequence[Segment], policy: Policy, *, compact: bool) -> Plan:
    """Decide what to rewrite; cheap, looks only at the index."""
    dropped: dict[int, set[TopicPartition]] = {}
    excess = policy.total_bytes - policy.retain_bytes
    sizes: list[int] = []
    worth: list[bool] = []
    for segment in sealed:
        gone: set[TopicPartition] = set()
        compactable = False
        size = segment.size
        for key, span in segment.spans.items():
            topic = policy.topics.get(key[0])
            if topic is None:
                continue
            compactable = compactable or topic.compact
            if topic.delete and _may_drop(key, span, topic, policy, oversize=excess > 0):
                gone.add(key)
                size -= span.n_bytes
                excess -= span.n_bytes
        dropped[segment.first] = gone
        sizes.append(size)
        worth.append(bool(gone) or (compact and compactable))

    runs: list[list[Segment]] = []
    run: list[Segment] = []
    run_bytes, run_worth = 0, False

    def close() -> None:
        # Merging alone is worth a rewrite only where it makes one small file of several.
        small = len(run) > 1 and run_bytes <= policy.segment_bytes // 2
        if run and (run_worth or small):
            runs.append(run)

    for segment, size, useful in zip(sealed, sizes, worth, strict=True):
        if run and run_bytes + size > policy.segment_bytes:
            close()
            run, run_bytes, run_worth = [], 0, False
        run.append(segment)
        run_bytes += size
        run_worth = run_worth or useful
    close()
    return Plan(runs, dropped, compact)


def _may_drop(
    key: TopicPartition, span: Span, topic: TopicInfo, policy: Policy, *, oversize: bool
) -> bool:
    if span.last >= policy.ends.get(key, 0) - 1 or span.last >= policy.floors.get(key, 1 << 62):
        return False
    if topic.compact:
        # A table's state: only what its declaration says may age away.
        return topic.retention_ms is not None and _old(span, topic.retention_ms, policy)
    retain_ms = policy.retain_ms if topic.retention_ms is None else topic.retention_ms
    return oversize or _old(span, retain_ms, policy)


def _old(span: Span, retain_ms: int, policy: Policy) -> bool:
    return span.max_timestamp_ms + retain_ms < policy.now_ms


class Cleaner:
    """Carries out a plan in a thread of its own.

    Args:
        folder: The log's.
        install: Called with (replaced segments, new segment) once the new file is in place;
            returns when readers use it. Only then are the old files deleted.
        cancelled: Set when the log closes; the pass ends at the next frame.
    """

    def __init__(
        self,
        folder: Path,
        install: Callable[[list[Segment], Segment], None],
        cancelled: threading.Event,
    ) -> None:
        self._folder = folder
        self._install = install
        self._cancelled = cancelled

    def run(self, work: Plan, sealed: Sequence[Segment], policy: Policy) -> None:
        """Rewrite every run of a plan.

        Raises:
            OSError: The disk; the run in hand is undone, the log is as it was.
            ServiceError: A sealed frame is damaged; nothing of its run was changed.
        """
        latest = self._latest(sealed, policy) if work.compact else None
        for run in work.runs:
            if latest is None and self._cancelled.is_set():
                return
            target = self._rewrite(run, work, latest, policy)
            if target is None:
                return
            self._install(run, target)
            for segment in run:
                segment.path.unlink()
            sync_folder(self._folder)

    def _latest(
        self, sealed: Sequence[Segment], policy: Policy
    ) -> dict[TopicPartition, dict[bytes, int]]:
        latest: dict[TopicPartition, dict[bytes, int]] = {}
        for segment in sealed:
            for _, frame in frames_of(segment.path, SEGMENT_HEAD_BYTES, segment.size):
                if self._cancelled.is_set():
                    return latest
                for block in frame.blocks:
                    if _compacts(policy, block):
                        seen = latest.setdefault(block.key, {})
                        for record in block.decode():
                            if record.key is not None:
                                seen[record.key] = record.offset
        return latest

    def _rewrite(
        self,
        run: list[Segment],
        work: Plan,
        latest: dict[TopicPartition, dict[bytes, int]] | None,
        policy: Policy,
    ) -> Segment | None:
        """Write one run's file; None when cancelled."""
        generation = max(segment.generation for segment in run) + 1
        target = Segment(self._folder, run[0].first, run[-1].last, generation)
        part = target.path.with_name(target.path.name + ".cleaning")
        commits: dict[tuple[str, str, int], Commit] = {}
        topics: dict[str, TopicInfo] = {}
        blocks: list[Block] = []
        records: dict[TopicPartition, list[Record]] = {}
        waiting = 0
        try:
            with part.open("wb") as file:
                file.write(encode_segment_head(target.first, target.last))

                def write_frame(
                    last_commits: Sequence[Commit] = (), last_topics: Sequence[TopicInfo] = ()
                ) -> None:
                    nonlocal waiting
                    position = file.tell()
                    frame = encode_frame(
                        records,
                        last_commits,
                        last_topics,
                        blocks=blocks,
                        durable_before=position,
                    )
                    file.write(frame)
                    target.add_blocks(position, blocks)
                    for key, kept in records.items():
                        newest = max(record.timestamp_ms for record in kept)
                        size = sum(record_bytes(record) for record in kept)
                        target.add(position, key, kept[0].offset, kept[-1].offset, newest, size)
                    target.size = position + len(frame)
                    blocks.clear()
                    records.clear()
                    waiting = 0

                for segment in run:
                    gone = work.dropped[segment.first]
                    for _, frame in frames_of(segment.path, SEGMENT_HEAD_BYTES, segment.size):
                        if self._cancelled.is_set():
                            part.unlink()
                            return None
                        for commit in frame.commits:
                            commits[commit.group, commit.topic, commit.partition] = commit
                        for topic in frame.topics:
                            topics[topic.name] = topic
                        for block in frame.blocks:
                            if block.key in gone:
                                continue
                            if latest is not None and _compacts(policy, block):
                                kept = _live(block, latest[block.key], policy)
                                if kept:
                                    records.setdefault(block.key, []).extend(kept)
                                    waiting += sum(record_bytes(record) for record in kept)
                            else:
                                blocks.append(block)
                                waiting += block.n_bytes
                        if waiting >= _FRAME_TARGET_BYTES:
                            write_frame()
                write_frame(list(commits.values()), list(topics.values()))
                file.flush()
                os.fsync(file.fileno())
            part.rename(target.path)
            sync_folder(self._folder)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return target


def _compacts(policy: Policy, block: Block) -> bool:
    topic = policy.topics.get(block.topic)
    return topic is not None and topic.compact


def _live(block: Block, latest: Mapping[bytes, int], policy: Policy) -> list[Record]:
    newest = policy.ends.get(block.key, 0) - 1
    return [
        record
        for record in block.decode()
        if record.offset >= newest
        or record.key is None
        or (
            latest[record.key] == record.offset
            and (
                record.value is not None
                or record.timestamp_ms + policy.tombstone_ms >= policy.now_ms
            )
        )
    ]


def record_bytes(record: Record) -> int:
    """About what a record takes, on disk and in memory."""
    n_bytes = 64
    if record.key is not None:
        n_bytes += len(record.key)
    if record.value is not None:
        n_bytes += len(record.value)
    if record.headers:
        n_bytes += sum(32 + len(name) + len(value) for name, value in record.headers)
    return n_bytes
