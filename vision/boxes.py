"""Boxes as arrays: left, top, right, bottom in pixels, one row each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def iou(one_xyxy: Floats, other_xyxy: Floats) -> Floats:
    """Intersection over union of each box of one set with each of another.

    Args:
        one_xyxy: Shape (n, 4).
        other_xyxy: Shape (m, 4).

    Returns:
        Shape (n, m), 0 to 1; 0 where a box has no area.

    Example:
        >>> iou(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 0.0, 3.0, 2.0]])).round(3)
        array([[0.333]])
        >>> iou(np.empty((0, 4)), np.array([[1.0, 0.0, 3.0, 2.0]])).shape
        (0, 1)
    """
    low = np.maximum(one_xyxy[:, None, :2], other_xyxy[None, :, :2])
    high = np.minimum(one_xyxy[:, None, 2:], other_xyxy[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=2)
    union = area(one_xyxy)[:, None] + area(other_xyxy)[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0.0))


def area(xyxy: Floats) -> Floats:
    """Areas of boxes (n, 4) in pixels, shape (n,); 0 where a box is inside out."""
    return np.asarray(np.prod(np.clip(xyxy[:, 2:] - xyxy[:, :2], 0.0, None), axis=1))


def xyxy_to_cxcywh(xyxy: Floats) -> Floats:
    """Corners (n, 4) to centres and sizes (n, 4).

    Example:
        >>> xyxy_to_cxcywh(np.array([[0.0, 0.0, 4.0, 2.0]])).tolist()
        [[2.0, 1.0, 4.0, 2.0]]
    """
    return np.hstack([(xyxy[:, :2] + xyxy[:, 2:]) / 2.0, xyxy[:, 2:] - xyxy[:, :2]])


def cxcywh_to_xyxy(cxcywh: Floats) -> Floats:
    """Centres and sizes (n, 4) to corners (n, 4).

    Example:
        >>> cxcywh_to_xyxy(np.array([[2.0, 1.0, 4.0, 2.0]])).tolist()
        [[0.0, 0.0, 4.0, 2.0]]
    """
    half = cxcywh[:, 2:] / 2.0
    return np.hstack([cxcywh[:, :2] - half, cxcywh[:, :2] + half])


def grown(xyxy: Floats, ratio: float) -> Floats:
    """Boxes (n, 4) with a margin of ``ratio`` of their size on every side.

    Example:
        >>> grown(np.array([[0.0, 0.0, 4.0, 2.0]]), 0.5).tolist()
        [[-2.0, -1.0, 6.0, 3.0]]
    """
    margin = (xyxy[:, 2:] - xyxy[:, :2]) * ratio
    return np.hstack([xyxy[:, :2] - margin, xyxy[:, 2:] + margin])


def merge_overlapping(xyxy: Floats, score_ratio: Floats, *, most_iou: float) -> NDArray[np.intp]:
    """Rows that stay when of boxes over one thing only the surest is kept.

    Args:
        xyxy: Shape (n, 4).
        score_ratio: Shape (n,).
        most_iou: Boxes that overlap more than this are of one thing.

    Returns:
        Row numbers, surest first.

    Example:
        >>> boxes = np.array([[0.0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 12]])
        >>> merge_overlapping(boxes, np.array([0.5, 0.9, 0.3]), most_iou=0.5).tolist()
        [1, 2]

    Source:
        Greedy non-maximum suppression, as in Felzenszwalb et al., TPAMI 32(9), 2010.
    """
    order = np.argsort(-score_ratio, kind="stable")
    kept: list[int] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        order = order[iou(xyxy[best][None], xyxy[order])[0] <= most_iou]
    return np.array(kept, np.intp)
