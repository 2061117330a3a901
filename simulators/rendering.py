"""Draws what a camera sees: the city's ground and buildings, and the actors on them.

A pinhole camera over flat ground, under an overcast sky: things have a soft shadow under
them and no hard one beside. The ground is painted once from the map, in metres, and then put
into perspective; buildings, cars and people are drawn as solids, far ones first.
"""

from __future__ import annotations

import math
import zlib
from collections import OrderedDict
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
import shapely
import shapely.ops
from numpy.typing import NDArray

from core.city import CameraPose, LayerRole
from geo.city import City
from simulators.actors import Actor, Stance

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]
Colour = tuple[int, int, int]

#: Half of the carriageway by kind of road; others are taken for narrow ones.
HALF_WIDTH_M = {"primary": 10.5, "secondary": 7.0, "residential": 5.5}
_OTHER_HALF_WIDTH_M = 5.0
PAVEMENT_M = 4.0

_NEAR_M = 0.5
_VIEW_M = 130.0
_LEAST_HEIGHT_M = 1.0

_ASPHALT: Colour = (84, 82, 80)
_PAVING: Colour = (150, 156, 160)
_YARD: Colour = (128, 140, 142)
_GRASS: Colour = (72, 108, 92)
_EARTH: Colour = (92, 122, 150)
_WHITE: Colour = (205, 208, 208)
_YELLOW: Colour = (70, 175, 210)
_SKY: Colour = (214, 206, 198)
_GLASS: Colour = (72, 60, 52)


class Plane:
    """Metres (east, north) about a point on the WGS 84 ellipsoid.

    Example:
        >>> plane = Plane(120.0, 36.0)
        >>> [round(x, 3) for x in plane.to_metres(120.001, 36.0)]
        [90.164, 0.0]
    """

    def __init__(self, lon_deg: float, lat_deg: float) -> None:
        w = 1.0 - 0.00669438 * math.sin(math.radians(lat_deg)) ** 2
        self.lon_deg, self.lat_deg = lon_deg, lat_deg
        self._east = math.radians(6378137.0 / math.sqrt(w) * math.cos(math.radians(lat_deg)))
        self._north = math.radians(6378137.0 * (1.0 - 0.00669438) / w**1.5)

    def to_metres(self, lon_deg: float, lat_deg: float) -> tuple[float, float]:
        """Degrees to metres."""
        return (lon_deg - self.lon_deg) * self._east, (lat_deg - self.lat_deg) * self._north

    def to_degrees(self, east_m: float, north_m: float) -> tuple[float, float]:
        """Metres to degrees."""
        return self.lon_deg + east_m / self._east, self.lat_deg + north_m / self._north

    def geometry(self, shape: Any) -> Any:
        """A shapely geometry in degrees to metres."""
        origin, scale = (self.lon_deg, self.lat_deg), (self._east, self._north)
        return shapely.transform(shape, lambda xy: (xy - origin) * scale)


class Lens:
    """The pinhole camera: points (east, north, up) to pixels.

    Args:
        pose: Where it is and looks.
        plane: In whose metres the points are.
        scale: Pixels per pixel of the pose, for drawing larger than the picture.
    """

    def __init__(self, pose: CameraPose, plane: Plane, scale: float = 1.0) -> None:
        east, north = plane.to_metres(pose.lon_deg, pose.lat_deg)
        self.at = np.array([east, north, max(pose.height_agl_m, _LEAST_HEIGHT_M)])
        yaw, pitch, roll = (
            math.radians(angle) for angle in (pose.yaw_deg, pose.pitch_deg, pose.roll_deg)
        )
        forward = np.array(
            [math.sin(yaw) * math.cos(pitch), math.cos(yaw) * math.cos(pitch), math.sin(pitch)]
        )
        level = np.array([math.cos(yaw), -math.sin(yaw), 0.0])
        down = np.cross(forward, level)
        right = level * math.cos(roll) + down * math.sin(roll)
        self.forward = forward
        self.width_px = round(pose.width_px * scale)
        self.height_px = round(pose.height_px * scale)
        self.focal_px = self.width_px / 2.0 / math.tan(math.radians(pose.hfov_deg) / 2.0)
        turn = np.stack([right, np.cross(forward, right), forward])
        intrinsic = np.array(
            [
                [self.focal_px, 0.0, self.width_px / 2.0],
                [0.0, self.focal_px, self.height_px / 2.0],
                [0.0, 0.0, 1.0],
            ]
        )
        self._turn = intrinsic @ turn
        #: Ground (east, north, 1) to pixels, shape (3, 3).
        self.homography = np.column_stack(
            [self._turn[:, 0], self._turn[:, 1], -self._turn @ self.at]
        )

    def project(self, points_m: Points) -> Points:
        """Points, shape (n, 3), to (u w, v w, w), where w is the depth in metres."""
        projected: Points = (points_m - self.at) @ self._turn.T
        return projected

    def polygon(self, points_m: Points) -> NDArray[np.int32] | None:
        """A flat polygon, shape (n, 3), in sixteenths of a pixel; None when out of view."""
        return self.clip(self.project(points_m))

    def clip(self, uvw: Points) -> NDArray[np.int32] | None:
        """Cut a projected polygon at the near plane; None when nothing of it is in view."""
        before = uvw[:, 2] > _NEAR_M
        if not before.all():
            if not before.any():
                return None
            kept: list[Points] = []
            for one, two, one_in, two_in in zip(
                uvw, np.roll(uvw, -1, axis=0), before, np.roll(before, -1), strict=True
            ):
                if one_in:
                    kept.append(one)
                if one_in != two_in:
                    kept.append(one + (two - one) * ((_NEAR_M - one[2]) / (two[2] - one[2])))
            uvw = np.array(kept)
        pixels = uvw[:, :2] / uvw[:, 2:]
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        if high[0] < 0 or high[1] < 0 or low[0] > self.width_px or low[1] > self.height_px:
            return None
        # The pixel's own centre lies at a half, OpenCV's at a whole number.
        return np.rint((np.clip(pixels, -2e4, 2e4) - 0.5) * 16.0).astype(np.int32)


