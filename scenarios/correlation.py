"""Which case an event belongs to: one real thing, one incident.

The store hands over the cases that could be meant and carries out what is decided here, in
one transaction. Order matters and is the sequencer's (docs/decisions/0007).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from core.events import Edge, Event, Place
from core.incidents import OPEN_STATUSES, Status
from core.units import NS_PER_S, seconds_to_ns
from geo.distance import bearing_deg, distance_m
from scenarios.model import GroupBy, Scenario

#: One aircraft may have two identities: its maker's serial number, and that of a beacon strapped
#: to it. Two systems that see one aircraft raise within this of each other, at one place but for
#: what it flew meanwhile: by up to this speed, but never taken for farther than this.
TWIN_WITHIN_S = 30.0
TWIN_RADIUS_M = 30.0
TWIN_SPEED_MPS = 20.0
TWIN_DRIFT_M = 100.0

#: No two things that stand stand nearer than this, centre to centre: a car is 1.8 m wide.
ONE_SPOT_M = 1.8

#: The gate: 95 % of two normal variables lie within this squared Mahalanobis distance,
#: chi2(0.95, 2).
GATE_95 = 5.991

#: So long after a case was closed its things may still say what they said before.
SETTLE_S = 60.0

#: A citizen who says no accuracy stands so far from the thing, one sigma; and whatever a phone
#: says, a report never joins a case from farther than this beyond the radius.
REPORT_SIGMA_M = 8.0
REPORT_SLACK_M = 25.0


class DecisionKind(StrEnum):
    """What becomes of an event."""

    ATTACH = "attach"
    REWORK = "rework"
    OPEN = "open"
    IGNORE = "ignore"


class CaseRaise(msgspec.Struct, frozen=True, kw_only=True):
    """A raise that a case holds; ``active`` until its clear came."""

    source: str
    rule: str
    thing_id: str
    began_ns: int
    active: bool = True


class OpenCase(msgspec.Struct, frozen=True, kw_only=True):
    """A case as far as correlation asks; also a closed one that could be reopened.

    Position and one-sigma error are those of its first evidence, or of a better one since; they
    decide what is near. ``raises`` are all it ever took in. ``last_ns`` is the event
    time of its newest evidence.
    """

    incident_id: str
    scenario: str
    status: Status
    began_ns: int
    last_ns: int
    lon_deg: float | None = None
    lat_deg: float | None = None
    error_major_m: float | None = None
    error_minor_m: float | None = None
    error_azimuth_deg: float | None = None
    cleared_ns: int | None = None
    closed_ns: int | None = None
    raises: tuple[CaseRaise, ...] = ()

    @property
    def thing_ids(self) -> frozenset[str]:
        """The things that speak for the case."""
        return frozenset(one.thing_id for one in self.raises)


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of an event, and why; ``distance_m`` is to the case, where both are placed."""

    kind: DecisionKind
    incident_id: str | None = None
    distance_m: float | None = None
    reason: str = ""


def observer_of(thing_id: str) -> str:
    """Who tells this thing from others: the camera of a tracked object; "" for a device.

    Example:
        >>> observer_of("camera-1/17"), observer_of("manhole-0003")
        ('camera-1', '')
    """
    return thing_id.rpartition("/")[0]


def independent_source(thing_id: str) -> str:
    """Who says it, where agreement counts: a camera is one, whatever it tracks; a report is one.

    Example:
        >>> independent_source("camera-1/17"), independent_source("report/9")
        ('camera-1', 'report/9')
    """
    return thing_id if thing_id.startswith("report/") else observer_of(thing_id) or thing_id


def reaches(here: Place, there: Place, radius_m: float) -> bool:
    """Whether two places are within a radius, or their errors bridge what is more.

    Errors add to the radius at most its own length, as in :func:`reach_m`.
    """
    if here.lon_deg is None or here.lat_deg is None:
        return False
    if there.lon_deg is None or there.lat_deg is None:
        return False
    start, end = (here.lon_deg, here.lat_deg), (there.lon_deg, there.lat_deg)
    beyond_m = float(distance_m(*start, *end)) - radius_m
    ellipses = _ellipse(here, by_hand=False), _ellipse(there, by_hand=False)
    towards_deg = float(bearing_deg(*start, *end))
    return beyond_m <= radius_m and _bridged(beyond_m, towards_deg, *ellipses)


