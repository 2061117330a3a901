"""The whole city behind Mosquitto, against a paho subscriber that does nothing.

Both have the same work waiting: the consumer is stopped (SIGSTOP), the broker is given the
messages, the consumer goes on (SIGCONT). Measured is the time until the last one has taken
effect and the CPU that the consumer's processes used for it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.harness import Figure, work_folder
from core.clock import Clock
from core.ports import RawMessage
from ingest.broker import BrokerAddress, MosquittoBroker

ROOT = Path(__file__).resolve().parent.parent
PACK = 100

#: Gateways that take turns, each with a hundred sensors.
GATEWAYS = 200

#: A round of packs holds so many readings for each message of the other rounds: it must last
#: long enough to be more than its beginning and its end.
PACKED_PER_MESSAGE = 5

#: How often a consumer is asked how far it is: asking costs it some milliseconds.
POLL_S = 0.1
_COUNTED = re.compile(r"^qingniao_stream_observations_total\S* (\S+)$", re.MULTILINE)

#: A subscriber with a persistent session that counts, and writes the count when asked to.
SUBSCRIBER = """
import sys, threading
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
host, port, user, password, path = sys.argv[1:]
count = 0
def on_message(client, data, message):
    global count
    count += 1
client = Client(CallbackAPIVersion.VERSION2, client_id="bench-peer", clean_session=False)
client.username_pw_set(user, password)
client.max_inflight_messages = 4096
client.on_message = on_message
client.on_connect = lambda *_: client.subscribe("qn/#", 1)
client.connect(host, int(port), 30)
client.loop_start()
def tell():
    while True:
        with open(path, "w") as file:
            file.write(str(count))
        threading.Event().wait(0.02)
tell()
"""


class Consumer(NamedTuple):
    """A process and how many observations or messages it has taken so far."""

    process: psutil.Process
    count: Callable[[], int]


class Drained(NamedTuple):
    """One measurement: seconds on the wall and of the consumer's CPU."""

    wall_s: float
    cpu_s: float


def has_mosquitto() -> bool:
    """Whether there is a Mosquitto on this machine."""
    return shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") is not None


