"""Choosing rows of a batch. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.observations import ObservationBatch
from core.rows import choose


def select_rows(batch: ObservationBatch, keep: NDArray[np.bool_]) -> ObservationBatch:
    """The batch with only the rows where ``keep`` (shape (n,)) is True, in their rounds."""
    rounds = b""
    if batch.rounds:
        table = batch.round_table.copy()
        table[:, 0] = np.concatenate([[0], np.cumsum(keep)])[table[:, 0]]
        rounds = table.tobytes()
    return msgspec.structs.replace(choose(batch, keep), rounds=rounds)


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
