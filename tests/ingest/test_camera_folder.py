"""Cameras with a file of their own in the vision process: every detector, with pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from core.frames import Frame, encode_frame
from core.ports import RawMessage
from geo.camera import FlatGroundProjector
from geo.city import City, generate_city
from ingest.camera_folder import read_camera_folder
from ingest.decoders import decode
from ingest.evidence_folder import EvidenceFolder
from ingest.frame_source import RawFrame
from ingest.pictures import PictureMaker
from ingest.vision_worker import VisionWorker
from vision.camera_file import CameraFileError
from vision.detectors.onnx_model import OnnxError
from vision.quality import CameraState

S = 1_000_000_000
EPOCH_NS = 1_767_225_600 * S
FPS = 4
SIZE = (960, 540)

CAMERA = """
zones:
  - {id: shoulder, kind: hard_shoulder, polygon_px: [[0, 360], [960, 360], [960, 520], [0, 520]]}
  - {id: lane, kind: carriageway, polygon_px: [[0, 120], [960, 120], [960, 340], [0, 340]]}
lines:
  - {id: across, from_px: [480, 540], to_px: [480, 0]}
detectors:
  moving: {min_area_px: 30}
  static: {new_after_s: 8}
  fire: {}
"""


@pytest.fixture(scope="module")
def city() -> City:
    return generate_city(7)


def folder_of(tmp_path: Path, text: str, name: str = "camera-1") -> Path:
    folder = tmp_path / "cameras"
    folder.mkdir()
    (folder / f"{name}.yaml").write_text(text)
    return folder


def pictures(seconds: int) -> Iterator[np.ndarray[Any, Any]]:
    """Cars pass from 8 s on, one stops on the shoulder from 12 to 30 s; a fire burns from 15 s."""
    random = np.random.default_rng(5)
    grey = cv2.GaussianBlur(random.integers(60, 170, (SIZE[1], SIZE[0]), np.uint8), (0, 0), 3.0)
    base = np.asarray(cv2.cvtColor(cv2.convertScaleAbs(grey, alpha=2.0, beta=-110.0), 8), np.uint8)
    for number in range(seconds * FPS):
        at_s, image = number / FPS, base.copy()
        if at_s >= 8.0:
            u = int((at_s - 8.0) * 240) % 1400 - 200
            cv2.rectangle(image, (u, 220), (u + 90, 256), (210, 210, 210), -1)
            cv2.rectangle(image, (u + 20, 226), (u + 60, 250), (30, 30, 30), -1)
        if 12.0 <= at_s < 30.0:
            cv2.rectangle(image, (400, 420), (490, 456), (40, 40, 190), -1)
            cv2.rectangle(image, (420, 426), (460, 450), (30, 30, 30), -1)
        if at_s >= 15.0:
            for _ in range(14):
                x, y = random.integers(700, 740), random.integers(30, 90)
                colour = (20, int(random.integers(120, 190)), int(random.integers(220, 255)))
                cv2.circle(image, (int(x), int(y)), int(random.integers(5, 14)), colour, -1)
        noise = random.integers(0, 7, image.shape, np.uint8)
        yield np.asarray(cv2.add(image, noise), np.uint8)


def test_a_camera_with_a_file_is_watched_for_what_it_asks(tmp_path: Path, city: City):
    published: list[bytes] = []

    def publish(_topic: str, payload: bytes) -> bool:
        published.append(payload)
        return True

    shots = tmp_path / "snapshots"
    maker = PictureMaker(EvidenceFolder(shots), FlatGroundProjector())
    cameras = read_camera_folder(folder_of(tmp_path, CAMERA), city)
    worker = VisionWorker(city, publish, maker, cameras=cameras)
    for number, image in enumerate(pictures(48)):
        jpeg = cv2.imencode(".jpg", image)[1].tobytes()
        frame = Frame(
            camera_id="camera-1",
            time_ns=EPOCH_NS + number * S // FPS,
            width_px=SIZE[0],
            height_px=SIZE[1],
            jpeg=jpeg,
        )
        result = worker.handle(RawFrame("camera-1", encode_frame(frame), 0))
        assert result is not None
        assert result.dropped == ""
    for payload in published:
        for name in json.loads(payload).get("snapshots", ()):
            assert (shots / name).is_file()
    assert result.state is CameraState.LIVE
    assert worker.rejected == {}
    # All that it says is taken in as any sensor's words are.
    told = [
        one
        for payload in published
        for one in decode(
            RawMessage(
                topic="qn/x/detection/camera-1", payload=payload, received_ns=EPOCH_NS + 60 * S
            )
        )
    ]
    phases = {
        kind: [one.labels["phase"] for one in told if one.kind == kind]
        for kind in ("detection.static_object", "detection.flame")
    }
    assert phases["detection.static_object"] == ["new", "update", "end"]
    assert phases["detection.flame"][0] == "new"
    assert set(phases["detection.flame"][1:]) == {"update"}
    static = next(one for one in told if one.kind == "detection.static_object")
    assert static.labels["zone"] == "shoulder"
    assert static.lon_deg is not None
    before, now = (cv2.imread(str(shots / name)) for name in static.snapshots)
    red = np.array((40, 40, 190))
    shown = np.s_[445:453, 470:484]
    assert np.abs(now[shown].astype(int) - red).max() < 30
    assert np.abs(before[shown].astype(int) - red).max() > 60
    counted = [one.measures for one in told if one.kind == "detection.line_count"]
    # One each 5.8 s from the eleventh second on; what crossed after the fortieth is not told yet.
    assert sum(one["in_count"] + one["out_count"] for one in counted) == 6
    assert {one.kind for one in told} >= {"detection.traffic", "detection.moving_count"}
    assert all(one.labels["camera_id"] == "camera-1" for one in told)


def test_frames_that_cannot_be_used_are_counted_and_never_raise(tmp_path: Path, city: City):
    maker = PictureMaker(EvidenceFolder(tmp_path / "snapshots"), FlatGroundProjector())
    cameras = read_camera_folder(folder_of(tmp_path, CAMERA), city)
    worker = VisionWorker(city, lambda *_: True, maker, cameras=cameras)
    random = np.random.default_rng(3)
    good = cv2.imencode(".jpg", next(pictures(1)))[1].tobytes()
    black = cv2.imencode(".jpg", np.zeros((540, 960, 3), np.uint8))[1].tobytes()
    states = []
    for number, jpeg in enumerate([good, good[:-40], b"", black, good, *[good] * 30]):
        bad = bytearray(jpeg)
        if number > 10:
            for place in random.integers(0, len(bad), 40):
                bad[place] = int(random.integers(256))
        frame = Frame(
            camera_id="camera-1", time_ns=EPOCH_NS + number * S, width_px=960, height_px=540,
            jpeg=bytes(bad),
        )  # fmt: skip
        result = worker.handle(RawFrame("camera-1", encode_frame(frame), 0))
        assert result is not None
        states.append(result.state)
    assert states[:4] == [
        CameraState.LEARNING,
        CameraState.BROKEN,
        CameraState.BROKEN,
        CameraState.BLACK,
    ]


def test_a_file_of_no_camera_and_a_missing_model_are_said_at_the_start(tmp_path: Path, city: City):
    with pytest.raises(CameraFileError, match="the city has no camera 'gate'; it has camera-1"):
        read_camera_folder(folder_of(tmp_path, CAMERA, "gate"), city)
    (tmp_path / "cameras" / "gate.yaml").unlink()
    (tmp_path / "cameras" / "camera-2.yaml").write_text(
        "detectors: {onnx: {model: absent.onnx, classes: {0: person}}}"
    )
    cameras = read_camera_folder(tmp_path / "cameras", city)
    maker = PictureMaker(EvidenceFolder(tmp_path / "snapshots"), FlatGroundProjector())
    with pytest.raises(OnnxError, match=r"absent\.onnx"):
        VisionWorker(city, lambda *_: True, maker, cameras=cameras)
    with pytest.raises(CameraFileError, match="a folder of camera files was wanted"):
        read_camera_folder(tmp_path / "nowhere", city)
    assert read_camera_folder(None, city) == {}
