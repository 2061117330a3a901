"""The runner publishes the feed when city time reaches it, and stops when told to."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from core.clock import HeldClock, ScaledClock
from core.errors import InputError, ServiceError
from geo.city import generate_city, load_city
from ingest.broker import BrokerAddress, EmbeddedBroker
from simulators.day.runner import run_day
from simulators.faults import parse_faults
from simulators.feed import messages
from simulators.publisher import PublishedLog, read_published
from simulators.runner import run_simulators
from simulators.truth import read_truth

EPOCH_NS = 1_767_225_600_000_000_000
S = 1_000_000_000
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with EmbeddedBroker(tmp_path_factory.mktemp("broker")) as address:
        yield address


def listen(broker, got):
    ready = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="listener")
    client.username_pw_set(broker.username, broker.password)
    client.on_connect = lambda *_: client.subscribe("#", 1)
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = lambda _c, _u, message: got.append((message.topic, message.payload))
    client.connect(broker.host, broker.port)
    client.loop_start()
    assert ready.wait(10)
    return client


def test_all_readings_are_published_in_city_time(broker, tmp_path):
    got: list[tuple[str, bytes]] = []
    client = listen(broker, got)
    city = generate_city(7)
    began = time.monotonic()
    counts = run_simulators(
        city=city,
        seed=7,
        clock=ScaledClock(EPOCH_NS, 20.0),
        broker=broker,
        truth_path=tmp_path / "truth.jsonl",
        published_path=tmp_path / "published.jsonl",
        duration_s=5.0,
    )
    assert 4.9 < time.monotonic() - began < 9.0
    want = [
        (one.topic, one.payload)
        for one in messages(city, 7, EPOCH_NS, EPOCH_NS, EPOCH_NS + 100 * S, frames=False)
    ]
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        readings = [one for one in got if "/frame/" not in one[0]]
        if len(readings) == len(want):
            break
        time.sleep(0.05)
    client.disconnect()
    client.loop_stop()
    assert Counter(readings) == Counter(want)
    assert counts.messages == len(want)
    assert counts.frames > 0
    assert counts.frames + counts.frames_late + counts.frames_unsent >= 95

    truth = read_truth(tmp_path / "truth.jsonl")
    assert len(truth.things) >= 12
    assert len(truth.near_misses) >= 12
    assert len(truth.faults) == counts.duplicated + counts.delayed
    published = read_published(tmp_path / "published.jsonl")
    assert ("camera-1" in {thing for thing, _ in published}) == (counts.frames > 0)
    now_ns = time.monotonic_ns()
    assert all(now_ns - 60 * S < wall_ns <= now_ns for wall_ns in published.values())


def test_city_time_begins_when_the_first_pictures_can_be_sent(broker, tmp_path):
    city = generate_city(7)
    clock = HeldClock(EPOCH_NS, 20.0, tmp_path / "city-start")
    shared = HeldClock(EPOCH_NS, 20.0, tmp_path / "city-start")
    assert shared.held
    counts = run_simulators(
        city=city,
        seed=7,
        clock=clock,
        broker=broker,
        truth_path=tmp_path / "truth.jsonl",
        published_path=tmp_path / "published.jsonl",
        duration_s=2.0,
    )
    assert not shared.held
    assert shared.started_ns == clock.started_ns
    assert counts.frames_late == 0
    seen = {(thing, at_ns) for thing, at_ns in read_published(tmp_path / "published.jsonl")}
    fixed = sorted(one.camera_id for one in city.cameras.values() if one.pose is not None)
    first_ns = {camera: min(at for thing, at in seen if thing == camera) for camera in fixed}
    assert all(at_ns < EPOCH_NS + 2 * S for at_ns in first_ns.values())


def test_a_stop_from_elsewhere_ends_the_run(broker, tmp_path):
    got: list[tuple[str, bytes]] = []
    client = listen(broker, got)
    stop = threading.Event()
    stopped: list[float] = []

    def stop_once_heard():
        until = time.monotonic() + 20
        while not got and time.monotonic() < until:
            time.sleep(0.01)
        stopped.append(time.monotonic())
        stop.set()

    threading.Thread(target=stop_once_heard).start()
    counts = run_simulators(
        city=generate_city(7),
        seed=7,
        clock=ScaledClock(EPOCH_NS, 20.0),
        broker=broker,
        truth_path=tmp_path / "truth.jsonl",
        cameras=False,
        stop=stop,
    )
    client.loop_stop()
    assert time.monotonic() - stopped[0] < 2.0
    assert counts.messages > 0


def test_sigterm_ends_the_process_within_a_second(broker, tmp_path):
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from core.clock import ScaledClock\n"
        "from geo.city import generate_city\n"
        "from ingest.broker import BrokerAddress\n"
        "from simulators.runner import run_simulators\n"
        "host, port, user, password, truth = sys.argv[1:]\n"
        "run_simulators(city=generate_city(7), seed=7,\n"
        f"    clock=ScaledClock({EPOCH_NS}, 20.0),\n"
        "    broker=BrokerAddress(host, int(port), user, password), truth_path=Path(truth))\n"
    )
    truth = tmp_path / "truth.jsonl"
    arguments = [broker.host, str(broker.port), broker.username, broker.password, str(truth)]
    with subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=ROOT) as child:
        deadline = time.monotonic() + 30
        while not (truth.exists() and truth.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)
        child.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert child.wait(10) == 0
        assert time.monotonic() - began < 1.0
    assert len(read_truth(truth).things) >= 12


def test_a_broker_that_is_not_there_is_named(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ServiceError, match=str(port)):
        run_simulators(
            city=generate_city(7),
            seed=7,
            clock=ScaledClock(EPOCH_NS, 20.0),
            broker=BrokerAddress("127.0.0.1", port, "", ""),
            truth_path=tmp_path / "truth.jsonl",
            cameras=False,
        )


def test_a_refusal_is_told(broker, tmp_path):
    with pytest.raises(ServiceError, match="as 'qingniao-sim-"):
        run_simulators(
            city=generate_city(7),
            seed=7,
            clock=ScaledClock(EPOCH_NS, 20.0),
            broker=BrokerAddress(broker.host, broker.port, "nobody", "wrong"),
            truth_path=tmp_path / "truth.jsonl",
            cameras=False,
        )


def test_the_published_log_keeps_the_first_time_and_bears_a_torn_line(tmp_path):
    path = tmp_path / "published.jsonl"
    log = PublishedLog(path)
    log.add("a", 1, 10)
    log.add("a", 1, 20)
    log.add("b", 2, 30)
    log.close()
    assert read_published(path) == {("a", 1): 10, ("b", 2): 30}
    path.write_bytes(path.read_bytes()[:-4])
    assert read_published(path) == {("a", 1): 10}
    path.write_bytes(b"nonsense\n")
    with pytest.raises(InputError, match="line 1"):
        read_published(path)
    quiet = PublishedLog(None)
    quiet.add("a", 1, 10)
    quiet.close()


def test_faults_that_are_asked_for_are_done_and_noted(broker, tmp_path):
    got: list[tuple[str, bytes]] = []
    client = listen(broker, got)
    counts = run_simulators(
        city=generate_city(7),
        seed=7,
        clock=ScaledClock(EPOCH_NS, 40.0),
        broker=broker,
        truth_path=tmp_path / "truth.jsonl",
        duration_s=3.0,
        cameras=False,
        faults=parse_faults("loss=0.2,corrupt=0.1"),
    )
    client.loop_stop()
    sound = list(messages(generate_city(7), 7, EPOCH_NS, EPOCH_NS, EPOCH_NS + 120 * S,
                          frames=False))  # fmt: skip
    kinds = Counter(fault.kind for fault in read_truth(tmp_path / "truth.jsonl").faults)
    assert set(kinds) == {"loss", "corrupt"}
    assert kinds["loss"] > 40
    # The feed's own few repeats and delays are not made when faults are named.
    repeats = sum(one.fault is not None and one.fault.kind == "duplicate" for one in sound)
    assert abs(counts.messages - (len(sound) - repeats - kinds["loss"])) <= 12


def test_a_day_is_published_with_its_truth(broker, tmp_path):
    got: list[tuple[str, bytes]] = []
    client = listen(broker, got)
    city = load_city("generated:street", seed=7)
    counts = run_day(
        city=city,
        seed=7,
        clock=ScaledClock(EPOCH_NS, 400.0),
        broker=broker,
        truth_path=tmp_path / "truth.jsonl",
        faults=parse_faults("mild,loss=0.02"),
        duration_s=3.0,
    )
    deadline = time.monotonic() + 5
    while len(got) < counts.messages * 0.98 and time.monotonic() < deadline:
        time.sleep(0.05)
    client.loop_stop()
    topics = {topic.split("/")[0] for topic, _ in got}
    assert topics >= {"qn", "application", "thing"}
    assert counts.messages > 300
    truth = read_truth(tmp_path / "truth.jsonl")
    assert len(truth.things) > 20
    assert {fault.kind for fault in truth.faults} >= {"loss"}
