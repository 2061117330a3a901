"""Cayenne LPP: channel, type and big-endian value; what many makers' devices can send."""

from __future__ import annotations

from typing import NamedTuple

from core.errors import DecodeError
from ingest.decoders.lorawan.tlv import Decoded, need
from ingest.decoders.senml_names import measure_of


class _Type(NamedTuple):
    name: str
    size: int
    divisor: float
    signed: bool
    unit: str | None


#: By IPSO object number less 3200.
_TYPES = {
    0x00: _Type("digital_input", 1, 1, False, None),
    0x01: _Type("digital_output", 1, 1, False, None),
    0x02: _Type("analog_input", 2, 100, True, None),
    0x03: _Type("analog_output", 2, 100, True, None),
    0x64: _Type("generic", 4, 1, False, None),
    0x65: _Type("illuminance", 2, 1, False, "lx"),
    0x66: _Type("presence", 1, 1, False, None),
    0x67: _Type("temperature", 2, 10, True, "Cel"),
    0x68: _Type("humidity", 1, 2, False, "%RH"),
    0x73: _Type("pressure", 2, 10, False, "hPa"),
    0x74: _Type("voltage", 2, 100, False, "V"),
    0x75: _Type("current", 2, 1000, False, "A"),
    0x76: _Type("frequency", 4, 1, False, "Hz"),
    0x78: _Type("percentage", 1, 1, False, "%"),
    0x79: _Type("altitude", 2, 1, True, "m"),
    0x7D: _Type("concentration", 2, 1, False, "ppm"),
    0x80: _Type("power", 2, 1, False, "W"),
    0x82: _Type("distance", 4, 1000, False, "m"),
    0x83: _Type("energy", 4, 1000, False, "kWh"),
    0x84: _Type("direction", 2, 1, False, "deg"),
    0x85: _Type("unix_time", 4, 1, False, None),
    0x8E: _Type("switch", 1, 1, False, None),
}
_VECTORS = {0x71: ("acceleration", 1000, "g"), 0x86: ("angular_rate", 100, "deg/s")}
_GPS = 0x88


def decode_payload(payload: bytes) -> Decoded:
    """Read a payload; a measure that several channels send carries the channel's number.

    Raises:
        DecodeError: ``short_payload``, ``unknown_payload``.

    Example:
        >>> decode_payload(bytes.fromhex("03670110056700ff")).measures
        {'temperature_c': 27.2, 'temperature_ch5_c': 25.5}
    """
    decoded = Decoded()
    at = 0
    while at + 2 <= len(payload):
        channel, code = payload[at], payload[at + 1]
        if code == _GPS:
            _place(payload, at + 2, decoded)
            at += 11
        elif code in _VECTORS:
            name, divisor, unit = _VECTORS[code]
            for n, axis in enumerate("xyz"):
                value = _number(payload, at + 2 + 2 * n, 2, True) / divisor
                _keep(decoded, f"{name}_{axis}", channel, unit, value)
            at += 8
        elif code in _TYPES:
            kind = _TYPES[code]
            value = _number(payload, at + 2, kind.size, kind.signed) / kind.divisor
            _keep(decoded, kind.name, channel, kind.unit, value)
            at += 2 + kind.size
        else:
            break
    if at == 0:
        raise DecodeError("unknown_payload", f"no LPP type in {payload[:48].hex()}")
    if at < len(payload):
        decoded.add("undecoded", payload[at:].hex())
    return decoded


def _number(payload: bytes, at: int, size: int, signed: bool) -> int:
    need(payload, at, size)
    return int.from_bytes(payload[at : at + size], "big", signed=signed)


def _keep(decoded: Decoded, name: str, channel: int, unit: str | None, value: float) -> None:
    measure, converted = measure_of(name, unit, value)
    if measure in decoded.measures:
        measure, converted = measure_of(f"{name}_ch{channel}", unit, value)
    decoded.fields[f"{name}_{channel}"] = value
    decoded.measures[measure] = converted


def _place(payload: bytes, at: int, decoded: Decoded) -> None:
    lat = _number(payload, at, 3, True) / 1e4
    lon = _number(payload, at + 3, 3, True) / 1e4
    height = _number(payload, at + 6, 3, True) / 100
    if (lat, lon) != (0, 0) and abs(lat) <= 90 and abs(lon) <= 180:
        decoded.lon_deg, decoded.lat_deg = lon, lat
        decoded.measures["altitude_m"] = height
