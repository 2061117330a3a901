"""The rule engine: edges, time, and that batches, restarts and order of arrival change nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from builders import a_batch, as_one
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DecodeError
from core.events import Edge, Event
from core.observations import Observation
from scenarios.engine import MAX_OBSERVATION_IDS, RuleEngine
from scenarios.explain import explain_event
from scenarios.model import (
    Comparison,
    Condition,
    Count,
    Damping,
    Rate,
    Rule,
    Scenario,
    Steps,
    TimeOfDay,
)

DAY_S = 86400


def water(words: SimpleNamespace, *readings: tuple[float, float], thing: str = "w-1") -> list[Any]:
    return [
        words.an_observation(at_s, thing, zone="underpass", water_level_m=level)
        for at_s, level in readings
    ]


def flooding(words: SimpleNamespace, **changes: object) -> RuleEngine:
    scenario = words.shipped("road-flooding")
    if changes:
        scenario = words.with_rule(scenario, **changes)
    return RuleEngine([scenario], frozenset())


# Raise at 0.25 m held for 60 s, clear below 0.15 m.
TABLE: list[tuple[str, list[tuple[float, float]], float | None, list[tuple[str, float]]]] = [
    ("nothing", [], 100, []),
    ("below the threshold", [(0, 0.24), (100, 0.24)], 200, []),
    ("exactly at it, exactly as long", [(0, 0.25), (60, 0.25)], None, [("raise", 60)]),
    ("known only by a later word, but then", [(0, 0.3), (70, 0.3)], None, [("raise", 60)]),
    ("time has not passed", [(0, 0.3)], 60, []),
    ("a sensor that reports on change", [(0, 0.3)], 60.001, [("raise", 60)]),
    ("over in the last instant", [(0, 0.3), (60, 0.1)], 200, []),
    ("over just too late", [(0, 0.3), (61, 0.1)], 200, [("raise", 60), ("clear", 61)]),
    ("a dip starts anew", [(0, 0.3), (30, 0.2), (40, 0.3)], 95, []),
    ("a dip starts anew, long", [(0, 0.3), (30, 0.2), (40, 0.3)], 101, [("raise", 100)]),
    ("between the levels it goes on", [(0, 0.3), (70, 0.2), (80, 0.15)], 90, [("raise", 60)]),
    (
        "and again",
        [(0, 0.3), (100, 0.1), (110, 0.3)],
        200,
        [("raise", 60), ("clear", 100), ("raise", 170)],
    ),
    ("late words change nothing", [(0, 0.3), (50, 0.3), (20, 0.0)], 70, [("raise", 60)]),
    ("one of the same instant counts", [(0, 0.3), (50, 0.3), (50, 0.0)], 70, []),
    (
        "it still goes on",
        [(0, 0.3), (600, 0.3), (660, 0.3), (700, 0.3), (1300, 0.3)],
        None,
        [("raise", 60), ("still", 660), ("still", 1300)],
    ),
]


@pytest.mark.parametrize(
    ("readings", "watermark_s", "expected"),
    [one[1:] for one in TABLE],
    ids=[one[0] for one in TABLE],
)
def test_edges(
    words: SimpleNamespace,
    readings: list[tuple[float, float]],
    watermark_s: float | None,
    expected: list[tuple[str, float]],
) -> None:
    events = words.process(flooding(words), water(words, *readings), watermark_s)
    assert words.in_short(events) == expected


def test_what_an_event_tells(words: SimpleNamespace) -> None:
    observations = [
        words.an_observation(
            at_s,
            "w-1",
            zone="underpass",
            lon=120.0 + at_s / 1e5,
            snapshots=pictures,
            water_level_m=v,
        )
        for at_s, v, pictures in [(0, 0.3, ("a.jpg",)), (30, 0.5, ()), (60, 0.4, ("b.jpg",))]
    ]
    (event,) = words.process(flooding(words), observations)
    assert event.scenario == "road-flooding"
    assert event.rule == "road-flooding/level"
    assert (event.began_ns, event.at_ns) == (words.at_ns(0), words.at_ns(60))
    assert event.place.lon_deg == 120.0  # where it was when it began
    assert event.trigger_id == observations[-1].id
    assert event.observation_ids == tuple(one.id for one in observations)
    assert event.snapshots == ("b.jpg",)
    assert event.confidence_ratio == 0.95
    assert event.wall_ns == 9
    assert event.because == {
        "measure": "water_level_m",
        "comparison": "at_least",
        "value": 0.4,
        "peak": 0.5,
        "threshold": 0.25,
        "clear_level": 0.15,
        "for_s": 60.0,
        "held_s": 60.0,
        "zone": "underpass",
    }


def test_an_edge_that_only_time_made_has_no_trigger(words: SimpleNamespace) -> None:
    (event,) = words.process(flooding(words), water(words, (0, 0.3)), 100)
    assert event.trigger_id == ""
    assert len(event.observation_ids) == 1


def test_observation_ids_are_bounded_and_keep_the_first(words: SimpleNamespace) -> None:
    observations = water(words, *[(at_s, 0.3) for at_s in range(0, 61, 3)])
    (event,) = words.process(flooding(words), observations)
    assert len(event.observation_ids) == MAX_OBSERVATION_IDS
    assert event.observation_ids[0] == observations[0].id
    assert event.observation_ids[-1] == observations[-1].id


def test_late_ones_are_counted_once_each(words: SimpleNamespace) -> None:
    engine = flooding(words)
    words.process(engine, water(words, (10, 0.3), (5, 0.3), (11, 0.3), (10, 0.0)))
    assert engine.late_count == 2
    words.process(engine, water(words, (3, 0.3)))
    assert engine.late_count == 3


def test_an_observation_that_time_has_overtaken_is_late(words: SimpleNamespace) -> None:
    engine = flooding(words)
    words.process(engine, water(words, (0, 0.3)), 61)
    assert words.process(engine, water(words, (50, 0.0))) == []
    assert engine.late_count == 1


@pytest.mark.parametrize(
    ("changes", "readings", "watermark_s", "expected"),
    [
        (
            {"clear_for_s": 20.0},
            [(0, 0.3), (100, 0.0), (110, 0.3), (120, 0.0)],
            130,
            [("raise", 60)],
        ),
        ({"clear_for_s": 20.0}, [(0, 0.3), (100, 0.0)], 121, [("raise", 60), ("clear", 120)]),
        (
            {"clear_for_s": 20.0},
            [(0, 0.3), (100, 0.0), (120, 0.0)],
            None,
            [("raise", 60), ("clear", 120)],
        ),
        ({"clear_for_s": 20.0}, [(0, 0.3), (100, 0.0), (120, 0.2)], 300, [("raise", 60)]),
        ({"confirm": True}, [(0, 0.3)], 300, []),
        ({"confirm": True}, [(0, 0.3), (70, 0.3)], None, [("raise", 70)]),
        ({"confirm": True, "gone_after_s": 65.0}, [(0, 0.3), (70, 0.3)], None, []),
        ({"gone_after_s": 100.0}, [(0, 0.3), (50, 0.3)], 151, [("raise", 60), ("clear", 150)]),
        ({"gone_after_s": 100.0}, [(0, 0.3), (50, 0.3), (150, 0.3)], 151, [("raise", 60)]),
        (
            {"gone_after_s": 100.0},
            [(0, 0.3), (50, 0.3), (150.001, 0.3)],
            300,
            [("raise", 60), ("clear", 150), ("raise", 210.001), ("clear", 250.001)],
        ),
        ({"for_s": 0.0}, [(0, 0.3), (0, 0.0), (0, 0.3)], 10, [("raise", 0), ("clear", 0)]),
        (
            {"for_s": 0.0},
            [(0, 0.3), (1, 0.0), (2, 0.3)],
            10,
            [("raise", 0), ("clear", 1), ("raise", 2)],
        ),
        (
            {"comparison": Comparison.BELOW, "threshold": 0.1, "clear_level": 0.2},
            [(0, 0.05), (70, 0.15), (80, 0.21)],
            None,
            [("raise", 60), ("clear", 80)],
        ),
        (
            {"comparison": Comparison.ABOVE, "threshold": 0.25, "clear_level": None},
            [(0, 0.25), (100, 0.26), (200, 0.25)],
            300,
            [("raise", 160), ("clear", 200)],
        ),
        (
            {"comparison": Comparison.AT_MOST, "threshold": 0.1, "clear_level": None},
            [(0, 0.1), (100, 0.11)],
            300,
            [("raise", 60), ("clear", 100)],
        ),
    ],
)
def test_variants_of_a_rule(
    words: SimpleNamespace,
    changes: dict[str, object],
    readings: list[tuple[float, float]],
    watermark_s: float | None,
    expected: list[tuple[str, float]],
) -> None:
    events = words.process(flooding(words, **changes), water(words, *readings), watermark_s)
    assert words.in_short(events) == expected
    assert len({event.id for event in events}) == len(events)


def test_a_clear_says_how_it_ended(words: SimpleNamespace) -> None:
    engine = flooding(words, for_s=0.0, gone_after_s=100.0)
    events = words.process(engine, water(words, (0, 0.3), (5, 0.0), (10, 0.3)), 200)
    assert [one.because.get("ended") for one in events] == [None, "over", None, "silence"]


def test_a_row_that_does_not_know_says_nothing(words: SimpleNamespace) -> None:
    engine = flooding(words)
    an = words.an_observation
    rows = [
        an(0, zone="underpass", water_level_m=0.3),
        an(10, zone="underpass", battery_ratio=0.5),  # no such measure
        an(20, zone="underpass", water_level_m=float("nan")),
        an(30, zone="underpass", water_level_m=float("inf")),
        an(40, lon=None, lat=None, water_level_m=0.3),  # no position
    ]
    assert words.in_short(words.process(engine, rows, 100)) == [("raise", 60)]
    # Known to be over outweighs not knowing where.
    over = an(110, lon=None, lat=None, water_level_m=0.0)
    assert words.in_short(words.process(engine, [over])) == [("clear", 110)]


def test_zone_of_the_map_and_zone_that_the_camera_names(words: SimpleNamespace) -> None:
    engine = RuleEngine([words.shipped("illegal-parking")], frozenset())
    car = {"object": "vehicle"}

    def seen(at_s: float, thing: str, **more: Any) -> Observation:
        labels = car | more.pop("labels", {})
        one: Observation = words.an_observation(
            at_s, thing, "detection.static_object", labels=labels, dwell_s=130.0, **more
        )
        return one

    rows = [
        seen(0, "c/1", zone="no_parking"),
        seen(0, "c/2", labels={"zone_kind": "no_parking"}),
        seen(0, "c/3", zone="no_parking", labels={"zone_kind": "pavement"}),
        seen(0, "c/4", labels={"zone_kind": "no_parking"}, lon=None, lat=None),
        seen(0, "c/5"),
        seen(0, "c/6", zone="no_parking", labels={"object": "small"}),
        words.an_observation(0, "c/7", "detection.static_object", zone="no_parking", dwell_s=130.0),
    ]
    assert [one.thing_id for one in words.process(engine, rows)] == ["c/1", "c/2", "c/4"]


def test_airspace_and_what_is_unsure_of_it(words: SimpleNamespace) -> None:
    engine = RuleEngine([words.shipped("airspace-intrusion")], frozenset())
    an = words.an_observation
    events = words.process(
        engine,
        [
            an(0, "sn-1", "aircraft", airspace="protected"),
            an(1, "sn-2", "aircraft", labels={"is_unsure_in": "protected"}),
            an(2, "sn-1", "aircraft", labels={"is_unsure_in": "protected"}),
            an(10, "sn-1", "aircraft"),
            an(13, "sn-1", "aircraft", airspace="protected"),
            an(20, "sn-1", "aircraft"),
            an(25, "sn-1", "aircraft"),
        ],
    )
    assert [(one.thing_id, *words.in_short([one])[0]) for one in events] == [
        ("sn-1", "raise", 0),
        ("sn-1", "clear", 25),
    ]


def test_registered_aircraft_are_known(words: SimpleNamespace) -> None:
    engine = RuleEngine([words.shipped("unidentified-aircraft")], frozenset({"ours"}))
    rows = [
        words.an_observation(at_s, sn, "aircraft", speed_mps=5.0)
        for at_s in (0, 3, 6)
        for sn in ("ours", "theirs")
    ]
    (event,) = words.process(engine, rows)
    assert (event.thing_id, event.because["registered"]) == ("theirs", "no")


def test_the_first_known_measure_counts_and_is_named(words: SimpleNamespace) -> None:
    engine = RuleEngine([words.shipped("height-limit")], frozenset())
    rows = [
        words.an_observation(0, "sn-1", "aircraft", alt_takeoff_m=130.0, alt_agl_m=100.0),
        words.an_observation(1, "sn-1", "aircraft", alt_takeoff_m=130.0),
        words.an_observation(4, "sn-1", "aircraft", alt_agl_m=float("nan"), alt_takeoff_m=131.0),
    ]
    (event,) = words.process(engine, rows)
    assert (event.because["measure"], event.because["value"]) == ("alt_takeoff_m", 131.0)


def test_a_rule_for_the_night(words: SimpleNamespace) -> None:
    night = TimeOfDay(from_s=22 * 3600, until_s=6 * 3600)  # China time; the epoch is 08:00 there
    engine = flooding(words, for_s=0.0, time_of_day=night)
    day, evening, morning = 0.0, 14 * 3600.0, 22 * 3600.0
    events = words.process(engine, water(words, (day, 0.3), (evening, 0.3), (morning, 0.3)))
    assert words.in_short(events)[0] == ("raise", evening)
    assert words.in_short(events)[-1] == ("clear", morning)


def test_reports_raise_at_once_where_they_are_taken(words: SimpleNamespace) -> None:
    engine = RuleEngine(words.shipped_all, frozenset())

    def report(number: int, **labels: str) -> Observation:
        one: Observation = words.an_observation(5, f"report/{number}", "report", labels=labels)
        return one

    rows = [
        report(1, scenario="road-flooding", text=" 桥下有水 "),
        report(2, scenario="height-limit"),
        report(3, scenario="no-such"),
        report(4),
    ]
    (event,) = words.process(engine, rows)
    assert (event.rule, event.kind, event.edge) == ("road-flooding/report", "report", Edge.RAISE)
    assert event.confidence_ratio == 0.5
    assert event.because == {"text": "桥下有水"}
    assert event.began_ns == event.at_ns == words.at_ns(5)
    assert engine.ignored_report_count == 3
    assert engine.thing_count == 0
    assert words.process(engine, rows)[0].id == event.id


def test_kinds_no_rule_asks_for_cost_no_state(words: SimpleNamespace) -> None:
    engine = RuleEngine(words.shipped_all, frozenset())
    assert words.process(engine, [words.an_observation(0, "d", "dock", mode_code=0.0)], 10) == []
    assert engine.thing_count == 0


def test_events_come_by_instant_then_rule_then_thing(words: SimpleNamespace) -> None:
    engine = RuleEngine(words.shipped_all, frozenset())
    an = words.an_observation
    rows = [
        an(4, "s-2", "smoke", smoke_db_per_m=0.5),
        an(5, "m-1", "manhole", tilt_deg=40.0),
        an(4, "s-1", "smoke", smoke_db_per_m=0.5),
        an(15, "g-1", "gas", gas_lel_ratio=0.5),
    ]
    events = words.process(engine, rows, 60)
    assert [one.thing_id for one in events] == ["s-1", "s-2", "g-1", "m-1"]


def test_memory_is_bounded_by_the_things_of_a_week(words: SimpleNamespace) -> None:
    engine = RuleEngine(words.shipped_all, frozenset())
    things_a_day = 40
    for day in range(60):
        rows = [
            words.an_observation(
                day * DAY_S + number, f"visitor-{day}-{number}", "aircraft", alt_agl_m=130.0
            )
            for number in range(things_a_day)
        ]
        rows += water(words, (day * DAY_S + 100, 0.3), thing=f"w-{day}")
        words.process(engine, rows, day * DAY_S + DAY_S / 2)
        assert engine.thing_count <= 9 * (things_a_day + 1)
        assert engine.live_count <= 9 * 4 * (things_a_day + 1)
        assert len(engine._live.slot) <= 2048
    words.process(engine, [], 100 * DAY_S)
    words.process(engine, [], 101 * DAY_S)
    assert (engine.thing_count, engine.live_count) == (0, 0)
    assert len(engine._last) <= 1024


def test_a_restart_with_many_things(words: SimpleNamespace) -> None:
    engine = flooding(words)
    for number in range(0, 3000, 500):
        rows = [water(words, (n, 0.3), thing=f"w-{n}")[0] for n in range(number, number + 500)]
        words.process(engine, rows)
    other = flooding(words)
    other.load(engine.dump())
    assert (other.thing_count, other.live_count) == (3000, 3000)
    assert other.dump() == engine.dump()
    assert words.process(other, [], 4000) == words.process(engine, [], 4000)


def test_a_forgotten_thing_that_was_on_has_been_cleared(words: SimpleNamespace) -> None:
    engine = flooding(words)
    words.process(engine, water(words, (0, 0.3)), 61)
    events = words.process(engine, [], 9 * DAY_S)
    assert words.in_short(events) == [("clear", 7 * DAY_S)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode([99, 0, 0, 0, 0, []]),
        msgspec.msgpack.encode([3, 0, 0, 0, 0, []]),
    ],
)
def test_a_damaged_state_is_refused(words: SimpleNamespace, data: bytes) -> None:
    with pytest.raises(DecodeError, match="bad_state"):
        flooding(words).load(data)


def test_a_state_of_rules_that_are_gone_is_left(words: SimpleNamespace) -> None:
    engine = flooding(words)
    words.process(engine, water(words, (0, 0.3)), 10)
    other = RuleEngine([words.shipped("gas-leak")], frozenset())
    other.load(engine.dump())
    assert (other.live_count, other.thing_count) == (0, 1)


# ---- what may not matter ----------------------------------------------------------------------


def scenarios_of_all_sorts(words: SimpleNamespace) -> list[Scenario]:
    """One kind, rules of every form that differ in how they treat time."""
    base = words.shipped("road-flooding")
    variants: list[dict[str, object]] = [
        {"for_s": 6.0},
        {"for_s": 0.0, "clear_for_s": 4.0, "in_zone": ()},
        {"for_s": 5.0, "confirm": True, "gone_after_s": 9.0},
        {"for_s": 3.0, "gone_after_s": 7.0, "clear_for_s": 2.0, "in_zone": ()},
        {"for_s": 0.0, "comparison": Comparison.BELOW, "threshold": 0.1, "clear_level": 0.2},
        {"for_s": 0.0, "rate": Rate(per_s=60.0, over_s=4.0), "threshold": 1.0, "clear_level": 0.0},
        {"for_s": 0.0, "count": Count(at_least=3, within_s=12.0), "gone_after_s": 12.0},
        {"for_s": 12.0, "absent": True, "in_zone": ()},
        {
            "for_s": 0.0,
            "sequence": Steps(
                steps=(
                    Condition(
                        kind="water_level",
                        measures=("water_level_m",),
                        comparison=Comparison.BELOW,
                        threshold=0.1,
                    ),
                ),
                within_s=10.0,
            ),
            "gone_after_s": 9.0,
        },
        {"for_s": 0.0, "damping": Damping(raises=2, within_s=60.0, clear_for_s=15.0)},
    ]
    made = []
    for number, changes in enumerate(variants):
        rule = msgspec.structs.replace(base.rules[0], id=f"s-{number}/r", **changes)
        made.append(
            msgspec.structs.replace(base, id=f"s-{number}", rules=(rule,), still_every_s=8.0)
        )
    return made


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[float, float, str, str | None]]:
    """Observations in order of arrival: second, level, thing, zone; some a little late."""
    n = draw(st.integers(0, 40))
    at_s = 0.0
    found = []
    for _ in range(n):
        at_s += draw(st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0, 9.0, 20.0]))
        late_s = draw(st.sampled_from([0.0, 0.0, 0.0, 1.0, 3.0]))
        level = draw(st.sampled_from([0.05, 0.15, 0.2, 0.25, 0.4]))
        thing = draw(st.sampled_from(["a", "b", "c"]))
        zone = draw(st.sampled_from(["underpass", "underpass", "underpass", None]))
        found.append((max(0.0, at_s - late_s), level, thing, zone))
    return found


def batches(
    words: SimpleNamespace,
    stream: Sequence[tuple[float, float, str, str | None]],
    cuts: Sequence[int],
    slack_s: float,
) -> list[tuple[list[Observation], float]]:
    """Cut a stream; each batch's watermark is as late as the promise allows, less some slack."""
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    made = []
    for begin, end in itertools.pairwise(edges):
        rows = [
            words.an_observation(at_s, thing, zone=zone, water_level_m=level)
            for at_s, level, thing, zone in stream[begin:end]
        ]
        coming = [one[0] for one in stream[end:]]
        newest = max(one[0] for one in stream[:end])
        made.append((rows, max(0.0, min([*coming, newest]) - slack_s)))
    return made


