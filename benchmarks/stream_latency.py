"""From the publisher's socket to the rules, and to a person's screen; and memory meanwhile.

Messages come at a steady rate from a process of its own (:mod:`benchmarks.stream_pacer`), each
with the instant at which it was sent. The peer is a paho subscriber that looks at that instant
and does nothing else. Incidents are citizens' reports among the readings; the clock stops when a
client of ``GET /stream`` has the line, which is sent after the commit.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Figure, at_most, work_folder
from benchmarks.stream_city import ROOT, has_mosquitto, running_city, running_service
from benchmarks.stream_pacer import REPORT
from ingest.broker import BrokerAddress, MosquittoBroker

#: Messages in a second: of readings alone, and of readings with reports among them.
FULL_RATE, INCIDENT_RATE = 10_000, 1_000
RAISES = 20

#: Memory is flat where it grows by less than this over the last four fifths of the time.
FLAT_RATIO = 1.05

#: A report comes to the live stream within this, also while a group on Kafka forms.
ARRIVES_S = 60.0

_REPORTED = re.compile(REPORT.encode() + rb"(\d{19})")

#: A subscriber that writes down, for every message, nanoseconds since it was sent.
SUBSCRIBER = """
import sys, time
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
host, port, user, password, path = sys.argv[1:]
file = open(path, "wb", buffering=0)
def on_message(client, data, message):
    sent_ns = int(message.payload[7 : message.payload.index(b",")])
    file.write((time.monotonic_ns() - sent_ns).to_bytes(8, sys.byteorder, signed=True))
