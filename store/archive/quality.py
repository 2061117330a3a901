"""How good the data of each source is (质量反馈): complete, timely, valid, consistent.

What a department is told of its own data: figures over what the archive holds, so that they
can be computed again from it.
"""

from __future__ import annotations

import msgspec

from core.units import seconds_to_ns
from store.archive.query import ArchiveReader, ObservationFilter

#: What arrives later than this after the device's own time is not timely.
TIMELY_S = 60.0

#: A thing needs this many observations before its rhythm says what is missing.
MIN_OBSERVATIONS = 3

_STATEMENT = """
WITH steps AS (
    SELECT source, kind, thing_id, observed_ns, received_ns, has_device_time,
           area_code <> '' AS placed,
           observed_ns - lag(observed_ns) OVER by_time AS step_ns,
           observed_ns < lag(observed_ns) OVER by_arrival AS backwards
    FROM read_parquet(?)
    WHERE observed_ns >= ? AND observed_ns <= ?
    WINDOW by_time AS (PARTITION BY source, kind, thing_id ORDER BY observed_ns, received_ns),
           by_arrival AS (
               PARTITION BY source, kind, thing_id ORDER BY received_ns, sequence, "offset"
           )
),
things AS (
    SELECT source, kind, thing_id, count(*) AS n,
           max(observed_ns) - min(observed_ns) AS span_ns,
           median(step_ns) FILTER (step_ns > 0) AS rhythm_ns,
           count(*) FILTER (received_ns - observed_ns <= ?) AS timely,
           count(*) FILTER (placed AND has_device_time) AS valid,
           count(*) FILTER (backwards) AS backwards
    FROM steps GROUP BY ALL
)
SELECT source, kind, count(*) AS things, sum(n)::BIGINT AS observations,
       sum(n) FILTER (n >= ? AND rhythm_ns > 0)
         / sum(greatest(n, span_ns / rhythm_ns + 1)) FILTER (n >= ? AND rhythm_ns > 0)
         AS completeness_ratio,
       sum(timely) / sum(n) AS timeliness_ratio,
       sum(valid) / sum(n) AS validity_ratio,
       1 - sum(backwards) / sum(n) AS consistency_ratio
FROM things GROUP BY source, kind ORDER BY source, kind
"""


class SourceQuality(msgspec.Struct, frozen=True, kw_only=True):
    """The quality of what one source says of one kind of thing; ratios are 0 to 1.

    ``completeness_ratio`` is what came of what each thing's own rhythm promises, None where no
    thing has one yet. ``timeliness_ratio`` came within a minute. ``validity_ratio`` has the
    device's own time and a place that the map knows. ``consistency_ratio`` did not go back in
    time. ``score`` is their mean, 0 to 100.
    """

    source: str
    kind: str
    things: int
    observations: int
    completeness_ratio: float | None
    timeliness_ratio: float
    validity_ratio: float
    consistency_ratio: float

    @property
    def score(self) -> float:
        """The mean of what is known, 0 to 100."""
        known = [
            ratio
            for ratio in (
                self.completeness_ratio,
                self.timeliness_ratio,
                self.validity_ratio,
                self.consistency_ratio,
            )
            if ratio is not None
        ]
        return 100.0 * sum(known) / len(known)


def source_quality(archive: ArchiveReader, from_ns: int, to_ns: int) -> list[SourceQuality]:
    """The quality of every source over a time.

    Args:
        archive: What was observed.
        from_ns: Device time, UTC nanoseconds, included.
        to_ns: The same, included.

    Raises:
        ServiceError: There is no archive, or it cannot be read.
    """
    wanted = ObservationFilter(from_ns=from_ns, to_ns=to_ns)
    timely_ns = seconds_to_ns(TIMELY_S)
    values = [from_ns, to_ns, timely_ns, MIN_OBSERVATIONS, MIN_OBSERVATIONS]
    return [SourceQuality(**row) for row in archive.select(_STATEMENT, wanted, values)]


def quality_document(one: SourceQuality) -> dict[str, object]:
    """A quality as its department is given it, ratios rounded to four digits."""
    document = {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in msgspec.structs.asdict(one).items()
    }
    return document | {"score": round(one.score, 1)}
