"""Scenes in the air: what aircraft are sent to see, and what they do that they must not.

Time is cut into slots of half an hour; a dock flies at most once in each. What a flight sees of
a plot, a site, a road or a flood is told under a camera that flies with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import shapely

from core.city import Dock, LayerRole
from core.units import NS_PER_S, seconds_to_ns
from simulators.day.diary import Curve, Diary
from simulators.day.sightings import Sighting, Telling, every
from simulators.day.water_scenes import standing_water
from simulators.flight_scenes import FlightScenes, visitor_sn
from simulators.flights import Flight, FlightBuilder
from simulators.messages import digest
from simulators.scribe import BLOCK_S

#: Each dock surveys its plots every fourth slot.
_SURVEY_EVERY = 4
#: A dock stays in when it rains more than this.
_RAIN_MM_H = 8.0

_BUILDING, _SOIL = "detection.building_change", "detection.bare_soil"


class Plot(NamedTuple):
    """A place that survey flights look at; ``level`` is what there is to see by instant."""

    plot_id: str
    kind: str
    at: tuple[float, float]
    level: Callable[[int], float]
    labels: dict[str, str]


class Errand(NamedTuple):
    """A flight that is to be flown for a scene."""

    name: str
    thing: bool


class AirDay:
    """Writes the flights of a day and what they see.

    Args:
        diary: Where to.
        factor: How many times as many scenes as in a district.
    """

    def __init__(self, diary: Diary, factor: float = 1.0) -> None:
        self.diary = diary
        self.factor = factor
        self.docks = [dock for _, dock in sorted(diary.city.docks.items())]
        #: Flights by dock, by slot; visitors belong to no dock.
        self.flights: dict[str, dict[int, Flight]] = {dock.dock_sn: {} for dock in self.docks}
        self.visitors: dict[int, list[Flight]] = {}
        span_s = (diary.end_ns - diary.start_ns) / NS_PER_S
        self.slots = int(span_s // BLOCK_S)
        self._plots: dict[str, list[Plot]] = {dock.dock_sn: [] for dock in self.docks}
        self._looks: dict[str, list[int]] = {}
        self._counts: dict[str, int] = {}

    def write(self) -> None:
        """All flights."""
        if not self.docks:
            return
        self._make_plots()
        free = {
            dock.dock_sn: [
                slot
                for slot in range(1, self.slots - 1)
                if (slot + number) % _SURVEY_EVERY and not self._is_wet(slot)
            ]
            for number, dock in enumerate(self.docks)
        }
        for number, dock in enumerate(self.docks):
            for slot in range(self.slots - 1):
                if (slot + number) % _SURVEY_EVERY == 0 and not self._is_wet(slot):
                    self._survey(dock, slot)
        self._tell_of_plots()
        errands = [
            *self._errands("traffic", 9, 9), *self._errands("high", 7, 6),
            *self._errands("intrusion", 7, 7), *self._errands("lost", 7, 6),
            *self._errands("flood", 3, 0),
        ]  # fmt: skip
        for number, errand in enumerate(errands):
            dock = self.docks[number % len(self.docks)]
            slots = free[dock.dock_sn]
            if slots:
                slot = slots.pop(int(self.diary.rng.integers(len(slots))))
                self._fly(errand, dock, slot)
        self._visitors()

    def _errands(self, name: str, things: int, near: int) -> list[Errand]:
        count = [max(1, round(one * self.factor)) if one else 0 for one in (things, near)]
        return [Errand(name, True)] * count[0] + [Errand(name, False)] * count[1]

    def _is_wet(self, slot: int) -> bool:
        begin = self.diary.start_ns + slot * BLOCK_S * NS_PER_S
        times = begin + np.arange(0, BLOCK_S, 120) * NS_PER_S
        return bool(self.diary.environment.channel("rain_mm_h", times).max() > _RAIN_MM_H)

    def _scenes(self, dock: Dock | None, slot: int) -> _SlotScenes:
        return _SlotScenes(self.diary, slot, "" if dock is None else dock.dock_sn)

    def camera_of(self, dock: Dock) -> str:
        """The camera that flies with a dock's aircraft."""
        return f"cam-air-{self.docks.index(dock) + 1:02d}"

    # -- surveys ------------------------------------------------------------------------------

    def _make_plots(self) -> None:
        """Plots where somebody builds, or seems to, and sites whose soil lies bare, or seems to."""
        diary = self.diary
        homes = self._places(LayerRole.BUILDING)
        sites = [one.area.centroid for one in diary.places.zones if one.kind == "site"]
        for number in range(max(1, round(18 * self.factor))):
            at = homes[int(diary.rng.integers(len(homes)))]
            self._building(f"plot-{number + 1:03d}", at, number)
        # A site is one thing, however many corners of it lie bare.
        for number, site in enumerate(sites[: max(1, round(14 * self.factor))]):
            self._soil(f"site-{number + 1:03d}", (site.x, site.y), number)

    def _places(self, role: LayerRole) -> list[tuple[float, float]]:
        frame = self.diary.places.frame
        return [
            (float(x), float(y))
            for layer in self.diary.city.layers_of(role)
            for x, y in shapely.get_coordinates(
                shapely.centroid([frame.shape(one) for one in layer.geometries])
            ).tolist()
        ]

    def _surveys_of(self, dock: Dock) -> list[int]:
        """When a dock's surveys begin."""
        number = self.docks.index(dock)
        return [
            self.diary.start_ns + slot * BLOCK_S * NS_PER_S
            for slot in range(self.slots - 1)
            if (slot + number) % _SURVEY_EVERY == 0 and not self._is_wet(slot)
        ]

    def _nearest_dock(self, at: tuple[float, float]) -> Dock:
        """The nearest of those that have the fewest plots."""
        least = min(len(many) for many in self._plots.values())
        free = [one for one in self.docks if len(self._plots[one.dock_sn]) <= least + 1]
        return min(free, key=lambda one: math.dist(self.diary.places.metres(one), at))

    def _change(self, dock: Dock, sort: int) -> tuple[int, int] | None:
        """From when to when a plot looks changed: for good, or for one survey only."""
        surveys = self._surveys_of(dock)
        if len(surveys) < 8:
            return None
        which = int(self.diary.rng.integers(2, len(surveys) - 4))
        begin_ns = surveys[which] - seconds_to_ns(self.diary.between(60, 900))
        if sort == 1:
            return begin_ns, surveys[which + 1] - seconds_to_ns(120)
        return begin_ns, self.diary.end_ns

    def _building(self, plot_id: str, at: tuple[float, float], number: int) -> None:
        """Every second one is a thing; the others are a crane, lawful works, or a small shed."""
        diary, dock = self.diary, self._nearest_dock(at)
        sort = 0 if number % 2 == 0 else 1 + number // 2 % 3
        span = self._change(dock, sort)
        if span is None:
            return
        begin_ns, end_ns = span
        height_m = diary.between(2.8, 5.5) if sort < 3 else diary.between(0.6, 1.1)
        rest_m = diary.between(-0.1, 0.25)

        def level(at_ns: int) -> float:
            return height_m if begin_ns <= at_ns < end_ns else rest_m

        labels = {"permit": "valid" if sort == 2 else "none", "platform": "aircraft"}
        self._plots[dock.dock_sn].append(Plot(plot_id, _BUILDING, at, level, labels))
        lonlat = diary.places.frame.to_degrees(*at)
        camera = (self.camera_of(dock),)
        if sort == 0:
            note = "a storey is put on a house, seen by two flights"
            diary.happens("illegal-building", lonlat, begin_ns, end_ns, note, cameras=camera)
        else:
            note = ("", "a crane stands on a plot during one flight", "lawful building works",
                    "a small shed")[sort]  # fmt: skip
            diary.nearly("illegal-building", lonlat, begin_ns, end_ns, note, cameras=camera)

    def _soil(self, plot_id: str, at: tuple[float, float], number: int) -> None:
        diary, dock = self.diary, self._nearest_dock(at)
        sort = 0 if number % 2 == 0 else 1 + number // 2 % 2
        span = self._change(dock, sort)
        if span is None:
            return
        begin_ns, end_ns = span
        area_m2 = diary.between(780, 2600) if sort < 2 else diary.between(120, 230)
        rest_m2 = diary.between(20, 110)

        def level(at_ns: int) -> float:
            return area_m2 if begin_ns <= at_ns < end_ns else rest_m2

        labels = {"zone_kind": "site", "platform": "aircraft"}
        self._plots[dock.dock_sn].append(Plot(plot_id, _SOIL, at, level, labels))
        lonlat = diary.places.frame.to_degrees(*at)
        camera = (self.camera_of(dock),)
        if sort == 0:
            note = "a site's soil lies bare, seen by two flights"
            diary.happens("bare-soil", lonlat, begin_ns, end_ns, note, cameras=camera)
        else:
            note = "soil lies bare during one flight" if sort == 1 else "a little bare soil"
            diary.nearly("bare-soil", lonlat, begin_ns, end_ns, note, cameras=camera)

    def _survey(self, dock: Dock, slot: int) -> None:
        """Visit all plots of a dock, some metres apart, and look at each."""
        plots = self._plots[dock.dock_sn]
        if not plots:
            return
        scenes = self._scenes(dock, slot)
        builder = scenes.lift_off(dock, scenes.between(60, 75))
        left = list(plots)
        while left:
            here = builder.here[:2]
            plot = min(left, key=lambda one: math.dist(one.at, here))
            left.remove(plot)
            scenes.go(builder, plot.at)
            builder.hold(16.0)
            self._looks.setdefault(plot.plot_id, []).append(builder.now_ns - 6 * NS_PER_S)
        self._keep(dock, slot, scenes.home(builder, dock))

    def _tell_of_plots(self) -> None:
        diary = self.diary
        for dock in self.docks:
            camera_id = self.camera_of(dock)
            for plot in self._plots[dock.dock_sn]:
                lon, lat = diary.places.frame.to_degrees(*plot.at)
                tellings = []
                for count, at_ns in enumerate(self._looks.get(plot.plot_id, []), 1):
                    level = plot.level(at_ns)
                    if plot.kind == _BUILDING:
                        height = round(level + diary.between(-0.15, 0.15), 2)
                        area = round(40.0 + 6.0 * level, 1)
                        measures = {"height_change_m": height, "area_m2": area}
                    else:
                        bare = round(level * diary.between(0.96, 1.04), 1)
                        measures = {"bare_area_m2": bare, "bare_ratio": round(bare / 4200.0, 3)}
                    tellings.append(
                        Telling(
                            at_ns=at_ns,
                            measures={**measures, "flight_count": float(count)},
                            # A slot is half an hour, and a dock flies once in it.
                            labels={**plot.labels, "flight": self._flight_id(dock, at_ns)},
                            sure=True,
                        )
                    )
                diary.sightings.append(
                    Sighting(
                        camera_id=camera_id,
                        thing_id=f"{camera_id}/{plot.plot_id}",
                        kind=plot.kind,
                        lon_deg=lon,
                        lat_deg=lat,
                        tellings=tuple(tellings),
                        sigma_m=(0.6, 0.6),
                    )
                )

    def _flight_id(self, dock: Dock, at_ns: int) -> str:
        slot = (at_ns - self.diary.start_ns) // (BLOCK_S * NS_PER_S)
        return f"{self.camera_of(dock)}-{slot:03d}"

    # -- errands ------------------------------------------------------------------------------

    def _keep(self, dock: Dock, slot: int, flight: Flight) -> None:
        self.flights[dock.dock_sn][slot] = flight

    def _fly(self, errand: Errand, dock: Dock, slot: int) -> None:
        scenes = self._scenes(dock, slot)
        builder = scenes.lift_off(dock, scenes.between(62, 80))
        match errand.name:
            case "traffic":
                self._traffic(scenes, builder, dock, thing=errand.thing)
            case "high":
                scenes.high(builder, dock, thing=errand.thing)
            case "intrusion":
                scenes.intrusion(builder, dock, thing=errand.thing)
            case "lost":
                scenes.lose(builder, dock, thing=errand.thing)
            case "flood":
                if not self._flood(scenes, builder, dock, slot):
                    return
        self._keep(dock, slot, scenes.home(builder, dock))

    def _traffic(
        self, scenes: _SlotScenes, builder: FlightBuilder, dock: Dock, *, thing: bool
    ) -> None:
        """Vehicles on a road, counted from above: a jam, dense flow, or a red light."""
        diary = self.diary
        roads = [one for one in diary.places.zones if one.kind == "carriageway"]
        if not roads:
            return
        count = self._counts["traffic"] = self._counts.get("traffic", 0) + 1
        road = roads[count % len(roads)]
        middle = (float(road.area.centroid.x), float(road.area.centroid.y))
        scenes.go(builder, middle)
        begin_ns = builder.now_ns
        hover_s = diary.between(620, 760)
        builder.hold(hover_s)
        red_light = not thing and count % 2 == 0
        jam_from_s, jam_s = (40.0, hover_s - 80.0) if thing else (150.0, 40.0)
        camera_id = self.camera_of(dock)
        tellings = []
        for at_ns, seconds in every(begin_ns, builder.now_ns, 5.0, 10.0):
            jammed = (thing or red_light) and jam_from_s <= seconds < jam_from_s + jam_s
            vehicles = int(diary.rng.poisson(38 if jammed else 34 if not thing else 16))
            slow = (
                max(26, vehicles - int(diary.rng.poisson(3)))
                if jammed
                else min(9, int(diary.rng.poisson(4)))
            )
            vehicles = max(vehicles, slow, 30 if not thing else 0)
            tellings.append(
                Telling(
                    at_ns=at_ns,
                    measures={
                        "vehicle_count": float(vehicles),
                        "slow_vehicle_count": float(slow),
                        "mean_speed_mps": round(
                            diary.between(0.6, 1.8) if jammed else diary.between(7.0, 11.0), 2
                        ),
                    },
                    labels={"zone_kind": "carriageway", "platform": "aircraft"},
                )
            )
        lon, lat = diary.places.frame.to_degrees(*middle)
        diary.sightings.append(
            Sighting(
                camera_id=camera_id,
                thing_id=f"{camera_id}/{road.feature_id}-{count}",
                kind="detection.traffic",
                lon_deg=lon,
                lat_deg=lat,
                tellings=tuple(tellings),
                sigma_m=(1.0, 1.0),
            )
        )
        tell = diary.happens if thing else diary.nearly
        note = (
            "a road is jammed"
            if thing
            else "vehicles queue at a red light"
            if red_light
            else "dense traffic that flows"
        )
        low_ns = begin_ns + seconds_to_ns(jam_from_s if thing else 0.0)
        high_ns = begin_ns + seconds_to_ns(jam_from_s + jam_s if thing else hover_s)
        tell("traffic-congestion", (lon, lat), low_ns, high_ns, note, cameras=(camera_id,))

    def _flood(self, scenes: _SlotScenes, builder: FlightBuilder, dock: Dock, slot: int) -> bool:
        """Over a flooded underpass, where one is flooded then: an aircraft sees it as well."""
        diary = self.diary
        begin_ns = diary.start_ns + slot * BLOCK_S * NS_PER_S
        for thing in diary.things:
            if thing.scenario != "road-flooding":
                continue
            if not thing.began_ns < begin_ns < thing.ended_ns - 900 * NS_PER_S:
                continue
            scenes.go(builder, diary.places.frame.to_metres(thing.lon_deg, thing.lat_deg))
            since_ns = builder.now_ns
            builder.hold(60.0)
            curve = diary.excursions[thing.devices[0]]["water_level_m"]
            one = next(
                one
                for one in curve
                if isinstance(one, Curve) and one.start_ns < since_ns < one.end_ns
            )
            camera_id = self.camera_of(dock)
            diary.sightings.append(
                standing_water(
                    one,
                    camera_id,
                    (thing.lon_deg, thing.lat_deg),
                    0.0,
                    "aircraft",
                    10.0,
                    (since_ns, builder.now_ns),
                )
            )
            return True
        return False

    def _visitors(self) -> None:
        """Aircraft that nobody registered; some are heard for a moment only."""
        slots = [slot for slot in range(1, self.slots - 2) if not self._is_wet(slot)]
        things = max(1, round(9 * self.factor))
        for number in range(things + max(1, round(4 * self.factor))):
            if not slots:
                return
            slot = slots.pop(int(self.diary.rng.integers(len(slots))))
            scenes = self._scenes(None, slot)
            if number < things:
                scenes.write_visitor(intrudes=number % 3 == 2)
            else:
                scenes.brief_visitor()
            self.visitors[slot] = list(scenes.flights)
            scenes.hand_over()


