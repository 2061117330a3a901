"""A main bursts and an underpass fills: two cases, the one part of the other, in any order."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from recordings import START_NS, street_messages

from commands.playing import Played, play
from core.ports import RawMessage
from core.settings import load_settings
from core.units import NS_PER_S, ns_to_rfc3339
from geo.city import City, load_city
from ingest.recording.rounds import Round


@pytest.fixture(scope="module")
def city() -> City:
    return load_city("generated", seed=7)


def a_burst(city: City, first_s: int) -> list[RawMessage]:
    """A transmitter beside the flooded underpass that loses its pressure, every five minutes."""
    gauge = min(one.thing_id for one in city.devices.values() if one.kind == "water_level")
    lon, lat = city.devices[gauge].lon_deg, city.devices[gauge].lat_deg
    assert lat is not None
    messages = []
    for step in range(3):
        at_ns = START_NS + (first_s + 300 * step) * NS_PER_S
        reading = {
            "kind": "pipe_pressure",
            "time": ns_to_rfc3339(at_ns),
            "lon": lon,
            "lat": lat + 0.001,
            "measures": {"pressure_pa": 61_000.0},
        }
        topic = f"qn/{city.name}/sensor/pipe-1"
        payload = msgspec.json.encode(reading)
        messages.append(RawMessage(topic=topic, payload=payload, received_ns=at_ns, qos=1))
    return messages


async def played(folder: Path, city: City, messages: list[RawMessage]) -> Played:
    ordered = sorted(messages, key=lambda one: one.received_ns)
    rounds = [Round(one.received_ns, [one]) for one in ordered]
    rounds.append(Round(ordered[-1].received_ns + 60 * NS_PER_S, []))
    return await play(load_settings(data_dir=folder), city, rounds)


@pytest.mark.parametrize(
    "first_s", [-300, 120], ids=["the burst is known first", "the flood is known first"]
)
async def test_the_flood_is_part_of_the_burst(tmp_path: Path, city: City, first_s: int) -> None:
    """The flood is raised 180 s in, the burst at its second reading."""
    found = await played(tmp_path, city, [*street_messages(city), *a_burst(city, first_s)])
    cases = {incident.scenario: incident for incident, _ in found.cases}
    assert cases.keys() == {"burst-pipe", "road-flooding"}
    assert cases["road-flooding"].parent_id == cases["burst-pipe"].id
    assert cases["road-flooding"].unit_id == cases["burst-pipe"].unit_id
    assert cases["burst-pipe"].case_number in cases["road-flooding"].explanation.en
    assert cases["burst-pipe"].parent_id is None


async def test_a_flood_alone_is_part_of_nothing(tmp_path: Path, city: City) -> None:
    found = await played(tmp_path, city, street_messages(city))
    [[flood, _]] = found.cases
    assert flood.parent_id is None
