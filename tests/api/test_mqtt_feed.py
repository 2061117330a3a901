"""The incident feed at real brokers: levels, what is retained, outages, kills."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client import CollectorRegistry

from api.notify import notifier as notifier_module
from api.notify.notifier import MQTT, Notifier
from core.clock import SystemClock
from core.events import Edge, Place
from core.topics import area_levels, incident_topic
from ingest.broker import BrokerAddress, EmbeddedBroker, MosquittoBroker, find_mosquitto
from scenarios.lifecycle import Action, Role
from scenarios.steps import Step
from scenarios.verdicts import Verdict
from store.cases import CaseStore
from store.documents import area_code_of
from store.rows import Judgement

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 30.0


class Subscriber:
    """Somebody who hears a feed."""

    def __init__(self, address: BrokerAddress, *filters: str) -> None:
        self.heard: list[tuple[str, bytes, bool]] = []
        self._subscribed = threading.Event()
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set(address.username, address.password)
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda *_: client.subscribe([(one, 1) for one in filters])
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = lambda _client, _data, one: self.heard.append(
            (one.topic, one.payload, one.retain)
        )
        client.connect(address.host, address.port, keepalive=10)
        client.loop_start()
        assert self._subscribed.wait(WAIT_S)
        self._client = client

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(payload) for _, payload, _ in self.heard if payload]

    def told(self) -> list[int]:
        """Numbers of the lines heard."""
        return [int(one["sequence"]) for one in self.events() if "sequence" in one]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


async def until(what: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < deadline_s, "not within 30 s"
        await asyncio.sleep(0.02)


@pytest.fixture(
    params=[EmbeddedBroker, pytest.param(MosquittoBroker, marks=pytest.mark.broker)],
    ids=["embedded", "mosquitto"],
)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param is MosquittoBroker and find_mosquitto() is None:
        pytest.skip("no mosquitto")
    made = request.param(tmp_path / "broker", 0)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def subscribe(broker: Any) -> Iterator[Callable[..., Subscriber]]:
    opened: list[Subscriber] = []

    def build(*filters: str) -> Subscriber:
        opened.append(Subscriber(broker.address, *filters))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


class Delivery:
    """A notifier that runs in this test, and what it says of itself."""

    def __init__(self, site: Any, address: BrokerAddress) -> None:
        self.site = site
        store: CaseStore = site.store
        self.store = store
        self.parts: dict[str, tuple[bool, str]] = {}
        self.registry = CollectorRegistry()
        self._notifier = Notifier(
            store,
            site.city.name,
            login=address,
            webhooks_path=Path("none.yaml"),
            clock=SystemClock(),
            wall=SystemClock(),
            registry=self.registry,
            alerts=self.site.app.state.alerts,
            told=lambda name, ok, detail: self.parts.update({name: (ok, detail)}),
        )

    @property
    def works(self) -> bool:
        return self.parts.get("incident feed", (False, ""))[0]

    def sample(self, name: str) -> float:
        return self.registry.get_sample_value(name, {"subscriber": MQTT}) or 0.0

    def reached(self) -> bool:
        """Whether what was told is saved up to the newest line."""
        states = {one.name: one for one in self.store.outbox.subscribers()}
        return states[MQTT].sequence == self.store.latest_sequence()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._notifier.run())
        try:
            await until(lambda: self.works or task.done())
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def step(site: Any, incident_id: str, action: Action) -> None:
    site.store.transition(
        incident_id,
        Step(
            action=action.value,
            actor="worker-1" if action is not Action.CLOSE else "verifier-1",
            role=(Role.WORKER if action is not Action.CLOSE else Role.VERIFIER).value,
            at_ns=site.clock.now_ns(),
            reason="done",
        ),
    )


def close(site: Any, incident_id: str) -> None:
    for action in (Action.ACCEPT, Action.FEEDBACK, Action.CLOSE):
        step(site, incident_id, action)


async def test_every_level_hears_its_own(site: Any, broker: Any, subscribe: Any) -> None:
    place = site.event().place
    levels = area_levels(area_code_of(place))
    assert len(levels) >= 3
    filters = ["incidents/" + "+/" * depth + code + "/#" for depth, code in enumerate(levels)]
    own = [subscribe(one) for one in filters]
    other = subscribe("incidents/999999/#", "incidents/unplaced/#")
    async with Delivery(site, broker.address).running():
        site.apply(site.event())
        await until(lambda: all(one.heard for one in own))
        [row] = site.store.outbox.open_cases()[1].items()
        topic = incident_topic(row[1].area_code, row[0])
        late = subscribe("incidents/#")
        await until(lambda: late.heard)
        assert [(name, retain) for name, _, retain in late.heard] == [(topic, True)]
        event = late.events()[0]
        assert event["type"] == "qingniao.incident.opened"
        assert event["id"] == own[0].events()[0]["id"]
        assert event["subject"] == row[0]
        assert event["data"]["incident"]["version"] == 1
        assert {"worker_name", "snapshot", "handled_by"}.isdisjoint(event["data"]["incident"])

        close(site, row[0])
        await until(lambda: own[0].heard[-1][1] == b"")
        after = subscribe("incidents/#")
        marker = subscribe("probe")
        marker._client.publish("probe", b"x", qos=1)
        await until(lambda: marker.heard)
        assert after.heard == []
    statuses = [one["data"]["incident"]["status"] for one in own[0].events()]
    assert statuses == ["dispatched", "handling", "feedback", "closed"]
    assert other.heard == []


async def test_a_broker_that_is_away_is_waited_for_and_put_right(
    site: Any, broker: Any, subscribe: Any
) -> None:
    delivery = Delivery(site, broker.address)
    async with delivery.running():
        site.apply(site.event(), site.event(thing="manhole-2", north_m=400))
        await until(delivery.reached)
        first, second = sorted(site.store.outbox.open_cases()[1])
        await asyncio.to_thread(broker.stop)
        await until(lambda: not delivery.works)
        for n in range(300):
            site.apply(site.event(60.0 * (n + 1), Edge.STILL))
        close(site, second)
        await asyncio.to_thread(broker.start)
        everything = subscribe("incidents/#")
        await until(delivery.reached)
        await until(lambda: delivery.works)
        late = subscribe("incidents/#")
        await until(lambda: late.heard)
    told = [one for one in everything.events() if one["type"] != "qingniao.incident.state"]
    sequences = [int(one["sequence"]) for one in told]
    assert sequences[-1] == site.store.latest_sequence()
    assert {one["subject"] for one in late.events()} == {first}
    assert late.events()[0]["data"]["incident"]["version"] == site.store.get(first).version
    assert delivery.sample("qingniao_notify_failed_total") >= 1
    assert delivery.sample("qingniao_notify_lost_total") == 0


async def test_what_a_broker_forgot_is_told_again(site: Any, broker: Any, subscribe: Any) -> None:
    delivery = Delivery(site, broker.address)
    site.apply(site.event())  # before anybody was ever told
    async with delivery.running():
        late = subscribe("incidents/#")
        await until(lambda: late.heard)
        assert [one["type"] for one in late.events()] == ["qingniao.incident.state"]
        topic = late.heard[0][0]
        # Somebody wipes it, and leaves what is not so.
        stale = topic.replace(topic.rsplit("/", 1)[1], "f" * 32)
        false = late.heard[0][1].replace(topic.rsplit("/", 1)[1].encode(), b"f" * 32)
        for name, payload in ((topic, b""), (stale, false)):
            late._client.publish(name, payload, qos=1, retain=True).wait_for_publish(WAIT_S)
    async with Delivery(site, broker.address).running():
        again = subscribe("incidents/#")
        await until(lambda: again.heard)
        assert [name for name, _, retain in again.heard if retain] == [topic]


async def test_an_incident_that_moves_leaves_its_old_topic(
    site: Any, broker: Any, subscribe: Any
) -> None:
    everything = subscribe("incidents/#")
    async with Delivery(site, broker.address).running():
        site.apply(site.event())
        await until(lambda: everything.heard)
        [(incident_id, case)] = site.store.outbox.open_cases()[1].items()
        site.store.judge(
            incident_id,
            Judgement(
                verdict=Verdict.WRONG_PLACE,
                actor="a",
                role=Role.OPERATOR.value,
                at_ns=site.clock.now_ns(),
                place=Place(district_code="370299"),
            ),
        )
        moved = incident_topic("370299", incident_id)
        await until(lambda: any(name == moved for name, _, _ in everything.heard))
        late = subscribe("incidents/#")
        await until(lambda: late.heard)
    assert [name for name, _, _ in late.heard] == [moved]
    assert (incident_topic(case.area_code, incident_id), b"", False) in everything.heard


async def test_lines_that_are_gone_are_counted_and_the_state_is_right(
    site: Any, broker: Any, subscribe: Any
) -> None:
    delivery = Delivery(site, broker.address)
    async with delivery.running():
        site.apply(site.event())
        [incident_id] = site.store.outbox.open_cases()[1]
        await until(delivery.reached)
    site.store._max_feed_lines = 100
    for n in range(30):
        site.apply(*(site.event(60.0 * (50 * n + m + 1), Edge.STILL) for m in range(50)))
    kept = site.store.outbox.extent()
    assert kept.oldest > 2
    everything = subscribe("incidents/#")
    delivery = Delivery(site, broker.address)
    async with delivery.running():
        await until(delivery.reached)
    states = {one.name: one for one in site.store.outbox.subscribers()}
    told = {int(one["sequence"]) for one in everything.events() if "sequence" in one}
    told -= {1}  # retained from before
    assert told == set(range(kept.oldest, kept.latest + 1))
    assert states[MQTT].lost == kept.oldest - 2
    last = everything.events()[-1]
    assert last["data"]["incident"]["version"] == site.store.get(incident_id).version


async def test_replays_are_never_overtaken(
    site: Any, broker: Any, subscribe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for while lines are being told, again and again: each begins where it was asked."""
    monkeypatch.setattr(notifier_module, "SAVE_S", 0.02)
    delivery = Delivery(site, broker.address)
    everything = subscribe("incidents/#")
    async with delivery.running():
        for number in range(30):
            site.apply(site.event(10.0 * number, Edge.STILL if number else Edge.RAISE))
            if number == 4:
                # Who was not told of the first lines yet would never be, if asked to go on after.
                await until(lambda: 3 in everything.told())
            if number % 5 == 4:
                before = everything.told().count(3)
                site.store.outbox.ask(MQTT, 2)
                await until(lambda before=before: everything.told().count(3) > before)
            await asyncio.sleep(0.01)
        await until(delivery.reached)
        await until(lambda: site.store.latest_sequence() in everything.told())
    assert set(everything.told()) == set(range(1, site.store.latest_sequence() + 1))
    assert delivery.sample("qingniao_notify_lost_total") == 0


