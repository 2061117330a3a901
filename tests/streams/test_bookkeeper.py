"""The ledger balances where nothing is lost, and says what is missing where something is."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from builders import EPOCH_NS
from rich.console import Console

from commands.ledger import print_device_numbers
from commands.parts import ledger_reporter
from core import topics
from core.clock import ManualClock
from core.errors import ServiceError
from core.events import EventBatch, encode_events
from core.ledger import tallies
from core.observations import decode_batch, encode_batch
from core.ports import LogRecord, RawMessage, Rejection, encode_rejections
from core.settings import load_settings
from core.topics import redrive_topic
from core.units import NS_PER_S
from geo.city import City, load_city
from geo.tagging import Tagger
from ingest.bridge import Bridge
from ingest.pipeline import decode_messages
from scenarios.engine import RuleEngine
from scenarios.loader import load_packs
from store.archive.numbers import NumberLine, device_numbers
from store.archive.query import ArchiveReader
from store.archive.writer import ArchiveWriter
from store.ledger import Ledger, Line
from streams.archiver import Archiver
from streams.bookkeeper import Bookkeeper
from streams.partition import PartitionWorker
from streams.selection import select_rows

MINUTE_S = EPOCH_NS // NS_PER_S // 60 * 60


@pytest.fixture(scope="module")
def map_of() -> tuple[City, Tagger]:
    city = load_city("generated", seed=7)
    return city, Tagger(city)


class Log:
    """A log in memory, for its writer and its readers."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, int], list[LogRecord]] = {}

    async def append(self, topic: str, partition: int, value: bytes, *, key: bytes | None) -> None:
        held = self.records.setdefault((topic, partition), [])
        held.append(LogRecord(held[-1].offset + 1 if held else 0, value))

    async def append_all(self, topic: str, records: Sequence[tuple[int, bytes]]) -> None:
        for partition, value in records:
            await self.append(topic, partition, value, key=None)

    async def backwards(self, topic: str, partition: int) -> AsyncGenerator[bytes, None]:
        for record in reversed(self.records.get((topic, partition), [])):
            yield record.value

    async def fetch(self, topic: str, partition: int, offset: int) -> Sequence[LogRecord]:
        return [one for one in self.records.get((topic, partition), []) if one.offset >= offset]

    async def done(self, positions: Mapping[tuple[str, int], int]) -> None: ...


class Source:
    """A broker's messages, given all at once; then it ends."""

    live = True

    def __init__(self, batches: Sequence[Sequence[RawMessage]]) -> None:
        self._batches = batches

    async def batches(self) -> AsyncIterator[Sequence[RawMessage]]:
        for batch in self._batches:
            yield batch

    def acknowledge(self, messages: Sequence[RawMessage]) -> None: ...


class Platform:
    """Ingest, rules, archive and bookkeeper on one log; each can be killed."""

    def __init__(self, folder: Path, map_of: tuple[City, Tagger], partitions: int = 2) -> None:
        self.log = Log()
        self.partitions = partitions
        self.folder, self._map = folder, map_of
        self._starts = 0
        self._next = [0] * partitions
        self.workers = [
            PartitionWorker(
                number, engine=RuleEngine([], frozenset()), tagger=map_of[1], devices={}
            )
            for number in range(partitions)
        ]
        self.start()

    def start(self) -> None:
        clock = ManualClock(EPOCH_NS + 3600 * NS_PER_S)
        self.writer = ArchiveWriter(self.folder)
        self.archiver = Archiver(
            self.log,
            self.writer,
            partitions=self.partitions,
            tagger=self._map[1],
            devices={},
            clock=clock,
        )
        self.ledger = Ledger(self.writer.catalog)
        self.bookkeeper = Bookkeeper(self.log, self.ledger, clock, partitions=self.partitions)

    def kill(self) -> None:
        self.writer.close()
        self.start()

    def lose(self, *numbers: int) -> None:
        """Delete the log records that hold readings with these numbers."""
        for partition in range(self.partitions):
            records = self.log.records[topics.OBSERVATIONS, partition]
            for record in list(records):
                held = {one.device_sequence for one in decode_batch(record.value)}
                if held & set(numbers):
                    records.remove(record)

    async def ingest(self, *batches: Sequence[RawMessage]) -> None:
        self._starts += 1
        bridge = Bridge(
            Source(batches),
            self.log,
            ManualClock(EPOCH_NS + 60 * NS_PER_S),
            city="c",
            partitions=self.partitions,
            ingest_id=f"ingest/{self._starts:06d}",
        )
        await bridge.run()

    async def apply_rules(self, *, again: bool = False) -> None:
        """Process what is new; ``again`` emits it twice, as after a kill."""
        for number, worker in enumerate(self.workers):
            found = await self.log.fetch(topics.OBSERVATIONS, number, self._next[number])
            for record in found:
                processed = worker.process(record.offset, record.value)
                assert processed is not None
                for _ in range(2 if again else 1):
                    value = encode_events(processed.events)
                    await self.log.append(topics.EVENTS, 0, value, key=None)
            self._next[number] = found[-1].offset + 1 if found else self._next[number]

    async def archive(self) -> None:
        while await self.archiver.read_once():
            pass
        await self.archiver.flush()

    async def settle(self) -> list[Line]:
        await self.apply_rules()
        await self.archive()
        await self.bookkeeper.read_once()
        return self.ledger.totals(0, 2**40)


