"""Back-test: what other rules would have made of the same day. Pure.

Incidents of two runs over one recording are compared by what speaks for them. Two incidents of
one scenario are about the same thing where a raise of one thing is in both within
:data:`SAME_S`; the names of rules do not count, for it is rules that are tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from core.events import Edge
from core.incidents import Evidence, Incident
from core.units import NS_PER_S, seconds_to_ns
from geo.distance import distance_m

#: Raises of a thing this much apart, or overlapping, are about the same: thresholds move instants.
SAME_S = 1800.0
#: An incident that is this much elsewhere, or earlier or later, has moved.
MOVED_M = 1.0
MOVED_S = 1.0


class ChangeKind(StrEnum):
    """How an incident differs between the runs."""

    GAINED = "gained"  #: only the new rules find it
    LOST = "lost"  #: only the current rules find it
    MERGED = "merged"  #: several of the current rules' are one under the new
    SPLIT = "split"  #: one of the current rules' is several under the new
    MOVED = "moved"  #: it began elsewhere, earlier or later


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One difference; ``current`` and ``new`` are ids of incidents of the two runs."""

    kind: ChangeKind
    scenario: str
    current: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    things: tuple[str, ...] = ()
    began_ns: int = 0
    lon_deg: float | None = None
    lat_deg: float | None = None
    moved_m: float | None = None
    later_s: float | None = None


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """An incident as far as the comparison asks: raises are thing and instant."""

    id: str
    scenario: str
    began_ns: int
    until_ns: int
    lon_deg: float | None
    lat_deg: float | None
    raises: tuple[tuple[str, int], ...]


def case_of(incident: Incident, evidence: Sequence[Evidence]) -> Case:
    """An incident with its evidence as a case to compare."""
    raised = sorted({(one.thing_id, one.at_ns) for one in evidence if one.edge == Edge.RAISE})
    return Case(
        id=incident.id,
        scenario=incident.scenario,
        began_ns=incident.began_ns,
        until_ns=max((one.at_ns for one in evidence), default=incident.began_ns),
        lon_deg=incident.place.lon_deg,
        lat_deg=incident.place.lat_deg,
        raises=tuple(raised),
    )


def compare(current: Sequence[Case], new: Sequence[Case]) -> list[Change]:
    """Differences between the incidents of two runs, by time, then kind.

    Example:
        >>> one = Case(id="a", scenario="s", began_ns=0, until_ns=9, lon_deg=None, lat_deg=None,
        ...            raises=(("w-1", 5),))
        >>> compare([one], [one]), [change.kind.value for change in compare([one], [])]
        ([], ['lost'])
    """
    speaking: dict[tuple[str, str], list[int]] = {}
    for k, fresh in enumerate(new):
        for thing in {thing for thing, _ in fresh.raises}:
            speaking.setdefault((fresh.scenario, thing), []).append(k)
    links = [
        (i, k)
        for i, old in enumerate(current)
        for k in sorted(
            {k for thing, _ in old.raises for k in speaking.get((old.scenario, thing), ())}
        )
        if _same(old, new[k])
    ]
    to_new: dict[int, list[int]] = {}
    to_old: dict[int, list[int]] = {}
    for i, k in links:
        to_new.setdefault(i, []).append(k)
        to_old.setdefault(k, []).append(i)
    found: list[Change] = []
    for i, old in enumerate(current):
        partners = to_new.get(i, [])
        if not partners:
            found.append(_change(ChangeKind.LOST, [old], []))
        elif len(partners) > 1:
            found.append(_change(ChangeKind.SPLIT, [old], [new[k] for k in partners]))
    for k, fresh in enumerate(new):
        partners = to_old.get(k, [])
        if not partners:
            found.append(_change(ChangeKind.GAINED, [], [fresh]))
        elif len(partners) > 1:
            found.append(_change(ChangeKind.MERGED, [current[i] for i in partners], [fresh]))
        elif len(to_new[partners[0]]) == 1 and (change := _moved(current[partners[0]], fresh)):
            found.append(change)
    return sorted(found, key=lambda one: (one.began_ns, one.kind, one.current, one.new))


def _same(old: Case, fresh: Case) -> bool:
    reach_ns = seconds_to_ns(SAME_S)
    return any(
        thing == other and abs(at_ns - other_ns) <= reach_ns
        for thing, at_ns in old.raises
        for other, other_ns in fresh.raises
    )


def _moved(old: Case, fresh: Case) -> Change | None:
    places = [
        (one.lon_deg, one.lat_deg)
        for one in (old, fresh)
        if one.lon_deg is not None and one.lat_deg is not None
    ]
    metres = float(distance_m(*places[0], *places[1])) if len(places) == 2 else 0.0
    later_s = (fresh.began_ns - old.began_ns) / NS_PER_S
    if metres < MOVED_M and abs(later_s) < MOVED_S:
        return None
    change = _change(ChangeKind.MOVED, [old], [fresh])
    return msgspec.structs.replace(change, moved_m=metres, later_s=later_s)


def _change(kind: ChangeKind, old: Sequence[Case], fresh: Sequence[Case]) -> Change:
    first = (list(fresh) or list(old))[0]
    return Change(
        kind=kind,
        scenario=first.scenario,
        current=tuple(one.id for one in old),
        new=tuple(one.id for one in fresh),
        things=tuple(sorted({thing for one in (*old, *fresh) for thing, _ in one.raises})),
        began_ns=min(one.began_ns for one in (*old, *fresh)),
        lon_deg=first.lon_deg,
        lat_deg=first.lat_deg,
    )
