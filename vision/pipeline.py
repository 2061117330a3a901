"""One camera's way from frames to observations. Pure: time is the frames' own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from core.city import CameraPose
from core.frames import Frame
from core.observations import Observation
from core.ports import GroundProjector
from core.snapshots import clip_of
from core.units import NS_PER_S
from vision.album import Album, Pictured
from vision.background import DualBackground, Foreground
from vision.blur import find_suspects
from vision.darkroom import Negative, Shown, pack_mask
from vision.detections import Blobs, Image
from vision.frame_pipeline import FramePipeline, PipelineResult
from vision.motion import moving_blobs
from vision.people import SURE, find_people_on_ground
from vision.quality import CameraState, JpegHeader, decode_reduced, is_black
from vision.sizing import Shape, Sizing, size_up, top_of_front_car
from vision.static_objects import Region, StaticObject, StaticObjects, halves
from vision.zones import Local, Zone, ZoneMap

STATIC_OBJECT = "detection.static_object"
MOVING_COUNT = "detection.moving_count"

#: The models work on pictures about this wide: half of 640, a quarter of 1,280.
_MODEL_WIDTH_PX = 480

#: What looks longer than this and has gaps in its outline is two cars, one behind the other.
_LONG_VEHICLE_M = 5.0
_ONE_VEHICLE_RATIO = 0.93
_CARS_APART_M = 5.5

#: Somebody with a hard shadow looks like a thing up to this long.
_PERSON_AND_SHADOW_M = 3.2

#: At a mean brightness below this people's outlines drown in the noise: they are not recognised.
_DARK_LEVEL = 60.0

#: Kinds of zone that win where zones meet.
_PREFERRED = {
    Shape.VEHICLE: ("fire_lane", "no_parking"),
    Shape.SMALL: ("pavement", "square"),
}


class VisionParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What a city may tune. All times are event time."""

    new_after_s: float = 20.0  #: shorter: cars at a red light become objects
    update_every_s: float = 10.0
    gone_after_s: float = 10.0  #: shorter: a passing lorry ends what it hides
    count_every_s: float = 10.0
    zone_tolerance_m: float = 0.5  #: about the error of a foot point 20 m away
    view_every_s: float = 0.5  #: shorter: clips are smoother and hold more
    hover_m: float = 1.0  #: a flying camera that moved this far looks at another view
    hover_deg: float = 1.0


class _Known(msgspec.Struct):
    """What the pipeline knows of a static object beyond its pixels; leaves with it."""

    sizing: Sizing | None
    zone: Zone | None
    announced: bool = False
    maybe_person: bool = False  #: told of, but not shown
    last_told_ns: int = 0
    pictured: Pictured = msgspec.field(default_factory=Pictured)


class CameraPipeline(FramePipeline):
    """Watches one camera.

    State is bounded: two models of the view, at most ``static_objects.MAX_OBJECTS`` objects,
    a counter per reason. It is evicted when an object goes and when the view changes.

    Args:
        camera_id: Whose frames these are.
        projector: Pixel to ground.
        zones: The city's zones; only things in one of them are told of.
        pose: Of a fixed camera; None for one that flies, whose frames carry it.
        parameters: What a city may tune.
    """

    def __init__(
        self,
        camera_id: str,
        projector: GroundProjector,
        zones: Sequence[Zone],
        pose: CameraPose | None,
        parameters: VisionParameters | None = None,
    ) -> None:
        super().__init__()
        self.camera_id = camera_id
        self._projector = projector
        self._zones = ZoneMap(zones)
        self._fixed_pose = pose
        self._parameters = parameters or VisionParameters()
        self._view: _View | None = None

    def _look_at(self, frame: Frame, header: JpegHeader) -> PipelineResult:
        size = (header.width_px, header.height_px)
        pose = fit_pose(self._fixed_pose or frame.pose, *size)
        if pose is None:
            return self._drop("uncalibrated", CameraState.UNCALIBRATED)
        view = self._view
        resized = view is not None and view.size_px != size
        if view is None or resized or self._moved(view.pose, pose):
            self._lose_view()
            self._view = view = _View(self.camera_id, self._zones, size, pose, self._parameters)
            if resized:
                self._count("size_changed")
            self.state = CameraState.RESIZED if resized else CameraState.LEARNING
            if self._fixed_pose is None:
                # Look only once it has stayed: most frames in flight are on the way.
                self.state = CameraState.MOVING
                return PipelineResult([], (), self.state, "")
        image = decode_reduced(frame.jpeg, view.factor)
        if image is None:
            return self._drop("undecodable", CameraState.BROKEN)
        if is_black(image):
            return self._drop("black", CameraState.BLACK)
        observations, negatives, shown = view.look(image, frame, pose, self._projector)
        if not view.learning:
            self.state = CameraState.LIVE
        elif self.state is not CameraState.RESIZED:
            self.state = CameraState.LEARNING
        for reason, count in view.refused().items():
            self._count(f"refused_{reason}", count)
        return PipelineResult(observations, negatives, self.state, view=shown)

    def _moved(self, before: CameraPose, now: CameraPose) -> bool:
        if self._fixed_pose is not None:
            return False
        nadir = Local(before.lon_deg, before.lat_deg)
        aside = nadir.to_metres(np.array([now.lon_deg]), np.array([now.lat_deg]))[0]
        step = math.hypot(*aside, now.height_agl_m - before.height_agl_m)
        turns = (
            (now.yaw_deg - before.yaw_deg + 180.0) % 360.0 - 180.0,
            now.pitch_deg - before.pitch_deg,
            now.roll_deg - before.roll_deg,
        )
        limits = self._parameters
        return step >= limits.hover_m or max(map(abs, turns)) >= limits.hover_deg

    def _lose_view(self) -> None:
        if self._view is not None and self._view.open_count:
            # Not an end: what is no longer watched may well be there still.
            self._count("lost_sight", self._view.open_count)
        self._view = None


