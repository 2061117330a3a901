"""The live picture: newest state by thing, parts merged, late rows ignored, bounded."""

from __future__ import annotations

from builders import a_batch, an_observation
from hypothesis import given
from hypothesis import strategies as st

from core.events import EventBatch
from core.observations import Observation
from streams.live import ThingTracker
from streams.partition import Processed


def observe(tracker: ThingTracker, *rows: Observation) -> None:
    batch = a_batch(*rows)
    tags = None
    tracker.observe(Processed(batch, tags, EventBatch(stamp=batch.stamp), 0))  # type: ignore[arg-type]


def row(thing: int, second: int, measure: str, kind: str = "dock") -> Observation:
    placed = second % 2 == 0
    return an_observation(
        second,
        thing_id=f"t-{thing}",
        kind=kind,
        lon_deg=float(second) if placed else None,
        lat_deg=1.0 if placed else None,
        measures={measure: float(second)},
        labels={f"said_{measure}": str(second)},
    )


ROWS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 9),
        st.sampled_from("ab"),
        st.sampled_from(["dock", "report", "detection.static_object"]),
    ),
    max_size=25,
)


@given(ROWS, st.integers(1, 6))
def test_it_is_what_a_walk_row_by_row_gives(
    said: list[tuple[int, int, str, str]], cut: int
) -> None:
    tracker = ThingTracker()
    rows = [row(*one) for one in said]
    for start in range(0, len(rows), cut):
        observe(tracker, *rows[start : start + cut])
    wanted: dict[str, dict[str, object]] = {}
    for one in rows:
        if one.kind != "dock":
            continue
        known = wanted.setdefault(one.thing_id, {"at": 0, "m": {}, "l": {}, "lon": None})
        if one.observed_ns < known["at"]:  # type: ignore[operator]
            continue
        known["at"] = one.observed_ns
        known["m"] |= one.measures  # type: ignore[operator]
        known["l"] |= one.labels  # type: ignore[operator]
        known["lon"] = known["lon"] if one.lon_deg is None else one.lon_deg
    got = {
        one.thing_id: {
            "at": one.observed_ns, "m": one.measures, "l": one.labels, "lon": one.lon_deg
        }
        for one in tracker.take_changed(100)
    }  # fmt: skip
    assert got == wanted
    assert tracker.observation_count == len(rows)
    assert tracker.take_changed(100) == []


def test_the_thing_not_heard_of_for_longest_goes_first() -> None:
    tracker = ThingTracker(capacity=2)
    observe(tracker, row(1, 1, "a"), row(2, 2, "a"))
    observe(tracker, row(1, 3, "a"), row(3, 4, "a"))
    assert {one.thing_id for one in tracker.take_changed(100)} == {"t-1", "t-3"}


def test_what_changed_is_taken_in_parts() -> None:
    tracker = ThingTracker()
    observe(tracker, *(row(n, 1, "a") for n in range(5)))
    parts = [tracker.take_changed(2) for _ in range(4)]
    assert [len(part) for part in parts] == [2, 2, 1, 0]
    assert {one.thing_id for part in parts for one in part} == {f"t-{n}" for n in range(5)}
    assert tracker.changed_count == 0
