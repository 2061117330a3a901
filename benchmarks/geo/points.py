"""Points to zones: a million at once, micro-batches, and growth with the number of zones."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import shapely

from benchmarks.geo.joins import (
    DuckdbJoin,
    GeoPandasJoin,
    Ints,
    Join,
    PostgisJoin,
    SedonaJoin,
    UnavailableError,
)
from benchmarks.geo.made import SIDE_M, Floats, Shapes, zones
from benchmarks.harness import Figure, against, at_most, median_seconds
from geo.cells import CellTable, find_by_numba
from geo.table_cache import TableCache

Asked = Callable[[Floats, Floats], Ints]

#: How many times faster than each peer.
_GOALS: dict[type[Any], float] = {
    GeoPandasJoin: 50.0,
    SedonaJoin: 25.0,
    DuckdbJoin: 40.0,
    PostgisJoin: 350.0,
}

_BATCH_GOALS = ((1, 7.0), (100, 40.0), (512, 60.0))
_BATCH_ROUNDS = 5
_MOST_CALL_US = 2.0
_MOST_EXPONENT = 0.25


def bench_joins(
    rounds: int,
    points: int,
    count: int,
    postgis: psycopg.Connection[Any] | None,
    rng: np.random.Generator,
    notes: list[str],
) -> tuple[list[Figure], int]:
    """All points at once against every peer that is here; wrong answers are counted."""
    shapes = zones(count, rng)
    x, y = rng.uniform(0, SIDE_M, (2, points))
    table = CellTable(shapes)
    peers: list[Join] = [GeoPandasJoin(x, y, shapes)]
    for kind in (SedonaJoin, DuckdbJoin):
        try:
            peers.append(kind(x, y, shapes))
        except UnavailableError as reason:
            notes.append(f"skipped: {reason}")
    if postgis is not None:
        peers.append(PostgisJoin(postgis, x, y, shapes))
    answers: list[Ints] = []

    def ours() -> None:
        answers[:] = [table.first(x, y)]

    wrong = 0
    kernel = table.find
    if kernel is not find_by_numba:
        by_c = table.first(x, y)
        table.find = find_by_numba
        wrong += int((table.first(x, y) != by_c).sum())
        (numba_s,) = median_seconds(rounds, ours)
        table.find = kernel
    our_s, *their_s = median_seconds(rounds, ours, *(peer.run for peer in peers))
    label = f"{points:,} points, {count:,} zones"
    figures = [
        against(label, points, our_s, peer.name, seconds, _GOALS[type(peer)])
        for peer, seconds in zip(peers, their_s, strict=True)
    ]
    if kernel is find_by_numba:
        figures.append(Figure("  numba", points / our_s, "1/s"))
    else:
        figures.append(Figure("  C kernel", points / our_s, "1/s"))
        figures.append(Figure("  numba alone", points / numba_s, "1/s"))
    wrong += sum(int((answers[0] != peer.answer()).sum()) for peer in peers)
    return figures, wrong


def by_tree(tree: shapely.STRtree) -> Asked:
    """Points to zones by the tree's own predicate."""

    def asked(x: Floats, y: Floats) -> Ints:
        rows, features = tree.query(shapely.points(x, y), predicate="within")
        found = np.full(len(x), -1, dtype=np.int64)
        found[rows] = features
        return found

    return asked


def by_boxes(tree: shapely.STRtree, shapes: Shapes) -> Asked:
    """Points to zones by boxes, then by prepared zones."""

    def asked(x: Floats, y: Floats) -> Ints:
        rows, features = tree.query(shapely.points(x, y))
        within = shapely.contains_xy(shapes[features], x[rows], y[rows])
        found = np.full(len(x), -1, dtype=np.int64)
        found[rows[within]] = features[within]
        return found

    return asked


def bench_batches(
    rounds: int, batches: int, count: int, rng: np.random.Generator
) -> tuple[list[Figure], int]:
    """One call for each batch of fresh points, against the best of shapely's ways."""
    shapes = zones(count, rng)
    table = CellTable(shapes)
    tree = shapely.STRtree(shapes)
    shapely.prepare(shapes)
    peers = {
        "STRtree within": by_tree(tree),
        "boxes + contains_xy": by_boxes(tree, shapes),
    }
    figures, wrong = [], 0
    for size, goal in _BATCH_GOALS:
        # As many calls of one as a clock can time.
        number = batches * 2 if size == 1 else batches // _BATCH_ROUNDS
        x, y = rng.uniform(0, SIDE_M, (2, number, size))
        answers: dict[str, list[Ints]] = {}

        def work(
            name: str, asked: Asked, x: Floats, y: Floats, answers: dict[str, list[Ints]]
        ) -> Callable[[], None]:
            cut = list(zip(x, y, strict=True))

            def run() -> None:
                answers[name] = [asked(*batch) for batch in cut]

            return run

        asked = {"ours": table.first, **peers}
        works = [work(name, one, x, y, answers) for name, one in asked.items()]
        # Short rounds, many of them: what else the machine does falls into some of them only.
        seconds = median_seconds(_BATCH_ROUNDS * rounds, *works)
        ours = np.concatenate(answers["ours"])
        wrong += sum(int((ours != np.concatenate(answers[name])).sum()) for name in peers)
        peer_s, peer = min(zip(seconds[1:], peers, strict=True))
        figures.append(against(f"batches of {size}", number * size, seconds[0], peer, peer_s, goal))
        if size == 1:
            figures.append(
                at_most("  one call of one", seconds[0] / number * 1e6, "us", _MOST_CALL_US)
            )
    return figures, wrong


def bench_growth(
    rounds: int, points: int, counts: tuple[int, ...], rng: np.random.Generator
) -> tuple[list[Figure], int]:
    """Cost against the number of zones; building, keeping and loading the largest index."""
    x, y = rng.uniform(0, SIDE_M, (2, points))
    tables, figures, wrong = [], [], 0
    build_s = 0.0
    for count in counts:
        shapes = zones(count, rng)
        began = time.perf_counter()
        table = CellTable(shapes)
        build_s = time.perf_counter() - began
        some = slice(0, points // 10)
        wanted = by_tree(shapely.STRtree(shapes))(x[some], y[some])
        wrong += int((table.first(x[some], y[some]) != wanted).sum())
        tables.append(table)
    seconds = median_seconds(rounds, *(lambda one=one: one.first(x, y) for one in tables))
    for count, taken in zip(counts, seconds, strict=True):
        figures.append(Figure(f"  {count:,} zones", points / taken, "1/s"))
    exponent = math.log(seconds[-1] / seconds[0]) / math.log(counts[-1] / counts[0])
    largest = tables[-1]
    with tempfile.TemporaryDirectory(prefix="bench-geo-") as folder:
        cache = TableCache(Path(folder))
        cache.get(CellTable, counts, lambda: largest)

        def load() -> None:
            cache.get(CellTable, counts, lambda: largest)

        (load_s,) = median_seconds(rounds, load)
        again = cache.get(CellTable, counts, lambda: largest)
        wrong += int((again.first(x, y) != largest.first(x, y)).sum()) + cache.misses - 1
    label = f"growth {counts[0]:,} to {counts[-1]:,} zones"
    return [
        at_most(f"{label}, cost exponent", exponent, "", _MOST_EXPONENT),
        *figures,
        at_most("  index built", build_s, "s", 20.0),
        at_most("  index size", largest.nbytes / 1e6, "MB", 1000.0),
        at_most("  index loaded from its file", load_s, "s", 1.0),
    ], wrong
