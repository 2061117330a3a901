"""By halves: whatever fails, the others come out as if it had never been there."""

from __future__ import annotations

from typing import Any

import pytest
from builders import a_batch, an_observation, at_s
from hypothesis import given, settings
from hypothesis import strategies as st

from core.observations import Observation, encode_batch
from geo.city import City, load_city
from geo.tagging import Tagger
from scenarios.engine import RuleEngine
from scenarios.loader import load_packs
from streams.partition import PartitionWorker
from streams.poison import isolate


class Fragile(RuleEngine):
    """Fails on some things, after it has changed its state."""

    def process_rounds(self, batch: Any, tags: Any) -> Any:
        found = super().process_rounds(batch, tags)
        if any(one.startswith("bad") for one in batch.thing_ids):
            raise ZeroDivisionError("a fault in a rule")
        return found


@pytest.fixture(scope="module")
def city() -> City:
    return load_city("generated", seed=7)


def smoke(second: float, thing_id: str) -> Observation:
    return an_observation(second, thing_id=thing_id, kind="smoke", measures={"smoke_db_per_m": 0.5})


@settings(max_examples=15, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=24))
def test_the_rest_is_as_if_the_bad_had_never_been(city: City, bad: list[bool]) -> None:
    packs, tagger = load_packs(), Tagger(city)

    def worker(kind: type[RuleEngine]) -> PartitionWorker:
        return PartitionWorker(0, engine=kind(packs, frozenset()), tagger=tagger, devices={})

    rows = [smoke(5 * n, f"{'bad' if is_bad else 'smoke'}-{n % 4}") for n, is_bad in enumerate(bad)]
    stamp = {"sequence": 1, "watermark_ns": at_s(300)}
    broken, whole = worker(Fragile), worker(RuleEngine)
    others = a_batch(*(smoke(0, f"other-{n}") for n in range(50)), sequence=0, watermark_ns=at_s(0))
    for one in (broken, whole):
        one.apply(-1, others)
    found = isolate(broken, 0, encode_batch(a_batch(*rows, **stamp)))
    good = [row for row, is_bad in zip(rows, bad, strict=True) if not is_bad]
    wanted = whole.process(0, encode_batch(a_batch(*good, **stamp)))
    assert wanted is not None
    assert [one.batch.ids for one in found.poisoned] == [
        [row.id] for row, is_bad in zip(rows, bad, strict=True) if is_bad
    ]
    assert {one.id for one in found.events.events} == {one.id for one in wanted.events.events}
    assert broken.position == whole.position
    # The ledger posts one tally for each source and minute.
    assert set(found.events.tallies) == set(wanted.events.tallies)
    assert len(found.events.tallies) == len(wanted.events.tallies)
    # And so does everything that comes after.
    later = a_batch(sequence=2, watermark_ns=at_s(900))
    assert broken.apply(1, later).events == whole.apply(1, later).events


def test_a_million_others_are_not_copied(city: City, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Fragile(load_packs(), frozenset())
    worker = PartitionWorker(0, engine=engine, tagger=Tagger(city), devices={})
    others = a_batch(*(smoke(0, f"other-{n}") for n in range(5000)), sequence=1)
    worker.apply(0, others)
    copied: list[int] = []
    real = RuleEngine.load

    def counting(self: RuleEngine, data: bytes) -> None:
        real(self, data)
        copied.append(self.thing_count)

    monkeypatch.setattr(RuleEngine, "load", counting)
    rows = [smoke(9, "bad" if n == 7 else f"other-{n}") for n in range(64)]
    found = isolate(worker, 1, encode_batch(a_batch(*rows, sequence=2)))
    assert [one.batch.thing_ids for one in found.poisoned] == [["bad"]]
    assert len(copied) >= 6
    assert max(copied) <= 64
    assert engine.thing_count == 5000
