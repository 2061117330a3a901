"""One transaction of decisions: events in their order become evidence, cases and feed lines.

What belongs together is decided by :mod:`scenarios.correlation`; here it is carried out.
Cases that the transaction touches are held in memory and written once at its end. "Now" is
the time at which ingest logged the batch, so that a replay, or another grouping of the same
batches, gives the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Select, and_, bindparam, exists, func, or_, select, union
from sqlalchemy.engine import Connection

from core.city import Unit, Worker
from core.events import Edge, Event, EventBatch, Place
from core.incidents import (
    OPEN_STATUSES,
    Evidence,
    HistoryEntry,
    Incident,
    Status,
    Text,
    incident_id,
)
from core.units import china_time, seconds_to_ns
from scenarios.correlation import (
    CaseRaise,
    DecisionKind,
    OpenCase,
    decide,
    observer_of,
    reach_m,
)
from scenarios.deadlines import deadline_ns
from scenarios.escalation import LEVEL_NAMES, Level, is_due, next_alert_ns
from scenarios.explain import explain
from scenarios.grouping import NOT_TAKEN, explain_parent, parent_of, together_with
from scenarios.model import GroupBy, Scenario
from scenarios.routing import Assignment, assign
from scenarios.steps import dispatched
from store import tables
from store.database import Database, insert_rows, next_numbers
from store.documents import (
    area_code_of,
    change_body,
    evidence_body,
    evidence_of,
    fields,
    incident_body,
    levels_of,
)
from store.filters import Box

#: Who acts where no person does.
SYSTEM = "system"

#: Most keys that one query asks for; SQLite takes no more variables than 32,766.
_KEYS_PER_QUERY = 10_000

#: Lines of history that one version of a case can have.
_LINES_PER_VERSION = 8

#: Metres of a degree of latitude, a little less than the least there is on Earth, so that a
#: box is never too small.
_DEGREE_M = 110_000.0

_MSGPACK = msgspec.msgpack.Encoder()
_INCIDENT = msgspec.msgpack.Decoder(Incident)
_JSON = msgspec.json.Encoder()


class ChangeKind(StrEnum):
    """What happened to an incident, in the words of the feed."""

    OPENED = "opened"
    EVIDENCE = "evidence"
    TRANSITION = "transition"
    CLEARED = "cleared"
    REWORK = "rework"
    ESCALATED = "escalated"
    VERDICT = "verdict"
    GROUPED = "grouped"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the feed.

    ``wall_ns`` is that of the event (monotonic clock at ingest, 0 where nobody took it): for
    latency figures only.
    """

    sequence: int
    kind: ChangeKind
    incident: Incident
    evidence: Evidence | None = None
    wall_ns: int = 0


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """What decisions follow: scenarios by id, who can be assigned, and the number's prefix."""

    scenarios: Mapping[str, Scenario]
    units: tuple[Unit, ...]
    workers: tuple[Worker, ...]
    city_prefix: str


class RaiseKey(NamedTuple):
    """What makes a raise: one condition of one thing from one instant on."""

    rule: str
    thing_id: str
    began_ns: int


class HeldRaise(NamedTuple):
    """What a case knows of a raise it holds."""

    source: str
    active: bool
    confidence_ratio: float


