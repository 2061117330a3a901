"""What moves: counts over lines, speed, wrong way, traffic and crowds, from tracks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import msgspec
import numpy as np

from core.units import NS_PER_S
from vision.boxes import Floats
from vision.camera_file import MovingSpec
from vision.detectors.protocol import Area, Notes, Reading, Scene, Sighting, foot_points, sizes_m

TRAFFIC = "detection.traffic"
MOVING_COUNT = "detection.moving_count"
LINE_COUNT = "detection.line_count"
CROWD = "detection.crowd"
WRONG_WAY = "detection.wrong_way"

#: Zones in which vehicles drive, and in which people gather.
DRIVEN = ("carriageway", "hard_shoulder", "fire_lane")
GATHERED = ("square", "pavement")

#: Places of a track are kept for so long, to tell its speed.
_MEMORY_S = 2.0

#: A vehicle is at least this long on the ground, a person at most so wide.
_VEHICLE_M, _PERSON_M = 1.5, 1.2

#: Of its own size: what has gone less far since it was first seen has not moved.
_MOVED_RATIO = 0.6

#: Cosine of the angle to the flow beyond which a thing goes against it.
_AGAINST = -0.5


class Line(NamedTuple):
    """A counting line in pixels of the analysis picture."""

    id: str
    start: tuple[float, float]
    end: tuple[float, float]


class _Path(msgspec.Struct):
    """What is remembered of one track; leaves with it."""

    first: tuple[float, float]
    last_ns: int
    places: deque[tuple[int, float, float, float, float]]  # time, u, v, east, north
    sides: dict[str, int] = {}
    against_s: float = 0.0
    moved: bool = False
    speed_mps: float = float("nan")


class MovingDetector:
    """Counts and judges what moves.

    Good for: counts on roads seen from a mast or from above, wrong-way driving, queues.
    Fails on: things that hide each other all the way across the picture (two lanes of dense
    traffic seen flat along the road count as fewer), night with headlights on wet asphalt.

    Attributes:
        totals: Crossings since the beginning by line: in, out.

    Args:
        spec: Its settings.
        lines: Where to count.
    """

    def __init__(self, spec: MovingSpec, lines: Sequence[Line] = ()) -> None:
        self.totals: dict[str, list[int]] = {line.id: [0, 0] for line in lines}
        self._spec = spec
        self._lines = tuple(lines)
        self._paths: dict[int, _Path] = {}
        self._told_totals = {line.id: (0, 0) for line in lines}
        self._since_ns: int | None = None
        self._sums: dict[str, list[float]] = {}
        self._looks = 0

    def look(self, scene: Scene) -> Notes:
        """See :class:`vision.detectors.protocol.Detector`."""
        tracks = scene.tracks
        feet = foot_points(tracks.xyxy_px, scene.ground)
        places = (
            scene.ground.metres(feet) if scene.ground is not None else np.full(feet.shape, np.nan)
        )
        widths = sizes_m(tracks.xyxy_px, scene.ground)
        for row, number in enumerate(tracks.number.tolist()):
            self._follow(number, feet[row], places[row], tracks.xyxy_px[row], scene)
        kept_ns = scene.time_ns - round(2 * _MEMORY_S * NS_PER_S)
        self._paths = {
            number: path for number, path in self._paths.items() if path.last_ns >= kept_ns
        }
        sightings = self._wrong_way(scene, feet, widths)
        return Notes(sightings, self._readings(scene, feet, widths))

    def speed_mps(self, number: int) -> float:
        """Of a track; NaN where it is not known."""
        path = self._paths.get(number)
        return float("nan") if path is None else path.speed_mps

    def has_moved(self, number: int) -> bool:
        """Whether a track has gone anywhere: a bush in the wind has not."""
        path = self._paths.get(number)
        return path is not None and path.moved

    def _follow(self, number: int, foot: Floats, place: Floats, xyxy: Floats, scene: Scene) -> None:
        u, v = float(foot[0]), float(foot[1])
        east, north = float(place[0]), float(place[1])
        path = self._paths.get(number)
        if path is None:
            path = self._paths[number] = _Path(first=(u, v), last_ns=0, places=deque(maxlen=64))
        before = path.places[-1] if path.places else None
        path.last_ns = scene.time_ns
        path.places.append((scene.time_ns, u, v, east, north))
        while path.places[0][0] < scene.time_ns - _MEMORY_S * NS_PER_S:
            path.places.popleft()
        size = float(np.sqrt(max(1.0, (xyxy[2] - xyxy[0]) * (xyxy[3] - xyxy[1]))))
        if np.hypot(u - path.first[0], v - path.first[1]) >= _MOVED_RATIO * size:
            path.moved = True
        old = path.places[0]
        took_s = (scene.time_ns - old[0]) / NS_PER_S
        if took_s >= 0.3:
            path.speed_mps = float(np.hypot(east - old[3], north - old[4])) / took_s
        if before is not None:
            for line in self._lines:
                self._cross(line, path, (u, v), size)

    def _cross(self, line: Line, path: _Path, foot: tuple[float, float], size: float) -> None:
        """Count when a path has gone clearly from one side to the other, past the line itself."""
        start, end = np.array(line.start), np.array(line.end)
        along = end - start
        length = max(float(np.hypot(*along)), 1e-6)
        aside = np.array(foot) - start
        share = float(aside @ along) / length**2
        # In pictures v points down: a positive cross product lies to the right of the line.
        right = float(along[0] * aside[1] - along[1] * aside[0]) / length
        if abs(right) < max(1.0, 0.05 * size):
            return
        side = 1 if right > 0.0 else -1
        was = path.sides.get(line.id, 0)
        path.sides = path.sides | {line.id: side}
        if was == -side and 0.0 <= share <= 1.0:
            self.totals[line.id][0 if side > 0 else 1] += 1

    def _wrong_way(self, scene: Scene, feet: Floats, widths: Floats) -> list[Sighting]:
        sightings: list[Sighting] = []
        tracks = scene.tracks
        flowing = [area for area in scene.areas if area.flow is not None]
        for row, number in enumerate(tracks.number.tolist()) if flowing else ():
            path = self._paths[number]
            area = _holding(flowing, feet[row])
            if area is None or area.flow is None or not path.moved or not tracks.seen[row]:
                continue
            if widths[row] < _VEHICLE_M:
                continue
            oldest, newest = path.places[0], path.places[-1]
            step = np.array([newest[1] - oldest[1], newest[2] - oldest[2]])
            length = float(np.hypot(*step))
            box = tracks.xyxy_px[row]
            if length < 0.25 * float(np.sqrt(max(1.0, np.prod(box[2:] - box[:2])))):
                continue
            against = float(step @ np.array(area.flow)) / length <= _AGAINST
            path.against_s = path.against_s + scene.step_s if against else 0.0
            if path.against_s < self._spec.wrong_way_s:
                continue
            measures = {"against_s": round(path.against_s, 2)}
            if path.speed_mps == path.speed_mps:
                measures["speed_mps"] = round(path.speed_mps, 2)
            labels = {"zone": area.id, "zone_kind": area.kind}
            left, top, right, bottom = box.tolist()
            sightings.append(
                Sighting(
                    f"track-{number}",
                    WRONG_WAY,
                    "vehicle",
                    (left, top, right, bottom),
                    0.8,
                    measures,
                    labels,
                )
            )
        return sightings

    def _readings(self, scene: Scene, feet: Floats, widths: Floats) -> list[Reading]:
        """Means over ``count_every_s``, so that one blinking blob changes nothing."""
        if self._since_ns is None:
            self._since_ns = scene.time_ns
        self._looks += 1
        numbers = scene.tracks.number.tolist()
        moved = [self._paths[number].moved for number in numbers]
        self._add("moving", float(sum(moved)))
        for area in scene.areas:
            rows = [row for row in range(len(numbers)) if _holding([area], feet[row]) is not None]
            if area.kind in DRIVEN:
                cars = [row for row in rows if not widths[row] < _VEHICLE_M]
                speeds = [self._paths[numbers[row]].speed_mps for row in cars]
                known = [speed for speed in speeds if speed == speed]
                self._add(f"cars {area.id}", float(len(cars)))
                slow = sum(speed < self._spec.slow_mps for speed in known)
                self._add(f"slow {area.id}", float(slow))
                self._add(f"speed {area.id}", sum(known))
                self._add(f"known {area.id}", float(len(known)))
            elif area.kind in GATHERED:
                people = [_people(float(widths[row])) for row in rows]
                self._add(f"people {area.id}", float(sum(people)))
        if scene.time_ns - self._since_ns < self._spec.count_every_s * NS_PER_S:
            return []
        readings = [Reading(MOVING_COUNT, "", {"moving_count": float(round(self._mean("moving")))})]
        for area in scene.areas:
            labels = {"zone": area.id, "zone_kind": area.kind}
            if area.kind in DRIVEN:
                measures = {"vehicle_count": float(round(self._mean(f"cars {area.id}")))}
                known_sum = self._sums[f"known {area.id}"][0]
                if known_sum:
                    measures["slow_vehicle_count"] = float(round(self._mean(f"slow {area.id}")))
                    mean = self._sums[f"speed {area.id}"][0] / known_sum
                    measures["mean_speed_mps"] = round(mean, 2)
                readings.append(Reading(TRAFFIC, area.id, measures, labels, area.middle))
            elif area.kind in GATHERED:
                crowd = self._mean(f"people {area.id}")
                measures = {"person_count": float(round(crowd))}
                if area.area_m2 == area.area_m2:
                    measures["persons_per_m2"] = round(crowd / max(area.area_m2, 1.0), 3)
                    crowded = measures["persons_per_m2"] >= self._spec.crowd_per_m2
                    labels = labels | {"level": "crowded" if crowded else "free"}
                readings.append(Reading(CROWD, area.id, measures, labels, area.middle))
        for line in self._lines:
            came_in, came_out = self.totals[line.id]
            before = self._told_totals[line.id]
            self._told_totals[line.id] = (came_in, came_out)
            readings.append(
                Reading(
                    LINE_COUNT,
                    line.id,
                    {
                        "in_count": float(came_in - before[0]),
                        "out_count": float(came_out - before[1]),
                    },
                    {"line": line.id},
                    ((line.start[0] + line.end[0]) / 2.0, (line.start[1] + line.end[1]) / 2.0),
                )
            )
        self._since_ns, self._sums, self._looks = scene.time_ns, {}, 0
        return readings

    def _add(self, name: str, value: float) -> None:
        self._sums.setdefault(name, [0.0])[0] += value

    def _mean(self, name: str) -> float:
        return self._sums.get(name, [0.0])[0] / max(self._looks, 1)


def _people(width_m: float) -> int:
    """How many people a blob is, from its width on the ground: those who walk abreast are one.

    Example:
        >>> [_people(width_m) for width_m in (0.6, 1.3, 2.6, float("nan"))]
        [1, 2, 4, 1]
    """
    if not width_m > _PERSON_M:
        return 1
    return max(1, round(width_m / 0.65))


def _holding(areas: Sequence[Area], foot: Floats) -> Area | None:
    u, v = foot.tolist()
    for area in areas:
        if cv2.pointPolygonTest(area.polygon, (u, v), False) >= 0:
            return area
    return None
