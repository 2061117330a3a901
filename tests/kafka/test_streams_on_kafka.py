"""The app of streams/app.py on a real Kafka broker: as on the embedded log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import TopicPartition
from builders import a_batch, an_observation, at_s
from worker_state import remembered

from core import topics
from core.clock import ManualClock
from core.errors import ServiceError
from core.events import Edge, Event, EventBatch
from core.observations import Observation, encode_batch, partition_of
from core.ports import LogWriter, Rejection
from geo.city import City, load_city
from geo.tagging import Tagger
from ingest.kafka_log import KafkaLog
from scenarios.engine import RuleEngine
from scenarios.loader import load_packs
from streams.app import FaustLog, StreamServices, build_app
from streams.checkpoints import CheckpointStore
from streams.decisions import DecisionWriter
from streams.partition import PartitionWorker, Processed

pytestmark = pytest.mark.kafka

GROUP = "qingniao-test"


@pytest.fixture(scope="module")
def city() -> City:
    return load_city("generated", seed=7)


class Recorder:
    """A case store that only remembers, and can be waited for."""

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}
        self.order: list[str] = []
        self.sequences: list[int] = []
        self.processed: list[Processed] = []
        self.changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def apply(self, batches: Sequence[EventBatch], _now_ns: int) -> None:
        for batch in batches:
            self.sequences.append(batch.stamp.sequence)
            for event in batch.events:
                if event.id not in self.events:
                    self.order.append(event.id)
                self.events[event.id] = event
        self._loop.call_soon_threadsafe(self.changed.set)

    async def reject(self, _rejections: Sequence[Rejection]) -> None:
        self.changed.set()

    def observe(self, processed: Processed) -> None:
        self.processed.append(processed)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class Worker:
    """One stream service: its app, and the decision writer that is fed by it."""

    def __init__(
        self, log_url: str, folder: Path, city: City, recorder: Recorder, *, partitions: int
    ) -> None:
        packs = load_packs()
        decisions = DecisionWriter(recorder.apply, ManualClock(at_s(0)), partitions)
        self._decisions = decisions
        self.app = build_app(
            log_url=log_url,
            data_dir=folder,
            partitions=partitions,
            app_id=GROUP,
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

    async def start(self) -> None:
        self._writer = asyncio.create_task(self._decisions.run())
        await self.app.start()

    async def stop(self) -> None:
        await self.app.stop()
        self._writer.cancel()


@asynccontextmanager
async def running(
    servers: str, folder: Path, city: City, recorder: Recorder, *, partitions: int = 8
) -> AsyncIterator[tuple[KafkaLog, Any]]:
    worker = Worker(f"kafka://{servers}", folder, city, recorder, partitions=partitions)
    await worker.start()
    log = KafkaLog(servers, topics={topics.OBSERVATIONS: partitions, topics.REJECTIONS: 1})
    try:
        await log.start()
        yield log, worker.app
    finally:
        await log.close()
        await worker.stop()


def smoke(thing: str, seconds: float, level: float = 0.5) -> Observation:
    return an_observation(
        seconds,
        thing_id=thing,
        kind="smoke",
        lon_deg=None,
        lat_deg=None,
        measures={"smoke_db_per_m": level},
    )


def rounds(
    observations: Iterable[Sequence[Observation]], partitions: int
) -> Iterable[list[tuple[int, bytes]]]:
    """Records as ingest writes them: a round has one for every partition, in sequence."""
    sequence = 0
    for round_ in observations:
        records = []
        for partition in range(partitions):
            sequence += 1
            rows = [one for one in round_ if partition_of(one.thing_id, partitions) == partition]
            batch = a_batch(*rows, sequence=sequence, partition=partition)
            records.append((partition, encode_batch(batch)))
        yield records


async def write(log: LogWriter, rounds_: Iterable[list[tuple[int, bytes]]]) -> None:
    for records in rounds_:
        await asyncio.gather(
            *(log.append(topics.OBSERVATIONS, at, record, key=None) for at, record in records)
        )


def smokes(city: City) -> list[str]:
    return [name for name, device in city.devices.items() if device.kind == "smoke"]


def a_fire(city: City) -> list[list[Observation]]:
    """Every smoke detector over its threshold for 25 s, then clear."""
    levels = [0.5] * 6 + [0.0] * 3
    return [[smoke(one, 5 * i, level) for one in smokes(city)] for i, level in enumerate(levels)]


async def test_topics_are_made_as_wanted(
    tmp_path: Path, city: City, kafka_servers: str, admin: AIOKafkaAdminClient
) -> None:
    async with running(kafka_servers, tmp_path, city, Recorder()):
        names = [*await admin.list_topics()]
        found = {one["topic"]: one for one in await admin.describe_topics(names)}
        changelog = f"{GROUP}-checkpoints-changelog"
        partitions = {name: len(one["partitions"]) for name, one in found.items()}
        (answer,) = await admin.describe_configs(
            [
                ConfigResource(ConfigResourceType.TOPIC, topics.OBSERVATIONS),
                ConfigResource(ConfigResourceType.TOPIC, changelog),
            ]
        )
    wanted = {topics.OBSERVATIONS: 8, topics.EVENTS: 1, topics.REJECTIONS: 1, changelog: 8}
    assert {name: count for name, count in partitions.items() if name in wanted} == wanted
    configs = {name: {one[0]: one[1] for one in rows} for *_, name, rows in answer.resources}
    assert configs[changelog]["cleanup.policy"] == "compact"
    assert configs[changelog]["segment.bytes"] == str(32 * 1024 * 1024)
    assert configs[topics.OBSERVATIONS]["max.message.bytes"] == str(topics.MAX_RECORD_BYTES)


async def test_events_are_those_of_the_embedded_log_in_one_order(
    tmp_path: Path, city: City, kafka_servers: str, admin: AIOKafkaAdminClient
) -> None:
    on_kafka, embedded = Recorder(), Recorder()
    expected = 2 * len(smokes(city))
    async with running(kafka_servers, tmp_path / "k", city, on_kafka) as (log, app):
        await write(log, rounds(a_fire(city), 8))
        await on_kafka.until(lambda: len(on_kafka.events) == expected)
        assert not app.crashed
    worker = Worker(f"embedded://{tmp_path / 'log'}", tmp_path / "e", city, embedded, partitions=1)
    await worker.start()
    await write(FaustLog(worker.app), rounds(a_fire(city), 1))
    await embedded.until(lambda: len(embedded.events) == expected)
    await worker.stop()
    assert on_kafka.events.keys() == embedded.events.keys()
    assert all(on_kafka.events[one].place == embedded.events[one].place for one in embedded.order)
    assert on_kafka.sequences == sorted(set(on_kafka.sequences))


async def test_a_restart_goes_on_where_the_checkpoint_left_off(
    tmp_path: Path, city: City, kafka_servers: str, admin: AIOKafkaAdminClient
) -> None:
    recorder = Recorder()
    thing = smokes(city)[0]
    story = list(rounds([[smoke(thing, 0)], [smoke(thing, 0)], [smoke(thing, 12)]], 8))
    async with running(kafka_servers, tmp_path, city, recorder) as (log, _):
        await write(log, story[:1])
        await recorder.until(lambda: len(recorder.processed) == 8)
    # The condition began before the restart, and the second round is a repeat.
    again = Recorder()
    async with running(kafka_servers, tmp_path, city, again) as (log, _):
        await write(log, story[1:])
        await again.until(lambda: bool(again.events))
    (raised,) = again.events.values()
    assert raised.edge is Edge.RAISE
    assert raised.began_ns == at_s(0)
    assert sum(one.duplicate_count for one in again.processed) == 1


async def test_what_waits_for_its_turn_is_not_committed(
    tmp_path: Path, city: City, kafka_servers: str, admin: AIOKafkaAdminClient
) -> None:
    """Decisions are acknowledged in their own order; a restart must lose none."""
    partitions = 2
    thing = next(one for one in smokes(city) if partition_of(one, partitions) == 0)
    raising = [smoke(thing, seconds) for seconds in (0, 5, 12)]
    late = encode_batch(a_batch(*raising, sequence=11, partition=0))
    early = encode_batch(a_batch(sequence=2, partition=1))
    next_ = encode_batch(a_batch(sequence=12, partition=1))
    recorder = Recorder()
    async with running(kafka_servers, tmp_path, city, recorder, partitions=2) as (log, _):
        await log.append(topics.OBSERVATIONS, 0, late, key=None)
        await recorder.until(lambda: len(recorder.processed) == 1)
        # Second in the log of events, first in the order of decisions.
        await log.append(topics.OBSERVATIONS, 1, early, key=None)
        await recorder.until(lambda: len(recorder.processed) == 2)
        await asyncio.sleep(1.5)
    assert not recorder.events
    assert await committed(admin, topics.EVENTS) in {None, 0}
    again = Recorder()
    async with running(kafka_servers, tmp_path, city, again, partitions=2) as (log, _):
        await log.append(topics.OBSERVATIONS, 1, next_, key=None)
        await again.until(lambda: bool(again.events))
    (raised,) = again.events.values()
    assert raised.thing_id == thing


async def committed(admin: AIOKafkaAdminClient, topic: str, partition: int = 0) -> int | None:
    offsets = await admin.list_consumer_group_offsets(GROUP)
    found = offsets.get(TopicPartition(topic, partition))
    return None if found is None or found.offset < 0 else found.offset


async def test_nothing_is_committed_past_a_checkpoint_that_was_refused(
    tmp_path: Path, city: City, kafka_servers: str, admin: AIOKafkaAdminClient
) -> None:
    changelog = NewTopic(
        f"{GROUP}-checkpoints-changelog",
        1,
        1,
        topic_configs={"cleanup.policy": "compact", "max.message.bytes": "64"},
    )
    await admin.create_topics([changelog])
    recorder = Recorder()
    thing = smokes(city)[0]
    async with running(kafka_servers, tmp_path, city, recorder, partitions=1) as (log, app):
        await write(log, rounds([[smoke(thing, seconds)] for seconds in (0, 5)], 1))
        await recorder.until(lambda: len(recorder.processed) == 2)
        await asyncio.sleep(2.1)
        # The checkpoint is due now.
        await write(log, rounds([[smoke(thing, 6)]], 1))
        async with asyncio.timeout(10):
            while not app.crashed:
                await asyncio.sleep(0.1)
        assert "max.message.bytes" in str(app.crash_reason)
    assert await committed(admin, topics.OBSERVATIONS) in {None, 0}


async def test_two_workers_share_the_partitions_and_one_takes_over(
    tmp_path: Path, city: City, kafka_servers: str, admin: AIOKafkaAdminClient
) -> None:
    story = list(rounds(a_fire(city), 8))
    recorder = Recorder()
    async with AsyncExitStack() as stack:
        url = f"kafka://{kafka_servers}"
        first = Worker(url, tmp_path / "1", city, recorder, partitions=8)
        second = Worker(url, tmp_path / "2", city, recorder, partitions=8)
        stack.push_async_callback(first.stop)
        await first.start()
        log = KafkaLog(kafka_servers, topics={topics.OBSERVATIONS: 8})
        stack.push_async_callback(log.close)
        await log.start()
        await write(log, story[:2])
        stack.push_async_callback(second.stop)
        await second.start()

        def shares() -> list[int]:
            held = [one.app.consumer.assignment() for one in (first, second)]
            return [sum(tp.topic == topics.OBSERVATIONS for tp in tps) for tps in held]

        async with asyncio.timeout(20):
            while shares() != [4, 4]:
                await asyncio.sleep(0.1)
        await write(log, story[2:5])
        await recorder.until(lambda: len(recorder.events) == len(smokes(city)))
        await first.stop()
        await write(log, story[5:])
        await recorder.until(lambda: len(recorder.events) == 2 * len(smokes(city)))


async def test_key_groups_are_handed_over_without_loss_or_doubling(
    tmp_path: Path, city: City, kafka_servers: str, admin: AIOKafkaAdminClient
) -> None:
    """Workers come and go while observations do; nobody but the log knows what they remember."""
    partitions, things = 4, [f"smoke-of-no-place-{n}" for n in range(60)]
    story = [[smoke(one, 5 * i, 0.5 * (i % 8 < 4)) for one in things] for i in range(40)]
    records = list(rounds(story, partitions))
    recorder = Recorder()
    packs = load_packs()

    def a_worker(partition: int) -> PartitionWorker:
        engine = RuleEngine(packs, frozenset())
        return PartitionWorker(partition, engine=engine, tagger=Tagger(city), devices=city.devices)

    never_stopped = [a_worker(partition) for partition in range(partitions)]
    wanted = {
        event.id
        for offset, round_ in enumerate(records)
        for worker, (_, record) in zip(never_stopped, round_, strict=True)
        if (done := worker.process(offset, record)) is not None
        for event in done.events.events
    }
    assert len(wanted) > len(things)
    url = f"kafka://{kafka_servers}"
    workers: list[Worker] = []

    async def one_more(stack: AsyncExitStack) -> None:
        folder = tmp_path / str(len(workers))
        workers.append(Worker(url, folder, city, recorder, partitions=partitions))
        stack.push_async_callback(workers[-1].stop)
        await workers[-1].start()

    def is_dealt(*running: Worker) -> bool:
        held = [
            sum(tp.topic == topics.OBSERVATIONS for tp in one.app.consumer.assignment())
            for one in running
        ]
        return held == [partitions // len(running)] * len(running)

    async def until_dealt(*running: Worker) -> None:
        async with asyncio.timeout(30):
            while not is_dealt(*running):
                await asyncio.sleep(0.05)

    with mock.patch("streams.app.CHECKPOINT_RECORDS", 3):
        async with AsyncExitStack() as stack:
            await one_more(stack)
            log = KafkaLog(kafka_servers, topics={topics.OBSERVATIONS: partitions})
            stack.push_async_callback(log.close)
            await log.start()
            await write(log, records[:10])
            await one_more(stack)
            writing = asyncio.create_task(write(log, records[10:20]))
            await until_dealt(*workers)
            await writing
            await workers[0].stop()
            await write(log, records[20:30])
            await one_more(stack)
            writing = asyncio.create_task(write(log, records[30:]))
            await until_dealt(*workers[1:])
            await writing
            await recorder.until(lambda: recorder.events.keys() >= wanted)
    assert recorder.events.keys() == wanted
    for partition, straight in enumerate(never_stopped):
        table = await table_of(kafka_servers, f"{GROUP}-checkpoints-changelog", partition)
        checkpoint = CheckpointStore(table, partition, "reader").load()
        assert checkpoint is not None
        handed_over = a_worker(partition)
        handed_over.restore(checkpoint)
        assert handed_over.position.applied_offset >= len(records) // 2
        for offset, one in enumerate(records):
            handed_over.process(offset, one[partition][1])
        assert remembered(handed_over) == remembered(straight)
    counters = [one.position.counters for one in never_stopped]
    assert sum(one.accepted for one in counters) == len(things) * len(story)
    assert sum(one.duplicates for one in counters) == 0


async def table_of(servers: str, topic: str, partition: int) -> dict[bytes, bytes]:
    """What a changelog comes to."""
    table: dict[bytes, bytes] = {}
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    await consumer.start()
    try:
        at = TopicPartition(topic, partition)
        consumer.assign([at])
        end = (await consumer.end_offsets([at]))[at]
        consumer.seek(at, (await consumer.beginning_offsets([at]))[at])
        while await consumer.position(at) < end:
            for one in (await consumer.getmany(at, timeout_ms=500)).get(at, ()):
                if one.value is None:
                    table.pop(one.key, None)
                else:
                    table[one.key] = one.value
    finally:
        await consumer.stop()
    return table


async def test_ingest_waits_for_its_topics_and_says_so(
    kafka_servers: str, admin: AIOKafkaAdminClient
) -> None:
    log = KafkaLog(kafka_servers, topics={topics.OBSERVATIONS: 8}, wait_s=1)
    with pytest.raises(ServiceError, match=r"topic observations does not exist.*run streams"):
        await log.start()
    assert topics.OBSERVATIONS not in await admin.list_topics()
    log = KafkaLog(kafka_servers, topics={topics.OBSERVATIONS: 8}, wait_s=20)
    starting = asyncio.create_task(log.start())
    await asyncio.sleep(0.7)
    assert not starting.done()
    await admin.create_topics([NewTopic(topics.OBSERVATIONS, 8, 1)])
    await starting
    await log.append(topics.OBSERVATIONS, 7, b"a record", key=None)
    await log.close()
    log = KafkaLog(kafka_servers, topics={topics.OBSERVATIONS: 4})
    with pytest.raises(ServiceError, match="has 8 partitions, 4 were wanted"):
        await log.start()


async def test_ingest_says_that_no_broker_answers() -> None:
    log = KafkaLog("127.0.0.1:1", topics={topics.OBSERVATIONS: 8}, wait_s=1)
    with pytest.raises(ServiceError, match=r"Kafka at 127.0.0.1:1 does not answer"):
        await log.start()
