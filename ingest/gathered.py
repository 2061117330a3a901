"""What ingest has decoded and not yet written: the rounds that will share log records. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from core.observations import MAX_BATCH, Observation
from core.ports import RawMessage, Redriven, Rejection

#: Payload bytes that become one round of records, so that a record stays far below the 8 MiB
#: that the log on Kafka takes.
ROUND_BYTES = 1024 * 1024

#: Rounds that may share a record, so that one of ticks alone stays small.
MAX_ROUNDS = 1024


class GatheredRound(NamedTuple):
    """Rows with the watermark and the city time after them."""

    rows: Sequence[Observation]
    watermark_ns: int
    logged_ns: int


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

    def add(self, rows: Sequence[Observation], watermark_ns: int, logged_ns: int) -> None:
        """Take a round in."""
        self.rounds.append(GatheredRound(rows, watermark_ns, logged_ns))
        self._rows += len(rows)

    def by_record(self) -> Iterator[list[GatheredRound]]:
        """The rounds that share a record; a pack's are too many for one."""
        held: list[GatheredRound] = []
        rows = 0
        for one in self.rounds:
            if held and rows + len(one.rows) > MAX_BATCH:
                yield held
                held, rows = [], 0
            held.append(one)
            rows += len(one.rows)
        yield held

    def observations(self) -> list[Observation]:
        """All rows."""
        return [row for one in self.rounds for row in one.rows]
