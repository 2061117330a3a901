"""How a moving camera's picture shifted since the last one.

Source:
    Corners after J. Shi and C. Tomasi, CVPR 1994, followed by pyramidal Lucas-Kanade; the
    similarity that most of them agree on by RANSAC. The use in tracking after N. Aharon et
    al., "BoT-SORT: robust associations multi-pedestrian tracking", 2022.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.boxes import Floats

#: Pictures are compared at about this width.
_WIDTH_PX = 480
_CORNERS = 300
_LEAST_INLIERS = 12
_LEAST_SHARE = 0.4


class CameraMotion:
    """Follows the ground of a camera's pictures; keeps the last picture, made small.

    Example:
        >>> picture = np.random.default_rng(7).integers(0, 255, (120, 160), np.uint8)
        >>> picture = cv2.GaussianBlur(picture, (0, 0), 2.0)
        >>> motion = CameraMotion()
        >>> motion.update(picture) is None
        True
        >>> motion.update(np.roll(picture, 3, axis=1))[:, 2].round().astype(int).tolist()
        [3, 0]
    """

    def __init__(self) -> None:
        #: Pictures whose shift could not be found.
        self.lost = 0
        self._last: NDArray[np.uint8] | None = None

    def update(self, grey: NDArray[np.uint8], things_xyxy: Floats | None = None) -> Floats | None:
        """Take the next picture.

        Args:
            grey: Shape (h, w), always of one size.
            things_xyxy: Shape (n, 4), what moves by itself in the last picture: no corners
                are taken there.

        Returns:
            Shape (2, 3): pixels of the last picture to pixels of this one; None for the
            first, and where too few corners agree.
        """
        factor = max(1, round(grey.shape[1] / _WIDTH_PX))
        small = (
            grey
            if factor == 1
            else cv2.resize(
                grey,
                (grey.shape[1] // factor, grey.shape[0] // factor),
                interpolation=cv2.INTER_AREA,
            )
        )
        small = np.asarray(small, np.uint8)
        last, self._last = self._last, small
        if last is None or last.shape != small.shape:
            return None
        free = np.full(last.shape, 255, np.uint8)
        if things_xyxy is not None:
            for left, top, right, bottom in np.rint(things_xyxy / factor).astype(int).tolist():
                free[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = 0
        corners = _corners(last, free)
        if corners is None or len(corners) < _LEAST_INLIERS:
            self.lost += 1
            return None
        found, good, _ = cv2.calcOpticalFlowPyrLK(last, small, corners, np.empty(0, np.float32))
        kept = good.ravel() == 1
        if np.count_nonzero(kept) < _LEAST_INLIERS:
            self.lost += 1
            return None
        matrix, inliers = cv2.estimateAffinePartial2D(
            corners[kept], found[kept], method=cv2.RANSAC, ransacReprojThreshold=1.5
        )
        agree = 0 if inliers is None else int(np.count_nonzero(inliers))
        if agree < max(_LEAST_INLIERS, _LEAST_SHARE * np.count_nonzero(kept)):
            self.lost += 1
            return None
        matrix = np.asarray(matrix, np.float64)
        matrix[:, 2] *= factor
        return matrix


def _corners(grey: NDArray[np.uint8], free: NDArray[np.uint8]) -> cv2.typing.MatLike | None:
    """Shape (n, 1, 2); None where a picture has none."""
    return cv2.goodFeaturesToTrack(grey, _CORNERS, 0.01, 7, mask=free)
