"""What every camera's way from frames to observations has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import cv2

from core.errors import QingniaoError
from core.frames import Frame
from core.observations import Observation
from vision.darkroom import Negative
from vision.quality import CameraState, FrameGate, JpegHeader, Refused


class PipelineResult(NamedTuple):
    """What one frame gave.

    ``negatives`` are what the pictures that the observations name are made from, which takes
    longer than all the rest and is done elsewhere, in this order; ``view`` is what the camera's
    live picture and clips are made from, None where none is due. ``state`` is
    what may be said of the camera after this frame; ``dropped`` is the reason for which the
    frame was not looked at, empty when it was.
    """

    observations: list[Observation]
    negatives: tuple[Negative, ...]
    state: CameraState
    dropped: str = ""
    view: Negative | None = None


class FramePipeline(ABC):
    """Watches one camera: what need not be decoded is refused, what is not looked at is counted.

    Attributes:
        state: What may be said of the camera now.
        counts: Frames not looked at, and other things worth counting, by reason.
    """

    def __init__(self) -> None:
        self.state = CameraState.LEARNING
        self.counts: dict[str, int] = {}
        self._gate = FrameGate()

    def process(self, frame: Frame) -> PipelineResult:
        """Look at one frame; never raises on account of it."""
        try:
            header = self._gate.check(frame.jpeg, frame.time_ns)
            if isinstance(header, Refused):
                return self._drop(header.reason, header.state or self.state)
            return self._look_at(frame, header)
        except (cv2.error, QingniaoError, ArithmeticError, ValueError, IndexError):
            return self._drop("failed", CameraState.BROKEN)

    @abstractmethod
    def _look_at(self, frame: Frame, header: JpegHeader) -> PipelineResult:
        """Look at a frame that was let in."""

    def _drop(self, reason: str, state: CameraState) -> PipelineResult:
        self._count(reason)
        self.state = state
        return PipelineResult([], (), state, reason)

    def _count(self, reason: str, more: int = 1) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + more
