"""Scenes at fixed sensors: a table row each, with things and near misses about its line."""

from __future__ import annotations

from typing import NamedTuple

import shapely

from core.city import Device
from core.exclusions import Circle, Exclusion, ExclusionKind
from core.units import NS_PER_S, seconds_to_ns
from simulators.day.device_scenes import DeviceScenes, place_of
from simulators.devices.catalogue import CATALOGUE
from simulators.messages import whole_ms
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


#: Local hours of work at night: it begins and ends within them.
_NIGHT = (22.4, 5.5)

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
        hours=_NIGHT,
    ),
    Scene(
        "fire-lane-blocked", "parking", "occupied", 1.0, 8,
        "a car stands in a fire lane that no camera watches",
        (1.0, 1.0), (320, 2400), 0.0,
        (Near(7, "a car lets somebody out in a fire lane", (1.0, 1.0), (35, 58)),),
        zone="fire_lane",
    ),
)  # fmt: skip


#: Inclinometers this near each other stand at one pit.
PIT_M = 30.0


class SensorDay(DeviceScenes):
    """Writes what happens to fixed sensors."""

    def write(self) -> None:
        """All scenes at sensors."""
        for scene in SCENES:
            self._scene(scene)
        self._permits()
        self._legal_bays()
        self._tilts()

    def _scene(self, scene: Scene) -> None:
        devices = self.chosen(scene.kind, scene.zone)
        if not devices:
            return
        diary = self.diary
        turn = 0
        for number in range(self.count(scene.how_many)):
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
                scene.scenario, place_of(device), began_ns, ended_ns, scene.note,
                devices=(device.thing_id,),
            )  # fmt: skip
        for near in scene.near:
            for _ in range(self.count(near.how_many)):
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
            scene.scenario, place_of(device), one.start_ns, one.end_ns, near.note,
            devices=(device.thing_id,),
        )  # fmt: skip

    def _permits(self) -> None:
        """Sites build at night with a permit; some go on when it has ended, which is a thing."""
        diary = self.diary
        for number, device in enumerate(self.chosen("site_air")[: self.count(6)]):
            hold_s, overruns = diary.between(3600, 7200), number % 2 == 1
            at_ns = diary.book(device.thing_id, hold_s, hours=_NIGHT)
            if at_ns is None:
                continue
            end_ns = at_ns + seconds_to_ns(hold_s)
            permit = self._permit(device, at_ns, end_ns, overruns=overruns)
            diary.exclusions.append(permit)
            one = Excursion(start_ns=at_ns, end_ns=end_ns, peak=diary.between(60.5, 65.5))
            diary.excursion(device.thing_id, "noise_db", one)
            place, devices = place_of(device), (device.thing_id,)
            if overruns:
                diary.happens(
                    "night-work", place, permit.until_ns, end_ns,
                    "a site builds on when its permit has ended", devices=devices,
                )  # fmt: skip
            else:
                diary.nearly(
                    "night-work", place, at_ns, end_ns, "a site builds at night with a permit",
                    devices=devices,
                )  # fmt: skip

    def _permit(self, device: Device, at_ns: int, end_ns: int, *, overruns: bool) -> Exclusion:
        """A site's permit, made the hour before; it ends after the work, or half way through."""
        lon_deg, lat_deg = place_of(device)
        half_ns = whole_ms((end_ns - at_ns) // 2)
        return Exclusion(
            id=f"permit-{device.thing_id}-{at_ns // NS_PER_S}",
            kind=ExclusionKind.PERMIT,
            subject="night_work",
            from_ns=at_ns - 1800 * NS_PER_S,
            until_ns=at_ns + half_ns if overruns else end_ns + 1800 * NS_PER_S,
            at_ns=max(self.diary.start_ns, at_ns - 3600 * NS_PER_S),
            reason="混凝土连续浇筑",
            actor="住建部门",
            things=(device.thing_id,),
            circle=Circle(lon_deg=lon_deg, lat_deg=lat_deg, radius_m=60.0),
        )

    def _legal_bays(self) -> None:
        """Cars stand for long where they may."""
        for device in self.chosen("parking"):
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
                        "fire-lane-blocked", place_of(device), at_ns, end_ns,
                        "a car stands for long in a bay where it may",
                        devices=(device.thing_id,), radius_m=4.0,
                    )  # fmt: skip

    def _tilts(self) -> None:
        """A pit's wall moves for hours and stays so; the sun and a pile driver are no matter."""
        diary = self.diary
        pits = self._pits()
        half = min(self.count(7), len(pits) // 2)
        for pit in pits[:half]:
            rise_s = diary.between(7200, 14_400)
            at_ns = diary.book(pit[0].thing_id, rise_s + 5400)
            if at_ns is None:
                continue
            one = Excursion(
                start_ns=at_ns,
                end_ns=diary.end_ns + seconds_to_ns(2 * rise_s),
                peak=diary.between(0.42, 0.7),
                ramp_s=rise_s,
            )
            for device in pit:
                diary.excursion(device.thing_id, "tilt_change_deg", one)
            began_ns, _ = one.passes_ns(0.30, 0.03)
            diary.happens(
                "structure-tilt", place_of(pit[0]), began_ns, diary.end_ns,
                "the wall of a pit leans", devices=tuple(one.thing_id for one in pit),
            )  # fmt: skip
        still = [device for pit in pits[half:] for device in pit]
        for number, device in enumerate(still):
            for _ in range(2):
                spike = number % 2 == 0
                lasts_s = 4.0 if spike else diary.between(3600, 7200)
                at_ns = diary.book(device.thing_id, lasts_s + 600)
                if at_ns is None:
                    continue
                peak = diary.between(0.32, 0.45) if spike else diary.between(0.09, 0.115)
                if spike:
                    at_ns = self.at_report(device, at_ns) - 2 * NS_PER_S
                one = Excursion(
                    start_ns=at_ns, end_ns=at_ns + seconds_to_ns(lasts_s), peak=peak,
                    ramp_s=0.0 if spike else lasts_s / 3,
                )  # fmt: skip
                diary.excursion(device.thing_id, "tilt_change_deg", one)
                diary.nearly(
                    "structure-tilt", place_of(device), one.start_ns, one.end_ns,
                    "a pile is driven: one reading" if spike else "the sun warms a wall",
                    devices=(device.thing_id,),
                )  # fmt: skip

    def _pits(self) -> list[list[Device]]:
        """Inclinometers in a drawn order; those of one pit together, for they lean together."""
        pits: list[list[Device]] = []
        metres = self.diary.places.metres
        for device in self.chosen("structure"):
            here = shapely.Point(metres(device))
            for pit in pits:
                if here.distance(shapely.Point(metres(pit[0]))) <= PIT_M:
                    pit.append(device)
                    break
            else:
                pits.append([device])
        return pits


def _rest(device: Device, measure: str) -> float:
    return next(one.base for one in CATALOGUE[device.kind].signals if one.measure == measure)