class Case:
    """An incident in the hands of a transaction."""

    def __init__(self, incident: Incident, last_event_ns: int, process_version: int) -> None:
        self.incident = incident
        self.last_event_ns = last_event_ns
        self.process_version = process_version
        self.raises: dict[RaiseKey, HeldRaise] = {}
        self.changed_raises: set[RaiseKey] = set()
        self.new_history: list[tuple[int, HistoryEntry]] = []
        self.changed = False

    def change(self, **changes: Any) -> None:
        """Replace fields of the incident; one call is one version."""
        version = self.incident.version + 1
        self.incident = msgspec.structs.replace(self.incident, **changes, version=version)
        self.changed = True

    def record(self, *entries: HistoryEntry) -> None:
        """Add lines to the history of the present version, which somebody's decision made."""
        first = self.incident.version * _LINES_PER_VERSION
        self.new_history.extend(enumerate(entries, first))
        self.process_version = self.incident.version

    def as_candidate(self) -> OpenCase:
        """The case as far as correlation asks."""
        one = self.incident
        return OpenCase(
            incident_id=one.id,
            scenario=one.scenario,
            status=one.status,
            began_ns=one.began_ns,
            last_ns=self.last_event_ns,
            lon_deg=one.place.lon_deg,
            lat_deg=one.place.lat_deg,
            error_major_m=one.place.error_major_m,
            error_minor_m=one.place.error_minor_m,
            error_azimuth_deg=one.place.error_azimuth_deg,
            cleared_ns=one.cleared_ns,
            closed_ns=one.closed_ns,
            raises=tuple(
                CaseRaise(
                    source=held.source,
                    rule=key.rule,
                    thing_id=key.thing_id,
                    began_ns=key.began_ns,
                    active=held.active,
                )
                for key, held in self.raises.items()
            ),
        )

    def row(self) -> dict[str, Any]:
        """The row of the table of incidents."""
        one = self.incident
        area_code = area_code_of(one.place)
        return {
            "id": one.id,
            "case_number": one.case_number,
            "scenario": one.scenario,
            "domain": one.domain,
            "department_zh": one.department.zh,
            "department_en": one.department.en,
            "severity": one.severity.value,
            "status": one.status.value,
            "is_open": one.status in OPEN_STATUSES,
            "area_code": area_code,
            **levels_of(area_code),
            "lon_deg": one.place.lon_deg,
            "lat_deg": one.place.lat_deg,
            "began_ns": one.began_ns,
            "opened_ns": one.opened_ns,
            "last_event_ns": self.last_event_ns,
            "cleared_ns": one.cleared_ns,
            "closed_ns": one.closed_ns,
            "deadline_ns": one.deadline_ns,
            "next_alert_ns": one.next_alert_ns,
            "unit_id": one.unit_id,
            "worker_id": one.worker_id,
            "parent_id": one.parent_id,
            "version": one.version,
            "process_version": self.process_version,
            "record": _MSGPACK.encode(one),
            "body": incident_body(one),
        }


class _Line(NamedTuple):
    """A line for the feed that has no number yet."""

    kind: ChangeKind
    incident: Incident
    event: Event | None
    payload: bytes


_CASE_COLUMNS = (
    tables.incidents.c.id,
    tables.incidents.c.last_event_ns,
    tables.incidents.c.process_version,
    tables.incidents.c.record,
)
_BY_ID = select(*_CASE_COLUMNS).where(tables.incidents.c.id == bindparam("id"))


