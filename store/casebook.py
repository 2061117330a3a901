"""The cases that a transaction holds: found once, changed in memory, written at its end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Select, and_, bindparam, or_, select, union
from sqlalchemy.engine import Connection

from core.events import Edge, Event, Place
from core.incidents import Incident
from core.units import seconds_to_ns
from scenarios.correlation import OpenCase, reach_m
from scenarios.model import Scenario
from store import tables
from store.case import Case, HeldRaise, RaiseKey
from store.database import Database, chunks, insert_rows
from store.filters import Box

#: Metres of a degree of latitude, a little less than the least there is on Earth, so that a
#: box is never too small.
_DEGREE_M = 110_000.0

_INCIDENT = msgspec.msgpack.Decoder(Incident)

_CASE_COLUMNS = (
    tables.incidents.c.id,
    tables.incidents.c.last_event_ns,
    tables.incidents.c.process_version,
    tables.incidents.c.record,
)
_BY_ID = select(*_CASE_COLUMNS).where(tables.incidents.c.id == bindparam("id"))


def _candidate_queries() -> tuple[Select[Any], Select[Any], Select[Any]]:
    """Queries for the cases that an event could mean, built once: building costs more than
    running. By the raise itself; by the thing; by the thing or the place.
    """
    table, raises = tables.incidents, tables.raises
    scenario = table.c.scenario == bindparam("scenario")
    since = table.c.closed_ns >= bindparam("since_ns")
    same_raise = and_(
        raises.c.rule == bindparam("rule"), raises.c.began_ns == bindparam("began_ns")
    )
    spoken = (
        select(raises.c.incident_id)
        .join(table, table.c.id == raises.c.incident_id)
        .where(raises.c.thing_id == bindparam("thing_id"), scenario)
    )
    recent = spoken.where(or_(table.c.is_open.is_(True), since, same_raise))
    near = select(table.c.id).where(
        scenario,
        table.c.lon_deg.between(bindparam("west"), bindparam("east")),
        table.c.lat_deg.between(bindparam("south"), bindparam("north")),
    )
    placed = union(recent, near.where(table.c.is_open.is_(True)), near.where(since))
    by_raise, by_thing, by_place = (
        select(*_CASE_COLUMNS).where(table.c.id.in_(ids))
        for ids in (spoken.where(same_raise), recent, placed)
    )
    return by_raise, by_thing, by_place


_BY_RAISE, _BY_THING, _BY_PLACE = _candidate_queries()
_OPEN_NEAR = select(*_CASE_COLUMNS).where(
    tables.incidents.c.scenario == bindparam("scenario"),
    tables.incidents.c.is_open.is_(True),
    tables.incidents.c.lon_deg.between(bindparam("west"), bindparam("east")),
    tables.incidents.c.lat_deg.between(bindparam("south"), bindparam("north")),
)
_BY_PARENT = select(*_CASE_COLUMNS).where(
    tables.incidents.c.parent_id == bindparam("parent_id"),
    tables.incidents.c.is_open.is_(True),
)
_DUE = (
    select(*_CASE_COLUMNS)
    .where(tables.incidents.c.next_alert_ns <= bindparam("now_ns"))
    .order_by(tables.incidents.c.next_alert_ns, tables.incidents.c.id)
    .limit(bindparam("most"))
)


class CaseBook:
    """Cases in hand. One that is in hand stays as it is, whatever query finds it again.

    Args:
        connection: Of the write transaction.
        database: For its dialect.
    """

    def __init__(self, connection: Connection, database: Database) -> None:
        self._connection = connection
        self._database = database
        self._cases: dict[str, Case] = {}

    def __getitem__(self, incident_id: str) -> Case:
        return self._cases[incident_id]

    def add(self, case: Case) -> None:
        """Take a new case in hand."""
        self._cases[case.incident.id] = case

    def find(self, incident_id: str) -> Case | None:
        """A case by its incident's id; None where there is none."""
        self._load(_BY_ID, {"id": incident_id})
        return self._cases.get(incident_id)

    def due(self, now_ns: int, most: int) -> list[Case]:
        """Cases whose time to the next level ran out, the most urgent first."""
        self._load(_DUE, {"now_ns": now_ns, "most": most})
        return list(self._cases.values())

    def open_near(self, scenario: str, place: Place, radius_m: float) -> list[Case]:
        """Cases of a scenario: those in hand, and the open ones in the box around a circle."""
        box = box_around(place, radius_m)
        if box is not None:
            self._load(_OPEN_NEAR, {"scenario": scenario, **_edges(box)})
        return [case for case in self._cases.values() if case.incident.scenario == scenario]

    def could_be_parts(self, parent: Incident, scenario: str, radius_m: float) -> list[Case]:
        """Cases of a scenario that name a parent, or are in the box around it."""
        self._load(_BY_PARENT, {"parent_id": parent.id})
        box = box_around(parent.place, radius_m)
        return [
            case
            for case in self.open_near(scenario, parent.place, radius_m)
            if case.incident.parent_id == parent.id or _in_box(case.incident.place, box)
        ]

    def candidates(self, event: Event, scenario: Scenario) -> list[OpenCase]:
        """The cases that could be meant: of the store, and as this transaction left them."""
        box = box_around(event.place, reach_m(scenario))
        since_ns = event.at_ns - seconds_to_ns(scenario.correlate.reopen_within_s)
        values: dict[str, Any] = {
            "scenario": event.scenario,
            "thing_id": event.thing_id,
            "rule": event.rule,
            "began_ns": event.began_ns,
        }
        # What goes on or ends belongs to the case that holds its raise, or to none.
        query = _BY_RAISE
        inhibit = scenario.inhibited_by
        if event.edge is Edge.RAISE or (event.edge is Edge.STILL and inhibit is not None):
            query = _BY_THING
            values["since_ns"] = since_ns
            if box is not None:
                query = _BY_PLACE
                values |= _edges(box)
        self._load(query, values)
        near = [case for case in self._cases.values() if _could_be_meant(case, event, box)]
        around = None if inhibit is None else box_around(event.place, inhibit.radius_m)
        if inhibit is not None and around is not None and event.edge is not Edge.CLEAR:
            values |= {"since_ns": since_ns, **_edges(around)}
            for other in inhibit.scenarios:
                self._load(_BY_PLACE, values | {"scenario": other})
            near += [
                case for case in self._cases.values() if case.incident.scenario in inhibit.scenarios
            ]
        return [case.as_candidate() for case in near]

    def _load(self, query: Select[Any], values: Mapping[str, Any]) -> None:
        """Take the cases that a query finds in hand; one that is in hand already stays."""
        fresh: list[Case] = []
        found = self._connection.execute(query, values).all()
        for case_id, last_event_ns, process_version, record in found:
            if case_id not in self._cases:
                case = Case(_INCIDENT.decode(record), last_event_ns, process_version)
                self._cases[case_id] = case
                fresh.append(case)
        table = tables.raises
        for some in chunks([case.incident.id for case in fresh]):
            held = self._connection.execute(
                select(
                    table.c.incident_id,
                    table.c.rule,
                    table.c.thing_id,
                    table.c.began_ns,
                    table.c.source,
                    table.c.active,
                    table.c.confidence_ratio,
                ).where(table.c.incident_id.in_(some))
            )
            for case_id, rule, thing_id, began_ns, source, active, confidence in held:
                key = RaiseKey(rule, thing_id, began_ns)
                self._cases[case_id].raises[key] = HeldRaise(source, active, confidence)

    def write(self) -> None:
        """Write the cases that changed, with their raises and new history."""
        changed = [case for case in self._cases.values() if case.changed]
        write, connection = self._database, self._connection
        write.upsert(connection, tables.incidents, [case.row() for case in changed])
        write.upsert(
            connection, tables.raises, [row for one in changed for row in one.raise_rows()]
        )
        rows = [row for one in changed for row in one.history_rows()]
        insert_rows(connection, tables.history, rows)


