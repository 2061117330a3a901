"""What was left or has stopped in the picture: bags, waste, parked and broken-down vehicles."""

from __future__ import annotations

import numpy as np

from vision.camera_file import StaticSpec
from vision.detections import Mask
from vision.detectors.protocol import Notes, Scene, Sighting, area_of, sizes_m
from vision.people import find_people
from vision.static_objects import StaticObject, StaticObjects

STATIC_OBJECT = "detection.static_object"

_VEHICLE_M = 2.0
#: A thing this much taller than wide may be somebody who waits.
_UPRIGHT = 1.5


class StaticDetector:
    """Static objects with a zone and a size.

    Good for: luggage left behind, dumped waste, a stop on the hard shoulder, a blocked lane.
    Fails on: what was there from the first picture on, what has the colour of the ground, and
    crowds in which the ground is never seen.

    Source:
        See :mod:`vision.background` and :mod:`vision.static_objects`.
    """

    def __init__(self, spec: StaticSpec) -> None:
        self._spec = spec
        self._statics: StaticObjects | None = None
        self._waiting_people: set[int] = set()
        self._words: dict[int, str] = {}

    def held(self, shape: tuple[int, int]) -> Mask:
        """Where known objects stand, for the model of the background; shape (h, w)."""
        if self._statics is None or self._statics.held.shape != shape:
            self._statics = StaticObjects(
                shape,
                new_after_s=self._spec.new_after_s,
                gone_after_s=self._spec.gone_after_s,
            )
            self._words.clear()
        return self._statics.held

    def visible(self) -> Mask | None:
        """Where objects stand that may be seen in stored pictures."""
        if self._statics is None:
            return None
        return self._statics.visible(
            {number for number, word in self._words.items() if word not in ("person", "")}
        )

    def look(self, scene: Scene) -> Notes:
        """See :class:`vision.detectors.protocol.Detector`."""
        self.held(scene.image.shape[:2])
        assert self._statics is not None
        if scene.foreground is None:
            return Notes()
        changes = self._statics.update(scene.background, scene.foreground, scene.time_ns)
        for one in changes.gone:
            self._words.pop(one.number, None)
        for one in (*changes.appeared, *changes.grown):
            self._words[one.number] = self._word(one, scene)
        sightings = []
        for one in self._statics.objects.values():
            word = self._words.get(one.number, "")
            if word in ("", "person"):
                continue
            left, top, right, bottom = one.box
            xyxy = (float(left), float(top), float(right), float(bottom))
            measures = {}
            size = float(sizes_m(np.array([xyxy]), scene.ground)[0])
            if np.isfinite(size):
                measures["width_m"] = round(size, 2)
            area = area_of(xyxy, scene.areas, scene.ground)
            if scene.areas and area is None:
                continue
            labels = {} if area is None else {"zone": area.id, "zone_kind": area.kind}
            sightings.append(
                Sighting(
                    f"static-{one.number}",
                    STATIC_OBJECT,
                    word,
                    xyxy,
                    min(0.99, 0.5 + 0.5 * one.solidity_ratio),
                    measures,
                    labels,
                    one.stopped_ns,
                )
            )
        return Notes(sightings)

    def _word(self, one: StaticObject, scene: Scene) -> str:
        """What it may be; empty where it is too small to be told of."""
        left, top, right, bottom = one.box
        if not scene.allowed[one.box[1] : bottom, left:right][one.telling].any():
            return ""
        width_m = float(sizes_m(np.array([one.box], np.float64), scene.ground)[0])
        if np.count_nonzero(one.telling) < self._spec.min_area_px or (
            width_m < self._spec.min_size_m
        ):
            return ""
        if bottom - top >= _UPRIGHT * (right - left) and not width_m > _VEHICLE_M:
            box = tuple(round(edge * scene.factor) for edge in one.box)
            if find_people(scene.full, (box[0], box[1], box[2], box[3])):
                return "person"
        if np.isnan(width_m):
            return "object"
        return "vehicle" if width_m >= _VEHICLE_M else "small"