class DecisionTransaction:
    """Applies events inside one write transaction; :meth:`finish` writes what came of it.

    Args:
        connection: Of the write transaction.
        database: For its dialect.
        policies: What decisions follow.
        now_ns: City time of the commit, kept with the feed's lines.
    """

    def __init__(
        self, connection: Connection, database: Database, policies: Policies, now_ns: int
    ) -> None:
        self._connection = connection
        self._database = database
        self._policies = policies
        self._now_ns = now_ns
        self._cases: dict[str, Case] = {}
        self._evidence: list[dict[str, Any]] = []
        self._lines: list[_Line] = []
        self._load: dict[str, int] | None = None
        self._last_number: dict[str, int] = {}

    def apply(self, batches: Sequence[EventBatch]) -> None:
        """Decide on every event that was not decided on before."""
        known = self._known({event.id for batch in batches for event in batch.events})
        for batch in batches:
            for event in batch.events:
                if event.id not in known:
                    known.add(event.id)
                    self._decide(_storable_event(event), batch.stamp.logged_ns)
        self._keep_progress(batches)

    def case(self, wanted: str) -> Case | None:
        """A case by its incident's id; None where there is none."""
        self._load_cases(_BY_ID, {"id": wanted})
        return self._cases.get(wanted)

    def escalate(self, now_ns: int, limit: int) -> None:
        """Raise the cases whose time runs out to their next level, the most urgent first."""
        table = tables.incidents
        due = select(*_CASE_COLUMNS).where(table.c.next_alert_ns <= now_ns)
        self._load_cases(due.order_by(table.c.next_alert_ns, table.c.id).limit(limit), {})
        for case in list(self._cases.values()):
            scenario = self._policies.scenarios.get(case.incident.scenario)
            # One that was not looked at for long rises through several levels at once.
            while is_due(case.incident, now_ns):
                self._raise_level(case, scenario, now_ns)

    def _raise_level(self, case: Case, scenario: Scenario | None, now_ns: int) -> None:
        before = case.incident
        level = Level(min(before.escalation_level + 1, Level.CITY))
        risen = msgspec.structs.replace(before, escalation_level=int(level))
        alert_ns = None if scenario is None else next_alert_ns(risen, scenario.deadline)
        process_version = case.process_version
        case.change(
            escalation_level=int(level),
            next_alert_ns=alert_ns,
            updated_ns=max(before.updated_ns, now_ns),
        )
        case.record(
            HistoryEntry(
                at_ns=before.next_alert_ns or now_ns,
                actor=SYSTEM,
                action="warn" if level is Level.WARNED else "escalate",
                from_status=before.status,
                to_status=before.status,
                reason=LEVEL_NAMES[level].zh,
            )
        )
        # Nobody decided anything: who is about to take a step may still take it.
        case.process_version = process_version
        self.tell(case, ChangeKind.ESCALATED, now_ns)

    def tell(
        self,
        case: Case,
        kind: ChangeKind,
        at_ns: int,
        event: Event | None = None,
    ) -> None:
        """Add a line to the feed with the case as it now is."""
        word = None if event is None else evidence_body(event, case.incident.id)
        payload = change_body(kind.value, at_ns, incident_body(case.incident), word)
        self._lines.append(_Line(kind, case.incident, event, payload))

    def assign(self, place: Place, scenario: Scenario, at_ns: int) -> Assignment:
        """Choose who must act at an instant, by the load that there is now."""
        load = self._open_tasks()
        chosen = assign(
            place, scenario, self._policies.units, self._policies.workers, load, at_ns=at_ns
        )
        if chosen.worker_id is not None:
            load[chosen.worker_id] = load.get(chosen.worker_id, 0) + 1
        return chosen

    def _open_tasks(self) -> dict[str, int]:
        """Open tasks of each worker; a part that goes with its parent is no further task."""
        if self._load is None:
            table, parent = tables.incidents, tables.incidents.alias("parent")
            with_parent = exists().where(
                parent.c.id == table.c.parent_id,
                parent.c.worker_id == table.c.worker_id,
                parent.c.is_open.is_(True),
            )
            counted = self._connection.execute(
                select(table.c.worker_id, func.count())
                .where(
                    table.c.is_open.is_(True),
                    table.c.worker_id.is_not(None),
                    or_(table.c.parent_id.is_(None), ~with_parent),
                )
                .group_by(table.c.worker_id)
            )
            self._load = {str(worker): int(count) for worker, count in counted}
        return self._load

    def finish(self) -> list[Change]:
        """Write everything; gives the feed's new lines in order."""
        changed = [case for case in self._cases.values() if case.changed]
        self._database.upsert(self._connection, tables.incidents, [case.row() for case in changed])
        self._database.upsert(self._connection, tables.raises, list(_raise_rows(changed)))
        insert_rows(self._connection, tables.evidence, self._evidence)
        insert_rows(self._connection, tables.history, list(_history_rows(changed)))
        self._database.upsert(
            self._connection,
            tables.case_days,
            [{"day": day, "last": last} for day, last in self._last_number.items()],
        )
        return self._write_feed()

    def _write_feed(self) -> list[Change]:
        if not self._lines:
            return []
        last = next_numbers(self._connection, "feed", len(self._lines))
        numbered = list(enumerate(self._lines, last - len(self._lines) + 1))
        insert_rows(
            self._connection,
            tables.feed,
            [
                {
                    "sequence": sequence,
                    "change": line.kind.value,
                    "incident_id": line.incident.id,
                    "at_ns": self._now_ns,
                    "payload": line.payload,
                }
                for sequence, line in numbered
            ],
        )
        return [
            Change(
                sequence=sequence,
                kind=line.kind,
                incident=line.incident,
                evidence=None if line.event is None else evidence_of(line.event),
                wall_ns=0 if line.event is None else line.event.wall_ns,
            )
            for sequence, line in numbered
        ]

    def _known(self, event_ids: Collection[str]) -> set[str]:
        column = tables.evidence.c.event_id
        known: set[str] = set()
        for some in _chunks(sorted(event_ids)):
            known.update(self._connection.scalars(select(column).where(column.in_(some))))
        return known

    def _decide(self, event: Event, logged_ns: int) -> None:
        scenario = self._policies.scenarios.get(event.scenario)
        if scenario is None:
            self._keep(event, None)
            return
        decision = decide(event, scenario, self._candidates(event, scenario))
        if decision.kind is DecisionKind.IGNORE:
            self._keep(event, None)
        elif decision.kind is DecisionKind.OPEN:
            self._open(event, scenario, logged_ns)
        else:
            case = self._cases[str(decision.incident_id)]
            if decision.kind is DecisionKind.REWORK:
                self._attach(case, event, scenario, logged_ns, rework=decision.reason)
            else:
                self._attach(case, event, scenario, logged_ns)

    def _candidates(self, event: Event, scenario: Scenario) -> list[OpenCase]:
        """The cases that could be meant: of the store, and as this transaction left them."""
        box = _box_around(event.place, reach_m(scenario))
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
                values |= zip(("west", "south", "east", "north"), box, strict=True)
        self._load_cases(query, values)
        near = [case for case in self._cases.values() if _could_be_meant(case, event, box)]
        around = None if inhibit is None else _box_around(event.place, inhibit.radius_m)
        if inhibit is not None and around is not None and event.edge is not Edge.CLEAR:
            edges = zip(("west", "south", "east", "north"), around, strict=True)
            values |= {"since_ns": since_ns, **dict(edges)}
            for other in inhibit.scenarios:
                self._load_cases(_BY_PLACE, values | {"scenario": other})
            near += [
                case for case in self._cases.values() if case.incident.scenario in inhibit.scenarios
            ]
        return [case.as_candidate() for case in near]

    def _load_cases(self, query: Select[Any], values: Mapping[str, Any]) -> None:
        """Take the cases that a query finds in hand; one that is in hand already stays."""
        fresh: list[Case] = []
        found = self._connection.execute(query, values).all()
        for case_id, last_event_ns, process_version, record in found:
            if case_id not in self._cases:
                case = Case(_INCIDENT.decode(record), last_event_ns, process_version)
                self._cases[case_id] = case
                fresh.append(case)
        table = tables.raises
        for some in _chunks([case.incident.id for case in fresh]):
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

    def _open(self, event: Event, scenario: Scenario, logged_ns: int) -> None:
        parent = self._parent(event.place, event.began_ns, scenario)
        assignment = None if parent is None else together_with(parent.incident)
        if assignment is None:
            assignment = self.assign(event.place, scenario, logged_ns)
        due_ns = deadline_ns(logged_ns, scenario.deadline)
        incident = Incident(
            id=incident_id(scenario.id, event.id),
            case_number=self._case_number(logged_ns),
            scenario=scenario.id,
            scenario_name=scenario.name,
            domain=scenario.domain.value,
            category_system=scenario.category.system,
            category_code=scenario.category.code,
            department=scenario.department,
            severity=scenario.severity,
            status=Status.DISPATCHED,
            place=event.place,
            began_ns=event.began_ns,
            opened_ns=logged_ns,
            updated_ns=logged_ns,
            deadline_ns=due_ns,
            unit_id=assignment.unit_id,
            unit_name=assignment.unit_name,
            worker_id=assignment.worker_id,
            worker_name=assignment.worker_name,
            explanation=explain(event, scenario, assignment, due_ns),
            event_count=0,
            filed_ns=logged_ns,
            dispatched_ns=logged_ns,
            parent_id=None if parent is None else parent.incident.id,
            version=0,
        )
        alert_ns = next_alert_ns(incident, scenario.deadline)
        incident = msgspec.structs.replace(incident, next_alert_ns=alert_ns)
        case = Case(incident, event.at_ns, process_version=1)
        self._cases[incident.id] = case
        self._attach(case, event, scenario, logged_ns)
        steps = (
            ("collect", None, Status.COLLECTED, event.thing_id),
            ("file", Status.COLLECTED, Status.FILED, scenario.name.zh),
            ("dispatch", Status.FILED, Status.DISPATCHED, assignment.reason.zh),
        )
        case.record(
            *(
                HistoryEntry(
                    at_ns=logged_ns,
                    actor=SYSTEM,
                    action=action,
                    from_status=before,
                    to_status=after,
                    reason=reason,
                )
                for action, before, after, reason in steps
            )
        )
        self._regroup_parts(case, logged_ns)

    def _parent(self, place: Place, began_ns: int, scenario: Scenario) -> Case | None:
        """The open case that a case of this scenario, here and then, is part of."""
        part_of = scenario.part_of
        if part_of is None:
            return None
        self._load_open(part_of.scenario, _box_around(place, part_of.radius_m))
        candidates = [
            case.as_candidate()
            for case in self._cases.values()
            if case.incident.scenario == part_of.scenario
        ]
        found = parent_of(place, began_ns, part_of, candidates)
        return None if found is None else self._cases[found.incident_id]

    def _open_parent(self, incident: Incident) -> Case | None:
        """The parent that a case names, while that is open."""
        parent = None if incident.parent_id is None else self.case(incident.parent_id)
        return parent if parent and parent.incident.status in OPEN_STATUSES else None

    def _load_open(self, scenario: str, box: Box | None) -> None:
        if box is not None:
            edges = zip(("west", "south", "east", "north"), box, strict=True)
            self._load_cases(_OPEN_NEAR, {"scenario": scenario, **dict(edges)})

    def _regroup_parts(self, parent: Case, logged_ns: int) -> None:
        """Let a case that is new, or known better now, have the parts that it has."""
        own = parent.incident
        for scenario in self._policies.scenarios.values():
            if scenario.part_of is None or scenario.part_of.scenario != own.scenario:
                continue
            box = _box_around(own.place, scenario.part_of.radius_m)
            self._load_open(scenario.id, box)
            self._load_cases(_BY_PARENT, {"parent_id": own.id})
            for case in list(self._cases.values()):
                one = case.incident
                if one.scenario == scenario.id and (
                    one.parent_id == own.id or _in_box(one.place, box)
                ):
                    self._regroup(case, scenario, logged_ns)

    def _regroup(self, case: Case, scenario: Scenario, logged_ns: int) -> None:
        """Let a case name the parent that it has by now, and go where that is handled.

        Whoever works on it already goes on; a parent that is closed stays its parent.
        """
        before = case.incident
        if scenario.part_of is None or before.status not in OPEN_STATUSES:
            return
        parent = self._parent(before.place, before.began_ns, scenario)
        former = self._open_parent(before)
        if parent is former:
            return
        chosen: Assignment | None = None
        if before.status in NOT_TAKEN:
            chosen = None if parent is None else together_with(parent.incident)
            own = former is None or former.incident.worker_id != before.worker_id
            load = self._open_tasks()
            if chosen is not None and own and before.worker_id is not None:
                load[before.worker_id] = max(0, load.get(before.worker_id, 0) - 1)
            elif chosen is None and not own:
                chosen = self.assign(before.place, scenario, logged_ns)
        if parent is None:
            reason = Text("不再属于上级案件", "it is part of no other case any more")
        else:
            together = chosen is not None and chosen.unit_id == parent.incident.unit_id
            reason = explain_parent(parent.incident, together=together)
        changes: dict[str, Any] = {
            "parent_id": None if parent is None else parent.incident.id,
            "explanation": Text(
                f"{before.explanation.zh}\n后来：{reason.zh}。",
                f"{before.explanation.en}\nSince then: {reason.en}.",
            ),
            "updated_ns": max(before.updated_ns, logged_ns),
        }
        if chosen is not None:
            changes |= chosen.changes
        case.change(**changes)
        case.record(
            HistoryEntry(
                at_ns=logged_ns,
                actor=SYSTEM,
                action="group",
                from_status=before.status,
                to_status=before.status,
                reason=reason.zh,
            )
        )
        self.tell(case, ChangeKind.GROUPED, logged_ns)

    def _attach(
        self,
        case: Case,
        event: Event,
        scenario: Scenario,
        logged_ns: int,
        *,
        rework: str | None = None,
    ) -> None:
        key = RaiseKey(event.rule, event.thing_id, event.began_ns)
        held = case.raises.get(key)
        # A raise that ended does not begin again; a new one has its own instant.
        active = event.edge is not Edge.CLEAR and (held is None or held.active)
        confidence = max(event.confidence_ratio, held.confidence_ratio if held else 0.0)
        case.raises[key] = HeldRaise(event.source, active, confidence)
        case.changed_raises.add(key)
        before = case.incident
        over = _is_over(case, scenario)
        sources = _confidence_by_source(case)
        changes: dict[str, Any] = {
            "place": _better_place(before.place, event.place, scenario),
            "began_ns": min(before.began_ns, event.began_ns),
            "updated_ns": max(before.updated_ns, logged_ns),
            "cleared_ns": (before.cleared_ns or event.at_ns) if over else None,
            "confidence_ratio": 1.0 - math.prod(1.0 - ratio for ratio in sources.values()),
            "source_count": len(sources),
            "event_count": before.event_count + 1,
            "snapshot": event.snapshots[-1] if event.snapshots else before.snapshot,
        }
        if rework is not None:
            changes |= {
                "status": Status.DISPATCHED,
                "closed_ns": None,
                "disposed_ns": None,
                "rework_count": before.rework_count + 1,
                **dispatched(before, logged_ns, scenario.deadline),
            }
            after = msgspec.structs.replace(before, **changes)
            changes["next_alert_ns"] = next_alert_ns(after, scenario.deadline)
        case.change(**changes)
        case.last_event_ns = max(case.last_event_ns, event.at_ns)
        if rework is not None:
            case.record(
                HistoryEntry(
                    at_ns=logged_ns,
                    actor=SYSTEM,
                    action="rework",
                    from_status=before.status,
                    to_status=Status.DISPATCHED,
                    reason=rework,
                )
            )
        self._keep(event, case.incident.id)
        if before.version == 0:
            kind = ChangeKind.OPENED
        elif rework is not None:
            kind = ChangeKind.REWORK
        elif over and before.cleared_ns is None:
            kind = ChangeKind.CLEARED
        else:
            kind = ChangeKind.EVIDENCE
        self.tell(case, kind, logged_ns, event)
        known_better = (before.place, before.began_ns) != (changes["place"], changes["began_ns"])
        if before.version > 0 and (known_better or rework is not None):
            self._regroup(case, scenario, logged_ns)
            self._regroup_parts(case, logged_ns)

    def _keep(self, event: Event, case_id: str | None) -> None:
        self._evidence.append(
            {
                "event_id": event.id,
                "incident_id": case_id,
                "scenario": event.scenario,
                "thing_id": event.thing_id,
                "kind": event.kind,
                "edge": event.edge.value,
                "at_ns": event.at_ns,
                "area_code": area_code_of(event.place),
                "lon_deg": event.place.lon_deg,
                "lat_deg": event.place.lat_deg,
                "body": evidence_body(event, case_id),
            }
        )

    def _case_number(self, at_ns: int) -> str:
        day = f"{china_time(at_ns):%Y%m%d}"
        if day not in self._last_number:
            table = tables.case_days
            last = self._connection.scalar(select(table.c.last).where(table.c.day == day))
            self._last_number[day] = last or 0
        self._last_number[day] += 1
        return f"{self._policies.city_prefix}-{day}-{self._last_number[day]:06d}"

    def _keep_progress(self, batches: Sequence[EventBatch]) -> None:
        newest: dict[tuple[str, int], dict[str, Any]] = {}
        for batch in batches:
            stamp = batch.stamp
            key = (stamp.ingest_id, stamp.partition)
            if key not in newest or stamp.sequence > newest[key]["sequence"]:
                newest[key] = {
                    "ingest_id": stamp.ingest_id,
                    "partition": stamp.partition,
                    "sequence": stamp.sequence,
                    "watermark_ns": stamp.watermark_ns,
                }
        rows = [newest[key] for key in sorted(newest)]
        self._database.upsert(self._connection, tables.progress, rows, newer="sequence")


