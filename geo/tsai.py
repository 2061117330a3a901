"""Cameras calibrated by Tsai's method, as the older public recordings come with."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import GeometryError

_NEWTON_ROUNDS = 40

#: Millimetres of the calibration to metres.
_M_PER_MM = 1e-3

#: A ray flatter than this below the horizon is refused, as in :mod:`geo.camera`.
_MIN_SINE = np.sin(np.radians(3.0))


@dataclass(frozen=True)
class TsaiCamera:
    """A camera in a world whose ground is z = 0.

    Attributes:
        focal_mm: Focal length.
        kappa1: Radial distortion of the sensor, 1/mm².
        centre_px: (u, v) of the axis.
        pixel_mm: (width, height) of a pixel on the sensor.
        sx: Scale of u for the clocks of camera and frame grabber.
        rotation: Shape (3, 3), world to camera.
        translation_mm: Shape (3,), likewise.
        pixel_sigma_px: One-sigma error of a pixel, for the ellipses.

    Source:
        R. Y. Tsai, A versatile camera calibration technique, IEEE J. Robotics and Automation
        3(4), 1987; parameters as R. Willson's implementation names them.
    """

    focal_mm: float
    kappa1: float
    centre_px: tuple[float, float]
    pixel_mm: tuple[float, float]
    sx: float
    rotation: NDArray[np.float64]
    translation_mm: NDArray[np.float64]
    pixel_sigma_px: float = 1.0

    @property
    def position_m(self) -> NDArray[np.float64]:
        """Where the camera stands in the world, shape (3,), metres."""
        return np.asarray(-self.rotation.T @ self.translation_mm * _M_PER_MM)

    def to_ground(
        self, pixels: NDArray[np.float64], height_m: float = 0.0
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Put pixels on a level plane.

        Args:
            pixels: Shape (n, 2), (u, v).
            height_m: Of the plane above the ground.

        Returns:
            Points, shape (n, 2), (x, y) of the world in metres; and which are seen, shape (n,).
            Rows above the horizon or too near it are NaN.

        Raises:
            GeometryError: The array has another shape.
        """
        array = np.asarray(pixels, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != 2:
            raise GeometryError(f"pixels must have shape (n, 2), got {array.shape}")
        du, dv = self.pixel_mm
        distorted = np.column_stack(
            [
                (array[:, 0] - self.centre_px[0]) * du / self.sx,
                (array[:, 1] - self.centre_px[1]) * dv,
            ]
        )
        radius2 = (distorted**2).sum(axis=1, keepdims=True)
        ideal = distorted * (1.0 + self.kappa1 * radius2)
        rays = np.column_stack([ideal, np.full(len(ideal), self.focal_mm)]) @ self.rotation
        start = self.position_m
        drop = start[2] - height_m
        with np.errstate(divide="ignore", invalid="ignore"):
            sine = -np.sign(drop) * rays[:, 2] / np.linalg.norm(rays, axis=1)
            seen = np.asarray(sine >= _MIN_SINE)
            points = start[:2] - rays[:, :2] * (drop / rays[:, 2:])
        points[~seen] = np.nan
        return points, seen

    def covariance(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Covariance of ground points in (x, y), shape (n, 2, 2), metres squared.

        From the pixel's error, by differences over half a pixel to either side.
        """
        right, down = np.array([0.5, 0.0]), np.array([0.0, 0.5])
        by_u = self.to_ground(pixels + right)[0] - self.to_ground(pixels - right)[0]
        by_v = self.to_ground(pixels + down)[0] - self.to_ground(pixels - down)[0]
        jacobian = np.stack([by_u, by_v], axis=2)
        return np.asarray(jacobian @ jacobian.transpose(0, 2, 1) * self.pixel_sigma_px**2)

    def to_pixels(self, world_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where points of the world appear.

        Args:
            world_m: Shape (n, 3), metres.

        Returns:
            Shape (n, 2), pixels; NaN behind the camera.
        """
        camera = np.asarray(world_m) / _M_PER_MM @ self.rotation.T + self.translation_mm
        with np.errstate(divide="ignore", invalid="ignore"):
            ideal = self.focal_mm * camera[:, :2] / camera[:, 2:]
        ideal[camera[:, 2] <= 0.0] = np.nan
        # r(1 + k r²) = R has one root that goes to R as k goes to 0; Newton finds it.
        far = np.hypot(*ideal.T)
        radius = far.copy()
        for _ in range(_NEWTON_ROUNDS):
            slope = 1.0 + 3.0 * self.kappa1 * radius**2
            radius = radius - (radius * (1.0 + self.kappa1 * radius**2) - far) / slope
        with np.errstate(invalid="ignore"):
            shrink = np.where(far > 0.0, radius / np.where(far > 0.0, far, 1.0), 1.0)
        distorted = ideal * shrink[:, None]
        return np.column_stack(
            [
                distorted[:, 0] * self.sx / self.pixel_mm[0] + self.centre_px[0],
                distorted[:, 1] / self.pixel_mm[1] + self.centre_px[1],
            ]
        )


def read_tsai(path: Path) -> TsaiCamera:
    """Read a calibration in XML as PETS and ETISEO publish it.

    Args:
        path: With the elements Geometry, Intrinsic and Extrinsic.

    Raises:
        GeometryError: It cannot be read, or a number is missing; names the file.
    """
    try:
        root = ET.parse(path).getroot()  # noqa: S314 (a file of one's own; entities do not expand)
        geometry, inner, outer = (
            {name: float(value) for name, value in element.attrib.items()}
            for element in (root.find(tag) for tag in ("Geometry", "Intrinsic", "Extrinsic"))
            if element is not None
        )
        rx, ry, rz = outer["rx"], outer["ry"], outer["rz"]
        return TsaiCamera(
            focal_mm=inner["focal"],
            kappa1=inner["kappa1"],
            centre_px=(inner["cx"], inner["cy"]),
            pixel_mm=(geometry["dpx"], geometry["dpy"]),
            sx=inner["sx"],
            rotation=_rotation(rx, ry, rz),
            translation_mm=np.array([outer["tx"], outer["ty"], outer["tz"]]),
        )
    except (OSError, ET.ParseError, KeyError, ValueError) as exc:
        raise GeometryError(f"{path}: a Tsai calibration was wanted: {exc!r}") from exc


def _rotation(rx: float, ry: float, rz: float) -> NDArray[np.float64]:
    """Rz Ry Rx of angles in radians."""
    cx, cy, cz = np.cos([rx, ry, rz])
    sx, sy, sz = np.sin([rx, ry, rz])
    return np.array(
        [
            [cy * cz, cz * sx * sy - cx * sz, sx * sz + cx * cz * sy],
            [cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - cz * sx],
            [-sy, cy * sx, cx * cy],
        ]
    )
