"""Remote identification as it is broadcast, and as receivers pass it on.

Broadcast: the 25-byte messages and packs of ASTM F3411, prEN 4709-002 and GB 42590, and the
frame of GB 46750 – bare, with the Wi-Fi element or the Bluetooth service data around them, or
in a whole 802.11 frame. Receivers: DroneScout's JSON, line JSON of ESP32 receivers (nested and
flat), the flights of F3411 network identification, and our plain JSON. All come on
``qn/{city}/remote-id/{receiver_id}``; the payload tells which it is.

The aircraft is an observation of kind ``aircraft`` under its serial number, its operator's
place one of ``remote_id_operator``. What stands for "unknown" (position 0/0, altitude -1000 m,
track 361, speed 255, vertical speed 63, all bits set) is left out: unknown never becomes a
number or a place. A message without identity is given the one that the same transmitter last
sent; until there is one the aircraft is ``transmitter/{address}`` (``receiver/{id}`` where no
address is known) with label ``id_type`` ``not_heard``: what flies and does not say who it is.
"""

from __future__ import annotations

import base64
import binascii
import json
import lzma
import math
import struct
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import msgspec

from core.errors import DecodeError
from core.observations import Observation
from core.ports import RawMessage
from core.units import NS_PER_MS, NS_PER_S
from ingest.decoders import remote_id
from ingest.decoders.common import (
    CLOCK_AHEAD_S,
    MAX_INSTANT_NS,
    MAX_LABEL_CHARS,
    check_size,
    checked,
    instant_ns,
    last_level,
    position_or_none,
)
from ingest.decoders.remote_id import SIGMAS_OF_95_PERCENT

SOURCE = "remote_id"

MESSAGE_BYTES = 25
MAX_PACK = 9
GB_46750 = 0xFF

#: ASTM's OUI and vendor type in a Wi-Fi element; the hash of its service in NAN frames.
WIFI_ELEMENT = bytes.fromhex("fa0bbc0d")
NAN_SERVICE = bytes.fromhex("8869199d9209")
#: Service data of Bluetooth: type 0x16, UUID 0xFFFA, application code.
BLE_SERVICE = bytes.fromhex("16faff0d")

#: F3411 counts its seconds from 2019-01-01.
EPOCH_2019_S = 1_546_300_800

UA_TYPES = (
    "undeclared", "aeroplane", "multirotor", "gyroplane", "hybrid_lift", "ornithopter", "glider",
    "kite", "free_balloon", "captive_balloon", "airship", "parachute", "rocket", "tethered",
    "ground_obstacle", "other",
)  # fmt: skip
ID_TYPES = ("none", "serial_number", "caa_registration", "utm_uuid", "session_id")
STATUSES = ("undeclared", "ground", "airborne", "emergency", "system_failure", "failure_emergency")
PLACES = ("take_off", "dynamic", "fixed")
UA_CLASSES = ("micro", "light", "small", "medium", "large")
CATEGORIES = ("undefined", "open", "specific", "certified")

#: Horizontal accuracy (95 %) by its code, in metres; None unknown.
H_ACCURACY_M = (
    None, 18_520.0, 7_408.0, 3_704.0, 1_852.0, 926.0, 555.6, 185.2, 92.6, 30.0, 10.0, 3.0, 1.0,
)  # fmt: skip
V_ACCURACY_M = (None, 150.0, 45.0, 25.0, 10.0, 3.0, 1.0)

#: A pcap or a receiver's message holds at most this many lines or objects.
MAX_OBJECTS = 256


class Heard(msgspec.Struct, kw_only=True):
    """What was heard of one aircraft at one time; None is unknown."""

    ids: dict[str, str] = {}
    ua_type: str | None = None
    status: str | None = None
    lon_deg: float | None = None
    lat_deg: float | None = None
    accuracy_m: float | None = None
    measures: dict[str, float] = {}
    #: Seconds since the full hour, or Unix nanoseconds.
    second_of_hour: float | None = None
    unix_ns: int | None = None
    operator_id: str | None = None
    operator_place: str | None = None
    operator_lon_deg: float | None = None
    operator_lat_deg: float | None = None
    operator_alt_m: float | None = None
    labels: dict[str, str] = {}

    def has_location(self) -> bool:
        """Whether a location message was among what was heard."""
        return self.lon_deg is not None or bool(self.measures) or self.status is not None


# -- the 25-byte messages ------------------------------------------------------------------


def _ascii(data: bytes) -> str:
    text = data.split(b"\x00", 1)[0].decode("ascii", "replace").strip()
    return "".join(one for one in text if one.isprintable() and one != "\ufffd")


def _altitude_m(raw: int) -> float | None:
    """Half metres above -1000 m; 0 is unknown, and so is all bits set."""
    return None if raw in {0, 0xFFFF} else raw * 0.5 - 1000.0


def _set(measures: dict[str, float], name: str, value: float | None) -> None:
    if value is not None:
        measures[name] = value


def _word(words: tuple[str, ...], code: int) -> str:
    return words[code] if code < len(words) else f"code_{code}"


def _basic_id(data: bytes, into: Heard) -> None:
    kind, text = data[1] >> 4, _ascii(data[2:22])
    into.ua_type = _word(UA_TYPES, data[1] & 15)
    if kind in {3, 4} and not text.isalnum():
        text = data[2:22].hex()
    if text and kind:
        into.ids[_word(ID_TYPES, kind)] = text
    else:
        into.labels["id_type"] = "none"


