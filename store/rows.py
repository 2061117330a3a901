"""What the store hands to its readers."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import msgspec

from core.incidents import Incident

Row = TypeVar("Row")


class Page(msgspec.Struct, Generic[Row], frozen=True, kw_only=True):
    """A page of a list, the newest first, and where the next begins; None at the end."""

    rows: list[Row]
    next: str | None


class IncidentRow(NamedTuple):
    """An incident in a list: its JSON, encoded when it was written, and its position."""

    body: bytes
    lon_deg: float | None
    lat_deg: float | None


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one incident, of one state of the database; JSON as in lists."""

    incident: Incident
    body: bytes
    evidence: list[bytes]
    history: list[bytes]


class FeedLine(NamedTuple):
    """One line of the outbox: its number and its JSON."""

    sequence: int
    payload: bytes


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A citizen's report as it was accepted; ``error_m`` is what the phone said, one sigma."""

    id: str
    scenario: str
    lon_deg: float
    lat_deg: float
    words: str
    at_ns: int
    error_m: float | None = None
    incident_id: str | None = None
