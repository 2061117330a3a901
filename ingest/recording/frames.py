"""Recorded camera frames through vision again: every one in order, or dropped as in a live run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

from core.ports import RawMessage
from geo.camera import FlatGroundProjector
from geo.city import City
from ingest.evidence_folder import EvidenceFolder
from ingest.frame_source import FrameRings, RawFrame
from ingest.pictures import PictureMaker, PictureThread
from ingest.recording.layout import is_frame_topic
from ingest.recording.rounds import Round
from ingest.vision_worker import VisionWorker
from vision.camera_file import CameraFile

#: Detections that wait for their round in a live run; more are dropped and counted.
MAX_WAITING = 10_000


class FrameTransform(Protocol):
    """Turns the frames of a round into what vision sees in them."""

    async def __call__(self, one: Round) -> Round:
        """The round with detections instead of frames."""
        ...

    def close(self) -> None:
        """End whatever runs beside."""
        ...

    def report(self) -> dict[str, int]:
        """Frames seen and not, by reason."""
        ...


class LosslessFrames:
    """Every frame is looked at before the recording goes on, so a replay repeats itself.

    Detections come right after the frames they were seen in.
    """

    def __init__(
        self, city: City, pictures: EvidenceFolder, cameras: Mapping[str, CameraFile]
    ) -> None:
        self._found: list[tuple[str, bytes]] = []
        maker = PictureMaker(pictures, FlatGroundProjector())
        self._worker = VisionWorker(city, self._take, maker, cameras=cameras)
        self._frames = 0

    async def __call__(self, one: Round) -> Round:
        """Look at the frames of a round."""
        if not any(is_frame_topic(message.topic) for message in one.messages):
            return one
        return await asyncio.to_thread(self._look, one)

    def close(self) -> None:
        """Nothing runs beside."""

    def report(self) -> dict[str, int]:
        """Frames looked at, and rejected ones by reason."""
        return {"frames": self._frames} | self._worker.rejected

    def _look(self, one: Round) -> Round:
        messages: list[RawMessage] = []
        for message in one.messages:
            if not is_frame_topic(message.topic):
                messages.append(message)
                continue
            self._frames += 1
            self._worker.handle(_raw_frame(message))
            messages += _messages(self._found, message.received_ns)
            self._found.clear()
        return Round(one.instant_ns, messages)

    def _take(self, topic: str, payload: bytes) -> bool:
        self._found.append((topic, payload))
        return True


class LiveFrames:
    """Frames go through small rings to a thread that takes what it can, as in a live run.

    What it sees joins the round that is next when it is done, so two replays differ.
    """

    def __init__(
        self, city: City, pictures: EvidenceFolder, cameras: Mapping[str, CameraFile]
    ) -> None:
        self.rings = FrameRings()
        self._found: deque[tuple[str, bytes]] = deque(maxlen=MAX_WAITING)
        self._pictures = PictureThread(PictureMaker(pictures, FlatGroundProjector()))
        self._worker = VisionWorker(city, self._take, self._pictures, cameras=cameras)
        self._frames = self._left = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replayed-frames", daemon=True)
        self._thread.start()

    async def __call__(self, one: Round) -> Round:
        """Offer the frames, take what was seen meanwhile."""
        messages = []
        for message in one.messages:
            if is_frame_topic(message.topic):
                frame = _raw_frame(message)
                self.rings.offer(frame.camera_id, frame.payload, wall_ns=frame.wall_ns)
            else:
                messages.append(message)
        found = [self._found.popleft() for _ in range(len(self._found))]
        return Round(one.instant_ns, messages + _messages(found, one.instant_ns))

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self.rings.wake()
        self._thread.join(2.0)
        self._pictures.stop()
        while self.rings.take(0.0) is not None:
            self._left += 1

    def report(self) -> dict[str, int]:
        """Frames looked at, dropped, left when the recording ended, and rejected.

        ``unheard`` are detections that came after the last round.
        """
        return {
            "frames": self._frames,
            "dropped": sum(self.rings.drops.values()),
            "left": self._left,
            "unheard": len(self._found),
        } | self._worker.rejected

    def _run(self) -> None:
        while not self._stop.is_set():
            frame = self.rings.take(0.2)
            if frame is not None:
                self._frames += 1
                self._worker.handle(frame)

    def _take(self, topic: str, payload: bytes) -> bool:
        if len(self._found) >= MAX_WAITING:
            return False
        self._found.append((topic, payload))
        return True


def _raw_frame(message: RawMessage) -> RawFrame:
    camera_id = message.topic.rpartition("/")[2]
    return RawFrame(camera_id, message.payload, time.monotonic_ns())


def _messages(found: Sequence[tuple[str, bytes]], received_ns: int) -> list[RawMessage]:
    return [
        RawMessage(topic=topic, payload=payload, received_ns=received_ns, qos=1)
        for topic, payload in found
    ]
