"""Scenes at fixed sensors: water, manhole covers, smoke, gas, dust and noise of sites."""

from __future__ import annotations

from core.city import Device
from simulators.scribe import Rise, Scribe

#: Local hours of the night, in which a site must be quiet: Law on Noise Pollution Prevention and
#: Control of China (2021), article 88.
_NIGHT_BEGINS_H, _NIGHT_ENDS_H = 22.0, 6.0


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
                Rise(
                    self.between(230, 330),
                    self.between(330, 480),
                    self.between(60, 90),
                    self.between(0.4, 0.7),
                ),
                threshold=0.25,
            )
            self.sensor_near(
                "road-flooding",
                device,
                "water_level_m",
                "a wave of a lorry touches the threshold and is gone",
                Rise(self.between(1280, 1420), 16.0, 6.0, 0.29),
            )
        for device in self.turned(open_air, 1)[:1]:
            self.sensor_near(
                "road-flooding",
                device,
                "water_level_m",
                "high water at a gauge that stands in no underpass",
                Rise(self.between(500, 700), 300.0, 60.0, 0.5),
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
                Rise(start_s, self.between(260, 420), 0.0, self.between(24, 55)),
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
                Rise(self.between(300, 1300), hold_s, 0.0, peak),
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
                Rise(self.between(85, 130), self.between(180, 260), 20.0, self.between(0.5, 0.9)),
                threshold=0.20,
            )
        for device in order[1:2]:
            self.sensor_near(
                "smoke-alarm",
                device,
                "smoke_db_per_m",
                "a puff of steam",
                Rise(self.at_report(device, self.between(400, 1500)) - 2.0, 4.0, 0.0, 0.35),
            )
        for device in order[2:3]:
            self.sensor_near(
                "smoke-alarm",
                device,
                "smoke_db_per_m",
                "cooking fumes, below the threshold",
                Rise(self.between(300, 1300), 180.0, 30.0, 0.15),
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
                Rise(
                    self.between(150, 210), self.between(200, 300), 25.0, self.between(0.25, 0.45)
                ),
                threshold=0.10,
            )
        for device in order[1:2]:
            self.sensor_near(
                "gas-leak",
                device,
                "gas_lel_ratio",
                "a little gas, below the threshold",
                Rise(self.between(300, 1200), 240.0, 20.0, 0.08),
            )
        for device in order[2:3]:
            self.sensor_near(
                "gas-leak",
                device,
                "gas_lel_ratio",
                "a lighter is filled: one reading above the threshold",
                Rise(self.at_report(device, self.between(400, 1500)) - 2.0, 4.0, 0.0, 0.16),
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
            Rise(self.between(330, 430), self.between(300, 400), 30.0, self.between(210, 320)),
            threshold=150.0,
        )
        self.sensor_near(
            "site-dust",
            other,
            "pm10_ug_m3",
            "dusty air, below the threshold",
            Rise(self.between(1100, 1150), 240.0, 30.0, 140.0),
        )
        self.sensor_near(
            "site-dust",
            first,
            "pm10_ug_m3",
            "a gust of dust that settles within a minute",
            Rise(self.between(1480, 1560), 50.0, 5.0, 190.0),
        )

    def _write_noise(self, loud: Device, other: Device) -> None:
        """Noise at one site and doses at another that are no matter; at night less is too much.

        What would run over the border of day and night is left out: it would be half a matter
        of each.
        """
        first, second, third = (
            self.between(470, 600), self.between(1120, 1180), self.between(1340, 1380)
        )  # fmt: skip
        drill = Rise(first, self.between(300, 400), 5.0, self.between(77, 86))
        concrete = Rise(first, self.between(440, 560), 10.0, self.between(61, 66))
        if self._all_in(drill, night=False):
            self.sensor_thing(
                "site-noise", loud, "noise_db", "a pneumatic drill at work", drill, threshold=70.0
            )
        if self._all_in(concrete, night=True):
            self.sensor_thing(
                "night-work", loud, "noise_db", "concrete is poured at night", concrete,
                threshold=55.0,
            )  # fmt: skip
        for scenario, note, rise in (
            ("site-noise", "a lorry unloads for a minute", Rise(second, 50.0, 5.0, 76.0)),
            ("site-noise", "steady work, below the threshold", Rise(third, 300.0, 10.0, 68.0)),
            ("night-work", "a lorry unloads at night", Rise(second, 50.0, 5.0, 64.0)),
            ("night-work", "a generator hums at night, below the limit",
             Rise(third, 300.0, 10.0, 50.5)),
        ):  # fmt: skip
            if self._all_in(rise, night=scenario == "night-work"):
                self.sensor_near(scenario, other, "noise_db", note, rise)

    def _all_in(self, rise: Rise, *, night: bool) -> bool:
        """Whether a noise begins and ends by night, or by day."""
        hours = self.environment.local_hour([self.at(rise.start_s), self.at(rise.end_s)])
        at_night = (hours >= _NIGHT_BEGINS_H) | (hours < _NIGHT_ENDS_H)
        return bool((at_night == night).all())
