"""Static objects: from pixels that stand still to things with a beginning and an end.

A region becomes an object when it has stood long enough, and only if something was left
there: where something that belonged to the street was taken away, or where only the light
changed, the region becomes part of the street. An object is present while it looks as it
did, hidden while something passes before it, and gone when the street shows again.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from core.units import NS_PER_S
from vision.background import DualBackground, Foreground
from vision.detections import Image, Mask, find_blobs
from vision.shifted import only_shifted, reach_of

#: Most objects of one camera at one time; more are taken for part of the street and counted.
MAX_OBJECTS = 32

_MIN_AREA_PX = 14

#: Pixels that came to rest this much later than the rest belong to something else.
_ARRIVAL_SPREAD_S = 2.5

#: Pieces of a region that are smaller than this share of the largest belong to something else.
_STRAY_RATIO = 0.15

#: A region larger than this share of the picture is a change of light.
_LIGHT_AREA_RATIO = 0.35

#: Within this time after its birth, pieces that come to rest at its side join an object.
_GROWTH_S = 15.0

#: A region of which this share changed since the last picture is looked at later.
_RESTLESS_RATIO = 0.15

#: Something that hides an object and stands for this long has taken its place.
_REPLACED_S = 60.0

Box = tuple[int, int, int, int]


class Region(NamedTuple):
    """A part of the picture.

    ``box`` is left, top, right, bottom in pixels of the model; ``inside`` and ``telling`` are
    masks of its shape: the outline filled, and the pixels that differed from the street.
    """

    box: Box
    inside: NDArray[np.bool_]
    telling: NDArray[np.bool_]


class StaticObject:
    """A thing that stands in the picture; ``box``, ``inside``, ``telling`` as of a region."""

    def __init__(self, number: int, region: Region) -> None:
        self.number = number
        self.take(region)
        self.stopped_ns = 0
        self.born_ns = 0
        self.seen_ns = 0
        self.gone_since_ns: int | None = None
        self.looks: NDArray[np.float32] = np.empty((0, 0, 3), np.float32)
        self.level = 1.0

    def take(self, region: Region) -> None:
        """Be where a region is."""
        self.box, self.inside, self.telling = region

    @property
    def solidity_ratio(self) -> float:
        """Share of its outline that truly differs from the street."""
        return int(np.count_nonzero(self.telling)) / max(1, int(np.count_nonzero(self.inside)))


class Changes(NamedTuple):
    """What became of the objects in one picture."""

    appeared: list[StaticObject]
    grown: list[StaticObject]
    gone: list[StaticObject]


class StaticObjects:
    """Keeps the static objects of one view.

    Objects leave when they are gone or replaced; at most ``MAX_OBJECTS`` are kept.

    Args:
        shape: (h, w) of the model's pictures.
        new_after_s: How long a region must have stood to become an object.
        gone_after_s: How long the street must show before an object is gone.
    """

    def __init__(
        self, shape: tuple[int, int], *, new_after_s: float = 20.0, gone_after_s: float = 10.0
    ) -> None:
        self._new_after_s = new_after_s
        self._gone_after_ns = round(gone_after_s * NS_PER_S)
        self._last_number = 0
        self.held: Mask = np.zeros(shape, np.uint8)
        self.objects: dict[int, StaticObject] = {}
        self.refused: dict[str, int] = {}

    def update(self, background: DualBackground, foreground: Foreground, now_ns: int) -> Changes:
        """Take the next picture.

        Args:
            background: The models, already updated with this picture.
            foreground: What they said of it.
            now_ns: Event time.

        Returns:
            The objects that appeared, grew and went.
        """
        gone = [
            one for one in list(self.objects.values()) if self._is_gone(one, foreground, now_ns)
        ]
        for one in gone:
            del self.objects[one.number]
            background.forget(one.box)
        if gone:
            self._hold()
        appeared, grown = self._promote(background, foreground, now_ns)
        return Changes(appeared, grown, gone)

    def split(self, one: StaticObject, front: Region, back: Region) -> StaticObject | None:
        """Make two objects of one: it stays the front, and the back becomes another.

        Returns:
            The other, or None where there are too many objects already.
        """
        if len(self.objects) >= MAX_OBJECTS:
            return None
        other = StaticObject(self._number(one.stopped_ns), back)
        other.stopped_ns, other.born_ns, other.seen_ns = one.stopped_ns, one.born_ns, one.seen_ns
        other.level = one.level
        left, top = one.box[:2]
        for part, region in ((other, back), (one, front)):
            box = region.box
            part.looks = one.looks[
                box[1] - top : box[3] - top, box[0] - left : box[2] - left
            ].copy()
        one.take(front)
        self.objects[other.number] = other
        self._hold()
        return other

    def visible(self, numbers: set[int]) -> Mask:
        """Where the objects with these numbers stand, shape (h, w), 0 or 255."""
        mask = np.zeros_like(self.held)
        for number in numbers & self.objects.keys():
            one = self.objects[number]
            left, top, right, bottom = one.box
            mask[top:bottom, left:right][one.inside] = 255
        return mask

    def _is_gone(self, one: StaticObject, foreground: Foreground, now_ns: int) -> bool:
        left, top, right, bottom = one.box
        now = foreground.image[top:bottom, left:right]
        light = foreground.level / one.level
        apart = np.abs(now - one.looks * np.float32(light)).max(axis=2)
        tell = one.telling
        as_it_was = float(np.mean(apart[tell] <= foreground.threshold))
        # The light falls otherwise on a thing than on the street: how it is structured counts
        # as well as how bright it is.
        if as_it_was < 0.5 and _alike(now, one.looks, one.inside) > 0.85:
            as_it_was = 1.0
        street = float(np.mean(foreground.stands[top:bottom, left:right][tell] == 0))
        if as_it_was >= 0.5 and street < 0.8:
            one.seen_ns = now_ns
            one.gone_since_ns = None
            share = min(1.0, foreground.step_s / 8.0)
            one.looks += np.float32(share) * (now - one.looks)
            one.level = foreground.level
            return False
        if street >= 0.6:
            if one.gone_since_ns is None:
                one.gone_since_ns = now_ns
            return now_ns - one.gone_since_ns >= self._gone_after_ns
        one.gone_since_ns = None
        calm = float(np.mean(foreground.fast[top:bottom, left:right][tell] == 0))
        hidden_ns = now_ns - one.seen_ns
        return calm > 0.6 and hidden_ns >= _REPLACED_S * NS_PER_S

    def _promote(
        self, background: DualBackground, foreground: Foreground, now_ns: int
    ) -> tuple[list[StaticObject], list[StaticObject]]:
        appeared: list[StaticObject] = []
        grown: list[StaticObject] = []
        evidence_s = foreground.evidence_s
        if cv2.countNonZero(foreground.stands) < _MIN_AREA_PX // 2:
            return appeared, grown
        free = (self.held == 0) & (foreground.stands > 0)
        if np.count_nonzero(free & (evidence_s >= self._new_after_s)) < _MIN_AREA_PX // 2:
            return appeared, grown
        standing: Mask = np.where(free & (evidence_s >= 0.6 * self._new_after_s), 255, 0).astype(
            np.uint8
        )
        blobs = find_blobs(standing, min_area_px=4, reach_px=3)
        for row in range(len(blobs)):
            left, top, right, bottom = (int(edge) for edge in blobs.xyxy_px[row])
            telling = blobs.labels[top:bottom, left:right] == row + 1
            ages_s = evidence_s[top:bottom, left:right]
            age_s = _oldest_age_s(ages_s[telling])
            if age_s < self._new_after_s:
                continue
            telling = _without_strays(telling & (np.abs(ages_s - age_s) <= _ARRIVAL_SPREAD_S))
            found = _outline(*self._grow((left, top, right, bottom), telling, foreground))
            if found is None:
                continue
            box, inside, telling = found
            moved = foreground.fast[box[1] : box[3], box[0] : box[2]][telling] > 0
            if float(moved.mean()) > _RESTLESS_RATIO:
                continue  # something passes before it: its looks would be those of another
            parent = self._parent(found, now_ns)
            why_not = self._refusal(box, inside, telling, background)
            if parent is not None and why_not in ("", "speck"):
                self._join(parent, box, telling, background, foreground)
                grown.append(parent)
            elif why_not == "speck" and age_s < 2.0 * self._new_after_s:
                continue
            elif why_not:
                self.refused[why_not] = self.refused.get(why_not, 0) + 1
                background.absorb(box, inside)
            else:
                stopped_ns = now_ns - round((age_s + foreground.step_s) * NS_PER_S)
                one = StaticObject(self._number(stopped_ns), found)
                one.stopped_ns = stopped_ns
                one.born_ns = one.seen_ns = now_ns
                one.looks = background.standing(box).astype(np.float32)
                one.level = foreground.level
                self.objects[one.number] = one
                appeared.append(one)
                self._hold()
        return appeared, grown

    def _grow(
        self, box: Box, telling: NDArray[np.bool_], foreground: Foreground
    ) -> tuple[Box, NDArray[np.bool_]]:
        """Add what differs weakly beside what differs clearly: a grey roof over grey ground."""
        height, width = self.held.shape
        reach = 4 + max(box[2] - box[0], box[3] - box[1]) // 2
        wide: Box = (
            max(0, box[0] - reach),
            max(0, box[1] - reach),
            min(width, box[2] + reach),
            min(height, box[3] + reach),
        )
        sure = _moved_to(telling, box, wide)
        window = np.s_[wide[1] : wide[3], wide[0] : wide[2]]
        calm = (foreground.fast[window] == 0) & (self.held[window] == 0)
        weak = ((foreground.weak[window] > 0) & calm) | sure
        opened = cv2.morphologyEx(weak.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, labels = cv2.connectedComponents(opened)
        touched = np.unique(labels[sure & (labels > 0)])
        grown = np.isin(labels, touched[touched > 0]) | sure
        # Much more than was sure is a change of light that the thing happens to touch.
        if np.count_nonzero(grown) > 2 * np.count_nonzero(sure):
            return box, telling
        return wide, grown

    def _refusal(
        self,
        box: Box,
        inside: NDArray[np.bool_],
        telling: NDArray[np.bool_],
        background: DualBackground,
    ) -> str:
        """Why a region is no object; empty when it is one."""
        if np.count_nonzero(telling) < _MIN_AREA_PX:
            return "speck"
        if np.count_nonzero(inside) > _LIGHT_AREA_RATIO * self.held.size:
            return "light"
        wide = reach_of(box, *self.held.shape)
        standing, street = background.standing(wide), background.street(wide)
        changed = _moved_to(telling, box, wide)
        if _only_light(standing, street, changed):
            return "light"
        if was_removed(standing, street, changed):
            return "removed"
        if only_shifted(standing, street, changed):
            return "shifted"
        if len(self.objects) >= MAX_OBJECTS:
            return "too_many_objects"
        return ""

    def _parent(self, piece: Region, now_ns: int) -> StaticObject | None:
        """The object that a new piece belongs to, if any.

        That is one that it lies around or within, or a young one that it touches and that is
        much larger.
        """
        box = piece.box
        area = int(np.count_nonzero(piece.inside))
        for one in self.objects.values():
            near = (
                box[0] <= one.box[2] + 2
                and box[2] >= one.box[0] - 2
                and box[1] <= one.box[3] + 2
                and box[3] >= one.box[1] - 2
            )
            if not near:
                continue
            whole = _around(box, one.box)
            shared = _moved_to(piece.inside, box, whole) & _moved_to(one.inside, one.box, whole)
            one_area = int(np.count_nonzero(one.inside))
            if np.count_nonzero(shared) > 0.4 * min(area, one_area):
                return one
            if area < 0.35 * one_area and now_ns - one.born_ns <= _GROWTH_S * NS_PER_S:
                return one
        return None

    def _join(
        self,
        one: StaticObject,
        box: Box,
        telling: NDArray[np.bool_],
        background: DualBackground,
        foreground: Foreground,
    ) -> None:
        whole = _around(box, one.box)
        both = _moved_to(telling, box, whole) | _moved_to(one.telling, one.box, whole)
        found = _outline(whole, both)
        assert found is not None
        one.take(found)
        one.looks = background.standing(one.box).astype(np.float32)
        one.level = foreground.level
        self._hold()

    def _hold(self) -> None:
        self.held = self.visible(set(self.objects))

    def _number(self, stopped_ns: int) -> int:
        """The second it stopped: the same on every replay, another one after a restart."""
        self._last_number = max(self._last_number + 1, stopped_ns // NS_PER_S)
        return self._last_number


def halves(one: StaticObject, row_px: int) -> tuple[Region, Region] | None:
    """What of an object lies below a row of the picture, and what above.

    Returns:
        Front and back, or None where either is too small to be something.
    """
    at = max(0, row_px - one.box[1])
    above, below = one.telling.copy(), one.telling.copy()
    above[at:] = False
    below[:at] = False
    front, back = _outline(one.box, below), _outline(one.box, above)
    if front is None or back is None:
        return None
    if min(int(np.count_nonzero(part.telling)) for part in (front, back)) < _MIN_AREA_PX:
        return None
    return front, back


def _oldest_age_s(ages_s: NDArray[np.float32]) -> float:
    """How long the part of a region that came first has stood; stray pixels do not count."""
    for share in (95, 85, 70, 50):
        age_s = float(np.percentile(ages_s, share))
        if np.mean(np.abs(ages_s - age_s) <= _ARRIVAL_SPREAD_S) >= 0.2:
            return age_s
    return float(np.median(ages_s))


def _without_strays(telling: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A region without the pieces that are small beside its largest one.

    Of something that came a little later, a few pixels are always as old.
    """
    parts = find_blobs(telling.astype(np.uint8), reach_px=1)
    if len(parts) < 2:
        return telling
    large = np.flatnonzero(parts.area_px >= _STRAY_RATIO * parts.area_px.max()) + 1
    return np.asarray(np.isin(parts.labels, large))


