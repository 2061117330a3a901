"""The bridge: order, stamps, watermark, ticks, and never an acknowledgement before the log."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest

from core import topics
from core.clock import ManualClock, SystemClock
from core.errors import ServiceError
from core.observations import MAX_BATCH, ObservationBatch, decode_batch, partition_of
from core.ports import RawMessage, decode_rejections
from core.units import NS_PER_S
from ingest.bridge import Bridge
from ingest.pipeline import decode_messages
from ingest.repeats import Repeats, delivery_key
from streams.selection import cut_rounds

NOW_NS = 1_767_225_600 * NS_PER_S


class MemoryLog:
    """A log in memory that can be told to fail and to wait."""

    def __init__(self, journal: list[tuple[str, Any]]) -> None:
        self.journal = journal
        self.records: list[tuple[str, int, bytes]] = []
        self.together: list[int] = []
        self.fails_at: int | None = None
        self.gate: asyncio.Event | None = None

    async def append(self, topic: str, partition: int, value: bytes, *, key: bytes | None) -> None:
        assert key is None
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        if self.fails_at is not None and len(self.records) >= self.fails_at:
            raise ServiceError("the disk is full")
        self.records.append((topic, partition, value))
        self.journal.append(("append", topic))

    async def append_all(self, topic: str, records: Sequence[tuple[int, bytes]]) -> None:
        self.together.append(len(records))
        for partition, value in records:
            await self.append(topic, partition, value, key=None)

    async def backwards(self, topic: str, partition: int) -> AsyncGenerator[bytes, None]:
        for at, number, value in reversed(self.records):
            if (at, number) == (topic, partition):
                yield value

    def batches(self) -> list[ObservationBatch]:
        return [decode_batch(v) for topic, _, v in self.records if topic == topics.OBSERVATIONS]

    def rejected(self) -> list[str]:
        return [
            one.reason
            for topic, _, value in self.records
            if topic == topics.REJECTIONS
            for one in decode_rejections(value)
        ]


class ListSource:
    """Yields given batches, then waits or ends."""

    live = True

    def __init__(
        self,
        batches: Sequence[Sequence[RawMessage]],
        journal: list[tuple[str, Any]],
        *,
        ends: bool = True,
    ) -> None:
        self._batches = batches
        self._ends = ends
        self.journal = journal
        self.acknowledged: list[RawMessage] = []

    async def batches(self) -> AsyncIterator[Sequence[RawMessage]]:
        for batch in self._batches:
            yield batch
        if not self._ends:
            await asyncio.Event().wait()

    def acknowledge(self, messages: Sequence[RawMessage]) -> None:
        self.acknowledged.extend(messages)
        self.journal.append(("acknowledge", len(messages)))


def a_message(
    thing: str = "w-1", *, at_s: float = 0.0, received_s: float | None = None, **more: Any
) -> RawMessage:
    body = {"time": NOW_NS // 1_000_000 + round(at_s * 1000), "measures": {"tilt_deg": 1.0}}
    return RawMessage(
        topic=f"qn/c/sensor/{thing}",
        payload=json.dumps(body).encode(),
        received_ns=NOW_NS + round((at_s if received_s is None else received_s) * NS_PER_S),
        qos=1,
        **more,
    )


def a_bridge(
    batches: Sequence[Sequence[RawMessage]], *, partitions: int = 1, ends: bool = True, **more: Any
) -> tuple[Bridge, ListSource, MemoryLog, Any]:
    journal: list[tuple[str, Any]] = []
    source, log = ListSource(batches, journal, ends=ends), MemoryLog(journal)
    clock = more.pop("clock", None) or ManualClock(NOW_NS + 3600 * NS_PER_S)
    bridge = Bridge(source, log, clock, city="c", partitions=partitions, ingest_id="i/1", **more)
    return bridge, source, log, clock


async def test_the_log_comes_before_the_acknowledgement() -> None:
    bad = RawMessage(topic="qn/c/sensor/x", payload=b"{", received_ns=NOW_NS, qos=1)
    bridge, source, log, _ = a_bridge([[a_message(), bad], [a_message(at_s=1)]])
    await bridge.run()
    assert source.journal == [
        ("append", topics.REJECTIONS),
        ("append", topics.OBSERVATIONS),
        ("acknowledge", 2),
        ("append", topics.OBSERVATIONS),
        ("acknowledge", 1),
        ("append", topics.METER),
    ]
    assert [len(batch) for batch in log.batches()] == [1, 1]
    assert log.rejected() == ["bad_json"]
    assert (bridge.messages, bridge.observations, bridge.rejections) == (3, 2, 1)


async def test_no_acknowledgement_while_the_log_is_slow() -> None:
    bridge, source, log, _ = a_bridge([[a_message()]])
    log.gate = asyncio.Event()
    task = asyncio.create_task(bridge.run())
    await asyncio.sleep(0.05)
    assert not source.acknowledged
    log.gate.set()
    await task
    assert len(source.acknowledged) == 1


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("fails_at", [0, 1, 2])
async def test_no_acknowledgement_when_the_log_fails(partitions: int, fails_at: int) -> None:
    batch = [a_message(f"w-{i}") for i in range(40)]
    bad = RawMessage(topic="x", payload=b"", received_ns=NOW_NS, qos=1)
    bridge, source, log, _ = a_bridge([[*batch, bad], batch], partitions=partitions)
    log.fails_at = fails_at
    with pytest.raises(ServiceError, match="the disk is full"):
        await bridge.run()
    whole_rounds = 0 if fails_at < 1 + partitions else 1
    assert len(source.acknowledged) == 41 * whole_rounds


@pytest.mark.parametrize("partitions", [1, 3, 8])
async def test_every_partition_gets_every_round_in_order(partitions: int) -> None:
    things = [f"w-{i}" for i in range(100)]
    rounds = [[a_message(thing, at_s=second) for thing in things] for second in range(3)]
    bridge, _, log, _ = a_bridge(rounds, partitions=partitions)
    await bridge.run()
    batches = log.batches()
    assert sorted(one.stamp.sequence for one in batches) == list(range(1, 3 * partitions + 1))
    assert {one.stamp.ingest_id for one in batches} == {"i/1"}
    for partition in range(partitions):
        own = [one for one in batches if one.stamp.partition == partition]
        assert len(own) == 3
        assert [one.stamp.sequence for one in own] == sorted(one.stamp.sequence for one in own)
        for batch in own:
            assert all(partition_of(thing, partitions) == partition for thing in batch.thing_ids)
    assert sum(map(len, batches)) == 300


async def test_a_large_pack_is_several_records_that_are_durable_together() -> None:
    pack = [{"n": f"w-{i}/tilt_deg", "v": 1.0} for i in range(1300)]
    message = RawMessage(
        topic="qn/c/senml/x", payload=json.dumps(pack).encode(), received_ns=NOW_NS, qos=1
    )
    bridge, source, log, _ = a_bridge([[message]])
    await bridge.run()
    assert [len(batch) for batch in log.batches()] == [512, 512, 276]
    assert log.together == [3]
    assert len(source.acknowledged) == 1


@pytest.mark.parametrize("partitions", [1, 3])
async def test_packs_and_single_readings_keep_their_order(partitions: int) -> None:
    def a_pack(gateway: int, rows: int) -> RawMessage:
        body = [{"n": f"g{gateway}-{row}:tilt", "u": "deg", "v": row} for row in range(rows)]
        return RawMessage(
            topic=f"qn/c/senml/gateway-{gateway}",
            payload=json.dumps(body).encode(),
            received_ns=NOW_NS + gateway,
            qos=1,
            packet_id=gateway,
        )

    given = [a_message("w-1"), a_pack(1, 700), a_message("w-2"), a_message("w-3"), a_pack(2, 5),
             a_pack(3, 900), a_message("w-4")]  # fmt: skip
    bridge, source, log, _ = a_bridge([given], partitions=partitions)
    await bridge.run()
    wanted, _ = decode_messages(given, city="c")
    for partition in range(partitions):
        mine = [one for batch in log.batches() if batch.stamp.partition == partition
                for one in batch]  # fmt: skip
        assert mine == [
            one for one in wanted if partition_of(one.thing_id, partitions) == partition
        ]
    assert max(map(len, log.batches())) <= MAX_BATCH
    delivered = np.concatenate(
        [np.frombuffer(batch.deliveries, np.int64).reshape(-1, 2)[:, 1] for batch in log.batches()]
    )
    assert set(delivered.tolist()) == {NOW_NS + gateway for gateway in (1, 2, 3)}
    assert (bridge.observations, source.acknowledged) == (len(wanted), given)


async def test_the_watermark_follows_the_newest_and_never_goes_back() -> None:
    rounds = [
        [a_message(at_s=100)],
        [a_message(at_s=40)],
        [a_message(at_s=130), a_message("w-2", at_s=120)],
        [a_message(at_s=59 + 131, received_s=131)],  # a clock ahead: time has not passed
    ]
    bridge, _, log, _ = a_bridge(rounds)
    await bridge.run()
    watermarks_s = [(one.stamp.watermark_ns - NOW_NS) / NS_PER_S for one in log.batches()]
    assert watermarks_s == [70, 70, 100, 101]


async def test_the_watermark_is_not_ahead_of_now() -> None:
    clock = ManualClock(NOW_NS + 50 * NS_PER_S)
    bridge, _, log, _ = a_bridge([[a_message(at_s=100)]], clock=clock)
    await bridge.run()
    assert log.batches()[0].stamp.watermark_ns == clock.now_ns()
    assert log.batches()[0].stamp.logged_ns == clock.now_ns()


async def test_a_watermark_survives_a_restart() -> None:
    bridge, _, log, _ = a_bridge([[a_message(at_s=0)]], watermark_ns=NOW_NS + 5)
    await bridge.run()
    assert log.batches()[0].stamp.watermark_ns == NOW_NS + 5


async def until(condition: Any, *, within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


async def test_silence_of_a_live_source_is_ticks() -> None:
    clock = ManualClock(NOW_NS)
    bridge, source, log, _ = a_bridge(
        [], ends=False, partitions=2, clock=clock, tick_interval_s=0.02, allowed_lateness_s=30.0
    )
    task = asyncio.create_task(bridge.run())
    await asyncio.sleep(0.1)
    assert not log.records  # no time has passed
    clock.advance_to(NOW_NS + 40 * NS_PER_S)
    await until(lambda: bridge.ticks == 1)
    batches = log.batches()
    assert [(len(one), one.stamp.partition) for one in batches] == [(0, 0), (0, 1)]
    assert {one.stamp.watermark_ns for one in batches} == {NOW_NS + 10 * NS_PER_S}
    # Cut off from the broker, silence means nothing.
    source.live = False
    clock.advance_to(NOW_NS + 400 * NS_PER_S)
    await asyncio.sleep(0.1)
    assert bridge.ticks == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_empty_batch_is_a_tick_where_time_passed() -> None:
    clock = ManualClock(NOW_NS)
    journal: list[tuple[str, Any]] = []

    class Ticking(ListSource):
        async def batches(self) -> AsyncIterator[Sequence[RawMessage]]:
            for second in (0, 5, 7, 10):
                clock.advance_to(NOW_NS + second * NS_PER_S)
                yield []

    log = MemoryLog(journal)
    bridge = Bridge(
        Ticking([], journal), log, clock, city="c", partitions=1, ingest_id="i/1",
        tick_interval_s=5.0,
    )  # fmt: skip
    await bridge.run()
    assert [one.stamp.logged_ns - NOW_NS for one in log.batches()] == [5 * NS_PER_S, 10 * NS_PER_S]


async def test_the_clock_of_the_machine_will_do() -> None:
    bridge, _, log, _ = a_bridge([], ends=False, clock=SystemClock(), tick_interval_s=0.02)
    task = asyncio.create_task(bridge.run())
    await until(lambda: bridge.ticks >= 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(log.batches()) >= 3


def untimed(received_s: float, **more: Any) -> RawMessage:
    return RawMessage(
        topic="qn/c/sensor/w-1",
        payload=b'{"measures": {"tilt_deg": 1.0}}',
        received_ns=NOW_NS + round(received_s * NS_PER_S),
        qos=1,
        **more,
    )


async def test_a_repeat_without_time_takes_effect_once() -> None:
    rounds = [[untimed(0)], [untimed(3, duplicate=True)], [untimed(6)]]
    bridge, source, log, _ = a_bridge(rounds)
    await bridge.run()
    ids = [batch.ids[0] for batch in log.batches()]
    assert ids[0] == ids[1] != ids[2]
    assert len(source.acknowledged) == 3


@pytest.mark.parametrize(
    ("between_s", "second", "same"),
    [
        ([], untimed(1, duplicate=True), True),
        ([], untimed(7200, duplicate=True), True),
        ([120], untimed(7200, duplicate=True), True),
        ([121], untimed(7200, duplicate=True), False),
        ([], untimed(1), False),
    ],
    ids=["at once", "after an outage", "in the window", "after it", "not marked"],
)
def test_repeats(between_s: list[float], second: RawMessage, same: bool) -> None:
    repeats = Repeats(window_s=120.0)
    first = untimed(0)
    assert repeats.settle([first]) == [first]
    for at_s in between_s:
        repeats.settle([untimed(at_s, packet_id=9)])
    assert (repeats.settle([second])[0].received_ns == first.received_ns) is same


@pytest.mark.parametrize("restarted", [False, True])
def test_repeats_after_an_outage_are_known_however_often_it_breaks(restarted: bool) -> None:
    """What is repeated at last was in hand before an outage; what came first then is newer."""
    repeats = Repeats(window_s=120.0)
    in_hand = [untimed(0, packet_id=number) for number in (1, 2, 3)]
    repeats.settle(in_hand)
    records: list[tuple[int, list[RawMessage]]] = [(in_hand[0].received_ns, in_hand)]
    for outage in (1, 2, 3):
        if restarted:
            repeats = Repeats(window_s=120.0)
            repeats.restore((at_ns, len(of), _written(of)) for at_ns, of in records)
        at_s = 1000.0 * outage
        # The fourth never arrived before; the broker had it on the line.
        again = [untimed(at_s, packet_id=one, duplicate=True) for one in (1, 2, 3, 3 + outage)]
        settled = repeats.settle(again)
        assert [one.received_ns for one in settled[:3]] == [one.received_ns for one in in_hand]
        assert settled[3].received_ns == again[3].received_ns
        records.append((again[3].received_ns, settled))
    repeats.settle([untimed(3000, packet_id=9)])
    late = untimed(3001, packet_id=1, duplicate=True)
    assert repeats.settle([late])[0].received_ns == in_hand[0].received_ns


def test_an_equal_message_under_an_identifier_that_came_round_is_another() -> None:
    """Of four messages one is of a device without a clock, so one in four is in the log."""
    repeats = Repeats(window_s=1e9, remembered=60)
    identifiers = range(1, 65)
    first = [untimed(number, packet_id=number) for number in identifiers]
    repeats.restore((one.received_ns, 4, _written([one])) for one in first[::4])
    known = untimed(100, packet_id=first[60].packet_id, duplicate=True)
    assert repeats.settle([known])[0].received_ns == first[60].received_ns
    after = [untimed(102 + one / 100, packet_id=100 + one) for one in range(60)]
    repeats.settle(after)
    another = untimed(103, packet_id=first[60].packet_id, duplicate=True)
    assert repeats.settle([another]) == [another]


def _written(settled: list[RawMessage]) -> bytes:
    """What a record says of deliveries."""
    rows = [(delivery_key(one), one.received_ns) for one in settled]
    return np.array(rows, np.int64).tobytes()


@pytest.mark.parametrize("partitions", [1, 4])
async def test_after_a_kill_a_repeat_is_known_and_a_second_equal_reading_is_not(
    partitions: int,
) -> None:
    """Of two equal readings in flight the log had only the first when ingest was killed."""
    first = untimed(0, packet_id=7)
    bridge, _, log, _ = a_bridge([[first, a_message("w-2", packet_id=9)]], partitions=partitions)
    await bridge.run()
    again = [untimed(30, packet_id=7, duplicate=True), untimed(30.1, packet_id=8, duplicate=True)]
    restarted, source, new_log, _ = a_bridge([again], partitions=partitions)
    new_log.records = list(log.records)
    await restarted.run()
    rows = [row for batch in new_log.batches() for row in batch if row.topic == first.topic]
    ids = [row.id for row in rows]
    assert ids[0] == ids[1] != ids[2]
    assert len(source.acknowledged) == 2
    assert restarted.watermark_ns >= bridge.watermark_ns > 0


async def test_a_start_reads_no_more_of_the_log_than_the_broker_can_repeat() -> None:
    bridge, _, log, _ = a_bridge([[a_message(at_s=second)] for second in range(20)])
    await bridge.run()
    read: list[bytes] = []

    class Watched(MemoryLog):
        async def backwards(self, topic: str, partition: int) -> AsyncGenerator[bytes, None]:
            async for value in super().backwards(topic, partition):
                read.append(value)
                yield value

    watched = Watched([])
    watched.records = log.records
    clock = ManualClock(NOW_NS)
    source = ListSource([], [])
    await Bridge(
        source, watched, clock, city="c", partitions=1, ingest_id="i/2", remembered=5
    ).run()
    assert len(read) == 5


async def test_what_was_repeated_before_another_kill_does_not_crowd_out_the_rest() -> None:
    in_hand = [untimed(0.1 * number, packet_id=number) for number in (1, 2, 3, 4)]
    known: list[tuple[str, int, bytes]] = []
    for start, packet_ids in enumerate([(1, 2, 3, 4), (1, 2, 3), (1, 2), (1, 2, 3, 4)]):
        said = [
            untimed(1000.0 * start + 0.1 * one, packet_id=one, duplicate=start > 0)
            for one in packet_ids
        ]
        source, log = ListSource([said], []), MemoryLog([])
        log.records = list(known)
        clock = ManualClock(said[0].received_ns)
        await Bridge(
            source, log, clock, city="c", partitions=1, ingest_id=f"i/{start}", remembered=4
        ).run()
        known = log.records
    last = [row for batch in log.batches() for row in batch][-4:]
    assert [row.received_ns for row in last] == [one.received_ns for one in in_hand]


def test_repeats_are_forgotten() -> None:
    repeats = Repeats(window_s=10.0, remembered=3)
    for second in range(6):
        repeats.settle([a_message(f"w-{second}", at_s=second)])
    assert len(repeats) == 3
    repeats.settle([a_message("late", at_s=100)])
    assert len(repeats) == 1
    assert repeats.settle([]) == []


async def test_large_messages_are_several_rounds() -> None:
    body = {"measures": {"tilt_deg": 1.0}, "labels": {f"k{i}": "x" * 2000 for i in range(30)}}
    large = [
        RawMessage(
            topic=f"qn/c/sensor/m-{i}",
            payload=json.dumps(body).encode(),
            received_ns=NOW_NS,
            qos=1,
        )
        for i in range(100)
    ]
    bridge, source, log, _ = a_bridge([large])
    await bridge.run()
    assert sum(map(len, log.batches())) == len(source.acknowledged) == 100
    assert max(len(value) for _, _, value in log.records) < 2 * 1024 * 1024
    appends = [what for what, _ in source.journal]
    assert appends[:4] == ["append", "acknowledge", "append", "acknowledge"]


async def test_many_rejections_are_records_of_bounded_size() -> None:
    bad = [
        RawMessage(topic=f"x/{i}", payload=bytes(200_000), received_ns=NOW_NS, qos=1)
        for i in range(40)
    ]
    bridge, source, log, _ = a_bridge([bad])
    await bridge.run()
    sizes = [len(value) for topic, _, value in log.records if topic == topics.REJECTIONS]
    assert len(sizes) > 1
    assert max(sizes) < 1_200_000
    assert log.rejected() == ["unknown_topic"] * 40
    assert len(source.acknowledged) == 40


async def test_a_clock_set_back_an_hour_makes_nothing_late(monkeypatch: Any) -> None:
    """While running, and across a restart: received times and the watermark only go on."""
    back_ns = 0
    real = time.time_ns  # noqa: TID251 (stands in for the machine)

    def machine() -> int:
        return real() - back_ns

    monkeypatch.setattr("core.clock.time.time_ns", machine)
    clock = SystemClock()
    before_ns = clock.now_ns()
    back_ns = 3600 * NS_PER_S
    assert before_ns <= clock.now_ns() < before_ns + 60 * NS_PER_S
    assert 3590 < clock.set_back_s() < 3601

    bridge, _, log, _ = a_bridge([[untimed(0)]], clock=clock)
    await bridge.run()
    restarted = SystemClock()  # a new process knows only the machine's clock
    assert restarted.now_ns() < before_ns
    again, _, new_log, _ = a_bridge([[]], clock=restarted)
    new_log.records = log.records
    await again.run()
    assert restarted.now_ns() >= before_ns
    assert again.watermark_ns >= bridge.watermark_ns


class PlayedSource(ListSource):
    """Has all but the last of its batches at hand, as a recording that is played fast."""

    more_at_hand = False

    async def batches(self) -> AsyncIterator[Sequence[RawMessage]]:
        for number, batch in enumerate(self._batches, start=1):
            self.more_at_hand = number < len(self._batches)
            yield batch


@pytest.mark.parametrize("partitions", [1, 3])
async def test_rounds_without_a_pause_share_records(partitions: int) -> None:
    given = [[a_message(f"w-{n}", at_s=n), a_message(f"v-{n}", at_s=n)] for n in range(40)]
    alone, _, alone_log, _ = a_bridge(given, partitions=partitions)
    await alone.run()
    journal: list[tuple[str, Any]] = []
    source, log = PlayedSource(given, journal), MemoryLog(journal)
    bridge = Bridge(source, log, alone._clock, city="c", partitions=partitions, ingest_id="i/1")
    await bridge.run()
    assert len(log.batches()) == partitions < len(alone_log.batches()) == 40 * partitions
    rounds = {
        (stamp.sequence, stamp.watermark_ns, stamp.logged_ns, tuple(part.ids))
        for batch in log.batches()
        for stamp, part in zip(
            batch.round_stamps(), cut_rounds(batch, range(len(batch.round_table))), strict=True
        )
    }
    assert rounds == {
        (one.stamp.sequence, one.stamp.watermark_ns, one.stamp.logged_ns, tuple(one.ids))
        for one in alone_log.batches()
    }
    assert source.acknowledged == [one for batch in given for one in batch]
    assert [kind for kind, _ in journal if kind == "acknowledge"] == ["acknowledge"]
    assert (bridge.sequence, bridge.watermark_ns) == (alone.sequence, alone.watermark_ns)


async def test_what_is_late_does_not_join_the_rounds_that_made_it_so() -> None:
    given = [[a_message(at_s=0)], [a_message(at_s=100)], [a_message(at_s=20)]]
    journal: list[tuple[str, Any]] = []
    source, log = PlayedSource(given, journal), MemoryLog(journal)
    clock = ManualClock(NOW_NS + 3600 * NS_PER_S)
    await Bridge(source, log, clock, city="c", partitions=1, ingest_id="i/1").run()
    assert [len(one.round_table) for one in log.batches()] == [2, 1]


async def test_a_record_stays_small_however_much_is_at_hand() -> None:
    given = [[a_message(f"w-{n}-{m}", at_s=n) for m in range(200)] for n in range(9)]
    journal: list[tuple[str, Any]] = []
    source, log = PlayedSource(given, journal), MemoryLog(journal)
    clock = ManualClock(NOW_NS + 3600 * NS_PER_S)
    await Bridge(source, log, clock, city="c", partitions=1, ingest_id="i/1").run()
    assert [len(one) for one in log.batches()] == [400, 400, 400, 400, 200]
