"""The stream engine: log, decoding, stages, Faust, growth, and the whole city on a broker.

Run as ``python -m benchmarks.bench_stream``; a full run takes a quarter of an hour, ten minutes
of it at a steady rate for the memory; ``--quick`` takes smaller numbers, for CI. Peers run in
turns with ours: SQLite in WAL mode with synchronous=FULL, pydantic, and a paho subscriber that
does nothing. Ends with status 1 where an answer is wrong, and with ``--strict``
also where a goal is not met.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
import msgspec
import numpy as np
from pydantic import BaseModel, Field

from benchmarks.harness import Figure, against, at_most, median_seconds, publish, work_folder
from benchmarks.stream_city import bench_city
from benchmarks.stream_latency import Lasting, bench_latency
from core.clock import SystemClock
from core.observations import Observation, Stamp, decode_batch, encode_batch, pack, stamped
from core.ports import RawMessage
from geo.city import City, load_city
from geo.tagging import Tagger
from ingest.decoders import plain
from ingest.gathered import as_columns
from ingest.pipeline import decode_rows
from ingest.repeats import Repeats
from scenarios.engine import RuleEngine
from scenarios.loader import load_packs
from scenarios.model import Scenario
from streams.checkpoints import PAGE_BYTES, TURNS, CheckpointStore
from streams.dedup import DEFAULT_CAPACITY
from streams.embedded import register
from streams.embedded.log import EmbeddedLog, NewRecord
from streams.live import ThingTracker
from streams.partition import PartitionWorker

ROW_BYTES = 300
BATCH = 512
START_NS = 1_767_225_600_000_000_000


@dataclass(frozen=True)
class Sizes:
    """How much to run."""

    rounds: int
    log_batches: int
    readings: int
    batches: int
    faust_records: int
    things: tuple[int, int]
    messages: int
    lasting: Lasting


FULL = Sizes(5, 200, 20_000, 100, 5_000, (10_000, 1_000_000), 40_000, Lasting(10, 600, 30))
QUICK = Sizes(3, 20, 2_000, 10, 500, (2_000, 20_000), 5_000, Lasting(2, 5, 3))


class PeerReading(BaseModel):
    """The same reading, with the same limits, for pydantic."""

    thing: str = ""
    kind: str = Field("", max_length=64)
    time: int | str | None = None
    seq: int | None = None
    lon: float | None = Field(None, ge=-180, le=180, allow_inf_nan=False)
    lat: float | None = Field(None, ge=-90, le=90, allow_inf_nan=False)
    error_m: float | None = Field(None, ge=0, allow_inf_nan=False)
    measures: dict[str, float] = Field({}, max_length=128)
    labels: dict[str, str] = Field({}, max_length=32)


def a_reading(thing: int, second: int) -> RawMessage:
    """A reading of about 300 bytes, from a device with clock, counter and position."""
    body = {
        "thing": f"water-{thing:07d}",
        "kind": "water_level",
        "time": START_NS // 1_000_000 + second * 1000,
        "seq": second,
        "lon": 120.38 + thing % 9_999 / 1e6,
        "lat": 36.0612,
        "error_m": 1.5,
        "measures": {
            "water_level_m": 0.01 * (1 + thing % 9),
            "battery_v": 3.61,
            "temperature_c": 18.4,
            "rssi_dbm": -97.0,
        },
        "labels": {"firmware": "2.11.4-lts", "site": "Yan'an Road underpass, inlet 4"},
    }
    return RawMessage(
        topic=f"qn/qingdao/sensor/water-{thing:07d}",
        payload=msgspec.json.encode(body),
        received_ns=START_NS + second * 1_000_000_000 + thing,
        qos=1,
        packet_id=1 + thing % 65_535,
    )


def bench_log(batches: int, rounds: int) -> list[Figure]:
    """The embedded log alone, one fdatasync per batch, against SQLite WAL FULL."""
    row = bytes(ROW_BYTES)
    slowest: list[float] = []
    with work_folder() as name:
        database = sqlite3.connect(f"{name}/peer.sqlite3", isolation_level=None)
        database.execute("pragma journal_mode=wal")
        database.execute("pragma synchronous=full")
        database.execute("create table log (id integer primary key, data blob)")

        def peer() -> None:
            for _ in range(batches):
                database.execute("begin immediate")
                database.executemany("insert into log (data) values (?)", [(row,)] * BATCH)
                database.execute("commit")

        bare = os.open(f"{name}/bare", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

        def floor() -> None:
            for _ in range(batches):
                os.write(bare, row * BATCH)
                os.fdatasync(bare)

        with asyncio.Runner() as runner:
            log = EmbeddedLog(Path(name) / "log")
            whole = [NewRecord("batches", 0, row * BATCH)]
            single = [NewRecord("rows", 0, row)] * BATCH

            async def write(topic: str, new: list[NewRecord]) -> None:
                log.declare(topic, 1)
                for _ in range(batches):
                    began = time.perf_counter()
                    await log.append(new)
                    if new is whole:
                        slowest.append(time.perf_counter() - began)

            ours_s, single_s, floor_s, peer_s = median_seconds(
                rounds,
                lambda: runner.run(write("batches", whole)),
                lambda: runner.run(write("rows", single)),
                floor,
                peer,
            )
            rows = database.execute("select count(*) from log").fetchone()[0]
            wrong = abs(log.end("rows", 0) - rows) + abs(BATCH * log.end("batches", 0) - rows)
            runner.run(log.close())
        os.close(bare)
        database.close()
    p99_ms = 1000 * float(np.percentile(slowest, 99))
    count = batches * BATCH
    return [
        against("log, 512 rows of 300 bytes as one record, fdatasync each", count, ours_s,
                "SQLite WAL FULL", peer_s, 3.0),
        Figure("log, the same to a bare file: what the disk can do", count / floor_s, "1/s",
               peer="SQLite WAL FULL", peer_value=count / peer_s, ratio=peer_s / floor_s),
        at_most("log, p99 of such a batch", p99_ms, "ms", 5.0),
        Figure("log, the same as 512 records", count / single_s, "1/s", peer="SQLite WAL FULL",
               peer_value=count / peer_s, ratio=peer_s / single_s),
        at_most("log, rows that differ from the peer's", wrong, "", 0),
    ]  # fmt: skip


def bench_decode(readings: int, rounds: int) -> list[Figure]:
    """Decode and validate one reading, against pydantic."""
    messages = [a_reading(thing, 1) for thing in range(readings)]

    def read() -> None:
        for one in messages:
            plain.read(one)

    def ours() -> None:
        for one in messages:
            plain.decode(one)

    def peer() -> None:
        for one in messages:
            PeerReading.model_validate_json(one.payload)

    read_s, ours_s, peer_s = median_seconds(rounds, read, ours, peer, clock=time.thread_time)
    each_us = 1e6 / readings
    return [
        at_most("decode and check types of a reading", read_s * each_us, "us", 1.0),
        against("the same, per second", readings, read_s, "pydantic", peer_s, 3.0),
        Figure("reading to checked observation", ours_s * each_us, "us", peer="pydantic model",
               peer_value=peer_s * each_us, ratio=peer_s / ours_s),
    ]  # fmt: skip


def bench_stages(batches: int, rounds: int, city: City) -> list[Figure]:
    """What one observation costs the processor in each stage, in batches of 512, shipped rules."""
    packs, tagger = load_packs(), Tagger(city)
    messages = [[a_reading(thing, second) for thing in range(BATCH)] for second in range(batches)]
    repeats = Repeats()
    settled = [repeats.settle(part) for part in messages]
    rows = [decode_rows(part, city="qingdao")[0] for part in settled]
    records = [encode_batch(stamped(as_columns([part]), _stamp(n))) for n, part in enumerate(rows)]
    workers: list[PartitionWorker] = []
    tracker = ThingTracker()

    def worker() -> PartitionWorker:
        return PartitionWorker(
            0, engine=RuleEngine(packs, frozenset()), tagger=tagger, devices=city.devices
        )

    def process() -> None:
        workers[:] = [worker()]
        for number, record in enumerate(records):
            workers[0].process(number, record)

    def apply_and_watch() -> None:
        one = worker()
        for number, record in enumerate(records):
            done = one.process(number, record)
            assert done is not None
            tracker.observe(done)

    stages: list[tuple[str, Callable[[], Any]]] = [
        ("repeats of MQTT", lambda: [repeats.settle(part) for part in messages]),
        ("decode", lambda: [decode_rows(part, city="qingdao") for part in settled]),
        ("pack and encode the record", lambda: [
            encode_batch(stamped(as_columns([part]), _stamp(n))) for n, part in enumerate(rows)
        ]),
        ("decode the record", lambda: [decode_batch(record) for record in records]),
        ("de-duplicate, tag, rules", process),
        ("the same with the live picture", apply_and_watch),
    ]  # fmt: skip
    seconds = median_seconds(rounds, *(work for _, work in stages), clock=time.thread_time)
    count = batches * BATCH
    figures = [
        Figure(f"stage: {name}", 1e6 * taken / count, "us per observation")
        for (name, _), taken in zip(stages, seconds, strict=True)
    ]
    total_us = 1e6 * (seconds[0] + seconds[1] + seconds[2] + seconds[5]) / count
    figures.append(at_most("all stages together", total_us, "us per observation", 12.0))
    wrong = count - workers[0].position.counters.accepted
    figures.append(at_most("stages: observations that are missing", wrong, "", 0))
    return figures


def _stamp(number: int) -> Stamp:
    at_ns = START_NS + number * 1_000_000_000
    return Stamp(
        ingest_id="i", sequence=number + 1, partition=0, watermark_ns=at_ns, logged_ns=at_ns
    )


def bench_faust(records: int) -> list[Figure]:
    """What Faust adds to a record on the embedded log: an agent that does nothing."""
    with work_folder() as name:
        seconds = asyncio.run(_consume(Path(name).resolve(), records))
    each_us = 1e6 * seconds / records
    return [
        Figure("Faust: log to agent, per record", each_us, "us"),
        Figure("Faust: per observation in records of 512", each_us / BATCH, "us"),
    ]


async def _consume(folder: Path, records: int) -> float:
    register()
    log = EmbeddedLog(folder / "log")
    log.declare("records", 1)
    await log.append([NewRecord("records", 0, bytes(ROW_BYTES))] * records)
    await log.close()
    app = faust.App(
        "bench", broker=f"embedded://{folder / 'log'}?sync=normal", datadir=str(folder / "faust"),
        store="memory://", web_enabled=False, autodiscover=False, origin=None,
        key_serializer="raw", value_serializer="raw", topic_partitions=1,
    )  # fmt: skip
    topic = app.topic("records", partitions=1, key_type=bytes, value_type=bytes, internal=True)
    seen, began, done = 0, 0.0, asyncio.Event()

    async def nothing(stream: Any) -> None:
        nonlocal seen, began
        async for event in stream.noack().events():
            event.ack()
            began = began or time.perf_counter()
            seen += 1
            if seen >= records:
                done.set()

    app.agent(topic, name="nothing")(nothing)
    await app.start()
    await asyncio.wait_for(done.wait(), 120)
    taken = time.perf_counter() - began
    await app.stop()
    return taken


def bench_growth(things: tuple[int, int], rounds: int, city: City) -> list[Figure]:
    """State, restart and cost of an observation as the number of things grows."""
    packs, tagger = load_packs(), Tagger(city)
    crowds = [_Crowd(count, packs, tagger) for count in things]
    # In turns: what else the machine does meets both alike.
    taken = [[crowd.hear() for crowd in crowds] for _ in range(120)]
    cost = [statistics.median(one) / BATCH for one in zip(*taken, strict=True)]
    figures: list[Figure] = []
    on_disk: list[int] = []
    for crowd, each_s in zip(crowds, cost, strict=True):
        count, worker = crowd.count, crowd.worker
        # The first checkpoint writes everything, which a start with an old log may do once. Those
        # that follow are of a city in which 512 things speak between two of them.
        table: dict[bytes, bytes] = {}
        store = CheckpointStore(table, 0, "bench")
        store.write(worker.checkpoint())
        stood_still = []
        for _ in range(2 * TURNS):
            crowd.hear()
            began = time.perf_counter()
            store.write(worker.checkpoint())
            stood_still.append(time.perf_counter() - began)
        on_disk.append(sum(len(value) for value in table.values()))
        largest = max(len(value) for value in table.values())
        again = PartitionWorker(0, engine=RuleEngine(packs, frozenset()), tagger=tagger, devices={})
        began = time.perf_counter()
        found = CheckpointStore(table, 0, "again").load()
        assert found is not None
        again.restore(found)
        restored_s = time.perf_counter() - began
        assert again.position == worker.position
        named = f"{count:,} things"
        figures += [
            Figure(f"state in memory at {named}", crowd.state_bytes / 1e6, "MB"),
            Figure(f"state on disk at {named}", on_disk[-1] / 1e6, "MB"),
            at_most(f"largest record of a checkpoint at {named}", largest, "bytes", PAGE_BYTES),
            Figure(f"checkpoint at {named}, median", statistics.median(stood_still), "s"),
            at_most(f"checkpoint at {named}, longest", max(stood_still), "s", 0.25),
            at_most(f"restart with {named}", restored_s, "s", 10.0),
            Figure(f"cost of an observation at {named}", 1e6 * each_s, "us"),
        ]
    few, many = crowds
    more = many.count - few.count
    exponent = math.log(cost[1] / cost[0]) / math.log(things[1] / things[0])
    return [
        *figures,
        at_most("state in memory, each thing more", (many.state_bytes - few.state_bytes) / more,
                "bytes", 200),
        at_most("state on disk, each thing more", (on_disk[1] - on_disk[0]) / more, "bytes", 200),
        at_most("growth exponent of that cost", exponent, "", 0.05),
    ]  # fmt: skip


class _Crowd:
    """A worker that has heard so many things, and as many observations as it remembers ids."""

    def __init__(self, count: int, packs: tuple[Scenario, ...], tagger: Tagger) -> None:
        self.count = count
        engine = RuleEngine(packs, frozenset())
        self.worker = PartitionWorker(0, engine=engine, tagger=tagger, devices={})
        self._offset = 0
        self._chance = np.random.default_rng(7)
        before = _rss()
        for _ in range(math.ceil(DEFAULT_CAPACITY / count)):
            for start in range(0, count, BATCH):
                self._hear(range(start, min(start + BATCH, count)))
        self.state_bytes = _rss() - before

    def hear(self) -> float:
        """Apply a batch of any of them; the processor's seconds that it took."""
        return self._hear(self._chance.integers(0, self.count, BATCH).tolist())

    def _hear(self, things: Iterable[int]) -> float:
        record = _record(things, self._offset)
        began = time.thread_time()
        self.worker.process(self._offset, record)
        self._offset += 1
        return time.thread_time() - began


