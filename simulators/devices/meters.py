"""Water meters: they speak when water ran, and say now and then that they live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core.city import Device
from core.units import NS_PER_S
from simulators.devices.group import DeviceGroup, Excursions, Ints, Lie, phase_ns, whole_ms
from simulators.devices.noise import keys_of, uniform
from simulators.devices.wire import Encoded, Report, plain_encoder
from simulators.environment import Environment
from simulators.messages import ScheduledMessage

#: Name under which a script silences a water meter: nobody is at home.
SILENCE = "silence"

#: A meter is asked whether water ran in so long.
_USE_SLOT_S = 900
_ALIVE_EVERY_S = 4 * 3600


class WaterMeters(DeviceGroup):
    """Water meters speak when water ran, and every four hours say that they live."""

    def __init__(
        self, city: str, kind_name: str, devices: list[Device], seed: int, environment: Environment
    ) -> None:
        super().__init__(city, kind_name, devices, seed, environment)
        self.litres = np.zeros(len(devices))
        self.alive = plain_encoder(city, "device_health", [], devices, [{} for _ in devices])
        self.alive_phases = whole_ms(uniform(self.keys, 5) * _ALIVE_EVERY_S * NS_PER_S)

    def labels(self, device: Device) -> dict[str, str]:
        """Whether an elderly person lives alone there."""
        return {"resident": "elderly" if is_elderly(device) else "other"}

    def messages(
        self,
        begin_ns: int,
        end_ns: int,
        excursions: Excursions,
        lies: Mapping[str, Sequence[Lie]],
    ) -> list[ScheduledMessage]:
        """All reports in [begin, end): of use, and that a meter lives."""
        slot_ns = _USE_SLOT_S * NS_PER_S
        numbers, times = self.regular(begin_ns, end_ns, slot_ns, self.phases)
        slots = (times - self.environment.epoch_ns) // slot_ns
        used = _water_ran(self.environment, self.keys[numbers], times)
        for thing, by_measure in excursions.items():
            number = self.number_of.get(thing)
            for one in by_measure.get(SILENCE, ()) if number is not None else ():
                used &= ~((numbers == number) & (times >= one.start_ns) & (times < one.end_ns))
        numbers, times, slots = numbers[used], times[used], slots[used]
        litres = np.round(3.0 + 57.0 * uniform(self.keys[numbers], 500_000 + slots) ** 2)
        order = np.lexsort((times, numbers))
        numbers, times, litres = numbers[order], times[order], litres[order]
        total = np.cumsum(litres)
        starts = np.searchsorted(numbers, numbers, side="left")
        before = np.where(starts > 0, total[np.maximum(starts - 1, 0)], 0.0)
        volume = np.round(
            self.rests[0][numbers] + (self.litres[numbers] + total - before) / 1000.0, 3
        )
        self.litres += np.bincount(numbers, weights=litres, minlength=len(self.devices))
        alive, beats = self.regular(begin_ns, end_ns, _ALIVE_EVERY_S * NS_PER_S, self.alive_phases)
        if not len(numbers) + len(alive):
            return []
        # What it used, then whether it used any: one counter runs through both sorts of report.
        columns = [
            np.concatenate([volume, np.zeros(len(alive))]),
            np.concatenate([np.ones(len(volume)), np.zeros(len(alive))]),
        ]
        return self.encoded(
            np.concatenate([numbers, alive]),
            np.concatenate([times, beats]),
            columns,
            self._use_or_alive,
            lies,
        )

    def _use_or_alive(self, report: Report) -> Encoded:
        volume, used = report.values
        if used:
            return self.encode(report._replace(values=(volume,)))
        return self.alive(report._replace(values=()))


def _water_ran(
    environment: Environment, keys: NDArray[np.uint64], times: Ints
) -> NDArray[np.bool_]:
    """Whether water ran in the slot before an instant, by the hour's demand and by chance."""
    slots = (times - environment.epoch_ns) // (_USE_SLOT_S * NS_PER_S)
    demand = environment.channel("water_demand", times)
    return np.asarray(uniform(keys, 1000 + slots) < 0.42 * demand)


def last_use_ns(seed: int, environment: Environment, device: Device, before_ns: int) -> int | None:
    """When a water meter last speaks of use before an instant; None where it has not yet.

    Args:
        seed: Of the world.
        environment: Of the world.
        device: A water meter.
        before_ns: The instant.
    """
    step = _USE_SLOT_S * NS_PER_S
    first = environment.epoch_ns + phase_ns(seed, device)
    times = np.arange(first, before_ns, step, dtype=np.int64)
    keys = keys_of(seed, "device", [device.thing_id])
    used = times[_water_ran(environment, keys, times)]
    return int(used[-1]) if len(used) else None


def is_elderly(device: Device) -> bool:
    """Whether an elderly person lives alone at a meter: every third one.

    Example:
        >>> is_elderly(Device(thing_id="meter-0003", kind="water_meter"))
        True
    """
    digits = "".join(filter(str.isdigit, device.thing_id)) or "0"
    return int(digits) % 3 == 0
