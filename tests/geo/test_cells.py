from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.errors import GeometryError
from geo.cells import CellTable, NearestTable, VolumeTable, find_by_numba
from geo.city import City

NAN = math.nan
SEEDS = st.integers(0, 2**32 - 1)
Shapes = NDArray[np.object_]


def blob(
    rng: np.random.Generator, x: float, y: float, size: float, corners: int
) -> shapely.Polygon:
    """A polygon with a ragged border and now and then a hole."""
    turns = np.sort(rng.uniform(0, 2 * np.pi, corners))
    away = size * rng.uniform(0.3, 1.0, corners)
    ring = np.column_stack([x + away * np.cos(turns), y + away * np.sin(turns)])
    shape = shapely.make_valid(shapely.Polygon(ring))
    if rng.random() < 0.3:
        shape = shape.difference(shapely.Point(x, y).buffer(size / 4, quad_segs=3))
    parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    return shapely.make_valid(shapely.union_all(parts))


def some_blobs(rng: np.random.Generator, count: int) -> Shapes:
    sizes = rng.choice([0.001, 0.01, 0.1], count)
    shapes = [
        blob(rng, rng.uniform(120, 120.3), rng.uniform(36, 36.3), size, int(rng.integers(3, 40)))
        for size in sizes
    ]
    return np.array(shapes, dtype=object)


def a_partition(rng: np.random.Generator, count: int) -> Shapes:
    """Cells of a Voronoi diagram, cut to a box: neighbours share their borders' coordinates."""
    seeds = shapely.multipoints(rng.uniform(0, 1, (count, 2)) + np.array([120.0, 36.0]))
    box = shapely.box(120.1, 36.1, 120.9, 36.9)
    parts = shapely.get_parts(shapely.voronoi_polygons(seeds))
    cut = shapely.intersection(parts, box)
    return np.asarray(cut[~shapely.is_empty(cut)], dtype=object)


def a_comb(rng: np.random.Generator, count: int) -> Shapes:
    """Steps on a coarse lattice: horizontal and vertical borders, corners on corners."""
    cells = rng.integers(0, 12, (count, 2))
    boxes = shapely.box(cells[:, 0], cells[:, 1], cells[:, 0] + 1, cells[:, 1] + 1)
    groups = [shapely.union_all(boxes[start::5]) for start in range(5)]
    return np.array(groups, dtype=object)


def near_borders(rng: np.random.Generator, shapes: Shapes, count: int) -> NDArray[np.float64]:
    """Vertices, points on edges as far as doubles can say, and their closest neighbours."""
    vertices = shapely.get_coordinates(shapes)
    vertices = vertices[rng.integers(0, len(vertices), count)]
    others = vertices[rng.permutation(count)]
    areas = np.isin(shapely.get_type_id(shapes), (3, 6))
    lines = np.where(areas, shapely.boundary(shapes), shapes)
    lines = lines[rng.integers(0, len(lines), count)]
    on_edges = shapely.get_coordinates(
        shapely.line_interpolate_point(lines, rng.random(count), normalized=True)
    )
    crossed = np.column_stack([vertices[:, 0], others[:, 1]])
    points = np.concatenate([vertices, on_edges, crossed])
    nudged = [points]
    for axis in (0, 1):
        for towards in (-np.inf, np.inf):
            moved = points.copy()
            moved[:, axis] = np.nextafter(moved[:, axis], towards)
            nudged.append(moved)
    return np.concatenate(nudged)


def random_points(rng: np.random.Generator, shapes: Shapes, count: int) -> NDArray[np.float64]:
    west, south, east, north = shapely.total_bounds(shapes)
    spare = 0.05 * (east - west)
    return np.column_stack(
        [
            rng.uniform(west - spare, east + spare, count),
            rng.uniform(south - spare, north + spare, count),
        ]
    )


def asked(shapes: Shapes, points: NDArray[np.float64]) -> tuple[NDArray[np.bool_], ...]:
    """What shapely says of every point and feature: meets, and lies properly inside."""
    meets = [shapely.intersects_xy(shape, points[:, 0], points[:, 1]) for shape in shapes]
    within = [shapely.contains_xy(shape, points[:, 0], points[:, 1]) for shape in shapes]
    return np.array(meets).T, np.array(within).T


