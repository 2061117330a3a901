"""A façade of windows, and what comes down before it: only free fall is a falling object."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from core.observations import Observation
from vision.camera_file import parse_camera_file
from vision.watch import CameraWatch

FPS = 15
S = 1_000_000_000
SIZE = (480, 640)
PX_PER_M = 20.0

CAMERA = """
id: wall
analysis_fps: 15
zones:
  - {id: block-7, kind: facade, polygon_px: [[60, 20], [420, 20], [420, 620], [60, 620]]}
detectors:
  falling: {reference_px: [[100, 20], [100, 620]], reference_m: 30}
"""

Paint = Callable[[np.ndarray, float], None]


def wall() -> np.ndarray:
    base = np.full((SIZE[1], SIZE[0], 3), (150, 165, 170), np.uint8)
    for v in range(40, 620, 60):
        for u in range(80, 400, 50):
            cv2.rectangle(base, (u, v), (u + 26, v + 34), (90, 80, 70), -1)
    return base


def watch(paint: Paint, seconds: float = 5.0) -> list[Observation]:
    one, base = CameraWatch(parse_camera_file(CAMERA, "test")), wall()
    random = np.random.default_rng(3)
    told = []
    for number in range(round(seconds * FPS)):
        image = base.copy()
        paint(image, number / FPS)
        noise = random.integers(-4, 5, image.shape).astype(np.int16)
        noisy = cv2.add(image, noise, dtype=cv2.CV_8U)
        told += one.look(noisy, S + number * S // FPS).observations
    return [one for one in told if one.kind == "detection.falling_object"]


def dot(image: np.ndarray, u: float, v: float, size: int = 4, grey: int = 20) -> None:
    left, top = round(u - size / 2), round(v - size / 2)
    cv2.rectangle(image, (left, top), (left + size, top + size), (grey, grey, grey), -1)


def bottle(image: np.ndarray, at_s: float, from_px: float = 60.0) -> None:
    """Let go at 1 s, a little outwards."""
    fell_s = at_s - 1.0
    v = from_px + 9.81 / 2 * fell_s**2 * PX_PER_M
    if fell_s >= 0.0 and v < 610:
        dot(image, 205 + 0.5 * fell_s * PX_PER_M, v)


def bird(image: np.ndarray, at_s: float) -> None:
    """Crosses downwards with beating wings, and swerves."""
    u, v = 90 + 75 * at_s, 120 + 70 * at_s + 25 * np.sin(4.0 * at_s)
    dot(image, u, v, 6 + round(3 * np.sin(20 * at_s)))


def diving_bird(image: np.ndarray, at_s: float) -> None:
    """Steep, fast and straight, at one speed."""
    dot(image, 150 + 30 * at_s, 40 + 200 * at_s, 6)


def leaf(image: np.ndarray, at_s: float) -> None:
    """Gathers speed at first, then 1.5 m/s, swinging."""
    slow_s = max(0.0, at_s - 0.4)
    v = 60 + 30 * (slow_s + 0.4 * np.exp(-slow_s / 0.4) - 0.4)
    dot(image, 250 + 12 * np.sin(3.0 * slow_s), v, 5)


def bag(image: np.ndarray, at_s: float) -> None:
    """A plastic bag: 3 m/s after the first half metre."""
    v = 60 + 60 * (at_s + 0.3 * np.exp(-at_s / 0.3) - 0.3)
    dot(image, 300 + 6 * np.sin(2.0 * at_s), v, 6, 235)


def rain(image: np.ndarray, at_s: float) -> None:
    """Forty streaks at 7 m/s each a little different."""
    random = np.random.default_rng(9)
    for start, u, speed in zip(
        random.uniform(0, 640, 40),
        random.uniform(0, 480, 40),
        random.uniform(130, 150, 40),
        strict=True,
    ):
        v = (start + speed * at_s) % 640
        cv2.line(image, (round(u), round(v)), (round(u) + 1, round(v) + 8), (215, 220, 220), 1)


@pytest.mark.parametrize("beside", [None, bird, leaf, rain])
def test_a_bottle_is_one_event_with_its_height_and_speed(beside: Paint | None):
    def paint(image: np.ndarray, at_s: float) -> None:
        if beside is not None:
            beside(image, at_s)
        bottle(image, at_s)

    told = watch(paint)
    assert [one.labels["phase"] for one in told] == ["new", "end"]
    new = told[0]
    assert new.measures["fall_height_m"] == pytest.approx(27.5, abs=2.0)
    assert new.measures["fall_speed_mps"] == pytest.approx(23.2, abs=1.5)
    assert new.measures["acceleration_mps2"] == pytest.approx(9.81, abs=0.6)
    assert (new.labels["object"], new.labels["building"]) == ("solid", "block-7")
    # It left the sill at 1 s and was down 2.4 s later; then it is told of at once.
    assert new.observed_ns / S - 1.0 == pytest.approx(3.5, abs=0.3)


@pytest.mark.parametrize("other", [bird, diving_bird, leaf, bag, rain])
def test_what_does_not_fall_freely_is_not_told(other: Paint):
    assert watch(other) == []


def test_a_short_fall_is_not_told():
    def paint(image: np.ndarray, at_s: float) -> None:
        bottle(image, at_s, from_px=570.0)

    assert watch(paint) == []


def test_what_falls_beside_the_facade_is_not_told():
    def paint(image: np.ndarray, at_s: float) -> None:
        fell_s = at_s - 1.0
        if fell_s >= 0.0:
            dot(image, 20, 60 + 9.81 / 2 * fell_s**2 * PX_PER_M)

    assert watch(paint) == []
