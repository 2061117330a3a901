"""Overlaps and gaps of layers that must share out the city."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.checks.partition import check_partition
from geo.crs import MetricFrame

FRAME = MetricFrame(4549)


def squares(*boxes: tuple[float, float, float, float]) -> np.ndarray:
    """Boxes in metres about a point of Qingdao, in degrees."""
    shapes = np.array([shapely.box(*box) for box in boxes], dtype=object)
    moved = shapely.transform(shapes, lambda xy: np.add(xy, (534_650.0, 3_992_424.0)))
    return np.asarray(FRAME.geometry_to_lonlat(moved), dtype=object)


def test_neighbours_that_share_a_border_are_clean() -> None:
    found = check_partition(squares((0, 0, 100, 100), (100, 0, 200, 100)), FRAME)
    assert (found.overlaps, found.gaps) == ((), ())
    assert found.area_m2 == pytest.approx(20_000.0, abs=1.0)


def test_an_overlap_says_who_where_and_how_large() -> None:
    found = check_partition(squares((0, 0, 110, 100), (100, 0, 200, 100)), FRAME)
    (one,) = found.overlaps
    assert one.features == (0, 1)
    assert one.area_m2 == pytest.approx(1000.0, abs=1.0)
    assert one.width_m == pytest.approx(2 * 1000.0 / 220.0, abs=0.1)
    east, north = FRAME.to_metric(one.lon_deg, one.lat_deg)
    assert 100 < east - 534_650.0 < 110
    assert 0 < north - 3_992_424.0 < 100


def test_a_hole_is_a_gap_with_its_neighbours() -> None:
    ring = squares((0, 0, 300, 100), (0, 200, 300, 300), (0, 100, 100, 200), (200, 100, 300, 200))
    (gap,) = check_partition(ring, FRAME).gaps
    assert gap.area_m2 == pytest.approx(10_000.0, abs=1.0)
    assert gap.features == (0, 1, 2, 3)


def test_a_bay_is_a_gap_only_within_a_known_outline() -> None:
    areas = squares((0, 0, 100, 100), (150, 0, 200, 100))
    assert check_partition(areas, FRAME).gaps == ()
    outline = list(squares((0, 0, 200, 100)))
    found = check_partition(areas, FRAME, outline=outline)
    assert found.bounded
    assert found.gaps[0].area_m2 == pytest.approx(5000.0, abs=1.0)


def test_an_empty_layer_has_nothing() -> None:
    found = check_partition(np.empty(0, dtype=object), FRAME)
    assert (found.overlaps, found.gaps, found.area_m2) == ((), (), 0.0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 8)] * 4), min_size=1, max_size=6))
def test_overlaps_are_those_of_every_pair(corners: list[tuple[int, int, int, int]]) -> None:
    boxes = [
        (100.0 * x, 100.0 * y, 100.0 * (x + 1 + w), 100.0 * (y + 1 + h)) for x, y, w, h in corners
    ]
    shapes = [shapely.box(*box) for box in boxes]
    wanted = {
        (one, other): shapes[one].intersection(shapes[other]).area
        for one in range(len(shapes))
        for other in range(one + 1, len(shapes))
        if shapes[one].intersection(shapes[other]).area > 50.0
    }
    found = check_partition(squares(*boxes), FRAME)
    assert {flaw.features for flaw in found.overlaps} == set(wanted)
    for flaw in found.overlaps:
        assert flaw.area_m2 == pytest.approx(wanted[flaw.features], rel=1e-3)
    whole = shapely.union_all(shapes)
    inner = sum(
        shapely.Polygon(ring).area for part in shapely.get_parts(whole) for ring in part.interiors
    )
    assert sum(gap.area_m2 for gap in found.gaps) == pytest.approx(inner, rel=1e-3, abs=1.0)
