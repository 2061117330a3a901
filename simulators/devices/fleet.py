"""The fleet: all fixed devices of a city, read kind by kind as arrays.

A slab of time is made at once for all devices of a kind; what a device reports at an instant
does not depend on how time is cut into slabs. Slabs are asked for in order from the epoch on,
because devices count their reports and meters their litres.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from core.city import Device
from simulators.devices.buses import Buses
from simulators.devices.catalogue import CATALOGUE
from simulators.devices.group import DeviceGroup, Excursions, Lie
from simulators.devices.meters import WaterMeters
from simulators.environment import Environment
from simulators.messages import ScheduledMessage


class Fleet:
    """All fixed devices of a city, and its buses.

    Args:
        city: Name of the city, for topics.
        devices: Of the kinds of the catalogue; others are left out.
        seed: Of the world.
        environment: What they measure.
        bounds: West, south, east, north of the city, for what moves.
    """

    def __init__(
        self,
        city: str,
        devices: Sequence[Device],
        *,
        seed: int,
        environment: Environment,
        bounds: tuple[float, float, float, float],
    ) -> None:
        by_kind: dict[str, list[Device]] = defaultdict(list)
        for device in sorted(devices, key=lambda one: one.thing_id):
            if device.kind in CATALOGUE:
                by_kind[device.kind].append(device)
        self.groups: dict[str, DeviceGroup] = {}
        for kind, many in sorted(by_kind.items()):
            if kind == "water_meter":
                self.groups[kind] = WaterMeters(city, kind, many, seed, environment)
            elif kind == "bus":
                self.groups[kind] = Buses(city, kind, many, seed, environment, bounds)
            else:
                self.groups[kind] = DeviceGroup(city, kind, many, seed, environment)

    def slab(
        self,
        begin_ns: int,
        end_ns: int,
        excursions: Excursions | None = None,
        lies: Mapping[str, Sequence[Lie]] | None = None,
    ) -> list[ScheduledMessage]:
        """All messages of [begin, end), in time order.

        Slabs must follow each other from the epoch on: devices count.

        Args:
            begin_ns: From when.
            end_ns: Until when.
            excursions: What happens to which measure of which device.
            lies: Faults inside devices, by thing.
        """
        found: list[ScheduledMessage] = []
        for group in self.groups.values():
            found += group.messages(begin_ns, end_ns, excursions or {}, lies or {})
        found.sort(key=lambda message: (message.at_ns, message.thing_id))
        return found
