"""The vision process: rings that drop the oldest, pictures, detections, a broker that goes."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from core.city import CameraPose
from core.clock import ManualClock
from core.events import Edge, Event, Place
from core.frames import Frame, encode_frame
from core.observations import Stamp, decode_batch, encode_batch, pack
from core.ports import RawMessage
from core.settings import OpinionSettings, Settings
from core.snapshots import clip_of
from core.topics import detection_topic, frame_topic
from geo.camera import FlatGroundProjector
from geo.city import City, generate_city
from ingest.broker import BrokerAddress, MosquittoBroker, find_mosquitto
from ingest.decoders import decode
from ingest.evidence_folder import EvidenceFolder
from ingest.frame_source import RING_FRAMES, FrameRings, RawFrame
from ingest.opinion_desk import OpinionDesk
from ingest.pictures import PictureMaker, PictureThread
from ingest.second_opinion import SecondOpinion
from ingest.vision_worker import (
    VisionWorker,
    run_vision_worker,
    status_topic,
    zones_of,
)
from scenarios.engine import RuleEngine
from scenarios.loader import load_packs
from simulators.actors import Actor, Waypoint
from simulators.cameras import CameraSimulator
from vision.clip_ring import AFTER_S, BEFORE_S
from vision.darkroom import Negative

sys.path.insert(0, str(Path(__file__).parent))

from fake_vision_endpoint import completion, fake_endpoint

S = 1_000_000_000
EPOCH_NS = 1_767_225_600 * S
ROOT = Path(__file__).resolve().parents[2]


@cache
def the_city() -> City:
    return generate_city(7)


@cache
def parked_car_frames() -> tuple[Frame, ...]:
    """A car that stands in the no-parking stretch of camera 1 from second 12 to 60."""
    zone = next(zone for zone in zones_of(the_city()) if zone.zone_id == "no-parking-1")
    lon = sum(point[0] for point in zone.ring) / len(zone.ring)
    lat = sum(point[1] for point in zone.ring) / len(zone.ring)
    heading = 78.0
    car = Actor(
        kind="car",
        length_m=4.6,
        width_m=1.8,
        height_m=1.5,
        colour_bgr=(50, 50, 190),
        waypoints=(
            Waypoint(EPOCH_NS + 12 * S, lon, lat, heading),
            Waypoint(EPOCH_NS + 60 * S, lon, lat, heading),
        ),
    )
    camera = CameraSimulator("camera-1", the_city(), [car], 7)
    return tuple(camera.frame(EPOCH_NS + second * S) for second in range(75))


def test_a_full_ring_drops_the_oldest_and_counts_it_per_camera():
    rings = FrameRings(ring_frames=4, max_cameras=2)
    for number in range(10):
        rings.offer("camera-1", b"%d" % number, wall_ns=number)
    rings.offer("camera-2", b"a", wall_ns=0)
    rings.offer("camera-3", b"b", wall_ns=0)
    rings.offer("camera-1", bytes(5 * 1024 * 1024), wall_ns=0)
    taken = [rings.take(0.0) for _ in range(6)]
    assert [one and one.payload for one in taken] == [b"6", b"a", b"7", b"8", b"9", None]
    assert rings.drops == {"camera-1": 6}
    assert rings.refused == {"too_many_cameras": 1, "frame_too_large": 1}


def test_cameras_take_turns():
    rings = FrameRings()
    for camera_id in ("a", "b", "c"):
        for _ in range(3):
            rings.offer(camera_id, b"", wall_ns=0)
    order = [one.camera_id for _ in range(9) if (one := rings.take(0.0)) is not None]
    assert "".join(order) == "abcabcabc"


def test_an_overloaded_worker_skips_evenly_in_time_and_among_cameras():
    rings, taken = FrameRings(), defaultdict[str, list[int]](list)
    cameras = [f"camera-{number}" for number in range(8)]
    # 8 cameras at 10 frames a second, of which a worker takes 27 in all; for a minute.
    for tick in range(600):
        for camera_id in cameras:
            rings.offer(camera_id, b"%d" % tick, wall_ns=tick)
        for _ in range((tick + 1) * 27 // 10 - tick * 27 // 10):
            frame = rings.take(0.0)
            assert frame is not None
            taken[frame.camera_id].append(frame.wall_ns)
    counts = [len(taken[camera_id]) for camera_id in cameras]
    assert max(counts) - min(counts) <= 1
    for camera_id in cameras:
        gaps = np.diff(taken[camera_id])
        assert gaps.mean() == pytest.approx(80 / 27, rel=0.03)
        assert gaps.min() >= 1
        assert gaps.max() <= 2 * gaps.mean()
        # What is not taken and does not wait was dropped; nothing else is kept.
        waiting = 600 - len(taken[camera_id]) - rings.drops[camera_id]
        assert 0 <= waiting <= RING_FRAMES


def test_the_share_of_skipped_frames_is_told_for_each_camera(tmp_path: Path):
    worker = a_worker(tmp_path, [])
    frames = parked_car_frames()
    for frame in frames[:20]:
        worker.handle(RawFrame("camera-1", encode_frame(frame), 0))
    now_ns = frames[19].time_ns

    def told(drops: int) -> float:
        status = worker.status(now_ns, 1.0, {"camera-1": drops})
        ratio: float = status["cameras"]["camera-1"]["skipped_ratio"]
        return ratio

    assert told(20) == 0.5
    assert told(25) == 1.0
    assert told(25) == 0.0


def test_memory_stays_flat_under_ten_times_what_it_can_do(tmp_path: Path):
    worker, rings = a_worker(tmp_path, []), FrameRings()
    first = parked_car_frames()[0]

    def run(since: int, ticks: int) -> None:
        for tick in range(since, since + ticks):
            at_ns = first.time_ns + tick * S // 10
            payload = encode_frame(msgspec.structs.replace(first, time_ns=at_ns))
            for _ in range(10):
                rings.offer("camera-1", bytes(payload), wall_ns=tick)
            frame = rings.take(0.0)
            assert frame is not None
            worker.handle(frame)

    run(0, 60)
    tracemalloc.start()
    try:
        run(60, 60)
        before, _ = tracemalloc.get_traced_memory()
        run(120, 240)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rings.drops["camera-1"] > 3000
    assert after - before < 200_000


def test_a_waiting_take_gets_what_comes():
    rings = FrameRings()
    threading.Timer(0.05, rings.offer, ("a", b"1"), {"wall_ns": 0}).start()
    started = time.monotonic()
    assert rings.take(5.0) == RawFrame("a", b"1", 0)
    assert time.monotonic() - started < 2.0
    assert rings.take(0.01) is None


def a_maker(tmp_path: Path) -> PictureMaker:
    return PictureMaker(EvidenceFolder(tmp_path), FlatGroundProjector())


def a_worker(tmp_path: Path, published: list[tuple[str, bytes]]) -> VisionWorker:
    def publish(topic: str, payload: bytes) -> bool:
        published.append((topic, payload))
        return True

    return VisionWorker(the_city(), publish, a_maker(tmp_path))


def test_a_detection_is_plain_json_and_its_pictures_follow(tmp_path: Path):
    published: list[tuple[str, bytes]] = []
    worker = a_worker(tmp_path, published)
    for frame in parked_car_frames():
        worker.handle(RawFrame("camera-1", encode_frame(frame), 0))
        for _, payload in published:
            for name in json.loads(payload).get("snapshots", ()):
                assert (tmp_path / name).is_file()
    topic = detection_topic(the_city().name, "camera-1")
    assert {one for one, _ in published} == {topic}
    seen = [
        observation
        for _, payload in published
        for observation in decode(
            RawMessage(topic=topic, payload=payload, received_ns=EPOCH_NS + 80 * S)
        )
    ]
    phases = [one.labels["phase"] for one in seen if "phase" in one.labels]
    assert phases == ["new", "update", "update", "end"]
    new = next(one for one in seen if one.labels.get("phase") == "new")
    frame_ns = {frame.time_ns for frame in parked_car_frames()}
    assert new.observed_ns in frame_ns
    assert new.kind == "detection.static_object"
    assert new.labels["zone"] == "no-parking-1"
    assert new.error_major_m is not None
    assert new.snapshots
    count = next(one for one in seen if one.kind == "detection.moving_count")
    assert (count.thing_id, count.measures["moving_count"]) == ("camera-1", 0.0)


@pytest.mark.parametrize(
    ("camera_id", "payload", "reason"),
    [
        ("camera-9", b"", "unknown_camera"),
        ("camera-1", b"\xff\x00 no cbor", "bad_cbor"),
        ("camera-1", b"\x01", "bad_frame"),
        ("camera-2", encode_frame(Frame(camera_id="camera-1", time_ns=1, width_px=1, height_px=1,
                                        jpeg=b"")), "wrong_camera"),
    ],
    ids=["unknown", "no cbor", "no map", "other camera"],
)  # fmt: skip
def test_what_is_no_frame_is_counted(tmp_path: Path, camera_id: str, payload: bytes, reason: str):
    worker = a_worker(tmp_path, [])
    assert worker.handle(RawFrame(camera_id, payload, 0)) is None
    assert worker.rejected == {reason: 1}


def test_a_full_disk_costs_the_picture_and_not_the_detection(tmp_path: Path):
    (tmp_path / "camera-1").write_text("a file where the folder should be")
    published: list[tuple[str, bytes]] = []
    worker = a_worker(tmp_path, published)
    for frame in parked_car_frames()[:40]:
        worker.handle(RawFrame("camera-1", encode_frame(frame), 0))
    assert worker.rejected["picture_not_written"] >= 1
    assert any(b'"phase":"new"' in payload for _, payload in published)


class _UnplacedTags:
    """A map that knows of nothing, for rules that ask for nothing."""

    def in_zone(self, _kind: str) -> np.ndarray:
        return np.zeros(1, np.bool_)

    in_airspace = airspace_unsure = in_zone

    def place(self, _row: int, **_error: float | None) -> Place:
        return Place(unplaced="no_position")


def events_of(published: list[tuple[str, bytes]]) -> list[Event]:
    """What a rule for cars that stand for half a minute makes of published detections."""
    parking = next(one for one in load_packs() if one.id == "illegal-parking")
    rule = msgspec.structs.replace(parking.rules[0], threshold=30.0, in_zone=())
    engine = RuleEngine([msgspec.structs.replace(parking, rules=(rule,))], frozenset())
    found: list[Event] = []
    for sequence, (topic, payload) in enumerate(published):
        message = RawMessage(topic=topic, payload=payload, received_ns=EPOCH_NS + 80 * S)
        stamp = Stamp(ingest_id="i", sequence=sequence, partition=0, watermark_ns=0, logged_ns=0)
        logged = encode_batch(pack(list(decode(message)), stamp))
        found += engine.process(decode_batch(logged), _UnplacedTags())
    return found


def test_a_second_opinion_is_in_the_log_so_that_a_replay_decides_the_same(tmp_path: Path):
    published: list[tuple[str, bytes]] = []

    def publish(topic: str, payload: bytes) -> bool:
        published.append((topic, payload))
        return True

    with fake_endpoint() as endpoint:
        endpoint.reply = completion('{"real": false, "confidence": 0.9, "reason": "a shadow"}')
        asker = SecondOpinion(OpinionSettings(url=endpoint.url, model="m", timeout_s=30.0))
        # Every event is asked about: a drawn car is a sure one.
        desk = OpinionDesk(asker, below_ratio=1.0)
        maker = PictureMaker(EvidenceFolder(tmp_path), FlatGroundProjector(), desk.pictured)
        worker = VisionWorker(the_city(), publish, maker, desk)
        for frame in parked_car_frames():
            worker.handle(RawFrame("camera-1", encode_frame(frame), 0))
            while maker.newest and not asker.counts:
                time.sleep(0.005)
        (asked,) = endpoint.asked
        sent = asked[2]["messages"][1]["content"][1]["image_url"]["url"].partition(",")[2]
        assert worker.status(0, 1.0, {})["opinions"] == {"opinion": 1}
    new, told = [json.loads(one) for _, one in published if b"no-parking-1" in one][:2]
    assert "opinion_ratio" not in new["measures"]
    assert told["measures"]["opinion_ratio"] == pytest.approx(0.1)
    assert told["labels"]["opinion"] == "a shadow"
    # What was sent is what is stored, byte for byte: people are blurred in it.
    assert base64.b64decode(sent) == (tmp_path / new["snapshots"][-1]).read_bytes()
    events = events_of(published)
    assert events[0].edge is Edge.RAISE
    assert events[0].because["opinion"] == "a shadow"
    assert events[0].confidence_ratio == pytest.approx(0.308, abs=1e-3)
    assert events_of(published) == events


class _Stuck(PictureMaker):
    """Stands in for a long search for people: waits until it is let go."""

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(EvidenceFolder(tmp_path), FlatGroundProjector())
        self.begun, self.go = threading.Event(), threading.Event()

    def make(self, negative: Negative) -> None:
        self.begun.set()
        assert self.go.wait(60.0)
        super().make(negative)


def test_neither_frames_nor_detections_wait_for_pictures(tmp_path: Path):
    published: list[tuple[str, bytes]] = []

    def publish(topic: str, payload: bytes) -> bool:
        published.append((topic, payload))
        return True

    maker = _Stuck(tmp_path)
    pictures = PictureThread(maker)
    worker = VisionWorker(the_city(), publish, pictures)
    for frame in parked_car_frames():
        worker.handle(RawFrame("camera-1", encode_frame(frame), 0))
    assert maker.begun.wait(10.0)
    assert not list(tmp_path.rglob("[0-9]*.jpg"))
    assert sum(b'"phase":"end"' in payload for _, payload in published) == 1
    maker.go.set()
    pictures.stop(60.0)
    named = {name for _, payload in published for name in json.loads(payload).get("snapshots", ())}
    assert {f"camera-1/{file.name}" for file in tmp_path.rglob("[0-9]*.jpg")} == named
    assert worker.rejected == {}


def test_live_pictures_are_made_no_more_often_than_they_are_looked_at(tmp_path: Path):
    now_s = [0.0]
    made: list[int] = []
    maker = PictureMaker(EvidenceFolder(tmp_path), FlatGroundProjector())
    maker.make_live = lambda frames: made.append(frames[-1].time_ns)  # type: ignore[method-assign]
    pictures = PictureThread(maker, monotonic_s=lambda: now_s[0])
    worker = VisionWorker(the_city(), lambda _topic, _payload: True, pictures)
    # Twenty seconds of the city in one of ours.
    for number, frame in enumerate(parked_car_frames()[:60]):
        now_s[0] = number / 20
        result = worker.handle(RawFrame("camera-1", encode_frame(frame), 0))
        while result is not None and result.view is not None and not made:
            time.sleep(0.001)
    assert len(made) == 1
    now_s[0] += 3.0
    worker.handle(RawFrame("camera-1", encode_frame(parked_car_frames()[60]), 0))
    while len(made) < 2:
        time.sleep(0.001)
    pictures.stop(60.0)
    assert made[1:] == [parked_car_frames()[60].time_ns]


def test_a_clip_shows_how_it_came_about_and_the_live_picture_how_it_is(tmp_path: Path):
    pictures = PictureThread(PictureMaker(EvidenceFolder(tmp_path), FlatGroundProjector()))
    published: list[bytes] = []

    def publish(_topic: str, payload: bytes) -> bool:
        published.append(payload)
        return True

    worker = VisionWorker(the_city(), publish, pictures)
    for frame in parked_car_frames():
        worker.handle(RawFrame("camera-1", encode_frame(frame), 0))
    pictures.stop(60.0)
    assert worker.rejected == {}
    thing = next(json.loads(one)["thing"] for one in published if b'"phase":"new"' in one)
    video = cv2.VideoCapture(str(tmp_path / clip_of(thing)))
    frames = 0
    while video.read()[0]:
        frames += 1
    # One a second, from before the car came until after it was told of.
    assert frames == int(BEFORE_S) + int(AFTER_S) + 1
    camera = worker.status(parked_car_frames()[-1].time_ns, 1.0, {})
    live = camera["cameras"]["camera-1"]["live"]
    assert live["name"] == "camera-1/live.jpg"
    assert live["time_ns"] in {frame.time_ns for frame in parked_car_frames()}
    assert cv2.imread(str(tmp_path / live["name"])).shape == (360, 640, 3)


def test_pictures_beyond_those_that_may_wait_are_dropped_and_counted(tmp_path: Path):
    maker = _Stuck(tmp_path)
    pictures = PictureThread(maker, max_waiting=3)
    worker = VisionWorker(the_city(), lambda _topic, _payload: True, pictures)
    for frame in parked_car_frames():
        result = worker.handle(RawFrame("camera-1", encode_frame(frame), 0))
        if result is not None and result.negatives:
            assert maker.begun.wait(10.0)  # the first is being made, not waiting
    # Before, new, its clip, after half a minute, end: one is being made, three wait, one is
    # dropped.
    assert worker.rejected == {"picture_dropped": 1}
    maker.go.set()
    pictures.stop(60.0)
    assert len(list(tmp_path.rglob("[0-9]*.jpg"))) == 3


def test_the_status_tells_where_a_flying_camera_looks_from(tmp_path: Path):
    worker = a_worker(tmp_path, [])
    first = parked_car_frames()[0]
    pose = msgspec.structs.replace(the_city().cameras["camera-1"].pose, height_agl_m=60.0)
    for camera_id in ("camera-1", "camera-air-1"):
        frame = msgspec.structs.replace(first, camera_id=camera_id, pose=pose)
        worker.handle(RawFrame(camera_id, encode_frame(frame), 0))
    told = json.loads(msgspec.json.encode(worker.status(first.time_ns, 1.0, {})))["cameras"]
    assert msgspec.convert(told["camera-air-1"]["pose"], CameraPose) == pose
    assert told["camera-1"]["pose"] is None


def test_the_status_tells_live_late_stale_and_lying(tmp_path: Path):
    worker = a_worker(tmp_path, [])
    frames = parked_car_frames()[:20]
    for frame in frames:
        worker.handle(RawFrame("camera-1", encode_frame(frame), 0))
    last_ns = frames[-1].time_ns

    def one(after_s: float) -> dict[str, Any]:
        status = worker.status(last_ns + round(after_s * S), 2.0, {"camera-1": 3})
        found: dict[str, Any] = status["cameras"]["camera-1"]
        return found

    first = one(1)
    assert (first["state"], first["quality"]) == ("live", "good")
    assert (first["frames"], first["drops"], first["fps"]) == (20, 3, 10.0)
    assert first["last_frame_ns"] == last_ns
    assert one(30)["state"] == "late"
    assert one(90)["state"] == "stale"
    for second in range(20, 40):
        again = msgspec.structs.replace(frames[-1], time_ns=EPOCH_NS + second * S)
        worker.handle(RawFrame("camera-1", encode_frame(again), 0))
    last_ns = EPOCH_NS + 39 * S
    assert (one(1)["state"], one(1)["quality"]) == ("lying", "frozen")
    others = worker.status(last_ns, 1.0, {})["cameras"]
    assert others["camera-2"]["state"] == "stale"


# -- with a broker ----------------------------------------------------------------------


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[MosquittoBroker]:
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    made = MosquittoBroker(tmp_path / "broker")
    made.start()
    yield made
    made.stop()


def eventually(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.02)


class Onlooker:
    """Publishes frames and hears what vision says."""

    def __init__(self, address: BrokerAddress) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=f"onlooker-{os.getpid()}")
        self.client.username_pw_set(address.username, address.password)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_message = self._on_message
        self.client.on_connect = lambda client, *_: client.subscribe(
            [("qn/+/detection/+", 1), (status_topic(the_city().name), 0)]
        )
        self.client.connect(address.host, address.port)
        self.client.loop_start()

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload)))

    def send(self, frames: tuple[Frame, ...]) -> None:
        for frame in frames:
            topic = frame_topic(the_city().name, frame.camera_id)
            self.client.publish(topic, encode_frame(frame), qos=0)
            time.sleep(0.05)

    def statuses(self) -> list[dict[str, Any]]:
        topic = status_topic(the_city().name)
        return [json.loads(payload) for where, payload in list(self.heard) if where == topic]

    def phases(self) -> list[str]:
        bodies = [
            json.loads(payload) for where, payload in list(self.heard) if "detection" in where
        ]
        return [body["labels"]["phase"] for body in bodies if "phase" in body.get("labels", {})]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.mark.broker
def test_it_works_on_a_broker_that_goes_and_comes_back(tmp_path: Path, broker: MosquittoBroker):
    address = broker.start()
    stop = threading.Event()
    worker = threading.Thread(
        target=run_vision_worker,
        args=(Settings(data_dir=tmp_path), the_city()),
        kwargs={"broker": address, "clock": ManualClock(EPOCH_NS + 80 * S), "stop": stop},
    )
    worker.start()
    onlooker = Onlooker(address)
    try:
        eventually(lambda: bool(onlooker.statuses()))
        frames = parked_car_frames()
        onlooker.send(frames[:40])
        eventually(lambda: onlooker.phases() == ["new"])
        broker.stop()
        time.sleep(0.3)
        broker.start()
        told = len(onlooker.statuses())
        eventually(lambda: len(onlooker.statuses()) > told, 15.0)
        onlooker.send(frames[40:])
        eventually(lambda: onlooker.phases()[-1:] == ["end"])
        assert onlooker.phases().count("new") == 1
        eventually(lambda: onlooker.statuses()[-1]["cameras"]["camera-1"]["frames"] >= 70)
        assert onlooker.statuses()[-1]["cameras"]["camera-1"]["state"] == "live"
        assert list((tmp_path / "snapshots" / "camera-1").glob("*-new.jpg"))
    finally:
        onlooker.close()
        stop.set()
        worker.join(5)
    assert not worker.is_alive()


_PROGRAM = """
import sys
from pathlib import Path
from core.clock import SystemClock
from core.settings import Settings
from geo.city import generate_city
from ingest.broker import BrokerAddress
from ingest.vision_worker import run_vision_worker
city = generate_city(7)
print("ready", flush=True)
run_vision_worker(Settings(data_dir=Path(sys.argv[1])), city, clock=SystemClock(),
                  broker=BrokerAddress("127.0.0.1", 1, "nobody", "nothing"))
print("stopped", flush=True)
"""


def test_sigterm_ends_it_within_a_second_even_without_a_broker(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopped\n"
        assert time.monotonic() - started < 1.0
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
