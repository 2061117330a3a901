"""The recorder on a real broker, and a recording into one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.clock import ScaledClock
from core.frames import Frame, decode_frame, encode_frame
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.broker import BrokerAddress, EmbeddedBroker
from ingest.recording.pace import Pace
from ingest.recording.pictures import PictureStore, path_of
from ingest.recording.publish import BrokerPlayer
from ingest.recording.reader import Recording
from ingest.recording.recorder import FramePolicy, Recorder
from ingest.recording.rounds import Round
from ingest.recording.writer import RecordingWriter

START_NS = 1_782_864_000 * NS_PER_S


@pytest.fixture
def address(tmp_path: Path) -> Iterator[BrokerAddress]:
    broker = EmbeddedBroker(tmp_path / "broker")
    (tmp_path / "broker").mkdir()
    yield broker.start()
    broker.stop()


def a_frame(n: int, *, person_at: int | None) -> bytes:
    rng = np.random.default_rng(3)
    image = cv2.resize(rng.integers(90, 160, (18, 32, 3), np.uint8), (640, 360))
    if person_at is not None:
        body = np.random.default_rng(5).integers(0, 255, (90, 30, 3), np.uint8)
        image[150:240, person_at : person_at + 30] = body
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    at_ns = START_NS + n * NS_PER_S
    return encode_frame(
        Frame(camera_id="c-1", time_ns=at_ns, width_px=640, height_px=360, jpeg=jpeg)
    )


async def recorded(
    address: BrokerAddress,
    folder: Path,
    rounds: list[Round],
    frames: FramePolicy,
    pictures: PictureStore | None = None,
) -> tuple[list[Round], Recorder]:
    clock = ScaledClock(START_NS, 50.0)
    writer = RecordingWriter(folder, pictures=pictures)
    recorder = Recorder(address, clock, writer, [("#", 1)], frames=frames)
    running = asyncio.create_task(recorder.run())
    while not recorder.source.connected:
        await asyncio.sleep(0.01)
        assert not running.done(), running.result()
    wanted = sum(len(one.messages) for one in rounds)
    await BrokerPlayer(address, Pace()).play(rounds)
    while writer.messages < wanted or writer.ticks < 2:
        await asyncio.sleep(0.01)
        assert not running.done(), running.result()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return list(Recording(folder).rounds()), recorder


async def test_a_recording_into_a_broker_is_recorded_again(
    address: BrokerAddress, tmp_path: Path
) -> None:
    messages = [
        RawMessage(
            topic=f"qn/c/sensor/w-{n % 5}", payload=b'{"n": %d}' % n, received_ns=START_NS, qos=1
        )
        for n in range(300)
    ]
    got, _ = await recorded(address, tmp_path / "r", [Round(START_NS, messages)], FramePolicy.NONE)
    kept = [message for one in got for message in one.messages]
    assert [(m.topic, m.payload, m.qos) for m in kept] == [
        (m.topic, m.payload, m.qos) for m in messages
    ]
    assert all(m.received_ns >= START_NS for m in kept)
    # Silence of a live broker is recorded: fifty city seconds pass in one.
    assert sum(not one.messages for one in got) >= 2


async def test_people_in_frames_are_blurred_and_the_street_is_not(
    address: BrokerAddress, tmp_path: Path
) -> None:
    frames = [a_frame(n, person_at=None) for n in range(12)]
    frames += [a_frame(12 + n, person_at=200 + 40 * n) for n in range(4)]
    rounds = [
        Round(START_NS, [RawMessage(topic="qn/c/frame/c-1", payload=one, received_ns=START_NS)])
        for one in [*frames, b"no frame"]
    ]
    wanted = rounds[:-1]
    folder = tmp_path / "r"
    clock, writer = ScaledClock(START_NS, 1.0), RecordingWriter(folder)
    recorder = Recorder(address, clock, writer, [("qn/c/frame/+", 0)])
    running = asyncio.create_task(recorder.run())
    while not recorder.source.connected:
        await asyncio.sleep(0.01)
    await BrokerPlayer(address, Pace()).play(rounds)
    while writer.messages < len(wanted) or recorder.blurrer.dropped < 1:
        await asyncio.sleep(0.01)
        assert not running.done(), running.result()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    kept = [
        decode_frame(message.payload)
        for one in Recording(folder).rounds()
        for message in one.messages
    ]
    assert len(kept) == len(wanted)
    assert [one.time_ns for one in kept] == [START_NS + n * NS_PER_S for n in range(16)]
    last = cv2.imdecode(np.frombuffer(kept[-1].jpeg, np.uint8), cv2.IMREAD_COLOR)
    true = cv2.imdecode(np.frombuffer(decode_frame(frames[-1]).jpeg, np.uint8), cv2.IMREAD_COLOR)
    person = (slice(155, 235), slice(322, 348))
    street = (slice(20, 120), slice(20, 200))
    detail = [cv2.Laplacian(cv2.cvtColor(one[person], cv2.COLOR_BGR2GRAY), cv2.CV_64F).var()
              for one in (true, last)]  # fmt: skip
    assert detail[1] < detail[0] / 50
    assert np.abs(last[street].astype(int) - true[street].astype(int)).mean() < 4
    # Before the street was known nothing sharp was kept.
    assert recorder.blurrer.blurred_whole >= 7


async def test_raw_frames_only_when_asked(address: BrokerAddress, tmp_path: Path) -> None:
    frame = a_frame(0, person_at=100)
    rounds = [
        Round(START_NS, [RawMessage(topic="qn/c/frame/c-1", payload=frame, received_ns=START_NS)])
    ]
    got, _ = await recorded(address, tmp_path / "r", rounds, FramePolicy.RAW)
    assert [m.payload for one in got for m in one.messages] == [frame]


async def test_frames_by_reference_come_back_as_they_were(
    address: BrokerAddress, tmp_path: Path
) -> None:
    frames = [a_frame(n, person_at=100 * (n % 2)) for n in range(4)]
    rounds = [
        Round(START_NS, [RawMessage(topic="qn/c/frame/c-1", payload=one, received_ns=START_NS)])
        for one in frames
    ]
    pictures = PictureStore(tmp_path / "r")
    got, _ = await recorded(address, tmp_path / "r", rounds, FramePolicy.RAW, pictures)
    assert [m.payload for one in got for m in one.messages] == frames
    assert (pictures.kept, pictures.shared, pictures.evicted) == (4, 2, 0)
    files = list((tmp_path / "r/frames").glob("??/*.jpg"))
    assert len(files) == 2
    assert sum(one.stat().st_size for one in files) == pictures.bytes
    (mcap,) = (tmp_path / "r").glob("*.mcap")
    assert mcap.stat().st_size < len(frames[0])
    # One picture is gone, the other is not what it was.
    files[0].unlink()
    files[1].write_bytes(b"another")
    recording = Recording(tmp_path / "r")
    assert [m for one in recording.rounds() for m in one.messages] == []
    assert recording.frames_gone == {"frame_gone": 2, "frame_damaged": 2}


async def test_referenced_frames_are_blurred_by_default(
    address: BrokerAddress, tmp_path: Path
) -> None:
    frame = a_frame(0, person_at=100)
    rounds = [
        Round(START_NS, [RawMessage(topic="qn/c/frame/c-1", payload=frame, received_ns=START_NS)])
    ]
    pictures = PictureStore(tmp_path / "r")
    got, recorder = await recorded(address, tmp_path / "r", rounds, FramePolicy.BLURRED, pictures)
    (kept,) = [decode_frame(m.payload) for one in got for m in one.messages]
    assert kept.jpeg != decode_frame(frame).jpeg
    assert recorder.blurrer.blurred_whole == 1


def test_pictures_take_no_more_room_than_allowed(tmp_path: Path) -> None:
    pictures = PictureStore(tmp_path, max_bytes=300)
    digests = [pictures.put(bytes([n]) * 100) for n in range(3)]
    pictures.put(bytes([0]) * 100)  # used again: it stays
    pictures.put(bytes([9]) * 100)
    assert [path_of(tmp_path, one).exists() for one in digests] == [True, False, True]
    assert (pictures.bytes, pictures.evicted, pictures.shared) == (300, 1, 1)
    again = PictureStore(tmp_path, max_bytes=300)
    assert again.bytes == 300
    again.put(b"x" * 250)
    assert (again.bytes, again.evicted) == (250, 3)
