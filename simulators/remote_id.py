"""A ground receiver of remote identification: hears every aircraft over the district.

Aircraft broadcast their serial number, place and height once a second (GB 42590, ASTM F3411)
in the steps of that format: height 0.5 m, speed 0.25 m/s, vertical speed 0.5 m/s. The receiver
passes on all it hears of an aircraft that is in nobody's register, and every third message of a
registered one.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from core.topics import remote_id_topic
from core.units import NS_PER_MS, NS_PER_S, ns_to_rfc3339
from simulators.flights import Flight, FlightState
from simulators.messages import ScheduledMessage, digest, share_of, to_json, whole_ms

RECEIVER_ID = "rid-rx-01"

#: One-sigma errors of the broadcast place and height, cut at three sigma.
POSITION_SIGMA_M, HEIGHT_SIGMA_M = 0.8, 0.08
#: Ground above the ellipsoid where an unregistered aircraft took off.
GROUND_WGS84_M = 24.0

_REGISTERED_EVERY = 3


class Heard(NamedTuple):
    """What the receiver makes of one broadcast."""

    thing_id: str
    observed_ns: int
    payload: bytes


def heard(
    flight: Flight,
    state: FlightState,
    instant_ns: int,
    *,
    registered: bool,
    sequence: int,
    error_m: tuple[float, float, float],
) -> Heard:
    """One broadcast as plain JSON.

    Args:
        flight: Whose.
        state: Where the aircraft truly is.
        instant_ns: When.
        registered: A registered one says its height above take-off, the other above ground.
        sequence: Counter of its broadcasts.
        error_m: Error of the place, east, north and up.
    """
    up_m = math.floor((state.elevation_m + error_m[2]) * 2.0) / 2.0
    observed_ns = whole_ms(instant_ns)
    measures: dict[str, float] = {
        "alt_takeoff_m" if registered else "alt_agl_m": max(0.0, up_m),
        "speed_mps": round(state.speed_mps * 4.0) / 4.0,
        "vertical_speed_mps": round(state.vertical_speed_mps * 2.0) / 2.0,
        "heading_deg": round(state.heading_deg % 360.0) % 360,
    }
    if not registered:
        measures["alt_wgs84_m"] = max(0.0, up_m) + GROUND_WGS84_M
    body = {
        "thing": flight.aircraft_sn,
        "kind": "aircraft",
        "time": ns_to_rfc3339(observed_ns),
        "seq": sequence,
        "lon": round(state.lon_deg + error_m[0] / flight.frame.east_m_per_deg, 7),
        "lat": round(state.lat_deg + error_m[1] / flight.frame.north_m_per_deg, 7),
        "error_m": 3.0,
        "measures": measures,
        "labels": {"receiver": RECEIVER_ID},
    }
    return Heard(flight.aircraft_sn, observed_ns, to_json(body))


def _flight_messages(
    city: str, flight: Flight, *, seed: int, registered: bool
) -> Iterator[ScheduledMessage]:
    begin_ns, end_ns = flight.airborne_ns
    step = NS_PER_S * (_REGISTERED_EVERY if registered else 1)
    # A visitor is heard at once when it lifts off; that is where it is first heard.
    first = begin_ns + NS_PER_MS * (
        1 + int(999 * share_of(seed, "rid", flight.aircraft_sn)) if registered else 1
    )
    times = range(first, end_ns, step)
    rng = np.random.default_rng(digest(seed, "rid", flight.aircraft_sn, begin_ns))
    sigma = (POSITION_SIGMA_M, POSITION_SIGMA_M, HEIGHT_SIGMA_M)
    errors = np.clip(rng.standard_normal((len(times), 3)), -3.0, 3.0) * sigma
    topic = remote_id_topic(city, RECEIVER_ID)
    for number, (now_ns, error) in enumerate(zip(times, errors.tolist(), strict=True), start=1):
        state = flight.at(now_ns)
        if state is None or flight.is_lost(now_ns):
            continue
        one = heard(
            flight,
            state,
            now_ns,
            registered=registered,
            sequence=number,
            error_m=(error[0], error[1], error[2]),
        )
        # The receiver needs a moment to decode.
        yield ScheduledMessage(
            now_ns + 60 * NS_PER_MS, topic, one.payload, 1, one.thing_id, one.observed_ns
        )


def remote_id_messages(
    city: str,
    blocks: Iterable[tuple[Flight, ...]],
    *,
    seed: int,
    registered: frozenset[str],
) -> Iterator[ScheduledMessage]:
    """All that the receiver passes on, in time order.

    Args:
        city: The city's name.
        blocks: The flights of each block.
        seed: Of the world.
        registered: Serial numbers that are in the register.
    """
    for flights in blocks:
        yield from heapq.merge(
            *(
                _flight_messages(
                    city, flight, seed=seed, registered=flight.aircraft_sn in registered
                )
                for flight in flights
            ),
            key=lambda message: message.at_ns,
        )
