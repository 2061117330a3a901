"""Actors: the cars, people and things that cameras see, moving along timed way points."""

from __future__ import annotations

import bisect
from typing import Literal, NamedTuple

import msgspec

ActorKind = Literal["car", "truck", "person", "waste"]


class Waypoint(msgspec.Struct, frozen=True):
    """Where an actor is at an instant; heading in degrees clockwise from north."""

    at_ns: int
    lon_deg: float
    lat_deg: float
    heading_deg: float


class Stance(NamedTuple):
    """An actor's place and heading at one instant."""

    lon_deg: float
    lat_deg: float
    heading_deg: float


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be seen; it exists from its first way point to its last.

    Between way points it moves in a straight line at constant speed; two way points at the
    same place are a stop.
    """

    kind: ActorKind
    length_m: float
    width_m: float
    height_m: float
    colour_bgr: tuple[int, int, int]
    waypoints: tuple[Waypoint, ...]

    def at(self, instant_ns: int) -> Stance | None:
        """Where the actor is, or None when it does not exist then.

        Example:
            >>> walk = Actor(kind="person", length_m=0.5, width_m=0.5, height_m=1.7,
            ...              colour_bgr=(0, 0, 200),
            ...              waypoints=(Waypoint(0, 120.0, 36.0, 90.0),
            ...                         Waypoint(10, 120.1, 36.0, 90.0)))
            >>> round(walk.at(5).lon_deg, 6), walk.at(11)
            (120.05, None)
        """
        points = self.waypoints
        if not points or instant_ns < points[0].at_ns or instant_ns > points[-1].at_ns:
            return None
        after = bisect.bisect_left(points, instant_ns, key=lambda point: point.at_ns)
        end = points[after]
        if after == 0 or end.at_ns == instant_ns:
            return Stance(end.lon_deg, end.lat_deg, end.heading_deg)
        start = points[after - 1]
        share = (instant_ns - start.at_ns) / (end.at_ns - start.at_ns)
        return Stance(
            start.lon_deg + share * (end.lon_deg - start.lon_deg),
            start.lat_deg + share * (end.lat_deg - start.lat_deg),
            start.heading_deg,
        )
