"""Holds the picture of a camera that hovers or sways still: each is laid onto the first.

What follows then has the pixels of the first picture, whatever the aircraft did: the street it
learnt, tracks, zones, lines and known corners of the ground.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from vision.boxes import Floats
from vision.detections import Image, Mask
from vision.view_follower import Grey, ViewFollower, taken

#: Pictures are compared at about this width.
_WIDTH_PX = 480
#: Nearer to the first picture than this, in full pixels at every corner, it is taken as it is.
_STILL_PX = 0.25


class Steadied(NamedTuple):
    """A picture in the pixels of the first one.

    ``image`` (h, w, 3): what this picture does not show is as it was last seen. ``seen`` (h, w)
    is 255 where this picture shows it, None where it shows all and was taken as it is.
    ``matrix`` (3, 3) takes pixels of the first picture to pixels of this one.
    """

    image: Image
    seen: Mask | None = None
    matrix: Floats = np.eye(3)

    def shown(self) -> Image:
        """What this picture shows, black elsewhere."""
        if self.seen is None:
            return self.image
        return np.asarray(cv2.bitwise_and(self.image, self.image, mask=self.seen), np.uint8)


class Steadier:
    """Lays one picture after the other onto the first; keeps one picture in full and one small.

    Args:
        first: The picture that others are laid onto, shape (h, w, 3).

    Example:
        >>> noise = np.random.default_rng(7).integers(0, 255, (180, 320, 3), np.uint8)
        >>> ground = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0), np.uint8)
        >>> shaken = Steadier(ground).steady(np.roll(ground, 5, axis=1))
        >>> shaken.matrix[:2, 2].round().astype(int).tolist()
        [5, 0]
        >>> int(np.abs(shaken.image.astype(int) - ground)[20:-20, 20:-20].max()) < 9
        True
    """

    def __init__(self, first: Image) -> None:
        self._canvas = first.copy()
        factor = max(1.0, first.shape[1] / _WIDTH_PX)
        # Middles of pixels, not their corners, lie on each other.
        aside = 0.5 / factor - 0.5
        self._scale = np.array([[1 / factor, 0, aside], [0, 1 / factor, aside], [0, 0, 1]])
        self._small_px = (round(first.shape[1] / factor), round(first.shape[0] / factor))
        self._follower = ViewFollower(self._small(first))

    def steady(self, image: Image) -> Steadied | None:
        """Take the next picture, of the size of the first.

        Returns:
            None where it does not show what the first one did, or too little of it. Where the
            first one has nothing to hold on to each is taken as it is.
        """
        if not self._follower.can_hold:
            return Steadied(image)
        small = self._follower.follow(self._small(image))
        if small is None:
            return None
        matrix = np.linalg.inv(self._scale) @ small @ self._scale
        height, width = image.shape[:2]
        outline = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
        if np.abs(taken(outline, matrix) - outline).max() < _STILL_PX:
            self._canvas = image.copy()
            return Steadied(image)
        size = (width, height)
        cv2.warpPerspective(
            image, matrix, size, dst=self._canvas,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_TRANSPARENT,
        )  # fmt: skip
        # Shorter by a pixel all round: at its edge a pixel is half of what was there before.
        inside = np.zeros((height, width), np.uint8)
        inside[1:-1, 1:-1] = 255
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        seen = np.asarray(cv2.warpPerspective(inside, matrix, size, flags=flags), np.uint8)
        return Steadied(self._canvas.copy(), seen, matrix)

    def renew(self, street: Image) -> None:
        """Lay what comes onto the empty street as it is by now.

        Args:
            street: In the pixels of the first picture, of any size, shape (h, w, 3).
        """
        self._follower.renew(self._small(street))

    def _small(self, image: Image) -> Grey:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if (grey.shape[1], grey.shape[0]) != self._small_px:
            grey = cv2.resize(grey, self._small_px, interpolation=cv2.INTER_AREA)
        return np.asarray(grey, np.uint8)
