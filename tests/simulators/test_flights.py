"""Flights and ways around areas."""

from __future__ import annotations

import itertools
import math

import pytest
import shapely

from simulators.flights import (
    LANDING,
    STANDBY,
    TAKE_OFF,
    FlightBuilder,
    LocalFrame,
    detour,
    leg_seconds,
)

S = 1_000_000_000
FRAME = LocalFrame.at(lon_deg=120.38, lat_deg=36.06)


def a_flight():
    builder = FlightBuilder(FRAME, east_m=0.0, north_m=0.0, start_ns=100 * S)
    builder.climb(60.0, mode_code=TAKE_OFF)
    builder.to(0.0, 200.0, 60.0, cruise_mps=10.0)
    builder.hold(30.0, survey=True)
    builder.to(150.0, 200.0, 60.0, cruise_mps=10.0)
    builder.land()
    return builder.build("sn", "dock", margin_s=20.0)


def test_states_from_off_to_off():
    flight = a_flight()
    begin, end = flight.airborne_ns
    assert begin == 100 * S
    assert flight.at(flight.on_ns - 1) is None
    assert flight.at(flight.off_ns) is None
    before, after = flight.at(flight.on_ns), flight.at(end)
    assert before is not None
    assert after is not None
    assert before.mode_code == after.mode_code == STANDBY
    assert after.elevation_m == 0.0
    assert flight.at(begin + 5 * S).mode_code == TAKE_OFF
    assert flight.at(end - S).mode_code == LANDING
    low, high = flight.hover_ns
    assert high - low == 30 * S
    assert flight.at(low + 7 * S).speed_mps == 0.0
    assert flight.at(low + 7 * S).position == (0.0, 200.0, 60.0)
    assert flight.at(low - S).heading_deg == 0.0
    assert flight.at(high + 5 * S).heading_deg == 90.0


def test_speed_is_the_change_of_place():
    flight = a_flight()
    step = S // 100
    for now in range(flight.airborne_ns[0] + S, flight.airborne_ns[1] - S, S):
        here, then = flight.at(now - step), flight.at(now + step)
        apart = math.dist(here.position, then.position) / 0.02
        state = flight.at(now)
        speed = math.hypot(state.speed_mps, state.vertical_speed_mps)
        assert apart == pytest.approx(speed, abs=0.05)


def test_spans_are_exact_and_joined():
    flight = a_flight()
    [(began, ended)] = flight.spans(lambda point: point.north_m > 100.0)
    assert flight.at(began).position.north_m == pytest.approx(100.0, abs=0.05)
    assert ended == pytest.approx(flight.airborne_ns[1], abs=2_000_000)
    assert list(flight.spans(lambda point: point.up_m > 90.0)) == []
    high = list(flight.spans(lambda point: 20.0 < point.up_m < 30.0, join_s=1.0))
    assert len(high) == 2
    assert len(list(flight.spans(lambda point: 20.0 < point.up_m < 30.0, join_s=9999.0))) == 1


@pytest.mark.parametrize(
    ("begin", "end", "areas", "length"),
    [
        pytest.param((0, 0), (10, 0), [], 10.0, id="free"),
        pytest.param((0, 0), (10, 0), [shapely.box(4, 1, 6, 5)], 10.0, id="beside"),
        pytest.param((0, 0), (10, 0), [shapely.box(4, -3, 6, 9)], 12.0, id="around"),
        pytest.param((5, 0), (10, 0), [shapely.box(4, -3, 6, 9)], 5.0, id="from inside"),
        pytest.param((0, 0), (0, 0), [], 0.0, id="nowhere"),
    ],
)
def test_detours_are_short_and_clear(begin, end, areas, length):
    path = [begin, *detour(begin, end, areas)]
    assert path[-1] == end
    total = sum(math.dist(a, b) for a, b in itertools.pairwise(path))
    assert total == pytest.approx(length)


def test_leg_seconds_of_nothing():
    assert leg_seconds(0.0, 10.0) == 0.0
