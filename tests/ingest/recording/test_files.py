"""MCAP files: written and read back message for message, rotated, cut off, damaged, foreign."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from mcap.writer import Writer

from core.errors import InputError
from core.frames import Frame, encode_frame
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.recording.layout import TICK_TOPIC
from ingest.recording.reader import Recording
from ingest.recording.rounds import Round, select
from ingest.recording.writer import RecordingWriter

START_NS = 1_782_864_000 * NS_PER_S


def a_message(n: int = 0, **given: Any) -> RawMessage:
    fields: dict[str, Any] = {
        "topic": f"qn/qingdao/sensor/w-{n % 7}",
        "payload": b'{"measures": {"water_level_m": %d}}' % n,
        "received_ns": START_NS + n * 1_000_003,
        "qos": 1,
        "packet_id": n % 65535 + 1,
    }
    return RawMessage(**(fields | given))


FRAME = Frame(camera_id="c-1", time_ns=START_NS + 17, width_px=2, height_px=1, jpeg=b"\xff\xd8x")

ALL_KINDS = [
    a_message(1), a_message(2, retained=True), a_message(3, duplicate=True, packet_id=4),
    a_message(4, qos=0, packet_id=0), a_message(5, qos=2), a_message(6, payload=b""),
    a_message(7, payload=b"\x00\xff\xfe"), a_message(8, payload=b"{cut"),
    a_message(9, payload=b'[{"n": "t", "v": 1}]'), a_message(10, topic="qn/青岛/sensor/井-1"),
    a_message(11, payload=b'{"time": 1e999}'), a_message(12, payload=b'{"time": {}}'),
    a_message(13, topic="qn/qingdao/frame/c-1", qos=0, packet_id=0, payload=encode_frame(FRAME)),
    a_message(14, topic="qn/qingdao/frame/c-1", qos=0, packet_id=0, payload=b"no frame"),
]  # fmt: skip


def test_every_message_comes_back_as_it_was(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r", about={"city": "generated"})
    writer.write(ALL_KINDS[:5])
    writer.write(ALL_KINDS[5:])
    writer.write([])
    writer.tick(START_NS + NS_PER_S)
    writer.close()
    recording = Recording(tmp_path / "r")
    assert [one.messages for one in recording.rounds()] == [ALL_KINDS[:5], ALL_KINDS[5:], []]
    assert list(recording.rounds())[-1].instant_ns == START_NS + NS_PER_S
    assert recording.about()["city"] == "generated"
    assert recording.cut_off == {}
    assert (writer.messages, writer.ticks, writer.files) == (14, 1, 1)


def test_what_foxglove_asks_of_a_file(tmp_path: Path) -> None:
    """Index, statistics, JSON Schema channels; pictures as foxglove.CompressedImage; both times."""
    writer = RecordingWriter(tmp_path)
    told = a_message(payload=b'{"time": "2026-07-01T00:00:00.000000005Z", "a": 1}')
    writer.write([told, ALL_KINDS[12]])
    writer.close()
    (path,) = tmp_path.glob("*.mcap")
    with path.open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert summary.statistics.message_count == 2
        assert summary.chunk_indexes
        found = {c.topic: (s, c, m) for s, c, m in reader.iter_messages()}
    schema, channel, message = found["qn/qingdao/sensor/w-0"]
    assert schema is not None
    assert (schema.encoding, channel.message_encoding) == ("jsonschema", "json")
    assert json.loads(schema.data)["type"] == "object"
    assert channel.metadata == {"qos": "1", "retained": "false", "duplicate": "false"}
    assert message.data == told.payload
    assert (message.log_time, message.publish_time) == (told.received_ns, START_NS + 5)
    schema, channel, message = found["qn/qingdao/frame/c-1"]
    assert schema is not None
    assert schema.name == "foxglove.CompressedImage"
    image = json.loads(message.data)
    assert image["format"] == "jpeg"
    assert image["timestamp"] == {"sec": 1_782_864_000, "nsec": 17}
    assert message.publish_time == FRAME.time_ns


@pytest.mark.parametrize("limit", [{"max_file_bytes": 20_000}, {"max_file_s": 0.5}])
def test_files_rotate_and_go_on(tmp_path: Path, limit: dict[str, Any]) -> None:
    messages = [a_message(n, payload=os.urandom(200)) for n in range(2000)]
    for part in (messages[:1000], messages[1000:]):  # a second writer goes on in the folder
        writer = RecordingWriter(tmp_path, **limit)
        for n in range(0, 1000, 10):
            writer.write(part[n : n + 10])
            writer.flush()
        writer.close()
        assert writer.files > 1
    recording = Recording(tmp_path)
    assert len(recording.files) > 3
    assert [one for each in recording.rounds() for one in each.messages] == messages


def test_the_oldest_files_go(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path, max_file_s=1.0, keep_files=3)
    for n in range(10):
        writer.tick(START_NS + n * NS_PER_S)
    writer.close()
    kept = [one.instant_ns for one in Recording(tmp_path).rounds()]
    assert kept == [START_NS + n * NS_PER_S for n in (7, 8, 9)]


_WRITE_FOREVER = """
import sys, time
from pathlib import Path
from core.ports import RawMessage
from ingest.recording.writer import RecordingWriter
writer = RecordingWriter(Path(sys.argv[1]))
for n in range(10**9):
    writer.write([RawMessage(topic="t", payload=b'{"n": %d}' % n, received_ns=n * 1000)])
    if n == 5000:
        writer.flush()
        print("flushed", flush=True)
