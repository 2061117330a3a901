"""The live picture: the last state of every thing, for the page and for ``GET /things``.

State: one row per thing, at most ``capacity``; the one not heard of for longest goes first.
"""

from __future__ import annotations

from collections import OrderedDict

from store.things import Thing
from streams.partition import Processed


class ThingTracker:
    """Collects the newest state of things from processed batches.

    Messages of one thing may each hold a part (a dock splits its telemetry), so measures and
    labels are merged by name, newest last.
    """

    def __init__(self, capacity: int = 50_000) -> None:
        self._capacity = capacity
        self._states: OrderedDict[str, Thing] = OrderedDict()
        self._changed: set[str] = set()
        self.observation_count = 0

    def observe(self, processed: Processed) -> None:
        """Take in one processed batch."""
        self.observation_count += len(processed.batch)
        for one in processed.batch:
            if one.kind.startswith("detection.") or one.kind == "report":
                continue
            before = self._states.get(one.thing_id)
            if before is not None and before.observed_ns > one.observed_ns:
                continue
            measures, labels = one.measures, one.labels
            lon_deg, lat_deg = one.lon_deg, one.lat_deg
            if before is not None:
                measures = before.measures | measures
                labels = before.labels | labels
                if lon_deg is None:
                    lon_deg, lat_deg = before.lon_deg, before.lat_deg
            self._states[one.thing_id] = Thing(
                thing_id=one.thing_id,
                kind=one.kind,
                observed_ns=one.observed_ns,
                lon_deg=lon_deg,
                lat_deg=lat_deg,
                heading_deg=measures.get("heading_deg"),
                measures=measures,
                labels=labels,
            )
            self._states.move_to_end(one.thing_id)
            self._changed.add(one.thing_id)
            if len(self._states) > self._capacity:
                gone, _ = self._states.popitem(last=False)
                self._changed.discard(gone)

    def take_changed(self) -> list[Thing]:
        """The states that changed since the last call."""
        changed = [self._states[thing_id] for thing_id in self._changed]
        self._changed.clear()
        return changed
