"""What the benchmarks of the map ask about: zones, roads, volumes; from a seed."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

SIDE_M = 100_000.0

Floats = NDArray[np.float64]
Shapes = NDArray[np.object_]


def zones(count: int, rng: np.random.Generator) -> Shapes:
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


def roads(count: int, rng: np.random.Generator, side_m: float) -> Shapes:
    """Roads of ten pieces of 40 m each."""
    number = count // 10
    heading = rng.uniform(0, 2 * np.pi, (number, 1)) + rng.normal(0, 0.3, (number, 10)).cumsum(1)
    steps = 40.0 * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    starts = rng.uniform(0, side_m, (number, 1, 2))
    lines = np.concatenate([starts, starts + steps.cumsum(axis=1)], axis=1)
    return np.asarray(shapely.linestrings(lines), dtype=object)


def volumes(count: int, rng: np.random.Generator) -> tuple[Shapes, Floats, Floats]:
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
