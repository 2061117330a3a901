"""Camera geometry: pixels to ground and back, each with its error ellipse.

Frames: pixels u right, v down, origin top left; camera axes forward, right, down (FRD); world
axes north, east, down (NED) at the ground point under the camera.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from core.city import CameraPose
from core.errors import GeometryError
from core.ports import GroundPoints
from geo.lens import Lens

#: GRS 80.
_AXIS_M = 6378137.0
_ECCENTRICITY_SQUARED = 0.00669438002290

#: Rays flatter than this below the horizon are refused: at 3° one pixel of a street camera is
#: metres of ground, and any slope of the real ground is a wrong place.
MIN_DEPRESSION_DEG = 3.0

#: How well a detector puts the foot of a box, one standard deviation.
PIXEL_SIGMA_PX = 1.0


class FlatGroundProjector:
    """Puts pixels on flat ground under the camera; a :class:`core.ports.GroundProjector`.

    The ground is a plane at the camera's foot: something that stands higher lands beyond its
    true place, by its height times the cotangent of the ray's depression.

    Args:
        pixel_sigma_px: One-sigma error of a pixel in u and in v.
        lens: Distortion of the lens, taken off the pixels first; its focal lengths and centre
            stand in for those of the pose's field of view.

    Example:
        >>> pose = CameraPose(lon_deg=120.3846, lat_deg=36.0614, height_agl_m=100.0,
        ...                   yaw_deg=30.0, pitch_deg=-45.0, hfov_deg=73.7,
        ...                   width_px=1920, height_px=1080)
        >>> projector = FlatGroundProjector()
        >>> points = projector.to_ground(np.array([[1200.0, 700.0], [960.0, -9e9]]), pose)
        >>> points.lat_deg.round(6).tolist()[0], points.seen.tolist()
        (36.061901, [True, False])

    Source:
        Standard photogrammetry, e.g. Hartley and Zisserman, 2nd ed., chapter 6.
    """

    def __init__(self, pixel_sigma_px: float = PIXEL_SIGMA_PX, lens: Lens | None = None) -> None:
        self.pixel_sigma_px = pixel_sigma_px
        self.lens = lens

    def to_ground(self, pixels: NDArray[np.float64], pose: CameraPose) -> GroundPoints:
        """Put pixels on the ground.

        Args:
            pixels: Shape (n, 2), (u, v). They may lie outside the picture.
            pose: Where the camera is and looks.

        Returns:
            Ground points with one-sigma error ellipses from the pose's sigmas and the pixel
            error; where ``seen`` is False the other columns are NaN.

        Raises:
            GeometryError: The pixels have another shape, or the pose cannot be.
        """
        north, east, covariance, seen = self.project(_checked(pixels), pose)
        lon, lat = offset_to_lonlat(north, east, _foot(pose))
        major, minor, azimuth = error_ellipse(covariance)
        return GroundPoints(lon, lat, major, minor, azimuth, seen)

    def to_pixels(
        self, lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64], pose: CameraPose
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Ground points as pixels, and whether each lies before the camera.

        Args:
            lon_deg: WGS 84 degrees, shape (n,), on the ground at the camera's foot.
            lat_deg: Likewise.
            pose: Where the camera is and looks.

        Returns:
            Pixels, shape (n, 2), NaN where the mask (shape (n,)) is False. A point before the
            camera may still lie outside the picture.
        """
        north, east = lonlat_to_offset(
            np.atleast_1d(np.asarray(lon_deg, dtype=np.float64)),
            np.atleast_1d(np.asarray(lat_deg, dtype=np.float64)),
            _foot(pose),
        )
        rays = np.column_stack([north, east, np.full(north.shape, pose.height_agl_m)])
        return self.seen_along(rays, pose)

    def seen_along(
        self, rays: NDArray[np.float64], pose: CameraPose
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Where directions appear; undoes :meth:`rays`.

        Args:
            rays: Shape (n, 3), north, east, down from the camera.
            pose: Where the camera looks.

        Returns:
            As :meth:`to_pixels`.
        """
        pinhole = self._pinhole(pose)
        camera = rays @ _rotation(pose)
        ahead = np.isfinite(camera).all(axis=1) & (camera[:, 0] > 1e-6)
        forward = np.where(ahead, camera[:, 0], 1.0)
        pixels = np.column_stack(
            [
                pinhole.cx_px + pinhole.fx_px * camera[:, 1] / forward,
                pinhole.cy_px + pinhole.fy_px * camera[:, 2] / forward,
            ]
        )
        if self.lens is not None:
            pixels = self.lens.distort(pixels)
        pixels[~ahead] = np.nan
        return pixels, ahead

    def footprint(self, pose: CameraPose) -> Any:
        """The ground the picture shows, as a shapely polygon in degrees.

        It ends where rays get too grazing to be used; empty when no ground is seen. The view
        of a plane is convex, so the hull of its border is exact up to the sampling.
        """
        width, height = float(pose.width_px), float(pose.height_px)
        along = np.linspace(0.0, 1.0, 65)
        border = np.concatenate(
            [
                np.column_stack([along * width, np.zeros_like(along)]),
                np.column_stack([along * width, np.full_like(along, height)]),
                np.column_stack([np.zeros_like(along), along * height]),
                np.column_stack([np.full_like(along, width), along * height]),
            ]
        )
        north, east, _, seen = self.project(border, pose)
        reach_m = pose.height_agl_m / math.tan(math.radians(MIN_DEPRESSION_DEG))
        around = np.radians(np.arange(0.0, 360.0, 0.5))
        rim_north, rim_east = reach_m * np.cos(around), reach_m * np.sin(around)
        pixels, ahead = self.to_pixels(*offset_to_lonlat(rim_north, rim_east, _foot(pose)), pose)
        within = ahead & (pixels >= 0.0).all(axis=1) & (pixels <= (width, height)).all(axis=1)
        corners = np.column_stack(
            offset_to_lonlat(
                np.concatenate([north[seen], rim_north[within]]),
                np.concatenate([east[seen], rim_east[within]]),
                _foot(pose),
            )
        )
        if len(corners) < 3:
            return shapely.Polygon()
        return shapely.convex_hull(shapely.multipoints(corners))

    def rays(
        self, pixels: NDArray[np.float64], pose: CameraPose
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Where pixels look.

        Args:
            pixels: Shape (n, 2), (u, v).
            pose: Where the camera is and looks.

        Returns:
            Directions in north, east, down, shape (n, 3), not of unit length; and which look
            down steeply enough to be used, shape (n,).

        Raises:
            GeometryError: The pixels have another shape, or the pose cannot be.
        """
        pinhole = self._pinhole(pose)
        ideal = _checked(pixels)
        if self.lens is not None:
            ideal = self.lens.undistort(ideal)
        frd = np.column_stack(
            [
                np.ones(len(ideal)),
                (ideal[:, 0] - pinhole.cx_px) / pinhole.fx_px,
                (ideal[:, 1] - pinhole.cy_px) / pinhole.fy_px,
            ]
        )
        rays = frd @ _rotation(pose).T
        with np.errstate(invalid="ignore"):
            sine = rays[:, 2] / np.linalg.norm(rays, axis=1)
            seen = np.asarray(sine >= math.sin(math.radians(MIN_DEPRESSION_DEG)))
        return rays, seen

    def _pinhole(self, pose: CameraPose) -> Lens:
        focal = _focal_px(pose)
        if self.lens is not None:
            return self.lens
        return Lens(focal, focal, pose.width_px / 2.0, pose.height_px / 2.0)

    def project(
        self,
        pixels: NDArray[np.float64],
        pose: CameraPose,
        height_m: NDArray[np.float64] | None = None,
        height_sigma_m: float = 0.0,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Put pixels on level ground at a height of their own.

        Args:
            pixels: Shape (n, 2), (u, v).
            pose: Where the camera is and looks.
            height_m: Shape (n,), the camera's height above what each pixel shows; the pose's
                unless given.
            height_sigma_m: One-sigma error of that height.

        Returns:
            North and east in metres from the camera's foot, each of shape (n,); their
            covariance, shape (n, 2, 2), metres squared; and which are seen, shape (n,).

        Raises:
            GeometryError: The pixels have another shape, or the pose cannot be.
        """
        rays, seen = self.rays(pixels, pose)
        turn = _rotation(pose)
        focal = self._pinhole(pose).fx_px
        height = np.full(len(rays), pose.height_agl_m) if height_m is None else height_m
        down = np.where(seen, rays[:, 2], np.nan)
        ground = height[:, None] * rays[:, :2] / down[:, None]

        # How the ray turns with each parameter; d(ground) = h (d(ray_ne) - ground/h d(ray_d)) / d.
        yaw = math.radians(pose.yaw_deg)
        axes = (
            np.array([0.0, 0.0, 1.0]),
            np.array([-math.sin(yaw), math.cos(yaw), 0.0]),
            turn[:, 0],
        )
        angle = math.radians(pose.angle_sigma_deg)
        pixel = self.pixel_sigma_px / focal
        shifts = [np.cross(axis, rays) * angle for axis in axes]
        shifts += [np.broadcast_to(turn[:, column] * pixel, rays.shape) for column in (1, 2)]
        covariance = np.zeros((len(pixels), 2, 2))
        for shift in shifts:
            moved = (height[:, None] * shift[:, :2] - ground * shift[:, 2:]) / down[:, None]
            covariance += moved[:, :, None] * moved[:, None, :]
        vertical = math.hypot(pose.position_sigma_m, height_sigma_m)
        higher = rays[:, :2] / down[:, None] * vertical
        covariance += higher[:, :, None] * higher[:, None, :]
        covariance += np.eye(2) * pose.position_sigma_m**2
        return ground[:, 0], ground[:, 1], covariance, seen


def _checked(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    array = np.asarray(pixels, dtype=np.float64)
    if array.size == 0:
        return array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] != 2:
        raise GeometryError(f"pixels must have shape (n, 2), got {array.shape}")
    return array


def _foot(pose: CameraPose) -> tuple[float, float]:
    return pose.lon_deg, pose.lat_deg


def _focal_px(pose: CameraPose) -> float:
    if not 0.0 < pose.hfov_deg < 180.0 or pose.width_px <= 0 or not pose.height_agl_m > 0.0:
        raise GeometryError(
            "pose: hfov_deg in (0, 180), width_px > 0 and height_agl_m > 0 were wanted, got "
            f"{pose.hfov_deg}, {pose.width_px}, {pose.height_agl_m}"
        )
    return pose.width_px / 2.0 / math.tan(math.radians(pose.hfov_deg) / 2.0)


def _rotation(pose: CameraPose) -> NDArray[np.float64]:
    """FRD to NED: Rz(yaw) Ry(pitch) Rx(roll)."""
    cy, sy = math.cos(math.radians(pose.yaw_deg)), math.sin(math.radians(pose.yaw_deg))
    cp, sp = math.cos(math.radians(pose.pitch_deg)), math.sin(math.radians(pose.pitch_deg))
    cr, sr = math.cos(math.radians(pose.roll_deg)), math.sin(math.radians(pose.roll_deg))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def _radii_m(lat_deg: float) -> tuple[float, float]:
    """Radii of curvature in the meridian and in the prime vertical."""
    w = 1.0 - _ECCENTRICITY_SQUARED * math.sin(math.radians(lat_deg)) ** 2
    return _AXIS_M * (1.0 - _ECCENTRICITY_SQUARED) / w**1.5, _AXIS_M / math.sqrt(w)


def offset_to_lonlat(
    north: NDArray[np.float64], east: NDArray[np.float64], origin: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Metres north and east of a place as WGS 84 degrees, on the GRS 80 radii there.

    Args:
        north: Shape (n,), metres.
        east: Shape (n,), metres.
        origin: (lon, lat) of the place, WGS 84 degrees.

    Returns:
        Longitudes and latitudes, shape (n,).
    """
    lon_deg, lat_deg = origin
    meridian, vertical = _radii_m(lat_deg)
    lat = lat_deg + np.degrees(north / meridian)
    lon = lon_deg + np.degrees(east / (vertical * math.cos(math.radians(lat_deg))))
    return lon, lat


def lonlat_to_offset(
    lon: NDArray[np.float64], lat: NDArray[np.float64], origin: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Undo :func:`offset_to_lonlat`: (north, east) in metres, each of shape (n,)."""
    lon_deg, lat_deg = origin
    meridian, vertical = _radii_m(lat_deg)
    north = np.radians(lat - lat_deg) * meridian
    east = np.radians(lon - lon_deg) * vertical * math.cos(math.radians(lat_deg))
    return north, east


def error_ellipse(
    covariance: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Semi axes and azimuth of covariances.

    Args:
        covariance: Shape (n, 2, 2), in (north, east), metres squared.

    Returns:
        One-sigma semi axes in metres, the longer first, and the azimuth of the longer, 0 to 180
        degrees clockwise from north; each of shape (n,).
    """
    nn, ne, ee = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    middle, half = (nn + ee) / 2.0, np.hypot((nn - ee) / 2.0, ne)
    major = np.sqrt(middle + half)
    minor = np.sqrt(np.maximum(middle - half, 0.0))
    azimuth = np.mod(np.degrees(np.arctan2(2.0 * ne, nn - ee)) / 2.0, 180.0)
    return major, minor, azimuth
