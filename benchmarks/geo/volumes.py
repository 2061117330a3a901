"""All volumes of points in the air, which overlap and have floors and ceilings."""

from __future__ import annotations

import numpy as np
import shapely

from benchmarks.geo.joins import Ints
from benchmarks.geo.made import SIDE_M, volumes
from benchmarks.harness import Figure, against, median_seconds
from geo.cells import VolumeTable

_GOAL = 10.0


def bench_volumes(
    rounds: int, points: int, count: int, rng: np.random.Generator
) -> tuple[list[Figure], int]:
    """Against boxes, then heights, then prepared areas, which is shapely's best way."""
    shapes, floors, ceilings = volumes(count, rng)
    x, y = rng.uniform(0, SIDE_M, (2, points))
    z = rng.uniform(0.0, 400.0, points)
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

    our_s, their_s = median_seconds(rounds, ours, theirs)
    rows, _features = answers["theirs"]
    pairs = [np.sort(one[0] * count + one[1]) for one in (answers["ours"], answers["theirs"])]
    label = f"{points:,} points, {count:,} volumes, {len(rows) / points:.2f} each"
    peer = "boxes + heights + contains_xy"
    figure = against(label, points, our_s, peer, their_s, _GOAL)
    return [figure], len(np.setxor1d(*pairs))