def _location(data: bytes, into: Heard) -> None:
    flags = data[1]
    into.status = _word(STATUSES, flags >> 4)
    track_deg = data[2] + (180 if flags & 2 else 0)
    if track_deg <= 360:
        into.measures["heading_deg"] = float(track_deg % 360)
    if not (flags & 1 and data[3] == 0xFF):
        into.measures["speed_mps"] = data[3] * 0.75 + 63.75 if flags & 1 else data[3] * 0.25
    vertical = struct.unpack_from("<b", data, 4)[0] * 0.5
    if abs(vertical) <= 62:
        into.measures["vertical_speed_mps"] = vertical
    lat, lon, baro, geo, height = struct.unpack_from("<iiHHH", data, 5)
    into.lon_deg, into.lat_deg = position_or_none(lon / 1e7, lat / 1e7)
    _set(into.measures, "alt_pressure_m", _altitude_m(baro))
    _set(into.measures, "alt_wgs84_m", _altitude_m(geo))
    _set(into.measures, "alt_agl_m" if flags & 4 else "alt_takeoff_m", _altitude_m(height))
    _accuracies(into, data[19] & 15, data[19] >> 4)
    stamp = struct.unpack_from("<H", data, 21)[0]
    if stamp <= 36_000:
        into.second_of_hour = stamp / 10


def _accuracies(into: Heard, horizontal: int, vertical: int) -> None:
    if horizontal < len(H_ACCURACY_M):
        into.accuracy_m = H_ACCURACY_M[horizontal]
    if vertical < len(V_ACCURACY_M):
        _set(into.measures, "alt_accuracy_m", V_ACCURACY_M[vertical])


def _self_id(data: bytes, into: Heard) -> None:
    text = _ascii(data[2:25])
    if text:
        into.labels["self_id"] = text
    if data[1] == 1:
        into.labels["self_id_type"] = "emergency"


def _system(data: bytes, into: Heard) -> None:
    into.operator_place = _word(PLACES, data[1] & 3)
    lat, lon, count, radius = struct.unpack_from("<iiHB", data, 2)
    into.operator_lon_deg, into.operator_lat_deg = position_or_none(lon / 1e7, lat / 1e7)
    into.labels["classification"] = _word(("undeclared", "eu", "china"), data[1] >> 2 & 7)
    if count > 1:
        into.labels["area_count"] = str(count)
        into.labels["area_radius_m"] = str(radius * 10)
    altitude, stamp = struct.unpack_from("<HI", data, 18)
    into.operator_alt_m = _altitude_m(altitude)
    if stamp:
        into.unix_ns = (EPOCH_2019_S + stamp) * NS_PER_S


def _operator_id(data: bytes, into: Heard) -> None:
    into.operator_id = _ascii(data[2:22]) or None


def _authentication(data: bytes, into: Heard) -> None:
    into.labels["authentication_type"] = str(data[1] >> 4)


_READERS = {
    0: _basic_id, 1: _location, 2: _authentication, 3: _self_id, 4: _system, 5: _operator_id,
}  # fmt: skip


def read_messages(data: bytes) -> Heard:
    """Read a message, several in a row, or a pack.

    Args:
        data: Multiples of 25 bytes, or a pack with its three bytes before them.

    Raises:
        DecodeError: ``short_payload``, ``bad_message``: a type or a size that does not exist.

    Example:
        >>> heard = read_messages(bytes.fromhex(
        ...     "0212313538314635424b443232354430304250383931000000"))
        >>> heard.ids, heard.ua_type, heard.lon_deg
        ({'serial_number': '1581F5BKD225D00BP891'}, 'multirotor', None)
    """
    if not data:
        raise DecodeError("short_payload", "no bytes where a remote identification was wanted")
    if data[0] >> 4 == 15:
        if len(data) < 3 or data[1] != MESSAGE_BYTES or not 1 <= data[2] <= MAX_PACK:
            raise DecodeError("bad_message", f"a pack of 1 to 9 messages wanted, got {_hex(data)}")
        size = data[2] * MESSAGE_BYTES
        data = data[3:]
        if len(data) < size:
            raise DecodeError("short_payload", f"a pack of {size} bytes wanted, got {len(data)}")
        data = data[:size]
    if len(data) % MESSAGE_BYTES or len(data) > MAX_PACK * MESSAGE_BYTES:
        raise DecodeError(
            "short_payload", f"messages of {MESSAGE_BYTES} bytes wanted, got {len(data)}"
        )
    heard = Heard()
    versions = set()
    for at in range(0, len(data), MESSAGE_BYTES):
        one = data[at : at + MESSAGE_BYTES]
        reader = _READERS.get(one[0] >> 4)
        if reader is None:
            raise DecodeError("bad_message", f"no message type {one[0] >> 4}: {_hex(one)}")
        versions.add(one[0] & 15)
        reader(one, heard)
    heard.labels["protocol_version"] = str(max(versions))
    return heard


def _hex(data: bytes) -> str:
    return data[:48].hex()


# -- GB 46750 ----

_GB_SIZES = (20, 8, 1, 1, 1, 8, 2, 8, 2, 2, 2, 1, 2, 2, 1, 1, 1, 1, 1, 6, 1)


