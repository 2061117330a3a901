"""Tracks: which box of this picture is the thing of the last one.

Association in bands, each by the Hungarian method on what the last left over: sure boxes to
tracks by overlap with where the filter expects them, then unsure boxes to tracks that have
lost theirs, then, for what is too fast to overlap itself, by distance in
proportion to the filter's own doubt.

Source:
    Y. Zhang et al., "ByteTrack: multi-object tracking by associating every detection box",
    ECCV 2022; the Hungarian method as scipy.optimize.linear_sum_assignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from core.errors import GeometryError
from vision.boxes import Floats, iou
from vision.tracking.motion_model import BoxMotion

#: An unsure box must fit better than a sure one.
_UNSURE_IOU = 0.4

#: Of its size a second: how fast a thing seen once may be.
_NEW_SPEED_RATIO = 5.0

_Mask = NDArray[np.bool_]


class TrackingParameters(msgspec.Struct, frozen=True, kw_only=True):
    """What a camera may tune; times are event time."""

    sure_ratio: float = 0.5  #: boxes with this score may begin a track
    unsure_ratio: float = 0.1  #: boxes below this are noise
    least_iou: float = 0.4
    confirm_hits: int = 3  #: more: clutter becomes no track, but tracks begin later
    tentative_s: float = 0.2  #: a new track that is not seen for this long is dropped
    coast_s: float = 0.12  #: a track unseen for so long is still told of, where it is expected
    lost_s: float = 1.5  #: shorter: a thing gets another number behind a lamp post
    most_sigmas: float = 3.0
    max_tracks: int = 256


class Tracks(NamedTuple):
    """The confirmed tracks of one picture, n of them.

    ``number`` int64 (n,), from 1, never given twice. ``xyxy_px`` (n, 4), of the filter.
    ``speed_px_s`` (n, 2) of the centre. ``seen`` (n,): False where the box is only expected.
    ``since_s`` (n,): when the track began. ``labels``: what most of its boxes said it is.
    ``row`` (n,): its box among the detections, -1 where unseen.
    """

    number: NDArray[np.int64]
    xyxy_px: Floats
    speed_px_s: Floats
    seen: NDArray[np.bool_]
    since_s: Floats
    labels: tuple[str, ...]
    row: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.number)

    def enlarged(self, factor: float) -> Tracks:
        """The same in pixels of a picture ``factor`` times as large."""
        return Tracks(
            self.number,
            self.xyxy_px * factor,
            self.speed_px_s * factor,
            self.seen,
            self.since_s,
            self.labels,
            self.row,
        )


class Tracker:
    """Keeps the tracks of one camera.

    A track leaves when it was not seen for ``lost_s``; at most ``max_tracks`` are kept, and
    boxes beyond are counted in ``refused``.

    Example:
        >>> tracker = Tracker()
        >>> for step in range(4):
        ...     box = np.array([[10.0 + step, 10.0, 30.0 + step, 50.0]])
        ...     tracks = tracker.update(box, at_s=step * 0.1)
        >>> tracks.number.tolist(), tracks.seen.tolist()
        ([1], [True])
    """

    def __init__(self, parameters: TrackingParameters | None = None) -> None:
        self.parameters = parameters or TrackingParameters()
        #: Boxes that began no track because there were too many.
        self.refused = 0
        #: Numbers of confirmed tracks that ended with the last update.
        self.ended: list[int] = []
        self._motion = BoxMotion()
        self._number: NDArray[np.int64] = np.empty(0, np.int64)
        self._hits: NDArray[np.int64] = np.empty(0, np.int64)
        self._since_s: Floats = np.empty(0)
        self._seen_s: Floats = np.empty(0)
        self._votes: list[dict[str, float]] = []
        self._last_number = 0
        self._last_s: float | None = None

    def __len__(self) -> int:
        return len(self._number)

    def update(
        self,
        xyxy_px: Floats,
        *,
        at_s: float,
        score_ratio: Floats | None = None,
        labels: Sequence[str] | None = None,
    ) -> Tracks:
        """Take the boxes of the next picture.

        Args:
            xyxy_px: Shape (n, 4).
            at_s: Event time in seconds since any fixed instant, increasing.
            score_ratio: Shape (n,), 1 unless given.
            labels: What each box is; boxes and tracks may differ in it, the most votes win.

        Returns:
            The confirmed tracks that were seen, or were seen within ``coast_s``.

        Raises:
            GeometryError: The shapes do not fit.
        """
        boxes = np.asarray(xyxy_px, np.float64).reshape(-1, 4)
        scores = np.ones(len(boxes)) if score_ratio is None else np.asarray(score_ratio, float)
        words = ("",) * len(boxes) if labels is None else tuple(labels)
        if len(scores) != len(boxes) or len(words) != len(boxes):
            raise GeometryError(
                f"{len(boxes)} boxes need as many scores and labels, got {len(scores)} and "
                f"{len(words)}"
            )
        step_s = 0.0 if self._last_s is None else at_s - self._last_s
        self._motion.predict(step_s)
        self._last_s = at_s
        row_of = self._associate(boxes, scores, step_s)
        hit = np.flatnonzero(row_of >= 0)
        if len(hit):
            self._motion.correct(hit, boxes[row_of[hit]])
            self._hits[hit] += 1
            self._seen_s[hit] = at_s
            for track in hit.tolist():
                self._vote(track, words[row_of[track]], scores[row_of[track]])
        row_of = self._begin(boxes, scores, words, at_s, row_of)
        row_of = self._evict(at_s, row_of)
        return self._told(at_s, row_of)

    def _associate(self, boxes: Floats, scores: Floats, step_s: float) -> NDArray[np.intp]:
        """For each track the row of its box, or -1."""
        limits = self.parameters
        row_of = np.full(len(self._number), -1, np.intp)
        if not len(row_of) or not len(boxes):
            return row_of
        expected = self._motion.xyxy()
        overlap = iou(expected, boxes)
        far = np.where(self._outruns_itself(step_s)[:, None], self._sigmas_apart(boxes), np.inf)
        sure = scores >= limits.sure_ratio
        unsure = ~sure & (scores >= limits.unsure_ratio)
        confirmed = self._hits >= limits.confirm_hits
        bands: tuple[tuple[_Mask, _Mask, Floats, _Mask], ...] = (
            (confirmed, sure, 1.0 - overlap, overlap >= limits.least_iou),
            (confirmed, unsure, 1.0 - overlap, overlap >= _UNSURE_IOU),
            (~confirmed, sure, 1.0 - overlap, overlap >= limits.least_iou),
            (confirmed, sure, far, far <= limits.most_sigmas),
            (~confirmed, sure, far, far <= limits.most_sigmas),
        )
        for tracks, rows, cost, allowed in bands:
            free = np.ones(len(boxes), np.bool_)
            free[row_of[row_of >= 0]] = False
            which = np.flatnonzero(tracks & (row_of < 0))
            those = np.flatnonzero(rows & free)
            if not len(which) or not len(those):
                continue
            window = np.ix_(which, those)
            may = allowed[window]
            if not may.any():
                continue
            # Pairs that may not be cost more than any that may, so they are left to the last.
            left, right = linear_sum_assignment(np.where(may, cost[window], 1e3))
            good = may[left, right]
            row_of[which[left[good]]] = those[right[good]]
        return row_of

    def _outruns_itself(self, step_s: float) -> _Mask:
        """Tracks that may well not overlap themselves from one picture to the next.

        Elsewhere a box that does not overlap is rather clutter than the thing.
        """
        sizes = np.maximum(self._motion.value[:, 2:], 1.0)
        known = np.abs(self._motion.speed[:, :2])
        new = _NEW_SPEED_RATIO * np.sqrt(np.prod(sizes, axis=1))[:, None]
        speed = np.where((self._hits == 1)[:, None], new, known)
        return np.asarray((speed * step_s > 0.5 * sizes).any(axis=1))

    def _sigmas_apart(self, boxes: Floats) -> Floats:
        """Distance of centres in units of what the filter allows, inf where sizes differ."""
        value = self._motion.value
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2.0
        sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
        spread = np.hypot(self._motion.spread_px(), 0.05 * sizes.mean() + 1.0)
        apart = (centres[None, :, :] - value[:, None, :2]) / spread[:, None, :]
        unlike = np.abs(np.log(sizes[None, :, :] / np.maximum(value[:, None, 2:], 1.0))).max(axis=2)
        distance = np.hypot(apart[..., 0], apart[..., 1])
        return np.where(unlike <= np.log(1.6), distance, np.inf)

    def _begin(
        self,
        boxes: Floats,
        scores: Floats,
        words: tuple[str, ...],
        at_s: float,
        row_of: NDArray[np.intp],
    ) -> NDArray[np.intp]:
        limits = self.parameters
        new = scores >= limits.sure_ratio
        new[row_of[row_of >= 0]] = False
        rows = np.flatnonzero(new)
        room = max(0, limits.max_tracks - len(self._number))
        self.refused += max(0, len(rows) - room)
        rows = rows[:room]
        if not len(rows):
            return row_of
        self._motion.add(boxes[rows])
        numbers = self._last_number + 1 + np.arange(len(rows))
        self._last_number += len(rows)
        self._number = np.concatenate([self._number, numbers])
        self._hits = np.concatenate([self._hits, np.ones(len(rows), np.int64)])
        self._since_s = np.concatenate([self._since_s, np.full(len(rows), at_s)])
        self._seen_s = np.concatenate([self._seen_s, np.full(len(rows), at_s)])
        for row in rows.tolist():
            self._votes.append({})
            self._vote(len(self._votes) - 1, words[row], scores[row])
        return np.concatenate([row_of, rows])

    def _vote(self, track: int, word: str, score: float) -> None:
        if word:
            votes = self._votes[track]
            votes[word] = votes.get(word, 0.0) + score

    def _evict(self, at_s: float, row_of: NDArray[np.intp]) -> NDArray[np.intp]:
        limits = self.parameters
        confirmed = self._hits >= limits.confirm_hits
        patience = np.where(confirmed, limits.lost_s, limits.tentative_s)
        # Half a microsecond: sums of frame periods are not exact.
        kept = at_s - self._seen_s <= patience + 5e-7
        self.ended = self._number[~kept & confirmed].tolist()
        if not kept.all():
            self._motion.keep(kept)
            self._number, self._hits = self._number[kept], self._hits[kept]
            self._since_s, self._seen_s = self._since_s[kept], self._seen_s[kept]
            self._votes = [one for one, stays in zip(self._votes, kept, strict=True) if stays]
        return row_of[kept]

    def _told(self, at_s: float, row_of: NDArray[np.intp]) -> Tracks:
        limits = self.parameters
        recent = at_s - self._seen_s <= limits.coast_s + 5e-7
        told = np.flatnonzero((self._hits >= limits.confirm_hits) & recent)
        return Tracks(
            number=self._number[told],
            xyxy_px=self._motion.xyxy()[told],
            speed_px_s=self._motion.speed[told, :2],
            seen=self._seen_s[told] == at_s,
            since_s=self._since_s[told],
            labels=tuple(
                max(self._votes[row], key=self._votes[row].__getitem__, default="")
                for row in told.tolist()
            ),
            row=row_of[told],
        )
