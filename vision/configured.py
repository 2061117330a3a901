"""A camera with a file of its own: from frames to what its detectors say, and their pictures."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.city import CameraPose
from core.frames import Frame
from core.observations import Observation
from core.snapshots import clip_of
from core.units import NS_PER_S
from vision.album import Album, Pictured
from vision.blur import encode_jpeg
from vision.camera_file import CameraFile
from vision.darkroom import Box, Negative, Shown, pack_mask
from vision.detectors.protocol import Sighting
from vision.detectors.static import STATIC_OBJECT
from vision.events import Event
from vision.frame_pipeline import FramePipeline, PipelineResult
from vision.pipeline import VisionParameters, fit_pose
from vision.quality import CameraState, JpegHeader, decode_reduced
from vision.watch import CameraWatch, Look

#: A JPEG is decoded as small as this allows, unless a detector looks at it in full size.
_FACTORS = (8, 4, 2)

_VEHICLE_WIDTH_M = 1.8

#: The live picture is made this often, as of other cameras.
_VIEW_EVERY_S = VisionParameters().view_every_s


class ConfiguredCamera(FramePipeline):
    """Watches one camera as its file asks, frame by frame.

    State is that of the watch, an album, and a name of pictures for each open event.

    Args:
        camera: Its file.
        pose: Of a fixed camera, where the file has none.
        make_watch: Makes the watch over a camera's file.
    """

    def __init__(
        self,
        camera: CameraFile,
        pose: CameraPose | None,
        make_watch: Callable[[CameraFile], CameraWatch],
    ) -> None:
        if camera.pose is None and camera.ground is None:
            camera = msgspec.structs.replace(camera, pose=pose)
        super().__init__()
        self._camera = camera
        self._make_watch = make_watch
        self._watch: CameraWatch | None = None
        self._factor = 1
        self._album = Album()
        self._pictured: dict[int, Pictured] = {}
        self._outlines_px: tuple[NDArray[np.int32], ...] = ()
        self._street_ns = self._viewed_ns = 0
        # What the camera's file is read for must be there when the process starts, not later.
        make_watch(camera)

    def _look_at(self, frame: Frame, header: JpegHeader) -> PipelineResult:
        if self._watch is None:
            self._begin(header, frame.time_ns)
        assert self._watch is not None
        image = decode_reduced(frame.jpeg, self._factor)
        if image is None:
            return self._drop("undecodable", CameraState.BROKEN)
        pose = frame.pose if self._camera.ground is None else None
        look = self._watch.look(image, frame.time_ns, pose)
        if not look.state.can_be_used:
            return self._drop(str(look.state), CameraState(str(look.state)))
        self.state = CameraState.LEARNING if look.learning else CameraState(str(look.state))
        # The observations of events come first, those of readings after them.
        told = [
            self._with_pictures(*pair) for pair in zip(look.observations, look.events, strict=False)
        ]
        clips = tuple(
            clip_of(one.thing_id)
            for one, event in zip(told, look.events, strict=True)
            if event.phase == "new"
        )
        result = PipelineResult([*told, *look.observations[len(told) :]], (), self.state)
        pictured = self._album.wants(frame.time_ns)
        viewed = bool(clips) or frame.time_ns - self._viewed_ns >= _VIEW_EVERY_S * NS_PER_S
        if not pictured and not viewed:
            return result
        negative = self._negative(frame, look)
        if pictured:
            result = result._replace(negatives=self._album.close(negative))
        if viewed:
            self._viewed_ns = frame.time_ns
            result = result._replace(view=msgspec.structs.replace(negative, clips=clips))
        return result

    def _begin(self, header: JpegHeader, time_ns: int) -> None:
        """Make the watch: only now the size is known that the file's pixels are of."""
        camera, size = self._camera, (header.width_px, header.height_px)
        if camera.size_px is None:
            camera = msgspec.structs.replace(camera, size_px=size)
        if camera.detectors.onnx is None and not camera.detectors.gauges and not camera.is_steadied:
            least = camera.analysis_width_px
            self._factor = next((one for one in _FACTORS if size[0] >= one * least), 1)
        self._street_ns = time_ns
        self._camera, self._watch = camera, self._make_watch(camera)
        assert camera.size_px is not None
        scale = np.array(size) / np.array(camera.size_px)
        self._outlines_px = tuple(
            np.rint(np.array([*zone.polygon_px, zone.polygon_px[0]]) * scale).astype(np.int32)
            for zone in camera.zones
        )

    def _with_pictures(self, one: Observation, event: Event) -> Observation:
        """The observation of an event with the names of its pictures."""
        pictured = self._pictured.setdefault(event.number, Pictured())
        if pictured.is_due(event.phase, event.dwell_s):
            self._album.ask(
                pictured,
                self._camera.id,
                one.observed_ns,
                self._full(event.sighting.xyxy),
                event.number,
                event.phase,
                clear_ratio=event.score_ratio,
                stopped_ns=event.since_ns,
            )
        if event.phase == "end":
            del self._pictured[event.number]
        return msgspec.structs.replace(one, snapshots=pictured.names)

    def _negative(self, frame: Frame, look: Look) -> Negative:
        assert self._watch is not None
        pose = None if self._camera.ground is not None else frame.pose or self._camera.pose
        suspects = self._watch.suspects()
        moving = np.rint(look.tracks.xyxy_px[list(look.moving)] * self._factor).astype(int)
        return Negative(
            camera_id=self._camera.id,
            time_ns=frame.time_ns,
            jpeg=encode_jpeg(look.image) if self._camera.is_steadied else frame.jpeg,
            pose=fit_pose(pose, frame.width_px, frame.height_px),
            suspect_bits=pack_mask(suspects),
            suspect_shape=(suspects.shape[0], suspects.shape[1]),
            shots=(),
            shown=tuple(
                self._shown(sighting) for _, sighting in look.open if sighting.kind == STATIC_OBJECT
            ),
            moving=tuple(map(tuple, moving.tolist())),
            outlines_px=self._outlines_px,
            street_ns=self._street_ns,
        )

    def _shown(self, sighting: Sighting) -> Shown:
        box = self._full(sighting.xyxy)
        words = f"{sighting.what} {sighting.labels.get('zone_kind', '')}".strip()
        if sighting.what == "small":
            return Shown(box, 0.0, words)
        # Of unknown size it may be a vehicle; plates are rather thought larger than smaller.
        width_m = sighting.measures.get("width_m", _VEHICLE_WIDTH_M)
        return Shown(box, (box[2] - box[0]) / max(width_m, _VEHICLE_WIDTH_M), words)

    def _full(self, xyxy: tuple[float, float, float, float]) -> Box:
        left, top, right, bottom = (round(edge * self._factor) for edge in xyxy)
        return left, top, right, bottom