def run(
    words: SimpleNamespace,
    engine: RuleEngine,
    parts: Sequence[tuple[list[Observation], float]],
) -> list[Event]:
    events: list[Event] = []
    for rows, watermark_s in parts:
        events += words.process(engine, rows, watermark_s)
    return events


def by_thing(events: list[Event]) -> dict[tuple[str, str], list[Event]]:
    """Events of each rule and thing in the order they were told."""
    found: dict[tuple[str, str], list[Event]] = {}
    for one in events:
        found.setdefault((one.rule, one.thing_id), []).append(one)
    return found


CUTS = st.lists(st.integers(0, 40), max_size=8)
SLACK = st.sampled_from([0.0, 2.0, 100.0])


@settings(max_examples=200, deadline=None)
@given(stream=streams(), cuts=CUTS, other_cuts=CUTS, slack_s=SLACK)
def test_batch_borders_and_watermarks_change_nothing(
    words: SimpleNamespace,
    stream: list[tuple[float, float, str, str | None]],
    cuts: list[int],
    other_cuts: list[int],
    slack_s: float,
) -> None:
    scenarios = scenarios_of_all_sorts(words)
    end: tuple[list[Observation], float] = ([], 1000.0)
    one, other = RuleEngine(scenarios, frozenset()), RuleEngine(scenarios, frozenset())
    first = run(words, one, [*batches(words, stream, cuts, 0.0), end])
    second = run(words, other, [*batches(words, stream, other_cuts, slack_s), end])
    assert by_thing(first) == by_thing(second)
    assert one.late_count == other.late_count
    assert len({event.id for event in first}) == len(first)


