"""Places in China that are known wherever a layer comes from: aerodromes.

A layer of airspace is seldom one city's, and no other layer of the city says where it must lie.
But much of it is drawn around runways, and where those are is published.
"""

from __future__ import annotations

import csv
import math
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geo.checks.placement import Fit, Misfit, Placement, Reference, Shift, decide
from geo.checks.readings import possible_readings
from geo.distance import distance_m

#: ICAO code, longitude and latitude (WGS 84) of the aerodrome reference points, to about 50 m;
#: from the public list of the `airportsdata` project (MIT).
_TABLE = Path(__file__).with_name("aerodromes_cn.csv")

#: A shape is an aerodrome's where its middle lies this near to one.
_REACH_M = 3_000.0

#: Fewer shapes than this prove nothing: each runway's middle differs from its reference point.
_MIN_COUNT = 5

#: A shape this far from its aerodrome, when most fit, was drawn in the wrong place.
_ODD_M = 600.0

#: Furthest shift of all shapes alike that is searched for, and how far apart the steps of single
#: shapes to their aerodromes may lie that are still one shift.
_MAX_SHIFT_M = 60_000.0
_SHIFT_SPREAD_M = 500.0

#: Least share of the shapes with an aerodrome within reach that must say the same, and of how many
#: aerodromes at least: shapes near each other have the same step to the one that is near them.
_SHIFT_SHARE = 0.5
_SHIFT_AERODROMES = 3

_CENTRE_LON_DEG = 105.0

_METRES_PER_DEGREE = 111_195.0  # of a sphere; good to a quarter of a percent of a shift


@lru_cache(maxsize=1)
def known_aerodromes() -> NDArray[np.float64]:
    """Reference points of China's aerodromes, shape (n, 2): (lon, lat) in WGS 84 degrees.

    Example:
        >>> known_aerodromes().shape[1], bool(len(known_aerodromes()) > 150)
        (2, True)
    """
    with _TABLE.open(encoding="utf-8") as file:
        rows = [(row["lon_deg"], row["lat_deg"]) for row in csv.DictReader(file)]
    return np.array(rows, dtype=np.float64)


def check_anchors(shapes: NDArray[np.object_], declared: str | None) -> Placement | None:
    """Compare the middles of shapes with the aerodromes that they must be drawn around.

    Args:
        shapes: Shape (n,), shapely geometries with coordinates as they are in the file.
        declared: The CRS the layer claims, or None.

    Returns:
        What was found; None where too few shapes are near an aerodrome.

    Raises:
        LayerError: PROJ does not know the declared CRS.
    """
    areas = np.isin(shapely.get_type_id(shapes), (3, 6))
    if areas.sum() < _MIN_COUNT:
        return None
    boxes = shapely.oriented_envelope(shapes[areas])
    middles = shapely.get_coordinates(shapely.centroid(boxes))
    known = known_aerodromes()
    tree = cKDTree(_unit_vectors(known))

    def near(lonlat: NDArray[np.float64]) -> NDArray[np.bool_]:
        lon, lat = lonlat.T
        return np.asarray((lon > 70.0) & (lon < 140.0) & (lat > 0.0) & (lat < 56.0))

    readings = possible_readings(middles, declared, _CENTRE_LON_DEG, near)
    away, match = {}, {}
    for reading in readings:
        lonlat = reading.to_wgs84(middles)
        sound = np.isfinite(lonlat).all(axis=1)
        nearest = np.zeros(len(lonlat), dtype=np.int64)
        nearest[sound] = tree.query(_unit_vectors(lonlat[sound]))[1]
        match[reading] = nearest
        away[reading] = distance_m(*lonlat.T, *known[nearest].T)
    if not away:
        return None
    moved = _common_shift(readings[0].to_wgs84(middles), known) if declared is not None else None
    every = [*away.values(), *(() if moved is None else (moved.away_m,))]
    closest = np.min([np.nan_to_num(one, nan=np.inf) for one in every], axis=0)
    drawn_around = closest < _REACH_M
    if drawn_around.sum() < _MIN_COUNT:
        return None
    fits = [
        Fit(reading, _misfit(one[drawn_around]), float((one[drawn_around] < 100.0).mean()))
        for reading, one in away.items()
    ]
    first = fits[0] if declared is not None else None
    fits.sort(key=lambda fit: fit.misfit.typical_m)
    shift = None
    if moved is not None:
        shift = Shift(moved.east_m, moved.north_m, _misfit(moved.away_m[drawn_around]))
        if not shift.misfit.beats(fits[0].misfit):
            shift = None
    likely = decide(first, fits) if shift is None else None
    shown = likely or (fits[0].reading if first is None else first.reading)
    rows = np.flatnonzero(areas)[drawn_around]
    apart = away[shown][drawn_around]
    odd = {int(row): float(m) for row, m in zip(rows, apart, strict=True) if m > _ODD_M}
    points = shapely.points(known)
    reference = Reference("aerodromes", "anchors", points, points, match[shown])
    return Placement(
        reference,
        first,
        tuple(fits),
        likely,
        shift,
        odd if likely is not None else {},
        shown.to_wgs84(middles[drawn_around]),
        apart,
    )


