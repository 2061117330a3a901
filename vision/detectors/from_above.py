"""Bare soil, covered ground and green from above, by colour: how much of each zone is what."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from core.units import NS_PER_S
from vision.camera_file import FromAboveSpec
from vision.detections import Image
from vision.detectors.protocol import Area, Notes, Reading, Scene, pixel_areas_m2

BARE_SOIL = "detection.bare_soil"
VEGETATION = "detection.vegetation"

#: Zones that are looked at; without any of them, the whole picture is.
SITES = ("site", "green", "farmland")

#: Darker pixels have no colour to judge by, brighter ones are burnt out.
_DARK, _BRIGHT = 35.0, 245.0

#: Nets over soil are green or black, much more strongly green than plants beside each other.
_NET_EXCESS, _NET_SPREAD = 0.18, 12.0


class Cover(NamedTuple):
    """What the ground is, as masks of shape (h, w): no pixel is in two of them.

    ``unknown`` is too dark or too bright to tell.
    """

    soil: NDArray[np.bool_]
    plants: NDArray[np.bool_]
    net: NDArray[np.bool_]
    unknown: NDArray[np.bool_]


class Indices(NamedTuple):
    """Greenness and redness of each pixel, float32 (h, w); 0 for black.

    ``exg`` excess green 2g-r-b of chromatic coordinates, -1 to 2; ``vari`` (G-R)/(G+R-B),
    within -1 to 1; ``redness`` (R-G)/(R+G); ``warmth`` (R-B)/(R+B).
    """

    exg: NDArray[np.float32]
    vari: NDArray[np.float32]
    redness: NDArray[np.float32]
    warmth: NDArray[np.float32]


class FromAboveDetector:
    """Tells now and then how much of each site is bare, green or covered.

    Good for: an aircraft or a mast that looks down at a building site or a green by day.
    Fails on: brick-red roofs and paving (they have the colour of soil), grey soil and gravel,
    snow, low sun; thresholds are for daylight and an uncorrected camera, and soils differ:
    ``least_warmth`` is to be set with a picture of the place.

    Source:
        D. Woebbecke et al., "Color indices for weed identification", Trans. ASAE 38(1), 1995
        (excess green); A. Gitelson et al., "Novel algorithms for remote estimation of
        vegetation fraction", Remote Sensing of Environment 80(1), 2002 (VARI); R. Escadafal,
        "Remote sensing of arid soil surface color", Adv. Space Research 9(1), 1989 (redness).

    Args:
        spec: Its settings.
    """

    def __init__(self, spec: FromAboveSpec) -> None:
        self._spec = spec
        self._due_ns: int | None = None

    def look(self, scene: Scene) -> Notes:
        """See :class:`vision.detectors.protocol.Detector`."""
        if self._due_ns is not None and scene.time_ns < self._due_ns:
            return Notes()
        self._due_ns = scene.time_ns + round(self._spec.every_s * NS_PER_S)
        cover = ground_cover(scene.image, self._spec)
        pixel_m2 = pixel_areas_m2(scene)
        readings: list[Reading] = []
        sites = scene.areas_of(*SITES) or [_everything(scene)]
        for site in sites:
            readings += self._readings(scene, site, cover, pixel_m2)
        return Notes((), readings)

    def _readings(
        self, scene: Scene, site: Area, cover: Cover, pixel_m2: NDArray[np.float32] | None
    ) -> list[Reading]:
        judged = site.inside & scene.allowed & ~cover.unknown
        seen = int(judged.sum())
        if seen < self._spec.least_seen_ratio * max(1, int(site.inside.sum())):
            return []
        labels = {"zone": site.id, "zone_kind": site.kind, "platform": self._spec.platform}
        soil = judged & cover.soil
        bare = {
            "bare_ratio": round(float(soil.sum()) / seen, 4),
            "net_ratio": round(float((judged & cover.net).sum()) / seen, 4),
        }
        plants = judged & cover.plants
        index = indices(scene.image)
        green = {
            "vegetation_ratio": round(float(plants.sum()) / seen, 4),
            "exg": round(float(index.exg[judged].mean()), 4),
            "vari": round(float(index.vari[judged].mean()), 4),
        }
        if pixel_m2 is not None and np.isfinite(pixel_m2[judged]).all():
            bare["bare_area_m2"] = round(float(pixel_m2[soil].sum()), 1)
            green["vegetation_area_m2"] = round(float(pixel_m2[plants].sum()), 1)
        at = site.middle
        return [
            Reading(BARE_SOIL, site.id, bare, labels, at),
            Reading(VEGETATION, site.id, green, labels, at),
        ]


def indices(image: Image) -> Indices:
    """Indices of greenness and redness.

    Args:
        image: Shape (h, w, 3), blue green red.

    Example:
        >>> grass_soil_grey = np.array([[[40, 120, 70], [80, 110, 150], [90, 90, 90]]], np.uint8)
        >>> found = indices(grass_soil_grey)
        >>> [round(float(one), 2) for one in found.exg[0]]
        [0.57, -0.03, 0.0]
        >>> [round(float(one), 2) for one in found.redness[0]]
        [-0.26, 0.15, 0.0]
    """
    blue, green, red = (image[..., channel].astype(np.float32) for channel in range(3))
    total = np.maximum(blue + green + red, 1.0)
    # The denominator of VARI vanishes on blue things; it means nothing there.
    visible = np.maximum(green + red - blue, 0.1 * total)
    return Indices(
        (2.0 * green - red - blue) / total,
        np.clip((green - red) / visible, -1.0, 1.0),
        (red - green) / np.maximum(red + green, 1.0),
        (red - blue) / np.maximum(red + blue, 1.0),
    )


def ground_cover(image: Image, spec: FromAboveSpec) -> Cover:
    """Classes of the ground, each pixel by its colour and the calm of its neighbourhood.

    Args:
        image: Shape (h, w, 3), blue green red.
        spec: Thresholds.

    Example:
        >>> soil = np.full((40, 40, 3), (80, 110, 150), np.uint8)
        >>> cover = ground_cover(soil, FromAboveSpec())
        >>> float(cover.soil.mean()), float(cover.plants.mean())
        (1.0, 0.0)
    """
    smooth = cv2.GaussianBlur(image, (0, 0), 1.2)
    index = indices(np.asarray(smooth, np.uint8))
    wide = smooth.astype(np.float32)
    bright = np.sqrt((wide**2).mean(axis=2))
    unknown = (bright < _DARK) | (bright > _BRIGHT)
    grey = cv2.cvtColor(smooth, cv2.COLOR_BGR2GRAY).astype(np.float32)
    mean = cv2.blur(grey, (9, 9))
    spread = np.sqrt(np.maximum(cv2.blur(grey * grey, (9, 9)) - mean * mean, 0.0))
    green = index.exg > spec.least_exg
    # Woven net is one green from end to end; plants throw shadows on each other.
    net = green & (index.exg > _NET_EXCESS) & (spread < _NET_SPREAD) & (index.warmth < 0.0)
    soil = (index.exg < 0.05) & (index.redness > 0.0) & (index.warmth > spec.least_warmth)
    kernel = np.ones((3, 3), np.uint8)
    soil = cv2.morphologyEx(soil.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0
    known = ~unknown
    return Cover(soil & known, green & ~net & known, net & known, unknown)


def _everything(scene: Scene) -> Area:
    """The whole picture as one site."""
    height, width = scene.allowed.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    return Area("view", "site", corners, np.ones((height, width), np.bool_), None, float("nan"))
