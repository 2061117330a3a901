"""What happens to the batches of one partition: de-duplicate, place, tag, apply the rules.

Pure but for its own state, which goes into a checkpoint together with the offset it includes; a
batch at or below that offset is skipped, so counters are exact after any kill
(docs/decisions/0006).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from typing import NamedTuple

import msgspec
import numpy as np

from core.city import Device
from core.events import Event, EventBatch, one_record
from core.exclusions import EXCLUSION_KIND, Exclusion, decode_exclusion
from core.ledger import tallies
from core.observations import ObservationBatch, decode_batch
from geo.tagging import Tagger, Tags
from scenarios.engine import RuleEngine
from scenarios.rule_state import Piece, decode_state, joined
from streams.checkpoints import CHANGES, FENCES, IDS, Checkpoint, Part, Position, Turns
from streams.dedup import Deduplicator
from streams.enrich import fill_positions, tag_batch
from streams.fence_watch import AT, FenceWatch
from streams.selection import cut_rounds, select_rows


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


def exclusions_in(batch: ObservationBatch) -> list[tuple[Exclusion, ...]]:
    """The records that each round of a batch carries; ingest has checked them.

    Raises:
        InputError: One cannot be read.
    """
    ends = batch.round_table[:, 0]
    found: list[tuple[Exclusion, ...]] = [()] * len(ends)
    if EXCLUSION_KIND not in batch.kinds:
        return found
    texts = batch.label("record")
    for row, kind in enumerate(batch.kinds):
        if kind == EXCLUSION_KIND:
            number = int(np.searchsorted(ends, row, side="right"))
            found[number] = (*found[number], decode_exclusion(texts.get(row, "")))
    return found


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
        counted = tallies(batch.sources, batch.received_ns, fresh, batch.set_aside)
        duplicate_count = int((~fresh).sum())
        if duplicate_count:
            batch = select_rows(batch, fresh)
        batch = fill_positions(batch, self._devices)
        tags = tag_batch(batch, self._tagger)
        rounds = [
            EventBatch(stamp=stamp, events=tuple(events), exclusions=exclusions)
            for stamp, events, exclusions in zip(
                batch.round_stamps(),
                self._events(batch, tags),
                exclusions_in(batch),
                strict=True,
            )
        ]
        rounds[-1] = msgspec.structs.replace(rounds[-1], tallies=counted)
        record = one_record(rounds)
        counters = self.position.counters
        counters.accepted += len(batch)
        counters.duplicates += duplicate_count
        counters.events += len(record.all_events)
        self.position.applied_offset = offset
        return Processed(batch, tags, record, duplicate_count)

    def _events(self, batch: ObservationBatch, tags: Tags) -> list[list[Event]]:
        """The events of each round of a batch; time passes."""
        position = self.position
        told = {} if self._fences is None else self._fences.observe(batch, position.watermark_ns)
        found: list[list[Event]] = []
        # What is told of things at fences comes before the rest of its round moves time on.
        borders = sorted({0, *told})
        for number, part in zip(borders, cut_rounds(batch, borders), strict=True):
            before: Sequence[Event] = ()
            if number in told:
                at_fences = told[number]
                before = self._engine.process(at_fences, tag_batch(at_fences, self._tagger))
            part_tags = tags if part is batch else tag_batch(part, self._tagger)
            first, *others = self._engine.process_rounds(part, part_tags)
            found += [[*before, *first], *others]
        position.watermark_ns = max(position.watermark_ns, batch.stamp.watermark_ns)
        return found

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
            self._fences.load(fences, self.position.watermark_ns)

    def twin(self, things: Collection[str]) -> PartitionWorker:
        """A worker in the same state as far as rows of these things ask while no time passes.

        Things at fences are all there: a change of the fences tells of those of other things.
        """
        known = frozenset(things)
        twin = copy(self)
        twin._engine = self._engine.twin(lambda thing_id: thing_id in known or AT in thing_id)
        twin._dedup, twin._fences = copy(self._dedup), copy(self._fences)
        twin.load(twin.dump())
        return twin

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
            self._fences.load(whole.fences, self.position.watermark_ns)
