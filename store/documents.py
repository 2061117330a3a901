"""The JSON that readers are given, encoded once when a row is written. Pure.

Fields are those of the core structs, all of them also where they are empty. An instant
``x_ns`` becomes ``x_at`` as RFC 3339 text in UTC; evidence keeps ``at_ns`` beside ``at``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from core.events import Event, Place
from core.incidents import Evidence, Incident, Text
from core.topics import AREA_DIGITS
from core.units import ns_to_rfc3339
from store.things import Thing

_ENCODER = msgspec.json.Encoder()


def fields(struct: msgspec.Struct) -> dict[str, Any]:
    """The fields of a struct with instants as texts.

    Example:
        >>> from core.incidents import HistoryEntry
        >>> fields(HistoryEntry(at_ns=0, actor="system", action="file"))["at"]
        '1970-01-01T00:00:00.000Z'
    """
    document: dict[str, Any] = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if name.endswith("_ns"):
            at = "at" if name == "at_ns" else f"{name[:-3]}_at"
            document[at] = None if value is None else ns_to_rfc3339(value)
        elif isinstance(value, Place):
            document[name] = {part: getattr(value, part) for part in Place.__struct_fields__}
        else:
            document[name] = value
    return document


def incident_body(incident: Incident) -> bytes:
    """An incident as JSON."""
    return _ENCODER.encode(fields(incident))


def incident_feature(body: bytes, lon_deg: float | None, lat_deg: float | None) -> bytes:
    """An incident's JSON as a GeoJSON feature (RFC 7946); no position gives a null geometry.

    Example:
        >>> incident_feature(b'{"id":"a"}', 120.38, 36.06)  # doctest: +ELLIPSIS
        b'{"type":"Feature","geometry":{"type":"Point","coordinates":[120.38,36.06]},"properties":...
    """
    if lon_deg is None or lat_deg is None:
        geometry = b"null"
    else:
        geometry = b'{"type":"Point","coordinates":[%r,%r]}' % (lon_deg, lat_deg)
    return b'{"type":"Feature","geometry":%b,"properties":%b}' % (geometry, body)


def evidence_of(event: Event) -> Evidence:
    """An event as a source's word on an incident."""
    return Evidence(
        event_id=event.id,
        source=event.source,
        thing_id=event.thing_id,
        kind=event.kind,
        rule=event.rule,
        edge=event.edge.value,
        at_ns=event.at_ns,
        lon_deg=event.place.lon_deg,
        lat_deg=event.place.lat_deg,
        because=event.because,
        observation_ids=event.observation_ids,
        snapshots=event.snapshots,
    )


def evidence_body(
    event: Event,
    incident_id: str | None,
    *,
    why_not: Text | None = None,
    exclusion_id: str | None = None,
) -> bytes:
    """An event as JSON: its evidence, the scenario and incident it belongs to, or why to none."""
    word = evidence_of(event)
    document = fields(word)
    document["at_ns"] = word.at_ns
    document["scenario"] = event.scenario
    document["began_at"] = ns_to_rfc3339(event.began_ns)
    document["confidence_ratio"] = event.confidence_ratio
    document["incident_id"] = incident_id
    document["exclusion_id"] = exclusion_id
    document["why_not"] = why_not
    return _ENCODER.encode(document)


def change_body(change: str, at_ns: int, incident: bytes, evidence: bytes | None) -> bytes:
    """A line of the feed: what changed, when, and the incident as it then was."""
    return _ENCODER.encode(
        {
            "change": change,
            "at": ns_to_rfc3339(at_ns),
            "incident": msgspec.Raw(incident),
            "evidence": None if evidence is None else msgspec.Raw(evidence),
        }
    )


def thing_body(thing: Thing, state: str | None) -> bytes:
    """The last state of a thing as JSON; ``state`` is live, late, stale or unknown (None)."""
    document = fields(thing)
    document["state"] = state
    return _ENCODER.encode(document)


def join_array(bodies: Iterable[bytes]) -> bytes:
    """Encoded values as one JSON array.

    Example:
        >>> join_array([b"1", b"2"]), join_array([])
        (b'[1,2]', b'[]')
    """
    return b"[%b]" % b",".join(bodies)


def area_code_of(place: Place) -> str:
    """The longest code known of a place, so that every shorter one is a prefix of it.

    Example:
        >>> area_code_of(Place(district_code="370202", community_code="370202001002"))
        '370202001002'
        >>> area_code_of(Place())
        ''
    """
    code = ""
    for level in (place.district_code, place.street_code, place.community_code, place.grid_code):
        if level is not None and level.startswith(code):
            code = level
    return code


#: Digits of the levels that incidents are listed by.
LEVELS = dict(zip(("district_code", "street_code", "community_code"), AREA_DIGITS, strict=False))


def levels_of(area_code: str) -> dict[str, str]:
    """The beginnings of an area code, empty where it is shorter.

    Example:
        >>> levels_of("370202001")
        {'district_code': '370202', 'street_code': '370202001', 'community_code': ''}
    """
    return {
        level: area_code[:digits] if len(area_code) >= digits else ""
        for level, digits in LEVELS.items()
    }
