"""The script of a block: enough happens, on both sides of every threshold, and nothing collides."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import shapely

from core.city import LayerRole
from geo.city import generate_city
from geo.tagging import Tagger
from simulators.flights import LocalFrame
from simulators.score import AIRCRAFT_SCENARIOS
from simulators.scribe import BLOCK_S
from simulators.world import World

EPOCH_NS = 1_767_225_600_000_000_000
S = 1_000_000_000
SEEDS = range(1, 11)
SCENARIOS = {
    "road-flooding", "illegal-parking", "exposed-waste", "manhole-cover", "site-dust",
    "site-noise", "smoke-alarm", "gas-leak", "fire-lane-blocked", "airspace-intrusion",
    "height-limit", "unidentified-aircraft",
}  # fmt: skip
#: How long a thing must last to be told from a near miss, generously.
AT_LEAST_S = {
    "road-flooding": 200, "illegal-parking": 260, "exposed-waste": 300, "manhole-cover": 120,
    "site-dust": 240, "site-noise": 240, "smoke-alarm": 90, "gas-leak": 90,
    "fire-lane-blocked": 240, "airspace-intrusion": 5, "height-limit": 30,
    "unidentified-aircraft": 120,
}  # fmt: skip


@cache
def world(seed: int) -> World:
    return World(generate_city(seed), seed=seed, epoch_ns=EPOCH_NS)


def metres(one, other):
    frame = LocalFrame.at(lon_deg=one.lon_deg, lat_deg=one.lat_deg)
    return math.hypot(*frame.to_metres(other.lon_deg, other.lat_deg))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_scenario_and_every_camera_has_a_thing_in_every_block(seed):
    for index in range(2):
        block = world(seed).block(index)
        assert {one.scenario for one in block.things} == SCENARIOS
        assert {camera for one in block.things for camera in one.cameras} == set(
            world(seed).city.cameras
        )
        assert {camera for one in block.near_misses for camera in one.cameras} == set(
            world(seed).city.cameras
        )
        assert 12 <= len(block.things) <= 16
        assert len(block.near_misses) >= 12
        assert {one.scenario for one in block.near_misses} == SCENARIOS
        kinds = {
            world(seed).city.devices[device].kind
            for one in block.things
            for device in one.devices
            if device in world(seed).city.devices
        }
        assert kinds >= {"water_level", "manhole", "smoke", "gas", "site_air", "parking"}


@pytest.mark.parametrize("seed", SEEDS)
def test_things_begin_in_time_last_long_enough_and_end_with_their_block(seed):
    for index in range(2):
        block = world(seed).block(index)
        for thing in block.things:
            since_s = (thing.began_ns - block.start_ns) / S
            assert 60 <= since_s <= BLOCK_S - 360, thing
            assert (thing.ended_ns - thing.began_ns) / S >= AT_LEAST_S[thing.scenario], thing
            assert thing.ended_ns <= block.end_ns - 60 * S, thing
        for miss in block.near_misses:
            assert block.start_ns < miss.began_ns < miss.ended_ns <= block.end_ns - 60 * S, miss
        for flight in block.flights:
            assert block.start_ns < flight.on_ns < flight.off_ns < block.end_ns
        for actor in block.actors:
            first, last = actor.waypoints[0].at_ns, actor.waypoints[-1].at_ns
            assert block.start_ns + 60 * S < first < last < block.end_ns - 60 * S
    early = [one for one in world(seed).block(0).things if one.began_ns < EPOCH_NS + 200 * S]
    assert len(early) >= 4


@pytest.mark.parametrize("seed", SEEDS)
def test_things_of_a_scenario_are_apart_in_place_and_never_share_a_device(seed):
    for index in range(2):
        things = world(seed).block(index).things
        for number, one in enumerate(things):
            for other in things[:number]:
                if one.scenario == other.scenario:
                    assert metres(one, other) >= 60, (one, other)
                    assert not set(one.devices) & set(other.devices)


@pytest.mark.parametrize("seed", SEEDS)
def test_things_stand_in_the_zones_that_make_them_things(seed):
    zone_kind = {
        "road-flooding": "underpass",
        "illegal-parking": "no_parking",
        "exposed-waste": "pavement",
        "fire-lane-blocked": "fire_lane",
    }
    tagger = Tagger(world(seed).city)
    for thing in world(seed).block(0).things:
        if thing.scenario in zone_kind:
            tags = tagger.tag(np.array([thing.lon_deg]), np.array([thing.lat_deg]))
            assert tags.in_zone(zone_kind[thing.scenario])[0], thing


@pytest.mark.parametrize("seed", SEEDS)
def test_aircraft_things_are_exact_on_the_path_that_is_flown(seed):
    city = world(seed).city
    [layer] = city.layers_of(LayerRole.AIRSPACE)
    for index in range(2):
        block = world(seed).block(index)
        for thing in block.things:
            if thing.scenario not in AIRCRAFT_SCENARIOS:
                continue
            flight = block.flight_of(thing.devices[0])
            assert flight is not None
            state = flight.at(thing.began_ns)
            assert state is not None
            assert (state.lon_deg, state.lat_deg) == pytest.approx(
                (thing.lon_deg, thing.lat_deg), abs=1e-7
            )
            if thing.scenario == "height-limit":
                assert state.elevation_m == pytest.approx(120.0, abs=0.05)
            if thing.scenario == "airspace-intrusion":
                border = shapely.boundary(layer.geometries[0])
                frame = LocalFrame.at(lon_deg=thing.lon_deg, lat_deg=thing.lat_deg)
                assert frame.shape(border).distance(shapely.Point(0, 0)) < 0.1
        entered = [
            one
            for flight in block.flights
            for one in _instants(flight)
            if layer.geometries[0].covers(shapely.Point(one[1].lon_deg, one[1].lat_deg))
            and one[1].elevation_m <= layer.column("ceiling_m")[0]
        ]
        spans = [
            (one.began_ns, one.ended_ns)
            for one in block.things
            if one.scenario == "airspace-intrusion"
        ]
        assert len(spans) == 1
        for now_ns, _ in entered:
            assert spans[0][0] - S <= now_ns <= spans[0][1] + S


def _instants(flight):
    for now_ns in range(*flight.airborne_ns, S):
        yield now_ns, flight.at(now_ns)


@pytest.mark.parametrize("seed", SEEDS)
def test_near_misses_in_the_air_stay_on_the_lawful_side(seed):
    block = world(seed).block(0)
    assert any("above its ceiling" in one.note for one in block.near_misses)
    [layer] = world(seed).city.layers_of(LayerRole.AIRSPACE)
    for miss in block.near_misses:
        if miss.scenario not in {"airspace-intrusion", "height-limit"}:
            continue
        flight = block.flight_of(miss.devices[0])
        assert flight is not None
        states = [flight.at(now) for now in range(miss.began_ns, miss.ended_ns, S)]
        assert all(one is not None for one in states)
        if miss.scenario == "height-limit":
            assert max(one.elevation_m for one in states) == pytest.approx(119.5)
        else:
            frame = LocalFrame.at(lon_deg=miss.lon_deg, lat_deg=miss.lat_deg)
            area = frame.shape(layer.geometries[0])
            nearest = min(
                area.distance(shapely.Point(frame.to_metres(one.lon_deg, one.lat_deg)))
                for one in states
            )
            if nearest > 0:  # beside it; else above it, by a few metres
                assert 29 <= nearest <= 31
            else:
                over = [
                    one.elevation_m
                    for one in states
                    if area.covers(shapely.Point(frame.to_metres(one.lon_deg, one.lat_deg)))
                ]
                assert 1 <= min(over) - layer.column("ceiling_m")[0] <= 5


@pytest.mark.parametrize("seed", SEEDS)
def test_the_survey_hovers_while_something_is_parked_below(seed):
    block = world(seed).block(0)
    [flight] = [one for one in block.flights if one.hover_ns != (0, 0)]
    low, high = flight.hover_ns
    assert high - low >= 600 * S
    [thing] = [one for one in block.things if "camera-air-1" in one.cameras]
    assert low + 60 * S <= thing.began_ns < thing.ended_ns <= high
    pose = world(seed).camera_pose("camera-air-1", thing.began_ns)
    assert pose is not None
    assert pose.pitch_deg == -90
    assert world(seed).camera_pose("camera-air-1", low - 1) is None


def test_flights_are_smooth_and_no_faster_than_12_mps():
    for flight in world(7).block(0).flights:
        before = None
        for _, state in _instants(flight):
            assert math.hypot(state.speed_mps, state.vertical_speed_mps) <= 12.0
            if before is not None:
                assert math.dist(state.position, before) <= 12.01
            before = state.position


def test_other_devices_come_first_in_the_next_block():
    first, second = world(7).block(0), world(7).block(1)
    for scenario in ("manhole-cover", "smoke-alarm", "gas-leak", "site-dust", "site-noise"):
        devices = [
            {device for one in block.things if one.scenario == scenario for device in one.devices}
            for block in (first, second)
        ]
        assert not devices[0] & devices[1], scenario


def test_the_unregistered_aircraft_is_in_no_register():
    city = world(7).city
    known = set(city.devices) | set(city.docks) | {one.aircraft_sn for one in city.docks.values()}
    seen = set()
    for index in range(3):
        for thing in world(7).block(index).things:
            if thing.scenario == "unidentified-aircraft":
                assert not set(thing.devices) & known
                seen |= set(thing.devices)
    assert len(seen) == 3


def test_blocks_do_not_depend_on_what_was_asked_before():
    fresh = World(world(7).city, seed=7, epoch_ns=EPOCH_NS)
    assert fresh.block(5) == world(7).block(5)
    for index in range(8):
        fresh.block(index)
    assert fresh.block(5) == world(7).block(5)
    assert fresh.block(0) != World(world(7).city, seed=8, epoch_ns=EPOCH_NS).block(0)
