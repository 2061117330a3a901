"""Plans the streets of a generated district: roads, blocks, and unit grids between them.

Everything hangs on one lattice of points: roads run along its main lines, unit grids are its
cells, communities and streets are unions of cells. So neighbours share their corners exactly,
and there is neither a gap nor an overlap between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from core.errors import GeometryError
from geo.crs import MetricFrame

#: Side of a unit grid; the standards want about 10,000 m².
CELL_M = 100.0

#: A cell that the area's border leaves smaller than this joins a neighbour.
SMALLEST_CELL_M2 = 2_500.0

#: How far a crossing may lie from the regular lattice.
_JITTER_M = 14.0

#: Coordinates are rounded to 0.1 mm, so that neighbours share corners also where they were cut.
_DECIMALS = 9
DEGREES_GRID = 1e-9

#: Half widths of the carriageway by kind of road.
HALF_WIDTH_M = {"primary": 10.5, "secondary": 7.0, "residential": 5.5}


@dataclass(frozen=True, eq=False)
class Segment:
    """A straight piece of road between two crossings, with its own frame of metres.

    ``start`` and ``along`` are (east, north) in the metric frame; ``along`` has length 1.
    """

    road: int
    kind: str
    start: NDArray[np.float64]
    along: NDArray[np.float64]
    length_m: float

    @property
    def half_width_m(self) -> float:
        """Half of the carriageway."""
        return HALF_WIDTH_M[self.kind]

    def at(self, along_m: float, right_m: float) -> NDArray[np.float64]:
        """(east, north) of a point so far along and so far to the right of the centre line."""
        right = np.array([self.along[1], -self.along[0]])
        return self.start + along_m * self.along + right_m * right

    def strip(self, from_m: float, to_m: float, near_m: float, far_m: float) -> Any:
        """A rectangle beside the centre line, as a polygon in metres."""
        return shapely.Polygon(
            [
                self.at(from_m, near_m),
                self.at(to_m, near_m),
                self.at(to_m, far_m),
                self.at(from_m, far_m),
            ]
        )


@dataclass(frozen=True, eq=False)
class StreetPlan:
    """The lattice and what was cut from it.

    Attributes:
        lattice_m: Shape (columns + 1, rows + 1, 2): (east, north) of the lattice points.
        cells: Polygons of the unit grids, in degrees.
        cell_at: Shape (n, 2): column and row of each cell in the lattice.
        cell_block: Number of the block a cell lies in, ascending along a serpentine.
        whole: Whether the cell lies wholly inside the area.
        road_lines: One line per road, in metres.
        road_kinds: ``primary``, ``secondary`` or ``residential``.
        segments: Straight pieces that lie wholly inside the area, nearest the middle first.
        middle_m: (east, north) of the middle of the area.
    """

    lattice_m: NDArray[np.float64]
    cells: NDArray[np.object_]
    cell_at: NDArray[np.int64]
    cell_block: NDArray[np.int64]
    whole: NDArray[np.bool_]
    road_lines: list[Any]
    road_kinds: list[str]
    segments: list[Segment]
    middle_m: NDArray[np.float64]

    def in_cell(self, cell: int, u: float, v: float) -> NDArray[np.float64]:
        """(east, north) at a share of the way across (u) and up (v) a cell."""
        column, row = self.cell_at[cell]
        corner = self.lattice_m[column : column + 2, row : row + 2]
        point: NDArray[np.float64] = (
            corner[0, 0] * (1 - u) * (1 - v)
            + corner[1, 0] * u * (1 - v)
            + corner[0, 1] * (1 - u) * v
            + corner[1, 1] * u * v
        )
        return point

    def patch(self, cell: int, u0: float, v0: float, u1: float, v1: float) -> Any:
        """A part of a cell as a polygon in metres."""
        return shapely.Polygon(
            [self.in_cell(cell, u, v) for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))]
        )


def plan_streets(
    rng: np.random.Generator,
    frame: MetricFrame,
    *,
    middle_m: tuple[float, float],
    width_m: float,
    height_m: float,
    turn_deg: float,
    area: Any = None,
) -> StreetPlan:
    """Lay roads and unit grids over a rectangle, or over the part of it inside an area.

    Args:
        rng: Where chance comes from.
        frame: The city's metric frame.
        middle_m: (east, north) of the rectangle's middle.
        width_m: Extent along the streets that run about east.
        height_m: Extent across them.
        turn_deg: How far the lattice is turned, anticlockwise.
        area: Polygon in degrees to clip to; None for the whole rectangle.

    Raises:
        GeometryError: Too little of the rectangle lies inside the area for a district.
    """
    x_cuts, y_cuts = _main_lines(rng, width_m), _main_lines(rng, height_m)
    lattice = _lattice(rng, x_cuts, y_cuts)
    angle = np.radians(turn_deg)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    lattice = (lattice - lattice.reshape(-1, 2).mean(axis=0)) @ turn + np.array(middle_m)

    lon, lat = frame.to_lonlat(lattice[..., 0], lattice[..., 1])
    degrees = np.stack([lon, lat], axis=-1)
    degrees = np.round(degrees, _DECIMALS)
    columns, rows = lattice.shape[0] - 1, lattice.shape[1] - 1
    cell_at = np.array([(i, j) for i in range(columns) for j in range(rows)], dtype=np.int64)
    cells = _cell_polygons(degrees, cell_at)
    blocks = _serpentine(x_cuts, y_cuts, cell_at)
    whole = np.ones(len(cells), dtype=np.bool_)
    if area is not None:
        shapely.prepare(area)
        whole = np.asarray(shapely.covers(area, cells))
        cells, cell_at, blocks, whole = _clip(frame, cells, cell_at, blocks, whole, area)
        if whole.sum() < 40:
            raise GeometryError(
                f"at least 40 whole unit grids of {CELL_M:g} m were wanted inside the area, got "
                f"{int(whole.sum())}; generate in a larger street"
            )
    order = np.argsort(blocks, kind="stable")
    cells, cell_at, blocks, whole = cells[order], cell_at[order], blocks[order], whole[order]

    lines, kinds, segments = _roads(lattice, x_cuts, y_cuts)
    middle = np.array(middle_m)
    if area is None:
        area_m = shapely.Polygon([lattice[0, 0], lattice[-1, 0], lattice[-1, -1], lattice[0, -1]])
        segments = _well_inside(segments, area_m)
    else:
        area_m = frame.geometry_to_metric(area)
        middle = np.array(shapely.get_coordinates(shapely.point_on_surface(area_m))[0])
        lines = [shapely.intersection(line, area_m) for line in lines]
        kept = [number for number, line in enumerate(lines) if line.length > CELL_M]
        renumbered = {old: new for new, old in enumerate(kept)}
        segments = [
            Segment(renumbered[one.road], one.kind, one.start, one.along, one.length_m)
            for one in _well_inside(segments, area_m)
            if one.road in renumbered
        ]
        lines, kinds = [lines[number] for number in kept], [kinds[number] for number in kept]
    segments.sort(key=lambda one: float(np.hypot(*(one.at(one.length_m / 2, 0.0) - middle))))
    return StreetPlan(lattice, cells, cell_at, blocks, whole, lines, kinds, segments, middle)


def _well_inside(segments: list[Segment], area_m: Any) -> list[Segment]:
    """Those with room on both sides; on the area's border half of the road is elsewhere."""
    shapely.prepare(area_m)
    return [
        one
        for one in segments
        if area_m.contains(one.strip(10.0, one.length_m - 10.0, -30.0, 30.0))
    ]


