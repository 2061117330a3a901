"""The script: what happens in one block of city time, and what only looks as if it did.

Time is cut into blocks of half an hour. Each block has its own seeded script with at least one
thing per scenario and a dozen near misses; nothing spans the end of a block, and the first and
last minute are quiet. Levels and durations are written around the thresholds of the shipped
scenarios, on both sides.
"""

from __future__ import annotations

import msgspec

from core.city import Dock
from core.units import NS_PER_S
from simulators.actors import Actor
from simulators.flight_scenes import FlightScenes
from simulators.flights import Flight
from simulators.places import Places
from simulators.scribe import BLOCK_S
from simulators.sensor_scenes import SensorScenes
from simulators.sensors import Excursion
from simulators.truth import NearMiss, Thing


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One block of city time, written out.

    ``signals`` are excursions by sensor and measure. ``flights`` are at most one per aircraft.
    """

    index: int
    start_ns: int
    end_ns: int
    things: tuple[Thing, ...]
    near_misses: tuple[NearMiss, ...]
    signals: dict[str, dict[str, tuple[Excursion, ...]]]
    actors: tuple[Actor, ...]
    flights: tuple[Flight, ...]

    def flight_of(self, aircraft_sn: str) -> Flight | None:
        """The flight of an aircraft, if it flies."""
        return next((one for one in self.flights if one.aircraft_sn == aircraft_sn), None)


def carrier_of(places: Places) -> dict[str, Dock]:
    """The dock whose aircraft carries each flying camera: they are dealt out in order."""
    flying = sorted(one.camera_id for one in places.city.cameras.values() if one.pose is None)
    docks = [dock for _, dock in sorted(places.city.docks.items())]
    return dict(zip(flying, docks, strict=False))


def write_block(places: Places, *, seed: int, epoch_ns: int, index: int) -> Block:
    """Write the script of a block; a pure function of its arguments.

    Args:
        places: Of the city.
        seed: Of the world.
        epoch_ns: Its beginning.
        index: Number of the block, from 0.
    """
    return _Script(places, seed, epoch_ns, index).write()


class _Script(SensorScenes, FlightScenes):
    """Writes one block, scenario by scenario."""

    def write(self) -> Block:
        self.write_flooding()
        self.write_manholes()
        self.write_smoke()
        self.write_gas()
        self.write_sites()
        self.write_fire_lane_by_sensor()
        fixed = [one for _, one in sorted(self.places.city.cameras.items()) if one.pose is not None]
        for camera in fixed:
            self.write_camera(camera)
        docks = [dock for _, dock in sorted(self.places.city.docks.items())]
        carriers = carrier_of(self.places)
        by_dock = {dock.dock_sn: camera_id for camera_id, dock in carriers.items()}
        visitor_intrudes = bool(self.index % 2)
        for number, dock in enumerate(docks):
            if number == 0:
                self.write_survey_flight(dock, by_dock.get(dock.dock_sn, ""))
            elif number == 1:
                self.write_patrol_flight(dock, intrudes=not visitor_intrudes)
        self.write_visitor(intrudes=visitor_intrudes)
        return Block(
            index=self.index,
            start_ns=self.start_ns,
            end_ns=self.start_ns + BLOCK_S * NS_PER_S,
            things=tuple(sorted(self.things, key=lambda one: (one.began_ns, one.truth_id))),
            near_misses=tuple(sorted(self.near, key=lambda one: (one.began_ns, one.truth_id))),
            signals={
                thing: {measure: tuple(many) for measure, many in by_measure.items()}
                for thing, by_measure in self.signals.items()
            },
            actors=tuple(self.actors),
            flights=tuple(self.flights),
        )
