"""Cast shadows: darker than the street by one factor, with the street's colours and texture.

Source:
    R. Cucchiara et al., "Detecting moving objects, ghosts, and shadows in video streams",
    TPAMI 25(10), 2003 (brightness ratio and chroma); the texture test after A. Sanin et al.,
    "Shadow detection: a survey and comparative evaluation", Pattern Recognition 45, 2012.

Fails on: dark grey vehicles on grey asphalt, which look like deep shadow where they have no
edges (hence the lower bound of the ratio), and on coloured light at night.
"""

from __future__ import annotations

import cv2
import numpy as np

from vision.detections import Image, Mask

#: A shadow keeps this share of the light. What is darker is a thing.
_RATIO = (0.45, 0.93)

#: The three channels may darken this differently: the sky lights a shadow a little bluer.
_CHROMA = 0.14

#: Grey values of edges that were not there before: a thing has them, a shadow only at its rim.
_NEW_EDGE = 36.0


def without_shadows(image: Image, street: Image, mask: Mask) -> Mask:
    """Take the shadows out of a mask.

    Args:
        image: What is there now, shape (h, w, 3).
        street: What is there without anything, in the same light, same shape.
        mask: Shape (h, w), 0 or 255: where they differ.

    Returns:
        Shape (h, w), 0 or 255.

    Example:
        >>> street = np.full((20, 20, 3), 120, np.uint8)
        >>> image, mask = street.copy(), np.zeros((20, 20), np.uint8)
        >>> image[5:15, 2:8], image[5:15, 8:14] = 80, (30, 40, 200)
        >>> mask[5:15, 2:14] = 255
        >>> left = without_shadows(image, street, mask)
        >>> int(left[10, 4]), int(left[10, 11])
        (0, 255)
    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return mask
    now = image[rows, columns].astype(np.float32) + 1.0
    then = street[rows, columns].astype(np.float32) + 1.0
    ratio = now / then
    mean = ratio.mean(axis=1)
    even = ratio.max(axis=1) - ratio.min(axis=1) <= _CHROMA * np.maximum(mean, 0.5)
    shadow = even & (mean >= _RATIO[0]) & (mean <= _RATIO[1])
    if not shadow.any():
        return mask
    out = mask.copy()
    out[rows[shadow], columns[shadow]] = 0
    edges = cv2.subtract(_steepness(image), _steepness(street))
    # The rim of the shadow is an edge, too: one that borders on the unchanged street.
    inner = cv2.erode(mask, np.ones((5, 5), np.uint8))
    keep = (edges > _NEW_EDGE) & (inner > 0)
    grown = cv2.dilate(keep.astype(np.uint8), np.ones((3, 3), np.uint8))
    out[(grown > 0) & (mask > 0)] = 255
    return out


def _steepness(image: Image) -> cv2.typing.MatLike:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=0.25)
    down = cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=0.25)
    return cv2.magnitude(across, down)