def read_gb46750(data: bytes) -> Heard:
    """Read a frame of GB 46750-2025.

    Its length byte counts the items only. Parsers differ in whether longitude or latitude comes
    first in a position; a value that cannot be a latitude, or the range of China, decides.

    Raises:
        DecodeError: ``short_payload``, ``bad_message``.
    """
    if len(data) < 4 or data[0] != GB_46750:
        raise DecodeError("bad_message", f"0xFF, version, length and bitmap wanted: {_hex(data)}")
    if data[1] >> 5 != 1:
        raise DecodeError("bad_message", f"version 1.x wanted, got {data[1]:#04x}")
    numbers, at = [], 3
    for byte in range(4):
        if at >= len(data):
            raise DecodeError("short_payload", f"the bitmap does not end: {_hex(data)}")
        bits = data[at]
        at += 1
        numbers += [byte * 7 + n for n in range(7) if bits >> (7 - n) & 1]
        if not bits & 1:
            break
    heard = Heard()
    heard.labels["protocol"] = "GB 46750"
    items: dict[int, bytes] = {}
    for number in numbers:
        if number >= len(_GB_SIZES):
            break
        size = _GB_SIZES[number]
        if at + size > len(data):
            raise DecodeError("short_payload", f"item {number + 1} of {size} bytes: {_hex(data)}")
        items[number + 1] = data[at : at + size]
        at += size
    _gb_items(items, heard)
    return heard


def _gb_items(items: dict[int, bytes], into: Heard) -> None:
    def number(item: int) -> int | None:
        data = items.get(item)
        if data is None or all(byte == 0xFF for byte in data):
            return None
        return int.from_bytes(data, "little")

    def code(item: int, words: tuple[str, ...]) -> str | None:
        value = number(item)
        return None if value is None else _word(words, value)

    upc, mark = _ascii(items.get(1, b"")), _ascii(items.get(2, b""))
    if upc:
        into.ids["serial_number"] = upc
    if mark.strip("0"):
        into.labels["real_name_mark"] = mark
    for name, word in (("category", code(3, CATEGORIES)), ("ua_class", code(4, UA_CLASSES))):
        if word is not None:
            into.labels[name] = word
    into.operator_place = code(5, PLACES)
    into.operator_lon_deg, into.operator_lat_deg = _gb_place(items.get(6))
    into.lon_deg, into.lat_deg = _gb_place(items.get(8))
    into.status = code(15, STATUSES)

    def scaled(item: int, divisor: int, offset: float, zero_is_unknown: bool) -> float | None:
        value = number(item)
        if value is None or (value == 0 and zero_is_unknown):
            return None
        return value / divisor + offset

    into.operator_alt_m = scaled(7, 2, -1000.0, True)
    track_deg = scaled(9, 10, 0.0, False)
    if track_deg is not None and track_deg <= 360:
        into.measures["heading_deg"] = track_deg % 360.0
    _set(into.measures, "speed_mps", scaled(10, 10, 0.0, False))
    # The item says "relative": above the take-off point.
    _set(into.measures, "alt_takeoff_m", scaled(11, 2, -9000.0, True))
    vertical = number(12)
    if vertical is not None:
        speed = (vertical & 0x7F) * 0.5
        into.measures["vertical_speed_mps"] = -speed if vertical & 0x80 else speed
    _set(into.measures, "alt_wgs84_m", scaled(13, 2, -1000.0, True))
    _set(into.measures, "alt_pressure_m", scaled(14, 2, -1000.0, True))
    _accuracies(into, number(17) or 0, number(18) or 0)
    stamp = number(20)
    if stamp and stamp * NS_PER_MS < MAX_INSTANT_NS:
        into.unix_ns = stamp * NS_PER_MS


def _gb_place(data: bytes | None) -> tuple[float, float] | tuple[None, None]:
    if data is None:
        return None, None
    first, second = struct.unpack("<ii", data)
    if -1 in {first, second} or 0x7FFFFFFF in {first, second}:
        return None, None
    a, b = first / 1e7, second / 1e7
    latitude_first = abs(b) > 90 or (abs(a) <= 90 and 3 <= a <= 54 and 73 <= b <= 136)
    return position_or_none(b, a) if latitude_first else position_or_none(a, b)


# -- what is around them ----


def read_broadcast(data: bytes) -> Heard:
    """Read what was broadcast, with or without what a carrier puts around it.

    Raises:
        DecodeError: ``no_remote_id`` where a Wi-Fi or Bluetooth frame holds none, and those of
            :func:`read_messages` and :func:`read_gb46750`.

    Example:
        >>> location = "12222332fd70887e15703bc14780088f0870085c4439300200"
        >>> heard = read_broadcast(bytes.fromhex("fa0bbc0d07" + location))
        >>> heard.lon_deg, heard.lat_deg, heard.measures["alt_takeoff_m"]
        (120.3846, 36.0614, 80.0)
    """
    inner = _unwrapped(data)
    if inner[:1] == bytes([GB_46750]):
        return read_gb46750(inner)
    return read_messages(inner)


def _unwrapped(data: bytes) -> bytes:
    """The messages without the counter and what is before it."""
    if data[:1] and data[0] >> 4 == 15 and data[1:2] == bytes([MESSAGE_BYTES]):
        return data
    if len(data) % MESSAGE_BYTES == 0 and data[:1] and data[0] >> 4 in _READERS:
        return data
    if data[:1] == bytes([GB_46750]) and data[1:2] and data[1] >> 5 == 1:
        return data
    for mark, skip in ((WIFI_ELEMENT, 1), (BLE_SERVICE, 1)):
        at = data.find(mark)
        if at >= 0:
            return _messages_at(data, at + len(mark) + skip)
    at = data.find(NAN_SERVICE)
    # Instance, requestor, control and the length of the service information come first; a
    # synchronization beacon names the service and has none.
    if 0 <= at < len(data) - len(NAN_SERVICE) - 5:
        return _messages_at(data, at + len(NAN_SERVICE) + 5)
    if data[:1] == b"\x0d" and len(data) >= 2 + MESSAGE_BYTES:
        return _messages_at(data, 2)
    raise DecodeError("no_remote_id", f"no remote identification in {len(data)} bytes {_hex(data)}")


