"""The recorder at speed: behind a real broker, and the tap that ingest records with."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Figure, work_folder
from benchmarks.sim_replay import readings
from core.clock import SystemClock
from core.ports import RawMessage
from geo.city import load_city
from ingest.broker import BrokerAddress, MosquittoBroker, find_mosquitto
from ingest.recording.reader import Recording
from ingest.recording.recorder import Recorder
from ingest.recording.tap import RecordingTap
from ingest.recording.writer import RecordingWriter

#: Messages a second that a recording must take.
GOAL_PER_S = 20_000.0

#: What the process may grow by while it records: chunk, index, channels of 10,000 topics.
MEMORY_GOAL_MB = 150.0

_BATCH = 512


def figures(*, quick: bool) -> tuple[list[Figure], list[str]]:
    """Measure; ``quick`` takes a tenth of the messages."""
    city = load_city("generated:city", seed=7)
    messages = list(readings(city, 60))
    times = 4 if quick else 20
    with work_folder() as name:
        folder = Path(name).resolve()
        rate, cpu_us, grown_mb = _tap(folder / "tap", messages, times)
        found = [
            Figure("record, as ingest does it", rate, "messages/s", GOAL_PER_S, rate >= GOAL_PER_S),
            Figure("record: CPU", cpu_us, "us per message"),
            Figure(
                "record: memory grown by", grown_mb, "MB", MEMORY_GOAL_MB,
                grown_mb <= MEMORY_GOAL_MB,
            ),
        ]  # fmt: skip
        if find_mosquitto() is None:
            return found, ["skipped: recording behind a broker needs mosquitto"]
        behind = asyncio.run(_behind_broker(folder, messages * (times // 4)))
    found.append(
        Figure(
            "record behind Mosquitto, QoS 1", behind, "messages/s", GOAL_PER_S, behind >= GOAL_PER_S
        )
    )
    topics = len({one.topic for one in messages})
    note = f"record: {len(messages) * times:,} messages of {topics:,} topics; behind Mosquitto the "
    return found, [f"{note}publisher writes packets that were made before, and shares the machine"]


def _tap(folder: Path, messages: Sequence[RawMessage], times: int) -> tuple[float, float, float]:
    """Messages a second, microseconds of CPU for each, and megabytes that the process grew by."""
    tap = RecordingTap(RecordingWriter(folder))
    before = _peak_mb()
    began, cpu_s = time.perf_counter(), time.process_time()
    for _ in range(times):
        for at in range(0, len(messages), _BATCH):
            tap.carried(messages[at : at + _BATCH])
    tap.close()
    taken_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
    grown_mb = _peak_mb() - before
    count = _checked(folder, times * len(messages))
    return count / taken_s, 1e6 * cpu_s / count, grown_mb


def _checked(folder: Path, wanted: int) -> int:
    found = sum(len(one.messages) for one in Recording(folder).rounds())
    if found != wanted:
        raise RuntimeError(f"{found} messages in {folder}, {wanted} wanted")
    return found


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


async def _behind_broker(folder: Path, messages: Sequence[RawMessage]) -> float:
    """Messages a second from the first to the last recorded one; none may be missing."""
    broker = MosquittoBroker(folder)
    address = await asyncio.to_thread(broker.start)
    writer = RecordingWriter(folder / "recording")
    recorder = Recorder(address, SystemClock(), writer, [("#", 1)])
    running = asyncio.create_task(recorder.run())
    try:
        while not recorder.source.connected:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)  # the subscription has reached the broker
        packets = _packets(messages)
        began = time.perf_counter()
        sending = asyncio.create_task(asyncio.to_thread(_publish, address, packets, len(messages)))
        while writer.messages < len(messages):
            if running.done() or time.perf_counter() - began > 120:
                raise RuntimeError(f"{writer.messages} of {len(messages)} messages recorded")
            await asyncio.sleep(0.01)
        taken_s = time.perf_counter() - began
        await sending
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await asyncio.to_thread(broker.stop)
    return _checked(folder / "recording", len(messages)) / taken_s


def _packets(messages: Sequence[RawMessage]) -> bytes:
    """PUBLISH packets of QoS 1 (MQTT 3.1.1, 3.3)."""
    made = bytearray()
    for number, one in enumerate(messages):
        topic = one.topic.encode()
        body = struct.pack(">H", len(topic)) + topic + struct.pack(">H", number % 65_535 + 1)
        made += b"\x32" + _length(len(body) + len(one.payload)) + body + one.payload
    return bytes(made)


def _length(value: int) -> bytes:
    """A remaining length (MQTT 3.1.1, 2.2.3)."""
    made = bytearray()
    while True:
        value, low = divmod(value, 128)
        made.append(low | 128 if value else low)
        if not value:
            return bytes(made)


def _publish(address: BrokerAddress, packets: bytes, count: int) -> None:
    """Connect, write everything, read the acknowledgements."""
    texts = ["bench-record", address.username, address.password]
    body = b"\x00\x04MQTT\x04\xc2\x00\x3c"  # version 3.1.1, user, password, clean session
    body += b"".join(struct.pack(">H", len(one)) + one.encode() for one in texts)
    with socket.create_connection((address.host, address.port)) as link:
        link.sendall(b"\x10" + _length(len(body)) + body)
        if link.recv(4) != b"\x20\x02\x00\x00":
            raise RuntimeError("the broker refused the publisher")
        sending = threading.Thread(target=link.sendall, args=(packets,))
        sending.start()
        left = 4 * count  # a PUBACK has four bytes
        while left > 0 and (got := len(link.recv(65_536))):
            left -= got
        sending.join()
        link.sendall(b"\xe0\x00")
