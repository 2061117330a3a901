"""What a place looks like dry, and how alike it still is: for water that hides the ground."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from core.units import NS_PER_S
from vision.detections import Image

#: Grey values: below it structure is the sensor's noise.
_LEAST_STRUCTURE = 3.0


class DryReference:
    """The dry picture, and the median of the last few: what passes by is in neither.

    Learns the dry picture from the first ones, unless it is given. Keeps at most
    ``samples`` pictures.

    Args:
        dry: Shape (h, w, 3), of the size of the pictures that follow.
        samples: How many pictures the median is of; odd.
        every_s: Between two of them.

    Example:
        >>> reference = DryReference(None, samples=3, every_s=1.0)
        >>> grey = [np.full((2, 2, 3), value, np.uint8) for value in (90, 250, 92, 40, 41, 42)]
        >>> [reference.update(image, n * NS_PER_S) for n, image in enumerate(grey)]
        [False, False, False, True, True, True]
        >>> int(reference.dry[0, 0, 0]), int(reference.now[0, 0, 0])
        (92, 41)
    """

    def __init__(self, dry: Image | None, *, samples: int = 5, every_s: float = 1.0) -> None:
        self._dry = dry
        self._now: Image | None = None
        self._samples: deque[Image] = deque(maxlen=samples)
        self._every_ns = round(every_s * NS_PER_S)
        self._due_ns: int | None = None

    @property
    def dry(self) -> Image:
        """The place without water; only after :meth:`update` was true."""
        assert self._dry is not None
        return self._dry

    @property
    def now(self) -> Image:
        """The place as it is, without what passes; only after :meth:`update` was true."""
        assert self._now is not None
        return self._now

    def update(self, image: Image, time_ns: int) -> bool:
        """Take a picture; gives whether both pictures are known and one was taken now."""
        if self._due_ns is not None and time_ns < self._due_ns:
            return False
        self._due_ns = time_ns + self._every_ns
        self._samples.append(image)
        if len(self._samples) < (self._samples.maxlen or 1):
            return False
        self._now = np.median(np.stack(self._samples), axis=0).astype(np.uint8)
        if self._dry is None:
            self._dry = self._now
            return False
        return True


def likeness(
    dry: NDArray[np.uint8], now: NDArray[np.uint8], window_px: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """How alike the structure of two pictures is around each pixel, whatever the light.

    Args:
        dry: Grey, shape (h, w).
        now: Grey, shape (h, w).
        window_px: Width and height of what counts as around.

    Returns:
        Correlation -1 to 1, NaN where the dry picture has no structure; and the structure
        (standard deviation in grey values) of the dry picture and of the other. All (h, w).

    Example:
        >>> ground = np.tile(np.array([[40, 90], [120, 60]], np.uint8), (8, 8))
        >>> alike, _, _ = likeness(ground, ground // 2, (5, 5))
        >>> round(float(alike[8, 8]), 2)
        1.0
    """
    one, two = dry.astype(np.float32), now.astype(np.float32)
    mean_one, mean_two = cv2.blur(one, window_px), cv2.blur(two, window_px)
    spread_one = np.sqrt(np.maximum(cv2.blur(one * one, window_px) - mean_one**2, 0.0))
    spread_two = np.sqrt(np.maximum(cv2.blur(two * two, window_px) - mean_two**2, 0.0))
    shared = cv2.blur(one * two, window_px) - mean_one * mean_two
    # What has no structure left is not alike: the constant keeps noise from counting as such.
    alike = shared / np.maximum(spread_one * np.maximum(spread_two, 1.5), 1e-6)
    alike = np.where(spread_one >= _LEAST_STRUCTURE, alike, np.nan)
    return (
        np.asarray(np.clip(alike, -1.0, 1.0), np.float32),
        np.asarray(spread_one, np.float32),
        np.asarray(spread_two, np.float32),
    )
