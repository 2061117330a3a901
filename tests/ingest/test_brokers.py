"""Our brokers and the MQTT source on them, for real: slow takers, restarts, crashes, refusals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from core.clock import SystemClock
from core.errors import ServiceError, SettingsError
from core.ports import RawMessage
from core.settings import MqttSettings, Settings
from ingest.broker import (
    BrokerAddress,
    EmbeddedBroker,
    ExternalBroker,
    MosquittoBroker,
    broker_for,
    credentials,
    find_mosquitto,
    greet,
    mosquitto_config,
)
from ingest.broker_probe import probe
from ingest.mqtt_source import MqttSource

ROOT = Path(__file__).resolve().parents[2]
OwnBroker = EmbeddedBroker | MosquittoBroker


@pytest.fixture(
    params=[
        pytest.param(EmbeddedBroker, id="embedded"),
        pytest.param(MosquittoBroker, id="mosquitto", marks=pytest.mark.broker),
    ]
)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OwnBroker]:
    if request.param is MosquittoBroker and find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    made: OwnBroker = request.param(tmp_path)
    made.start()
    yield made
    made.stop()


def a_client(
    address: BrokerAddress, name: str, *, clean: bool = True, manual_ack: bool = False
) -> Client:
    client = Client(
        CallbackAPIVersion.VERSION2, client_id=name, clean_session=clean, manual_ack=manual_ack
    )
    client.username_pw_set(address.username, address.password)
    client.max_inflight_messages = 100
    client.reconnect_delay_set(1, 1)
    client.connect(address.host, address.port)
    client.loop_start()
    return client


def close(client: Client) -> None:
    client.disconnect()
    client.loop_stop()


def publish(
    address: BrokerAddress, numbers: Sequence[int], *, topic: str = "qn/c/sensor/w-1", qos: int = 1
) -> None:
    client = a_client(address, f"publisher-{numbers[0]}")
    for published in [client.publish(topic, str(number), qos) for number in numbers]:
        published.wait_for_publish(60.0)
        assert published.is_published()
    close(client)


@asynccontextmanager
async def a_source(
    address: BrokerAddress,
    *,
    inflight: int = 4096,
    max_bytes: int = 2**26,
    gather_s: float = 0.0,
) -> AsyncIterator[MqttSource]:
    source = MqttSource(
        address,
        SystemClock(),
        client_id="under-test",
        inflight=inflight,
        max_bytes=max_bytes,
        gather_s=gather_s,
    )
    await source.start()
    try:
        yield source
    finally:
        await source.stop()


async def take(
    source: MqttSource,
    enough: Callable[[set[int]], bool],
    *,
    pause_s: float = 0.0,
    acknowledge: bool = True,
    within_s: float = 60.0,
) -> tuple[set[int], list[RawMessage]]:
    numbers: set[int] = set()
    messages: list[RawMessage] = []
    async with asyncio.timeout(within_s):
        async for batch in source.batches():
            await asyncio.sleep(pause_s)
            numbers.update(int(one.payload) for one in batch)
            messages.extend(batch)
            if acknowledge:
                source.acknowledge(batch)
            if enough(numbers):
                break
    return numbers, messages


# -- the broker ------------------------------------------------------------------------------


def test_it_starts_and_stops_soon_and_keeps_its_port(broker: OwnBroker) -> None:
    address = broker.address
    started = time.monotonic()
    broker.stop()
    assert time.monotonic() - started < 1.0
    assert broker.pid is None
    with pytest.raises(OSError):
        greet(address, timeout_s=1.0)
    assert broker.start() == address
    assert broker.start() == address  # a second start changes nothing
    greet(address, timeout_s=1.0)
    broker.stop()
    broker.stop()


@pytest.mark.parametrize(
    ("username", "password"), [("", ""), ("qingniao", "wrong"), ("other", "x")]
)
def test_strangers_are_refused(broker: OwnBroker, username: str, password: str) -> None:
    address = broker.address
    with pytest.raises(ServiceError, match="refused user"):
        greet(BrokerAddress(address.host, address.port, username, password), timeout_s=5.0)


def test_secrets_are_private_and_made_once(broker: OwnBroker, tmp_path: Path) -> None:
    assert credentials(tmp_path) == (broker.address.username, broker.address.password)
    for name in ("mqtt-credentials.json", "mqtt-passwords-amqtt", "mosquitto/passwords"):
        file = tmp_path / name
        if file.exists():
            assert file.stat().st_mode & 0o777 == 0o600
            if name != "mqtt-credentials.json":
                assert broker.address.password not in file.read_text()
    assert broker.address.password not in repr(broker.address)


def test_it_listens_on_loopback_only(broker: OwnBroker) -> None:
    import psutil

    listening = [
        one
        for one in psutil.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.laddr.port == broker.address.port
    ]
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems watch a pipe instead")
@pytest.mark.parametrize("kind", ["EmbeddedBroker", "MosquittoBroker"])
def test_a_child_dies_with_its_parent(kind: str, tmp_path: Path) -> None:
    if kind == "MosquittoBroker" and find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    code = (
        "import sys, time; from pathlib import Path; import ingest.broker as b\n"
        f"broker = b.{kind}(Path(sys.argv[1])); broker.start()\n"
        "print(broker.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5.0
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        while time.monotonic() < deadline:
            os.kill(child, 0)
            if Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return  # dead; nobody has collected it yet
            time.sleep(0.02)
        pytest.fail("the broker outlived its parent")


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"127.0.0.1:{port}"):
            EmbeddedBroker(tmp_path, port).start()


def test_a_broker_that_cannot_start_says_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mqtt-credentials.json").write_text("{}")
    with pytest.raises(ServiceError, match=r"mqtt-credentials\.json"):
        EmbeddedBroker(tmp_path).start()
    monkeypatch.setattr("ingest.broker.find_mosquitto", lambda: "/bin/false")
    with pytest.raises(ServiceError, match=r"broker\.log"):
        MosquittoBroker(tmp_path / "other").start()
    monkeypatch.setattr("ingest.broker.find_mosquitto", lambda: None)
    with pytest.raises(ServiceError, match="not installed"):
        MosquittoBroker(tmp_path / "third").start()


def test_messages_of_a_client_that_left_at_once_arrive(broker: OwnBroker) -> None:
    got: set[bytes] = set()
    taker = a_client(broker.address, "taker")
    taker.on_message = lambda _c, _u, message: got.add(bytes(message.payload))
    granted = threading.Event()
    taker.on_subscribe = lambda *_: granted.set()
    taker.subscribe("qn/#", 1)
    assert granted.wait(5)
    publish(broker.address, range(500))
    deadline = time.monotonic() + 10
    while len(got) < 500 and time.monotonic() < deadline:
        time.sleep(0.01)
    close(taker)
    assert len(got) == 500


def test_a_client_that_takes_over_its_own_connection_goes_on(broker: OwnBroker) -> None:
    """A client whose network died comes back before the broker has noticed."""
    got: set[bytes] = set()
    first = a_client(broker.address, "taker", clean=False)
    granted = threading.Event()
    first.on_subscribe = lambda *_: granted.set()
    first.subscribe("qn/#", 1)
    assert granted.wait(5)
    first.reconnect_delay_set(60, 60)
    second = a_client(broker.address, "taker", clean=False)
    second.on_message = lambda _c, _u, message: got.add(bytes(message.payload))
    time.sleep(1.5)  # the embedded broker looks for sessions to forget once a second
    publish(broker.address, range(100))
    deadline = time.monotonic() + 10
    while len(got) < 100 and time.monotonic() < deadline:
        time.sleep(0.01)
    close(second)
    close(first)
    assert len(got) == 100


def test_a_stranger_cannot_end_a_session(broker: OwnBroker) -> None:
    address = broker.address
    taker = a_client(address, "taker", clean=False)
    granted = threading.Event()
    taker.on_subscribe = lambda *_: granted.set()
    taker.subscribe("qn/#", 1)
    assert granted.wait(5)
    close(taker)
    stranger = Client(CallbackAPIVersion.VERSION2, client_id="taker", reconnect_on_failure=False)
    stranger.connect(address.host, address.port)
    stranger.loop_start()
    time.sleep(0.3)
    assert not stranger.is_connected()
    stranger.loop_stop()
    publish(address, range(50))
    got: set[bytes] = set()
    back = Client(CallbackAPIVersion.VERSION2, client_id="taker", clean_session=False)
    back.username_pw_set(address.username, address.password)
    back.on_message = lambda _c, _u, message: got.add(bytes(message.payload))
    back.connect(address.host, address.port)
    back.loop_start()
    deadline = time.monotonic() + 10
    while len(got) < 50 and time.monotonic() < deadline:
        time.sleep(0.01)
    close(back)
    assert len(got) == 50


async def test_a_broker_of_ours_loses_nothing_for_a_client_that_is_away(broker: OwnBroker) -> None:
    assert await probe(broker.address, count=1500) == 0


@pytest.mark.broker
def test_the_probe_sees_a_broker_with_default_limits(tmp_path: Path) -> None:
    binary = find_mosquitto()
    if binary is None:
        pytest.skip("mosquitto is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path / "default.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    address = BrokerAddress("127.0.0.1", port, "", "")
    with subprocess.Popen([binary, "-c", str(config)], stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    greet(address, timeout_s=1.0)
                    break
                except OSError:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            assert asyncio.run(probe(address, count=1300)) >= 200
        finally:
            process.terminate()


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("embedded", EmbeddedBroker),
        ("mosquitto", MosquittoBroker),
        ("mqtt://example.org:1884", ExternalBroker),
        ("mqtts://example.org", ExternalBroker),
    ],
)
def test_the_broker_that_settings_name(url: str, kind: type, tmp_path: Path) -> None:
    settings = Settings(mqtt=MqttSettings(url=url, username="u", password="p"))
    made = broker_for(settings, tmp_path)
    assert type(made) is kind
    if isinstance(made, ExternalBroker):
        port, tls = (8883, True) if url.startswith("mqtts") else (1884, False)
        assert made.start() == BrokerAddress("example.org", port, "u", "p", tls)
        made.stop()


def test_a_url_without_a_host_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="mqtt://"):
        broker_for(Settings(mqtt=MqttSettings(url="mqtt://")), tmp_path)


def test_the_configuration_has_no_limit_that_loses() -> None:
    text = mosquitto_config(listener="1883", password_file="/p", persistence_location="/d/")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert {"max_queued_messages 0", "max_inflight_messages 4096", "persistence true"} <= set(lines)
    assert "user" not in {line.split()[0] for line in lines}


# -- the source ------------------------------------------------------------------------------


async def test_a_slow_subscriber_that_restarts_gets_everything(broker: OwnBroker) -> None:
    count = 3000
    async with a_source(broker.address):
        pass  # the broker now knows the session
    publishing = asyncio.create_task(asyncio.to_thread(publish, broker.address, range(count)))
    got: set[int] = set()

    async def take_until(total: int) -> list[RawMessage]:
        async with a_source(broker.address, inflight=700) as source:
            numbers, messages = await take(
                source, lambda new: len(got | new) >= total, pause_s=0.02
            )
        got.update(numbers)
        return messages

    for total in (300, 900, 1800, count):
        fresh = [int(one.payload) for one in await take_until(total) if not one.duplicate]
        assert fresh == sorted(fresh)
    await publishing
    assert got == set(range(count))


async def test_what_was_not_acknowledged_comes_again(broker: OwnBroker) -> None:
    async with a_source(broker.address) as source:
        await asyncio.to_thread(publish, broker.address, range(100))
        first, _ = await take(source, lambda new: len(new) == 100, acknowledge=False)
        assert source.in_hand == 100
    async with a_source(broker.address) as source:
        again, messages = await take(source, lambda new: len(new) == 100)
    assert first == again == set(range(100))
    assert all(one.duplicate for one in messages)
    async with a_source(broker.address) as source:
        await asyncio.to_thread(publish, broker.address, [100])
        rest, _ = await take(source, lambda new: bool(new))
    assert rest == {100}


async def test_an_old_connections_tokens_acknowledge_nothing(broker: OwnBroker) -> None:
    async with a_source(broker.address) as source:
        await asyncio.to_thread(publish, broker.address, range(20))
        _, old = await take(source, lambda new: len(new) == 20, acknowledge=False)
        reconnects = source.reconnects
        # The same client id takes the connection over, then leaves.
        close(a_client(source.address, source.client_id, clean=False, manual_ack=True))
        async with asyncio.timeout(10):
            while source.reconnects == reconnects or not source.connected:
                await asyncio.sleep(0.01)
        source.acknowledge(old)
        again, messages = await take(source, lambda new: len(new) == 20)
        assert again == set(range(20))
        assert {one.token >> 16 for one in messages} != {one.token >> 16 for one in old}


@pytest.mark.parametrize(
    ("inflight", "max_bytes"), [(64, 2**26), (4096, 600)], ids=["count", "bytes"]
)
async def test_a_full_queue_stops_the_reading_and_drops_nothing(
    broker: OwnBroker, inflight: int, max_bytes: int
) -> None:
    async with a_source(broker.address, inflight=inflight, max_bytes=max_bytes) as source:
        publishing = asyncio.create_task(asyncio.to_thread(publish, broker.address, range(1000)))
        async with asyncio.timeout(10):
            while not source.stalls:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert source.in_hand <= (inflight if inflight < 4096 else max_bytes)
        numbers, messages = await take(source, lambda new: len(new) == 1000)
        await publishing
        assert source.in_hand == 0
    assert numbers == set(range(1000))
    assert len(messages) == 1000


async def test_a_broker_that_crashes_and_comes_back(broker: OwnBroker) -> None:
    async with a_source(broker.address) as source:
        await asyncio.to_thread(publish, broker.address, range(50))
        await take(source, lambda new: len(new) == 50)
        broker.kill()
        async with asyncio.timeout(5):
            while source.connected:
                await asyncio.sleep(0.01)
        assert not source.live
        await asyncio.sleep(2.0)
        broker.start()
        async with asyncio.timeout(15):
            while not source.connected:
                await asyncio.sleep(0.01)
        assert source.reconnects >= 1
        await asyncio.to_thread(publish, broker.address, range(1000, 1050))
        numbers, _ = await take(source, lambda new: set(range(1000, 1050)) <= new)
        assert set(range(1000, 1050)) <= numbers
        # The crash took the session with it, where it was not on disk; that is said.
        assert source.sessions_lost == 1


async def test_a_stop_of_the_broker_keeps_what_mosquitto_had_queued(tmp_path: Path) -> None:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    broker = MosquittoBroker(tmp_path)
    address = broker.start()
    try:
        async with a_source(address):
            pass
        await asyncio.to_thread(publish, address, range(200))
        await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(broker.start)
        async with a_source(address) as source:
            numbers, _ = await take(source, lambda new: len(new) == 200)
        assert numbers == set(range(200))
    finally:
        broker.stop()


@pytest.mark.skipif(not find_mosquitto(), reason="mosquitto is not installed")
async def test_a_stop_waits_until_mosquitto_has_saved(tmp_path: Path) -> None:
    """A broker killed while it saves loses what it had acknowledged since its last save."""
    broker = MosquittoBroker(tmp_path)
    broker.start()
    async with a_source(broker.address):
        pass
    await asyncio.to_thread(publish, broker.address, range(500))
    pid = broker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # a slow disk
    stopping = asyncio.create_task(asyncio.to_thread(broker.stop))
    await asyncio.sleep(1.5)
    assert not stopping.done()
    os.kill(pid, signal.SIGCONT)
    await stopping
    await asyncio.to_thread(broker.start)
    async with a_source(broker.address) as source:
        await take(source, lambda new: new == set(range(500)))
    broker.stop()


async def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    source = MqttSource(BrokerAddress("127.0.0.1", port, "u", "p"), SystemClock())
    with pytest.raises(ServiceError, match=f"127.0.0.1:{port}.*no answer within 0.3 s"):
        await source.start(wait_s=0.3)


async def test_a_broker_that_refuses_us(broker: OwnBroker) -> None:
    address = broker.address
    wrong = BrokerAddress(address.host, address.port, address.username, "wrong")
    source = MqttSource(wrong, SystemClock())
    with pytest.raises(ServiceError, match="refused"):
        await source.start(wait_s=10.0)
    assert not source.connected


async def test_messages_gather_between_batches_that_are_not_full(broker: OwnBroker) -> None:
    gather_s, began_s = 1.0, []
    async with a_source(broker.address, gather_s=gather_s) as source, asyncio.timeout(30):
        batches = source.batches()
        sizes: list[int] = []
        # One comes at once, three while it gathers, and two full batches and a bit.
        for numbers in ([0], [1, 2, 3], range(4, 1_100)):
            await asyncio.to_thread(publish, broker.address, numbers)
            while source.in_hand < len(numbers):
                await asyncio.sleep(0.01)
            while sum(sizes) <= numbers[-1]:
                batch = await anext(batches)
                source.acknowledge(batch)
                sizes.append(len(batch))
                began_s.append(time.monotonic())
    assert sizes[:2] == [1, 3]
    assert began_s[1] - began_s[0] >= 0.99 * gather_s
    assert sizes[2:4] == [512, 512]
    assert began_s[3] - began_s[2] < 0.5 * gather_s  # the second was there and did not wait


async def test_batches_end_after_stop(broker: OwnBroker) -> None:
    source = MqttSource(broker.address, SystemClock())
    await source.start()
    taking = asyncio.create_task(take(source, lambda _: False, within_s=10.0))
    await asyncio.sleep(0.05)
    await source.stop()
    assert await taking == (set(), [])


async def test_qos_0_arrives_and_needs_no_acknowledgement(broker: OwnBroker) -> None:
    async with a_source(broker.address) as source:
        await asyncio.to_thread(publish, broker.address, [7], qos=0)
        _, [message] = await take(source, lambda new: bool(new))
        assert (message.qos, message.token) == (0, 0)
        assert source.in_hand == 0


async def test_it_is_live_some_time_after_it_connected(broker: OwnBroker) -> None:
    async with a_source(broker.address) as source:
        assert source.connected
        assert not source.live
        async with asyncio.timeout(5):
            while not source.live:
                await asyncio.sleep(0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
async def test_a_frozen_broker_is_left_and_found_again(tmp_path: Path) -> None:
    """The process hangs, the connection stays open: nothing is lost, order is kept."""
    with EmbeddedBroker(tmp_path) as address:
        async with a_source(address) as source:
            await asyncio.to_thread(publish, address, range(10))
            await take(source, lambda new: len(new) == 10)
    broker = EmbeddedBroker(tmp_path)
    address = broker.start()
    try:
        async with a_source(address) as source:
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGSTOP)
            publishing = asyncio.create_task(asyncio.to_thread(publish, address, range(100)))
            await asyncio.sleep(0.5)
            os.kill(broker.pid, signal.SIGCONT)
            numbers, messages = await take(source, lambda new: len(new) == 100)
            await publishing
        assert [int(one.payload) for one in messages] == sorted(numbers) == list(range(100))
    finally:
        broker.stop()
