"""Things at fences reach the rules: from batches of positions to raised and cleared events."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely

from core.city import Device, LayerRole
from core.events import Edge
from core.incidents import Text
from core.observations import Observation, Stamp, decode_batch, encode_batch, pack
from geo.catalogue import Catalogue, Version
from geo.city import load_city
from geo.fence_layers import fences_of
from geo.fences import Fence, FenceSet
from geo.layers import Layer, build_layer
from geo.live_map import LiveTagger
from geo.model import City
from geo.tagging import Tagger
from scenarios.engine import RuleEngine
from scenarios.loader import parse_scenario
from streams.fence_watch import FenceWatch
from streams.partition import PartitionWorker
from streams.poison import isolate

ROOT = Path(__file__).resolve().parents[2]
S = 10**9
START = 1_790_000_000 * S
SITE = Fence(id="site-1", geometry=shapely.box(120.38, 36.06, 120.39, 36.07), kind="site")


def scenario_of_the_page() -> str:
    """The example pack, with the rules that docs/fences.md shows."""
    pack_text = (ROOT / "docs/examples/river-level.yaml").read_text()
    page = (ROOT / "docs/fences.md").read_text()
    rules = re.search(r"```yaml\n(rules:\n.*?)```", page, re.DOTALL)
    assert rules is not None
    return re.sub(r"rules:\n.*?(?=correlate:)", lambda _: rules[1], pack_text, flags=re.DOTALL)


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return Tagger(load_city("generated", seed=7))


def a_worker(tagger: Tagger, devices: dict[str, Device] | None = None) -> PartitionWorker:
    engine = RuleEngine([parse_scenario(scenario_of_the_page(), "page.yaml")], frozenset())
    devices = devices or {}
    fences = FenceSet([SITE])
    watch = FenceWatch(lambda _: fences, devices)
    return PartitionWorker(0, engine=engine, tagger=tagger, devices=devices, fences=watch)


def a_record(
    sequence: int, *positions: tuple[int, float], things: tuple[str, ...] = ("uav-1",)
) -> bytes:
    rows = [
        Observation(
            source="plain", thing_id=thing, kind="aircraft", observed_ns=START + second * S,
            received_ns=START + second * S, lon_deg=lon, lat_deg=36.065,
        )
        for thing in things
        for second, lon in positions
    ]  # fmt: skip
    newest = max(second for second, _ in positions)
    stamp = Stamp(
        ingest_id="i", sequence=sequence, partition=0,
        watermark_ns=START + (newest - 30) * S, logged_ns=START + newest * S,
    )  # fmt: skip
    return encode_batch(pack(rows, stamp))


WAY = [(t, 120.385 if 10 <= t < 60 else 120.37) for t in range(0, 120, 2)]


def told(worker: PartitionWorker, records: list[bytes], first: int = 0) -> list[tuple[str, ...]]:
    found = []
    for offset, record in enumerate(records, start=first):
        done = worker.process(offset, record)
        assert done is not None
        found += [
            (one.edge.value, one.thing_id, str((one.began_ns - START) // S))
            for one in done.events.events
            if one.edge is not Edge.STILL
        ]
    return found


def test_a_rule_matches_what_happens_at_a_fence(tagger: Tagger) -> None:
    records = [a_record(n, position) for n, position in enumerate(WAY)]
    worker = a_worker(tagger)
    found = told(worker, records)
    assert found == [("raise", "uav-1@site-1", "10"), ("clear", "uav-1@site-1", "10")]
    assert worker.position.counters.accepted == len(WAY)
    assert worker.position.counters.events >= 2


def test_late_positions_and_a_restart_change_nothing(tagger: Tagger) -> None:
    swapped = WAY.copy()
    for place in range(1, len(WAY) - 1, 4):
        # The newer one first: the older one is late by what they lie apart.
        swapped[place : place + 2] = swapped[place + 1], swapped[place]
    records = [a_record(n, position) for n, position in enumerate(swapped)]
    orderly = told(a_worker(tagger), [a_record(n, one) for n, one in enumerate(WAY)])
    worker = a_worker(tagger)
    half = told(worker, records[:15])
    other = a_worker(tagger)
    other.restore(worker.checkpoint())
    assert half + told(other, records[15:], first=15) == orderly


def test_what_fails_beside_it_takes_nothing_from_who_is_at_a_fence(
    tagger: Tagger, break_rules: Callable[[], None]
) -> None:
    orderly = told(a_worker(tagger), [a_record(n, one) for n, one in enumerate(WAY)])
    break_rules()
    worker, found = a_worker(tagger), []
    for n, one in enumerate(WAY):
        alone = isolate(worker, n, a_record(n, one, things=("uav-1", "bad")))
        assert [one.batch.thing_ids for one in alone.poisoned] == [["bad"]]
        found += [
            (event.edge.value, event.thing_id, str((event.began_ns - START) // S))
            for event in alone.events.events
            if event.edge is not Edge.STILL and not event.thing_id.startswith("bad")
        ]
    assert found == orderly


def test_what_stands_still_is_not_followed(tagger: Tagger) -> None:
    fixed = {"uav-1": Device(thing_id="uav-1", kind="aircraft", lon_deg=120.385, lat_deg=36.065)}
    records = [a_record(n, position) for n, position in enumerate(WAY)]
    assert told(a_worker(tagger, fixed), records) == []


def test_a_fence_that_the_map_no_longer_has_clears_what_was_raised_there(tagger: Tagger) -> None:
    engine = RuleEngine([parse_scenario(scenario_of_the_page(), "page.yaml")], frozenset())
    before, after = FenceSet([SITE]), FenceSet([])
    swap_ns = START + 20 * S  # by the watermark, thirty seconds behind the newest position
    watch = FenceWatch(lambda time_ns: before if time_ns < swap_ns else after, {})
    worker = PartitionWorker(0, engine=engine, tagger=tagger, devices={}, fences=watch)
    stays = [a_record(n, (t, 120.385)) for n, t in enumerate(range(0, 120, 2))]
    found = told(worker, stays)
    assert [edge for edge, _, _ in found] == ["raise", "clear"]
    assert watch.tracker.inside("uav-1") == ()


def zones(*names: str) -> Layer:
    shapes, kinds = [SITE.geometry] * len(names), ["site"] * len(names)
    return build_layer("sites", LayerRole.ZONE, shapes, feature_id=list(names), kind=kinds)


def test_a_restart_after_a_swap_goes_on_with_the_fences_of_its_time(tagger: Tagger) -> None:
    """Raised once and cleared once, whatever versions come while the thing is inside."""
    live = LiveTagger(City("x", Text("x", "x"), 4549, {"sites": zones("other")}))
    # Long enough inside for time, thirty seconds behind, to pass the change.
    stay = [(t, 120.385 if 10 <= t < 100 else 120.37) for t in range(0, 180, 2)]
    records = [a_record(n, position) for n, position in enumerate(stay)]

    def worker() -> PartitionWorker:
        engine = RuleEngine([parse_scenario(scenario_of_the_page(), "page.yaml")], frozenset())
        watch = FenceWatch(live.fences_at, {})
        return PartitionWorker(0, engine=engine, tagger=tagger, devices={}, fences=watch)

    first, second = zones("1"), zones("0", "1")
    spans = Version(first, START - 60 * S, START + 20 * S), Version(second, START + 20 * S, None)
    assert live.swap(Catalogue({"sites": spans}))
    whole = told(worker(), records)
    assert whole == [
        ("raise", "uav-1@sites:1", "10"),
        ("raise", "uav-1@sites:0", "48"),
        ("clear", "uav-1@sites:0", "48"),
        ("clear", "uav-1@sites:1", "10"),
    ]
    for cut in (20, 27, 40, 60):
        before, after = worker(), worker()
        found = told(before, records[:cut])
        after.load(before.dump())
        assert found + told(after, records[cut:], first=cut) == whole, cut


def test_what_is_told_names_the_version_of_the_fence() -> None:
    layer = zones("1")
    live = LiveTagger(City("x", Text("x", "x"), 4549, {"sites": layer}))
    watch = FenceWatch(live.fences_at, {})
    found = []
    for n, position in enumerate(WAY):
        for one in watch.observe(decode_batch(a_record(n, position)), 0).values():
            words, versions = one.label("transition"), one.label("fence_version")
            found += [(word, versions[row]) for row, word in words.items()]
    assert found == [("enter", layer.version), ("exit", layer.version)]


def test_fences_are_the_same_object_while_their_layers_are() -> None:
    live = LiveTagger(City("x", Text("x", "x"), 4549, {"sites": zones("1")}))
    before = live.fences_at(START)
    other = build_layer("d", LayerRole.DISTRICT, [SITE.geometry], code=["370202"])
    assert live.swap(Catalogue({"d": (Version(other, START, None),)}))
    assert live.fences_at(START + S) is before
    assert live.swap(Catalogue({"sites": (Version(zones("2"), START, None),)}))
    assert live.fences_at(START - S) is before
    assert live.fences_at(START) is not before


def test_the_fences_of_a_city_are_its_zones_and_airspace() -> None:
    city = load_city("generated", seed=7)
    fences, left_out = fences_of(city)
    assert left_out == []
    assert len(FenceSet(fences)) == len(fences) > 5
    air = [one for one in fences if one.ahead_s is not None]
    assert air
    for one in air:
        west, south, east, north = one.geometry.bounds
        assert np.isfinite([west, south, east, north]).all()
        assert one.crossings
