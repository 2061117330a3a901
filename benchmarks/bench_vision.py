"""Vision: JPEG to events against the plain OpenCV chain, and the foreground against MOG2.

Scenes are drawn here with their truth: a textured street, cars that pass with a shadow, one that
stops. ``--quick`` runs fewer pictures.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Figure, against, at_most, publish
from benchmarks.vision_scenes import scores
from core.city import CameraPose
from core.frames import Frame
from geo.camera import FlatGroundProjector
from vision.background import DualBackground
from vision.darkroom import Darkroom, Negative
from vision.pipeline import STATIC_OBJECT, CameraPipeline
from vision.quality import decode_reduced, read_jpeg_header
from vision.shadows import without_shadows
from vision.zones import Zone

S = 1_000_000_000
FPS = 5
SEED = 3
RING = ((119.9, 35.9), (120.1, 35.9), (120.1, 36.1), (119.9, 36.1))
EVERYWHERE = Zone(zone_id="z", kind="no_parking", ring=RING)
Image = NDArray[np.uint8]


class Labelled(NamedTuple):
    """A picture and where things are in it, (h, w)."""

    image: Image
    truth: NDArray[np.bool_]


def street(width: int, height: int, seed: int) -> Image:
    """Asphalt with texture and a lane line."""
    random = np.random.default_rng(seed)
    grey = cv2.GaussianBlur(random.integers(0, 255, (height, width), np.uint8), (0, 0), 2.0)
    image = np.clip(grey.astype(float) * 0.8 + 20.0, 40, 190).astype(np.uint8)
    image[height * 6 // 10 : height * 6 // 10 + 3] = 200
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)


def scene(
    width: int,
    height: int,
    count: int,
    change: Callable[[Image, int], Image] | None = None,
    seed: int = SEED,
) -> Iterator[Labelled]:
    """Cars pass after ten seconds, each with a shadow; a red one stops at 12 s for good."""
    random, base = np.random.default_rng(seed + 1), street(width, height, seed)
    noises = random.integers(-5, 6, (7, height, width, 3)).astype(np.int16)
    unit = width / 640.0

    def paint(image: Image, truth: NDArray[np.bool_], u: float, v: float, colour: Any) -> None:
        x, y, w, h = (round(value * unit) for value in (u, v, 70, 34))
        ground = np.s_[
            max(0, y + h // 2) : y + h + h // 3, max(0, x + w // 8) : max(0, x + w + w // 4)
        ]
        image[ground] = (image[ground] * 0.6).astype(np.uint8)
        body = np.s_[max(0, y) : y + h, max(0, x) : max(0, x + w)]
        image[body] = colour
        glass = np.s_[max(0, y + h // 5) : y + h // 2, max(0, x + w // 4) : max(0, x + 3 * w // 4)]
        image[glass] = (60, 50, 45)
        truth[body] = True

    for number in range(count):
        at_s = number / FPS
        image, truth = base.copy(), np.zeros((height, width), np.bool_)
        if at_s >= 10.0:
            for lane, colour in enumerate(((205, 205, 210), (40, 40, 42), (150, 90, 40))):
                u = ((at_s - 10.0) * (90 + 25 * lane) + 260 * lane) % 900 - 120
                paint(image, truth, u, 60 + 62 * lane, colour)
        if at_s >= 12.0:
            paint(image, truth, 420, 290, (40, 40, 190))
        if change is not None:
            image = change(image, number)
        yield Labelled(
            np.asarray(cv2.add(image, noises[number % 7], dtype=cv2.CV_8U), np.uint8), truth
        )


def core_seconds(rounds: int, *works: Callable[[], Any]) -> list[float]:
    """Median seconds of one core, in turns: what other programs take does not count."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for times, work in zip(taken, works, strict=True):
            began = time.process_time()
            work()
            times.append(time.process_time() - began)
    return [statistics.median(times) for times in taken]


def pose(width: int, height: int) -> CameraPose:
    """Seven metres up, looking down by 30 degrees."""
    return CameraPose(
        lon_deg=120.0,
        lat_deg=36.0,
        height_agl_m=7.0,
        yaw_deg=0.0,
        pitch_deg=-30.0,
        hfov_deg=60.0,
        width_px=width,
        height_px=height,
    )


