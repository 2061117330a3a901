"""Score: what the platform found, measured on the truth; knows no rule and no threshold.

An incident can stand for a thing of the same scenario that is at most 30 m away and whose time
overlaps. Pairing is one to one: as many pairs as possible, and among those the shortest total
distance. What is left over is a duplicate where it could stand for a thing that was found, and
false otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
from rich.table import Table

from core.units import NS_PER_S, seconds_to_ns
from simulators.truth import NearMiss, Thing

#: An incident farther than this from a thing is not about it.
MATCH_M = 30.0
#: An incident's time may start so much before the thing began, and so much after it ended.
EARLY_S, LATE_S = 30.0, 60.0
#: A thing that began less than this before the end of the run is left out as too late.
HORIZON_S = 240.0
AIRCRAFT_HORIZON_S = 60.0
AIRCRAFT_SCENARIOS = frozenset({"airspace-intrusion", "height-limit", "unidentified-aircraft"})

_EARTH_M = 6_371_008.8


class IncidentSeen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An incident as the scorer needs it; ``last_ns`` is when it was last updated."""

    id: str
    scenario: str
    lon_deg: float | None
    lat_deg: float | None
    began_ns: int
    opened_ns: int
    last_ns: int
    cleared_ns: int | None = None
    unit_id: str | None = None


class Quantiles(msgspec.Struct, frozen=True):
    """Median and 95th percentile; None where there is nothing to count."""

    p50: float | None
    p95: float | None


class Latency(msgspec.Struct, frozen=True):
    """Median and 99th percentile; None where there is nothing to count."""

    p50: float | None
    p99: float | None


