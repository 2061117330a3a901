"""Whether a layer lies where it says: its coordinates, read in every likely way, against the map.

Every reading (datum, projection, order of axes) puts the layer somewhere; how far from what is
known of the city it then lies says which reading is true. Where none fits but one constant shift
would, the shift is measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from core.city import LayerRole
from geo.checks.readings import Reading, possible_readings
from geo.crs import MetricFrame
from geo.layers import Layer

#: Points of a layer that are measured; more would not change a median.
MAX_POINTS = 6000

#: Two sources of one line differ by this much without either being wrong.
TOLERANCE_M = 10.0

#: A reading is better than another when it lies this many times nearer.
BETTER = 3.0

#: Furthest constant shift that is searched for.
MAX_SHIFT_M = 40_000.0

#: The city's outline along its coast is no better than that: piers and shoals lie outside it.
_COAST_M = 200.0

#: Lines are only taken for borders of the city where they have as many points and are as long.
_LEAST_BORDER_POINTS = 30
_LEAST_BORDER_M = 1_000.0
_SAME_LINE_M = 1.0

#: Around what is known, where a reading counts as near the city at all.
_NEAR_M = 60_000.0

_RASTER_CELLS = 2048

_CHILDREN = {
    LayerRole.STREET: (6, LayerRole.DISTRICT),
    LayerRole.COMMUNITY: (9, LayerRole.STREET),
    LayerRole.GRID: (12, LayerRole.COMMUNITY),
}

_AREAS = (LayerRole.DISTRICT, LayerRole.STREET, LayerRole.COMMUNITY, LayerRole.GRID)


@dataclass(frozen=True)
class Reference:
    """What a layer is compared with.

    Attributes:
        layer_id: Of the layer that is known.
        how: ``code`` or ``name``: borders of the same features; ``lines``: all lines of the same
            role; ``borders``: those of all areas, where the layer's turn out to be some of them;
            ``parent``: each feature against the area that its code names; ``outline``: all of it
            against the city's area; ``anchors``: middles of shapes against known places.
        shapes: What it has, in WGS 84.
        targets: Shape (m,), geometries in the metric frame.
        of_feature: Shape (n,), for each feature of the layer its target, -1 where it has none.
    """

    layer_id: str
    how: str
    shapes: NDArray[np.object_] = field(repr=False)
    targets: NDArray[np.object_] = field(repr=False)
    of_feature: NDArray[np.int64] = field(repr=False)

    @property
    def is_border(self) -> bool:
        """Whether distances are to lines, rather than to areas that the layer must lie in."""
        return self.how in {"code", "name", "lines", "borders"}


class Misfit(NamedTuple):
    """How far points lie from the reference, metres; infinity where one cannot be placed.

    Quartiles of the distances to the lines of the reference. Of distances outside the areas of
    the reference, most of which are 0, all three are the mean.

    Attributes:
        lower_m: A quarter of the points lies nearer: small where even a part of the lines fits.
        median_m: Half of them.
        upper_m: Three quarters of them.
    """

    lower_m: float
    median_m: float
    upper_m: float

    @property
    def typical_m(self) -> float:
        """Geometric mean of the three with a metre's grace, to sort by."""
        return math.expm1(sum(math.log1p(one) for one in self) / len(self))

    def beats(self, other: Misfit) -> bool:
        """Whether a quartile is so much less that it is no chance, and none so much more.

        A layer of which a third was drawn anew, along a coast say, fits by its lower quartile
        only; one whose reference is itself partly shifted, by the upper ones only.
        """
        return any(map(_much_less, self, other)) and not any(map(_much_less, other, self))


def _much_less(one_m: float, other_m: float) -> bool:
    return one_m * BETTER < other_m and other_m - one_m > TOLERANCE_M / 2.0


@dataclass(frozen=True)
class Fit:
    """How well a reading fits.

    Attributes:
        reading: The reading.
        misfit: How far it puts the layer from the reference.
        close_ratio: Share of the points that it puts within :data:`TOLERANCE_M`.
    """

    reading: Reading
    misfit: Misfit
    close_ratio: float


@dataclass(frozen=True)
class Shift:
    """One constant displacement that would bring the layer to its place."""

    east_m: float
    north_m: float
    misfit: Misfit  #: of the layer once it is moved

    @property
    def length_m(self) -> float:
        """How far."""
        return math.hypot(self.east_m, self.north_m)

    @property
    def azimuth_deg(self) -> float:
        """Where the layer must be moved to, clockwise from north."""
        return math.degrees(math.atan2(self.east_m, self.north_m)) % 360.0


