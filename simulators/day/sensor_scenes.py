"""Scenes at fixed sensors: a table row each, with things and near misses about its line."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import shapely

from core.city import Device
from core.units import NS_PER_S, seconds_to_ns
from simulators.day.diary import QUIET_END_S, Curve, Diary
from simulators.day.sightings import Sighting, Telling
from simulators.devices.catalogue import CATALOGUE
from simulators.devices.group import phase_ns
from simulators.devices.meters import SILENCE, is_elderly, last_use_ns
from simulators.environment import Storm
from simulators.sensors import Excursion

Span = tuple[float, float]


class Near(NamedTuple):
    """A sort of near miss; with ``blink`` it is timed to be seen by one reading."""

    how_many: int
    note: str
    peak: Span
    hold_s: Span
    ramp_s: float = 0.0
    hours: Span | None = None
    blink: bool = False


class Scene(NamedTuple):
    """Things at sensors of a kind: as many, how high, how long, at which local hours."""

    scenario: str
    kind: str
    measure: str
    threshold: float
    how_many: int
    note: str
    peak: Span
    hold_s: Span
    ramp_s: float
    near: tuple[Near, ...]
    hours: Span | None = None
    zone: str | None = None


SCENES = (
    Scene(
        "smoke-alarm", "smoke", "smoke_db_per_m", 0.20, 11, "a fire smoulders in a stairwell",
        (0.45, 0.9), (190, 480), 20.0,
        (
            Near(5, "cooking fumes, below the threshold", (0.11, 0.15), (120, 240), 30.0),
            Near(5, "a puff of steam", (0.30, 0.36), (4, 4), blink=True),
        ),
    ),
    Scene(
        "gas-leak", "gas", "gas_lel_ratio", 0.10, 11, "a gas hose leaks",
        (0.22, 0.45), (190, 480), 25.0,
        (
            Near(5, "a little gas, below the threshold", (0.05, 0.08), (180, 300), 20.0),
            Near(5, "a lighter is filled: one reading", (0.15, 0.17), (4, 4), blink=True),
        ),
    ),
    Scene(
        "manhole-cover", "manhole", "tilt_deg", 15.0, 15, "a cover is out of its seat",
        (22.0, 55.0), (300, 2400), 0.0,
        (
            Near(6, "a cover leans a little", (9.0, 11.0), (600, 1800)),
            Near(6, "a wheel knocks a cover", (22.0, 30.0), (8, 8)),
        ),
    ),
    Scene(
        "site-dust", "site_air", "pm10_ug_m3", 150.0, 8, "earth is moved without water spray",
        (195.0, 330.0), (420, 1500), 30.0,
        (
            Near(5, "dusty air, below the threshold", (130.0, 138.0), (300, 900), 30.0),
            Near(4, "a gust of dust that settles within a minute", (190.0, 220.0), (50, 50), 5.0),
        ),
        hours=(6.0, 21.0),
    ),
    Scene(
        "site-noise", "site_air", "noise_db", 70.0, 6, "a pneumatic drill at work",
        (77.0, 86.0), (420, 1500), 5.0,
        (
            Near(4, "steady work, below the threshold", (64.5, 66.5), (300, 900), 10.0,
                 (7.0, 21.0)),
            Near(4, "a lorry unloads for a minute", (76.0, 80.0), (50, 50), 5.0, (7.0, 21.0)),
        ),
        hours=(7.0, 21.0),
    ),
    Scene(
        "night-work", "site_air", "noise_db", 55.0, 6, "concrete is poured at night",
        (60.5, 65.5), (1300, 4000), 10.0,
        (
            Near(4, "a generator hums at night, below the limit", (49.0, 51.0), (900, 2400), 10.0,
                 (22.4, 5.6)),
            Near(4, "a lorry passes at night", (61.0, 65.0), (85, 85), 5.0, (22.4, 5.6)),
        ),
        hours=(22.4, 5.5),
    ),
    Scene(
        "fire-lane-blocked", "parking", "occupied", 1.0, 8,
        "a car stands in a fire lane that no camera watches",
        (1.0, 1.0), (320, 2400), 0.0,
        (Near(7, "a car lets somebody out in a fire lane", (1.0, 1.0), (35, 58)),),
        zone="fire_lane",
    ),
)  # fmt: skip


class SensorDay:
    """Writes what happens to fixed sensors.

    Args:
        diary: Where to.
        factor: How many times as many scenes as in a district.
    """

    def __init__(self, diary: Diary, factor: float = 1.0) -> None:
        self.diary = diary
        self.factor = factor
        self.devices: dict[str, list[Device]] = {}
        for _, device in sorted(diary.city.devices.items()):
            if device.lon_deg is not None:
                self.devices.setdefault(device.kind, []).append(device)

    def write(self) -> None:
        """All scenes at sensors."""
        for scene in SCENES:
            self._scene(scene)
        self._legal_bays()
        self._tilts()
        self._floods()
        self._silent_meters()

    def _count(self, count: int) -> int:
        return max(1, round(count * self.factor))

    def _chosen(self, kind: str, zone: str | None = None) -> list[Device]:
        """Devices of a kind in a drawn order; in or out of a zone where one is named."""
        found = self.devices.get(kind, [])
        if zone is not None:
            found = [one for one in found if self.diary.places.zone_of(one, zone) is not None]
        order = self.diary.rng.permutation(len(found)).tolist()
        return [found[number] for number in order]

    def _scene(self, scene: Scene) -> None:
        devices = self._chosen(scene.kind, scene.zone)
        if not devices:
            return
        diary = self.diary
        turn = 0
        for number in range(self._count(scene.how_many)):
            # Every fifth thing happens where one has happened before: another day's work.
            device = devices[(turn if number % 5 else max(0, turn - 1)) % len(devices)]
            turn += number % 5 != 0 or number == 0
            hold_s = diary.between(*scene.hold_s)
            at_ns = diary.book(device.thing_id, hold_s + 2 * scene.ramp_s, hours=scene.hours)
            if at_ns is None:
                continue
            one = Excursion(
                start_ns=at_ns,
                end_ns=at_ns + seconds_to_ns(hold_s + 2 * scene.ramp_s),
                peak=diary.between(*scene.peak),
                ramp_s=scene.ramp_s,
            )
            diary.excursion(device.thing_id, scene.measure, one)
            began_ns, ended_ns = one.passes_ns(scene.threshold, _rest(device, scene.measure))
            if one.ramp_s <= 0:
                began_ns, ended_ns = one.start_ns, one.end_ns
            diary.happens(
                scene.scenario, _place(device), began_ns, ended_ns, scene.note,
                devices=(device.thing_id,),
            )  # fmt: skip
        for near in scene.near:
            for _ in range(self._count(near.how_many)):
                turn += 1
                self._near(scene, near, devices[turn % len(devices)])

    def _near(self, scene: Scene, near: Near, device: Device) -> None:
        diary = self.diary
        hold_s = diary.between(*near.hold_s)
        hours = near.hours or scene.hours
        at_ns = diary.book(device.thing_id, hold_s + 2 * near.ramp_s, hours=hours)
        if at_ns is None:
            return
        if near.blink:
            # The device samples each few seconds when it may have to alarm; one of them is hit.
            at_ns -= at_ns % NS_PER_S
        one = Excursion(
            start_ns=at_ns,
            end_ns=at_ns + seconds_to_ns(hold_s + 2 * near.ramp_s),
            peak=diary.between(*near.peak),
            ramp_s=near.ramp_s,
        )
        diary.excursion(device.thing_id, scene.measure, one)
        diary.nearly(
            scene.scenario, _place(device), one.start_ns, one.end_ns, near.note,
            devices=(device.thing_id,),
        )  # fmt: skip

    def _legal_bays(self) -> None:
        """Cars stand for long where they may."""
        for device in self._chosen("parking"):
            if self.diary.places.zone_of(device, "fire_lane") is not None:
                continue
            for _ in range(3):
                stay_s = self.diary.between(600, 5400)
                at_ns = self.diary.book(device.thing_id, stay_s, rest_s=300)
                if at_ns is None:
                    continue
                end_ns = at_ns + seconds_to_ns(stay_s)
                self.diary.excursion(
                    device.thing_id, "occupied", Excursion(start_ns=at_ns, end_ns=end_ns, peak=1.0)
                )
                if self.diary.between(0, 1) < 0.1:
                    self.diary.nearly(
                        "fire-lane-blocked", _place(device), at_ns, end_ns,
                        "a car stands for long in a bay where it may",
                        devices=(device.thing_id,), radius_m=4.0,
                    )  # fmt: skip

    def _tilts(self) -> None:
        """A pit's wall moves for hours and stays so; the sun and a pile driver are no matter."""
        diary = self.diary
        devices = self._chosen("structure")
        half = min(self._count(7), len(devices) // 2)
        for device in devices[:half]:
            rise_s = diary.between(7200, 14_400)
            at_ns = diary.book(device.thing_id, rise_s + 5400)
            if at_ns is None:
                continue
            one = Excursion(
                start_ns=at_ns,
                end_ns=diary.end_ns + seconds_to_ns(2 * rise_s),
                peak=diary.between(0.42, 0.7),
                ramp_s=rise_s,
            )
            diary.excursion(device.thing_id, "tilt_change_deg", one)
            began_ns, _ = one.passes_ns(0.30, 0.03)
            diary.happens(
                "structure-tilt", _place(device), began_ns, diary.end_ns,
                "the wall of a pit leans", devices=(device.thing_id,),
            )  # fmt: skip
        for number, device in enumerate(devices[half:]):
            for _ in range(2):
                spike = number % 2 == 0
                lasts_s = 4.0 if spike else diary.between(3600, 7200)
                at_ns = diary.book(device.thing_id, lasts_s + 600)
                if at_ns is None:
                    continue
                peak = diary.between(0.32, 0.45) if spike else diary.between(0.09, 0.115)
                if spike:
                    at_ns = self._at_report(device, at_ns) - 2 * NS_PER_S
                one = Excursion(
                    start_ns=at_ns, end_ns=at_ns + seconds_to_ns(lasts_s), peak=peak,
                    ramp_s=0.0 if spike else lasts_s / 3,
                )  # fmt: skip
                diary.excursion(device.thing_id, "tilt_change_deg", one)
                diary.nearly(
                    "structure-tilt", _place(device), one.start_ns, one.end_ns,
                    "a pile is driven: one reading" if spike else "the sun warms a wall",
                    devices=(device.thing_id,),
                )  # fmt: skip

    def _at_report(self, device: Device, after_ns: int) -> int:
        """The next instant at which a device of fixed interval reports."""
        phase = phase_ns(self.diary.seed, device)
        interval = CATALOGUE[device.kind].interval_s * NS_PER_S
        base = self.diary.environment.epoch_ns + phase
        return base - (base - after_ns) // interval * interval

    # -- water --------------------------------------------------------------------------------

    def _floods(self) -> None:
        """Each storm fills some underpasses to where no car can pass, and others a little."""
        diary = self.diary
        gauges: dict[str, list[Device]] = {}
        for device in self.devices.get("water_level", []):
            zone = diary.places.zone_of(device, "underpass")
            if zone is not None:
                gauges.setdefault(zone.feature_id, []).append(device)
        dry = [
            one
            for one in self.devices.get("water_level", [])
            if diary.places.zone_of(one, "underpass") is None
        ]
        watchers = _watchers(diary, gauges)
        for storm in diary.environment.storms(diary.start_ns, diary.end_ns):
            over_ns = storm.start_ns + seconds_to_ns(storm.duration_s)
            if over_ns > diary.end_ns - seconds_to_ns(QUIET_END_S + 3600):
                continue
            names = diary.shuffled(sorted(gauges))
            for number, name in enumerate(names):
                deep = number < max(1, len(names) // 2)
                peak = diary.between(0.36, 0.66) if deep else diary.between(0.12, 0.18)
                self._flood(storm, gauges[name], peak, deep=deep, watcher=watchers.get(name))
            for device in dry[:2]:
                curve = flood_curve(storm, 0.5, diary.between(0.9, 1.1))
                diary.excursion(device.thing_id, "water_level_m", curve)
                diary.nearly(
                    "road-flooding", _place(device), curve.start_ns, curve.end_ns,
                    "high water at a gauge that stands in no underpass",
                    devices=(device.thing_id,),
                )  # fmt: skip
        for many in gauges.values():
            device = many[0]
            at_ns = diary.book(f"wave {device.thing_id}", 30.0)
            if at_ns is None or self._is_wet(device, at_ns):
                continue
            one = Excursion(start_ns=at_ns, end_ns=at_ns + 16 * NS_PER_S, peak=0.30, ramp_s=4.0)
            diary.excursion(device.thing_id, "water_level_m", one)
            diary.nearly(
                "road-flooding", _place(device), one.start_ns, one.end_ns,
                "a wave of a lorry touches the threshold and is gone",
                devices=(device.thing_id,),
            )  # fmt: skip

    def _is_wet(self, device: Device, at_ns: int) -> bool:
        hour_ns = 2 * 3600 * NS_PER_S
        return any(
            one.start_ns - hour_ns < at_ns < one.end_ns + hour_ns
            for one in self.diary.excursions.get(device.thing_id, {}).get("water_level_m", ())
        )

    def _flood(
        self,
        storm: Storm,
        gauges: list[Device],
        peak: float,
        *,
        deep: bool,
        watcher: tuple[str, float] | None,
    ) -> None:
        diary = self.diary
        drain = diary.between(0.8, 1.25)
        for device in gauges:
            curve = flood_curve(storm, peak * diary.between(0.98, 1.02), drain)
            diary.excursion(device.thing_id, "water_level_m", curve)
        curve = flood_curve(storm, peak, drain)
        began_ns, ended_ns = crossings(curve, 0.25) if deep else (curve.start_ns, curve.end_ns)
        place = _place(gauges[0])
        names = tuple(device.thing_id for device in gauges)
        cameras = () if watcher is None else (watcher[0],)
        if deep:
            diary.happens(
                "road-flooding", place, began_ns, ended_ns, "rain water stands in an underpass",
                devices=names, cameras=cameras,
            )  # fmt: skip
        else:
            diary.nearly(
                "road-flooding", place, began_ns, ended_ns, "a puddle in an underpass",
                devices=names, cameras=cameras,
            )  # fmt: skip
        if watcher is not None:
            camera_id, yaw_deg = watcher
            diary.sightings.append(standing_water(curve, camera_id, place, yaw_deg, "fixed", 60.0))

    # -- water meters -------------------------------------------------------------------------

    def _silent_meters(self) -> None:
        """Nobody draws water for a day where an elderly person lives alone."""
        diary = self.diary
        meters = self._chosen("water_meter")
        old = [one for one in meters if is_elderly(one)]
        others = [one for one in meters if not is_elderly(one)]
        day_ns = 24 * 3600 * NS_PER_S
        things = self._count(6)
        for device in old[:things]:
            gone_ns = diary.start_ns + seconds_to_ns(diary.between(5400, 10_000))
            used_ns = last_use_ns(diary.seed, diary.environment, device, gone_ns)
            if used_ns is None or used_ns + day_ns > diary.end_ns - seconds_to_ns(QUIET_END_S):
                continue
            self._silence(device, gone_ns, diary.end_ns)
            diary.happens(
                "silent-water-meter", _place(device), used_ns + day_ns, diary.end_ns,
                "no water has run for a day at an elderly person's home",
                devices=(device.thing_id,),
            )  # fmt: skip
        for device in old[things : things + self._count(6)]:
            gone_ns = diary.start_ns + seconds_to_ns(diary.between(3600, 18_000))
            back_ns = gone_ns + seconds_to_ns(diary.between(11, 16) * 3600)
            self._silence(device, gone_ns, back_ns)
            diary.nearly(
                "silent-water-meter", _place(device), gone_ns, back_ns,
                "an elderly person is away for half a day", devices=(device.thing_id,),
            )  # fmt: skip
        for device in others[: self._count(6)]:
            gone_ns = diary.start_ns + seconds_to_ns(diary.between(3600, 7200))
            self._silence(device, gone_ns, diary.end_ns)
            diary.nearly(
                "silent-water-meter", _place(device), gone_ns, diary.end_ns,
                "a family is on holiday", devices=(device.thing_id,),
            )  # fmt: skip

    def _silence(self, device: Device, from_ns: int, until_ns: int) -> None:
        one = Excursion(start_ns=from_ns, end_ns=until_ns, peak=0.0)
        self.diary.excursion(device.thing_id, SILENCE, one)


def flood_curve(storm: Storm, peak: float, drain: float) -> Curve:
    """Water in a hollow that a storm fills and a drain empties, as a share of its peak.

    A reservoir: what rains comes in, the drain takes a share of what stands; solved minute by
    minute.

    Example:
        >>> curve = flood_curve(Storm(0, 6000.0, 30.0), 0.5, 1.0)
        >>> max(curve.shares), curve.shares[0], curve.shares[-1]
        (1.0, 0.0, 0.0)
    """
    step_s = 60.0
    count = int((storm.duration_s + 5400) / step_s)
    times = storm.start_ns + (np.arange(count) * step_s * NS_PER_S).astype(np.int64)
    rain = storm.rain_mm_h(times)
    keep = math.exp(-drain * step_s / 1500.0)
    level, levels = 0.0, []
    for one in rain.tolist():
        level = level * keep + one
        levels.append(level)
    shares = np.array(levels) / max(levels)
    shares = np.clip((shares - 0.02) / 0.98, 0.0, 1.0)
    shares[0] = shares[-1] = 0.0
    return Curve(
        instants_ns=tuple(times.tolist()),
        shares=tuple(round(one, 5) for one in shares.tolist()),
        peak=peak,
    )


def crossings(curve: Curve, level: float) -> tuple[int, int]:
    """When a curve rises past a level for the first time and falls below it for the last."""
    times = np.arange(curve.start_ns, curve.end_ns, NS_PER_S)
    above = np.flatnonzero(curve.shape(times) * curve.peak >= level)
    return int(times[above[0]]), int(times[above[-1]])


def standing_water(
    curve: Curve,
    camera_id: str,
    place: tuple[float, float],
    yaw_deg: float,
    platform: str,
    step_s: float,
    window: tuple[int, int] | None = None,
) -> Sighting:
    """Water on a road as a camera sees it: its area grows with the square of its depth."""
    start_ns, end_ns = window or (curve.start_ns, curve.end_ns)
    times = np.arange(start_ns, end_ns, seconds_to_ns(step_s))
    depths = curve.shape(times) * curve.peak
    tellings = tuple(
        Telling(
            at_ns=int(at_ns),
            measures={"water_area_m2": round(650.0 * depth * depth, 1)},
            labels={"zone_kind": "underpass", "platform": platform},
        )
        for at_ns, depth in zip(times.tolist(), depths.tolist(), strict=True)
        if depth > 0.05
    )
    return Sighting(
        camera_id=camera_id,
        thing_id=f"{camera_id}/water",
        kind="detection.standing_water",
        lon_deg=place[0],
        lat_deg=place[1],
        tellings=tellings,
        sigma_m=(2.0, 1.0),
        azimuth_deg=yaw_deg,
    )


def _watchers(diary: Diary, gauges: dict[str, list[Device]]) -> dict[str, tuple[str, float]]:
    """The camera that looks at each underpass, where one does: its id and where it looks."""
    found = {}
    for name, many in gauges.items():
        here = shapely.Point(diary.places.metres(many[0]))
        for camera_id, camera in sorted(diary.city.cameras.items()):
            if not camera_id.startswith("cam-underpass") or camera.pose is None:
                continue
            pole = diary.places.frame.to_metres(camera.pose.lon_deg, camera.pose.lat_deg)
            if here.distance(shapely.Point(pole)) < 45.0:
                found[name] = (camera_id, camera.pose.yaw_deg)
                break
    return found


def _rest(device: Device, measure: str) -> float:
    return next(one.base for one in CATALOGUE[device.kind].signals if one.measure == measure)


def _place(device: Device) -> tuple[float, float]:
    assert device.lon_deg is not None
    assert device.lat_deg is not None
    return device.lon_deg, device.lat_deg
