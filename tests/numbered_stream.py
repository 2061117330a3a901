"""A numbered stream for the crash harness: what is sent, and what must have come of it.

Every number is one MQTT message and one observation. Of twenty, one is the alarm of a device
with clock and counter, one the alarm of a device with neither, four are readings of devices
with neither that all say exactly the same, and the others are readings of devices with both.
Each alarm comes from a thing of its own, so it makes one event and one incident.

Devices without a clock publish at QoS 2: at QoS 1 the leg between device and broker may repeat
a message, and nobody can tell such a repeat from a second reading that says the same.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from running_city import Device, wait_for
from sqlalchemy import create_engine, text

from core import topics
from core.events import Edge, decode_events
from geo.city import load_city
from geo.tagging import Tagger
from ingest.broker import BrokerAddress
from scenarios.engine import RuleEngine
from scenarios.loader import load_packs
from store.archive.query import ArchiveReader, ObservationFilter
from streams.checkpoints import CheckpointStore, Counters
from streams.embedded.log import EmbeddedLog
from streams.partition import PartitionWorker

PACK = """\
id: chaos-pulse
name: {zh: 脉冲, en: Pulse}
domain: 城管
purpose: {zh: 每个编号一次, en: Every number once}
category:
  system: GB/T 47678.5
  kind: 事项
  code: "01004"
  name: {zh: 雨水箅子异常, en: Rain inlet out of order}
department: {zh: 城市管理部门, en: City management department}
severity: minor
rules:
  - id: number
    when:
      kind: pulse
      measure: pulse_count
      at_least: 1
      clear_below: 0.5
correlate: {radius_m: 10, within: 1h}
deadline: {duration: 4h, clock: working}
closes_when: {zh: 无, en: Never}
"""

PLAIN, BARE, ALARM, BARE_ALARM = range(4)


class LogRecord(NamedTuple):
    """A record of the log; a key without value is deleted."""

    offset: int
    key: bytes | None
    value: bytes | None


_BARE_READING = b'{"kind":"level","measures":{"water_level_m":0.01}}'


def sort_of(number: int) -> int:
    """What kind of device sends a number."""
    place = number % 20
    if place == 0:
        return ALARM
    if place == 1:
        return BARE_ALARM
    return BARE if place % 4 == 2 and place < 18 else PLAIN


def alarm_thing(number: int) -> str:
    """The thing of an alarm's number."""
    return f"pulse-{number:07d}"


class NumberedStream:
    """Publishes numbers at a steady rate from a thread of its own, whatever happens.

    Args:
        broker: Where to.
        rate: Messages per second.
    """

    def __init__(self, broker: BrokerAddress, rate: float = 2_000.0) -> None:
        self.sent = 0
        self._rate = rate
        self._devices = [Device(broker, f"chaos-{name}") for name in ("clock", "bare")]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def finish(self, timeout_s: float = 60.0) -> int:
        """End, wait until the broker has everything; how many numbers were sent."""
        self._stop.set()
        self._thread.join()
        for device in self._devices:
            device.wait(timeout_s)
            device.close()
        return self.sent

    def _run(self) -> None:
        began_s = time.monotonic()
        while not self._stop.wait(0.005):
            due = int((time.monotonic() - began_s) * self._rate)
            while self.sent < due:
                self._publish(self.sent)
                self.sent += 1
        # An alarm is the last word of each device: when it is known, so is all before it.
        while self.sent % 20 != 2:
            self._publish(self.sent)
            self.sent += 1

    def _publish(self, number: int) -> None:
        with_clock, bare = self._devices
        sort = sort_of(number)
        if sort == BARE:
            bare.publish(f"qn/qingdao/sensor/bare-{number % 40:03d}", _BARE_READING, qos=2)
        elif sort == BARE_ALARM:
            body = b'{"kind":"pulse","measures":{"pulse_count":%d}}' % (number + 1)
            bare.publish(f"qn/qingdao/sensor/{alarm_thing(number)}", body, qos=2)
        else:
            kind, measure, thing = b"level", b"water_level_m", f"clock-{number % 200:03d}"
            if sort == ALARM:
                kind, measure, thing = b"pulse", b"pulse_count", alarm_thing(number)
            body = b'{"kind":"%s","time":%d,"seq":%d,"measures":{"%s":%d}}' % (
                kind,
                time.time_ns() // 1_000_000,  # noqa: TID251 (a device's own clock)
                number,
                measure,
                number + 1,
            )
            with_clock.publish(f"qn/qingdao/sensor/{thing}", body)


class Outcome(NamedTuple):
    """What log and store say of the numbers.

    ``raised`` counts the distinct raise events of each alarm's thing on the log, ``incidents``
    and ``evidence`` what the store has of it.
    """

    counters: Counters
    raised: Counter[str]
    incidents: Counter[str]
    evidence: Counter[str]
    rejected: int


def alarms(sent: int) -> Counter[str]:
    """Each alarm's thing once."""
    return Counter(
        alarm_thing(number) for number in range(sent) if sort_of(number) in {ALARM, BARE_ALARM}
    )


