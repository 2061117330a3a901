"""Watches decoded pictures of one camera: quality, background, tracks, detectors, events.

Pure, but for the files that the camera's file names (a model, dry pictures), read once when the
watch is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from core.city import CameraPose
from core.observations import Observation
from core.ports import Ground, GroundPoints, GroundProjector
from core.units import NS_PER_S
from vision.background import DualBackground, Foreground
from vision.blur import blur, find_suspects, private_mask
from vision.boxes import Floats
from vision.camera_file import CameraFile, CameraFileError
from vision.detections import Image, Mask, find_blobs
from vision.detectors.falling import FALLING_OBJECT, FallingDetector
from vision.detectors.fire import FLAME, SMOKE, FireDetector
from vision.detectors.from_above import FromAboveDetector
from vision.detectors.moving import WRONG_WAY, Line, MovingDetector
from vision.detectors.onnx_model import CAMERA_OBJECT, OnnxDetector, OnnxModel
from vision.detectors.protocol import (
    Area,
    Detector,
    Patience,
    Reading,
    Scene,
    Sighting,
    foot_points,
)
from vision.detectors.standing_water import STANDING_WATER, StandingWaterDetector
from vision.detectors.static import STATIC_OBJECT, StaticDetector
from vision.detectors.water_gauge import WaterGaugeDetector
from vision.events import Event, EventKeeper
from vision.ground import PoseGround
from vision.people import find_people
from vision.picture_state import PictureState, PictureWatch
from vision.shadows import without_shadows
from vision.steadying import Steadied, Steadier
from vision.tracking.tracker import Tracker, TrackingParameters, Tracks

#: Boxes of blobs jump when things touch; they overlap themselves less than a model's boxes do.
_BLOB_TRACKING = TrackingParameters(least_iou=0.2, tentative_s=0.5, coast_s=0.3, lost_s=1.5)


#: A camera that hovers and has not seen its first view for so long begins with a new one.
_LOST_S = 5.0

#: The view of a camera that hovers is compared with the street as it was so long ago.
_RENEW_S = 2.0


class Look(NamedTuple):
    """What one picture gave; boxes are in pixels of ``image``.

    ``image`` is the picture as it came, or laid onto the first one where the camera hovers and
    black where it shows nothing of that.
    ``moving`` (n,) says which of the tracks have gone anywhere, ``speed_mps`` (n,) how fast.
    """

    state: PictureState
    image: Image
    tracks: Tracks
    moving: tuple[bool, ...]
    speed_mps: tuple[float, ...]
    open: list[tuple[int, Sighting]]
    events: list[Event]
    observations: list[Observation]
    learning: bool


class CameraWatch:
    """One camera from decoded pictures to observations.

    State is bounded by that of its parts: two models of the view, tracks, events; it is made
    anew when the size of the pictures changes.

    Args:
        camera: What to look for, from camera.yaml.
        projector: Pixel to ground, for cameras with a pose.
        fixed_ground: The ground that the camera's file measured; it stands before a pose.
    """

    def __init__(
        self,
        camera: CameraFile,
        projector: GroundProjector | None = None,
        fixed_ground: Ground | None = None,
    ) -> None:
        self.camera = camera
        self.moving: MovingDetector | None = None
        self.counts: dict[str, int] = {}
        onnx = camera.detectors.onnx
        self._model = None if onnx is None else OnnxModel(Path(onnx.model))
        water = camera.detectors.standing_water
        self._dry = None if water is None else _read_dry(water.dry_picture)
        self._dry_gauges = [_read_dry(gauge.dry_picture) for gauge in camera.detectors.gauges]
        self._projector = projector
        self._fixed_ground = fixed_ground
        self._size_px: tuple[int, int] | None = None
        self._pose: CameraPose | None = None
        self._quality = PictureWatch()
        self._steadier: Steadier | None = None
        self._steady_ns = self._renewed_ns = 0
        self._last_ns: int | None = None
        self._epoch_ns: int | None = None
        # What depends on the size of the pictures; made by _begin.
        self._factor = 1.0
        self._to_small: Floats = np.ones(2)
        self._allowed: NDArray[np.bool_] = np.ones((0, 0), np.bool_)
        #: Where this picture shows what is looked at: not where a hovering camera looks aside.
        self._seen: NDArray[np.bool_] = np.ones((0, 0), np.bool_)
        self._background = DualBackground()
        self._foreground: Foreground | None = None
        self._tracker = Tracker(_BLOB_TRACKING)
        self._ground: Ground | None = None
        self._areas: tuple[Area, ...] = ()
        self._static: StaticDetector | None = None
        self._detectors: list[Detector] = []
        self._events = EventKeeper({})

    @property
    def totals(self) -> dict[str, list[int]]:
        """Crossings by line since the beginning: in, out."""
        return {} if self.moving is None else self.moving.totals

    def prime(self, pictures: list[Image], first_ns: int) -> None:
        """Let the background learn from pictures that are looked at only afterwards.

        Args:
            pictures: Shape (h, w, 3) each, from about the first ten seconds of a clip.
            first_ns: Time of the first picture that :meth:`look` will be given.
        """
        if not pictures:
            return
        self._begin(pictures[0], None)
        self._epoch_ns = self._steady_ns = first_ns
        for number, image in enumerate(pictures):
            before_s = 1.2 * (len(pictures) - number)
            steady = self._steadied(image)
            if steady is None:
                continue
            small = self._small(steady.image)
            self._background.update(small, -before_s, np.zeros(small.shape[:2], np.uint8))

    def look(self, image: Image, time_ns: int, pose: CameraPose | None = None) -> Look:
        """Take the next picture.

        Args:
            image: Shape (h, w, 3).
            time_ns: Of the source, increasing.
            pose: Of a camera that flies; that of the camera's file unless given.
        """
        size = (image.shape[1], image.shape[0])
        if size != self._size_px:
            if self._size_px is not None:
                self._count("size_changed")
            self._begin(image, pose)
        elif pose is not None and pose != self._pose and not self.camera.is_steadied:
            self._place(pose)
        if self._epoch_ns is None:
            self._epoch_ns = self._steady_ns = time_ns
        step_s = 0.0 if self._last_ns is None else (time_ns - self._last_ns) / NS_PER_S
        if self._last_ns is not None and step_s <= 0.0:
            self._count("old_picture")
            return self._nothing(image, PictureState.LATE)
        self._last_ns = time_ns
        steady = self._steadied(image)
        small = self._small(image if steady is None else steady.image)
        state = self._quality.update(small, time_ns)
        if not state.can_be_used:
            self._count(str(state))
            return self._nothing(image, state)
        if steady is None:
            return self._unsteady(image, time_ns, pose)
        image, self._steady_ns = steady.image, time_ns
        held = np.zeros(small.shape[:2], np.uint8)
        if self._static is not None:
            held = self._static.held((small.shape[0], small.shape[1]))
        at_s = (time_ns - self._epoch_ns) / NS_PER_S
        foreground = self._background.update(small, at_s, held)
        self._renew_view(time_ns)
        boxes = np.empty((0, 4))
        if foreground is not None and not foreground.relit:
            boxes = self._boxes(foreground, held)
        tracks = self._tracker.update(boxes, at_s=at_s)
        scene = Scene(
            small,
            self._background,
            foreground,
            tracks,
            self._areas,
            self._allowed & self._seen,
            self._ground,
            time_ns,
            step_s,
            image,
            self._factor,
        )
        sightings: list[Sighting] = []
        readings: list[Reading] = []
        for detector in self._detectors:
            notes = detector.look(scene)
            sightings += notes.sightings
            readings += notes.readings
        self._foreground = foreground
        events = self._events.update(sightings, time_ns)
        observations = [self._observe(event) for event in events]
        observations += [self._tell(reading, time_ns) for reading in readings]
        mover = self.moving
        numbers = tracks.number.tolist()
        return Look(
            state,
            steady.shown(),
            tracks.enlarged(self._factor),
            tuple(mover is not None and mover.has_moved(number) for number in numbers),
            tuple(float("nan") if mover is None else mover.speed_mps(one) for one in numbers),
            [(number, self._enlarged(one)) for number, one in self._events.open],
            [event._replace(sighting=self._enlarged(event.sighting)) for event in events],
            observations,
            self._background.learning,
        )

    def suspects(self) -> Mask:
        """What of the last picture may be somebody who moves; of the analysis size."""
        if self._foreground is None:
            return np.full(self._allowed.shape, 255, np.uint8)
        visible = None if self._static is None else self._static.visible()
        if visible is None:
            visible = np.zeros(self._allowed.shape, np.uint8)
        return find_suspects(self._foreground.faint, self._foreground.fast, visible)

    def blurred(self, image: Image) -> Image:
        """The last picture as it may be stored: what moves and every person blurred.

        Args:
            image: That of the last :class:`Look`.
        """
        size = (image.shape[1], image.shape[0])
        mask = cv2.resize(private_mask(self.suspects()), size, interpolation=cv2.INTER_NEAREST)
        for left, top, right, bottom in find_people(image):
            mask[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = 255
        return blur(image, np.asarray(mask, np.uint8))

    def _begin(self, image: Image, pose: CameraPose | None) -> None:
        """Everything that depends on the size of the pictures."""
        camera = self.camera
        height, width = image.shape[:2]
        self._size_px = (width, height)
        self._factor = max(1.0, width / camera.analysis_width_px)
        self._background = DualBackground()
        self._tracker = Tracker(_BLOB_TRACKING)
        self._foreground = None
        self._steadier = Steadier(image) if camera.is_steadied else None
        given = camera.size_px or (width, height)
        self._to_small = np.array([width / given[0], height / given[1]]) / self._factor
        small_size = (round(width / self._factor), round(height / self._factor))
        self._allowed = np.ones((small_size[1], small_size[0]), np.bool_)
        self._seen = self._allowed.copy()
        for polygon in camera.masks_px:
            self._allowed &= ~_filled(np.array(polygon) * self._to_small, small_size)
        self._ground = None
        self._place(pose or camera.pose)
        wanted = camera.detectors
        lines = [
            Line(
                one.id,
                (one.from_px[0] * self._to_small[0], one.from_px[1] * self._to_small[1]),
                (one.to_px[0] * self._to_small[0], one.to_px[1] * self._to_small[1]),
            )
            for one in camera.lines
        ]
        self.moving = None if wanted.moving is None else MovingDetector(wanted.moving, lines)
        self._static = None if wanted.static is None else StaticDetector(wanted.static)
        chosen: list[Detector | None] = [
            self.moving,
            self._static,
            None if wanted.fire is None else FireDetector(wanted.fire),
            None if wanted.from_above is None else FromAboveDetector(wanted.from_above),
        ]
        if wanted.onnx is not None and self._model is not None:
            chosen.append(OnnxDetector(wanted.onnx, self._model))
        if wanted.falling is not None:
            start, end = np.array(wanted.falling.reference_px) * self._to_small
            long_px = max(float(np.hypot(*(end - start))), 1e-6)
            chosen.append(FallingDetector(wanted.falling, wanted.falling.reference_m / long_px))
        water = wanted.standing_water
        if water is not None:
            chosen.append(StandingWaterDetector(water, self._dry))
        for gauge, dry in zip(wanted.gauges, self._dry_gauges, strict=True):
            marks = np.array([mark.pixel for mark in gauge.marks]) * self._to_small
            chosen.append(WaterGaugeDetector(gauge, marks, dry))
        self._detectors = [one for one in chosen if one is not None]
        fire, onnx = wanted.fire, wanted.onnx
        self._events = EventKeeper(
            {
                STATIC_OBJECT: Patience(0.0, 0.0),
                WRONG_WAY: Patience(0.0, 2.0, 2.0),
                FLAME: Patience(2.0 if fire is None else fire.flame_after_s, 3.0, 10.0, 0.6),
                SMOKE: Patience(4.0 if fire is None else fire.smoke_after_s, 5.0, 10.0, 0.6),
                FALLING_OBJECT: Patience(0.0, 0.0),
                STANDING_WATER: Patience(10.0, 30.0)
                if water is None
                else Patience(water.new_after_s, water.gone_after_s, water.update_every_s),
                CAMERA_OBJECT: Patience(1.0, 3.0)
                if onnx is None
                else Patience(onnx.new_after_s, onnx.gone_after_s),
            }
        )

    def _place(self, pose: CameraPose | None) -> None:
        """Where the pixels of the analysis picture lie, and the zones."""
        self._pose = pose
        assert self._size_px is not None
        width, height = self._size_px
        if self._fixed_ground is not None:
            self._ground = _Scaled(self._fixed_ground, self._to_small)
        elif pose is not None and self._projector is not None:
            given = self.camera.size_px or (width, height)
            sized = msgspec.structs.replace(pose, width_px=given[0], height_px=given[1])
            self._ground = _Scaled(PoseGround(self._projector, sized), self._to_small)
        size = (self._allowed.shape[1], self._allowed.shape[0])
        areas = []
        for zone in self.camera.zones:
            polygon = np.array(zone.polygon_px, np.float64) * self._to_small
            flow = None
            if zone.flow_px is not None:
                step = (np.array(zone.flow_px[1]) - zone.flow_px[0]) * self._to_small
                step = step / max(float(np.hypot(*step)), 1e-6)
                flow = (float(step[0]), float(step[1]))
            area_m2 = float("nan")
            if self._ground is not None:
                corners = self._ground.metres(polygon)
                if np.isfinite(corners).all():
                    area_m2 = float(cv2.contourArea(corners.astype(np.float32)))
            areas.append(
                Area(
                    zone.id,
                    zone.kind,
                    polygon.astype(np.float32),
                    _filled(polygon, size),
                    flow,
                    area_m2,
                )
            )
        self._areas = tuple(areas)

    def _steadied(self, image: Image) -> Steadied | None:
        """The picture laid onto the first one; None where it shows something else."""
        if self._steadier is None:
            return Steadied(image)
        steady = self._steadier.steady(image)
        if steady is not None and steady.seen is not None:
            size = (self._allowed.shape[1], self._allowed.shape[0])
            self._seen = cv2.resize(steady.seen, size, interpolation=cv2.INTER_NEAREST) > 0
        elif steady is not None:
            self._seen.fill(True)
        return steady

    def _renew_view(self, time_ns: int) -> None:
        """Hold on to the empty street in today's light, once it is known."""
        due = time_ns - self._renewed_ns >= _RENEW_S * NS_PER_S
        if self._steadier is None or self._background.learning or not due:
            return
        self._renewed_ns = time_ns
        height, width = self._allowed.shape
        self._steadier.renew(self._background.street((0, 0, width, height)))

    def _unsteady(self, image: Image, time_ns: int, pose: CameraPose | None) -> Look:
        """A picture of something else: the camera swings, or it has flown on for good."""
        self._count(str(PictureState.MOVING))
        # Nobody can say what moves in it, so all of it is blurred.
        self._foreground = None
        if time_ns - self._steady_ns > _LOST_S * NS_PER_S:
            self._count("new_view")
            self._begin(image, pose)
            self._steady_ns = time_ns
        return self._nothing(image, PictureState.MOVING)

    def _small(self, image: Image) -> Image:
        if self._factor == 1.0:
            return image
        size = (self._allowed.shape[1], self._allowed.shape[0])
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)

    def _boxes(self, foreground: Foreground, held: Mask) -> Floats:
        """Boxes of what is not the street, without shadows and what is known to stand."""
        free = self._allowed & self._seen & (held == 0)
        mask: Mask = np.where(free, foreground.slow, 0).astype(np.uint8)
        if not mask.any():
            return np.empty((0, 4))
        height, width = mask.shape
        street = self._background.street((0, 0, width, height))
        mask = without_shadows(foreground.image, street, mask)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(np.uint8)
        spec = self.camera.detectors.moving
        least = 60.0 if spec is None else spec.min_area_px
        blobs = find_blobs(mask, min_area_px=round(least * (width / 480.0) ** 2), reach_px=3)
        return blobs.xyxy_px.astype(np.float64)

    def _enlarged(self, sighting: Sighting) -> Sighting:
        left, top, right, bottom = (edge * self._factor for edge in sighting.xyxy)
        return Sighting(
            sighting.key,
            sighting.kind,
            sighting.what,
            (left, top, right, bottom),
            sighting.score_ratio,
            sighting.measures,
            sighting.labels,
            sighting.since_ns,
        )

    def _observe(self, event: Event) -> Observation:
        sighting = event.sighting
        place = self._on_the_ground(foot_points(np.array([sighting.xyxy]), self._ground))
        measures = {
            "dwell_s": round(event.dwell_s, 3),
            "confidence_ratio": round(event.score_ratio, 3),
        }
        return Observation(
            source="vision",
            thing_id=f"{self.camera.id}/{event.number}",
            kind=sighting.kind,
            observed_ns=event.time_ns,
            received_ns=event.time_ns,
            measures=measures | sighting.measures,
            labels={"phase": event.phase, "object": sighting.what, "camera_id": self.camera.id}
            | sighting.labels,
            **place,  # type: ignore[arg-type]
        )

    def _on_the_ground(self, pixel: Floats) -> dict[str, float]:
        """Place and error of one pixel (1, 2), as fields of an observation; empty if unknown."""
        points = None if self._ground is None else self._ground.points(pixel)
        if points is None or not points.seen[0]:
            return {}
        return {
            "lon_deg": float(points.lon_deg[0]),
            "lat_deg": float(points.lat_deg[0]),
            "error_major_m": float(points.error_major_m[0]),
            "error_minor_m": float(points.error_minor_m[0]),
            "error_azimuth_deg": float(points.error_azimuth_deg[0]),
        }

    def _tell(self, reading: Reading, time_ns: int) -> Observation:
        thing = f"{self.camera.id}/{reading.thing}" if reading.thing else self.camera.id
        place = {} if reading.at_px is None else self._on_the_ground(np.array([reading.at_px]))
        return Observation(
            source="vision",
            thing_id=thing,
            kind=reading.kind,
            observed_ns=time_ns,
            received_ns=time_ns,
            measures=reading.measures,
            labels=reading.labels | {"camera_id": self.camera.id},
            **place,  # type: ignore[arg-type]
        )

    def _nothing(self, image: Image, state: PictureState) -> Look:
        none = np.empty((0, 4))
        tracks = Tracks(
            np.empty(0, np.int64),
            none,
            none[:, :2],
            np.empty(0, np.bool_),
            np.empty(0),
            (),
            np.empty(0, np.intp),
        )
        still = [(number, self._enlarged(one)) for number, one in self._events.open]
        return Look(state, image, tracks, (), (), still, [], [], self._background.learning)

    def _count(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1


class _Scaled:
    """A ground whose pixels are those of a picture made smaller."""

    def __init__(self, ground: Ground, scale: Floats) -> None:
        self.from_above = ground.from_above
        self._ground = ground
        self._scale = scale

    def metres(self, pixels: Floats) -> Floats:
        return self._ground.metres(pixels / self._scale)

    def points(self, pixels: Floats) -> GroundPoints | None:
        return self._ground.points(pixels / self._scale)


def _read_dry(path: str | None) -> Image | None:
    """A picture of the dry place; None where none is named."""
    if path is None:
        return None
    picture = cv2.imread(path, cv2.IMREAD_COLOR)
    if picture is None:
        raise CameraFileError(f"{path}: dry_picture: cannot be read as a picture")
    return np.asarray(picture, np.uint8)


def _filled(polygon: Floats, size: tuple[int, int]) -> NDArray[np.bool_]:
    canvas = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillPoly(canvas, [np.rint(polygon).astype(np.int32)], 1)
    return canvas > 0
