"""ChirpStack v4 (topics ``application/{id}/device/{dev_eui}/event/{event}``, JSON).

Events: ``up`` (a reading, by the codecs in :mod:`ingest.decoders.lorawan`), ``status``
(``device_health``), ``join``, ``ack``, ``txack`` (``device_state``), ``log``
(``device_notice``), ``location`` (``device_location``), ``integration`` (``device_state``).
The JSON is that of protocol buffers: what is 0, false or empty is left out.

The device's tags may say what the network server cannot know: ``thing`` (our id; the DevEUI
otherwise), ``kind``, ``model``, ``lon`` and ``lat`` (WGS 84), and ``mount_height_m``, with
which a distance sensor above water becomes a water level.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from core.errors import DecodeError
from core.observations import Observation
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.decoders import lorawan
from ingest.decoders.common import (
    MAX_INSTANT_NS,
    MAX_LABEL_CHARS,
    MAX_LABELS,
    checked,
    decode_json,
    instant_ns,
    is_past,
    position_or_none,
)
from ingest.decoders.lorawan.tlv import Decoded

SOURCE = "chirpstack"

#: A LoRaWAN payload has at most 242 bytes.
MAX_PAYLOAD_BYTES = 242

#: Words by which an occupancy sensor's names say that it watches a parking bay.
_PARKING = re.compile(r"parking|车位|泊位|停车|消防通道|fire.?lane", re.IGNORECASE)
_KIND = re.compile(r"[a-z][a-z0-9_.]{0,48}")

#: What a station's receiver reports about the link of an uplink.
Number = int | float


class _Device(msgspec.Struct, rename="camel"):
    tenant_name: str = ""
    application_name: str = ""
    device_profile_name: str = ""
    device_name: str = ""
    dev_eui: str = ""
    tags: dict[str, Any] | None = None


class _Reception(msgspec.Struct, rename="camel"):
    gateway_id: str = ""
    rssi: Number = 0
    snr: Number = 0


class _Place(msgspec.Struct):
    latitude: Number = 0
    longitude: Number = 0
    altitude: Number = 0
    accuracy: Number = 0


class _Event(msgspec.Struct, rename="camel"):
    """The fields of all events that we read."""

    time: str | None = None
    device_info: _Device | None = None
    f_cnt: int = 0
    f_port: int | None = None
    data: str | None = None
    object: dict[str, Any] | None = None
    rx_info: list[_Reception] | None = None
    margin: Number | None = None
    battery_level: Number | None = None
    battery_level_unavailable: bool = False
    external_power_source: bool = False
    level: str = ""
    code: str = ""
    description: str = ""
    acknowledged: bool = False
    location: _Place | None = None
    integration_name: str = ""
    event_type: str = ""


_DECODER = msgspec.json.Decoder(_Event)


class _Uplink:
    """A message with what all its observations share."""

    def __init__(self, message: RawMessage) -> None:
        self.message = message
        self.event = decode_json(message, _DECODER)
        self.device = self.event.device_info or _Device()
        self.tags = {k: str(v) for k, v in (self.device.tags or {}).items()}
        self.thing_id = self.tags.get("thing") or self.device.dev_eui or message.topic.split("/")[3]
        self.observed_ns = instant_ns(self.event.time, f"time on {message.topic}")

    def names(self) -> Iterator[str]:
        """Texts that may name the device's model, the surest first."""
        for tag in ("model", "device_model", "codec", "type"):
            if tag in self.tags:
                yield self.tags[tag]
        yield self.device.device_profile_name
        yield self.device.device_name
        yield self.device.application_name
        yield from self.tags.values()

    def tagged_place(self) -> tuple[float, float] | tuple[None, None]:
        """The place that the device's tags give."""
        lon = _decimal(self.tags.get("lon") or self.tags.get("longitude"))
        lat = _decimal(self.tags.get("lat") or self.tags.get("latitude"))
        return position_or_none(lon, lat)

    def observe(
        self,
        kind: str,
        *,
        measures: Mapping[str, float | None] | None = None,
        labels: Mapping[str, str] | None = None,
        place: tuple[float, float] | tuple[None, None] = (None, None),
        observed_ns: int | None = None,
        sequence: int | None = None,
        error_m: float | None = None,
    ) -> Observation:
        """An observation of the device; None and empty labels are left out."""
        when = self.observed_ns if observed_ns is None else observed_ns
        if place == (None, None):
            place = self.tagged_place()
        kept = {
            "device_name": self.device.device_name,
            "device_profile": self.device.device_profile_name,
        } | dict(labels or {})
        kept = {k[:64]: v.replace("\x00", "")[:MAX_LABEL_CHARS] for k, v in kept.items() if v}
        return checked(
            Observation(
                source=SOURCE,
                thing_id=self.thing_id,
                kind=kind,
                observed_ns=self.message.received_ns if when is None else when,
                received_ns=self.message.received_ns,
                has_device_time=when is not None,
                device_sequence=sequence,
                repeated=self.message.duplicate,
                lon_deg=place[0],
                lat_deg=place[1],
                error_major_m=error_m,
                error_minor_m=error_m,
                error_azimuth_deg=None if error_m is None else 0.0,
                measures={k: float(v) for k, v in (measures or {}).items() if v is not None},
                labels=dict(list(kept.items())[:MAX_LABELS]),
                topic=self.message.topic,
            )
        )


