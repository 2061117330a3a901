"""The map index against its peers: every answer compared, in turns, median.

Run as ``python -m benchmarks.bench_geo``; ``--quick`` takes smaller numbers, for CI. Ends with
status 1 where an answer differs, and with ``--strict`` also where a goal is not met. A peer
that is not installed is left out, and the table says so.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from dataclasses import dataclass

import numba
import numpy as np

from benchmarks.geo.city import bench_city
from benchmarks.geo.fences import bench_fences
from benchmarks.geo.joins import UnavailableError, postgis
from benchmarks.geo.made import roads, volumes, zones
from benchmarks.geo.nearest import bench_roads
from benchmarks.geo.points import bench_batches, bench_growth, bench_joins
from benchmarks.geo.volumes import bench_volumes
from benchmarks.harness import Figure, at_most, publish
from core.settings import load_settings
from geo import native
from geo.cells import CellTable, NearestTable, VolumeTable


@dataclass(frozen=True)
class Sizes:
    """How much to run."""

    rounds: int
    zones: int
    points: int
    batches: int
    growth: tuple[int, ...]
    segments: int
    road_points: int
    volumes: int
    fences: int
    things: int
    city: float


FULL = Sizes(
    rounds=5,
    zones=10_000,
    points=1_000_000,
    batches=500,
    growth=(1_024, 10_000, 99_856),
    segments=100_000,
    road_points=200_000,
    volumes=2_000,
    fences=20_000,
    things=2_000,
    city=1.0,
)
QUICK = Sizes(
    rounds=3,
    zones=1_024,
    points=50_000,
    batches=60,
    growth=(256, 1_024, 4_096),
    segments=10_000,
    road_points=10_000,
    volumes=500,
    fences=2_000,
    things=500,
    city=0.05,
)


def warm_up() -> None:
    """Have every kernel compiled, or read from numba's cache, before anything is timed."""
    rng = np.random.default_rng(0)
    x = np.zeros(1)
    CellTable(zones(16, rng)).pairs(x, x)
    VolumeTable(*volumes(8, rng)).volumes(x, x, x[None])
    NearestTable(roads(100, rng, 1000.0), 50.0).nearest(x, x)


def main() -> int:
    """Run all and say whether every answer was right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="smaller numbers, for CI")
    parser.add_argument("--strict", action="store_true", help="fail where a goal is not met")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    native.allow(load_settings().geo_c)
    sizes = QUICK if options.quick else FULL
    warm_up()
    kernel = "numba only: no compiler, or turned off"
    if native.find_first() is not None:
        kernel = "C kernel for points to zones"
    notes = [f"ours: numba {numba.__version__}, {kernel}; one thread"]
    figures: list[Figure] = []
    wrong = 0

    def rng() -> np.random.Generator:
        return np.random.default_rng(options.seed)

    with ExitStack() as stack:
        server = None
        try:
            server = stack.enter_context(postgis())
        except UnavailableError as reason:
            notes.append(f"skipped: {reason}")
        rounds = sizes.rounds
        for more, bad in (
            bench_joins(rounds, sizes.points, sizes.zones, server, rng(), notes),
            bench_batches(rounds, sizes.batches, sizes.zones, rng()),
            bench_growth(rounds, sizes.points, sizes.growth, rng()),
            bench_volumes(rounds, sizes.points, sizes.volumes, rng()),
            bench_roads(rounds, sizes.road_points, sizes.segments, server, rng()),
            bench_city(rounds, sizes.city, rng()),
            bench_fences(rounds, sizes.fences, sizes.things, rng(), notes, build=not options.quick),
        ):
            figures += more
            wrong += bad
    figures.append(at_most("answers that differ", wrong, "", 0))
    publish("geo", figures, notes)
    missed = options.strict and any(one.met is False for one in figures)
    return 1 if wrong or missed else 0


if __name__ == "__main__":
    sys.exit(main())