class Watched(NamedTuple):
    """Events told of the car that stopped, seconds for each frame, and what pictures are of."""

    events: int
    took_s: list[float]
    negatives: list[Negative]


def ours(jpegs: list[bytes], width: int, height: int) -> Watched:
    """JPEG to events."""
    pipeline = CameraPipeline("c", FlatGroundProjector(), [EVERYWHERE], pose(width, height))
    told: set[str] = set()
    watched = Watched(0, [], [])
    for number, jpeg in enumerate(jpegs):
        frame = Frame(
            camera_id="c",
            time_ns=(number + 1) * S // FPS,
            width_px=width,
            height_px=height,
            jpeg=jpeg,
        )
        began = time.perf_counter()
        result = pipeline.process(frame)
        watched.took_s.append(time.perf_counter() - began)
        watched.negatives.extend(result.negatives)
        told |= {one.thing_id for one in result.observations if one.kind == STATIC_OBJECT}
    return watched._replace(events=len(told))


def plain(jpegs: list[bytes]) -> None:
    """The peer: full colour decode, MOG2, opening, components."""
    model = cv2.createBackgroundSubtractorMOG2()
    kernel = np.ones((3, 3), np.uint8)
    for jpeg in jpegs:
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        mask = cv2.threshold(model.apply(image), 200, 255, cv2.THRESH_BINARY)[1]
        cv2.connectedComponentsWithStats(cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel))


