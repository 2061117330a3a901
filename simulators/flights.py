"""Flights: smooth paths of aircraft over a city, exact at every instant.

A flight is a chain of straight legs flown with a trapezoid speed profile (speed up, cruise,
slow down, stop), as survey routes with a stop at each way point are.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import shapely
from shapely.geometry.base import BaseGeometry

from core.units import NS_PER_S, seconds_to_ns

#: Acceleration of a leg, m/s².
ACCELERATION = 2.0

#: mode_code of the DJI Cloud API.
STANDBY, TAKE_OFF, WAYLINE, RETURN_HOME, LANDING = 0, 4, 5, 9, 10

# WGS 84.
_A_M = 6_378_137.0
_E2 = 6.694379990141316e-3


class LocalFrame(NamedTuple):
    """Metres east and north of an origin; good to centimetres over a few kilometres."""

    lon_deg: float
    lat_deg: float
    east_m_per_deg: float
    north_m_per_deg: float

    @classmethod
    def at(cls, *, lon_deg: float, lat_deg: float) -> LocalFrame:
        """The frame about a point.

        Example:
            >>> frame = LocalFrame.at(lon_deg=120.0, lat_deg=36.0)
            >>> lon, lat = frame.to_degrees(100.0, -50.0)
            >>> [round(value, 6) for value in frame.to_metres(lon, lat)]
            [100.0, -50.0]
        """
        phi = math.radians(lat_deg)
        root = math.sqrt(1 - _E2 * math.sin(phi) ** 2)
        return cls(
            lon_deg,
            lat_deg,
            math.radians(_A_M / root * math.cos(phi)),
            math.radians(_A_M * (1 - _E2) / root**3),
        )

    def to_metres(self, lon_deg: float, lat_deg: float) -> tuple[float, float]:
        """East and north in metres."""
        return (
            (lon_deg - self.lon_deg) * self.east_m_per_deg,
            (lat_deg - self.lat_deg) * self.north_m_per_deg,
        )

    def to_degrees(self, east_m: float, north_m: float) -> tuple[float, float]:
        """Longitude and latitude."""
        return (
            self.lon_deg + east_m / self.east_m_per_deg,
            self.lat_deg + north_m / self.north_m_per_deg,
        )

    def shape(self, geometry: BaseGeometry) -> BaseGeometry:
        """A geometry in degrees, in metres."""
        return shapely.transform(
            geometry,
            lambda points: (
                (points - (self.lon_deg, self.lat_deg))
                * (self.east_m_per_deg, self.north_m_per_deg)
            ),
        )


class Point(NamedTuple):
    """Metres east, north of the frame's origin and up from the take-off point."""

    east_m: float
    north_m: float
    up_m: float


class FlightState(NamedTuple):
    """An aircraft at an instant; heading clockwise from north, vertical speed up positive."""

    lon_deg: float
    lat_deg: float
    elevation_m: float
    speed_mps: float
    vertical_speed_mps: float
    heading_deg: float
    mode_code: int
    leg: int
    position: Point


class Leg(msgspec.Struct, frozen=True):
    """A straight line from rest to rest, or a stay where both ends are the same."""

    start_ns: int
    end_ns: int
    begin: Point
    end: Point
    cruise_mps: float
    heading_deg: float
    mode_code: int

    def travelled(self, instant_ns: int) -> tuple[float, float]:
        """Share of the way behind it, and speed in m/s."""
        length = math.dist(self.begin, self.end)
        if length <= 0:
            return 0.0, 0.0
        t = (instant_ns - self.start_ns) / NS_PER_S
        total = (self.end_ns - self.start_ns) / NS_PER_S
        peak = min(self.cruise_mps, math.sqrt(ACCELERATION * length))
        ramp = peak / ACCELERATION
        if t < ramp:
            return ACCELERATION * t * t / 2 / length, ACCELERATION * t
        if t > total - ramp:
            left = max(0.0, total - t)
            return 1.0 - ACCELERATION * left * left / 2 / length, ACCELERATION * left
        return (peak * ramp / 2 + peak * (t - ramp)) / length, peak


def leg_seconds(length_m: float, cruise_mps: float) -> float:
    """How long a leg takes, from rest to rest.

    Example:
        >>> leg_seconds(100.0, 10.0), leg_seconds(2.0, 10.0)
        (15.0, 2.0)
    """
    peak = min(cruise_mps, math.sqrt(ACCELERATION * length_m))
    if peak <= 0:
        return 0.0
    return length_m / peak + peak / ACCELERATION


