"""OwnTracks: where a field worker's phone is (topics ``owntracks/{user}/{device}…``, JSON).

A ``location`` is a ``worker_position`` under ``owntracks/{user}/{device}``. ``transition`` is
``worker_transition``, ``waypoint`` and ``waypoints`` ``worker_waypoint``, ``lwt``, ``status``
and ``steps`` say how the phone is (``device_state``). Commands, cards (a person's name and
picture), configurations and encrypted messages are refused.

Positions of persons are of grade SENSITIVE for exports: the kinds ``worker_…`` are. The names
of the phone's wireless networks are not taken over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from core.errors import DecodeError
from core.observations import Observation
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.decoders.common import (
    MAX_INSTANT_NS,
    MAX_LABEL_CHARS,
    checked,
    decode_json,
    is_past,
    position,
    position_or_none,
)

SOURCE = "owntracks"

#: Phones give the radius that holds 68 % of positions; a circle of this many sigmas does.
SIGMAS_OF_68_PERCENT = math.sqrt(-2 * math.log(0.32))

#: A waypoint list is one message; a worker has a few.
MAX_WAYPOINTS = 128

Number = int | float

_TRIGGERS = {
    "p": "ping", "c": "region", "C": "followed_region", "b": "beacon", "r": "requested",
    "u": "manual", "t": "timer", "v": "frequent",
}  # fmt: skip
_CONNECTIONS = {"w": "wifi", "o": "offline", "m": "mobile"}
_BATTERY_STATES = {0: "unknown", 1: "unplugged", 2: "charging", 3: "full"}
_REFUSED = {
    "cmd": "a command to the phone",
    "card": "a person's name and picture",
    "configuration": "the phone's settings",
    "encrypted": "an encrypted message; ingest has no key",
    "dump": "the phone's settings",
    "request": "a request to the server",
}


class _Message(msgspec.Struct):
    """The fields of all types that we read."""

    type: str = msgspec.field(name="_type", default="")
    lat: Number | None = None
    lon: Number | None = None
    tst: Number | str | None = None
    acc: Number | None = None
    alt: Number | None = None
    vac: Number | None = None
    batt: Number | None = None
    bs: Number | None = None
    cog: Number | None = None
    vel: Number | None = None
    p: Number | None = None
    t: str | None = None
    m: Number | None = None
    tid: str | None = None
    conn: str | None = None
    inregions: list[str] | None = None
    tag: str | None = None
    poi: str | None = None
    created_at: Number | None = None
    motionactivities: list[str] | None = None
    event: str | None = None
    desc: str | None = None
    rad: Number | None = None
    rid: str | None = None
    wtst: Number | None = None
    steps: Number | None = None
    waypoints: list[Any] | None = None


_DECODER = msgspec.json.Decoder(_Message)


def _time_ns(tst: Number | str | None, topic: str) -> int | None:
    """Unix seconds, which some senders write as text."""
    if tst is None:
        return None
    try:
        instant = round(float(tst) * 1e6) * 1000
    except (ValueError, OverflowError) as exc:
        raise DecodeError(
            "bad_time", f"tst in Unix seconds wanted, got {tst!r} on {topic}"
        ) from exc
    if not 0 < instant < MAX_INSTANT_NS:
        raise DecodeError("bad_time", f"tst in Unix seconds wanted, got {tst!r} on {topic}")
    return instant


def _above(value: Number | None, least: float, most: float = math.inf) -> float | None:
    """A number within bounds; the phones write -1 where they have none."""
    return float(value) if value is not None and least <= value <= most else None


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else float(f"{value * factor:.12g}")


class _Phone:
    """A message with whom it is from."""

    def __init__(self, message: RawMessage) -> None:
        self.message = message
        self.body = decode_json(message, _DECODER)
        levels = message.topic.split("/")
        self.thing_id = "/".join(levels[:3])
        self.user, self.device = levels[1], levels[2]

    def observe(
        self,
        kind: str,
        *,
        measures: Mapping[str, float | None],
        labels: Mapping[str, str | None],
        body: _Message | None = None,
        with_place: bool = True,
        sigma_m: float | None = None,
    ) -> Observation:
        body = self.body if body is None else body
        at_ns = _time_ns(body.tst, self.message.topic)
        received_ns = self.message.received_ns
        kept = {k: v for k, v in measures.items() if v is not None}
        if at_ns is not None and is_past(at_ns, received_ns):
            # Phones keep positions while they have no network; these are not of now.
            kind, kept["measured_unix_s"] = f"{kind}.history", at_ns / NS_PER_S
        place: tuple[float | None, float | None] = (None, None)
        if with_place:
            place = position(
                None if body.lon is None else float(body.lon),
                None if body.lat is None else float(body.lat),
                self.message.topic,
            )
        if place[0] is None:
            sigma_m = None
        words = {"user": self.user, "device": self.device, **labels}
        return checked(
            Observation(
                source=SOURCE,
                thing_id=self.thing_id,
                kind=kind,
                observed_ns=received_ns if at_ns is None else at_ns,
                received_ns=received_ns,
                has_device_time=at_ns is not None,
                repeated=self.message.duplicate,
                lon_deg=place[0],
                lat_deg=place[1],
                error_major_m=sigma_m,
                error_minor_m=sigma_m,
                error_azimuth_deg=None if sigma_m is None else 0.0,
                measures=kept,
                labels={k: v.replace("\x00", "")[:MAX_LABEL_CHARS] for k, v in words.items() if v},
                topic=self.message.topic,
            )
        )


def _decode_location(phone: _Phone) -> list[Observation]:
    body = phone.body
    if body.lat is None or body.lon is None:
        raise DecodeError(
            "bad_position",
            f"lat and lon wanted, got {body.lat} {body.lon} on {phone.message.topic}",
        )
    accuracy_m = _above(body.acc, 0.0)
    # A negative accuracy is how a phone says that the position is invalid.
    valid = body.acc is None or body.acc >= 0
    bs = _BATTERY_STATES.get(int(body.bs)) if body.bs is not None else None
    return [
        phone.observe(
            "worker_position",
            with_place=valid,
            sigma_m=None if accuracy_m is None else accuracy_m / SIGMAS_OF_68_PERCENT,
            measures={
                "alt_msl_m": None if body.alt is None or not valid else float(body.alt),
                "alt_accuracy_m": _above(body.vac, 0.0),
                "speed_mps": _times(_above(body.vel, 0.0), 1 / 3.6),
                "heading_deg": None
                if (heading := _above(body.cog, 0.0, 360.0)) is None
                else heading % 360.0,
                "battery_ratio": _times(_above(body.batt, 0.0, 100.0), 0.01),
                "pressure_pa": _times(_above(body.p, 1.0), 1000.0),
            },
            labels={
                "tracker_id": body.tid,
                "trigger": _TRIGGERS.get(body.t or ""),
                "connection": _CONNECTIONS.get(body.conn or ""),
                "battery_state": bs,
                "regions": ",".join(body.inregions or []),
                "activities": ",".join(body.motionactivities or []),
                "tag": body.tag,
                "poi": body.poi,
            },
        )
    ]


def _decode_transition(phone: _Phone) -> list[Observation]:
    body = phone.body
    accuracy_m = _above(body.acc, 0.0)
    return [
        phone.observe(
            "worker_transition",
            with_place=body.acc is None or body.acc >= 0,
            sigma_m=None if accuracy_m is None else accuracy_m / SIGMAS_OF_68_PERCENT,
            measures={},
            labels={
                "event": body.event,
                "region": body.desc,
                "region_id": body.rid,
                "trigger": _TRIGGERS.get(body.t or "", body.t),
                "tracker_id": body.tid,
            },
        )
    ]


def _waypoint(phone: _Phone, body: _Message) -> Observation:
    # The time of a waypoint is its name, not when somebody was there.
    timeless = msgspec.structs.replace(body, tst=None)
    if position_or_none(body.lon, body.lat) == (None, None):
        timeless.lon = timeless.lat = None
    return phone.observe(
        "worker_waypoint",
        body=timeless,
        measures={"radius_m": _above(body.rad, 0.0)},
        labels={"region": body.desc, "region_id": body.rid},
    )


def _decode_waypoints(phone: _Phone) -> list[Observation]:
    items = phone.body.waypoints or []
    if not items or len(items) > MAX_WAYPOINTS:
        raise DecodeError(
            "too_large" if items else "empty",
            f"1 to {MAX_WAYPOINTS} waypoints wanted, got {len(items)} on {phone.message.topic}",
        )
    try:
        return [_waypoint(phone, msgspec.convert(one, _Message)) for one in items]
    except msgspec.ValidationError as exc:
        raise DecodeError("wrong_type", f"waypoints: {exc} on {phone.message.topic}") from exc


def _decode_state(phone: _Phone) -> list[Observation]:
    body = phone.body
    gone = body.type == "lwt"
    return [
        phone.observe(
            "device_state",
            # The time of a last will is when the phone connected.
            body=msgspec.structs.replace(body, tst=None) if gone else None,
            with_place=False,
            measures={
                "online": 0.0 if gone else None,
                "step_count": _above(body.steps, 0.0),
            },
            labels={"event": body.type},
        )
    ]


def decode(message: RawMessage) -> list[Observation]:
    """Read a message of a phone by its ``_type``.

    Raises:
        DecodeError: ``unsupported_type`` (what is not an observation), ``bad_position``,
            ``bad_time``, ``empty``, and those of :func:`ingest.decoders.common.decode_json` and
            :func:`ingest.decoders.common.checked`.

    Example:
        >>> body = b'{"_type": "location", "lat": 36.06, "lon": 120.38, "tst": 7, "vel": 36}'
        >>> [one] = decode(RawMessage(topic="owntracks/li/phone", payload=body,
        ...                           received_ns=8 * 10**9))
        >>> one.thing_id, one.kind, one.lon_deg, one.measures
        ('owntracks/li/phone', 'worker_position', 120.38, {'speed_mps': 10.0})
    """
    phone = _Phone(message)
    match phone.body.type:
        case "location":
            return _decode_location(phone)
        case "transition":
            return _decode_transition(phone)
        case "waypoint":
            return [_waypoint(phone, phone.body)]
        case "waypoints":
            return _decode_waypoints(phone)
        case "lwt" | "status" | "steps":
            return _decode_state(phone)
    kind = phone.body.type
    raise DecodeError(
        "unsupported_type",
        f"_type {kind[:64]!r} is {_REFUSED.get(kind, 'not known')} on {message.topic}",
    )
