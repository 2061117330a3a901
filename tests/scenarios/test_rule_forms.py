"""The forms of a rule beyond a threshold: rate, count, sequence, absence, damping, calendar."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from core.units import rfc3339_to_ns
from scenarios.engine import RuleEngine
from scenarios.loader import parse_scenario
from scenarios.model import Scenario

HOUR = 3600.0


def a_scenario(when: str) -> Scenario:
    """A scenario with one rule, of which the text is what it asks."""
    text = f"""
id: try-out
name: {{zh: 试, en: Try}}
domain: 城管
purpose: {{zh: 试, en: Try}}
category: {{system: own, kind: 自定义, code: "SY-01", name: {{zh: 试, en: Try}}}}
department: {{zh: 试, en: Try}}
severity: minor
rules:
  - id: one
    when: {{{when}}}
correlate: {{group_by: spot, radius_m: 5, within: 15min}}
deadline: {{duration: 1h, clock: hours24}}
closes_when: {{zh: 完, en: Done}}
"""
    return parse_scenario(text, "try-out.yaml")


def edges(
    words: SimpleNamespace, when: str, rows: list[Any], watermark_s: float | None = None
) -> list[tuple[str, float]]:
    engine = RuleEngine([a_scenario(when)], frozenset())
    told: list[tuple[str, float]] = words.in_short(words.process(engine, rows, watermark_s))
    return told


def tilt(words: SimpleNamespace, *readings: tuple[float, float]) -> list[Any]:
    return [words.an_observation(at, "p-1", "pit", tilt_deg=deg) for at, deg in readings]


RATE = "kind: pit, measure: tilt_deg, at_least: 0.5, rate: {per: 1h, over: 1h}"


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        pytest.param([(0, 0.0), (HOUR, 0.4)], [], id="too slow"),
        pytest.param([(0, 0.0), (HOUR, 0.5)], [("raise", HOUR)], id="exactly so fast"),
        pytest.param([(0, 0.0), (600, 5.0)], [], id="not a whole window yet"),
        pytest.param([(0, 0.0), (3 * HOUR, 5.0)], [], id="a gap says nothing of the speed in it"),
        pytest.param(
            [(0, 0.0), (HOUR / 2, 0.3), (HOUR, 0.6), (1.5 * HOUR, 0.6)],
            [("raise", HOUR), ("clear", 1.5 * HOUR)],
            id="it comes to rest",
        ),
        pytest.param([(0, 9.0), (HOUR, 9.1), (2 * HOUR, 9.2)], [], id="the level is no matter"),
    ],
)
def test_rate(
    words: SimpleNamespace, readings: list[tuple[float, float]], expected: list[tuple[str, float]]
) -> None:
    assert edges(words, RATE, tilt(words, *readings)) == expected


def test_a_rate_is_right_however_often_the_device_speaks(words: SimpleNamespace) -> None:
    steady = [(n * 5.0, n * 5.0 / HOUR * 0.6) for n in range(1200)]
    (first, *rest) = edges(words, RATE, tilt(words, *steady))
    assert first[0] == "raise"
    assert first[1] == pytest.approx(HOUR, abs=HOUR / 24)
    assert {edge for edge, _ in rest} <= {"still"}


def seen(words: SimpleNamespace, *at: tuple[float, str]) -> list[Any]:
    return [
        words.an_observation(
            second, "c-1/1", "detection.change", labels={"change": "new", "flight": flight}
        )
        for second, flight in at
    ]


def test_count_in_a_sliding_window(words: SimpleNamespace) -> None:
    when = "kind: detection.change, labels: {change: new}, count: {at_least: 3, within: 60s}"
    some = seen(words, (0, "a"), (30, "a"), (61, "a"), (89, "a"))
    assert edges(words, when, some) == [("raise", 89)]
    assert edges(words, when, some[:3]) == []
    assert edges(words, when, some, 150) == [("raise", 89), ("clear", 149)]


def test_a_count_of_different_texts(words: SimpleNamespace) -> None:
    when = (
        "kind: detection.change, labels: {change: new}, "
        "count: {at_least: 2, within: 7d, distinct: flight}"
    )
    many = seen(words, *[(n, "monday") for n in range(50)])
    assert edges(words, when, many) == []
    assert edges(words, when, [*many, *seen(words, (90_000, "tuesday"))]) == [("raise", 90_000)]


SEQUENCE = (
    "kind: truck, labels: {cover: 'no'}, in_zone: site_gate, "
    "sequence: {within: 60s, steps: [{kind: weighbridge, measure: load_t, at_least: 5}]}"
)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([("weigh", 0, 9.0), ("gate", 30, 0.0)], [("raise", 30)], id="in order"),
        pytest.param([("gate", 0, 0.0), ("weigh", 30, 9.0)], [], id="the wrong way round"),
        pytest.param([("weigh", 0, 9.0), ("gate", 61, 0.0)], [], id="too late"),
        pytest.param([("weigh", 0, 2.0), ("gate", 30, 0.0)], [], id="an empty truck"),
        pytest.param(
            [("weigh", 0, 9.0), ("weigh", 50, 9.0), ("gate", 100, 0.0)],
            [("raise", 100)],
            id="the newest first step counts",
        ),
    ],
)
def test_sequence(
    words: SimpleNamespace, steps: list[tuple[str, float, float]], expected: list[tuple[str, float]]
) -> None:
    rows = [
        words.an_observation(at, "t-1", "weighbridge", load_t=load)
        if what == "weigh"
        else words.an_observation(
            at, "t-1", "truck", zone="site_gate", labels={"cover": "no"}, speed_mps=2.0
        )
        for what, at, load in steps
    ]
    assert edges(words, SEQUENCE, rows) == expected


def test_absence_is_told_by_time_alone_and_over_at_the_next_word(words: SimpleNamespace) -> None:
    when = "kind: water_meter, labels: {resident: elderly}, absent: 24h"

    def meter(at: float, who: str = "elderly") -> Any:
        return words.an_observation(at, "m-1", "water_meter", labels={"resident": who})

    day = 24 * HOUR
    assert edges(words, when, [meter(0)], day) == []
    assert edges(words, when, [meter(0)], day + 1) == [("raise", day)]
    assert edges(words, when, [meter(0), meter(HOUR)], day + 1) == []
    assert edges(words, when, [meter(0, "young")], 2 * day) == []
    assert edges(words, when, [meter(0), meter(1.5 * day)], 1.6 * day) == [
        ("raise", day),
        ("clear", 1.5 * day),
    ]
    assert edges(words, when, [meter(0), meter(1.5 * day)], 2.6 * day)[-1] == ("raise", 2.5 * day)


def test_a_thing_that_flaps_is_over_only_when_it_is_quiet(words: SimpleNamespace) -> None:
    when = (
        "kind: pit, measure: tilt_deg, at_least: 1, "
        "damping: {raises: 3, within: 10min, clear_for: 5min}"
    )
    flapping = [(n * 10.0, float(n % 2 == 0)) for n in range(20)]
    told = edges(words, when, tilt(words, *flapping), 1000)
    # Twice it clears at once; from the third raise on it must be quiet for five minutes.
    assert told == [
        ("raise", 0),
        ("clear", 10),
        ("raise", 20),
        ("clear", 30),
        ("raise", 40),
        ("clear", 190 + 300),
    ]


def at_china(words: SimpleNamespace, text: str) -> float:
    return (rfc3339_to_ns(f"{text}+08:00") - words.at_ns(0)) / 1e9


def test_rules_for_days_of_the_chinese_calendar(words: SimpleNamespace) -> None:
    when = "kind: pit, measure: tilt_deg, at_least: 1, days: [workday]"
    for text, raises in [
        ("2026-09-30T10:00:00", True),
        ("2026-10-01T10:00:00", False),  # National Day
        ("2026-10-10T10:00:00", True),  # a Saturday worked in exchange
        ("2026-10-17T10:00:00", False),  # a Saturday
    ]:
        assert bool(edges(words, when, tilt(words, (at_china(words, text), 2.0)))) is raises, text


def test_what_a_rule_leaves_out(words: SimpleNamespace) -> None:
    when = (
        "kind: detection.static_object, labels: {object: [stall, rack]}, in_zone: "
        "[pavement, square], unless: {in_zone: market, labels: {permit: 'yes'}}"
    )
    engine = RuleEngine([a_scenario(when)], frozenset())

    def stall(thing: str, **more: Any) -> Any:
        labels = {"object": "stall"} | more.pop("labels", {})
        return words.an_observation(
            0, thing, "detection.static_object", labels=labels, dwell_s=9.0, **more
        )

    rows = [
        stall("c/1", zone="pavement"),
        stall("c/2", zone="square"),
        stall("c/3", zone="market"),
        stall("c/4", zone="pavement", labels={"permit": "yes"}),
        stall("c/5", zone="pavement", labels={"permit": "no"}),
        stall("c/6", zone="pavement", labels={"object": "rack"}),
        stall("c/7", zone="pavement", labels={"object": "dog"}),
        stall("c/8"),
    ]
    assert [one.thing_id for one in words.process(engine, rows)] == ["c/1", "c/2", "c/5", "c/6"]


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("kind: pit, measure: tilt_deg, at_least: 1, rate: {per: 1h}", "rate.over: is missing"),
        ("kind: pit, labels: {a: b}, rate: {per: 1h, over: 1h}", "needs a measure"),
        (
            "kind: pit, labels: {a: b}, absent: 1h, count: {at_least: 2, within: 1h}",
            "absent: found with count; one of rate, count, sequence, absent is accepted",
        ),
        ("kind: pit, labels: {a: b}, count: {at_least: 99, within: 1h}", "from 2 to 32"),
        ("kind: pit, labels: {a: b}, absent: 1h, for: 3s", "leave for out"),
        ("kind: pit, labels: {a: b}, days: [monday]", "accepted: workday, restday, holiday"),
        ("kind: pit, labels: {a: b}, unless: {zone: x}", "did you mean 'in_zone'?"),
        ("kind: pit, labels: {a: b}, sequence: {within: 1h, steps: []}", "at least one"),
    ],
)
def test_a_form_that_cannot_be_meant_is_refused(when: str, message: str) -> None:
    with pytest.raises(Exception, match=r"try-out.yaml:\d+: .*") as caught:
        a_scenario(when)
    assert message in str(caught.value)