class Flight(msgspec.Struct, frozen=True, kw_only=True):
    """One flight of one aircraft: on from ``on_ns`` to ``off_ns``, in the air in between.

    ``gateway_sn`` is the dock's, empty for an aircraft that belongs to none.
    ``hover_ns`` is when it hovers over a survey spot, (0, 0) where it does not; ``lost_ns`` is
    when nobody hears it, likewise.
    """

    aircraft_sn: str
    gateway_sn: str
    frame: LocalFrame
    on_ns: int
    off_ns: int
    legs: tuple[Leg, ...]
    hover_ns: tuple[int, int] = (0, 0)
    lost_ns: tuple[int, int] = (0, 0)

    def is_lost(self, instant_ns: int) -> bool:
        """Whether nobody hears it at an instant."""
        return self.lost_ns[0] <= instant_ns < self.lost_ns[1]

    @property
    def airborne_ns(self) -> tuple[int, int]:
        """When it left the ground and when it was down again."""
        return self.legs[0].start_ns, self.legs[-1].end_ns

    def at(self, instant_ns: int) -> FlightState | None:
        """The state at an instant; None while it is off."""
        if not self.on_ns <= instant_ns < self.off_ns:
            return None
        first, last = self.legs[0], self.legs[-1]
        if instant_ns < first.start_ns or instant_ns >= last.end_ns:
            down = first.begin if instant_ns < first.start_ns else last.end
            heading = first.heading_deg if instant_ns < first.start_ns else last.heading_deg
            number = 0 if instant_ns < first.start_ns else len(self.legs) - 1
            return self._state(down, 0.0, 0.0, heading, STANDBY, number)
        number = bisect.bisect_right(self.legs, instant_ns, key=lambda leg: leg.start_ns) - 1
        leg = self.legs[number]
        share, speed = leg.travelled(instant_ns)
        length = math.dist(leg.begin, leg.end)
        climb = (leg.end.up_m - leg.begin.up_m) / length if length > 0 else 0.0
        place = Point(*(a + share * (b - a) for a, b in zip(leg.begin, leg.end, strict=True)))
        flat = math.sqrt(max(0.0, 1.0 - climb * climb))
        return self._state(
            place, speed * flat, speed * climb, leg.heading_deg, leg.mode_code, number
        )

    def _state(
        self,
        place: Point,
        speed_mps: float,
        vertical_speed_mps: float,
        heading_deg: float,
        mode_code: int,
        leg: int,
    ) -> FlightState:
        lon, lat = self.frame.to_degrees(place.east_m, place.north_m)
        return FlightState(
            lon,
            lat,
            place.up_m,
            speed_mps,
            vertical_speed_mps,
            heading_deg,
            mode_code,
            leg,
            place,
        )

    def spans(
        self, test: Callable[[Point], bool], *, step_s: float = 0.5, join_s: float = 60.0
    ) -> Iterator[tuple[int, int]]:
        """When a test of the aircraft's place holds, to the millisecond.

        Args:
            test: What is asked of the place.
            step_s: Spans shorter than this may be missed.
            join_s: Spans with a smaller gap between them count as one.

        Yields:
            Begin and end of each span, in order.
        """
        begin_ns, end_ns = self.airborne_ns

        def holds(instant_ns: int) -> bool:
            state = self.at(instant_ns)
            return state is not None and test(state.position)

        def edge(low_ns: int, high_ns: int, wanted: bool) -> int:
            while high_ns - low_ns > 1_000_000:
                middle = (low_ns + high_ns) // 2
                if holds(middle) == wanted:
                    high_ns = middle
                else:
                    low_ns = middle
            return high_ns

        step = seconds_to_ns(step_s)
        was, began = False, begin_ns
        pending: tuple[int, int] | None = None
        for now_ns in range(begin_ns, end_ns + step, step):
            now = now_ns < end_ns and holds(now_ns)
            if now and not was:
                began = edge(max(begin_ns, now_ns - step), now_ns, True)
            elif was and not now:
                span = (began, edge(now_ns - step, now_ns, False))
                if pending is not None and span[0] - pending[1] < seconds_to_ns(join_s):
                    pending = (pending[0], span[1])
                else:
                    if pending is not None:
                        yield pending
                    pending = span
            was = now
        if pending is not None:
            yield pending


