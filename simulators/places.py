"""Places: where in a city things can happen, found in its own layers and registers."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from core.city import AltitudeDatum, CameraPose, Device, Dock, LayerRole
from core.errors import InputError
from geo.camera import FlatGroundProjector
from geo.city import City
from simulators.flights import LocalFrame

#: A street camera sees a car well from here to there.
NEAR_M, FAR_M = 10.0, 38.0
#: A spot keeps this share of the picture free at its border.
MARGIN_RATIO = 0.06
#: The flying camera sees a circle of this radius about its survey spot.
SURVEY_RADIUS_M = 16.0


class Zone(NamedTuple):
    """A ground area with a purpose, in metres."""

    feature_id: str
    kind: str
    area: BaseGeometry


class Volume(NamedTuple):
    """A protected volume of air: area in metres, heights above ground."""

    feature_id: str
    area: BaseGeometry
    floor_m: float
    ceiling_m: float


class Spot(NamedTuple):
    """A place on the ground and the way a car stands there, clockwise from north."""

    east_m: float
    north_m: float
    heading_deg: float
    zone_id: str
    distance_m: float


class Places:
    """What a script needs to know of a city.

    Args:
        city: The city.

    Raises:
        InputError: The city has no bounds to speak of.
    """

    def __init__(self, city: City) -> None:
        west, south, east, north = city.bounds
        if not (math.isfinite(west) and east > west and north > south):
            raise InputError(
                f"city {city.name}: bounds {city.bounds} hold no ground; give it a layer of areas"
            )
        self.city = city
        # About what stands in it: a city may be 200 km wide and have its sensors in one street.
        fixed = [one for _, one in sorted(city.devices.items()) if one.lon_deg is not None]
        self.frame = LocalFrame.at(
            lon_deg=float(np.median([one.lon_deg for one in fixed]))
            if fixed
            else (west + east) / 2,
            lat_deg=float(np.median([one.lat_deg for one in fixed]))
            if fixed
            else (south + north) / 2,
        )
        self.zones = self._zones()
        self.volumes = self._volumes()
        self.roads = self._roads()
        self.ground = self._ground()
        self._projector = FlatGroundProjector()

    def _ground(self) -> BaseGeometry:
        """The city's area: its finest areas together, or its bounds."""
        for role in (LayerRole.COMMUNITY, LayerRole.STREET, LayerRole.DISTRICT):
            areas = [
                self.frame.shape(area)
                for layer in self.city.layers_of(role)
                for area in layer.geometries
            ]
            if areas:
                return shapely.union_all(areas)
        west, south, east, north = self.city.bounds
        return self.frame.shape(shapely.box(west, south, east, north))

    def _zones(self) -> list[Zone]:
        return [
            Zone(str(name), str(kind), self.frame.shape(area))
            for layer in self.city.layers_of(LayerRole.ZONE)
            for name, kind, area in zip(
                layer.column("feature_id"), layer.column("kind"), layer.geometries, strict=True
            )
        ]

    def _volumes(self) -> list[Volume]:
        return [
            Volume(str(name), self.frame.shape(area), float(floor), float(ceiling))
            for layer in self.city.layers_of(LayerRole.AIRSPACE)
            for name, kind, area, floor, ceiling, datum in zip(
                layer.column("feature_id"),
                layer.column("kind"),
                layer.geometries,
                layer.column("floor_m"),
                layer.column("ceiling_m"),
                layer.column("datum"),
                strict=True,
            )
            if kind == "protected" and datum in {AltitudeDatum.AGL, AltitudeDatum.TAKEOFF}
        ]

    def _roads(self) -> BaseGeometry:
        return shapely.union_all(
            [
                self.frame.shape(line)
                for layer in self.city.layers_of(LayerRole.ROAD)
                for line in layer.geometries
            ]
        )

    def metres(self, thing: Device | Dock) -> tuple[float, float]:
        """Where a thing stands, in metres.

        Raises:
            InputError: It has no position.
        """
        if isinstance(thing, Device) and (thing.lon_deg is None or thing.lat_deg is None):
            raise InputError(f"{thing.thing_id}: a thing with a position was wanted, it has none")
        assert thing.lon_deg is not None
        assert thing.lat_deg is not None
        return self.frame.to_metres(thing.lon_deg, thing.lat_deg)

    def devices(self, kind: str) -> list[Device]:
        """Fixed sensors of a kind, in the order of their ids."""
        return [
            device
            for _, device in sorted(self.city.devices.items())
            if device.kind == kind and device.lon_deg is not None
        ]

    def zone_of(self, device: Device, kind: str) -> Zone | None:
        """The zone of a kind that a device stands in."""
        point = shapely.Point(self.metres(device))
        for zone in self.zones:
            if zone.kind == kind and zone.area.covers(point):
                return zone
        return None

    def visible(
        self, pose: CameraPose, east_m: NDArray[np.float64], north_m: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Whether ground points lie well inside a camera's picture, shape (n,)."""
        lon, lat = self.frame.to_degrees(0.0, 0.0)
        pixels, ahead = self._projector.to_pixels(
            lon + east_m / self.frame.east_m_per_deg,
            lat + north_m / self.frame.north_m_per_deg,
            pose,
        )
        low = np.array([pose.width_px, pose.height_px]) * MARGIN_RATIO
        high = np.array([pose.width_px, pose.height_px]) * (1 - MARGIN_RATIO)
        with np.errstate(invalid="ignore"):
            return np.asarray(ahead & (pixels >= low).all(axis=1) & (pixels <= high).all(axis=1))

    def spots(self, pose: CameraPose, kind: str, *, length_m: float, width_m: float) -> list[Spot]:
        """Places in zones of a kind where a thing of a size is seen whole, the best first.

        Args:
            pose: Of a street camera.
            kind: Of the zone.
            length_m: Along the zone.
            width_m: Across it.
        """
        east, north = self.frame.to_metres(pose.lon_deg, pose.lat_deg)
        ring = shapely.Point(east, north).buffer(FAR_M) - shapely.Point(east, north).buffer(NEAR_M)
        found: list[tuple[float, Spot]] = []
        for zone in self.zones:
            if zone.kind != kind or not zone.area.intersects(ring):
                continue
            for score, spot in self._in_zone(zone, (east, north), ring, length_m):
                corners = np.array(box_corners(spot, length_m, width_m))
                if self.visible(pose, corners[:, 0], corners[:, 1]).all():
                    found.append((score, spot))
        return [spot for _, spot in sorted(found, key=lambda one: (-round(one[0], 3), one[1]))]

    def survey_spot(self, dock: Dock) -> tuple[float, float] | None:
        """Where the aircraft of a dock is meant to look; None where nobody said."""
        lonlat = self.city.survey_spots.get(dock.dock_sn)
        return None if lonlat is None else self.frame.to_metres(*lonlat)

    def survey(self, dock: Dock, kind: str, *, length_m: float) -> list[Spot]:
        """Places in zones of a kind about the survey spot of a dock, the best first."""
        middle = self.survey_spot(dock)
        if middle is None:
            return []
        east, north = middle
        disc = shapely.Point(east, north).buffer(SURVEY_RADIUS_M)
        found = [
            one
            for zone in self.zones
            if zone.kind == kind and zone.area.intersects(disc)
            for one in self._in_zone(zone, (east, north), disc, length_m)
        ]
        return [spot for _, spot in sorted(found, key=lambda one: (-round(one[0], 3), one[1]))]

    def _in_zone(
        self, zone: Zone, origin: tuple[float, float], within: BaseGeometry, length_m: float
    ) -> list[tuple[float, Spot]]:
        """Grid points of a zone with how good they are: well inside, not too far."""
        axis = long_axis_deg(zone.area)
        west, south, east, north = zone.area.intersection(within).bounds
        if not math.isfinite(west):
            return []
        xs, ys = np.meshgrid(
            np.arange(math.floor(west), east + 0.5, 0.5),
            np.arange(math.floor(south), north + 0.5, 0.5),
        )
        points = shapely.points(xs.ravel(), ys.ravel())
        points = points[shapely.covers(zone.area, points) & shapely.covers(within, points)]
        clear = shapely.distance(points, shapely.boundary(zone.area))
        result = []
        for point, clearance in zip(points.tolist(), clear.tolist(), strict=True):
            distance = math.dist(origin, (point.x, point.y))
            score = min(clearance, length_m) - 0.02 * abs(distance - 18.0)
            heading = self.drive_heading((point.x, point.y), axis)
            result.append((score, Spot(point.x, point.y, heading, zone.feature_id, distance)))
        return result

    def drive_heading(self, at: tuple[float, float], axis_deg: float) -> float:
        """The way along an axis that has the road on the left, as cars drive on the right."""
        if shapely.is_empty(self.roads):
            return axis_deg
        (east, north), _ = shapely.get_coordinates(
            shapely.shortest_line(self.roads, shapely.Point(at))
        )
        left = math.radians(axis_deg - 90.0)
        aside = (east - at[0]) * math.sin(left) + (north - at[1]) * math.cos(left)
        return axis_deg if aside >= 0 else (axis_deg + 180.0) % 360.0


def long_axis_deg(area: BaseGeometry) -> float:
    """Direction of an area's long side, 0 to 180 clockwise from north.

    Example:
        >>> long_axis_deg(shapely.box(0, 0, 30, 4)), long_axis_deg(shapely.box(0, 0, 4, 30))
        (90.0, 0.0)
    """
    corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(area))
    if len(corners) < 4:
        return 0.0
    sides = np.diff(corners[:4], axis=0)
    east, north = sides[int(np.argmax(np.hypot(sides[:, 0], sides[:, 1])))]
    return round(math.degrees(math.atan2(east, north)) % 180.0, 6) % 180.0


def box_corners(spot: Spot, length_m: float, width_m: float) -> list[tuple[float, float]]:
    """The four corners of a thing that stands on a spot, east and north."""
    heading = math.radians(spot.heading_deg)
    ahead = (math.sin(heading) * length_m / 2, math.cos(heading) * length_m / 2)
    right = (math.cos(heading) * width_m / 2, -math.sin(heading) * width_m / 2)
    return [
        (spot.east_m + a * ahead[0] + b * right[0], spot.north_m + a * ahead[1] + b * right[1])
        for a in (-1, 1)
        for b in (-1, 1)
    ]