"""


def test_what_was_written_before_a_kill_is_read(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WRITE_FOREVER, str(tmp_path / "r")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    assert child.stdout is not None
    assert child.stdout.readline() == b"flushed\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    recording = Recording(tmp_path / "r")
    numbers = [json.loads(m.payload)["n"] for one in recording.rounds() for m in one.messages]
    assert len(numbers) > 5000
    assert numbers == list(range(len(numbers)))
    assert list(recording.cut_off) == recording.files


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 40, 300, 2000, -1, -9, -400])
def test_a_file_cut_anywhere_is_read_up_to_there(tmp_path: Path, keep: int) -> None:
    writer = RecordingWriter(tmp_path / "r")
    messages = [a_message(n) for n in range(3000)]
    for n in range(0, 3000, 100):
        writer.write(messages[n : n + 100])
        writer.flush()
    writer.close()
    (path,) = (tmp_path / "r").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    recording = Recording(path)
    if not whole[:keep].startswith(b"\x89MCAP"):
        assert not recording.is_mcap
        return
    got = [one for each in recording.rounds() for one in each.messages]
    assert got == messages[: len(got)]
    assert path in recording.cut_off
    assert len(got) == 3000 or keep >= 0


def test_a_damaged_chunk_is_left_out_and_told(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "r")
    messages = [a_message(n) for n in range(3000)]
    for n in range(0, 3000, 100):
        writer.write(messages[n : n + 100])
        writer.flush()
    writer.close()
    (path,) = (tmp_path / "r").iterdir()
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    hit = summary.chunk_indexes[7]
    data = bytearray(path.read_bytes())
    data[hit.chunk_start_offset + hit.chunk_length - 20] ^= 0x10
    path.write_bytes(data)
    recording = Recording(path)
    got = [one for each in recording.rounds() for one in each.messages]
    assert got == messages[:700] + messages[800:]
    assert "1 damaged chunk" in recording.cut_off[path]
    # Without an index there is no way round it.
    path.write_bytes(data[:-9])
    recording = Recording(path)
    assert [one for each in recording.rounds() for one in each.messages] == messages[:700]
    assert path in recording.cut_off


def test_from_and_to_read_only_what_they_need(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path)
    for n in range(100):
        writer.write([a_message(n, received_ns=START_NS + n * NS_PER_S)])
        writer.flush()
    writer.close()
    since, until = START_NS + 40 * NS_PER_S, START_NS + 43 * NS_PER_S
    got = list(Recording(tmp_path).rounds(since_ns=since, until_ns=until))
    assert [one.instant_ns for one in got] == [since + n * NS_PER_S for n in range(3)]
    # The channel was announced in a chunk that was not read.
    assert got[0].messages[0].topic == a_message(40).topic


def test_topics_are_chosen_by_filter_and_ticks_stay() -> None:
    rounds = [Round(1, [a_message(1), a_message(2, topic="a/b")]), Round(2, []),
              Round(3, [a_message(3, topic="a/c")])]  # fmt: skip
    chosen = list(select(rounds, topics=["a/+"], without=["a/c"]))
    assert [[m.topic for m in one.messages] for one in chosen] == [["a/b"], []]
    assert list(select(rounds)) == rounds


def test_a_foreign_mcap_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "foreign.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start("ros2")
        channel = writer.register_channel("a/b", "json", 0)
        for n in range(3):
            writer.add_message(channel, n, b"{}", n, sequence=n)
        writer.finish()
    assert [m.topic for one in Recording(path).rounds() for m in one.messages] == ["a/b"] * 3


def test_no_recording_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such recording"):
        Recording(tmp_path / "none")
    with pytest.raises(InputError, match=r"\*\.mcap"):
        Recording(tmp_path)


def test_memory_stays_bounded_over_many_channels(tmp_path: Path) -> None:
    from ingest.recording import writer as module

    writer = RecordingWriter(tmp_path)
    before = module.MAX_CHANNELS
    module.MAX_CHANNELS = 50
    try:
        for n in range(200):
            writer.write([a_message(n, topic=f"t/{n}")])
            assert len(writer._channels) <= 51
    finally:
        module.MAX_CHANNELS = before
    writer.close()
    assert writer.files == 4
    assert TICK_TOPIC not in {m.topic for one in Recording(tmp_path).rounds() for m in one.messages}
