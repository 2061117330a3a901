"""What scenes at fixed devices share: which there are, how many, when they report."""

from __future__ import annotations

from core.city import Device
from core.units import NS_PER_S
from simulators.day.diary import Diary
from simulators.devices.catalogue import CATALOGUE
from simulators.devices.group import phase_ns


class DeviceScenes:
    """Base of those who write what happens to fixed devices.

    Args:
        diary: Where to.
        factor: How many times as many scenes as in a district.
    """

    def __init__(self, diary: Diary, factor: float = 1.0) -> None:
        self.diary = diary
        self.factor = factor
        self.devices: dict[str, list[Device]] = {}
        for _, device in sorted(diary.city.devices.items()):
            if device.lon_deg is not None:
                self.devices.setdefault(device.kind, []).append(device)

    def count(self, count: int) -> int:
        """So many scenes of a sort, at least one."""
        return max(1, round(count * self.factor))

    def chosen(self, kind: str, zone: str | None = None) -> list[Device]:
        """Devices of a kind in a drawn order; in or out of a zone where one is named."""
        found = self.devices.get(kind, [])
        if zone is not None:
            found = [one for one in found if self.diary.places.zone_of(one, zone) is not None]
        order = self.diary.rng.permutation(len(found)).tolist()
        return [found[number] for number in order]

    def at_report(self, device: Device, after_ns: int) -> int:
        """The next instant at which a device of fixed interval reports."""
        phase = phase_ns(self.diary.seed, device)
        interval = CATALOGUE[device.kind].interval_s * NS_PER_S
        base = self.diary.environment.epoch_ns + phase
        return base - (base - after_ns) // interval * interval


def place_of(device: Device) -> tuple[float, float]:
    """Where a fixed device stands, WGS 84 (lon, lat)."""
    assert device.lon_deg is not None
    assert device.lat_deg is not None
    return device.lon_deg, device.lat_deg
