"""The vision process: frames in from MQTT, detections and the state of cameras out.

A detection is published at once; the pictures that it names are made beside and follow.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import msgspec
import shapely
from paho.mqtt.client import Client, ConnectFlags
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from core.city import CameraPose, LayerRole
from core.clock import Clock
from core.errors import DecodeError
from core.frames import decode_frame
from core.observations import Observation
from core.settings import Settings
from core.stopping import stopping_on_signals
from core.topics import detection_topic
from core.units import NS_PER_S, ns_to_rfc3339
from geo.camera import FlatGroundProjector
from geo.city import City
from ingest.broker import BrokerAddress
from ingest.camera_folder import read_camera_folder
from ingest.evidence_folder import evidence_folder
from ingest.frame_source import FrameRings, FrameSource, RawFrame, build_client, leave
from ingest.opinion_desk import OpinionDesk
from ingest.pictures import PictureMaker, Pictures, PictureThread
from ingest.second_opinion import SecondOpinion
from ingest.video.camera_ground import watch_of
from vision.camera_file import CameraFile
from vision.configured import ConfiguredCamera
from vision.frame_pipeline import FramePipeline, PipelineResult
from vision.pipeline import CameraPipeline
from vision.quality import CameraState
from vision.zones import Zone

_LOG = logging.getLogger(__name__)

#: Detections that may wait for an absent broker, some 500 B each; more are dropped and counted.
MAX_QUEUED = 10_000

_STATUS_EVERY_S = 1.0
_NAP_S = 0.2
_FLUSH_S = 0.3
_KEEPALIVE_S = 15

#: A camera that is silent for so long in city time, and for so many of its periods, is late.
_LATE_S, _LATE_PERIODS = 10.0, 5.0
_STALE_S = 60.0

#: States in which frames come but do not show what is there.
_LYING = {
    CameraState.FROZEN,
    CameraState.BLACK,
    CameraState.BROKEN,
    CameraState.UNCALIBRATED,
    CameraState.OVEREXPOSED,
    CameraState.BLURRED,
    CameraState.MOVED,
}


def zones_of(city: City) -> list[Zone]:
    """The city's zones as vision wants them: one per polygon, holes left out."""
    zones: list[Zone] = []
    for layer in city.layers_of(LayerRole.ZONE):
        rows = zip(layer.geometries, layer.column("feature_id"), layer.column("kind"), strict=True)
        for geometry, zone_id, kind in rows:
            for part in shapely.get_parts(geometry):
                if part.geom_type != "Polygon" or part.is_empty:
                    continue
                ring = shapely.get_coordinates(part.exterior)[:-1].tolist()
                zones.append(
                    Zone(
                        zone_id=str(zone_id),
                        kind=str(kind),
                        ring=tuple((lon, lat) for lon, lat in ring),
                    )
                )
    return zones


def detection_json(one: Observation) -> bytes:
    """A detection as plain JSON, the format of any sensor.

    Example:
        >>> detection_json(Observation(source="vision", thing_id="c/1", kind="k", observed_ns=0,
        ...                            received_ns=0, measures={"dwell_s": 21.0}))
        b'{"thing":"c/1","kind":"k","time":"1970-01-01T00:00:00.000Z","measures":{"dwell_s":21.0}}'
    """
    body: dict[str, Any] = {
        "thing": one.thing_id,
        "kind": one.kind,
        "time": ns_to_rfc3339(one.observed_ns),
    }
    if one.lon_deg is not None and one.lat_deg is not None:
        body["lon"], body["lat"] = round(one.lon_deg, 8), round(one.lat_deg, 8)
    if one.error_major_m is not None and one.error_minor_m is not None:
        body["error"] = {
            "major_m": round(one.error_major_m, 2),
            "minor_m": round(one.error_minor_m, 2),
            "azimuth_deg": round(one.error_azimuth_deg or 0.0, 1),
        }
    body["measures"] = one.measures
    if one.labels:
        body["labels"] = one.labels
    if one.snapshots:
        body["snapshots"] = one.snapshots
    return msgspec.json.encode(body)


class _Watch(msgspec.Struct):
    """One camera as the worker sees it; stays as long as the city has the camera."""

    pipeline: FramePipeline
    frames: int = 0
    last_frame_ns: int = 0
    pose: CameraPose | None = None
    period_s: float = 0.0
    frames_told: int = 0
    drops_told: int = 0
    fps: float = 0.0


