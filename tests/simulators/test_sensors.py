"""Sensors: signals around thresholds, and the formats they are told in."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

from core.city import Device
from geo.city import generate_city
from simulators.environment import Environment
from simulators.sensors import (
    SENSOR_KINDS,
    Excursion,
    Reading,
    encode_reading,
    readings,
    report_times,
    rest_offset,
)
from simulators.world import World

EPOCH_NS = 1_767_225_600_000_000_000
S = 1_000_000_000
#: Level, and how long it must be exceeded to be a thing: what the scripts are written around.
LIMITS = {
    "water_level_m": (0.25, 60), "tilt_deg": (15.0, 20), "smoke_db_per_m": (0.20, 10),
    "gas_lel_ratio": (0.10, 10), "pm10_ug_m3": (150.0, 120), "noise_db": (70.0, 120),
    "occupied": (0.5, 90),
}  # fmt: skip


@cache
def world(seed: int) -> World:
    return World(generate_city(seed), seed=seed, epoch_ns=EPOCH_NS)


def a_device(kind="water_level", thing_id="water-0001"):
    return Device(thing_id=thing_id, kind=kind, lon_deg=120.38, lat_deg=36.06)


def told(device, block, seed):
    return readings(
        device,
        environment=Environment(seed, EPOCH_NS),
        block=(block.start_ns, block.end_ns),
        excursions=block.signals.get(device.thing_id, {}),
    )


def longest_above(times, values, level):
    """Seconds from the first reading above a level to the next one that is not, at most."""
    longest, since = 0.0, None
    for at, value in zip(times, values, strict=True):
        if value >= level and since is None:
            since = at
        if value < level and since is not None:
            longest, since = max(longest, (at - since) / S), None
    assert since is None
    return longest


@pytest.mark.parametrize("seed", range(1, 6))
def test_readings_pass_thresholds_long_enough_only_where_a_thing_is(seed):
    block = world(seed).block(0)
    happening = {device for one in block.things for device in one.devices}
    for device in world(seed).city.devices.values():
        kind = SENSOR_KINDS.get(device.kind)
        if kind is None:
            continue
        many = told(device, block, seed)
        for row, signal in enumerate(kind.signals):
            level, lasting_s = LIMITS[signal.measure]
            longest = longest_above(
                [one.at_ns for one in many], [one.values[row] for one in many], level
            )
            excited = block.signals.get(device.thing_id, {}).get(signal.measure, ())
            if not excited:
                assert longest == 0, (device.thing_id, signal.measure)
            elif device.thing_id not in happening:
                harmless = (
                    device.thing_id == "water-0002"  # in no underpass
                    or device.kind == "parking"  # in no fire lane, or short
                )
                assert longest < lasting_s or harmless, (device.thing_id, longest)
                if device.kind == "parking" and world(seed).places.zone_of(device, "fire_lane"):
                    assert longest < lasting_s - 20
        for thing in block.things:
            if device.thing_id in thing.devices:
                inside = [
                    max(
                        value / LIMITS[signal.measure][0]
                        for value, signal in zip(one.values, kind.signals, strict=True)
                    )
                    for one in many
                    if thing.began_ns + 40 * S < one.at_ns < thing.ended_ns - 40 * S
                ]
                assert inside
                assert min(inside) > 1.0, thing


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_thing_is_above_its_threshold_from_the_moment_it_began(seed):
    block = world(seed).block(0)
    for thing in block.things:
        for thing_id in thing.devices:
            device = world(seed).city.devices.get(thing_id)
            if device is None or device.kind not in SENSOR_KINDS:
                continue
            kind = SENSOR_KINDS[device.kind]
            for row, signal in enumerate(kind.signals):
                level, lasting_s = LIMITS[signal.measure]
                above = [one.at_ns for one in told(device, block, seed) if one.values[row] >= level]
                close = [at for at in above if thing.began_ns - 15 * S <= at <= thing.ended_ns]
                if close and lasting_s:
                    assert close[0] - thing.began_ns < (kind.interval_s + 6) * S


def test_reports_on_change_come_at_once():
    device = a_device("manhole", "manhole-0001")
    start = EPOCH_NS + 100 * S
    many = readings(
        device,
        environment=Environment(7, EPOCH_NS),
        block=(EPOCH_NS, EPOCH_NS + 1800 * S),
        excursions={
            "tilt_deg": (Excursion(start_ns=start, end_ns=start + 12 * S, peak=30.0),),
        },
    )
    high = [one.at_ns for one in many if one.values[0] > 20]
    assert 0 < high[0] - start < 1.5 * S
    low = [one.at_ns for one in many if one.at_ns > high[-1]]
    assert low[0] - start - 12 * S < 1.5 * S
    assert len(many) == 60 + 2


def test_reports_keep_their_rhythm_over_the_end_of_a_block():
    device = a_device()
    first = report_times(
        device, seed=7, epoch_ns=EPOCH_NS, begin_ns=EPOCH_NS, end_ns=EPOCH_NS + 1800 * S
    )
    second = report_times(
        device, seed=7, epoch_ns=EPOCH_NS, begin_ns=EPOCH_NS + 1800 * S, end_ns=EPOCH_NS + 3600 * S
    )
    assert second[0] - first[-1] == 10 * S
    assert len(first) == len(second) == 180


def test_readings_have_steps_and_are_never_below_what_can_be():
    environment = Environment(2, EPOCH_NS)
    for kind_name, kind in SENSOR_KINDS.items():
        device = a_device(kind_name, f"{kind_name}-1")
        block = (EPOCH_NS, EPOCH_NS + 1800 * S)
        many = readings(device, environment=environment, block=block, excursions={})
        for row, signal in enumerate(kind.signals):
            values = np.array([one.values[row] for one in many])
            assert values.min() >= signal.low
            assert np.allclose(values / signal.quantum, np.round(values / signal.quantum))
            rest = signal.base_at(environment, [one.at_ns for one in many])
            rest = rest + rest_offset(2, device.thing_id, signal)
            slack = signal.drift + 3 * signal.noise + signal.quantum
            assert np.abs(values - rest).max() <= slack + 1e-9
            if signal.noise:
                assert len(set(values.tolist())) > 1


def test_plain_json_and_senml_as_they_are_sent():
    plain = encode_reading(
        "qingdao",
        a_device(),
        Reading(EPOCH_NS + 123_456_789, (0.31,)),
        sequence=12,
        with_position=True,
    )
    assert plain.topic == "qn/qingdao/sensor/water-0001"
    assert json.loads(plain.payload) == {
        "thing": "water-0001",
        "kind": "water_level",
        "time": "2026-01-01T00:00:00.123Z",
        "seq": 12,
        "lon": 120.38,
        "lat": 36.06,
        "measures": {"water_level_m": 0.31},
    }
    pack = encode_reading(
        "qingdao",
        a_device("site_air", "air-0001"),
        Reading(EPOCH_NS + 5 * S, (61.0, 58.2)),
        sequence=1,
        with_position=True,
    )
    assert pack.topic == "qn/qingdao/senml/air-0001"
    assert json.loads(pack.payload) == [
        {"bn": "air-0001/", "bt": 1767225605, "n": "pm10_ug_m3", "u": "ug/m3", "v": 61.0},
        {"n": "noise_db", "u": "dB", "v": 58.2},
    ]
    assert pack.observed_ns == EPOCH_NS + 5 * S


def test_excursions_are_trapezoids():
    one = Excursion(start_ns=0, end_ns=100 * S, peak=1.0, ramp_s=20.0)
    at = np.array([-1, 0, 10, 20, 50, 90, 100]) * S
    assert one.shape(at).tolist() == [0, 0, 0.5, 1, 1, 0.5, 0]
    assert one.passes_ns(0.5, 0.0) == (10 * S, 90 * S)


@pytest.mark.parametrize("seed", [1, 7])
def test_sites_are_quiet_at_night_but_for_what_the_truth_notes(seed):
    """Around the clock: what is loud by day need not be, what is loud at night is a matter."""
    town, told_of = world(seed), set()
    sites = [one for one in town.city.devices.values() if one.kind == "site_air"]
    for index in range(48):
        block = town.block(index)
        hour = float(Environment(seed, EPOCH_NS).local_hour(block.start_ns))
        scenario, level, lasting_s = (
            ("night-work", 56.0, 300) if hour >= 22 or hour < 6 else ("site-noise", 70.0, 120)
        )
        loud = {
            device for one in block.things if one.scenario == scenario for device in one.devices
        }
        told_of |= {scenario} if loud else set()
        assert {one.scenario for one in block.things} & {"site-noise", "night-work"} <= {scenario}
        for device in sites:
            many = told(device, block, seed)
            seconds = longest_above(
                [one.at_ns for one in many], [one.values[1] for one in many], level
            )
            assert (seconds >= lasting_s + 60) == (device.thing_id in loud), (hour, device, seconds)
            assert (seconds < lasting_s - 40) == (device.thing_id not in loud), (hour, seconds)
    assert told_of == {"night-work", "site-noise"}


def test_a_noise_over_the_border_of_day_and_night_is_left_out():
    """Epoch 21:47 in Qingdao: the drill of that block would run from 21:56 to 22:03."""
    late_ns = EPOCH_NS + (13 * 60 + 47) * 60 * S
    town = World(generate_city(7), seed=7, epoch_ns=late_ns)
    block = town.block(0)
    assert {"site-noise", "night-work"}.isdisjoint(one.scenario for one in block.things)
    assert {one.scenario for one in block.near_misses} >= {"night-work"}
    assert "night-work" in {one.scenario for one in town.block(1).things}