def as_mask(table: CellTable, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    rows, features = table.pairs(points[:, 0], points[:, 1])
    assert (np.diff(rows * len(table) + features) > 0).all()
    mask = np.zeros((len(points), len(table)), dtype=np.bool_)
    mask[rows, features] = True
    return mask


def check_first(table: CellTable, points: NDArray[np.float64], wanted: NDArray[np.int64]) -> None:
    """All kernels: for a few points, for more, and for many."""
    x, y = points.T
    assert (table.first(x, y) == wanted).all()
    some = range(0, len(x), 300)
    parts = [table.first(x[start : start + 300], y[start : start + 300]) for start in some]
    assert (np.concatenate(parts) == wanted).all()
    times = -(-2048 // len(x))
    for find in {find_by_numba, table.find}:
        table.find = find
        assert (table.first(np.tile(x, times), np.tile(y, times)) == np.tile(wanted, times)).all()


def check_against_shapely(shapes: Shapes, points: NDArray[np.float64], cells: int | None) -> None:
    meets, within = asked(shapes, points)
    closed = CellTable(shapes, closed=True, cells=cells)
    assert (as_mask(closed, points) == meets).all()
    first = np.where(meets.any(axis=1), meets.argmax(axis=1), -1)
    check_first(closed, points, first)
    half_open = CellTable(shapes, cells=cells)
    mask = as_mask(half_open, points)
    assert (mask[meets == within] == meets[meets == within]).all()
    first = np.where(mask.any(axis=1), mask.argmax(axis=1), -1)
    check_first(half_open, points, first)


@pytest.mark.parametrize("cells", [None, 1, 50, 3000])
@settings(deadline=None, max_examples=12)
@given(seed=SEEDS, make=st.sampled_from([some_blobs, a_partition, a_comb]))
def test_areas_are_what_shapely_says(
    cells: int | None, seed: int, make: Callable[[np.random.Generator, int], Shapes]
) -> None:
    rng = np.random.default_rng(seed)
    shapes = make(rng, int(rng.integers(5, 40)))
    points = np.concatenate([random_points(rng, shapes, 300), near_borders(rng, shapes, 60)])
    check_against_shapely(shapes, points, cells)


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, cells=st.sampled_from([1, 9, 400, 10_000]))
def test_corners_and_sides_of_cells(seed: int, cells: int) -> None:
    """Points, and features' corners, exactly where cells meet."""
    rng = np.random.default_rng(seed)
    lattice = shapely.box(0.0, 0.0, 8.0, 8.0)
    corners = rng.integers(0, 33, (12, 3, 2)) / 4.0
    triangles = shapely.polygons(corners)
    triangles = triangles[shapely.area(triangles) > 0]
    shapes = np.array([*triangles, lattice], dtype=object)
    points = np.stack(np.meshgrid(np.arange(-1, 34), np.arange(-1, 34)), axis=-1).reshape(-1, 2) / 4
    check_against_shapely(shapes, points, cells)


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_features_that_share_borders_share_no_point_and_lose_none(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = a_partition(rng, 30)
    points = np.concatenate([random_points(rng, shapes, 200), near_borders(rng, shapes, 60)])
    inside = shapely.contains_xy(shapely.box(120.1, 36.1, 120.9, 36.9), points[:, 0], points[:, 1])
    mask = as_mask(CellTable(shapes), points)
    # Only where neighbours' borders have the same vertices do doubles tell one border.
    union = shapely.coverage_is_valid(shapes)
    assert (mask.sum(axis=1) <= 1).all() or not union
    if union:
        assert (mask[inside].sum(axis=1) == 1).all()


def test_a_feature_owns_its_western_and_southern_border() -> None:
    table = CellTable([shapely.box(0, 0, 1, 1)])
    x = np.array([0.0, 1.0, 0.5, 0.5, 0.0, 1.0, 0.0, 1.0])
    y = np.array([0.5, 0.5, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0])
    assert table.first(x, y).tolist() == [0, -1, 0, -1, 0, -1, -1, -1]
    assert CellTable([shapely.box(0, 0, 1, 1)], closed=True).first(x, y).tolist() == [0] * 8


def test_signs_that_doubles_cannot_tell() -> None:
    """A point beside a long edge, by less than a rounded determinant can show."""
    edge = shapely.Polygon([(0.5, 0.5), (12.0, 12.0), (24.0, 24.0), (24.0, 0.5)])
    steps = np.arange(-40, 41) * 2.0**-53
    x, y = (axis.ravel() + 0.5 for axis in np.meshgrid(steps, steps))
    check_against_shapely(np.array([edge], dtype=object), np.column_stack([x, y]), None)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e7])