def speed(width: int, height: int, goal_fps: float, count: int, rounds: int) -> list[Figure]:
    """Pictures a second of one core against the peer, and stage by stage."""
    jpegs = [
        cv2.imencode(".jpg", one.image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
        for one in scene(width, height, count)
    ]
    label = f"{width}x{height}"
    watched = ours(jpegs, width, height)
    mine, theirs = core_seconds(rounds, lambda: ours(jpegs, width, height), lambda: plain(jpegs))
    factor = 2 if width <= 960 else 4
    decode_s = core_seconds(rounds, lambda: [decode_reduced(one, factor) for one in jpegs])[0]
    header_s = core_seconds(rounds, lambda: [read_jpeg_header(one) for one in jpegs])[0]
    small = [decode_reduced(one, factor) for one in jpegs]

    def background() -> None:
        model = DualBackground()
        for number, image in enumerate(small):
            assert image is not None
            model.update(image, number / FPS, np.zeros(image.shape[:2], np.uint8))

    def develop() -> None:
        darkroom = Darkroom(FlatGroundProjector())
        for negative in watched.negatives:
            darkroom.develop(negative)

    background_s = core_seconds(rounds, background)[0]
    pictures_s = core_seconds(rounds, develop)[0]
    fps = count / mine
    figures = [
        against(
            f"JPEG to events, {label}", count, mine, "decode, MOG2, open, components", theirs, 3.5
        ),
        Figure(f"pictures a second, {label}", fps, "1/s", goal_fps, fps >= goal_fps),
        Figure(
            f"the same with its pictures, people blurred, {label}",
            count / (mine + pictures_s),
            "1/s",
            ratio=theirs / (mine + pictures_s),
        ),
        Figure(
            f"events of the car that stopped, {label}",
            float(watched.events),
            "",
            1.0,
            watched.events == 1,
        ),
        at_most(f"latency p50, {label}", 1e3 * float(np.median(watched.took_s)), "ms", 30.0),
        at_most(
            f"latency p99, {label}", 1e3 * float(np.quantile(watched.took_s, 0.99)), "ms", 30.0
        ),
    ]
    stages = {
        "header": header_s,
        "decode, reduced": decode_s,
        "two backgrounds": background_s,
        "objects, blobs, events": max(0.0, mine - header_s - decode_s - background_s),
    }
    figures += [
        Figure(f"  {stage}, {label}", 1e3 * seconds / count, "ms")
        for stage, seconds in stages.items()
    ]
    made = len(watched.negatives)
    figures.append(
        Figure(f"  pictures of an event ({made}), beside, {label}", 1e3 * pictures_s, "ms")
    )
    if height == 360:
        share = 40 * 5 * (mine + pictures_s) / count
        name = "40 cameras, 640x360, 5 a second, an event a minute each with pictures"
        figures.append(at_most(name, share, "cores", 0.5))
    return figures


def _changes(seed: int) -> dict[str, Callable[[Image, int], Image] | None]:
    random = np.random.default_rng(seed + 2)

    def light(image: Image, number: int) -> Image:
        gain = 1.0 + 0.25 * np.sin(number / 40.0)
        return np.asarray(cv2.convertScaleAbs(image, alpha=gain), np.uint8)

    def rain(image: Image, number: int) -> Image:
        out = image.copy()
        for _ in range(60):
            u, v = random.integers(image.shape[1]), random.integers(image.shape[0])
            cv2.line(out, (int(u), int(v)), (int(u) + 1, int(v) + 9), (190, 190, 190), 1)
        return out

    def night(image: Image, number: int) -> Image:
        return np.asarray(cv2.convertScaleAbs(image, alpha=0.35, beta=4), np.uint8)

    def shake(image: Image, number: int) -> Image:
        aside, down = random.normal(0.0, 0.5, 2)
        matrix = np.array([[1.0, 0.0, aside], [0.0, 1.0, down]])
        size = (image.shape[1], image.shape[0])
        return np.asarray(
            cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )

    return {"easy": None, "light": light, "rain": rain, "night": night, "shake": shake}


def f_measures(count: int, seed: int = SEED) -> list[Figure]:
    """F-measure of the foreground against MOG2 with default settings, pixel by pixel.

    What is tuned is tuned on other seeds than the benchmark's.
    """
    ratios: list[tuple[float, float]] = []
    figures = []
    for name, change in _changes(seed).items():
        model, peer = DualBackground(), cv2.createBackgroundSubtractorMOG2()
        hits = {"ours": np.zeros(3), "theirs": np.zeros(3)}
        for number, one in enumerate(scene(480, 270, count, change, seed)):
            found = model.update(one.image, number / FPS, np.zeros((270, 480), np.uint8))
            # MOG2 marks what it takes for shadow with 127.
            masks = {"theirs": peer.apply(one.image) == 255}
            if found is None or number < 10 * FPS:
                continue
            clear = without_shadows(found.image, model.street((0, 0, 480, 270)), found.slow)
            masks["ours"] = cv2.medianBlur(clear, 5) > 0
            for who, mask in masks.items():
                hits[who] += [
                    np.count_nonzero(mask & one.truth),
                    np.count_nonzero(mask),
                    np.count_nonzero(one.truth),
                ]
        mine, theirs = (
            float(2.0 * hit[0] / max(hit[1] + hit[2], 1.0))
            for hit in (hits["ours"], hits["theirs"])
        )
        ratios.append((mine, theirs))
        figures.append(
            Figure(f"foreground F, {name}", mine, "", None, None, "MOG2", theirs, mine / theirs)
        )
    mine, theirs = (float(np.mean([pair[side] for pair in ratios])) for side in (0, 1))
    ratio = mine / theirs
    figures.append(
        Figure("foreground F, mean", mine, "", 1.15, ratio >= 1.15, "MOG2", theirs, ratio)
    )
    return figures


def measure(*, quick: bool = False) -> list[Figure]:
    """All figures."""
    cv2.setNumThreads(1)
    count, rounds = (190, 1) if quick else (300, 5)
    figures = speed(640, 360, 700.0, count, rounds)
    if not quick:
        figures += speed(1280, 720, 200.0, count, rounds)
    figures += f_measures(150 if quick else 300)
    return figures + (scores(hard=()) if quick else scores())


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer pictures, one size")
    parser.add_argument("--strict", action="store_true", help="fail where a goal is not met")
    given = parser.parse_args()
    figures = measure(quick=given.quick)
    publish("vision", figures)
    if given.strict and any(one.met is False for one in figures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
