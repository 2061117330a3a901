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

from core.city import CameraPose
from core.ports import GroundProjector
from vision.detections import Image
from vision.zones import Local

#: The detector's window is 64x128 and wants a margin round the person.
_WINDOW_PX = 128
SURE = 0.3
DOUBTED = -0.3
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
        if weight >= SURE:
            found.append(
                (
                    left + round(x / scale),
                    top + round(y / scale),
                    left + round((x + w) / scale),
                    top + round((y + h) / scale),
                )
            )
    return found


#: Who is smaller in the picture cannot be told from a post, nor recognised.
_LEAST_PERSON_PX = 24.0
_PERSON_M = 1.7
_LOOKS_DOWN_DEG = -60.0
_BAND_RATIO = 1.35
#: Of their height: how far below a box the feet of somebody who stands before it may be.
_FEET_BELOW = 0.35


def find_people_on_ground(
    image: Image,
    projector: GroundProjector,
    pose: CameraPose,
    near_xyxy: tuple[int, int, int, int] | None = None,
) -> list[tuple[tuple[int, int, int, int], float]]:
    """Who stands on the ground, each looked for at the size they would have there.

    The picture is cut into bands by how tall a person is whose feet are in them; each is
    enlarged until that is what the detector knows. Small figures are found so that would be
    missed in the whole picture, in a fifth of the time: 0.1 to 0.15 s of a core for a street,
    and some milliseconds for the place of one thing. One person gives several boxes.

    Args:
        image: Shape (h, w, 3), of the pose's size.
        projector: Pixel to ground.
        pose: Of the camera.
        near_xyxy: Look only for those whose feet are in this box or a little below, and whose
            middle is in it or a little beside; everywhere unless given.

    Returns:
        Left, top, right, bottom in pixels with the detector's weight, from ``DOUBTED`` up: who
        is told of as a person has ``SURE``, who is blurred needs less. None where the camera
        looks down steeply, since people seen from above have another outline.
    """
    height, width = image.shape[:2]
    found: list[tuple[tuple[int, int, int, int], float]] = []
    for first, last, tall_px in _bands(height, width, projector, pose):
        start, end = 0, width
        if near_xyxy is not None:
            # As far as the window reaches beyond somebody who stands at the edge.
            start = max(0, round(near_xyxy[0] - 0.75 * tall_px))
            end = min(width, round(near_xyxy[2] + 0.75 * tall_px))
            first = max(first, near_xyxy[1])
            last = min(last, near_xyxy[3] + _FEET_BELOW * tall_px)
            if first > last:
                continue
        top = max(0, round(first - 1.35 * tall_px))
        bottom = min(height, round(last + 0.35 * tall_px))
        scale = 0.75 * _WINDOW_PX / tall_px
        part = image[top:bottom, start:end]
        size = (round(part.shape[1] * scale), max(_WINDOW_PX, round(part.shape[0] * scale)))
        if size[0] < _WINDOW_PX // 2:
            continue
        large = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        boxes, weights = _band_hog().detectMultiScale(
            large,
            winStride=(8, 8),
            padding=(16, 16),
            scale=1.12,
            hitThreshold=DOUBTED,
            groupThreshold=0.0,
        )
        for (x, y, w, h), weight in zip(boxes, np.ravel(weights), strict=True):
            left, right = start + round(x / scale), start + round((x + w) / scale)
            box = (left, top + round(y / scale), right, top + round((y + h) / scale))
            found.append((box, float(weight)))
    return found


def _bands(
    height: int, width: int, projector: GroundProjector, pose: CameraPose
) -> list[tuple[float, float, float]]:
    """Bands of rows: first and last row of the feet, and the least height of a person there."""
    if pose.pitch_deg <= _LOOKS_DOWN_DEG or pose.height_agl_m <= 1.2 * _PERSON_M:
        return []
    # Feet below the picture's edge still show a person from the knees up.
    rows = np.linspace(0.0, height - 1.0, 64)
    ground = projector.to_ground(np.column_stack([np.full(64, width / 2.0), rows]), pose)
    rows = rows[ground.seen]
    if not len(rows):
        return []
    nadir = Local(pose.lon_deg, pose.lat_deg)
    feet = nadir.to_metres(ground.lon_deg, ground.lat_deg)[ground.seen]
    # The top of a head covers the ground farther out on the same ray.
    heads = nadir.to_degrees(feet * pose.height_agl_m / (pose.height_agl_m - _PERSON_M))
    pixels, before = projector.to_pixels(heads[:, 0], heads[:, 1], pose)
    tall = np.where(before, rows - pixels[:, 1], 0.0)
    bands = []
    tall_px = _LEAST_PERSON_PX
    while tall_px < tall.max():
        inside = rows[(tall >= tall_px) & (tall < tall_px * _BAND_RATIO)]
        if len(inside):
            bands.append((float(inside.min()), float(inside.max()), tall_px))
        tall_px *= _BAND_RATIO
    return bands


@cache
def _band_hog() -> cv2.HOGDescriptor:
    """The same detector, over as many sizes as a band has."""
    sizes = (64, _WINDOW_PX), (16, 16), (8, 8), (8, 8)
    hog = cv2.HOGDescriptor(*sizes, 9, 1, -1.0, 0, 0.2, True, 4)
    hog.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32))
    return hog
