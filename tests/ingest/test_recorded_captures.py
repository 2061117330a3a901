"""Recordings: bad lines, time, bounded memory, and the capture of a real flight."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.clock import ManualClock
from core.observations import Observation
from core.ports import RawMessage, Rejection
from core.units import NS_PER_S, rfc3339_to_ns
from ingest.pipeline import decode_messages
from ingest.recording.jsonl import BAD_LINE_TOPIC, MAX_LINE_BYTES, read_messages
from ingest.recording.reader import Recording
from ingest.recording.source import RecordedSource


def a_line(ts: Any = 1.5, topic: Any = "qn/c/sensor/w-1", data: Any = None) -> bytes:
    return json.dumps({"ts": ts, "topic": topic, "data": data or {}}).encode() + b"\n"


async def taken(source: RecordedSource) -> list[list[RawMessage]]:
    return [list(batch) async for batch in source.batches()]


@pytest.mark.parametrize(
    "line",
    [
        b"{\n", b"[]\n", b"null\n", b'{"ts": 1, "topic": "x"}\n', b'{"ts": "1"}\n', b"\xff\xfe\n",
        a_line(ts=-1), a_line(ts=1e300), a_line(topic=7), a_line()[:-9] + b"\n",
        b'{"ts": NaN, "topic": "x", "data": 1}\n', b'{"ts":1,"topic":"x","data":' + b"[" * 9999,
    ],
)  # fmt: skip
def test_a_bad_line_is_a_message_that_is_rejected(line: bytes) -> None:
    messages = list(read_messages(io.BytesIO(a_line() + line + a_line(ts=2.5))))
    assert [one.topic for one in messages] == ["qn/c/sensor/w-1", BAD_LINE_TOPIC] + (
        ["qn/c/sensor/w-1"] if line.endswith(b"\n") else []
    )
    assert messages[1].received_ns == round(1.5 * NS_PER_S)
    _, rejections = decode_messages(messages[1:2])
    assert [one.reason for one in rejections] == ["unknown_topic"]


def test_memory_is_bounded_by_a_line() -> None:
    class Strict(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise AssertionError("only readline with a limit may be used")

        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert 0 < size <= MAX_LINE_BYTES
            return super().readline(size)

    long = a_line(data={"x": "y" * (3 * MAX_LINE_BYTES)})
    messages = list(read_messages(Strict(long + a_line(ts=2.0))))
    assert [one.topic for one in messages] == [BAD_LINE_TOPIC, "qn/c/sensor/w-1"]
    assert len(messages[0].payload) <= MAX_LINE_BYTES


async def test_batches_are_of_equal_time_and_move_the_clock(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"".join([a_line(1.0), a_line(1.0), b"\n", a_line(1.25), a_line(1.0)]))
    clock = ManualClock()
    source = RecordedSource(Recording(path).rounds(), clock)
    seen = []
    async for batch in source.batches():
        seen.append((len(batch), clock.now_ns()))
        source.acknowledge(batch)
    # The clock does not go back where the recording does.
    assert seen == [(2, NS_PER_S), (1, 1_250_000_000), (1, 1_250_000_000)]
    assert source.acknowledged == 4


async def test_silence_is_ticks(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(a_line(100.0) + a_line(112.0))
    clock = ManualClock()
    source = RecordedSource(Recording(path).rounds(), clock)
    seen = [(len(batch), clock.now_ns() // NS_PER_S) async for batch in source.batches()]
    assert seen == [(1, 100), (0, 105), (0, 110), (1, 112)]


async def test_batches_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(a_line() * 1200)
    assert [len(batch) for batch in await taken(RecordedSource(Recording(path).rounds()))] == [
        512,
        512,
        176,
    ]


async def test_an_empty_recording(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"")
    assert await taken(RecordedSource(Recording(path).rounds())) == []


async def flight(realdata: Path) -> tuple[list[Observation], list[Rejection], int]:
    clock = ManualClock()
    path = realdata / "drone" / "autel_flight1_mqtt.jsonl"
    source = RecordedSource(Recording(path).rounds(), clock)
    observations, rejections, count = [], [], 0
    async for batch in source.batches():
        count += len(batch)
        good, bad = decode_messages(batch)
        observations += good
        rejections += bad
    return observations, rejections, count


@pytest.mark.realdata
async def test_a_real_flight(realdata: Path) -> None:
    observations, rejections, count = await flight(realdata)
    assert count == 1678
    # The device's list on a topic of the maker's own is the only thing that is not understood.
    assert Counter((one.topic, one.reason) for one in rejections) == {
        ("thing/product/sn", "unknown_topic"): 163
    }
    kinds = Counter(one.kind for one in observations)
    assert kinds["remote_control"] == 179
    assert kinds["remote_id_flight"] == 4
    assert kinds["remote_id_operator"] == 1
    assert kinds["device_health"] == 5
    own = [
        one
        for one in observations
        if one.kind == "aircraft" and one.source == "dji" and "via" not in one.labels
    ]
    assert len(own) == 163
    assert {one.thing_id for one in own} == {"1748FEV3HMM825451479"}
    assert max(one.measures["alt_takeoff_m"] for one in own) == pytest.approx(110.9, abs=0.05)
    relayed = [one for one in observations if one.labels.get("via") == "TH7825451059"]
    assert {one.thing_id for one in relayed} == {"1748FEV3HMM825451479"}
    heard = [one for one in observations if one.source == "remote_id" and one.kind == "aircraft"]
    assert len(heard) == 346
    assert all(one.has_device_time for one in heard)
    # 60.13 N, 24.5 E, all of it: a device that does not know is nowhere, not at 0, 0.
    for one in observations:
        if one.lon_deg is not None:
            assert one.lat_deg is not None
            assert abs(one.lat_deg - 60.13) < 0.05
            assert abs(one.lon_deg - 24.51) < 0.05


@pytest.mark.realdata
async def test_the_sortie_of_a_real_flight(realdata: Path) -> None:
    observations, _, _ = await flight(realdata)
    own = [one for one in observations if one.kind == "aircraft" and one.source == "dji"]
    airborne = [one.observed_ns for one in own if one.measures["alt_takeoff_m"] > 0.5]
    ground = [one.observed_ns for one in own if one.measures["alt_takeoff_m"] <= 0.5]
    takeoff_ns, landing_ns = (
        rfc3339_to_ns("2026-01-27T15:27:14Z"),
        rfc3339_to_ns("2026-01-27T15:31:47Z"),
    )
    # Telemetry comes every two seconds, give or take.
    sample_ns = 3 * NS_PER_S
    assert 0 <= min(airborne) - takeoff_ns <= sample_ns
    last_before = max(t for t in ground if t < min(airborne))
    assert 0 <= min(airborne) - last_before <= 2 * sample_ns
    first_after = min(t for t in ground if t > max(airborne))
    assert abs(first_after - landing_ns) <= 3 * sample_ns
    assert max(airborne) <= landing_ns + sample_ns