def test_tiny_and_huge_features(scale: float) -> None:
    shapes = np.array([shapely.Polygon([(0, 0), (3, 1), (1, 2)]), shapely.box(1, 1, 4, 4)])
    shapes = shapely.transform(shapes, lambda points: points * scale + 120.0)
    rng = np.random.default_rng(1)
    points = np.concatenate([random_points(rng, shapes, 500), near_borders(rng, shapes, 200)])
    check_against_shapely(shapes, points, None)


def test_a_long_thin_extent_has_not_too_many_cells() -> None:
    shapes = np.array([shapely.box(0, 0, 1e6, 1e-6), shapely.box(2e6, 0, 3e6, 1e-6)])
    table = CellTable(shapes)
    assert table.nbytes < 2_000_000
    assert table.first([5e5, 1.5e6, 2.5e6], [5e-7] * 3).tolist() == [0, -1, 1]


def test_many_large_areas_on_each_other_do_not_fill_the_memory() -> None:
    shapes = np.array([shapely.box(n, n, 5000 + n, 5000 + n) for n in range(600)])
    table = CellTable(shapes)
    assert table.nbytes < 2**28
    assert len(table.pairs([2500.0], [2500.0]).rows) == 600


@pytest.mark.parametrize("closed", [True, False])
def test_nothing_to_ask_and_nothing_to_find(closed: bool) -> None:
    table = CellTable([shapely.box(0, 0, 1, 1), None, shapely.Polygon()], closed=closed)
    assert table.first([], []).shape == table.pairs([], []).rows.shape == (0,)
    nowhere = [NAN, 0.5, math.inf, -math.inf, 1e308]
    assert table.first(nowhere, [0.5, NAN, 0.5, 0.5, 0.5]).tolist() == [-1] * 5
    for empty in (CellTable([], closed=closed), CellTable([None], closed=closed)):
        assert empty.first([0.0, 1.0], [0.0, 1.0]).tolist() == [-1, -1]
        assert empty.pairs([0.0], [0.0]).rows.tolist() == []
        assert empty.border_ratio == 0.0


def test_arguments_are_not_changed_and_views_are_taken() -> None:
    table = CellTable([shapely.box(0, 0, 1, 1)])
    points = np.array([[0.5, 0.5], [1.5, 0.5]])
    points.flags.writeable = False
    assert table.first(points[:, 0], points[:, 1]).tolist() == [0, -1]
    assert table.pairs(points[::-1, 0], points[::-1, 1]).rows.tolist() == [1]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([shapely.Point(0, 0)], "feature 0: a polygon or multipolygon was wanted, got a Point"),
        (
            [shapely.box(0, 0, 1, 1), shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])],
            "feature 1: a valid area was wanted, got one with: Self-intersection",
        ),
    ],
)
def test_what_is_no_area(shapes: list[shapely.Geometry], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        CellTable(shapes)


def test_arrays_that_do_not_fit() -> None:
    table = VolumeTable([shapely.box(0, 0, 1, 1)], [0], [1], [1])
    with pytest.raises(GeometryError, match=r"one shape \(n,\), got \(1,\) and \(2,\)"):
        table.first([0.0], [0.0, 1.0])
    with pytest.raises(GeometryError, match=r"heights must have shape \(k, 1\) with k >= 2"):
        table.volumes([0.0], [0.0], [[1.0]])
    with pytest.raises(GeometryError, match=r"must have shape \(1,\), got \(2,\)"):
        VolumeTable([shapely.box(0, 0, 1, 1)], [0, 1], [1])


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, closed=st.booleans())
def test_volumes_are_areas_with_a_floor_and_a_ceiling(seed: int, closed: bool) -> None:
    rng = np.random.default_rng(seed)
    shapes = some_blobs(rng, 25)
    points = np.concatenate([random_points(rng, shapes, 300), near_borders(rng, shapes, 10)])
    floors = rng.integers(0, 3, 25) * 50.0
    ceilings = floors + rng.integers(0, 3, 25) * 50.0
    datums = rng.integers(0, 2, 25)
    heights = rng.choice([0.0, 25.0, 50.0, 75.0, 100.0, NAN], (2, len(points)))
    table = VolumeTable(shapes, floors, ceilings, datums, closed=closed)
    rows, features, known = table.volumes(points[:, 0], points[:, 1], heights)
    here = CellTable(shapes, closed=closed).pairs(points[:, 0], points[:, 1])
    height = heights[datums[here.features], here.rows]
    within = (height >= floors[here.features]) & (height <= ceilings[here.features])
    wanted = within | np.isnan(height)
    assert rows.tolist() == here.rows[wanted].tolist()
    assert features.tolist() == here.features[wanted].tolist()
    assert known.tolist() == within[wanted].tolist()


