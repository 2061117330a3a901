"""What ingest has decoded and not yet written: the rounds that will share log records. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from core.observations import MAX_BATCH, Columns, Observation, columns_of
from core.ports import RawMessage, Redriven, Rejection
from core.rows import concat, cut

#: Payload bytes that become one round of records, so that a record stays far below the 8 MiB
#: that the log on Kafka takes.
ROUND_BYTES = 1024 * 1024

#: Rounds that may share a record, so that one of ticks alone stays small.
MAX_ROUNDS = 1024


#: What was decoded: a few observations one by one, or many as columns.
Rows = Sequence[Observation] | Columns


def as_columns(parts: Iterable[Rows]) -> Columns:
    """Rows of several parts, in order; neighbours one by one are made columns together.

    Example:
        >>> one = Observation(source="s", thing_id="t", kind="k", observed_ns=1, received_ns=1)
        >>> len(as_columns([[one], [], [one], columns_of([one])])), len(as_columns([]))
        (3, 0)
    """
    made: list[Columns] = []
    singles: list[Observation] = []
    for part in parts:
        if isinstance(part, Columns):
            if singles:
                made.append(columns_of(singles))
                singles = []
            made.append(part)
        else:
            singles += part
    if singles or not made:
        made.append(columns_of(singles))
    return made[0] if len(made) == 1 else concat(made)


def cut_rows(rows: Rows) -> list[Rows]:
    """Runs of rows that a record has room for; one without rows where there are none."""
    if isinstance(rows, Columns):
        return [*cut(rows, MAX_BATCH)]
    return [rows[start : start + MAX_BATCH] for start in range(0, max(1, len(rows)), MAX_BATCH)]


def times_ns(rows: Rows) -> tuple[int, int]:
    """When the oldest of some rows was observed, and the newest that can be believed.

    A device clock may run ahead of the receipt; time has not.
    """
    if isinstance(rows, Columns):
        observed_ns = rows.observed_ns
        return int(observed_ns.min()), int(np.minimum(observed_ns, rows.received_ns).max())
    return (
        min([one.observed_ns for one in rows]),
        max([min(one.observed_ns, one.received_ns) for one in rows]),
    )


class GatheredRound(NamedTuple):
    """Rows with the watermark and the city time after them."""

    rows: Rows
    watermark_ns: int
    logged_ns: int


class GatheredRecord(NamedTuple):
    """Rounds that share a record: their rows, and for each round its end, watermark and time."""

    columns: Columns
    rounds: list[tuple[int, int, int]]

    @classmethod
    def of(cls, rounds: Sequence[GatheredRound]) -> GatheredRecord:
        """The record of some rounds."""
        ends = accumulate(len(one.rows) for one in rounds)
        return cls(
            as_columns([one.rows for one in rounds]),
            [(end, one.watermark_ns, one.logged_ns) for end, one in zip(ends, rounds, strict=True)],
        )


class Gathered:
    """Rounds that are decoded and not yet written."""

    def __init__(self) -> None:
        self.rounds: list[GatheredRound] = []
        self.rejections: list[Rejection] = []
        #: What was sent again out of the quarantine and leaves it.
        self.redriven: list[Redriven] = []
        self.settled: list[RawMessage] = []
        #: City time and messages as the source gave them; no messages where it was a tick.
        self.carried: list[tuple[int, Sequence[RawMessage]]] = []
        self.payload_bytes = 0
        self._rows = 0

    def has_room(self, rows: int, payload_bytes: int, oldest_ns: int) -> bool:
        """Whether so many rows may join, of which the oldest was observed at an instant.

        Late ones begin anew: what holds by now must not depend on who shares a record.
        """
        if not self.rounds:
            return True
        return (
            self._rows + rows <= MAX_BATCH
            and self.payload_bytes + payload_bytes <= ROUND_BYTES
            and len(self.rounds) < MAX_ROUNDS
            and oldest_ns >= self.rounds[-1].watermark_ns
        )

    def add(self, rows: Rows, watermark_ns: int, logged_ns: int) -> None:
        """Take a round in."""
        self.rounds.append(GatheredRound(rows, watermark_ns, logged_ns))
        self._rows += len(rows)

    def by_record(self) -> list[GatheredRecord]:
        """The rounds that share a record; a pack's are too many for one."""
        records: list[GatheredRecord] = []
        held: list[GatheredRound] = []
        rows = 0
        for one in self.rounds:
            if held and rows + len(one.rows) > MAX_BATCH:
                records.append(GatheredRecord.of(held))
                held, rows = [], 0
            held.append(one)
            rows += len(one.rows)
        return [*records, GatheredRecord.of(held)]
