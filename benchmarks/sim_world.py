"""The simulated city's speed: a city of 10,000 devices, 500 cameras and 200 aircraft.

The peer is the way such simulators are usually written: a loop over devices and time, a draw and
a ``json.dumps`` for each reading (plain JSON for all, one measure each, no environment).
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from benchmarks.harness import Figure, median_seconds
from core.units import NS_PER_S
from geo.city import load_city
from simulators.day.feed import day_messages, write_day
from simulators.devices.catalogue import CATALOGUE
from simulators.devices.fleet import Fleet
from simulators.environment import Environment

EPOCH_NS = 1_773_100_800 * NS_PER_S

#: What the world with 10,000 devices must reach on one core.
GOAL_TIMES_REAL = 20.0


def _naive(devices: list[tuple[str, str, int, float]], seconds: int) -> Iterator[bytes]:
    """Each device on its interval: a draw, a dictionary, a ``json.dumps``."""
    rng = random.Random(7)  # noqa: S311 (a simulator, no secret)
    for second in range(seconds):
        for number, (thing, kind, interval_s, base) in enumerate(devices):
            if (second + number) % interval_s == 0:
                at = datetime.fromtimestamp(EPOCH_NS // NS_PER_S + second, UTC)
                body = {
                    "thing": thing,
                    "kind": kind,
                    "time": at.isoformat(),
                    "measures": {"value": round(rng.gauss(base, 1.0), 3)},
                }
                yield json.dumps(body).encode()


def figures(*, quick: bool) -> list[Figure]:
    """Measure; ``quick`` takes a tenth of the time."""
    city = load_city("generated:city", seed=7)
    devices = [one for _, one in sorted(city.devices.items()) if one.kind in CATALOGUE]
    span_s = 120 if quick else 1200
    rounds = 1 if quick else 5
    count = 0

    def fleet() -> None:
        nonlocal count
        made = Fleet(
            city.name,
            devices,
            seed=7,
            environment=Environment(7, EPOCH_NS),
            bounds=city.bounds,
        )
        count = 0
        for begin_s in range(0, span_s, 600):
            end_s = min(begin_s + 600, span_s)
            count += len(made.slab(EPOCH_NS + begin_s * NS_PER_S, EPOCH_NS + end_s * NS_PER_S))

    rows = [(one.thing_id, one.kind, CATALOGUE[one.kind].interval_s, 1.0) for one in devices]
    naive_count = 0

    def naive() -> None:
        nonlocal naive_count
        naive_count = sum(1 for _ in _naive(rows, span_s))

    fleet_s, naive_s = median_seconds(rounds, fleet, naive)
    ours, theirs = count / fleet_s, naive_count / naive_s
    times = span_s / fleet_s
    result = [
        Figure(
            f"{len(devices):,} devices: city time per wall time", times, "x real time",
            GOAL_TIMES_REAL, times >= GOAL_TIMES_REAL,
        ),
        Figure(
            f"{len(devices):,} devices: messages", ours, "1/s", None, None,
            "a loop with json.dumps", theirs, ours / theirs,
        ),
    ]  # fmt: skip
    return result + _whole_city(span_s)


def _whole_city(span_s: int) -> list[Figure]:
    """Everything a city publishes: devices, cameras in effigy, docks, aircraft, reports."""
    city = load_city("generated:city", seed=7)
    began = time.perf_counter()
    day = write_day(city, seed=7, start_ns=EPOCH_NS)
    script_s = time.perf_counter() - began
    stream = day_messages(day)
    next(stream)  # sightings are made when the first message is asked for
    began = time.perf_counter()
    end_ns = EPOCH_NS + span_s * NS_PER_S
    count = sum(1 for _ in itertools.takewhile(lambda one: one.at_ns < end_ns, stream))
    feed_s = time.perf_counter() - began
    times = span_s / feed_s
    what = f"city of {len(city.devices):,} devices, {len(city.cameras)} cameras"
    return [
        Figure(
            f"{what}, {len(city.docks)} docks: city time per wall time", times, "x real time",
            GOAL_TIMES_REAL, times >= GOAL_TIMES_REAL,
        ),
        Figure(f"{what}: messages", count / feed_s, "1/s"),
        Figure(f"script of a day with {len(day.things)} things", script_s, "s"),
    ]  # fmt: skip
