"""With PostgreSQL several API processes may run: one delivers, another takes over."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client import CollectorRegistry
from sqlalchemy import create_engine, text

from api.notify import notifier as notifier_module
from api.notify.notifier import MQTT, Notifier
from core.clock import SystemClock
from core.events import Edge
from ingest.broker import EmbeddedBroker
from scenarios.loader import load_packs
from store.cases import CaseStore
from store.database import migrate

pytestmark = pytest.mark.postgres
WAIT_S = 30.0


@pytest.fixture
def url(postgres_server: Any) -> str:
    name = f"qingniao_standby_{os.getpid()}"
    engine = create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    made = engine.url.set(database=name).render_as_string(hide_password=False)
    engine.dispose()
    migrate(made)
    return made


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    made = EmbeddedBroker(tmp_path / "broker", 0)
    made.start()
    yield made
    made.stop()


async def until(what: Any) -> None:
    async with asyncio.timeout(WAIT_S):
        while not what():
            await asyncio.sleep(0.02)


async def test_one_delivers_and_the_other_takes_over(
    site: Any, url: str, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier_module, "RETRY_S", 0.1)
    heard: list[str] = []
    address = broker.address
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(address.username, address.password)
    client.on_message = lambda _client, _data, one: heard.append(one.topic)
    client.connect(address.host, address.port)
    client.subscribe("incidents/#", qos=1)
    client.loop_start()
    stores = [
        CaseStore(url, load_packs(None), site.city.units, site.city.workers, "QD") for _ in "ab"
    ]
    parts: list[dict[str, str]] = [{}, {}]

    def run(n: int) -> asyncio.Task[None]:
        notifier = Notifier(
            stores[n],
            site.city.name,
            login=address,
            webhooks_path=Path("none.yaml"),
            clock=SystemClock(),
            wall=SystemClock(),
            registry=CollectorRegistry(),
            alerts=site.app.state.alerts,
            told=lambda name, _ok, detail: parts[n].update({name: detail}),
        )
        return asyncio.create_task(notifier.run())

    def change(number: int) -> None:
        site.store = stores[number % 2]  # either process may write
        site.apply(site.event(10.0 * number, Edge.STILL if number else Edge.RAISE))

    def reached() -> bool:
        [state] = [one for one in stores[0].outbox.subscribers() if one.name == MQTT]
        return state.sequence == stores[0].latest_sequence()

    first = run(0)
    try:
        await until(lambda: "incident feed" in parts[0])
        second = run(1)
        await until(lambda: parts[1].get("notifications") == "another process delivers")
        for number in range(5):
            change(number)
        await until(reached)
        assert "incident feed" not in parts[1]
        first.cancel()
        await until(lambda: "incident feed" in parts[1])
        for number in range(5, 10):
            change(number)
        await until(reached)
        assert len(heard) >= 10
    finally:
        for task in (first, second):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        client.disconnect()
        client.loop_stop()
        for store in stores:
            store.close()
