"""Lines of the outbox as what others are told: CloudEvents, cut to what they may see. Pure.

The same event has the same id however often and over whichever channel it is told, so a
receiver drops what it has seen. Its ``sequence`` is the line's number: events of one incident
are told in the order of it.

Source:
    CloudEvents 1.0.2 (CNCF), JSON event format and its sequence extension.
"""

from __future__ import annotations

from typing import Any

import msgspec

from core.errors import ServiceError
from core.events import Place
from core.grades import Grade, grade_of_fields
from core.incidents import OPEN_STATUSES, Evidence, Incident
from core.topics import area_levels
from store.documents import area_code_of
from store.rows import FeedLine

MEDIA_TYPE = "application/cloudevents+json; charset=utf-8"

#: What a feed says of an incident whose last change it has not: how it stands now.
STATE = "state"

_OPEN = frozenset(status.value for status in OPEN_STATUSES)
_ENCODER = msgspec.json.Encoder()


class _Case(msgspec.Struct):
    """What is read of an incident's JSON to know whom it concerns."""

    id: str
    version: int
    scenario: str
    severity: str
    status: str
    department: dict[str, str]
    place: Place


class _Line(msgspec.Struct):
    change: str
    at: str
    incident: _Case


_LINE = msgspec.json.Decoder(_Line)


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the outbox, read as far as telling others asks for it."""

    sequence: int
    change: str
    at: str
    incident_id: str
    version: int
    scenario: str
    severity: str
    departments: tuple[str, ...]
    area_code: str
    is_open: bool
    payload: bytes

    @property
    def event_id(self) -> str:
        """The event's id: the same at every repeat, unlike that of any other.

        It holds no full stop, as Standard Webhooks asks of ids.
        """
        return f"{self.incident_id}-{self.sequence}"


def read_line(line: FeedLine) -> Notice:
    """Read a line of the outbox.

    Raises:
        ServiceError: The line is not what the store writes.
    """
    try:
        read = _LINE.decode(line.payload)
    except msgspec.MsgspecError as exc:
        raise ServiceError(f"outbox line {line.sequence}: {exc}") from exc
    case = read.incident
    return Notice(
        sequence=line.sequence,
        change=read.change,
        at=read.at,
        incident_id=case.id,
        version=case.version,
        scenario=case.scenario,
        severity=case.severity,
        departments=tuple(case.department.values()),
        area_code=area_code_of(case.place),
        is_open=case.status in _OPEN,
        payload=line.payload,
    )


def attributes_of(notice: Notice, city: str) -> dict[str, str]:
    """The context attributes of an event, without those that say how its data is written."""
    return {
        "specversion": "1.0",
        "id": notice.event_id,
        "source": source_of(city),
        "type": f"qingniao.incident.{notice.change}",
        "subject": notice.incident_id,
        "time": notice.at,
        "sequence": f"{notice.sequence:020d}",
        "severity": notice.severity,
        **_area_attribute(notice.area_code),
    }


def source_of(city: str) -> str:
    """The ``source`` of every event of a city, a URI reference."""
    return f"/qingniao/{city}"


def data_of(notice: Notice, grade: Grade) -> dict[str, Any]:
    """What the event says: the change, the incident after it, and the evidence it came of."""
    return _cut(msgspec.json.decode(notice.payload), grade)


def encode_event(notice: Notice, city: str, grade: Grade) -> bytes:
    """A line as a CloudEvent in JSON (structured mode).

    Args:
        notice: The line.
        city: Name of the city.
        grade: The highest grade of data that the receiver may see.
    """
    return _ENCODER.encode(
        attributes_of(notice, city)
        | {"datacontenttype": "application/json", "data": data_of(notice, grade)}
    )


def encode_state(body: bytes, city: str, at: str, grade: Grade) -> bytes:
    """How an incident stands now as a CloudEvent, where its last change is told no more.

    Its id is made of the incident's version: telling it twice is a repeat.

    Args:
        body: JSON of the incident as the store keeps it.
        city: Name of the city.
        at: When it was read, RFC 3339.
        grade: The highest grade of data that the receiver may see.
    """
    case = msgspec.json.decode(body, type=_Case)
    document = {
        "specversion": "1.0",
        "id": f"{case.id}-v{case.version}",
        "source": source_of(city),
        "type": f"qingniao.incident.{STATE}",
        "subject": case.id,
        "time": at,
        "severity": case.severity,
        **_area_attribute(area_code_of(case.place)),
        "datacontenttype": "application/json",
        "data": _cut(
            {"change": STATE, "at": at, "incident": msgspec.json.decode(body), "evidence": None},
            grade,
        ),
    }
    return _ENCODER.encode(document)


class _Retained(msgspec.Struct):
    class _Data(msgspec.Struct):
        class _Version(msgspec.Struct):
            version: int

        incident: _Version

    source: str
    subject: str
    data: _Data


_RETAINED = msgspec.json.Decoder(_Retained)


def read_retained(payload: bytes, city: str) -> tuple[str, int] | None:
    """Incident and version of a message as we publish it; None for what is none of ours.

    Example:
        >>> read_retained(b'{"source": "/somebody"}', "qingdao") is None
        True
    """
    try:
        read = _RETAINED.decode(payload)
    except msgspec.MsgspecError:
        return None
    if read.source != source_of(city):
        return None
    return read.subject, read.data.incident.version


def _area_attribute(area_code: str) -> dict[str, str]:
    levels = area_levels(area_code)
    return {"areacode": levels[-1]} if levels else {}


def _hidden(struct: type[msgspec.Struct], grade: Grade) -> frozenset[str]:
    """Names in the JSON of the fields that a grade may not see; ungraded ones may be seen."""
    found = set()
    for name, of in grade_of_fields(struct).items():
        if of is not None and of > grade:
            found |= {name, f"{name[:-3]}_at" if name.endswith("_ns") else name}
            if name == "at_ns":
                found.add("at")
    return frozenset(found)


_HIDDEN = {
    grade: (_hidden(Incident, grade), _hidden(Place, grade), _hidden(Evidence, grade))
    for grade in Grade
}


def _cut(document: dict[str, Any], grade: Grade) -> dict[str, Any]:
    """The document without what a grade may not see.

    A place is internal as a whole but its codes and names are public, so it is cut, not left out.
    """
    of_incident, of_place, of_evidence = _HIDDEN[grade]
    incident, evidence = document["incident"], document["evidence"]
    shown = {name: value for name, value in incident.items() if name not in of_incident}
    shown["place"] = {
        name: value for name, value in incident["place"].items() if name not in of_place
    }
    told = None
    if evidence is not None and grade >= Grade.INTERNAL:
        told = {name: value for name, value in evidence.items() if name not in of_evidence}
    return {**document, "incident": shown, "evidence": told}