def was_removed(standing: Image, street: Image, changed: NDArray[np.bool_]) -> bool:
    """Whether a region changed because something was taken away, not left.

    Two cues, each the ratio of the two pictures. A thing has an edge all along its outline,
    where paint on the ground only crosses it here and there. And a thing has colours that the
    ground around it has not, while bare ground, paint included, goes on beyond the outline.

    Args:
        standing: What is there now, shape (h, w, 3), with some pixels of surroundings.
        street: What was there before, same shape.
        changed: Shape (h, w), the region that changed.

    Returns:
        True where the thing is in the picture of before.

    Example:
        >>> bare = np.full((24, 24, 3), 90, np.uint8)
        >>> changed = np.zeros((24, 24), np.bool_)
        >>> changed[8:16, 8:16] = True
        >>> thing = bare.copy()
        >>> thing[changed] = 200
        >>> was_removed(bare, thing, changed), was_removed(thing, bare, changed)
        (True, False)

    Source:
        The edge energy of J. Connell et al., "Detection and tracking in the IBM PeopleVision
        system", ICME 2004; the comparison with the surroundings after Y. Tian et al., "Robust
        detection of abandoned and removed objects in complex surveillance videos", IEEE
        Trans. SMC-C 41(5), 2011.
    """
    mask = cv2.morphologyEx(
        changed.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)
    ).astype(np.uint8, copy=False)
    edges = [_edge_across(picture, mask) for picture in (standing, street)]
    strange = [_strangeness(picture, mask) for picture in (standing, street)]
    # The constants are about the noise: below it a ratio says nothing.
    score = np.log((edges[0] + 4.0) / (edges[1] + 4.0))
    score += np.log((strange[0] + 3.0) / (strange[1] + 3.0))
    return bool(score < 0.0)