def _main_lines(rng: np.random.Generator, extent_m: float) -> list[int]:
    """Lattice lines on which roads run: every three or four cells, the border included."""
    count = max(6, round(extent_m / CELL_M))
    wide = count % 3 or (3 if count >= 15 else 0)
    narrow = (count - 4 * wide) // 3
    steps = rng.permutation(np.array([3] * narrow + [4] * wide))
    return [0, *np.cumsum(steps).tolist()]


def _lattice(rng: np.random.Generator, x_cuts: list[int], y_cuts: list[int]) -> NDArray[np.float64]:
    """Crossings a little off the regular lattice, straight lines in between."""
    crossings = np.stack(np.meshgrid(x_cuts, y_cuts, indexing="ij"), axis=-1) * CELL_M
    jitter = np.clip(rng.normal(0.0, _JITTER_M / 2, crossings.shape), -_JITTER_M, _JITTER_M)
    across = _stretched(crossings + jitter, x_cuts)
    return _stretched(across.swapaxes(0, 1), y_cuts).swapaxes(0, 1)


def _stretched(points: NDArray[np.float64], cuts: list[int]) -> NDArray[np.float64]:
    """Points given at some lattice lines, filled in linearly at all, along the first axis."""
    lines = np.arange(cuts[-1] + 1)
    columns = points.reshape(len(cuts), -1).T
    filled = np.column_stack([np.interp(lines, cuts, column) for column in columns])
    return filled.reshape(len(lines), *points.shape[1:])


