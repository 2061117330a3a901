from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
from builders import a_batch, an_observation, at_s

from core import topics
from core.clock import ManualClock
from core.events import Edge, Event, EventBatch
from core.observations import decode_batch, encode_batch
from core.ports import Rejection
from geo.city import City, load_city
from geo.tagging import Tagger
from scenarios.engine import RuleEngine
from scenarios.loader import load_packs
from streams import checkpoints
from streams.app import FaustLog, StreamServices, build_app
from streams.decisions import DecisionWriter
from streams.partition import Processed


@pytest.fixture(scope="module")
def city() -> City:
    return load_city("generated", seed=7)


class Recorder:
    """A case store that only remembers, and can be waited for."""

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}
        self.sequences: list[int] = []
        self.rejections: list[Rejection] = []
        self.processed: list[Processed] = []
        self.changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def apply(self, batches: Sequence[EventBatch], _now_ns: int) -> None:
        for batch in batches:
            self.sequences.append(batch.stamp.sequence)
            self.events.update((event.id, event) for event in batch.events)
        self._loop.call_soon_threadsafe(self.changed.set)

    async def reject(self, rejections: Sequence[Rejection]) -> None:
        self.rejections += rejections
        self.changed.set()

    def observe(self, processed: Processed) -> None:
        self.processed.append(processed)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def running(
    folder: Path, city: City, *, partitions: int = 1
) -> AsyncIterator[tuple[FaustLog, Recorder, Any]]:
    recorder = Recorder()
    decisions = DecisionWriter(recorder.apply, ManualClock(at_s(0)), partitions)
    packs = load_packs()
    app = build_app(
        log_url=f"embedded://{folder / 'log'}",
        data_dir=folder,
        partitions=partitions,
        services=StreamServices(
            tagger=Tagger(city),
            devices=city.devices,
            new_engine=lambda: RuleEngine(packs, frozenset()),
            decisions=decisions,
            store_rejections=recorder.reject,
            observed=recorder.observe,
            clock=ManualClock(at_s(0)),
        ),
    )
    writer = asyncio.create_task(decisions.run())
    await app.start()
    try:
        yield FaustLog(app), recorder, app
    finally:
        await app.stop()
        writer.cancel()


def smoke(seconds: float, level: float, sequence: int) -> bytes:
    return encode_batch(
        a_batch(
            an_observation(
                seconds,
                thing_id="smoke-0001",
                kind="smoke",
                lon_deg=None,
                lat_deg=None,
                measures={"smoke_db_per_m": level},
            ),
            sequence=sequence,
        )
    )


async def test_from_log_record_to_ordered_events(tmp_path: Path, city: City) -> None:
    async with running(tmp_path, city) as (log, recorder, _):
        for sequence in range(1, 8):
            record = smoke(5 * sequence, 0.5, sequence)
            await log.append(topics.OBSERVATIONS, 0, record, key=None)
        await recorder.until(lambda: bool(recorder.events))
    (raised,) = recorder.events.values()
    assert (raised.scenario, raised.edge) == ("smoke-alarm", Edge.RAISE)
    assert raised.began_ns == at_s(5)
    assert raised.place.lon_deg == city.devices["smoke-0001"].lon_deg
    assert raised.place.district_code == "370202"
    assert raised.place.grid_code is not None
    assert raised.place.generated
    assert raised.place.layer_versions


async def test_a_restart_goes_on_where_the_checkpoint_left_off(tmp_path: Path, city: City) -> None:
    async with running(tmp_path, city) as (log, recorder, _):
        await log.append(topics.OBSERVATIONS, 0, smoke(0, 0.5, 1), key=None)
        await recorder.until(lambda: len(recorder.processed) == 1)
    # The condition began before the restart; the engine must remember.
    async with running(tmp_path, city) as (log, recorder, _):
        await log.append(topics.OBSERVATIONS, 0, smoke(0, 0.5, 2), key=None)  # a repeat
        await log.append(topics.OBSERVATIONS, 0, smoke(12, 0.5, 3), key=None)
        await recorder.until(lambda: bool(recorder.events))
    (raised,) = recorder.events.values()
    assert raised.began_ns == at_s(0)
    assert sum(one.duplicate_count for one in recorder.processed) == 1


