"""The ways in which a file's coordinates may be meant: datum, projection, order of the axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from geo.crs import BD09, GCJ02, WGS84, crs_title, points_to_wgs84, wgs84_to_gcj02

#: Someone undid a shift that was not there.
UNSHIFTED_TWICE = "WGS 84 with the GCJ-02 shift undone once too often"

#: What projected coordinates of China come in, with the central meridian of each: CGCS2000
#: Gauss-Krüger in 3° zones by meridian and by zone number, 6° zones likewise, UTM.
_ZONES = tuple(
    (first + index, 75.0 + step * index)
    for first, count, step in (
        (4534, 21, 3.0),
        (4513, 21, 3.0),
        (4502, 11, 6.0),
        (4491, 11, 6.0),
        (32643, 11, 6.0),
    )
    for index in range(count)
)

#: Zones further away than this are not confused with the city's own.
_ZONE_REACH_DEG = 8.0


@dataclass(frozen=True)
class Reading:
    """One way to read coordinates.

    Attributes:
        crs: As :func:`geo.crs.normal_crs` spells it, or :data:`UNSHIFTED_TWICE`.
        swapped: Whether the first number is the latitude or northing.
        shift: GCJ-02 or BD-09 where degrees were shifted before they were projected, as Amap's
            tiles are in Web Mercator.
    """

    crs: str
    swapped: bool = False
    shift: str | None = None

    @property
    def title(self) -> str:
        """For people: the CRS, its hidden shift, and that the axes are swapped."""
        shift = f" of {self.shift} degrees" if self.shift else ""
        return crs_title(self.crs) + shift + (", axes swapped (latitude first)" * self.swapped)

    def to_wgs84(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring points to WGS 84.

        Args:
            points: Shape (n, 2), in the unit of the CRS.

        Returns:
            Shape (n, 2), (lon, lat) in degrees; NaN where the reading cannot be.

        Raises:
            LayerError: PROJ does not know the EPSG code.
        """
        turned = points[:, ::-1] if self.swapped else points
        if self.crs == UNSHIFTED_TWICE:
            moved = np.column_stack(wgs84_to_gcj02(turned[:, 0], turned[:, 1]))
        else:
            moved = points_to_wgs84(turned, self.crs)
        if self.shift is not None:
            moved = points_to_wgs84(moved, self.shift)
        on_earth = (np.abs(moved[:, 0]) <= 180.0) & (np.abs(moved[:, 1]) <= 90.0)
        return np.where(on_earth[:, None], moved, np.nan)


def possible_readings(
    points: NDArray[np.float64],
    declared: str | None,
    lon_deg: float,
    near: Callable[[NDArray[np.float64]], NDArray[np.bool_]],
) -> list[Reading]:
    """The declared reading, then every other that puts the points anywhere near the city.

    Args:
        points: Shape (n, 2), as they are in the file.
        declared: The CRS that is claimed, if any.
        lon_deg: Where the city is, WGS 84 degrees.
        near: Says of (lon, lat) points, shape (n, 2), which are near the city.
    """
    centre = np.median(points, axis=0, keepdims=True)
    shifts: list[str | None] = [None]
    if (np.abs(centre) <= 180.0).all():
        names = [WGS84, GCJ02, BD09, UNSHIFTED_TWICE]
    else:
        zones = [code for code, meridian in _ZONES if abs(meridian - lon_deg) < _ZONE_REACH_DEG]
        names = [f"EPSG:{code}" for code in (3857, *zones)]
        shifts = [None, GCJ02, BD09]
    if declared is not None:
        names = [declared, *(name for name in names if name != declared)]
    readings = [] if declared is None else [Reading(declared)]
    for name, swapped, shift in product(names, (False, True), shifts):
        reading = Reading(name, swapped, shift)
        if reading not in readings and near(reading.to_wgs84(centre)).all():
            readings.append(reading)
    return readings