class _View:
    """The models and objects of one camera while it looks at one view."""

    def __init__(
        self,
        camera_id: str,
        zones: ZoneMap,
        size_px: tuple[int, int],
        pose: CameraPose,
        parameters: VisionParameters,
    ) -> None:
        self.size_px = size_px
        self.pose = pose
        factor = 2
        while factor < 8 and size_px[0] / factor > _MODEL_WIDTH_PX:
            factor *= 2
        self.factor = factor if size_px[0] > _MODEL_WIDTH_PX // 2 else 1
        self._camera_id = camera_id
        self._zones = zones
        self._parameters = parameters
        self._outlines: list[tuple[Zone, NDArray[np.int32]]] | None = None
        self._background = DualBackground()
        self._statics: StaticObjects | None = None
        self._known: dict[int, _Known] = {}
        self._street_ns = 0
        self._album = Album()
        self._viewed_ns: int | None = None
        self._first_ns: int | None = None
        self._count_sum = 0
        self._count_frames = 0
        self._count_since_ns = 0

    @property
    def learning(self) -> bool:
        return self._background.learning

    @property
    def open_count(self) -> int:
        """Objects told of and not ended."""
        return sum(known.announced for known in self._known.values())

    def refused(self) -> dict[str, int]:
        """Regions that became no object since the last call, by reason."""
        if self._statics is None or not self._statics.refused:
            return {}
        refused, self._statics.refused = self._statics.refused, {}
        return refused

    def look(
        self, image: Image, frame: Frame, pose: CameraPose, projector: GroundProjector
    ) -> tuple[list[Observation], tuple[Negative, ...], Negative | None]:
        if self._first_ns is None:
            self._first_ns = self._count_since_ns = frame.time_ns
        if pose != self.pose:
            image = self._steady(image, pose, projector)
        if self._statics is None or self._statics.held.shape != image.shape[:2]:
            self._statics = StaticObjects(
                (image.shape[0], image.shape[1]),
                new_after_s=self._parameters.new_after_s,
                gone_after_s=self._parameters.gone_after_s,
            )
        statics = self._statics
        at_s = (frame.time_ns - self._first_ns) / NS_PER_S
        foreground = self._background.update(image, at_s, statics.held)
        if foreground is None:
            self._count_since_ns = frame.time_ns
            return [], (), None
        if foreground.relit or not self._street_ns:
            self._street_ns = frame.time_ns
        changes = statics.update(self._background, foreground, frame.time_ns)
        if statics.refused:
            self._street_ns = frame.time_ns
        for one in (*changes.appeared, *changes.grown):
            self._size(one, projector)

        told: list[tuple[str, int, StaticObject, _Known]] = []
        due_ns = self._parameters.update_every_s * NS_PER_S
        for one in statics.objects.values():
            known = self._known[one.number]
            if known.zone is None:
                continue
            if not known.announced:
                if self._is_person(one, known, frame, pose, projector):
                    continue
                known.maybe_person = (
                    foreground.level < _DARK_LEVEL
                    and known.sizing is not None
                    and known.sizing.length_m <= _PERSON_AND_SHADOW_M
                )
                told.append(("new", frame.time_ns - one.stopped_ns, one, known))
            # A hidden object is told of when it shows again: nobody saw it meanwhile.
            elif frame.time_ns - known.last_told_ns >= due_ns and one.seen_ns == frame.time_ns:
                told.append(("update", frame.time_ns - one.stopped_ns, one, known))
        for one in changes.gone:
            known = self._known.pop(one.number)
            if known.announced:
                told.append(("end", 0, one, known))
        observations = [
            self._tell(frame, phase, dwell_ns, one, known, foreground)
            for phase, dwell_ns, one, known in told
        ]
        moving = moving_blobs(foreground, statics.held)
        observations += self._moving(moving, frame)
        clips = tuple(
            clip_of(f"{self._camera_id}/{one.number}")
            for phase, _, one, _ in told
            if phase == "new"
        )
        pictured, viewed = self._album.wants(frame.time_ns), bool(clips) or self._view_is_due(frame)
        if not pictured and not viewed:
            return observations, (), None
        negative = self._negative(frame, pose, foreground, moving, projector)
        negatives = self._album.close(negative) if pictured else ()
        if not viewed:
            return observations, negatives, None
        self._viewed_ns = frame.time_ns
        return observations, negatives, msgspec.structs.replace(negative, clips=clips)

    def _view_is_due(self, frame: Frame) -> bool:
        due_ns = self._parameters.view_every_s * NS_PER_S
        return self._viewed_ns is None or frame.time_ns - self._viewed_ns >= due_ns

    def _evidence_numbers(self) -> set[int]:
        # What was not told of yet may still turn out to be somebody who stands there.
        return {
            number
            for number, known in self._known.items()
            if known.announced and not known.maybe_person
        }

    def _shown(self) -> tuple[Shown, ...]:
        """What stays visible: the vehicles and heaps that were told of."""
        assert self._statics is not None
        found = []
        for number in sorted(self._evidence_numbers() & self._statics.objects.keys()):
            sizing = self._known[number].sizing
            box = self._full_box(self._statics.objects[number])
            px_per_m = 0.0
            if sizing is not None and sizing.shape is Shape.VEHICLE:
                # Its picture is at most as wide as it is long: plates are rather thought larger.
                px_per_m = (box[2] - box[0]) / max(sizing.width_m, 1.0)
            found.append(Shown(box, px_per_m, self._words(number)))
        return tuple(found)

    def _words(self, number: int) -> str:
        known = self._known[number]
        what = "" if known.sizing is None else str(known.sizing.shape)
        return f"{what} {'' if known.zone is None else known.zone.kind}".strip()

    def _full_box(self, one: StaticObject) -> tuple[int, int, int, int]:
        """An object's box in pixels of the full picture."""
        left, top, right, bottom = (edge * self.factor for edge in one.box)
        return left, top, right, bottom

    def _is_person(
        self,
        one: StaticObject,
        known: _Known,
        frame: Frame,
        pose: CameraPose,
        projector: GroundProjector,
    ) -> bool:
        """Whether a small thing is somebody who stands there, perhaps with a long shadow.

        Asked once, when it would be told of, and only of its place, some milliseconds; a person
        is never told of.
        """
        if known.sizing is None or known.sizing.length_m > _PERSON_AND_SHADOW_M:
            return False
        image = decode_reduced(frame.jpeg, 1)
        if image is None:
            return False
        box = left, top, right, bottom = self._full_box(one)
        for (x0, y0, x1, y1), weight in find_people_on_ground(image, projector, pose, box):
            middle, feet = (x0 + x1) / 2.0, y1 - 0.1 * (y1 - y0)
            # As tall as its box: somebody behind a heap is taller than what is seen of both.
            tall = bottom - top >= 0.5 * (y1 - y0)
            inside = left <= middle <= right and (top + bottom) / 2.0 <= feet
            if weight >= SURE and tall and inside:
                known.sizing = known.sizing._replace(shape=Shape.PERSON)
                known.zone = None
                return True
        return False

    def _negative(
        self,
        frame: Frame,
        pose: CameraPose,
        foreground: Foreground,
        moving: Blobs,
        projector: GroundProjector,
    ) -> Negative:
        """What the pictures of this frame are made from."""
        assert self._statics is not None
        visible = self._statics.visible(self._evidence_numbers())
        # Whoever waits may hardly differ from the street in the dark.
        others = cv2.bitwise_and(self._statics.held, cv2.bitwise_not(visible))
        faint = cv2.bitwise_or(foreground.faint, others).astype(np.uint8, copy=False)
        suspects = find_suspects(faint, foreground.fast, visible)
        hovering = pose != self.pose
        return Negative(
            camera_id=self._camera_id,
            time_ns=frame.time_ns,
            jpeg=frame.jpeg,
            pose=pose,
            suspect_bits=pack_mask(suspects),
            suspect_shape=(suspects.shape[0], suspects.shape[1]),
            # The masks are those of the first pose of the view, up to a metre away.
            margin_px=4 if hovering else 0,
            shots=(),
            shown=self._shown(),
            moving=tuple(map(tuple, (moving.xyxy_px * self.factor).tolist())),
            outlines_px=tuple(self.outlines(projector)),
            street_ns=frame.time_ns if hovering else self._street_ns,
        )

    def outlines(self, projector: GroundProjector) -> list[NDArray[np.int32]]:
        if self._outlines is None:
            self._outlines = self._zones.outlines_px(projector, self.pose)
        return [line for _, line in self._outlines]

    def _size(self, one: StaticObject, projector: GroundProjector) -> None:
        known = self._known.setdefault(one.number, _Known(None, None))
        if known.announced:
            return
        known.sizing = size_up(self._outline_px(one), projector, self.pose)
        known.zone = None
        if known.sizing is not None and known.sizing.shape is Shape.VEHICLE:
            parts = self._two_cars(one, known.sizing, projector)
            assert self._statics is not None
            other = None if parts is None else self._statics.split(one, *parts)
            if other is not None:
                self._size(other, projector)
                known.sizing = size_up(self._outline_px(one), projector, self.pose)
        if known.sizing is not None and known.sizing.shape is Shape.SMALL and self._is_cut(one):
            known.sizing = known.sizing._replace(shape=Shape.OTHER)
        if known.sizing is not None and known.sizing.shape in _PREFERRED:
            known.zone = self._zones.find(
                known.sizing.lon_deg,
                known.sizing.lat_deg,
                prefer=_PREFERRED[known.sizing.shape],
                tolerance_m=self._parameters.zone_tolerance_m,
            )

    def _is_cut(self, one: StaticObject) -> bool:
        """Whether the picture's border cuts an object: it may be larger than it looks."""
        assert self._statics is not None
        height, width = self._statics.held.shape
        left, top, right, bottom = one.box
        return left <= 1 or top <= 1 or right >= width - 1 or bottom >= height - 1

    def _two_cars(
        self, one: StaticObject, sizing: Sizing, projector: GroundProjector
    ) -> tuple[Region, Region] | None:
        """The parts of what is two cars, one behind the other; None where it is one vehicle."""
        if sizing.length_m < _LONG_VEHICLE_M or one.solidity_ratio >= _ONE_VEHICLE_RATIO:
            return None
        row = top_of_front_car(self._outline_px(one), projector, self.pose)
        parts = None if row is None else halves(one, round(row / self.factor))
        if parts is None:
            return None
        front, back = (size_up(self._outline_px(part), projector, self.pose) for part in parts)
        if front is None or back is None:
            return None
        if front.shape is not Shape.VEHICLE or back.shape is not Shape.VEHICLE:
            return None
        nadir = Local(front.lon_deg, front.lat_deg)
        apart = nadir.to_metres(np.array([back.lon_deg]), np.array([back.lat_deg]))[0]
        return parts if math.hypot(*apart) >= _CARS_APART_M else None

    def _outline_px(self, one: StaticObject | Region) -> NDArray[np.float64]:
        """The convex outline of an object in pixels of the pose, shape (n, 2)."""
        points = cv2.findNonZero(one.inside.astype(np.uint8)).reshape(-1, 2)
        # The outline of the pixels' areas, not of their centres.
        corners = (points[:, None, :] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])).reshape(-1, 2)
        hull = cv2.convexHull(corners.astype(np.int32)).reshape(-1, 2).astype(np.float64)
        outline: NDArray[np.float64] = (hull + np.array(one.box[:2])) * self.factor
        return outline

    def _tell(
        self,
        frame: Frame,
        phase: str,
        dwell_ns: int,
        one: StaticObject,
        known: _Known,
        foreground: Foreground,
    ) -> Observation:
        assert known.sizing is not None
        assert known.zone is not None
        known.announced = True
        known.last_told_ns = frame.time_ns
        if known.pictured.is_due(phase, dwell_ns / NS_PER_S):
            left, top, right, bottom = one.box
            moved = foreground.fast[top:bottom, left:right][one.inside] > 0
            self._album.ask(
                known.pictured,
                self._camera_id,
                frame.time_ns,
                self._full_box(one),
                one.number,
                phase,
                clear_ratio=one.solidity_ratio * (1.0 - float(moved.mean())),
                stopped_ns=one.stopped_ns,
            )
        sizing = known.sizing
        return Observation(
            source="vision",
            thing_id=f"{self._camera_id}/{one.number}",
            kind=STATIC_OBJECT,
            observed_ns=frame.time_ns,
            received_ns=frame.time_ns,
            lon_deg=sizing.lon_deg,
            lat_deg=sizing.lat_deg,
            error_major_m=sizing.error_major_m,
            error_minor_m=sizing.error_minor_m,
            error_azimuth_deg=sizing.error_azimuth_deg,
            measures={
                "dwell_s": round(dwell_ns / NS_PER_S, 3),
                "length_m": round(sizing.length_m, 2),
                "width_m": round(sizing.width_m, 2),
                "confidence_ratio": round(min(0.99, 0.5 + 0.5 * one.solidity_ratio), 3),
            },
            labels={
                "phase": phase,
                "zone_kind": known.zone.kind,
                "zone": known.zone.zone_id,
                "camera_id": self._camera_id,
                "object": str(sizing.shape),
            },
            snapshots=known.pictured.names,
        )

    def _moving(self, moving: Blobs, frame: Frame) -> list[Observation]:
        self._count_sum += len(moving)
        self._count_frames += 1
        if frame.time_ns - self._count_since_ns < self._parameters.count_every_s * NS_PER_S:
            return []
        mean = self._count_sum / self._count_frames
        self._count_sum = self._count_frames = 0
        self._count_since_ns = frame.time_ns
        return [
            Observation(
                source="vision",
                thing_id=self._camera_id,
                kind=MOVING_COUNT,
                observed_ns=frame.time_ns,
                received_ns=frame.time_ns,
                measures={"moving_count": float(math.floor(mean + 0.5))},
                labels={"camera_id": self._camera_id},
            )
        ]

    def _steady(self, image: Image, pose: CameraPose, projector: GroundProjector) -> Image:
        """Shift a hovering camera's picture to where the first of the view was taken."""
        width, height = self.size_px
        inset = np.array([[0.2, 0.45], [0.8, 0.45], [0.8, 0.9], [0.2, 0.9]])
        corners = inset * (width, height)
        ground = projector.to_ground(corners, self.pose)
        if not ground.seen.all():
            return image
        now, before = projector.to_pixels(ground.lon_deg, ground.lat_deg, pose)
        if not before.all() or np.abs(now - corners).max() < 0.5 * self.factor:
            return image
        matrix = cv2.getPerspectiveTransform(
            (corners / self.factor).astype(np.float32), (now / self.factor).astype(np.float32)
        )
        size = (image.shape[1], image.shape[0])
        return cv2.warpPerspective(
            image,
            matrix,
            size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.uint8, copy=False)


def fit_pose(pose: CameraPose | None, width_px: int, height_px: int) -> CameraPose | None:
    """The pose for a picture of this size, or None where the shape is another.

    Example:
        >>> pose = CameraPose(lon_deg=0.0, lat_deg=0.0, height_agl_m=7.0, yaw_deg=0.0,
        ...                   pitch_deg=-25.0, hfov_deg=70.0, width_px=640, height_px=360)
        >>> fit_pose(pose, 1280, 720).width_px, fit_pose(pose, 640, 480)
        (1280, None)
    """
    if pose is None or pose.width_px <= 0 or pose.height_px <= 0:
        return None
    if (pose.width_px, pose.height_px) == (width_px, height_px):
        return pose
    if abs(pose.width_px * height_px - pose.height_px * width_px) > 0.01 * width_px * height_px:
        return None
    return msgspec.structs.replace(pose, width_px=width_px, height_px=height_px)
