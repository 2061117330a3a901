"""Positions that wait for their order, against a walk that keeps them all in a list."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geo.waiting_positions import Positions, WaitingPositions

SETTLE_NS = 5

BATCHES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), max_size=8),
        st.integers(0, 60),
    ),
    max_size=12,
)


def rows_of(one: Positions) -> list[tuple[int, int, float]]:
    return list(
        zip(one.times.tolist(), one.things.tolist(), one.places[:, 0].tolist(), strict=True)
    )


def positions(rows: list[tuple[int, int, float]]) -> Positions:
    columns = np.array(rows, np.float64).reshape(-1, 3)
    return Positions(
        columns[:, 0].astype(np.int64), columns[:, 1].astype(np.int64), columns[:, 2:].copy()
    )


@given(BATCHES)
def test_it_is_what_a_walk_gives(batches: list[tuple[list[tuple[int, int]], int]]) -> None:
    waiting = WaitingPositions(width=1, settle_ns=SETTLE_NS)
    held: list[tuple[int, int, float]] = []
    watermark_ns = number = 0
    for rows, until_ns in batches:
        fresh = [(at_ns, thing, float(number + n)) for n, (at_ns, thing) in enumerate(rows)]
        number += len(fresh)
        held += fresh
        waiting.add(positions(fresh))
        watermark_ns = max(watermark_ns, until_ns)
        newest = {thing: max(at for at, other, _ in held if other == thing) for _, thing, _ in held}
        certain = [
            one for one in held if one[0] + SETTLE_NS <= newest[one[1]] or one[0] <= watermark_ns
        ]
        assert rows_of(waiting.take_certain(watermark_ns)) == certain
        held = [one for one in held if one not in certain]
        assert rows_of(waiting.all()) == held
        assert len(waiting) == len(held)
        assert waiting.earliest_ns > 60 or waiting.earliest_ns == min(at for at, _, _ in held)


def test_gaps_are_closed_and_new_things_have_room() -> None:
    waiting = WaitingPositions(width=1, settle_ns=10_000)
    taken = 0
    for start in range(0, 20_000, 500):
        # One thing is far behind: what it says waits at the front while others come and go.
        fresh = [(at_ns, at_ns % 3_000, 0.0) for at_ns in range(start, start + 500)]
        waiting.add(positions([*fresh, (10**9, 5_000 + start, 0.0)]))
        taken += len(waiting.take_certain(watermark_ns=start).times)
    assert len(waiting) + taken == 20_000 + 40
    assert len(waiting) == sum(at_ns > 19_500 for at_ns in range(20_000)) + 40
    assert waiting.earliest_ns == 19_501


def test_a_number_that_is_another_thing_s_begins_anew() -> None:
    waiting = WaitingPositions(width=1, settle_ns=SETTLE_NS)
    waiting.add(positions([(50, 7, 0.0)]))
    assert len(waiting.take_certain(watermark_ns=50).times) == 1
    waiting.forget(np.array([7, 9_999]))
    waiting.add(positions([(60, 7, 0.0)]))
    assert len(waiting.take_certain(watermark_ns=50).times) == 0
