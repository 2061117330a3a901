"""Which case a case is part of: one burst pipe, twelve floods.

A part keeps its id, its evidence and its end; it only names its parent, whose unit handles
both. What is decided here depends on where and when the cases began and never on which of
them was opened first.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.events import Place
from core.incidents import OPEN_STATUSES, Incident, Status, Text
from core.units import seconds_to_ns
from geo.distance import distance_m
from scenarios.correlation import OpenCase
from scenarios.model import PartOf
from scenarios.routing import UNCLEAR_DUTY_ID, Assignment

#: Nobody works on a case yet: it may still go to somebody else.
NOT_TAKEN = frozenset({Status.COLLECTED, Status.FILED, Status.DISPATCHED})


def parent_of(
    place: Place, began_ns: int, part_of: PartOf, cases: Iterable[OpenCase]
) -> OpenCase | None:
    """The case that a case at a place and an instant is part of; None where there is none.

    Args:
        place: Where the part is, WGS 84.
        began_ns: When it began, UTC nanoseconds.
        part_of: What its scenario says of parents.
        cases: Cases that could be the parent, in any order; those of other scenarios, closed
            ones and ones too far away do no harm.

    Returns:
        Of the open ones within ``radius_m`` that began within ``within_s`` of it, before or
        after, the nearest; of equally near ones the first to begin.

    Example:
        >>> burst = OpenCase(incident_id="burst", scenario="burst-pipe", status=Status.HANDLING,
        ...                  began_ns=0, last_ns=0, lon_deg=120.38, lat_deg=36.06)
        >>> said = PartOf(scenario="burst-pipe", radius_m=300.0, within_s=3600.0)
        >>> flood = Place(lon_deg=120.381, lat_deg=36.06)
        >>> parent_of(flood, 600 * 10**9, said, [burst]).incident_id
        'burst'
        >>> parent_of(flood, 7200 * 10**9, said, [burst]) is None
        True
    """
    if place.lon_deg is None or place.lat_deg is None:
        return None
    within_ns = seconds_to_ns(part_of.within_s)
    found: list[tuple[float, int, str, OpenCase]] = []
    for case in cases:
        if case.scenario != part_of.scenario or case.status not in OPEN_STATUSES:
            continue
        if case.lon_deg is None or case.lat_deg is None:
            continue
        if abs(case.began_ns - began_ns) > within_ns:
            continue
        metres = float(distance_m(place.lon_deg, place.lat_deg, case.lon_deg, case.lat_deg))
        if metres <= part_of.radius_m:
            found.append((metres, case.began_ns, case.incident_id, case))
    return min(found, key=lambda one: one[:3])[3] if found else None


def together_with(parent: Incident) -> Assignment | None:
    """Who handles a part: who handles its parent; None where nobody answers for that."""
    if parent.unit_id is None or parent.unit_id == UNCLEAR_DUTY_ID:
        return None
    return Assignment(
        unit_id=parent.unit_id,
        unit_name=parent.unit_name or parent.unit_id,
        worker_id=parent.worker_id,
        worker_name=parent.worker_name,
        reason=explain_parent(parent, together=True),
    )


def explain_parent(parent: Incident, *, together: bool) -> Text:
    """Tell that a case is part of another, and whether one unit handles both."""
    number, name = parent.case_number, parent.scenario_name
    return Text(
        f"属上级案件 {number}（{name.zh}）" + ("，由其承办单位一并处置" if together else ""),
        f"it is part of case {number} ({name.en})" + (", whose unit handles both" * together),
    )