def _cell_polygons(degrees: NDArray[np.float64], cell_at: NDArray[np.int64]) -> NDArray[np.object_]:
    i, j = cell_at[:, 0], cell_at[:, 1]
    rings = np.stack(
        [degrees[i, j], degrees[i + 1, j], degrees[i + 1, j + 1], degrees[i, j + 1], degrees[i, j]],
        axis=1,
    )
    return np.asarray(shapely.polygons(rings), dtype=object)


def _serpentine(
    x_cuts: list[int], y_cuts: list[int], cell_at: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Number of each cell's block, counted up one column of blocks and down the next."""
    column = np.searchsorted(x_cuts, cell_at[:, 0], side="right") - 1
    row = np.searchsorted(y_cuts, cell_at[:, 1], side="right") - 1
    height = len(y_cuts) - 1
    return np.asarray(column * height + np.where(column % 2 == 0, row, height - 1 - row))


def _clip(
    frame: MetricFrame,
    cells: NDArray[np.object_],
    cell_at: NDArray[np.int64],
    blocks: NDArray[np.int64],
    whole: NDArray[np.bool_],
    area: Any,
) -> tuple[NDArray[np.object_], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Cut cells at the area's border; what is left too small joins its largest neighbour."""
    cut = cells.copy()
    cut[~whole] = shapely.intersection(cells[~whole], area, grid_size=DEGREES_GRID)
    sizes = shapely.area(frame.geometry_to_metric(cut))
    by_place = {(int(i), int(j)): n for n, (i, j) in enumerate(cell_at)}
    for n in np.argsort(sizes, kind="stable").tolist():
        if not 0.0 < sizes[n] < SMALLEST_CELL_M2:
            continue
        i, j = cell_at[n]
        near = [by_place.get((i + a, j + b)) for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1))]
        best = max((m for m in near if m is not None), key=lambda m: float(sizes[m]))
        if sizes[best] > 0.0:
            cut[best] = shapely.union(cut[best], cut[n], grid_size=DEGREES_GRID)
            sizes[best] += sizes[n]
            sizes[n] = 0.0
    keep = sizes > 0.0
    return cut[keep], cell_at[keep], blocks[keep], whole[keep]


def _roads(
    lattice: NDArray[np.float64], x_cuts: list[int], y_cuts: list[int]
) -> tuple[list[Any], list[str], list[Segment]]:
    lines: list[Any] = []
    kinds: list[str] = []
    segments: list[Segment] = []
    runs = [(lattice[x_cuts, y], y_cuts) for y in y_cuts]
    runs += [(lattice[x, y_cuts], x_cuts) for x in x_cuts]
    for number, (points, siblings) in enumerate(runs):
        rank = number if number < len(y_cuts) else number - len(y_cuts)
        from_middle = abs(rank - (len(siblings) - 1) // 2)
        kind = "primary" if from_middle == 0 else ("residential", "secondary")[from_middle % 2]
        lines.append(shapely.LineString(points))
        kinds.append(kind)
        for start, end in pairwise(points):
            length = float(np.hypot(*(end - start)))
            segments.append(Segment(number, kind, start, (end - start) / length, length))
    return lines, kinds, segments
