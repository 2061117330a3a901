"""Scenes at fixed sensors: water, manhole covers, smoke, gas, dust and noise of sites."""

from __future__ import annotations

from typing import NamedTuple

from core.city import Device
from simulators.scribe import Scribe

#: Local hours of the night, in which a site must be quiet: Law on Noise Pollution Prevention and
#: Control of China (2021), article 88.
_NIGHT_BEGINS_H, _NIGHT_ENDS_H = 22.0, 6.0


class Noise(NamedTuple):
    """One time that a site is loud; seconds of the block, the peak in dB."""

    note: str
    start_s: float
    hold_s: float
    ramp_s: float
    peak: float


class SensorScenes(Scribe):
    """Writes what happens to fixed sensors, and what only nearly does."""

    def write_flooding(self) -> None:
        """Water in the underpass; a wave; high water where it does no harm."""
        gauges = self.places.devices("water_level")
        below = [one for one in gauges if self.places.zone_of(one, "underpass")]
        open_air = [one for one in gauges if one not in below]
        for device in self.turned(below, 1)[:1]:
            self.sensor_thing(
                "road-flooding",
                device,
                "water_level_m",
                "rain water stands in the underpass",
                start_s=self.between(230, 330),
                hold_s=self.between(330, 480),
                ramp_s=self.between(60, 90),
                peak=self.between(0.4, 0.7),
                threshold=0.25,
            )
            self.sensor_near(
                "road-flooding",
                device,
                "water_level_m",
                "a wave of a lorry touches the threshold and is gone",
                start_s=self.between(1280, 1420),
                hold_s=16.0,
                ramp_s=6.0,
                peak=0.29,
            )
        for device in self.turned(open_air, 1)[:1]:
            self.sensor_near(
                "road-flooding",
                device,
                "water_level_m",
                "high water at a gauge that stands in no underpass",
                start_s=self.between(500, 700),
                hold_s=300.0,
                ramp_s=60.0,
                peak=0.5,
            )

    def write_manholes(self) -> None:
        """Two covers out of their seats, far apart; one knocked, one leaning."""
        order = self.turned(self.places.devices("manhole"), 4)
        if not order:
            return
        taken = order[:1]
        for device in order[1:]:
            if len(taken) < 2 and self.apart_m(device, taken[0]) >= 100.0:
                taken.append(device)
        starts = (self.between(66, 100), self.between(560, 900))
        for device, start_s in zip(taken, starts, strict=False):
            self.sensor_thing(
                "manhole-cover",
                device,
                "tilt_deg",
                "a manhole cover is tilted out of its seat",
                start_s=start_s,
                hold_s=self.between(260, 420),
                ramp_s=0.0,
                peak=self.between(24, 55),
                threshold=15.0,
            )
        rest = [device for device in order if device not in taken]
        near = (
            ("a wheel knocks the cover and it falls back", self.between(8, 12), 26.0),
            ("the cover leans, less than the threshold", self.between(240, 360), 12.0),
        )
        for device, (note, hold_s, peak) in zip(rest, near, strict=False):
            self.sensor_near(
                "manhole-cover",
                device,
                "tilt_deg",
                note,
                start_s=self.between(300, 1300),
                hold_s=hold_s,
                ramp_s=0.0,
                peak=peak,
            )

    def write_smoke(self) -> None:
        """A fire; a puff of steam; cooking fumes."""
        order = self.turned(self.places.devices("smoke"), 1)
        for device in order[:1]:
            self.sensor_thing(
                "smoke-alarm",
                device,
                "smoke_db_per_m",
                "a fire smoulders in a stairwell",
                start_s=self.between(85, 130),
                hold_s=self.between(180, 260),
                ramp_s=20.0,
                peak=self.between(0.5, 0.9),
                threshold=0.20,
            )
        for device in order[1:2]:
            self.sensor_near(
                "smoke-alarm",
                device,
                "smoke_db_per_m",
                "a puff of steam",
                start_s=self.at_report(device, self.between(400, 1500)) - 2.0,
                hold_s=4.0,
                ramp_s=0.0,
                peak=0.35,
            )
        for device in order[2:3]:
            self.sensor_near(
                "smoke-alarm",
                device,
                "smoke_db_per_m",
                "cooking fumes, below the threshold",
                start_s=self.between(300, 1300),
                hold_s=180.0,
                ramp_s=30.0,
                peak=0.15,
            )

    def write_gas(self) -> None:
        """A leak; a trace of gas; one high reading."""
        order = self.turned(self.places.devices("gas"), 1)
        for device in order[:1]:
            self.sensor_thing(
                "gas-leak",
                device,
                "gas_lel_ratio",
                "a gas hose leaks",
                start_s=self.between(150, 210),
                hold_s=self.between(200, 300),
                ramp_s=25.0,
                peak=self.between(0.25, 0.45),
                threshold=0.10,
            )
        for device in order[1:2]:
            self.sensor_near(
                "gas-leak",
                device,
                "gas_lel_ratio",
                "a little gas, below the threshold",
                start_s=self.between(300, 1200),
                hold_s=240.0,
                ramp_s=20.0,
                peak=0.08,
            )
        for device in order[2:3]:
            self.sensor_near(
                "gas-leak",
                device,
                "gas_lel_ratio",
                "a lighter is filled: one reading above the threshold",
                start_s=self.at_report(device, self.between(400, 1500)) - 2.0,
                hold_s=4.0,
                ramp_s=0.0,
                peak=0.16,
            )

    def write_sites(self) -> None:
        """Dust at one site, and in doses that are no matter."""
        sites = self.turned(self.places.devices("site_air"), 1)
        if not sites:
            return
        first, other = sites[0], sites[1 % len(sites)]
        self._write_noise(other, first)
        self.sensor_thing(
            "site-dust",
            first,
            "pm10_ug_m3",
            "earth is moved without water spray",
            start_s=self.between(330, 430),
            hold_s=self.between(300, 400),
            ramp_s=30.0,
            peak=self.between(210, 320),
            threshold=150.0,
        )
        self.sensor_near(
            "site-dust",
            other,
            "pm10_ug_m3",
            "dusty air, below the threshold",
            start_s=self.between(1100, 1150),
            hold_s=240.0,
            ramp_s=30.0,
            peak=140.0,
        )
        self.sensor_near(
            "site-dust",
            first,
            "pm10_ug_m3",
            "a gust of dust that settles within a minute",
            start_s=self.between(1480, 1560),
            hold_s=50.0,
            ramp_s=5.0,
            peak=190.0,
        )

    def _write_noise(self, loud: Device, other: Device) -> None:
        """Noise at one site and doses at another that are no matter; at night less is too much.

        What would run over the border of day and night is left out: it would be half a matter
        of each.
        """
        begins = [
            self.between(470, 600), self.between(1120, 1180), self.between(1340, 1380)
        ]  # fmt: skip
        by_day = (
            Noise("a pneumatic drill at work", begins[0], self.between(300, 400), 5.0,
                  self.between(77, 86)),
            Noise("a lorry unloads for a minute", begins[1], 50.0, 5.0, 76.0),
            Noise("steady work, below the threshold", begins[2], 300.0, 10.0, 68.0),
        )  # fmt: skip
        by_night = (
            Noise("concrete is poured at night", begins[0], self.between(440, 560), 10.0,
                  self.between(61, 66)),
            Noise("a lorry unloads at night", begins[1], 50.0, 5.0, 64.0),
            Noise("a generator hums at night, below the limit", begins[2], 300.0, 10.0, 50.5),
        )  # fmt: skip
        for scenario, threshold, night, scenes in (
            ("site-noise", 70.0, False, by_day), ("night-work", 55.0, True, by_night),
        ):  # fmt: skip
            for number, noise in enumerate(scenes):
                if not self._lies_in(noise, night=night):
                    continue
                note, start_s, hold_s, ramp_s, peak = noise
                if number == 0:
                    self.sensor_thing(
                        scenario, loud, "noise_db", note, start_s=start_s, hold_s=hold_s,
                        ramp_s=ramp_s, peak=peak, threshold=threshold,
                    )  # fmt: skip
                else:
                    self.sensor_near(
                        scenario, other, "noise_db", note, start_s=start_s, hold_s=hold_s,
                        ramp_s=ramp_s, peak=peak,
                    )  # fmt: skip

    def _lies_in(self, noise: Noise, *, night: bool) -> bool:
        """Whether a noise begins and ends by night, or by day."""
        ends_s = noise.start_s + noise.hold_s + 2 * noise.ramp_s
        hours = self.environment.local_hour([self.at(noise.start_s), self.at(ends_s)])
        at_night = (hours >= _NIGHT_BEGINS_H) | (hours < _NIGHT_ENDS_H)
        return bool((at_night == night).all())
