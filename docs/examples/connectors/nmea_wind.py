"""Wind masts that send NMEA 0183 over MQTT: sentence MWV, e.g. ``$WIMWV,214.8,R,2.6,M,A*30``.

A fixed mast points north, so the angle to its "bow" is the direction the wind comes from.
The sentence carries no time: a reading counts as of its receipt.
"""

from __future__ import annotations

import re

from core.errors import DecodeError
from core.observations import Observation
from core.ports import RawMessage
from ingest.decoders.common import last_level

FILTERS = [("nmea/wind/+", 1)]

MPS_PER_UNIT = {"M": 1.0, "K": 1 / 3.6, "N": 1852 / 3600, "S": 0.44704}

MWV = re.compile(
    rb"\$(?P<body>[A-Z]{2}MWV,(?P<angle>[\d.]*),[RT],(?P<speed>[\d.]*),(?P<unit>[KMNS]),(?P<state>[AV]))"
    rb"\*(?P<sum>[0-9A-F]{2})\s*"
)


def decode(message: RawMessage) -> list[Observation]:
    """Read one sentence; a mast that says its data is void gives only that it is alive."""
    found = MWV.fullmatch(message.payload)
    if found is None:
        raise DecodeError("bad_sentence", f"$--MWV,…*hh was wanted, got {message.payload[:80]!r}")
    total = 0
    for byte in found["body"]:
        total ^= byte
    if total != int(found["sum"], 16):
        raise DecodeError(
            "bad_checksum",
            f"*{total:02X} was wanted, got *{found['sum'].decode()} on {message.topic}",
        )
    valid = found["state"] == b"A"
    measures = {"data_valid": float(valid)}
    if valid:
        scale = MPS_PER_UNIT[found["unit"].decode()]
        measures["wind_speed_mps"] = number(found["speed"], 200.0 / scale) * scale
        measures["wind_direction_deg"] = number(found["angle"], 360.0)
    return [
        Observation(
            source="nmea_wind",
            thing_id=f"mast/{last_level(message.topic)}",
            kind="weather",
            observed_ns=message.received_ns,
            received_ns=message.received_ns,
            has_device_time=False,
            measures=measures,
        )
    ]


def number(text: bytes, largest: float) -> float:
    """A number of 0 to the largest."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= largest:
        raise DecodeError("out_of_range", f"0 to {largest:g} was wanted, got {text[:20]!r}")
    return value