class VisionWorker:
    """Runs the pipelines of a city's cameras; one thread.

    Args:
        city: Its cameras and zones.
        publish: Takes topic and payload of a detection; says whether it was taken.
        pictures: Makes the evidence.
        opinions: Seeks second opinions on it; nobody is asked without.
        cameras: Files of the cameras that are watched for what they ask; the others are
            watched for what stands in the city's zones.

    Raises:
        QingniaoError: Something that a camera's file names cannot be read.
    """

    def __init__(
        self,
        city: City,
        publish: Callable[[str, bytes], bool],
        pictures: Pictures,
        opinions: OpinionDesk | None = None,
        cameras: Mapping[str, CameraFile] | None = None,
    ) -> None:
        self._rejected: dict[str, int] = {}
        self._city = city
        self._publish = publish
        self._pictures = pictures
        self._opinions = opinions
        self._zones = zones_of(city)
        self._projector = FlatGroundProjector()
        # Models and pictures are read now: what is missing is said at the start.
        self._watches = {
            camera_id: _Watch(ConfiguredCamera(file, city.cameras[camera_id].pose, watch_of))
            for camera_id, file in (cameras or {}).items()
        }

    @property
    def rejected(self) -> dict[str, int]:
        """Frames, detections and pictures that came to nothing, by reason."""
        return self._rejected | self._pictures.rejected

    def handle(self, raw: RawFrame) -> PipelineResult | None:
        """Look at one frame, publish its detections, have its pictures made.

        Returns:
            What the pipeline made of it, or None where the frame was rejected.
        """
        camera = self._city.cameras.get(raw.camera_id)
        if camera is None:
            self._reject("unknown_camera")
            return None
        try:
            frame = decode_frame(raw.payload)
        except DecodeError as error:
            self._reject(error.reason)
            return None
        if frame.camera_id != raw.camera_id:
            self._reject("wrong_camera")
            return None
        watch = self._watches.get(raw.camera_id)
        if watch is None:
            pipeline = CameraPipeline(raw.camera_id, self._projector, self._zones, camera.pose)
            watch = self._watches[raw.camera_id] = _Watch(pipeline)
        result = watch.pipeline.process(frame)
        watch.frames += 1
        if frame.time_ns > watch.last_frame_ns:
            if watch.last_frame_ns:
                step_s = (frame.time_ns - watch.last_frame_ns) / NS_PER_S
                watch.period_s += 0.1 * (min(step_s, _STALE_S) - watch.period_s)
            watch.last_frame_ns = frame.time_ns
            watch.pose = frame.pose
        for one in result.observations:
            told = one if self._opinions is None else self._opinions.told(one)
            self._tell(raw.camera_id, told)
        for negative in result.negatives:
            self._pictures.take(negative)
        if result.view is not None:
            self._pictures.see(result.view)
        if self._opinions is not None:
            seen_ns = {name: watch.last_frame_ns for name, watch in self._watches.items()}
            for one in self._opinions.follow_ups(seen_ns):
                self._tell(one.labels["camera_id"], one)
        return result

    def status(self, now_ns: int, since_last_s: float, drops: dict[str, int]) -> dict[str, Any]:
        """What may be said of each camera now.

        Args:
            now_ns: City time.
            since_last_s: Wall seconds since the last status, for frames a second.
            drops: Frames that the rings dropped since the beginning, by camera; the share of
                those since the last status is told as ``skipped_ratio``.
        """
        cameras: dict[str, Any] = {}
        for camera_id, watch in self._watches.items():
            dropped = drops.get(camera_id, 0)
            live = self._pictures.live.get(camera_id)
            looked, skipped = watch.frames - watch.frames_told, dropped - watch.drops_told
            if since_last_s > 0.0:
                watch.fps = looked / since_last_s
            watch.frames_told, watch.drops_told = watch.frames, dropped
            state = watch.pipeline.state
            cameras[camera_id] = {
                "state": self._state(watch, now_ns),
                "quality": "good" if state is CameraState.LIVE else str(state),
                "last_frame_ns": watch.last_frame_ns,
                "frames": watch.frames,
                "drops": dropped,
                "skipped_ratio": round(skipped / max(1, skipped + looked), 3),
                "fps": round(watch.fps, 2),
                "snapshot": self._pictures.newest.get(camera_id),
                "live": None if live is None else live._asdict(),
                # Of a camera that flies; that of a fixed one is in the city.
                "pose": watch.pose if self._city.cameras[camera_id].pose is None else None,
                "reasons": dict(watch.pipeline.counts),
            }
        for camera_id in self._city.cameras:
            if camera_id not in cameras:
                cameras[camera_id] = {"state": "stale", "frames": 0, "drops": 0, "fps": 0.0}
        return {
            "time": ns_to_rfc3339(now_ns),
            "cameras": cameras,
            "rejected": self.rejected,
            "opinions": {} if self._opinions is None else dict(self._opinions.counts),
        }

    @staticmethod
    def _state(watch: _Watch, now_ns: int) -> str:
        age_s = (now_ns - watch.last_frame_ns) / NS_PER_S
        if age_s > max(_STALE_S, _LATE_PERIODS * watch.period_s):
            return "stale"
        if age_s > max(_LATE_S, _LATE_PERIODS * watch.period_s):
            return "late"
        return "lying" if watch.pipeline.state in _LYING else "live"

    def _tell(self, camera_id: str, one: Observation) -> None:
        if not self._publish(detection_topic(self._city.name, camera_id), detection_json(one)):
            self._reject("detection_not_published")

    def _reject(self, reason: str) -> None:
        self._rejected[reason] = self._rejected.get(reason, 0) + 1


