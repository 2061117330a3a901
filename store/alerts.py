"""Public alerts: issued in the transaction of the change, so that each is one for ever."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, select
from sqlalchemy.engine import Connection

from core.errors import NotFoundError
from core.incidents import Incident
from scenarios.alerting import AlertKind, IssuedAlert, Phase, next_alert
from scenarios.model import Scenario
from store import tables
from store.changes import Change
from store.database import Database, insert_rows

_MSGPACK = msgspec.msgpack.Encoder()
_INCIDENT = msgspec.msgpack.Decoder(Incident)


def issue_alerts(
    connection: Connection, changes: Iterable[Change], scenarios: Mapping[str, Scenario]
) -> None:
    """Issue the alerts that changes call for; part of the transaction that made them."""
    last: dict[str, IssuedAlert | None] = {}
    rows = []
    for change in changes:
        case = change.incident
        scenario = scenarios.get(case.scenario)
        if scenario is None or scenario.alert is None:
            continue
        if case.id not in last:
            issued = _issued(connection, case.id)
            last[case.id] = issued[-1] if issued else None
        alert = next_alert(last[case.id], case, change.sequence)
        if alert is not None:
            last[case.id] = alert
            rows.append(
                {
                    "incident_id": case.id,
                    "number": alert.number,
                    "sequence": alert.sequence,
                    "phase": alert.phase.value,
                    "kind": alert.kind.value,
                    "sent_ns": alert.sent_ns,
                    "record": _MSGPACK.encode(case),
                }
            )
    insert_rows(connection, tables.alerts, rows)


class Alerts:
    """What was issued.

    Args:
        database: Migrated by :func:`store.database.migrate`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_incident(self, incident_id: str) -> list[IssuedAlert]:
        """Every alert of an incident, the first first.

        Raises:
            NotFoundError: None was issued of it.
        """
        with self._database.read("reading alerts") as connection:
            found = _issued(connection, incident_id)
        if not found:
            raise NotFoundError(
                f"incident {incident_id!r}: no public alert was issued of it; scenarios with "
                "`alert` issue some"
            )
        return found

    def of_lines(self, sequences: Sequence[int]) -> frozenset[int]:
        """Which of these lines of the feed issued an alert."""
        table = tables.alerts
        statement = select(table.c.sequence).where(table.c.sequence.in_(sequences))
        with self._database.read("reading alerts") as connection:
            return frozenset(connection.scalars(statement))

    def current(self, limit: int) -> list[IssuedAlert]:
        """The last alert of each incident that is open, the latest first."""
        table, cases = tables.alerts, tables.incidents
        later = table.alias()
        statement = (
            select(table)
            .join(cases, cases.c.id == table.c.incident_id)
            .where(
                cases.c.is_open.is_(True),
                ~select(later.c.number)
                .where(later.c.incident_id == table.c.incident_id, later.c.number > table.c.number)
                .exists(),
            )
            .order_by(table.c.sent_ns.desc(), table.c.incident_id)
            .limit(limit)
        )
        with self._database.read("reading alerts") as connection:
            return [_alert(row) for row in connection.execute(statement)]


def _issued(connection: Connection, incident_id: str) -> list[IssuedAlert]:
    table = tables.alerts
    statement = select(table).where(table.c.incident_id == incident_id).order_by(table.c.number)
    return [_alert(row) for row in connection.execute(statement)]


def _alert(row: Row[Any]) -> IssuedAlert:
    return IssuedAlert(
        number=row.number,
        sequence=row.sequence,
        kind=AlertKind(row.kind),
        phase=Phase(row.phase),
        sent_ns=row.sent_ns,
        incident=_INCIDENT.decode(row.record),
    )