async def test_what_cannot_be_read_is_set_aside_and_the_rest_goes_on(
    tmp_path: Path, city: City
) -> None:
    async with running(tmp_path, city) as (log, recorder, app):
        await log.append(topics.OBSERVATIONS, 0, b"not a batch", key=None)
        await log.append(topics.OBSERVATIONS, 0, smoke(0, 0.5, 1), key=None)
        rejection = Rejection(
            topic="t", reason="bad_json", detail="d", payload=b"{", payload_bytes=1, received_ns=5
        )
        await log.append(topics.REJECTIONS, 0, msgspec.msgpack.encode([rejection]), key=None)
        await log.append(topics.REJECTIONS, 0, b"\xc1", key=None)
        await recorder.until(lambda: len(recorder.rejections) == 2 and bool(recorder.processed))
        assert not app.crashed
    assert {one.reason for one in recorder.rejections} == {"bad_json", "bad_batch"}
    bad = next(one for one in recorder.rejections if one.reason == "bad_batch")
    assert bad.topic == "observations[0]@0"
    assert bad.payload == b"not a batch"


async def test_an_observation_that_fails_is_set_aside_alone(
    tmp_path: Path, city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 512 one makes the rules fail, after a record that no checkpoint has yet."""
    real = RuleEngine.process_rounds

    def process_rounds(self: RuleEngine, batch: Any, tags: Any) -> Any:
        found = real(self, batch, tags)  # the state has changed when it fails
        if "poison" in batch.thing_ids:
            raise ZeroDivisionError("a fault in a rule")
        return found

    monkeypatch.setattr(RuleEngine, "process_rounds", process_rounds)
    rows = [
        an_observation(0, thing_id=f"water-{n}", device_sequence=1, measures={"water_level_m": 0.0})
        for n in range(511)
    ]
    rows.insert(300, an_observation(0, thing_id="poison", device_sequence=1))
    async with running(tmp_path, city) as (log, recorder, app):
        await log.append(topics.OBSERVATIONS, 0, smoke(0, 0.5, 1), key=None)
        await log.append(topics.OBSERVATIONS, 0, encode_batch(a_batch(*rows, sequence=2)), key=None)
        await log.append(topics.OBSERVATIONS, 0, smoke(12, 0.5, 3), key=None)
        await recorder.until(lambda: bool(recorder.rejections) and bool(recorder.events))
        assert not app.crashed
    (aside,) = recorder.rejections
    assert aside.reason == "agent_failed"
    assert "ZeroDivisionError" in aside.detail
    assert decode_batch(aside.payload).thing_ids == ["poison"]
    assert (aside.source, aside.ingest_id, aside.sequence) == ("plain", "ingest-1", 2)
    seen = [one.id for done in recorder.processed for one in done.batch]
    assert len(seen) == len(set(seen)) == 513
    (raised,) = recorder.events.values()
    assert raised.began_ns == at_s(0)  # what came before the fault is remembered


@pytest.mark.parametrize("partitions", [1, 4])
async def test_results_do_not_depend_on_the_number_of_partitions(
    tmp_path: Path, city: City, partitions: int
) -> None:
    from core.observations import partition_of

    things = [name for name, device in city.devices.items() if device.kind == "smoke"]
    async with running(tmp_path, city, partitions=partitions) as (log, recorder, _):
        sequence = 0
        for step in range(6):
            rows: list[list[Any]] = [[] for _ in range(partitions)]
            for thing in things:
                one = an_observation(
                    5 * step, thing_id=thing, kind="smoke", measures={"smoke_db_per_m": 0.5}
                )
                rows[partition_of(thing, partitions)].append(one)
            for partition in range(partitions):
                sequence += 1
                record = a_batch(*rows[partition], sequence=sequence, partition=partition)
                await log.append(topics.OBSERVATIONS, partition, encode_batch(record), key=None)
        await recorder.until(lambda: len(recorder.events) == len(things))
    assert {event.thing_id for event in recorder.events.values()} == set(things)
    assert recorder.sequences == sorted(recorder.sequences)


async def test_a_checkpoint_of_another_version_stops_the_app(tmp_path: Path, city: City) -> None:
    with mock.patch("streams.app.CHECKPOINT_RECORDS", 1):
        async with running(tmp_path, city) as (log, recorder, _):
            await log.append(topics.OBSERVATIONS, 0, smoke(0, 0.5, 1), key=None)
            await recorder.until(lambda: len(recorder.processed) == 1)
    newer = checkpoints.CHECKPOINT_VERSION + 1
    with mock.patch.object(checkpoints, "CHECKPOINT_VERSION", newer):
        async with running(tmp_path, city) as (log, _, app):
            await log.append(topics.OBSERVATIONS, 0, smoke(5, 0.5, 2), key=None)
            async with asyncio.timeout(10):
                while not app.crashed:
                    await asyncio.sleep(0.01)
            assert f"has version {newer - 1}," in str(app.crash_reason)
