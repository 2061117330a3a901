"""One transaction of decisions: events in their order become evidence, cases and feed lines.

What belongs together is decided by :mod:`scenarios.correlation`; here it is carried out.
"Now" is the time at which ingest logged the batch, so that a replay, or another grouping of
the same batches, gives the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.engine import Connection

from core.city import Unit, Worker
from core.events import Edge, Event, EventBatch
from core.incidents import HistoryEntry, Incident, Status, Text, incident_id
from core.units import china_time
from scenarios.correlation import DecisionKind, better_place, decide
from scenarios.corroboration import agreeing, explain_waiting
from scenarios.deadlines import deadline_ns
from scenarios.escalation import LEVEL_NAMES, Level, is_due, next_alert_ns
from scenarios.exclusions import explain_exclusion
from scenarios.explain import explain
from scenarios.grouping import together_with
from scenarios.model import Scenario
from scenarios.routing import OwnerOf, nobody_owns
from scenarios.steps import dispatched
from store import tables
from store.alerts import issue_alerts
from store.case import SYSTEM, Case, HeldRaise, RaiseKey
from store.casebook import CaseBook
from store.changes import Change, ChangeKind, NewLines
from store.database import Database, chunks, insert_rows
from store.documents import area_code_of, evidence_body
from store.holding import Holding
from store.parts import Parts
from store.texts import storable
from store.workload import Workload


class Policies(msgspec.Struct, frozen=True, kw_only=True):
    """What decisions follow: scenarios by id, who can be assigned, and the number's prefix.

    ``owner_of`` tells who owns the component that a case is about.
    """

    scenarios: Mapping[str, Scenario]
    units: tuple[Unit, ...]
    workers: tuple[Worker, ...]
    city_prefix: str
    owner_of: OwnerOf = nobody_owns


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
        self.book = CaseBook(connection, database)
        self.lines = NewLines()
        self.workload = Workload(connection, policies.units, policies.workers, policies.owner_of)
        self._parts = Parts(policies.scenarios, self.book, self.lines, self.workload)
        self._holding = Holding(connection, database)
        self._seen: set[str] = set()
        self._evidence: dict[str, dict[str, Any]] = {}
        self._kept_before: set[str] = set()
        self._last_number: dict[str, int] = {}

    def apply(self, batches: Sequence[EventBatch]) -> None:
        """Decide on every event that was not decided on before, and on what an end lets go."""
        self._seen = self._known({event.id for batch in batches for event in batch.events})
        for batch in batches:
            logged_ns = batch.stamp.logged_ns
            self._holding.take(batch.exclusions)
            for event in batch.events:
                self._wake(event.at_ns, logged_ns)
                if event.id not in self._seen:
                    self._seen.add(event.id)
                    self._decide(_storable_event(event), logged_ns)
            self._wake(batch.stamp.watermark_ns, logged_ns)
        self._keep_progress(batches)

    def _wake(self, at_ns: int, logged_ns: int) -> None:
        """Look again at the raises whose exclusion has ended by an instant of event time."""
        while (held := self._holding.next_due(at_ns)) is not None:
            self._holding.let_go(held.event)
            if held.exclusion_id is not None:
                one = held.event_at_wake()
                self._seen.add(one.id)
                self._decide(one, logged_ns)

    def escalate(self, now_ns: int, limit: int) -> None:
        """Raise the cases whose time runs out to their next level, the most urgent first."""
        for case in self.book.due(now_ns, limit):
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
        self.lines.tell(case, ChangeKind.ESCALATED, now_ns)

    def finish(self) -> list[Change]:
        """Write everything; gives the feed's new lines in order."""
        self.book.write()
        self._holding.write()
        # What waited was written down when it came; now a case has it.
        again = self._evidence.keys() & self._kept_before
        fresh = [row for name, row in self._evidence.items() if name not in again]
        insert_rows(self._connection, tables.evidence, fresh)
        rows = [self._evidence[name] for name in sorted(again)]
        self._database.upsert(self._connection, tables.evidence, rows)
        self._database.upsert(
            self._connection,
            tables.case_days,
            [{"day": day, "last": last} for day, last in self._last_number.items()],
        )
        changes = self.lines.write(self._connection, self._now_ns)
        issue_alerts(self._connection, changes, self._policies.scenarios)
        return changes

    def _known(self, event_ids: Collection[str]) -> set[str]:
        column = tables.evidence.c.event_id
        known: set[str] = set()
        for some in chunks(sorted(event_ids)):
            known.update(self._connection.scalars(select(column).where(column.in_(some))))
        return known

    def _decide(self, event: Event, logged_ns: int) -> None:
        scenario = self._policies.scenarios.get(event.scenario)
        if scenario is None:
            self._keep(event, None)
            return
        decision = decide(event, scenario, self.book.candidates(event, scenario))
        opens = decision.kind in {DecisionKind.OPEN, DecisionKind.REWORK}
        exclusion = self._holding.in_force(event, scenario) if opens else None
        if exclusion is not None:
            self._holding.hold(event, exclusion)
            why_not = explain_exclusion(exclusion)
            self._keep(event, None, why_not=why_not, exclusion_id=exclusion.id)
        elif decision.kind is DecisionKind.IGNORE:
            if event.edge is Edge.CLEAR:
                self._holding.end(event, scenario)
            self._keep(event, None)
        elif decision.kind is DecisionKind.OPEN:
            self._open_if_corroborated(event, scenario, logged_ns)
        else:
            case = self.book[str(decision.incident_id)]
            if decision.kind is DecisionKind.REWORK:
                self._attach(case, event, scenario, logged_ns, rework=decision.reason)
            else:
                self._attach(case, event, scenario, logged_ns)

    def _open_if_corroborated(self, event: Event, scenario: Scenario, logged_ns: int) -> None:
        """Open a case where enough sources agree, with the word of each; else let it wait."""
        others = agreeing(event, scenario, self._holding.waiting(scenario.id))
        if others is None:
            self._holding.wait(event)
            self._keep(event, None, why_not=explain_waiting(scenario))
            return
        waited = [word for one in others for word in (one.raised, one.ended) if word is not None]
        self._kept_before.update({word.id for word in waited} - self._evidence.keys())
        first, *more = [*waited, event]
        if others:
            told = ", ".join(dict.fromkeys(one.thing_id for one in more))
            because = first.because | {"agrees_with": told}
            first = msgspec.structs.replace(first, because=because)
        case = self._open(first, scenario, logged_ns)
        for one in more:
            self._attach(case, one, scenario, logged_ns)
        for each in others:
            self._holding.let_go(each.raised)

    def _open(self, event: Event, scenario: Scenario, logged_ns: int) -> Case:
        parent = self._parts.parent(event.place, event.began_ns, scenario)
        assignment = None if parent is None else together_with(parent.incident)
        if assignment is None:
            assignment = self.workload.assign(event.place, scenario, logged_ns)
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
        self.book.add(case)
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
        self._parts.regroup_parts(case, logged_ns)
        return case

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
        by_hand = all(one.rule == scenario.report_rule for one in case.raises)
        held = case.raises.get(key)
        # A raise that ended does not begin again; a new one has its own instant.
        active = event.edge is not Edge.CLEAR and (held is None or held.active)
        confidence = event.confidence_ratio
        if held is not None and "opinion_ratio" not in event.because:
            # One rule is always as sure; only an opinion changes that, and it stays.
            confidence = held.confidence_ratio
        case.raises[key] = HeldRaise(event.source, active, confidence)
        case.changed_raises.add(key)
        before = case.incident
        over = case.is_over(scenario)
        sources = case.confidences()
        changes: dict[str, Any] = {
            "place": better_place(before.place, event, scenario, by_hand=by_hand),
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
        self.lines.tell(case, kind, logged_ns, event)
        known_better = (before.place, before.began_ns) != (changes["place"], changes["began_ns"])
        if before.version > 0 and (known_better or rework is not None):
            self._parts.regroup(case, scenario, logged_ns)
            self._parts.regroup_parts(case, logged_ns)

    def _keep(
        self,
        event: Event,
        case_id: str | None,
        *,
        why_not: Text | None = None,
        exclusion_id: str | None = None,
    ) -> None:
        """Write an event down, with the case that has it or why none has."""
        self._evidence[event.id] = {
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
            "exclusion_id": exclusion_id,
            "body": evidence_body(event, case_id, why_not=why_not, exclusion_id=exclusion_id),
        }

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


def _storable_event(event: Event) -> Event:
    if "\0" not in event.thing_id + event.kind + event.source:
        return event
    return msgspec.structs.replace(
        event,
        thing_id=storable(event.thing_id),
        kind=storable(event.kind),
        source=storable(event.source),
    )