@pytest.fixture
def platform(tmp_path: Path, map_of: tuple[City, Tagger]) -> Platform:
    return Platform(tmp_path / "archive", map_of)


def reading(number: int, thing: str = "w-1") -> RawMessage:
    body = {"time": EPOCH_NS // 1_000_000 + number, "seq": number, "measures": {"tilt_deg": 1.0}}
    return RawMessage(
        topic=f"qn/c/sensor/{thing}",
        payload=json.dumps(body).encode(),
        received_ns=EPOCH_NS + number,
        qos=1,
    )


BAD = RawMessage(topic="qn/c/senml/x", payload=b"{", received_ns=EPOCH_NS, qos=1)


async def test_everything_received_is_accounted_for(platform: Platform) -> None:
    await platform.ingest([reading(0), BAD], [reading(1), reading(2, "w-2")], [reading(0)])
    assert await platform.settle() == [
        Line(source="plain", minute_s=None, received=4, accepted=3, duplicate=1, archived=3),
        Line(source="senml", minute_s=None, received=1, rejected={"wrong_type": 1}),
    ]
    (plain, _) = platform.ledger.minutes(0, 2**40)
    assert (plain.minute_s, plain.received) == (MINUTE_S, 4)
    assert platform.ledger.differences(0, 2**40) == []
    assert not platform.ledger.waiting()


async def test_what_not_all_have_passed_is_in_flight(platform: Platform) -> None:
    await platform.ingest([reading(0)], [reading(1)])
    await platform.apply_rules()
    await platform.bookkeeper.read_once()
    (line,) = platform.ledger.totals(0, 2**40)
    assert (line.received, line.accepted, line.in_flight, line.missing) == (2, 0, 2, 0)
    (line,) = await platform.settle()
    assert (line.received, line.accepted, line.in_flight, line.archived) == (2, 2, 0, 2)


async def test_a_log_record_deleted_by_hand_raises_the_imbalance(platform: Platform) -> None:
    await platform.ingest([reading(0)], [reading(1), reading(2)], [reading(3)])
    platform.lose(1)
    (line,) = await platform.settle()
    assert (line.received, line.accepted, line.archived) == (4, 2, 2)
    assert (line.missing, line.unarchived) == (2, 0)
    (difference,) = platform.ledger.differences(0, 2**40)
    assert (difference.source, difference.missing) == ("plain", 2)


def numbers_of(
    platform: Platform, limit: int = 100
) -> tuple[list[NumberLine], list[tuple[str, int, int]]]:
    """What the devices' numbers say, and the gaps as thing, first and last."""
    archive = ArchiveReader(platform.folder)
    try:
        lines, found = device_numbers(archive, 0, 2**62, limit=limit)
    finally:
        archive.close()
    return lines, [(one.thing_id, one.first, one.last) for one in found]


async def test_the_devices_own_numbers_see_what_no_party_of_the_platform_received(
    platform: Platform,
) -> None:
    sent = [[reading(number) for number in range(ten, ten + 10)] for ten in range(0, 100, 10)]
    # Lost before ingest had them, so that all parties of the ledger agree.
    del sent[2][0:3]
    # Two that came in another order than they were sent in.
    sent[5][0], sent[5][1] = sent[5][1], sent[5][0]
    await platform.ingest(*sent, [reading(7, "w-2")])
    platform.lose(60)
    (line,) = await platform.settle()
    assert line.missing == 10
    (devices,), found = numbers_of(platform)
    assert found == [("w-1", 60, 69), ("w-1", 20, 22)]
    assert devices == NumberLine(source="plain", things=2, archived=88, missing=13, restarts=0)
    assert numbers_of(platform, limit=1) == ([devices], [("w-1", 60, 69)])
    shown = Console(record=True, width=120, file=io.StringIO())
    settings = load_settings(data_dir=platform.folder.parent)
    print_device_numbers(settings, None, None, "plain", shown)
    text = shown.export_text()
    assert "60–69" in text
    assert "20–22" in text
    print_device_numbers(settings, None, None, "senml", shown)
    assert "没有带序号的设备" in shown.export_text()


async def test_a_counter_that_began_anew_is_no_gap(platform: Platform) -> None:
    again = [
        msgspec.structs.replace(
            reading(number),
            payload=json.dumps(
                {
                    "time": EPOCH_NS // 1_000_000 + 10_000 + number,
                    "seq": number,
                    "measures": {"tilt_deg": 1.0},
                }
            ).encode(),
        )
        for number in (0, 1, 3)
    ]
    await platform.ingest([reading(number) for number in range(500, 520)], again)
    await platform.settle()
    (devices,), found = numbers_of(platform)
    assert (devices.archived, devices.missing, devices.restarts) == (23, 1, 1)
    assert found == [("w-1", 2, 2)]


async def test_what_makes_the_rules_fail_is_accounted_for_and_archived(platform: Platform) -> None:
    await platform.ingest([reading(0), reading(1)], [reading(2)])
    # As the stream app does, twice because of a kill: the good rows, then the one set aside.
    for number in range(platform.partitions):
        for record in await platform.log.fetch(topics.OBSERVATIONS, number, 0):
            batch = decode_batch(record.value)
            bad = np.frombuffer(batch.sequences, np.int64) == 1
            for one in select_rows(batch, bad):
                aside = Rejection(
                    topic=f"observations[{number}]@{record.offset} {one.topic} {one.id}",
                    reason="agent_failed",
                    detail="ZeroDivisionError",
                    payload=b"",
                    payload_bytes=0,
                    received_ns=one.received_ns,
                    source=one.source,
                    ingest_id=batch.stamp.ingest_id,
                    sequence=batch.stamp.sequence,
                )
                for _ in range(2):
                    await platform.log.append(
                        topics.REJECTIONS, 0, encode_rejections([aside]), key=None
                    )
            counted = tallies(batch.sources, batch.received_ns, np.ones(len(batch), np.bool_))
            good = tuple(
                msgspec.structs.replace(one, accepted=one.accepted - int(bad.sum()))
                for one in counted
            )
            value = encode_events(EventBatch(stamp=batch.stamp, tallies=good))
            await platform.log.append(topics.EVENTS, 0, value, key=None)
    await platform.archive()
    await platform.bookkeeper.read_once()
    (line,) = platform.ledger.totals(0, 2**40)
    assert (line.received, line.accepted, line.rejected) == (3, 2, {"agent_failed": 1})
    assert (line.archived, line.missing, line.unarchived) == (3, 0, 0)


async def set_aside(platform: Platform, rules_fail_on: int) -> list[Rejection]:
    """Apply what is new as the stream app does when one reading makes the rules fail."""
    aside: list[Rejection] = []
    for number, worker in enumerate(platform.workers):
        for record in await platform.log.fetch(
            topics.OBSERVATIONS, number, worker.position.applied_offset + 1
        ):
            batch = decode_batch(record.value)
            bad = np.frombuffer(batch.sequences, np.int64) == rules_fail_on
            processed = worker.apply(record.offset, select_rows(batch, ~bad))
            for row in np.flatnonzero(bad).tolist():
                one = select_rows(batch, np.arange(len(batch)) == row)
                where = f"observations[{number}]@{record.offset}"
                aside.append(
                    Rejection(
                        topic=f"{where} {one.topics[0]} {one.ids[0]}",
                        reason="agent_failed_again" if one.set_aside[0] else "agent_failed",
                        detail="ZeroDivisionError",
                        payload=(payload := encode_batch(one)),
                        payload_bytes=len(payload),
                        received_ns=int(one.received_ns[0]),
                        source=one.sources[0],
                        ingest_id=batch.stamp.ingest_id,
                        sequence=batch.stamp.sequence,
                    )
                )
                record_ = encode_rejections(aside[-1:])
                await platform.log.append(topics.REJECTIONS, 0, record_, key=None)
            value = encode_events(processed.events)
            await platform.log.append(topics.EVENTS, 0, value, key=None)
    await platform.archive()
    await platform.bookkeeper.read_once()
    return aside


async def test_the_books_balance_through_redrives(platform: Platform) -> None:
    """Set aside, sent again and set aside again, sent again and read, sent once more."""

    def envelope(one: Rejection) -> RawMessage:
        return RawMessage(
            topic=redrive_topic("c", one.digest),
            payload=encode_rejections([one]),
            received_ns=EPOCH_NS + 3600 * NS_PER_S,
            qos=1,
        )

    def line() -> Line:
        (found,) = platform.ledger.totals(0, 2**40)
        assert (found.missing, found.unarchived, found.in_flight) == (0, 0, 0)
        return found

    await platform.ingest([reading(0), reading(1)], [reading(2)])
    (first,) = await set_aside(platform, rules_fail_on=1)
    assert (line().received, line().accepted, line().archived) == (3, 2, 3)
    await platform.ingest([envelope(first)])
    (second,) = await set_aside(platform, rules_fail_on=1)
    assert line().rejected == {"agent_failed": 1, "agent_failed_again": 1}
    await platform.ingest([envelope(second)])
    assert await set_aside(platform, rules_fail_on=-1) == []
    assert (line().accepted, line().duplicate) == (3, 0)
    await platform.ingest([envelope(second), envelope(first)])
    assert await set_aside(platform, rules_fail_on=-1) == []
    assert (line().received, line().accepted, line().duplicate) == (7, 3, 2)
    assert platform.ledger.differences(0, 2**40) == []
    # The archive has each once.
    assert platform.writer.catalog.totals().observations == 3


async def test_a_record_that_only_the_archive_did_not_get(platform: Platform) -> None:
    await platform.ingest([reading(0)], [reading(1)])
    await platform.apply_rules()
    platform.lose(0)
    (line,) = await platform.settle()
    assert line.missing == 0
    assert line.unarchived == 1


async def test_the_figures_survive_kills_and_repeats(platform: Platform) -> None:
    for start in range(4):
        await platform.ingest([reading(10 * start + n, f"w-{n}") for n in range(5)], [BAD])
        await platform.apply_rules(again=start % 2 == 1)
        if start > 1:
            await platform.archive()
        if start != 2:
            await platform.bookkeeper.read_once()
        platform.kill()
    lines = await platform.settle()
    assert [(line.source, line.received, line.accepted, line.archived) for line in lines] == [
        ("plain", 20, 20, 20),
        ("senml", 4, 0, 0),
    ]
    assert not any(line.missing or line.unarchived or line.in_flight for line in lines)


async def test_the_last_second_before_a_kill_is_taken_on_the_word_of_the_rules(
    platform: Platform,
) -> None:
    await platform.ingest([reading(0)])
    platform.log.records[topics.METER, 0].clear()  # the meter had not been written
    await platform.settle()
    assert platform.ledger.waiting()
    await platform.ingest([reading(1)])
    (line,) = await platform.settle()
    assert (line.received, line.accepted, line.unmetered, line.missing) == (2, 2, 1, 0)


async def test_a_difference_is_told_until_it_is_heard_and_becomes_an_incident(
    platform: Platform,
) -> None:
    await platform.ingest([reading(0)], [reading(1)], [reading(2)])
    platform.lose(0, 1)
    await platform.settle()
    published: list[RawMessage] = []
    broker_is_up = False

    async def publish(topic: str, payload: bytes) -> None:
        if not broker_is_up:
            raise ServiceError("no connection to the broker")
        published.append(RawMessage(topic=topic, payload=payload, received_ns=EPOCH_NS, qos=1))

    reporter = ledger_reporter("c", publish)
    platform.bookkeeper.report = reporter
    with pytest.raises(ServiceError):
        await reporter(platform.ledger.unreported())
    broker_is_up = True
    await platform.bookkeeper._report()
    await platform.bookkeeper._report()
    (message,) = published
    # The same path as any other thing: decoder, rules.
    (observation,), rejections = decode_messages([message], city="c")
    assert rejections == []
    assert (observation.kind, observation.thing_id) == ("ledger", "ledger-plain")
    assert observation.measures["ledger_missing_count"] == 2
    assert raised_by(observation) == {"ledger-imbalance"}


def raised_by(observation: Any) -> set[str]:
    from builders import a_batch

    from geo.city import generate_city
    from streams.enrich import tag_batch

    engine = RuleEngine(load_packs(), frozenset())
    batch = a_batch(observation)
    return {
        one.scenario for one in engine.process(batch, tag_batch(batch, Tagger(generate_city(7))))
    }
