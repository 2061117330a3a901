"""One observation from its message to the incident, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import an_observation, at_s
from rich.console import Console

from commands.city_process import CityProcess
from commands.inspect import open_to_read
from commands.trace import print_trace
from core.clock import ManualClock
from core.errors import NotFoundError
from core.ports import RawMessage
from core.settings import Settings, load_settings
from geo.city import load_city
from store.archive.query import ArchiveReader
from store.trace import trace, verdicts


class Alarm:
    """A smoke detector that is over its threshold for half a minute."""

    live = True

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    async def batches(self) -> AsyncIterator[Sequence[RawMessage]]:
        for number in range(8):
            self._clock.advance_to(at_s(5 * number))
            level = 0.5 if number < 6 else 0.02
            body = {"kind": "smoke", "seq": number, "measures": {"smoke_db_per_m": level}}
            yield [
                RawMessage(
                    topic="qn/qingdao/sensor/smoke-0001",
                    payload=msgspec.json.encode(body),
                    received_ns=at_s(5 * number),
                    qos=1,
                )
            ]

    def acknowledge(self, messages: Sequence[RawMessage]) -> None: ...


@pytest.fixture
async def settings(tmp_path: Path) -> Settings:
    """A data folder after an alarm."""
    settings = load_settings(data_dir=tmp_path / "data")
    clock = ManualClock(at_s(0))
    city = load_city("generated", seed=7)
    async with CityProcess(settings, clock=clock, city=city, source=Alarm(clock)) as process:
        await process.settle()
        assert not process.failure.done()
    return settings


def _traced(settings: Settings, wanted: str) -> dict[str, Any]:
    store, archive = open_to_read(settings), ArchiveReader(settings.archive_dir)
    try:
        return trace(store, archive, wanted)
    finally:
        archive.close()
        store.close()


async def test_from_the_incident_to_the_message_and_back(settings: Settings) -> None:
    store = open_to_read(settings)
    (change,) = {line.sequence: line for line in store.feed_after(0, 1)}.values()
    incident_id = msgspec.json.decode(change.payload)["incident"]["id"]
    store.close()
    back = _traced(settings, incident_id)
    assert back["not_archived"] == []
    (observation, *_) = back["observations"]
    assert observation["topic"] == "qn/qingdao/sensor/smoke-0001"
    assert observation["log"]["offset"] >= 0
    (rule,) = (one for one in observation["rules"] if one["rule"].startswith("smoke-alarm/"))
    assert (rule["verdict"], rule["failed"]) == ("matched", [])
    forth = _traced(settings, observation["id"])
    assert [one["incident"]["id"] for one in forth["incidents"]] == [incident_id]
    assert forth["incidents"][0]["told"]
    console = Console(record=True, width=200, force_terminal=False)
    print_trace(settings, observation["id"], False, console)
    text = console.export_text()
    assert f"observations[0]@{observation['log']['offset']}" in text
    assert "smoke-alarm" in text
    with pytest.raises(NotFoundError):
        _traced(settings, "0" * 32)


def test_a_rule_that_nearly_matched_says_what_was_missing() -> None:
    from scenarios.loader import load_packs

    low = an_observation(measures={"water_level_m": 0.1})
    observation = {"kind": low.kind, "measures": low.measures, "labels": low.labels}
    (found, *_) = verdicts(load_packs(), observation)
    assert found["verdict"] == "nearly"
    assert found["failed"] == [{"wanted": "water_level_m at least 0.25", "got": 0.1}]