def reach_m(scenario: Scenario) -> float:
    """No case farther than this can be meant: bounds the query for candidates.

    A case that holds the event's own thing is meant however far it went. Position errors widen
    the radius to twice its length at most, so that one grazing view cannot swallow a street.

    Example:
        >>> from scenarios.loader import load_packs
        >>> reach = {one.id: reach_m(one) for one in load_packs()}
        >>> reach["manhole-cover"], reach["road-flooding"], reach["height-limit"]
        (30.0, 120.0, 130.0)
    """
    if scenario.correlate.group_by is GroupBy.THING:
        return TWIN_RADIUS_M + TWIN_DRIFT_M
    return scenario.correlate.radius_m + _slack_m(scenario, scenario.accepts_reports)


def _slack_m(scenario: Scenario, reported: bool) -> float:
    """The most that position errors may add to the radius."""
    return max(scenario.correlate.radius_m, REPORT_SLACK_M if reported else 0.0)


def decide(event: Event, scenario: Scenario, candidates: Sequence[OpenCase]) -> Decision:
    """Decide which case an event belongs to.

    Args:
        event: An edge of one of the scenario's rules.
        scenario: Its scenario.
        candidates: Cases that could be meant, in any order: those that hold the event's
            thing, and those of the scenario within :func:`reach_m` that are open or were
            closed within its re-open window; and open ones nearby of scenarios that inhibit
            this one. Others do no harm.

    Returns:
        ``attach`` to a case, ``rework`` of a closed one, ``open`` a new one, or ``ignore``
        (an event that goes on or ends, of a raise that no case holds; one that is inhibited).
    """
    cases = sorted(
        (case for case in candidates if case.scenario == scenario.id),
        key=lambda case: (case.began_ns, case.incident_id),
    )
    holders = [case for case in cases if _holds(case, event)]
    if holders:
        return _goes_on(event, scenario, holders)
    # What was inhibited when it was raised may still go on when it is not.
    if event.edge is Edge.CLEAR or (event.edge is Edge.STILL and scenario.inhibited_by is None):
        return Decision(kind=DecisionKind.IGNORE, reason="no case holds the raise it belongs to")
    cases = [case for case in cases if not _told_apart(event, scenario, case)]
    near = _near(event, scenario, cases)
    for case, metres in near:
        if case.status in OPEN_STATUSES and _soon(event, scenario, case):
            return _to(DecisionKind.ATTACH, case, metres, "same place and time as an open case")
    for case, metres in near:
        if case.status not in {Status.CLOSED, Status.EVALUATED} or case.closed_ns is None:
            continue
        since_ns = event.at_ns - case.closed_ns
        if since_ns <= 0 and _soon(event, scenario, case):
            return _to(DecisionKind.ATTACH, case, metres, "late evidence of a closed case")
        if 0 < since_ns <= seconds_to_ns(scenario.correlate.reopen_within_s):
            reason = f"closed {since_ns / NS_PER_S:.0f} s before"
            return _to(DecisionKind.REWORK, case, metres, reason)
    for case in candidates:
        if _inhibits(case, event, scenario):
            return Decision(
                kind=DecisionKind.IGNORE, reason=f"inhibited by {case.scenario} {case.incident_id}"
            )
    return Decision(kind=DecisionKind.OPEN, reason="no case at this place and time")


def _inhibits(case: OpenCase, event: Event, scenario: Scenario) -> bool:
    """Whether a case of another scenario goes on so near that this event is its doing."""
    return (
        scenario.inhibited_by is not None
        and case.scenario in scenario.inhibited_by.scenarios
        and case.status in OPEN_STATUSES
        and case.cleared_ns is None
        and _apart_m(event, case) <= scenario.inhibited_by.radius_m
    )


