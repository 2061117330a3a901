"""Drone docks and their aircraft, as they speak the DJI Cloud API.

A dock reports its properties (osd) every 2 s, split over several messages as the real one does;
its aircraft reports at 1 Hz while it is switched on. Changes go to ``state``, the progress of a
task to ``events``, and the aircraft coming and going to ``sys/…/status``.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from core.city import Dock
from core.topics import dji_status_topic, dji_topic
from core.units import NS_PER_MS, NS_PER_S, seconds_to_ns
from simulators.flights import STANDBY, Flight, FlightState
from simulators.messages import (
    ScheduledMessage,
    digest,
    make_uuid,
    share_of,
    to_json,
    whole_ms,
)

AIRCRAFT_PERIOD_NS = NS_PER_S
DOCK_PERIOD_NS = 2 * NS_PER_S
PROGRESS_PERIOD_NS = 10 * NS_PER_S

#: Properties of a dock's weather station at an instant.
DockWeather = Callable[[int], dict[str, object]]

#: domain-type-sub of what is simulated: a Matrice 3D and a Dock 2.
AIRCRAFT_MODEL = "0-91-0"
_AIRCRAFT_TYPE, _DOCK_TYPE = 91, 2
_PAYLOAD = "80-0-0"

#: One-sigma errors of the aircraft's position (RTK) and height, cut at three sigma.
POSITION_SIGMA_M, HEIGHT_SIGMA_M = 0.15, 0.08

_BATTERY_PERCENT_PER_S = 0.045


def ground_wgs84_m(seed: int, dock_sn: str) -> float:
    """Height of a dock's ground above the ellipsoid; the simulated district is flat."""
    return round(18.0 + 14.0 * share_of(seed, "ground", dock_sn), 1)


def battery_percent(flight: Flight, instant_ns: int) -> int:
    """What the battery has left; it is full when the aircraft lifts off."""
    up_ns, down_ns = flight.airborne_ns
    flown_s = max(0, min(instant_ns, down_ns) - up_ns) / NS_PER_S
    return max(15, round(100 - _BATTERY_PERCENT_PER_S * flown_s))


def envelope(
    instant_ns: int, gateway: str, data: object, *, tid: str, bid: str, **extra: object
) -> bytes:
    """A message of the Cloud API; ``extra`` holds method and need_reply."""
    return to_json(
        {
            "tid": tid,
            "bid": bid,
            "timestamp": instant_ns // NS_PER_MS,
            "gateway": gateway,
            **extra,
            "data": data,
        }
    )


def _signed(heading_deg: float) -> float:
    return round((heading_deg + 180.0) % 360.0 - 180.0, 1)


def aircraft_osd(
    flight: Flight,
    state: FlightState,
    instant_ns: int,
    *,
    ground_m: float,
    error_m: Sequence[float],
) -> dict[str, object]:
    """The properties an aircraft reports.

    Args:
        flight: The flight.
        state: Where it truly is.
        instant_ns: When.
        ground_m: Take-off point above the ellipsoid.
        error_m: Error of the reported place, east, north and up.
    """
    frame = flight.frame
    home = flight.legs[0].begin
    percent = battery_percent(flight, instant_ns)
    on_ground = state.mode_code == STANDBY
    up_error = 0.0 if on_ground else error_m[2]
    elevation = round(state.elevation_m + up_error, 1)
    place = state.position
    return {
        "mode_code": state.mode_code,
        "mode_code_reason": 0,
        "gear": 1,
        "latitude": round(state.lat_deg + error_m[1] / frame.north_m_per_deg, 8),
        "longitude": round(state.lon_deg + error_m[0] / frame.east_m_per_deg, 8),
        "height": round(ground_m + state.elevation_m + up_error, 3),
        "elevation": elevation,
        "horizontal_speed": round(state.speed_mps, 1),
        "vertical_speed": round(state.vertical_speed_mps, 1),
        "attitude_head": _signed(state.heading_deg),
        "attitude_pitch": round(0.0 - 1.2 * state.speed_mps, 1),
        "attitude_roll": 0.0,
        "home_distance": round(
            math.hypot(place.east_m - home.east_m, place.north_m - home.north_m), 1
        ),
        "height_limit": 120,
        "rth_altitude": 80,
        "is_near_height_limit": int(elevation > 115),
        "is_near_area_limit": 0,
        "wind_speed": 34,
        "wind_direction": 7,
        "position_state": {"is_fixed": 2, "quality": 10, "gps_number": 27, "rtk_number": 24},
        "battery": {
            "capacity_percent": percent,
            "remain_flight_time": max(0, round((percent - 10) / _BATTERY_PERCENT_PER_S)),
            "return_home_power": 24,
            "landing_power": 12,
            "batteries": [
                {
                    "index": 0,
                    "sn": f"B{flight.aircraft_sn[-10:]}",
                    "capacity_percent": percent,
                    "voltage": 21_000 + 24 * percent,
                    "temperature": 31.5,
                    "loop_times": 44,
                }
            ],
        },
        _PAYLOAD: {
            "payload_index": _PAYLOAD,
            "gimbal_pitch": -90.0,
            "gimbal_roll": 0.0,
            "gimbal_yaw": _signed(state.heading_deg),
            "zoom_factor": 1.0,
        },
        "storage": {"total": 60_082_000, "used": 1_200_000},
    }


