"""Scenes of water: rain in underpasses, burst mains and their floods, meters that fall silent."""

from __future__ import annotations

import math

import numpy as np
import shapely

from core.city import Device
from core.units import NS_PER_S, seconds_to_ns
from simulators.day.device_scenes import DeviceScenes, place_of
from simulators.day.diary import QUIET_END_S, QUIET_START_S, Curve, Diary
from simulators.day.sightings import Sighting, Telling
from simulators.devices.meters import SILENCE, is_elderly, last_use_ns
from simulators.environment import Storm
from simulators.messages import whole_ms
from simulators.sensors import Excursion

#: How long the water of a burst main stands in an underpass, with what it takes to drain.
_FLOW_S = 3000.0 + 5400.0

#: So far the water of a burst main runs into an underpass.
RUNS_M = 400.0


#: Pressure transmitters this near each other stand on one main.
MAIN_M = 300.0


class WaterDay(DeviceScenes):
    """Writes what happens to gauges, mains and meters."""

    def write(self) -> None:
        """All scenes of water."""
        self._floods()
        self._bursts()
        self._silent_meters()

    def _floods(self) -> None:
        """Each storm fills some underpasses to where no car can pass, and others a little."""
        diary = self.diary
        gauges = self._gauges()
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
                    "road-flooding", place_of(device), curve.start_ns, curve.end_ns,
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
                "road-flooding", place_of(device), one.start_ns, one.end_ns,
                "a wave of a lorry touches the threshold and is gone",
                devices=(device.thing_id,),
            )  # fmt: skip

    def _gauges(self) -> dict[str, list[Device]]:
        """The gauges of each underpass."""
        gauges: dict[str, list[Device]] = {}
        for device in self.devices.get("water_level", []):
            zone = self.diary.places.zone_of(device, "underpass")
            if zone is not None:
                gauges.setdefault(zone.feature_id, []).append(device)
        return gauges

    def _bursts(self) -> None:
        """Mains burst, some near an underpass that then fills; others only lose pressure."""
        diary, gauges = self.diary, self._gauges()
        mains = self.chosen("pipe_pressure")
        watchers = _watchers(diary, gauges)
        # Those near an underpass first: one burst pipe, and the floods that are its doing.
        near = {one.thing_id: self._below(one, gauges) for one in mains}
        mains.sort(key=lambda one: near[one.thing_id] is None)
        broken = self._apart(mains, min(self.count(6), len(mains) // 2))
        for device in broken:
            hold_s = diary.between(5400, 9000)
            name = near[device.thing_id]
            fills_s = diary.between(300, 1200)
            dry_ns = None if name is None else self._dry_ns(gauges[name][0], fills_s + _FLOW_S)
            at_ns = dry_ns
            if at_ns is None or not diary.book_at(device.thing_id, at_ns, hold_s):
                at_ns, name = diary.book(device.thing_id, hold_s), None
            if at_ns is None:
                continue
            end_ns = at_ns + seconds_to_ns(hold_s)
            one = Excursion(start_ns=at_ns, end_ns=end_ns, peak=diary.between(4e4, 9e4))
            diary.excursion(device.thing_id, "pressure_pa", one)
            diary.happens(
                "burst-pipe", place_of(device), at_ns, end_ns, "a water main is broken",
                devices=(device.thing_id,),
            )  # fmt: skip
            if name is not None:
                flow = Storm(at_ns + seconds_to_ns(fills_s), 3000.0, 30.0)
                peak = diary.between(0.36, 0.6)
                self._flood(flow, gauges[name], peak, deep=True, watcher=watchers.get(name))
        for number, device in enumerate(one for one in mains if one not in broken):
            hammer = number % 2 == 0
            lasts_s = 4.0 if hammer else diary.between(1200, 3600)
            at_ns = diary.book(device.thing_id, lasts_s + 600)
            if at_ns is None:
                continue
            if hammer:
                at_ns = self.at_report(device, at_ns) - 2 * NS_PER_S
            one = Excursion(
                start_ns=at_ns,
                end_ns=at_ns + seconds_to_ns(lasts_s),
                peak=diary.between(9e4, 1.2e5) if hammer else diary.between(2.3e5, 2.5e5),
            )
            diary.excursion(device.thing_id, "pressure_pa", one)
            diary.nearly(
                "burst-pipe", place_of(device), one.start_ns, one.end_ns,
                "a valve shuts too quickly: one reading" if hammer else "a hydrant is open",
                devices=(device.thing_id,),
            )  # fmt: skip

    def _apart(self, mains: list[Device], most: int) -> list[Device]:
        """The first transmitters that stand on mains of their own: two near each other do not."""
        metres = self.diary.places.metres
        found: list[Device] = []
        for device in mains:
            here = shapely.Point(metres(device))
            if all(here.distance(shapely.Point(metres(one))) > MAIN_M for one in found):
                found.append(device)
        return found[:most]

    def _below(self, main: Device, gauges: dict[str, list[Device]]) -> str | None:
        """The nearest underpass that the water of a main runs into."""
        here = shapely.Point(self.diary.places.metres(main))
        found = [
            (here.distance(shapely.Point(self.diary.places.metres(many[0]))), name)
            for name, many in gauges.items()
        ]
        away_m, name = min(found, default=(math.inf, ""))
        return name if away_m <= RUNS_M else None

    def _dry_ns(self, device: Device, lasts_s: float) -> int | None:
        """An instant from which a gauge is dry for so long; None where none was found."""
        last_s = (self.diary.end_ns - self.diary.start_ns) / NS_PER_S - lasts_s - QUIET_END_S - 3600
        for _ in range(20):
            at_s = self.diary.between(QUIET_START_S, max(QUIET_START_S + 1.0, last_s))
            at_ns = whole_ms(self.diary.start_ns + seconds_to_ns(at_s))
            if not self._is_wet(device, at_ns, lasts_s):
                return at_ns
        return None

    def _is_wet(self, device: Device, at_ns: int, lasts_s: float = 0.0) -> bool:
        """Whether water stands at a gauge within an hour of a time."""
        hour_ns = 3600 * NS_PER_S
        until_ns = at_ns + seconds_to_ns(lasts_s)
        return any(
            one.start_ns - hour_ns < until_ns and at_ns < one.end_ns + hour_ns
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
        place = place_of(gauges[0])
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
        meters = self.chosen("water_meter")
        old = [one for one in meters if is_elderly(one)]
        others = [one for one in meters if not is_elderly(one)]
        day_ns = 24 * 3600 * NS_PER_S
        things = self.count(6)
        for device in old[:things]:
            gone_ns = diary.start_ns + seconds_to_ns(diary.between(5400, 10_000))
            used_ns = last_use_ns(diary.seed, diary.environment, device, gone_ns)
            if used_ns is None or used_ns + day_ns > diary.end_ns - seconds_to_ns(QUIET_END_S):
                continue
            self._silence(device, gone_ns, diary.end_ns)
            diary.happens(
                "silent-water-meter", place_of(device), used_ns + day_ns, diary.end_ns,
                "no water has run for a day at an elderly person's home",
                devices=(device.thing_id,),
            )  # fmt: skip
        for device in old[things : things + self.count(6)]:
            gone_ns = diary.start_ns + seconds_to_ns(diary.between(3600, 18_000))
            back_ns = gone_ns + seconds_to_ns(diary.between(11, 16) * 3600)
            self._silence(device, gone_ns, back_ns)
            diary.nearly(
                "silent-water-meter", place_of(device), gone_ns, back_ns,
                "an elderly person is away for half a day", devices=(device.thing_id,),
            )  # fmt: skip
        for device in others[: self.count(6)]:
            gone_ns = diary.start_ns + seconds_to_ns(diary.between(3600, 7200))
            self._silence(device, gone_ns, diary.end_ns)
            diary.nearly(
                "silent-water-meter", place_of(device), gone_ns, diary.end_ns,
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
