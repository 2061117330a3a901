"""Whether decoded pictures show what is there: frozen, black, over-exposed, blurred, moved."""

from __future__ import annotations

from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from core.units import NS_PER_S
from vision.detections import Image
from vision.quality import is_black

_FROZEN_S = 5.0
_FROZEN_PICTURES = 3

#: Share of pixels at full scale above which nothing can be seen any more.
_OVEREXPOSED_SHARE = 0.6

#: Of the sharpness this camera usually has: below it is out of focus, fogged or smeared.
_BLURRED_RATIO = 0.25
_SHARPNESS_FORGET_S = 120.0

#: Pixels, of 160 wide, that the scene must have shifted for so many pictures in a row.
_MOVED_PX, _MOVED_PICTURES = 3.0, 5


class PictureState(StrEnum):
    """What may be said of a camera by its last picture."""

    LIVE = "live"
    LATE = "late"  #: its time lies before one that was seen already
    FROZEN = "frozen"  #: the same picture again and again, under new times
    BLACK = "black"
    OVEREXPOSED = "overexposed"
    BLURRED = "blurred"  #: much less sharp than this camera usually is
    MOVED = "moved"  #: looks at another view than before
    MOVING = "moving"  #: of a camera that hovers: cannot be laid onto its first picture

    @property
    def can_be_used(self) -> bool:
        """Whether detectors may look at the picture."""
        return self in (PictureState.LIVE, PictureState.BLURRED, PictureState.MOVED)

    @property
    def words(self) -> str:
        """Of the four states that a page shows: live, late, stale or lying."""
        if self in (PictureState.LIVE, PictureState.MOVING):
            return "live"
        return "late" if self is PictureState.LATE else "lying"


class PictureWatch:
    """Judges one picture after the other; keeps two small ones.

    Example:
        >>> watch = PictureWatch()
        >>> noise = np.random.default_rng(7)
        >>> str(watch.update(noise.integers(0, 255, (90, 160, 3), np.uint8), 0))
        'live'
        >>> str(watch.update(np.zeros((90, 160, 3), np.uint8), NS_PER_S))
        'black'
        >>> str(watch.update(np.full((90, 160, 3), 254, np.uint8), 2 * NS_PER_S))
        'overexposed'
    """

    def __init__(self) -> None:
        self._last: NDArray[np.uint8] | None = None
        self._same_since_ns = 0
        self._same = 0
        self._sharpness = 0.0
        self._edges: NDArray[np.float32] | None = None
        self._moved = 0
        self._last_ns = 0

    def update(self, image: Image, time_ns: int) -> PictureState:
        """Take the next picture, shape (h, w, 3), with its time."""
        step_s = max(0.0, (time_ns - self._last_ns) / NS_PER_S) if self._last_ns else 0.0
        self._last_ns = time_ns
        size = (160, max(1, round(160 * image.shape[0] / image.shape[1])))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)
        if self._last is not None and np.array_equal(grey, self._last):
            self._same += 1
        else:
            self._last, self._same, self._same_since_ns = grey, 1, time_ns
        stands_s = (time_ns - self._same_since_ns) / NS_PER_S
        bright = float((grey >= 250).mean())
        if bright > _OVEREXPOSED_SHARE:
            return PictureState.OVEREXPOSED
        if is_black(image):
            return PictureState.BLACK
        if self._same >= _FROZEN_PICTURES and stands_s >= _FROZEN_S:
            return PictureState.FROZEN
        sharpness = float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.CV_16S).std())
        if self._sharpness and sharpness < _BLURRED_RATIO * self._sharpness:
            return PictureState.BLURRED
        share = 1.0 if not self._sharpness else 1.0 - np.exp(-step_s / _SHARPNESS_FORGET_S)
        self._sharpness += float(share) * (sharpness - self._sharpness)
        return PictureState.MOVED if self._has_moved(grey, step_s) else PictureState.LIVE

    def _has_moved(self, grey: NDArray[np.uint8], step_s: float) -> bool:
        """Whether the edges of the scene lie elsewhere than before, by phase correlation."""
        blurred = cv2.GaussianBlur(grey, (0, 0), 1.0)
        edges = cv2.magnitude(
            cv2.Sobel(blurred, cv2.CV_32F, 1, 0), cv2.Sobel(blurred, cv2.CV_32F, 0, 1)
        ).astype(np.float32)
        if self._edges is None or self._edges.shape != edges.shape:
            self._edges = edges
            return False
        (right, down), response = cv2.phaseCorrelate(self._edges, edges)
        shifted = response > 0.05 and float(np.hypot(right, down)) >= _MOVED_PX
        self._moved = self._moved + 1 if shifted else 0
        if self._moved >= _MOVED_PICTURES:
            self._edges, self._moved = edges, 0
            return True
        if not shifted:
            self._edges += np.float32(1.0 - np.exp(-step_s / 30.0)) * (edges - self._edges)
        return False
