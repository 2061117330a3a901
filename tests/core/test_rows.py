"""Rows of columns joined, chosen and cut are those of the observations."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.observations import Observation, columns_of
from core.rows import choose, concat, cut

ROWS = st.lists(
    st.builds(
        Observation,
        source=st.sampled_from(["plain", "senml"]),
        thing_id=st.sampled_from(["a", "b", "青"]),
        kind=st.sampled_from(["level", "tilt"]),
        observed_ns=st.integers(0, 2**60),
        received_ns=st.integers(0, 2**60),
        has_device_time=st.booleans(),
        device_sequence=st.none() | st.integers(0, 2**60),
        lon_deg=st.none() | st.floats(-180, 180),
        measures=st.dictionaries(st.sampled_from(["x_m", "y_c"]), st.floats(-9, 9)),
        labels=st.dictionaries(st.sampled_from(["p", "q"]), st.text(max_size=3)),
        snapshots=st.lists(st.just("c/1.jpg"), max_size=1).map(tuple),
        topic=st.sampled_from(["t/1", "t/2"]),
    ),
    max_size=9,
)


@given(rows=ROWS, size=st.integers(1, 10))
def test_cut_and_joined_it_is_the_same(rows: list[Observation], size: int) -> None:
    columns = columns_of(rows)
    parts = cut(columns, size)
    assert [list(part) for part in parts] == [
        rows[start : start + size] for start in range(0, max(1, len(rows)), size)
    ]
    assert list(concat(parts)) == rows
    assert concat(parts).ids == [one.id for one in rows]


@given(rows=ROWS, data=st.data())
def test_chosen_rows(rows: list[Observation], data: st.DataObject) -> None:
    keep = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    chosen = choose(columns_of(rows), np.array(keep, np.bool_))
    assert list(chosen) == [one for one, kept in zip(rows, keep, strict=True) if kept]