@settings(max_examples=100, deadline=None)
@given(stream=streams(), cuts=CUTS, slack_s=SLACK)
def test_the_rounds_of_a_batch_are_told_as_if_each_had_come_alone(
    words: SimpleNamespace,
    stream: list[tuple[float, float, str, str | None]],
    cuts: list[int],
    slack_s: float,
) -> None:
    scenarios = scenarios_of_all_sorts(words)
    parts = [*batches(words, stream, cuts, slack_s), ([], 1000.0)]
    alone, together = RuleEngine(scenarios, frozenset()), RuleEngine(scenarios, frozenset())
    rounds = [
        a_batch(*rows, sequence=n, watermark_ns=words.at_ns(watermark_s))
        for n, (rows, watermark_s) in enumerate(parts)
    ]
    whole = as_one(rounds)
    assert together.process_rounds(whole, words.FakeTags(whole)) == [
        alone.process(one, words.FakeTags(one)) for one in rounds
    ]
    assert together.late_count == alone.late_count
    assert (together.thing_count, together.live_count) == (alone.thing_count, alone.live_count)


@settings(max_examples=100, deadline=None)
@given(stream=streams(), cuts=CUTS, stop=st.integers(0, 9))
def test_a_restart_anywhere_changes_nothing(
    words: SimpleNamespace,
    stream: list[tuple[float, float, str, str | None]],
    cuts: list[int],
    stop: int,
) -> None:
    scenarios = scenarios_of_all_sorts(words)
    parts = [*batches(words, stream, cuts, 0.0), ([], 1000.0)]
    straight = RuleEngine(scenarios, frozenset())
    before, after = parts[:stop], parts[stop:]
    run(words, straight, before)
    restarted = RuleEngine(scenarios, frozenset())
    restarted.load(straight.dump())
    assert restarted.dump() == straight.dump()
    assert run(words, restarted, after) == run(words, straight, after)
    assert restarted.dump() == straight.dump()
    assert restarted.late_count == straight.late_count


