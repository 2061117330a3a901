"""Real pictures: nobody rendered these to fit."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from core.city import CameraPose
from core.frames import Frame
from geo.camera import FlatGroundProjector
from vision.pipeline import MOVING_COUNT, STATIC_OBJECT, CameraPipeline
from vision.zones import Zone

S = 1_000_000_000
EVERYWHERE = Zone(
    zone_id="z",
    kind="no_parking",
    ring=((119.9, 35.9), (120.1, 35.9), (120.1, 36.1), (119.9, 36.1)),
)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "every"), [("intel/car-detection.mp4", 4), ("bgslibrary/video.avi", 10)]
)
def test_a_real_recording(realdata: Path, name: str, every: int):
    path = realdata / "video" / name
    if not path.is_file():
        pytest.skip(f"no recording {path}")
    video = cv2.VideoCapture(str(path))
    pipeline, said, number = None, [], 0
    while True:
        taken, image = video.read()
        if not taken:
            break
        number += 1
        if number % every:
            continue
        height, width = image.shape[:2]
        if pipeline is None:
            pose = CameraPose(
                lon_deg=120.0,
                lat_deg=36.0,
                height_agl_m=7.0,
                yaw_deg=0.0,
                pitch_deg=-30.0,
                hfov_deg=60.0,
                width_px=width,
                height_px=height,
            )
            pipeline = CameraPipeline("c", FlatGroundProjector(), [EVERYWHERE], pose)
        jpeg = cv2.imencode(".jpg", image)[1].tobytes()
        frame = Frame(
            camera_id="c", time_ns=number * S // 4, width_px=width, height_px=height, jpeg=jpeg
        )
        said += pipeline.process(frame).observations
    video.release()
    assert pipeline is not None
    assert not {"failed", "undecodable", "truncated_jpeg"} & pipeline.counts.keys()
    counts = [one.measures["moving_count"] for one in said if one.kind == MOVING_COUNT]
    assert max(counts) >= 1.0
    # Cars only pass in both.
    assert [one for one in said if one.labels.get("object") == "vehicle"] == []
    assert len({one.thing_id for one in said if one.kind == STATIC_OBJECT}) <= 1
