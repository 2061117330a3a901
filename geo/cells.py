"""Tables of cells in front of exact geometry: which areas, which road, which volumes.

A table cuts the bounds of its features into square cells. A cell that lies within one feature
answers by itself. A cell that a border runs through keeps, for each feature, only the edges
that meet it, and answers by the parity of crossings there. So the cost of a point does not
grow with the number of a feature's vertices, and the answer is exact: signs are worked out
without rounding error where rounding could decide.

One rule for borders everywhere: a ray runs east from the point; an edge is crossed where
``(y1 <= y) != (y2 <= y)`` and the point lies strictly to its left. So a feature owns its
western and southern borders, and of features that share a border each point has exactly one:
``closed=False``. With ``closed=True`` a point on a border belongs to all features that it
touches, as in ``shapely.intersects``. Away from borders both are ``shapely.contains``.

The plane may be degrees or metres; a table does not care. Tables do not change once built and
may be asked by several threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from core.errors import GeometryError
from geo import kernels, native

#: Cells per feature and per edge; more make the borders' share of the points smaller.
_CELLS_PER_FEATURE = 1200
_CELLS_PER_EDGE = 8

#: Fewest and most cells of a table: 16 kB and 256 MB.
_LEAST_CELLS = 1 << 12
_MOST_CELLS = 1 << 26

#: Most cells of a table of what is near: 64 MB.
_MOST_REACH_CELLS = 1 << 24

#: Where features overlap, cells keep lists; this many cells, counted once for each feature, or
#: more of them where there are many features: at 100,000 it halves the borders' share.
_MOST_COVERED = 1 << 24
_COVERED_PER_FEATURE = 700

#: A cell is at least this many units in the last place of the coordinates, so that what cells
#: have to spare for rounding is more than rounding can take.
MIN_CELL_ULPS = 1e8

_MOST_WORDS = 2**31 - 4

#: Up to this many points the kernel that is cheaper to call answers: a batch of the stream.
_FEW = 512

#: Types made once: for a batch of one point, making them is a part of the cost.
_FLOAT = np.dtype(np.float64)
_INT = np.dtype(np.int64)

_NO_I32 = np.empty(0, dtype=np.int32)

_TYPE_POINTS = (0, 4)
_TYPE_LINES = (1, 2, 5)
_TYPE_AREAS = (3, 6)
_TYPE_COLLECTION = 7

#: What a table of nearest features is made of, besides its areas.
_NEAREST_ARRAYS = ("segments", "owners", "area_numbers", "plan", "starts", "refs")


class Pairs(NamedTuple):
    """Points and the features that they lie in, by row and then by feature."""

    rows: NDArray[np.int64]
    features: NDArray[np.int64]


class VolumePairs(NamedTuple):
    """Points and volumes, by row and then by feature.

    ``known`` is False where a point is over or under a volume and its height is not known.
    """

    rows: NDArray[np.int64]
    features: NDArray[np.int64]
    known: NDArray[np.bool_]


class CellTable:
    """Which areas points lie in.

    Args:
        geometries: Polygons and multipolygons, shape (m,); None and empty ones match nothing.
            They may overlap.
        closed: Whether a point on a border lies in all features that it touches; else each
            feature owns its western and southern borders only.
        cells: How many cells to aim at; by default as many as the features ask for.

    Attributes:
        find: What finds the first areas: the C kernel where there is one, else numba's.

    Raises:
        GeometryError: A geometry is no area, or not valid.

    Example:
        >>> table = CellTable([shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1)])
        >>> table.first([0.5, 1.0, 2.0, np.nan], [0.5, 0.5, 0.5, 0.5]).tolist()
        [0, 1, -1, -1]
        >>> table.first([], []).tolist()
        []
    """

    def __init__(
        self,
        geometries: ArrayLike | NDArray[np.object_],
        *,
        closed: bool = False,
        cells: int | None = None,
    ) -> None:
        shapes = _shapes(geometries)
        _check_areas(shapes)
        edges, owners = _ring_edges(shapes)
        self.closed = closed
        self.find: native.FindFirst = native.find_first() or find_by_numba
        self.feature_count = len(shapes)
        plan = _plan(edges, shapes, cells)
        self._words = _build_words(edges, owners, plan, len(shapes))
        self._numbers = np.concatenate([plan, edges.ravel()])

    def __len__(self) -> int:
        return self.feature_count

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All that the table is, for a file; see :mod:`geo.table_cache`."""
        facts = np.array([self.closed, self.feature_count], dtype=np.int64)
        return {"facts": facts, "words": self._words, "numbers": self._numbers}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The table again, of what :meth:`to_arrays` gave."""
        table = cls.__new__(cls)
        table.closed = bool(arrays["facts"][0])
        table.find = native.find_first() or find_by_numba
        table.feature_count = int(arrays["facts"][1])
        table._words = arrays["words"]
        table._numbers = arrays["numbers"]
        return table

    @property
    def nbytes(self) -> int:
        """Memory that the table takes."""
        return self._words.nbytes + self._numbers.nbytes

    @property
    def border_ratio(self) -> float:
        """Part of the cells that a border runs through, or where features overlap."""
        cell_count = int(self._numbers[5]) * int(self._numbers[6])
        return float(np.mean(self._words[:cell_count] < kernels.EMPTY))

    def first(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.int64]:
        """The first feature, in their order, that each point lies in.

        Args:
            x: Shape (n,); NaN lies nowhere.
            y: Shape (n,).

        Returns:
            Numbers of features, shape (n,); -1 for none.

        Raises:
            GeometryError: The arrays do not fit each other.
        """
        found = self.find(self._words, self._numbers, x, y, self.closed)
        if found is None:
            xs, ys = map(np.copy, _points(x, y))  # a copy is aligned, whatever the array was
            found = self.find(self._words, self._numbers, xs, ys, self.closed)
            assert found is not None
        return found

    def pairs(self, x: ArrayLike, y: ArrayLike) -> Pairs:
        """All features that each point lies in.

        Args:
            x: Shape (n,); NaN lies nowhere.
            y: Shape (n,).

        Raises:
            GeometryError: The arrays do not fit each other.

        Example:
            >>> table = CellTable([shapely.box(0, 0, 2, 2), shapely.box(1, 1, 3, 3)])
            >>> [column.tolist() for column in table.pairs([1.5, 2.5, 9.0], [1.5, 2.5, 9.0])]
            [[0, 0, 1], [0, 1, 1]]
        """
        xs, ys = _points(x, y)
        values, most = self._look_up(xs, ys)
        rows = np.empty(most, dtype=np.int64)
        features = np.empty(most, dtype=np.int64)
        count = kernels.find_pairs(
            self._words, self._numbers, xs, ys, self.closed, values, rows, features
        )
        return Pairs(rows[:count], features[:count])

    def _look_up(
        self, xs: NDArray[np.float64], ys: NDArray[np.float64]
    ) -> tuple[NDArray[np.int32], int]:
        values = np.empty(len(xs), dtype=np.int32)
        return values, kernels.look_up(self._words, self._numbers, xs, ys, values)


class VolumeTable(CellTable):
    """Which volumes points lie in: areas with a floor and a ceiling, both of which belong.

    Args:
        geometries: As for :class:`CellTable`.
        floors: Metres, shape (m,); -inf for none.
        ceilings: Likewise; inf for none.
        datums: Which row of the heights counts for each volume, shape (m,); 0 by default.
        closed: As for :class:`CellTable`.
        cells: Likewise.

    Raises:
        GeometryError: As for :class:`CellTable`, or the arrays do not fit each other.

    Example:
        >>> table = VolumeTable([shapely.box(0, 0, 2, 2)], [0.0], [120.0])
        >>> found = table.volumes([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [[120.0, 121.0, np.nan]])
        >>> found.rows.tolist(), found.known.tolist()
        ([0, 2], [True, False])
    """

    def __init__(
        self,
        geometries: ArrayLike | NDArray[np.object_],
        floors: ArrayLike,
        ceilings: ArrayLike,
        datums: ArrayLike | None = None,
        *,
        closed: bool = False,
        cells: int | None = None,
    ) -> None:
        super().__init__(geometries, closed=closed, cells=cells)
        self._floors = np.ascontiguousarray(floors, dtype=np.float64)
        self._ceilings = np.ascontiguousarray(ceilings, dtype=np.float64)
        self._datums = np.ascontiguousarray(
            np.zeros(len(self)) if datums is None else datums, dtype=np.int64
        )
        shapes = {one.shape for one in (self._floors, self._ceilings, self._datums)}
        if shapes != {(len(self),)}:
            raise GeometryError(
                f"floors, ceilings and datums must have shape ({len(self)},), got "
                f"{self._floors.shape}, {self._ceilings.shape} and {self._datums.shape}"
            )
        self._least_heights = int(self._datums.max(initial=-1)) + 1

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All that the table is, for a file."""
        levels = {"floors": self._floors, "ceilings": self._ceilings, "datums": self._datums}
        return super().to_arrays() | levels

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The table again, of what :meth:`to_arrays` gave."""
        table = super().from_arrays(arrays)
        table._floors = arrays["floors"]
        table._ceilings = arrays["ceilings"]
        table._datums = arrays["datums"]
        table._least_heights = int(table._datums.max(initial=-1)) + 1
        return table

    def volumes(self, x: ArrayLike, y: ArrayLike, heights: ArrayLike) -> VolumePairs:
        """All volumes that each point lies in, and those that it may lie in.

        Args:
            x: Shape (n,); NaN lies nowhere.
            y: Shape (n,).
            heights: Shape (k, n), one row for each datum; NaN where unknown.

        Raises:
            GeometryError: The arrays do not fit each other.
        """
        xs, ys = _points(x, y)
        levels = np.ascontiguousarray(heights, dtype=np.float64)
        if levels.ndim != 2 or levels.shape[1] != len(xs) or len(levels) < self._least_heights:
            raise GeometryError(
                f"heights must have shape (k, {len(xs)}) with k >= {self._least_heights}, got "
                f"{levels.shape}"
            )
        values, most = self._look_up(xs, ys)
        rows = np.empty(most, dtype=np.int64)
        features = np.empty(most, dtype=np.int64)
        known = np.empty(most, dtype=np.bool_)
        count = kernels.find_volumes(
            self._words,
            self._numbers,
            xs,
            ys,
            levels,
            self._datums,
            self._floors,
            self._ceilings,
            self.closed,
            values,
            rows,
            features,
            known,
        )
        return VolumePairs(rows[:count], features[:count], known[:count])


class NearestTable:
    """The nearest feature within reach.

    A cell knows the segments that can be the nearest to any of its points. Distances are the
    numbers that ``shapely.distance`` gives, to the last bit; of features that are equally near
    the first one counts.

    Args:
        geometries: Lines, points and areas, shape (m,); None and empty ones are never near.
        reach: Largest distance, which still counts, in the unit of the coordinates.

    Raises:
        GeometryError: A geometry is a collection, an area is not valid, or the reach is not a
            positive number.

    Example:
        >>> table = NearestTable([shapely.LineString([(0, 0), (9, 0)])], 5.0)
        >>> features, away = table.nearest([4.0, 4.0, 12.0], [3.0, 6.0, 4.0])
        >>> features.tolist(), away.tolist()
        ([0, -1, 0], [3.0, nan, 5.0])
    """

    def __init__(self, geometries: ArrayLike | NDArray[np.object_], reach: float) -> None:
        if not (np.isfinite(reach) and reach > 0.0):
            raise GeometryError(f"reach: a positive number was wanted, got {reach}")
        shapes = _shapes(geometries)
        self.reach = float(reach)
        self.feature_count = len(shapes)
        self._segments, self._owners = _line_segments(shapes)
        self._areas, self._area_numbers = _areas_among(shapes)
        self._plan = _reach_plan(self._segments, self.reach)
        self._starts, self._refs = _build_candidates(self._segments, self._plan, self.reach)

    def __len__(self) -> int:
        return self.feature_count

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All that the table is, for a file; see :mod:`geo.table_cache`."""
        facts = np.array([self.reach, self.feature_count])
        own = {name: getattr(self, f"_{name}") for name in _NEAREST_ARRAYS}
        areas = {} if self._areas is None else self._areas.to_arrays()
        return {"facts": facts} | own | {f"areas.{name}": one for name, one in areas.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The table again, of what :meth:`to_arrays` gave."""
        table = cls.__new__(cls)
        table.reach = float(arrays["facts"][0])
        table.feature_count = int(arrays["facts"][1])
        for name in _NEAREST_ARRAYS:
            setattr(table, f"_{name}", arrays[name])
        areas = {
            name.removeprefix("areas."): one
            for name, one in arrays.items()
            if name.startswith("areas.")
        }
        table._areas = CellTable.from_arrays(areas) if areas else None
        return table

    @property
    def nbytes(self) -> int:
        """Memory that the table takes."""
        parts = (self._starts, self._refs, self._segments, self._owners)
        return sum(part.nbytes for part in parts) + (self._areas.nbytes if self._areas else 0)

    def nearest(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The nearest feature of each point.

        Args:
            x: Shape (n,); NaN is near nothing.
            y: Shape (n,).

        Returns:
            Numbers of features, -1 for none, and distances, NaN for none; shape (n,) each.

        Raises:
            GeometryError: The arrays do not fit each other.
        """
        xs, ys = _points(x, y)
        found = np.empty(len(xs), _INT)
        away = np.empty(len(xs), dtype=np.float64)
        kernels.find_nearest(
            self._starts,
            self._refs,
            self._segments,
            self._owners,
            self._plan,
            self.reach,
            xs,
            ys,
            found,
            away,
        )
        if self._areas is not None:
            first = self._areas.first(xs, ys)
            inside = first >= 0
            number = self._area_numbers[first]
            nearer = inside & ((found < 0) | (away > 0.0) | (number < found))
            found[nearer] = number[nearer]
            away[nearer] = 0.0
        return found, away


def find_by_numba(
    words: NDArray[np.int32], numbers: NDArray[np.float64], x: ArrayLike, y: ArrayLike, closed: bool
) -> NDArray[np.int64]:
    """The first area of each point, by numba's kernels.

    Args:
        words: As :data:`geo.native.FindFirst` takes them, shape (k,).
        numbers: Likewise, shape (m,).
        x: Points in the index's own coordinates, shape (n,).
        y: Likewise.
        closed: Whether points on a border belong to it.

    Returns:
        Row of the first area that holds each point, shape (n,), -1 where none does.
    """
    xs, ys = _points(x, y)
    found = np.empty(xs.shape, _INT)
    find = kernels.find_few if len(xs) <= _FEW else kernels.find_first
    find(words, numbers, xs, ys, closed, found)
    return found


def _points(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    xs = np.ascontiguousarray(x, _FLOAT)
    ys = np.ascontiguousarray(y, _FLOAT)
    shape = xs.shape
    if len(shape) != 1 or ys.shape != shape:
        raise GeometryError(f"x and y must have one shape (n,), got {xs.shape} and {ys.shape}")
    return xs, ys


def _shapes(geometries: Any) -> NDArray[np.object_]:
    shapes = np.empty(len(geometries), dtype=object)
    shapes[:] = list(geometries)
    return np.asarray(shapely.force_2d(shapes), dtype=object)


def _check_areas(shapes: NDArray[np.object_]) -> None:
    present = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    kinds = shapely.get_type_id(shapes)
    for number in np.flatnonzero(present & ~np.isin(kinds, _TYPE_AREAS)):
        raise GeometryError(
            f"feature {number}: a polygon or multipolygon was wanted, got a "
            f"{shapes[number].geom_type}"
        )
    for number in np.flatnonzero(present & ~shapely.is_valid(shapes)):
        raise GeometryError(
            f"feature {number}: a valid area was wanted, got one with: "
            f"{shapely.is_valid_reason(shapes[number])}; repair it with shapely.make_valid"
        )


def _chained(
    lines: NDArray[np.object_], owners: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Segments (x1, y1, x2, y2) of lines, shape (n, 4), and the owner of each."""
    points, line = shapely.get_coordinates(lines, return_index=True)
    joined = line[1:] == line[:-1]
    segments = np.hstack([points[:-1][joined], points[1:][joined]])
    return segments, owners[line[1:][joined]].astype(np.int32)


def _ring_edges(
    shapes: NDArray[np.object_],
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Edges with a length, in the order of the features."""
    parts, owners = shapely.get_parts(shapes, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    edges, owner = _chained(rings, owners[part])
    real = (edges[:, 0] != edges[:, 2]) | (edges[:, 1] != edges[:, 3])
    return np.ascontiguousarray(edges[real]), np.ascontiguousarray(owner[real])


def _line_segments(
    shapes: NDArray[np.object_],
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Segments of lines, of the borders of areas, and of no length for points; by owner."""
    for number in np.flatnonzero(shapely.get_type_id(shapes) == _TYPE_COLLECTION):
        raise GeometryError(
            f"feature {number}: a line, point or area was wanted, got a {shapes[number].geom_type}"
        )
    parts, owners = shapely.get_parts(shapes, return_index=True)
    kinds = shapely.get_type_id(parts)
    single = np.isin(kinds, _TYPE_POINTS) & ~shapely.is_empty(parts)
    linear = np.isin(kinds, _TYPE_LINES)
    spots = shapely.get_coordinates(parts[single])
    rings, area = shapely.get_rings(parts, return_index=True)
    groups = [
        (np.hstack([spots, spots]), owners[single].astype(np.int32)),
        _chained(parts[linear], owners[linear]),
        _chained(rings, owners[area]),
    ]
    segments = np.concatenate([group[0] for group in groups])
    owner = np.concatenate([group[1] for group in groups])
    order = np.argsort(owner, kind="stable")
    return np.ascontiguousarray(segments[order]), np.ascontiguousarray(owner[order])


def _areas_among(shapes: NDArray[np.object_]) -> tuple[CellTable | None, NDArray[np.int64]]:
    numbers = np.flatnonzero(np.isin(shapely.get_type_id(shapes), _TYPE_AREAS))
    if not len(numbers):
        return None, numbers
    return CellTable(shapes[numbers], closed=True), numbers


def _bounds(segments: NDArray[np.float64]) -> tuple[float, float, float, float]:
    if not len(segments):
        return 0.0, 0.0, 0.0, 0.0
    west, south = segments.min(axis=0).reshape(2, 2).min(axis=0).tolist()
    east, north = segments.max(axis=0).reshape(2, 2).max(axis=0).tolist()
    return west, south, east, north


def _lattice(bounds: tuple[float, float, float, float], side: float) -> NDArray[np.float64]:
    """What the kernels know of a table's cells: bounds, cells per unit, columns, lines."""
    west, south, east, north = bounds
    largest = max(abs(value) for value in bounds)
    side = max(side, MIN_CELL_ULPS * float(np.spacing(largest)))
    per_unit = 1.0 / side
    columns = int((east - west) * per_unit) + 1
    lines = int((north - south) * per_unit) + 1
    return np.array([west, south, east, north, per_unit, columns, lines, 0.0])


def _plan(
    edges: NDArray[np.float64], shapes: NDArray[np.object_], cells: int | None
) -> NDArray[np.float64]:
    bounds = _bounds(edges)
    width, height = bounds[2] - bounds[0], bounds[3] - bounds[1]
    if cells is None:
        cells = max(_CELLS_PER_FEATURE * len(shapes), _CELLS_PER_EDGE * len(edges))
        cells = max(_LEAST_CELLS, cells)
        covered = float(np.nansum(shapely.area(shapely.envelope(shapes))))
        if width * height > 0.0:
            most = max(_MOST_COVERED, min(_MOST_CELLS, _COVERED_PER_FEATURE * len(shapes)))
            cells = min(cells, int(most * width * height / covered) + 1)
    cells = min(cells, _MOST_CELLS)
    # A long thin extent must not have more cells than were asked for.
    side = max(np.sqrt(width * height / cells), max(width, height) / cells, np.finfo(float).tiny)
    return _lattice(bounds, float(side))


def _build_words(
    edges: NDArray[np.float64],
    owners: NDArray[np.int32],
    plan: NDArray[np.float64],
    feature_count: int,
) -> NDArray[np.int32]:
    """The table of cells, and the lists of those that do not answer by themselves after it."""
    west, south, per_unit = plan[0], plan[1], plan[4]
    cell_count = int(plan[5]) * int(plan[6])
    spans = np.empty((kernels.span_edges(edges, plan, _NO_I32.reshape(0, 4)), 4), dtype=np.int32)
    if len(spans):
        kernels.span_edges(edges, plan, spans)
    span_owners = owners[spans[:, 0]]
    span_starts = np.searchsorted(span_owners, np.arange(feature_count + 1)).astype(np.int64)
    edge_starts = np.searchsorted(owners, np.arange(feature_count + 1))
    boxes = np.tile(np.array([0, -1, 0, -1], dtype=np.int32), (feature_count, 1))
    rows = ((edges[:, 1::2] - south) * per_unit).astype(np.int32)
    columns = ((edges[:, 0::2] - west) * per_unit).astype(np.int32)
    some = np.flatnonzero(np.diff(edge_starts) > 0)
    if len(some):
        begin = edge_starts[some]
        boxes[some, 0] = np.minimum.reduceat(rows.min(axis=1), begin)
        boxes[some, 1] = np.maximum.reduceat(rows.max(axis=1), begin)
        boxes[some, 2] = np.minimum.reduceat(columns.min(axis=1), begin)
        boxes[some, 3] = np.maximum.reduceat(columns.max(axis=1), begin)
    entry_counts = np.zeros(cell_count, dtype=np.int32)
    word_counts = np.zeros(cell_count, dtype=np.int32)
    kernels.measure_cells(spans, span_starts, edges, plan, boxes, entry_counts, word_counts)
    starts = np.empty(cell_count, dtype=np.int64)
    length = kernels.place_cells(entry_counts, word_counts, starts)
    if length > _MOST_WORDS:
        raise GeometryError(
            f"cell table: {length} words for {feature_count} features with {len(edges)} edges are "
            f"more than {_MOST_WORDS}; ask for fewer cells"
        )
    words = np.zeros(length, dtype=np.int32)
    kernels.fill_cells(spans, span_starts, edges, plan, boxes, starts, words)
    return words


def _reach_plan(segments: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    west, south, east, north = _bounds(segments)
    # A little more than the reach, so that what rounding adds to it is still in the table.
    edge = reach * (1.0 + 1e-9)
    bounds = (west - edge, south - edge, east + edge, north + edge)
    width, height = bounds[2] - bounds[0], bounds[3] - bounds[1]
    side = max(reach / 2.0, float(np.sqrt(width * height / _MOST_REACH_CELLS)))
    return _lattice(bounds, max(side, max(width, height) / _MOST_REACH_CELLS))


def _build_candidates(
    segments: NDArray[np.float64], plan: NDArray[np.float64], reach: float
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    cell_count = int(plan[5]) * int(plan[6])
    best = np.full(cell_count, np.inf)
    starts = np.zeros(cell_count + 1, dtype=np.int32)
    kernels.reach_cells(segments, plan, reach, best, _NO_I32, starts, _NO_I32)
    counts = np.zeros(cell_count, dtype=np.int32)
    kernels.reach_cells(segments, plan, reach, best, counts, starts, _NO_I32)
    total = int(counts.sum(dtype=np.int64))
    if total > _MOST_WORDS:
        raise GeometryError(
            f"nearest table: {total} candidates of {len(segments)} segments are more than "
            f"{_MOST_WORDS}; a shorter reach than {reach:g} is needed"
        )
    np.cumsum(counts, out=starts[1:])
    counts[:] = 0
    refs = np.empty(total, dtype=np.int32)
    if total:
        kernels.reach_cells(segments, plan, reach, best, counts, starts, refs)
    return starts, refs