def storable(text: str) -> str:
    """The text without NUL, which PostgreSQL cannot keep and a device may send.

    Example:
        >>> storable("w\\0-1") == "w\ufffd-1"
        True
    """
    return text.replace("\0", "\ufffd")


def _storable_event(event: Event) -> Event:
    if "\0" not in event.thing_id + event.kind + event.source:
        return event
    return msgspec.structs.replace(
        event,
        thing_id=storable(event.thing_id),
        kind=storable(event.kind),
        source=storable(event.source),
    )


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


def _box_around(place: Place, radius_m: float) -> Box | None:
    """A box that holds every point within a radius; None without a position or a limit.

    Example:
        >>> box = _box_around(Place(lon_deg=0.0, lat_deg=60.0), 1100.0)
        >>> [round(degrees, 3) for degrees in box or ()]
        [-0.02, 59.99, 0.02, 60.01]
    """
    if place.lon_deg is None or place.lat_deg is None or math.isinf(radius_m):
        return None
    high = radius_m / _DEGREE_M
    widest = math.cos(math.radians(min(89.0, abs(place.lat_deg) + high)))
    wide = high / widest
    return place.lon_deg - wide, place.lat_deg - high, place.lon_deg + wide, place.lat_deg + high


def _better_place(old: Place, new: Place, scenario: Scenario) -> Place:
    """The place of a case after one more word on it: the one that is known best.

    What moves stays where it was first seen, because that is where the case began.
    """
    if scenario.correlate.group_by is GroupBy.THING or new.lon_deg is None:
        return old
    if old.lon_deg is None:
        return new
    if new.error_major_m is None:
        return old
    return new if old.error_major_m is None or new.error_major_m < old.error_major_m else old


