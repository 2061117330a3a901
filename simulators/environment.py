"""What all devices of a simulated city share: weather, tide, and what people do when.

Every channel is a pure function of time, for arrays. Sensors, cameras and aircraft read the same
ones, so one storm wets them all alike.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.units import NS_PER_S
from simulators.messages import share_of

_HOUR_NS, _DAY_S = 3600 * NS_PER_S, 86400
_CHINA_S = 8 * 3600

#: Partial tides off Qingdao: name, period in hours, amplitude in metres (rounded from the
#: harmonic constants of the Dagang gauge, a semidiurnal tide of about 2.8 m mean range).
_TIDES = (("M2", 12.4206, 1.25), ("S2", 12.0, 0.38), ("K1", 23.9345, 0.26), ("O1", 25.8193, 0.22))

#: Shares of the daily maximum by local hour, 24 nodes.
_HOURS: dict[str, tuple[float, ...]] = {
    "traffic": (.08, .05, .04, .04, .06, .15, .4, .85, 1., .8, .65, .6, .6, .6, .62, .65, .75, .95,
                1., .75, .5, .4, .28, .15),
    "people": (.04, .02, .02, .02, .03, .1, .3, .6, .7, .6, .6, .65, .8, .7, .6, .6, .65, .85, 1.,
               .9, .75, .5, .25, .1),
    "works": (0., 0., 0., 0., 0., 0., .2, .9, 1., 1., 1., .8, .4, .9, 1., 1., 1., .9, .5, .1, 0.,
              0., 0., 0.),
    "shops": (0., 0., 0., 0., 0., .05, .3, .5, .7, 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., .8,
              .4, .1, 0.),
    "water_demand": (.12, .08, .06, .06, .1, .3, .8, 1., .8, .6, .5, .6, .65, .5, .4, .4, .5, .75,
                     1., .95, .8, .6, .4, .2),
}  # fmt: skip

#: Channels that follow people rest on Saturdays and Sundays to this share.
_WEEKEND = {"traffic": 0.75, "works": 0.45, "people": 1.05}


class Storm(NamedTuple):
    """Rain that rises quickly and falls slowly; the peak in mm/h."""

    start_ns: int
    duration_s: float
    peak_mm_h: float

    def rain_mm_h(self, instants_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Its rain, shape of the instants."""
        share = (instants_ns - self.start_ns) / NS_PER_S / self.duration_s
        inside = (share > 0) & (share < 1)
        x = np.clip(share, 0.0, 1.0)
        # x (1 - x)^2 has its maximum 4/27 at a third of the time.
        return np.where(inside, self.peak_mm_h * 6.75 * x * (1 - x) ** 2, 0.0)


