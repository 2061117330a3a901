"""Plain JSON: our own format for sensors, detections, reports and remote identification.

``{"thing": "water-0001", "kind": "water_level", "time": "2026-01-01T00:00:00.123Z",
"seq": 12, "lon": 120.38, "lat": 36.06, "error_m": 3.0, "measures": {"water_level_m": 0.31},
"labels": {}, "snapshots": []}``. Everything but the measures may be missing; unknown keys are
ignored. ``time`` is RFC 3339 text or Unix milliseconds.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from core.errors import DecodeError, InputError
from core.exclusions import EXCLUSION_KIND, decode_exclusion
from core.observations import Observation
from core.ports import RawMessage
from ingest.decoders.common import (
    checked,
    decode_json,
    instant_ns,
    kind_from_measures,
    last_level,
    position,
)

SOURCE = "plain"

Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Ellipse(msgspec.Struct):
    major_m: float
    minor_m: float
    azimuth_deg: float = 0.0


class Reading(msgspec.Struct):
    """The JSON object, as sent."""

    thing: str = ""
    kind: str = ""
    time: int | str | None = None
    seq: Sequence | None = None
    lon: float | None = None
    lat: float | None = None
    error_m: float | None = None
    error: _Ellipse | None = None
    measures: dict[str, float] = {}
    labels: dict[str, str] = {}
    snapshots: tuple[str, ...] = ()


_DECODER = msgspec.json.Decoder(Reading)


def read(message: RawMessage) -> Reading:
    """Read the JSON object of a message.

    Raises:
        DecodeError: As :func:`ingest.decoders.common.decode_json`.
    """
    return decode_json(message, _DECODER)


def observe(
    message: RawMessage, reading: Reading, *, source: str, thing_id: str, kind: str
) -> Observation:
    """Turn a reading into a checked observation.

    Raises:
        DecodeError: ``bad_time``, ``bad_position`` and those of
            :func:`ingest.decoders.common.checked`.
    """
    observed_ns = instant_ns(reading.time, f"time on {message.topic}")
    lon_deg, lat_deg = position(reading.lon, reading.lat, message.topic)
    major_m = minor_m = reading.error_m
    azimuth_deg = None if reading.error_m is None else 0.0
    if reading.error is not None:
        major_m, minor_m = reading.error.major_m, reading.error.minor_m
        azimuth_deg = reading.error.azimuth_deg
    return checked(
        Observation(
            source=source,
            thing_id=thing_id,
            kind=kind,
            observed_ns=message.received_ns if observed_ns is None else observed_ns,
            received_ns=message.received_ns,
            has_device_time=observed_ns is not None,
            device_sequence=reading.seq,
            repeated=message.duplicate,
            lon_deg=lon_deg,
            lat_deg=lat_deg,
            error_major_m=major_m,
            error_minor_m=minor_m,
            error_azimuth_deg=azimuth_deg,
            measures=reading.measures,
            labels=reading.labels,
            snapshots=reading.snapshots,
            topic=message.topic,
        )
    )


def decode(message: RawMessage) -> list[Observation]:
    """Read a sensor's reading or a camera's detection.

    Raises:
        DecodeError: ``missing_kind`` where neither the message nor a measure tells the kind,
            and as :func:`read` and :func:`observe`.

    Example:
        >>> reading = b'{"measures": {"water_level_m": 0.31}}'
        >>> [one] = decode(RawMessage(topic="qn/c/sensor/w-1", payload=reading, received_ns=5))
        >>> one.thing_id, one.kind, one.has_device_time
        ('w-1', 'water_level', False)
    """
    reading = read(message)
    kind = reading.kind or kind_from_measures(reading.measures)
    if kind is None:
        raise DecodeError(
            "missing_kind",
            f'"kind" was wanted; none of the measures {sorted(reading.measures)[:8]} tells it, '
            f"on {message.topic}",
        )
    thing_id = reading.thing or last_level(message.topic)
    return [observe(message, reading, source=SOURCE, thing_id=thing_id, kind=kind)]


def decode_report(message: RawMessage) -> list[Observation]:
    """Read a citizen's report; its thing is ``report/{id}``.

    Raises:
        DecodeError: ``missing_scenario`` where label ``scenario`` is not there, and as
            :func:`read` and :func:`observe`.
    """
    reading = read(message)
    if not reading.labels.get("scenario"):
        raise DecodeError(
            "missing_scenario",
            f'labels.scenario was wanted, e.g. "road-flooding", on {message.topic}',
        )
    thing_id = reading.thing or last_level(message.topic)
    if not thing_id.startswith("report/"):
        thing_id = f"report/{thing_id}"
    return [
        observe(message, reading, source=SOURCE, thing_id=thing_id, kind=reading.kind or "report")
    ]


def decode_exclusion_record(message: RawMessage) -> list[Observation]:
    """Read a permit, planned works, a maintenance window or a silence.

    Raises:
        DecodeError: ``bad_exclusion``, which says for which field; and those of
            :func:`ingest.decoders.common.checked`.
    """
    try:
        one = decode_exclusion(message.payload)
    except InputError as exc:
        raise DecodeError("bad_exclusion", f"{exc}, on {message.topic}") from exc
    if one.id != last_level(message.topic):
        raise DecodeError("bad_exclusion", f"id {one.id[:80]!r} was sent on {message.topic}")
    return [
        checked(
            Observation(
                source=SOURCE,
                thing_id=f"{EXCLUSION_KIND}/{one.id}",
                kind=EXCLUSION_KIND,
                observed_ns=one.at_ns,
                received_ns=message.received_ns,
                repeated=message.duplicate,
                labels={"record": message.payload.decode()},
                topic=message.topic,
            )
        )
    ]