def _record(things: Iterable[int], number: int) -> bytes:
    at_ns = START_NS + number * 1_000_000_000
    rows = [
        Observation(source="plain", thing_id=f"water-{thing:07d}", kind="water_level",
                    observed_ns=at_ns + row, received_ns=at_ns + row, device_sequence=number,
                    measures={"water_level_m": 0.02})
        for row, thing in enumerate(things)
    ]  # fmt: skip
    return encode_batch(pack(rows, _stamp(number)))


def _rss() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def main() -> int:
    """Run all and say whether every answer was right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="smaller numbers, for CI")
    parser.add_argument("--strict", action="store_true", help="fail where a goal is not met")
    parser.add_argument("--without-city", action="store_true", help="no broker, no processes")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    city = load_city("generated", seed=7)
    figures = [
        *bench_log(sizes.log_batches, sizes.rounds),
        *bench_decode(sizes.readings, sizes.rounds),
        *bench_stages(sizes.batches, sizes.rounds, city),
        *bench_faust(sizes.faust_records),
        *bench_growth(sizes.things, sizes.rounds, city),
    ]
    notes: list[str] = []
    if not options.without_city:
        more, said = bench_city(
            sizes.messages, 1 if options.quick else sizes.rounds, a_reading, SystemClock()
        )
        figures += more
        notes += said
        more, said = bench_latency(sizes.lasting)
        figures += more
        notes += said
    publish("stream", figures, notes)
    wrong = any(one.met is False and one.goal == 0 for one in figures)
    missed = options.strict and any(one.met is False for one in figures)
    return 1 if wrong or missed else 0


if __name__ == "__main__":
    sys.exit(main())
