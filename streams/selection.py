"""Choosing rows of a batch. Pure."""

from __future__ import annotations

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
    )
