from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from builders import a_batch, an_event, an_event_batch, an_observation
from hypothesis import given, settings
from hypothesis import strategies as st

from core.city import Device
from core.clock import ManualClock
from core.errors import ServiceError
from core.events import EventBatch, encode_events
from streams import decisions
from streams.decisions import DecisionWriter
from streams.dedup import Deduplicator
from streams.enrich import fill_positions
from streams.selection import select_rows


class TestDeduplicator:
    def test_a_second_delivery_is_not_fresh(self) -> None:
        dedup = Deduplicator()
        batch = a_batch(an_observation(1), an_observation(2))
        assert dedup.fresh(batch).tolist() == [True, True]
        assert dedup.fresh(batch).tolist() == [False, False]

    def test_memory_is_bounded_and_the_oldest_goes(self) -> None:
        dedup = Deduplicator(capacity=3)
        for second in range(10):
            dedup.fresh(a_batch(an_observation(second)))
        assert dedup.fresh(a_batch(an_observation(9), an_observation(0))).tolist() == [False, True]

    @settings(deadline=None)  # compiles what looks ids up, the first time
    @given(st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=12), st.integers(1, 24))
    def test_it_is_a_set_and_a_queue(self, batches: list[list[int]], capacity: int) -> None:
        dedup = Deduplicator(capacity=capacity)
        queue: list[int] = []
        for seconds in batches:
            wanted = []
            for second in seconds:
                wanted.append(second not in queue)
                if wanted[-1]:
                    queue = [*queue, second][-capacity:]
            batch = a_batch(*map(an_observation, seconds))
            assert dedup.fresh(batch).tolist() == wanted
            remembered = a_batch(*map(an_observation, queue)).ids
            assert (
                dedup.dump()
                == np.array([int(one[:16], 16) for one in remembered], np.uint64).tobytes()
            )

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 30), max_size=60), st.integers(0, 60), st.integers(0, 60))
    def test_written_anywhere_it_goes_on_alike(
        self, seconds: list[int], full: int, cut: int
    ) -> None:
        """Written in full once, then what was added, in one go or in several."""
        whole, parted = Deduplicator(capacity=8), Deduplicator(capacity=8)
        written: list[bytes] = []
        for position, second in enumerate(seconds):
            if position == full:
                written = [parted.dump()]
                parted.mark_written()
            elif position % 3 == 0:
                written.append(parted.write_added())
            if position == cut:
                written.append(parted.write_added())
                parted = Deduplicator(capacity=8)
                parted.load(written)
                assert len(parted) <= 8
                parted.mark_written()
            batch = a_batch(an_observation(second))
            assert whole.fresh(batch).tolist() == parted.fresh(batch).tolist()


@given(st.lists(st.booleans(), max_size=8))
def test_select_rows_keeps_just_those(keep: list[bool]) -> None:
    rows = [
        an_observation(
            n,
            measures={"a": float(n)} if n % 2 else {"b": 1.0},
            labels={"l": str(n)} if n % 3 else {},
            snapshots=(f"{n}.jpg",) if n % 2 else (),
        )
        for n in range(len(keep))
    ]
    chosen = select_rows(a_batch(*rows), np.array(keep, np.bool_))
    assert list(chosen) == [row for row, kept in zip(rows, keep, strict=True) if kept]


def test_positions_are_filled_from_the_register_only_where_missing() -> None:
    devices = {
        "water-0001": Device(thing_id="water-0001", kind="water_level", lon_deg=1, lat_deg=2)
    }
    rows = [
        an_observation(lon_deg=None, lat_deg=None),
        an_observation(),
        an_observation(thing_id="nobody", lon_deg=None, lat_deg=None),
    ]
    filled = list(fill_positions(a_batch(*rows), devices))
    assert [(one.lon_deg, one.lat_deg) for one in filled] == [
        (1, 2),
        (120.3846, 36.0614),
        (None, None),
    ]


async def test_nothing_is_acknowledged_before_the_store_has_it() -> None:
    acked: list[int] = []
    applied: list[int] = []
    fail = True

    def apply(batches: object, now_ns: int) -> None:
        if fail:
            raise ServiceError("disk full")
        applied.extend(batch.stamp.sequence for batch in batches)  # type: ignore[attr-defined]

    writer = DecisionWriter(apply, ManualClock(5), partitions=1)
    record = encode_events(an_event_batch(an_event(), sequence=1))
    await writer.submit(record, lambda: acked.append(1))
    with pytest.raises(ServiceError, match="disk full"):
        await writer.run()
    assert acked == []

    fail = False
    writer = DecisionWriter(apply, ManualClock(5), partitions=1)
    await writer.submit(b"junk", lambda: acked.append(0))
    done = asyncio.Event()
    await writer.submit(record, lambda: (acked.append(1), done.set()))
    task = asyncio.create_task(writer.run())
    await asyncio.wait_for(done.wait(), 5)
    task.cancel()
    assert (acked, applied, writer.unreadable_count) == ([0, 1], [1], 1)


async def test_a_backlog_of_decisions_goes_into_transactions_of_bounded_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many rounds together, acknowledged after their transaction; a large round stays whole."""
    monkeypatch.setattr(decisions, "TRANSACTION_EVENTS", 5)
    acked: list[int] = []
    applied: list[list[int]] = []
    sizes = [2, 2, 2, 0, 9, 1, 0, 4]

    def apply(batches: Sequence[EventBatch], _now_ns: int) -> None:
        # What an earlier transaction has is acknowledged by now, and nothing else.
        assert acked == [one for part in applied for one in part]
        applied.append([batch.stamp.sequence for batch in batches])

    writer = DecisionWriter(apply, ManualClock(5), partitions=1)
    for number, size in enumerate(sizes, 1):
        events = [an_event(second, thing_id=f"{number}") for second in range(size)]
        record = encode_events(an_event_batch(*events, sequence=number))
        await writer.submit(record, partial(acked.append, number))
    task = asyncio.create_task(writer.run())
    async with asyncio.timeout(5):
        while len(acked) < len(sizes):
            await asyncio.sleep(0.01)
    task.cancel()
    assert acked == list(range(1, len(sizes) + 1))
    assert applied == [[1, 2], [3, 4], [5], [6, 7, 8]]
