"""Joining, choosing and cutting rows of observations in columns. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, compress
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.observations import Columns, SparseFloats, SparseTexts

C = TypeVar("C", bound=Columns)


def concat(batches: Sequence[Columns]) -> Columns:
    """The rows of several columns or batches, in order.

    Example:
        >>> from core.observations import Observation, columns_of
        >>> one = Observation(source="plain", thing_id="w-1", kind="level", observed_ns=7,
        ...                   received_ns=9, measures={"water_level_m": 0.3})
        >>> len(concat([columns_of([one]), columns_of([]), columns_of([one, one])]))
        3
    """
    starts = np.cumsum([0, *map(len, batches)])[:-1].astype(np.int32).tolist()
    shifted = list(zip(starts, batches, strict=True))
    measures: dict[str, SparseFloats] = {}
    for name in dict.fromkeys(name for batch in batches for name in batch.measures):
        parts = [
            (start, *batch.measure(name)) for start, batch in shifted if name in batch.measures
        ]
        measures[name] = SparseFloats(
            np.concatenate([rows + np.int32(start) for start, rows, _ in parts]).tobytes(),
            np.concatenate([values for *_, values in parts]).tobytes(),
        )
    labels: dict[str, SparseTexts] = {}
    for name in dict.fromkeys(name for batch in batches for name in batch.labels):
        found = [
            (np.frombuffer(column.rows, np.int32) + np.int32(start), column.values)
            for start, batch in shifted
            if (column := batch.labels.get(name)) is not None
        ]
        labels[name] = SparseTexts(
            np.concatenate([rows for rows, _ in found]).tobytes(),
            [text for _, texts in found for text in texts],
        )
    return Columns(
        ids=list(chain.from_iterable(batch.ids for batch in batches)),
        sources=list(chain.from_iterable(batch.sources for batch in batches)),
        thing_ids=list(chain.from_iterable(batch.thing_ids for batch in batches)),
        kinds=list(chain.from_iterable(batch.kinds for batch in batches)),
        topics=list(chain.from_iterable(batch.topics for batch in batches)),
        observed=b"".join(batch.observed for batch in batches),
        received=b"".join(batch.received for batch in batches),
        flags=b"".join(batch.flags for batch in batches),
        positions=b"".join(batch.positions for batch in batches),
        sequences=b"".join(batch.sequences for batch in batches),
        measures=measures,
        labels=labels,
        snapshots={
            start + row: names for start, batch in shifted for row, names in batch.snapshots.items()
        },
    )


def choose(columns: C, keep: NDArray[np.bool_]) -> C:
    """Only the rows where ``keep`` (shape (n,)) is True, in their order."""
    chosen = keep.tolist()
    new_row = np.cumsum(keep) - 1
    measures: dict[str, SparseFloats] = {}
    for name in columns.measures:
        rows, values = columns.measure(name)
        kept = keep[rows]
        if kept.any():
            measures[name] = SparseFloats(
                new_row[rows[kept]].astype(np.int32).tobytes(), values[kept].tobytes()
            )
    labels: dict[str, SparseTexts] = {}
    for name, column in columns.labels.items():
        rows = np.frombuffer(column.rows, np.int32)
        kept = keep[rows]
        if kept.any():
            labels[name] = SparseTexts(
                new_row[rows[kept]].astype(np.int32).tobytes(),
                list(compress(column.values, kept.tolist())),
            )
    return msgspec.structs.replace(
        columns,
        ids=list(compress(columns.ids, chosen)),
        sources=list(compress(columns.sources, chosen)),
        thing_ids=list(compress(columns.thing_ids, chosen)),
        kinds=list(compress(columns.kinds, chosen)),
        topics=list(compress(columns.topics, chosen)),
        observed=columns.observed_ns[keep].tobytes(),
        received=columns.received_ns[keep].tobytes(),
        flags=np.frombuffer(columns.flags, np.uint8)[keep].tobytes(),
        positions=columns.place[keep].tobytes(),
        sequences=np.frombuffer(columns.sequences, np.int64)[keep].tobytes(),
        measures=measures,
        labels=labels,
        snapshots={
            int(new_row[row]): names for row, names in columns.snapshots.items() if keep[row]
        },
    )


def cut(columns: Columns, size: int) -> list[Columns]:
    """Runs of at most so many rows; one without rows where there are none.

    Example:
        >>> from core.observations import Observation, columns_of
        >>> one = Observation(source="plain", thing_id="w-1", kind="level", observed_ns=7,
        ...                   received_ns=9, measures={"water_level_m": 0.3})
        >>> [len(part) for part in cut(columns_of([one] * 5), 2)], len(cut(columns_of([]), 2))
        ([2, 2, 1], 1)
    """
    if len(columns) <= size:
        return [columns]
    return [_run(columns, start, start + size) for start in range(0, len(columns), size)]


def _run(columns: Columns, start: int, stop: int) -> Columns:
    measures: dict[str, SparseFloats] = {}
    for name in columns.measures:
        rows, values = columns.measure(name)
        first, last = np.searchsorted(rows, (start, stop)).tolist()
        if first < last:
            measures[name] = SparseFloats(
                (rows[first:last] - np.int32(start)).tobytes(), values[first:last].tobytes()
            )
    labels: dict[str, SparseTexts] = {}
    for name, column in columns.labels.items():
        rows = np.frombuffer(column.rows, np.int32)
        first, last = np.searchsorted(rows, (start, stop)).tolist()
        if first < last:
            labels[name] = SparseTexts(
                (rows[first:last] - np.int32(start)).tobytes(), column.values[first:last]
            )
    return Columns(
        ids=columns.ids[start:stop],
        sources=columns.sources[start:stop],
        thing_ids=columns.thing_ids[start:stop],
        kinds=columns.kinds[start:stop],
        topics=columns.topics[start:stop],
        observed=columns.observed[8 * start : 8 * stop],
        received=columns.received[8 * start : 8 * stop],
        flags=columns.flags[start:stop],
        positions=columns.positions[40 * start : 40 * stop],
        sequences=columns.sequences[8 * start : 8 * stop],
        measures=measures,
        labels=labels,
        snapshots={
            row - start: names for row, names in columns.snapshots.items() if start <= row < stop
        },
    )
