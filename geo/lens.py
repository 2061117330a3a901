"""Lens distortion: what straight lines become in a picture, and back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import GeometryError

_ROUNDS = 50

#: A pixel that cannot be undistorted to this is beyond what the lens model describes.
_TOLERANCE = 1e-9


class Lens(NamedTuple):
    """A pinhole with Brown's distortion, in pixels.

    ``k1 k2 k3`` are radial, ``p1 p2`` tangential, in OpenCV's order and sense: they take ideal
    positions to those in the picture.

    Source:
        D. C. Brown, Close-range camera calibration, Photogrammetric Engineering 37(8), 1971.
    """

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0

    def distort(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where ideal pixels appear in the picture.

        Args:
            pixels: Shape (n, 2), (u, v) of a pinhole without distortion.

        Returns:
            Shape (n, 2), pixels of the picture.

        Raises:
            GeometryError: The array has another shape.
        """
        return self._to_pixels(self._distorted(self._normal(_pairs(pixels))))

    def undistort(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Undo :meth:`distort`.

        Args:
            pixels: Shape (n, 2), (u, v) in the picture.

        Returns:
            Shape (n, 2), pixels of a pinhole without distortion; NaN where the model has no
            inverse (far outside the picture of a strong lens).

        Raises:
            GeometryError: The array has another shape.

        Example:
            >>> lens = Lens(1000.0, 1000.0, 960.0, 540.0, k1=-0.2, k2=0.05)
            >>> lens.undistort(lens.distort(np.array([[100.0, 900.0]]))).round(6).tolist()
            [[100.0, 900.0]]
        """
        seen = self._normal(_pairs(pixels))
        guess = seen.copy()
        with np.errstate(all="ignore"):
            for _ in range(_ROUNDS):
                step = self._distorted(guess) - seen
                guess = guess - step
            off = np.abs(self._distorted(guess) - seen).max(axis=1)
        guess[~(off < _TOLERANCE)] = np.nan
        return self._to_pixels(guess)

    def _normal(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        return (pixels - (self.cx_px, self.cy_px)) / (self.fx_px, self.fy_px)

    def _to_pixels(self, normal: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(normal * (self.fx_px, self.fy_px) + (self.cx_px, self.cy_px))

    def _distorted(self, normal: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = normal.T
        r2 = x * x + y * y
        radial = 1.0 + r2 * (self.k1 + r2 * (self.k2 + r2 * self.k3))
        return np.column_stack(
            [
                x * radial + 2.0 * self.p1 * x * y + self.p2 * (r2 + 2.0 * x * x),
                y * radial + self.p1 * (r2 + 2.0 * y * y) + 2.0 * self.p2 * x * y,
            ]
        )


def _pairs(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    array = np.asarray(pixels, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 2:
        raise GeometryError(f"pixels must have shape (n, 2), got {array.shape}")
    return array