def _dock_main(
    dock: Dock, flight: Flight | None, instant_ns: int, ground_m: float
) -> dict[str, object]:
    on = flight is not None and flight.on_ns <= instant_ns < flight.off_ns
    flying = recovering = False
    cover, percent = 0, 100
    if flight is not None and on:
        up_ns, down_ns = flight.airborne_ns
        flying = up_ns <= instant_ns < down_ns
        recovering = instant_ns >= down_ns - 20 * NS_PER_S
        cover = int(instant_ns < up_ns + 15 * NS_PER_S or recovering)
        percent = battery_percent(flight, instant_ns)
    step = 5 if not on else 2 if recovering else 1 if flying else 0
    return {
        "mode_code": 4 if on else 0,
        "flighttask_step_code": step,
        "drone_in_dock": int(not flying),
        "cover_state": cover,
        "putter_state": 0,
        "supplement_light_state": 0,
        "emergency_stop_state": 0,
        "alarm_state": 0,
        "rainfall": 0,
        "wind_speed": round(3.4 + math.sin(instant_ns / 4.1e11), 1),
        "environment_temperature": 16.8,
        "temperature": 21.4,
        "humidity": 47,
        "latitude": dock.lat_deg,
        "longitude": dock.lon_deg,
        "height": ground_m,
        "heading": 0.0,
        "home_position_is_valid": 1,
        "drone_charge_state": {"state": int(not on and percent < 100), "capacity_percent": percent},
        "sub_device": {
            "device_sn": dock.aircraft_sn,
            "device_model_key": AIRCRAFT_MODEL,
            "device_online_status": int(
                on and flight is not None and not flight.is_lost(instant_ns)
            ),
            "device_paired": 1,
        },
    }


def _dock_network(instant_ns: int) -> dict[str, object]:
    return {
        "network_state": {"type": 2, "quality": 5, "rate": round(800 + instant_ns % 97, 1)},
        "wireless_link": {
            "link_workmode": 0,
            "sdr_link_state": 1,
            "sdr_quality": 5,
            "4g_link_state": 0,
            "4g_quality": 0,
        },
        "media_file_detail": {"remain_upload": 0},
    }


def _dock_power(epoch_ns: int, instant_ns: int) -> dict[str, object]:
    return {
        "job_number": 492,
        "acc_time": 1_859_010 + (instant_ns - epoch_ns) // NS_PER_S,
        "working_voltage": 25_440,
        "working_current": 1_120,
        "electric_supply_voltage": 231,
        "backup_battery": {"switch": 1, "voltage": 26_631, "temperature": 27.9},
    }


def _topology(dock: Dock, seed: int, *, online: bool) -> dict[str, object]:
    aircraft = {
        "sn": dock.aircraft_sn,
        "domain": "0",
        "type": _AIRCRAFT_TYPE,
        "sub_type": 0,
        "index": "A",
        "device_secret": "",
        "nonce": f"{digest(seed, 'nonce', dock.aircraft_sn):032x}",
        "thing_version": "1.1.2",
    }
    return {
        "domain": "3",
        "type": _DOCK_TYPE,
        "sub_type": 0,
        "device_secret": "",
        "nonce": f"{digest(seed, 'nonce', dock.dock_sn):032x}",
        "thing_version": "1.1.2",
        "sub_devices": [aircraft] if online else [],
    }