def _messages_at(data: bytes, at: int) -> bytes:
    """Exactly the messages that begin at an offset; a frame goes on behind them."""
    inner = data[at:]
    if not inner:
        raise DecodeError("short_payload", f"nothing behind the counter: {_hex(data)}")
    if inner[0] == GB_46750 or inner[0] >> 4 == 15:
        return inner
    return inner[:MESSAGE_BYTES]


#: Frame control of beacon, probe response and action (the carrier of NAN).
_MANAGEMENT = (0x80, 0x50, 0xD0)


def transmitter_of(frame: bytes) -> str | None:
    """The transmitter's address in an 802.11 management frame, with or without radiotap.

    Example:
        >>> transmitter_of(bytes.fromhex("d0000000ffffffffffff84cca8604324506f9a01017950060409"))
        '84:cc:a8:60:43:24'
        >>> transmitter_of(b"") is None
        True
    """
    if len(frame) > 4 and frame[0] == 0:
        length = struct.unpack_from("<H", frame, 2)[0]
        if 8 <= length < len(frame):
            frame = frame[length:]
    if len(frame) < 24 or frame[0] not in _MANAGEMENT:
        return None
    return frame[10:16].hex(":")


# -- who a transmitter is ----


class Identities:
    """The identity that each transmitter last sent.

    Bluetooth 4 and small Wi-Fi frames carry one message each, so the place comes without the
    serial number. Entries leave when they are older than ``KEPT_S`` at their next use, and the
    least recently heard when there are more than ``CAPACITY`` (about 1 MB). An identity heard
    after the message is not taken, so that a replay gives what the day gave.
    """

    CAPACITY = 4096
    KEPT_S = 300.0

    def __init__(self) -> None:
        self._heard: OrderedDict[tuple[str, str], tuple[int, str, dict[str, str]]] = OrderedDict()

    def put(self, key: tuple[str, str], at_ns: int, thing_id: str, labels: dict[str, str]) -> None:
        """Note who a transmitter says it is."""
        self._heard[key] = (at_ns, thing_id, labels)
        self._heard.move_to_end(key)
        if len(self._heard) > self.CAPACITY:
            self._heard.popitem(last=False)

    def get(self, key: tuple[str, str], at_ns: int) -> tuple[str, dict[str, str]] | None:
        """Who a transmitter said it is, if that is not long ago."""
        entry = self._heard.get(key)
        if entry is None or entry[0] > at_ns:
            return None
        if at_ns - entry[0] > self.KEPT_S * NS_PER_S:
            del self._heard[key]
            return None
        return entry[1], entry[2]

    def __len__(self) -> int:
        return len(self._heard)


_IDENTITIES = Identities()


# -- observations ----


def _observed_ns(heard: Heard, reference_ns: int) -> tuple[int | None, float | None]:
    """When it was sent, and how far its clock is off where it cannot be believed.

    A broadcast is heard at once, so a clock that is more than a minute off is wrong; the second
    of the hour has no hour of its own anyway.
    """
    at_ns = None
    if heard.second_of_hour is not None:
        hour_ns = 3600 * NS_PER_S
        at_ns = reference_ns // hour_ns * hour_ns + round(heard.second_of_hour * NS_PER_S)
        if at_ns - reference_ns > hour_ns // 2:
            at_ns -= hour_ns
        elif reference_ns - at_ns > hour_ns // 2:
            at_ns += hour_ns
    elif heard.unix_ns is not None:
        at_ns = heard.unix_ns
    if at_ns is None or at_ns <= 0:
        return None, None
    skew_s = (at_ns - reference_ns) / NS_PER_S
    return (at_ns, None) if abs(skew_s) <= CLOCK_AHEAD_S else (None, skew_s)


def observe(
    heard: Heard,
    message: RawMessage,
    *,
    transmitter: str | None = None,
    reference_ns: int | None = None,
    rssi_dbm: float | None = None,
    identities: Identities | None = None,
) -> list[Observation]:
    """Turn what was heard into observations: the aircraft, and its operator's place.

    Args:
        heard: What was read.
        message: The message it came in.
        transmitter: The radio address it was heard from.
        reference_ns: When the receiver heard it, where it says so.
        rssi_dbm: How strongly it was heard.
        identities: Who transmitters said they are; one table for all of ingest by default.

    Raises:
        DecodeError: Those of :func:`ingest.decoders.common.checked`.
    """
    table = _IDENTITIES if identities is None else identities
    key = (message.topic, transmitter or "")
    labels = {"receiver_id": last_level(message.topic)}
    thing_id = next((heard.ids[kind] for kind in (*ID_TYPES[1:], "id") if kind in heard.ids), None)
    if thing_id is not None:
        labels |= {"id_type": next(k for k, v in heard.ids.items() if v == thing_id)}
        labels |= {name: text for name, text in heard.ids.items() if text != thing_id}
        if transmitter:
            known = {"ua_type": heard.ua_type} if heard.ua_type else {}
            table.put(key, message.received_ns, thing_id, labels | known)
    elif transmitter is None:
        thing_id = f"receiver/{last_level(message.topic)}"
        labels["id_type"] = "not_heard"
    elif heard.labels.get("id_type") == "none":
        thing_id = f"transmitter/{transmitter}"
    elif (known_id := table.get(key, message.received_ns)) is not None:
        thing_id = known_id[0]
        labels |= known_id[1]
    else:
        thing_id = f"transmitter/{transmitter}"
        labels["id_type"] = "not_heard"
    reference = message.received_ns if reference_ns is None else reference_ns
    at_ns, skew_s = _observed_ns(heard, reference)
    observed_ns = at_ns if at_ns is not None else reference_ns
    return [
        checked(one)
        for one in _observations(heard, message, thing_id, labels, transmitter, rssi_dbm)
        for one in [_timed(one, observed_ns, skew_s)]
    ]


