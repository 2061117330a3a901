"""The ground of a view that does not change: a plane in metres, and where it lies on the map."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.ports import GroundPoints
from geo.camera import error_ellipse, offset_to_lonlat


class Plane(Protocol):
    """What :class:`geo.homography.Homography` and :class:`geo.tsai.TsaiCamera` have in common."""

    def to_ground(
        self, pixels: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Pixels of shape (n, 2) as (east, north) in metres, and which are seen."""
        ...

    def covariance(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Covariance in (east, north), shape (n, 2, 2), metres squared."""
        ...


class FixedGround:
    """A plane with a place on the map; a :class:`core.ports.Ground`.

    Args:
        plane: Pixels to metres.
        origin: (lon, lat) of the plane's (0, 0), WGS 84 degrees; None where it is not known.
        from_above: The camera looks straight down.

    Example:
        >>> from geo.homography import Homography
        >>> plane = Homography(np.array([[0.1, 0.0, 0.0], [0.0, -0.1, 0.0], [0.0, 0.0, 1.0]]))
        >>> ground = FixedGround(plane, (120.0, 36.0))
        >>> ground.metres(np.array([[50.0, 25.0]])).round(3).tolist()
        [[5.0, -2.5]]
        >>> ground.points(np.array([[50.0, 25.0]])).error_major_m.round(3).tolist()
        [0.1]
    """

    def __init__(
        self, plane: Plane, origin: tuple[float, float] | None = None, *, from_above: bool = False
    ) -> None:
        self.from_above = from_above
        self._plane = plane
        self._origin = origin

    def metres(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels of shape (n, 2) as metres east and north; NaN where no ground is seen."""
        return self._plane.to_ground(pixels)[0]

    def points(self, pixels: NDArray[np.float64]) -> GroundPoints | None:
        """Pixels of shape (n, 2) in degrees with one-sigma ellipses; None without an origin."""
        if self._origin is None:
            return None
        metres, seen = self._plane.to_ground(pixels)
        lon, lat = offset_to_lonlat(metres[:, 1], metres[:, 0], self._origin)
        # (east, north) to (north, east), which is how azimuths are counted.
        covariance = self._plane.covariance(pixels)[:, ::-1, ::-1]
        major, minor, azimuth = error_ellipse(np.where(seen[:, None, None], covariance, np.nan))
        return GroundPoints(lon, lat, major, minor, azimuth, seen)