def _goes_on(event: Event, scenario: Scenario, holders: Sequence[OpenCase]) -> Decision:
    """What becomes of a further word on a raise that cases hold already.

    Where a worker closed the case and the thing still says that it goes on, it was closed too
    early: rework, or a new case once the re-open window is past. A verdict that it is no case
    stands, and a thing may need :data:`SETTLE_S` to say that it is over.
    """
    for case in holders:
        if case.status in OPEN_STATUSES or case.status is Status.CANCELLED:
            return _to(DecisionKind.ATTACH, case, None, "the case holds this raise")
    case = max(holders, key=lambda one: (one.closed_ns or 0, one.incident_id))
    since_ns = event.at_ns - (case.closed_ns or event.at_ns)
    if event.edge is not Edge.STILL or since_ns <= seconds_to_ns(SETTLE_S):
        return _to(DecisionKind.ATTACH, case, None, "the case holds this raise")
    reason = f"it still goes on {since_ns / NS_PER_S:.0f} s after it was closed"
    if since_ns <= seconds_to_ns(scenario.correlate.reopen_within_s):
        return _to(DecisionKind.REWORK, case, None, reason)
    return Decision(kind=DecisionKind.OPEN, reason=reason)


def _to(kind: DecisionKind, case: OpenCase, metres: float | None, reason: str) -> Decision:
    return Decision(
        kind=kind,
        incident_id=case.incident_id,
        distance_m=None if metres is None or math.isnan(metres) else metres,
        reason=reason,
    )


def _holds(case: OpenCase, event: Event) -> bool:
    return any(
        (one.rule, one.thing_id, one.began_ns) == (event.rule, event.thing_id, event.began_ns)
        for one in case.raises
    )


def _told_apart(event: Event, scenario: Scenario, case: OpenCase) -> bool:
    """Whether the event's own source says that it is not this case's thing.

    Two devices under one rule watch two spots for good. Two objects of one camera are two as
    long as both are there, unless they are at one spot, which holds only one; after that the
    camera may have given the same one a new number.
    """
    if scenario.correlate.group_by is not GroupBy.SPOT or event.rule == scenario.report_rule:
        return False
    observer = observer_of(event.thing_id)
    if observer and _apart_m(event, case) <= ONE_SPOT_M:
        return False
    return any(
        one.rule == event.rule
        and one.source == event.source
        and one.thing_id != event.thing_id
        and observer_of(one.thing_id) == observer
        and (one.active or not observer)
        for one in case.raises
    )


def _apart_m(event: Event, case: OpenCase) -> float:
    here = (event.place.lon_deg, event.place.lat_deg)
    there = (case.lon_deg, case.lat_deg)
    if here[0] is None or here[1] is None or there[0] is None or there[1] is None:
        return math.inf
    return float(distance_m(here[0], here[1], there[0], there[1]))


def _soon(event: Event, scenario: Scenario, case: OpenCase) -> bool:
    goes_on = any(one.active and one.rule != scenario.report_rule for one in case.raises)
    after_ns = 0 if goes_on else event.began_ns - case.last_ns
    before_ns = case.began_ns - event.at_ns
    return max(after_ns, before_ns) <= seconds_to_ns(scenario.correlate.within_s)


def _near(
    event: Event, scenario: Scenario, cases: Sequence[OpenCase]
) -> list[tuple[OpenCase, float]]:
    """The cases at the event's place and their distance, its own things first, then nearest."""
    if not cases:
        return []
    here = event.place
    metres = [math.nan] * len(cases)
    towards = metres
    if here.lon_deg is not None and here.lat_deg is not None:
        lons = [math.nan if case.lon_deg is None else case.lon_deg for case in cases]
        lats = [math.nan if case.lat_deg is None else case.lat_deg for case in cases]
        metres = distance_m(here.lon_deg, here.lat_deg, lons, lats).tolist()
        towards = bearing_deg(here.lon_deg, here.lat_deg, lons, lats).tolist()
    found: list[tuple[bool, float, int]] = []
    for position, case in enumerate(cases):
        own = event.thing_id in case.thing_ids
        away = metres[position]
        if math.isnan(away):
            at_place = own
        elif scenario.correlate.group_by is GroupBy.THING:
            at_place = own or _is_twin(event, case, away)
        else:
            by_hand = event.rule == scenario.report_rule
            case_by_hand = all(one.rule == scenario.report_rule for one in case.raises)
            slack_m = _slack_m(scenario, by_hand or case_by_hand)
            beyond_m = away - scenario.correlate.radius_m
            ellipses = _ellipse(here, by_hand), _ellipse(case, case_by_hand)
            at_place = beyond_m <= slack_m and _bridged(beyond_m, towards[position], *ellipses)
        if at_place:
            found.append((not own, math.inf if math.isnan(away) else away, position))
    return [(cases[position], metres[position]) for _, _, position in sorted(found)]