def _timed(one: Observation, observed_ns: int | None, skew_s: float | None) -> Observation:
    measures = one.measures if skew_s is None else {**one.measures, "clock_skew_s": skew_s}
    return msgspec.structs.replace(
        one,
        observed_ns=one.received_ns if observed_ns is None else observed_ns,
        has_device_time=observed_ns is not None,
        measures=measures,
    )


def _observations(
    heard: Heard,
    message: RawMessage,
    thing_id: str,
    labels: dict[str, str],
    transmitter: str | None,
    rssi_dbm: float | None,
) -> Iterator[Observation]:
    words = {
        "ua_type": heard.ua_type,
        "status": heard.status,
        "operator_id": heard.operator_id,
        "transmitter": transmitter,
        **heard.labels,
    }
    kept = labels | {k: v[:MAX_LABEL_CHARS] for k, v in words.items() if v}
    sigma_m = None
    if heard.lon_deg is not None and heard.accuracy_m is not None:
        sigma_m = heard.accuracy_m / SIGMAS_OF_95_PERCENT
    measures = dict(heard.measures)
    _set(measures, "rssi_dbm", rssi_dbm)
    if heard.has_location():
        yield Observation(
            source=SOURCE,
            thing_id=thing_id,
            kind="aircraft",
            observed_ns=message.received_ns,
            received_ns=message.received_ns,
            repeated=message.duplicate,
            lon_deg=heard.lon_deg,
            lat_deg=heard.lat_deg,
            error_major_m=sigma_m,
            error_minor_m=sigma_m,
            error_azimuth_deg=None if sigma_m is None else 0.0,
            measures=measures,
            labels=kept,
            topic=message.topic,
        )
    else:
        yield Observation(
            source=SOURCE,
            thing_id=thing_id,
            kind="remote_id_flight",
            observed_ns=message.received_ns,
            received_ns=message.received_ns,
            repeated=message.duplicate,
            measures=measures,
            labels=kept,
            topic=message.topic,
        )
    if heard.operator_lon_deg is not None:
        yield Observation(
            source=SOURCE,
            thing_id=thing_id,
            kind="remote_id_operator",
            observed_ns=message.received_ns,
            received_ns=message.received_ns,
            repeated=message.duplicate,
            lon_deg=heard.operator_lon_deg,
            lat_deg=heard.operator_lat_deg,
            measures={} if heard.operator_alt_m is None else {"alt_wgs84_m": heard.operator_alt_m},
            labels={k: v for k, v in kept.items() if k in {"receiver_id", "operator_id"}}
            | {"place_of": heard.operator_place or "unknown"},
            topic=message.topic,
        )


# -- what receivers make of it ----


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _coded(words: tuple[str, ...], value: Any) -> str | None:
    """A word given by its code or as itself."""
    number = _number(value)
    if number is not None:
        return _word(words, int(number)) if 0 <= number < 256 else None
    return value.strip().lower().replace(" ", "_")[:64] if isinstance(value, str) else None


