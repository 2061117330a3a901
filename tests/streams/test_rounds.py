"""Several rounds in one log record are decided on as if each had had a record of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import shapely
from builders import a_batch, an_event, an_observation, as_one, at_s
from hypothesis import given, settings
from hypothesis import strategies as st

from core.events import EventBatch, decode_events, encode_events, one_record
from core.observations import Observation, ObservationBatch, encode_batch
from geo.city import City, load_city
from geo.fences import Fence, FenceSet
from geo.tagging import Tagger
from scenarios.engine import RuleEngine
from scenarios.loader import load_packs
from streams.fence_watch import FenceWatch
from streams.partition import PartitionWorker
from streams.poison import isolate
from streams.sequencer import Sequencer, merge_round

YARD = Fence(id="yard", geometry=shapely.box(120.3846, 36.0610, 120.3850, 36.0618), kind="site")


@pytest.fixture(scope="module")
def city() -> City:
    return load_city("generated", seed=7)


@pytest.fixture(scope="module")
def tagger(city: City) -> Tagger:
    return Tagger(city)


def a_worker(tagger: Tagger) -> PartitionWorker:
    yard = FenceSet([YARD])
    fences = FenceWatch(lambda _: yard, {})
    engine = RuleEngine(load_packs(), frozenset())
    return PartitionWorker(0, engine=engine, tagger=tagger, devices={}, fences=fences)


def decided(worker: PartitionWorker, batches: Sequence[ObservationBatch]) -> list[EventBatch]:
    """What the records come to, in the order of decisions, but for rounds of nothing."""
    sequencer, found = Sequencer(partitions=1), []
    for offset, batch in enumerate(batches):
        done = worker.process(offset, encode_batch(batch))
        assert done is not None
        record = decode_events(encode_events(done.events))
        for one in (*record.earlier, record):
            found += [merge_round(due) for due in sequencer.push(one)]
    return [one for one in found if one.events]


@st.composite
def days(draw: Any) -> list[list[Observation]]:
    """Rounds of smoke that comes and goes and a van that passes a yard."""
    rounds: list[list[Observation]] = []
    now_s = 0.0
    for _ in range(draw(st.integers(2, 40))):
        rows = []
        for _ in range(draw(st.integers(0, 3))):
            now_s += draw(st.sampled_from([0.0, 0.2, 1.0, 7.0, 20.0]))
            late_s = draw(st.sampled_from([0.0, 0.0, 0.0, 2.0, 25.0]))
            if draw(st.booleans()):
                rows.append(
                    an_observation(
                        now_s - late_s,
                        thing_id=f"smoke-{draw(st.integers(0, 2))}",
                        kind="smoke",
                        measures={"smoke_db_per_m": draw(st.sampled_from([0.0, 0.5]))},
                    )
                )
            else:
                lon = draw(st.sampled_from([120.384, 120.3848, 120.3856]))
                rows.append(
                    an_observation(now_s - late_s, thing_id="van", kind="vehicle", lon_deg=lon)
                )
        now_s += draw(st.sampled_from([0.0, 0.0, 6.0, 60.0]))
        rounds.append(rows)
    return rounds


@settings(max_examples=60, deadline=None)
@given(rounds=days(), cuts=st.lists(st.integers(1, 12), min_size=1, max_size=12))
def test_rounds_that_share_a_record_are_decided_on_alone(
    tagger: Tagger, rounds: list[list[Observation]], cuts: list[int]
) -> None:
    newest_s, batches = 0.0, []
    for number, rows in enumerate(rounds):
        newest_s = max([newest_s + 1.0, *((one.observed_ns - at_s(0)) / 1e9 for one in rows)])
        watermark_ns = at_s(newest_s - 30.0)
        batches.append(
            a_batch(*rows, sequence=number + 1, watermark_ns=watermark_ns, logged_ns=at_s(newest_s))
        )
    batches.append(a_batch(sequence=len(batches) + 1, watermark_ns=at_s(newest_s + 4000.0)))
    left, records = iter(batches), []
    for count in itertools.cycle(cuts):
        some = list(itertools.islice(left, count))
        if not some:
            break
        records.append(as_one(some))
    alone, together = a_worker(tagger), a_worker(tagger)
    assert decided(together, records) == decided(alone, batches)
    assert together.position.counters == alone.position.counters
    assert together.position.watermark_ns == alone.position.watermark_ns


def test_a_bad_row_takes_no_other_round_with_it(
    tagger: Tagger, break_rules: Callable[[], None]
) -> None:
    smoke = {"kind": "smoke", "measures": {"smoke_db_per_m": 0.5}}
    rows = [an_observation(10 * n, thing_id=f"smoke-{n % 2}", **smoke) for n in range(12)]
    rows[5] = an_observation(50, thing_id="bad", **smoke)
    batches = [a_batch(row, sequence=n + 1, watermark_ns=row.observed_ns)
               for n, row in enumerate(rows)]  # fmt: skip
    wanted = decided(a_worker(tagger), [one for one in batches if "bad" not in one.thing_ids])
    break_rules()
    found = isolate(a_worker(tagger), 0, encode_batch(as_one(batches)))
    assert [one.batch.thing_ids for one in found.poisoned] == [["bad"]]
    assert wanted
    assert list(found.events.all_events) == [event for one in wanted for event in one.events]


def test_a_record_has_its_last_stamp_and_all_tallies() -> None:
    first = EventBatch(stamp=a_batch(sequence=1).stamp, events=(an_event(),))
    record = one_record([first, EventBatch(stamp=a_batch(sequence=2).stamp)])
    assert (record.stamp.sequence, record.earlier, record.events) == (2, (first,), ())
    assert record.all_events == first.events
