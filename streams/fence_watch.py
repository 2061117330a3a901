"""Moving things at fences, told as observations that rules can match (docs/fences.md). Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from core.city import AltitudeDatum, Device
from core.observations import Observation, ObservationBatch, Stamp, pack
from geo.fence_tracker import Crossing, FenceTracker
from geo.fences import FenceSet, Transition
from streams.enrich import ALTITUDE_MEASURES

#: Kind of what is told, and its source.
KIND = "fence"

#: Between a thing and a fence in the id under which something is told of both.
AT = "@"

#: Measures of a thing's own speed, east, north and up.
SPEED_MEASURES = ("speed_east_mps", "speed_north_mps", "speed_up_mps")

_STATES = {
    Transition.ENTER: "inside",
    Transition.EXIT: "outside",
    Transition.INSIDE: "inside",
    Transition.CROSS: "outside",
    Transition.DWELL: "inside",
    Transition.NEAR: "near",
    Transition.AWAY: "outside",
    Transition.APPROACH: "approaching",
    Transition.AVERTED: "outside",
    Transition.MISSED: "outside",
    Transition.ROUTE_JOINED: "inside",
    Transition.ROUTE_LEFT: "outside",
    Transition.LOST: "unknown",
    Transition.LIFTED: "outside",
}

#: What a transition's value is.
_MEASURES = {
    Transition.EXIT: "inside_s",
    Transition.INSIDE: "inside_s",
    Transition.DWELL: "inside_s",
    Transition.ROUTE_LEFT: "inside_s",
    Transition.LOST: "inside_s",
    Transition.LIFTED: "inside_s",
    Transition.NEAR: "distance_m",
    Transition.AWAY: "distance_m",
    Transition.APPROACH: "ahead_s",
}

#: Heights that stand in for each other, as for tags.
_STANDS_IN = {
    AltitudeDatum.AGL: AltitudeDatum.TAKEOFF,
    AltitudeDatum.TAKEOFF: AltitudeDatum.AGL,
}


class FenceWatch:
    """Follows what moves through fences, batch by batch.

    Args:
        fences_at: Those that hold at an instant, the same object for as long as they do: the
            map's are swapped while things move.
        devices: Register of devices; those with a place of their own do not move.
    """

    def __init__(self, fences_at: Callable[[int], FenceSet], devices: Mapping[str, Device]) -> None:
        self._devices = devices
        self._fences_at = fences_at
        self.tracker = FenceTracker(fences_at(0))

    def warm_up(self) -> None:
        """Have the kernels compiled before the first message needs them."""
        tracker = FenceTracker(self.tracker.fences)
        tracker.update(["warm"], [0], [0.0], [0.0], watermark_ns=1)

    def observe(self, batch: ObservationBatch, watermark_ns: int) -> dict[int, ObservationBatch]:
        """What has become certain with each round of a batch, as batches of observations.

        Args:
            batch: Its rows with a position count, unless their thing is fixed.
            watermark_ns: Where time stood before the batch.

        Returns:
            By number of the round, where there is something; under the stamp of the round, but
            for the watermark, which is that before the round: it is when these were observed.
        """
        place = batch.place
        placed = np.isfinite(place[:, 0]) & np.isfinite(place[:, 1])
        rows = np.array(
            [row for row in np.flatnonzero(placed).tolist() if self._moves(batch.thing_ids[row])],
            np.int64,
        )
        heights = {
            datum: batch.dense_measure(name)[rows]
            for datum, name in ALTITUDE_MEASURES.items()
            if name in batch.measures
        }
        for datum, other in _STANDS_IN.items():
            if datum not in heights and other in heights:
                heights[datum] = heights[other]
        speeds = np.column_stack([batch.dense_measure(name)[rows] for name in SPEED_MEASURES])
        table = batch.round_table
        starts = np.searchsorted(rows, np.append(0, table[:, 0])).tolist()
        watermarks_ns = table[:, 2].tolist()
        stamps: list[Stamp] = []
        told: dict[int, ObservationBatch] = {}
        self._change_over(watermark_ns)
        changes = self._fences_at(batch.stamp.watermark_ns) is not self.tracker.fences
        due_ns = self.tracker.due_ns
        for number, (begin, end) in enumerate(itertools.pairwise(starts)):
            if changes and self._change_over(watermarks_ns[number]):
                due_ns = self.tracker.due_ns
            if begin == end and watermarks_ns[number] < due_ns:
                continue
            stamps = stamps or batch.round_stamps()
            stamp = stamps[number]
            some = slice(begin, end)
            mine = rows[some]
            found = self.tracker.update(
                [batch.thing_ids[row] for row in mine.tolist()],
                batch.observed_ns[mine],
                place[mine, 0],
                place[mine, 1],
                heights={datum: values[some] for datum, values in heights.items()},
                error_m=place[mine, 2],
                speeds_mps=speeds[some],
                watermark_ns=stamp.watermark_ns,
            )
            due_ns = self.tracker.due_ns
            if found:
                before_ns = stamps[number - 1].watermark_ns if number else watermark_ns
                observations = [self._told(one, stamp.logged_ns) for one in found]
                stamp = msgspec.structs.replace(stamp, watermark_ns=before_ns)
                told[number] = pack(observations, stamp)
        return told

    def _change_over(self, instant_ns: int) -> bool:
        """Take the fences that hold at an instant; whether they are others."""
        fences = self._fences_at(instant_ns)
        changed = fences is not self.tracker.fences
        if changed:
            self.tracker.swap(fences)
        return changed

    def _moves(self, thing_id: str) -> bool:
        device = self._devices.get(thing_id)
        return device is None or device.lon_deg is None

    def _told(self, one: Crossing, received_ns: int) -> Observation:
        measure = _MEASURES.get(one.transition)
        known = measure is not None and np.isfinite(one.value)
        return Observation(
            source=KIND,
            thing_id=f"{one.thing_id}{AT}{one.fence_id}",
            kind=KIND,
            observed_ns=one.at_ns,
            received_ns=received_ns,
            lon_deg=one.lon_deg,
            lat_deg=one.lat_deg,
            measures={measure: one.value} if known and measure else {},
            labels={
                "transition": one.transition.value,
                "state": _STATES[one.transition],
                "fence": one.fence_id,
                "fence_kind": one.fence_kind,
                "fence_version": one.fence_version,
                "thing": one.thing_id,
            },
        )

    def dump(self) -> bytes:
        """The whole state as bytes."""
        return self.tracker.dump()

    def load(self, data: bytes, watermark_ns: int) -> None:
        """Take over a state, also one of other fences than those that held at an instant.

        Raises:
            DecodeError: It is damaged, or of another version.
        """
        self.tracker = FenceTracker(self._fences_at(watermark_ns))
        self.tracker.load(data)
