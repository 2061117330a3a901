"""Simulated cameras: the same bytes for the same seed, in perspective, and quick."""

from __future__ import annotations

import math
import statistics
import time
from functools import cache

import cv2
import numpy as np
import pytest

from core.city import CameraPose
from core.errors import InputError
from geo.camera import FlatGroundProjector
from geo.city import City, generate_city
from simulators.actors import Actor, Waypoint
from simulators.cameras import CameraSimulator, background_actors
from simulators.rendering import CityPainter, Plane

S = 1_000_000_000
EPOCH_NS = 1_767_225_600 * S


@cache
def the_city() -> City:
    return generate_city(7)


@cache
def the_painter() -> CityPainter:
    return CityPainter(the_city(), 7)


def a_camera(camera_id: str = "camera-1", actors: tuple[Actor, ...] = ()) -> CameraSimulator:
    return CameraSimulator(camera_id, the_city(), actors, 7, the_painter())


def the_pose(camera_id: str = "camera-1") -> CameraPose:
    pose = the_city().cameras[camera_id].pose
    assert pose is not None
    return pose


def ahead(metres: float, aside: float = 0.0) -> tuple[float, float]:
    pose = the_pose()
    yaw = math.radians(pose.yaw_deg)
    return Plane(pose.lon_deg, pose.lat_deg).to_degrees(
        metres * math.sin(yaw) + aside * math.cos(yaw),
        metres * math.cos(yaw) - aside * math.sin(yaw),
    )


def standing(kind: str, size: tuple[float, float, float], at: tuple[float, float]) -> Actor:
    length, width, height = size
    return Actor(
        kind=kind,  # type: ignore[arg-type]
        length_m=length,
        width_m=width,
        height_m=height,
        colour_bgr=(50, 50, 190),
        waypoints=(Waypoint(EPOCH_NS, *at, 80.0), Waypoint(EPOCH_NS + 600 * S, *at, 80.0)),
    )


def test_the_same_seed_camera_and_time_give_the_same_bytes():
    traffic = tuple(
        background_actors(
            the_city(), the_city().cameras["camera-1"], 7, EPOCH_NS, EPOCH_NS + 300 * S
        )
    )
    one = a_camera(actors=traffic)
    other = CameraSimulator("camera-1", the_city(), traffic, 7)
    times = [EPOCH_NS + second * S for second in (50, 3, 200)]
    frames = [one.frame(time_ns) for time_ns in times]
    assert [other.frame(time_ns) for time_ns in reversed(times)] == frames[::-1]
    assert len({frame.jpeg for frame in frames}) == 3
    assert CameraSimulator("camera-1", the_city(), traffic, 8).frame(times[0]) != frames[0]


def test_a_frame_says_what_it_is():
    frame = a_camera().frame(EPOCH_NS)
    image = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (360, 640, 3)
    assert (frame.camera_id, frame.width_px, frame.height_px) == ("camera-1", 640, 360)
    assert frame.pose is None
    assert 10_000 < len(frame.jpeg) < 80_000


@pytest.mark.parametrize("metres", [10.0, 20.0, 32.0])
def test_actors_stand_where_the_projector_says(metres: float):
    at = ahead(metres)
    camera = a_camera(actors=(standing("person", (0.5, 0.5, 1.7), at),))
    [(_, box)] = camera.boxes(EPOCH_NS + S)
    [foot], _ = FlatGroundProjector().to_pixels(np.array([at[0]]), np.array([at[1]]), the_pose())
    assert box[0] - 1 <= foot[0] <= box[2] + 1
    assert box[3] == pytest.approx(foot[1], abs=0.45 / metres * 457 + 2)
    assert box[3] - box[1] == pytest.approx(1.7 * 457 / metres, rel=0.25)
    before = a_camera().picture(EPOCH_NS + S).astype(int)
    apart = np.abs(camera.picture(EPOCH_NS + S).astype(int) - before).max(axis=2)
    left, top, right, bottom = box
    assert np.mean(apart[top:bottom, left:right] > 20) > 0.35
    apart[max(0, top - 2) : bottom + 12, max(0, left - 12) : right + 12] = 0
    assert apart.max() < 8


def test_what_is_nearer_hides_what_is_farther():
    near, far = ahead(14.0), ahead(19.0)
    lorry = standing("truck", (7.5, 2.4, 2.9), near)
    person = standing("person", (0.5, 0.5, 1.7), far)
    boxes = a_camera(actors=(lorry, person)).boxes(EPOCH_NS + S)
    assert [actor.kind for actor, _ in boxes] == ["person", "truck"]


def test_a_flying_camera_needs_a_pose_and_sends_it():
    camera = a_camera("camera-air-1")
    with pytest.raises(InputError, match="flies: give frame"):
        camera.frame(EPOCH_NS)
    lon, lat = next(iter(the_city().survey_spots.values()))
    pose = CameraPose(
        lon_deg=lon,
        lat_deg=lat,
        height_agl_m=60.0,
        yaw_deg=0.0,
        pitch_deg=-90.0,
        hfov_deg=70.0,
        width_px=640,
        height_px=360,
    )
    frame = camera.frame(EPOCH_NS, pose)
    assert frame.pose == pose
    at = Plane(lon, lat).to_degrees(12.0, -6.0)
    seen = a_camera("camera-air-1", (standing("waste", (1.2, 1.2, 0.1), at),))
    changed = np.abs(
        seen.picture(EPOCH_NS + S, pose).astype(int) - camera.picture(EPOCH_NS + S, pose)
    )
    rows, columns = np.nonzero(changed.max(axis=2) > 20)
    [pixel], _ = FlatGroundProjector().to_pixels(np.array([at[0]]), np.array([at[1]]), pose)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx(tuple(pixel), abs=1.5)


def test_an_unknown_camera_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"'camera-9' is not one of city .*camera-1"):
        a_camera("camera-9")


def test_passers_by_never_stop_and_keep_to_the_time():
    camera = the_city().cameras["camera-2"]
    end_ns = EPOCH_NS + 1200 * S
    actors = background_actors(the_city(), camera, 7, EPOCH_NS, end_ns)
    assert actors == background_actors(the_city(), camera, 7, EPOCH_NS, end_ns)
    assert actors != background_actors(the_city(), camera, 8, EPOCH_NS, end_ns)
    assert {"car", "person"} <= {actor.kind for actor in actors}
    assert 40 < len(actors) < 600
    for actor in actors:
        assert actor.waypoints[0].at_ns >= EPOCH_NS
        assert actor.waypoints[-1].at_ns <= end_ns
        for one, two in zip(actor.waypoints[:-1], actor.waypoints[1:], strict=True):
            metres = math.hypot(
                *Plane(one.lon_deg, one.lat_deg).to_metres(two.lon_deg, two.lat_deg)
            )
            assert metres / ((two.at_ns - one.at_ns) / S) > 0.9
    assert background_actors(the_city(), the_city().cameras["camera-air-1"], 7, 0, S) == []


def test_a_frame_takes_milliseconds():
    camera = the_city().cameras["camera-1"]
    traffic = background_actors(the_city(), camera, 7, EPOCH_NS, EPOCH_NS + 300 * S)
    simulator = a_camera(actors=tuple(traffic))
    simulator.frame(EPOCH_NS)
    times = []
    for second in range(100):
        started = time.perf_counter()
        simulator.frame(EPOCH_NS + second * S)
        times.append(time.perf_counter() - started)
    assert statistics.median(times) < 0.012
