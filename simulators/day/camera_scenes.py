"""Scenes before street cameras: what stands, drives, drifts and falls, as vision would tell it."""

from __future__ import annotations

import math
from typing import NamedTuple

from core.city import Camera
from core.units import NS_PER_S, seconds_to_ns
from geo.instruments import WATCHED_AHEAD_M
from simulators.day.diary import Diary
from simulators.day.sightings import Sighting, Telling, every
from simulators.sensors import Excursion

Span = tuple[float, float]

STATIC_OBJECT = "detection.static_object"

#: One object in so many is lost by the tracker half-way and found again under a new number.
_LOST_RATIO = 0.08
_LOST_FOR_S = (6.0, 16.0)


class Stay(NamedTuple):
    """Objects that stand before cameras of a role: as many, how long, how often they are told."""

    scenario: str
    role: str
    shape: str
    zone_kind: str
    size_m: Span
    how_many: int
    note: str
    stay_s: Span
    near_count: int
    near_note: str
    near_stay_s: Span
    first_s: float
    step_s: float
    hours: Span | None = None


STAYS = (
    Stay("exposed-waste", "pavement", "small", "pavement", (1.4, 1.2), 16,
         "a heap of waste is left on the pavement", (900, 3600), 14,
         "bags are put down and carried on", (35, 72), 20.0, 30.0),
    Stay("street-trading", "pavement", "stall", "pavement", (2.4, 1.8), 11,
         "a shop's goods stand on the pavement", (1800, 5400), 8,
         "a delivery stands on the pavement", (90, 225), 20.0, 60.0, (7.0, 21.5)),
    Stay("illegal-parking", "no-parking", "vehicle", "no_parking", (4.5, 1.9), 17,
         "a car is parked where parking is forbidden", (600, 2400), 14,
         "a car stops for a minute and leaves in time", (30, 72), 20.0, 30.0),
    Stay("stopped-vehicle", "road", "vehicle", "carriageway", (4.6, 1.9), 9,
         "a car has broken down in its lane", (240, 900), 9,
         "a car waits at a red light", (12, 43), 10.0, 15.0),
    Stay("fire-lane-blocked", "fire-lane", "vehicle", "fire_lane", (4.5, 1.9), 8,
         "a car stands in a fire lane that a camera watches", (300, 1800), 7,
         "a car stops in a fire lane and drives on", (25, 57), 20.0, 30.0),
)  # fmt: skip


