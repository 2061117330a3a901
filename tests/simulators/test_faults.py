"""Faults: each as often as asked, the same for the same seed, and each noted in the truth."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from core.city import Device
from core.errors import InputError
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.pipeline import decode_messages
from simulators.devices.fleet import Fleet
from simulators.environment import Environment
from simulators.faults import PLANS, FaultPlan, faults_of, inject, lies_of, parse_faults
from simulators.messages import ScheduledMessage
from simulators.truth import Fault

EPOCH = 1_763_942_400 * NS_PER_S
HOUR = 3600 * NS_PER_S
DEVICES = [
    Device(thing_id=f"water-{n:04d}", kind="water_level", lon_deg=120.38, lat_deg=36.06)
    for n in range(400)
]


@pytest.fixture(scope="module")
def messages() -> list[ScheduledMessage]:
    fleet = Fleet(
        "qingdao",
        DEVICES,
        seed=7,
        environment=Environment(7, EPOCH),
        bounds=(120.3, 36.0, 120.4, 36.1),
    )
    return fleet.slab(EPOCH, EPOCH + 3 * HOUR)


def run(messages: list[ScheduledMessage], plan: FaultPlan, seed: int = 7):
    faults: list[Fault] = []
    arrived = list(inject(messages, plan, seed=seed, note=faults.append))
    assert [one.at_ns for one in arrived] == sorted(one.at_ns for one in arrived)
    return arrived, faults


def test_without_faults_nothing_changes(messages: list[ScheduledMessage]) -> None:
    assert run(messages, PLANS["none"]) == (messages, [])


@pytest.mark.parametrize("kind", ["loss", "duplicate", "delay", "reorder", "corrupt"])
def test_a_tenth_of_the_messages(messages: list[ScheduledMessage], kind: str) -> None:
    arrived, faults = run(messages, FaultPlan(**{kind: 0.1}))
    assert {one.kind for one in faults} == {kind}
    assert len(faults) == pytest.approx(0.1 * len(messages), rel=0.12)
    change = {"loss": -1, "duplicate": 1}.get(kind, 0)
    assert len(arrived) == len(messages) + change * len(faults)
    late = [one for one in arrived if one.fault is not None]
    if kind in {"delay", "reorder"}:
        assert all(0 < one.fault.delay_s <= 20.0 for one in late)
        ours = [one.payload for one in arrived]
        assert ours != [one.payload for one in messages]
        assert sorted(ours) == sorted(one.payload for one in messages)


def test_what_is_spoilt_cannot_be_read_and_is_rejected_with_a_reason(
    messages: list[ScheduledMessage],
) -> None:
    arrived, faults = run(messages, FaultPlan(corrupt=0.05))
    raw = [RawMessage(topic=m.topic, payload=m.payload, received_ns=m.at_ns) for m in arrived]
    observations, rejections = decode_messages(raw)
    assert len(rejections) == len(faults) > 500
    assert len(observations) == len(messages) - len(faults)
    assert {one.reason for one in rejections} <= {"bad_json", "not_finite", "wrong_type"}


def test_a_storm_silences_a_gateway_and_then_all_comes_at_once(
    messages: list[ScheduledMessage],
) -> None:
    arrived, faults = run(messages, FaultPlan(storm=4.0))
    assert len(arrived) == len(messages)
    assert len(faults) > 50
    assert {one.kind for one in faults} == {"storm"}
    seconds = Counter(one.at_ns // NS_PER_S for one in arrived if one.fault is not None)
    assert max(seconds.values()) >= 5
    for thing in {one.thing_id for one in faults}:
        kept = [one.observed_ns for one in arrived if one.thing_id == thing]
        assert kept == sorted(kept)


def test_the_same_seed_the_same_faults(messages: list[ScheduledMessage]) -> None:
    assert run(messages, PLANS["hostile"]) == run(messages, PLANS["hostile"])
    assert run(messages, PLANS["hostile"])[1] != run(messages, PLANS["hostile"], seed=8)[1]


def test_devices_that_lie_are_noted() -> None:
    plan = FaultPlan(skew=0.1, drift=0.1, stuck=0.1, deaf=0.1, cry=0.1)
    lies = lies_of(DEVICES, plan, seed=7, start_ns=EPOCH, end_ns=EPOCH + 30 * HOUR)
    noted = faults_of(lies)
    counts = Counter(one.kind for one in noted)
    assert set(counts) == {"skew", "drift", "stuck", "deaf", "cry"}
    assert all(20 <= count <= 62 for count in counts.values()), counts
    assert all(one.ended_ns > one.observed_ns for one in noted)
    [again] = [msgspec.json.decode(msgspec.json.encode(noted[0]), type=Fault)]
    assert again == noted[0]


@pytest.mark.parametrize("text", ["loss", "loss=2", "loss=-1", "speed=1", "loss=x", "mild,,typo"])
def test_a_plan_that_is_none_says_what_is_accepted(text: str) -> None:
    with pytest.raises(InputError, match=r"mild.*loss.*was wanted, got"):
        parse_faults(text)
