"""``qingniao vision run`` on real clips: counts, the drawn video, what is written."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from cli import app


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


def test_a_wrong_source_is_one_line(tmp_path: Path):
    result = CliRunner().invoke(app, ["vision", "run", str(tmp_path / "absent.mp4")])
    assert result.exit_code != 0
    assert "there is no such file or folder" in str(result.exception)
