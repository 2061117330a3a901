"""Recordings made for tests: a quiet street with one flood in it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from core.ports import RawMessage
from core.units import NS_PER_S, ns_to_rfc3339, rfc3339_to_ns
from geo.city import City
from ingest.recording.writer import RecordingWriter

START_NS = rfc3339_to_ns("2026-07-01T09:00:00+08:00")

#: How the columns of the air quality file in the shared data are read.
AIR_MAPPING = """
thing: {column: station}
kind: site_air
time: {columns: [year, month, day, hour], utc_offset: "+08:00"}
measures:
  pm10_ug_m3: {column: PM10}
  pm25_ug_m3: {column: PM2.5}
labels: {wind: wd}
"""

#: Likewise those of the GPS track.
UAV_MAPPING = """
thing: {value: uav-1}
kind: aircraft
time: {column: time, format: "%Y-%m-%d %H:%M:%S"}
lon: longitude
lat: latitude
measures: {alt_msl_m: {column: "altitude (m)"}}
"""


def street_messages(city: City, *, minutes: int = 12, floods: int = 1) -> list[RawMessage]:
    """Water level sensors that report every ten seconds; the first ones rise and fall."""
    things = sorted(one.thing_id for one in city.devices.values() if one.kind == "water_level")
    messages = []
    for step in range(minutes * 6):
        for number, thing in enumerate(things):
            at_ns = START_NS + (step * 10) * NS_PER_S + number * 7_000_000
            wet = number < floods and 12 <= step < 40
            level = 0.42 if wet else 0.04 + 0.001 * ((step * 7 + number) % 5)
            payload = msgspec.json.encode(
                {
                    "kind": "water_level",
                    "time": ns_to_rfc3339(at_ns),
                    "measures": {"water_level_m": level},
                }
            )
            messages.append(
                RawMessage(
                    topic=f"qn/{city.name}/sensor/{thing}",
                    payload=payload,
                    received_ns=at_ns + 30_000_000,
                    qos=1,
                    packet_id=len(messages) % 65535 + 1,
                )
            )
    return messages


def a_street(folder: Path, city: City, **given: int) -> Path:
    """The same as a recording, with rounds of up to three messages and ticks in between."""
    writer = RecordingWriter(
        folder, about={"city": "generated", "city_seed": "7", "city_name": city.name}
    )
    messages = street_messages(city, **given)
    for n in range(0, len(messages), 3):
        part = messages[n : n + 3]
        writer.write(part)
        if n % 12 == 9:
            writer.tick(part[-1].received_ns + 6 * NS_PER_S)
    writer.close()
    return folder
