"""The pictures on the disk show nobody: whoever walks, waits or was there from the beginning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from core.frames import encode_frame
from geo.camera import FlatGroundProjector
from ingest.evidence_folder import EvidenceFolder
from ingest.frame_source import RawFrame
from ingest.pictures import PictureMaker
from ingest.vision_worker import VisionWorker
from vision.blur import blur
from vision.clip_ring import Clip
from vision.darkroom import Negative
from vision.plates import mark_plates

S = 1_000_000_000

#: Fewer pixels than this show nobody; the caption covers the picture's foot.
_LEAST_PX = 60
_CAPTION_PX = 335


def detail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), 3), np.float32)


def kept(original: NDArray[np.uint8], stored: NDArray[np.uint8], where: Any) -> float:
    """How much of the original's detail the stored picture has: 1 all, 0 none."""
    before, after = detail(original)[where], detail(stored)[where]
    return float((before * after).sum() / max(float((before * before).sum()), 1e-6))


def drawn_over(negative: Negative, differs: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where boxes and numbers are drawn: they are detail, but nobody's."""
    drawn = np.zeros(differs.shape, np.uint8)
    for left, top, right, bottom in negative.moving:
        cv2.rectangle(drawn, (left, top), (right - 1, bottom - 1), 1, 7)
        cv2.rectangle(drawn, (left - 2, top - 14), (left + 40, top), 1, -1)
    for one in negative.shown:
        cv2.rectangle(drawn, one.box[:2], one.box[2:], 1, 9)
        cv2.rectangle(drawn, (one.box[0], one.box[1] - 22), (one.box[0] + 130, one.box[1]), 1, -1)
    return drawn > 0


@pytest.mark.parametrize("weather", ["clear", "sun", "rain", "fog", "shake", "night"])
@pytest.mark.parametrize("camera", ["street", "lane"])
def test_no_person_is_sharp_in_the_files_on_the_disk(
    request: Any, camera: str, weather: str, tmp_path: Path
):
    street = request.getfixturevalue(camera)
    car = street.stays(
        "car", "no_parking" if camera == "street" else "fire_lane", share=0.5, from_s=20, to_s=300
    )
    waiting = [
        street.stays("person", "pavement", share=0.3, from_s=-30, to_s=400),  # part of the street
        street.stays("person", "pavement", share=0.6, from_s=25, to_s=400),
    ]
    actors = [*street.traffic, car, *waiting]

    everybody = street.simulator(actors, weather)
    nobody = street.simulator([one for one in actors if one.kind != "person"], weather)
    maker = PictureMaker(EvidenceFolder(tmp_path), FlatGroundProjector())
    worker = VisionWorker(street.city, lambda _topic, _payload: True, maker)
    pictured: list[tuple[str, int, Any]] = []
    clips: dict[str, tuple[int, ...]] = {}
    negatives: dict[int, Negative] = {}
    make_clip = maker.make_clip

    def note_clip(clip: Clip) -> None:
        make_clip(clip)
        clips[clip.name] = tuple(one.time_ns for one in clip.frames)

    maker.make_clip = note_clip  # type: ignore[method-assign]
    for second in range(110):
        frame = everybody.frame(street.EPOCH_NS + second * S)
        result = worker.handle(RawFrame(street.camera.camera_id, encode_frame(frame), second))
        if result is None or result.view is None:
            continue
        negatives[frame.time_ns] = result.view
        if second % 9 == 0:
            maker.make_live([result.view])
            live = cv2.imread(str(tmp_path / street.camera.camera_id / "live.jpg"))
            pictured.append((f"live at {second}", frame.time_ns, live))
    assert worker.rejected == {}

    files = sorted(tmp_path.rglob("[0-9]*.jpg"))
    assert files
    assert clips
    for file in files:
        time_ns = int(file.name.split("-")[0]) * 1_000_000
        pictured.append((file.name, time_ns, cv2.imread(str(file))))
    for name, times_ns in clips.items():
        video = cv2.VideoCapture(str(tmp_path / name))
        pictured += [(name, time_ns, video.read()[1]) for time_ns in times_ns]
        assert not video.read()[0]
    people = 0
    for name, time_ns, stored in pictured:
        assert stored is not None, name
        original, empty = everybody.picture(time_ns), nobody.picture(time_ns)
        differs = cv2.absdiff(original, empty).max(axis=2) > 14
        if time_ns in negatives:
            differs &= ~drawn_over(negatives[time_ns], differs)
        for actor, (left, top, right, bottom) in everybody.boxes(time_ns):
            shown = np.zeros_like(differs)
            shown[top:bottom, left:right] = differs[top:bottom, left:right]
            if actor.kind != "person" or shown.sum() < _LEAST_PX or bottom > _CAPTION_PX:
                continue
            people += 1
            assert kept(original, stored, shown) < 0.3, (name, (left, top, right, bottom))
    assert people >= len(pictured) or weather in ("night", "shake")


@pytest.mark.parametrize("weather", ["night", "wet-night"])
def test_who_waits_in_the_dark_is_not_shown_even_if_taken_for_a_thing(street: Any, weather: str):
    car = street.stays("car", "no_parking", share=0.5, from_s=20, to_s=300)
    person = street.stays("person", "pavement", share=0.3, from_s=20, to_s=300)
    seen = street.watch([car, person], 80, weather=weather)
    assert len(seen.snapshots) >= 2
    simulator = street.simulator([car, person], weather)
    for name, jpeg in seen.snapshots.items():
        time_ns = int(name.rpartition("/")[2].split("-")[0]) * 1_000_000
        stored = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        for actor, (left, top, right, bottom) in simulator.boxes(time_ns):
            # Away from the box that is drawn round it where it was taken for a thing.
            where = np.s_[top + 4 : bottom - 4, left + 4 : right - 4]
            if actor is person:
                assert kept(simulator.picture(time_ns), stored, where) < 0.3, name


@pytest.mark.parametrize("plate_px", [24, 40, 80, 130])
@pytest.mark.parametrize(
    ("paint", "ground", "ink"),
    [
        ((60, 60, 62), (160, 70, 20), (250, 250, 250)),
        ((220, 220, 222), (120, 200, 140), (20, 20, 20)),
        ((40, 40, 160), (40, 190, 230), (15, 15, 15)),
    ],
    ids=["blue", "green", "yellow"],
)
def test_a_plate_is_blurred_and_the_vehicle_is_not(
    plate_px: int, paint: Any, ground: Any, ink: Any
):
    px_per_m = plate_px / 0.44
    width, height = round(1.8 * px_per_m), round(1.5 * px_per_m)
    image = np.full((height + 40, width + 40, 3), (92, 90, 88), np.uint8)
    image[20 : 20 + height, 20 : 20 + width] = paint
    image[20 + height // 8 : 20 + height // 3, 20 + width // 6 : 20 + 5 * width // 6] = (70, 60, 50)
    tall = max(6, round(0.14 * px_per_m))
    top, left = 20 + round(0.7 * height), 20 + (width - plate_px) // 2
    plate = np.full((140, 440, 3), ground, np.uint8)
    cv2.putText(plate, "B A12345", (15, 105), cv2.FONT_HERSHEY_SIMPLEX, 2.7, ink, 9, cv2.LINE_AA)
    image[top : top + tall, left : left + plate_px] = cv2.resize(
        plate, (plate_px, tall), interpolation=cv2.INTER_AREA
    )
    mask = mark_plates(image, (20, 20, 20 + width, 20 + height), px_per_m)
    where = np.s_[top : top + tall, left : left + plate_px]
    assert (mask[where] > 0).mean() > 0.97
    assert kept(image, blur(image, mask), where) < 0.3
    assert (mask > 0).mean() < 0.5


def test_a_plate_too_small_to_be_read_marks_nothing():
    noise = np.random.default_rng(1).integers(0, 255, (60, 90, 3)).astype(np.uint8)
    assert not mark_plates(noise, (5, 5, 80, 50), 20.0).any()