client = Client(CallbackAPIVersion.VERSION2, client_id="bench-peer")
client.username_pw_set(user, password)
client.on_message = on_message
client.on_connect = lambda *_: client.subscribe("qn/#", 1)
client.on_subscribe = lambda *_: print("ready", flush=True)
client.connect(host, int(port), 30)
client.loop_forever()
"""


class Lasting(NamedTuple):
    """Seconds of each phase; ``steady`` is the one in which memory is watched."""

    peer: float
    steady: float
    incidents: float


def bench_latency(lasting: Lasting) -> tuple[list[Figure], list[str]]:
    """Publish to tagged, publish to incident on the embedded log and on Kafka, and memory."""
    if not has_mosquitto():
        return [], ["skipped: latencies need mosquitto"]
    with work_folder() as name:
        folder = Path(name).resolve()
        broker = MosquittoBroker(folder)
        address = broker.start()
        try:
            peer = _peer(folder, address, lasting.peer)
            figures, notes = _embedded(folder / "embedded", address, lasting, peer)
            with _servers(folder / "kafka") as (settings, why):
                if why:
                    notes.append(f"skipped: incidents on Kafka: {why}")
                else:
                    try:
                        found = _incidents_on(folder / "on-kafka", address, settings, lasting)
                    except RuntimeError as error:  # the other figures are still worth telling
                        notes.append(f"failed: incidents on Kafka: {error}")
                    else:
                        figures += _incident_figures("Kafka and PostgreSQL", found, 500.0, 1000.0)
        finally:
            broker.stop()
    return figures, notes


def _embedded(
    folder: Path, address: BrokerAddress, lasting: Lasting, peer: NDArray[np.float64]
) -> tuple[list[Figure], list[str]]:
    tagged = folder / "tagged"
    with running_city(folder, address, "benchmarks.stream_probe", str(tagged)) as (process, url):
        with _published(address, FULL_RATE / 5, 3.0):
            pass  # caches fill, kernels load
        _settled(tagged)
        first = tagged.stat().st_size
        memory: list[int] = []
        with _published(address, FULL_RATE, lasting.steady) as pacer:
            while pacer.poll() is None:
                memory.append(process.memory_info().rss)
                time.sleep(min(1.0, lasting.steady / 20))
        achieved = _achieved(pacer)
        _settled(tagged)
        taken_ms = np.fromfile(tagged, np.int64, offset=first) / 1e6
        incidents = _incidents(address, url, lasting.incidents)
    p50, p99 = np.percentile(taken_ms, (50, 99))
    peer50, peer99 = np.percentile(peer, (50, 99))
    at = f"at {FULL_RATE:,} msg/s QoS 1"
    missing = achieved.messages - len(taken_ms)
    fifth = max(1, len(memory) // 5)
    early, late = memory[fifth : 2 * fifth], memory[-fifth:]
    grown = float(np.median(late) / np.median(early))
    long_enough = lasting.steady >= 600
    figures = [
        Figure(f"publish to tagged {at}, p50", p50, "ms", 2.0, bool(p50 <= 2.0), "paho that does "
               "nothing", peer50, peer50 / p50),
        Figure(f"publish to tagged {at}, p99", p99, "ms", 15.0, bool(p99 <= 15.0), "paho that does "
               "nothing", peer99, peer99 / p99),
        at_most("the same: observations that are missing", missing, "", 0),
        Figure(f"memory after {lasting.steady / 60:.3g} min of it, to that after a fifth", grown,
               "x", FLAT_RATIO, grown <= FLAT_RATIO if long_enough else None),
        Figure("memory at the end", memory[-1] / 1e6, "MB"),
        *_incident_figures("embedded", incidents, 25.0, 100.0),
    ]  # fmt: skip
    notes = [f"latency: the publisher sent {achieved.messages / achieved.seconds:,.0f} msg/s"]
    return figures, notes


def _incident_figures(
    log: str, taken_ms: NDArray[np.float64], p50_goal_ms: float, p99_goal_ms: float
) -> list[Figure]:
    name = f"publish to durable incident at an SSE client, {INCIDENT_RATE:,} msg/s, {log}"
    p50, p99 = (float(one) for one in np.percentile(taken_ms, (50, 99)))
    return [
        at_most(f"{name}, p50", p50, "ms", p50_goal_ms),
        at_most(f"{name}, p99", p99, "ms", p99_goal_ms),
    ]


def _incidents_on(
    folder: Path, address: BrokerAddress, settings: dict[str, str], lasting: Lasting
) -> NDArray[np.float64]:
    with (
        running_service(folder / "streams", address, "streams", **settings),
        running_service(folder / "ingest", address, "ingest", **settings),
        running_city(folder / "api", address, "cli", "run", "api", **settings) as (_, url),
    ):
        return _incidents(address, url, lasting.incidents)


def _incidents(address: BrokerAddress, url: str, seconds: float) -> NDArray[np.float64]:
    """Milliseconds from publishing a report to having its line of the live stream."""
    taken: dict[int, int] = {}
    ready = threading.Event()

    def listen() -> None:
        rest = b""
        with (
            suppress(httpx.TransportError),  # nothing more comes
            httpx.stream("GET", f"{url}/stream", timeout=ARRIVES_S) as answer,
        ):
            ready.set()
            for chunk in answer.iter_raw():
                now_ns = time.monotonic_ns()
                for found in _REPORTED.findall(rest + chunk):
                    taken.setdefault(int(found), now_ns)
                rest = chunk[-40:]

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    ready.wait(10)
    _publish_and_wait(address, 2.0, taken)  # opens files, joins groups, compiles statements
    before = set(taken)
    _publish_and_wait(address, seconds, taken)
    return np.array([at - sent for sent, at in taken.items() if sent not in before]) / 1e6


def _publish_and_wait(address: BrokerAddress, seconds: float, taken: dict[int, int]) -> None:
    """Publish for so long, and wait until every report has come."""
    before = len(taken)
    with _published(address, INCIDENT_RATE, seconds, RAISES) as pacer:
        pass
    wanted = _achieved(pacer).messages * RAISES // INCIDENT_RATE
    deadline_s = time.monotonic() + ARRIVES_S
    while len(taken) - before < wanted:
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"{len(taken) - before} of {wanted} reports came to the stream")
        time.sleep(0.05)


def _peer(folder: Path, address: BrokerAddress, seconds: float) -> NDArray[np.float64]:
    path = folder / "peer-latency"
    child = subprocess.Popen(  # noqa: S603 (our own interpreter)
        [sys.executable, "-c", SUBSCRIBER, address.host, str(address.port), address.username,
         address.password, str(path)], stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert child.stdout is not None
        child.stdout.readline()
        with _published(address, FULL_RATE, seconds):
            pass
        _settled(path)
    finally:
        child.kill()
        child.wait()
    return np.fromfile(path, np.int64) / 1e6


class Achieved(NamedTuple):
    """What a publisher sent, and how long it took."""

    messages: int
    seconds: float


@contextmanager
def _published(
    address: BrokerAddress, rate: float, seconds: float, raises: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """A publisher at work; leaving waits until it is through."""
    child = subprocess.Popen(  # noqa: S603 (our own interpreter)
        [sys.executable, "-m", "benchmarks.stream_pacer", address.host, str(address.port),
         address.username, address.password, str(rate), str(seconds), str(raises)],
        cwd=ROOT, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield child
        if child.wait() != 0:
            raise RuntimeError("the publisher failed")
    finally:
        child.kill()
        child.wait()


def _achieved(pacer: subprocess.Popen[bytes]) -> Achieved:
    assert pacer.stdout is not None
    return Achieved(**json.loads(pacer.stdout.read()))


def _settled(path: Path) -> None:
    """Wait until a file has not grown for a second."""
    size, since = -1, time.monotonic()
    while time.monotonic() - since < 1.0:
        if (now := path.stat().st_size) != size:
            size, since = now, time.monotonic()
        time.sleep(0.05)


@contextmanager
def _servers(folder: Path) -> Iterator[tuple[dict[str, str], str]]:
    """Settings of a city on Kafka and PostgreSQL, both durable; or none, and why."""
    try:
        import pytest

        from tests.servers import KafkaServer, start_postgres
    except ImportError:
        yield {}, "needs the packages of the tests (make setup)"
        return
    with ExitStack() as stack:
        try:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qingniao-bench-")))
            store, stop_store = start_postgres(place, "fsync=on", "synchronous_commit=on")
            stack.callback(stop_store)
            kafka = KafkaServer(folder)
            kafka.start()
            stack.callback(kafka.stop)
        except (pytest.skip.Exception, pytest.fail.Exception) as why:
            yield {}, str(why)
            return
        yield (
            {
                "QINGNIAO_BROKER": f"kafka://{kafka.servers}",
                "QINGNIAO_STORE": store.url(),
            },
            "",
        )
