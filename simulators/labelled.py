"""Labelled frames: a street camera's pictures in any weather, with what is in them, on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import msgspec
import numpy as np

from core.units import NS_PER_S, ns_to_rfc3339
from simulators.cameras import CameraSimulator, background_actors
from simulators.messages import digest
from simulators.rendering import CityPainter
from simulators.truth import Thing
from simulators.views import Conditions, shake
from simulators.world import World

LABELS_FILE = "labels.jsonl"


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """One object in a frame: pixels, and whether it stands still."""

    kind: str
    left_px: int
    top_px: int
    right_px: int
    bottom_px: int
    still: bool
    object_id: str


class FrameLabel(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of one frame; ``things`` are the ids of the truth that are going on."""

    file: str
    camera_id: str
    time: str
    conditions: Conditions
    boxes: tuple[Box, ...]
    things: tuple[str, ...]


def labelled_frames(
    world: World,
    camera_id: str,
    conditions: Conditions,
    *,
    start_ns: int,
    count: int,
    step_s: float = 2.0,
) -> Iterator[tuple[FrameLabel, bytes]]:
    """Frames of a fixed camera with their labels.

    Args:
        world: The city and its script.
        camera_id: A camera that stands.
        conditions: Of air and light, for all frames.
        start_ns: City time of the first.
        count: How many, all within one block of the script.
        step_s: City seconds between two.

    Yields:
        The label and the JPEG.

    Raises:
        InputError: The city has no such camera.
    """
    block = world.block(world.index_at(start_ns))
    camera = world.city.cameras.get(camera_id)
    passers = (
        []
        if camera is None
        else background_actors(
            world.city,
            camera,
            digest(world.seed, "passers", block.index) % 2**32,
            block.start_ns,
            block.end_ns,
        )
    )
    actors = (*block.actors, *passers)
    numbers = {id(actor): number for number, actor in enumerate(actors)}
    simulator = CameraSimulator(
        camera_id,
        world.city,
        actors,
        world.seed,
        CityPainter(world.city, world.seed),
        conditions=lambda _: conditions,
    )
    for number in range(count):
        time_ns = start_ns + round(number * step_s * NS_PER_S)
        frame = simulator.frame(time_ns)
        right, down = shake(conditions, time_ns, simulator.weather_seed)
        boxes = []
        for actor, (left, top, right_px, bottom) in simulator.boxes(time_ns):
            now, before = actor.at(time_ns), actor.at(time_ns - NS_PER_S)
            still = now is not None and before is not None and now[:2] == before[:2]
            boxes.append(
                Box(
                    kind=actor.kind,
                    left_px=left + right,
                    top_px=top + down,
                    right_px=right_px + right,
                    bottom_px=bottom + down,
                    still=still,
                    object_id=f"{block.index}-{numbers[id(actor)]}",
                )
            )
        label = FrameLabel(
            file=f"{camera_id}-{number:05d}.jpg",
            camera_id=camera_id,
            time=ns_to_rfc3339(time_ns),
            conditions=conditions,
            boxes=tuple(boxes),
            things=tuple(one.truth_id for one in block.things if _is_seen(one, camera_id, time_ns)),
        )
        yield label, frame.jpeg


def _is_seen(thing: Thing, camera_id: str, time_ns: int) -> bool:
    return camera_id in thing.cameras and thing.began_ns <= time_ns < thing.ended_ns


def write_labelled(
    folder: Path, frames: Iterator[tuple[FrameLabel, bytes]], *, boxes: bool = False
) -> int:
    """Write frames and :data:`LABELS_FILE` (one JSON object a line) into a folder.

    Args:
        folder: Made where missing; an existing label file is replaced.
        frames: From :func:`labelled_frames`.
        boxes: Draw the boxes into the pictures, for people to look at.

    Returns:
        How many frames were written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    encoder = msgspec.json.Encoder()
    count = 0
    with (folder / LABELS_FILE).open("wb") as labels:
        for label, jpeg in frames:
            data = _with_boxes(jpeg, label) if boxes else jpeg
            (folder / label.file).write_bytes(data)
            labels.write(encoder.encode(label) + b"\n")
            count += 1
    return count


def _with_boxes(jpeg: bytes, label: FrameLabel) -> bytes:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    for box in label.boxes:
        colour = (60, 60, 230) if box.still else (90, 200, 90)
        cv2.rectangle(picture, (box.left_px, box.top_px), (box.right_px, box.bottom_px), colour, 1)
        cv2.putText(
            picture, box.kind, (box.left_px, max(10, box.top_px - 3)),
            cv2.FONT_HERSHEY_SIMPLEX, 0.35, colour, 1, cv2.LINE_AA,
        )  # fmt: skip
    return bytes(cv2.imencode(".jpg", picture)[1].tobytes())