class _Speaker:
    """Makes messages of one dock, each with ids of its own."""

    def __init__(self, dock: Dock, seed: int) -> None:
        self.dock = dock
        self.seed = seed

    def say(
        self,
        instant_ns: int,
        topic: str,
        data: object,
        *,
        thing_id: str,
        job: str = "",
        qos: int = 1,
        **extra: object,
    ) -> ScheduledMessage:
        tid = make_uuid(self.seed, "tid", topic, instant_ns, *extra)
        bid = job or make_uuid(self.seed, "bid", topic, instant_ns)
        body = envelope(instant_ns, self.dock.dock_sn, data, tid=tid, bid=bid, **extra)
        return ScheduledMessage(instant_ns, topic, body, qos, thing_id, whole_ms(instant_ns))


def _dock_stream(
    speaker: _Speaker,
    blocks: Iterable[tuple[int, int, Flight | None]],
    *,
    epoch_ns: int,
    ground_m: float,
    period_ns: int,
    weather: DockWeather | None,
) -> Iterator[ScheduledMessage]:
    dock = speaker.dock
    topic = dji_topic(dock.dock_sn, "osd")
    phase_ns = whole_ms(int(period_ns * share_of(speaker.seed, "phase", dock.dock_sn)))
    for begin_ns, end_ns, flight in blocks:
        number = -((epoch_ns + phase_ns - begin_ns) // period_ns)
        while (now_ns := epoch_ns + phase_ns + number * period_ns) < end_ns:
            main = _dock_main(dock, flight, now_ns, ground_m)
            if weather is not None:
                main |= weather(now_ns)
            parts = [main]
            if number % 5 == 1:
                parts.append(_dock_network(now_ns))
            if number % 5 == 3:
                parts.append(_dock_power(epoch_ns, now_ns))
            for late, data in enumerate(parts):
                yield speaker.say(
                    now_ns + 40 * late * NS_PER_MS, topic, data, thing_id=dock.dock_sn
                )
            number += 1


def _event_stream(
    speaker: _Speaker, blocks: Iterable[tuple[int, int, Flight | None]], *, epoch_ns: int
) -> Iterator[ScheduledMessage]:
    dock, seed = speaker.dock, speaker.seed
    status, state = dji_status_topic(dock.dock_sn), dji_topic(dock.aircraft_sn, "state")
    events = dji_topic(dock.dock_sn, "events")

    def topology(at_ns: int, online: bool) -> ScheduledMessage:
        data = _topology(dock, seed, online=online)
        return speaker.say(at_ns, status, data, thing_id=dock.dock_sn, method="update_topo")

    yield topology(epoch_ns + 500 * NS_PER_MS, False)
    yield speaker.say(
        epoch_ns + 600 * NS_PER_MS,
        dji_topic(dock.dock_sn, "state"),
        {"firmware_version": "10.01.1612", "compatible_status": 0},
        thing_id=dock.dock_sn,
    )
    for begin_ns, _, flight in blocks:
        if flight is None:
            continue
        home = flight.legs[0].begin
        lon, lat = flight.frame.to_degrees(home.east_m, home.north_m)
        flight_id = make_uuid(seed, "flight", dock.dock_sn, begin_ns)
        track_id = make_uuid(seed, "track", dock.dock_sn, begin_ns)
        job = make_uuid(seed, "job", dock.dock_sn, begin_ns)
        up_ns, down_ns = flight.airborne_ns

        def progress(
            at_ns: int,
            status_word: str,
            percent: int,
            waypoint: int,
            *,
            job: str = job,
            flight_id: str = flight_id,
            track_id: str = track_id,
        ) -> ScheduledMessage:
            over = status_word == "ok"
            data = {
                "result": 0,
                "output": {
                    "status": status_word,
                    "progress": {"current_step": 26 if over else 25, "percent": percent},
                    "ext": {
                        "flight_id": flight_id,
                        "track_id": track_id,
                        "wayline_id": 0,
                        "current_waypoint_index": waypoint,
                        "media_count": 0,
                        "wayline_mission_state": 9 if over else 6,
                    },
                },
            }
            return speaker.say(
                at_ns,
                events,
                data,
                thing_id=dock.dock_sn,
                job=job,
                method="flighttask_progress",
                need_reply=1,
            )

        def changed(at_ns: int, data: object) -> ScheduledMessage:
            return speaker.say(at_ns, state, data, thing_id=dock.aircraft_sn)

        yield topology(flight.on_ns, True)
        yield progress(flight.on_ns + 200 * NS_PER_MS, "sent", 0, 0)
        yield changed(
            flight.on_ns + NS_PER_S,
            {
                "home_latitude": round(lat, 8),
                "home_longitude": round(lon, 8),
                "control_source": "A",
                "firmware_version": "10.01.1612",
                "rid_state": True,
                "low_battery_warning_threshold": 25,
                "serious_low_battery_warning_threshold": 10,
            },
        )
        yield changed(up_ns + 300 * NS_PER_MS, {"mode_code_reason": 11, "track_id": track_id})
        for now_ns in range(up_ns + PROGRESS_PERIOD_NS, down_ns, PROGRESS_PERIOD_NS):
            here = flight.at(now_ns)
            share = (now_ns - up_ns) / (down_ns - up_ns)
            yield progress(
                now_ns, "in_progress", min(99, int(100 * share)), here.leg if here else 0
            )
        yield progress(down_ns + NS_PER_S, "ok", 100, len(flight.legs) - 1)
        yield changed(down_ns + 1500 * NS_PER_MS, {"mode_code_reason": 0, "track_id": ""})
        yield topology(flight.off_ns, False)


def _aircraft_stream(
    speaker: _Speaker,
    blocks: Iterable[tuple[int, int, Flight | None]],
    *,
    epoch_ns: int,
    ground_m: float,
) -> Iterator[ScheduledMessage]:
    dock, seed = speaker.dock, speaker.seed
    topic = dji_topic(dock.aircraft_sn, "osd")
    for begin_ns, _, flight in blocks:
        if flight is None:
            continue
        first = whole_ms(flight.on_ns + seconds_to_ns(share_of(seed, "osd", dock.aircraft_sn)))
        times = range(first, flight.off_ns, AIRCRAFT_PERIOD_NS)
        rng = np.random.default_rng(digest(seed, "osd", dock.aircraft_sn, begin_ns - epoch_ns))
        sigma = (POSITION_SIGMA_M, POSITION_SIGMA_M, HEIGHT_SIGMA_M)
        errors = np.clip(rng.standard_normal((len(times), 3)), -3.0, 3.0) * sigma
        for now_ns, error_m in zip(times, errors.tolist(), strict=True):
            here = flight.at(now_ns)
            if here is None or flight.is_lost(now_ns):
                continue
            data = aircraft_osd(flight, here, now_ns, ground_m=ground_m, error_m=error_m)
            yield speaker.say(now_ns, topic, data, thing_id=dock.aircraft_sn)


def dock_messages(
    dock: Dock,
    blocks: Sequence[Iterable[tuple[int, int, Flight | None]]],
    *,
    seed: int,
    epoch_ns: int,
    period_ns: int = DOCK_PERIOD_NS,
    weather: DockWeather | None = None,
) -> Iterator[ScheduledMessage]:
    """All that a dock and its aircraft send, in time order.

    Args:
        dock: The dock.
        blocks: Three equal iterables of begin, end and the aircraft's flight of each block, for
            the dock's, the aircraft's and the task's messages.
        seed: Of the world.
        epoch_ns: Its beginning.
        period_ns: Between two reports of the dock.
        weather: The dock's wind, rain and temperature at an instant, as it reports them.
    """
    speaker = _Speaker(dock, seed)
    ground_m = ground_wgs84_m(seed, dock.dock_sn)
    first, second, third = blocks
    return heapq.merge(
        _dock_stream(
            speaker,
            first,
            epoch_ns=epoch_ns,
            ground_m=ground_m,
            period_ns=period_ns,
            weather=weather,
        ),
        _aircraft_stream(speaker, second, epoch_ns=epoch_ns, ground_m=ground_m),
        _event_stream(speaker, third, epoch_ns=epoch_ns),
        key=lambda message: message.at_ns,
    )
