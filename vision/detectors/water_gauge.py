"""Water level on a virtual gauge: a line in the picture, some of whose points are levelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import GeometryError
from core.units import NS_PER_S
from vision.boxes import Floats
from vision.camera_file import GaugeSpec
from vision.detections import Image
from vision.detectors.protocol import Notes, Reading, Scene
from vision.dry_reference import DryReference, likeness

WATER_LEVEL = "water_level"

#: Rows of the strip that are compared at once.
_ROWS = 7

#: Unlikeness of a row that says neither dry nor wet.
_UNDECIDED = 0.5

#: What lies below the line must be less alike than what lies above by this.
_LEAST_CONTRAST = 0.3


class Curve(NamedTuple):
    """Level along a line: (a t + b) / (c t + 1) for t from 0 to 1; the fit's RMS in metres."""

    a: float
    b: float
    c: float
    residual_m: float

    def level_m(self, t: float) -> float:
        """Level at a share of the line."""
        return (self.a * t + self.b) / (self.c * t + 1.0)


class WaterGaugeDetector:
    """The level of water on a wall, a pier or a staff that it hides from below.

    Good for: a fixed camera and a wall, pier, kerb or painted staff with some structure, seen
    about from the front. Fails on: plain walls (rows without structure say nothing), waves
    higher than the median of five pictures evens out, ice, and water as clear as air.

    Source:
        Y.-T. Lin et al., "Automatic water-level detection using single-camera images with
        varied poses", Measurement 127, 2018; the change point as in E. Page, Biometrika 41,
        1954 (CUSUM).

    Args:
        spec: Its settings.
        marks_px: The levelled points in the analysis picture, shape (n, 2).
        dry: The dry place, full size (h, w, 3); learned from the first pictures unless given.

    Raises:
        GeometryError: The marks give no curve that rises.
    """

    def __init__(self, spec: GaugeSpec, marks_px: Floats, dry: Image | None = None) -> None:
        self._spec = spec
        order = np.argsort([mark.level_m for mark in spec.marks])
        marks = np.asarray(marks_px, np.float64)[order]
        self._from, self._to = marks[0], marks[-1]
        along = self._to - self._from
        shares = ((marks - self._from) @ along) / max(float(along @ along), 1e-9)
        self._curve = fit_curve(shares, np.array([spec.marks[row].level_m for row in order]))
        self._dry = dry
        self._reference: DryReference | None = None
        self._due_ns: int | None = None

    def look(self, scene: Scene) -> Notes:
        """See :class:`vision.detectors.protocol.Detector`."""
        if self._reference is None:
            dry = None
            if self._dry is not None:
                height, width = scene.full.shape[:2]
                sized = cv2.resize(self._dry, (width, height), interpolation=cv2.INTER_AREA)
                dry = self._strip(np.asarray(sized, np.uint8), scene.factor)
            self._reference = DryReference(dry, every_s=self._spec.every_s / 5.0)
        if not self._reference.update(self._strip(scene.full, scene.factor), scene.time_ns):
            return Notes()
        if self._due_ns is not None and scene.time_ns < self._due_ns:
            return Notes()
        self._due_ns = scene.time_ns + round(self._spec.every_s * NS_PER_S)
        row, contrast = waterline(self._reference.dry, self._reference.now)
        share = row / (len(self._reference.dry) - 1)
        at = self._from + share * (self._to - self._from)
        measures = {
            "water_level_m": round(self._curve.level_m(share), 3),
            "contrast_ratio": round(contrast, 3),
        }
        labels = {"gauge": self._spec.id, "state": "measured" if row else "below"}
        return Notes((), [Reading(WATER_LEVEL, self._spec.id, measures, labels, (at[0], at[1]))])

    def _strip(self, full: Image, factor: float) -> Image:
        """The gauge and what is beside it, lowest row first: (rows, width, 3), full pixels."""
        start, end = self._from * factor, self._to * factor
        length = float(np.hypot(*(end - start)))
        rows = max(2 * _ROWS, round(length) + 1)
        half = self._spec.width_px / 2.0
        aside = np.array([-(end - start)[1], (end - start)[0]]) / max(length, 1e-9)
        along = np.linspace(0.0, 1.0, rows)[:, None, None] * (end - start)
        across = np.arange(-half, half + 0.5)[None, :, None] * aside
        places = (start + along + across).astype(np.float32)
        strip = cv2.remap(full, places[..., 0], places[..., 1], cv2.INTER_LINEAR)
        return np.asarray(strip, np.uint8)


