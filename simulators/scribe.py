"""The scribe: the words in which things and near misses of one block are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.city import Device
from core.units import NS_PER_S, seconds_to_ns
from simulators.actors import Actor
from simulators.environment import Environment
from simulators.flights import Flight
from simulators.messages import digest, whole_ms
from simulators.places import Places
from simulators.sensors import SENSOR_KINDS, Excursion, report_times
from simulators.truth_notes import TruthNotes

#: Length of a block, city seconds.
BLOCK_S = 1800


class Rise(NamedTuple):
    """A measure rises to a peak, holds it and falls; seconds of the block, peak in its unit."""

    start_s: float
    hold_s: float
    ramp_s: float
    peak: float

    @property
    def end_s(self) -> float:
        """When it is back."""
        return self.start_s + self.hold_s + 2 * self.ramp_s


class Scribe(TruthNotes):
    """Collects what happens in one block; all chance comes from the seed and its number.

    Seconds in its arguments count from the begin of the block. What the city has no place for
    is left out by those who write with it.

    Args:
        places: Of the city.
        seed: Of the world.
        epoch_ns: Its beginning.
        index: Number of the block.
    """

    def __init__(self, places: Places, seed: int, epoch_ns: int, index: int) -> None:
        super().__init__()
        self.places = places
        self.seed = seed
        self.epoch_ns = epoch_ns
        self.index = index
        self.environment = Environment(seed, epoch_ns)
        self.start_ns = epoch_ns + index * BLOCK_S * NS_PER_S
        self.rng = np.random.default_rng(digest(seed, "script", index))
        self.signals: dict[str, dict[str, list[Excursion]]] = {}
        self.actors: list[Actor] = []
        self.flights: list[Flight] = []

    def at(self, seconds: float) -> int:
        """A second of the block as an instant, in whole milliseconds."""
        return whole_ms(self.start_ns + seconds_to_ns(seconds))

    def between(self, low: float, high: float) -> float:
        """A number drawn from a range, to a tenth."""
        return round(float(self.rng.uniform(low, high)), 1)

    def at_report(self, device: Device, after_s: float) -> float:
        """The second of the block at which a sensor next reports."""
        begin_ns = self.at(after_s)
        times = report_times(
            device,
            seed=self.seed,
            epoch_ns=self.epoch_ns,
            begin_ns=begin_ns,
            end_ns=begin_ns + 60 * NS_PER_S,
        )
        return (times[0] - self.start_ns) / NS_PER_S

    def truth_id(self, kind: str) -> str:
        """The id of the next thing or near miss."""
        number = len(self.things) + len(self.near)
        return f"{digest(self.seed, 'truth', self.epoch_ns, self.index, kind, number):032x}"

    def turned(self, devices: Sequence[Device], step: int) -> list[Device]:
        """Devices in a seeded order, turned so that other ones come first in the next block."""
        if not devices:
            return []
        rng = np.random.default_rng(digest(self.seed, "order", devices[0].kind))
        order = [devices[number] for number in rng.permutation(len(devices)).tolist()]
        shift = self.index * step % len(order)
        return order[shift:] + order[:shift]

    def apart_m(self, one: Device, other: Device) -> float:
        """Metres between two sensors."""
        return math.dist(self.places.metres(one), self.places.metres(other))

    def excursion(self, device: Device, measure: str, rise: Rise) -> Excursion:
        """Let a sensor's measure rise to a peak, stay there and fall again."""
        one = Excursion(
            start_ns=self.at(rise.start_s),
            end_ns=self.at(rise.end_s),
            peak=rise.peak,
            ramp_s=rise.ramp_s,
        )
        self.signals.setdefault(device.thing_id, {}).setdefault(measure, []).append(one)
        return one

    def sensor_thing(
        self,
        scenario: str,
        device: Device,
        measure: str,
        note: str,
        rise: Rise,
        *,
        threshold: float,
    ) -> None:
        """Such a rise that is a thing while it is above a threshold."""
        one = self.excursion(device, measure, rise)
        signals = {signal.measure: signal for signal in SENSOR_KINDS[device.kind].signals}
        base = float(signals[measure].base_at(self.environment, one.start_ns))
        began_ns, ended_ns = one.passes_ns(threshold, base)
        self.happens(
            scenario, place_of(device), began_ns, ended_ns, note, devices=(device.thing_id,)
        )

    def sensor_near(
        self, scenario: str, device: Device, measure: str, note: str, rise: Rise
    ) -> None:
        """Such a rise that must not become an incident."""
        one = self.excursion(device, measure, rise)
        self.nearly(
            scenario, place_of(device), one.start_ns, one.end_ns, note, devices=(device.thing_id,)
        )


def place_of(device: Device) -> tuple[float, float]:
    """Longitude and latitude of a fixed sensor."""
    assert device.lon_deg is not None
    assert device.lat_deg is not None
    return device.lon_deg, device.lat_deg
