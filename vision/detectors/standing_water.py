"""Standing water on a road: where the structure of the dry road has gone and all is smooth."""

from __future__ import annotations

import cv2
import numpy as np

from vision.camera_file import WaterSpec
from vision.detections import Image, Mask, find_blobs
from vision.detectors.protocol import Area, Notes, Scene, Sighting, pixel_areas_m2
from vision.dry_reference import DryReference, likeness

STANDING_WATER = "detection.standing_water"

#: Zones in which water matters; without any of them nothing is looked for.
WET = ("underpass", "carriageway", "hard_shoulder", "fire_lane", "pavement", "square")

#: Structure around a pixel, in pixels of the analysis picture.
_WINDOW_PX = (9, 9)

#: Less alike than this, the dry road is not what is seen.
_MOST_ALIKE = 0.45

#: Water keeps less than this share of the road's structure, in this share of a region.
_MOST_STRUCTURE, _LEAST_SMOOTH = 0.6, 0.7

#: Spread of the three channels, median over a region: water is grey, blue or brown.
_MOST_CHROMA = 70


class StandingWaterDetector:
    """Standing water against the road's dry picture.

    Good for: asphalt, paving, markings seen by a fixed camera by day or under lamps; a wet but
    drained road and shadows keep the road's structure and are no water. Fails on: new asphalt
    without structure, a jam (nothing of the road is seen), snow, a smooth grey tarpaulin or
    the roof of a van that stands for longer than the median lasts, water so clear and shallow
    that the road shows through.

    Source:
        Structure against lighting: normalised correlation with a background, C. Jacques et
        al., SIBGRAPI 2005; water as smooth and colourless: A. Rankin and L. Matthies, "Daytime
        water detection based on color variation", IROS 2010.

    Args:
        spec: Its settings.
        dry: The dry place, full size (h, w, 3); learned from the first pictures unless given.
    """

    def __init__(self, spec: WaterSpec, dry: Image | None = None) -> None:
        self._spec = spec
        self._dry = dry
        self._reference: DryReference | None = None
        self._last: list[Sighting] = []

    def look(self, scene: Scene) -> Notes:
        """See :class:`vision.detectors.protocol.Detector`."""
        if self._reference is None:
            height, width = scene.image.shape[:2]
            dry = None
            if self._dry is not None:
                small = cv2.resize(self._dry, (width, height), interpolation=cv2.INTER_AREA)
                dry = np.asarray(small, np.uint8)
            self._reference = DryReference(dry, every_s=self._spec.sample_s)
        if self._reference.update(scene.image, scene.time_ns):
            mask = water_mask(self._reference.dry, self._reference.now)
            self._last = [
                one
                for area in scene.areas_of(*WET)
                if (one := self._sight(scene, area, mask)) is not None
            ]
        return Notes(self._last)

    def _sight(self, scene: Scene, area: Area, mask: Mask) -> Sighting | None:
        """The water of one zone; None where there is too little."""
        inside: Mask = np.where(area.inside & scene.allowed, mask, 0).astype(np.uint8)
        blobs = find_blobs(inside, min_area_px=self._spec.min_area_px)
        if not len(blobs):
            return None
        wet = blobs.labels > 0
        measures = {"water_ratio": round(float(wet.sum()) / max(1, int(area.inside.sum())), 4)}
        pixel_m2 = pixel_areas_m2(scene)
        if pixel_m2 is not None and np.isfinite(pixel_m2[wet]).all():
            measures["water_area_m2"] = round(float(pixel_m2[wet].sum()), 1)
            if measures["water_area_m2"] < self._spec.min_area_m2:
                return None
        left, top, right, bottom = blobs.xyxy_px[int(blobs.area_px.argmax())].tolist()
        return Sighting(
            f"water-{area.id}",
            STANDING_WATER,
            "water",
            (float(left), float(top), float(right), float(bottom)),
            0.7,
            measures,
            {"zone": area.id, "zone_kind": area.kind, "platform": "fixed"},
        )


def water_mask(dry: Image, now: Image) -> Mask:
    """Where the dry ground is hidden by something smooth and hardly coloured.

    Args:
        dry: Shape (h, w, 3).
        now: Shape (h, w, 3).

    Returns:
        Shape (h, w), 0 or 255.
    """
    greys = [np.asarray(cv2.cvtColor(one, cv2.COLOR_BGR2GRAY), np.uint8) for one in (dry, now)]
    alike, before, after = likeness(greys[0], greys[1], _WINDOW_PX)
    hidden: Mask = np.where(alike < _MOST_ALIKE, 255, 0).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    hidden = cv2.morphologyEx(hidden, cv2.MORPH_OPEN, kernel).astype(np.uint8)
    hidden = cv2.morphologyEx(hidden, cv2.MORPH_CLOSE, kernel).astype(np.uint8)
    smooth = after < _MOST_STRUCTURE * before
    chroma = now.max(axis=2).astype(np.int16) - now.min(axis=2)
    blobs = find_blobs(hidden, min_area_px=16)
    kept = np.zeros(len(blobs) + 1, np.uint8)
    for row in range(len(blobs)):
        region = blobs.labels == row + 1
        if smooth[region].mean() >= _LEAST_SMOOTH and np.median(chroma[region]) <= _MOST_CHROMA:
            kept[row + 1] = 255
    return np.asarray(kept[blobs.labels], np.uint8)