class Environment:
    """Weather, tide and habits of a simulated city.

    Args:
        seed: Of the world.
        epoch_ns: Its beginning.

    Example:
        >>> world = Environment(7, 1_750_000_000 * NS_PER_S)
        >>> float(world.channel("traffic", world.local_ns(hour=8))) > 0.7
        True
    """

    #: One storm falls into each span of this length.
    STORM_EVERY_S = 10 * 3600

    def __init__(self, seed: int, epoch_ns: int) -> None:
        self.seed = seed
        self.epoch_ns = epoch_ns
        self._phases = {name: share_of(seed, "tide", name) for name, _, _ in _TIDES}
        day = (epoch_ns // NS_PER_S + _CHINA_S) // _DAY_S % 365.2425
        #: Mean of the season: Qingdao has about -1 °C in January and 25 °C in August.
        self._season_c = 12.5 - 13.0 * math.cos(2 * math.pi * (day - 25) / 365.2425)
        self._weather_c = 6.0 * share_of(seed, "warmth") - 3.0

    def local_ns(self, *, hour: float) -> int:
        """The first instant from the epoch on with this local hour."""
        local_s = (self.epoch_ns // NS_PER_S + _CHINA_S) % _DAY_S
        return self.epoch_ns + round((hour * 3600 - local_s) % _DAY_S) * NS_PER_S

    def local_hour(self, instants_ns: ArrayLike) -> NDArray[np.float64]:
        """Hour of the local day, 0 to 24."""
        seconds = np.asarray(instants_ns) // NS_PER_S + _CHINA_S
        return np.asarray(seconds % _DAY_S / 3600.0)

    def storms(self, start_ns: int, end_ns: int) -> list[Storm]:
        """The storms that touch [start, end)."""
        span_ns = self.STORM_EVERY_S * NS_PER_S
        first = max(0, (start_ns - self.epoch_ns) // span_ns - 1)
        last = max(0, (end_ns - self.epoch_ns) // span_ns)
        found = [self.storm(number) for number in range(first, last + 1)]
        return [
            one
            for one in found
            if one.start_ns < end_ns and one.start_ns + one.duration_s * NS_PER_S > start_ns
        ]

    def storm(self, number: int) -> Storm:
        """The storm of a span, by its number from 0."""
        draws = [share_of(self.seed, "storm", number, word) for word in ("at", "long", "peak")]
        start_s = self.STORM_EVERY_S * (number + 0.15 + 0.35 * draws[0])
        return Storm(
            self.epoch_ns + round(start_s) * NS_PER_S, 5400 + 5400 * draws[1], 18 + 30 * draws[2]
        )

    def channel(self, name: str, instants_ns: ArrayLike) -> NDArray[np.float64]:
        """A channel at instants, of their shape.

        Args:
            name: ``rain_mm_h``, ``tide_m``, ``temperature_c``, ``humidity_ratio``,
                ``wind_mps``, ``pressure_hpa``, ``daylight`` (0 to 1), or a habit: ``traffic``,
                ``people``, ``works``, ``shops``, ``water_demand``, each as a share of its
                daily maximum.
            instants_ns: When.

        Raises:
            KeyError: There is no such channel.
        """
        t = np.asarray(instants_ns, np.int64)
        if name in _HOURS:
            return self._habit(name, t)
        if name == "rain_mm_h":
            return self._rain(t)
        if name == "tide_m":
            hours = (t - self.epoch_ns) / _HOUR_NS
            parts = [
                height * np.cos(2 * np.pi * (hours / period + self._phases[tide]))
                for tide, period, height in _TIDES
            ]
            return np.asarray(np.sum(parts, axis=0))
        hour = self.local_hour(t)
        if name == "daylight":
            return np.clip(0.5 + 1.2 * np.cos(2 * np.pi * (hour - 12.5) / 24), 0.0, 1.0)
        warm = np.cos(2 * np.pi * (hour - 14.5) / 24)
        rain = np.minimum(self._rain(t) / 20.0, 1.0)
        if name == "temperature_c":
            return np.asarray(self._season_c + self._weather_c + 3.5 * warm - 2.5 * rain)
        if name == "humidity_ratio":
            return np.clip(0.66 - 0.12 * warm + 0.28 * rain, 0.1, 1.0)
        if name == "wind_mps":
            return np.asarray(3.2 + 1.1 * warm + 3.0 * rain)
        if name == "pressure_hpa":
            return np.asarray(1016.0 - 3.0 * rain + 0.8 * np.cos(4 * np.pi * (hour - 10) / 24))
        raise KeyError(name)

    def _habit(self, name: str, t: NDArray[np.int64]) -> NDArray[np.float64]:
        hour = self.local_hour(t)
        nodes = np.array([*_HOURS[name], _HOURS[name][0]])
        level = np.interp(hour, np.arange(25.0), nodes)
        weekday = ((t // NS_PER_S + _CHINA_S) // _DAY_S + 4) % 7  # 1970-01-01 was a Thursday
        rest = np.where((weekday == 0) | (weekday == 6), _WEEKEND.get(name, 1.0), 1.0)
        if name in {"traffic", "people"}:
            # On evenings with something on at the square there is more of both.
            rest = rest * np.where((hour > 18.5) & (hour < 21.5), 1.0 + 0.25 * self._event(t), 1.0)
        return np.asarray(level * rest)

    def _event(self, t: NDArray[np.int64]) -> NDArray[np.float64]:
        day = (t // NS_PER_S + _CHINA_S) // _DAY_S
        days, where = np.unique(day, return_inverse=True)
        on = np.array([share_of(self.seed, "event", int(one)) < 0.5 for one in days], np.float64)
        return on[where].reshape(t.shape)

    def _rain(self, t: NDArray[np.int64]) -> NDArray[np.float64]:
        total = np.zeros(t.shape)
        if t.size:
            for storm in self.storms(int(t.min()), int(t.max()) + 1):
                total = total + storm.rain_mm_h(t)
        return total
