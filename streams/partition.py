"""What happens to the batches of one partition: de-duplicate, place, tag, apply the rules.

Pure but for its own state, which goes into a checkpoint together with the offset it includes; a
batch at or below that offset is skipped, so counters are exact after any kill
(docs/decisions/0006).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from core.city import Device
from core.events import Event, EventBatch
from core.exclusions import EXCLUSION_KIND, Exclusion, decode_exclusion
from core.ledger import tallies
from core.observations import ObservationBatch, decode_batch
from geo.tagging import Tagger, Tags
from scenarios.engine import RuleEngine
from scenarios.rule_state import Piece, decode_state, joined
from streams.checkpoints import CHANGES, FENCES, IDS, Checkpoint, Part, Position, Turns
from streams.dedup import Deduplicator
from streams.enrich import fill_positions, tag_batch
from streams.fence_watch import FenceWatch
from streams.selection import select_rows


class _Changes(msgspec.Struct, frozen=True, array_like=True):
    """What has changed since the checkpoint before, of all that is not written in full."""

    rules: bytes
    ids: bytes


class _Whole(msgspec.Struct, frozen=True, array_like=True):
    """The whole state of a partition."""

    position: Position
    rules: bytes
    ids: bytes
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
        self.position = Position()
        self._turns = Turns()
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
        if offset <= self.position.applied_offset:
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
        position, counters = self.position, self.position.counters
        counters.accepted += len(batch)
        counters.duplicates += duplicate_count
        counters.events += len(events)
        position.applied_offset = offset
        position.watermark_ns = max(position.watermark_ns, batch.stamp.watermark_ns)
        records = EventBatch(
            stamp=batch.stamp, events=events, tallies=counted, exclusions=exclusions
        )
        return Processed(batch, tags, records, duplicate_count)

    def _at_fences(self, batch: ObservationBatch) -> Sequence[Event]:
        """What rules say of things at fences; before the batch itself moves time on."""
        if self._fences is None:
            return ()
        told = self._fences.observe(batch, self.position.watermark_ns)
        return () if told is None else self._engine.process(told, tag_batch(told, self._tagger))

    def checkpoint(self) -> Checkpoint:
        """What is new since the last checkpoint, to be written now."""
        rule_sizes, rules_changed = self._engine.group_sizes()
        sizes = np.append(rule_sizes, len(self._dedup))
        full = self._turns.choose(sizes, np.append(rules_changed, self._dedup.added_count))
        number, parts = self._turns.number, []
        for unit in full:
            if unit == IDS:
                self._dedup.mark_written()
                data = self._dedup.dump()
            else:
                data = self._engine.write_group(unit)
            parts.append(Part(unit, number, data))
        changes = _Changes(self._engine.write_changed(), self._dedup.write_added())
        parts.append(Part(CHANGES, number, msgspec.msgpack.encode(changes)))
        if self._fences is not None:
            parts.append(Part(FENCES, number, self._fences.dump()))
        return Checkpoint(self.position, self._turns, parts)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint with all its parts.

        Raises:
            DecodeError: A part is damaged, or of another version.
        """
        pieces: list[Piece] = []
        ids: list[tuple[int, bytes]] = []
        fences = b""
        for unit, number, data in checkpoint.parts:
            if unit == FENCES:
                fences = data
            elif unit == IDS:
                ids.append((number, data))
            elif unit == CHANGES:
                changes = msgspec.msgpack.decode(data, type=_Changes)
                pieces.append(Piece(number, None, decode_state(changes.rules)))
                ids.append((number, changes.ids))
            else:
                pieces.append(Piece(number, unit, decode_state(data)))
        whole = max((part.number for part in checkpoint.parts if part.unit == IDS), default=-1)
        self.position, self._turns = checkpoint.position, checkpoint.turns
        self._dedup.load(data for number, data in sorted(ids) if number >= whole)
        self._dedup.mark_written()
        self._engine.take_over(joined(pieces))
        self._engine.mark_written()
        if self._fences is not None and fences:
            self._fences.load(fences)

    def dump(self) -> bytes:
        """The whole state; nothing counts as written by it."""
        fences = b"" if self._fences is None else self._fences.dump()
        whole = _Whole(self.position, self._engine.dump(), self._dedup.dump(), fences)
        return msgspec.msgpack.encode(whole)

    def load(self, data: bytes) -> None:
        """Take over what :meth:`dump` wrote; all of it counts as changed."""
        whole = msgspec.msgpack.decode(data, type=_Whole)
        self.position = whole.position
        self._dedup.load([whole.ids])
        self._engine.load(whole.rules)
        if self._fences is not None:
            self._fences.load(whole.fences)
