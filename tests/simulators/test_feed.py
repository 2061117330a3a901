"""The feed: a pure function of city, seed and epoch, in the formats that decoders read."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from core.frames import decode_frame
from core.ports import RawMessage
from geo.city import generate_city
from ingest.decoders import decode
from simulators.feed import FrameDue, FrameMaker, frames_due, messages
from simulators.messages import ScheduledMessage, with_faults
from simulators.sensors import SENSOR_KINDS
from simulators.world import World

EPOCH_NS = 1_767_225_600_000_000_000
S = 1_000_000_000
ROOT = Path(__file__).resolve().parents[2]

_PROGRAM = """
import hashlib, sys
from geo.city import generate_city
from simulators.feed import FrameDue, FrameMaker, messages
from simulators.world import World
epoch = 1_767_225_600_000_000_000
city = generate_city(7)
found = hashlib.sha256()
for one in messages(city, 7, epoch, epoch, epoch + 600 * 10**9, frames=False):
    found.update(one.topic.encode() + one.payload + str(one.at_ns).encode())
maker = FrameMaker(World(city, seed=7, epoch_ns=epoch))
for camera, second in (("camera-1", 200), ("camera-2", 300), ("camera-air-1", 250)):
    found.update(maker.take(FrameDue(epoch + second * 10**9, camera)))
