"""The map index against shapely and GeoPandas: every answer compared, in turns, median.

Run as ``python -m benchmarks.bench_geo``; ``--quick`` takes smaller numbers, for CI. Ends with
status 1 where an answer differs, and with ``--strict`` also where a goal is not met.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from benchmarks.harness import Figure, against, at_most, median_seconds, publish
from geo.cells import CellTable, NearestTable, VolumeTable

SIDE_M = 100_000.0
REACH_M = 50.0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Asked = Callable[[Floats, Floats], Ints]


@dataclass(frozen=True)
class Sizes:
    """How much to run."""

    rounds: int
    zones: int
    points: int
    batches: int
    segments: int
    road_points: int
    volumes: int


FULL = Sizes(5, 10_000, 1_000_000, 300, 100_000, 200_000, 2_000)
QUICK = Sizes(3, 1_024, 100_000, 60, 10_000, 20_000, 500)


def zones(count: int, rng: np.random.Generator) -> NDArray[np.object_]:
    """Irregular zones that cut a square of 100 km exactly: a shaken lattice, ragged borders.

    Each has 64 vertices; neighbours have the vertices of their border in common.
    """
    k = round(count**0.5)
    lattice = np.stack(np.meshgrid(np.arange(k + 1.0), np.arange(k + 1.0)), axis=-1)
    shake = rng.uniform(-0.2, 0.2, lattice.shape)
    shake[:, [0, -1], 0] = 0.0
    shake[[0, -1], :, 1] = 0.0
    corners = (lattice + shake) * (SIDE_M / k)
    across = _ragged(corners[:, :-1], corners[:, 1:], rng)
    up = _ragged(corners[:-1], corners[1:], rng)
    across[0, ..., 1] = up[:, 0, :, 0] = 0.0
    across[-1, ..., 1] = up[:, -1, :, 0] = SIDE_M
    rings = np.concatenate(
        [
            across[:-1, :, :-1],
            up[:, 1:, :-1],
            across[1:, :, :0:-1],
            up[:, :-1, ::-1],
        ],
        axis=2,
    )
    return np.asarray(shapely.polygons(rings.reshape(k * k, -1, 2)), dtype=object)


def _ragged(start: Floats, end: Floats, rng: np.random.Generator, levels: int = 4) -> Floats:
    """Lines whose middles are moved sideways again and again, shape (..., 2**levels + 1, 2)."""
    line = np.stack([start, end], axis=-2)
    for _ in range(levels):
        step = line[..., 1:, :] - line[..., :-1, :]
        aside = np.stack([-step[..., 1], step[..., 0]], axis=-1)
        middle = line[..., :-1, :] + step / 2
        middle += aside * rng.uniform(-0.1, 0.1, middle.shape[:-1])[..., None]
        finer = np.empty((*line.shape[:-2], line.shape[-2] * 2 - 1, 2))
        finer[..., ::2, :] = line
        finer[..., 1::2, :] = middle
        line = finer
    return line


def roads(count: int, rng: np.random.Generator, side_m: float) -> NDArray[np.object_]:
    """Roads of ten pieces of 40 m each."""
    number = count // 10
    heading = rng.uniform(0, 2 * np.pi, (number, 1)) + rng.normal(0, 0.3, (number, 10)).cumsum(1)
    steps = 40.0 * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    starts = rng.uniform(0, side_m, (number, 1, 2))
    lines = np.concatenate([starts, starts + steps.cumsum(axis=1)], axis=1)
    return np.asarray(shapely.linestrings(lines), dtype=object)


def volumes(count: int, rng: np.random.Generator) -> tuple[NDArray[np.object_], Floats, Floats]:
    """Overlapping volumes of 12 to 48 vertices and 0.3 to 5 km, with floors and ceilings."""
    shapes = []
    for _ in range(count):
        turns = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(12, 49))))
        away = 300.0 * (5000.0 / 300.0) ** rng.random() * rng.uniform(0.7, 1.0, len(turns))
        centre = rng.uniform(0, SIDE_M, 2)
        ring = centre + np.stack([away * np.cos(turns), away * np.sin(turns)], axis=-1)
        shapes.append(shapely.Polygon(ring))
    floors = rng.choice([0.0, 60.0, 120.0], count)
    return np.array(shapes, dtype=object), floors, floors + rng.uniform(30.0, 300.0, count)


def by_tree(tree: shapely.STRtree) -> Asked:
    """Points to zones by the tree's own predicate."""

    def asked(x: Floats, y: Floats) -> NDArray[np.int64]:
        rows, features = tree.query(shapely.points(x, y), predicate="within")
        found = np.full(len(x), -1, dtype=np.int64)
        found[rows] = features
        return found

    return asked