async def test_kills_lose_nothing_and_keep_the_order(
    site: Any, broker: Any, subscribe: Any
) -> None:
    """``kill -9`` of what delivers, again and again, while cases change."""
    how = {
        "store": f"sqlite:///{site.folder / 'store.sqlite3'}",
        "broker": asdict(broker.address),
    }
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    site.store.outbox.subscribe(MQTT, 0)
    everything = subscribe("incidents/#")
    number = 0
    for patience_s in (0.0, 0.3, 0.8, 1.5):
        child = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, str(ROOT / "tests" / "notify_process.py"), json.dumps(how)],
            env=environment,
        )
        before = len(everything.heard)
        deadline_s = time.monotonic() + WAIT_S
        while len(everything.heard) < before + 20:
            assert time.monotonic() < deadline_s
            number += 1
            edge = Edge.RAISE if number == 1 else Edge.STILL
            for n in range(5):
                thing = f"manhole-{n}"
                site.apply(site.event(10.0 * number, edge, thing=thing, north_m=100.0 * n))
            await asyncio.sleep(0.01)
        await asyncio.sleep(patience_s)
        child.send_signal(signal.SIGKILL)
        child.wait()
    delivery = Delivery(site, broker.address)
    async with delivery.running():
        await until(delivery.reached)
        await until(
            lambda: any(
                int(one.get("sequence", 0)) == site.store.latest_sequence()
                for one in everything.events()
            )
        )
    told = [one for one in everything.events() if one["type"] != "qingniao.incident.state"]
    ids: dict[str, int] = {}
    seen: dict[str, list[int]] = {}
    for one in told:
        sequence = int(one["sequence"])
        assert ids.setdefault(one["id"], sequence) == sequence
        mine = seen.setdefault(one["subject"], [])
        if sequence not in mine:  # a repeat is dropped by its id
            mine.append(sequence)
    assert all(mine == sorted(mine) for mine in seen.values())
    assert sorted(ids.values()) == list(range(1, site.store.latest_sequence() + 1))
    assert len(seen) == 5