@dataclass(frozen=True)
class Placement:
    """What the comparison found.

    Attributes:
        reference: What it was compared with.
        declared: How the layer fits as declared; None where it declares nothing.
        fits: All readings, the best first.
        likely: The reading that is the true one; None where none stands out.
        shift: The constant shift that explains the declared reading; None where there is none.
        odd_features: Row of each feature that lies elsewhere than the rest, and how far, metres.
        points: Shape (k, 2): sampled points (lon, lat) as read by ``declared`` or ``likely``.
        distances_m: Shape (k,): of each point to the reference.
    """

    reference: Reference
    declared: Fit | None
    fits: tuple[Fit, ...]
    likely: Reading | None
    shift: Shift | None
    odd_features: Mapping[int, float]
    points: NDArray[np.float64] = field(repr=False)
    distances_m: NDArray[np.float64] = field(repr=False)

    @property
    def agrees(self) -> bool:
        """Whether the layer lies where it says."""
        return (
            self.declared is not None
            and self.shift is None
            and self.likely == self.declared.reading
        )


def check_placement(
    shapes: NDArray[np.object_],
    declared: str | None,
    role: LayerRole,
    known: Sequence[Layer],
    frame: MetricFrame,
    *,
    codes: Sequence[str] = (),
    names: Sequence[str] = (),
) -> Placement | None:
    """Compare a layer with what is known of the city.

    Args:
        shapes: Shape (n,), shapely geometries with coordinates as they are in the file.
        declared: The CRS the layer claims (``EPSG:n``, ``GCJ-02``, ``BD-09``), or None.
        role: What the layer is.
        known: Layers that are known to lie right, in WGS 84.
        frame: The city's plane, in metres.
        codes: Codes of the features, empty where unknown.
        names: Names of the features, empty where unknown.

    Returns:
        What was found; None where there is nothing to compare with, or where nothing is declared
        and no reading is anywhere near the city.

    Raises:
        LayerError: PROJ does not know the declared CRS.

    Source:
        Iterative closest point: Besl and McKay, PAMI 14(2), 1992; the start of it by phase
        correlation of the rasterised lines.
    """
    for reference in _references(role, known, frame, codes, names, len(shapes)):
        raw, feature = _sample(shapes, reference)
        if not len(raw):
            return None
        found = _compared(raw, feature, declared, reference, frame)
        if found is None or reference.how != "borders" or _is_drawn_along(found, frame):
            return found
    return None


def _compared(
    raw: NDArray[np.float64],
    feature: NDArray[np.int64],
    declared: str | None,
    reference: Reference,
    frame: MetricFrame,
) -> Placement | None:
    """All readings against one reference; None where none is anywhere near the city."""
    centre, reach_m = _extent(reference)

    def near(lonlat: NDArray[np.float64]) -> NDArray[np.bool_]:
        east, north = frame.to_metric(lonlat[:, 0], lonlat[:, 1])
        away = np.hypot(east - centre[0], north - centre[1])
        return np.asarray(away < reach_m + _NEAR_M)  # NaN is not near

    raw, feature = _near_the_city(raw, feature, reference, frame, declared)
    measure = _Measure(reference, feature, frame)
    lon_deg = float(frame.to_lonlat(*centre)[0])
    readings = possible_readings(raw, declared, lon_deg, near)
    if not readings:
        return None
    fits = [measure.fit(one, raw) for one in readings]
    first = fits[0] if declared is not None else None
    fits.sort(key=lambda fit: fit.misfit.typical_m)
    shift = None if first is None else _explaining_shift(first, fits, measure, raw)
    likely = decide(first, fits) if shift is None else None
    if likely is not None and first is not None and reference.how == "outline":
        nearer_m = first.misfit.median_m - fits[0].misfit.median_m
        likely = likely if nearer_m > _COAST_M else first.reading
    shown = likely or (first.reading if first is not None else None)
    if shown is None:
        points = np.empty((0, 2))
        distances = np.empty(0)
        odd: dict[int, float] = {}
    else:
        points = shown.to_wgs84(raw)
        distances = measure.distances(frame_points(frame, points))
        odd = {}
        if likely is not None and not (reference.how == "borders" and _is_partly_along(fits)):
            odd = measure.odd_features(distances)
    return Placement(reference, first, tuple(fits), likely, shift, odd, points, distances)


