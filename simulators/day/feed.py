"""The day's feed: its script, and everything that is published of it, in time order."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np

from core.city import Dock
from core.exclusions import EXCLUSION_KIND, Exclusion, encode_exclusion
from core.topics import detection_topic, exclusion_topic, report_topic
from core.units import NS_PER_S, ns_to_rfc3339
from geo.city import City
from simulators.day.air_scenes import AirDay
from simulators.day.camera_scenes import CameraDay
from simulators.day.diary import Diary, Report
from simulators.day.sensor_scenes import SensorDay
from simulators.day.sightings import Effigy
from simulators.day.water_scenes import WaterDay
from simulators.devices.fleet import Fleet
from simulators.devices.group import Away, Lie
from simulators.docks import dock_messages
from simulators.environment import Environment
from simulators.flights import Flight
from simulators.messages import ScheduledMessage, digest, to_json
from simulators.remote_id import remote_id_messages
from simulators.scribe import BLOCK_S
from simulators.truth import NearMiss, Thing

#: A day is this long: a silent water meter needs more than 24 hours.
HOURS = 30.0

#: Messages of all sensors are made for so long at a time.
_SLAB_S = 600
_DOCK_PERIOD_NS = 30 * NS_PER_S
_COUNT_EVERY_S = 300

#: Scenarios that passers-by report, and what they say.
_REPORTED = {
    "exposed-waste": "路边有一堆垃圾",
    "illegal-parking": "车辆违停",
    "fire-lane-blocked": "消防通道被堵",
    "manhole-cover": "井盖翘起来了",
    "road-flooding": "桥洞下面积水很深",
    "site-dust": "工地扬尘很大",
}
_REPORTED_RATIO = 0.22


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """A day, written out: what happens, and what makes its messages."""

    start_ns: int
    end_ns: int
    things: tuple[Thing, ...]
    near_misses: tuple[NearMiss, ...]
    diary: Diary
    air: AirDay


def scenes_factor(city: City) -> float:
    """How many times as much happens in a city as in a district of 450 devices.

    Example:
        >>> from geo.city import load_city
        >>> [scenes_factor(load_city(f"generated:{size}")) for size in ("street", "district")]
        [0.2, 1.0]
    """
    return min(5.0, max(0.2, round(len(city.devices) / 450, 1)))


def write_day(
    city: City, *, seed: int, start_ns: int, hours: float = HOURS, factor: float | None = None
) -> Day:
    """Write the script of a day; a pure function of its arguments.

    Args:
        city: With the devices of a whole city (``generated:district`` and larger).
        seed: Of the world.
        start_ns: Begin; cut to whole seconds.
        hours: How long.
        factor: How many times as many scenes as in a district; by its devices unless given.
    """
    factor = scenes_factor(city) if factor is None else factor
    start_ns = start_ns // NS_PER_S * NS_PER_S
    environment = Environment(seed, start_ns)
    diary = Diary(city, seed=seed, start_ns=start_ns, hours=hours, environment=environment)
    CameraDay(diary, factor).write()
    SensorDay(diary, factor).write()
    WaterDay(diary, factor).write()
    air = AirDay(diary, factor)
    air.write()
    for thing in list(diary.things):
        text = _REPORTED.get(thing.scenario)
        if text is not None and diary.between(0, 1) < _REPORTED_RATIO:
            diary.report(thing, text)
    return Day(
        start_ns=start_ns,
        end_ns=diary.end_ns,
        things=tuple(sorted(diary.things, key=lambda one: (one.began_ns, one.truth_id))),
        near_misses=tuple(sorted(diary.near, key=lambda one: (one.began_ns, one.truth_id))),
        diary=diary,
        air=air,
    )


def day_messages(day: Day, lies: dict[str, list[Lie]] | None = None) -> Iterator[ScheduledMessage]:
    """Everything that is published in a day, in time order; without faults of the network.

    Args:
        day: Its script.
        lies: Faults inside devices, by thing.
    """
    diary = day.diary
    frame = diary.places.frame
    effigy = Effigy(
        diary.city.name,
        seed=diary.seed,
        environment=diary.environment,
        metres_per_deg=(frame.east_m_per_deg, frame.north_m_per_deg),
    )
    seen = sorted(
        (message for one in diary.sightings for message in effigy.messages(one)),
        key=lambda message: (message.at_ns, message.thing_id),
    )
    streams: list[Iterable[ScheduledMessage]] = [
        _fleet(day, lies or {}),
        seen,
        _reports(diary.city.name, diary.reports),
        _exclusions(diary.city.name, diary.exclusions),
        _moving_counts(day),
        _frigate(day),
        *_aircraft(day),
    ]
    for message in heapq.merge(*streams, key=lambda one: one.at_ns):
        if message.at_ns >= day.end_ns:
            return
        yield message


def _fleet(day: Day, lies: dict[str, list[Lie]]) -> Iterator[ScheduledMessage]:
    diary = day.diary
    fleet = Fleet(
        diary.city.name,
        list(diary.city.devices.values()),
        seed=diary.seed,
        environment=diary.environment,
        bounds=diary.city.bounds,
    )
    slab_ns = _SLAB_S * NS_PER_S
    for begin_ns in range(day.start_ns, day.end_ns, slab_ns):
        end_ns = begin_ns + slab_ns
        near: dict[str, dict[str, list[Away]]] = {}
        for thing, by_measure in diary.excursions.items():
            for measure, many in by_measure.items():
                live = [
                    one
                    for one in many
                    if one.start_ns < end_ns and one.end_ns + 180 * NS_PER_S > begin_ns
                ]
                if live:
                    near.setdefault(thing, {})[measure] = live
        yield from fleet.slab(begin_ns, end_ns, near, lies)


def _reports(city: str, reports: Sequence[Report]) -> Iterator[ScheduledMessage]:
    for one in sorted(reports, key=lambda report: (report.at_ns, report.report_id)):
        body = {
            "thing": f"report/{one.report_id}",
            "kind": "report",
            "time": ns_to_rfc3339(one.at_ns),
            "lon": one.lon_deg,
            "lat": one.lat_deg,
            "error_m": 8.0,
            "labels": {"scenario": one.scenario, "text": one.text},
        }
        topic = report_topic(city, one.report_id)
        yield ScheduledMessage(
            one.at_ns + NS_PER_S, topic, to_json(body), 1, f"report/{one.report_id}", one.at_ns
        )


def _exclusions(city: str, records: Sequence[Exclusion]) -> Iterator[ScheduledMessage]:
    for one in sorted(records, key=lambda record: (record.at_ns, record.id)):
        topic, thing = exclusion_topic(city, one.id), f"{EXCLUSION_KIND}/{one.id}"
        yield ScheduledMessage(one.at_ns, topic, encode_exclusion(one), 1, thing, one.at_ns)


def _moving_counts(day: Day) -> Iterator[ScheduledMessage]:
    """What moves before each camera: clutter that follows the traffic of the hour."""
    diary = day.diary
    cameras = [name for name in sorted(diary.city.cameras) if name.startswith("cam-")]
    rng = np.random.default_rng(digest(diary.seed, "moving"))
    for at_ns in range(day.start_ns, day.end_ns, _COUNT_EVERY_S * NS_PER_S):
        traffic = float(diary.environment.channel("traffic", at_ns))
        counts = rng.poisson(0.3 + 4.0 * traffic, len(cameras)).tolist()
        step_ns = _COUNT_EVERY_S * NS_PER_S // max(1, len(cameras))
        step_ns -= step_ns % 1_000_000
        for number, (camera_id, count) in enumerate(zip(cameras, counts, strict=True)):
            observed_ns = at_ns + number * step_ns
            body = {
                "thing": camera_id,
                "kind": "detection.moving_count",
                "time": ns_to_rfc3339(observed_ns),
                "measures": {"moving_count": float(count)},
                "labels": {"camera_id": camera_id},
            }
            topic = detection_topic(diary.city.name, camera_id)
            yield ScheduledMessage(
                observed_ns + NS_PER_S // 4, topic, to_json(body), 1, camera_id, observed_ns
            )


def _frigate(day: Day) -> Iterator[ScheduledMessage]:
    """Some cameras hang on a recorder that tells what it saw itself: cars and people that pass."""
    diary = day.diary
    cameras = [name for name in sorted(diary.city.cameras) if name.startswith("cam-gate")]
    rng = np.random.default_rng(digest(diary.seed, "frigate"))
    if not cameras:
        return
    for at_ns in range(day.start_ns, day.end_ns, 600 * NS_PER_S):
        people = float(diary.environment.channel("people", at_ns))
        begins = np.sort(rng.uniform(0, 560, int(rng.poisson(6.0 * people))))
        for second in begins.tolist():
            camera = cameras[int(rng.integers(len(cameras)))]
            label = ("person", "car")[int(rng.integers(2))]
            began_s = at_ns / NS_PER_S + second
            began_s = round(began_s, 6)
            number = digest(camera, began_s) % 36**6
            tail = "".join("0123456789abcdefghijklmnopqrstuvwxyz"[number // 36**n % 36]
                           for n in range(6))  # fmt: skip
            score = round(float(rng.uniform(0.6, 0.95)), 4)
            seen = {
                "id": f"{began_s:.6f}-{tail}",
                "camera": camera,
                "frame_time": round(began_s + 1.2, 6),
                "label": label,
                "sub_label": None,
                "top_score": score,
                "false_positive": False,
                "start_time": began_s,
                "end_time": None,
                "score": score,
                "box": [220, 140, 280, 330],
                "area": 11400,
                "stationary": False,
                "current_zones": ["gate"],
                "entered_zones": ["gate"],
                "has_clip": True,
                "has_snapshot": True,
            }
            body = {"type": "new", "before": seen, "after": seen}
            thing = f"frigate/{camera}/{seen['id']}"
            observed_ns = round((began_s + 1.2) * 1e6) * 1000
            yield ScheduledMessage(
                observed_ns + NS_PER_S // 2, "frigate/events", to_json(body), 1, thing, observed_ns
            )


def _aircraft(day: Day) -> Iterator[Iterator[ScheduledMessage]]:
    diary, air = day.diary, day.air
    registered = frozenset(
        device.thing_id for device in diary.city.devices.values() if device.kind == "aircraft"
    ) | {dock.aircraft_sn for dock in air.docks}

    def blocks(dock: Dock) -> Iterator[tuple[int, int, Flight | None]]:
        for slot in range(air.slots):
            begin_ns = day.start_ns + slot * BLOCK_S * NS_PER_S
            yield begin_ns, begin_ns + BLOCK_S * NS_PER_S, air.flights[dock.dock_sn].get(slot)

    def weather(at_ns: int) -> dict[str, object]:
        rain = float(diary.environment.channel("rain_mm_h", at_ns))
        level = 0 if rain < 0.1 else 1 if rain < 2.5 else 2 if rain < 8 else 3
        return {
            "rainfall": level,
            "wind_speed": round(float(diary.environment.channel("wind_mps", at_ns)), 1),
            "environment_temperature": round(
                float(diary.environment.channel("temperature_c", at_ns)), 1
            ),
        }

    for dock in air.docks:
        yield dock_messages(
            dock,
            [blocks(dock) for _ in range(3)],
            seed=diary.seed,
            epoch_ns=day.start_ns,
            period_ns=_DOCK_PERIOD_NS,
            weather=weather,
        )
    yield remote_id_messages(
        diary.city.name,
        (
            (
                *(many[slot] for many in air.flights.values() if slot in many),
                *air.visitors.get(slot, ()),
            )
            for slot in range(air.slots)
        ),
        seed=diary.seed,
        registered=registered,
    )


__all__ = ["HOURS", "Day", "day_messages", "write_day"]
