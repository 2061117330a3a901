"""The scorer, on tables of things and incidents."""

from __future__ import annotations

import io
import itertools
import json
import math

import numpy as np
import pytest
from rich.console import Console

from simulators.score import IncidentSeen, pair, quantile, score, score_table
from simulators.truth import NearMiss, Thing

S = 1_000_000_000
LON, LAT = 120.38, 36.06
#: Degrees of longitude per metre at this latitude.
EAST = 1 / (111_319.5 * math.cos(math.radians(LAT)))


def a_thing(*, east_m=0.0, began_s=100, ended_s=400, scenario="smoke-alarm", name="t"):
    return Thing(
        truth_id=name,
        scenario=scenario,
        lon_deg=LON + east_m * EAST,
        lat_deg=LAT,
        began_ns=began_s * S,
        ended_ns=ended_s * S,
        note=name,
    )


def an_incident(
    *,
    east_m=0.0,
    began_s=110,
    opened_s=120,
    last_s=300,
    cleared_s=None,
    scenario="smoke-alarm",
    name="i",
):
    return IncidentSeen(
        id=name,
        scenario=scenario,
        lon_deg=LON + east_m * EAST,
        lat_deg=LAT,
        began_ns=began_s * S,
        opened_ns=opened_s * S,
        last_ns=last_s * S,
        cleared_ns=None if cleared_s is None else cleared_s * S,
    )


@pytest.mark.parametrize(
    ("things", "incidents", "found", "duplicates", "false"),
    [
        pytest.param([], [], 0, 0, 0, id="empty"),
        pytest.param([a_thing()], [], 0, 0, 0, id="missed"),
        pytest.param([], [an_incident()], 0, 0, 1, id="invented"),
        pytest.param([a_thing()], [an_incident()], 1, 0, 0, id="one"),
        pytest.param([a_thing()], [an_incident(), an_incident(name="j")], 1, 1, 0, id="twice"),
        pytest.param([a_thing()], [an_incident(east_m=29.5)], 1, 0, 0, id="29.5 m away"),
        pytest.param([a_thing()], [an_incident(east_m=30.5)], 0, 0, 1, id="wrong place"),
        pytest.param([a_thing()], [an_incident(scenario="gas-leak")], 0, 0, 1, id="other scenario"),
        pytest.param(
            [a_thing()], [an_incident(began_s=459, last_s=500)], 1, 0, 0, id="59 s after the end"
        ),
        pytest.param(
            [a_thing()], [an_incident(began_s=461, last_s=500)], 0, 0, 1, id="61 s after the end"
        ),
        pytest.param([a_thing()], [an_incident(began_s=10, last_s=71)], 1, 0, 0, id="29 s before"),
        pytest.param([a_thing()], [an_incident(began_s=10, last_s=69)], 0, 0, 1, id="31 s before"),
        pytest.param(
            [a_thing()],
            [an_incident(began_s=10, last_s=500, cleared_s=60)],
            0,
            0,
            1,
            id="cleared before it began",
        ),
        pytest.param(
            [a_thing(), a_thing(east_m=15, name="u")],
            [an_incident(east_m=14), an_incident(east_m=1, name="j")],
            2,
            0,
            0,
            id="two things 15 m apart",
        ),
        pytest.param(
            [a_thing(), a_thing(east_m=15, name="u")],
            [an_incident(east_m=7)],
            1,
            0,
            0,
            id="two things 15 m apart, one incident",
        ),
        pytest.param(
            # The nearer pair alone would leave the other thing without an incident.
            [a_thing(), a_thing(east_m=40, name="u")],
            [an_incident(east_m=19), an_incident(east_m=-20, name="j")],
            2,
            0,
            0,
            id="the greedy choice loses one",
        ),
    ],
)
def test_matching(things, incidents, found, duplicates, false):
    result = score(things, [], incidents, [])
    assert result.found == found
    assert sum(row.duplicates for row in result.by_scenario.values()) == duplicates
    assert result.false_incidents == false
    assert result.recall == (found / len(things) if things else 1.0)
    assert result.incidents == len(incidents)
    assert result.precision == (found / len(incidents) if incidents else (0.0 if things else 1.0))
    if found:
        assert result.incidents_per_thing == (found + duplicates) / found
    else:
        assert result.incidents_per_thing is None
    assert len(result.missed) == len(things) - found


