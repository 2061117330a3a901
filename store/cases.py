"""The case store: the one truth about incidents (docs/decisions/0009).

One writer per process, behind a lock; readers have connections of their own and never wait
for it. Every write that changes an incident adds a line to the feed in the same transaction.
All methods block and may be called from any thread.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
from sqlalchemy import delete, func, insert, select
from sqlalchemy.engine import Connection

from core.city import Unit, Worker
from core.errors import ConflictError, InputError, NotFoundError
from core.events import EventBatch
from core.incidents import HistoryEntry, Incident, Status
from core.ports import Rejection
from core.units import ns_to_rfc3339
from scenarios.lifecycle import Action, Role
from scenarios.model import Scenario
from scenarios.quality import JudgedRaise
from scenarios.steps import Step, take_step
from scenarios.verdicts import VERDICT_NAMES, step_after
from store import tables
from store.database import Database, insert_rows, next_numbers
from store.decisions import Case, Change, ChangeKind, DecisionTransaction, Policies, storable
from store.filters import (
    EventFilter,
    IncidentFilter,
    before,
    check_limit,
    encode_cursor,
    event_conditions,
    incident_conditions,
)
from store.rows import Detail, FeedLine, IncidentRow, Judgement, Page, Report, judged_raise
from store.things import Thing

logger = logging.getLogger(__name__)

#: Rejections kept for people to look at; with 64 KiB each at most 640 MB.
MAX_REJECTIONS = 10_000

#: Lines of the feed kept; a reader that was away longer starts anew. About 3 kB each.
MAX_FEED_LINES = 200_000

#: Answers kept for repeated writing requests.
MAX_IDEMPOTENCY_KEYS = 10_000

#: Most cases that figures are made of at once; at about 1 kB each.
MAX_COUNTED_CASES = 200_000

#: Most raises that quality is measured on at once.
MAX_JUDGED = 100_000

#: Cases that one call escalates, in one transaction.
MAX_ESCALATIONS = 500

#: Old lines of the feed are deleted when this many new ones have come.
_PRUNE_EVERY = 1024

_MSGPACK = msgspec.msgpack.Encoder()
_INCIDENT = msgspec.msgpack.Decoder(Incident)
_REJECTION = msgspec.msgpack.Decoder(Rejection)
_THING = msgspec.msgpack.Decoder(Thing)


class CaseStore:
    """Incidents, their evidence and history, the feed, and what could not be read.

    Args:
        url: ``sqlite:////absolute/path`` or ``postgresql+psycopg://user@host/database``,
            migrated by :func:`store.database.migrate`.
        scenarios: The kinds of real thing, with how they correlate, who acts, by when.
        units: The city's responsible units.
        workers: The city's grid workers.
        city_prefix: Begins every case number, e.g. ``QD`` in ``QD-20260101-000001``.
        max_rejections: Rejections kept; older ones are evicted and counted.
        max_feed_lines: Lines of the feed kept.

    Raises:
        SettingsError: The URL is of another kind.
    """

    def __init__(
        self,
        url: str,
        scenarios: Iterable[Scenario],
        units: Iterable[Unit],
        workers: Iterable[Worker],
        city_prefix: str,
        *,
        max_rejections: int = MAX_REJECTIONS,
        max_feed_lines: int = MAX_FEED_LINES,
    ) -> None:
        self.scenarios = {scenario.id: scenario for scenario in scenarios}
        self._policies = Policies(
            scenarios=self.scenarios,
            units=tuple(units),
            workers=tuple(workers),
            city_prefix=city_prefix,
        )
        self._workers = {worker.worker_id: worker for worker in self._policies.workers}
        self._max_rejections = max_rejections
        self._max_feed_lines = max_feed_lines
        self._database = Database(url)
        self._callbacks: list[Callable[[int], None]] = []
        self._callbacks_lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    # Writing.

    def apply(self, batches: Sequence[EventBatch], now_ns: int) -> list[Change]:
        """Decide on events, all in one transaction; an event seen before changes nothing.

        Args:
            batches: In the one order (docs/decisions/0007).
            now_ns: City time. It only dates the feed's lines: decisions use the time at
                which ingest logged the batch, so that a replay decides alike.

        Returns:
            The changes, in order, with their numbers in the feed.

        Raises:
            ServiceError: The database failed; nothing was written.
        """
        with self._database.write("applying events") as connection:
            transaction = DecisionTransaction(connection, self._database, self._policies, now_ns)
            transaction.apply(batches)
            changes = transaction.finish()
            self._prune_feed(connection, changes)
        self._notify(changes)
        return changes

    def transition(
        self,
        incident_id: str,
        step: Step,
        *,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Incident:
        """Take a case one step further.

        Args:
            incident_id: Which.
            step: Who does what, when and why.
            expected_version: The version that the decision was made on. Evidence that came
                since is no conflict, another person's step is.
            idempotency_key: A request with a key that was used before gets the same answer
                and changes nothing.

        Returns:
            The incident afterwards.

        Raises:
            NotFoundError: There is no such incident.
            ConflictError: It changed since the expected version, or the key was used for
                another request.
            TransitionError: The action is not possible now, or not for this role.
            ServiceError: The database failed; nothing was written.
        """
        asked = msgspec.structs.replace(step, at_ns=0)  # a repeated request comes later
        request = _digest(incident_id, repr(asked), str(expected_version))
        with self._database.write("changing a case") as connection:
            if idempotency_key is not None:
                answer = _answer_given(connection, idempotency_key, request)
                if answer is not None:
                    return answer
            transaction = DecisionTransaction(
                connection, self._database, self._policies, step.at_ns
            )
            case = transaction.case(incident_id)
            if case is None:
                raise NotFoundError(f"incident {incident_id!r}: there is none with this id")
            _check_version(case, expected_version)
            self._step(transaction, case, step)
            changes = transaction.finish()
            if idempotency_key is not None:
                _keep_answer(connection, idempotency_key, request, case.incident, step.at_ns)
            self._prune_feed(connection, changes)
        self._notify(changes)
        return case.incident

    def judge(self, incident_id: str, judgement: Judgement) -> Incident:
        """Keep what a person found a case to be, and take the step that follows.

        Args:
            incident_id: Which.
            judgement: The verdict, whose, and why; a later one replaces it.

        Returns:
            The incident afterwards.

        Raises:
            NotFoundError: There is no such incident, or none that it could be a duplicate of.
            TransitionError: The step that follows is no longer possible.
            ServiceError: The database failed; nothing was written.
        """
        one = judgement
        with self._database.write("keeping a verdict") as connection:
            transaction = DecisionTransaction(connection, self._database, self._policies, one.at_ns)
            case = transaction.case(incident_id)
            if case is None:
                raise NotFoundError(f"incident {incident_id!r}: there is none with this id")
            if one.duplicate_of is not None:
                other = transaction.case(one.duplicate_of)
                if other is None or other is case:
                    raise NotFoundError(
                        f"duplicate_of {one.duplicate_of!r}: there is no other incident with it"
                    )
            self._judge(transaction, case, one)
            row = {
                "incident_id": case.incident.id,
                "scenario": case.incident.scenario,
                "verdict": one.verdict.value,
                "actor": one.actor,
                "at_ns": one.at_ns,
                "note": one.note,
                "duplicate_of": one.duplicate_of,
            }
            self._database.upsert(connection, tables.verdicts, [row])
            changes = transaction.finish()
            self._prune_feed(connection, changes)
        self._notify(changes)
        return case.incident

    def _judge(self, transaction: DecisionTransaction, case: Case, one: Judgement) -> None:
        action = step_after(case.incident, one.verdict, Role(one.role))
        name = VERDICT_NAMES[one.verdict].zh
        reason = "：".join(part for part in (name, one.note) if part)
        if action is not None:
            step = Step(
                action=action.value, actor=one.actor, role=one.role, at_ns=one.at_ns, reason=reason
            )
            self._step(transaction, case, step)
        changes: dict[str, Any] = {"verdict": one.verdict.value}
        if one.place is not None:
            changes["place"] = one.place
        case.change(**changes, updated_ns=max(case.incident.updated_ns, one.at_ns))
        case.record(HistoryEntry(at_ns=one.at_ns, actor=one.actor, action="verdict", reason=reason))
        transaction.tell(case, ChangeKind.VERDICT, one.at_ns)

    def judged_raises(self, since_ns: int, *, limit: int = MAX_JUDGED) -> list[JudgedRaise]:
        """Raises of cases and what they turned out to be, the latest first, at most ``limit``."""
        words, cases, said = tables.evidence, tables.incidents, tables.verdicts
        statement = (
            select(words.c.body, cases.c.id, cases.c.status, said.c.verdict)
            .join(cases, cases.c.id == words.c.incident_id)
            .outerjoin(said, said.c.incident_id == cases.c.id)
            .where(words.c.edge == "raise", words.c.at_ns >= since_ns)
            .order_by(words.c.at_ns.desc())
            .limit(limit)
        )
        with self._database.read("reading verdicts") as connection:
            rows = connection.execute(statement).all()
        return [judged_raise(*row) for row in rows]

    def escalate(self, now_ns: int, *, limit: int = MAX_ESCALATIONS) -> list[Change]:
        """Raise the cases whose time runs out to their next level; tells of each in the feed.

        Args:
            now_ns: City time.
            limit: Most cases at once, the most urgent first; the next call takes the others.

        Raises:
            ServiceError: The database failed; nothing was written.
        """
        due = select(tables.incidents.c.id).where(tables.incidents.c.next_alert_ns <= now_ns)
        with self._database.read("looking for cases to escalate") as connection:
            if connection.scalar(due.limit(1)) is None:
                return []
        with self._database.write("escalating cases") as connection:
            transaction = DecisionTransaction(connection, self._database, self._policies, now_ns)
            transaction.escalate(now_ns, limit)
            changes = transaction.finish()
            self._prune_feed(connection, changes)
        self._notify(changes)
        return changes

    def add_report(self, report: Report) -> Report:
        """Keep a citizen's report; one with the same id stays as it was and is given back."""
        with self._database.write("keeping a report") as connection:
            row = msgspec.structs.asdict(report)
            del row["incident_id"]
            self._database.insert_new(connection, tables.reports, [row])
            found = _report(connection, report.id)
            assert found is not None
            return found

    def upsert_things(self, things: Iterable[Thing]) -> None:
        """Keep last states; one observed before that which is kept is ignored."""
        newest: dict[str, Thing] = {}
        for thing in things:
            held = newest.get(thing.thing_id)
            if held is None or thing.observed_ns >= held.observed_ns:
                newest[thing.thing_id] = thing
        rows = [
            {
                "thing_id": storable(thing.thing_id),
                "kind": storable(thing.kind),
                "observed_ns": thing.observed_ns,
                "record": _MSGPACK.encode(thing),
            }
            for thing in newest.values()
        ]
        if rows:
            with self._database.write("keeping things") as connection:
                self._database.upsert(connection, tables.things, rows, newer="observed_ns")

    def add_rejections(self, rejections: Iterable[Rejection]) -> int:
        """Keep what could not be read; one that is kept already is not counted again.

        Returns:
            How many were new.
        """
        given = {_rejection_digest(one): one for one in rejections}
        if not given:
            return 0
        with self._database.write("keeping rejections") as connection:
            table = tables.rejections
            known = set(
                connection.scalars(select(table.c.digest).where(table.c.digest.in_(list(given))))
            )
            fresh = {digest: one for digest, one in given.items() if digest not in known}
            if not fresh:
                return 0
            last = next_numbers(connection, "rejections", len(fresh))
            insert_rows(
                connection,
                table,
                [
                    {
                        "sequence": sequence,
                        "digest": digest,
                        "reason": storable(one.reason),
                        "received_ns": one.received_ns,
                        "record": _MSGPACK.encode(one),
                    }
                    for sequence, (digest, one) in enumerate(fresh.items(), last - len(fresh) + 1)
                ],
            )
            _count_rejections(connection, self._database, fresh.values())
            evicted = connection.execute(
                delete(table).where(table.c.sequence <= last - self._max_rejections)
            ).rowcount
            if evicted:
                next_numbers(connection, "rejections_evicted", evicted)
            return len(fresh)

    def prune(self, before_ns: int) -> dict[str, int]:
        """Forget what nobody asks for any more: events that no case took, silent things.

        Args:
            before_ns: What is older than this goes.

        Returns:
            Rows deleted, by table.
        """
        conditions = {
            tables.evidence: tables.evidence.c.incident_id.is_(None)
            & (tables.evidence.c.at_ns < before_ns),
            tables.things: tables.things.c.observed_ns < before_ns,
            tables.progress: tables.progress.c.watermark_ns < before_ns,
        }
        with self._database.write("pruning") as connection:
            return {
                table.name: connection.execute(delete(table).where(condition)).rowcount
                for table, condition in conditions.items()
            }

    # Reading.

    def list_incidents(
        self, wanted: IncidentFilter, *, limit: int = 100, cursor: str | None = None
    ) -> Page[IncidentRow]:
        """A page of incidents, the last opened first; stable while new ones come in.

        Raises:
            InputError: ``limit`` is not in 1..1000, or the cursor is none of ours.
        """
        table = tables.incidents
        statement = (
            select(table.c.body, table.c.lon_deg, table.c.lat_deg, table.c.opened_ns, table.c.id)
            .where(*incident_conditions(wanted), *before(table.c.opened_ns, table.c.id, cursor))
            .order_by(table.c.opened_ns.desc(), table.c.id.desc())
            .limit(check_limit(limit) + 1)
        )
        with self._database.read("listing incidents") as connection:
            found = connection.execute(statement).all()
        return Page(
            rows=[IncidentRow(body, lon, lat) for body, lon, lat, _, _ in found[:limit]],
            next=encode_cursor(*found[limit - 1][3:]) if len(found) > limit else None,
        )

    def cases(self, wanted: IncidentFilter, *, limit: int = MAX_COUNTED_CASES) -> list[Incident]:
        """All incidents that a filter finds, for figures; the first opened first.

        Raises:
            InputError: There are more than ``limit``; the filter must be narrower.
        """
        table = tables.incidents
        statement = (
            select(table.c.record)
            .where(*incident_conditions(wanted))
            .order_by(table.c.opened_ns, table.c.id)
            .limit(limit + 1)
        )
        with self._database.read("reading incidents") as connection:
            records = connection.scalars(statement).all()
        if len(records) > limit:
            raise InputError(f"more than {limit} incidents: ask for a shorter time or a part")
        return [_INCIDENT.decode(record) for record in records]

    def get(self, incident_id: str) -> Incident:
        """One incident.

        Raises:
            NotFoundError: There is none with this id.
        """
        table = tables.incidents
        with self._database.read("reading an incident") as connection:
            record = connection.scalar(select(table.c.record).where(table.c.id == incident_id))
        if record is None:
            raise NotFoundError(f"incident {incident_id!r}: there is none with this id")
        return _INCIDENT.decode(record)

    def id_of(self, wanted: str) -> str:
        """The id of an incident, given its id or its case number.

        Raises:
            NotFoundError: There is none.
        """
        table = tables.incidents
        with self._database.read("finding an incident") as connection:
            found = connection.scalar(
                select(table.c.id).where((table.c.id == wanted) | (table.c.case_number == wanted))
            )
        if found is None:
            raise NotFoundError(f"incident {wanted!r}: there is none with this id or case number")
        return str(found)

    def detail(self, incident_id: str) -> Detail:
        """One incident with all its evidence and history.

        Raises:
            NotFoundError: There is none with this id.
        """
        table = tables.incidents
        with self._database.read("reading an incident") as connection:
            row = connection.execute(
                select(table.c.record, table.c.body).where(table.c.id == incident_id)
            ).one_or_none()
            if row is None:
                raise NotFoundError(f"incident {incident_id!r}: there is none with this id")
            return Detail(
                incident=_INCIDENT.decode(row.record),
                body=row.body,
                evidence=_evidence(connection, incident_id),
                history=_history(connection, incident_id),
            )

    def evidence(self, incident_id: str) -> list[bytes]:
        """JSON of an incident's evidence, the first first."""
        with self._database.read("reading evidence") as connection:
            return _evidence(connection, incident_id)

    def history(self, incident_id: str) -> list[bytes]:
        """JSON of an incident's history, the first line first."""
        with self._database.read("reading a history") as connection:
            return _history(connection, incident_id)

    def list_events(
        self, wanted: EventFilter, *, limit: int = 100, cursor: str | None = None
    ) -> Page[bytes]:
        """A page of events as JSON, the newest first, also those that no case took.

        Raises:
            InputError: ``limit`` is not in 1..1000, or the cursor is none of ours.
        """
        table = tables.evidence
        statement = (
            select(table.c.body, table.c.at_ns, table.c.event_id)
            .where(*event_conditions(wanted), *before(table.c.at_ns, table.c.event_id, cursor))
            .order_by(table.c.at_ns.desc(), table.c.event_id.desc())
            .limit(check_limit(limit) + 1)
        )
        with self._database.read("listing events") as connection:
            found = connection.execute(statement).all()
        return Page(
            rows=[row.body for row in found[:limit]],
            next=encode_cursor(*found[limit - 1][1:]) if len(found) > limit else None,
        )

    def feed_after(self, sequence: int, limit: int) -> list[FeedLine]:
        """Lines of the feed after a number, in order."""
        table = tables.feed
        statement = (
            select(table.c.sequence, table.c.payload)
            .where(table.c.sequence > sequence)
            .order_by(table.c.sequence)
            .limit(limit)
        )
        with self._database.read("reading the feed") as connection:
            return [FeedLine(*row) for row in connection.execute(statement)]

    def changes_of(self, incident_id: str) -> list[dict[str, Any]]:
        """What others were told of an incident: number in the feed, change, time; as kept."""
        table = tables.feed
        statement = (
            select(table.c.sequence, table.c.change, table.c.at_ns)
            .where(table.c.incident_id == incident_id)
            .order_by(table.c.sequence)
        )
        with self._database.read("reading the feed") as connection:
            return [
                {"sequence": number, "change": change, "at": ns_to_rfc3339(at_ns)}
                for number, change, at_ns in connection.execute(statement)
            ]

    def latest_sequence(self) -> int:
        """Number of the feed's newest line; 0 where there is none yet."""
        with self._database.read("reading the feed") as connection:
            return _counter(connection, "feed")

    def report(self, report_id: str) -> Report:
        """A citizen's report, with the incident it became evidence of, if any yet.

        Raises:
            NotFoundError: There is none with this id.
        """
        with self._database.read("reading a report") as connection:
            found = _report(connection, report_id)
        if found is None:
            raise NotFoundError(f"report {report_id!r}: there is none with this id")
        return found

    def list_things(self, kind: str | None = None) -> list[Thing]:
        """Last states of things, by id; of one kind or of all."""
        table = tables.things
        statement = select(table.c.record).order_by(table.c.thing_id)
        if kind is not None:
            statement = statement.where(table.c.kind == kind)
        with self._database.read("reading things") as connection:
            return [_THING.decode(record) for record in connection.scalars(statement)]

    def list_rejections(self, reason: str | None = None, limit: int = 100) -> list[Rejection]:
        """What could not be read, the newest first."""
        table = tables.rejections
        statement = select(table.c.record).order_by(table.c.sequence.desc())
        if reason is not None:
            statement = statement.where(table.c.reason == reason)
        with self._database.read("reading rejections") as connection:
            found = connection.scalars(statement.limit(check_limit(limit)))
            return [_REJECTION.decode(record) for record in found]

    def rejection_counts(self) -> dict[str, int]:
        """How many messages were rejected since ever, by reason; evicted ones count too."""
        table = tables.rejection_counts
        with self._database.read("counting rejections") as connection:
            found = connection.execute(select(table.c.reason, table.c.count))
            return {row[0]: row[1] for row in found}

    def rejections_evicted(self) -> int:
        """How many rejections were deleted because only the newest are kept."""
        with self._database.read("counting rejections") as connection:
            return _counter(connection, "rejections_evicted")

    def progress(self) -> dict[tuple[str, int], int]:
        """Last applied batch number, by ingest id and partition."""
        table = tables.progress
        with self._database.read("reading progress") as connection:
            found = connection.execute(
                select(table.c.ingest_id, table.c.partition, table.c.sequence)
            )
            return {(ingest_id, partition): number for ingest_id, partition, number in found}

    def watermark_ns(self) -> int:
        """The newest watermark of what was applied; 0 before the first batch."""
        with self._database.read("reading the watermark") as connection:
            newest = connection.scalar(select(func.max(tables.progress.c.watermark_ns)))
        return int(newest or 0)

    def figures(self) -> dict[str, Any]:
        """Counts for the cockpit: open incidents, by domain, severity and status; rejections."""
        table = tables.incidents
        is_open = table.c.is_open.is_(True)
        grouped = select(table.c.domain, table.c.severity, table.c.status, func.count()).where(
            is_open
        )
        totals: dict[str, dict[str, int]] = {"domain": {}, "severity": {}, "status": {}}
        with self._database.read("counting incidents") as connection:
            rows = connection.execute(
                grouped.group_by(table.c.domain, table.c.severity, table.c.status)
            ).all()
            rejected = connection.scalar(select(func.sum(tables.rejection_counts.c.count)))
        for *words, count in rows:
            for name, word in zip(totals, words, strict=True):
                totals[name][word] = totals[name].get(word, 0) + count
        return {
            "incidents_open": sum(count for *_, count in rows),
            **{f"incidents_open_by_{name}": counts for name, counts in totals.items()},
            "rejections": int(rejected or 0),
        }

    def on_change(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Be called, in the writer's thread, with the feed's newest number after each commit.

        Other processes' commits are not told; poll :meth:`latest_sequence` for those.

        Returns:
            Call it to be told no more.
        """
        with self._callbacks_lock:
            self._callbacks.append(callback)

        def forget() -> None:
            with self._callbacks_lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return forget

    def _notify(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        with self._callbacks_lock:
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback(changes[-1].sequence)

    def _step(self, transaction: DecisionTransaction, case: Case, step: Step) -> None:
        old = case.incident
        scenario = self.scenarios.get(old.scenario)
        changes = take_step(old, step, None if scenario is None else scenario.deadline)
        worker = self._workers.get(step.actor)
        if step.action == Action.ACCEPT and step.role == Role.WORKER and worker is not None:
            changes |= {"worker_id": worker.worker_id, "worker_name": worker.name}
        goes_out = changes["status"] is Status.DISPATCHED and old.status is not Status.DISPATCHED
        if goes_out and scenario is not None and old.worker_id is None:
            chosen = transaction.assign(old.place, scenario, step.at_ns)
            changes |= chosen.changes
        case.change(**changes)
        case.record(
            HistoryEntry(
                at_ns=step.at_ns,
                actor=step.actor,
                action=step.action,
                from_status=old.status,
                to_status=changes["status"],
                reason=step.reason,
                photos=step.photos,
            )
        )
        transaction.tell(case, ChangeKind.TRANSITION, step.at_ns)

    def _prune_feed(self, connection: Connection, changes: Sequence[Change]) -> None:
        if not changes:
            return
        first, last = changes[0].sequence, changes[-1].sequence
        if first // _PRUNE_EVERY != (last + 1) // _PRUNE_EVERY:
            connection.execute(
                delete(tables.feed).where(tables.feed.c.sequence <= last - self._max_feed_lines)
            )


def _check_version(case: Case, expected: int | None) -> None:
    now = case.incident.version
    if expected is None or case.process_version <= expected <= now:
        return
    raise ConflictError(
        f"incident {case.incident.id}: version {expected} was expected, it is at version {now} "
        f"with status {case.incident.status.value!r} since version {case.process_version}; "
        "read it again and decide anew"
    )


def _answer_given(connection: Connection, key: str, request: str) -> Incident | None:
    table = tables.idempotency
    row = connection.execute(
        select(table.c.request, table.c.answer).where(table.c.key == key)
    ).one_or_none()
    if row is None:
        return None
    if row.request != request:
        raise ConflictError(
            f"idempotency key {key!r} was used for another request; use a new key for each"
        )
    return _INCIDENT.decode(row.answer)


def _keep_answer(
    connection: Connection, key: str, request: str, incident: Incident, now_ns: int
) -> None:
    table = tables.idempotency
    connection.execute(
        insert(table).values(
            key=key,
            request=request,
            incident_id=incident.id,
            version=incident.version,
            answer=_MSGPACK.encode(incident),
            at_ns=now_ns,
        )
    )
    oldest = (
        select(table.c.at_ns).order_by(table.c.at_ns.desc()).offset(MAX_IDEMPOTENCY_KEYS).limit(1)
    )
    connection.execute(delete(table).where(table.c.at_ns <= oldest.scalar_subquery()))


def _count_rejections(
    connection: Connection, database: Database, rejections: Iterable[Rejection]
) -> None:
    table = tables.rejection_counts
    counted: dict[str, int] = {}
    for one in rejections:
        reason = storable(one.reason)
        counted[reason] = counted.get(reason, 0) + 1
    kept = connection.execute(
        select(table.c.reason, table.c.count).where(table.c.reason.in_(list(counted)))
    )
    before_now: dict[str, int] = {row[0]: row[1] for row in kept}
    database.upsert(
        connection,
        table,
        [
            {"reason": reason, "count": before_now.get(reason, 0) + count}
            for reason, count in counted.items()
        ],
    )


def _evidence(connection: Connection, incident_id: str) -> list[bytes]:
    table = tables.evidence
    statement = (
        select(table.c.body)
        .where(table.c.incident_id == incident_id)
        .order_by(table.c.at_ns, table.c.event_id)
    )
    return list(connection.scalars(statement))


def _history(connection: Connection, incident_id: str) -> list[bytes]:
    table = tables.history
    statement = (
        select(table.c.body).where(table.c.incident_id == incident_id).order_by(table.c.position)
    )
    return list(connection.scalars(statement))


def _report(connection: Connection, report_id: str) -> Report | None:
    table, words = tables.reports, tables.evidence
    row = connection.execute(select(table).where(table.c.id == report_id)).mappings().one_or_none()
    if row is None:
        return None
    incident_id = connection.scalar(
        select(words.c.incident_id)
        .where(words.c.thing_id == f"report/{report_id}", words.c.incident_id.is_not(None))
        .order_by(words.c.at_ns)
        .limit(1)
    )
    return Report(**row, incident_id=incident_id)


def _counter(connection: Connection, name: str) -> int:
    table = tables.counters
    return int(connection.scalar(select(table.c.value).where(table.c.name == name)) or 0)


def _rejection_digest(one: Rejection) -> str:
    head = f"{one.topic}\x1f{one.reason}\x1f{one.received_ns}\x1f{one.detail}\x1f".encode()
    return hashlib.blake2b(head + one.payload, digest_size=16).hexdigest()


def _digest(*parts: str) -> str:
    text = "\x1f".join(parts)
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
