"""Whether an exclusion leaves an edge out: scope, interval, and what its rule accepts. Pure."""

from __future__ import annotations

import math

from shapely.geometry import Point, Polygon

from core.events import Event, Place
from core.exclusions import Exclusion, ExclusionKind
from core.incidents import Text
from core.units import china_time
from geo.distance import distance_m
from scenarios.model import ANY_SUBJECT, Rule, Scenario

_DEGREE_M = 111_320.0

_KINDS = {
    ExclusionKind.PERMIT: Text("许可", "permit"),
    ExclusionKind.WORKS: Text("计划作业", "planned works"),
    ExclusionKind.MAINTENANCE: Text("检修窗口", "maintenance"),
    ExclusionKind.SILENCE: Text("静默", "silence"),
}


def excludes(one: Exclusion, event: Event, scenario: Scenario, at_ns: int | None = None) -> bool:
    """Whether a record leaves an edge out at an instant: the edge's own unless given.

    Permits and planned works count only with rules that name their subject, so never with a
    citizen's report: a person who asks is answered.
    """
    instant_ns = event.at_ns if at_ns is None else at_ns
    return (
        one.from_ns <= instant_ns < one.until_ns
        and _accepted(one, event, scenario)
        and (not one.scenarios or event.scenario in one.scenarios)
        and (not one.sources or event.source in one.sources)
        and (not one.things or any(_speaks_for(event.thing_id, name) for name in one.things))
        and _in_area(one, event.place)
    )


def _accepted(one: Exclusion, event: Event, scenario: Scenario) -> bool:
    if one.kind in {ExclusionKind.MAINTENANCE, ExclusionKind.SILENCE}:
        return True
    rule: Rule | None = next((each for each in scenario.rules if each.id == event.rule), None)
    if rule is None or rule.exclude is None:
        return False
    permit = one.kind is ExclusionKind.PERMIT
    named = rule.exclude.permit if permit else rule.exclude.works
    return one.subject in named or ANY_SUBJECT in named


def _speaks_for(thing_id: str, name: str) -> bool:
    return thing_id == name or thing_id.startswith(f"{name}/")


def _in_area(one: Exclusion, place: Place) -> bool:
    """Whether a place is in the scope, its one-sigma error included."""
    if one.area_code:
        levels = (place.district_code, place.street_code, place.community_code, place.grid_code)
        if not any(level is not None and level.startswith(one.area_code) for level in levels):
            return False
    if one.circle is None and not one.polygon:
        return True
    lon, lat = place.lon_deg, place.lat_deg
    if lon is None or lat is None:
        return False
    sigma_m = place.error_major_m or 0.0
    if one.circle is not None:
        away = float(distance_m(lon, lat, one.circle.lon_deg, one.circle.lat_deg))
        return away <= one.circle.radius_m + sigma_m
    # Metres about the point itself: an area is at most kilometres wide.
    east_m = _DEGREE_M * math.cos(math.radians(lat))
    corners = [((x - lon) * east_m, (y - lat) * _DEGREE_M) for x, y in one.polygon]
    return bool(Polygon(corners).distance(Point(0.0, 0.0)) <= sigma_m)


def explain_exclusion(one: Exclusion) -> Text:
    """Tell why an edge was no incident.

    Example:
        >>> explain_exclusion(Exclusion(id="p-7", kind=ExclusionKind.PERMIT, subject="night_work",
        ...     from_ns=0, until_ns=3600 * 10**9, at_ns=0, reason="concrete", actor="desk",
        ...     things=("site-1",))).en
        'not an incident because permit p-7 (night_work) holds until 1970-01-01 09:00: concrete'
    """
    kind, until = _KINDS[one.kind], f"{china_time(one.until_ns):%Y-%m-%d %H:%M}"
    subject_zh = f"（{one.subject}）" if one.subject else ""
    subject_en = f" ({one.subject})" if one.subject else ""
    reason_zh = f"：{one.reason}" if one.reason else ""
    reason_en = f": {one.reason}" if one.reason else ""
    return Text(
        f"不立案，因{kind.zh} {one.id}{subject_zh}有效至 {until}{reason_zh}",
        f"not an incident because {kind.en} {one.id}{subject_en} holds until {until}{reason_en}",
    )