def _edge_across(picture: Image, mask: NDArray[np.uint8]) -> float:
    """How much the brightness changes across the outline of a mask, median along it."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.5)
    out_x, out_y = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    steep = cv2.magnitude(out_x, out_y)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    rim = (cv2.dilate(mask, cross) != cv2.erode(mask, cross)) & (steep > 1e-3)
    if not rim.any():
        return 0.0
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0) * out_x + cv2.Sobel(grey, cv2.CV_32F, 0, 1) * out_y
    return float(np.median(np.abs(across[rim]) / steep[rim]))


def _strangeness(picture: Image, mask: NDArray[np.uint8]) -> float:
    """How far the colours in a mask are from the nearest colours around it, mean."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    ring = (cv2.dilate(mask, cross, iterations=6) > 0) & (cv2.dilate(mask, cross) == 0)
    inside, around = picture[mask > 0], picture[ring]
    if not len(inside) or not len(around):
        return 0.0
    inside = inside[:: 1 + len(inside) // 256].astype(np.int16)
    known = np.unique(around // 4, axis=0).astype(np.int16) * 4 + 2
    apart = np.abs(inside[:, None, :] - known[None, :, :]).max(axis=2)
    return float(apart.min(axis=1).mean())


def _only_light(standing: Image, street: Image, changed: NDArray[np.bool_]) -> bool:
    """Whether a region shows the same ground, only brighter or darker."""
    if _alike(standing, street, changed) < 0.8:
        return False
    now = standing[changed].astype(np.float32).mean(axis=1)
    then = street[changed].astype(np.float32).mean(axis=1)
    brighter = float(np.median(now / np.maximum(then, 1.0)))
    left_over = float(np.percentile(np.abs(now - brighter * then), 75))
    return left_over <= 0.35 * float(np.median(np.abs(now - then)))


def _alike(
    one: Image | NDArray[np.float32], other: Image | NDArray[np.float32], inside: NDArray[np.bool_]
) -> float:
    """Correlation of the structure of two pictures in a region, -1 to 1; 0 for none to speak of.

    A shadow or a brighter sky leaves the structure of the ground as it was. What lies at the
    region's rim, as lane paint beside a car, is the same in both anyway and does not count.
    """
    core = cv2.erode(
        inside.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT
    )
    if cv2.countNonZero(core) < _MIN_AREA_PX:
        core = inside.astype(np.uint8)
    share = cv2.blur(core.astype(np.float32), (7, 7), borderType=cv2.BORDER_CONSTANT)
    fine = []
    for picture in (one, other):
        green = picture[..., 1].astype(np.float32) * core
        around = cv2.blur(green, (7, 7), borderType=cv2.BORDER_CONSTANT)
        fine.append((green - around / np.maximum(share, 1e-3))[core > 0])
    a, b = (part - part.mean() for part in fine)
    spread = float(a.std() * b.std())
    # Below about two grey values the structure is the sensor's noise.
    return float((a * b).mean() / spread) if spread > 4.0 else 0.0


def _around(one: Box, other: Box) -> Box:
    """The smallest box round two."""
    return (
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
    )


def _moved_to(mask: NDArray[np.bool_], box: Box, wide: Box) -> NDArray[np.bool_]:
    """A mask of one box as that of a wider one."""
    moved = np.zeros((wide[3] - wide[1], wide[2] - wide[0]), np.bool_)
    moved[box[1] - wide[1] : box[3] - wide[1], box[0] - wide[0] : box[2] - wide[0]] = mask
    return moved


def _outline(box: Box, telling: NDArray[np.bool_]) -> Region | None:
    """Crop a region to its pixels and fill its convex outline; None where it has none."""
    rows, columns = np.flatnonzero(telling.any(axis=1)), np.flatnonzero(telling.any(axis=0))
    if not len(rows):
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    telling = telling[top:bottom, left:right].copy()
    points = cv2.findNonZero(telling.astype(np.uint8))
    filled = np.zeros(telling.shape, np.uint8)
    cv2.fillConvexPoly(filled, cv2.convexHull(points).astype(np.int32), 1)
    tight = (
        box[0] + int(left),
        box[1] + int(top),
        box[0] + int(right),
        box[1] + int(bottom),
    )
    return Region(tight, (filled > 0) | telling, telling)