@settings(max_examples=100, deadline=None)
@given(stream=streams(), cuts=CUTS)
def test_things_in_engines_of_their_own_give_the_same(
    words: SimpleNamespace, stream: list[tuple[float, float, str, str | None]], cuts: list[int]
) -> None:
    """So the number of partitions changes nothing."""
    scenarios = scenarios_of_all_sorts(words)
    together = RuleEngine(scenarios, frozenset())
    expected = by_thing(run(words, together, [*batches(words, stream, cuts, 0.0), ([], 1000.0)]))
    found: dict[tuple[str, str], list[Event]] = {}
    for thing in ("a", "b", "c"):
        alone = RuleEngine(scenarios, frozenset())
        own = [one for one in stream if one[2] == thing]
        found |= by_thing(run(words, alone, [*batches(words, own, cuts, 1.0), ([], 1000.0)]))
    assert found == expected


def expected_edges(rule: Rule, readings: Sequence[tuple[float, float]]) -> list[tuple[str, float]]:
    """The plain meaning of a rule with `for` and a clear level, on a ready list of readings."""
    assert rule.threshold is not None
    assert rule.clear_level is not None
    told: list[tuple[str, float]] = []
    began: float | None = None
    raised = False
    newest = -1.0
    in_order = []
    for at_s, level in readings:
        if at_s >= newest:
            in_order.append((at_s, level))
            newest = at_s
    for position, (at_s, level) in enumerate(in_order):
        if raised and level < rule.clear_level:
            told.append(("clear", at_s))
            raised, began = False, None
        elif not raised and level < rule.threshold:
            began = None
        elif not raised:
            began = at_s if began is None else began
            until = in_order[position + 1][0] if position + 1 < len(in_order) else 1e9
            due = began + rule.for_s
            # It holds until the next word; at that very instant the next word counts.
            if due < until or due == at_s:
                told.append(("raise", due))
                raised = True
    return told