class _SlotScenes(FlightScenes):
    """The flights of one slot, written with the demonstration's pen into the day's diary."""

    def __init__(self, diary: Diary, slot: int, dock_sn: str) -> None:
        super().__init__(diary.places, diary.seed, diary.start_ns, slot)
        self.diary = diary
        self.rng = np.random.default_rng(digest(diary.seed, "flight", slot, dock_sn))

    def hand_over(self) -> None:
        """Give things and near misses to the diary."""
        for one in self.things:
            self.diary.happens(
                one.scenario, (one.lon_deg, one.lat_deg), one.began_ns, one.ended_ns, one.note,
                devices=one.devices,
            )  # fmt: skip
        for miss in self.near:
            self.diary.nearly(
                miss.scenario, (miss.lon_deg, miss.lat_deg), miss.began_ns, miss.ended_ns,
                miss.note, devices=miss.devices, radius_m=miss.radius_m,
            )  # fmt: skip

    def lift_off(self, dock: Dock, up_m: float) -> FlightBuilder:
        """From a dock, in the first minutes of the slot."""
        return self._lift_off(self.places.metres(dock), self.between(60, 150), up_m)

    def go(self, builder: FlightBuilder, to: tuple[float, float]) -> None:
        """To a place at the present height, around what is protected."""
        self._go(builder, to)

    def home(self, builder: FlightBuilder, dock: Dock) -> Flight:
        """Back to the dock; reads the truth off the path."""
        flight = self._home(builder, dock.aircraft_sn, dock.dock_sn)
        self.hand_over()
        return flight

    def high(self, builder: FlightBuilder, dock: Dock, *, thing: bool) -> None:
        """Above the limit, or just below it."""
        if thing:
            self._too_high(builder)
            return
        self._go(builder, self._free_point())
        since_ns = builder.now_ns
        builder.climb(118.5)
        builder.hold(40.0)
        self._near_flight(
            "height-limit", builder, dock.aircraft_sn, since_ns,
            "an aircraft climbs to just below the limit", 60.0,
        )  # fmt: skip
        builder.climb(self.between(65, 80))

    def intrusion(self, builder: FlightBuilder, dock: Dock, *, thing: bool) -> None:
        """Into a protected volume, past it, or over it."""
        volumes = self.places.volumes
        if not volumes:
            return
        volume = volumes[self.index % len(volumes)]
        if thing:
            self._into_volume(builder, volume)
        elif self.index % 2 and volume.ceiling_m <= 105.0:
            self._over_volume(builder, dock.aircraft_sn, volume)
        else:
            self._past_volume(builder, dock.aircraft_sn, volume)

    def lose(self, builder: FlightBuilder, dock: Dock, *, thing: bool) -> None:
        """Nobody hears the aircraft for some minutes, or for some seconds."""
        self._go(builder, self._free_point())
        builder.hold(20.0)
        lost_s = self.between(150, 260) if thing else self.between(6, 11)
        lost_ns = builder.now_ns
        at = self.places.frame.to_degrees(*builder.here[:2])
        until_ns = lost_ns + seconds_to_ns(lost_s)
        builder.hold(lost_s + 30.0)
        builder.lost_ns = (lost_ns, until_ns)
        tell = self.happens if thing else self.nearly
        note = (
            "the link to an aircraft is lost in flight"
            if thing
            else "the link to an aircraft stutters"
        )
        tell("lost-link", at, lost_ns, until_ns, note, devices=(dock.aircraft_sn,))

    def brief_visitor(self) -> None:
        """Somebody lifts an aircraft off for three seconds."""
        at = self._free_point(margin_m=200.0)
        builder = FlightBuilder(
            self.places.frame, east_m=at[0], north_m=at[1], start_ns=self.at(self.between(300, 900))
        )
        builder.climb(2.0, cruise_mps=2.0)
        builder.land()
        serial = visitor_sn(self.seed, self.index)
        flight = builder.build(serial, "", margin_s=0.0)
        self.flights.append(flight)
        begin_ns, end_ns = flight.airborne_ns
        self.nearly(
            "unidentified-aircraft", self.places.frame.to_degrees(*at), begin_ns, end_ns,
            "somebody tries an aircraft for three seconds", devices=(serial,), radius_m=60.0,
        )  # fmt: skip