class FlightBuilder:
    """Strings legs together; each call starts where and when the last one ended.

    Args:
        frame: Frame of the metres.
        east_m: Take-off point.
        north_m: Take-off point.
        start_ns: Instant of lift-off.
    """

    def __init__(self, frame: LocalFrame, *, east_m: float, north_m: float, start_ns: int) -> None:
        self.frame = frame
        self.home = Point(east_m, north_m, 0.0)
        self.here = self.home
        self.now_ns = start_ns
        self.heading_deg = 0.0
        self.legs: list[Leg] = []
        self.hover_ns = (0, 0)
        self.lost_ns = (0, 0)

    def to(
        self,
        east_m: float,
        north_m: float,
        up_m: float,
        *,
        cruise_mps: float,
        mode_code: int = WAYLINE,
    ) -> None:
        """Fly straight to a point."""
        there = Point(east_m, north_m, up_m)
        length = math.dist(self.here, there)
        if length < 0.01:
            return
        flat = math.hypot(there.east_m - self.here.east_m, there.north_m - self.here.north_m)
        if flat > 0.5:
            self.heading_deg = math.degrees(
                math.atan2(there.east_m - self.here.east_m, there.north_m - self.here.north_m)
            )
        self._add(there, leg_seconds(length, cruise_mps), cruise_mps, mode_code)

    def climb(self, up_m: float, *, cruise_mps: float = 4.0, mode_code: int = WAYLINE) -> None:
        """Climb or sink in place."""
        self.to(
            self.here.east_m, self.here.north_m, up_m, cruise_mps=cruise_mps, mode_code=mode_code
        )

    def hold(self, seconds: float, *, survey: bool = False) -> None:
        """Stay in place; ``survey`` marks the hover over the survey spot."""
        begin_ns = self.now_ns
        self._add(self.here, seconds, 0.0, WAYLINE)
        if survey:
            self.hover_ns = (begin_ns, self.now_ns)

    def along(self, points: Sequence[tuple[float, float]], *, cruise_mps: float) -> None:
        """Fly along points on the present height."""
        for east_m, north_m in points:
            self.to(east_m, north_m, self.here.up_m, cruise_mps=cruise_mps)

    def land(self) -> None:
        """Come down in place."""
        self.climb(0.0, cruise_mps=3.0, mode_code=LANDING)

    def build(self, aircraft_sn: str, gateway_sn: str, *, margin_s: float) -> Flight:
        """The flight; the aircraft is on ``margin_s`` before lift-off and after landing."""
        return Flight(
            aircraft_sn=aircraft_sn,
            gateway_sn=gateway_sn,
            frame=self.frame,
            on_ns=self.legs[0].start_ns - seconds_to_ns(margin_s),
            off_ns=self.now_ns + seconds_to_ns(margin_s),
            legs=tuple(self.legs),
            hover_ns=self.hover_ns,
            lost_ns=self.lost_ns,
        )

    def _add(self, there: Point, seconds: float, cruise_mps: float, mode_code: int) -> None:
        end_ns = self.now_ns + seconds_to_ns(seconds)
        self.legs.append(
            Leg(self.now_ns, end_ns, self.here, there, cruise_mps, self.heading_deg, mode_code)
        )
        self.here, self.now_ns = there, end_ns


def detour(
    begin: tuple[float, float], end: tuple[float, float], keep_out: Sequence[BaseGeometry]
) -> list[tuple[float, float]]:
    """The shortest way from one point to another around areas, in metres.

    Args:
        begin: Where it starts; an area that holds it is not in the way.
        end: Where it ends; likewise.
        keep_out: Areas; their convex hulls are gone around.

    Returns:
        The points after the first, the end among them; straight where there is no way around.

    Example:
        >>> detour((0, 0), (10, 0), [shapely.box(4, -1, 6, 5)])
        [(4.0, -1.0), (6.0, -1.0), (10, 0)]
    """
    hulls = [
        hull
        for hull in (area.convex_hull for area in keep_out)
        if not hull.covers(shapely.Point(begin)) and not hull.covers(shapely.Point(end))
    ]
    # A hair smaller, so that a path may run along the edge.
    walls = [hull.buffer(-0.01) for hull in hulls]
    nodes: list[tuple[float, float]] = [begin, end]
    for hull in hulls:
        nodes.extend((float(x), float(y)) for x, y in shapely.get_coordinates(hull)[:-1])

    def free(a: tuple[float, float], b: tuple[float, float]) -> bool:
        line = shapely.LineString((a, b))
        return not any(wall.intersects(line) for wall in walls)

    best = {0: 0.0}
    came: dict[int, int] = {}
    heap = [(0.0, 0)]
    while heap:
        so_far, node = heapq.heappop(heap)
        if node == 1:
            break
        if so_far > best[node]:
            continue
        for other in range(len(nodes)):
            if other == node:
                continue
            total = so_far + math.dist(nodes[node], nodes[other])
            if total < best.get(other, math.inf) and free(nodes[node], nodes[other]):
                best[other], came[other] = total, node
                heapq.heappush(heap, (total, other))
    if 1 not in came:
        return [end]
    path = [1]
    while came[path[-1]] != 0:
        path.append(came[path[-1]])
    return [nodes[node] for node in reversed(path)]
