"""A camera's picture as it is shown: nobody recognisable, with zones, boxes and tracks."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from core.units import NS_PER_S
from vision.boxes import Floats
from vision.darkroom import Negative
from vision.detections import Image
from vision.drawing import EVENT, MOVING, WHITE, camera_and_time, write_words
from vision.tracking.tracker import Tracker, TrackingParameters

#: Pictures come every half second at best, some cameras send one in two.
_TRACKING = TrackingParameters(
    least_iou=0.1, confirm_hits=2, tentative_s=4.5, coast_s=0.1, lost_s=6.0, max_tracks=64
)

#: Places of a track that are drawn as its tail.
_TAIL = 8

#: After a pause this long a track means nothing any more.
_GAP_S = 30.0


class LiveView:
    """Follows what moves in the pictures of one camera, and draws it.

    State is bounded by the tracker's; tails leave with their track.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._tracker = Tracker(_TRACKING)
        self._tails: dict[int, deque[tuple[int, int]]] = {}
        self._last_ns: int | None = None

    def follow(self, negative: Negative) -> dict[int, int]:
        """Take the next frame without drawing it; gives the track's number by row of its boxes."""
        pause_s = 0.0
        if self._last_ns is not None:
            pause_s = (negative.time_ns - self._last_ns) / NS_PER_S
        if not 0.0 <= pause_s < _GAP_S:
            self._begin()
        self._last_ns = negative.time_ns
        boxes: Floats = np.array(negative.moving, np.float64).reshape(-1, 4)
        tracks = self._tracker.update(boxes, at_s=negative.time_ns / NS_PER_S)
        for number in self._tracker.ended:
            self._tails.pop(number, None)
        number_of = dict(zip(tracks.row.tolist(), tracks.number.tolist(), strict=True))
        number_of.pop(-1, None)
        for row, number in number_of.items():
            left, _, right, bottom = negative.moving[row]
            tail = self._tails.setdefault(number, deque(maxlen=_TAIL))
            tail.append(((left + right) // 2, bottom))
        return number_of

    def draw(self, negative: Negative, blurred: Image) -> Image:
        """Take the next frame and draw what was seen in it.

        Args:
            negative: The frame, in the order of time.
            blurred: Its picture, blurred and with its zones, shape (h, w, 3); drawn on in place.
        """
        number_of = self.follow(negative)
        height = blurred.shape[0]
        size = max(0.35, height / 360.0 * 0.4)
        for row, box in enumerate(negative.moving):
            left, top, right, bottom = box
            cv2.rectangle(blurred, (left, top), (right - 1, bottom - 1), MOVING, 1)
            if (number := number_of.get(row)) is None:
                continue
            tail = np.array(self._tails[number], np.int32)
            cv2.polylines(blurred, [tail], False, MOVING, 1, cv2.LINE_AA)
            write_words(blurred, str(number), (left, top - 3), MOVING, size * 0.8)
        for one in negative.shown:
            left, top, right, bottom = one.box
            cv2.rectangle(blurred, (left - 2, top - 2), (right + 1, bottom + 1), EVENT, 2)
            write_words(blurred, one.words, (left, max(12, top - 6)), EVENT, size)
        words = camera_and_time(negative.camera_id, negative.time_ns)
        write_words(blurred, words, (6, height - 7), WHITE, size)
        return blurred
