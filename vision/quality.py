"""Whether a camera shows what is there: broken, frozen, black, of another size."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import cv2
import numpy as np

from core.units import NS_PER_S
from vision.detections import Image

#: A larger picture is refused before it is decoded.
MAX_PIXELS = 4096 * 4096

_FROZEN_FRAMES = 3
_FROZEN_S = 5.0


class CameraState(StrEnum):
    """What may be said of a camera; only ``live`` watches."""

    LIVE = "live"
    LEARNING = "learning"  #: has not yet seen enough of this view
    MOVING = "moving"  #: flies from one view to the next
    FROZEN = "frozen"  #: the same picture again and again, under new times
    BLACK = "black"  #: nothing to be seen
    BROKEN = "broken"  #: pictures that cannot be decoded
    RESIZED = "resized"  #: the picture has another size than a moment ago; learns anew
    UNCALIBRATED = "uncalibrated"  #: another shape than the pose was measured for, or no pose
    OVEREXPOSED = "overexposed"  #: nothing to be seen for light
    BLURRED = "blurred"  #: much less sharp than this camera usually is
    MOVED = "moved"  #: a fixed camera that looks at another view than before


class JpegHeader(NamedTuple):
    """Size in pixels as the file itself says."""

    width_px: int
    height_px: int


def read_jpeg_header(data: bytes) -> JpegHeader | str:
    """Read a JPEG's size without decoding it, or say why it will not do.

    Returns:
        The size, or a reason: ``not_jpeg``, ``truncated_jpeg``, ``oversized_jpeg``.

    Example:
        >>> read_jpeg_header(b"GIF89a"), read_jpeg_header(b"")
        ('not_jpeg', 'not_jpeg')
        >>> whole = cv2.imencode(".jpg", np.zeros((8, 16, 3), np.uint8))[1].tobytes()
        >>> read_jpeg_header(whole), read_jpeg_header(whole[:-40])
        (JpegHeader(width_px=16, height_px=8), 'truncated_jpeg')

    Source:
        ITU-T T.81, annex B.
    """
    if data[:3] != b"\xff\xd8\xff":
        return "not_jpeg"
    if not data.rstrip(b"\x00").endswith(b"\xff\xd9"):
        return "truncated_jpeg"
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return "not_jpeg"
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in (0xC0, 0xC1, 0xC2):
            height = int.from_bytes(data[at + 5 : at + 7], "big")
            width = int.from_bytes(data[at + 7 : at + 9], "big")
            if not width or not height:
                return "not_jpeg"
            return JpegHeader(width, height) if width * height <= MAX_PIXELS else "oversized_jpeg"
        if marker == 0xDA:
            return "not_jpeg"
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return "truncated_jpeg"


def decode_reduced(data: bytes, factor: int) -> Image | None:
    """Decode a JPEG at a half, quarter or eighth of its size, or None where it is broken.

    Args:
        data: The file.
        factor: 1, 2, 4 or 8.
    """
    flag = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[factor]
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:
        return None
    return None if image is None else image.astype(np.uint8, copy=False)


def is_black(image: Image) -> bool:
    """Whether a picture is dark or blank all over.

    Example:
        >>> is_black(np.full((90, 160, 3), 5, np.uint8))
        True
        >>> is_black(np.random.default_rng(7).integers(0, 255, (90, 160, 3), np.uint8))
        False
    """
    mean, spread = cv2.meanStdDev(np.ascontiguousarray(image[::4, ::4, 1]))
    return float(spread[0, 0]) < 3.0 or (float(mean[0, 0]) < 12.0 and float(spread[0, 0]) < 8.0)


class FreezeWatch:
    """Notices a picture that repeats to the bit while its times go on.

    A real sensor's noise never gives the same bytes twice. Keeps the last picture only.
    """

    def __init__(self) -> None:
        self._jpeg = b""
        self._since_ns = 0
        self._repeats = 0

    def frozen(self, jpeg: bytes, time_ns: int) -> bool:
        """Take the next picture; True when it has been the same for some time.

        Example:
            >>> watch = FreezeWatch()
            >>> [watch.frozen(b"same", at_s * NS_PER_S) for at_s in (0, 2, 4, 6)]
            [False, False, False, True]
            >>> watch.frozen(b"other", 8 * NS_PER_S)
            False
        """
        if jpeg != self._jpeg:
            self._jpeg, self._since_ns, self._repeats = jpeg, time_ns, 1
            return False
        self._repeats += 1
        return self._repeats >= _FROZEN_FRAMES and time_ns - self._since_ns >= _FROZEN_S * NS_PER_S


class Refused(NamedTuple):
    """Why a frame is not looked at, and what that says of the camera; None: nothing."""

    reason: str
    state: CameraState | None


class FrameGate:
    """Refuses frames that need not be decoded: old, broken or frozen ones.

    Example:
        >>> gate = FrameGate()
        >>> gate.check(b"GIF89a", 5).reason, gate.check(b"GIF89a", 5).reason
        ('not_jpeg', 'old_frame')
    """

    def __init__(self) -> None:
        self._freeze = FreezeWatch()
        self._last_ns: int | None = None

    def check(self, jpeg: bytes, time_ns: int) -> JpegHeader | Refused:
        """Take the next frame: its size, or why it is refused."""
        if self._last_ns is not None and time_ns <= self._last_ns:
            return Refused("old_frame", None)
        self._last_ns = time_ns
        header = read_jpeg_header(jpeg)
        if isinstance(header, str):
            return Refused(header, CameraState.BROKEN)
        if self._freeze.frozen(jpeg, time_ns):
            return Refused("frozen", CameraState.FROZEN)
        return header
