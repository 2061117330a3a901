"""What moves: blobs of a picture that differ both from the street and from a moment ago."""

from __future__ import annotations

import cv2
import numpy as np

from vision.background import Foreground
from vision.detections import Blobs, Mask, find_blobs

#: Share of a blob's pixels that must have changed since the last picture.
_CHANGED_RATIO = 0.15


def moving_blobs(foreground: Foreground, held: Mask, *, min_area_px: int = 20) -> Blobs:
    """Find what moves.

    Args:
        foreground: How the picture differs from the models.
        held: Shape (h, w), not 0 where a known static object stands.
        min_area_px: Smaller blobs are noise.

    Returns:
        The moving blobs; ``labels`` may name blobs that were left out as still, too.
    """
    free = cv2.bitwise_and(foreground.slow, cv2.bitwise_not(held))
    opened = cv2.morphologyEx(free, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    blobs = find_blobs(opened.astype(np.uint8, copy=False), min_area_px=min_area_px, reach_px=2)
    if not len(blobs):
        return blobs
    changed = np.bincount(blobs.labels[foreground.fast > 0], minlength=len(blobs) + 1)[1:]
    moving = changed >= _CHANGED_RATIO * blobs.area_px
    return Blobs(blobs.xyxy_px[moving], blobs.area_px[moving], blobs.labels)