def _is_over(case: Case, scenario: Scenario) -> bool:
    """Whether every source that can say so said that it is over; a report never can."""
    can_say = [held.active for key, held in case.raises.items() if key.rule != scenario.report_rule]
    return bool(can_say) and not any(can_say)


def _confidence_by_source(case: Case) -> dict[str, float]:
    """The best confidence of each independent source: a camera is one, whatever it tracks."""
    best: dict[str, float] = {}
    for key, held in case.raises.items():
        is_report = key.thing_id.startswith("report/")
        source = key.thing_id if is_report else observer_of(key.thing_id) or key.thing_id
        best[source] = max(best.get(source, 0.0), min(1.0, held.confidence_ratio))
    return best


def _raise_rows(cases: Iterable[Case]) -> Iterable[dict[str, Any]]:
    for case in cases:
        for key in sorted(case.changed_raises):
            yield {
                "incident_id": case.incident.id,
                **key._asdict(),
                **case.raises[key]._asdict(),
            }


def _history_rows(cases: Iterable[Case]) -> Iterable[dict[str, Any]]:
    for case in cases:
        for position, entry in case.new_history:
            yield {
                "incident_id": case.incident.id,
                "position": position,
                "at_ns": entry.at_ns,
                "body": _JSON.encode(fields(entry)),
            }


def _chunks(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    for first in range(0, len(keys), _KEYS_PER_QUERY):
        yield keys[first : first + _KEYS_PER_QUERY]
