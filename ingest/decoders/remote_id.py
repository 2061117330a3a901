"""Remote identification of aircraft: plain JSON of ground receivers, and Dronetag's JSON.

Values that mean "unknown" in ASTM F3411 (position 0/0, altitude -1000 m, track 361,
speed 255, vertical speed 63) are left out: unknown never becomes a number or a place.
"""

from __future__ import annotations

import math

import msgspec

from core.errors import DecodeError
from core.observations import Observation
from core.ports import RawMessage
from ingest.decoders import plain
from ingest.decoders.common import (
    checked,
    decode_json,
    instant_ns,
    last_level,
    position_or_none,
)

SOURCE = "remote_id"

#: ASTM F3411-22a: values that stand for "unknown".
UNKNOWN_ALTITUDE_M = -1000.0
UNKNOWN_HEADING_DEG = 361.0
UNKNOWN_SPEED_MPS = 255.0
UNKNOWN_VERTICAL_SPEED_MPS = 63.0

#: An accuracy in F3411 holds 95 % of positions; a circle of this many sigmas does.
SIGMAS_OF_95_PERCENT = math.sqrt(-2 * math.log(0.05))

#: Dronetag's altitude types, and the measure whose name says the same datum.
_ALTITUDES = {
    "HAE-WGS84": "alt_wgs84_m",
    "MSL": "alt_msl_m",
    "ATO": "alt_takeoff_m",
    "AGL": "alt_agl_m",
    "PA-QNE": "alt_pressure_m",
}


def _is_unknown(name: str, value: float) -> bool:
    if name.startswith("alt_"):
        return value <= UNKNOWN_ALTITUDE_M
    if name == "heading_deg":
        return value >= UNKNOWN_HEADING_DEG
    if name == "speed_mps":
        return value >= UNKNOWN_SPEED_MPS
    return name == "vertical_speed_mps" and value >= UNKNOWN_VERTICAL_SPEED_MPS


def _known(measures: dict[str, float]) -> dict[str, float]:
    known = {name: value for name, value in measures.items() if not _is_unknown(name, value)}
    if "heading_deg" in known:
        known["heading_deg"] %= 360.0
    return known


def decode(message: RawMessage) -> list[Observation]:
    """Read what a ground receiver heard, as plain JSON; ``thing`` is the aircraft's number.

    Raises:
        DecodeError: ``missing_thing``: the topic names the receiver, so the payload must name
            the aircraft. And as :func:`ingest.decoders.plain.decode`.

    Example:
        >>> heard = b'{"thing": "1581F5", "measures": {"alt_takeoff_m": 80, "heading_deg": 361}}'
        >>> [one] = decode(RawMessage(topic="qn/c/remote-id/r-1", payload=heard, received_ns=5))
        >>> one.kind, one.thing_id, one.measures, one.labels
        ('aircraft', '1581F5', {'alt_takeoff_m': 80.0}, {'receiver_id': 'r-1'})
    """
    reading = plain.read(message)
    if not reading.thing:
        raise DecodeError(
            "missing_thing", f'"thing", the aircraft\'s number, was wanted on {message.topic}'
        )
    reading.measures = _known(reading.measures)
    reading.labels = {"receiver_id": last_level(message.topic), **reading.labels}
    kind = reading.kind or "aircraft"
    return [plain.observe(message, reading, source=SOURCE, thing_id=reading.thing, kind=kind)]


class _Location(msgspec.Struct):
    latitude: float | None = None
    longitude: float | None = None
    accuracy: float | None = None


class _Altitude(msgspec.Struct):
    type: str
    value: float | None = None


class _Velocity(msgspec.Struct):
    heading: float | None = None
    horizontal_speed: float | None = None
    vertical_speed: float | None = None


class _Identifier(msgspec.Struct):
    type: str = ""
    value: str = ""


class _Dronetag(msgspec.Struct):
    timestamp: str
    sensor_id: str
    operation_id: str | None = None
    id: str | None = None
    operational_state: str | None = None
    source_type: str | None = None
    status: str | None = None
    location: _Location | None = None
    altitudes: list[_Altitude] = []
    altitude: _Altitude | None = None
    velocity: _Velocity | None = None
    uas_operator_id: str | None = None
    ua_identifiers: list[_Identifier] = []


_DRONETAG = msgspec.json.Decoder(_Dronetag)


def decode_dronetag(message: RawMessage) -> list[Observation]:
    """Read Dronetag's JSON (topic ``dronetag``).

    Telemetry (``operational_state``) is an ``aircraft``. A place with a ``source_type`` is the
    operator's or the take-off's, not the aircraft's: kind ``remote_id_operator``. A flight's
    status (``current``, ``past``) has no place: kind ``remote_id_flight``.

    Raises:
        DecodeError: ``unknown_properties`` and those of
            :func:`ingest.decoders.common.decode_json` and
            :func:`ingest.decoders.common.checked`.
    """
    heard = decode_json(message, _DRONETAG)
    if heard.operational_state is not None:
        kind = "aircraft"
    elif heard.source_type is not None:
        kind = "remote_id_operator"
    elif heard.status is not None:
        kind = "remote_id_flight"
    else:
        raise DecodeError(
            "unknown_properties",
            f"operational_state, source_type or status was wanted on {message.topic}",
        )
    place = heard.location or _Location()
    lon_deg, lat_deg = position_or_none(place.longitude, place.latitude)
    sigma_m = None
    if lon_deg is not None and place.accuracy is not None and place.accuracy >= 0:
        sigma_m = place.accuracy / SIGMAS_OF_95_PERCENT
    observed_ns = instant_ns(heard.timestamp, f"timestamp on {message.topic}")
    return [
        checked(
            Observation(
                source=SOURCE,
                thing_id=heard.sensor_id,
                kind=kind,
                observed_ns=message.received_ns if observed_ns is None else observed_ns,
                received_ns=message.received_ns,
                repeated=message.duplicate,
                lon_deg=lon_deg,
                lat_deg=lat_deg,
                error_major_m=sigma_m,
                error_minor_m=sigma_m,
                error_azimuth_deg=None if sigma_m is None else 0.0,
                measures=_dronetag_measures(heard),
                labels=_dronetag_labels(heard),
                topic=message.topic,
            )
        )
    ]


def _dronetag_measures(heard: _Dronetag) -> dict[str, float]:
    altitudes = [*heard.altitudes, *([heard.altitude] if heard.altitude else [])]
    measures = {
        _ALTITUDES[one.type]: one.value
        for one in altitudes
        if one.type in _ALTITUDES and one.value is not None
    }
    velocity = heard.velocity or _Velocity()
    motion = {
        "heading_deg": velocity.heading,
        "speed_mps": velocity.horizontal_speed,
        "vertical_speed_mps": velocity.vertical_speed,
    }
    measures |= {name: value for name, value in motion.items() if value is not None}
    return _known(measures)


def _dronetag_labels(heard: _Dronetag) -> dict[str, str]:
    labels = {
        "operation_id": heard.operation_id or heard.id,
        "operational_state": heard.operational_state,
        "place_of": heard.source_type,
        "flight_status": heard.status,
        "operator_id": heard.uas_operator_id,
    }
    for one in heard.ua_identifiers[:4]:
        if one.type.isidentifier() and one.type.isascii():
            labels[one.type] = one.value
    return {name: text for name, text in labels.items() if text}
