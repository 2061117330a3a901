"""How large a thing in the picture is, where it stands on the ground, and what it may be.

One picture gives no depth, but a thing stands on the ground: its foot gives the distance,
and its top, once a height is supposed, the depth. What it is follows from its proportions:
a person is tall and narrow, a heap is low, a vehicle is long.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from core.city import CameraPose
from core.ports import GroundPoints, GroundProjector
from vision.zones import Local

#: Looking down more steeply than this, outlines are taken as plans.
_STEEP_DEG = -60.0

_VEHICLE_M = 2.5
_SMALL_M = 0.4
_VEHICLE_HEIGHT_M = 1.5
_PERSON_HEIGHT_M = (1.1, 2.6)
_PERSON_SLENDERNESS = 1.35
_PERSON_PLAN_M = 0.75


#: Length, width and height of what parks in streets: car, van, lorry, bus.
_VEHICLES_M = np.array([[4.6, 1.85, 1.5], [5.6, 2.0, 2.2], [7.5, 2.4, 2.9], [11.0, 2.5, 3.1]])
_FIT_YAWS_DEG = np.arange(0.0, 180.0, 15.0)
_LEAST_FIT_RATIO = 0.6
_BOX_CORNERS = np.array([[a, b, c] for c in (0.0, 1.0) for a in (-0.5, 0.5) for b in (-0.5, 0.5)])


class Shape(StrEnum):
    """What a thing's proportions say it may be."""

    VEHICLE = "vehicle"
    SMALL = "small"
    PERSON = "person"
    OTHER = "other"  #: too small, too large, or not to be placed on the ground


class Sizing(NamedTuple):
    """A thing on the ground: its centre with one-sigma ellipse, and its size in metres."""

    shape: Shape
    lon_deg: float
    lat_deg: float
    error_major_m: float
    error_minor_m: float
    error_azimuth_deg: float
    length_m: float
    width_m: float


def size_up(
    outline_px: NDArray[np.float64], projector: GroundProjector, pose: CameraPose
) -> Sizing | None:
    """Put the outline of a thing on the ground.

    Args:
        outline_px: Shape (n, 2), n > 2, its convex outline in pixels of the pose.
        projector: Pixel to ground.
        pose: Of the camera.

    Returns:
        Place and size, or None where its foot is not on ground that can be seen.
    """
    left, top = outline_px.min(axis=0)
    right, bottom = outline_px.max(axis=0)
    middle = (left + right) / 2.0
    probes = np.array([[middle, bottom], [left, bottom], [right, bottom], [middle, top]])
    points = projector.to_ground(np.vstack([probes, outline_px]), pose)
    if not points.seen[:3].all():
        return None
    nadir = Local(pose.lon_deg, pose.lat_deg)
    metres = nadir.to_metres(points.lon_deg, points.lat_deg)
    if pose.pitch_deg <= _STEEP_DEG:
        return _size_plan(metres[4:], points, nadir, pose.height_agl_m)
    sizing = _size_upright(metres[:4], points, nadir, pose.height_agl_m)
    if sizing.shape is not Shape.VEHICLE:
        return sizing
    fit = _fit_vehicle(outline_px, metres[0], projector, pose, _VEHICLES_M)
    if fit is None:
        return sizing
    return _sizing(Shape.VEHICLE, fit.centre_m, fit.length_m, fit.width_m, points, nadir)


def top_of_front_car(
    outline_px: NDArray[np.float64], projector: GroundProjector, pose: CameraPose
) -> float | None:
    """The row where the first car ends, were the outline that of cars one behind the other.

    Returns:
        Pixels from the top, or None where no car fits the foot of the outline.
    """
    bottom = outline_px[:, 1].max()
    foot = np.array([[outline_px[:, 0].mean(), bottom]])
    points = projector.to_ground(foot, pose)
    if not points.seen.all() or pose.pitch_deg <= _STEEP_DEG:
        return None
    metres = Local(pose.lon_deg, pose.lat_deg).to_metres(points.lon_deg, points.lat_deg)
    fit = _fit_vehicle(outline_px, metres[0], projector, pose, _VEHICLES_M[:1], least_ratio=0.0)
    return None if fit is None else float(bottom - fit.tall_px)


class _Fit(NamedTuple):
    """A vehicle's box as it was fitted; ``tall_px`` is how tall its picture is."""

    centre_m: NDArray[np.float64]
    length_m: float
    width_m: float
    tall_px: float


