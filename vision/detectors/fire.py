"""Flame and smoke: colour, unrest, growth; evidence over seconds."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.camera_file import FireSpec
from vision.detections import Blobs, Mask, find_blobs
from vision.detectors.protocol import Notes, Scene, Sighting
from vision.shifted import only_shifted, reach_of

FLAME = "detection.flame"
SMOKE = "detection.smoke_plume"

#: Averages over time forget within about this many seconds.
_FORGET_S = 1.2

#: A flame's pixels change brightness all the time; a red car's only when it drives.
_LEAST_FLICKER = 9.0

#: What moves on is a vehicle: a flame's middle stays within this share of its size.
_MOST_DRIFT = 0.6

#: Smoke: hardly any colour, in grey values between the channels.
_SMOKE_CHROMA = 30


class FireDetector:
    """Flame and smoke in the open.

    Good for: flames a few dozen pixels large by day or night; light or dark smoke that drifts
    before a scene with some texture. Fails on: smoke before an empty sky, flames behind frosted
    glass, orange flashing lights (they blink in one place as a flame does; mask them out).

    Source:
        T. Chen, P. Wu, Y. Chiou, "An early fire-detection method based on image processing",
        ICIP 2004 (colour rule); B. U. Töreyin et al., "Computer vision based method for
        real-time fire and flame detection", Pattern Recognition Letters 27, 2006 (flicker) and
        "Wavelet based real-time smoke detection in video", EUSIPCO 2005 (loss of detail).
    """

    def __init__(self, spec: FireSpec) -> None:
        self._spec = spec
        self._last: NDArray[np.float32] | None = None
        self._flicker: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._warm: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._haze: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._regions: list[_Region] = []
        self._last_key = 0

    def look(self, scene: Scene) -> Notes:
        """See :class:`vision.detectors.protocol.Detector`."""
        image = scene.image
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
        if self._last is None or self._last.shape != grey.shape:
            self._last = grey
            self._flicker = np.zeros_like(grey)
            self._warm = np.zeros_like(grey)
            self._haze = np.zeros_like(grey)
            return Notes()
        share = 1.0 - float(np.exp(-max(scene.step_s, 1e-3) / _FORGET_S))
        warm = flame_coloured(image) & scene.allowed
        self._flicker += np.float32(share) * (np.abs(grey - self._last) - self._flicker)
        self._warm += np.float32(share) * (warm - self._warm)
        self._last = grey
        least_px = self._spec.min_area_ratio * grey.size
        burning: Mask = np.where((self._warm > 0.35) & (self._flicker > 1.0), 255, 0).astype(
            np.uint8
        )
        blobs = find_blobs(burning, min_area_px=max(4, round(least_px)), reach_px=3)
        found = [
            (FLAME, "flame", box)
            for row, box in enumerate(blobs.xyxy_px.tolist())
            if self._burns(blobs, row) and not _only_sways(scene, box, blobs.labels == row + 1)
        ]
        found += [(SMOKE, "smoke", box) for box in self._smoke(scene, share, 4.0 * least_px)]
        return Notes([self._sight(scene, *one) for one in self._follow(scene, found)])

    def _burns(self, blobs: Blobs, row: int) -> bool:
        """Whether a warm region is restless enough all over."""
        inside = blobs.labels == row + 1
        flicker = self._flicker[inside]
        return float(np.percentile(flicker, 60)) >= _LEAST_FLICKER

    def _smoke(self, scene: Scene, share: float, least_px: float) -> list[list[int]]:
        """Regions that lost detail and colour against the street, and keep changing softly."""
        foreground = scene.foreground
        if foreground is None or foreground.relit:
            return []
        height, width = scene.image.shape[:2]
        street = scene.background.street((0, 0, width, height))
        now, then = scene.image.astype(np.int16), street.astype(np.int16)
        colourless = (now.max(axis=2) - now.min(axis=2)) <= _SMOKE_CHROMA
        # Mixing with one grey: bright things get darker and dark ones brighter, detail fades.
        apart = np.abs(now - then).max(axis=2)
        changed = (apart > 0.5 * foreground.threshold) & colourless & scene.allowed
        detail_now, detail_then = _detail(scene.image), _detail(street)
        faded = (detail_now < 0.75 * detail_then) | (detail_then < 3.0)
        self._haze += np.float32(share) * ((changed & faded) - self._haze)
        mask: Mask = np.where(self._haze > 0.5, 255, 0).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(np.uint8)
        blobs = find_blobs(mask, min_area_px=max(30, round(least_px)), reach_px=4)
        kept = []
        for row, box in enumerate(blobs.xyxy_px.tolist()):
            inside = blobs.labels == row + 1
            unrest = self._flicker[inside]
            # A shadow or a parked van is calm; a passing one changes much more, and leaves.
            if not 0.6 <= float(np.median(unrest)) <= 14.0:
                continue
            if float((detail_then[inside] >= 3.0).mean()) < 0.1:
                continue
            if _only_sways(scene, box, inside):
                continue
            kept.append(box)
        return kept

    def _follow(
        self, scene: Scene, found: list[tuple[str, str, list[int]]]
    ) -> list[tuple[_Region, str, str]]:
        """Give regions keys; what drifts away from where it began is a vehicle, not a fire."""
        kept: list[_Region] = []
        told = []
        for kind, word, box in found:
            region = next(
                (
                    one
                    for one in self._regions
                    if one.kind == kind and one not in kept and _touch(one.box, box)
                ),
                None,
            )
            if region is None:
                self._last_key += 1
                region = _Region(kind, f"{word}-{self._last_key}", box, box, scene.time_ns)
            region.box, region.seen_ns = box, scene.time_ns
            kept.append(region)
            if not region.drifted():
                told.append((region, kind, word))
        patience_ns = 2_000_000_000
        kept += [
            one
            for one in self._regions
            if one not in kept and scene.time_ns - one.seen_ns <= patience_ns
        ]
        self._regions = kept[:32]
        return told

    @staticmethod
    def _sight(scene: Scene, region: _Region, kind: str, word: str) -> Sighting:
        left, top, right, bottom = (float(edge) for edge in region.box)
        first = region.first
        began = max(1.0, float((first[2] - first[0]) * (first[3] - first[1])))
        growth = (right - left) * (bottom - top) / began
        share = (right - left) * (bottom - top) / (scene.image.shape[0] * scene.image.shape[1])
        return Sighting(
            region.key,
            kind,
            word,
            (left, top, right, bottom),
            min(0.95, 0.6 + 0.1 * min(growth, 3.0)),
            {"area_ratio": round(share, 4), "growth_ratio": round(growth, 2)},
        )


class _Region:
    """A warm or hazy region as it goes on."""

    def __init__(self, kind: str, key: str, first: list[int], box: list[int], seen_ns: int) -> None:
        self.kind, self.key, self.first, self.box, self.seen_ns = kind, key, first, box, seen_ns

    def drifted(self) -> bool:
        """Whether its foot has moved on. Smoke rises and spreads, but its source stays."""
        size = max(self.first[2] - self.first[0], self.first[3] - self.first[1], 8)
        if self.kind == SMOKE:
            return not _touch(self.first, self.box)
        middle = (self.box[0] + self.box[2] - self.first[0] - self.first[2]) / 2.0
        foot = self.box[3] - self.first[3]
        grown = max(self.box[2] - self.box[0], self.box[3] - self.box[1], size)
        return bool(np.hypot(middle, foot) > _MOST_DRIFT * grown)


def _only_sways(scene: Scene, box: list[int], inside: NDArray[np.bool_]) -> bool:
    """Whether a region was there before, a few pixels aside: a yellow line, say, on a windy day."""
    if scene.foreground is None or scene.foreground.relit:
        return False
    left, top, right, bottom = wide = reach_of((box[0], box[1], box[2], box[3]), *inside.shape)
    window = np.s_[top:bottom, left:right]
    return only_shifted(scene.image[window], scene.background.street(wide), inside[window])


def flame_coloured(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels with the colour of flame: red over green over blue, bright, strongly coloured.

    Args:
        image: Shape (h, w, 3).

    Returns:
        Shape (h, w).

    Example:
        >>> colours = np.array([[[30, 140, 250], [60, 60, 200], [250, 250, 250]]], np.uint8)
        >>> flame_coloured(colours).tolist()
        [[True, False, False]]
    """
    blue, green, red = (image[..., channel].astype(np.int16) for channel in range(3))
    bright = (red >= 150) & (red >= green) & (green > blue)
    coloured = (red - blue >= 60) & (green - blue >= 12)
    # The core of a flame saturates towards yellow and white, still poor in blue.
    core = (red >= 235) & (green >= 180) & (red - blue >= 40)
    return np.asarray(bright & coloured & (green >= 60) | core)


def _detail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean steepness around each pixel, in grey values."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    steep = cv2.convertScaleAbs(cv2.Laplacian(grey, cv2.CV_16S))
    return cv2.blur(steep.astype(np.float32), (7, 7)).astype(np.float32)


def _touch(one: list[int], other: list[int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
