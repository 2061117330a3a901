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
from commands.inspect import open_to_read, print_explanation
from commands.trace import print_trace
from core.clock import ManualClock
from core.errors import NotFoundError
from core.ports import RawMessage
from core.settings import Settings, load_settings
from geo.city import load_city
from store.archive.query import ArchiveReader
from store.explanation import explanation
from store.filters import IncidentFilter
from store.trace import trace, verdicts


class Sensor:
    """A device that says one thing after the other."""

    live = True

    def __init__(
        self, clock: ManualClock, thing: str, readings: Sequence[dict[str, Any]], every_s: float
    ) -> None:
        self._clock = clock
        self._topic = f"qn/qingdao/sensor/{thing}"
        self._readings = readings
        self._every_s = every_s

    async def batches(self) -> AsyncIterator[Sequence[RawMessage]]:
        for number, reading in enumerate(self._readings):
            now_ns = at_s(self._every_s * number)
            self._clock.advance_to(now_ns)
            payload = msgspec.json.encode(reading | {"seq": number})
            yield [RawMessage(topic=self._topic, payload=payload, received_ns=now_ns, qos=1)]

    def acknowledge(self, messages: Sequence[RawMessage]) -> None: ...


def an_alarm(clock: ManualClock) -> Sensor:
    """A smoke detector that is over its threshold for half a minute."""
    levels = [0.5] * 6 + [0.02] * 2
    readings = [{"kind": "smoke", "measures": {"smoke_db_per_m": level}} for level in levels]
    return Sensor(clock, "smoke-0001", readings, every_s=5)


def a_drill(clock: ManualClock) -> Sensor:
    """A station at a site that hears a drill for four minutes, in the morning."""
    place = {"lon": 120.3846, "lat": 36.0614}
    reading = {"kind": "site_air", "measures": {"noise_db": 78.0}} | place
    return Sensor(clock, "air-1", [reading] * 24, every_s=10)


@pytest.fixture
async def settings(tmp_path: Path) -> Settings:
    """A data folder after an alarm."""
    settings = load_settings(data_dir=tmp_path / "data")
    clock = ManualClock(at_s(0))
    city = load_city("generated", seed=7)
    async with CityProcess(settings, clock=clock, city=city, source=an_alarm(clock)) as process:
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


async def test_why_the_other_rules_and_receivers_were_not_chosen(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data")
    clock = ManualClock(at_s(0))
    city = load_city("generated", seed=7)
    async with CityProcess(settings, clock=clock, city=city, source=a_drill(clock)) as process:
        await process.settle()
        [case] = process.store.cases(IncidentFilter())
        archive = ArchiveReader(settings.archive_dir)
        told = explanation(process.store, archive, case.id, city.units, city.workers)
        archive.close()
    assert told["rules_met"] == ["site-noise/level"]
    others = {one["rule"]: one for one in told["rules_not_met"]}
    # Loud enough for the night, but it is morning: of its own conditions none failed.
    assert (others["night-work/noise"]["verdict"], others["night-work/noise"]["failed"]) == (
        "matched",
        [],
    )
    assert others["site-dust/pm10"]["failed"] == [
        {"wanted": "pm10_ug_m3 at least 150", "got": None}
    ]
    assert told["explanation"] == case.explanation
    not_chosen = {one.id: one.why_not.en for one in told["receivers_not_chosen"]}
    assert case.unit_id not in not_chosen
    assert "is of 交通" in not_chosen.values()
    console = Console(record=True, width=220, force_terminal=False)
    print_explanation(settings, case.case_number, console)
    text = console.export_text()
    assert "pm10_ug_m3 at least 150, got None" in text
    assert "place, hours or duration" in text
