"""People in pictures: histograms of oriented gradients.

Source:
    N. Dalal and B. Triggs, "Histograms of oriented gradients for human detection", CVPR 2005,
    as cv2.HOGDescriptor with its own coefficients.

Good for: people upright and whole, at least 60 pixels tall after enlarging. Fails on: people
seen from above, bent, behind things, smaller than about 30 pixels; those are blurred because
they move.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from vision.detections import Image

#: The detector's window is 64x128 and wants a margin round the person.
_WINDOW_PX = 128
_LEAST_WEIGHT = 0.3
_MARGIN = 0.35


@cache
def _hog() -> cv2.HOGDescriptor:
    hog = cv2.HOGDescriptor()
    hog.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32))
    return hog


def find_people(
    image: Image, near_xyxy: tuple[int, int, int, int] | None = None
) -> list[tuple[int, int, int, int]]:
    """Boxes of people, in pixels of the picture.

    Args:
        image: Shape (h, w, 3).
        near_xyxy: Look only here and a little around, enlarged so that who fills it can be
            found; the whole picture unless given.

    Example:
        >>> find_people(np.full((200, 200, 3), 90, np.uint8))
        []
    """
    height, width = image.shape[:2]
    left, top, right, bottom = 0, 0, width, height
    scale = 1.0 if height >= 2 * _WINDOW_PX else 2.0
    if near_xyxy is not None:
        x, y = near_xyxy[2] - near_xyxy[0], near_xyxy[3] - near_xyxy[1]
        margin = round(_MARGIN * max(x, y)) + 2
        left, top = max(0, near_xyxy[0] - margin), max(0, near_xyxy[1] - margin)
        right, bottom = min(width, near_xyxy[2] + margin), min(height, near_xyxy[3] + margin)
        # A person that fills the box shall be about as tall as in the detector's window.
        scale = min(4.0, max(0.25, 1.2 * _WINDOW_PX * 0.75 / max(y, 1)))
    part = image[top:bottom, left:right]
    if not part.size:
        return []
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    if part.shape[0] < _WINDOW_PX or part.shape[1] < _WINDOW_PX // 2:
        missing = (
            max(0, _WINDOW_PX - part.shape[0]) // 2 + 8,
            max(0, _WINDOW_PX // 2 - part.shape[1]) // 2 + 8,
        )
        part = np.asarray(
            cv2.copyMakeBorder(
                part, missing[0], missing[0], missing[1], missing[1], cv2.BORDER_REPLICATE
            ),
            np.uint8,
        )
        left, top = round(left - missing[1] / scale), round(top - missing[0] / scale)
    boxes, weights = _hog().detectMultiScale(
        part, winStride=(8, 8), padding=(8, 8), scale=1.07, hitThreshold=0.0
    )
    found = []
    for (x, y, w, h), weight in zip(boxes, np.ravel(weights), strict=True):
        if weight >= _LEAST_WEIGHT:
            found.append(
                (
                    left + round(x / scale),
                    top + round(y / scale),
                    left + round((x + w) / scale),
                    top + round((y + h) / scale),
                )
            )
    return found