def _is_drawn_along(placement: Placement, frame: MetricFrame) -> bool:
    """Whether lines are those of the reference: too long and too near it for that to be chance."""
    points = frame_points(frame, placement.points)
    if len(points) < _LEAST_BORDER_POINTS or not np.isfinite(points).all():
        return False
    if math.hypot(*np.ptp(points, axis=0)) < _LEAST_BORDER_M:
        return False
    best = [fit.misfit for fit in placement.fits if fit.reading == placement.likely]
    best += [] if placement.shift is None else [placement.shift.misfit]
    # Of areas within known ones, streets of districts say, only a part lies on their borders.
    return any(one.median_m <= TOLERANCE_M or one.lower_m <= _SAME_LINE_M for one in best)


def _is_partly_along(fits: Sequence[Fit]) -> bool:
    """Whether even the best reading leaves most of the lines away from the reference's."""
    return fits[0].misfit.median_m > TOLERANCE_M


def _near_the_city(
    raw: NDArray[np.float64],
    feature: NDArray[np.int64],
    reference: Reference,
    frame: MetricFrame,
    declared: str | None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Of a layer that covers far more than the city (a nation's airspace), the features near it."""
    if reference.how != "outline" or declared is None:
        return raw, feature
    metric = frame_points(frame, Reading(declared).to_wgs84(raw))
    centre, reach_m = _extent(reference)
    with np.errstate(invalid="ignore"):
        near = np.hypot(*(metric - centre).T) < reach_m
    if not near.any() or near.mean() > 0.5:
        return raw, feature
    kept = np.isin(feature, np.unique(feature[near]))
    return raw[kept], feature[kept]


def frame_points(frame: MetricFrame, lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of shape (n, 2) from degrees to metres east and north; NaN stays NaN."""
    return np.column_stack(frame.to_metric(lonlat[:, 0], lonlat[:, 1]))


class _Measure:
    """Distances of the sampled points to the reference, wherever a reading puts them."""

    def __init__(
        self, reference: Reference, feature: NDArray[np.int64], frame: MetricFrame
    ) -> None:
        self.reference = reference
        self.frame = frame
        self._target = reference.of_feature[feature]
        self._feature = feature
        self._tree = None
        if reference.how in {"lines", "borders"}:
            self._tree = shapely.STRtree(_segments(reference.targets))

    def fit(self, reading: Reading, raw: NDArray[np.float64]) -> Fit:
        """How well a reading of the points fits."""
        away = self.distances(frame_points(self.frame, reading.to_wgs84(raw)))
        return Fit(reading, self.misfit(away), float((away <= TOLERANCE_M).mean()))

    def misfit(self, distances: NDArray[np.float64]) -> Misfit:
        """All distances in three numbers."""
        if not np.isfinite(distances).all():
            return Misfit(math.inf, math.inf, math.inf)
        if not self.reference.is_border:
            return Misfit(*[float(distances.mean())] * 3)
        return Misfit(*np.quantile(distances, (0.25, 0.5, 0.75)).tolist())

    def distances(self, metric: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (n,), metres; NaN where a point is lost."""
        found = np.full(len(metric), np.nan)
        sound = np.isfinite(metric).all(axis=1)
        points = shapely.points(metric[sound])
        if self._tree is not None:
            rows, away = self._tree.query_nearest(points, return_distance=True, all_matches=False)
            part = np.full(len(points), np.nan)
            part[rows[0]] = away
            found[sound] = part
        else:
            found[sound] = shapely.distance(points, self.reference.targets[self._target[sound]])
        return found

    def odd_features(self, distances: NDArray[np.float64]) -> dict[int, float]:
        """Features that lie far off while the layer as a whole fits, and how far."""
        limit = 0.0
        if self.reference.is_border:
            limit = max(TOLERANCE_M * 3.0, float(np.quantile(distances, 0.5)) * 3.0)
        order = np.lexsort((distances, self._feature))
        rows, start, count = np.unique(self._feature, return_index=True, return_counts=True)
        middle = distances[order][start + (count // 2 if self.reference.is_border else 0)]
        far = np.flatnonzero(middle > limit)
        return {int(rows[one]): float(middle[one]) for one in far}

    def steps(self, metric: NDArray[np.float64]) -> NDArray[np.float64]:
        """From each point to the nearest of the reference, shape (n, 2), metres."""
        points = shapely.points(metric)
        if self._tree is not None:
            nearest = self._tree.query_nearest(points, all_matches=False)[1]
            targets = self._tree.geometries[nearest]
        else:
            targets = self.reference.targets[self._target]
        ends = shapely.get_coordinates(shapely.shortest_line(points, targets))
        return np.asarray(ends[1::2] - ends[0::2])


def decide(declared: Fit | None, fits: Sequence[Fit]) -> Reading | None:
    """The true reading: the best where it stands out, else the declared one.

    Args:
        declared: How the declared reading fits, if one is declared.
        fits: All of them, the best first.
    """
    best = fits[0]
    if declared is not None:
        return best.reading if best.misfit.beats(declared.misfit) else declared.reading
    stands_out = len(fits) == 1 or best.misfit.beats(fits[1].misfit)
    return best.reading if stands_out and math.isfinite(best.misfit.median_m) else None


def _explaining_shift(
    declared: Fit, fits: Sequence[Fit], measure: _Measure, raw: NDArray[np.float64]
) -> Shift | None:
    """The constant shift that explains the declared reading better than any other reading."""
    best = min(fits[0], declared, key=lambda fit: fit.misfit.typical_m)
    if not measure.reference.is_border or best.misfit.lower_m <= TOLERANCE_M:
        return None
    metric = frame_points(measure.frame, declared.reading.to_wgs84(raw))
    if not np.isfinite(metric).all():
        return None
    shift = _constant_shift(measure, metric)
    return shift if shift is not None and shift.misfit.beats(best.misfit) else None


def _constant_shift(measure: _Measure, metric: NDArray[np.float64]) -> Shift | None:
    """The displacement that brings points onto the reference; None where there is none."""
    reference = measure.reference
    if reference.how in {"lines", "borders"}:
        start = _correlated(metric, reference.targets)
    else:
        start = _centre_difference(measure, metric)
    moved = metric + start
    for _ in range(30):
        steps = measure.steps(moved)
        length = np.hypot(steps[:, 0], steps[:, 1])
        near = length <= np.quantile(length, 0.8)
        step = steps[near].mean(axis=0)
        moved = moved + step
        if np.hypot(*step) < 0.05:
            break
    east, north = (moved - metric)[0]
    if math.hypot(east, north) > MAX_SHIFT_M * 5.0:
        return None
    return Shift(float(east), float(north), measure.misfit(measure.distances(moved)))


def _centre_difference(measure: _Measure, metric: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median over features of how far the middle of their box is from the known one's."""
    gaps = []
    for target in np.unique(measure._target):
        part = metric[measure._target == target]
        west, south, east, north = measure.reference.targets[target].bounds
        middle = (part.min(axis=0) + part.max(axis=0)) / 2.0
        gaps.append([(west + east) / 2.0 - middle[0], (south + north) / 2.0 - middle[1]])
    return np.asarray(np.median(np.array(gaps), axis=0))


def _correlated(metric: NDArray[np.float64], lines: NDArray[np.object_]) -> NDArray[np.float64]:
    """The shift at which two pictures of dots agree best, by cross-correlation."""
    known = shapely.get_coordinates(shapely.segmentize(lines, 50.0))
    low = np.minimum(metric.min(axis=0), known.min(axis=0)) - MAX_SHIFT_M
    high = np.maximum(metric.max(axis=0), known.max(axis=0)) + MAX_SHIFT_M
    cell = float((high - low).max()) / _RASTER_CELLS

    def picture(points: NDArray[np.float64]) -> NDArray[np.float64]:
        counts, _, _ = np.histogram2d(
            points[:, 0],
            points[:, 1],
            bins=_RASTER_CELLS,
            range=[
                [low[0], low[0] + cell * _RASTER_CELLS],
                [low[1], low[1] + cell * _RASTER_CELLS],
            ],
        )
        return np.minimum(counts, 1.0)

    agreement = fftconvolve(picture(known), picture(metric)[::-1, ::-1], mode="same")
    half = _RASTER_CELLS // 2
    reach = min(int(MAX_SHIFT_M / cell), half - 1)
    middle = half - 1
    window = agreement[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
    peak = np.array(np.unravel_index(int(window.argmax()), window.shape)) - reach
    return np.asarray(peak * cell, dtype=np.float64)


def _references(
    role: LayerRole,
    known: Sequence[Layer],
    frame: MetricFrame,
    codes: Sequence[str],
    names: Sequence[str],
    count: int,
) -> Iterator[Reference]:
    """The comparisons that the known layers allow, the strictest first."""
    same = [layer for layer in known if layer.role is role and len(layer)]
    for how, wanted in (("code", codes), ("name", names)):
        for layer in same:
            matched = _matched(wanted, layer.column(how), count)
            if (matched >= 0).sum() * 2 > count and role is not LayerRole.ROAD:
                borders = _borders(frame.geometry_to_metric(layer.geometries))
                yield Reference(layer.id, how, layer.geometries, borders, matched)
                return
    if same and role not in {LayerRole.ZONE, LayerRole.AIRSPACE, LayerRole.CUSTOM}:
        lines = _borders(frame.geometry_to_metric(same[0].geometries))
        if not np.isin(shapely.get_type_id(lines), (0, 4)).any():
            yield _against_all(same[0].id, same[0].geometries, "lines", lines, count)
            return
    if role in _CHILDREN:
        digits, above = _CHILDREN[role]
        for layer in known:
            prefixes = [code[:digits] for code in codes]
            matched = _matched(prefixes, layer.column("code"), count)
            if layer.role is above and (matched >= 0).sum() * 2 > count:
                areas = np.asarray(frame.geometry_to_metric(layer.geometries), dtype=object)
                yield Reference(layer.id, "parent", layer.geometries, areas, matched)
                return
    of_areas = [one for area_role in _AREAS for one in known if one.role is area_role and len(one)]
    if not of_areas:
        return
    shapes = np.concatenate([layer.geometries for layer in of_areas])
    lines = _borders(frame.geometry_to_metric(shapes))
    yield _against_all(", ".join(one.id for one in of_areas), shapes, "borders", lines, count)
    layer = of_areas[0]
    areas = frame.geometry_to_metric(layer.geometries)
    outline = np.array([shapely.union_all(shapely.make_valid(areas))], dtype=object)
    yield _against_all(layer.id, layer.geometries, "outline", outline, count)


def _against_all(
    layer_id: str, shapes: NDArray[np.object_], how: str, targets: NDArray[np.object_], count: int
) -> Reference:
    """A comparison in which every feature has the first target."""
    return Reference(layer_id, how, shapes, targets, np.zeros(count, dtype=np.int64))


def _matched(wanted: Sequence[str], have: Sequence[str], count: int) -> NDArray[np.int64]:
    index: dict[str, int] = {}
    for number, text in enumerate(have):
        if text:
            index.setdefault(text, number)
    if len(wanted) != count:
        return np.full(count, -1, dtype=np.int64)
    return np.array([index.get(text, -1) for text in wanted], dtype=np.int64)


def _borders(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Borders of areas; lines and points as they are."""
    areas = np.isin(shapely.get_type_id(shapes), (3, 6))
    out = np.array(shapes, dtype=object)
    out[areas] = shapely.boundary(out[areas])
    return out


def _segments(lines: NDArray[np.object_]) -> NDArray[np.object_]:
    """Every segment as a line of its own, for an index over them."""
    parts = shapely.get_parts(lines)
    coordinates, part = shapely.get_coordinates(parts, return_index=True)
    joined = part[1:] == part[:-1]
    pairs = np.stack([coordinates[:-1][joined], coordinates[1:][joined]], axis=1)
    return np.asarray(shapely.linestrings(pairs), dtype=object)


def _sample(
    shapes: NDArray[np.object_], reference: Reference
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices of the features that have a target, evenly thinned, and their features."""
    points, feature = shapely.get_coordinates(shapes, return_index=True)
    usable = reference.of_feature[feature] >= 0
    points, feature = points[usable], feature[usable]
    step = max(1, math.ceil(len(points) / MAX_POINTS))
    return points[::step], feature[::step].astype(np.int64)


def _extent(reference: Reference) -> tuple[NDArray[np.float64], float]:
    west, south, east, north = shapely.total_bounds(reference.targets)
    centre = np.array([(west + east) / 2.0, (south + north) / 2.0])
    return centre, float(math.hypot(east - west, north - south)) / 2.0