def waterline(dry: Image, now: Image) -> tuple[int, float]:
    """The first row above the water, and how clearly the rows below differ from those above.

    Args:
        dry: Strip along the gauge, lowest row first, shape (rows, width, 3).
        now: The same now.

    Returns:
        Row, 0 where no water is seen; contrast 0 to 1.

    Example:
        >>> staff = np.random.default_rng(1).integers(0, 255, (60, 9, 3), dtype=np.uint8)
        >>> water = staff.copy()
        >>> water[:25] = 90
        >>> row, contrast = waterline(staff, water)
        >>> abs(row - 25) <= 3, contrast > 0.5, waterline(staff, staff)
        (True, True, (0, 0.0))
    """
    greys = [np.asarray(cv2.cvtColor(one, cv2.COLOR_BGR2GRAY), np.uint8) for one in (dry, now)]
    width = greys[0].shape[1]
    alike = likeness(greys[0], greys[1], (width | 1, _ROWS))[0][:, width // 2]
    unlike = np.clip(1.0 - np.nan_to_num(alike, nan=1.0 - _UNDECIDED), 0.0, 1.0)
    sums: NDArray[np.float64] = np.concatenate([[0.0], np.cumsum(unlike - _UNDECIDED)])
    row = int(sums.argmax())
    if row == 0:
        return 0, 0.0
    above = float(unlike[row:].mean()) if row < len(unlike) else 0.0
    contrast = float(unlike[:row].mean()) - above
    return (row, contrast) if contrast >= _LEAST_CONTRAST else (0, 0.0)


def fit_curve(shares: Sequence[float] | Floats, levels_m: Floats) -> Curve:
    """Level along a line from marks: straight for two, in perspective for three or more.

    Args:
        shares: Of the line, 0 to 1, shape (n,).
        levels_m: Shape (n,).

    Raises:
        GeometryError: Fewer than two marks, or a curve that does not rise all along.

    Example:
        >>> curve = fit_curve([0.0, 0.4, 1.0], np.array([0.0, 0.5, 2.0]))
        >>> round(curve.level_m(0.4), 3), round(curve.residual_m, 6)
        (0.5, 0.0)
        >>> fit_curve([0.0, 1.0], np.array([1.0, 1.0]))
        Traceback (most recent call last):
        ...
        core.errors.GeometryError: gauge: levels that rise along it were wanted, got [1.0, 1.0]

    Source:
        The cross ratio: Hartley and Zisserman, 2nd ed., section 2.5.
    """
    t, level = np.asarray(shares, np.float64), np.asarray(levels_m, np.float64)
    if len(t) >= 3:
        rows = np.column_stack([t, np.ones(len(t)), -t * level])
        a, b, c = np.linalg.lstsq(rows, level, rcond=None)[0].tolist()
    elif len(t) == 2 and t[0] != t[1]:
        a, b, c = float((level[1] - level[0]) / (t[1] - t[0])), float(level[0]), 0.0
    else:
        raise GeometryError(f"gauge: two marks apart were wanted, got {len(t)}")
    # The derivative's sign is that of a - b c, unless the pole lies on the line.
    if not a - b * c > 0.0 or not 1.0 + c > 0.0 or (np.diff(level) <= 0.0).any():
        raise GeometryError(f"gauge: levels that rise along it were wanted, got {level.tolist()}")
    fitted = (a * t + b) / (c * t + 1.0)
    return Curve(a, b, c, float(np.sqrt(((fitted - level) ** 2).mean())))
