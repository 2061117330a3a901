"""Distances and directions on the WGS 84 ellipsoid."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import Geod

_GEOD = Geod(ellps="WGS84")


def _flat(*values: ArrayLike) -> tuple[list[NDArray[np.float64]], tuple[int, ...]]:
    arrays = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in values))
    return [np.ascontiguousarray(array).ravel() for array in arrays], arrays[0].shape


def distance_m(
    lon1_deg: ArrayLike, lat1_deg: ArrayLike, lon2_deg: ArrayLike, lat2_deg: ArrayLike
) -> NDArray[np.float64]:
    """Length of the geodesic between points.

    Args:
        lon1_deg: Degrees; the four arguments broadcast against each other.
        lat1_deg: Degrees.
        lon2_deg: Degrees.
        lat2_deg: Degrees.

    Returns:
        Metres, of the broadcast shape (0-d for four numbers); NaN where a value is not finite.

    Example:
        >>> distance_m(120.0, 36.0, [120.0, 120.001], 36.0).round(2).tolist()
        [0.0, 90.16]
        >>> distance_m([], [], [], []).shape
        (0,)
    """
    (lon1, lat1, lon2, lat2), shape = _flat(lon1_deg, lat1_deg, lon2_deg, lat2_deg)
    known = np.isfinite(lon1) & np.isfinite(lat1) & np.isfinite(lon2) & np.isfinite(lat2)
    metres = np.full(lon1.shape, np.nan)
    if known.any():
        metres[known] = _GEOD.inv(lon1[known], lat1[known], lon2[known], lat2[known])[2]
    return metres.reshape(shape)


def bearing_deg(
    lon1_deg: ArrayLike, lat1_deg: ArrayLike, lon2_deg: ArrayLike, lat2_deg: ArrayLike
) -> NDArray[np.float64]:
    """Direction at the first point towards the second, 0 to 360 clockwise from true north.

    Args:
        lon1_deg: WGS 84 degrees, any shapes that broadcast; likewise the other three.
        lat1_deg: Of the first point.
        lon2_deg: Of the second.
        lat2_deg: Of the second.

    Returns:
        Degrees in the common shape; NaN where a position is unknown.

    Example:
        >>> bearing_deg(120.0, 36.0, [120.0, 119.999], [36.001, 36.0]).round(1).tolist()
        [0.0, 270.0]
    """
    (lon1, lat1, lon2, lat2), shape = _flat(lon1_deg, lat1_deg, lon2_deg, lat2_deg)
    known = np.isfinite(lon1) & np.isfinite(lat1) & np.isfinite(lon2) & np.isfinite(lat2)
    bearing = np.full(lon1.shape, np.nan)
    if known.any():
        azimuth = _GEOD.inv(lon1[known], lat1[known], lon2[known], lat2[known])[0]
        bearing[known] = np.mod(azimuth, 360.0)
    return bearing.reshape(shape)


def destination(
    lon_deg: ArrayLike, lat_deg: ArrayLike, bearing_deg: ArrayLike, distance_m: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where one gets to from a point in a direction after a distance.

    Returns:
        Longitudes and latitudes in degrees, of the broadcast shape.

    Example:
        >>> lon, lat = destination(120.0, 36.0, 90.0, 90.16)
        >>> round(float(lon), 5), round(float(lat), 5)
        (120.001, 36.0)
    """
    (lon, lat, bearing, metres), shape = _flat(lon_deg, lat_deg, bearing_deg, distance_m)
    lon2, lat2, _ = _GEOD.fwd(lon, lat, bearing, metres)
    return np.asarray(lon2).reshape(shape), np.asarray(lat2).reshape(shape)
