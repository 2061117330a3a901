"""Two pictures of the scene, one slow and one fast.

The slow one is the street without what comes and goes; the fast one is what has stood there
since the last frame or two. What differs from the slow but not from the fast has stopped:
the dual foreground of Porikli, Ivanov and Haga, "Robust abandoned object detection using
dual foregrounds", EURASIP Journal on Advances in Signal Processing, 2008. Their fast model is
a mixture that needs many frames to learn; at one frame a second ours takes over at once
whatever it has not seen before, so that a stop is timed to the frame.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.detections import Image, Mask, check_image

#: Frames and seconds over which the first slow picture is the median.
_LEARN_FRAMES = 7
_LEARN_S = 5.0

#: The slow picture follows the light within about this time.
_SLOW_S = 180.0
_FAST_S = 4.0

#: Evidence of standing is counted in seconds up to this many.
EVIDENCE_CAP_S = 60.0

#: Of the threshold: a difference that counts beside a clear one.
_WEAK_RATIO = 0.6

#: Differences in grey values that count, by day: a car's grey roof on grey asphalt has more.
#: Contrast goes with the light, so in the dark, down to this share, it takes less.
_LEAST_DIFFERENCE = 16.0
_DAYLIGHT_LEVEL = 90.0
_LEAST_LIGHT = 0.3

#: What has stood for some seconds is judged by their mean, which has a third of the noise.
_LEAST_MEAN_DIFFERENCE = 15.0
_MEAN_SIGMAS = 3.0

#: A silence of the camera counts as no more than this.
_LONGEST_STEP_S = 5.0


class Foreground(NamedTuple):
    """How one picture differs from the two models.

    ``image`` is the picture smoothed, as the models have it. Masks are 0 or 255, shape (h, w):
    ``slow`` where it differs from the street, ``stands`` where it or the mean of the last
    seconds does and nothing moves, ``fast`` where it differs from a moment ago,
    ``weak`` where it differs from the street and ``faint`` where from either by more than half
    the threshold. ``evidence_s``, float32, shape (h, w): for how long the pixel has stood.
    ``level`` is the brightness of the street in this picture, ``threshold`` the difference in
    grey values that counts. ``step_s`` is the time since the last picture. ``relit`` is True
    where the light changed so much that the models were taken anew.
    """

    image: Image
    slow: Mask
    stands: Mask
    fast: Mask
    weak: Mask
    faint: Mask
    evidence_s: NDArray[np.float32]
    level: float
    threshold: float
    step_s: float
    relit: bool


class DualBackground:
    """The slow and the fast model of one view.

    Memory is a fixed number of arrays of the picture's size, and while learning at most
    ``_LEARN_FRAMES`` pictures.
    """

    def __init__(self) -> None:
        self._slow: NDArray[np.float32] | None = None
        self._fast: NDArray[np.float32] = np.empty((0, 0, 3), np.float32)
        self._evidence_s: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._first: list[Image] = []
        self._first_s = 0.0
        self._last_s = 0.0
        self._unlike_frames = 0
        self._gain = 1.0

    @property
    def learning(self) -> bool:
        """Whether it has not yet seen enough to say what the street looks like."""
        return self._slow is None

    def update(self, image: Image, at_s: float, held: Mask) -> Foreground | None:
        """Take the next picture.

        Args:
            image: Shape (h, w, 3); always of one size.
            at_s: Event time in seconds since any fixed instant, increasing.
            held: Shape (h, w); where it is not 0 the slow picture keeps the street that an
                object hides.

        Returns:
            The differences, or None while learning.

        Raises:
            GeometryError: The array is no colour picture.
        """
        check_image(image)
        image = cv2.blur(image, (3, 3)).astype(np.uint8, copy=False)
        if self._slow is None:
            self._learn(image, at_s)
            return None
        step_s = min(max(at_s - self._last_s, 0.0), _LONGEST_STEP_S)
        self._last_s = at_s
        gain, noise = self._light(image)
        street = cv2.convertScaleAbs(self._slow, alpha=gain)
        level = float(street[::8, ::8].mean())
        light = float(np.clip(level / _DAYLIGHT_LEVEL, _LEAST_LIGHT, 1.0))
        least = _LEAST_DIFFERENCE * light
        threshold = float(np.clip(10.0 * light + 4.0 * noise, least, 48.0))
        mean_threshold = max(_LEAST_MEAN_DIFFERENCE * light, _MEAN_SIGMAS * noise)

        apart_slow = _largest_channel(cv2.absdiff(image, street))
        lately = cv2.convertScaleAbs(self._fast)
        apart_fast = _largest_channel(cv2.absdiff(image, lately))
        slow: Mask = _over(apart_slow, threshold)
        fast: Mask = _over(apart_fast, threshold)
        weak: Mask = _over(apart_slow, _WEAK_RATIO * threshold)
        faint: Mask = cv2.bitwise_or(weak, _over(apart_fast, _WEAK_RATIO * threshold)).astype(
            np.uint8, copy=False
        )

        apart_lately = _over(_largest_channel(cv2.absdiff(lately, street)), mean_threshold)
        stands: Mask = cv2.bitwise_or(
            slow, cv2.bitwise_and(apart_lately, cv2.bitwise_not(fast))
        ).astype(np.uint8, copy=False)
        # Codes: 0 street, 1 stands, 2 moved away, 3 moves or hides what stands.
        code = (stands & 1) | (fast & 2)
        change = np.zeros(256, np.float32)
        change[:4] = np.array([-2.0, 1.0, -2.0, -0.5], np.float32) * np.float32(step_s)
        cv2.add(self._evidence_s, cv2.LUT(code, change), self._evidence_s)
        np.clip(self._evidence_s, 0.0, EVIDENCE_CAP_S, out=self._evidence_s)

        cv2.copyTo(image.astype(np.float32), fast, self._fast)
        cv2.accumulateWeighted(image, self._fast, 1.0 - math.exp(-step_s / _FAST_S))

        relit = self._relight(slow, fast, held)
        alpha = 1.0 - math.exp(-step_s / _SLOW_S)
        hidden = cv2.bitwise_or(stands, held)
        if not relit:
            cv2.accumulateWeighted(image, self._slow, alpha, cv2.bitwise_not(hidden))
            # What is hidden follows the light of the rest.
            cv2.accumulateWeighted(street, self._slow, alpha, hidden)
        return Foreground(
            image,
            slow,
            stands,
            fast,
            weak,
            faint,
            self._evidence_s,
            level,
            threshold,
            step_s,
            relit,
        )

    def street(self, xyxy: tuple[int, int, int, int]) -> Image:
        """The slow picture of a region in today's light, shape (h, w, 3)."""
        left, top, right, bottom = xyxy
        assert self._slow is not None
        region = self._slow[top:bottom, left:right]
        return cv2.convertScaleAbs(region, alpha=self._gain).astype(np.uint8, copy=False)

    def standing(self, xyxy: tuple[int, int, int, int]) -> Image:
        """The fast picture of a region, shape (h, w, 3)."""
        left, top, right, bottom = xyxy
        region = self._fast[top:bottom, left:right]
        return cv2.convertScaleAbs(region).astype(np.uint8, copy=False)

    def absorb(self, xyxy: tuple[int, int, int, int], inside: NDArray[np.bool_]) -> None:
        """Make what stands in a region part of the street.

        Args:
            xyxy: The region.
            inside: Shape of the region; which of its pixels.
        """
        left, top, right, bottom = xyxy
        assert self._slow is not None
        region = self._slow[top:bottom, left:right]
        fast = self._fast[top:bottom, left:right]
        region[inside] = fast[inside] / np.float32(self._gain)
        self._evidence_s[top:bottom, left:right][inside] = 0.0

    def forget(self, xyxy: tuple[int, int, int, int]) -> None:
        """Set the evidence of a region to nothing."""
        left, top, right, bottom = xyxy
        self._evidence_s[top:bottom, left:right] = 0.0

    def _learn(self, image: Image, at_s: float) -> None:
        if not self._first:
            self._first_s = at_s
        self._first.append(image)
        if len(self._first) < _LEARN_FRAMES:
            return
        if at_s - self._first_s < _LEARN_S:
            # A fast camera: thin out, so that a passing car is in few of the pictures.
            del self._first[1::2]
            return
        self._slow = np.median(np.stack(self._first), axis=0).astype(np.float32)
        self._fast = image.astype(np.float32)
        self._evidence_s = np.zeros(image.shape[:2], np.float32)
        self._first = []
        self._last_s = at_s

    def _light(self, image: Image) -> tuple[float, float]:
        """Brightness of this picture relative to the slow one, and the noise in grey values."""
        assert self._slow is not None
        now = image[2::6, 2::6, 1].astype(np.float32).ravel()
        then = self._slow[2::6, 2::6, 1].ravel()
        usable = (then > 16.0) & (then < 235.0) & (now < 250.0)
        if np.count_nonzero(usable) < 32:
            return 1.0, 4.0
        now, then = now[usable], then[usable]
        self._gain = gain = float(np.clip(_median(now / then), 0.4, 2.5))
        return gain, 1.4826 * _median(np.abs(now - gain * then))

    def _relight(self, slow: Mask, fast: Mask, held: Mask) -> bool:
        """Take the models anew when most of the picture stays unlike the street."""
        assert self._slow is not None
        unlike = cv2.countNonZero(slow) > 0.45 * slow.size
        steady = cv2.countNonZero(fast) < 0.2 * fast.size
        self._unlike_frames = self._unlike_frames + 1 if unlike and steady else 0
        if self._unlike_frames < 3:
            return False
        np.copyto(self._slow, self._fast, where=(held == 0)[..., None])
        self._evidence_s.fill(0.0)
        self._gain = 1.0
        self._unlike_frames = 0
        return True


def _median(values: NDArray[np.float32]) -> float:
    """The upper median of some values, in a fifth of numpy's time."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def _largest_channel(image: cv2.typing.MatLike) -> NDArray[np.uint8]:
    blue, green, red = cv2.split(image)
    return cv2.max(cv2.max(blue, green), red).astype(np.uint8, copy=False)


def _over(apart: NDArray[np.uint8], threshold: float) -> Mask:
    return cv2.threshold(apart, threshold, 255, cv2.THRESH_BINARY)[1].astype(np.uint8, copy=False)