class CameraDay:
    """Writes what happens before street cameras.

    Args:
        diary: Where to.
        factor: How many times as many scenes as in a district.
    """

    def __init__(self, diary: Diary, factor: float = 1.0) -> None:
        self.diary = diary
        self.factor = factor
        self.cameras: dict[str, list[Camera]] = {}
        for camera_id, camera in sorted(diary.city.cameras.items()):
            if camera_id.startswith("cam-") and camera.pose is not None:
                role = camera_id.removeprefix("cam-").rpartition("-")[0]
                self.cameras.setdefault(role, []).append(camera)

    def write(self) -> None:
        """All scenes before cameras."""
        for stay in STAYS:
            self._stays(stay)
        self._wrong_way()
        self._trucks()
        self._falls()
        self._debris()
        self._clutter()

    def _count(self, count: int) -> int:
        return max(1, round(count * self.factor))

    def _turned(self, role: str) -> list[Camera]:
        found = self.cameras.get(role, [])
        return [found[number] for number in self.diary.rng.permutation(len(found)).tolist()]

    def _spot(self, camera: Camera, ahead_m: float = 0.0, aside_m: float = 0.0) -> Span:
        """Longitude and latitude of a place before a camera, from the middle of its view."""
        pose = camera.pose
        assert pose is not None
        turn = math.radians(pose.yaw_deg)
        east, north = self.diary.places.frame.to_metres(pose.lon_deg, pose.lat_deg)
        ahead = WATCHED_AHEAD_M + ahead_m
        return self.diary.places.frame.to_degrees(
            east + ahead * math.sin(turn) + aside_m * math.cos(turn),
            north + ahead * math.cos(turn) - aside_m * math.sin(turn),
        )

    # -- what stands --------------------------------------------------------------------------

    def _stays(self, stay: Stay) -> None:
        cameras = self._turned(stay.role)
        if not cameras:
            return
        diary = self.diary
        for number in range(self._count(stay.how_many)):
            camera = cameras[number % len(cameras)]
            stay_s = diary.between(*stay.stay_s)
            at_ns = diary.book(camera.camera_id, stay_s, hours=stay.hours)
            if at_ns is None:
                continue
            # Every fourth time there are two of them, 15 m apart at the same time: two things.
            two = number % 4 == 3
            for ahead in (-7.5, 7.5) if two else (diary.between(-7.0, 7.0),):
                place = self._spot(camera, ahead)
                devices: tuple[str, ...] = ()
                if stay.role == "fire-lane" and not two:
                    place, devices = self._on_bay(camera, place, at_ns, stay_s)
                self._stands(stay, camera, place, at_ns, stay_s, thing=True, devices=devices)
                at_ns += seconds_to_ns(diary.between(5, 40)) if two else 0
        for number in range(self._count(stay.near_count)):
            camera = cameras[(number + 1) % len(cameras)]
            stay_s = diary.between(*stay.near_stay_s)
            at_ns = diary.book(camera.camera_id, stay_s, hours=stay.hours)
            if at_ns is not None:
                place = self._spot(camera, diary.between(-7.0, 7.0))
                self._stands(stay, camera, place, at_ns, stay_s, thing=False)

    def _stands(
        self,
        stay: Stay,
        camera: Camera,
        place: Span,
        at_ns: int,
        stay_s: float,
        *,
        thing: bool,
        devices: tuple[str, ...] = (),
    ) -> None:
        diary = self.diary
        end_ns = at_ns + seconds_to_ns(stay_s)
        parts = [(at_ns, end_ns)]
        if thing and stay_s > 600 and diary.between(0, 1) < _LOST_RATIO:
            lost_ns = at_ns + seconds_to_ns(stay_s * diary.between(0.4, 0.6))
            found_ns = lost_ns + seconds_to_ns(diary.between(*_LOST_FOR_S))
            parts = [(at_ns, lost_ns), (found_ns, end_ns)]
        for begin_ns, until_ns in parts:
            self._stationary(stay, camera, place, begin_ns, until_ns)
        tell = diary.happens if thing else diary.nearly
        note = stay.note if thing else stay.near_note
        cameras = (camera.camera_id,)
        tell(stay.scenario, place, at_ns, end_ns, note, devices=devices, cameras=cameras)

    def _on_bay(
        self, camera: Camera, place: Span, at_ns: int, stay_s: float
    ) -> tuple[Span, tuple[str, ...]]:
        """On a parking sensor in the middle of the view, where there is one that is free then."""
        diary, frame = self.diary, self.diary.places.frame
        middle = frame.to_metres(*self._spot(camera))
        for thing_id, device in sorted(diary.city.devices.items()):
            if device.kind != "parking" or device.lon_deg is None or device.lat_deg is None:
                continue
            away_m = math.dist(frame.to_metres(device.lon_deg, device.lat_deg), middle)
            if away_m < 5.0 and diary.book_at(thing_id, at_ns, stay_s):
                end_ns = at_ns + seconds_to_ns(stay_s)
                one = Excursion(start_ns=at_ns, end_ns=end_ns, peak=1.0)
                diary.excursion(thing_id, "occupied", one)
                return (device.lon_deg, device.lat_deg), (thing_id,)
        return place, ()

    def _stationary(self, stay: Stay, camera: Camera, place: Span, at_ns: int, end_ns: int) -> None:
        diary = self.diary
        pose = camera.pose
        assert pose is not None
        length, width = (round(one * diary.between(0.92, 1.08), 2) for one in stay.size_m)

        def telling(now_ns: int, seconds: float, phase: str) -> Telling:
            return Telling(
                at_ns=now_ns,
                measures={
                    "dwell_s": round(seconds, 3),
                    "length_m": length,
                    "width_m": width,
                    "confidence_ratio": 0.9,
                },
                labels={"object": stay.shape, "zone_kind": stay.zone_kind, "phase": phase},
            )

        tellings = [
            telling(now_ns, seconds, "update")
            for now_ns, seconds in every(at_ns, end_ns, stay.first_s, stay.step_s)
        ]
        if not tellings:
            return
        gone_s = (end_ns - at_ns) / NS_PER_S
        first = tellings[0]
        tellings[0] = telling(first.at_ns, stay.first_s, "new")
        tellings.append(telling(end_ns + 2 * NS_PER_S, gone_s, "end"))
        camera_id = camera.camera_id
        diary.sightings.append(
            Sighting(
                camera_id=camera_id,
                thing_id=f"{camera_id}/{diary.next_number(camera_id)}",
                kind=STATIC_OBJECT,
                lon_deg=place[0],
                lat_deg=place[1],
                tellings=tuple(tellings),
                azimuth_deg=pose.yaw_deg,
            )
        )

    # -- what moves ---------------------------------------------------------------------------

    def _tracked(
        self, camera: Camera, kind: str, place: Span, tellings: list[Telling], sigma_m: Span
    ) -> None:
        assert camera.pose is not None
        camera_id = camera.camera_id
        self.diary.sightings.append(
            Sighting(
                camera_id=camera_id,
                thing_id=f"{camera_id}/{self.diary.next_number(camera_id)}",
                kind=kind,
                lon_deg=place[0],
                lat_deg=place[1],
                tellings=tuple(tellings),
                sigma_m=sigma_m,
                azimuth_deg=camera.pose.yaw_deg,
            )
        )

    def _wrong_way(self) -> None:
        """A car drives against its lane; a car backs into a bay."""
        diary, cameras = self.diary, self._turned("road")
        for number in range(self._count(14) if cameras else 0):
            thing = number % 2 == 0
            camera = cameras[number % len(cameras)]
            lasts_s = diary.between(16, 24) if thing else 4.0
            at_ns = diary.book(camera.camera_id, lasts_s, hours=(5.0, 23.9))
            if at_ns is None:
                continue
            speed_mps = diary.between(2.0, 2.6)
            tellings = []
            for now_ns, seconds in every(at_ns, at_ns + seconds_to_ns(lasts_s), 2.0, 2.0):
                lon, lat = self._spot(camera, -18.0 + speed_mps * seconds)
                tellings.append(
                    Telling(
                        at_ns=now_ns,
                        measures={
                            "against_s": seconds if thing else min(seconds, 3.0),
                            "speed_mps": speed_mps,
                        },
                        labels={"object": "vehicle", "zone_kind": "carriageway"},
                        lon_deg=lon,
                        lat_deg=lat,
                    )
                )
            place = self._spot(camera, -18.0 + speed_mps * 6.0)
            self._tracked(camera, "detection.wrong_way", place, tellings, (0.9, 0.4))
            tell = diary.happens if thing else diary.nearly
            note = "a car drives against its lane" if thing else "a car backs into a bay"
            end_ns = at_ns + seconds_to_ns(lasts_s)
            tell("stopped-vehicle", place, at_ns, end_ns, note, cameras=(camera.camera_id,))

    def _trucks(self) -> None:
        """Trucks leave a site's gate with their load open, covered, or wrongly read once."""
        diary, cameras = self.diary, self._turned("gate")
        for number in range(self._count(25) if cameras else 0):
            thing = number % 2 == 0
            camera = cameras[number % len(cameras)]
            lasts_s = diary.between(12, 20)
            at_ns = diary.book(camera.camera_id, lasts_s, hours=(5.5, 23.5), rest_s=2400)
            if at_ns is None:
                continue
            open_ratio = diary.between(0.68, 0.95) if thing else diary.between(0.04, 0.2)
            glitch = not thing and number % 4 == 1
            tellings: list[Telling] = []
            for now_ns, seconds in every(at_ns, at_ns + seconds_to_ns(lasts_s), 2.0, 2.0):
                lon, lat = self._spot(camera, -9.0 + 1.2 * seconds)
                ratio = open_ratio + diary.between(-0.03, 0.03)
                if glitch and len(tellings) == 2:
                    ratio = diary.between(0.62, 0.75)
                tellings.append(
                    Telling(
                        at_ns=now_ns,
                        measures={"uncovered_ratio": round(ratio, 3)},
                        labels={"object": "truck", "zone_kind": "site"},
                        lon_deg=lon,
                        lat_deg=lat,
                    )
                )
            place = self._spot(camera)
            self._tracked(camera, "detection.truck_load", place, tellings, (0.9, 0.4))
            tell = diary.happens if thing else diary.nearly
            note = (
                "a truck leaves with its load open"
                if thing
                else "a covered truck, read wrongly in one frame"
                if glitch
                else "a covered truck"
            )
            end_ns = at_ns + seconds_to_ns(lasts_s)
            tell("uncovered-truck", place, at_ns, end_ns, note, cameras=(camera.camera_id,))

    def _falls(self) -> None:
        """Something is thrown from a window; leaves, bags, and what falls from a sill."""
        diary, cameras = self.diary, self._turned("facade")
        for number in range(self._count(25) if cameras else 0):
            thing = number % 2 == 0
            camera = cameras[number % len(cameras)]
            at_ns = diary.book(camera.camera_id, 3.0, hours=(6.0, 23.9))
            if at_ns is None:
                continue
            light = not thing and number % 4 == 1
            height_m = diary.between(9.5, 42.0) if thing or light else diary.between(1.2, 3.4)
            speed_mps = 3.0 if light else round(min(18.0, math.sqrt(2 * 9.81 * height_m)), 2)
            place = self._spot(camera, 0.0, diary.between(-6.0, 6.0))
            telling = Telling(
                at_ns=at_ns + seconds_to_ns(2.0),
                measures={"fall_height_m": height_m, "fall_speed_mps": speed_mps},
                labels={
                    "object": "light" if light else "solid",
                    "building": f"{camera.camera_id.removeprefix('cam-')}",
                },
                sure=True,
            )
            self._tracked(camera, "detection.falling_object", place, [telling], (1.5, 0.8))
            tell = diary.happens if thing else diary.nearly
            note = (
                "something is thrown from a window"
                if thing
                else "a bag drifts down"
                if light
                else "a pot falls from a low sill"
            )
            end_ns = at_ns + seconds_to_ns(3.0)
            tell("falling-object", place, at_ns, end_ns, note, cameras=(camera.camera_id,))

    def _debris(self) -> None:
        """Debris gathers on the river; a little of it, or a raft that drifts by."""
        diary, cameras = self.diary, self._turned("water")
        for number in range(self._count(16) if cameras else 0):
            thing, raft = number % 2 == 0, number % 4 == 1
            camera = cameras[(number // 2) % len(cameras)]
            lasts_s = diary.between(1500, 4200) if thing else 200.0 if raft else 1800.0
            at_ns = diary.book(camera.camera_id, lasts_s)
            if at_ns is None:
                continue
            area = diary.between(6.0, 16.0) if thing or raft else diary.between(0.5, 1.3)
            ahead = diary.between(-6.0, 6.0)
            tellings = [
                Telling(
                    at_ns=now_ns,
                    measures={"area_m2": round(area * diary.between(0.93, 1.07), 2)},
                    labels={"zone_kind": "water"},
                )
                for now_ns, _ in every(at_ns, at_ns + seconds_to_ns(lasts_s), 30.0, 60.0)
            ]
            place = self._spot(camera, ahead)
            self._tracked(camera, "detection.floating_debris", place, tellings, (1.2, 0.6))
            tell = diary.happens if thing else diary.nearly
            note = (
                "debris gathers on the river"
                if thing
                else "a raft of debris drifts by"
                if raft
                else "a few branches float on the river"
            )
            end_ns = at_ns + seconds_to_ns(lasts_s)
            tell("floating-debris", place, at_ns, end_ns, note, cameras=(camera.camera_id,))

    # -- what is nothing ----------------------------------------------------------------------

    def _clutter(self) -> None:
        """Shadows and reflections that vision takes for a thing for some seconds."""
        diary = self.diary
        hours = (diary.end_ns - diary.start_ns) / (3600 * NS_PER_S)
        for stay in STAYS:
            for camera in self.cameras.get(stay.role, []):
                for _ in range(int(diary.rng.poisson(0.08 * hours))):
                    at_ns = diary.start_ns + int(
                        diary.rng.integers(0, diary.end_ns - diary.start_ns)
                    )
                    lasts_s = stay.first_s + diary.between(1.0, 14.0)
                    self._stationary(
                        stay,
                        camera,
                        self._spot(camera, diary.between(-9, 9)),
                        at_ns,
                        at_ns + seconds_to_ns(lasts_s),
                    )