def _text(value: Any) -> str | None:
    return (
        (value.strip("\x00 ").replace("\x00", "")[:256] or None) if isinstance(value, str) else None
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _motion(
    into: Heard, *, track: float | None, speed: float | None, vertical: float | None
) -> None:
    if track is not None and 0 <= track <= 360:
        into.measures["heading_deg"] = track % 360.0
    if speed is not None and 0 <= speed < remote_id.UNKNOWN_SPEED_MPS:
        into.measures["speed_mps"] = speed
    if vertical is not None and abs(vertical) < remote_id.UNKNOWN_VERTICAL_SPEED_MPS:
        into.measures["vertical_speed_mps"] = vertical


def _height(into: Heard, name: str, value: float | None) -> None:
    if value is not None and value > remote_id.UNKNOWN_ALTITUDE_M:
        into.measures[name] = value


def _ground_referenced(reference: Any) -> bool:
    if isinstance(reference, str):
        return "ground" in reference.lower() or reference.lower() == "agl"
    return _number(reference) == 1


class _Report(msgspec.Struct, kw_only=True):
    """What one object of a receiver says, and how it was heard."""

    heard: Heard
    transmitter: str | None = None
    reference_ns: int | None = None
    rssi_dbm: float | None = None


def _read_uas_data(data: bytes) -> Heard:
    """DroneScout's ``UASdata``: the structure of the open library, natural alignment."""
    if len(data) < 914:
        raise DecodeError("short_payload", f"UASdata of 914 bytes wanted, got {len(data)}")
    heard = Heard()
    for at, valid in ((0, data[892]), (32, data[893])):
        if not valid:
            continue
        ua_type, id_type = struct.unpack_from("<II", data, at)
        text = _ascii(data[at + 8 : at + 29])
        heard.ua_type = _word(UA_TYPES, ua_type)
        if text and id_type:
            heard.ids.setdefault(_word(ID_TYPES, id_type), text)
        else:
            heard.labels["id_type"] = "none"
    if data[894]:
        status, track, speed, vertical = struct.unpack_from("<Ifff", data, 64)
        lat, lon, baro, geo, kind, height = struct.unpack_from("<ddffIf", data, 80)
        horizontal, vertical_code, _, _, _, stamp = struct.unpack_from("<IIIIIf", data, 112)
        heard.status = _word(STATUSES, status)
        _motion(heard, track=_number(track), speed=_number(speed), vertical=_number(vertical))
        heard.lon_deg, heard.lat_deg = position_or_none(_number(lon), _number(lat))
        _height(heard, "alt_pressure_m", _number(baro))
        _height(heard, "alt_wgs84_m", _number(geo))
        _height(heard, "alt_agl_m" if kind == 1 else "alt_takeoff_m", _number(height))
        _accuracies(heard, horizontal, vertical_code)
        if 0 <= stamp <= 3600:
            heard.second_of_hour = float(stamp)
    if data[911]:
        text = _ascii(data[780:804])
        if text:
            heard.labels["self_id"] = text
    if data[912]:
        place, classification = struct.unpack_from("<II", data, 808)
        lat, lon = struct.unpack_from("<dd", data, 816)
        heard.operator_place = _word(PLACES, place)
        heard.labels["classification"] = _word(("undeclared", "eu", "china"), classification)
        heard.operator_lon_deg, heard.operator_lat_deg = position_or_none(
            _number(lon), _number(lat)
        )
        altitude = _number(struct.unpack_from("<f", data, 852)[0])
        if altitude is not None and altitude > remote_id.UNKNOWN_ALTITUDE_M:
            heard.operator_alt_m = altitude
        stamp_s = struct.unpack_from("<I", data, 856)[0]
        heard.unix_ns = (EPOCH_2019_S + stamp_s) * NS_PER_S if stamp_s else None
    if data[913]:
        heard.operator_id = _ascii(data[868:889]) or None
    return heard


def _dronescout(body: dict[str, Any], message: RawMessage) -> list[Observation] | _Report:
    data = body.get("data")
    if isinstance(data, dict) and "UASdata" in data:
        try:
            packed = base64.b64decode(str(data["UASdata"]), validate=True)
        except (binascii.Error, ValueError) as exc:
            raise DecodeError("bad_base64", f"UASdata: {exc} on {message.topic}") from exc
        return _Report(
            heard=_read_uas_data(packed),
            transmitter=_text(data.get("MAC address")),
            reference_ns=instant_ns(_number(data.get("timestamp")), message.topic),
            rssi_dbm=_number(data.get("RSSI")),
        )
    if isinstance(body.get("aircraft"), dict):
        return [_crewed(body["aircraft"], message)]
    for part in ("status", "location", "mobile network"):
        if isinstance(body.get(part), dict):
            return [_receiver(part, body[part], message)]
    raise DecodeError("unknown_properties", f"{sorted(body)[:8]} on {message.topic}")


def _crewed(body: dict[str, Any], message: RawMessage) -> Observation:
    """An aircraft with people in it, heard by ADS-B or FLARM."""
    lon, lat = position_or_none(_number(body.get("longitude")), _number(body.get("latitude")))
    altitude = _number(body.get("altitude"))
    barometric = _number(body.get("altitude type")) == 1
    measures: dict[str, float] = {}
    _set(measures, "alt_pressure_m" if barometric else "alt_wgs84_m", altitude)
    _set(measures, "speed_mps", _number(body.get("speed")))
    _set(measures, "heading_deg", _number(body.get("track")))
    _set(measures, "vertical_speed_mps", _number(body.get("vertical rate")))
    flight = _text(body.get("flight"))
    at_ns = instant_ns(_number(body.get("timestamp")), message.topic)
    return checked(
        Observation(
            source=SOURCE,
            thing_id=_text(str(body.get("address") or flight or "")) or "",
            kind="crewed_aircraft",
            observed_ns=message.received_ns if at_ns is None else at_ns,
            received_ns=message.received_ns,
            has_device_time=at_ns is not None,
            repeated=message.duplicate,
            lon_deg=lon,
            lat_deg=lat,
            measures=measures,
            labels={"receiver_id": last_level(message.topic)}
            | ({"flight": flight} if flight else {}),
            topic=message.topic,
        )
    )


def _receiver(part: str, body: dict[str, Any], message: RawMessage) -> Observation:
    """What a receiver says of itself."""
    lon, lat = position_or_none(_number(body.get("longitude")), _number(body.get("latitude")))
    at_ns = instant_ns(_number(body.get("timestamp")), message.topic)
    labels = {"report": part}
    for name in ("firmware version", "model", "status", "sensor ID"):
        word = _text(body.get(name))
        if word:
            labels[name.replace(" ", "_").lower()] = word
    return checked(
        Observation(
            source=SOURCE,
            thing_id=last_level(message.topic),
            kind="device_health",
            observed_ns=message.received_ns if at_ns is None else at_ns,
            received_ns=message.received_ns,
            has_device_time=at_ns is not None,
            repeated=message.duplicate,
            lon_deg=lon,
            lat_deg=lat,
            labels=labels,
            topic=message.topic,
        )
    )


def _nested_line(body: dict[str, Any]) -> _Report:
    """A line of an ESP32 receiver: ``basic_id``, ``loc``, ``system`` as objects."""
    heard = Heard()
    basics = body.get("basic_id")
    for one in basics if isinstance(basics, list) else [basics]:
        basic = _object(one)
        text = _text(basic.get("uas_id") or basic.get("id"))
        id_type = _coded(ID_TYPES, basic.get("id_type"))
        heard.ua_type = _coded(UA_TYPES, basic.get("ua_type")) or heard.ua_type
        if text and id_type != "none":
            heard.ids.setdefault(id_type if id_type in ID_TYPES else "id", text)
        elif basic:
            heard.labels["id_type"] = "none"
    spot = _object(body.get("loc"))
    if spot:
        heard.status = _coded(STATUSES, spot.get("status"))
        heard.lon_deg, heard.lat_deg = position_or_none(
            _number(spot.get("lon")), _number(spot.get("lat"))
        )
        _motion(
            heard,
            track=_number(spot.get("dir")),
            speed=_number(spot.get("speed")),
            vertical=_number(spot.get("vspeed")),
        )
        _height(heard, "alt_wgs84_m", _number(spot.get("alt_geo")))
        _height(heard, "alt_pressure_m", _number(spot.get("alt_baro")))
        above_ground = _ground_referenced(spot.get("height_ref"))
        _height(
            heard, "alt_agl_m" if above_ground else "alt_takeoff_m", _number(spot.get("height"))
        )
        stamp = _number(spot.get("ts"))
        if stamp is not None and 0 <= stamp <= 3600:
            heard.second_of_hour = stamp
    system = _object(body.get("system"))
    heard.operator_lon_deg, heard.operator_lat_deg = position_or_none(
        _number(system.get("op_lon")), _number(system.get("op_lat"))
    )
    heard.operator_place = _coded(PLACES, system.get("op_loc_type"))
    altitude = _number(system.get("op_alt"))
    if altitude is not None and altitude > remote_id.UNKNOWN_ALTITUDE_M:
        heard.operator_alt_m = altitude
    heard.operator_id = _text(body.get("op_id"))
    self_id = _text(body.get("self_id")) or _text(_object(body.get("self_id")).get("text"))
    if self_id:
        heard.labels["self_id"] = self_id
    return _Report(
        heard=heard, transmitter=_text(body.get("mac")), rssi_dbm=_number(body.get("rssi"))
    )


def _flat_line(body: dict[str, Any]) -> _Report:
    """A line of an ESP32 receiver whose fields are all beside each other."""
    heard = Heard()
    text = _text(body.get("basic_id") or body.get("uas_id"))
    if text:
        heard.ids["id"] = text
    heard.lon_deg, heard.lat_deg = position_or_none(
        _number(body.get("drone_long", body.get("drone_lon"))), _number(body.get("drone_lat"))
    )
    heard.status = "undeclared"
    altitude = _number(body.get("drone_altitude"))
    if altitude:  # these receivers write 0 where they have none
        _height(heard, "alt_wgs84_m", altitude)
    _motion(
        heard,
        track=_number(body.get("heading")),
        speed=_number(body.get("speed")),
        vertical=_number(body.get("vspeed")),
    )
    heard.operator_lon_deg, heard.operator_lat_deg = position_or_none(
        _number(body.get("pilot_long", body.get("pilot_lon"))), _number(body.get("pilot_lat"))
    )
    heard.operator_id = _text(body.get("op_id") or body.get("operator_id"))
    return _Report(
        heard=heard, transmitter=_text(body.get("mac")), rssi_dbm=_number(body.get("rssi"))
    )


def _network_flight(body: dict[str, Any], message: RawMessage) -> _Report:
    """A flight of F3411-22a network identification."""
    heard = Heard()
    details = _object(body.get("details"))
    uas_id = _object(details.get("uas_id") or body.get("uas_id"))
    for name, kind in (
        ("serial_number", "serial_number"), ("registration_id", "caa_registration"),
        ("utm_id", "utm_uuid"),
    ):  # fmt: skip
        text = _text(uas_id.get(name))
        if text:
            heard.ids[kind] = text
    flight_id = _text(body.get("id"))
    if flight_id and not heard.ids:
        heard.ids["id"] = flight_id
    elif flight_id:
        heard.labels["flight_id"] = flight_id
    heard.ua_type = _coded(UA_TYPES, body.get("aircraft_type"))
    if heard.ua_type in {"helicopterormultirotor", "helicopter"}:
        heard.ua_type = "multirotor"
    state = _object(body.get("current_state"))
    heard.status = _coded(STATUSES, state.get("operational_status")) or "undeclared"
    spot = _object(state.get("position"))
    heard.lon_deg, heard.lat_deg = position_or_none(
        _number(spot.get("lng")), _number(spot.get("lat"))
    )
    _height(heard, "alt_wgs84_m", _number(spot.get("alt")))
    _height(heard, "alt_pressure_m", _number(spot.get("pressure_altitude")))
    height = _object(state.get("height") or spot.get("height"))
    name = "alt_agl_m" if _ground_referenced(height.get("reference")) else "alt_takeoff_m"
    _height(heard, name, _number(height.get("distance")))
    _motion(
        heard,
        track=_number(state.get("track")),
        speed=_number(state.get("speed")),
        vertical=_number(state.get("vertical_speed")),
    )
    accuracy = _text(spot.get("accuracy_h")) or ""
    if accuracy.startswith("HA") and accuracy.endswith("m"):
        # HA10m, HA3m; nautical miles (HA1NM) say nothing about an aircraft in a city.
        heard.accuracy_m = _number(accuracy[2:-1])
    heard.operator_id = _text(details.get("operator_id"))
    operator = _object(details.get("operator_location"))
    place = _object(operator.get("position")) or operator
    heard.operator_lon_deg, heard.operator_lat_deg = position_or_none(
        _number(place.get("lng")), _number(place.get("lat"))
    )
    stamp = state.get("timestamp")
    text_time = _object(stamp).get("value") if isinstance(stamp, dict) else stamp
    reference = instant_ns(_text(text_time), message.topic)
    if body.get("simulated") is True:
        heard.labels["simulated"] = "true"
    return _Report(heard=heard, reference_ns=reference)


def _objects(text: str, topic: str) -> list[Any]:
    """The objects of a payload: one, one a line, or one right after the other."""

    def refuse(literal: str) -> float:
        raise DecodeError("not_finite", f"JSON has no {literal} (RFC 8259); on {topic}")

    decoder = json.JSONDecoder(parse_constant=refuse)
    found: list[Any] = []
    at = 0
    while at < len(text):
        if text[at].isspace() or text[at] in ",\x00":
            at += 1
            continue
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as exc:
            if isinstance(exc, DecodeError):
                raise
            raise DecodeError("bad_json", f"{exc} on {topic}") from exc
        found += value if isinstance(value, list) else [value]
        if len(found) > MAX_OBJECTS:
            raise DecodeError("too_large", f"more than {MAX_OBJECTS} objects on {topic}")
    return found


def _decode_object(body: Any, message: RawMessage) -> list[Observation]:
    if not isinstance(body, dict):
        raise DecodeError("wrong_type", f"an object was wanted, got {type(body).__name__}")
    found: list[Observation] | _Report
    if isinstance(body.get("flights"), list):
        reports = [_network_flight(_object(one), message) for one in body["flights"]]
        return [one for report in reports for one in _of_report(report, message)]
    if "current_state" in body:
        found = _network_flight(body, message)
    elif "drone_lat" in body or "pilot_lat" in body or "drone_long" in body:
        found = _flat_line(body)
    elif "loc" in body or "basic_id" in body or "system" in body or body.get("type") == "rid":
        found = _nested_line(body)
    else:
        found = _dronescout(body, message)
    return found if isinstance(found, list) else _of_report(found, message)


def _of_report(report: _Report, message: RawMessage) -> list[Observation]:
    return observe(
        report.heard,
        message,
        transmitter=report.transmitter,
        reference_ns=report.reference_ns,
        rssi_dbm=report.rssi_dbm,
    )


def _decode_json(text: str, message: RawMessage) -> list[Observation]:
    """All that the objects of a payload say; what cannot be read is counted on the first."""
    objects = _objects(text, message.topic)
    if not objects:
        raise DecodeError("bad_json", f"no object on {message.topic}")
    if len(objects) == 1 and isinstance(objects[0], dict) and _is_plain(objects[0]):
        return remote_id.decode(message)
    found: list[Observation] = []
    refused: list[DecodeError] = []
    for body in objects:
        try:
            found += _decode_object(body, message)
        except DecodeError as exc:
            refused.append(exc)
    if not found and refused:
        raise refused[0]
    if refused:
        measures = {**found[0].measures, "unread_objects_count": float(len(refused))}
        found[0] = msgspec.structs.replace(found[0], measures=measures)
    return found


def _is_plain(body: dict[str, Any]) -> bool:
    return "measures" in body or "thing" in body or not body


#: LZMA alone, and in an xz container.
_COMPRESSED = (b"\x5d\x00\x00", b"\xfd7zXZ\x00")
_MAX_UNPACKED_BYTES = 1024 * 1024


def _unpacked(payload: bytes, topic: str) -> bytes:
    try:
        reader = lzma.LZMADecompressor()
        data = reader.decompress(payload, max_length=_MAX_UNPACKED_BYTES)
    except (lzma.LZMAError, EOFError) as exc:
        raise DecodeError("bad_lzma", f"{exc} on {topic}") from exc
    if not reader.eof and not reader.needs_input:
        raise DecodeError("too_large", f"more than {_MAX_UNPACKED_BYTES} bytes unpacked on {topic}")
    return data


def decode(message: RawMessage) -> list[Observation]:
    """Read what a ground receiver heard, in whichever form it passes that on.

    Raises:
        DecodeError: ``no_remote_id``, ``short_payload``, ``bad_message``,
            ``bad_json``, ``not_finite``, ``bad_base64``, ``bad_lzma``, ``too_large``,
            ``unknown_properties``; for plain JSON as :func:`ingest.decoders.remote_id.decode`.

    Example:
        >>> vector = ("f1190202123135383146354" + "24b443232354430304250383931000000"
        ...           "12222332fd70887e15703bc14780088f0870085c4439300200")
        >>> [one] = decode(RawMessage(topic="qn/c/remote-id/r-1", received_ns=5,
        ...                           payload=bytes.fromhex(vector)))
        >>> one.thing_id, one.kind, one.lon_deg, one.measures["alt_takeoff_m"]
        ('1581F5BKD225D00BP891', 'aircraft', 120.3846, 80.0)
    """
    check_size(message)
    payload = message.payload
    if payload.startswith(_COMPRESSED):
        payload = _unpacked(payload, message.topic)
    start = payload[:64].lstrip()[:1]
    if start in {b"{", b"["}:
        try:
            text = payload.rstrip(b"\x00\r\n\t ").decode("utf-8")
        except UnicodeDecodeError as exc:
            raise DecodeError("bad_json", f"{exc} on {message.topic}") from exc
        return _decode_json(text, message)
    frame = _from_hex(payload)
    return observe(read_broadcast(frame), message, transmitter=transmitter_of(frame))


def _from_hex(payload: bytes) -> bytes:
    """The bytes that a payload of hex digits stands for; any other payload as it is."""
    text = payload.strip()
    if len(text) >= 2 * MESSAGE_BYTES and len(text) % 2 == 0:
        try:
            return bytes.fromhex(text.decode("ascii"))
        except ValueError:
            return payload
    return payload