class Scene(NamedTuple):
    """A view without actors, and how near its buildings are (infinite elsewhere)."""

    picture: Picture
    depth_m: NDArray[np.float32]
    has_depth: bool


class CityPainter:
    """Paints the still part of a city's views.

    Keeps the last ``_TILES`` pieces of painted ground, the least recently used goes first.

    Args:
        city: Its roads, buildings and zones are painted.
        seed: Of textures.
    """

    _TILES = 4

    def __init__(self, city: City, seed: int) -> None:
        west, south, east, north = city.bounds
        self.plane = Plane((west + east) / 2.0, (south + north) / 2.0)
        self._seed = seed
        self._roads = self._shapes(city, LayerRole.ROAD)
        self._buildings = self._shapes(city, LayerRole.BUILDING)
        boxes = shapely.bounds(np.array([one[0] for one in self._buildings], dtype=object))
        boxes = boxes.reshape(-1, 4)
        self._building_at = (boxes[:, :2] + boxes[:, 2:]) / 2.0
        self._building_reach = np.hypot(*(boxes[:, 2:] - boxes[:, :2]).T) / 2.0
        self._zones = self._shapes(city, LayerRole.ZONE)
        self._tiles: OrderedDict[tuple[int, int, int, int], Picture] = OrderedDict()

    def _shapes(self, city: City, role: LayerRole) -> list[tuple[Any, str, str]]:
        found: list[tuple[Any, str, str]] = []
        for layer in city.layers_of(role):
            shapes = self.plane.geometry(layer.geometries)
            names = zip(shapes, layer.column("kind"), layer.column("feature_id"), strict=True)
            found += [(shape, str(kind), str(name)) for shape, kind, name in names]
        return found

    def scene(self, pose: CameraPose, *, fine: bool) -> Scene:
        """Paint a view.

        Args:
            pose: From where.
            fine: Draw at double size and with windows; for cameras that stand still.
        """
        lens = Lens(pose, self.plane, 2.0 if fine else 1.0)
        steep = pose.pitch_deg < -55.0
        if steep:
            reach = max(40.0, 1.6 * lens.at[2] * math.tan(math.radians(pose.hfov_deg / 2.0)))
            centre = lens.at[:2]
            step_m = 0.1 if lens.at[2] < 90.0 else 0.2
        else:
            reach, step_m = 85.0, 0.08
            centre = lens.at[:2] + 62.0 * lens.forward[:2] / max(
                1e-6, float(np.hypot(*lens.forward[:2]))
            )
        picture = self._ground(lens, centre, reach, step_m, steep)
        depth = np.full(picture.shape[:2], np.inf, np.float32)
        drawn = self._draw_buildings(picture, depth, lens, fine)
        if not steep:
            self._draw_trees(picture, lens)
        if fine:
            size = (pose.width_px, pose.height_px)
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
            depth = depth[::2, ::2].copy()
        return Scene(picture, depth, drawn)

    def road_mask(self, lens: Lens) -> NDArray[np.bool_]:
        """Which pixels show a carriageway, were nothing in the way; shape (h, w)."""
        mask = np.zeros((lens.height_px, lens.width_px), np.uint8)
        foot = shapely.Point(float(lens.at[0]), float(lens.at[1])).buffer(_VIEW_M)
        for line, kind, _ in self._roads:
            if line.distance(foot) > 0.0:
                continue
            near = shapely.buffer(shapely.intersection(line, foot), half_width_m(kind))
            for part in shapely.get_parts(near):
                ring = shapely.get_coordinates(part.exterior)
                outline = lens.polygon(np.column_stack([ring, np.zeros(len(ring))]))
                if outline is not None:
                    cv2.fillPoly(mask, [outline], 1, cv2.LINE_8, 4)
        return np.asarray(mask > 0)

    def _ground(
        self, lens: Lens, centre: Points, reach_m: float, step_m: float, steep: bool
    ) -> Picture:
        # Tiles lie on a coarse lattice, so that a camera that flies reuses them.
        lattice = 50.0
        corner = np.floor((centre - reach_m) / lattice) * lattice
        side = math.ceil((2.0 * reach_m + lattice) / lattice) * lattice
        tile = self._tile(float(corner[0]), float(corner[1]), side, step_m)
        size = (lens.width_px, lens.height_px)
        # OpenCV counts from the middle of a pixel, the lens from its corner.
        half = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])
        west, south = corner + step_m / 2.0
        to_metres = np.array([[step_m, 0.0, west], [0.0, step_m, south], [0.0, 0.0, 1.0]])
        to_pixels = half @ lens.homography @ to_metres
        if steep:
            flags, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
            near = cv2.warpPerspective(tile, to_pixels, size, flags=flags, borderMode=border)
            return near.astype(np.uint8, copy=False)
        rows = (np.arange(lens.height_px) + 0.5)[:, None]
        columns = (np.arange(lens.width_px) + 0.5)[None, :]
        inverse = np.linalg.inv(lens.homography)
        east, north, w = (
            inverse[k, 0] * columns + inverse[k, 1] * rows + inverse[k, 2] for k in range(3)
        )
        # The sign of w tells ground before the camera from ground behind it.
        ground = w * float(np.sign(inverse[2] @ [lens.width_px / 2, lens.height_px - 0.5, 1])) > 0
        away = np.where(ground, np.hypot(east / w - lens.at[0], north / w - lens.at[1]), 1e6)
        picture = np.empty((lens.height_px, lens.width_px, 3), np.uint8)
        picture[:] = _SKY
        image, scale = tile, 1.0
        # Far ground is taken from coarser copies, as a lens would blur it.
        metres_per_px = away**2 / (lens.focal_px * lens.at[2])
        for level in range(5):
            warped = cv2.warpPerspective(
                image,
                to_pixels @ np.diag([scale, scale, 1.0]),
                size,
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            least = 0.0 if level == 0 else 1.5 * step_m * scale / 2.0
            np.copyto(picture, warped, where=(ground & (metres_per_px >= least))[..., None])
            image, scale = cv2.pyrDown(image).astype(np.uint8), scale * 2.0
        haze = np.clip((away - 60.0) / 260.0, 0.0, 0.75).astype(np.float32)[..., None]
        mixed: Picture = (picture * (1.0 - haze) + np.array(_SKY, np.float32) * haze).astype(
            np.uint8
        )
        return mixed

    def _tile(self, west_m: float, south_m: float, side_m: float, step_m: float) -> Picture:
        key = (round(west_m), round(south_m), round(side_m), round(step_m * 1e4))
        tile = self._tiles.get(key)
        if tile is None:
            tile = self._paint(west_m, south_m, side_m, step_m)
            self._tiles[key] = tile
            while len(self._tiles) > self._TILES:
                self._tiles.popitem(last=False)
        self._tiles.move_to_end(key)
        return tile

    def _paint(self, west_m: float, south_m: float, side_m: float, step_m: float) -> Picture:
        n = round(side_m / step_m)
        box = shapely.box(west_m, south_m, west_m + side_m, south_m + side_m)
        image = np.empty((n, n, 3), np.uint8)
        image[:] = _YARD

        def pixels(coordinates: Any) -> NDArray[np.int32]:
            metres = np.asarray(coordinates)[:, :2] - (west_m, south_m)
            return np.rint((metres / step_m - 0.5) * 16.0).astype(np.int32)

        def fill(shape: Any, colour: Colour) -> None:
            for part in shapely.get_parts(shapely.intersection(shape, box)):
                if part.geom_type == "Polygon" and not part.is_empty:
                    rings = [part.exterior, *part.interiors]
                    outlines = [pixels(ring.coords) for ring in rings]
                    cv2.fillPoly(image, outlines, colour, cv2.LINE_AA, 4)

        def stroke(line: Any, width_m: float, colour: Colour) -> None:
            fill(shapely.buffer(line, width_m / 2.0, cap_style="flat"), colour)

        near = [one for one in self._roads if one[0].distance(box) < 25.0]
        yards = [one[0] for one in self._buildings if one[0].distance(box) < 10.0]
        fill(shapely.box(west_m, south_m, west_m + side_m, south_m + side_m), _GRASS)
        if yards:
            fill(shapely.union_all(shapely.buffer(np.array(yards), 7.0)), _YARD)
        if near:
            lines = np.array([one[0] for one in near], dtype=object)
            halves = np.array([half_width_m(one[1]) for one in near])
            fill(shapely.union_all(shapely.buffer(lines, halves + PAVEMENT_M)), _PAVING)
            self._lay_slabs(image, lines, halves, west_m, south_m, step_m)
            fill(shapely.union_all(shapely.buffer(lines, halves + 0.15)), (182, 186, 188))
            fill(shapely.union_all(shapely.buffer(lines, halves)), _ASPHALT)
            for number, (line, half) in enumerate(zip(lines, halves, strict=True)):
                others = [
                    shapely.buffer(lines[k], halves[k] + 2.0)
                    for k in range(len(lines))
                    if k != number
                ]
                self._mark_lanes(line, float(half), others, stroke)
        for shape, kind, _ in self._zones:
            if shape.distance(box) > 0.0:
                continue
            if kind == "site":
                fill(shape, _EARTH)
            elif kind == "fire_lane":
                stroke(shape.boundary, 0.18, _YELLOW)
                for hatch in _hatches(shape):
                    stroke(hatch, 0.14, _YELLOW)
            elif kind == "no_parking":
                stroke(shape.boundary, 0.12, _YELLOW)
        return self._roughen(image, west_m, south_m)

    @staticmethod
    def _lay_slabs(
        image: Picture,
        lines: NDArray[np.object_],
        halves: NDArray[np.float64],
        west_m: float,
        south_m: float,
        step_m: float,
    ) -> None:
        """Joints between the slabs of a pavement, half a metre apart."""
        if step_m > 0.11:
            return
        paving = np.array(_PAVING, np.float64)
        mask = cv2.inRange(image, paving, paving) > 0
        n = len(image)
        every = max(4, round(0.5 / step_m))
        joint = np.zeros((n, n), np.bool_)
        joint[::every, :] = True
        joint[:, ::every] = True
        image[mask & joint] = tuple(channel - 14 for channel in _PAVING)

    @staticmethod
    def _mark_lanes(line: Any, half_m: float, others: list[Any], stroke: Any) -> None:
        free = shapely.difference(line, shapely.union_all(others)) if others else line
        for piece in shapely.get_parts(free):
            if piece.geom_type != "LineString" or piece.length < 12.0:
                continue
            stroke(piece.offset_curve(0.14), 0.12, _YELLOW)
            stroke(piece.offset_curve(-0.14), 0.12, _YELLOW)
            for side in (1.0, -1.0):
                stroke(piece.offset_curve(side * (half_m - 0.35)), 0.13, _WHITE)
                lane = 3.5
                while lane < half_m - 2.0:
                    marks = piece.offset_curve(side * lane)
                    for start in np.arange(2.0, marks.length - 2.0, 6.0).tolist():
                        dash = shapely.ops.substring(marks, start, start + 2.2)
                        stroke(dash, 0.13, _WHITE)
                    lane += 3.5

    def _roughen(self, image: Picture, west_m: float, south_m: float) -> Picture:
        rng = np.random.default_rng([self._seed, round(west_m) & 0xFFFF, round(south_m) & 0xFFFF])
        n = len(image)
        rough = np.zeros((n, n), np.float32)
        for cells, strength in ((n // 160, 5.0), (n // 24, 4.0), (n // 6, 4.0), (n // 2, 4.0)):
            noise = rng.standard_normal((max(2, cells), max(2, cells)), np.float32) * strength
            rough += cv2.resize(noise, (n, n), interpolation=cv2.INTER_LINEAR)
        bright = cv2.convertScaleAbs(rough, beta=128.0)
        texture = cv2.cvtColor(bright, cv2.COLOR_GRAY2BGR)
        return cv2.addWeighted(image, 1.0, texture, 1.0, -128.0).astype(np.uint8)

    def _draw_buildings(
        self, picture: Picture, depth: NDArray[np.float32], lens: Lens, fine: bool
    ) -> bool:
        faces: list[tuple[float, float, Points, Colour, int]] = []
        away_m = np.hypot(*(self._building_at - lens.at[:2]).T) - self._building_reach
        reach = 220.0 if abs(float(lens.forward[2])) < 0.8 else 1.6 * float(lens.at[2])
        for number in np.flatnonzero(away_m < reach).tolist():
            shape, _, name = self._buildings[number]
            if shape.geom_type != "Polygon":
                continue
            code = zlib.crc32(name.encode())
            height = 9.0 + 3.0 * (code % 6)
            tone = 150 + code // 8 % 60
            colour = (tone - code // 512 % 30, tone - code // 4096 % 16, tone)
            ring = np.array(shapely.get_coordinates(shapely.orient_polygons(shape).exterior))[:, :2]
            for start, end in pairwise(ring):
                outward = np.array([end[1] - start[1], start[0] - end[0]])
                if outward @ (lens.at[:2] - start) <= 0.0:
                    continue
                quad = np.array(
                    [[*start, 0.0], [*end, 0.0], [*end, height], [*start, height]], np.float64
                )
                away = np.hypot(*(np.array([start, end, (start + end) / 2]) - lens.at[:2]).T)
                light = 0.72 + 0.24 * float(outward[0] / max(1e-6, np.hypot(*outward)))
                wall = tuple(int(channel * light) for channel in colour)
                faces.append((float(away.mean()), float(away.max()), quad, wall, round(height / 3)))  # type: ignore[arg-type]
            roof = np.column_stack([ring[:-1], np.full(len(ring) - 1, height)])
            if lens.at[2] > height:
                middle_m = float(np.hypot(*(ring.mean(axis=0) - lens.at[:2])))
                faces.append((middle_m - 0.1, middle_m, roof, colour, 0))
        drawn = False
        for _, farthest, quad, colour, floors in sorted(faces, key=lambda face: -face[0]):
            outline = lens.polygon(quad)
            if outline is None:
                continue
            haze = float(np.clip((farthest - 60.0) / 260.0, 0.0, 0.75))
            cv2.fillPoly(picture, [outline], _mix(colour, haze), cv2.LINE_AA, 4)
            cv2.fillPoly(depth, [outline], farthest, cv2.LINE_8, 4)
            drawn = True
            if fine and floors:
                self._draw_windows(picture, lens, quad, floors, _mix((110, 96, 84), haze))
        return drawn

    @staticmethod
    def _draw_windows(
        picture: Picture, lens: Lens, quad: Points, floors: int, colour: Colour
    ) -> None:
        start, end, top = quad[0, :2], quad[1, :2], float(quad[2, 2])
        along = end - start
        count = int(np.hypot(*along) // 3.2)
        panes: list[NDArray[np.int32]] = []
        for floor in range(floors):
            low = top * floor / floors + 0.9
            for column in range(count):
                left = start + along * (column + 0.25) / count
                right = start + along * (column + 0.75) / count
                pane = np.array(
                    [[*left, low], [*right, low], [*right, low + 1.5], [*left, low + 1.5]]
                )
                outline = lens.polygon(pane)
                if outline is not None:
                    panes.append(outline)
        if panes:
            cv2.fillPoly(picture, panes, colour, cv2.LINE_AA, 4)

    def _draw_trees(self, picture: Picture, lens: Lens) -> None:
        """Street trees, far enough away to hide nothing that matters."""
        spots: list[tuple[float, Points]] = []
        for line, kind, _ in self._roads:
            for side in (1.0, -1.0):
                row = line.offset_curve(side * (half_width_m(kind) + PAVEMENT_M - 0.6))
                for along in np.arange(4.0, row.length, 9.0).tolist():
                    point = row.interpolate(along)
                    spot = np.array([point.x, point.y])
                    away = float(np.hypot(*(spot - lens.at[:2])))
                    if 48.0 < away < 150.0:
                        spots.append((away, spot))
        for away, spot in sorted(spots, key=lambda one: -one[0]):
            uvw = lens.project(np.array([[*spot, 0.0], [*spot, 2.6], [*spot, 4.2]]))
            if (uvw[:, 2] < 1.0).any():
                continue
            foot, fork, crown = uvw[:, :2] / uvw[:, 2:]
            if not (-50 < crown[0] < lens.width_px + 50 and -50 < crown[1] < lens.height_px + 50):
                continue
            radius = max(1, round(1.7 * lens.focal_px / uvw[2, 2]))
            haze = float(np.clip((away - 60.0) / 260.0, 0.0, 0.75))
            wood, leaf = _mix((58, 70, 82), haze), _mix((66, 104, 84), haze)
            width = max(1, round(0.2 * lens.focal_px / uvw[2, 2]))
            ends = (tuple(np.rint(foot).astype(int)), tuple(np.rint(fork).astype(int)))
            cv2.line(picture, *ends, wood, width)
            middle = np.rint(crown).astype(int)
            cv2.circle(picture, tuple(middle), radius, leaf, -1, cv2.LINE_AA)
            lit = middle - round(radius * 0.3)
            shade = _mix((88, 128, 104), haze)
            cv2.circle(picture, tuple(lit), round(radius * 0.6), shade, -1, cv2.LINE_AA)


def half_width_m(kind: str) -> float:
    """Half of the carriageway of a kind of road."""
    return HALF_WIDTH_M.get(kind, _OTHER_HALF_WIDTH_M)


def actor_footprint(plane: Plane, actor: Actor, stance: Stance) -> Points:
    """Corners of the ground that an actor covers, shape (4, 3) in the plane's metres."""
    east, north = plane.to_metres(stance.lon_deg, stance.lat_deg)
    heading = math.radians(stance.heading_deg)
    turn = np.array(
        [
            [math.sin(heading), math.cos(heading), 0.0],
            [math.cos(heading), -math.sin(heading), 0.0],
            [0.0, 0.0, 1.0],
        ]
    )
    size = np.array([actor.length_m, actor.width_m, actor.height_m])
    return np.asarray((_FLOOR * size) @ turn + np.array([east, north, 0.0]))


def draw_actor(
    picture: Picture, lens: Lens, plane: Plane, actor: Actor, stance: Stance, phase: float
) -> tuple[int, int, int, int] | None:
    """Draw one actor into a picture.

    Args:
        picture: Drawn into.
        lens: The camera.
        plane: In whose metres the lens looks.
        actor: What it is.
        stance: Where it is.
        phase: Of its steps, 0 to 1.

    Returns:
        The box it covers, left, top, right, bottom in pixels, or None when it is out of view.
    """
    east, north = plane.to_metres(stance.lon_deg, stance.lat_deg)
    if math.hypot(east - lens.at[0], north - lens.at[1]) > _VIEW_M:
        return None
    heading = math.radians(stance.heading_deg)
    ahead = np.array([math.sin(heading), math.cos(heading), 0.0])
    right = np.array([math.cos(heading), -math.sin(heading), 0.0])
    size = np.array([actor.length_m, actor.width_m, actor.height_m])
    base = np.array([east, north, 0.0])
    turn = np.stack([ahead, right, np.array([0.0, 0.0, 1.0])])

    hull = lens.project((_CORNERS * size) @ turn + base)
    if (hull[:, 2] < _NEAR_M).any():
        return None
    pixels = hull[:, :2] / hull[:, 2:]
    low = np.floor(pixels.min(axis=0)).astype(int)
    high = np.ceil(pixels.max(axis=0)).astype(int)
    if high[0] <= 0 or high[1] <= 0 or low[0] >= lens.width_px or low[1] >= lens.height_px:
        return None
    if actor.kind in ("car", "truck"):
        _shade(picture, lens, (_FLOOR * (size + _CAR_MARGIN_M)) @ turn + base)
    else:
        _shade(picture, lens, (_ROUND * (size + _SMALL_MARGIN_M)) @ turn + base)
    if actor.kind == "person":
        _draw_person(picture, lens, base, actor, ahead, phase)
    elif actor.kind == "waste":
        _draw_heap(picture, lens, base, actor, turn)
    else:
        _draw_vehicle(picture, lens, base, actor, turn)
    return (
        max(0, int(low[0])),
        max(0, int(low[1])),
        min(lens.width_px, int(high[0])),
        min(lens.height_px, int(high[1])),
    )


_FLOOR = np.array([[0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [-0.5, 0.5, 0.0], [-0.5, -0.5, 0.0]])
#: How far the soft shadow of a thing reaches beyond it, both sides together.
_CAR_MARGIN_M = np.array([0.35, 0.35, 0.0])
_SMALL_MARGIN_M = np.array([0.2, 0.2, 0.0])
_ROUND = np.array(
    [[0.5 * math.cos(a), 0.5 * math.sin(a), 0.0] for a in np.linspace(0.0, 2 * math.pi, 17)[:-1]]
)
_CORNERS = np.vstack([_FLOOR, _FLOOR + np.array([0.0, 0.0, 1.0])])


class _Part(NamedTuple):
    """A solid of a vehicle: floor and top rectangles as shares of its size."""

    low: tuple[float, float, float]  # back, front (shares of length), height
    high: tuple[float, float, float]
    width: float
    glass: bool


_CAR = (
    _Part((-0.5, 0.5, 0.14), (-0.49, 0.48, 0.6), 1.0, False),
    _Part((-0.42, 0.2, 0.6), (-0.32, 0.08, 1.0), 0.88, True),
)
_TRUCK = (
    _Part((-0.5, 0.28, 0.2), (-0.5, 0.28, 1.0), 1.0, False),
    _Part((0.3, 0.5, 0.14), (0.3, 0.47, 0.78), 0.95, True),
)
#: Sides of a solid by its corners (floor 0-3, top 4-7), and how light they are.
_SIDES = (
    ((0, 1, 5, 4), 0.86),
    ((1, 2, 6, 5), 0.74),
    ((2, 3, 7, 6), 0.8),
    ((3, 0, 4, 7), 0.66),
)


def _draw_vehicle(picture: Picture, lens: Lens, base: Points, actor: Actor, turn: Points) -> None:
    size = np.array([actor.length_m, actor.width_m, actor.height_m])
    parts = _CAR if actor.kind == "car" else _TRUCK
    if actor.kind == "truck":
        # The half that is farther away first.
        toward = float((lens.at - base) @ turn[0])
        parts = parts if toward > 0 else parts[::-1]
    for part in parts:
        corners = _solid(part)
        world = (corners * size) @ turn + base
        uvw = lens.project(world)
        for number, (side, light) in enumerate(_SIDES):
            outline = _facing(lens, uvw, side)
            if outline is None:
                continue
            paint = _GLASS if part.glass and actor.kind == "car" else actor.colour_bgr
            cv2.fillConvexPoly(picture, outline, _lit(paint, light), cv2.LINE_AA, 4)
            if not part.glass and number in (1, 3):
                _draw_wheels(picture, lens, base, size, turn, 0.5 if number == 1 else -0.5)
            elif part.glass and actor.kind == "truck" and number == 0:
                pane = world[[0, 1, 5, 4]] * 1.0
                middle = (pane[0] + pane[1]) / 2.0
                upper = pane[2:4] * 0.9 + middle * 0.1
                lower = (pane[[1, 0]] * 0.45 + pane[2:4] * 0.55)[::1]
                glass = lens.polygon(np.vstack([lower, upper[::-1]]))
                if glass is not None:
                    cv2.fillConvexPoly(picture, glass, _GLASS, cv2.LINE_AA, 4)
            elif not part.glass and actor.kind == "car":
                _draw_lamps(picture, lens, world, front=number == 0)
        top = _facing(lens, uvw, (4, 5, 6, 7))
        if top is not None:
            cv2.fillConvexPoly(picture, top, _lit(actor.colour_bgr, 1.0), cv2.LINE_AA, 4)


def _solid(part: _Part) -> Points:
    half = part.width / 2.0
    back, front, low = part.low
    back_top, front_top, high = part.high
    return np.array(
        [
            [front, -half, low],
            [front, half, low],
            [back, half, low],
            [back, -half, low],
            [front_top, -half * 0.96, high],
            [front_top, half * 0.96, high],
            [back_top, half * 0.96, high],
            [back_top, -half * 0.96, high],
        ]
    )


def _facing(lens: Lens, uvw: Points, side: tuple[int, ...]) -> NDArray[np.int32] | None:
    """The outline of a side that faces the camera, else None."""
    corners = uvw[list(side)]
    pixels = corners[:, :2] / corners[:, 2:]
    following = np.roll(pixels, -1, axis=0)
    area = (pixels[:, 0] * following[:, 1] - following[:, 0] * pixels[:, 1]).sum()
    return lens.clip(corners) if area > 0.0 else None


_WHEEL = np.array(
    [[math.cos(angle), math.sin(angle)] for angle in np.linspace(0.0, 2 * math.pi, 13)[:-1]]
)


def _draw_wheels(
    picture: Picture, lens: Lens, base: Points, size: Points, turn: Points, side: float
) -> None:
    radius = min(0.34, 0.24 * float(size[2])) if size[0] < 6.0 else 0.5
    for along in (-0.31, 0.31):
        rim = np.column_stack(
            [
                along * size[0] + radius * _WHEEL[:, 0],
                np.full(len(_WHEEL), side * size[1] * 1.01),
                radius + radius * _WHEEL[:, 1],
            ]
        )
        outline = lens.polygon(rim @ turn + base)
        if outline is not None:
            cv2.fillConvexPoly(picture, outline, (34, 34, 36), cv2.LINE_AA, 4)
        hub = rim.copy()
        hub[:, 0] = along * size[0] + 0.5 * radius * _WHEEL[:, 0]
        hub[:, 2] = radius + 0.5 * radius * _WHEEL[:, 1]
        outline = lens.polygon(hub @ turn + base)
        if outline is not None:
            cv2.fillConvexPoly(picture, outline, (140, 140, 142), cv2.LINE_AA, 4)


def _draw_lamps(picture: Picture, lens: Lens, world: Points, *, front: bool) -> None:
    """Head lamps, or tail lamps and the plate, on the end of a car's body."""
    low_left, low_right, high_right, high_left = (
        world[[0, 1, 5, 4]] if front else world[[2, 3, 7, 6]]
    )
    colour: Colour = (235, 245, 250) if front else (48, 40, 190)

    def at(across: float, up: float) -> Points:
        low = low_left + across * (low_right - low_left)
        high = high_left + across * (high_right - high_left)
        point: Points = low + up * (high - low)
        return point

    patches = [((0.06, 0.26), (0.55, 0.82), colour), ((0.74, 0.94), (0.55, 0.82), colour)]
    patches.append(((0.38, 0.62), (0.3, 0.48), (200, 120, 60)))
    for (left, right), (low, high), paint in patches:
        quad = np.array([at(left, low), at(right, low), at(right, high), at(left, high)])
        outline = lens.polygon(quad)
        if outline is not None:
            cv2.fillConvexPoly(picture, outline, paint, cv2.LINE_AA, 4)


def _draw_person(
    picture: Picture, lens: Lens, base: Points, actor: Actor, ahead: Points, phase: float
) -> None:
    height, half = actor.height_m, actor.width_m / 2.0
    look = base - lens.at
    across = np.array([look[1], -look[0], 0.0])
    across /= max(1e-6, float(np.hypot(*across[:2])))
    up = np.array([0.0, 0.0, height])
    stride = 0.22 * height * math.sin(2.0 * math.pi * phase) * ahead
    trousers = _lit((84, 66, 58), 1.0)
    for side, step in ((-0.5, stride), (0.5, -stride)):
        hip, foot = base + 0.5 * up + side * half * across, base + side * half * across + step
        quad = np.array(
            [
                hip - 0.4 * half * across,
                hip + 0.4 * half * across,
                foot + 0.3 * half * across,
                foot - 0.3 * half * across,
            ]
        )
        outline = lens.polygon(quad)
        if outline is not None:
            cv2.fillConvexPoly(picture, outline, trousers, cv2.LINE_AA, 4)
    torso = np.array(
        [
            base + 0.84 * up - half * across,
            base + 0.84 * up + half * across,
            base + 0.46 * up + 0.75 * half * across,
            base + 0.46 * up - 0.75 * half * across,
        ]
    )
    # From above the shoulders have depth, too.
    flat = np.array([base + 0.84 * up + half * (c * across + s * ahead) for c, s in _WHEEL * 0.9])
    for solid, light in ((torso, 0.9), (flat, 1.0)):
        outline = lens.polygon(solid)
        if outline is not None:
            cv2.fillConvexPoly(picture, outline, _lit(actor.colour_bgr, light), cv2.LINE_AA, 4)
    head = lens.project((base + 0.92 * up)[None, :])[0]
    radius = 0.085 * height * 0.75 * lens.focal_px / head[2]
    centre = np.rint((head[:2] / head[2] - 0.5) * 16.0).astype(int)
    cv2.circle(
        picture, tuple(centre), max(16, round(radius * 16.0)), (62, 74, 96), -1, cv2.LINE_AA, 4
    )


def _draw_heap(picture: Picture, lens: Lens, base: Points, actor: Actor, turn: Points) -> None:
    """Bags in a heap: the same ones in every frame, by the place they lie at."""
    code = zlib.crc32(np.rint(base[:2] * 100.0).astype(np.int64).tobytes())
    rng = np.random.default_rng(code)
    size = np.array([actor.length_m, actor.width_m, actor.height_m])
    bags: list[tuple[float, Points, float, Colour]] = []
    for number in range(13):
        share = number / 12.0
        turned, spread = 2.4 * number, 0.36 * (1.0 - share)
        place = np.array([spread * math.cos(turned), spread * math.sin(turned), 0.0])
        radius = 0.2 * float(size[:2].min()) * rng.uniform(0.85, 1.25)
        place[2] = (radius + share * max(0.0, size[2] - 2.0 * radius)) / size[2]
        tint = [(actor.colour_bgr), (46, 44, 44), (196, 200, 204), (92, 130, 160)][number % 4]
        world = (place * size) @ turn + base
        depth = float(lens.project(world[None, :])[0, 2])
        bags.append((depth, world, radius, _lit(tint, rng.uniform(0.8, 1.1))))
    for depth, world, radius, colour in sorted(bags, key=lambda bag: -bag[0]):
        uvw = lens.project(world[None, :])[0]
        centre = tuple(np.rint((uvw[:2] / uvw[2] - 0.5) * 16.0).astype(int))
        r = max(8.0, radius * lens.focal_px / depth * 16.0)
        cv2.circle(picture, centre, round(r), colour, -1, cv2.LINE_AA, 4)
        lit = (centre[0] - round(r * 0.25), centre[1] - round(r * 0.3))
        cv2.circle(picture, lit, max(4, round(r * 0.45)), _lit(colour, 1.2), -1, cv2.LINE_AA, 4)


def _shade(picture: Picture, lens: Lens, floor: Points) -> None:
    """The soft shadow under a thing."""
    outline = lens.polygon(floor)
    if outline is None:
        return
    low = np.maximum(outline.min(axis=0) // 16 - 4, 0)
    high = outline.max(axis=0) // 16 + 5
    region = picture[low[1] : high[1], low[0] : high[0]]
    if not region.size:
        return
    mask = np.zeros(region.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, (outline - low * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    wide = max(3, (int(high[1] - low[1]) // 8) | 1)
    light = cv2.convertScaleAbs(cv2.blur(mask, (wide, wide)), alpha=-0.42, beta=0)
    light = cv2.merge([cv2.bitwise_not(light)] * 3)
    cv2.multiply(region, light, region, 1.0 / 255.0)


def _mix(colour: Colour, haze: float) -> Colour:
    blue, green, red = (
        round(channel * (1.0 - haze) + air * haze)
        for channel, air in zip(colour, _SKY, strict=True)
    )
    return blue, green, red


def _lit(colour: Colour, light: float) -> Colour:
    blue, green, red = (min(255, round(channel * light)) for channel in colour)
    return blue, green, red


def _hatches(shape: Any) -> list[Any]:
    """Diagonal lines across an area, a metre and a half apart."""
    west, south, east, north = shape.bounds
    tall = north - south
    lines = [
        shapely.LineString([(x, south), (x + tall, north)])
        for x in np.arange(west - tall, east, 1.5).tolist()
    ]
    inner = shapely.buffer(shape, -0.15)
    return [part for part in (shapely.intersection(line, inner) for line in lines) if part.length]
