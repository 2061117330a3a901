"""``qingniao vision run`` on real clips: counts, the drawn video, what is written."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from cli import app
from core.units import rfc3339_to_ns


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["vision", "run", *words], env={"COLUMNS": "160"})
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "line", "least", "most"),
    [
        # Counted from slit pictures: the row of the line of every second picture, one below the
        # other, in which each vehicle is one streak. 27 whole streaks, and one that the end of
        # the clip cuts.
        ("bgslibrary/video03.avi", "from_px: [320, 120], to_px: [60, 120]", 26, 28),
        # Likewise, every picture, row 216: 4 cars, two each way.
        ("intel/car-detection.mp4", "from_px: [0, 216], to_px: [768, 216]", 4, 4),
    ],
)
def test_counts_on_real_clips_are_those_of_a_person(
    realdata: Path, tmp_path: Path, name: str, line: str, least: int, most: int
):
    clip = realdata / "video" / name
    if not clip.is_file():
        pytest.skip(f"no recording {clip}")
    camera = tmp_path / "camera.yaml"
    # Impatient, so that a wrong word would be said before the clip ends; the car park's camera
    # settles by some pixels, and the lines on its ground with it.
    camera.write_text(
        f"id: c\nlines:\n  - {{id: all, {line}}}\n"
        "detectors: {moving: {}, static: {new_after_s: 8}, fire: {}}\n"
    )
    events = tmp_path / "events.jsonl"
    output = run(str(clip), "--camera", str(camera), "--events", str(events))
    told = [json.loads(text) for text in events.read_text().splitlines()]
    row = next(text for text in output.splitlines() if "line all" in text)
    counts = [int(word.strip("│ ,")) for word in row.replace(",", " ").split() if word.isdigit()]
    assert least <= sum(counts) <= most, row
    # Vehicles only pass: nothing was left, nothing burns.
    assert [one for one in told if "phase" in one["labels"]] == []


@pytest.mark.realdata
def test_a_real_motorway_under_a_drone_that_hovers_is_counted_as_from_a_pole(
    realdata: Path, tmp_path: Path
):
    """Its pictures as an aircraft would take them that drifts, sways, turns and climbs."""
    clip = realdata / "video/bgslibrary/video03.avi"
    if not clip.is_file():
        pytest.skip(f"no recording {clip}")
    video = cv2.VideoCapture(str(clip))
    hovering = tmp_path / "hover.avi"
    writer = cv2.VideoWriter(str(hovering), cv2.VideoWriter.fourcc(*"MJPG"), 15, (320, 240))
    for number in range(1 << 16):
        taken, image = video.read()
        if not taken:
            break
        if number % 4:
            continue
        at_s = number / 60
        yaw, zoom = np.radians(0.8 * np.sin(at_s / 4)), 1.12 + 0.01 * np.sin(at_s / 5)
        turn = zoom * np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        middle = np.array([160.0, 120.0])
        aside = [11 * np.sin(at_s / 3) + 1.5 * np.sin(7 * at_s), 7 * np.sin(at_s / 2.2)]
        matrix = np.column_stack([turn, middle - turn @ middle + aside])
        writer.write(cv2.warpAffine(image, matrix, (320, 240), flags=cv2.INTER_CUBIC))
    video.release()
    writer.release()
    camera = tmp_path / "camera.yaml"
    camera.write_text(
        "id: c\nsteady: true\nlines:\n  - {id: all, from_px: [320, 120], to_px: [60, 120]}\n"
        "detectors: {moving: {}, static: {}}\n"
    )
    events = tmp_path / "events.jsonl"
    output = run(str(hovering), "--camera", str(camera), "--events", str(events))
    row = next(text for text in output.splitlines() if "line all" in text)
    counts = [int(word.strip("│ ,")) for word in row.replace(",", " ").split() if word.isdigit()]
    assert 26 <= sum(counts) <= 29, row
    told = [json.loads(text) for text in events.read_text().splitlines()]
    assert [one for one in told if "phase" in one["labels"]] == []


@pytest.mark.realdata
def test_the_drawn_video_has_every_picture_and_shows_boxes(realdata: Path, tmp_path: Path):
    clip = realdata / "video/bgslibrary/video.avi"
    if not clip.is_file():
        pytest.skip(f"no recording {clip}")
    show = tmp_path / "out.mp4"
    output = run(str(clip), "--show", str(show), "--seconds", "4")
    assert "live" in output
    video = cv2.VideoCapture(str(show))
    pictures = []
    while True:
        taken, image = video.read()
        if not taken:
            break
        pictures.append(image)
    video.release()
    assert len(pictures) == pytest.approx(60, abs=2)
    green = [
        np.count_nonzero((p[..., 1] > 150) & (p[..., 0] < 130) & (p[..., 2] < 130))
        for p in pictures
    ]
    assert max(green) > 100  # the box of a moving car


class Ends:
    """A clock on which a leave until 2030 ends after some pictures."""

    def __init__(self, after: int) -> None:
        self.left = after

    def now_ns(self) -> int:
        self.left -= 1
        return rfc3339_to_ns(f"20{'29' if self.left >= 0 else '31'}-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("leave", "pictures_of_leave", "sharp"),
    [
        ("", 1000, 0),
        ("unblurred: {reason: staged with actors, until: 2020-01-01T00:00:00Z}", 1000, 0),
        ("unblurred: {reason: staged with actors, until: 2030-01-01T00:00:00Z}", 1000, 40),
        ("unblurred: {reason: staged with actors, until: 2030-01-01T00:00:00Z}", 25, 25),
    ],
    ids=["no leave", "expired", "leave", "expires while it runs"],
)
def test_originals_are_written_only_as_long_as_there_is_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leave: str, pictures_of_leave: int, sharp: int
):
    monkeypatch.setattr("commands.vision.SystemClock", lambda: Ends(pictures_of_leave))
    clip = tmp_path / "clip"
    clip.mkdir()
    noise = np.random.default_rng(3)
    street = noise.integers(90, 110, (180, 320, 3)).astype(np.uint8)
    someone = noise.integers(0, 255, (60, 24, 3)).astype(np.uint8)
    for number in range(40):
        image = street.copy()
        image[80:140, 20 + 5 * number : 44 + 5 * number] = someone
        cv2.imwrite(str(clip / f"{number:03}.png"), image)
    (tmp_path / "camera.yaml").write_text(f"id: c\nanalysis_fps: 5\n{leave}\n")
    show = tmp_path / "out.mp4"
    camera = str(tmp_path / "camera.yaml")
    run(str(clip), "--fps", "5", "--camera", camera, "--show", str(show))
    video = cv2.VideoCapture(str(show))
    detail = []
    for number in range(40):
        image = video.read()[1]
        inner = image[86:134, 26 + 5 * number : 38 + 5 * number].astype(np.float32)
        detail.append(float(np.abs(np.diff(inner, axis=0)).mean()))
    assert [one > 25.0 for one in detail] == [True] * sharp + [False] * (40 - sharp), detail


def test_a_wrong_source_is_one_line(tmp_path: Path):
    result = CliRunner().invoke(app, ["vision", "run", str(tmp_path / "absent.mp4")])
    assert result.exit_code != 0
    assert "there is no such file or folder" in str(result.exception)
