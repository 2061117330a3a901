"""The crash harness on Kafka: two stream workers and ingest killed in turn, Kafka restarted.

``make chaos-kafka`` kills at length; the bounded run in the tests once each. Services that end
are started again, as ``restart: unless-stopped`` of docker-compose.yml does.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
import servers
from aiokafka import AIOKafkaConsumer, TopicPartition
from numbered_stream import (
    PACK,
    LogRecord,
    NumberedStream,
    check_every_number_once,
    outcome,
    wait_until_decided,
)
from sqlalchemy import create_engine, text

from core.children import ChildProcess
from ingest.broker import BrokerAddress

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.broker, pytest.mark.slow]

KILLS = int(os.environ.get("QINGNIAO_CHAOS_KILLS", "3"))
SEED = int(os.environ.get("QINGNIAO_CHAOS_SEED", "4"))
PARTITIONS = 4
#: The longest time between two kills, one by one counted from the kill before and from when the
#: victim works, so that on a busy machine, too, not all die at the start. A killed worker is
#: missed after ten seconds.
LIFE_S = 4.0
#: In this order, again and again.
VICTIMS = ("streams-1", "ingest", "streams-2")


class KafkaRecords:
    """Reads a topic on Kafka from the outside."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka

    async def records(self, topic: str, partition: int) -> AsyncGenerator[LogRecord, None]:
        """From the oldest on."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._kafka, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            at = TopicPartition(topic, partition)
            consumer.assign([at])
            end = (await consumer.end_offsets([at]))[at]
            consumer.seek(at, (await consumer.beginning_offsets([at]))[at])
            async with asyncio.timeout(60):
                while await consumer.position(at) < end:
                    for one in (await consumer.getmany(at, timeout_ms=500)).get(at, ()):
                        yield LogRecord(one.offset, one.key, one.value)
        finally:
            await consumer.stop()


class Services:
    """``ingest`` and two ``streams``; who has ended is started again."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = os.environ | environment
        self._running: dict[str, ChildProcess] = {}

    def keep_running(self) -> None:
        """Start what does not run."""
        for name in VICTIMS:
            child = self._running.get(name)
            if child is None or child.exit_code() is not None:
                command = [sys.executable, "-m", "cli", "run", name.partition("-")[0]]
                env = self._environment | {"QINGNIAO_DATA_DIR": str(self._folder / name)}
                log = self._folder / f"{name}.log"
                self._beat(name).unlink(missing_ok=True)
                self._running[name] = ChildProcess(name, command, log, env=env)

    def wait(self, name: str) -> None:
        """Wait until it works; who ends meanwhile is started again."""

        def works() -> bool:
            self.keep_running()
            return self._beat(name).exists()

        servers.await_true(name, works)

    def _beat(self, name: str) -> Path:
        return self._folder / name / "health" / name.partition("-")[0]

    def kill(self, name: str) -> None:
        """As the kernel would."""
        child = self._running[name]
        os.kill(child.pid, signal.SIGKILL)
        child.join(5)

    def stop(self) -> None:
        """End all; who does not within five seconds is killed."""
        for child in self._running.values():
            child.terminate()
        for child in self._running.values():
            child.join(5)

    def last_words(self) -> str:
        """For a failure."""
        return "\n".join(f"--- {one.name}\n{one.last_words(15)}" for one in self._running.values())


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[servers.KafkaServer]:
    server = servers.KafkaServer(tmp_path / "kafka")
    server.start()
    yield server
    server.stop()


@pytest.mark.timeout(240 + 40 * KILLS)
def test_every_number_once_on_kafka(
    tmp_path: Path, kafka: servers.KafkaServer, postgres_server: servers.PostgresServer
) -> None:
    chance = random.Random(SEED)
    packs = tmp_path / "packs"
    packs.mkdir()
    (packs / "chaos-pulse.yaml").write_text(PACK, encoding="utf-8")
    (tmp_path / "mqtt-password").write_text("a password")
    mosquitto = servers.MosquittoServer(tmp_path / "mosquitto", tmp_path / "mqtt-password")
    mosquitto.start()
    engine = create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS chaos"))
        connection.execute(text("CREATE DATABASE chaos"))
    engine.dispose()
    store_url = postgres_server.url("chaos")
    services = Services(
        tmp_path,
        {
            "QINGNIAO_BROKER": f"kafka://{kafka.servers}",
            "QINGNIAO_STORE": store_url,
            "QINGNIAO_PARTITIONS": str(PARTITIONS),
            "QINGNIAO_PACKS": str(packs),
            "QINGNIAO_MQTT__URL": f"mqtt://127.0.0.1:{mosquitto.port}",
            "QINGNIAO_MQTT__USERNAME": "qingniao",
            "QINGNIAO_MQTT__PASSWORD": "a password",
        },
    )
    try:
        services.keep_running()
        # Its session holds what is sent from now on.
        services.wait("ingest")
        stream = NumberedStream(
            BrokerAddress("127.0.0.1", mosquitto.port, "qingniao", "a password")
        )
        stream.start()
        for number in range(KILLS):
            victim = VICTIMS[number % 3]
            if number % 2:
                services.wait(victim)
            time.sleep(chance.uniform(0.5, LIFE_S))
            services.kill(victim)
            if number % 3 == 1:
                kafka.stop()
                kafka.start()
            services.keep_running()
            print(f"kill {number + 1} of {KILLS}: {stream.sent} numbers sent", flush=True)
        sent = stream.finish()
        try:
            wait_until_decided(store_url, sent, services.keep_running)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{services.last_words()}") from None
        services.stop()
        came = outcome(store_url, KafkaRecords(kafka.servers), packs, partitions=PARTITIONS)
        check_every_number_once(sent, came)
    finally:
        services.stop()
        mosquitto.stop()
