"""Scenes with truth: a camera of the generated city, and what is put before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import pytest

from core.city import CameraPose
from core.frames import Frame
from core.observations import Observation
from geo.camera import FlatGroundProjector
from geo.city import City, generate_city
from ingest.vision_worker import zones_of
from simulators.actors import Actor, ActorKind, Waypoint
from simulators.cameras import CameraSimulator, background_actors
from simulators.rendering import CityPainter, Plane
from simulators.views import CONDITIONS
from vision.darkroom import Darkroom
from vision.frame_pipeline import PipelineResult
from vision.pipeline import STATIC_OBJECT, CameraPipeline
from vision.zones import Zone

S = 1_000_000_000
EPOCH_NS = 1_767_225_600 * S
SIZES: dict[str, tuple[float, float, float]] = {
    "car": (4.6, 1.82, 1.5),
    "truck": (7.5, 2.4, 2.9),
    "person": (0.45, 0.5, 1.7),
    "waste": (1.3, 1.1, 0.7),
}
RED = (50, 50, 185)
WHITE = (220, 220, 222)


class Seen:
    """What a pipeline said of a scene."""

    def __init__(self, results: list[PipelineResult], pipeline: CameraPipeline) -> None:
        self.results = results
        self.pipeline = pipeline
        self.observations = [one for result in results for one in result.observations]
        darkroom = Darkroom(FlatGroundProjector())
        self.snapshots = dict(
            picture
            for result in results
            for negative in result.negatives
            for picture in darkroom.develop(negative)
        )

    def phases(self, phase: str) -> list[Observation]:
        return [
            one
            for one in self.observations
            if one.kind == STATIC_OBJECT and one.labels["phase"] == phase
        ]


class Street:
    """A fixed camera before which things can be put into the zones it looks at."""

    S = S
    EPOCH_NS = EPOCH_NS
    RED, WHITE = RED, WHITE

    def __init__(self, city: City, painter: CityPainter, camera_id: str) -> None:
        self.city = city
        self.camera = city.cameras[camera_id]
        assert self.camera.pose is not None
        self.pose: CameraPose = self.camera.pose
        self.zones: list[Zone] = zones_of(city)
        self._painter = painter
        self._plane = Plane(self.pose.lon_deg, self.pose.lat_deg)

    @cached_property
    def traffic(self) -> list[Actor]:
        """Passing cars and passers-by for twenty minutes."""
        return background_actors(self.city, self.camera, 7, EPOCH_NS, EPOCH_NS + 1_200 * S)

    def spot(self, kind: str, share: float) -> tuple[tuple[float, float], float]:
        """A point along the middle of the nearest zone of a kind, and the heading along it."""
        yaw = math.radians(self.pose.yaw_deg)

        def metres(zone: Zone) -> np.ndarray[Any, Any]:
            return np.array([self._plane.to_metres(*point) for point in zone.ring])

        corners = min(
            (metres(zone) for zone in self.zones if zone.kind == kind),
            key=lambda ring: float(np.hypot(*ring.mean(axis=0))),
        )
        order = np.argsort(corners @ [math.sin(yaw), math.cos(yaw)])
        near, far = corners[order[:2]].mean(axis=0), corners[order[2:]].mean(axis=0)
        point = near + share * (far - near)
        return self._plane.to_degrees(*point), math.degrees(math.atan2(*(far - near))) % 360.0

    def stays(
        self,
        kind: ActorKind,
        zone_kind: str,
        *,
        share: float,
        from_s: float,
        to_s: float,
        colour: tuple[int, int, int] = RED,
    ) -> Actor:
        """Something that comes (cars drive up), stays and goes."""
        at, heading = self.spot(zone_kind, share)
        stop, go = EPOCH_NS + round(from_s * S), EPOCH_NS + round(to_s * S)
        waypoints = [Waypoint(stop, *at, heading), Waypoint(go, *at, heading)]
        if kind in ("car", "truck"):
            plane, angle = Plane(*at), math.radians(heading)
            back = plane.to_degrees(-40.0 * math.sin(angle), -40.0 * math.cos(angle))
            away = plane.to_degrees(60.0 * math.sin(angle), 60.0 * math.cos(angle))
            waypoints = [
                Waypoint(stop - 6 * S, *back, heading),
                *waypoints,
                Waypoint(go + 8 * S, *away, heading),
            ]
        length, width, height = SIZES[kind]
        return Actor(
            kind=kind,
            length_m=length,
            width_m=width,
            height_m=height,
            colour_bgr=colour,
            waypoints=tuple(waypoints),
        )

    def simulator(self, actors: Sequence[Actor], weather: str = "clear") -> CameraSimulator:
        return CameraSimulator(
            self.camera.camera_id,
            self.city,
            actors,
            7,
            self._painter,
            conditions=lambda _: CONDITIONS[weather],
        )

    def pipeline(self, pose: CameraPose | None = None) -> CameraPipeline:
        return CameraPipeline(
            self.camera.camera_id, FlatGroundProjector(), self.zones, pose or self.pose
        )

    def watch(
        self,
        actors: Sequence[Actor],
        to_s: int,
        *,
        step_s: float = 1.0,
        change: Callable[[Frame, float], Frame] | None = None,
        weather: str = "clear",
    ) -> Seen:
        """Run the scene; ``change`` may alter each frame, given its second."""
        simulator, pipeline = self.simulator(actors, weather), self.pipeline()
        results = []
        for number in range(math.ceil(to_s / step_s)):
            frame = simulator.frame(EPOCH_NS + round(number * step_s * S))
            if change is not None:
                frame = change(frame, number * step_s)
            results.append(pipeline.process(frame))
        return Seen(results, pipeline)

    @staticmethod
    def away_m(actor: Actor, seen: Observation) -> float:
        """Metres from where an actor stood to where it was seen."""
        stood = actor.waypoints[len(actor.waypoints) // 2]
        assert seen.lon_deg is not None
        assert seen.lat_deg is not None
        plane = Plane(stood.lon_deg, stood.lat_deg)
        return math.hypot(*plane.to_metres(seen.lon_deg, seen.lat_deg))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tests share two cores with others, as the worker shares its machine."""
    cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def painted_city() -> tuple[City, CityPainter]:
    city = generate_city(7)
    return city, CityPainter(city, 7)


@pytest.fixture(scope="session")
def street(painted_city: tuple[City, CityPainter]) -> Street:
    """Camera 1: a stretch where parking is forbidden, and a pavement."""
    return Street(*painted_city, "camera-1")


@pytest.fixture(scope="session")
def lane(painted_city: tuple[City, CityPainter]) -> Street:
    """Camera 2: a hatched fire lane, and a pavement."""
    return Street(*painted_city, "camera-2")
