"""The simulated world: a pure function of city, seed, epoch and instant.

It says what happens (:class:`simulators.script.Block`), where aircraft are, and what every
device sends; nothing here keeps time or talks to a network.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from core.city import CameraPose, Dock
from core.units import NS_PER_S
from geo.city import City
from simulators.flights import Flight
from simulators.places import Places
from simulators.scribe import BLOCK_S
from simulators.script import Block, carrier_of, write_block

#: Blocks kept written out, some 100 kB each; the oldest goes first.
_KEPT_BLOCKS = 4

#: Picture and field of view of the camera under an aircraft.
AIR_WIDTH_PX, AIR_HEIGHT_PX, AIR_HFOV_DEG = 640, 360, 70.0


class World:
    """One seeded world.

    Args:
        city: The city it happens in.
        seed: Same city, seed and epoch, same world to the byte.
        epoch_ns: Its beginning; cut to whole milliseconds, which is what devices send.
    """

    def __init__(self, city: City, *, seed: int, epoch_ns: int) -> None:
        self.city = city
        self.seed = seed
        self.epoch_ns = epoch_ns // 1_000_000 * 1_000_000
        self.places = Places(city)
        self.carriers = carrier_of(self.places)
        self._blocks: OrderedDict[int, Block] = OrderedDict()

    def block(self, index: int) -> Block:
        """A block by its number, from 0."""
        known = self._blocks.get(index)
        if known is None:
            known = write_block(self.places, seed=self.seed, epoch_ns=self.epoch_ns, index=index)
            self._blocks[index] = known
            if len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return known

    def index_at(self, instant_ns: int) -> int:
        """Number of the block that holds an instant; 0 before the epoch."""
        return max(0, (instant_ns - self.epoch_ns) // (BLOCK_S * NS_PER_S))

    def blocks(self, start_ns: int, end_ns: int | None = None) -> Iterator[Block]:
        """Blocks from the one that holds ``start_ns`` to the one before ``end_ns``, or forever."""
        index = self.index_at(start_ns)
        while end_ns is None or self.epoch_ns + index * BLOCK_S * NS_PER_S < end_ns:
            yield self.block(index)
            index += 1

    def flight(self, dock: Dock, instant_ns: int) -> Flight | None:
        """The flight of a dock's aircraft in the block that holds an instant."""
        return self.block(self.index_at(instant_ns)).flight_of(dock.aircraft_sn)

    def camera_pose(self, camera_id: str, instant_ns: int) -> CameraPose | None:
        """Where a camera is and looks; None while a flying one takes no pictures.

        A flying camera looks straight down and takes pictures while its aircraft hovers over
        the survey spot.
        """
        camera = self.city.cameras.get(camera_id)
        if camera is None:
            return None
        if camera.pose is not None:
            return camera.pose
        dock = self.carriers.get(camera_id)
        flight = None if dock is None else self.flight(dock, instant_ns)
        here = None if flight is None else flight.at(instant_ns)
        if flight is None or here is None:
            return None
        low, high = flight.hover_ns
        if not low <= instant_ns < high:
            return None
        return CameraPose(
            lon_deg=here.lon_deg,
            lat_deg=here.lat_deg,
            height_agl_m=here.elevation_m,
            yaw_deg=here.heading_deg % 360.0,
            pitch_deg=-90.0,
            hfov_deg=AIR_HFOV_DEG,
            width_px=AIR_WIDTH_PX,
            height_px=AIR_HEIGHT_PX,
            position_sigma_m=0.3,
            angle_sigma_deg=0.5,
        )
