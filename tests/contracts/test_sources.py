"""What every MessageSource must do: live brokers and a recording, one suite."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from core.clock import SystemClock
from core.ports import MessageSource, RawMessage
from ingest.broker import BrokerAddress, EmbeddedBroker, MosquittoBroker, find_mosquitto
from ingest.mqtt_source import MqttSource
from ingest.recording.reader import Recording
from ingest.recording.source import RecordedSource

COUNT = 1500
SENT = [(f"qn/c/sensor/w-{i % 7}", b'{"seq": %d}' % i) for i in range(COUNT)]

#: Opens a source that will yield SENT.
Opener = Callable[[Path], Any]


def publish(address: BrokerAddress, sent: Sequence[tuple[str, bytes]]) -> None:
    client = Client(CallbackAPIVersion.VERSION2, client_id="publisher")
    client.username_pw_set(address.username, address.password)
    client.max_inflight_messages = 200
    client.connect(address.host, address.port)
    client.loop_start()
    for published in [client.publish(topic, payload, 1) for topic, payload in sent]:
        published.wait_for_publish(30.0)
    client.disconnect()
    client.loop_stop()


@asynccontextmanager
async def on_a_broker(
    broker: EmbeddedBroker | MosquittoBroker,
) -> AsyncIterator[MessageSource]:
    address = broker.start()
    source = MqttSource(address, SystemClock(), client_id="contract")
    try:
        await source.start()
        publishing = asyncio.create_task(asyncio.to_thread(publish, address, SENT))
        yield source
        await publishing
        await source.stop()
    finally:
        broker.stop()


@asynccontextmanager
async def recorded(folder: Path) -> AsyncIterator[MessageSource]:
    path = folder / "recording.jsonl"
    path.write_text(
        "".join(
            json.dumps({"ts": 1000 + i // 3, "topic": topic, "data": json.loads(payload)}) + "\n"
            for i, (topic, payload) in enumerate(SENT)
        )
    )
    yield RecordedSource(Recording(path).rounds())


def mosquitto(folder: Path) -> Any:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    return on_a_broker(MosquittoBroker(folder))


@pytest.fixture(
    params=[
        pytest.param(lambda folder: on_a_broker(EmbeddedBroker(folder)), id="embedded"),
        pytest.param(mosquitto, id="mosquitto", marks=pytest.mark.broker),
        pytest.param(recorded, id="recorded"),
    ]
)
def opener(request: pytest.FixtureRequest) -> Opener:
    found: Opener = request.param
    return found


async def take(
    source: MessageSource,
    count: int,
    each: Callable[[Sequence[RawMessage]], Awaitable[None]] | None = None,
) -> list[list[RawMessage]]:
    taken: list[list[RawMessage]] = []
    async with asyncio.timeout(30):
        async for batch in source.batches():
            taken.append(list(batch))
            if each is not None:
                await each(batch)
            source.acknowledge(batch)
            if sum(map(len, taken)) >= count:
                break
    return taken


async def test_everything_comes_once_and_in_order(opener: Opener, tmp_path: Path) -> None:
    async with opener(tmp_path) as source:
        batches = await take(source, COUNT)
    messages = [message for batch in batches for message in batch]
    assert [(one.topic, json.loads(one.payload)["seq"]) for one in messages] == [
        (topic, json.loads(payload)["seq"]) for topic, payload in SENT
    ]
    assert all(0 < len(batch) <= 512 for batch in batches)
    received = [one.received_ns for one in messages]
    assert received == sorted(received)
    assert {(one.qos, one.duplicate) for one in messages} == {(1, False)}


async def test_a_slow_taker_loses_nothing(opener: Opener, tmp_path: Path) -> None:
    async def dawdle(_: Sequence[RawMessage]) -> None:
        await asyncio.sleep(0.001)

    async with opener(tmp_path) as source:
        batches = await take(source, COUNT, dawdle)
    numbers = [json.loads(one.payload)["seq"] for batch in batches for one in batch]
    assert numbers == list(range(COUNT))


async def test_acknowledging_twice_or_nothing_does_no_harm(opener: Opener, tmp_path: Path) -> None:
    async def twice(batch: Sequence[RawMessage]) -> None:
        source.acknowledge(batch)
        source.acknowledge([])

    async with opener(tmp_path) as source:
        batches = await take(source, COUNT, twice)
    assert sum(map(len, batches)) == COUNT