print(found.hexdigest())
"""


@cache
def half_an_hour() -> tuple[ScheduledMessage, ...]:
    return tuple(
        messages(generate_city(7), 7, EPOCH_NS, EPOCH_NS, EPOCH_NS + 1800 * S, frames=False)
    )


def test_the_same_bytes_in_any_process():
    digests = set()
    for salt in ("0", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            env={"PYTHONHASHSEED": salt, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 1
    assert len(digests.pop()) == 64


def test_another_seed_or_epoch_gives_other_bytes():
    city = generate_city(7)

    def first_minute(seed, epoch_ns):
        found = hashlib.sha256()
        for one in messages(city, seed, epoch_ns, epoch_ns, epoch_ns + 60 * S, frames=False):
            found.update(one.payload)
        return found.hexdigest()

    assert len({first_minute(7, EPOCH_NS), first_minute(8, EPOCH_NS), first_minute(7, 0)}) == 3


def test_a_late_start_gives_the_same_messages():
    start, end = EPOCH_NS + 1795 * S, EPOCH_NS + 1900 * S
    city = generate_city(7)
    whole = [
        one
        for one in messages(city, 7, EPOCH_NS, EPOCH_NS, end, frames=False)
        if one.at_ns >= start
    ]
    assert list(messages(city, 7, EPOCH_NS, start, end, frames=False)) == whole
    assert list(messages(city, 7, EPOCH_NS, end, end, frames=False)) == []


def test_messages_are_in_time_order():
    times = [one.at_ns for one in half_an_hour()]
    assert times == sorted(times)
    assert times[0] >= EPOCH_NS
    assert times[-1] < EPOCH_NS + 1800 * S


def test_no_truth_is_in_any_published_byte():
    world = World(generate_city(7), seed=7, epoch_ns=EPOCH_NS)
    block = world.block(0)
    secrets = {one.truth_id for one in (*block.things, *block.near_misses)}
    secrets |= {one.scenario for one in (*block.things, *block.near_misses)}
    secrets |= {one.note for one in (*block.things, *block.near_misses)}
    assert len({one.truth_id for one in (*block.things, *block.near_misses)}) == len(
        block.things
    ) + len(block.near_misses)
    payloads = b"\n".join(one.topic.encode() + b" " + one.payload for one in half_an_hour())
    maker = FrameMaker(world)
    for due in frames_due(world, EPOCH_NS + 200 * S, EPOCH_NS + 210 * S):
        payloads += maker.take(due)
    for secret in secrets:
        assert secret.encode() not in payloads
        assert secret[:16].encode() not in payloads


def test_decoders_read_every_message_and_name_the_same_thing_and_time():
    kinds: Counter[str] = Counter()
    for one in half_an_hour():
        heard = decode(RawMessage(topic=one.topic, payload=one.payload, received_ns=one.at_ns))
        assert len(heard) == 1
        kinds[heard[0].kind] += 1
        assert (heard[0].thing_id, heard[0].observed_ns) == (one.thing_id, one.observed_ns)
        assert heard[0].observed_ns <= one.at_ns
    assert set(kinds) >= {*SENSOR_KINDS, "aircraft", "dock", "dock_task", "dock_topology"}


def test_half_of_the_plain_sensors_tell_no_place():
    places = {}
    for one in half_an_hour():
        if "/sensor/" in one.topic:
            places[one.thing_id] = "lon" in json.loads(one.payload)
    assert 0.35 <= sum(places.values()) / len(places) <= 0.65


def test_counters_run_through_and_faults_are_few():
    counters: dict[str, list[int]] = {}
    faults: Counter[str] = Counter()
    sensors = 0
    for one in half_an_hour():
        if "/sensor/" in one.topic:
            counters.setdefault(one.thing_id, []).append(json.loads(one.payload)["seq"])
        if "/sensor/" in one.topic or "/senml/" in one.topic:
            sensors += 1
            if one.fault is not None:
                faults[one.fault.kind] += 1
        else:
            assert one.fault is None
    for thing, numbers in counters.items():
        # The last few may still be under way.
        assert sorted(set(numbers))[: len(set(numbers)) - 1] == list(range(1, len(set(numbers)))), (
            thing
        )
    assert 0.005 <= faults["duplicate"] / sensors <= 0.02
    assert 0.005 <= faults["delay"] / sensors <= 0.02


def test_faults_keep_every_message_and_the_order():
    plain = [ScheduledMessage(n * S // 5, "t", b"%d" % n, 1, "x", n * S // 5) for n in range(4000)]
    faulty = list(with_faults(plain, seed=3))
    assert [one.at_ns for one in faulty] == sorted(one.at_ns for one in faulty)
    assert {one.payload for one in faulty} == {one.payload for one in plain}
    twice = [one for one in faulty if one.fault is not None and one.fault.kind == "duplicate"]
    late = [one for one in faulty if one.fault is not None and one.fault.kind == "delay"]
    assert len(faulty) == 4000 + len(twice)
    assert twice
    assert late
    assert all(0 < one.at_ns - one.observed_ns <= 5 * S for one in (*twice, *late))
    assert list(with_faults([], seed=3)) == []


def test_frames_come_from_every_camera_and_the_flying_one_says_where_it_is():
    city = generate_city(7)
    world = World(city, seed=7, epoch_ns=EPOCH_NS)
    due = list(frames_due(world, EPOCH_NS, EPOCH_NS + 400 * S))
    assert [one.at_ns for one in due] == sorted(one.at_ns for one in due)
    counts = Counter(one.camera_id for one in due)
    assert counts["camera-1"] == counts["camera-2"] == 200
    assert 100 < counts["camera-air-1"] < 180
    [flying] = [one for one in due if one.camera_id == "camera-air-1"][:1]
    frame = decode_frame(FrameMaker(world).take(flying))
    assert frame.time_ns == flying.at_ns
    assert frame.pose is not None
    assert frame.pose.pitch_deg == -90.0
    assert frame.jpeg[:2] == b"\xff\xd8"
    fixed = decode_frame(FrameMaker(world).take(FrameDue(EPOCH_NS, "camera-1")))
    assert fixed.pose is None
    shown = [
        one.topic
        for one in messages(city, 7, EPOCH_NS, EPOCH_NS + 300 * S, EPOCH_NS + 302 * S)
        if "/frame/" in one.topic
    ]
    assert sorted(shown) == sorted(f"qn/qingdao/frame/{camera}" for camera in city.cameras)


@pytest.mark.parametrize("camera_id", ["camera-1", "camera-2"])
def test_a_thing_before_a_camera_changes_its_picture(camera_id):
    """The reason that the scene is staged where it is: it must be seen."""
    import cv2
    import numpy as np

    world = World(generate_city(7), seed=7, epoch_ns=EPOCH_NS)
    maker = FrameMaker(world)

    def at(instant_ns):
        """What stands still: the median of a few frames, as people and cars pass by."""
        several = [
            cv2.imdecode(
                np.frombuffer(
                    decode_frame(maker.take(FrameDue(instant_ns + n * 9 * S, camera_id))).jpeg,
                    np.uint8,
                ),
                cv2.IMREAD_GRAYSCALE,
            )
            for n in range(5)
        ]
        return np.median(several, axis=0)

    for thing in world.block(0).things:
        if thing.cameras == (camera_id,):
            before = at(thing.began_ns - 70 * S)
            during = at(thing.began_ns + 60 * S)
            assert np.count_nonzero(np.abs(during - before) > 25) > 120, thing


def test_making_half_an_hour_takes_little():
    city = generate_city(7)
    began = time.process_time()
    count = sum(1 for _ in messages(city, 7, EPOCH_NS, EPOCH_NS, EPOCH_NS + 1800 * S, frames=False))
    spent_s = time.process_time() - began
    assert count > 8_000
    # Half an hour of city is 90 s of wall at 20 times: 15 % of a core would be 13.5 s.
    assert spent_s < 5.0
