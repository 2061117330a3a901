"""Whether a change is only the scene itself, a few pixels aside: a pole that sways or settles."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.detections import Image

#: As far as a fixed camera settles or sways, in pixels of the analysis picture.
REACH_PX = 8

_LEAST_CORRELATION = 0.85

#: Share of the difference that a shift may leave, as it is not of whole pixels.
_MOST_LEFT_RATIO = 0.5

#: Grey values of structure below which a correlation is that of the noise.
_LEAST_STRUCTURE = 4.0


def reach_of(box: tuple[int, int, int, int], height: int, width: int) -> tuple[int, int, int, int]:
    """A box with ``REACH_PX`` pixels round it, where a picture of that size has them.

    Example:
        >>> reach_of((2, 40, 30, 60), 64, 320)
        (0, 32, 38, 64)
    """
    left, top, right, bottom = box
    return (
        max(0, left - REACH_PX),
        max(0, top - REACH_PX),
        min(width, right + REACH_PX),
        min(height, bottom + REACH_PX),
    )


def only_shifted(now: Image, then: Image, changed: NDArray[np.bool_]) -> bool:
    """Whether what a region shows was there before, a few pixels aside.

    Args:
        now: Shape (h, w, 3); the region as :func:`reach_of` widens it.
        then: The same place before.
        changed: Shape (h, w), the region.

    Returns:
        True where some shift of at most ``REACH_PX`` explains the region with its rim.

    Example:
        >>> then = np.full((40, 40, 3), 90, np.uint8)
        >>> then[:, 18:21] = 200
        >>> now, bag = np.roll(then, 4, axis=1), then.copy()
        >>> bag[10:20, 5:12] = 20
        >>> moved = (now != then).any(axis=2)
        >>> only_shifted(now, then, moved), only_shifted(bag, then, (bag != then).any(axis=2))
        (True, False)
        >>> red = then.copy()
        >>> red[10:20, 18:21] = (60, 60, 250)
        >>> only_shifted(red, then, (red != then).any(axis=2))
        False

    Source:
        Correlation under a mask as cv2.matchTemplate.
    """
    rim = cv2.dilate(changed.astype(np.uint8), np.ones((5, 5), np.uint8))
    left, top, width, height = cv2.boundingRect(rim)
    if width < 3 or height < 3:
        return False
    window = np.s_[top : top + height, left : left + width]
    grey_now, grey_then = (cv2.cvtColor(one, cv2.COLOR_BGR2GRAY) for one in (now, then))
    part, mask = grey_now[window], rim[window]
    if float(part[mask > 0].std()) < _LEAST_STRUCTURE:
        return False
    wide = cv2.copyMakeBorder(grey_then, *(REACH_PX,) * 4, cv2.BORDER_REPLICATE)
    around = wide[top : top + height + 2 * REACH_PX, left : left + width + 2 * REACH_PX]
    alike = cv2.matchTemplate(
        around.astype(np.float32),
        part.astype(np.float32),
        cv2.TM_CCOEFF_NORMED,
        mask=mask.astype(np.float32),
    )
    _, best, _, (right, down) = cv2.minMaxLoc(np.nan_to_num(alike, nan=0.0, posinf=0.0))
    if best < _LEAST_CORRELATION:
        return False
    # The rim is much the same anyway, and grey says nothing of colours: look at the region
    # itself, but for what the shift brought in over the picture's border.
    rows, columns = np.nonzero(changed)
    from_rows, from_columns = rows + down - REACH_PX, columns + right - REACH_PX
    known = (from_rows >= 0) & (from_rows < changed.shape[0])
    known &= (from_columns >= 0) & (from_columns < changed.shape[1])
    if 2 * np.count_nonzero(known) < len(rows):
        return True
    here = now[rows[known], columns[known]]
    unshifted = _apart(here, then[rows[known], columns[known]])
    shifted = _apart(here, then[from_rows[known], from_columns[known]])
    return shifted <= _MOST_LEFT_RATIO * unshifted


def _apart(one: Image, other: Image) -> float:
    """Mean difference of pixels, shape (n, 3), of the channel that differs most."""
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).max(axis=1).mean())
