"""Event time from message to rules, whatever clocks devices have and however messages arrive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, NamedTuple

import pytest
from builders import EPOCH_NS
from hypothesis import given, settings
from hypothesis import strategies as st

from core import topics
from core.clock import ManualClock
from core.observations import ObservationBatch, decode_batch, encode_batch, partition_of
from core.ports import RawMessage
from core.units import NS_PER_S
from geo.city import City, load_city
from geo.tagging import Tagger
from ingest.bridge import Bridge
from scenarios.engine import RuleEngine
from scenarios.loader import load_packs
from streams.partition import PartitionWorker

DAY_S = 86_400
PACKS = load_packs()
THINGS = [f"w-{n}" for n in range(6)]


class Said(NamedTuple):
    """A reading: of which thing, how far its clock is from its receipt; None has no clock."""

    thing: str
    off_s: int | None


#: Batches as they arrive, some seconds after each other; an empty one is silence, so a tick.
ARRIVALS = st.lists(
    st.tuples(
        st.integers(1, 40),
        st.lists(
            st.builds(
                Said,
                st.sampled_from(THINGS),
                st.sampled_from([0, -1, -5, -29, -31, -600, 3, DAY_S, -DAY_S, None]),
            ),
            max_size=6,
        ),
    ),
    min_size=1,
    max_size=14,
)


class Log:
    """What ingest writes, by partition."""

    def __init__(self) -> None:
        self.batches: list[ObservationBatch] = []

    async def append(self, topic: str, partition: int, value: bytes, *, key: bytes | None) -> None:
        await self.append_all(topic, [(partition, value)])

    async def append_all(self, topic: str, records: Sequence[tuple[int, bytes]]) -> None:
        if topic == topics.OBSERVATIONS:
            self.batches += [decode_batch(value) for _, value in records]

    async def backwards(self, topic: str, partition: int) -> AsyncGenerator[bytes, None]:
        return
        yield b""  # never: it makes this a generator


class NoSource:
    live = True

    async def batches(self) -> AsyncIterator[Sequence[RawMessage]]:
        return
        yield ()  # never: it makes this a generator

    def acknowledge(self, messages: Sequence[RawMessage]) -> None: ...


def ingested(arrivals: list[tuple[int, list[Said]]], partitions: int) -> list[ObservationBatch]:
    log, clock = Log(), ManualClock(EPOCH_NS)
    bridge = Bridge(NoSource(), log, clock, city="c", partitions=partitions, ingest_id="i/000001")

    async def run() -> None:
        number = 0
        for later_s, readings in arrivals:
            clock.advance_to(clock.now_ns() + later_s * NS_PER_S)
            messages = []
            for said in readings:
                body: dict[str, Any] = {
                    "kind": "water_level",
                    "seq": number,
                    "measures": {"water_level_m": 0.0},
                }
                if said.off_s is not None:
                    body["time"] = (clock.now_ns() + said.off_s * NS_PER_S) // 1_000_000
                number += 1
                messages.append(
                    RawMessage(
                        topic=f"qn/c/sensor/{said.thing}",
                        payload=json.dumps(body).encode(),
                        received_ns=clock.now_ns() + number,
                        qos=1,
                        packet_id=number,
                    )
                )
            if messages:
                await bridge.carry(messages)
            else:
                await bridge.tick()

    asyncio.run(run())
    return log.batches


@settings(max_examples=60, deadline=None)
@given(arrivals=ARRIVALS, partitions=st.sampled_from([1, 3]))
def test_time_never_goes_back_nor_ahead_of_the_clock(
    arrivals: list[tuple[int, list[Said]]], partitions: int
) -> None:
    batches = ingested(arrivals, partitions)
    for partition in range(partitions):
        stamps = [one.stamp for one in batches if one.stamp.partition == partition]
        watermarks = [one.watermark_ns for one in stamps]
        assert watermarks == sorted(watermarks)
        assert all(one.watermark_ns <= one.logged_ns for one in stamps)
    rows = [one for batch in batches for one in batch]
    said = [one for _, readings in arrivals for one in readings]
    assert sorted(one.device_sequence or 0 for one in rows) == list(range(len(said)))
    for row in rows:
        assert row.device_sequence is not None
        off_s = said[row.device_sequence].off_s
        if off_s is None or abs(off_s) == DAY_S:
            # Without a clock, or with one that is a day off: the time of receipt counts.
            assert row.observed_ns == row.received_ns
            assert not row.has_device_time
        else:
            assert abs(row.observed_ns - row.received_ns - off_s * NS_PER_S) < NS_PER_S


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    city: City = load_city("generated", seed=7)
    return Tagger(city)


@settings(max_examples=60, deadline=None)
@given(arrivals=ARRIVALS, partitions=st.sampled_from([1, 3]), again=st.booleans())
def test_what_is_late_is_counted_and_kept_however_many_partitions(
    tagger: Tagger, arrivals: list[tuple[int, list[Said]]], partitions: int, again: bool
) -> None:
    batches = ingested(arrivals, partitions)
    newest: dict[str, int] = {}
    wanted = 0
    for one in ingested(arrivals, 1):
        for row in one:
            wanted += row.observed_ns < newest.get(row.thing_id, row.observed_ns)
            newest[row.thing_id] = max(row.observed_ns, newest.get(row.thing_id, row.observed_ns))
    late = kept = repeats = 0
    for partition in range(partitions):
        engine = RuleEngine(PACKS, frozenset())
        worker = PartitionWorker(partition, engine=engine, tagger=tagger, devices={})
        own = [one for one in batches if one.stamp.partition == partition]
        # Delivered twice, as after a kill of ingest between log and acknowledgement.
        for offset, batch in enumerate([one for one in own for _ in range(2 if again else 1)]):
            done = worker.process(offset, encode_batch(batch))
            assert done is not None
            assert all(partition_of(thing, partitions) == partition for thing in batch.thing_ids)
            kept += len(done.batch)  # what the rules ignore is among what is handed on
            repeats += done.duplicate_count
        late += engine.late_count
    total = sum(len(readings) for _, readings in arrivals)
    assert (late, kept, repeats) == (wanted, total, total if again else 0)
