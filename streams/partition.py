"""What happens to the batches of one partition: de-duplicate, place, tag, apply the rules.

Pure but for its own state, which is dumped whole into one checkpoint record together with the
offset it includes; a batch at or below that offset is skipped, so counters are exact after
any kill (docs/decisions/0006).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from core.city import Device
from core.errors import ServiceError
from core.events import Event, EventBatch
from core.exclusions import EXCLUSION_KIND, Exclusion, decode_exclusion
from core.ledger import tallies
from core.observations import ObservationBatch, decode_batch
from geo.tagging import Tagger, Tags
from scenarios.engine import RuleEngine
from streams.dedup import Deduplicator
from streams.enrich import fill_positions, tag_batch
from streams.fence_watch import FenceWatch
from streams.selection import select_rows

#: Version of the checkpoint's layout; another one is refused, not guessed at.
CHECKPOINT_VERSION = 2


class Counters(msgspec.Struct, kw_only=True):
    """What a partition has done since its log began; exact, because it is checkpointed."""

    accepted: int = 0
    duplicates: int = 0
    events: int = 0


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a partition and the log offset up to which it includes the input."""

    version: int
    applied_offset: int
    watermark_ns: int
    counters: Counters
    dedup: bytes
    engine: bytes
    fences: bytes


class Processed(NamedTuple):
    """What one log record came to: fresh rows with their tags, their events, and repeats."""

    batch: ObservationBatch
    tags: Tags
    events: EventBatch
    duplicate_count: int


def exclusions_in(batch: ObservationBatch) -> tuple[Exclusion, ...]:
    """The records that a batch carries; ingest has checked them.

    Raises:
        InputError: One cannot be read.
    """
    if EXCLUSION_KIND not in batch.kinds:
        return ()
    texts = batch.label("record")
    return tuple(
        decode_exclusion(texts.get(row, ""))
        for row, kind in enumerate(batch.kinds)
        if kind == EXCLUSION_KIND
    )


class PartitionWorker:
    """Applies log records of one partition in order.

    Args:
        partition: Its number, for messages.
        engine: The rules, with no state yet.
        tagger: The map.
        devices: Register of devices by thing id.
        fences: What follows things through fences, with no state yet; None for nothing.
    """

    def __init__(
        self,
        partition: int,
        *,
        engine: RuleEngine,
        tagger: Tagger,
        devices: Mapping[str, Device],
        fences: FenceWatch | None = None,
    ) -> None:
        self.partition = partition
        self.applied_offset = -1
        self.watermark_ns = 0
        self.counters = Counters()
        self._engine = engine
        self._tagger = tagger
        self._devices = devices
        self._fences = fences
        self._dedup = Deduplicator()

    def process(self, offset: int, record: bytes) -> Processed | None:
        """Apply one record; None when a checkpoint included it already.

        Raises:
            DecodeError: The record is not a batch.
        """
        if offset <= self.applied_offset:
            return None
        return self.apply(offset, decode_batch(record))

    def apply(self, offset: int, batch: ObservationBatch) -> Processed:
        """Apply a batch that is, or is part of, the record at an offset."""
        fresh = self._dedup.fresh(batch)
        counted = tallies(batch.sources, batch.received_ns, fresh)
        duplicate_count = int((~fresh).sum())
        if duplicate_count:
            batch = select_rows(batch, fresh)
        batch = fill_positions(batch, self._devices)
        tags = tag_batch(batch, self._tagger)
        exclusions = exclusions_in(batch)
        events = (*self._at_fences(batch), *self._engine.process(batch, tags))
        self.counters.accepted += len(batch)
        self.counters.duplicates += duplicate_count
        self.counters.events += len(events)
        self.applied_offset = offset
        self.watermark_ns = max(self.watermark_ns, batch.stamp.watermark_ns)
        records = EventBatch(
            stamp=batch.stamp, events=events, tallies=counted, exclusions=exclusions
        )
        return Processed(batch, tags, records, duplicate_count)

    def _at_fences(self, batch: ObservationBatch) -> Sequence[Event]:
        """What rules say of things at fences; before the batch itself moves time on."""
        if self._fences is None:
            return ()
        told = self._fences.observe(batch, self.watermark_ns)
        return () if told is None else self._engine.process(told, tag_batch(told, self._tagger))

    def checkpoint(self) -> bytes:
        """The whole state as one record."""
        return msgspec.msgpack.encode(
            Checkpoint(
                version=CHECKPOINT_VERSION,
                applied_offset=self.applied_offset,
                watermark_ns=self.watermark_ns,
                counters=self.counters,
                dedup=self._dedup.dump(),
                engine=self._engine.dump(),
                fences=b"" if self._fences is None else self._fences.dump(),
            )
        )

    def restore(self, record: bytes) -> None:
        """Take over a checkpoint.

        Raises:
            ServiceError: It was written by another version, or is damaged.
        """
        try:
            state = msgspec.msgpack.decode(record, type=Checkpoint)
        except msgspec.MsgspecError as exc:
            raise ServiceError(
                f"checkpoint of partition {self.partition}, {len(record)} bytes, cannot be read: "
                f"{exc}; start with a new data folder, or restore a backup"
            ) from exc
        if state.version != CHECKPOINT_VERSION:
            raise ServiceError(
                f"checkpoint of partition {self.partition} has version {state.version}, "
                f"this program reads {CHECKPOINT_VERSION}; use the program that wrote it"
            )
        self.applied_offset = state.applied_offset
        self.watermark_ns = state.watermark_ns
        self.counters = state.counters
        self._dedup.load(state.dedup)
        self._engine.load(state.engine)
        if self._fences is not None:
            self._fences.load(state.fences)
