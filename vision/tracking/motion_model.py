"""How boxes move: a Kalman filter per track, all tracks in one array.

Centre and size of a box are four numbers that each have a value and a speed. With noise that
is independent in each of them the eight-state filter of SORT falls apart into four of two
states, so that a track is twenty numbers and a step of all tracks a dozen array operations.
Noise is in proportion to the size of the box and time is in seconds: frames may be skipped.

Source:
    A. Bewley et al., "Simple online and realtime tracking", ICIP 2016; noise in proportion to
    the box after N. Wojke et al., ICIP 2017; white-noise acceleration after Y. Bar-Shalom et
    al., "Estimation with Applications to Tracking and Navigation", 2001, chapter 6.
"""

from __future__ import annotations

import numpy as np

from vision.boxes import Floats, cxcywh_to_xyxy, xyxy_to_cxcywh

#: Of the box's size: error of a detected centre and of a detected size.
_MEASURED_RATIO = np.array([0.08, 0.08, 0.08, 0.08])
#: Of the box's size a second squared: how things speed up and grow.
_ACCELERATION_RATIO = np.array([0.8, 0.8, 0.5, 0.5])
#: Of the box's size a second: what speed is expected of a new thing.
_FIRST_SPEED_RATIO = np.array([4.0, 4.0, 0.3, 0.3])
_LEAST_ERROR_PX = 1.0


class BoxMotion:
    """State of n tracks: ``value`` and ``speed`` (n, 4), and their covariances.

    Example:
        >>> motion = BoxMotion()
        >>> motion.add(np.array([[0.0, 0.0, 10.0, 10.0]]))
        >>> for step in range(1, 9):
        ...     motion.predict(0.1)
        ...     motion.correct(np.array([0]), np.array([[step, 0.0, step + 10.0, 10.0]]))
        >>> motion.predict(0.5)
        >>> round(float(motion.xyxy()[0, 0]))
        13
    """

    def __init__(self) -> None:
        self.value: Floats = np.empty((0, 4))
        self.speed: Floats = np.empty((0, 4))
        self._vv: Floats = np.empty((0, 4))
        self._vs: Floats = np.empty((0, 4))
        self._ss: Floats = np.empty((0, 4))

    def __len__(self) -> int:
        return len(self.value)

    def xyxy(self) -> Floats:
        """Where the boxes are now, shape (n, 4)."""
        return cxcywh_to_xyxy(self.value)

    def spread_px(self) -> Floats:
        """One-sigma error of the centres, shape (n, 2)."""
        return np.sqrt(self._vv[:, :2])

    def add(self, xyxy: Floats) -> None:
        """Begin a track for each box, shape (m, 4)."""
        value = xyxy_to_cxcywh(xyxy)
        size = _sizes(value)
        self.value = np.vstack([self.value, value])
        self.speed = np.vstack([self.speed, np.zeros_like(value)])
        self._vv = np.vstack([self._vv, _measured(size) ** 2])
        self._vs = np.vstack([self._vs, np.zeros_like(value)])
        self._ss = np.vstack([self._ss, (_FIRST_SPEED_RATIO * size) ** 2])

    def keep(self, rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        """Drop the tracks where the mask (n,) is False."""
        self.value, self.speed = self.value[rows], self.speed[rows]
        self._vv, self._vs, self._ss = self._vv[rows], self._vs[rows], self._ss[rows]

    def predict(self, step_s: float) -> None:
        """Move every track on by a time."""
        if not len(self.value) or step_s <= 0.0:
            return
        noise = (_ACCELERATION_RATIO * _sizes(self.value)) ** 2
        self.value = self.value + self.speed * step_s
        # What shrinks to nothing while nobody sees it only stops shrinking.
        self.value[:, 2:] = np.maximum(self.value[:, 2:], 2.0)
        self._vv = self._vv + 2.0 * step_s * self._vs + step_s**2 * self._ss
        self._vv += noise * step_s**3 / 3.0
        self._vs = self._vs + step_s * self._ss + noise * step_s**2 / 2.0
        self._ss = self._ss + noise * step_s

    def correct(self, rows: np.ndarray[tuple[int], np.dtype[np.intp]], xyxy: Floats) -> None:
        """Tell some tracks what was seen of them.

        Args:
            rows: Shape (m,), each track at most once.
            xyxy: Shape (m, 4).
        """
        seen = xyxy_to_cxcywh(xyxy)
        noise = _measured(_sizes(self.value[rows])) ** 2
        vv, vs, ss = self._vv[rows], self._vs[rows], self._ss[rows]
        surprise = seen - self.value[rows]
        for_value, for_speed = vv / (vv + noise), vs / (vv + noise)
        self.value[rows] += for_value * surprise
        self.speed[rows] += for_speed * surprise
        self._vv[rows] = (1.0 - for_value) * vv
        self._ss[rows] = ss - for_speed * vs
        self._vs[rows] = (1.0 - for_value) * vs


def _sizes(cxcywh: Floats) -> Floats:
    """What noise is in proportion to: width and height, each for its own axis, (n, 4).

    The narrow side of a slim box is no measure of how it moves, so both lean to the longer.
    """
    width, height = cxcywh[:, 2], cxcywh[:, 3]
    mean = np.sqrt(np.maximum(width * height, 1.0))
    return np.column_stack([mean, mean, np.maximum(width, 1.0), np.maximum(height, 1.0)])


def _measured(size: Floats) -> Floats:
    return np.maximum(_MEASURED_RATIO * size, _LEAST_ERROR_PX)
