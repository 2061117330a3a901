"""Where the pixels of one view lie on the ground: in metres about an origin, and in degrees."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

from core.city import CameraPose
from core.errors import GeometryError
from core.ports import GroundPoints, GroundProjector
from vision.boxes import Floats
from vision.camera_file import GroundSpec
from vision.zones import Local

#: Looking down more steeply than this, a thing stands at the middle of its box, not its foot.
_STEEP_DEG = -60.0


class Ground(Protocol):
    """Pixels of one view, and the ground."""

    from_above: bool

    def metres(self, pixels: Floats) -> Floats:
        """Pixels (n, 2) as metres east and north (n, 2); NaN where no ground is seen."""
        ...

    def points(self, pixels: Floats) -> GroundPoints | None:
        """Pixels (n, 2) in degrees with their error; None where only metres are known."""
        ...


class PoseGround:
    """Ground through a camera's pose; geo does the geometry."""

    def __init__(self, projector: GroundProjector, pose: CameraPose) -> None:
        self.from_above = pose.pitch_deg <= _STEEP_DEG
        self._projector = projector
        self._pose = pose
        self._nadir = Local(pose.lon_deg, pose.lat_deg)

    def metres(self, pixels: Floats) -> Floats:
        """See :class:`Ground`."""
        points = self._projector.to_ground(pixels, self._pose)
        return self._nadir.to_metres(points.lon_deg, points.lat_deg)

    def points(self, pixels: Floats) -> GroundPoints | None:
        """See :class:`Ground`."""
        return self._projector.to_ground(pixels, self._pose)


class PointsGround:
    """Ground through points whose places were measured: a homography.

    Attributes:
        residual_m: How far the known points lie from where the homography puts them, RMS.

    Raises:
        GeometryError: The points lie in one line, or two pixels have one place.

    Example:
        >>> from vision.camera_file import KnownPoint
        >>> corners = [(0, 0), (100, 0), (100, 50), (0, 50)]
        >>> ground = PointsGround(GroundSpec(points=tuple(
        ...     KnownPoint(pixel=(u, v), metres=(u / 10, -v / 10)) for u, v in corners)))
        >>> ground.metres(np.array([[50.0, 25.0]])).round(3).tolist()
        [[5.0, -2.5]]

    Source:
        Hartley and Zisserman, 2nd ed., algorithm 4.2, as cv2.findHomography.
    """

    def __init__(self, spec: GroundSpec, pixel_sigma_px: float = 2.0) -> None:
        self.from_above = spec.from_above
        placed = [point.lonlat for point in spec.points if point.lonlat is not None]
        origin = spec.origin or (placed[0] if placed else None)
        self._local = None if origin is None else Local(*origin)
        if placed and self._local is None:
            raise GeometryError("ground: points in degrees need an origin")
        places = np.array(
            [
                point.metres
                if point.metres is not None
                else self._degrees_to_metres(np.array([point.lonlat], np.float64))[0]
                for point in spec.points
            ],
            np.float64,
        )
        pixels = np.array([point.pixel for point in spec.points], np.float64)
        matrix, _ = cv2.findHomography(pixels, places, 0)
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-15:
            raise GeometryError(
                f"ground: no plane through the {len(places)} known points; at least four were "
                "wanted, no three of them in a line"
            )
        self._matrix = np.asarray(matrix, np.float64)
        # Which side of the horizon the known points are on.
        self._side = float(np.sign(self._depth(pixels).mean()))
        self._sigma_px = pixel_sigma_px
        self.residual_m = float(np.sqrt(((self.metres(pixels) - places) ** 2).sum(axis=1).mean()))

    def metres(self, pixels: Floats) -> Floats:
        """See :class:`Ground`."""
        points = np.asarray(pixels, np.float64).reshape(-1, 2)
        depth = self._depth(points)
        plane = np.column_stack([points, np.ones(len(points))]) @ self._matrix.T
        seen = depth * self._side > 1e-9
        return np.asarray(np.where(seen, plane[:, :2].T / np.where(seen, depth, 1.0), np.nan).T)

    def points(self, pixels: Floats) -> GroundPoints | None:
        """See :class:`Ground`; the error is that of the pixels and of the known points."""
        if self._local is None:
            return None
        here = self.metres(pixels)
        aside = self.metres(pixels + np.array([1.0, 0.0])) - here
        down = self.metres(pixels + np.array([0.0, 1.0])) - here
        jacobian = np.stack([aside, down], axis=2)
        covariance = self._sigma_px**2 * jacobian @ jacobian.transpose(0, 2, 1)
        covariance = np.nan_to_num(covariance + np.eye(2) * self.residual_m**2, nan=0.0)
        values, vectors = np.linalg.eigh(covariance)
        azimuth = np.degrees(np.arctan2(vectors[:, 0, 1], vectors[:, 1, 1])) % 180.0
        degrees = self._local.to_degrees(here)
        seen = np.asarray(np.isfinite(here).all(axis=1))
        blank = np.where(seen, 0.0, np.nan)
        major, minor = np.sqrt(np.maximum(values[:, ::-1], 0.0)).T
        return GroundPoints(
            degrees[:, 0], degrees[:, 1], major + blank, minor + blank, azimuth + blank, seen
        )

    def _depth(self, pixels: Floats) -> Floats:
        return np.asarray(pixels @ self._matrix[2, :2] + self._matrix[2, 2])

    def _degrees_to_metres(self, lonlat: Floats) -> Floats:
        assert self._local is not None
        return self._local.to_metres(lonlat[:, 0], lonlat[:, 1])
