"""The scripted day: enough of everything, readable by ingest, and the same bytes anywhere."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from core.ports import RawMessage
from core.units import NS_PER_S
from geo.city import load_city
from geo.distance import distance_m
from ingest.pipeline import decode_messages
from simulators.day.feed import Day, day_messages, write_day
from simulators.day.water_scenes import crossings, flood_curve
from simulators.environment import Storm
from simulators.messages import ScheduledMessage

EPOCH = 1_763_942_400 * NS_PER_S
HOUR = 3600 * NS_PER_S

SCENARIOS = {
    "exposed-waste", "street-trading", "illegal-building", "floating-debris",
    "illegal-parking", "stopped-vehicle", "traffic-congestion", "road-flooding",
    "site-dust", "site-noise", "night-work", "bare-soil", "uncovered-truck", "structure-tilt",
    "fire-lane-blocked", "smoke-alarm", "gas-leak", "manhole-cover", "falling-object",
    "silent-water-meter", "burst-pipe",
    "airspace-intrusion", "height-limit", "unidentified-aircraft", "lost-link",
}  # fmt: skip


def day_of(seed: int) -> Day:
    return write_day(load_city("generated:district", seed=seed), seed=seed, start_ns=EPOCH)


@pytest.fixture(scope="module")
def day() -> Day:
    return day_of(7)


@pytest.fixture(scope="module")
def first_hours(day: Day) -> list[ScheduledMessage]:
    stream = day_messages(day)
    return list(itertools.takewhile(lambda one: one.at_ns < EPOCH + 3 * HOUR, stream))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_thirty_hours_hold_two_hundred_things_of_all_scenarios(seed: int) -> None:
    one = day_of(seed)
    assert (one.end_ns - one.start_ns) == 30 * HOUR
    assert len(one.things) >= 200
    assert len(one.near_misses) >= 150
    counts = Counter(thing.scenario for thing in one.things)
    assert set(counts) == SCENARIOS
    assert min(counts.values()) >= 4, counts
    assert {miss.scenario for miss in one.near_misses} == SCENARIOS
    for thing in one.things:
        assert one.start_ns < thing.began_ns < thing.ended_ns <= one.end_ns


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_burst_main_floods_an_underpass(seed: int) -> None:
    things = day_of(seed).things
    bursts = [one for one in things if one.scenario == "burst-pipe"]
    floods = [one for one in things if one.scenario == "road-flooding"]
    parts = [
        (burst, flood)
        for burst in bursts
        for flood in floods
        if 0 < flood.began_ns - burst.began_ns < 2 * HOUR
        and distance_m(burst.lon_deg, burst.lat_deg, flood.lon_deg, flood.lat_deg) < 500.0
    ]
    assert parts


def test_some_sites_build_at_night_with_a_permit_and_some_longer(day: Day) -> None:
    by_end = {one.until_ns: one for one in day.diary.exclusions}
    longer = [one for one in day.things if one.scenario == "night-work" and one.began_ns in by_end]
    within = [one for one in day.near_misses if one.note.endswith("with a permit")]
    assert longer
    assert within
    for thing in longer:
        assert by_end[thing.began_ns].subject == "night_work"
    for miss in within:
        assert any(
            one.from_ns < miss.began_ns < miss.ended_ns < one.until_ns
            for one in day.diary.exclusions
        )


def test_some_things_are_seen_by_several_and_reported(day: Day) -> None:
    both = [one for one in day.things if one.devices and one.cameras]
    assert {one.scenario for one in both} >= {"road-flooding", "fire-lane-blocked"}
    assert len(day.diary.reports) >= 10
    times = {one.scenario: (one.began_ns, one.ended_ns) for one in day.things}
    assert {report.scenario for report in day.diary.reports} <= set(times)


def test_ingest_reads_every_message(first_hours: list[ScheduledMessage]) -> None:
    assert [one.at_ns for one in first_hours] == sorted(one.at_ns for one in first_hours)
    raw = [
        RawMessage(topic=one.topic, payload=one.payload, received_ns=one.at_ns + 10_000_000)
        for one in first_hours
    ]
    observations, rejections = decode_messages(raw, city="qingdao")
    assert not rejections
    assert len(observations) >= len(raw) > 20_000
    sources = {one.source for one in observations}
    assert sources == {"plain", "senml", "chirpstack", "dji", "remote_id", "frigate"}
    assert not any("clock_skew_s" in one.measures for one in observations)


def test_no_truth_is_published(day: Day, first_hours: list[ScheduledMessage]) -> None:
    published = b"".join(one.payload for one in first_hours)
    for one in (*day.things, *day.near_misses):
        assert one.truth_id.encode() not in published
    assert b"near_miss" not in published


def digest_of(seed: int) -> str:
    found = hashlib.sha256()
    for one in itertools.islice(day_messages(day_of(seed)), 4000):
        found.update(one.topic.encode() + one.payload)
    return found.hexdigest()


def test_another_process_and_hash_seed_publish_the_same_day() -> None:
    program = "from tests.simulators.test_day import digest_of; print(digest_of(5))"
    env = os.environ | {"PYTHONHASHSEED": "99", "PYTHONPATH": str(Path.cwd())}
    found = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == digest_of(5)


def test_a_flood_lags_behind_its_rain() -> None:
    storm = Storm(EPOCH, 7200.0, 40.0)
    slow, fast = flood_curve(storm, 0.5, 0.8), flood_curve(storm, 0.5, 1.25)
    rain_peak_ns = EPOCH + 2400 * NS_PER_S
    for curve in (slow, fast):
        began_ns, ended_ns = crossings(curve, 0.25)
        highest_ns = curve.instants_ns[curve.shares.index(max(curve.shares))]
        assert EPOCH < began_ns < highest_ns < ended_ns
        assert rain_peak_ns < highest_ns
    assert crossings(slow, 0.25)[1] > crossings(fast, 0.25)[1]