def _could_be_meant(case: Case, event: Event, box: Box | None) -> bool:
    if case.incident.scenario != event.scenario:
        return False
    if any(key.thing_id == event.thing_id for key in case.raises):
        return True
    return _in_box(case.incident.place, box)


def _in_box(place: Place, box: Box | None) -> bool:
    lon, lat = place.lon_deg, place.lat_deg
    if box is None or lon is None or lat is None:
        return False
    west, south, east, north = box
    return west <= lon <= east and south <= lat <= north


def box_around(place: Place, radius_m: float) -> Box | None:
    """A box that holds every point within a radius; None without a position or a limit.

    Example:
        >>> box = box_around(Place(lon_deg=0.0, lat_deg=60.0), 1100.0)
        >>> [round(degrees, 3) for degrees in box or ()]
        [-0.02, 59.99, 0.02, 60.01]
    """
    if place.lon_deg is None or place.lat_deg is None or math.isinf(radius_m):
        return None
    high = radius_m / _DEGREE_M
    widest = math.cos(math.radians(min(89.0, abs(place.lat_deg) + high)))
    wide = high / widest
    return place.lon_deg - wide, place.lat_deg - high, place.lon_deg + wide, place.lat_deg + high


def _edges(box: Box) -> dict[str, float]:
    return dict(zip(("west", "south", "east", "north"), box, strict=True))
