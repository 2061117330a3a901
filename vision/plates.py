"""Number plates in pictures of vehicles: dense upright strokes in a region of a plate's size.

Source:
    C. Anagnostopoulos et al., "License plate recognition from still images and video
    sequences: a survey", IEEE T-ITS 9(3), 2008: the density of vertical edges.

Good for: hiding plates of any colour and script that can be read. It reads nothing, and
grilles and lettering are taken for plates as well, which costs nothing. Fails on: plates seen so
obliquely that their strokes merge; those cannot be read either.
"""

from __future__ import annotations

import cv2
import numpy as np

from vision.detections import Image, Mask

#: Of a plate (GA 36), and what is kept clear around it.
_PLATE_M = (0.44, 0.14)
_MARGIN = 0.35

#: A plate less wide has strokes of less than a pixel: nobody can read it.
_LEAST_WIDTH_PX = 14.0

#: Mean difference across, in grey values, of lettering; paint and glass stay below half of it.
_DENSITY = 14.0


def mark_plates(image: Image, box_xyxy_px: tuple[int, int, int, int], px_per_m: float) -> Mask:
    """Where a vehicle's plates may be.

    Args:
        image: Shape (h, w, 3), at full size.
        box_xyxy_px: The vehicle in it.
        px_per_m: Pixels for a metre at its place.

    Returns:
        Shape (h, w), 255 where to blur.

    Example:
        >>> image = np.full((120, 200, 3), 140, np.uint8)
        >>> _ = cv2.putText(image, "QD 12345", (70, 80), 0, 0.45, (0, 0, 0), 1)
        >>> mask = mark_plates(image, (20, 10, 180, 110), 150.0)
        >>> int(mask[76, 100]), int(mask[20, 30])
        (255, 0)
    """
    height, width = image.shape[:2]
    mask: Mask = np.zeros((height, width), np.uint8)
    left, top = max(0, box_xyxy_px[0]), max(0, box_xyxy_px[1])
    right, bottom = min(width, box_xyxy_px[2]), min(height, box_xyxy_px[3])
    wide, high = (px_per_m * side for side in _PLATE_M)
    if wide < _LEAST_WIDTH_PX or right - left < 3 or bottom - top < 3:
        return mask
    grey = cv2.cvtColor(image[top:bottom, left:right], cv2.COLOR_BGR2GRAY)
    strokes = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=0.25))
    window = (max(3, round(0.6 * wide)), max(3, round(0.8 * high)))
    dense = cv2.blur(strokes, window, borderType=cv2.BORDER_REPLICATE) >= _DENSITY
    reach = (round(wide * (0.6 + 2 * _MARGIN)) | 1, round(high * (0.8 + 2 * _MARGIN)) | 1)
    kernel = np.ones((max(3, reach[1]), max(3, reach[0])), np.uint8)
    mask[top:bottom, left:right] = cv2.dilate(dense.astype(np.uint8) * 255, kernel)
    return mask
