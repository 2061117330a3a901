"""Reading the case store: lists, one case with all about it, the feed, counts, things.

Readers have connections of their own and never wait for the writer (docs/decisions/0009).
All methods block and may be called from any thread.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from core.errors import InputError, NotFoundError
from core.exclusions import Exclusion
from core.incidents import Incident
from core.ports import Rejection
from core.units import ns_to_rfc3339
from scenarios.quality import JudgedRaise
from store import tables
from store.database import Database
from store.filters import (
    EventFilter,
    IncidentFilter,
    before,
    check_limit,
    encode_cursor,
    event_conditions,
    incident_conditions,
)
from store.holding import next_wake_ns
from store.rows import (
    Detail,
    Excluding,
    ExclusionDetail,
    FeedLine,
    IncidentRow,
    Page,
    Report,
    judged_raise,
)
from store.things import Thing

#: Most cases that figures are made of at once; at about 1 kB each.
MAX_COUNTED_CASES = 200_000

#: Most raises that quality is measured on at once.
MAX_JUDGED = 100_000

#: Events of one exclusion that are listed.
MAX_LEFT_OUT = 200

_EXCLUSION = msgspec.msgpack.Decoder(Exclusion)
_INCIDENT = msgspec.msgpack.Decoder(Incident)
_REJECTION = msgspec.msgpack.Decoder(Rejection)
_THING = msgspec.msgpack.Decoder(Thing)


class CaseReader:
    """What the case store tells; :class:`store.cases.CaseStore` is one that also writes.

    Args:
        database: Migrated by :func:`store.database.migrate`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

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
            found = find_report(connection, report_id)
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

    def rejections_after(
        self, after: int, upto: int | None, reason: str | None = None, limit: int = 100
    ) -> list[tuple[int, Rejection]]:
        """What is in quarantine with its number, the oldest first.

        Args:
            after: Numbers above this.
            upto: And up to this; None for all.
            reason: Only those counted under this word.
            limit: At most so many.
        """
        table = tables.rejections
        statement = select(table.c.sequence, table.c.record).where(table.c.sequence > after)
        if upto is not None:
            statement = statement.where(table.c.sequence <= upto)
        if reason is not None:
            statement = statement.where(table.c.reason == reason)
        statement = statement.order_by(table.c.sequence).limit(check_limit(limit))
        with self._database.read("reading rejections") as connection:
            return [(row[0], _REJECTION.decode(row[1])) for row in connection.execute(statement)]

    def newest_rejection(self) -> int:
        """The number of the newest rejection in quarantine; 0 when there is none."""
        with self._database.read("reading rejections") as connection:
            return connection.scalar(select(func.max(tables.rejections.c.sequence))) or 0

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

    def wakes_ns(self) -> int | None:
        """The event time at which something that is left out must be looked at again."""
        with self._database.read("looking for what is left out") as connection:
            return next_wake_ns(connection)

    def exclusions(self, *, in_force_ns: int | None = None, limit: int = 1000) -> list[Excluding]:
        """Exclusions as they are now, the last to end first; of one instant or all."""
        now = tables.exclusions_now
        statement = select(now.c.record, now.c.revision, now.c.excluded_count)
        if in_force_ns is not None:
            statement = statement.where(now.c.from_ns <= in_force_ns, now.c.until_ns > in_force_ns)
        statement = statement.order_by(now.c.until_ns.desc(), now.c.id).limit(check_limit(limit))
        with self._database.read("listing exclusions") as connection:
            return [
                Excluding(_EXCLUSION.decode(record), revision, count)
                for record, revision, count in connection.execute(statement)
            ]

    def exclusion(self, exclusion_id: str) -> ExclusionDetail:
        """One exclusion with its versions and the latest events that it left out.

        Raises:
            NotFoundError: There is none with this id.
        """
        now, versions, words = tables.exclusions_now, tables.exclusions, tables.evidence
        with self._database.read("reading an exclusion") as connection:
            found = connection.execute(
                select(now.c.record, now.c.revision, now.c.excluded_count).where(
                    now.c.id == exclusion_id
                )
            ).one_or_none()
            if found is None:
                raise NotFoundError(f"exclusion {exclusion_id!r}: there is none with this id")
            record, revision, count = found
            history = connection.scalars(
                select(versions.c.record)
                .where(versions.c.id == exclusion_id)
                .order_by(versions.c.revision)
            )
            left_out = connection.scalars(
                select(words.c.body)
                .where(words.c.exclusion_id == exclusion_id)
                .order_by(words.c.at_ns.desc(), words.c.event_id)
                .limit(MAX_LEFT_OUT)
            )
            return ExclusionDetail(
                now=Excluding(_EXCLUSION.decode(record), revision, count),
                versions=[_EXCLUSION.decode(one) for one in history],
                left_out=list(left_out),
            )

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


def find_report(connection: Connection, report_id: str) -> Report | None:
    """A citizen's report and the incident that took it; None where there is none."""
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