def _fit_vehicle(
    outline_px: NDArray[np.float64],
    foot_m: NDArray[np.float64],
    projector: GroundProjector,
    pose: CameraPose,
    sizes: NDArray[np.float64],
    least_ratio: float = _LEAST_FIT_RATIO,
) -> _Fit | None:
    """The box of a usual vehicle whose picture covers an outline best.

    Its centre is in metres from under the camera. None where no vehicle at any angle covers
    the outline well.
    """
    nadir = Local(pose.lon_deg, pose.lat_deg)
    sizes = sizes[sizes[:, 2] < 0.7 * pose.height_agl_m]
    if not len(sizes):
        return None
    yaws = np.radians(_FIT_YAWS_DEG)
    size = np.repeat(sizes, len(yaws), axis=0)
    yaw = np.tile(yaws, len(sizes))
    local = _BOX_CORNERS[None, :, :] * size[:, None, :]
    sine, cosine = np.sin(yaw)[:, None], np.cos(yaw)[:, None]
    east = local[..., 0] * sine + local[..., 1] * cosine
    north = local[..., 0] * cosine - local[..., 1] * sine
    # A point above the ground covers the ground point farther out on the same ray.
    farther = (pose.height_agl_m / (pose.height_agl_m - local[..., 2]))[..., None]
    away = foot_m / max(float(np.hypot(*foot_m)), 1e-6)
    centres = foot_m + away * size[:, :1] / 3.0
    low, high = outline_px.min(axis=0), outline_px.max(axis=0)
    foot_px = np.array([(low[0] + high[0]) / 2.0, high[1]])
    for _ in range(4):
        corners = (centres[:, None, :] + np.stack([east, north], axis=-1)) * farther
        degrees = nadir.to_degrees(corners.reshape(-1, 2))
        pixels, before = projector.to_pixels(degrees[:, 0], degrees[:, 1], pose)
        if not before.all():
            return None
        pixels = pixels.reshape(*corners.shape[:2], 2)
        least, most = pixels.min(axis=1), pixels.max(axis=1)
        feet = np.column_stack([(least[:, 0] + most[:, 0]) / 2.0, most[:, 1]])
        ground = projector.to_ground(feet, pose)
        if not ground.seen.all():
            return None
        centres = centres + foot_m - nadir.to_metres(ground.lon_deg, ground.lat_deg)
    covered = [
        _overlap(outline_px, box - foot + foot_px) for box, foot in zip(pixels, feet, strict=True)
    ]
    best = int(np.argmax(covered))
    if covered[best] < least_ratio:
        return None
    tall_px = float(most[best, 1] - least[best, 1])
    return _Fit(centres[best], float(size[best, 0]), float(size[best, 1]), tall_px)


def _overlap(one_px: NDArray[np.float64], two_px: NDArray[np.float64]) -> float:
    """Intersection over union of the convex hulls of two sets of points, shape (n, 2) each."""
    one, two = (cv2.convexHull(points.astype(np.float32)) for points in (one_px, two_px))
    shared, _ = cv2.intersectConvexConvex(one, two)
    union = cv2.contourArea(one) + cv2.contourArea(two) - shared
    return float(shared / union) if union > 0.0 else 0.0


def _size_upright(
    probes_m: NDArray[np.float64], points: GroundPoints, nadir: Local, camera_m: float
) -> Sizing:
    foot, left, right, top = probes_m
    near_m = float(np.hypot(*foot))
    far_m = float(np.hypot(*top)) if points.seen[3] else math.inf
    across_m = float(np.hypot(*(right - left)))
    # Were it a screen at its foot, it would reach up to the ray through its top.
    upright_m = camera_m * (1.0 - near_m / far_m)
    slender = upright_m / max(across_m, 1e-6)

    def depth_m(height_m: float) -> float:
        """How far the back of its top lies behind its foot, were it so high."""
        if math.isinf(far_m) or height_m >= camera_m:
            return across_m
        return float(np.clip(far_m * (1.0 - height_m / camera_m) - near_m, 0.0, 20.0))

    low, high = _PERSON_HEIGHT_M
    if across_m < 1.7 and slender >= _PERSON_SLENDERNESS and low <= upright_m <= high:
        shape, depth = Shape.PERSON, across_m
    else:
        depth = depth_m(_VEHICLE_HEIGHT_M)
        is_long = max(across_m, depth) >= _VEHICLE_M
        if is_long and across_m >= 1.1 and upright_m >= 0.9:
            shape = Shape.VEHICLE if max(across_m, depth) <= 20.0 else Shape.OTHER
        else:
            depth = depth_m(min(0.6 * across_m, upright_m))
            depth = min(max(depth, 0.4 * across_m), 2.0 * across_m)
            length = max(across_m, depth)
            fits = _SMALL_M <= length < _VEHICLE_M and upright_m < 1.6
            shape = Shape.SMALL if fits else Shape.OTHER
            # The front of a car whose roof is as grey as the road behind it.
            if not fits and across_m >= 1.6 and 1.1 <= upright_m < 0.85 * across_m:
                shape, depth = Shape.VEHICLE, max(across_m, depth_m(_VEHICLE_HEIGHT_M))
    centre = foot * (1.0 + depth / 2.0 / max(near_m, 1e-6))
    return _sizing(shape, centre, max(across_m, depth), min(across_m, depth), points, nadir)


def _size_plan(
    outline_m: NDArray[np.float64], points: GroundPoints, nadir: Local, camera_m: float
) -> Sizing | None:
    if not np.isfinite(outline_m).all():
        return None
    centre_px, (side, other), _ = cv2.minAreaRect(outline_m.astype(np.float32))
    length, width = max(side, other), min(side, other)
    vehicle = length >= _VEHICLE_M
    height = _VEHICLE_HEIGHT_M if vehicle else 0.5
    # The roof is nearer to the camera than the ground it hides: it looks larger and farther out.
    closer = 1.0 - height / camera_m
    length, width = length * closer, width * closer
    centre = np.array(centre_px) * (1.0 - height / camera_m / 2.0)
    if vehicle:
        shape = Shape.VEHICLE if width >= 1.1 and length <= 20.0 else Shape.OTHER
    elif width < _PERSON_PLAN_M:
        # From above a person is as wide as the shoulders and leans away from the middle.
        shape = Shape.PERSON if length < 1.2 else Shape.OTHER
    else:
        shape = Shape.SMALL
    return _sizing(shape, centre, length, width, points, nadir)


def _sizing(
    shape: Shape,
    centre_m: NDArray[np.float64],
    length_m: float,
    width_m: float,
    points: GroundPoints,
    nadir: Local,
) -> Sizing:
    lon, lat = nadir.to_degrees(centre_m[None, :])[0]
    return Sizing(
        shape=shape,
        lon_deg=float(lon),
        lat_deg=float(lat),
        error_major_m=float(points.error_major_m[0]),
        error_minor_m=float(points.error_minor_m[0]),
        error_azimuth_deg=float(points.error_azimuth_deg[0]),
        length_m=length_m,
        width_m=width_m,
    )