def by_boxes(tree: shapely.STRtree, shapes: NDArray[np.object_]) -> Asked:
    """Points to zones by boxes, then by prepared zones."""

    def asked(x: Floats, y: Floats) -> NDArray[np.int64]:
        rows, features = tree.query(shapely.points(x, y))
        within = shapely.contains_xy(shapes[features], x[rows], y[rows])
        found = np.full(len(x), -1, dtype=np.int64)
        found[rows[within]] = features[within]
        return found

    return asked


def bench_zones(sizes: Sizes, rng: np.random.Generator) -> tuple[list[Figure], int]:
    """One million points, and micro-batches."""
    shapes = zones(sizes.zones, rng)
    x, y = rng.uniform(0, SIDE_M, (2, sizes.points))
    began = time.perf_counter()
    table = CellTable(shapes)
    build_s = time.perf_counter() - began
    frame = gpd.GeoDataFrame(geometry=shapes)
    points = gpd.GeoDataFrame(geometry=gpd.points_from_xy(x, y))
    assert frame.sindex is not None
    answers: dict[str, NDArray[np.int64]] = {}

    def ours() -> None:
        answers["ours"] = table.first(x, y)

    def theirs() -> None:
        joined = gpd.sjoin(points, frame, how="left", predicate="within")
        answers["theirs"] = joined["index_right"].fillna(-1).to_numpy().astype(np.int64)

    our_s, their_s = median_seconds(sizes.rounds, ours, theirs)
    wrong = int((answers["ours"] != answers["theirs"]).sum())
    label = f"{sizes.points:,} points, {sizes.zones:,} zones"
    figures = [
        against(label, sizes.points, our_s, "geopandas.sjoin", their_s, 50.0),
        at_most("  table built", build_s, "s", 10.0),
        at_most("  table size", table.nbytes / 1e6, "MB", 1000.0),
    ]
    tree = shapely.STRtree(shapes)
    shapely.prepare(shapes)
    peers = {
        "STRtree within": by_tree(tree),
        "boxes + contains_xy": by_boxes(tree, shapes),
    }
    for size, goal in ((1, 7.0), (100, 40.0), (512, 60.0)):
        count = min(sizes.batches, len(x) // size)
        cut = (np.split(axis[: count * size], count) for axis in (x, y))
        batches = list(zip(*cut, strict=True))
        figure, bad = _micro_batches(sizes.rounds, size, batches, table.first, peers, goal)
        figures.append(figure)
        wrong += bad
    return figures, wrong


def _micro_batches(
    rounds: int,
    size: int,
    batches: list[tuple[Floats, Floats]],
    ours: Asked,
    peers: dict[str, Asked],
    goal: float,
) -> tuple[Figure, int]:
    """One call for each batch, against the best of the peers."""
    answers: dict[str, Ints] = {}

    def work(name: str, asked: Asked) -> Callable[[], None]:
        def run() -> None:
            answers[name] = np.concatenate([asked(*batch) for batch in batches])

        return run

    works = [work(name, asked) for name, asked in {"ours": ours, **peers}.items()]
    seconds = median_seconds(rounds, *works)
    wrong = sum(int((answers["ours"] != answers[name]).sum()) for name in peers)
    peer_s, peer = min(zip(seconds[1:], peers, strict=True))
    count = size * len(batches)
    return against(f"batches of {size}", count, seconds[0], peer, peer_s, goal), wrong


def bench_volumes(sizes: Sizes, rng: np.random.Generator) -> tuple[list[Figure], int]:
    """All volumes of each point in the air."""
    shapes, floors, ceilings = volumes(sizes.volumes, rng)
    x, y = rng.uniform(0, SIDE_M, (2, sizes.points))
    z = rng.uniform(0.0, 400.0, sizes.points)
    table = VolumeTable(shapes, floors, ceilings)
    tree = shapely.STRtree(shapes)
    shapely.prepare(shapes)
    answers: dict[str, tuple[Ints, Ints]] = {}

    def ours() -> None:
        answers["ours"] = table.volumes(x, y, z[None, :])[:2]

    def theirs() -> None:
        rows, features = tree.query(shapely.points(x, y))
        level = (z[rows] >= floors[features]) & (z[rows] <= ceilings[features])
        rows, features = rows[level], features[level]
        within = shapely.contains_xy(shapes[features], x[rows], y[rows])
        answers["theirs"] = rows[within], features[within]

    our_s, their_s = median_seconds(sizes.rounds, ours, theirs)
    rows, features = answers["theirs"]
    order = np.lexsort((features, rows))
    same = all(
        np.array_equal(mine, peers[order])
        for mine, peers in zip(answers["ours"], answers["theirs"], strict=True)
    )
    label = f"{sizes.points:,} points, {sizes.volumes:,} volumes"
    goal = 15.0
    peer = "boxes + heights + contains_xy"
    return [against(label, sizes.points, our_s, peer, their_s, goal)], 0 if same else 1


def bench_roads(sizes: Sizes, rng: np.random.Generator) -> tuple[list[Figure], int]:
    """The nearest road within 50 m, in the country and in town."""
    figures, wrong = [], 0
    for name, part in (("sparse", 1.0), ("dense", 0.2)):
        more, bad = _nearest_roads(sizes, rng, name, part)
        figures += more
        wrong += bad
    return figures, wrong


def _nearest_roads(
    sizes: Sizes, rng: np.random.Generator, name: str, part: float
) -> tuple[list[Figure], int]:
    side_m = SIDE_M * part * (sizes.segments / FULL.segments) ** 0.5
    lines = roads(sizes.segments, rng, side_m)
    x, y = rng.uniform(0, side_m, (2, sizes.road_points))
    table = NearestTable(lines, REACH_M)
    # One tree entry for each piece, as is best for the tree.
    ends = shapely.get_coordinates(lines).reshape(len(lines), -1, 2)
    pieces = np.stack([ends[:, :-1], ends[:, 1:]], axis=2).reshape(-1, 2, 2)
    tree = shapely.STRtree(shapely.linestrings(pieces))
    owners = np.repeat(np.arange(len(lines)), ends.shape[1] - 1)
    answers: dict[str, tuple[Ints, Floats]] = {}

    def ours() -> None:
        answers["ours"] = table.nearest(x, y)

    def theirs() -> None:
        (rows, found), away = tree.query_nearest(
            shapely.points(x, y), max_distance=REACH_M, return_distance=True, all_matches=True
        )
        nearest = np.full(len(x), -1, dtype=np.int64)
        distance = np.full(len(x), np.nan)
        order = np.lexsort((found, rows))[::-1]
        nearest[rows[order]] = owners[found[order]]
        distance[rows[order]] = away[order]
        answers["theirs"] = nearest, distance

    our_s, their_s = median_seconds(sizes.rounds, ours, theirs)
    (our_roads, our_m), (their_roads, their_m) = answers["ours"], answers["theirs"]
    same = (our_roads == their_roads) & ((our_m == their_m) | (np.isnan(our_m) & np.isnan(their_m)))
    label = f"nearest road, {sizes.segments:,} pieces, {name}"
    peer = "STRtree.query_nearest"
    figures = [
        against(label, sizes.road_points, our_s, peer, their_s, 30.0),
        at_most("  table size", table.nbytes / 1e6, "MB", 200.0),
    ]
    return figures, int((~same).sum())


def main() -> int:
    """Run all and say whether every answer was right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="smaller numbers, for CI")
    parser.add_argument("--strict", action="store_true", help="fail where a goal is not met")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    figures: list[Figure] = []
    wrong = 0
    for bench in (bench_zones, bench_volumes, bench_roads):
        more, bad = bench(sizes, np.random.default_rng(options.seed))
        figures += more
        wrong += bad
    figures.append(at_most("answers that differ", wrong, "", 0))
    publish("geo", figures)
    missed = options.strict and any(one.met is False for one in figures)
    return 1 if wrong or missed else 0


if __name__ == "__main__":
    sys.exit(main())
