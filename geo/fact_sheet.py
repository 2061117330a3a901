"""All that the map says of a point, as one answer: for the API and for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

from core.city import AltitudeDatum, LayerRole
from geo import beidou
from geo.components import NearComponent, components_of
from geo.h3_cells import h3_cells
from geo.model import City
from geo.tagging import Tagger, Tags
from geo.touching import Share, grid_shares

#: H3 cells are given from coarse (1.4 km) to fine (11 m).
H3_RESOLUTION = 9

#: A point this near to a road's line lies on neither side of it.
_ON_ROAD_M = 0.05


class Asked(NamedTuple):
    """Points that are asked about, arrays of shape (n,).

    ``lon_deg``, ``lat_deg`` in WGS 84; ``altitudes`` in metres by datum; ``time_ns`` UTC;
    the one-sigma error ellipse in metres and degrees from north, NaN where unknown.
    """

    lon_deg: NDArray[np.float64]
    lat_deg: NDArray[np.float64]
    altitudes: Mapping[AltitudeDatum, NDArray[np.float64]]
    time_ns: NDArray[np.int64]
    error_major_m: NDArray[np.float64]
    error_minor_m: NDArray[np.float64]
    error_azimuth_deg: NDArray[np.float64]

    @classmethod
    def of_points(
        cls,
        lon_deg: NDArray[np.float64],
        lat_deg: NDArray[np.float64],
        altitudes: Mapping[AltitudeDatum, NDArray[np.float64]],
        time_ns: NDArray[np.int64],
        error_m: NDArray[np.float64] | None = None,
    ) -> Asked:
        """Points whose error is a circle, or unknown.

        Args:
            lon_deg: Shape (n,), WGS 84 degrees, NaN where unknown.
            lat_deg: Shape (n,).
            altitudes: Metres by datum, each of shape (n,).
            time_ns: Shape (n,), UTC nanoseconds.
            error_m: Shape (n,), one sigma, NaN where unknown.
        """
        n = len(lon_deg)
        error = np.full(n, np.nan) if error_m is None else error_m
        return cls(lon_deg, lat_deg, altitudes, time_ns, error, error, np.zeros(n))


class FactSheet(msgspec.Struct, frozen=True, kw_only=True):
    """What the map says of one point; levels that are unknown are null, ``unknown`` says why."""

    lon_deg: float | None
    lat_deg: float | None
    district_code: str | None
    street_code: str | None
    community_code: str | None
    grid_code: str | None
    area_name: str
    generated: bool
    unplaced: str | None
    unknown: dict[str, str]
    road_name: str | None
    road_distance_m: float | None
    road_side: str | None
    component: NearComponent | None
    zones: tuple[str, ...]
    airspaces: tuple[str, ...]
    airspaces_unsure: tuple[str, ...]
    grid_shares: tuple[Share, ...]
    beidou_code: str | None
    beidou_code_3d: str | None
    h3_cell: str | None
    layer_versions: dict[str, str]


def fact_sheets(tagger: Tagger, city: City, asked: Asked) -> list[FactSheet]:
    """Ask a map everything about points.

    Args:
        tagger: The map.
        city: The city that it was made of.
        asked: The points, arrays of shape (n,) in WGS 84 degrees, metres and UTC nanoseconds.

    Returns:
        One answer per point, in order.

    Raises:
        GeometryError: The arrays have different shapes, or a point is not on Earth.
    """
    lon, lat = asked.lon_deg, asked.lat_deg
    tags = tagger.tag(lon, lat, asked.altitudes or None, asked.time_ns)
    shares = grid_shares(
        tagger,
        city.frame,
        lon,
        lat,
        asked.error_major_m,
        asked.error_minor_m,
        asked.error_azimuth_deg,
    )
    flat = beidou.encode(lon, lat)
    heights = asked.altitudes.get(AltitudeDatum.WGS84, np.full(len(lon), np.nan))
    solid = beidou.encode_3d(lon, lat, heights)
    cells = h3_cells(lon, lat, H3_RESOLUTION)
    sides = _road_sides(tags, tagger, city, lon, lat)
    components = components_of(city).near(lon, lat)
    missing = {role: "no_layer" for role in _LEVELS if not city.layers_of(role)}
    sheets = []
    for row in range(len(lon)):
        place = tags.place(row)
        codes = {
            LayerRole.DISTRICT: place.district_code,
            LayerRole.STREET: place.street_code,
            LayerRole.COMMUNITY: place.community_code,
            LayerRole.GRID: place.grid_code,
        }
        unknown = {
            f"{role.value}_code": place.unplaced or missing.get(role, "not_covered")
            for role, code in codes.items()
            if code is None
        }
        if place.road_name is None and place.road_distance_m is None:
            unknown["road_name"] = _NO_ROAD if city.layers_of(LayerRole.ROAD) else "no_layer"
        if components[row] is None:
            has = bool(city.layers_of(LayerRole.COMPONENT))
            unknown["component"] = "none_near" if has else "no_layer"
        if not solid[row]:
            unknown["beidou_code_3d"] = "no_ellipsoid_altitude"
        sheets.append(
            FactSheet(
                lon_deg=place.lon_deg,
                lat_deg=place.lat_deg,
                district_code=place.district_code,
                street_code=place.street_code,
                community_code=place.community_code,
                grid_code=place.grid_code,
                area_name=place.area_name,
                generated=place.generated,
                unplaced=place.unplaced,
                unknown=unknown,
                road_name=place.road_name,
                road_distance_m=place.road_distance_m,
                road_side=sides[row],
                component=components[row],
                zones=place.zones,
                airspaces=place.airspaces,
                airspaces_unsure=tags.airspaces_unsure(row),
                grid_shares=shares[row],
                beidou_code=str(flat[row]) or None,
                beidou_code_3d=str(solid[row]) or None,
                h3_cell=f"{int(cells[row]):x}" if cells[row] else None,
                layer_versions=place.layer_versions,
            )
        )
    return sheets


_LEVELS = (LayerRole.DISTRICT, LayerRole.STREET, LayerRole.COMMUNITY, LayerRole.GRID)
_NO_ROAD = "none_near"


def _road_sides(
    tags: Tags,
    tagger: Tagger,
    city: City,
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
) -> list[str | None]:
    """On which side of its nearest road each point lies, in the direction the road is drawn."""
    sides: list[str | None] = [None] * len(lon)
    roads = tags.road_features_of_rows
    rows = np.flatnonzero(roads >= 0)
    if not len(rows):
        return sides
    numbers, inverse = np.unique(roads[rows], return_inverse=True)
    shapes = np.concatenate([layer.geometries for layer in city.layers_of(LayerRole.ROAD)])
    lines = np.asarray(city.frame.geometry_to_metric(shapes[numbers]), dtype=object)[inverse]
    east, north = city.frame.to_metric(lon[rows], lat[rows])
    points = shapely.points(east, north)
    for row, line, point in zip(rows.tolist(), lines, points, strict=True):
        sides[row] = _side(line, point)
    return sides


def _side(line: shapely.Geometry, point: shapely.Geometry) -> str:
    """``left``, ``right`` or ``on``, by the segment of the road that is nearest."""
    parts = shapely.get_parts(line)
    part = parts[int(np.argmin(shapely.distance(parts, point)))]
    if part.geom_type != "LineString" or shapely.distance(part, point) < _ON_ROAD_M:
        return "on"
    along = shapely.line_locate_point(part, point)
    step = min(0.5, part.length / 2.0)
    start = shapely.line_interpolate_point(part, max(along - step, 0.0))
    end = shapely.line_interpolate_point(part, min(along + step, part.length))
    turn = (end.x - start.x) * (point.y - start.y) - (end.y - start.y) * (point.x - start.x)
    return "left" if turn > 0.0 else "right"
