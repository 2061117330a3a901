"""Choosing rows of a batch. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from itertools import compress

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.observations import ObservationBatch, SparseFloats, SparseTexts


def select_rows(batch: ObservationBatch, keep: NDArray[np.bool_]) -> ObservationBatch:
    """The batch with only the rows where ``keep`` (shape (n,)) is True, in their order."""
    chosen = keep.tolist()
    new_row = np.cumsum(keep) - 1
    measures: dict[str, SparseFloats] = {}
    for name in batch.measures:
        rows, values = batch.measure(name)
        kept = keep[rows]
        if kept.any():
            measures[name] = SparseFloats(
                new_row[rows[kept]].astype(np.int32).tobytes(), values[kept].tobytes()
            )
    labels: dict[str, SparseTexts] = {}
    for name, column in batch.labels.items():
        rows = np.frombuffer(column.rows, np.int32)
        kept = keep[rows]
        if kept.any():
            labels[name] = SparseTexts(
                new_row[rows[kept]].astype(np.int32).tobytes(),
                list(compress(column.values, kept.tolist())),
            )
    rounds = b""
    if batch.rounds:
        table = batch.round_table.copy()
        table[:, 0] = np.concatenate([[0], np.cumsum(keep)])[table[:, 0]]
        rounds = table.tobytes()
    return msgspec.structs.replace(
        batch,
        ids=list(compress(batch.ids, chosen)),
        sources=list(compress(batch.sources, chosen)),
        thing_ids=list(compress(batch.thing_ids, chosen)),
        kinds=list(compress(batch.kinds, chosen)),
        topics=list(compress(batch.topics, chosen)),
        observed=batch.observed_ns[keep].tobytes(),
        received=batch.received_ns[keep].tobytes(),
        flags=np.frombuffer(batch.flags, np.uint8)[keep].tobytes(),
        positions=batch.place[keep].tobytes(),
        sequences=np.frombuffer(batch.sequences, np.int64)[keep].tobytes(),
        measures=measures,
        labels=labels,
        snapshots={int(new_row[row]): names for row, names in batch.snapshots.items() if keep[row]},
        rounds=rounds,
    )


def cut_rounds(batch: ObservationBatch, borders: Sequence[int]) -> list[ObservationBatch]:
    """Cut a batch between rounds.

    Args:
        batch: Of one round or several.
        borders: Number of the first round of each part, ascending from 0.

    Returns:
        The parts; each has the stamp of its last round.
    """
    table = batch.round_table
    if len(borders) == 1:
        return [batch]
    row, parts = np.arange(len(batch)), []
    stamps = batch.round_stamps()
    for begin, end in itertools.pairwise((*borders, len(table))):
        first = 0 if begin == 0 else table[begin - 1, 0]
        part = select_rows(
            msgspec.structs.replace(batch, rounds=b""), (row >= first) & (row < table[end - 1, 0])
        )
        rounds = table[begin:end].copy()
        rounds[:, 0] -= first
        parts.append(
            msgspec.structs.replace(
                part,
                stamp=stamps[end - 1],
                rounds=rounds.tobytes() if end - begin > 1 else b"",
            )
        )
    return parts
