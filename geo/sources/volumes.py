"""Airspace volumes as their sources describe them, on the way to a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely
from pyproj import CRS, Geod

from core.city import AltitudeDatum
from geo.sources.table import SourceTable

FOOT_M = 0.3048
NAUTICAL_MILE_M = 1852.0

_EARTH = Geod(ellps="WGS84")

#: A circle drawn as a polygon leaves its true line by no more than this.
_SAGITTA_M = 2.0


@dataclass(frozen=True)
class Limit:
    """A floor or ceiling: metres above a datum; infinite where there is none."""

    metres: float
    datum: AltitudeDatum


GROUND = Limit(0.0, AltitudeDatum.AGL)
UNLIMITED = Limit(math.inf, AltitudeDatum.MSL)


@dataclass(frozen=True)
class Volume:
    """One airspace volume, in WGS 84.

    Attributes:
        id: Of the source, or empty.
        name: For people.
        kind: What it is: ``prohibited``, ``restricted``, ``class_d`` and so on, lower case.
        shape: Its ground, a polygon in degrees.
        floor: Lower limit.
        ceiling: Upper limit.
        active: When it is active, as :class:`geo.schedule.Schedule` writes it; empty for always.
        line: Where it begins in a text file; 0 where that says nothing.
    """

    id: str
    name: str
    kind: str
    shape: shapely.Geometry
    floor: Limit
    ceiling: Limit
    active: str = ""
    line: int = 0


def volume_table(volumes: Sequence[Volume], where: str, notes: Sequence[str] = ()) -> SourceTable:
    """Volumes as a table that a layer of role airspace is made from.

    Args:
        volumes: In the order of the source.
        where: The source, for messages.
        notes: What was left out.
    """
    shapes = np.empty(len(volumes), dtype=object)
    shapes[:] = [volume.shape for volume in volumes]
    columns = pd.DataFrame(
        {
            "volume_id": [one.id for one in volumes],
            "name": [one.name for one in volumes],
            "kind": [one.kind for one in volumes],
            "floor_m": [one.floor.metres for one in volumes],
            "ceiling_m": [one.ceiling.metres for one in volumes],
            "datum": [one.floor.datum.value for one in volumes],
            "ceiling_datum": [one.ceiling.datum.value for one in volumes],
            "active": [one.active for one in volumes],
            "line": [one.line for one in volumes],
        }
    )
    return SourceTable(where, columns, shapes, CRS.from_epsg(4326), tuple(notes))


def circle(lon_deg: float, lat_deg: float, radius_m: float) -> shapely.Polygon:
    """A circle on the ellipsoid as a polygon whose corners lie on it.

    Args:
        lon_deg: Centre, WGS 84 degrees.
        lat_deg: Likewise.
        radius_m: Along the ellipsoid.

    Example:
        >>> round(abs(_EARTH.geometry_area_perimeter(circle(120.38, 36.06, 1e3))[0]) / 1e6, 2)
        3.13
    """
    around = arc(lon_deg, lat_deg, radius_m, radius_m, 0.0, 360.0)
    return shapely.Polygon(around[:-1])


def arc(
    lon_deg: float,
    lat_deg: float,
    start_m: float,
    end_m: float,
    start_deg: float,
    sweep_deg: float,
) -> list[tuple[float, float]]:
    """Points along an arc, both ends included.

    Args:
        lon_deg: Centre, WGS 84 degrees.
        lat_deg: Centre.
        start_m: Radius at its start.
        end_m: Radius at its end; published ends are rounded, so the two may differ a little.
        start_deg: Azimuth of its start, clockwise from north.
        sweep_deg: How far it goes, positive clockwise.
    """
    radius = max(start_m, end_m, _SAGITTA_M)
    step = math.degrees(2.0 * math.acos(1.0 - _SAGITTA_M / radius))
    count = max(2, math.ceil(abs(sweep_deg) / min(step, 10.0)) + 1)
    azimuth = start_deg + np.linspace(0.0, sweep_deg, count)
    lon, lat, _ = _EARTH.fwd(
        np.full(count, lon_deg),
        np.full(count, lat_deg),
        azimuth,
        np.linspace(start_m, end_m, count),
    )
    return list(zip(np.asarray(lon).tolist(), np.asarray(lat).tolist(), strict=True))


def azimuth_and_distance(
    from_lonlat: tuple[float, float], to_lonlat: tuple[float, float]
) -> tuple[float, float]:
    """Azimuth clockwise from north in degrees, and metres along the ellipsoid."""
    azimuth, _, distance = _EARTH.inv(*from_lonlat, *to_lonlat)
    return float(azimuth), float(distance)
