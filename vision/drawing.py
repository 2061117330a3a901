"""Words and colours of what is drawn into pictures."""

from __future__ import annotations

import cv2

from core.units import china_time
from vision.detections import Image

ZONE = (0, 210, 255)
MOVING = (80, 220, 80)
EVENT = (40, 40, 230)
WHITE = (255, 255, 255)


def write_words(
    image: Image, words: str, at: tuple[int, ...], colour: tuple[int, int, int], size: float
) -> None:
    """Write ASCII words with a dark rim, in place, from ``at`` on; size 1 is 22 px high."""
    text = words.encode("ascii", "replace").decode()
    origin = (int(at[0]), int(at[1]))
    for tint, thickness in (((0, 0, 0), 3), (colour, 1)):
        cv2.putText(
            image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, size, tint, thickness, cv2.LINE_AA
        )


def camera_and_time(camera_id: str, time_ns: int) -> str:
    """What stands at the foot of every picture; the time is that of clocks in China.

    Example:
        >>> camera_and_time("camera-1", 1_767_225_600_123_000_000)
        'camera-1  2026-01-01 08:00:00 +08:00'
    """
    return f"{camera_id}  {china_time(time_ns):%Y-%m-%d %H:%M:%S} +08:00"
