"""The live picture: the last state of every thing, for the page and for ``GET /things``.

State: one entry per thing, at most ``capacity``; the one not heard of for longest goes first.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from core.exclusions import EXCLUSION_KIND
from core.observations import ObservationBatch
from store.things import Thing
from streams.partition import Processed


class _State:
    """The newest state of one thing."""

    __slots__ = ("kind", "labels", "lat_deg", "lon_deg", "measures", "observed_ns")

    def __init__(self) -> None:
        self.kind = ""
        self.observed_ns = 0
        self.lon_deg: float | None = None
        self.lat_deg: float | None = None
        self.measures: dict[str, float] = {}
        self.labels: dict[str, str] = {}


class ThingTracker:
    """Collects the newest state of things from processed batches, column by column.

    Messages of one thing may each hold a part (a dock splits its telemetry), so measures and
    labels are merged by name, newest last. A row older than what is known changes nothing.
    """

    def __init__(self, capacity: int = 50_000) -> None:
        self._capacity = capacity
        self._states: OrderedDict[str, _State] = OrderedDict()
        self._changed: set[str] = set()
        self.observation_count = 0

    def observe(self, processed: Processed) -> None:
        """Take in one processed batch."""
        batch = processed.batch
        self.observation_count += len(batch)
        rows = self._newest(batch)
        place = batch.place
        for row in np.flatnonzero(np.isfinite(place[:, :2]).all(axis=1)).tolist():
            if (state := rows[row]) is not None:
                state.lon_deg, state.lat_deg = place[row, :2].tolist()
        for name in batch.measures:
            numbers, values = batch.measure(name)
            for row, value in zip(numbers.tolist(), values.tolist(), strict=True):
                if (state := rows[row]) is not None:
                    state.measures[name] = value
        for name in batch.labels:
            for row, text in batch.label(name).items():
                if (state := rows[row]) is not None:
                    state.labels[name] = text
        while len(self._states) > self._capacity:
            gone, _ = self._states.popitem(last=False)
            self._changed.discard(gone)

    @property
    def changed_count(self) -> int:
        """Things whose states changed and were not taken yet."""
        return len(self._changed)

    def take_changed(self, most: int) -> list[Thing]:
        """States that changed and were not taken yet, at most so many."""
        count = min(most, len(self._changed))
        return [self._thing(self._changed.pop()) for _ in range(count)]

    def _newest(self, batch: ObservationBatch) -> list[_State | None]:
        """The state that each row updates; None where it updates none."""
        ignored = {kind for kind in set(batch.kinds) if _is_ignored(kind)}
        states, rows = self._states, []
        heard: dict[str, None] = {}
        for thing_id, kind, observed_ns in zip(
            batch.thing_ids, batch.kinds, batch.observed_ns.tolist(), strict=True
        ):
            state = None
            if kind not in ignored:
                state = states.get(thing_id)
                if state is None:
                    state = states[thing_id] = _State()
                if observed_ns >= state.observed_ns:
                    state.kind, state.observed_ns = kind, observed_ns
                    heard[thing_id] = None
                else:
                    state = None
            rows.append(state)
        for thing_id in heard:
            states.move_to_end(thing_id)
        self._changed.update(heard)
        return rows

    def _thing(self, thing_id: str) -> Thing:
        state = self._states[thing_id]
        return Thing(
            thing_id=thing_id,
            kind=state.kind,
            observed_ns=state.observed_ns,
            lon_deg=state.lon_deg,
            lat_deg=state.lat_deg,
            heading_deg=state.measures.get("heading_deg"),
            measures=dict(state.measures),
            labels=dict(state.labels),
        )


def _is_ignored(kind: str) -> bool:
    """What is seen once, and not a thing that goes on."""
    return kind.startswith("detection.") or kind in {"report", EXCLUSION_KIND}