class ScenarioScore(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of one scenario."""

    things: int
    found: int
    incidents: int
    duplicates: int
    false_incidents: int
    wrong_owner: int = 0


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that no incident stands for."""

    scenario: str
    note: str
    began_ns: int
    lon_deg: float
    lat_deg: float


class FalseIncident(msgspec.Struct, frozen=True, kw_only=True):
    """An incident that stands for nothing; ``near_miss`` says what it took for a thing."""

    id: str
    scenario: str
    near_miss: str = ""


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A thing and the incident that stands for it; ``owner`` is who should have got it."""

    truth_id: str
    incident_id: str
    location_error_m: float
    detection_delay_s: float
    owner: str | None = None
    wrong_owner: bool = False


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How well the run went. ``incidents_per_thing`` is 1.0 at best; None where none was found."""

    things: int
    found: int
    incidents: int
    precision: float
    recall: float
    incidents_per_thing: float | None
    false_incidents: int
    near_misses: int
    near_miss_hits: int
    too_late: int
    location_error_m: Quantiles
    detection_delay_s: Quantiles
    publish_to_incident_ms: Latency
    by_scenario: dict[str, ScenarioScore]
    missed: tuple[Missed, ...] = ()
    false: tuple[FalseIncident, ...] = ()
    wrong_owner: int = 0
    matches: tuple[Match, ...] = ()

    def json(self) -> bytes:
        """The score as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


def quantile(values: Sequence[float], share: float) -> float | None:
    """A quantile by linear interpolation; None where there are no values.

    Example:
        >>> quantile([3.0, 1.0, 2.0], 0.5), quantile([], 0.5)
        (2.0, None)
    """
    if not values:
        return None
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])


def _apart_m(lon1: float, lat1: float, lon2: float, lat2: float) -> float:
    a, b = math.radians(lat1), math.radians(lat2)
    h = (
        math.sin((b - a) / 2) ** 2
        + math.cos(a) * math.cos(b) * math.sin(math.radians(lon2 - lon1) / 2) ** 2
    )
    return 2 * _EARTH_M * math.asin(math.sqrt(min(1.0, h)))


def pair(costs: Sequence[Sequence[float]]) -> dict[int, int]:
    """Pair rows with columns: as many pairs as possible, then the least total cost.

    Successive shortest augmenting paths (Bellman-Ford over the residual graph); for the tens of
    rows of a run this is instant.

    Args:
        costs: Cost of each pair, one list per row; ``inf`` where a pair is not allowed.

    Returns:
        Column by row, of the rows that have one.

    Example:
        >>> pair([[1.0, 2.0], [1.5, math.inf]])
        {0: 1, 1: 0}
        >>> pair([])
        {}
    """
    rows = len(costs)
    columns = len(costs[0]) if costs else 0
    row_of: dict[int, int] = {}
    column_of: dict[int, int] = {}
    while True:
        reach = {row: (0.0, -1) for row in range(rows) if row not in column_of}
        best: dict[int, tuple[float, int]] = {}
        changed = True
        while changed:
            changed = False
            for row, (so_far, _) in list(reach.items()):
                for column in range(columns):
                    total = so_far + costs[row][column]
                    if column_of.get(row) == column or math.isinf(total):
                        continue
                    if column not in best or total < best[column][0] - 1e-9:
                        best[column] = (total, row)
                        changed = True
                        back = row_of.get(column)
                        if back is not None:
                            undone = total - costs[back][column]
                            if back not in reach or undone < reach[back][0] - 1e-9:
                                reach[back] = (undone, column)
        free = [(total, column) for column, (total, _) in best.items() if column not in row_of]
        if not free:
            return dict(sorted(column_of.items()))
        _, column = min(free)
        while column >= 0:
            row = best[column][1]
            before = column_of.get(row, -1)
            row_of[column], column_of[row] = row, column
            column = before


def _overlaps(
    thing: Thing | NearMiss, incident: IncidentSeen, *, early_s: float, late_s: float
) -> bool:
    until = incident.last_ns if incident.cleared_ns is None else incident.cleared_ns
    return incident.began_ns <= thing.ended_ns + seconds_to_ns(late_s) and max(
        until, incident.began_ns
    ) >= thing.began_ns - seconds_to_ns(early_s)


def _distance_m(thing: Thing | NearMiss, incident: IncidentSeen) -> float:
    if incident.lon_deg is None or incident.lat_deg is None:
        return math.inf
    return _apart_m(thing.lon_deg, thing.lat_deg, incident.lon_deg, incident.lat_deg)


def _cost(thing: Thing, incident: IncidentSeen) -> float:
    if thing.scenario != incident.scenario:
        return math.inf
    apart = _distance_m(thing, incident)
    fits = apart <= MATCH_M and _overlaps(thing, incident, early_s=EARLY_S, late_s=LATE_S)
    return apart if fits else math.inf


def _near_miss(incident: IncidentSeen, near: Sequence[NearMiss]) -> NearMiss | None:
    hits = [
        (_distance_m(miss, incident), miss.truth_id, miss)
        for miss in near
        if miss.scenario == incident.scenario
        and _distance_m(miss, incident) <= miss.radius_m
        and _overlaps(miss, incident, early_s=EARLY_S, late_s=2 * LATE_S)
    ]
    return min(hits)[2] if hits else None


def _counts(thing: Thing, since_ns: int | None, until_ns: int | None) -> bool:
    if since_ns is not None and thing.began_ns < since_ns:
        return False
    if until_ns is None:
        return True
    horizon = AIRCRAFT_HORIZON_S if thing.scenario in AIRCRAFT_SCENARIOS else HORIZON_S
    return thing.began_ns <= until_ns - seconds_to_ns(horizon)


def score(
    truth: Sequence[Thing],
    near: Sequence[NearMiss],
    incidents: Sequence[IncidentSeen],
    latencies_ms: Sequence[float],
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
    owners: Mapping[str, str | None] | None = None,
) -> Score:
    """Measure incidents on the truth.

    Args:
        truth: What happened.
        near: What must not have become an incident.
        incidents: What the platform said.
        latencies_ms: Wall milliseconds from the publishing of the message that made an incident
            open, to the incident.
        since_ns: Begin of the run in city time. Things that began before it are left out and
            counted as ``too_late``: nobody could see how they began.
        until_ns: End of the run in city time. Things that began too late to be found before it
            are left out and counted as ``too_late``; so are incidents about them.
        owners: Who is responsible at the true place, by ``truth_id``; where it is given, an
            incident of another unit counts as ``wrong_owner``.

    Returns:
        The score. A duplicate lowers the precision and raises ``incidents_per_thing``; it is not
        counted among ``false_incidents``.
    """
    things = [thing for thing in truth if _counts(thing, since_ns, until_ns)]
    late = [thing for thing in truth if not _counts(thing, since_ns, until_ns)]
    near = [miss for miss in near if until_ns is None or miss.began_ns < until_ns]
    pairs = pair([[_cost(thing, incident) for incident in incidents] for thing in things])
    paired = set(pairs.values())
    duplicates: list[IncidentSeen] = []
    false: list[FalseIncident] = []
    about_late = 0
    hit: set[str] = set()
    for index, incident in enumerate(incidents):
        if index in paired:
            continue
        if any(math.isfinite(_cost(things[row], incident)) for row in pairs):
            duplicates.append(incident)
        elif any(math.isfinite(_cost(thing, incident)) for thing in late):
            about_late += 1
        else:
            miss = _near_miss(incident, near)
            if miss is not None:
                hit.add(miss.truth_id)
            false.append(
                FalseIncident(
                    id=incident.id,
                    scenario=incident.scenario,
                    near_miss=miss.note if miss else "",
                )
            )
    found, counted = len(pairs), len(incidents) - about_late
    errors = [_cost(things[row], incidents[column]) for row, column in pairs.items()]
    matches = [_match(things[row], incidents[column], owners) for row, column in pairs.items()]
    delays = [one.detection_delay_s for one in matches]
    wrong_ids = {one.truth_id for one in matches if one.wrong_owner}
    names = sorted(
        {one.scenario for one in things}
        | {one.scenario for one in duplicates}
        | {one.scenario for one in false}
    )
    by_scenario = {}
    for name in names:
        matched = sum(things[row].scenario == name for row in pairs)
        twice = sum(one.scenario == name for one in duplicates)
        wrong = sum(one.scenario == name for one in false)
        by_scenario[name] = ScenarioScore(
            things=sum(thing.scenario == name for thing in things),
            found=matched,
            incidents=matched + twice + wrong,
            duplicates=twice,
            false_incidents=wrong,
            wrong_owner=sum(
                things[row].scenario == name and things[row].truth_id in wrong_ids for row in pairs
            ),
        )
    return Score(
        things=len(things),
        found=found,
        incidents=counted,
        precision=found / counted if counted else float(not things),
        recall=found / len(things) if things else 1.0,
        incidents_per_thing=(found + len(duplicates)) / found if found else None,
        false_incidents=len(false),
        near_misses=len(near),
        near_miss_hits=len(hit),
        too_late=len(late),
        location_error_m=Quantiles(quantile(errors, 0.5), quantile(errors, 0.95)),
        detection_delay_s=Quantiles(quantile(delays, 0.5), quantile(delays, 0.95)),
        publish_to_incident_ms=Latency(quantile(latencies_ms, 0.5), quantile(latencies_ms, 0.99)),
        by_scenario=by_scenario,
        missed=tuple(
            Missed(
                scenario=thing.scenario,
                note=thing.note,
                began_ns=thing.began_ns,
                lon_deg=thing.lon_deg,
                lat_deg=thing.lat_deg,
            )
            for row, thing in enumerate(things)
            if row not in pairs
        ),
        false=tuple(false),
        wrong_owner=len(wrong_ids),
        matches=tuple(matches),
    )


def _match(thing: Thing, incident: IncidentSeen, owners: Mapping[str, str | None] | None) -> Match:
    owner = None if owners is None else owners.get(thing.truth_id)
    return Match(
        truth_id=thing.truth_id,
        incident_id=incident.id,
        location_error_m=_cost(thing, incident),
        detection_delay_s=(incident.opened_ns - thing.began_ns) / NS_PER_S,
        owner=owner,
        wrong_owner=owner is not None and incident.unit_id != owner,
    )


def _number(value: float | None, unit: str, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def score_table(result: Score) -> Table:
    """The score as a table for the terminal."""
    table = Table(title="What happened, and what was found", title_justify="left")
    table.add_column("scenario")
    for name in ("things", "found", "incidents", "duplicates", "false", "wrong owner"):
        table.add_column(name, justify="right")
    for name, row in result.by_scenario.items():
        table.add_row(
            name,
            *map(
                str,
                (
                    row.things,
                    row.found,
                    row.incidents,
                    row.duplicates,
                    row.false_incidents,
                    row.wrong_owner,
                ),
            ),
        )
    table.add_section()
    duplicates = sum(row.duplicates for row in result.by_scenario.values())
    table.add_row(
        "all",
        *map(
            str,
            (
                result.things,
                result.found,
                result.incidents,
                duplicates,
                result.false_incidents,
                result.wrong_owner,
            ),
        ),
    )
    place, delay, wall = (
        result.location_error_m,
        result.detection_delay_s,
        result.publish_to_incident_ms,
    )
    first = (
        f"precision {result.precision:.3f}   recall {result.recall:.3f}   "
        f"incidents per thing {_number(result.incidents_per_thing, '', 3)}   "
        f"near misses hit {result.near_miss_hits} of {result.near_misses}   "
        f"too late {result.too_late}"
    )
    second = (
        f"place p50 {_number(place.p50, ' m')}, p95 {_number(place.p95, ' m')}   "
        f"delay p50 {_number(delay.p50, ' s')}, p95 {_number(delay.p95, ' s')}   "
        f"publish to incident p50 {_number(wall.p50, ' ms', 0)}, "
        f"p99 {_number(wall.p99, ' ms', 0)}"
    )
    table.caption = f"{first}\n{second}"
    table.caption_justify = "left"
    return table
