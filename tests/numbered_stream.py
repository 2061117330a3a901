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
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec
from running_city import Device, wait_for

from core import topics
from core.events import Edge, decode_events
from core.observations import decode_batch
from geo.city import load_city
from geo.tagging import Tagger
from ingest.broker import BrokerAddress
from scenarios.engine import RuleEngine
from scenarios.loader import load_packs
from streams.embedded.log import EmbeddedLog
from streams.partition import Checkpoint, Counters, PartitionWorker

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
    """What a stopped city's log and store say of the numbers.

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


def incident_count(store: Path) -> int:
    """Incidents in the store of a running city."""
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
        return int(database.execute("select count(*) from incidents").fetchone()[0])


def wait_until_decided(store: Path, sent: int, timeout_s: float) -> None:
    """Wait until every alarm has an incident."""
    wanted = sum(alarms(sent).values())
    try:
        wait_for("incident of each alarm", lambda: incident_count(store) >= wanted, timeout_s)
    except AssertionError as error:
        raise AssertionError(f"{error}: {incident_count(store)} of {wanted}") from None


def outcome(data_dir: Path, packs: Path) -> Outcome:
    """Look into the data folder of a stopped city with an embedded log."""
    with sqlite3.connect(data_dir / "store.sqlite3") as database:
        raises = "select thing_id, count(*) from incident_raises group by thing_id"
        incidents = Counter(dict(database.execute(raises)))
        by_thing = "select thing_id, count(*) from evidence where edge = 'raise' group by thing_id"
        evidence = Counter(dict(database.execute(by_thing)))
        rejected = database.execute("select count(*) from rejections").fetchone()[0]
    counters, raised = asyncio.run(_read_log(data_dir / "log", packs))
    return Outcome(counters, raised, incidents, evidence, rejected)


async def _read_log(folder: Path, packs: Path) -> tuple[Counters, Counter[str]]:
    log = EmbeddedLog(folder)
    city = load_city("generated", seed=7)
    worker = PartitionWorker(
        0, engine=RuleEngine(load_packs(packs), frozenset()), tagger=Tagger(city), devices={}
    )
    latest: bytes | None = None
    async for record in _records(log, "qingniao-checkpoints-changelog"):
        latest = record[1]
    if latest is not None:
        worker.restore(latest)
        assert msgspec.msgpack.decode(latest, type=Checkpoint).applied_offset >= 0
    # What came after the last checkpoint counts as a restarted worker would count it.
    async for offset, value in _records(log, topics.OBSERVATIONS):
        decode_batch(value)
        worker.process(offset, value)
    raised: dict[str, str] = {}
    async for _, value in _records(log, topics.EVENTS):
        for event in decode_events(value).events:
            if event.edge is Edge.RAISE:
                raised[event.id] = event.thing_id
    await log.close()
    return worker.counters, Counter(raised.values())


async def _records(log: EmbeddedLog, topic: str):  # type: ignore[no-untyped-def]
    offset, end = log.first(topic, 0), log.end(topic, 0)
    while offset < end:
        records = await log.fetch(topic, 0, offset)
        for record in records:
            yield record.offset, record.value
        offset = records[-1].offset + 1
