"""The case store: the one truth about incidents (docs/decisions/0009).

One writer per process, behind a lock. Every write that changes an incident adds a line to
the feed in the same transaction. What it tells is :mod:`store.reader`'s.
All methods block and may be called from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.engine import Connection

from core.city import Unit, Worker
from core.errors import ConflictError, NotFoundError
from core.events import EventBatch
from core.incidents import HistoryEntry, Incident, Status
from core.ports import Redriven, Rejection
from scenarios.lifecycle import Action, Role
from scenarios.model import Scenario
from scenarios.routing import OwnerOf, nobody_owns
from scenarios.steps import Step, take_step
from scenarios.verdicts import VERDICT_NAMES, step_after
from store import tables
from store.alerts import Alerts
from store.answers import answer_given, keep_answer, request_digest
from store.case import Case
from store.changes import Change, ChangeKind
from store.database import Database
from store.decisions import DecisionTransaction, Policies
from store.outbox import Outbox
from store.reader import CaseReader, find_report
from store.rejections import drop_redriven, keep_rejections
from store.retention import forget
from store.rows import Judgement, Report
from store.texts import storable
from store.things import Thing

#: Rejections kept for people to look at; with 64 KiB each at most 640 MB.
MAX_REJECTIONS = 10_000

#: Lines of the feed kept; a reader that was away longer starts anew. About 3 kB each.
MAX_FEED_LINES = 200_000

#: Cases that one call escalates, in one transaction.
MAX_ESCALATIONS = 500

#: Old lines of the feed are deleted when this many new ones have come.
_PRUNE_EVERY = 1024

_MSGPACK = msgspec.msgpack.Encoder()


class CaseStore(CaseReader):
    """Incidents, their evidence and history, the feed, and what could not be read.

    Args:
        url: ``sqlite:////absolute/path`` or ``postgresql+psycopg://user@host/database``,
            migrated by :func:`store.database.migrate`.
        scenarios: The kinds of real thing, with how they correlate, who acts, by when.
        units: The city's responsible units.
        workers: The city's grid workers.
        city_prefix: Begins every case number, e.g. ``QD`` in ``QD-20260101-000001``.
        owner_of: Tells who owns the component that a case is about.
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
        owner_of: OwnerOf = nobody_owns,
        max_rejections: int = MAX_REJECTIONS,
        max_feed_lines: int = MAX_FEED_LINES,
    ) -> None:
        super().__init__(Database(url))
        #: Who is told of the feed, and how far each has been.
        self.outbox = Outbox(self._database)
        #: Public alerts, as they were issued.
        self.alerts = Alerts(self._database)
        self.scenarios = {scenario.id: scenario for scenario in scenarios}
        self._policies = Policies(
            scenarios=self.scenarios,
            units=tuple(units),
            workers=tuple(workers),
            city_prefix=city_prefix,
            owner_of=owner_of,
        )
        self._workers = {worker.worker_id: worker for worker in self._policies.workers}
        self._max_rejections = max_rejections
        self._max_feed_lines = max_feed_lines
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
        request = request_digest(incident_id, repr(asked), str(expected_version))
        with self._database.write("changing a case") as connection:
            if idempotency_key is not None:
                answer = answer_given(connection, idempotency_key, request)
                if answer is not None:
                    return answer
            transaction = DecisionTransaction(
                connection, self._database, self._policies, step.at_ns
            )
            case = transaction.book.find(incident_id)
            if case is None:
                raise NotFoundError(f"incident {incident_id!r}: there is none with this id")
            _check_version(case, expected_version)
            self._step(transaction, case, step)
            changes = transaction.finish()
            if idempotency_key is not None:
                keep_answer(connection, idempotency_key, request, case.incident, step.at_ns)
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
            case = transaction.book.find(incident_id)
            if case is None:
                raise NotFoundError(f"incident {incident_id!r}: there is none with this id")
            if one.duplicate_of is not None:
                other = transaction.book.find(one.duplicate_of)
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
        transaction.lines.tell(case, ChangeKind.VERDICT, one.at_ns)

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
            found = find_report(connection, report.id)
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

    def add_rejections(self, rejections: Iterable[Rejection | Redriven]) -> int:
        """Keep what could not be read; one that is kept already is not counted again.

        What was sent again and read leaves.

        Returns:
            How many were new.
        """
        given = list(rejections)
        if not given:
            return 0
        with self._database.write("keeping rejections") as connection:
            kept = [one for one in given if isinstance(one, Rejection)]
            drop_redriven(connection, [one for one in given if isinstance(one, Redriven)])
            return keep_rejections(connection, self._database, kept, self._max_rejections)

    def forget(self, before_ns: int) -> Iterator[Mapping[str, int]]:
        """Forget what was over before an instant of city time, a small transaction a step.

        What goes and what stays: :func:`store.retention.forget`.

        Yields:
            Rows that a transaction deleted, by table.

        Raises:
            ServiceError: The database failed.
        """
        return forget(self._database, before_ns)

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
            chosen = transaction.workload.assign(old.place, scenario, step.at_ns)
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
        transaction.lines.tell(case, ChangeKind.TRANSITION, step.at_ns)

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
