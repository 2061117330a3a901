"""One observation that makes the rules fail must not take the others of its record with it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from core.events import EventBatch, one_record
from core.ledger import summed
from core.observations import ObservationBatch, decode_batch
from streams.partition import PartitionWorker, Processed
from streams.selection import cut_rounds, select_rows


class Poisoned(NamedTuple):
    """An observation that failed, as a batch of its own, and how."""

    batch: ObservationBatch
    error: Exception


class Isolated(NamedTuple):
    """What a record came to: its parts, all their events together, and what was set aside."""

    parts: list[Processed]
    events: EventBatch
    poisoned: list[Poisoned]


def isolate(worker: PartitionWorker, offset: int, record: bytes) -> Isolated:
    """Apply a record of which something fails, by halves, until only that is left out.

    A failed attempt may have changed half of the state, so what fails is looked for on a twin with
    the state of the record's things only, each attempt from its last good one; a million others
    are not copied. Time moves on only after all rows of a round.

    Args:
        worker: In the state before the record; afterwards in the state after it.
        offset: The record's.
        record: A batch that can be read.

    Raises:
        DecodeError: The record is not a batch.
        Exception: No row fails by itself, but the passing of time does.
    """
    batch = decode_batch(record)
    rounds = cut_rounds(batch, range(len(batch.round_table)))
    done = [_isolate_round(worker, offset, part) for part in rounds]
    return Isolated(
        parts=[part for one in done for part in one.parts],
        events=one_record([one.events for one in done]),
        poisoned=[aside for one in done for aside in one.poisoned],
    )


def _isolate_round(worker: PartitionWorker, offset: int, batch: ObservationBatch) -> Isolated:
    before = msgspec.structs.replace(batch.stamp, watermark_ns=worker.position.watermark_ns)
    timeless = msgspec.structs.replace(batch, stamp=before)
    sound: list[ObservationBatch] = []
    poisoned: list[Poisoned] = []
    waiting = [(0, len(batch))] if len(batch) else []
    row = np.arange(len(batch))
    trial = worker.twin(batch.thing_ids)
    good = trial.dump()
    while waiting:
        start, stop = waiting.pop(0)
        part = select_rows(timeless, (row >= start) & (row < stop))
        try:
            trial.apply(offset, part)
        except Exception as error:
            trial.load(good)
            if stop - start == 1:
                poisoned.append(Poisoned(part, error))
            else:
                middle = (start + stop) // 2
                waiting[:0] = [(start, middle), (middle, stop)]
        else:
            sound.append(part)
            good = trial.dump()
    parts = [worker.apply(offset, part) for part in sound]
    parts.append(worker.apply(offset, select_rows(batch, np.zeros(len(batch), np.bool_))))
    events = tuple(event for part in parts for event in part.events.events)
    tallies = summed(tally for part in parts for tally in part.events.tallies)
    exclusions = tuple(one for part in parts for one in part.events.exclusions)
    together = EventBatch(stamp=batch.stamp, events=events, tallies=tallies, exclusions=exclusions)
    return Isolated(parts, together, poisoned)