@settings(max_examples=300, deadline=None)
@given(stream=streams(), cuts=CUTS)
def test_the_engine_means_what_a_rule_plainly_says(
    words: SimpleNamespace, stream: list[tuple[float, float, str, str | None]], cuts: list[int]
) -> None:
    scenario = words.with_rule(words.shipped("road-flooding"), for_s=6.0, in_zone=())
    scenario = msgspec.structs.replace(scenario, still_every_s=1e6)
    engine = RuleEngine([scenario], frozenset())
    found = by_thing(run(words, engine, [*batches(words, stream, cuts, 0.0), ([], 1000.0)]))
    for thing in ("a", "b", "c"):
        readings = [(at_s, level) for at_s, level, name, _ in stream if name == thing]
        expected = expected_edges(scenario.rules[0], readings)
        assert words.in_short(found.get(("road-flooding/level", thing), [])) == expected


@pytest.mark.parametrize(
    ("opinion_ratio", "confidence"),
    [(0.9, 0.973), (0.5, 0.8), (0.1, 0.308), (None, 0.8), (1.7, 0.8)],
)
def test_a_second_opinion_moves_the_confidence_of_an_event(
    words: SimpleNamespace, opinion_ratio: float | None, confidence: float
) -> None:
    more = {} if opinion_ratio is None else {"opinion_ratio": opinion_ratio}
    seen = [
        words.an_observation(
            at_s,
            "camera-1/7",
            "detection.static_object",
            zone="no_parking",
            labels={"object": "vehicle", "opinion": "a red car", "opinion_model": "m"},
            dwell_s=float(at_s),
            **more,
        )
        for at_s in (20, 130)
    ]
    scenario = words.shipped("illegal-parking")
    (event,) = words.process(RuleEngine([scenario], frozenset()), seen)
    assert event.confidence_ratio == pytest.approx(confidence, abs=1e-3)
    counts = opinion_ratio is not None and opinion_ratio <= 1.0
    assert event.because.get("opinion") == ("a red car" if counts else None)
    told = explain_event(event, scenario)
    assert ("a red car" in told.en) == ("a red car" in told.zh) == counts
