"""Blobs: what stands out in one picture, as arrays."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import GeometryError

#: A picture of the model's size: uint8, shape (h, w, 3), blue green red.
Image = NDArray[np.uint8]
#: A mask of the model's size: uint8 0 or 255, shape (h, w).
Mask = NDArray[np.uint8]


class Blobs(NamedTuple):
    """Connected regions of a mask, n of them.

    ``xyxy_px`` has shape (n, 4), int32: left, top, right, bottom, the latter two exclusive.
    ``area_px`` has shape (n,), int32: pixels of the mask in the region. ``labels`` has the
    mask's shape, int32: 0 outside, 1 + row of the blob inside.
    """

    xyxy_px: NDArray[np.int32]
    area_px: NDArray[np.int32]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.area_px)


def check_image(image: NDArray[np.uint8]) -> None:
    """Refuse what is no colour picture.

    Raises:
        GeometryError: The array has another shape or type.

    Example:
        >>> check_image(np.zeros((4, 4), np.uint8))
        Traceback (most recent call last):
        ...
        core.errors.GeometryError: image must be uint8 of shape (h, w, 3), got uint8 (4, 4)
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise GeometryError(
            f"image must be uint8 of shape (h, w, 3), got {image.dtype} {image.shape}"
        )


def check_xyxy(xyxy_px: NDArray[np.int32]) -> None:
    """Refuse what is no array of boxes.

    Raises:
        GeometryError: The shape is not (n, 4), or a box has no extent.

    Example:
        >>> check_xyxy(np.array([[0, 0, 4, 4]], np.int32))
        >>> check_xyxy(np.array([[4, 0, 4, 4]], np.int32))
        Traceback (most recent call last):
        ...
        core.errors.GeometryError: box 0 must have left < right and top < bottom, got [4, 0, 4, 4]
    """
    if xyxy_px.ndim != 2 or xyxy_px.shape[1] != 4:
        raise GeometryError(f"xyxy_px must have shape (n, 4), got {xyxy_px.shape}")
    empty = (xyxy_px[:, 2] <= xyxy_px[:, 0]) | (xyxy_px[:, 3] <= xyxy_px[:, 1])
    if empty.any():
        row = int(np.flatnonzero(empty)[0])
        raise GeometryError(
            f"box {row} must have left < right and top < bottom, got {xyxy_px[row].tolist()}"
        )


def find_blobs(mask: Mask, *, min_area_px: int = 1, reach_px: int = 0) -> Blobs:
    """Find the connected regions of a mask.

    Args:
        mask: Shape (h, w), anything but 0 is inside.
        min_area_px: Regions with fewer pixels are left out.
        reach_px: Pieces nearer than twice this belong to one region, which is how the roof
            and the wheels of a car stay one car.

    Returns:
        The regions, in the order of their first pixel from the top.

    Example:
        >>> mask = np.zeros((6, 12), np.uint8)
        >>> mask[1:3, 1:3] = mask[1:3, 5:7] = 255
        >>> find_blobs(mask).xyxy_px.tolist()
        [[1, 1, 3, 3], [5, 1, 7, 3]]
        >>> find_blobs(mask, reach_px=1).xyxy_px.tolist()
        [[1, 1, 7, 3]]
        >>> len(find_blobs(np.zeros((4, 4), np.uint8)))
        0
    """
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return Blobs(
            np.empty((0, 4), np.int32), np.empty(0, np.int32), np.zeros(mask.shape, np.int32)
        )
    if width * height < mask.size // 2:
        # Most pictures are empty for the most part.
        part = _find_blobs(mask[top : top + height, left : left + width], min_area_px, reach_px)
        labels = np.zeros(mask.shape, np.int32)
        labels[top : top + height, left : left + width] = part.labels
        shift = np.array([left, top, left, top], np.int32)
        return Blobs(part.xyxy_px + shift, part.area_px, labels)
    return _find_blobs(mask, min_area_px, reach_px)


def _find_blobs(mask: Mask, min_area_px: int, reach_px: int) -> Blobs:
    joined = mask
    if reach_px:
        size = 2 * reach_px + 1
        joined = cv2.dilate(mask, np.ones((size, size), np.uint8)).astype(np.uint8, copy=False)
    count, found = cv2.connectedComponents(joined, connectivity=8)
    labels = np.asarray(found, np.int32)
    # Outlines are found ten times as fast as OpenCV counts boxes and areas of labels.
    outlines, nesting = cv2.findContours(joined, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    around = {
        int(labels[outline[0, 0, 1], outline[0, 0, 0]]): cv2.boundingRect(outline)
        for outline, level in zip(outlines, nesting[0], strict=True)
        if level[3] < 0
    }
    if reach_px:
        labels[mask == 0] = 0
    boxes: list[tuple[int, int, int, int]] = []
    areas: list[int] = []
    kept = np.zeros(count, np.int32)
    for label in range(1, count):
        x, y, width, height = around[label]
        inside = labels[y : y + height, x : x + width] == label
        area = int(np.count_nonzero(inside))
        if area < min_area_px:
            continue
        box = (x, y, x + width, y + height)
        if reach_px:
            rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
            box = (
                x + int(columns[0]),
                y + int(rows[0]),
                x + int(columns[-1]) + 1,
                y + int(rows[-1]) + 1,
            )
        boxes.append(box)
        areas.append(area)
        kept[label] = len(boxes)
    return Blobs(
        xyxy_px=np.array(boxes, np.int32).reshape(-1, 4),
        area_px=np.array(areas, np.int32),
        labels=labels if len(boxes) == count - 1 else kept[labels],
    )