class DetectionPublisher:
    """Publishes detections with QoS 1; keeps a bounded number while the broker is away.

    Args:
        address: The broker and who we are there.
    """

    def __init__(self, address: BrokerAddress) -> None:
        self._address = address
        self._client = build_client(address, f"qingniao-vision-{secrets.token_hex(4)}")
        self._client.max_queued_messages_set(MAX_QUEUED)
        self._client.on_connect = self._on_connect

    def start(self) -> None:
        """Connect in the background; a lost or absent broker is tried again."""
        self._client.connect_async(self._address.host, self._address.port, _KEEPALIVE_S)
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes) -> bool:
        """Hand a detection over; False when too many wait already."""
        info = self._client.publish(topic, payload, qos=1)
        return info.rc in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN)

    def tell(self, topic: str, payload: bytes) -> None:
        """Publish a status, QoS 0: when the broker is away it is lost, the next one follows."""
        if self._client.is_connected():
            self._client.publish(topic, payload, qos=0)

    def stop(self) -> None:
        """Give the broker a moment to take what is on its way, then disconnect."""
        until_s = time.monotonic() + _FLUSH_S
        while self._client.is_connected() and time.monotonic() < until_s:
            if not self._client.want_write() and not self._waiting():
                break
            time.sleep(0.01)
        leave(self._client)

    def _waiting(self) -> bool:
        return bool(self._client._out_messages)  # paho has no public way to ask

    @staticmethod
    def _on_connect(
        _client: Client,
        _userdata: Any,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            _LOG.warning("detections: broker refused us: %s", reason)


def status_topic(city: str) -> str:
    """Topic on which the worker tells the state of cameras once a second.

    Example:
        >>> status_topic("qingdao")
        'qn/qingdao/vision-status'
    """
    return f"qn/{city}/vision-status"


def run_vision_worker(
    settings: Settings,
    city: City,
    *,
    broker: BrokerAddress,
    clock: Clock,
    stop: threading.Event | None = None,
) -> None:
    """Run vision until told to stop: the process's main, or a thread's.

    Args:
        settings: Where evidence pictures go.
        city: Its cameras and zones.
        broker: Where frames come from and detections go to; may come and go.
        clock: City time, for the age of frames only; detections bear their frame's time.
        stop: Set from elsewhere to end; SIGTERM and SIGINT do the same where this runs in the
            main thread. It then returns within a second.
    """
    stop = stop or threading.Event()
    # One core per process: more pictures at once come from more processes.
    cv2.setNumThreads(1)
    rings = FrameRings()
    source = FrameSource(broker, rings)
    publisher = DetectionPublisher(broker)
    folder = evidence_folder(settings)
    asker = opinions = None
    if settings.opinion.url:
        asker = SecondOpinion(settings.opinion)
        opinions = OpinionDesk(asker, settings.opinion.below_ratio)
    made = None if opinions is None else opinions.pictured
    pictures = PictureThread(PictureMaker(folder, FlatGroundProjector(), made))
    worker = VisionWorker(
        city, publisher.publish, pictures, opinions, read_camera_folder(settings.cameras, city)
    )
    with stopping_on_signals(stop):
        publisher.start()
        source.start()
        try:
            told_s = time.monotonic()
            while not stop.is_set():
                raw = rings.take(_NAP_S)
                if raw is not None:
                    worker.handle(raw)
                now_s = time.monotonic()
                if now_s - told_s >= _STATUS_EVERY_S:
                    status = worker.status(clock.now_ns(), now_s - told_s, dict(rings.drops))
                    status["rejected"] |= rings.refused
                    status["watching"] = source.subscribed
                    status["evidence"] = {"bytes": folder.byte_count, "evicted": folder.evicted}
                    publisher.tell(status_topic(city.name), msgspec.json.encode(status))
                    told_s = now_s
        finally:
            source.stop()
            pictures.stop()
            if asker is not None:
                asker.stop()
            publisher.stop()
