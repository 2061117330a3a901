"""What every detector is given and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from core.ports import Ground
from vision.background import DualBackground, Foreground
from vision.boxes import Floats
from vision.detections import Image
from vision.tracking.tracker import Tracks


class Area(NamedTuple):
    """A zone of the picture, in pixels of the analysis picture.

    ``polygon`` float32 (n, 2); ``inside`` bool (h, w); ``flow`` is a unit vector along which
    traffic goes, or None. ``area_m2`` is NaN where the ground is not known.
    """

    id: str
    kind: str
    polygon: NDArray[np.float32]
    inside: NDArray[np.bool_]
    flow: tuple[float, float] | None
    area_m2: float

    @property
    def middle(self) -> tuple[float, float]:
        """The point in the picture that stands for it: the mean of its corners."""
        u, v = self.polygon.mean(axis=0).tolist()
        return u, v


class Scene(NamedTuple):
    """One picture and what has been found out about it. Pixels are of the analysis picture.

    ``image`` (h, w, 3) is as it came, made small. ``foreground`` is None while the model of the
    background learns. ``allowed`` (h, w) is False where the camera's masks are. ``ground`` is
    None where neither pose nor known points were given. ``full`` is the picture in full size,
    ``factor`` full pixels for each of ours.
    """

    image: Image
    background: DualBackground
    foreground: Foreground | None
    tracks: Tracks
    areas: tuple[Area, ...]
    allowed: NDArray[np.bool_]
    ground: Ground | None
    time_ns: int
    step_s: float
    full: Image
    factor: float

    def areas_of(self, *kinds: str) -> list[Area]:
        """The zones of some kinds."""
        return [area for area in self.areas if area.kind in kinds]


class Sighting(msgspec.Struct, frozen=True):
    """A thing that a detector sees in this picture.

    ``key`` is the same for the same thing in every picture. ``kind`` is the observation's
    kind, ``what`` its label ``object``. ``since_ns`` is when it began, where the detector
    knows better than "when it was first seen".
    """

    key: str
    kind: str
    what: str
    xyxy: tuple[float, float, float, float]
    score_ratio: float = 1.0
    measures: dict[str, float] = {}
    labels: dict[str, str] = {}
    since_ns: int | None = None


class Reading(msgspec.Struct, frozen=True):
    """A number that a detector tells now and then: a count, a level.

    ``at_px`` is the point of the ground that it is about, where there is one.
    """

    kind: str
    thing: str
    measures: dict[str, float]
    labels: dict[str, str] = {}
    at_px: tuple[float, float] | None = None


class Notes(NamedTuple):
    """What a detector has to say about one picture."""

    sightings: Sequence[Sighting] = ()
    readings: Sequence[Reading] = ()


class Detector(Protocol):
    """Looks at one picture after the other; keeps bounded state."""

    def look(self, scene: Scene) -> Notes:
        """Take the next picture."""
        ...


class Patience(NamedTuple):
    """For how long a kind of thing must be seen, and unseen, before it is told of."""

    new_after_s: float
    gone_after_s: float
    update_every_s: float = 10.0
    least_share: float = 0.5  #: of the pictures since it was first seen


def foot_points(xyxy: Floats, ground: Ground | None) -> Floats:
    """Where things touch the ground, pixels (n, 2).

    That is the foot of the box, or from above its middle.
    """
    middle = (xyxy[:, 0] + xyxy[:, 2]) / 2.0
    if ground is not None and ground.from_above:
        return np.column_stack([middle, (xyxy[:, 1] + xyxy[:, 3]) / 2.0])
    return np.column_stack([middle, xyxy[:, 3]])


def sizes_m(xyxy: Floats, ground: Ground | None) -> Floats:
    """Width on the ground of each box along its foot, metres (n,); NaN where unknown."""
    if ground is None or not len(xyxy):
        return np.full(len(xyxy), np.nan)
    row = (xyxy[:, 1] + xyxy[:, 3]) / 2.0 if ground.from_above else xyxy[:, 3]
    left = ground.metres(np.column_stack([xyxy[:, 0], row]))
    right = ground.metres(np.column_stack([xyxy[:, 2], row]))
    across = np.hypot(*(right - left).T)
    if not ground.from_above:
        return np.asarray(across)
    column = (xyxy[:, 0] + xyxy[:, 2]) / 2.0
    top = ground.metres(np.column_stack([column, xyxy[:, 1]]))
    bottom = ground.metres(np.column_stack([column, xyxy[:, 3]]))
    return np.asarray(np.maximum(across, np.hypot(*(bottom - top).T)))


def pixel_areas_m2(scene: Scene) -> NDArray[np.float32] | None:
    """Square metres of ground in each pixel, (h, w); NaN above the horizon; None if unknown."""
    if scene.ground is None:
        return None
    height, width = scene.allowed.shape
    # A raster of corners of 8 pixels: within a cell the scale hardly changes.
    us, vs = np.arange(0, width + 8, 8), np.arange(0, height + 8, 8)
    corners = np.stack(np.meshgrid(us, vs), axis=-1).reshape(-1, 2).astype(np.float64)
    places = scene.ground.metres(corners).reshape(len(vs), len(us), 2)
    one, two = places[1:, 1:] - places[:-1, :-1], places[1:, :-1] - places[:-1, 1:]
    cells = np.abs(one[..., 0] * two[..., 1] - one[..., 1] * two[..., 0]) / 2.0 / 64.0
    return np.asarray(
        np.repeat(np.repeat(cells, 8, axis=0), 8, axis=1)[:height, :width], np.float32
    )


def area_of(
    xyxy: tuple[float, float, float, float], areas: Sequence[Area], ground: Ground | None
) -> Area | None:
    """The first zone that a box stands in."""
    u, v = foot_points(np.array([xyxy]), ground)[0].tolist()
    for area in areas:
        if cv2.pointPolygonTest(area.polygon, (u, v), False) >= 0:
            return area
    return None
