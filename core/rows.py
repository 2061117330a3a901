"""Joining, choosing and cutting rows of observations in columns. Pure."""

from __future__ import annotations

from collections import defaultdict
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
    starts = np.cumsum([0, *map(len, batches)])[:-1].astype(np.int32)
    # Part by part: where all of many parts name measures of their own, each is looked at once.
    numbers: defaultdict[str, list[tuple[NDArray[np.int32], bytes]]] = defaultdict(list)
    texts: defaultdict[str, list[tuple[NDArray[np.int32], list[str]]]] = defaultdict(list)
    for start, batch in zip(starts, batches, strict=True):
        for name, floats in batch.measures.items():
            numbers[name].append((np.frombuffer(floats.rows, np.int32) + start, floats.values))
        for name, words in batch.labels.items():
            texts[name].append((np.frombuffer(words.rows, np.int32) + start, words.values))
    measures = {
        name: SparseFloats(
            np.concatenate([rows for rows, _ in parts]).tobytes(),
            b"".join(values for _, values in parts),
        )
        for name, parts in numbers.items()
    }
    labels = {
        name: SparseTexts(
            np.concatenate([rows for rows, _ in parts]).tobytes(),
            list(chain.from_iterable(values for _, values in parts)),
        )
        for name, parts in texts.items()
    }
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
            start + row: names
            for start, batch in zip(starts.tolist(), batches, strict=True)
            for row, names in batch.snapshots.items()
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
    starts = range(0, len(columns), size)
    # Name by name: of many, most have rows in few of the runs.
    measures: list[dict[str, SparseFloats]] = [{} for _ in starts]
    for name in columns.measures:
        rows, values = columns.measure(name)
        for run, first, last in _stretches(rows, size):
            measures[run][name] = SparseFloats(
                (rows[first:last] - np.int32(starts[run])).tobytes(), values[first:last].tobytes()
            )
    labels: list[dict[str, SparseTexts]] = [{} for _ in starts]
    for name, column in columns.labels.items():
        rows = np.frombuffer(column.rows, np.int32)
        for run, first, last in _stretches(rows, size):
            labels[run][name] = SparseTexts(
                (rows[first:last] - np.int32(starts[run])).tobytes(), column.values[first:last]
            )
    snapshots: list[dict[int, list[str]]] = [{} for _ in starts]
    for row, names in columns.snapshots.items():
        snapshots[row // size][row % size] = names
    return [
        Columns(
            ids=columns.ids[start : start + size],
            sources=columns.sources[start : start + size],
            thing_ids=columns.thing_ids[start : start + size],
            kinds=columns.kinds[start : start + size],
            topics=columns.topics[start : start + size],
            observed=columns.observed[8 * start : 8 * (start + size)],
            received=columns.received[8 * start : 8 * (start + size)],
            flags=columns.flags[start : start + size],
            positions=columns.positions[40 * start : 40 * (start + size)],
            sequences=columns.sequences[8 * start : 8 * (start + size)],
            measures=measures[run],
            labels=labels[run],
            snapshots=snapshots[run],
        )
        for run, start in enumerate(starts)
    ]


def _stretches(rows: NDArray[np.int32], size: int) -> list[tuple[int, int, int]]:
    """The runs that ascending rows fall into: number of the run, first row of it, and one past."""
    runs = rows // size
    firsts = np.flatnonzero(np.diff(runs, prepend=-1))
    lasts = np.append(firsts[1:], len(rows))
    return list(zip(runs[firsts].tolist(), firsts.tolist(), lasts.tolist(), strict=True))
