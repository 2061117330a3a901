"""Coordinates: WGS 84, the shifted GCJ-02 and BD-09, and a city's metric frame.

Positions are (lon, lat) in degrees everywhere. The shifts are applied once, at the edge, to
data that declares them; inside, everything is WGS 84 (docs/decisions/0012).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from core.errors import GeometryError, LayerError

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]

WGS84 = "EPSG:4326"
GCJ02 = "GCJ-02"
BD09 = "BD-09"

#: GCJ-02 is defined on the Krasovsky 1940 ellipsoid.
_AXIS_M = 6378245.0
_ECCENTRICITY_SQUARED = 0.00669342162296594323
_BD_WAVE = 3000.0 * np.pi / 180.0

#: The shift exists within this box only: west, south, east, north.
MAINLAND_BOX = (72.004, 0.8293, 137.8347, 55.8271)

#: Fixed-point rounds; six reach 1e-12 degrees, the rest is for the box's far corners.
_ROUNDS = 12


def _arrays(lon_deg: ArrayLike, lat_deg: ArrayLike) -> Pair:
    lon, lat = np.broadcast_arrays(
        np.asarray(lon_deg, dtype=np.float64), np.asarray(lat_deg, dtype=np.float64)
    )
    return lon, lat


def _in_mainland(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.bool_]:
    west, south, east, north = MAINLAND_BOX
    return np.asarray((lon >= west) & (lon <= east) & (lat >= south) & (lat <= north))


def _gcj_shift(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> Pair:
    x, y = lon - 105.0, lat - 35.0
    root = np.sqrt(np.abs(x))
    ripple = 20.0 * np.sin(6.0 * np.pi * x) + 20.0 * np.sin(2.0 * np.pi * x)
    north_m = (
        -100.0
        + 2.0 * x
        + 3.0 * y
        + 0.2 * y * y
        + 0.1 * x * y
        + 0.2 * root
        + 2.0 / 3.0 * ripple
        + 2.0 / 3.0 * (20.0 * np.sin(np.pi * y) + 40.0 * np.sin(np.pi * y / 3.0))
        + 2.0 / 3.0 * (160.0 * np.sin(np.pi * y / 12.0) + 320.0 * np.sin(np.pi * y / 30.0))
    )
    east_m = (
        300.0
        + x
        + 2.0 * y
        + 0.1 * x * x
        + 0.1 * x * y
        + 0.1 * root
        + 2.0 / 3.0 * ripple
        + 2.0 / 3.0 * (20.0 * np.sin(np.pi * x) + 40.0 * np.sin(np.pi * x / 3.0))
        + 2.0 / 3.0 * (150.0 * np.sin(np.pi * x / 12.0) + 300.0 * np.sin(np.pi * x / 30.0))
    )
    phi = np.radians(lat)
    m = 1.0 - _ECCENTRICITY_SQUARED * np.sin(phi) ** 2
    dlat = north_m * 180.0 / (np.pi * _AXIS_M * (1.0 - _ECCENTRICITY_SQUARED) / m**1.5)
    dlon = east_m * 180.0 / (np.pi * _AXIS_M / np.sqrt(m) * np.cos(phi))
    return dlon, dlat


def _invert(forward: Callable[[Any, Any], Pair], lon: ArrayLike, lat: ArrayLike) -> Pair:
    """Fixed-point inverse of a shift that is nearly constant nearby."""
    goal_lon, goal_lat = _arrays(lon, lat)
    guess_lon, guess_lat = goal_lon.copy(), goal_lat.copy()
    for _ in range(_ROUNDS):
        there_lon, there_lat = forward(guess_lon, guess_lat)
        step_lon, step_lat = there_lon - goal_lon, there_lat - goal_lat
        guess_lon, guess_lat = guess_lon - step_lon, guess_lat - step_lat
        largest = np.fmax(np.abs(step_lon), np.abs(step_lat))
        if not np.any(largest > 1e-12):
            break
    return guess_lon, guess_lat


def wgs84_to_gcj02(lon_deg: ArrayLike, lat_deg: ArrayLike) -> Pair:
    """Shift WGS 84 to GCJ-02 (Amap, Tencent); outside the mainland box nothing moves.

    Args:
        lon_deg: Degrees, any shape.
        lat_deg: Degrees, the same shape.

    Returns:
        Longitudes and latitudes in degrees; NaN stays NaN.

    Example:
        >>> lon, lat = wgs84_to_gcj02(120.3846, 36.0614)
        >>> round(float(lon), 9), round(float(lat), 9)
        (120.389733162, 36.061676488)
        >>> [c.tolist() for c in wgs84_to_gcj02([-0.1], [51.5])]
        [[-0.1], [51.5]]
    """
    lon, lat = _arrays(lon_deg, lat_deg)
    dlon, dlat = _gcj_shift(lon, lat)
    inside = _in_mainland(lon, lat)
    return np.where(inside, lon + dlon, lon), np.where(inside, lat + dlat, lat)


def gcj02_to_wgs84(lon_deg: ArrayLike, lat_deg: ArrayLike) -> Pair:
    """Undo :func:`wgs84_to_gcj02` to better than a millimetre.

    Whether the shift applies is judged by the GCJ-02 position, so within some hundred metres
    of the mainland box's border (at sea or abroad) the pair is not an exact inverse.

    Args:
        lon_deg: GCJ-02 degrees, any shape.
        lat_deg: GCJ-02 degrees, the same shape.

    Returns:
        WGS 84 longitudes and latitudes in degrees, the same shape; NaN stays NaN.

    Example:
        >>> lon, lat = gcj02_to_wgs84(*wgs84_to_gcj02(120.3846, 36.0614))
        >>> round(float(lon), 9), round(float(lat), 9)
        (120.3846, 36.0614)
    """
    lon, lat = _arrays(lon_deg, lat_deg)
    inside = _in_mainland(lon, lat)

    def shifted(x: NDArray[np.float64], y: NDArray[np.float64]) -> Pair:
        dlon, dlat = _gcj_shift(x, y)
        return x + dlon, y + dlat

    back_lon, back_lat = _invert(shifted, np.where(inside, lon, 105.0), np.where(inside, lat, 35.0))
    return np.where(inside, back_lon, lon), np.where(inside, back_lat, lat)


def gcj02_to_bd09(lon_deg: ArrayLike, lat_deg: ArrayLike) -> Pair:
    """Shift GCJ-02 to BD-09 (Baidu).

    Args:
        lon_deg: GCJ-02 degrees, any shape.
        lat_deg: GCJ-02 degrees, the same shape.

    Returns:
        BD-09 longitudes and latitudes in degrees, the same shape; NaN stays NaN.
    """
    x, y = _arrays(lon_deg, lat_deg)
    radius = np.hypot(x, y) + 2e-5 * np.sin(y * _BD_WAVE)
    angle = np.arctan2(y, x) + 3e-6 * np.cos(x * _BD_WAVE)
    return radius * np.cos(angle) + 0.0065, radius * np.sin(angle) + 0.006


def bd09_to_gcj02(lon_deg: ArrayLike, lat_deg: ArrayLike) -> Pair:
    """Undo :func:`gcj02_to_bd09` to better than a millimetre.

    Args:
        lon_deg: BD-09 degrees, any shape.
        lat_deg: BD-09 degrees, the same shape.

    Returns:
        GCJ-02 longitudes and latitudes in degrees, the same shape; NaN stays NaN.
    """
    return _invert(gcj02_to_bd09, lon_deg, lat_deg)


def wgs84_to_bd09(lon_deg: ArrayLike, lat_deg: ArrayLike) -> Pair:
    """Shift WGS 84 to BD-09.

    Args:
        lon_deg: WGS 84 degrees, any shape.
        lat_deg: WGS 84 degrees, the same shape.

    Returns:
        BD-09 longitudes and latitudes in degrees, the same shape; NaN stays NaN.
    """
    return gcj02_to_bd09(*wgs84_to_gcj02(lon_deg, lat_deg))


def bd09_to_wgs84(lon_deg: ArrayLike, lat_deg: ArrayLike) -> Pair:
    """Undo :func:`wgs84_to_bd09`.

    Args:
        lon_deg: BD-09 degrees, any shape.
        lat_deg: BD-09 degrees, the same shape.

    Returns:
        WGS 84 longitudes and latitudes in degrees, the same shape; NaN stays NaN.

    Example:
        >>> lon, lat = bd09_to_wgs84(120.396229971, 36.067681031)
        >>> round(float(lon), 7), round(float(lat), 7)
        (120.3846, 36.0614)
    """
    return gcj02_to_wgs84(*bd09_to_gcj02(lon_deg, lat_deg))


@lru_cache(maxsize=128)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


class MetricFrame:
    """A city's projected plane: WGS 84 degrees to metres east and north, and back.

    Args:
        epsg: Code of a projected CRS in metres, e.g. 4549 for Qingdao, 3067 for Finland.

    Raises:
        LayerError: The code is unknown, or is no projected CRS in metres.

    Example:
        >>> frame = MetricFrame(4549)
        >>> east, north = frame.to_metric(120.3846, 36.0614)
        >>> round(float(east), 3), round(float(north), 3)
        (534650.135, 3992424.046)
    """

    def __init__(self, epsg: int) -> None:
        try:
            crs = CRS.from_epsg(epsg)
        except CRSError as exc:
            raise LayerError(
                f"city crs: an EPSG code of a projected CRS was wanted, got {epsg}: {exc}"
            ) from exc
        if not crs.is_projected or any(axis.unit_name != "metre" for axis in crs.axis_info):
            raise LayerError(
                f"city crs: a projected CRS in metres was wanted (such as 4549), got EPSG:{epsg} "
                f"({crs.name})"
            )
        self.epsg = epsg
        self._code = f"EPSG:{epsg}"

    def to_metric(self, lon_deg: ArrayLike, lat_deg: ArrayLike) -> Pair:
        """WGS 84 degrees of any shape to (east, north) in metres; not finite becomes NaN."""
        return _transform(_transformer(WGS84, self._code), lon_deg, lat_deg)

    def to_lonlat(self, east_m: ArrayLike, north_m: ArrayLike) -> Pair:
        """Metres of any shape to (lon, lat) in WGS 84 degrees; not finite becomes NaN."""
        return _transform(_transformer(self._code, WGS84), east_m, north_m)

    def geometry_to_metric(self, geometry: Any) -> Any:
        """A shapely geometry, or an array of them, from degrees to metres."""
        return shapely.transform(geometry, _on_pairs(self.to_metric))

    def geometry_to_lonlat(self, geometry: Any) -> Any:
        """A shapely geometry, or an array of them, from metres to degrees."""
        return shapely.transform(geometry, _on_pairs(self.to_lonlat))


def _transform(transformer: Transformer, x: ArrayLike, y: ArrayLike) -> Pair:
    first, second = _arrays(x, y)
    a, b = transformer.transform(first, second)
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    bad = ~(np.isfinite(a) & np.isfinite(b) & np.isfinite(first) & np.isfinite(second))
    return np.where(bad, np.nan, a), np.where(bad, np.nan, b)


def _on_pairs(
    function: Callable[[Any, Any], Pair],
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    def moved(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(function(points[:, 0], points[:, 1]))

    return moved


def is_wkt(crs: str) -> bool:
    """Whether a CRS is described in well-known text: cities have meridians of their own.

    Example:
        >>> is_wkt("EPSG:4549"), is_wkt(CRS(4549).to_wkt())
        (False, True)
    """
    return crs.startswith(("PROJCRS[", "GEOGCRS[", "BOUNDCRS[", "COMPOUNDCRS["))


def normal_crs(declared: str | int) -> str:
    """The one spelling of a declared CRS: ``EPSG:n``, ``GCJ-02``, ``BD-09``, or WKT as it is.

    Raises:
        LayerError: It is none of these.

    Example:
        >>> normal_crs(4549), normal_crs("gcj02"), normal_crs("epsg:4326")
        ('EPSG:4549', 'GCJ-02', 'EPSG:4326')
    """
    if isinstance(declared, str) and is_wkt(declared):
        return declared
    text = str(declared).strip().upper()
    compact = text.replace("-", "").replace("_", "")
    if compact == "GCJ02":
        return GCJ02
    if compact in {"BD09", "BD09LL"}:
        return BD09
    if text in {"WGS84", "CRS84", "OGC:CRS84"}:
        return WGS84
    number = text.removeprefix("EPSG:")
    try:
        return f"EPSG:{int(number)}"
    except ValueError:
        raise LayerError(
            f"crs: EPSG:<number>, GCJ-02 or BD-09 was wanted, got {declared!r}"
        ) from None


def geometries_to_wgs84(geometries: NDArray[np.object_], crs: str) -> NDArray[np.object_]:
    """Bring geometries of a declared CRS to WGS 84, once.

    Args:
        geometries: Shapely geometries, any z is dropped.
        crs: As :func:`normal_crs` spells it.

    Raises:
        LayerError: PROJ does not know the EPSG code.
        GeometryError: A coordinate lies outside what the CRS can express.
    """

    def convert(points: NDArray[np.float64]) -> NDArray[np.float64]:
        moved = points_to_wgs84(points, crs)
        lost = np.isnan(moved).any(axis=1)
        if lost.any():
            raise GeometryError(
                f"{int(lost.sum())} of {len(moved)} points cannot be brought from "
                f"{crs_title(crs)} to "
                "WGS 84; is the declared CRS the true one?"
            )
        return moved

    flat = shapely.force_2d(geometries)
    if crs == WGS84:
        return np.asarray(flat, dtype=object)
    return np.asarray(shapely.transform(flat, convert), dtype=object)


def points_to_wgs84(points: NDArray[np.float64], crs: str) -> NDArray[np.float64]:
    """Bring points of a declared CRS to WGS 84.

    Args:
        points: Shape (n, 2): (lon, lat) in degrees, or (east, north) in the CRS's unit.
        crs: As :func:`normal_crs` spells it.

    Returns:
        Shape (n, 2), (lon, lat) in degrees; NaN where the CRS cannot express the point.

    Raises:
        LayerError: PROJ does not know the EPSG code.

    Example:
        >>> points_to_wgs84(np.array([[534650.135, 3992424.046]]), "EPSG:4549").round(6).tolist()
        [[120.3846, 36.0614]]
    """
    return np.column_stack(convert_points(points[:, 0], points[:, 1], crs, WGS84))


def convert_points(x: ArrayLike, y: ArrayLike, source: str | int, target: str | int) -> Pair:
    """Convert positions between any two coordinate reference systems the platform knows.

    WGS 84, CGCS2000 (EPSG:4490 and its Gauss-Krüger zones), Web Mercator and all else that has
    an EPSG code, GCJ-02 and BD-09. The order is always longitude or easting first, whatever the
    EPSG register says.

    Args:
        x: Longitudes in degrees or eastings in metres, any shape; NaN stays NaN.
        y: Latitudes or northings, the same shape.
        source: What they are in, as :func:`normal_crs` accepts it.
        target: What they are wanted in.

    Returns:
        The pair in the target CRS; NaN where it cannot be expressed there.

    Raises:
        LayerError: A CRS is not known.

    Example:
        >>> east, north = convert_points(120.389733162, 36.061676488, "GCJ-02", 4549)
        >>> round(float(east), 2), round(float(north), 2)
        (534650.13, 3992424.05)

    Source:
        PROJ for EPSG codes; GCJ-02 and BD-09 as :func:`wgs84_to_gcj02`, :func:`gcj02_to_bd09`.
    """
    start, end = normal_crs(source), normal_crs(target)
    if start == end:
        return tuple(column.copy() for column in _arrays(x, y))  # type: ignore[return-value]
    lon, lat = _SHIFTED_TO_WGS84.get(start, _by_proj(start, WGS84))(x, y)
    return _WGS84_TO_SHIFTED.get(end, _by_proj(WGS84, end))(lon, lat)


def _by_proj(source: str, target: str) -> Callable[[Any, Any], Pair]:
    if source == target:
        return _arrays

    def convert(x: ArrayLike, y: ArrayLike) -> Pair:
        try:
            transformer = _transformer(source, target)
        except CRSError as exc:
            unknown = target if source == WGS84 else source
            raise LayerError(
                f"crs: an EPSG code known to PROJ was wanted, got {unknown}: {exc}"
            ) from exc
        return _transform(transformer, x, y)

    return convert


_SHIFTED_TO_WGS84: dict[str, Callable[[Any, Any], Pair]] = {
    GCJ02: gcj02_to_wgs84,
    BD09: bd09_to_wgs84,
}
_WGS84_TO_SHIFTED: dict[str, Callable[[Any, Any], Pair]] = {
    GCJ02: wgs84_to_gcj02,
    BD09: wgs84_to_bd09,
}


def gauss_kruger_epsg(lon_deg: float, zone_degrees: int = 3, zone_prefix: bool = False) -> int:
    """EPSG code of the CGCS2000 Gauss-Krüger zone that a longitude lies in.

    Args:
        lon_deg: WGS 84 or CGCS2000 degrees, 73.5 to 136.5 (3° zones) or 72 to 138 (6°).
        zone_degrees: 3 or 6.
        zone_prefix: Whether eastings begin with the zone number (40 500 000) or not (500 000).

    Raises:
        GeometryError: The longitude is outside the zones of CGCS2000, or there are no such zones.

    Example:
        >>> gauss_kruger_epsg(120.3846), gauss_kruger_epsg(120.3846, zone_prefix=True)
        (4549, 4528)
        >>> gauss_kruger_epsg(119.9, 6), gauss_kruger_epsg(120.3846, 6, True)
        (4509, 4499)

    Source:
        EPSG register: 4491-4501 and 4502-4512 (6°, zones 13-23, meridians 75-135),
        4513-4533 and 4534-4554 (3°, zones 25-45, meridians 75-135).
    """
    if zone_degrees not in {3, 6}:
        raise GeometryError(f"Gauss-Krüger zones of 3 or 6 degrees were wanted, got {zone_degrees}")
    if not math.isfinite(lon_deg):
        index, count, first = -1, 0, 0
    elif zone_degrees == 3:
        index, count = math.floor((lon_deg + 1.5) / 3.0) - 25, 21
        first = 4513 if zone_prefix else 4534
    else:
        index, count = math.floor(lon_deg / 6.0) + 1 - 13, 11
        first = 4491 if zone_prefix else 4502
    if not 0 <= index < count:
        raise GeometryError(
            f"Gauss-Krüger: a longitude in the {zone_degrees}-degree zones of CGCS2000 (75 to 135 "
            f"and half a zone around) was wanted, got {lon_deg}"
        )
    return first + index


@lru_cache(maxsize=256)
def crs_title(crs: str) -> str:
    """What a CRS is called, for people.

    Example:
        >>> crs_title("EPSG:4549"), crs_title("GCJ-02")
        ('EPSG:4549 (CGCS2000 / 3-degree Gauss-Kruger CM 120E)', 'GCJ-02 (Amap, Tencent)')
    """
    if crs in _SHIFTED_TITLES:
        return _SHIFTED_TITLES[crs]
    try:
        name = str(CRS.from_user_input(crs).name)
        return name if is_wkt(crs) else f"{crs} ({name})"
    except CRSError:
        return crs


_SHIFTED_TITLES = {GCJ02: "GCJ-02 (Amap, Tencent)", BD09: "BD-09 (Baidu)"}
