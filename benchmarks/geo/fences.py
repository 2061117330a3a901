"""Moving things through many fences, against Tile38 and, transition by transition, shapely."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import shapely

from benchmarks.geo.joins import UnavailableError
from benchmarks.geo.made import Floats, Shapes
from benchmarks.geo.tile38 import Tile38, encode_sets, tile38
from benchmarks.harness import Figure, against, median_seconds
from core.observations import MAX_BATCH
from geo.fence_tracker import FenceTracker
from geo.fences import Fence, FenceSet, metres_per_degree

_GOAL = 10.0
_SIDE_M = 60_000.0
_SPEED_MPS = 15.0
_EAST, _NORTH = metres_per_degree(36.0)

#: Fence, thing, word, longitude, latitude.
Told = tuple[str, str, str, float, float]


def made_fences(count: int, rng: np.random.Generator) -> Shapes:
    """Ragged areas of 100 to 600 m, which overlap, in degrees."""
    corners = 16
    turns = np.sort(rng.uniform(0, 2 * np.pi, (count, corners)), axis=1)
    away = rng.uniform(100, 600, (count, 1)) * rng.uniform(0.6, 1.0, (count, corners))
    rings = np.stack([away * np.cos(turns), away * np.sin(turns)], axis=-1)
    rings += rng.uniform(0, _SIDE_M, (count, 1, 2))
    shapes = shapely.polygons(rings / [_EAST, _NORTH] + [120.0, 36.0])
    return np.asarray(shapely.make_valid(shapes), dtype=object)


def made_ways(things: int, steps: int, rng: np.random.Generator) -> Floats:
    """Things that wander, one position a second, shape (steps, things, 2), in degrees."""
    heading = rng.uniform(0, 2 * np.pi, things) + rng.normal(0, 0.15, (steps, things)).cumsum(0)
    moves = _SPEED_MPS * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    places = rng.uniform(0, _SIDE_M, (things, 2)) + moves.cumsum(axis=0)
    return np.asarray(places / [_EAST, _NORTH] + [120.0, 36.0], dtype=np.float64)


def by_shapely(shapes: Shapes, ways: Floats, names: list[str]) -> Counter[Told]:
    """Enters and exits by the tree's exact predicate, from one position to the next."""
    steps, things = ways.shape[:2]
    rows, fences = shapely.STRtree(shapes).query(
        shapely.points(ways.reshape(-1, 2)), predicate="within"
    )
    step, thing = np.divmod(rows, things)
    told: Counter[Told] = Counter()
    inside = (step * things + thing) * len(shapes) + fences
    here = set(inside.tolist())
    stride = things * len(shapes)
    for key in inside.tolist():
        for word, at, other in (("enter", key, key - stride), ("exit", key + stride, key)):
            row, fence = divmod(at, len(shapes))
            beyond = row >= steps * things
            if beyond or (other in here) == (word == "enter") or (word == "exit" and at in here):
                continue
            lon, lat = ways.reshape(-1, 2)[row].tolist()
            told[str(fence), names[row % things], word, lon, lat] += 1
    return told


def bench_fences(
    rounds: int,
    fences: int,
    things: int,
    rng: np.random.Generator,
    notes: list[str],
    *,
    build: bool,
) -> tuple[list[Figure], int]:
    """Updates a second in batches of a stream; each round follows the things further."""
    shapes = made_fences(fences, rng)
    seconds = max(MAX_BATCH * 40 // things, 10)
    ways = made_ways(things, seconds * (rounds + 1), rng)
    names = [f"thing-{number}" for number in range(things)]
    kept = [
        Fence(id=str(number), geometry=shape, hysteresis_m=0.0)
        for number, shape in enumerate(shapes)
    ]
    tracker = FenceTracker(FenceSet(kept), settle_s=0.0)
    found: list[Told] = []
    pieces = np.split(ways, rounds + 1)
    count = seconds * things
    works: list[Callable[[], None]] = [_our_work(tracker, pieces, names, found)]
    with ExitStack() as stack:
        peer: Tile38 | None = None
        try:
            named = {one.id: one.geometry for one in kept}
            peer = stack.enter_context(tile38(named, build=build))
            works.append(_their_work(peer, pieces, names))
        except UnavailableError as reason:
            notes.append(f"skipped: {reason}")
        taken = median_seconds(rounds, *works)
        label = f"fences: {fences:,}, {things:,} moving things"
        wanted = by_shapely(shapes, ways, names)
        wrong = _differing(Counter(found), wanted)
        if peer is None:
            return [Figure(label, count / taken[0], "1/s")], wrong
        peer.drain()
        wrong += _differing(Counter(peer.heard), wanted)
        notes.append(f"fences: {wanted.total():,} transitions, the same from each")
    return [against(label, count, taken[0], "Tile38", taken[1], _GOAL)], wrong


def _differing(one: Counter[Told], other: Counter[Told]) -> int:
    return ((one - other) + (other - one)).total()


def _our_work(
    tracker: FenceTracker, pieces: list[Floats], names: list[str], found: list[Told]
) -> Callable[[], None]:
    """Follows the next piece of the ways, in batches as a stream has them."""
    things = len(names)
    ahead: Iterator[tuple[int, Floats]] = iter(enumerate(pieces))
    all_names = names * len(pieces[0])

    def run() -> None:
        piece, ways = next(ahead)
        flat = ways.reshape(-1, 2)
        lon, lat = np.ascontiguousarray(flat.T)
        second = np.arange(len(flat)) // things + piece * len(ways)
        times = second * 1_000_000_000
        for start in range(0, len(flat), MAX_BATCH):
            part = slice(start, start + MAX_BATCH)
            for one in tracker.update(all_names[part], times[part], lon[part], lat[part]):
                told = (one.fence_id, one.thing_id, one.transition.value, one.lon_deg, one.lat_deg)
                found.append(told)

    return run


def _their_work(peer: Tile38, pieces: list[Floats], names: list[str]) -> Callable[[], None]:
    """Sends the next piece of the ways, encoded before, in one pipeline."""
    pipelines = []
    for ways in pieces:
        flat = ways.reshape(-1, 2)
        pipelines.append(encode_sets(names * len(ways), flat[:, 0].tolist(), flat[:, 1].tolist()))
    ahead = iter(pipelines)

    def run() -> None:
        peer.send(*next(ahead))

    return run
