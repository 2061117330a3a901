"""The fleet: every kind decodes, behaves as its sheet says, and is the same bytes anywhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from core.ports import RawMessage
from core.units import NS_PER_S, seconds_to_ns
from geo.city import City, load_city
from ingest.pipeline import decode_messages
from simulators.devices.catalogue import CATALOGUE
from simulators.devices.fleet import Fleet
from simulators.devices.group import Lie
from simulators.devices.meters import SILENCE
from simulators.environment import Environment
from simulators.messages import ScheduledMessage
from simulators.sensors import Excursion

EPOCH = 1_763_942_400 * NS_PER_S
HOUR = 3600 * NS_PER_S


@pytest.fixture(scope="module")
def city() -> City:
    return load_city("generated:district", seed=7)


def fleet_of(city: City, seed: int = 7) -> Fleet:
    return Fleet(
        city.name,
        list(city.devices.values()),
        seed=seed,
        environment=Environment(seed, EPOCH),
        bounds=city.bounds,
    )


def decoded(messages: list[ScheduledMessage]):
    raw = [
        RawMessage(topic=one.topic, payload=one.payload, received_ns=one.at_ns + 10_000_000)
        for one in messages
    ]
    return decode_messages(raw, city="qingdao")


def test_every_kind_decodes_as_what_it_is(city: City) -> None:
    messages = fleet_of(city).slab(EPOCH, EPOCH + 5 * HOUR)
    observations, rejections = decoded(messages)
    assert not rejections, rejections[:3]
    assert len(CATALOGUE) >= 18
    kinds = Counter(one.kind for one in observations)
    assert set(CATALOGUE) <= set(kinds), set(CATALOGUE) - set(kinds)
    sources = {one.source for one in observations}
    assert sources == {"plain", "senml", "chirpstack"}
    for one in observations:
        signals = CATALOGUE[one.kind].signals if one.kind in CATALOGUE else ()
        missing = {signal.measure for signal in signals} - set(one.measures)
        # A regulator's trace of gas is told under the kind of what it is.
        assert missing <= {"gas_lel_ratio"}, (one.kind, missing)


def test_what_a_decoder_reads_is_what_was_said_to_be_sent(city: City) -> None:
    messages = fleet_of(city).slab(EPOCH, EPOCH + HOUR)
    for message in messages[::37]:
        observations, _ = decoded([message])
        assert {one.thing_id for one in observations} == {message.thing_id}
        assert {one.observed_ns for one in observations} == {message.observed_ns}


def test_slabs_of_any_length_give_the_same_messages(city: City) -> None:
    wave = {"water-0003": {"water_level_m": [Excursion(start_ns=EPOCH + HOUR // 3,
                                                       end_ns=EPOCH + HOUR, peak=0.5,
                                                       ramp_s=300.0)]}}  # fmt: skip
    whole = fleet_of(city).slab(EPOCH, EPOCH + 2 * HOUR, wave)
    parts, fleet = [], fleet_of(city)
    borders = [0, 7, 600, 1201, 3599, 3600, 5000, 7200]
    for low, high in pairwise(borders):
        parts += fleet.slab(EPOCH + low * NS_PER_S, EPOCH + high * NS_PER_S, wave)
    assert len(whole) > 8000
    assert parts == whole


def digest_of(seed: int) -> str:
    city = load_city("generated:street", seed=seed)
    messages = fleet_of(city, seed).slab(EPOCH, EPOCH + HOUR // 4)
    return hashlib.sha256(
        b"".join(one.topic.encode() + one.payload for one in messages)
    ).hexdigest()


def test_another_process_and_hash_seed_publish_the_same_bytes() -> None:
    program = (
        "from tests.simulators.test_fleet import digest_of; print(digest_of(11), digest_of(12))"
    )
    env = os.environ | {"PYTHONHASHSEED": "4242", "PYTHONPATH": str(Path.cwd())}
    found = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    ).stdout
    assert found == f"{digest_of(11)} {digest_of(12)}\n"
    assert digest_of(11) != digest_of(12)


def test_a_flood_is_reported_often_and_dry_ground_seldom(city: City) -> None:
    flood = Excursion(start_ns=EPOCH + HOUR, end_ns=EPOCH + 2 * HOUR, peak=0.5, ramp_s=600.0)
    messages = fleet_of(city).slab(
        EPOCH, EPOCH + 3 * HOUR, {"water-0003": {"water_level_m": [flood]}}
    )
    times: dict[str, list[int]] = defaultdict(list)
    for one in messages:
        times[one.thing_id].append(one.at_ns)
    quiet = len(times["water-0004"])
    assert quiet == 36
    # Above 10 cm for some 56 minutes, each ten seconds.
    assert 320 <= len(times["water-0003"]) <= 400
    observations, _ = decoded([one for one in messages if one.thing_id == "water-0003"])
    assert max(one.measures["water_level_m"] for one in observations) == pytest.approx(
        0.5, abs=0.03
    )


def test_on_change_devices_tell_both_ends_at_once(city: City) -> None:
    stay = Excursion(start_ns=EPOCH + 400 * NS_PER_S, end_ns=EPOCH + 900 * NS_PER_S, peak=1.0)
    messages = fleet_of(city).slab(EPOCH, EPOCH + HOUR, {"parking-0012": {"occupied": [stay]}})
    observations, _ = decoded([one for one in messages if one.thing_id == "parking-0012"])
    taken = [one.observed_ns for one in observations if one.measures["occupied"] == 1.0]
    free_after = [
        one.observed_ns
        for one in observations
        if one.measures["occupied"] == 0.0 and one.observed_ns > stay.start_ns
    ]
    assert min(taken) - stay.start_ns < 2 * NS_PER_S
    assert min(free_after) - stay.end_ns < 2 * NS_PER_S


def test_a_silenced_meter_says_only_that_it_lives(city: City) -> None:
    meter = "meter-0009"
    gone = Excursion(start_ns=EPOCH + 2 * HOUR, end_ns=EPOCH + 40 * HOUR, peak=0.0)
    fleet, kinds, resident = fleet_of(city), defaultdict(list), set()
    for hour in range(0, 30, 6):
        messages = fleet.slab(
            EPOCH + hour * HOUR, EPOCH + (hour + 6) * HOUR, {meter: {SILENCE: [gone]}}
        )
        observations, _ = decoded([one for one in messages if one.thing_id == meter])
        for one in observations:
            kinds[one.kind].append(one.observed_ns)
            resident.add(one.labels.get("resident"))
    assert len(kinds["device_health"]) >= 6
    assert kinds["water_meter"]
    assert max(kinds["water_meter"]) < gone.start_ns
    assert "elderly" in resident


def test_meters_only_count_up(city: City) -> None:
    fleet, last = fleet_of(city), {}
    for hour in range(8):
        messages = fleet.slab(EPOCH + hour * HOUR, EPOCH + (hour + 1) * HOUR)
        for one in decoded(messages)[0]:
            if one.kind == "water_meter":
                assert one.measures["volume_m3"] > last.get(one.thing_id, 0.0)
                last[one.thing_id] = one.measures["volume_m3"]
    assert len(last) > 40


@pytest.mark.parametrize(
    ("lie", "expected"),
    [
        (Lie("stuck", EPOCH + HOUR, EPOCH + 3 * HOUR), "one value"),
        (Lie("drift", EPOCH + HOUR, EPOCH + 3 * HOUR, 0.4), "rises"),
        (Lie("deaf", EPOCH + HOUR, EPOCH + 3 * HOUR), "dry"),
        (Lie("skew", EPOCH + HOUR, EPOCH + 3 * HOUR, 20.0), "ahead"),
    ],
)
def test_lies_of_devices(city: City, lie: Lie, expected: str) -> None:
    flood = Excursion(start_ns=EPOCH + HOUR, end_ns=EPOCH + 3 * HOUR, peak=0.5, ramp_s=600.0)
    excursions = {} if expected in {"one value", "rises"} else {
        "water-0003": {"water_level_m": [flood]}
    }  # fmt: skip
    messages = [
        one
        for one in fleet_of(city).slab(EPOCH, EPOCH + 3 * HOUR, excursions, {"water-0003": [lie]})
        if one.thing_id == "water-0003" and one.at_ns >= lie.start_ns
    ]
    observations, _ = decoded(messages)
    values = [one.measures["water_level_m"] for one in observations]
    if expected == "one value":
        assert len(set(values)) == 1
    elif expected == "rises":
        assert values[-1] - values[0] == pytest.approx(0.8, abs=0.06)
    elif expected == "dry":
        assert max(values) < 0.1
    else:
        ahead = [one.observed_ns - message.at_ns for one, message in
                 zip(observations, messages, strict=True)]  # fmt: skip
        assert np.allclose(ahead, seconds_to_ns(20.0), atol=1_000_000)
