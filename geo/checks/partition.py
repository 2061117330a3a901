"""Whether the areas of a layer share out the city: where two overlap, where none is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray

from geo.crs import MetricFrame

#: Smaller overlaps and gaps are rounding, not mistakes.
MIN_AREA_M2 = 1.0


@dataclass(frozen=True)
class Flaw:
    """One overlap or gap.

    Attributes:
        kind: ``overlap`` or ``gap``.
        area_m2: How large it is, in the city's plane.
        width_m: How wide about (twice its area over its border): a sliver is centimetres.
        features: Rows of the features that overlap, or that border on the gap.
        lon_deg: A point within it, WGS 84.
        lat_deg: Likewise.
        shape: Its outline, WGS 84.
    """

    kind: str
    area_m2: float
    width_m: float
    features: tuple[int, ...]
    lon_deg: float
    lat_deg: float
    shape: shapely.Geometry = field(repr=False)


@dataclass(frozen=True)
class Partition:
    """Overlaps and gaps of a layer, the largest first.

    Attributes:
        overlaps: Pairs of features that share an area.
        gaps: Places within the city, or within the layer's own outline, that no feature has.
        area_m2: Of all features together, overlaps counted once.
        bounded: Whether the gaps were looked for in a known outline, or in holes only.
    """

    overlaps: tuple[Flaw, ...]
    gaps: tuple[Flaw, ...]
    area_m2: float
    bounded: bool


def check_partition(
    shapes: NDArray[np.object_],
    frame: MetricFrame,
    *,
    outline: Sequence[shapely.Geometry] | None = None,
    min_area_m2: float = MIN_AREA_M2,
) -> Partition:
    """Find overlaps and gaps between areas that must neither overlap nor leave any.

    Args:
        shapes: Shape (n,), valid polygons and multipolygons in WGS 84 degrees.
        frame: The city's plane, in which areas are measured.
        outline: Areas in WGS 84 that the layer must fill; without it only holes that the layer
            itself surrounds are gaps.
        min_area_m2: Flaws below this are left out.

    Returns:
        The flaws, the largest first.

    Example:
        >>> from shapely import box
        >>> two = np.array([box(120, 36, 120.01, 36.01), box(120.009, 36, 120.02, 36.01)])
        >>> found = check_partition(two, MetricFrame(4549))
        >>> [(one.kind, one.features, round(one.area_m2, -3)) for one in found.overlaps]
        [('overlap', (0, 1), 100000.0)]
        >>> found.gaps
        ()
    """
    metric = np.asarray(frame.geometry_to_metric(shapes), dtype=object)
    metric = np.where(shapely.is_valid(metric), metric, shapely.make_valid(metric))
    tree = shapely.STRtree(metric)
    overlaps = _overlaps(metric, tree, frame, min_area_m2)
    whole = shapely.union_all(metric, grid_size=0.001)
    if outline is None:
        holes = _holes(whole)
    else:
        within = np.asarray(frame.geometry_to_metric(np.array(outline, dtype=object)), dtype=object)
        holes = shapely.get_parts(shapely.difference(shapely.union_all(within), whole))
        holes = holes[shapely.get_dimensions(holes) == 2]
    gaps = []
    for hole in holes[shapely.area(holes) >= min_area_m2]:
        around = tree.query(hole, predicate="dwithin", distance=0.01)
        gaps.append(_flaw("gap", hole, tuple(sorted(around.tolist())), frame))
    return Partition(
        overlaps=_sorted(overlaps),
        gaps=_sorted(gaps),
        area_m2=float(shapely.area(whole)),
        bounded=outline is not None,
    )


def _overlaps(
    metric: NDArray[np.object_], tree: shapely.STRtree, frame: MetricFrame, min_area_m2: float
) -> list[Flaw]:
    left, right = tree.query(metric, predicate="intersects")
    once = left < right
    left, right = left[once], right[once]
    # Neighbours share a border, not an inside; testing that first spares most intersections.
    inner = ~shapely.touches(metric[left], metric[right])
    left, right = left[inner], right[inner]
    shared = shapely.intersection(metric[left], metric[right])
    large = shapely.area(shared) >= min_area_m2
    return [
        _flaw("overlap", shape, (int(one), int(other)), frame)
        for shape, one, other in zip(shared[large], left[large], right[large], strict=True)
    ]


def _holes(whole: shapely.Geometry) -> NDArray[np.object_]:
    polygons = shapely.get_parts(whole)
    rings = [ring for polygon in polygons for ring in getattr(polygon, "interiors", ())]
    return np.array([shapely.Polygon(ring) for ring in rings], dtype=object)


def _flaw(
    kind: str, shape: shapely.Geometry, features: tuple[int, ...], frame: MetricFrame
) -> Flaw:
    point = frame.geometry_to_lonlat(shapely.point_on_surface(shape))
    border_m = float(shapely.length(shape))
    area_m2 = float(shapely.area(shape))
    return Flaw(
        kind=kind,
        area_m2=area_m2,
        width_m=2.0 * area_m2 / border_m if border_m else 0.0,
        features=features,
        lon_deg=float(point.x),
        lat_deg=float(point.y),
        shape=frame.geometry_to_lonlat(shape),
    )


def _sorted(flaws: list[Flaw]) -> tuple[Flaw, ...]:
    return tuple(sorted(flaws, key=lambda flaw: -flaw.area_m2))
