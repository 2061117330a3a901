"""Evidence pictures: whoever only passes by is blurred before anything is stored."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.detections import Image, Mask, find_blobs
from vision.drawing import EVENT, WHITE, ZONE, camera_and_time, write_words

_JPEG_QUALITY = 85

#: Specks smaller than this are noise, not people: a person 35 m away has about fifty pixels.
_SPECK_PX = 6


def find_suspects(faint: Mask, fast: Mask, visible: Mask) -> Mask:
    """What may be somebody: all that differs, but for the static object itself.

    Args:
        faint: Where the picture differs at all from street or from a moment ago, (h, w).
        fast: Where it differs clearly from a moment ago; counted even on a static object,
            because somebody may walk before it.
        visible: Where static objects stand that the evidence is about.

    Returns:
        Shape (h, w), 255 where.
    """
    around = cv2.dilate(visible, np.ones((9, 9), np.uint8))
    suspects = cv2.bitwise_or(cv2.bitwise_and(faint, cv2.bitwise_not(around)), fast)
    opened = cv2.morphologyEx(suspects, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    return opened.astype(np.uint8, copy=False)


def private_mask(suspects: Mask) -> Mask:
    """What must be blurred: every blob of suspects with its margin.

    Args:
        suspects: Of :func:`find_suspects`, shape (h, w).

    Returns:
        Shape (h, w), 255 where to blur: the boxes round all blobs, grown by a margin.
    """
    blobs = find_blobs(suspects, min_area_px=_SPECK_PX, reach_px=2)
    mask = np.zeros(suspects.shape, np.uint8)
    for left, top, right, bottom in blobs.xyxy_px.tolist():
        margin_x = 3 + (right - left) // 6
        margin_y = 3 + (bottom - top) // 6
        mask[
            max(0, top - margin_y) : bottom + margin_y,
            max(0, left - margin_x) : right + margin_x,
        ] = 255
    return mask


def blur(image: Image, mask: Mask) -> Image:
    """Blur a picture where a mask says so, beyond recognition.

    The masked part is averaged over cells a fortieth of the picture's width wide; what was
    finer cannot be brought back.

    Args:
        image: Shape (h, w, 3).
        mask: Any size of the same picture; scaled to fit.

    Returns:
        A new picture, shape (h, w, 3).
    """
    height, width = image.shape[:2]
    cell = max(12, width // 40)
    coarse = cv2.resize(
        image, (max(1, width // cell), max(1, height // cell)), interpolation=cv2.INTER_AREA
    )
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    where = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
    out = image.copy()
    cv2.copyTo(smooth, where, out)
    return out


def draw_zones(image: Image, outlines_px: Sequence[NDArray[np.int32]], mask: Mask) -> Image:
    """Draw zone outlines into a blurred picture, but not over what was blurred.

    Lines across a blurred person would only look like detail.

    Args:
        image: Shape (h, w, 3), already blurred.
        outlines_px: Polylines, each of shape (n, 2).
        mask: What was blurred, any size of the same picture.

    Returns:
        A new picture, shape (h, w, 3).
    """
    drawn = image.copy()
    for outline in outlines_px:
        cv2.polylines(drawn, [outline], isClosed=False, color=ZONE, thickness=1)
    height, width = image.shape[:2]
    cv2.copyTo(image, cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST), drawn)
    return drawn


def draw_object(
    image: Image, box_xyxy_px: tuple[int, int, int, int], *, camera_id: str, time_ns: int
) -> Image:
    """Draw an object's box, the camera and the time into a picture, in place."""
    left, top, right, bottom = box_xyxy_px
    cv2.rectangle(image, (left, top), (right - 1, bottom - 1), EVENT, 2)
    size = image.shape[0] / 360.0 * 0.45
    foot = round(8 * size / 0.45)
    origin = (foot, image.shape[0] - foot)
    write_words(image, camera_and_time(camera_id, time_ns), origin, WHITE, size)
    return image


def encode_jpeg(image: Image) -> bytes:
    """Write a picture as JPEG."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return data.tobytes()
