"""Where a picture of a camera that hovers or sways lies on a picture of the same view.

Source:
    Corners after J. Shi and C. Tomasi, CVPR 1994, followed by pyramidal Lucas-Kanade; where the
    camera jumped, ORB (E. Rublee et al., ICCV 2011). The homography that most of them agree on
    by RANSAC (M. Fischler, R. Bolles, CACM 24, 1981): exact for flat ground and for a camera
    that only turns.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.boxes import Floats

Grey = NDArray[np.uint8]

_CORNERS = 400
#: Of the strongest corner: a white line on asphalt is fifty times as strong as its grain.
_QUALITY_RATIO = 0.002
_LEAST_INLIERS = 20
#: So far, in pixels, may a corner be from where the others put it.
_REPROJECTION_PX = 1.5
#: Of the corners that were found again or matched, so many must agree.
_LEAST_SHARE, _LEAST_MATCHED_SHARE = 0.4, 0.25
#: So many of all corners leave no doubt; a lorry that fills a third of the view has fewer.
_SURE_SHARE = 0.5
#: A picture that covers so much more or less of the view is no hover.
_MOST_ZOOM = 2.0
#: The view in rows and columns of blocks; so many need structure, and half must correlate so.
_BLOCKS, _LEAST_BLOCKS, _LEAST_ALIKE = (4, 6), 4, 0.6
#: Grey values of structure below which a block tells nothing.
_LEAST_STRUCTURE = 1.0


class _Fit(NamedTuple):
    """A homography from the view to a picture, and the share of all corners that agree."""

    matrix: Floats
    agree_ratio: float


class ViewFollower:
    """Lays pictures onto a view.

    Args:
        view: The picture that others are laid onto, shape (h, w).

    Example:
        >>> noise = np.random.default_rng(7).integers(0, 255, (90, 160), np.uint8)
        >>> ground = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0), np.uint8)
        >>> matrix = ViewFollower(ground).follow(np.roll(ground, 3, axis=1))
        >>> matrix[:2, 2].round().astype(int).tolist()
        [3, 0]
    """

    def __init__(self, view: Grey) -> None:
        self._matrix: Floats = np.eye(3)
        self.renew(view)

    @property
    def can_hold(self) -> bool:
        """Whether the view has enough to hold on to; calm water and fresh snow have not."""
        return len(self._corners) >= _LEAST_INLIERS

    def renew(self, view: Grey) -> None:
        """Take a newer picture of the same view, in the same pixels, in today's light."""
        self._view = view
        # OpenCV's types do not know that a picture without corners gives None.
        found: cv2.typing.MatLike | None = cv2.goodFeaturesToTrack(
            view, _CORNERS, _QUALITY_RATIO, 7
        )
        self._corners = np.asarray([] if found is None else found, np.float32).reshape(-1, 2)

    def follow(self, picture: Grey) -> Floats | None:
        """Take the next picture.

        Returns:
            Shape (3, 3), pixels of the view to pixels of the picture; None where it does not
            show the view, or nobody can say where.
        """
        fit = self._flow(picture, self._matrix)
        if fit is not None and fit.agree_ratio >= _SURE_SHARE:
            self._matrix = fit.matrix
            return self._matrix
        # Few corners agree: they may be those of a lorry, or the grain of the ground is lost in
        # what was pressed hard. Light and dark in most of the view decide; standing still is
        # as good as any.
        guesses = [self._matrix]
        if fit is not None:
            guesses.append(fit.matrix)
        elif (far := self._search(picture)) is not None:
            near = self._flow(picture, far.matrix)
            guesses.append(far.matrix if near is None else near.matrix)
        alike = [self._alike(picture, one) for one in guesses]
        best = int(np.argmax(alike))
        if alike[best] < _LEAST_ALIKE:
            return None
        self._matrix = guesses[best]
        return self._matrix

    def _flow(self, picture: Grey, near: Floats) -> _Fit | None:
        """Corners close to where a homography puts them."""
        if not self.can_hold:
            return None
        guess = np.ascontiguousarray(taken(self._corners, near)[:, None], np.float32)
        found, good, _ = cv2.calcOpticalFlowPyrLK(
            self._view, picture, self._corners[:, None], guess,
            winSize=(21, 21), maxLevel=3, flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )  # fmt: skip
        places = found.reshape(-1, 2)
        inside = ((places >= 0) & (places < [picture.shape[1], picture.shape[0]])).all(axis=1)
        kept = (good.ravel() == 1) & inside
        return self._agreed(self._corners[kept], places[kept], _LEAST_SHARE)

    def _search(self, picture: Grey) -> _Fit | None:
        """The homography, roughly, from anywhere: after a gust, or pictures that were lost."""
        orb = cv2.ORB.create(nfeatures=2 * _CORNERS, fastThreshold=10)
        before, words = orb.detectAndCompute(self._view, np.empty(0, np.uint8))
        now, others = orb.detectAndCompute(picture, np.empty(0, np.uint8))
        if len(before) < _LEAST_INLIERS or len(now) < _LEAST_INLIERS:
            return None
        pairs = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(words, others)
        return self._agreed(
            np.array([before[one.queryIdx].pt for one in pairs], np.float32).reshape(-1, 2),
            np.array([now[one.trainIdx].pt for one in pairs], np.float32).reshape(-1, 2),
            _LEAST_MATCHED_SHARE,
        )

    def _agreed(
        self, before: NDArray[np.float32], now: NDArray[np.float32], least_share: float
    ) -> _Fit | None:
        """The homography of most pairs (n, 2)."""
        if len(before) < _LEAST_INLIERS:
            return None
        found, inliers = cv2.findHomography(before, now, cv2.RANSAC, _REPROJECTION_PX)
        agree = int(np.count_nonzero(inliers))
        if agree < max(_LEAST_INLIERS, least_share * len(before)):
            return None
        matrix = np.asarray(found, np.float64)
        height, width = self._view.shape
        outline = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
        shown = taken(outline, matrix).astype(np.float32)
        zoom = cv2.contourArea(shown, oriented=True) / (width * height)
        if not cv2.isContourConvex(shown) or not 1 / _MOST_ZOOM < zoom < _MOST_ZOOM:
            return None
        return _Fit(matrix, agree / max(1, len(self._corners)))

    def _alike(self, picture: Grey, matrix: Floats) -> float:
        """The median correlation of blocks, of light and dark and not of grain; 0 if unknown."""
        height, width = self._view.shape
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        now, inside = (
            cv2.warpPerspective(one, matrix, (width, height), flags=flags)
            for one in (picture, np.full_like(picture, 255))
        )
        before = _blocks(cv2.GaussianBlur(self._view, (0, 0), 2.0))
        after = _blocks(cv2.GaussianBlur(now, (0, 0), 2.0))
        usable = _blocks(inside).min(axis=1) == 255
        usable &= before.std(axis=1) > _LEAST_STRUCTURE
        if np.count_nonzero(usable) < _LEAST_BLOCKS:
            return 0.0
        before, after = (
            one[usable] - one[usable].mean(axis=1, keepdims=True) for one in (before, after)
        )
        energy = np.sqrt((before**2).sum(axis=1) * (after**2).sum(axis=1))
        return float(np.median((before * after).sum(axis=1) / np.maximum(energy, 1e-9)))


def _blocks(picture: cv2.typing.MatLike) -> Floats:
    """The pixels of each block, shape (blocks, pixels)."""
    rows, columns = _BLOCKS
    tall, wide = picture.shape[0] // rows, picture.shape[1] // columns
    cut = picture[: tall * rows, : wide * columns].astype(np.float64)
    return cut.reshape(rows, tall, columns, wide).swapaxes(1, 2).reshape(-1, tall * wide)


def taken(points: Floats | NDArray[np.float32], matrix: Floats) -> Floats:
    """Points (n, 2) through a homography."""
    there = cv2.perspectiveTransform(np.asarray(points, np.float64)[:, None], matrix)
    return np.asarray(there, np.float64).reshape(-1, 2)
