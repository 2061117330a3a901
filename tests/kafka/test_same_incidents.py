"""The same messages give the same incidents, byte for byte: embedded, on Kafka, 1 and 3 workers.

Compared is the canonical form (core.canonical): id, scenario, place, event times, evidence.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from commands.parts import StreamParts, registered_things
from core import topics
from core.canonical import canonical_json
from core.clock import ManualClock
from core.ports import LogWriter, RawMessage
from core.settings import Settings
from core.units import NS_PER_S, rfc3339_to_ns
from geo.city import City, load_city
from ingest.bridge import Bridge
from ingest.kafka_log import KafkaLog
from scenarios.engine import RuleEngine
from store.canonical import all_cases
from streams.app import FaustLog, build_app
from streams.decisions import DecisionWriter

pytestmark = pytest.mark.kafka

START_NS = rfc3339_to_ns("2026-07-01T09:00:00+08:00")
MEASURES = {
    "smoke": ("smoke_db_per_m", 0.5),
    "water_level": ("water_level_m", 0.6),
    "manhole": ("tilt_deg", 40.0),
    "gas": ("gas_lel_ratio", 0.4),
}


@pytest.fixture(scope="module")
def city() -> City:
    return load_city("generated", seed=7)


def a_recording(city: City) -> list[list[RawMessage]]:
    """Rounds five seconds apart: devices near each other alarm at the same instants."""
    chance = random.Random(5)
    devices = [one for one in city.devices.values() if one.kind in MEASURES]
    alarming = {one.thing_id for one in devices if chance.random() < 0.7}
    rounds = []
    for step in range(60):
        at_ns = START_NS + 5 * step * NS_PER_S
        said = []
        for one in devices:
            name, high = MEASURES[one.kind]
            level = high if one.thing_id in alarming and 4 <= step < 40 else 0.0
            body: dict[str, Any] = {"kind": one.kind, "measures": {name: level}}
            if chance.random() < 0.7:
                body |= {"time": at_ns // 1_000_000, "seq": step}
            said.append(
                RawMessage(
                    topic=f"qn/{city.name}/sensor/{one.thing_id}",
                    payload=json.dumps(body).encode(),
                    received_ns=at_ns,
                    qos=1,
                )
            )
        # Gauges of one flood, whose things lie in different partitions: which of them rises
        # first in the one order makes the incident's id.
        for gauge in range(12):
            level = 0.6 if 4 <= step < 40 else 0.0
            body = {
                "kind": "water_level", "time": at_ns // 1_000_000, "seq": step,
                "lon": 120.3846, "lat": 36.0614 + gauge * 1e-6,
                "measures": {"water_level_m": level},
            }  # fmt: skip
            said.append(
                RawMessage(
                    topic=f"qn/{city.name}/sensor/gauge-{gauge}",
                    payload=json.dumps(body).encode(),
                    received_ns=at_ns,
                    qos=1,
                )
            )
        chance.shuffle(said)
        rounds.append(said)
    return rounds


class Rounds:
    """A source that gives each round at its time."""

    live = True

    def __init__(self, rounds: list[list[RawMessage]], clock: ManualClock) -> None:
        self._rounds, self._clock = rounds, clock

    async def batches(self) -> AsyncIterator[Sequence[RawMessage]]:
        for said in self._rounds:
            self._clock.advance_to(said[0].received_ns)
            yield said
            await asyncio.sleep(0)

    def acknowledge(self, messages: Sequence[RawMessage]) -> None:
        del messages


async def incidents(
    folder: Path, city: City, recording: list[list[RawMessage]], *, kafka: str, workers: int
) -> bytes:
    """Run the recording through the whole chain and give its incidents in canonical form."""
    partitions = 8 if kafka else 1
    clock = ManualClock(START_NS)
    settings = Settings(data_dir=folder, partitions=partitions)
    parts = await asyncio.to_thread(StreamParts, settings, city, clock)
    registered = registered_things(city)
    url = f"kafka://{kafka}" if kafka else f"embedded://{folder / 'log'}"
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, parts.store.close)
        writers, apps = [], []
        for number in range(workers):
            decisions = DecisionWriter(parts.store.apply, clock, partitions, parts.store.wakes_ns)
            services = parts.services._replace(
                decisions=decisions, new_engine=lambda: RuleEngine(parts.packs, registered)
            )
            app = build_app(
                log_url=url,
                data_dir=folder / str(number),
                partitions=partitions,
                services=services,
                app_id="qingniao-same",
            )
            running = asyncio.create_task(decisions.run())
            stack.callback(running.cancel)
            stack.push_async_callback(app.stop)
            await app.start()
            writers.append(decisions)
            apps.append(app)

        def shares() -> list[int]:
            held = [one.consumer.assignment() for one in apps]
            return [sum(tp.topic == topics.OBSERVATIONS for tp in tps) for tps in held]

        async with asyncio.timeout(40):
            while sum(shares()) != partitions or min(shares()) == 0:
                await asyncio.sleep(0.1)
        log: LogWriter = FaustLog(apps[0])
        if kafka:
            log = on_kafka = KafkaLog(kafka, topics={topics.OBSERVATIONS: partitions})
            stack.push_async_callback(on_kafka.close)
            await on_kafka.start()
        bridge = Bridge(
            Rounds(recording, clock), log, clock,
            city=city.name, partitions=partitions, ingest_id="ingest/000001",
        )  # fmt: skip
        await bridge.run()
        clock.advance_to(clock.now_ns() + 3600 * NS_PER_S)
        await bridge.tick()  # what only time ends
        last = bridge.sequence
        await bridge.tick()
        async with asyncio.timeout(60):
            while max(one.applied_sequence for one in writers) < last:
                assert not any(app.crashed for app in apps)
                await asyncio.sleep(0.05)
        cases = await asyncio.to_thread(lambda: list(all_cases(parts.store)))
    return canonical_json(cases)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_embedded_and_kafka_with_one_and_three_workers_give_the_same_bytes(
    tmp_path: Path, city: City, kafka_servers: str, admin: AIOKafkaAdminClient
) -> None:
    recording = a_recording(city)
    embedded = await incidents(tmp_path / "e", city, recording, kafka="", workers=1)
    assert embedded.count(b"\n") > 5
    for workers in (1, 3):
        old = [one for one in await admin.list_topics() if not one.startswith("__")]
        if old:
            await admin.delete_topics(old)
        folder = tmp_path / f"k{workers}"
        found = await incidents(folder, city, recording, kafka=kafka_servers, workers=workers)
        assert found == embedded, f"{workers} workers"
