"""Replay: the same incidents at any speed and in any process; spans, topics, steps, brokers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from recordings import START_NS, a_street, street_messages
from rich.console import Console

from commands.playing import play
from commands.replay import ReplayPlan, run_replay, span
from core.errors import InputError
from core.incidents import Incident
from core.settings import load_settings
from core.units import NS_PER_S
from geo.city import City, load_city
from ingest.broker import EmbeddedBroker
from ingest.recording.pace import Pace
from ingest.recording.reader import Recording

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def city() -> City:
    return load_city("generated", seed=7)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory, city: City) -> Path:
    return a_street(tmp_path_factory.mktemp("street"), city)


async def replayed(tmp_path: Path, street: Path, **plan: Any) -> tuple[dict[str, Any], str]:
    console = Console(record=True, width=200, force_terminal=False)
    json_path = tmp_path / "result.json"
    settings = load_settings(data_dir=tmp_path / "data")
    whole = ReplayPlan(street, json_path=json_path, **plan)
    code = await run_replay(settings, whole, console)
    assert code == 0, console.export_text()
    result = json.loads(json_path.read_text()) if json_path.exists() else {}
    return result, console.export_text()


async def test_passes_and_speeds_give_the_same_bytes(tmp_path: Path, street: Path) -> None:
    (tmp_path / "a").mkdir()
    fast, told = await replayed(tmp_path / "a", street, loop=2)
    assert "pass 2: the same incidents, byte for byte" in told
    (tmp_path / "b").mkdir()
    slow, _ = await replayed(tmp_path / "b", street, speed=400.0)
    assert fast == slow
    assert [one["scenario"] for one in fast["incidents"]] == ["road-flooding"]
    assert fast["messages"] == 72 * 2


class RoundByRound(Pace):
    """Gives every round alone, as a live city comes."""

    def is_due(self, instant_ns: int) -> bool:
        return False


async def test_rounds_that_share_records_give_the_bytes_of_rounds_alone(
    tmp_path: Path, street: Path, city: City
) -> None:
    found = []
    for number, (pace, partitions) in enumerate(
        [(Pace(), 1), (RoundByRound(), 1), (Pace(), 3), (RoundByRound(), 3)]
    ):
        settings = load_settings(data_dir=tmp_path / str(number), partitions=partitions)
        played = await play(settings, city, Recording(street).rounds(), pace=pace)
        found.append(played.canonical)
    assert found[0].count(b"\n") == 1
    assert set(found) == {found[0]}


@pytest.mark.slow
def test_processes_with_other_hash_seeds_give_the_same_bytes(tmp_path: Path, street: Path) -> None:
    found = []
    for seed in ("0", "4242"):
        path = tmp_path / f"{seed}.jsonl"
        command = [sys.executable, "-m", "cli", "replay", str(street), "--canonical", str(path)]
        env = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run(command, cwd=ROOT, env=env, check=True, timeout=60, capture_output=True)
        found.append(path.read_bytes())
    assert found[0] == found[1]
    assert found[0].count(b"\n") == 1


async def test_spans_and_topics(tmp_path: Path, street: Path) -> None:
    # The flood begins after two minutes.
    early, _ = await replayed(tmp_path, street, until="110s")
    assert early["incidents"] == []
    assert early["messages"] == 12 * 2
    thing = next(Recording(street).rounds()).messages[1].topic  # of the sensor that stays dry
    dry, _ = await replayed(tmp_path, street, topics=(thing,), since="1min")
    assert dry["incidents"] == []
    assert 60 <= dry["messages"] <= 66


def test_times_as_people_write_them(street: Path) -> None:
    first_ns = next(Recording(street).rounds()).instant_ns
    assert span("90s", "2026-07-01T01:10:00Z", Recording(street)) == (
        first_ns + 90 * NS_PER_S,
        START_NS + 600 * NS_PER_S,
    )
    with pytest.raises(InputError):
        span("soon", None, Recording(street))


async def test_a_step_ends_at_the_next_incident(tmp_path: Path, city: City) -> None:
    street = a_street(tmp_path / "r", city, floods=1)
    told: list[Incident] = []
    pace = Pace(1.0)
    pace.step()
    playing = asyncio.create_task(
        play(
            load_settings(data_dir=tmp_path / "data"),
            city,
            Recording(street).rounds(),
            pace=pace,
            incident=told.append,
        )
    )
    while not pace.paused:
        await asyncio.sleep(0.01)
        assert not playing.done()
    assert [one.scenario for one in told] == ["road-flooding"]
    assert told[0].cleared_ns is None  # it stands where the incident opened, not later
    pace.set_speed(None)
    pace.resume()
    played = await playing
    assert len(played.cases) == 1
    assert played.cases[0][0].cleared_ns is not None


async def test_a_recording_into_a_broker(tmp_path: Path, street: Path, city: City) -> None:
    (tmp_path / "broker").mkdir()
    broker = EmbeddedBroker(tmp_path / "broker")
    address = await asyncio.to_thread(broker.start)
    try:
        url = f"mqtt://{address.username}:{address.password}@{address.host}:{address.port}"
        _, told = await replayed(tmp_path, street, into=url, loop=2)
    finally:
        await asyncio.to_thread(broker.stop)
    assert f"{2 * len(street_messages(city)):,} messages into" in told
    assert address.password not in told


async def test_a_wrong_option_is_told(tmp_path: Path, street: Path) -> None:
    with pytest.raises(InputError, match="none, lossless, live"):
        await replayed(tmp_path, street, frames="all")
