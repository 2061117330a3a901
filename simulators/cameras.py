"""Simulated cameras: frames of the city as a camera on a pole or under an aircraft sees it."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from core.city import Camera, CameraPose, LayerRole
from core.errors import InputError
from core.frames import Frame
from core.units import NS_PER_S
from geo.city import City
from simulators.actors import Actor, ActorKind, Waypoint
from simulators.messages import digest
from simulators.rendering import (
    PAVEMENT_M,
    CityPainter,
    Lens,
    Picture,
    Plane,
    Scene,
    actor_footprint,
    draw_actor,
    half_width_m,
)
from simulators.views import Conditions, cast_shadow, flood, weather

_JPEG_QUALITY = 80

#: One standard deviation of the sensor's noise in grey values.
_NOISE_SIGMA = 2.2

#: The noise picture is this much larger than a frame; each frame cuts its own piece.
_NOISE_SPARE_PX = 96

_CAR_COLOURS = ((230, 232, 232), (48, 46, 46), (150, 150, 152), (70, 60, 170), (140, 92, 52))
_COAT_COLOURS = ((160, 80, 60), (60, 60, 190), (40, 40, 44), (70, 150, 80), (200, 200, 205))


class CameraSimulator:
    """One camera of the city.

    The same seed, camera and time always give the same bytes.

    Args:
        camera_id: A camera of the city.
        city: What stands still.
        actors: What moves.
        seed: Of textures and noise.
        painter: Shared between the cameras of one city; made when not given.
        conditions: Air and light by city time; a calm overcast day unless given.

    Raises:
        InputError: The city has no such camera.
    """

    def __init__(
        self,
        camera_id: str,
        city: City,
        actors: Sequence[Actor],
        seed: int,
        painter: CityPainter | None = None,
        conditions: Callable[[int], Conditions] | None = None,
    ) -> None:
        camera = city.cameras.get(camera_id)
        if camera is None:
            raise InputError(
                f"camera {camera_id!r} is not one of city {city.name}: {', '.join(city.cameras)}"
            )
        self.camera_id = camera_id
        self._fixed_pose = camera.pose
        self._painter = painter or CityPainter(city, seed)
        self._key = [seed, zlib.crc32(camera_id.encode())]
        self._conditions = conditions
        #: Seed of drops, swaying and noise in the dark.
        self.weather_seed = digest(seed, camera_id) % 2**32
        self._actors = tuple(actors)
        self._first_ns = np.array(
            [one.waypoints[0].at_ns if one.waypoints else 1 for one in actors], np.int64
        )
        self._last_ns = np.array(
            [one.waypoints[-1].at_ns if one.waypoints else 0 for one in actors], np.int64
        )
        self._scene: tuple[CameraPose, Scene, Lens] | None = None
        self._noise: NDArray[np.uint8] = np.empty((0, 0, 3), np.uint8)

    def frame(self, time_ns: int, pose: CameraPose | None = None) -> Frame:
        """What the camera sends at an instant.

        Args:
            time_ns: City time.
            pose: Of a camera that flies; it then travels with the frame.

        Raises:
            InputError: A flying camera without a pose.
        """
        picture = self.picture(time_ns, pose)
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        height, width = picture.shape[:2]
        return Frame(
            camera_id=self.camera_id,
            time_ns=time_ns,
            width_px=width,
            height_px=height,
            jpeg=data.tobytes(),
            pose=pose,
        )

    def picture(self, time_ns: int, pose: CameraPose | None = None) -> Picture:
        """The same before it is compressed: uint8, shape (h, w, 3), blue green red."""
        used = pose or self._fixed_pose
        if used is None:
            raise InputError(f"camera {self.camera_id!r} flies: give frame() its pose")
        if self._scene is None or self._scene[0] != used:
            scene = self._painter.scene(used, fine=pose is None)
            self._scene = (used, scene, Lens(used, self._painter.plane))
        _, scene, lens = self._scene
        picture = scene.picture.copy()
        now = Conditions() if self._conditions is None else self._conditions(time_ns)
        if now.water_depth_m > 0.0:
            flood(picture, self._painter.road_mask(lens) & ~np.isfinite(scene.depth_m), now)
        found = self.boxes(time_ns, lens, into=picture, scene=scene, conditions=now)
        if not now.plain:
            lamps = [box for actor, box in found if _drives(actor, time_ns)]
            picture = weather(picture, now, time_ns, self.weather_seed, lamps)
        return self._expose(picture, time_ns)

    def boxes(
        self,
        time_ns: int,
        lens: Lens | None = None,
        *,
        into: Picture | None = None,
        scene: Scene | None = None,
        conditions: Conditions | None = None,
    ) -> list[tuple[Actor, tuple[int, int, int, int]]]:
        """The actors in view and the boxes they cover, far ones first: the truth of a frame.

        Args:
            time_ns: City time.
            lens: The camera; that of the fixed pose unless given.
            into: Draws them into this picture as well.
            scene: What may hide them.
            conditions: Where the sun stands, for hard shadows.
        """
        if lens is None:
            if self._fixed_pose is None:
                raise InputError(f"camera {self.camera_id!r} flies: give boxes() a lens")
            lens = Lens(self._fixed_pose, self._painter.plane)
        if into is None:
            into = np.zeros((lens.height_px, lens.width_px, 3), np.uint8)
        plane = self._painter.plane
        alive = np.flatnonzero((self._first_ns <= time_ns) & (self._last_ns >= time_ns))
        staged = []
        for number in alive.tolist():
            actor = self._actors[number]
            stance = actor.at(time_ns)
            if stance is None:
                continue
            east, north = plane.to_metres(stance.lon_deg, stance.lat_deg)
            away = math.dist((east, north, 0.0), lens.at.tolist())
            staged.append((away, number, actor, stance))
        found = []
        for away, number, actor, stance in sorted(staged, key=lambda one: (-one[0], one[1])):
            # About two steps a second; a seed of the actor's number keeps people out of step.
            phase = (time_ns / NS_PER_S * 0.97 + number * 0.37) % 1.0 if _walks(actor) else 0.0
            if conditions is not None and conditions.sun > 0.0:
                footprint = actor_footprint(plane, actor, stance)
                cast_shadow(into, lens, footprint, actor.height_m, conditions)
            box = draw_actor(into, lens, plane, actor, stance, phase)
            if box is None:
                continue
            found.append((actor, box))
            if scene is not None and scene.has_depth:
                left, top, right, bottom = box
                nearer = scene.depth_m[top:bottom, left:right] < away
                if nearer.any():
                    region = into[top:bottom, left:right]
                    np.copyto(
                        region, scene.picture[top:bottom, left:right], where=nearer[..., None]
                    )
        return found

    def _expose(self, picture: Picture, time_ns: int) -> Picture:
        """Clouds make the light vary slowly; the sensor adds noise."""
        height, width = picture.shape[:2]
        spare = _NOISE_SPARE_PX
        if self._noise.shape[:2] != (height + spare, width + spare):
            rng = np.random.default_rng(self._key)
            drawn = rng.normal(128.0, _NOISE_SIGMA, (height + spare, width + spare, 3))
            self._noise = np.rint(drawn).astype(np.uint8)
        cut = zlib.crc32(struct.pack("<q", time_ns), self._key[0] & 0xFFFFFFFF ^ self._key[1])
        x, y = cut % spare, cut // spare % spare
        at_s = time_ns / NS_PER_S
        light = 1.0 + 0.04 * math.sin(at_s / 173.0) + 0.02 * math.sin(at_s / 41.0)
        noise = self._noise[y : y + height, x : x + width]
        return cv2.addWeighted(picture, light, noise, 1.0, -128.0).astype(np.uint8, copy=False)


def _drives(actor: Actor, time_ns: int) -> bool:
    now, before = actor.at(time_ns), actor.at(time_ns - NS_PER_S)
    vehicle = actor.kind in {"car", "truck"}
    return vehicle and now is not None and before is not None and now[:2] != before[:2]


def _walks(actor: Actor) -> bool:
    if actor.kind != "person":
        return False
    first, last = actor.waypoints[0], actor.waypoints[-1]
    return (first.lon_deg, first.lat_deg) != (last.lon_deg, last.lat_deg)


def background_actors(
    city: City,
    camera: Camera,
    seed: int,
    start_ns: int,
    end_ns: int,
    *,
    around: tuple[float, float] | None = None,
) -> list[Actor]:
    """Passers-by and passing cars before a camera; none of them ever stops.

    Args:
        city: Whose roads they use.
        camera: Before which.
        seed: Same seed, same actors.
        start_ns: City time at which the first may appear.
        end_ns: City time at which all have gone.
        around: (lon, lat) of the middle; for a camera that flies. Without it such a camera
            gets none.

    Returns:
        The actors, in the order in which they appear.
    """
    pose = camera.pose
    if around is None and pose is None:
        return []
    if around is None:
        assert pose is not None
        around = (pose.lon_deg, pose.lat_deg)
    plane = Plane(*around)
    east = north = 0.0
    if pose is not None:
        yaw = math.radians(pose.yaw_deg)
        east, north = 25.0 * math.sin(yaw), 25.0 * math.cos(yaw)
    disc = shapely.Point(east, north).buffer(85.0)
    rng = np.random.default_rng([seed, zlib.crc32(camera.camera_id.encode()), 1])
    actors: list[Actor] = []
    for layer in city.layers_of(LayerRole.ROAD):
        for line, kind in zip(plane.geometry(layer.geometries), layer.column("kind"), strict=True):
            if line.distance(shapely.Point(east, north)) > 40.0:
                continue
            for piece in shapely.get_parts(shapely.intersection(line, disc)):
                if piece.geom_type == "LineString" and piece.length > 30.0:
                    actors += _traffic(piece, str(kind), plane, rng, start_ns, end_ns)
    return sorted(actors, key=lambda one: one.waypoints[0].at_ns)


def _traffic(
    line: Any, kind: str, plane: Plane, rng: np.random.Generator, start_ns: int, end_ns: int
) -> list[Actor]:
    half = half_width_m(kind)
    # Lanes whose cars keep clear of what is parked at the kerb.
    lanes = [offset for offset in (1.85, 5.3) if offset + 1.0 <= half - 2.4] or [1.6]
    actors: list[Actor] = []
    for side in (1.0, -1.0):
        for offset in lanes:
            actors += _file(line, side * offset, "car", 28.0, plane, rng, start_ns, end_ns)
        offset = half + PAVEMENT_M * 0.6
        actors += _file(line, side * offset, "person", 70.0, plane, rng, start_ns, end_ns)
    return actors


def _file(
    line: Any,
    right_m: float,
    kind: ActorKind,
    every_s: float,
    plane: Plane,
    rng: np.random.Generator,
    start_ns: int,
    end_ns: int,
) -> list[Actor]:
    """Actors one after the other along a road, ``right_m`` to the right of its middle."""
    at_s = start_ns / NS_PER_S + rng.uniform(0.0, every_s)
    free_s = 0.0
    actors: list[Actor] = []
    while True:
        car = kind == "car"
        speed = rng.uniform(8.0, 13.0) if car else rng.uniform(1.1, 1.6)
        sway = rng.uniform(-0.2, 0.2) if car else rng.uniform(-0.9, 0.9)
        truck = car and rng.random() < 0.08
        colours = _CAR_COLOURS if car else _COAT_COLOURS
        colour = colours[int(rng.integers(len(colours)))]
        grows = rng.uniform(0.94, 1.06)
        back = not car and rng.random() < 0.5
        # Keep right: who uses the left side of the line goes against its direction.
        path = line.offset_curve(-(right_m + sway))
        if path.is_empty or path.geom_type != "LineString":
            return actors
        if (right_m < 0.0) != back:
            path = path.reverse()
        if at_s <= free_s:  # not through the one before
            at_s = free_s + 1.5
        lasts_s = path.length / speed
        if (at_s + lasts_s) * NS_PER_S > end_ns:
            return actors
        points = shapely.get_coordinates(path)
        steps = np.hypot(*np.diff(points, axis=0).T)
        times = at_s + np.concatenate([[0.0], np.cumsum(steps)]) / speed
        if car:
            free_s = float(times[-1]) - path.length / 13.0 + 1.5
        headings = np.degrees(np.arctan2(*np.diff(points, axis=0).T)) % 360.0
        waypoints = tuple(
            Waypoint(round(when * NS_PER_S), *plane.to_degrees(*point), heading)
            for when, point, heading in zip(
                times.tolist(), points.tolist(), [*headings.tolist(), headings[-1]], strict=True
            )
        )
        if truck:
            size, shape = (7.5, 2.4, 2.9), "truck"
        elif car:
            size, shape = (4.6 * grows, 1.82 * grows, 1.5 * grows), "car"
        else:
            size, shape = (0.45, 0.5 * grows, 1.7 * grows), "person"
        length, width, height = size
        actors.append(
            Actor(
                kind=shape,  # type: ignore[arg-type]
                length_m=length,
                width_m=width,
                height_m=height,
                colour_bgr=colour,
                waypoints=waypoints,
            )
        )
        at_s += every_s * (0.3 + rng.exponential(0.7))
