"""Buses: they go round a loop about the city and tell where they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from core.city import Device
from core.units import NS_PER_S
from simulators.devices.group import DeviceGroup, Excursions, Lie
from simulators.devices.noise import uniform
from simulators.environment import Environment
from simulators.messages import ScheduledMessage


class Buses(DeviceGroup):
    """Buses go round a loop about the city and tell where they are."""

    def __init__(
        self, city: str, kind_name: str, devices: list[Device], seed: int, environment: Environment,
        bounds: tuple[float, float, float, float],
    ) -> None:  # fmt: skip
        super().__init__(city, kind_name, devices, seed, environment)
        west, south, east, north = bounds
        middle = ((west + east) / 2, (south + north) / 2)
        self.middle = middle
        self.reach = ((east - west) * 0.3, (north - south) * 0.3)
        self.loop_s = 2400.0 + 1200.0 * uniform(self.keys, 6)
        self.start = uniform(self.keys, 7)

    def messages(
        self,
        begin_ns: int,
        end_ns: int,
        excursions: Excursions,
        lies: Mapping[str, Sequence[Lie]],
    ) -> list[ScheduledMessage]:
        """All reports in [begin, end), each with the place of its instant."""
        found = super().messages(begin_ns, end_ns, excursions, lies)
        moved = []
        for message in found:
            number = self.number_of[message.thing_id]
            seconds = (message.at_ns - self.environment.epoch_ns) / NS_PER_S
            start = float(self.start[number])
            turn = 2 * math.pi * (seconds / float(self.loop_s[number]) + start)
            scale = 0.6 + 0.4 * start
            lon = round(self.middle[0] + scale * self.reach[0] * math.cos(turn), 6)
            lat = round(self.middle[1] + scale * self.reach[1] * math.sin(turn), 6)
            head, _, tail = message.payload.partition(b',"measures"')
            place = f',"lon":{lon!r},"lat":{lat!r},"measures"'.encode()
            moved.append(message._replace(payload=head + place + tail))
        return moved
