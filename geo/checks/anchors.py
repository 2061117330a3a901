"""Places in China that are known wherever a layer comes from: aerodromes.

A layer of airspace is seldom one city's, and no other layer of the city says where it must lie.
But much of it is drawn around runways, and where those are is published.
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geo.checks.placement import Fit, Misfit, Placement, Reference, decide
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

_CENTRE_LON_DEG = 105.0


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
    closest = np.min([np.nan_to_num(one, nan=np.inf) for one in away.values()], axis=0)
    drawn_around = closest < _REACH_M
    if drawn_around.sum() < _MIN_COUNT:
        return None
    fits = [
        Fit(
            reading,
            Misfit(*np.quantile(one[drawn_around], (0.25, 0.5, 0.75)).tolist()),
            float((one[drawn_around] < 100.0).mean()),
        )
        for reading, one in away.items()
        if np.isfinite(one[drawn_around]).all()
    ]
    fits.sort(key=lambda fit: fit.misfit.typical_m)
    first = next((fit for fit in fits if declared and fit.reading == readings[0]), None)
    if not fits or (declared is not None and first is None):
        return None
    likely = decide(first, fits)
    shown = likely or fits[0].reading
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
        None,
        odd if likely is not None else {},
        shown.to_wgs84(middles[drawn_around]),
        apart,
    )


def _unit_vectors(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions from the centre of the Earth, in which nearest is nearest everywhere."""
    lon, lat = np.radians(lonlat).T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