class Log(Protocol):
    """Reads a log from the outside: offset and value of every record of a partition."""

    def records(self, topic: str, partition: int) -> AsyncGenerator[LogRecord, None]:
        """From the oldest on."""
        ...


class EmbeddedLogFolder:
    """The log of a stopped city."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def records(self, topic: str, partition: int) -> AsyncGenerator[LogRecord, None]:
        """From the oldest on."""
        log = EmbeddedLog(self._folder)
        try:
            offset, end = log.first(topic, partition), log.end(topic, partition)
            while offset < end:
                found = await log.fetch(topic, partition, offset)
                for record in found:
                    yield LogRecord(record.offset, record.key, record.value)
                offset = found[-1].offset + 1
        finally:
            await log.close()


def wait_until_archived(folder: Path, sent: int) -> int:
    """Wait until the archive of a running city says it has all; fails when its rows differ.

    What it counts and what its files hold are two things: both are looked at.

    Returns:
        How many starts of ingest took something in.
    """
    reader = ArchiveReader(folder)
    try:
        wait_for("archive", lambda: reader.catalog.totals().observations >= sent, 60)
        counted = (
            "SELECT count(*) AS n, count(DISTINCT id) AS different, "
            "count(DISTINCT ingest_id) AS starts FROM read_parquet(?)"
        )
        (held,) = reader.select(counted, ObservationFilter(), [])
    finally:
        reader.close()
    starts = int(held.pop("starts"))
    assert held == {"n": sent, "different": sent}, f"{sent} numbers were sent, got {held}"
    return starts


def incident_count(store_url: str) -> int:
    """Incidents in the store of a running city."""
    return int(_query(store_url, "select count(*) from incidents")[0][0])


def wait_until_decided(
    store_url: str, sent: int, look: Callable[[], object] = lambda: None
) -> None:
    """Wait until every alarm has an incident; fails when for 90 s none comes.

    Args:
        store_url: The store of the running city.
        sent: How many numbers there are.
        look: Called now and then meanwhile.
    """
    wanted, have, since_s = sum(alarms(sent).values()), -1, time.monotonic()
    while have < wanted:
        look()
        found = incident_count(store_url)
        if found != have:
            have, since_s = found, time.monotonic()
        assert time.monotonic() - since_s < 90, f"{have} of {wanted} alarms have an incident"
        time.sleep(0.1)


def outcome(store_url: str, log: Log, packs: Path, *, partitions: int = 1) -> Outcome:
    """What came of the numbers, once nobody works on them any more."""
    raises = _query(store_url, "select thing_id, count(*) from incident_raises group by thing_id")
    evidence = _query(
        store_url,
        "select thing_id, count(*) from evidence where edge = 'raise' group by thing_id",
    )
    rejected = _query(store_url, "select count(*) from rejections")[0][0]
    counters, raised = asyncio.run(_read_log(log, packs, partitions))
    return Outcome(counters, raised, Counter(dict(raises)), Counter(dict(evidence)), rejected)


def check_every_number_once(sent: int, came: Outcome) -> None:
    """Fail where a number took effect twice or never."""
    wanted = alarms(sent)
    assert came.raised == wanted
    assert came.incidents == wanted
    assert came.evidence == wanted
    assert came.counters.accepted == sent
    assert came.counters.events == sum(wanted.values())
    assert came.rejected == 0
    print(f"{sent} numbers, {came.counters.duplicates} delivered again, each took effect once")


def _query(store_url: str, statement: str) -> list[tuple[Any, ...]]:
    engine = create_engine(store_url)
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]
    finally:
        engine.dispose()


async def _read_log(log: Log, packs: Path, partitions: int) -> tuple[Counters, Counter[str]]:
    total = Counters()
    tagger = Tagger(load_city("generated", seed=7))
    for partition in range(partitions):
        engine = RuleEngine(load_packs(packs), frozenset())
        worker = PartitionWorker(partition, engine=engine, tagger=tagger, devices={})
        table: dict[bytes, bytes] = {}
        async for one in log.records("qingniao-checkpoints-changelog", partition):
            assert one.key is not None
            if one.value is None:
                table.pop(one.key, None)
            else:
                table[one.key] = one.value
        checkpoint = CheckpointStore(table, partition, "reader").load()
        if checkpoint is not None:
            worker.restore(checkpoint)
        # What came after the last checkpoint counts as a restarted worker would count it.
        async for one in log.records(topics.OBSERVATIONS, partition):
            assert one.value is not None
            worker.process(one.offset, one.value)
        counters = worker.position.counters
        total.accepted += counters.accepted
        total.duplicates += counters.duplicates
        total.events += counters.events
    raised: dict[str, str] = {}
    async for one in log.records(topics.EVENTS, 0):
        assert one.value is not None
        for event in decode_events(one.value).events:
            if event.edge is Edge.RAISE:
                raised[event.id] = event.thing_id
    return total, Counter(raised.values())
