"""The feed: what changed, numbered in the order of commits, as others are told of it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec
from sqlalchemy.engine import Connection

from core.events import Event
from core.incidents import Evidence, Incident
from store import tables
from store.case import Case
from store.database import insert_rows, next_numbers
from store.documents import change_body, evidence_body, evidence_of, incident_body


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


class _Line(NamedTuple):
    """A line for the feed that has no number yet."""

    kind: ChangeKind
    incident: Incident
    event: Event | None
    payload: bytes


class NewLines:
    """Lines that a transaction adds to the feed; numbered only when they are written."""

    def __init__(self) -> None:
        self._lines: list[_Line] = []

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

    def write(self, connection: Connection, now_ns: int) -> list[Change]:
        """Number the lines and write them, dated with the city time of the commit."""
        if not self._lines:
            return []
        last = next_numbers(connection, "feed", len(self._lines))
        numbered = list(enumerate(self._lines, last - len(self._lines) + 1))
        insert_rows(
            connection,
            tables.feed,
            [
                {
                    "sequence": sequence,
                    "change": line.kind.value,
                    "incident_id": line.incident.id,
                    "at_ns": now_ns,
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
