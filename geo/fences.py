"""Fences: volumes of ground and air that moving things enter, leave, near and pass.

A fence is data and does not change. :class:`FenceSet` makes it ready for arrays of positions,
:class:`geo.fence_tracker.FenceTracker` follows things through it. What happens to a thing at
a fence is told in the words of :class:`Transition`, and in no others.

Borders are straight lines in the plane of longitude and latitude, half open as everywhere
(:mod:`geo.cells`). Distances are metres in each fence's own plane, scaled at its middle: good
to a thousandth of the distance within some kilometres of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum

import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

from core.city import AltitudeDatum
from core.errors import GeometryError
from geo.cells import CellTable

#: Seconds that the day of the fences' daily hours is ahead of UTC.
CHINA_OFFSET_S = 8 * 3600

#: Largest look ahead, and the reach that the grid of fences is made for.
MAX_AHEAD_S = 60.0

_DATUMS = tuple(AltitudeDatum)
_NO_NS = np.iinfo(np.int64).max
_WGS84_AXIS_M = 6_378_137.0
_WGS84_E2 = 0.0066943799901413165
_MOST_GRID_REFS = 8_000_000


class Transition(StrEnum):
    """What happened to a thing at a fence."""

    ENTER = "enter"  #: it is in, by more than its position may err
    EXIT = "exit"  #: it is out, by more than the hysteresis and what its position may err
    INSIDE = "inside"  #: it said so again from within
    CROSS = "cross"  #: from outside to outside, straight through, between two positions
    DWELL = "dwell"  #: it has been in for the fence's ``dwell_s``
    NEAR = "near"  #: it came within ``near_m``
    AWAY = "away"  #: it was near and no longer is, and did not enter
    APPROACH = "approach"  #: on its course it will be in within ``ahead_s``
    AVERTED = "averted"  #: it no longer will
    MISSED = "missed"  #: it was expected to enter by now and never did
    ROUTE_JOINED = "route_joined"  #: as enter, of a corridor
    ROUTE_LEFT = "route_left"  #: as exit, of a corridor
    LOST = "lost"  #: it was in and has not been heard of for too long
    LIFTED = "lifted"  #: it was in, near or ahead of a fence that the map no longer has


class Code(IntEnum):
    """The transitions that the kernel tells, as it counts them."""

    ENTER = 0
    EXIT = 1
    INSIDE = 2
    CROSS = 3
    DWELL = 4
    NEAR = 5
    AWAY = 6
    APPROACH = 7
    AVERTED = 8
    LOST = 9


class ActiveSpan(msgspec.Struct, frozen=True):
    """When a fence holds: from one instant to another, UTC nanoseconds; the end does not."""

    from_ns: int
    until_ns: int


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """One fence.

    Attributes:
        id: Unique in its set.
        geometry: Polygon or multipolygon, WGS 84 degrees.
        kind: For rules: ``no_fly``, ``site``, ``dock``, ``corridor`` …
        floor_m: Lower limit above ``datum``, which belongs; None for none.
        ceiling_m: Likewise.
        datum: What the limits are measured from.
        hysteresis_m: How far out of the fence, to the side or up or down, ends being in.
        near_m: Within which distance a thing is near; None where nobody asks.
        dwell_s: After which time within a dwell is told; None where nobody asks.
        ahead_s: How far ahead an entry is foretold, 10 to 60 s; None where nobody asks.
        crossings: Whether passing through between two positions is told.
        inside: Whether each position within is told.
        active: When the fence holds; always where empty.
        daily: Hours of each day in China time, seconds after midnight, in which it holds; may
            run past midnight; None for all.
        only: Things that the fence is about; all where empty.
        corridor: Whether it is the surroundings of a route, see :func:`corridor`.
        version: Of the layer that it comes from, for the record.
    """

    id: str
    geometry: shapely.Geometry
    kind: str = ""
    floor_m: float | None = None
    ceiling_m: float | None = None
    datum: AltitudeDatum = AltitudeDatum.AGL
    hysteresis_m: float = 5.0
    near_m: float | None = None
    dwell_s: float | None = None
    ahead_s: float | None = None
    crossings: bool = False
    inside: bool = False
    active: tuple[ActiveSpan, ...] = ()
    daily: tuple[int, int] | None = None
    only: tuple[str, ...] = ()
    corridor: bool = False
    version: str = ""


def corridor(
    id: str,  # noqa: A002 (the word of the fence)
    route: shapely.LineString,
    half_width_m: float,
    *,
    things: Sequence[str],
    floor_m: float | None = None,
    ceiling_m: float | None = None,
    datum: AltitudeDatum = AltitudeDatum.AGL,
    hysteresis_m: float = 10.0,
    active: Sequence[ActiveSpan] = (),
) -> Fence:
    """The surroundings of the route that things are expected to follow.

    Args:
        id: Of the fence.
        route: WGS 84 degrees.
        half_width_m: Largest expected distance from the route.
        things: Who is expected to follow it.
        floor_m: Lower limit above ``datum``; None for none.
        ceiling_m: Likewise.
        datum: What the limits are measured from.
        hysteresis_m: How far out of the corridor is off the route.
        active: When the route is to be followed; always where empty.

    Raises:
        GeometryError: The route is no line, or the width is not a positive number.

    Example:
        >>> line = shapely.LineString([(120.0, 36.0), (120.1, 36.0)])
        >>> shape = corridor("r", line, 50.0, things=["uav-1"]).geometry
        >>> west, south, east, north = shape.bounds
        >>> round((north - south) * 110_950)
        100
    """
    if route.geom_type not in {"LineString", "MultiLineString"} or route.is_empty:
        raise GeometryError(f"corridor {id}: a line was wanted, got a {route.geom_type}")
    if not (np.isfinite(half_width_m) and half_width_m > 0.0):
        raise GeometryError(f"corridor {id}: half_width_m: a positive number, got {half_width_m}")
    scale = np.array(metres_per_degree((route.bounds[1] + route.bounds[3]) / 2.0))
    flat = shapely.transform(route, lambda points: points * scale)
    shape = shapely.transform(flat.buffer(half_width_m), lambda points: points / scale)
    return Fence(
        id=id,
        geometry=shape,
        kind="corridor",
        floor_m=floor_m,
        ceiling_m=ceiling_m,
        datum=datum,
        hysteresis_m=hysteresis_m,
        active=tuple(active),
        only=tuple(things),
        corridor=True,
    )


def metres_per_degree(lat_deg: float) -> tuple[float, float]:
    """Metres of one degree east and of one degree north on the WGS 84 ellipsoid.

    Example:
        >>> [round(metres) for metres in metres_per_degree(36.0)]
        [90164, 110959]
    """
    phi = np.radians(lat_deg)
    w = np.sqrt(1.0 - _WGS84_E2 * np.sin(phi) ** 2)
    east = np.radians(1.0) * _WGS84_AXIS_M / w * np.cos(phi)
    north = np.radians(1.0) * _WGS84_AXIS_M * (1.0 - _WGS84_E2) / w**3
    return float(east), float(north)


class FenceSet:
    """Fences made ready for arrays: their cells, edges and columns. Does not change.

    Args:
        fences: In the order in which they are told of.

    Attributes:
        fences: As given.

    Raises:
        GeometryError: Two have one id, a geometry is no valid area, or a number is out of its
            range.

    Example:
        >>> len(FenceSet([Fence(id="a", geometry=shapely.box(120, 36, 120.1, 36.1))]))
        1
    """

    def __init__(self, fences: Sequence[Fence]) -> None:
        self.fences = tuple(fences)
        _check(self.fences)
        shapes = np.empty(len(self.fences), dtype=object)
        shapes[:] = [one.geometry for one in self.fences]
        self.table = CellTable(shapes)
        self.edges, self.edge_starts = _edges(shapes)
        bounds = shapely.bounds(shapes).reshape(-1, 4)
        middle = (bounds[:, 1] + bounds[:, 3]) / 2.0
        self.scales = np.array([metres_per_degree(one) for one in middle]).reshape(-1, 2)
        self.limits = np.array(
            [
                (
                    -np.inf if one.floor_m is None else one.floor_m,
                    np.inf if one.ceiling_m is None else one.ceiling_m,
                    one.hysteresis_m,
                    _depth_m(one.geometry, self.scales[number]),
                    -1.0 if one.near_m is None else one.near_m,
                    -1.0 if one.ahead_s is None else one.ahead_s,
                )
                for number, one in enumerate(self.fences)
            ]
        ).reshape(-1, 6)
        self.datums = np.array([_DATUMS.index(one.datum) for one in self.fences], np.int64)
        self.dwell_ns = np.array(
            [_NO_NS if one.dwell_s is None else round(one.dwell_s * 1e9) for one in self.fences],
            np.int64,
        )
        self.flags = np.array(
            [
                one.inside
                | one.crossings << 1
                | bool(one.only) << 2
                | (one.floor_m is not None or one.ceiling_m is not None) << 3
                for one in self.fences
            ],
            np.uint8,
        )
        self.daily_s = np.array(
            [(0, 0) if one.daily is None else one.daily for one in self.fences], np.int64
        ).reshape(-1, 2)
        self.span_starts = np.concatenate(
            [[0], np.cumsum([len(one.active) for one in self.fences])]
        ).astype(np.int64)
        self.spans = np.array(
            [(span.from_ns, span.until_ns) for one in self.fences for span in one.active], np.int64
        ).reshape(-1, 2)
        looked_for = np.array(
            [
                one.crossings or one.near_m is not None or one.ahead_s is not None
                for one in self.fences
            ],
            np.bool_,
        )
        self.around = _Around(bounds, self.scales, self.limits, looked_for)

    def __len__(self) -> int:
        return len(self.fences)


class _Around:
    """A grid of the fences that are looked for from outside: near, ahead, between positions."""

    def __init__(
        self,
        bounds: NDArray[np.float64],
        scales: NDArray[np.float64],
        limits: NDArray[np.float64],
        wanted: NDArray[np.bool_],
    ) -> None:
        numbers = np.flatnonzero(wanted)
        self.count = len(numbers)
        self.plan = np.zeros(7)
        self.starts = np.zeros(2, np.int32)
        self.refs = np.empty(0, np.int32)
        if not self.count:
            return
        spare = (np.maximum(limits[numbers, 4], 0.0) + 1.0)[:, None] / scales[numbers]
        boxes = bounds[numbers] + np.hstack([-spare, spare])
        west, south = boxes[:, :2].min(axis=0)
        east, north = boxes[:, 2:].max(axis=0)
        side = max(float(np.sqrt((east - west) * (north - south) / (4 * self.count))), 1e-5)
        while True:
            columns, lines = int((east - west) / side) + 1, int((north - south) / side) + 1
            cells = ((boxes - [west, south, west, south]) / side).astype(np.int64)
            spans = cells[:, 2:] - cells[:, :2] + 1
            if spans.prod(axis=1).sum() <= _MOST_GRID_REFS and columns * lines <= 1 << 22:
                break
            side *= 2.0
        self.plan = np.array([west, south, east, north, 1.0 / side, columns, lines])
        width, height = spans.T
        total = width * height
        owner = np.repeat(np.arange(self.count), total)
        offset = np.arange(total.sum()) - np.repeat(np.cumsum(total) - total, total)
        column = cells[owner, 0] + offset % width[owner]
        line = cells[owner, 1] + offset // width[owner]
        cell = line * columns + column
        order = np.argsort(cell, kind="stable")
        self.refs = numbers[owner[order]].astype(np.int32)
        counts = np.bincount(cell, minlength=columns * lines)
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def _edges(shapes: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Edges x1, y1, x2, y2 of all fences, shape (n, 4), and where each fence's begin."""
    parts, owners = shapely.get_parts(shapely.force_2d(shapes), return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    joined = ring[1:] == ring[:-1]
    edges = np.hstack([points[:-1][joined], points[1:][joined]])
    owner = owners[part][ring[1:][joined]]
    starts = np.searchsorted(owner, np.arange(len(shapes) + 1)).astype(np.int64)
    return np.ascontiguousarray(edges), starts


def _depth_m(shape: shapely.Geometry, scale: NDArray[np.float64]) -> float:
    """How deep in a thing must be at most to be in for certain, however badly it is placed.

    Half of area over perimeter, which is no more than half of the largest circle within.
    """
    flat = shapely.transform(shape, lambda points: points * scale)
    return float(flat.area / flat.length / 2.0) if flat.length else 0.0


def _check(fences: Sequence[Fence]) -> None:
    seen: set[str] = set()
    for one in fences:
        if one.id in seen:
            raise GeometryError(f"fence {one.id}: an id of its own was wanted, it comes twice")
        seen.add(one.id)
        for name, value, low, high in (
            ("hysteresis_m", one.hysteresis_m, 0.0, 1e5),
            ("near_m", one.near_m, 0.0, 1e5),
            ("dwell_s", one.dwell_s, 0.0, 1e8),
            ("ahead_s", one.ahead_s, 10.0, MAX_AHEAD_S),
        ):
            if value is not None and not low <= value <= high:
                raise GeometryError(
                    f"fence {one.id}: {name}: {low:g} to {high:g} was wanted, got {value}"
                )
        if one.geometry is None or one.geometry.is_empty:
            raise GeometryError(f"fence {one.id}: an area was wanted, got nothing")
        low_m = -np.inf if one.floor_m is None else one.floor_m
        high_m = np.inf if one.ceiling_m is None else one.ceiling_m
        if not low_m <= high_m:
            raise GeometryError(f"fence {one.id}: floor {low_m} m is above ceiling {high_m} m")
        for span in one.active:
            if span.from_ns >= span.until_ns:
                raise GeometryError(f"fence {one.id}: it is active from after until: {span}")
        if one.daily is not None and not all(0 <= second <= 86400 for second in one.daily):
            raise GeometryError(
                f"fence {one.id}: daily: seconds after midnight, 0 to 86400, got {one.daily}"
            )