def _bridged(beyond_m: float, azimuth_deg: float, *ellipses: tuple[float, float, float]) -> bool:
    """Whether errors can account for a distance in a direction: the gate."""
    return beyond_m <= 0.0 or beyond_m**2 <= GATE_95 * _variance_m2(azimuth_deg, *ellipses)


def better_place(old: Place, event: Event, scenario: Scenario, *, by_hand: bool) -> Place:
    """The place of a case after one more word on it: the one that is known best.

    A new one must have half the error at most, and lie where the old one's error allows it: so
    a case goes no farther than twice the error it began with, however many words follow, each a
    little better than the one before. What moves stays where it was first seen, because that is
    where the case began.

    Args:
        old: Of the case.
        event: The word, which is evidence of it.
        scenario: Its scenario.
        by_hand: Whether only citizens' reports spoke for the case so far.
    """
    new = event.place
    if scenario.correlate.group_by is GroupBy.THING:
        return old
    if new.lon_deg is None or new.lat_deg is None:
        return old
    if old.lon_deg is None or old.lat_deg is None:
        return new
    # A device says no error: it stands where the register says, which is better than a report.
    if new.error_major_m is None and not by_hand:
        return old
    was = _ellipse(old, by_hand)
    is_now = _ellipse(new, event.rule == scenario.report_rule)
    if not 2.0 * is_now[0] <= was[0] or was[0] == 0.0:
        return old
    start, end = (old.lon_deg, old.lat_deg), (new.lon_deg, new.lat_deg)
    away_m, towards_deg = float(distance_m(*start, *end)), float(bearing_deg(*start, *end))
    return new if _bridged(away_m, towards_deg, was, is_now) else old


def _ellipse(one: Place | OpenCase, by_hand: bool) -> tuple[float, float, float]:
    """One-sigma semi axes in metres and the azimuth of the major one in degrees."""
    if one.error_major_m is None:
        sigma = REPORT_SIGMA_M if by_hand else 0.0
        return sigma, sigma, 0.0
    minor = one.error_major_m if one.error_minor_m is None else one.error_minor_m
    return one.error_major_m, minor, one.error_azimuth_deg or 0.0


def _variance_m2(azimuth_deg: float, *ellipses: tuple[float, float, float]) -> float:
    """Square of the distance in a direction that is one Mahalanobis unit, errors added.

    ``1 / (u' C^-1 u)`` for the unit vector u and the sum C of the covariances: the distance
    that the errors can bridge along u, which for a long ellipse is much less than its variance
    seen along u, because the errors must not leave the line.

    Example:
        >>> _variance_m2(0.0, (3.0, 3.0, 0.0), (4.0, 4.0, 0.0))
        25.0
        >>> round(_variance_m2(45.0, (10.0, 1.0, 0.0)), 2)  # 50.5 is the variance along it
        1.98
    """
    north2 = east2 = both = 0.0
    for major, minor, turn_deg in ellipses:
        cos, sin = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
        north2 += (major * cos) ** 2 + (minor * sin) ** 2
        east2 += (major * sin) ** 2 + (minor * cos) ** 2
        both += (major**2 - minor**2) * sin * cos
    north, east = math.cos(math.radians(azimuth_deg)), math.sin(math.radians(azimuth_deg))
    determinant = north2 * east2 - both**2
    inverse = east2 * north**2 - 2 * both * north * east + north2 * east**2
    return determinant / inverse if inverse > 0.0 else 0.0


def _is_twin(event: Event, case: OpenCase, away_m: float) -> bool:
    """Whether another system saw the case's moving thing, under another identity, just now."""
    if any(one.source == event.source for one in case.raises):
        return False
    apart_s = abs(event.began_ns - case.began_ns) / NS_PER_S
    drift_m = min(TWIN_SPEED_MPS * apart_s, TWIN_DRIFT_M)
    return apart_s <= TWIN_WITHIN_S and away_m <= TWIN_RADIUS_M + drift_m
