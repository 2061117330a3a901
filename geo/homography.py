"""Fixed cameras by control points: a plane in the picture and the same plane on the ground."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.optimize import least_squares

from core.errors import GeometryError
from geo.lens import Lens

#: Fewer control points leave the plane open.
MIN_POINTS = 4

#: Where a pixel is this many metres of ground, it is too near the horizon to be used.
MAX_METRES_PER_PIXEL = 5.0


@dataclass(frozen=True)
class Homography:
    """Pixels to a flat ground and back.

    Attributes:
        matrix: Shape (3, 3), takes ideal (u, v, 1) to (east, north, 1) times a positive number
            for what lies below the horizon. Ground is metres in a plane of the caller's choice,
            such as a city's :class:`geo.crs.MetricFrame`.
        lens: Distortion that is taken off the pixels first, or None.
        residuals_m: Shape (k,), how far each control point lies from where its pixel is put;
            empty where the matrix was given.
        pixel_sigma_px: One-sigma error of a pixel, for the ellipses.

    Source:
        Hartley and Zisserman, Multiple View Geometry, 2nd ed., chapter 4.
    """

    matrix: NDArray[np.float64]
    lens: Lens | None = None
    residuals_m: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    pixel_sigma_px: float = 1.0

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, dtype=np.float64)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise GeometryError(f"homography: shape (3, 3) was wanted, got {matrix.shape}")
        if abs(np.linalg.det(matrix / np.abs(matrix).max())) < 1e-12:
            raise GeometryError("homography: the matrix is singular, its inverse does not exist")

    @property
    def residual_rms_m(self) -> float:
        """Root mean square of the residuals; NaN where there are none."""
        if not len(self.residuals_m):
            return float("nan")
        return float(np.sqrt(np.mean(self.residuals_m**2)))

    def to_ground(
        self, pixels: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Put pixels on the ground.

        Args:
            pixels: Shape (n, 2), (u, v) in the picture, origin top left.

        Returns:
            Points, shape (n, 2), (east, north) in metres; and which are seen, shape (n,). A pixel
            on or above the horizon, or where a pixel is metres of ground, is not; its row is NaN.

        Raises:
            GeometryError: The array has another shape.

        Example:
            >>> plane = Homography(np.array([[0.01, 0.0, -6.4], [0.0, -0.01, 4.8], [0, 0, 1.0]]))
            >>> points, seen = plane.to_ground(np.array([[640.0, 480.0], [740.0, 380.0]]))
            >>> points.round(6).tolist(), seen.tolist()
            ([[0.0, 0.0], [1.0, 1.0]], [True, True])
        """
        ideal = self._ideal(pixels)
        points, jacobian, below = self._project(ideal)
        with np.errstate(invalid="ignore"):
            coarse = np.linalg.norm(jacobian, ord=2, axis=(1, 2)) if len(points) else np.empty(0)
            seen = np.asarray(below & (coarse <= MAX_METRES_PER_PIXEL))
        points[~seen] = np.nan
        return points, seen

    def to_pixels(self, ground: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where ground points appear.

        Args:
            ground: Shape (n, 2), (east, north) in metres.

        Returns:
            Shape (n, 2), pixels; they may lie outside the picture. NaN behind the camera.
        """
        points = np.column_stack([np.asarray(ground, dtype=np.float64), np.ones(len(ground))])
        rays = points @ np.linalg.inv(self.matrix).T
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = rays[:, :2] / rays[:, 2:]
        pixels[~(rays[:, 2] > 0.0)] = np.nan
        return pixels if self.lens is None else self.lens.distort(pixels)

    def covariance(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Covariance of ground points in (east, north), shape (n, 2, 2), metres squared.

        From the pixel's error and, where the matrix was fitted, its residual.
        """
        _, jacobian, _ = self._project(self._ideal(pixels))
        rms = 0.0 if not len(self.residuals_m) else self.residual_rms_m
        spread = jacobian @ np.swapaxes(jacobian, 1, 2) * self.pixel_sigma_px**2
        return np.asarray(spread + np.eye(2) * rms**2 / 2.0)

    def footprint(self, width_px: int, height_px: int) -> shapely.Geometry:
        """The ground that a picture shows, as a polygon in metres; empty when none is seen."""
        along = np.linspace(0.0, 1.0, 65)
        border = np.concatenate(
            [
                np.column_stack([along * width_px, np.zeros(65)]),
                np.column_stack([np.full(65, float(width_px)), along * height_px]),
                np.column_stack([along[::-1] * width_px, np.full(65, float(height_px))]),
                np.column_stack([np.zeros(65), along[::-1] * height_px]),
            ]
        )
        inner = np.stack(np.meshgrid(along * width_px, along * height_px), axis=-1).reshape(-1, 2)
        points, seen = self.to_ground(np.concatenate([border, inner]))
        if seen.sum() < 3:
            return shapely.Polygon()
        return shapely.convex_hull(shapely.multipoints(points[seen]))

    def _ideal(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        array = np.asarray(pixels, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != 2:
            raise GeometryError(f"pixels must have shape (n, 2), got {array.shape}")
        return array if self.lens is None else self.lens.undistort(array)

    def _project(
        self, ideal: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Points, their derivative by the pixel (n, 2, 2), and which are below the horizon."""
        rays = np.column_stack([ideal, np.ones(len(ideal))]) @ self.matrix.T
        with np.errstate(divide="ignore", invalid="ignore"):
            points = rays[:, :2] / rays[:, 2:]
            jacobian = (
                self.matrix[None, :2, :2] - points[:, :, None] * self.matrix[None, 2:3, :2]
            ) / rays[:, 2, None, None]
            below = np.asarray(rays[:, 2] > 0.0)
        return points, jacobian, below


def fit_homography(
    pixels: NDArray[np.float64],
    ground: NDArray[np.float64],
    *,
    lens: Lens | None = None,
    pixel_sigma_px: float = 1.0,
) -> Homography:
    """Find the plane from control points.

    Args:
        pixels: Shape (k, 2), (u, v) of points on flat ground, k >= 4, better 8 and spread out.
        ground: Shape (k, 2), (east, north) of the same points in metres.
        lens: Distortion that is taken off first.
        pixel_sigma_px: One-sigma error of a pixel.

    Returns:
        The homography, with the residual of every point. With four points the residuals are
        zero and say nothing.

    Raises:
        GeometryError: There are fewer than four points, arrays do not fit each other, or three
            of four points lie on a line so that the plane is open.

    Example:
        >>> corners = np.array([[0.0, 0.0], [100.0, 0.0], [100.0, 100.0], [0.0, 100.0]])
        >>> plane = fit_homography(corners, corners / 10.0)
        >>> plane.to_ground(np.array([[50.0, 20.0]]))[0].round(6).tolist()
        [[5.0, 2.0]]

    Source:
        Normalised direct linear transform, then least squares in pixels (the gold standard of
        Hartley and Zisserman, algorithm 4.3).
    """
    picture = np.asarray(pixels, dtype=np.float64)
    plane = np.asarray(ground, dtype=np.float64)
    if picture.ndim != 2 or picture.shape[1:] != (2,) or picture.shape != plane.shape:
        raise GeometryError(
            f"control points: pixels and ground of one shape (k, 2) were wanted, got "
            f"{picture.shape} and {plane.shape}"
        )
    if len(picture) < MIN_POINTS:
        raise GeometryError(
            f"control points: at least {MIN_POINTS} were wanted, got {len(picture)}"
        )
    if not (np.isfinite(picture).all() and np.isfinite(plane).all()):
        raise GeometryError("control points: finite numbers were wanted, got NaN or infinity")
    ideal = picture if lens is None else lens.undistort(picture)
    to_unit, unit = _normalised(ideal)
    to_unit_ground, unit_ground = _normalised(plane)
    start = _linear(unit_ground, unit)  # ground to pixels, whose errors are those to be least
    found = least_squares(
        lambda rest: (_apply(np.append(rest, 1.0).reshape(3, 3), unit_ground) - unit).ravel(),
        (start / start[2, 2]).ravel()[:8],
        method="lm",
        x_scale="jac",
    )
    forward = np.append(found.x, 1.0).reshape(3, 3)
    matrix = np.linalg.inv(np.linalg.inv(to_unit) @ forward @ to_unit_ground)
    third = np.column_stack([ideal, np.ones(len(ideal))]) @ matrix[2]
    if (third > 0.0).any() and (third < 0.0).any():
        raise GeometryError(
            "control points: they lie on both sides of a horizon, so a pair is wrong"
        )
    matrix = matrix / np.median(third)
    residuals = np.hypot(*(_apply(matrix, ideal) - plane).T)
    return Homography(matrix, lens, residuals, pixel_sigma_px)


def _normalised(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    centre = points.mean(axis=0)
    spread = float(np.hypot(*(points - centre).T).mean())
    if spread == 0.0:
        raise GeometryError("control points: different points were wanted, all are one")
    scale = np.sqrt(2.0) / spread
    matrix = np.array(
        [[scale, 0.0, -scale * centre[0]], [0.0, scale, -scale * centre[1]], [0.0, 0.0, 1.0]]
    )
    return matrix, (points - centre) * scale


def _linear(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y = source.T
    u, v = target.T
    zero, one = np.zeros(len(x)), np.ones(len(x))
    rows = np.concatenate(
        [
            np.column_stack([x, y, one, zero, zero, zero, -u * x, -u * y, -u]),
            np.column_stack([zero, zero, zero, x, y, one, -v * x, -v * y, -v]),
        ]
    )
    _, strengths, directions = np.linalg.svd(rows)
    if strengths[7] < 1e-7 * strengths[0]:
        raise GeometryError(
            "control points: four of which no three lie on a line were wanted; these leave the "
            "plane open"
        )
    return np.asarray(directions[-1].reshape(3, 3))


def _apply(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    ends = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return np.asarray(ends[:, :2] / ends[:, 2:])
