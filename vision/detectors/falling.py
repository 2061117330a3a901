"""Something that falls down a façade: tracks of small blobs that gather speed as free fall does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from core.units import NS_PER_S
from vision.camera_file import FallingSpec
from vision.detections import Mask, find_blobs
from vision.detectors.protocol import Area, Notes, Scene, Sighting

FALLING_OBJECT = "detection.falling_object"

#: Zones of the picture that things fall from.
FACADES = ("facade", "building")

_G_MPS2 = 9.81

#: What is taken for free fall: scale and tilt of the camera err by so much; drag takes some.
_LEAST_MPS2, _MOST_MPS2 = 5.0, 14.0

#: Over a fall seen whole the speed at least doubles; raindrops that are taken for one another
#: along a chance curve do not gather so much.
_LEAST_GAIN = 1.8

#: Nothing falls faster from the height of a city's roofs.
_MOST_MPS = 45.0

#: Heavy rain or a swaying tree has more moving spots; then nothing can be told from them.
_MOST_BLOBS = 120
_MOST_TRACKS = 256
_MOST_POINTS = 128

#: A picture may miss it, before a white wall or a lamp.
_MOST_MISSED = 2

#: A fall is told of for so long after its end, for the picture that is stored.
_SHOWN_S = 0.5


class Fall(NamedTuple):
    """A fall as it was fitted: height from its first to its last point, speed at the last."""

    height_m: float
    speed_mps: float
    acceleration_mps2: float
    began_ns: int
    xyxy: tuple[float, float, float, float]


class _Point(NamedTuple):
    time_ns: int
    u: float
    v: float
    size: float


class _Track(NamedTuple):
    points: tuple[_Point, ...]
    missed: int = 0


class FallingDetector:
    """Objects falling from height.

    Good for: a camera that looks flatly at one façade, ten pictures a second and more, things of
    three pixels and more. Fails on: what falls straight at or away from the camera, cameras
    that look up steeply (metres a pixel change with height), things with the wall's brightness,
    what comes down in less than half a second; dense rain hides some falls. Birds (they
    swerve), rain (constant speed) and leaves (slow after the first metre) are told apart by
    their motion.

    Source:
        The parabola of free fall fitted to blob tracks by least squares, after projectile
        tracking in sports (H.-T. Chen et al., J. Visual Communication and Image Representation
        20(3), 2009); the double difference of three pictures after R. Collins et al., "A system
        for video surveillance and monitoring", CMU-RI-TR-00-12, 2000.

    Args:
        spec: Its settings.
        metres_per_px: On the façade, in the analysis picture.
    """

    def __init__(self, spec: FallingSpec, metres_per_px: float) -> None:
        self._spec = spec
        self._scale = metres_per_px
        self._greys: list[NDArray[np.uint8]] = []
        self._loose: tuple[_Point, ...] = ()
        self._tracks: list[_Track] = []
        self._shown: list[tuple[int, Sighting]] = []
        self._last_key = 0
        #: Pictures with too many moving spots to look at.
        self.crowded = 0

    def look(self, scene: Scene) -> Notes:
        """See :class:`vision.detectors.protocol.Detector`."""
        points = self._spots(scene)
        if len(points) > _MOST_BLOBS:
            self.crowded += 1
            points = ()
        ended = self._follow(points)
        for fall in merged(
            fall for track in ended if (fall := fitted(track.points, self._scale)) is not None
        ):
            one = self._sight(scene, fall)
            if one is not None:
                self._shown.append((scene.time_ns + round(_SHOWN_S * NS_PER_S), one))
        self._shown = [one for one in self._shown if one[0] >= scene.time_ns][-16:]
        return Notes([one for _, one in self._shown])

    def _spots(self, scene: Scene) -> tuple[_Point, ...]:
        """What differs from both pictures before this one: where something moving is now."""
        grey = np.asarray(cv2.cvtColor(scene.image, cv2.COLOR_BGR2GRAY), np.uint8)
        if self._greys and self._greys[0].shape != grey.shape:
            self._greys, self._tracks, self._loose = [], [], ()
        before = self._greys
        self._greys = [*before[-1:], grey]
        if len(before) < 2:
            return ()
        apart = cv2.min(cv2.absdiff(grey, before[0]), cv2.absdiff(grey, before[1]))
        noise = float(np.percentile(apart[::4, ::4], 90))
        # A lamp switched on or a cloud: everything differs.
        least = max(float(self._spec.least_difference), 3.0 * noise)
        mask: Mask = np.where((apart > least) & scene.allowed, 255, 0).astype(np.uint8)
        blobs = find_blobs(mask, min_area_px=self._spec.min_area_px, reach_px=1)
        largest = (self._spec.most_size_m / self._scale) ** 2
        spots = []
        for box, area in zip(blobs.xyxy_px.tolist(), blobs.area_px.tolist(), strict=True):
            if area <= largest:
                left, top, right, bottom = box
                size = float(max(right - left, bottom - top))
                spots.append(
                    _Point(scene.time_ns, (left + right) / 2.0, (top + bottom) / 2.0, size)
                )
        return tuple(spots)

    def _follow(self, points: tuple[_Point, ...]) -> list[_Track]:
        """Lengthen tracks; gives those that ended."""
        kept: list[_Track] = []
        ended: list[_Track] = []
        taken: set[int] = set()
        for track in sorted(self._tracks, key=lambda one: -len(one.points)):
            found = self._next(track, points)
            if found is not None:
                if len(track.points) >= 4:
                    taken.add(found)
                kept.append(_Track((*track.points, points[found])[-_MOST_POINTS:]))
            elif track.missed < _MOST_MISSED and len(track.points) >= 3:
                kept.append(_Track(track.points, track.missed + 1))
            else:
                ended.append(track)
        free = [one for row, one in enumerate(points) if row not in taken]
        # Which spot became which is not known yet: every pair that goes down may be a fall.
        kept += [
            _Track((first, second))
            for first in self._loose
            for second in free
            if self._may_follow(first, second)
        ]
        self._tracks, self._loose = kept[:_MOST_TRACKS], tuple(free)
        return ended

    def _may_follow(self, first: _Point, second: _Point) -> bool:
        step_s = (second.time_ns - first.time_ns) / NS_PER_S
        down, aside = second.v - first.v, abs(second.u - first.u)
        return 0.5 <= down <= _MOST_MPS * step_s / self._scale and aside <= 1.5 + 0.5 * down

    def _next(self, track: _Track, points: tuple[_Point, ...]) -> int | None:
        """The spot nearest to where a falling thing would be now."""
        if not points:
            return None
        before, last = track.points[-2:]
        took_s = (last.time_ns - before.time_ns) / NS_PER_S
        step_s = (points[0].time_ns - last.time_ns) / NS_PER_S
        faster = _G_MPS2 / self._scale * (took_s + step_s) / 2.0
        down = ((last.v - before.v) / took_s + faster) * step_s
        aside = (last.u - before.u) / took_s * step_s
        places = np.array([(one.u, one.v) for one in points])
        away = np.hypot(*(places - [last.u + aside, last.v + down]).T)
        nearest = int(away.argmin())
        near = away[nearest] <= 3.0 + 0.3 * down + 0.5 * last.size
        return nearest if near and points[nearest].v > last.v else None

    def _sight(self, scene: Scene, fall: Fall) -> Sighting | None:
        """A fall as a sighting; None where it is too low or not before a façade."""
        if fall.height_m < self._spec.min_height_m:
            return None
        facades = scene.areas_of(*FACADES)
        facade = _facade_of(fall, facades)
        if facades and facade is None:
            return None
        self._last_key += 1
        measures = {
            "fall_height_m": round(fall.height_m, 1),
            "fall_speed_mps": round(fall.speed_mps, 1),
            "acceleration_mps2": round(fall.acceleration_mps2, 1),
        }
        labels = {} if facade is None else {"building": facade.id, "zone_kind": facade.kind}
        return Sighting(
            f"fall-{self._last_key}",
            FALLING_OBJECT,
            "solid",
            fall.xyxy,
            min(0.95, 0.6 + 0.02 * fall.height_m),
            measures,
            labels,
            fall.began_ns,
        )


def fitted(points: tuple[_Point, ...], metres_per_px: float) -> Fall | None:
    """The fall along some points; None where they are no free fall.

    Down the façade a parabola is fitted, along it a line: both by least squares.

    Example:
        >>> drop = tuple(_Point(n * NS_PER_S // 10, 50.0, 9.81 / 2 * (n / 10) ** 2 / 0.05, 3.0)
        ...              for n in range(15))
        >>> fall = fitted(drop, 0.05)
        >>> round(fall.height_m, 2), round(fall.speed_mps, 2)
        (9.61, 13.73)
        >>> rain = tuple(_Point(n * NS_PER_S // 10, 50.0, 16.0 * n, 3.0) for n in range(15))
        >>> fitted(rain, 0.05) is None
        True
    """
    if len(points) < 6:
        return None
    at_s = np.array([(one.time_ns - points[0].time_ns) / NS_PER_S for one in points])
    if at_s[-1] < 0.4:
        return None
    across = np.array([one.u for one in points]) * metres_per_px
    down = np.array([one.v for one in points]) * metres_per_px
    curve = np.polyfit(at_s, down, 2)
    line = np.polyfit(at_s, across, 1)
    height = float(down[-1] - down[0])
    off_down = float(np.sqrt(((np.polyval(curve, at_s) - down) ** 2).mean()))
    off_across = float(np.sqrt(((np.polyval(line, at_s) - across) ** 2).mean()))
    # Two pixels of jitter, and a little of the height for tumbling.
    most_off = 2.0 * metres_per_px + 0.015 * height
    acceleration = 2.0 * float(curve[0])
    speed = float(curve[1]) + acceleration * float(at_s[-1])
    if (
        not _LEAST_MPS2 <= acceleration <= _MOST_MPS2
        or off_down > most_off
        or off_across > most_off
        or abs(across[-1] - across[0]) > 0.6 * height
        or float(curve[1]) < -1.0
        or speed < _LEAST_GAIN * float(curve[1])
    ):
        return None
    us, vs = [one.u for one in points], [one.v for one in points]
    margin = max(one.size for one in points) / 2.0 + 2.0
    box = (min(us) - margin, min(vs) - margin, max(us) + margin, max(vs) + margin)
    return Fall(height, speed, acceleration, points[0].time_ns, box)


def merged(falls: Iterable[Fall]) -> list[Fall]:
    """Of several readings of one fall the highest: they end in the same picture and place."""
    kept: list[Fall] = []
    for fall in sorted(falls, key=lambda one: -one.height_m):
        if not any(
            abs(fall.xyxy[2] - one.xyxy[2]) < 20.0 and abs(fall.xyxy[3] - one.xyxy[3]) < 40.0
            for one in kept
        ):
            kept.append(fall)
    return kept


def _facade_of(fall: Fall, facades: list[Area]) -> Area | None:
    """The façade before which the upper end of a fall lies."""
    u, v = (fall.xyxy[0] + fall.xyxy[2]) / 2.0, fall.xyxy[1] + 4.0
    for area in facades:
        if cv2.pointPolygonTest(area.polygon, (u, v), True) >= -3.0:
            return area
    return None
