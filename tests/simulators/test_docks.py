"""Docks and aircraft speak the DJI Cloud API."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from functools import cache

import pytest

from geo.city import generate_city
from simulators.docks import battery_percent
from simulators.feed import messages
from simulators.remote_id import RECEIVER_ID
from simulators.world import World

EPOCH_NS = 1_767_225_600_000_000_000
S = 1_000_000_000


@cache
def city():
    return generate_city(7)


@cache
def block():
    return World(city(), seed=7, epoch_ns=EPOCH_NS).block(0)


@cache
def sent():
    """(instant, topic, body) of everything that aircraft, docks and the receiver say."""
    return tuple(
        (one.at_ns, one.topic, json.loads(one.payload))
        for one in messages(city(), 7, EPOCH_NS, EPOCH_NS, EPOCH_NS + 1800 * S, frames=False)
        if one.topic.startswith(("thing/", "sys/")) or "/remote-id/" in one.topic
    )


def bodies(topic):
    return [(at, body) for at, name, body in sent() if name == topic]


def test_every_message_has_the_envelope():
    gateways = set(city().docks)
    transactions = Counter()
    for at, topic, body in sent():
        if "/remote-id/" in topic:
            continue
        assert {"tid", "bid", "timestamp", "gateway", "data"} <= set(body)
        assert body["gateway"] in gateways
        assert body["timestamp"] == at // 1_000_000
        assert len(body["tid"]) == len(body["bid"]) == 36
        transactions[body["tid"]] += 1
        leaf = topic.rsplit("/", 1)[1]
        assert ("method" in body) == (leaf in {"events", "status"})
        assert ("need_reply" in body) == (leaf == "events")
    assert max(transactions.values()) == 1


@pytest.mark.parametrize("number", [0, 1])
def test_an_aircraft_tells_where_it_is_once_a_second_while_it_is_on(number):
    dock = list(city().docks.values())[number]
    flight = block().flight_of(dock.aircraft_sn)
    told = bodies(f"thing/product/{dock.aircraft_sn}/osd")
    assert {b - a for (a, _), (b, _) in itertools.pairwise(told)} == {S}
    assert abs(told[0][0] - flight.on_ns) <= S
    assert abs(told[-1][0] - flight.off_ns) <= S
    highest = 0.0
    for at, body in told:
        data, state = body["data"], flight.at(at)
        east, north = flight.frame.to_metres(data["longitude"], data["latitude"])
        assert abs(east - state.position.east_m) < 0.5
        assert abs(north - state.position.north_m) < 0.5
        assert data["elevation"] == pytest.approx(state.elevation_m, abs=0.35)
        assert data["height"] - data["elevation"] == pytest.approx(
            told[0][1]["data"]["height"], abs=0.1
        )
        assert -180.0 <= data["attitude_head"] <= 180.0
        assert (data["mode_code"] == 0) == (not flight.airborne_ns[0] <= at < flight.airborne_ns[1])
        highest = max(highest, data["elevation"])
    # The first one stays just below the height limit, the second breaks it.
    assert (highest > 125.0) if number else (119.0 < highest < 120.0)


def test_a_dock_tells_its_state_in_parts_every_other_second():
    dock = next(iter(city().docks.values()))
    told = bodies(f"thing/product/{dock.dock_sn}/osd")
    main = [(at, body["data"]) for at, body in told if "cover_state" in body["data"]]
    other = {key for _, body in told if "cover_state" not in body["data"] for key in body["data"]}
    assert {b - a for (a, _), (b, _) in itertools.pairwise(main)} == {2 * S}
    assert {"network_state", "job_number"} <= other
    flight = block().flight_of(dock.aircraft_sn)
    low, high = flight.airborne_ns
    for at, data in main:
        assert data["drone_in_dock"] == int(not low <= at < high)
        assert data["mode_code"] == (4 if flight.on_ns <= at < flight.off_ns else 0)
        if low + 30 * S < at < high - 30 * S:
            assert data["cover_state"] == 0
            assert data["flighttask_step_code"] == 1


def test_a_task_goes_from_sent_to_ok_and_the_aircraft_comes_and_goes():
    for dock in city().docks.values():
        events = [body for _, body in bodies(f"thing/product/{dock.dock_sn}/events")]
        words = [body["data"]["output"]["status"] for body in events]
        assert words[0] == "sent"
        assert words[-1] == "ok"
        assert set(words[1:-1]) == {"in_progress"}
        percents = [body["data"]["output"]["progress"]["percent"] for body in events]
        assert percents == sorted(percents)
        assert percents[-1] == 100
        assert len({body["bid"] for body in events}) == 1
        online = [
            len(body["data"]["sub_devices"])
            for _, body in bodies(f"sys/product/{dock.dock_sn}/status")
        ]
        assert online == [0, 1, 0]


def test_the_receiver_hears_the_visitor_every_second_and_registered_aircraft_less_often():
    heard = bodies(f"qn/{city().name}/remote-id/{RECEIVER_ID}")
    registered = {dock.aircraft_sn for dock in city().docks.values()}
    [visitor] = {body["thing"] for _, body in heard} - registered
    assert visitor not in city().devices
    assert visitor not in city().docks
    flight = block().flight_of(visitor)
    mine = [(at, body) for at, body in heard if body["thing"] == visitor]
    assert {b - a for (a, _), (b, _) in itertools.pairwise(mine)} == {S}
    assert mine[0][0] - flight.airborne_ns[0] < S
    assert [body["seq"] for _, body in mine] == list(range(1, len(mine) + 1))
    for at, body in heard:
        state = block().flight_of(body["thing"]).at(at - 60_000_000)
        height = body["measures"].get("alt_agl_m", body["measures"].get("alt_takeoff_m"))
        assert height * 2 == int(height * 2)
        assert -0.8 <= height - state.elevation_m <= 0.3
        assert 0 <= body["measures"]["heading_deg"] < 360
    assert registered <= {body["thing"] for _, body in heard}


def test_the_battery_lasts():
    for flight in block().flights:
        low, high = flight.airborne_ns
        assert battery_percent(flight, low) == 100
        assert battery_percent(flight, high) >= 30