def some_lines(rng: np.random.Generator, count: int) -> Shapes:
    steps = rng.normal(0, 40, (count, 6, 2)).cumsum(axis=1)
    return np.asarray(shapely.linestrings(steps + rng.uniform(0, 600, (count, 1, 2))), dtype=object)


def nearest_by_shapely(
    shapes: Shapes, points: NDArray[np.float64], reach: float
) -> tuple[list[int], NDArray[np.float64]]:
    spots = shapely.points(points)
    away = np.array([shapely.distance(shape, spots) for shape in shapes])
    away = np.where(np.isnan(away), np.inf, away)
    first = away.argmin(axis=0)
    least = away.min(axis=0)
    return np.where(least <= reach, first, -1).tolist(), np.where(least <= reach, least, NAN)


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_the_nearest_line_is_what_shapely_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = some_lines(rng, int(rng.integers(1, 25)))
    points = np.concatenate([rng.uniform(-100, 700, (300, 2)), near_borders(rng, shapes, 20)])
    found, away = NearestTable(shapes, 50.0).nearest(points[:, 0], points[:, 1])
    wanted, least = nearest_by_shapely(shapes, points, 50.0)
    assert found.tolist() == wanted
    np.testing.assert_array_equal(away, least)


def test_equally_near_features_and_the_end_of_the_reach() -> None:
    lines = shapely.linestrings([[(0, 0), (10, 0)], [(0, 8), (10, 8)], [(0, 0), (10, 0)]])
    table = NearestTable([None, *lines], 5.0)
    found, away = table.nearest([5.0, 5.0, 5.0, 15.0, 15.0], [4.0, 0.0, -5.0, 0.0, 1e-9])
    assert found.tolist() == [1, 1, 1, 1, 1]
    assert away.tolist() == [4.0, 0.0, 5.0, 5.0, 5.0]
    found, away = table.nearest([5.0, NAN, 1e300], [np.nextafter(-5.0, -6.0), 0.0, 0.0])
    assert found.tolist() == [-1] * 3
    assert np.isnan(away).all()


def test_points_and_areas_are_near_too() -> None:
    shapes = np.array(
        [
            shapely.LineString([(0, 0), (10, 0)]),
            shapely.box(2, -4, 4, 4),
            shapely.MultiPoint([(20, 0), (30, 0)]),
            shapely.MultiLineString([[(0, 20), (10, 20)], [(0, 30), (10, 30)]]),
            shapely.box(3, -4, 4, 4),
        ]
    )
    rng = np.random.default_rng(3)
    points = np.concatenate([rng.uniform(-10, 40, (2000, 2)), [[3.5, 2.0], [3.0, 0.0]]])
    found, away = NearestTable(shapes, 3.0).nearest(points[:, 0], points[:, 1])
    wanted, least = nearest_by_shapely(shapes, points, 3.0)
    assert found.tolist() == wanted
    np.testing.assert_array_equal(away, least)


def test_no_line_is_near_nothing() -> None:
    for table in (NearestTable([], 50.0), NearestTable([None, shapely.LineString()], 50.0)):
        found, away = table.nearest([0.0, 1.0], [0.0, 1.0])
        assert found.tolist() == [-1, -1]
        assert np.isnan(away).all()
        assert table.nearest([], [])[0].shape == (0,)


def test_what_cannot_be_near() -> None:
    with pytest.raises(GeometryError, match="a positive number was wanted, got 0"):
        NearestTable([], 0.0)
    with pytest.raises(GeometryError, match="feature 0: a line, point or area was wanted"):
        NearestTable([shapely.GeometryCollection([shapely.Point(0, 0)])], 1.0)


def test_the_map_of_a_city_is_what_shapely_says(generated_city: City) -> None:
    rng = np.random.default_rng(7)
    for layer in generated_city.layers.values():
        shapes = layer.geometries
        if len(layer) and np.isin(shapely.get_type_id(shapes), (3, 6)).all():
            points = np.concatenate(
                [random_points(rng, shapes, 300), near_borders(rng, shapes, 20)]
            )
            check_against_shapely(shapes, points, None)
