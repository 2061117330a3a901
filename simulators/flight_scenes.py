"""Scenes in the air: survey and patrol flights of docks, and an unregistered visitor."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import shapely

from core.city import Dock
from core.units import NS_PER_S
from simulators.flights import RETURN_HOME, TAKE_OFF, Flight, FlightBuilder, Point, detour
from simulators.messages import digest
from simulators.places import Volume
from simulators.street_scenes import CAR, WASTE, StreetScenes, two_spots

#: An aircraft is on so long before lift-off and after landing.
POWER_S = 20.0
#: The survey camera looks down from here; the hover lasts so long.
SURVEY_UP_M, SURVEY_S = 60.0, 660.0
#: Aircraft keep so far from protected volumes unless the script says otherwise.
CLEAR_M = 60.0
#: And so far on the way to and from a place beside one.
CLOSE_M = 12.0
#: The lawful height limit above take-off.
LIMIT_M = 120.0
CRUISE_MPS = 11.0


def visitor_sn(seed: int, index: int) -> str:
    """Serial number of the unregistered aircraft of a block (CTA-2063-A: maker, length, serial)."""
    letters = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
    number = digest(seed, "visitor", index)
    return "1668C" + "".join(letters[(number >> (5 * place)) % 34] for place in range(12))


class FlightScenes(StreetScenes):
    """Writes flights; a surveying aircraft looks down on a street scene."""

    def _keep_out(self) -> list[shapely.Geometry]:
        return [_around(volume, CLEAR_M) for volume in self.places.volumes]

    def _way(
        self, begin: tuple[float, float], end: tuple[float, float]
    ) -> list[tuple[float, float]]:
        """Around protected volumes: closely where it begins or ends close to one."""
        hulls = []
        for volume in self.places.volumes:
            wide = _around(volume, CLEAR_M)
            close = any(wide.covers(shapely.Point(at)) for at in (begin, end))
            hulls.append(_around(volume, CLOSE_M) if close else wide)
        return detour(begin, end, hulls)

    def _free_point(self, *, margin_m: float = 150.0) -> tuple[float, float]:
        """A place over the city, clear of its border and of protected volumes."""
        ground = self.places.ground.buffer(-margin_m)
        if shapely.is_empty(ground):
            ground = self.places.ground
        west, south, east, north = ground.bounds
        taken = shapely.union_all(self._keep_out())
        for _ in range(200):
            at = (self.between(west, east), self.between(south, north))
            if ground.contains(shapely.Point(at)) and not taken.contains(shapely.Point(at)):
                return at
        middle = ground.representative_point()
        return float(middle.x), float(middle.y)

    def _go(self, builder: FlightBuilder, to: tuple[float, float]) -> None:
        """Fly to a place at the present height, around protected volumes."""
        here = (builder.here.east_m, builder.here.north_m)
        builder.along(self._way(here, to), cruise_mps=CRUISE_MPS)

    def _lift_off(self, at: tuple[float, float], start_s: float, up_m: float) -> FlightBuilder:
        builder = FlightBuilder(
            self.places.frame, east_m=at[0], north_m=at[1], start_ns=self.at(start_s)
        )
        builder.climb(up_m, mode_code=TAKE_OFF)
        return builder

    def _home(self, builder: FlightBuilder, aircraft_sn: str, gateway_sn: str) -> Flight:
        here, home = builder.here, builder.home
        for east, north in self._way(here[:2], home[:2]):
            builder.to(east, north, here.up_m, cruise_mps=CRUISE_MPS, mode_code=RETURN_HOME)
        builder.land()
        margin_s = POWER_S if gateway_sn else 0.0
        flight = builder.build(aircraft_sn, gateway_sn, margin_s=margin_s)
        self.flights.append(flight)
        self._flight_things(flight)
        return flight

    def _flight_things(self, flight: Flight) -> None:
        """Truth is read off the path that was flown, whatever it was meant to be."""
        for volume in self.places.volumes:
            for began_ns, ended_ns in flight.spans(_inside(volume)):
                here = flight.at(began_ns)
                if here is not None:
                    self.happens(
                        "airspace-intrusion",
                        (here.lon_deg, here.lat_deg),
                        began_ns,
                        ended_ns,
                        f"an aircraft enters {volume.feature_id}",
                        devices=(flight.aircraft_sn,),
                    )
        for began_ns, ended_ns in flight.spans(lambda point: point.up_m > LIMIT_M):
            here = flight.at(began_ns)
            if here is not None:
                self.happens(
                    "height-limit",
                    (here.lon_deg, here.lat_deg),
                    began_ns,
                    ended_ns,
                    "an aircraft climbs above 120 m",
                    devices=(flight.aircraft_sn,),
                )

    def _near_flight(
        self,
        scenario: str,
        builder: FlightBuilder,
        aircraft_sn: str,
        since_ns: int,
        note: str,
        radius_m: float,
    ) -> None:
        at = self.places.frame.to_degrees(builder.here.east_m, builder.here.north_m)
        self.nearly(
            scenario,
            at,
            since_ns,
            builder.now_ns,
            note,
            devices=(aircraft_sn,),
            radius_m=radius_m,
        )

    def write_survey_flight(self, dock: Dock, camera_id: str) -> None:
        """Hover over the survey spot for eleven minutes, climb to just below the limit, home."""
        builder = self._lift_off(self.places.metres(dock), self.between(40, 60), SURVEY_UP_M)
        spot = self.places.survey_spot(dock)
        if spot is not None:
            self._go(builder, spot)
            # Look along the road, so that pictures of every block are turned the same way.
            hover_s = (builder.now_ns - self.start_ns) / NS_PER_S
            builder.hold(SURVEY_S, survey=True)
            if camera_id:
                self._survey_scene(dock, camera_id, hover_s)
        self._go(builder, self._free_point())
        since_ns = builder.now_ns
        builder.climb(119.5)
        builder.hold(40.0)
        self._near_flight(
            "height-limit",
            builder,
            dock.aircraft_sn,
            since_ns,
            "an aircraft climbs to half a metre below the limit",
            60.0,
        )
        builder.climb(self.between(70, 85))
        flight = self._home(builder, dock.aircraft_sn, dock.dock_sn)
        begin_ns, end_ns = flight.airborne_ns
        self.nearly(
            "unidentified-aircraft",
            (dock.lon_deg, dock.lat_deg),
            begin_ns,
            end_ns,
            "a registered aircraft is heard by the remote identification receiver",
            devices=(dock.aircraft_sn,),
            radius_m=2_000.0,
        )

    def _survey_scene(self, dock: Dock, camera_id: str, hover_s: float) -> None:
        cars = self.places.survey(dock, "no_parking", length_m=CAR[0])
        heaps = self.places.survey(dock, "pavement", length_m=WASTE[0])
        if cars:
            one, other = two_spots(cars, 8.0, self.index)
            self.stopping_car(
                "illegal-parking",
                one,
                hover_s + self.between(75, 95),
                self.between(270, 310),
                "a car is parked under a surveying aircraft",
                thing=True,
                cameras=(camera_id,),
            )
            self.stopping_car(
                "illegal-parking",
                other,
                hover_s + self.between(500, 530),
                self.between(45, 52),
                "a car stops under a surveying aircraft and drives on",
                thing=False,
                cameras=(camera_id,),
            )
        elif heaps:
            self.waste(camera_id, heaps[0], hover_s + self.between(75, 95), 290.0, thing=True)

    def write_patrol_flight(self, dock: Dock, *, intrudes: bool) -> None:
        """Over the district: past a protected volume, perhaps into it, and once too high."""
        builder = self._lift_off(
            self.places.metres(dock), self.between(70, 100), self.between(65, 80)
        )
        volumes = self.places.volumes
        climb_first = bool(self.rng.integers(2))
        if climb_first or not volumes:
            self._too_high(builder)
        if volumes:
            self._past_volume(builder, dock.aircraft_sn, volumes[self.index % len(volumes)])
            low = [one for one in volumes if one.ceiling_m <= LIMIT_M - 15.0]
            if low:
                self._over_volume(builder, dock.aircraft_sn, low[self.index % len(low)])
            if intrudes:
                self._into_volume(builder, volumes[(self.index // 2) % len(volumes)])
        if not climb_first and volumes:
            self._too_high(builder)
        self._survey_rows(builder)
        self._home(builder, dock.aircraft_sn, dock.dock_sn)

    def _survey_rows(self, builder: FlightBuilder) -> None:
        """Rows to and fro over a piece of the district, where there is room for them."""
        angle = math.radians(self.between(0.0, 180.0))
        along = (math.sin(angle), math.cos(angle))
        across = (along[1], -along[0])
        taken = shapely.union_all(self._keep_out())
        builder.climb(self.between(60.0, 90.0))
        for _ in range(20):
            middle = self._free_point(margin_m=100.0)
            rows = [
                (
                    middle[0] + a * along[0] + b * across[0],
                    middle[1] + a * along[1] + b * across[1],
                )
                for row, b in enumerate((-75.0, -25.0, 25.0, 75.0))
                for a in ((-110.0, 110.0) if row % 2 == 0 else (110.0, -110.0))
            ]
            hull = shapely.MultiPoint(rows).convex_hull
            if self.places.ground.contains(hull) and not hull.intersects(taken):
                self._go(builder, rows[0])
                builder.along(rows[1:], cruise_mps=CRUISE_MPS)
                return

    def _too_high(self, builder: FlightBuilder) -> None:
        self._go(builder, self._free_point())
        before = builder.here.up_m
        builder.climb(self.between(127.0, 130.0))
        builder.hold(self.between(50, 70))
        builder.climb(before)

    def _past_volume(self, builder: FlightBuilder, aircraft_sn: str, volume: Volume) -> None:
        """A straight line 30 m beside a volume, on the side that lies over the city."""
        sides = self._tangents(volume, 30.0, 60.0)
        if not sides:
            return
        begin, end = sides[int(self.rng.integers(len(sides)))]
        self._go(builder, begin)
        since_ns = builder.now_ns
        builder.to(*end, builder.here.up_m, cruise_mps=CRUISE_MPS)
        self._near_flight(
            "airspace-intrusion",
            builder,
            aircraft_sn,
            since_ns,
            "an aircraft passes 30 m beside a protected volume",
            150.0,
        )

    def _over_volume(self, builder: FlightBuilder, aircraft_sn: str, volume: Volume) -> None:
        before = builder.here.up_m
        begin, end = self._crossing(volume)
        self._go(builder, begin)
        builder.climb(volume.ceiling_m + 4.0)
        since_ns = builder.now_ns
        builder.to(*end, builder.here.up_m, cruise_mps=CRUISE_MPS)
        self._near_flight(
            "airspace-intrusion",
            builder,
            aircraft_sn,
            since_ns,
            "an aircraft passes over a protected volume, just above its ceiling",
            2 * CLEAR_M + math.dist(begin, end),
        )
        builder.climb(before)

    def _into_volume(self, builder: FlightBuilder, volume: Volume) -> None:
        begin, end = self._crossing(volume)
        self._go(builder, begin)
        up_m = max(volume.floor_m + 10.0, min(builder.here.up_m, volume.ceiling_m - 15.0))
        builder.climb(min(up_m, LIMIT_M - 10.0))
        builder.to(*end, builder.here.up_m, cruise_mps=CRUISE_MPS - 3.0)

    def _crossing(self, volume: Volume) -> tuple[tuple[float, float], tuple[float, float]]:
        """A line through a volume that comes in from over the city and leaves to it again."""
        hull = volume.area.convex_hull
        keep = _around(volume, CLEAR_M + 5.0)
        middle = (float(hull.centroid.x), float(hull.centroid.y))
        city = self.places.ground.buffer(-20.0)
        rim = [
            at
            for at in shapely.get_coordinates(keep.exterior.segmentize(20.0)).tolist()
            if city.contains(shapely.Point(at))
        ] or shapely.get_coordinates(keep.exterior).tolist()
        begin = rim[int(self.rng.integers(len(rim)))]
        # The far end is the one whose line passes well inside, as deep as the rim allows.
        depth = 0.5 * math.sqrt(hull.area / math.pi)
        deep = [
            at for at in rim if shapely.LineString((begin, at)).intersection(hull).length >= depth
        ]
        end = (
            deep[int(self.rng.integers(len(deep)))]
            if deep
            else (2 * middle[0] - begin[0], 2 * middle[1] - begin[1])
        )
        return (begin[0], begin[1]), (end[0], end[1])

    def _tangents(
        self, volume: Volume, beside_m: float, half_m: float
    ) -> list[tuple[tuple[float, float], tuple[float, float]]]:
        """Lines beside a volume that lie over the city and clear of other volumes."""
        corners = shapely.get_coordinates(volume.area.convex_hull)
        city = self.places.ground.buffer(-20.0)
        others = [one.area.buffer(beside_m) for one in self.places.volumes if one is not volume]
        lines = []
        for angle in np.arange(0.0, 360.0, 15.0).tolist():
            out = np.array([math.sin(math.radians(angle)), math.cos(math.radians(angle))])
            along = np.array([out[1], -out[0]])
            reach = corners @ out
            foot = corners[int(np.argmax(reach))] + beside_m * out
            begin, end = foot - half_m * along, foot + half_m * along
            line = shapely.LineString((begin, end))
            if city.contains(line) and not any(line.intersects(one) for one in others):
                lines.append(((float(begin[0]), float(begin[1])), (float(end[0]), float(end[1]))))
        return lines

    def write_visitor(self, *, intrudes: bool) -> None:
        """An aircraft that nobody registered takes off from a park, looks around and lands."""
        serial = visitor_sn(self.seed, self.index)
        at = self._free_point(margin_m=250.0)
        builder = self._lift_off(at, self.between(620, 760), self.between(45, 75))
        if intrudes and self.places.volumes:
            volumes = self.places.volumes
            self._into_volume(builder, volumes[(self.index // 2) % len(volumes)])
        else:
            for _ in range(2):
                self._go(builder, self._free_point())
                builder.hold(self.between(10, 25))
        # It lands where it is: nobody waits for it at home.
        self._go(builder, self._free_point())
        builder.land()
        flight = builder.build(serial, "", margin_s=0.0)
        self.flights.append(flight)
        self._flight_things(flight)
        begin_ns, end_ns = flight.airborne_ns
        self.happens(
            "unidentified-aircraft",
            self.places.frame.to_degrees(*at),
            begin_ns,
            end_ns,
            "an aircraft that is in no register flies over the district",
            devices=(serial,),
        )


def _around(volume: Volume, margin_m: float) -> shapely.Geometry:
    """A hull of few corners about a volume, ``margin_m`` to ``margin_m`` + 10 away from it."""
    return volume.area.convex_hull.simplify(10.0).buffer(margin_m + 10.0, join_style="mitre")


def _inside(volume: Volume) -> Callable[[Point], bool]:
    shapely.prepare(volume.area)

    def test(point: Point) -> bool:
        return volume.floor_m <= point.up_m <= volume.ceiling_m and bool(
            shapely.contains_xy(volume.area, point.east_m, point.north_m)
        )

    return test
