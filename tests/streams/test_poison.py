"""By halves: whatever fails, the others come out as if it had never been there."""

from __future__ import annotations

from typing import Any

import pytest
from builders import a_batch, an_observation, at_s
from hypothesis import given, settings
from hypothesis import strategies as st

from core.observations import encode_batch
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


@settings(max_examples=15, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=24))
def test_the_rest_is_as_if_the_bad_had_never_been(city: City, bad: list[bool]) -> None:
    packs, tagger = load_packs(), Tagger(city)

    def worker(kind: type[RuleEngine]) -> PartitionWorker:
        return PartitionWorker(0, engine=kind(packs, frozenset()), tagger=tagger, devices={})

    rows = [
        an_observation(
            5 * n,
            thing_id=f"{'bad' if is_bad else 'smoke'}-{n % 4}",
            kind="smoke",
            measures={"smoke_db_per_m": 0.5},
        )
        for n, is_bad in enumerate(bad)
    ]
    stamp = {"sequence": 1, "watermark_ns": at_s(300)}
    broken, whole = worker(Fragile), worker(RuleEngine)
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
