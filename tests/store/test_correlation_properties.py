"""Correlation in the store, whatever the order: nothing twice, nothing merged that is two."""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.events import Edge, Event, EventBatch, Place, event_id
from core.observations import Stamp
from core.units import rfc3339_to_ns, seconds_to_ns
from geo.distance import destination
from scenarios.loader import load_packs
from store.canonical import all_cases, canonical_cases
from store.cases import CaseStore
from store.database import migrate
from streams.sequencer import merge_round

PACKS = load_packs()
LON, LAT = 120.3846, 36.0614
START_NS = rfc3339_to_ns("2026-01-01T10:00:00+08:00")

#: Each example has a store of its own, in a folder that all share.
PROPERTY = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

OpenStore = Callable[[], CaseStore]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "store.sqlite3"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def new_store(template: Path, tmp_path: Path) -> OpenStore:
    numbers = itertools.count()

    def build() -> CaseStore:
        path = tmp_path / f"{next(numbers)}.sqlite3"
        shutil.copy(template, path)
        return CaseStore(f"sqlite:///{path}", PACKS, (), (), "QD")

    return build


class Voice(NamedTuple):
    """What one source says of one real thing: when it begins and ends, and where it puts it."""

    truth: int
    thing: str
    source: str
    rule: str
    began_s: float
    ended_s: float
    east_m: float
    north_m: float
    sigma_m: float


def at(seconds: float) -> int:
    return START_NS + seconds_to_ns(seconds)


def place(east_m: float, north_m: float, sigma_m: float) -> Place:
    away, azimuth = np.hypot(east_m, north_m), np.degrees(np.arctan2(east_m, north_m))
    lon, lat = destination(LON, LAT, float(azimuth), float(away))
    return Place(lon_deg=float(lon), lat_deg=float(lat), error_major_m=sigma_m)


def edge(voice: Voice, kind: Edge, at_s: float, scenario: str) -> Event:
    rule = f"{scenario}/{voice.rule}"
    began_ns = at(voice.began_s)
    return Event(
        id=event_id(rule=rule, thing_id=voice.thing, began_ns=began_ns, edge=kind, at_ns=at(at_s)),
        scenario=scenario,
        rule=rule,
        edge=kind,
        source=voice.source,
        thing_id=voice.thing,
        kind="any",
        began_ns=began_ns,
        at_ns=at(at_s),
        place=place(voice.east_m, voice.north_m, voice.sigma_m),
        confidence_ratio=0.8,
    )


def edges(voices: Sequence[Voice], scenario: str) -> list[Event]:
    """Raise, still and clear of every voice, in the one order."""
    found = []
    for voice in voices:
        middle_s = (voice.began_s + voice.ended_s) / 2
        found.append(edge(voice, Edge.RAISE, voice.began_s, scenario))
        if voice.rule != "report":
            found.append(edge(voice, Edge.STILL, middle_s, scenario))
            found.append(edge(voice, Edge.CLEAR, voice.ended_s, scenario))
    return sorted(found, key=lambda one: (one.at_ns, one.thing_id))


