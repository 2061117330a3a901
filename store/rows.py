"""What the store hands to its readers."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import msgspec

from core.events import Place
from core.exclusions import Exclusion
from core.incidents import Incident, Status
from scenarios.quality import JudgedRaise
from scenarios.verdicts import Verdict

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


class Excluding(NamedTuple):
    """An exclusion as it is now: its newest version, and how many raises it left out."""

    record: Exclusion
    revision: int
    excluded_count: int


class ExclusionDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One exclusion, its versions in order, and JSON of events it left out, the newest first."""

    now: Excluding
    versions: list[Exclusion]
    left_out: list[bytes]


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


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What a person found a case to be.

    ``place`` is where it really is, ``duplicate_of`` the incident that it is one with.
    """

    verdict: Verdict
    actor: str
    role: str
    at_ns: int
    note: str = ""
    place: Place | None = None
    duplicate_of: str | None = None


class _Word(msgspec.Struct):
    rule: str
    source: str
    thing_id: str
    because: dict[str, str | float] = {}


_WORD = msgspec.json.Decoder(_Word)


def judged_raise(
    evidence: bytes, incident_id: str, status: str, verdict: str | None
) -> JudgedRaise:
    """A row of evidence with the case it belongs to."""
    word = _WORD.decode(evidence)
    value = word.because.get("value")
    return JudgedRaise(
        incident_id=incident_id,
        rule=word.rule,
        source=word.source,
        thing_id=word.thing_id,
        value=float(value) if isinstance(value, (int, float)) else None,
        status=Status(status),
        verdict=None if verdict is None else Verdict(verdict),
    )