class _Moved(NamedTuple):
    """A shift of all shapes, and how far it leaves each from the nearest aerodrome, shape (n,)."""

    east_m: float
    north_m: float
    away_m: NDArray[np.float64]


def _common_shift(lonlat: NDArray[np.float64], known: NDArray[np.float64]) -> _Moved | None:
    """The shift to their aerodromes that most shapes have in common; None where they have none.

    It may be one of metres or one of degrees, which over a nation is not the same.
    """
    if not np.isfinite(lonlat).all():
        return None
    narrowing = np.cos(np.radians(lonlat[:, 1]))
    found = []
    for width in (narrowing, np.full(len(lonlat), narrowing.mean())):
        scale = _METRES_PER_DEGREE * np.column_stack([width, np.ones(len(lonlat))])
        moved = _shift_at_scale(lonlat, known, scale)
        if moved is not None:
            found.append(moved)
    return min(found, key=lambda one: float(np.median(one.away_m)), default=None)


def _shift_at_scale(
    lonlat: NDArray[np.float64], known: NDArray[np.float64], scale: NDArray[np.float64]
) -> _Moved | None:
    """The common shift in metres, of which each shape has so many to a degree, shape (n, 2).

    Every shape votes with its steps to all aerodromes within reach; true ones agree.
    """
    steps = (known[None] - lonlat[:, None]) * scale[:, None]
    shape, aerodrome = np.nonzero(np.hypot(steps[..., 0], steps[..., 1]) < _MAX_SHIFT_M)
    votes = steps[shape, aerodrome]
    if len(votes) < _MIN_COUNT:
        return None
    agreeing = cKDTree(votes).query_ball_point(votes, _SHIFT_SPREAD_M)
    rows = max(agreeing, key=lambda one: len(set(shape[one].tolist())))
    count = len(np.unique(shape[rows]))
    if count < max(_MIN_COUNT, _SHIFT_SHARE * len(np.unique(shape))):
        return None
    if len(np.unique(aerodrome[rows])) < _SHIFT_AERODROMES:
        return None
    step = np.median(votes[rows], axis=0)
    moved = lonlat + step / scale
    nearest = cKDTree(_unit_vectors(known)).query(_unit_vectors(moved))[1]
    return _Moved(float(step[0]), float(step[1]), distance_m(*moved.T, *known[nearest].T))


def _misfit(away_m: NDArray[np.float64]) -> Misfit:
    if not np.isfinite(away_m).all():
        return Misfit(math.inf, math.inf, math.inf)
    return Misfit(*np.quantile(away_m, (0.25, 0.5, 0.75)).tolist())


def _unit_vectors(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions from the centre of the Earth, in which nearest is nearest everywhere."""
    lon, lat = np.radians(lonlat).T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
