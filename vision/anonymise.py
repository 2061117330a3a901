"""Blurs whoever moves in recorded camera frames; what cannot be judged is blurred as a whole.

Everything that differs from the empty street is blurred, with a margin: people, and vehicles
with them. Until a camera's street is known (some seconds), after a jump of a flying camera and
for pictures that cannot be decoded, nothing sharp is kept.
"""

from __future__ import annotations

import cv2
import msgspec
import numpy as np

from core.errors import DecodeError
from core.frames import Frame, decode_frame, encode_frame
from core.units import NS_PER_S
from vision.background import DualBackground
from vision.blur import blur, encode_jpeg, find_suspects, private_mask
from vision.detections import Image, Mask
from vision.quality import decode_reduced

#: Cameras whose street is remembered, some 10 MB each; frames of further ones are blurred whole.
MAX_CAMERAS = 64

#: The street is watched in pictures about this wide.
_MODEL_WIDTH_PX = 640


class _Street:
    def __init__(self, first_ns: int) -> None:
        self.background = DualBackground()
        self.first_ns = first_ns
        self.last_ns = first_ns - 1
        self.shape: tuple[int, ...] = ()
        self.pose: object = None


class FrameBlurrer:
    """Blurs the frames of any number of cameras; one thread at a time.

    Attributes:
        blurred_whole: Frames of which nothing sharp was kept.
        dropped: Payloads that are no frames; nothing of them is kept.
    """

    def __init__(self) -> None:
        self.blurred_whole = 0
        self.dropped = 0
        self._streets: dict[str, _Street] = {}

    def blur(self, payload: bytes) -> bytes | None:
        """The frame's envelope with its picture blurred; None where it is no frame."""
        try:
            frame = decode_frame(payload)
        except DecodeError:
            self.dropped += 1
            return None
        image = decode_reduced(frame.jpeg, 1)
        if image is None:
            self.dropped += 1
            return None
        mask = self._mask(frame, image)
        if mask is None:
            self.blurred_whole += 1
            mask = np.full(image.shape[:2], 255, np.uint8)
        return encode_frame(msgspec.structs.replace(frame, jpeg=encode_jpeg(blur(image, mask))))

    def _mask(self, frame: Frame, image: Image) -> Mask | None:
        street = self._streets.get(frame.camera_id)
        if street is None:
            if len(self._streets) >= MAX_CAMERAS:
                return None
            street = self._streets[frame.camera_id] = _Street(frame.time_ns)
        scale = min(1.0, _MODEL_WIDTH_PX / image.shape[1])
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        small: Image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        if (
            small.shape != street.shape
            or frame.pose != street.pose
            or (frame.time_ns <= street.last_ns)
        ):
            street = self._streets[frame.camera_id] = _Street(frame.time_ns)
            street.shape, street.pose = small.shape, frame.pose
        street.last_ns = frame.time_ns
        nothing = np.zeros(small.shape[:2], np.uint8)
        at_s = (frame.time_ns - street.first_ns) / NS_PER_S
        try:
            foreground = street.background.update(small, at_s, nothing)
        except (cv2.error, ValueError, ArithmeticError):
            return None
        if foreground is None or foreground.relit:
            return None
        return private_mask(find_suspects(foreground.faint, foreground.fast, nothing))
