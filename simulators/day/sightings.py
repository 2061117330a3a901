"""Sightings: what vision would say of a thing before a camera, as the messages it publishes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec
import numpy as np

from core.topics import detection_topic
from core.units import ns_to_rfc3339, seconds_to_ns
from simulators.environment import Environment
from simulators.messages import ScheduledMessage, digest, to_json, whole_ms

#: A camera tells what it saw this long after the frame.
LATENCY_S = 0.25

#: One in so many tellings is missed in fair weather; rain and night make it more.
MISSED_RATIO = 0.04


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """One telling of a thing: when, its measures, and where it is then if it moves."""

    at_ns: int
    measures: dict[str, float]
    labels: dict[str, str] = {}
    lon_deg: float | None = None
    lat_deg: float | None = None
    sure: bool = False


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """A thing before a camera, as often as it is told.

    ``sigma_m`` are the semi axes of the one-sigma error ellipse, the first along ``azimuth_deg``
    (the line of sight). The error is one for a camera and a place, with a little jitter: a camera
    that is off is off in the same way a minute later. ``sure`` tellings are never missed (the
    camera or the aircraft was sent to look).
    """

    camera_id: str
    thing_id: str
    kind: str
    lon_deg: float
    lat_deg: float
    tellings: tuple[Telling, ...]
    sigma_m: tuple[float, float] = (0.9, 0.35)
    azimuth_deg: float = 0.0


class Effigy:
    """Makes the messages of sightings.

    Args:
        city: Name of the city, for topics.
        seed: Of the world.
        environment: Rain and night make cameras see worse.
        metres_per_deg: East and north.
    """

    def __init__(
        self,
        city: str,
        *,
        seed: int,
        environment: Environment,
        metres_per_deg: tuple[float, float],
    ) -> None:
        self._city = city
        self._seed = seed
        self._environment = environment
        self._metres = metres_per_deg

    def messages(self, one: Sighting) -> Iterator[ScheduledMessage]:
        """What is published of a sighting, in time order."""
        rng = np.random.default_rng(digest(self._seed, "sighting", one.thing_id, one.kind))
        times = np.array([telling.at_ns for telling in one.tellings], np.int64)
        rain = np.minimum(self._environment.channel("rain_mm_h", times) / 25.0, 1.0)
        dark = 1.0 - self._environment.channel("daylight", times)
        worse = 1.0 + 1.2 * rain + 0.6 * dark
        # What a camera is off by at a place is a matter of its calibration: the same for whatever
        # stands there, under whatever number.
        spot = (round(one.lon_deg, 5), round(one.lat_deg, 5))
        off = np.random.default_rng(digest(self._seed, "calibration", one.camera_id, *spot))
        bias = np.clip(off.standard_normal(2), -2.2, 2.2)
        jitter = np.clip(rng.standard_normal((len(times), 2)), -2.5, 2.5) * 0.15
        missed = rng.random(len(times)) < MISSED_RATIO * worse
        for number, telling in enumerate(one.tellings):
            if missed[number] and not telling.sure:
                continue
            scale = float(worse[number])
            major, minor = one.sigma_m[0] * scale, one.sigma_m[1] * scale
            ahead, aside = ((bias + jitter[number]) * (major, minor)).tolist()
            yield self._message(one, telling, (ahead, aside), (major, minor))

    def _message(
        self,
        one: Sighting,
        telling: Telling,
        error_m: tuple[float, float],
        sigma_m: tuple[float, float],
    ) -> ScheduledMessage:
        turn = math.radians(one.azimuth_deg)
        east = error_m[0] * math.sin(turn) + error_m[1] * math.cos(turn)
        north = error_m[0] * math.cos(turn) - error_m[1] * math.sin(turn)
        lon = one.lon_deg if telling.lon_deg is None else telling.lon_deg
        lat = one.lat_deg if telling.lat_deg is None else telling.lat_deg
        observed_ns = whole_ms(telling.at_ns)
        body = {
            "thing": one.thing_id,
            "kind": one.kind,
            "time": ns_to_rfc3339(observed_ns),
            "lon": round(lon + east / self._metres[0], 7),
            "lat": round(lat + north / self._metres[1], 7),
            "error": {
                "major_m": round(sigma_m[0], 2),
                "minor_m": round(sigma_m[1], 2),
                "azimuth_deg": round(one.azimuth_deg % 180.0, 1),
            },
            "measures": telling.measures,
            "labels": {"camera_id": one.camera_id, **telling.labels},
        }
        return ScheduledMessage(
            observed_ns + seconds_to_ns(LATENCY_S),
            detection_topic(self._city, one.camera_id),
            to_json(body),
            1,
            one.thing_id,
            observed_ns,
        )


def every(start_ns: int, end_ns: int, first_s: float, step_s: float) -> Iterator[tuple[int, float]]:
    """Instants of tellings and the seconds since the start.

    Example:
        >>> [seconds for _, seconds in every(0, 70_000_000_000, 20.0, 30.0)]
        [20.0, 50.0]
    """
    seconds = first_s
    while start_ns + seconds_to_ns(seconds) < end_ns:
        yield start_ns + seconds_to_ns(seconds), seconds
        seconds += step_s
