"""What the devices' own counters say was sent, against what the archive holds.

Ingest's meter cannot see what never reached ingest. Who numbers its messages is a witness that
nothing in the platform speaks for: a number that was never archived was lost on the way, on the
radio, in the broker, or in the platform.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from store.archive.query import ArchiveReader, ObservationFilter

_S = TypeVar("_S", bound=msgspec.Struct)

#: A number so far below the one before it is a counter that began anew, not a late message.
_RESTART_BELOW = 64

#: So far above, it is another counter, not a gap.
_RESTART_ABOVE = 65_536

#: A thing's numbers are put in the order of its own time and cut where its counter began anew;
#: within such a run each number is wanted once. What a device sends again of its past has no
#: number of its own.
_RUNS = f"""
WITH seen AS (
    SELECT DISTINCT source, thing_id, device_sequence AS number, observed_ns
    FROM read_parquet(?)
    WHERE device_sequence IS NOT NULL AND NOT ends_with(kind, '.history')
      AND observed_ns >= ? AND observed_ns <= ? AND (? IS NULL OR source = ?)
),
steps AS (
    SELECT *, number - lag(number) OVER (
        PARTITION BY source, thing_id ORDER BY observed_ns, number) AS step
    FROM seen
),
runs AS (
    SELECT *, sum(CASE WHEN step < -{_RESTART_BELOW} OR step > {_RESTART_ABOVE} THEN 1 ELSE 0 END)
        OVER (PARTITION BY source, thing_id ORDER BY observed_ns, number
              ROWS UNBOUNDED PRECEDING) AS run
    FROM steps
),
numbers AS (
    SELECT source, thing_id, run, number, min(observed_ns) AS at_ns
    FROM runs GROUP BY ALL
),
pairs AS MATERIALIZED (
    SELECT *, lead(number) OVER along AS after, lead(at_ns) OVER along AS after_ns
    FROM numbers
    WINDOW along AS (PARTITION BY source, thing_id, run ORDER BY number)
)
"""  # noqa: S608 (numbers of ours)

#: A row of each source for each of its newest gaps, or one without any: `pairs`, which is the whole
#: cost, is made once for both.
_NUMBERS = f"""{_RUNS},
totals AS (
    SELECT source, count(DISTINCT thing_id) AS things, count(*) AS archived,
           coalesce(sum(after - number - 1), 0)::BIGINT AS missing,
           count(DISTINCT (thing_id, run)) - count(DISTINCT thing_id) AS restarts
    FROM pairs GROUP BY source
),
newest AS (
    SELECT source, thing_id, number + 1 AS first, after - 1 AS last,
           at_ns AS before_ns, after_ns
    FROM pairs WHERE after - number > 1
    ORDER BY after_ns DESC, source, thing_id, first DESC LIMIT ?
)
SELECT * FROM totals LEFT JOIN newest USING (source)
ORDER BY after_ns DESC, source, thing_id, first DESC
"""  # noqa: S608


class NumberLine(msgspec.Struct, frozen=True, kw_only=True):
    """The devices of one source that number what they send.

    ``archived`` are different numbers in the archive, ``missing`` those between them that are
    not there; ``restarts`` is how often a counter began anew. What is lost after a device's last
    archived number cannot be seen.
    """

    source: str
    things: int
    archived: int
    missing: int
    restarts: int


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers ``first`` to ``last`` of a device that never came.

    ``before_ns`` and ``after_ns`` are the device's time of the numbers on either side.
    """

    source: str
    thing_id: str
    first: int
    last: int
    before_ns: int
    after_ns: int


class DeviceNumbers(NamedTuple):
    """What the devices' numbers say by source, and which are missing, the newest first."""

    lines: list[NumberLine]
    gaps: list[Gap]


def device_numbers(
    archive: ArchiveReader, from_ns: int, to_ns: int, source: str | None = None, *, limit: int = 100
) -> DeviceNumbers:
    """What the devices' numbers say.

    Args:
        archive: What was archived.
        from_ns: Device time, UTC nanoseconds, included.
        to_ns: The same, included.
        source: Only this wire format.
        limit: Most gaps.

    Raises:
        ServiceError: There is no archive, or it cannot be read.
    """
    wanted = ObservationFilter(from_ns=from_ns, to_ns=to_ns)
    rows = archive.select(_NUMBERS, wanted, [from_ns, to_ns, source, source, limit])
    lines = {row["source"]: _of(NumberLine, row) for row in rows}
    return DeviceNumbers(
        lines=[lines[name] for name in sorted(lines)],
        gaps=[_of(Gap, row) for row in rows if row["thing_id"] is not None],
    )


def _of(kind: type[_S], row: Mapping[str, Any]) -> _S:
    return kind(**{name: row[name] for name in kind.__struct_fields__})
