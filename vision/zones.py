"""Zones: areas on the ground, asked by place and drawn by pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from core.city import CameraPose
from core.ports import GroundProjector

#: Mean radius of the Earth; zones are tens of metres, so a sphere errs by millimetres.
_EARTH_M = 6_371_008.8

#: Points of an edge of an outline; one of a kilometre is seen as a whole, not in metres.
_MOST_STEPS = 400


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """A polygon without holes; ``ring`` holds (lon, lat) in WGS 84 degrees, not closed."""

    zone_id: str
    kind: str
    ring: tuple[tuple[float, float], ...]


class Local(NamedTuple):
    """Metres east and north about a point: flat, good for a few hundred metres."""

    lon_deg: float
    lat_deg: float

    def to_metres(
        self, lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Degrees to (east, north), shape (n, 2).

        Example:
            >>> Local(120.0, 36.0).to_metres(np.array([120.001]), np.array([36.0])).round().tolist()
            [[90.0, 0.0]]
        """
        per_deg = math.radians(_EARTH_M)
        east = (lon_deg - self.lon_deg) * per_deg * math.cos(math.radians(self.lat_deg))
        return np.column_stack([east, (lat_deg - self.lat_deg) * per_deg])

    def to_degrees(self, metres: NDArray[np.float64]) -> NDArray[np.float64]:
        """(east, north) to (lon, lat), shape (n, 2)."""
        per_deg = math.radians(_EARTH_M)
        lon = self.lon_deg + metres[:, 0] / (per_deg * math.cos(math.radians(self.lat_deg)))
        return np.column_stack([lon, self.lat_deg + metres[:, 1] / per_deg])


class ZoneMap:
    """The zones that matter to one camera.

    Args:
        zones: Any number; those with fewer than three corners are left out.
    """

    def __init__(self, zones: Sequence[Zone]) -> None:
        self._zones: list[tuple[Zone, Local, NDArray[np.float32]]] = []
        for zone in zones:
            if len(zone.ring) < 3:
                continue
            corners = np.array(zone.ring, np.float64)
            local = Local(*corners.mean(axis=0).tolist())
            metres = local.to_metres(corners[:, 0], corners[:, 1])
            self._zones.append((zone, local, metres.astype(np.float32)))

    def __len__(self) -> int:
        return len(self._zones)

    def find(
        self,
        lon_deg: float,
        lat_deg: float,
        *,
        prefer: Sequence[str] = (),
        tolerance_m: float = 0.0,
    ) -> Zone | None:
        """The zone a ground point lies in, or None.

        Args:
            lon_deg: WGS 84 longitude.
            lat_deg: WGS 84 latitude.
            prefer: Kinds that win where zones meet, best first.
            tolerance_m: How far outside a point may lie and still count.

        Returns:
            The zone of a preferred kind, else the one that holds the point most deeply.

        Example:
            >>> ring = ((120.0, 36.0), (120.001, 36.0), (120.001, 36.001), (120.0, 36.001))
            >>> zones = ZoneMap([Zone(zone_id="z", kind="no_parking", ring=ring)])
            >>> zones.find(120.0005, 36.0005).zone_id, zones.find(120.01, 36.0)
            ('z', None)
        """
        best: tuple[tuple[int, float], Zone] | None = None
        for zone, local, ring in self._zones:
            point = local.to_metres(np.array([lon_deg]), np.array([lat_deg]))[0]
            if not np.isfinite(point).all() or np.abs(point).max() > 1e5:
                continue
            inside_m = cv2.pointPolygonTest(ring, (float(point[0]), float(point[1])), True)
            if inside_m < -tolerance_m:
                continue
            rank = prefer.index(zone.kind) if zone.kind in prefer else len(prefer)
            if best is None or (rank, -inside_m) < best[0]:
                best = ((rank, -inside_m), zone)
        return None if best is None else best[1]

    def outlines_px(
        self, projector: GroundProjector, pose: CameraPose
    ) -> list[tuple[Zone, NDArray[np.int32]]]:
        """The zones as pixel polylines, each of shape (n, 2), of the parts in view.

        Edges are walked in steps of about a metre, the longest in :data:`_MOST_STEPS`, so that
        an outline that passes behind the camera is cut and not folded over.
        """
        outlines: list[tuple[Zone, NDArray[np.int32]]] = []
        limit = 4 * max(pose.width_px, pose.height_px)
        for zone, local, ring in self._zones:
            closed = np.vstack([ring, ring[:1]]).astype(np.float64)
            pieces = [
                np.linspace(start, end, min(max(2, math.ceil(length_m)), _MOST_STEPS))[:-1]
                for start, end in pairwise(closed)
                for length_m in [float(np.hypot(*(end - start)))]
            ]
            degrees = local.to_degrees(np.vstack([*pieces, closed[-1:]]))
            pixels, before = projector.to_pixels(degrees[:, 0], degrees[:, 1], pose)
            usable = before & (np.abs(np.nan_to_num(pixels, nan=1e9)) < limit).all(axis=1)
            edges = np.flatnonzero(np.diff(np.concatenate([[0], usable.view(np.int8), [0]])))
            for start, end in zip(edges[::2], edges[1::2], strict=True):
                line = pixels[start:end]
                in_view = (
                    (line[:, 0] >= 0)
                    & (line[:, 0] < pose.width_px)
                    & (line[:, 1] >= 0)
                    & (line[:, 1] < pose.height_px)
                )
                if len(line) >= 2 and in_view.any():
                    outlines.append((zone, np.rint(line).astype(np.int32)))
        return outlines
