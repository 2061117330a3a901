"""Checkpoints: what is written, what a kill between two records leaves, who may go on from it."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from unittest import mock

import msgspec
import numpy as np
import pytest
from builders import a_batch, an_observation, at_s
from hypothesis import given, settings
from hypothesis import strategies as st
from worker_state import remembered

from core.errors import ServiceError
from core.observations import encode_batch, key_group
from geo.city import City, load_city
from geo.tagging import Tagger
from scenarios.engine import RuleEngine
from scenarios.loader import load_packs
from streams import checkpoints
from streams.checkpoints import CHANGES, TURNS, Checkpoint, CheckpointStore, Part, Position, Turns
from streams.partition import PartitionWorker

DAY_S = 86_400
PACKS = load_packs()


@pytest.fixture(scope="module")
def city() -> City:
    return load_city("generated", seed=7)


class Changelog(MutableMapping[bytes, Any]):
    """A table whose writes are a log; a kill keeps a beginning of it."""

    def __init__(self, records: list[tuple[bytes, bytes | None]]) -> None:
        self.records = list(records)
        self._held: dict[bytes, bytes] = {}
        for key, value in records:
            self._apply(key, value)

    def _apply(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._held.pop(key, None)
        else:
            self._held[key] = value

    def __getitem__(self, key: bytes) -> bytes:
        return self._held[key]

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self.records.append((key, value))
        self._apply(key, value)

    def __delitem__(self, key: bytes) -> None:
        self.records.append((key, None))
        self._apply(key, None)

    def __iter__(self) -> Any:
        return iter(dict(self._held))

    def __len__(self) -> int:
        return len(self._held)

    @property
    def n_bytes(self) -> int:
        return sum(len(value) for value in self._held.values())

    def compacted(self) -> Changelog:
        """The newest record of each key, in their order."""
        newest = {key: n for n, (key, _) in enumerate(self.records)}
        return Changelog([one for n, one in enumerate(self.records) if newest[one[0]] == n])


def a_worker(city: City) -> PartitionWorker:
    engine = RuleEngine(PACKS, frozenset())
    return PartitionWorker(0, engine=engine, tagger=Tagger(city), devices=city.devices)


def a_record(rows: list[tuple[int, float]], number: int, second: float) -> bytes:
    """Rows of (thing, level) as ingest writes them."""
    return encode_batch(
        a_batch(
            *(
                an_observation(
                    second,
                    thing_id=f"thing-{thing}",
                    kind="smoke" if thing % 2 else "water_level",
                    measures={"smoke_db_per_m" if thing % 2 else "water_level_m": level},
                )
                for thing, level in rows
            ),
            sequence=number + 1,
            watermark_ns=at_s(second),
        )
    )


RECORDS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0.0, 0.3, 0.6])), max_size=12),
        st.sampled_from([1, 5, 20, 8 * DAY_S]),
    ),
    min_size=1,
    max_size=25,
)
#: After each record: nothing, a checkpoint, or one that a kill cuts after so many of its records.
ENDS = st.lists(st.one_of(st.none(), st.just(-1), st.integers(0, 90)), min_size=25, max_size=25)


@settings(max_examples=60, deadline=None)
@given(records=RECORDS, ends=ENDS, page=st.sampled_from([100, 2000]), compact=st.booleans())
def test_killed_anywhere_the_state_is_as_if_never_killed(
    city: City,
    records: list[tuple[list[tuple[int, float]], int]],
    ends: list[int | None],
    page: int,
    compact: bool,
) -> None:
    straight, worker = a_worker(city), a_worker(city)
    table = Changelog([])
    store = CheckpointStore(table, 0, "writer-0")
    log: list[bytes] = []
    second = 0
    seen: set[str] = set()
    for number, (rows, later_s) in enumerate(records):
        second += later_s
        log.append(a_record(rows, number, second))
        wanted = straight.process(number, log[number])
        came = worker.process(number, log[number])
        assert wanted is not None
        assert came is not None
        assert [one.id for one in came.events.events] == [one.id for one in wanted.events.events]
        seen.update(one.thing_id for one in came.events.events)
        end = ends[number]
        if end is None:
            continue
        before = len(table.records)
        with mock.patch.object(checkpoints, "PAGE_BYTES", page):
            store.write(worker.checkpoint())
        if end < 0:
            continue
        table = Changelog(table.records[: before + end])
        if compact:
            table = table.compacted()
        store = CheckpointStore(table, 0, f"writer-{number + 1}")
        worker = a_worker(city)
        checkpoint = store.load()
        if checkpoint is not None:
            worker.restore(checkpoint)
        for offset, record in enumerate(log):  # what was committed may lie anywhere before
            worker.process(offset, record)
        assert remembered(worker) == remembered(straight)
    assert remembered(worker) == remembered(straight)


@settings(max_examples=30, deadline=None)
@given(records=RECORDS, at=st.integers(0, 24), more=st.integers(1, 3))
def test_a_worker_that_lost_its_partition_harms_nobody(
    city: City, records: list[tuple[list[tuple[int, float]], int]], at: int, more: int
) -> None:
    """It writes one checkpoint more, while its successor already writes its own."""
    table = Changelog([])
    lost, straight = a_worker(city), a_worker(city)
    lost_store = CheckpointStore(table, 0, "lost")
    second, log = 0, []
    for number, (rows, later_s) in enumerate(records):
        second += later_s
        log.append(a_record(rows, number, second))
        straight.process(number, log[number])
    at = min(at, len(log) - 1)
    for number in range(at):
        lost.process(number, log[number])
        lost_store.write(lost.checkpoint())

    def successor(name: str) -> tuple[CheckpointStore, PartitionWorker]:
        # Reads the log, as another process does: its table is its own.
        store, worker = CheckpointStore(table, 0, name), a_worker(city)
        checkpoint = store.load()
        if checkpoint is not None:
            worker.restore(checkpoint)
        return store, worker

    store, worker = successor("next")
    for number in range(at, len(log)):
        worker.process(number, log[number])
        store.write(worker.checkpoint())
        if number == at + more - 1:
            lost.process(at, log[at])
            lost_store.write(lost.checkpoint())
    _, last = successor("last")
    for number, record in enumerate(log):
        last.process(number, record)
    assert remembered(last) == remembered(straight)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, TURNS - 1), st.integers(1, 50)), max_size=8),
        max_size=120,
    )
)
def test_changes_that_are_kept_stay_few(steps: list[list[tuple[int, int]]]) -> None:
    """Fewer than twice the rows there are, and none older than a round."""
    turns, sizes = Turns(), np.zeros(TURNS, np.int64)
    kept: dict[int, int] = {}
    for step in steps:
        changed = np.zeros(TURNS, np.int64)
        for unit, count in step:
            changed[unit] = count
        sizes = np.maximum(sizes, changed)
        full = turns.choose(sizes, changed)
        kept[turns.number] = int(changed.sum() - changed[full].sum())
        kept = {number: rows for number, rows in kept.items() if number >= min(turns.since)}
        assert turns.number - min(turns.since) <= TURNS
        assert int(sizes[full].sum()) >= kept[turns.number]
        assert sum(kept.values()) <= 2 * int(sizes.sum())


def test_it_writes_what_changed_and_bounded_pages(city: City) -> None:
    table, worker = Changelog([]), a_worker(city)
    store = CheckpointStore(table, 0, "a")
    for start in range(0, 60_000, 500):
        rows = [(2 * thing, 0.0) for thing in range(start, start + 500)]
        worker.process(start, a_record(rows, start, 1))
    store.write(worker.checkpoint())
    whole = table.n_bytes
    written = []
    for number in range(1, 200):
        before = len(table.records)
        worker.process(60_000 + number, a_record([(2 * number, 0.0)], number, 1 + number))
        store.write(worker.checkpoint())
        written.append(sum(len(value or b"") for _, value in table.records[before:]))
    assert max(len(value or b"") for _, value in table.records) <= checkpoints.PAGE_BYTES
    assert np.median(written) < whole / 30
    # The memory of ids has its turn as a whole, 512 kB.
    assert max(written) < 700_000
    assert table.n_bytes < 2.5 * whole


def test_a_part_that_is_not_as_written_is_refused(city: City) -> None:
    table, worker = Changelog([]), a_worker(city)
    worker.process(0, a_record([(1, 0.6)], 0, 1))
    CheckpointStore(table, 0, "a").write(worker.checkpoint())
    for page in [key for key in table if key.count(b"/") == 2]:
        damaged = Changelog(table.records)
        damaged[page] = b"x" + table[page][1:]
        with pytest.raises(ServiceError, match="cannot be read"):
            CheckpointStore(damaged, 0, "b").load()
        del damaged[page]
        with pytest.raises(ServiceError, match="cannot be read"):
            CheckpointStore(damaged, 0, "b").load()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (b"\xc1", "cannot be read"),
        (msgspec.msgpack.encode({"version": 2, "applied_offset": 1}), "has version 2,"),
    ],
)
def test_a_head_of_another_version_is_refused(record: bytes, words: str) -> None:
    with pytest.raises(ServiceError, match=words):
        CheckpointStore({b"0": record}, 0, "b")


def test_partitions_do_not_see_each_other() -> None:
    table = Changelog([])
    turns = Turns()
    turns.choose(np.zeros(TURNS, np.int64), np.zeros(TURNS, np.int64))
    for partition in (1, 11):
        position = Position(applied_offset=partition)
        part = Part(CHANGES, 0, b"%d" % partition)
        CheckpointStore(table, partition, "a").write(Checkpoint(position, turns, [part]))
    found = CheckpointStore(table, 1, "b").load()
    assert found is not None
    assert (found.position.applied_offset, found.parts[0].data) == (1, b"1")


def test_key_groups_are_those_of_the_partitions() -> None:
    assert {key_group(f"thing-{n}") for n in range(2000)} == set(range(checkpoints.IDS))