def _decimal(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _payload(event: _Event, topic: str) -> bytes | None:
    if not event.data:
        return None
    try:
        payload = base64.b64decode(event.data, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise DecodeError("bad_base64", f"data: {exc} on {topic}") from exc
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise DecodeError(
            "too_large", f"{len(payload)} bytes in data, at most {MAX_PAYLOAD_BYTES} on {topic}"
        )
    return payload


def _link(event: _Event) -> dict[str, float]:
    """How well the best gateway heard the uplink."""
    if not event.rx_info:
        return {}
    best = max(event.rx_info, key=lambda one: (one.snr, one.rssi))
    return {
        "rssi_dbm": float(best.rssi),
        "snr_db": float(best.snr),
        "gateway_count": float(len(event.rx_info)),
    }


def _decode_up(uplink: _Uplink) -> list[Observation]:
    event = uplink.event
    payload = _payload(event, uplink.message.topic)
    if payload is None and not event.object:
        # An empty uplink says that the device lives.
        return [uplink.observe("device_state", measures=_link(event), labels={"event": "up"})]
    decoded, kind, codec = lorawan.decode(payload, event.f_port, event.object, uplink.names())
    kind = _own_kind(uplink, kind)
    measures = dict(decoded.measures)
    kind = _with_water_level(uplink, kind, measures)
    found = []
    if measures or decoded.labels or not decoded.history:
        found.append(
            uplink.observe(
                kind,
                measures={**measures, **_link(event)},
                labels={"codec": codec, **decoded.labels},
                place=_place_of(decoded),
                sequence=event.f_cnt,
            )
        )
    found += _history(uplink, kind, decoded, codec)
    return found


def _own_kind(uplink: _Uplink, kind: str) -> str:
    tagged = uplink.tags.get("kind", "")
    if _KIND.fullmatch(tagged):
        return tagged
    if kind == "occupancy" and any(_PARKING.search(text) for text in uplink.names()):
        return "parking"
    return kind


def _with_water_level(uplink: _Uplink, kind: str, measures: dict[str, float]) -> str:
    """A sensor that looks down on water, with its height over the ground: a water level."""
    height_m = _decimal(uplink.tags.get("mount_height_m"))
    if height_m is None or "distance_m" not in measures:
        return kind
    measures["water_level_m"] = max(0.0, height_m - measures["distance_m"])
    return "water_level" if kind in {"distance", "fill_level", "lorawan"} else kind


def _place_of(decoded: Decoded) -> tuple[float, float] | tuple[None, None]:
    return position_or_none(decoded.lon_deg, decoded.lat_deg)


def _history(uplink: _Uplink, kind: str, decoded: Decoded, codec: str) -> list[Observation]:
    """Readings that the device kept while it was not heard, each at its own time."""
    found = []
    for past in decoded.history:
        observed_ns = past.unix_s * NS_PER_S
        if not 0 < observed_ns < MAX_INSTANT_NS:
            continue
        measures = dict(past.measures)
        own = _with_water_level(uplink, kind, measures)
        labels = {"codec": codec, "report": "history", **past.labels}
        if is_past(observed_ns, uplink.message.received_ns):
            measures["measured_unix_s"] = float(past.unix_s)
            found.append(
                uplink.observe(
                    f"{own}.history", measures=measures, labels=labels, sequence=past.unix_s
                )
            )
        else:
            found.append(
                uplink.observe(own, measures=measures, labels=labels, observed_ns=observed_ns)
            )
    return found


def _decode_status(uplink: _Uplink) -> list[Observation]:
    event = uplink.event
    battery = None
    if not event.battery_level_unavailable and not event.external_power_source:
        battery = (event.battery_level or 0) / 100
    return [
        uplink.observe(
            "device_health",
            measures={
                "battery_ratio": battery,
                "link_margin_db": event.margin or 0,
                "external_power": float(event.external_power_source),
            },
        )
    ]


def _decode_location(uplink: _Uplink) -> list[Observation]:
    spot = uplink.event.location or _Place()
    place = position_or_none(spot.longitude, spot.latitude)
    if place == (None, None):
        raise DecodeError("bad_position", f"location {spot} on {uplink.message.topic}")
    return [
        uplink.observe(
            "device_location",
            measures={"altitude_m": spot.altitude},
            place=place,
            error_m=float(spot.accuracy) if spot.accuracy > 0 else None,
        )
    ]


def _decode_log(uplink: _Uplink) -> list[Observation]:
    event = uplink.event
    labels = {"level": event.level, "code": event.code, "text": event.description}
    return [uplink.observe("device_notice", labels=labels)]


def _decode_state(uplink: _Uplink) -> list[Observation]:
    event, name = uplink.event, uplink.message.topic.rsplit("/", 1)[-1]
    labels = {
        "event": name,
        "integration": event.integration_name,
        "integration_event": event.event_type,
    }
    measures = {"acknowledged": float(event.acknowledged)} if name == "ack" else {}
    return [uplink.observe("device_state", measures=measures, labels=labels)]


_BY_EVENT: dict[str, Callable[[_Uplink], list[Observation]]] = {
    "up": _decode_up,
    "status": _decode_status,
    "join": _decode_state,
    "ack": _decode_state,
    "txack": _decode_state,
    "integration": _decode_state,
    "log": _decode_log,
    "location": _decode_location,
}


def decode(message: RawMessage) -> list[Observation]:
    """Read an event of a device; an uplink may carry readings of the past as well.

    Raises:
        DecodeError: ``unknown_topic`` for an event that ChirpStack does not have; ``bad_base64``,
            ``bad_position``; those of :func:`ingest.decoders.lorawan.decode`,
            :func:`ingest.decoders.common.decode_json` and
            :func:`ingest.decoders.common.checked`.

    Example:
        >>> body = b'{"deviceInfo": {"deviceProfileName": "EM500-SWL", "devEui": "24e1"}, '
        >>> body += b'"fPort": 85, "data": "A3ceAA=="}'
        >>> topic = "application/a/device/24e1/event/up"
        >>> [one] = decode(RawMessage(topic=topic, payload=body, received_ns=5))
        >>> one.thing_id, one.kind, one.measures
        ('24e1', 'water_level', {'water_level_m': 0.3})
    """
    event = message.topic.rsplit("/", 1)[-1]
    reader = _BY_EVENT.get(event)
    if reader is None:
        raise DecodeError("unknown_topic", f"no event {event[:64]!r} on {message.topic}")
    return reader(_Uplink(message))