def test_an_incident_without_a_place_is_false():
    nowhere = IncidentSeen(
        id="i", scenario="smoke-alarm", lon_deg=None, lat_deg=None, began_ns=0, opened_ns=0,
        last_ns=10**12,
    )  # fmt: skip
    assert score([a_thing()], [], [nowhere], []).false_incidents == 1


def test_pairs_are_as_many_and_as_short_as_can_be():
    rng = np.random.default_rng(5)
    for _ in range(60):
        rows, columns = (int(n) for n in rng.integers(1, 6, 2))
        costs = rng.uniform(0, 30, (rows, columns))
        costs[rng.random((rows, columns)) < 0.4] = math.inf
        best = (0, 0.0)
        for chosen in itertools.product(range(-1, columns), repeat=rows):
            used = [(row, column) for row, column in enumerate(chosen) if column >= 0]
            total = sum(costs[row, column] for row, column in used)
            if len({column for _, column in used}) == len(used) and math.isfinite(total):
                best = min(best, (-len(used), total))
        got = pair(costs.tolist())
        assert len(set(got.values())) == len(got) == -best[0]
        assert sum(costs[row, column] for row, column in got.items()) == pytest.approx(best[1])


def test_errors_and_delays_are_of_the_matched_ones():
    result = score(
        [a_thing(), a_thing(east_m=500, name="u")],
        [],
        [an_incident(east_m=4), an_incident(east_m=506, opened_s=150, name="j")],
        [40.0, 60.0],
    )
    assert result.location_error_m.p50 == pytest.approx(5.0, abs=0.05)
    assert result.location_error_m.p95 == pytest.approx(5.9, abs=0.05)
    assert result.detection_delay_s.p50 == pytest.approx(35.0)
    assert result.publish_to_incident_ms.p50 == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("scenario", "began_s", "counts"),
    [
        ("smoke-alarm", 760, True),
        ("smoke-alarm", 761, False),
        ("height-limit", 940, True),
        ("height-limit", 941, False),
    ],
)
def test_late_things_and_their_incidents_are_left_out(scenario, began_s, counts):
    thing = a_thing(scenario=scenario, began_s=began_s, ended_s=2000)
    incident = an_incident(scenario=scenario, began_s=began_s, opened_s=990, last_s=990)
    result = score([thing], [], [incident], [], until_ns=1000 * S)
    assert (result.things, result.too_late) == ((1, 0) if counts else (0, 1))
    assert result.incidents == int(counts)
    assert result.false_incidents == 0
    assert result.precision == 1.0


def test_a_false_incident_names_the_near_miss():
    def near(name, east_m):
        return NearMiss(
            truth_id=name, scenario="smoke-alarm", lon_deg=LON + east_m * EAST, lat_deg=LAT,
            began_ns=100 * S, ended_ns=105 * S, note=name,
        )  # fmt: skip

    result = score([], [near("steam", 0), near("far", 100)], [an_incident(east_m=3)], [])
    assert result.false[0].near_miss == "steam"
    assert (result.near_misses, result.near_miss_hits) == (2, 1)
    later = score([], [near("steam", 0)], [], [], until_ns=50 * S)
    assert later.near_misses == 0


def test_json_and_table():
    result = score([a_thing()], [], [an_incident()], [12.0])
    body = json.loads(result.json())
    assert {
        "things", "found", "incidents", "precision", "recall", "incidents_per_thing",
        "false_incidents", "location_error_m", "detection_delay_s", "publish_to_incident_ms",
        "by_scenario",
    } <= set(body)  # fmt: skip
    assert set(body["location_error_m"]) == set(body["detection_delay_s"]) == {"p50", "p95"}
    assert set(body["publish_to_incident_ms"]) == {"p50", "p99"}
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(score_table(result))
    console.print(score_table(score([], [], [], [])))
    assert "smoke-alarm" in console.export_text()


def test_quantile_of_one_value():
    assert quantile([7.0], 0.95) == 7.0
