"""The feed: everything the simulated city sends, in time order, as a pure function.

Published bytes follow from (city, seed, epoch) alone. Messages are made when they are asked
for; at most one block of readings is held.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import NamedTuple

from core.city import Dock
from core.frames import encode_frame
from core.topics import frame_topic
from core.units import NS_PER_S, seconds_to_ns
from geo.city import City
from simulators.cameras import CameraSimulator, background_actors
from simulators.docks import dock_messages
from simulators.flights import Flight
from simulators.messages import MAX_DELAY_S, ScheduledMessage, digest, whole_ms, with_faults
from simulators.remote_id import remote_id_messages
from simulators.rendering import CityPainter
from simulators.scribe import BLOCK_S
from simulators.script import Block
from simulators.sensors import SENSOR_KINDS, sensor_messages
from simulators.views import Conditions
from simulators.world import World

#: City time between two frames of a camera.
FRAME_PERIOD_NS = 2 * NS_PER_S

#: Messages of a block's last seconds may be published in the next one.
_OVERLAP_NS = seconds_to_ns(2 * MAX_DELAY_S)


def _flights(
    world: World, dock: Dock, start_ns: int, end_ns: int
) -> Iterator[tuple[int, int, Flight | None]]:
    for block in world.blocks(start_ns, end_ns):
        yield block.start_ns, block.end_ns, block.flight_of(dock.aircraft_sn)


def reading_messages(
    world: World, start_ns: int, end_ns: int, *, sound: bool = False
) -> Iterator[ScheduledMessage]:
    """All messages but frames that are due in [start, end).

    Some of the sensors' are sent twice or late, as on any network; none with ``sound``.
    """
    seed, epoch_ns, city = world.seed, world.epoch_ns, world.city
    since_ns = max(epoch_ns, start_ns - _OVERLAP_NS)
    devices = [
        device
        for _, device in sorted(city.devices.items())
        if device.kind in SENSOR_KINDS and device.lon_deg is not None
    ]
    # Sensors count their messages from the epoch on.
    readings = sensor_messages(
        city.name,
        devices,
        ((block.start_ns, block.end_ns, block.signals) for block in world.blocks(epoch_ns, end_ns)),
        seed=seed,
        epoch_ns=epoch_ns,
    )
    streams = [readings if sound else with_faults(readings, seed=seed)]
    for _, dock in sorted(city.docks.items()):
        flights = [_flights(world, dock, since_ns, end_ns) for _ in range(3)]
        streams.append(dock_messages(dock, flights, seed=seed, epoch_ns=epoch_ns))
    registered = frozenset(
        {device.thing_id for device in city.devices.values() if device.kind == "aircraft"}
        | {dock.aircraft_sn for dock in city.docks.values()}
    )
    streams.append(
        remote_id_messages(
            city.name,
            (block.flights for block in world.blocks(since_ns, end_ns)),
            seed=seed,
            registered=registered,
        )
    )
    for message in heapq.merge(*streams, key=lambda one: one.at_ns):
        if message.at_ns >= end_ns:
            return
        if message.at_ns >= start_ns:
            yield message


class FrameDue(NamedTuple):
    """A picture that a camera is to take."""

    at_ns: int
    camera_id: str


def frames_due(world: World, start_ns: int, end_ns: int) -> Iterator[FrameDue]:
    """When cameras take pictures in [start, end): each every 2 s of city time.

    A flying camera takes them while its aircraft hovers over the survey spot.
    """
    cameras = sorted(world.city.cameras)
    periods = max(0, start_ns - world.epoch_ns) // FRAME_PERIOD_NS
    while True:
        base_ns = world.epoch_ns + periods * FRAME_PERIOD_NS
        if base_ns >= end_ns:
            return
        for number, camera_id in enumerate(cameras):
            at_ns = whole_ms(base_ns + FRAME_PERIOD_NS * number // len(cameras))
            if start_ns <= at_ns < end_ns and world.camera_pose(camera_id, at_ns) is not None:
                yield FrameDue(at_ns, camera_id)
        periods += 1


class FrameMaker:
    """Takes the pictures of all cameras of a world; keeps what stands still between them.

    Args:
        world: What they look at.
        conditions: Air and light by city time; a calm overcast day unless given.
    """

    def __init__(self, world: World, conditions: Callable[[int], Conditions] | None = None) -> None:
        self._world = world
        self._conditions = conditions
        self._painter = CityPainter(world.city, world.seed)
        # One per camera, replaced in the next block.
        self._simulators: dict[str, tuple[int, CameraSimulator]] = {}

    def prepare(self) -> None:
        """Paint what stands still before each camera: its first picture takes up to a second."""
        world = self._world
        missing = set(world.city.cameras)
        end_ns = world.epoch_ns + BLOCK_S * NS_PER_S
        for due in frames_due(world, world.epoch_ns, end_ns):
            if due.camera_id in missing:
                self.take(due)
                missing.remove(due.camera_id)
            if not missing:
                return

    def take(self, due: FrameDue) -> bytes:
        """The frame's bytes as they are published."""
        world = self._world
        pose = None
        if world.city.cameras[due.camera_id].pose is None:
            pose = world.camera_pose(due.camera_id, due.at_ns)
        simulator = self._simulator(due.camera_id, world.block(world.index_at(due.at_ns)))
        return encode_frame(simulator.frame(due.at_ns, pose))

    def _simulator(self, camera_id: str, block: Block) -> CameraSimulator:
        known = self._simulators.get(camera_id)
        if known is not None and known[0] == block.index:
            return known[1]
        world = self._world
        dock = world.carriers.get(camera_id)
        passers = background_actors(
            world.city,
            world.city.cameras[camera_id],
            digest(world.seed, "passers", block.index) % 2**32,
            block.start_ns,
            block.end_ns,
            around=None if dock is None else world.city.survey_spots.get(dock.dock_sn),
        )
        made = CameraSimulator(
            camera_id,
            world.city,
            (*block.actors, *passers),
            world.seed,
            self._painter,
            conditions=self._conditions,
        )
        self._simulators[camera_id] = (block.index, made)
        return made


def frame_messages(world: World, start_ns: int, end_ns: int) -> Iterator[ScheduledMessage]:
    """All frames that are due in [start, end), as messages."""
    maker = FrameMaker(world)
    for due in frames_due(world, start_ns, end_ns):
        yield ScheduledMessage(
            due.at_ns,
            frame_topic(world.city.name, due.camera_id),
            maker.take(due),
            0,
            due.camera_id,
            due.at_ns,
        )


def messages(
    city: City, seed: int, epoch_ns: int, start_ns: int, end_ns: int, *, frames: bool = True
) -> Iterator[ScheduledMessage]:
    """Everything that is published in [start, end), in time order.

    Args:
        city: The city.
        seed: Of the world.
        epoch_ns: Its beginning.
        start_ns: From when; the same bytes come out whenever one starts.
        end_ns: Until when.
        frames: Whether cameras take pictures, too.
    """
    world = World(city, seed=seed, epoch_ns=epoch_ns)
    readings = reading_messages(world, start_ns, end_ns)
    if not frames:
        return readings
    pictures = frame_messages(world, start_ns, end_ns)
    return heapq.merge(readings, pictures, key=lambda one: one.at_ns)