def rounds(events: Sequence[Event], size_s: float = 10.0) -> list[EventBatch]:
    """The events in rounds of a length, as ingest would write them."""
    found = []
    groups = itertools.groupby(events, key=lambda one: (one.at_ns - START_NS) // at_length(size_s))
    for number, group in groups:
        end_ns = START_NS + (number + 1) * at_length(size_s)
        stamp = Stamp(
            ingest_id="i", sequence=number + 1, partition=0, watermark_ns=end_ns, logged_ns=end_ns
        )
        found.append(EventBatch(stamp=stamp, events=tuple(group)))
    return found


def at_length(seconds: float) -> int:
    return seconds_to_ns(seconds)


@st.composite
def a_street(draw: st.DrawFn) -> list[Voice]:
    """Cars 15 m apart, and one that comes to where another was; two cameras see each."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    voices: list[Voice] = []
    for truth in range(draw(st.integers(1, 5))):
        began_s = float(rng.integers(0, 600))
        for camera in range(draw(st.integers(1, 3))):
            off = rng.normal(0.0, 1.0, 2).clip(-2.4, 2.4)
            late_s = float(rng.integers(0, 60))
            lasts_s = float(rng.integers(120, 900))
            for hour in (0, 1) if truth == 0 else (0,):
                began = began_s + late_s + 7200 * hour
                number = 2 * truth + hour
                voices.append(
                    Voice(
                        truth=100 * hour + truth,
                        thing=f"cam-{camera}/{number}",
                        source="vision",
                        rule="camera",
                        began_s=began,
                        ended_s=began + lasts_s,
                        east_m=15.0 * truth + float(off[0]),
                        north_m=float(off[1]),
                        sigma_m=1.0,
                    )
                )
    return voices


def grouping(store: CaseStore, voices: Sequence[Voice]) -> set[frozenset[int]]:
    """The truths of each case."""
    truth = {(one.thing, at(one.began_s)): one.truth for one in voices}
    by_thing = {one.thing: one.truth for one in voices}
    assert len(by_thing) == len(truth)
    return {frozenset(by_thing[word.thing_id] for word in words) for _, words in all_cases(store)}


@PROPERTY
@given(voices=a_street(), order=st.randoms(use_true_random=False))
def test_no_wrong_merge_and_one_case_each_in_any_order(
    new_store: OpenStore, voices: list[Voice], order: random.Random
) -> None:
    """What happens at one instant may come in any order; edges may come twice."""
    events = edges(voices, "illegal-parking")
    straight = rounds(events)
    shuffled = []
    for one in straight:
        parts = list(one.events) + order.sample(list(one.events), len(one.events) // 2)
        order.shuffle(parts)
        merged = merge_round([msgspec.structs.replace(one, events=tuple(parts))])
        shuffled.append(merged)
        if order.random() < 0.3:
            shuffled.append(order.choice(shuffled))  # a worker was killed: it comes again
    with new_store() as first, new_store() as second:
        first.apply(straight, 0)
        for one in shuffled:
            second.apply([one], 0)
        assert canonical_cases(first) == canonical_cases(second)
        cases = grouping(first, voices)
        assert all(len(truths) == 1 for truths in cases), cases
        assert sum(1 for _ in all_cases(first)) == len({one.truth for one in voices})


@PROPERTY
@given(voices=a_street(), order=st.randoms(use_true_random=False))
def test_things_apart_may_be_decided_in_any_order(
    new_store: OpenStore, voices: list[Voice], order: random.Random
) -> None:
    """Without the sequencer too: the order of concurrent edges of different things is no matter."""
    events = edges(voices, "illegal-parking")
    batches = rounds(events, size_s=60.0)
    with new_store() as first, new_store() as second:
        first.apply(batches, 0)
        for one in batches:
            of_thing: dict[str, list[Event]] = {}
            for event in one.events:
                of_thing.setdefault(event.thing_id, []).append(event)
            queues = list(of_thing.values())
            mixed = []
            while queues:
                queue = order.choice(queues)
                mixed.append(queue.pop(0))
                queues = [each for each in queues if each]
            second.apply([msgspec.structs.replace(one, events=tuple(mixed))], 0)
        assert grouping(first, voices) == grouping(second, voices)


@PROPERTY
@given(
    step_m=st.floats(4.0, 9.0),
    sigma_m=st.floats(1.0, 3.0),
    shrink=st.floats(0.85, 1.0),
    by_hand=st.booleans(),
)
def test_a_chain_that_drifts_is_not_one_thing(
    new_store: OpenStore, step_m: float, sigma_m: float, shrink: float, by_hand: bool
) -> None:
    """Words that each are a little better known than the one before do not carry a case away."""
    chain = [
        Voice(
            truth=n,
            thing=f"report/{n}" if by_hand else f"cam-{n}/1",
            source="plain" if by_hand else "vision",
            rule="report" if by_hand else "camera",
            began_s=30.0 * n,
            ended_s=3000.0 + n,
            east_m=step_m * n,
            north_m=0.0,
            sigma_m=sigma_m * shrink**n,
        )
        for n in range(16)
    ]
    with new_store() as store:
        store.apply(rounds(edges(chain, "exposed-waste")), 0)
        for truths in grouping(store, chain):
            # Each within reach of the place, which goes no farther than twice its first error.
            reach_m = 5.0 + (25.0 if by_hand else 5.0)
            goes_m = 2 * 2.45 * sigma_m
            assert (max(truths) - min(truths)) * step_m <= 2 * reach_m + goes_m, truths
