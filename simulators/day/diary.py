"""The diary of a day: what happens when and where, and what each sensor and camera has of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from core.exclusions import Exclusion
from core.units import NS_PER_S, seconds_to_ns
from geo.city import City
from simulators.day.sightings import Sighting
from simulators.devices.group import Away
from simulators.environment import Environment
from simulators.messages import digest, whole_ms
from simulators.places import Places
from simulators.truth import Thing
from simulators.truth_notes import TruthNotes

#: Nothing begins in the first and last minutes: rules need to see a thing through.
QUIET_START_S, QUIET_END_S = 900, 1200
#: The same sensor or camera is left alone for so long between two scenes: longer than any
#: correlation or re-open window of the shipped scenarios.
REST_S = 3600


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A signal's way away from rest and back: 0 to 1 of its peak at instants, linear between.

    Stands beside :class:`simulators.sensors.Excursion`, which is a trapezoid.
    """

    instants_ns: tuple[int, ...]
    shares: tuple[float, ...]
    peak: float

    @property
    def start_ns(self) -> int:
        """When it leaves."""
        return self.instants_ns[0]

    @property
    def end_ns(self) -> int:
        """When it is back."""
        return self.instants_ns[-1]

    def shape(self, instants_ns: np.ndarray) -> np.ndarray:
        """0 at rest to 1 at the peak, shape of the instants."""
        since = (np.asarray(instants_ns) - self.start_ns) / NS_PER_S
        known = (np.array(self.instants_ns) - self.start_ns) / NS_PER_S
        return np.interp(since, known, self.shares, left=0.0, right=0.0)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A citizen's report of a thing."""

    report_id: str
    scenario: str
    at_ns: int
    lon_deg: float
    lat_deg: float
    text: str


class Diary(TruthNotes):
    """Collects the scenes of a day; all chance comes from the seed.

    What a city has no place for is left out by those who write in it.

    Args:
        city: With the devices and cameras of a whole city.
        seed: Of the world.
        start_ns: Begin of the day, its epoch.
        hours: How long it is.
        environment: Weather and habits.
    """

    def __init__(
        self, city: City, *, seed: int, start_ns: int, hours: float, environment: Environment
    ) -> None:
        super().__init__()
        self.city = city
        self.places = Places(city)
        self.seed = seed
        self.start_ns = start_ns
        self.end_ns = start_ns + seconds_to_ns(hours * 3600)
        self.environment = environment
        self.rng = np.random.default_rng(digest(seed, "day"))
        self.excursions: dict[str, dict[str, list[Away]]] = {}
        self.sightings: list[Sighting] = []
        self.reports: list[Report] = []
        self.exclusions: list[Exclusion] = []
        self._booked: dict[str, list[tuple[int, int]]] = {}
        self._numbers: dict[str, int] = {}

    # -- chance -------------------------------------------------------------------------------

    def between(self, low: float, high: float) -> float:
        """A number drawn from a range, to a thousandth."""
        return round(float(self.rng.uniform(low, high)), 3)

    def shuffled(self, items: Sequence[str]) -> list[str]:
        """Names in a drawn order."""
        return [items[number] for number in self.rng.permutation(len(items)).tolist()]

    def next_number(self, camera_id: str) -> int:
        """The number that a camera gives to the next thing it tracks."""
        self._numbers[camera_id] = self._numbers.get(camera_id, 0) + 1
        return self._numbers[camera_id]

    # -- time ---------------------------------------------------------------------------------

    def book(
        self,
        key: str,
        lasts_s: float,
        *,
        hours: tuple[float, float] | None = None,
        rest_s: float = REST_S,
        after_s: float = QUIET_START_S,
    ) -> int | None:
        """Draw an instant at which something can last so long at a sensor or camera; None if full.

        Args:
            key: Of the sensor or camera.
            lasts_s: How long.
            hours: Local hours within which it begins and ends; may run past midnight.
            rest_s: Quiet before and after.
            after_s: Not before so long after the begin of the day.
        """
        last_ns = self.end_ns - seconds_to_ns(lasts_s + QUIET_END_S)
        first_ns = self.start_ns + seconds_to_ns(after_s)
        if last_ns <= first_ns:
            return None
        for _ in range(80):
            at_ns = whole_ms(int(self.rng.integers(first_ns, last_ns)))
            until_ns = at_ns + seconds_to_ns(lasts_s)
            if hours is not None and not (
                self._within(at_ns, hours) and self._within(until_ns, hours)
            ):
                continue
            if self.book_at(key, at_ns, lasts_s, rest_s=rest_s):
                return at_ns
        return None

    def book_at(self, key: str, at_ns: int, lasts_s: float, *, rest_s: float = REST_S) -> bool:
        """Book a given instant; False where something else is too near."""
        taken = self._booked.setdefault(key, [])
        until_ns, rest_ns = at_ns + seconds_to_ns(lasts_s), seconds_to_ns(rest_s)
        if any(at_ns <= end + rest_ns and until_ns >= begin - rest_ns for begin, end in taken):
            return False
        taken.append((at_ns, until_ns))
        return True

    def _within(self, at_ns: int, hours: tuple[float, float]) -> bool:
        hour = float(self.environment.local_hour(at_ns))
        low, high = hours
        return low <= hour < high if low <= high else hour >= low or hour < high

    # -- truth --------------------------------------------------------------------------------

    def truth_id(self, kind: str) -> str:
        """The id of the next thing or near miss."""
        number = len(self.things) + len(self.near)
        return f"{digest(self.seed, 'day truth', self.start_ns, kind, number):032x}"

    def report(self, thing: Thing, text: str) -> None:
        """A passer-by reports a thing some minutes after it began, from a few metres away."""
        late_s = min(self.between(60, 500), (thing.ended_ns - thing.began_ns) / NS_PER_S * 0.8)
        away_m = min(12.0, abs(float(self.rng.normal(0.0, 5.0))))
        angle = self.between(0.0, 2 * math.pi)
        frame = self.places.frame
        self.reports.append(
            Report(
                report_id=f"{digest(self.seed, 'report', len(self.reports)):016x}"[:16],
                scenario=thing.scenario,
                at_ns=whole_ms(thing.began_ns + seconds_to_ns(late_s)),
                lon_deg=round(thing.lon_deg + away_m * math.sin(angle) / frame.east_m_per_deg, 7),
                lat_deg=round(thing.lat_deg + away_m * math.cos(angle) / frame.north_m_per_deg, 7),
                text=text,
            )
        )

    def excursion(self, thing_id: str, measure: str, one: Away) -> None:
        """Let a measure of a device go somewhere."""
        self.excursions.setdefault(thing_id, {}).setdefault(measure, []).append(one)