def bench_city(
    messages: int, rounds: int, reading: Callable[[int, int], RawMessage], clock: Clock
) -> tuple[list[Figure], list[str]]:
    """CPU per observation and rate, one message per reading and packs of 100; and notes."""
    if not has_mosquitto():
        return [], ["skipped: the whole pipeline needs mosquitto"]
    packed_count = PACKED_PER_MESSAGE * messages
    with work_folder() as name:
        folder = Path(name).resolve()
        broker = MosquittoBroker(folder)
        address = broker.start()
        try:
            with _subscriber(folder, address) as peer, _city(folder, address) as ours:
                second = [clock.now_ns() // 1_000_000_000 - 1_767_225_600 - 20_000]

                def one_each() -> list[tuple[str, bytes]]:
                    second[0] += 1
                    made = [reading(thing % 1_000, second[0] + thing // 1_000)
                            for thing in range(messages)]  # fmt: skip
                    second[0] += messages // 1_000
                    return [(one.topic, one.payload) for one in made]

                def packs() -> list[tuple[str, bytes]]:
                    made = []
                    for number in range(packed_count // PACK):
                        second[0] += number % GATEWAYS == 0
                        made.append(_senml(number % GATEWAYS, second[0]))
                    return made

                pairs = [_drain((ours, peer), address, one_each(), messages)
                         for _ in range(rounds + 1)][1:]  # fmt: skip
                packed = [_drain((ours, peer), address, packs(), packed_count)
                          for _ in range(rounds + 1)][1:]  # fmt: skip
        finally:
            broker.stop()
    ours_cpu = statistics.median(1e6 * pair[0].cpu_s / messages for pair in pairs)
    peer_cpu = statistics.median(1e6 * pair[1].cpu_s / messages for pair in pairs)
    ours_rate = messages / statistics.median(pair[0].wall_s for pair in pairs)
    peer_rate = messages / statistics.median(pair[1].wall_s for pair in pairs)
    pack_rate = packed_count / statistics.median(pair[0].wall_s for pair in packed)
    pack_peer = packed_count / statistics.median(pair[1].wall_s for pair in packed)
    pack_cpu = statistics.median(1e6 * pair[0].cpu_s / packed_count for pair in packed)
    above = ours_cpu - peer_cpu
    return [
        Figure("pipeline, one reading per message: CPU above the subscriber", above,
               "us per observation", 12.0, above <= 12.0, "paho that does nothing", peer_cpu),
        Figure("pipeline, one reading per message: rate", ours_rate, "1/s", 0.6,
               ours_rate >= 0.6 * peer_rate, "paho that does nothing", peer_rate,
               ours_rate / peer_rate),
        Figure("pipeline, packs of 100 readings: rate", pack_rate, "1/s", 100_000,
               pack_rate >= 100_000, "paho that does nothing", pack_peer, pack_rate / pack_peer),
        Figure("pipeline, packs of 100 readings: CPU", pack_cpu, "us per observation"),
    ], [f"pipeline: broker, publisher and consumer share {os.cpu_count()} cores"]  # fmt: skip


def _senml(gateway: int, second: int) -> tuple[str, bytes]:
    """A gateway's pack: water levels of a hundred devices, all of one second (RFC 8428)."""
    rows = ",".join(
        f'{{"n":"0024befffe{gateway:04x}{row:02x}:water_level","u":"m","v":0.0{1 + row % 9}}}'
        for row in range(PACK)
    )
    base = f'{{"bn":"urn:dev:mac:","bt":{1_767_225_600 + second},' + rows[1:]
    return f"qn/qingdao/senml/gateway-{gateway:04d}", f"[{base}]".encode()


def _drain(
    consumers: tuple[Consumer, ...],
    address: BrokerAddress,
    messages: list[tuple[str, bytes]],
    observations: int,
) -> list[Drained]:
    """Let each consumer in turn take the same messages while the others stand still."""
    for one in consumers:
        one.process.send_signal(signal.SIGSTOP)
    _publish(address, messages)
    drained = []
    for number, one in enumerate(consumers):
        cpu_s = _cpu(one.process)
        began = time.perf_counter()
        one.process.send_signal(signal.SIGCONT)
        before = _LAST.get(one.process.pid, 0)
        wanted = before + (observations if number == 0 else len(messages))
        while (now := one.count()) < wanted:
            if time.perf_counter() - began > 120:
                raise TimeoutError(f"{now} of {wanted} after 120 s")
            time.sleep(POLL_S)
        _LAST[one.process.pid] = now
        drained.append(Drained(time.perf_counter() - began, _cpu(one.process) - cpu_s))
    return drained


#: What each consumer had taken after its last turn, by process id.
_LAST: dict[int, int] = {}


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _publish(address: BrokerAddress, messages: list[tuple[str, bytes]]) -> None:
    client = Client(CallbackAPIVersion.VERSION2, client_id="bench-publisher")
    client.username_pw_set(address.username, address.password)
    client.max_inflight_messages_set(1000)
    client.max_queued_messages_set(0)
    client.connect(address.host, address.port)
    client.loop_start()
    sent = [client.publish(topic, payload, qos=1) for topic, payload in messages]
    for one in sent:
        one.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


@contextmanager
def _subscriber(folder: Path, address: BrokerAddress) -> Iterator[Consumer]:
    path = folder / "peer-count"
    child = subprocess.Popen(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", SUBSCRIBER, address.host, str(address.port), address.username,
         address.password, str(path)],
    )  # fmt: skip
    try:
        while not path.exists() or not path.read_text():
            time.sleep(0.05)
        time.sleep(0.5)
        yield Consumer(psutil.Process(child.pid), lambda: int(path.read_text() or 0))
    finally:
        child.kill()
        child.wait()


@contextmanager
def running_city(
    folder: Path, address: BrokerAddress, *command: str, **settings: str
) -> Iterator[tuple[psutil.Process, str]]:
    """A city (or its API) on a broker, ready: its process and the address of its API."""
    found: list[str] = []

    def ready(output: str) -> bool:
        found.extend(re.findall(r"(http://\S+)\s+token", output))
        return bool(found)

    with _running(folder, address, command, settings, ready) as process:
        time.sleep(3.0)  # the probe of the broker, and the first checkpoint
        yield process, found[0]


@contextmanager
def running_service(
    folder: Path, address: BrokerAddress, service: str, **settings: str
) -> Iterator[psutil.Process]:
    """One service of a city on Kafka, ready."""
    beat = folder / "data" / "health" / service
    command = ("cli", "run", service)
    with _running(folder, address, command, settings, lambda _: beat.exists()) as process:
        yield process


@contextmanager
def _running(
    folder: Path,
    address: BrokerAddress,
    command: tuple[str, ...],
    settings: Mapping[str, str],
    ready: Callable[[str], bool],
) -> Iterator[psutil.Process]:
    """A process of ours with settings of its own, once what it says or does shows it ready."""
    env: dict[str, str] = os.environ | {
        "QINGNIAO_DATA_DIR": str(folder / "data"),
        "QINGNIAO_API__PORT": "0",
        "QINGNIAO_MQTT__URL": f"mqtt://{address.host}:{address.port}",
        "QINGNIAO_MQTT__USERNAME": address.username,
        "QINGNIAO_MQTT__PASSWORD": address.password,
        **settings,
    }
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / "output"
    with output.open("wb") as out:
        child = subprocess.Popen(  # noqa: S603 (our own interpreter)
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**env, **settings},
            stdout=out,
            stderr=out,
        )
    try:
        while not ready(output.read_text()):
            if child.poll() is not None:
                raise RuntimeError(output.read_text()[-2000:])
            time.sleep(0.05)
        yield psutil.Process(child.pid)
    finally:
        child.send_signal(signal.SIGCONT)
        child.kill()
        child.wait()


@contextmanager
def _city(folder: Path, address: BrokerAddress) -> Iterator[Consumer]:
    with (
        running_city(folder, address, "cli", "run") as (process, url),
        httpx.Client(base_url=url, timeout=30) as client,
    ):

        def count() -> int:
            answer = client.get("/metrics").raise_for_status().text
            return round(sum(float(one) for one in _COUNTED.findall(answer)))

        yield Consumer(process, count)
