"""Rules as they are written: the ``rules`` of a scenario file, read from YAML nodes."""

from __future__ import annotations

import re

import msgspec
import yaml

from core.exclusions import EXCLUSION_KIND
from scenarios.kernels import WINDOW_SAMPLES
from scenarios.model import (
    REPORT_RULE,
    Comparison,
    Condition,
    Count,
    Damping,
    DayKind,
    Exclude,
    Rate,
    Rule,
    Steps,
    TimeOfDay,
)
from scenarios.yaml_nodes import Node, TableNode, read_or, texts

_DAY_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")

#: What one observation is asked.
_CONDITION_KEYS = (
    "kind",
    "measure",
    *(one.value for one in Comparison),
    "clear_below",
    "clear_above",
    "labels",
    "in_zone",
    "in_airspace",
    "registered",
    "time_of_day",
    "days",
    "unless",
)
#: What a rule asks beyond one observation. Of the first four it may ask one.
_FORMS = ("rate", "count", "sequence", "absent")
_RULE_KEYS = (
    *_CONDITION_KEYS,
    *_FORMS,
    "for",
    "clear_for",
    "confirm",
    "gone_after",
    "damping",
    "exclude",
)


def read_rules(value: Node, scenario_id: str) -> tuple[Rule, ...]:
    """The rules of a scenario.

    Raises:
        RuleError: One is refused; says file, line, path, what was found and accepted.
    """
    rules: dict[str, Rule] = {}
    for item in value.items():
        table = item.table("id", "when", "confidence")
        id_value = table.must("id", "a name like level")
        name = id_value.slug()
        if name == REPORT_RULE:
            id_value.refuse(f"{REPORT_RULE!r} is kept for citizens' reports; take another name")
        if name in rules:
            id_value.refuse(f"{name!r} is taken by another rule of this scenario")
        when = table.must("when", "a mapping")
        confidence = read_or(table.may("confidence"), lambda one: one.number(0.0, 1.0), 1.0)
        rules[name] = _condition(when, f"{scenario_id}/{name}", confidence)
    return tuple(rules.values())


def _condition(value: Node, rule_id: str, confidence: float) -> Rule:
    table = value.table(*_RULE_KEYS)
    asked = _asked(value, table)
    given = [name for name in _FORMS if table.may(name) is not None]
    if len(given) > 1:
        table.must(given[1], "").refuse(
            f"found with {given[0]}; one of {', '.join(_FORMS)} is accepted"
        )
    rate = read_or(table.may("rate"), lambda one: _rate(one, asked), None)
    count = read_or(table.may("count"), _count, None)
    sequence = read_or(table.may("sequence"), _sequence, None)
    absent_s = read_or(table.may("absent"), lambda one: one.duration_s(1.0), 0.0)
    for_value = table.may("for")
    if for_value is not None and given and given[0] != "rate":
        for_value.refuse(f"found with {given[0]}, which says itself how long; leave for out")
    for_s = absent_s or read_or(for_value, Node.duration_s, 0.0)
    clear_for_s = read_or(table.may("clear_for"), Node.duration_s, 0.0)
    confirm = read_or(table.may("confirm"), Node.flag, False)
    damping = read_or(table.may("damping"), _damping, None)
    exclude = read_or(table.may("exclude"), _exclude, None)
    gone_value = table.may("gone_after")
    window_s = count.within_s if count else sequence.within_s if sequence else 0.0
    gone_after_s = read_or(gone_value, lambda one: one.duration_s(1.0), window_s or 7 * 86400.0)
    if gone_after_s <= max(for_s, clear_for_s):
        (value if gone_value is None else gone_value).refuse(
            f"gone_after is {gone_after_s:g}s; longer than for ({for_s:g}s) and clear_for "
            f"({clear_for_s:g}s) is accepted, or the rule could never raise"
        )
    return Rule(
        **msgspec.structs.asdict(asked),
        id=rule_id,
        for_s=for_s,
        clear_for_s=clear_for_s,
        confirm=confirm,
        absent=absent_s > 0,
        rate=rate,
        count=count,
        sequence=sequence,
        damping=damping,
        exclude=exclude,
        confidence_ratio=confidence,
        gone_after_s=gone_after_s,
    )


def _asked(value: Node, table: TableNode) -> Condition:
    """What one observation is asked; the keys have been checked."""
    kind_value = table.must("kind", "a kind of observation")
    kind = kind_value.text()
    if kind == EXCLUSION_KIND:
        kind_value.refuse("records are no observations to raise on; see exclude")
    if kind == REPORT_RULE:
        kind_value.refuse("citizens' reports need no rule; set accepts_reports: true")
    measures = texts(table.may("measure"))
    comparison, threshold = _threshold(table, value, bool(measures))
    labels = _labels(table.may("labels"))
    in_zone = texts(table.may("in_zone"))
    in_airspace = read_or(table.may("in_airspace"), Node.text, None)
    registered = read_or(table.may("registered"), Node.flag, None)
    unless_value = table.may("unless")
    unless_labels: dict[str, tuple[str, ...]] = {}
    unless_in_zone: tuple[str, ...] = ()
    if unless_value is not None:
        unless = unless_value.table("labels", "in_zone")
        unless_labels = _labels(unless.may("labels"))
        unless_in_zone = texts(unless.may("in_zone"))
        if not (unless_labels or unless_in_zone):
            unless_value.refuse("found nothing; labels, in_zone or both are accepted")
    if not (measures or labels or in_zone or in_airspace or registered is not None):
        value.refuse(
            "the rule would hold for every observation; give measure, labels, in_zone, "
            "in_airspace or registered"
        )
    return Condition(
        kind=kind,
        measures=measures,
        comparison=comparison,
        threshold=threshold,
        clear_level=_clear_level(table, value, comparison, threshold),
        labels=labels,
        unless_labels=unless_labels,
        in_zone=in_zone,
        unless_in_zone=unless_in_zone,
        in_airspace=in_airspace,
        registered=registered,
        time_of_day=read_or(table.may("time_of_day"), _time_of_day, None),
        days=_days(table.may("days")),
    )


def _rate(value: Node, asked: Condition) -> Rate:
    table = value.table("per", "over")
    if asked.comparison is None:
        value.refuse("a rate needs a measure and a threshold for its change")
    return Rate(
        per_s=table.must("per", "a duration like 1h").duration_s(0.001),
        over_s=table.must("over", "a duration like 10min").duration_s(1.0),
    )


def _count(value: Node) -> Count:
    table = value.table("at_least", "within", "distinct")
    least_value = table.must("at_least", f"a whole number from 2 to {WINDOW_SAMPLES}")
    least = least_value.number(2, WINDOW_SAMPLES)
    if least != int(least):
        least_value.refuse(f"found {least:g}; a whole number is accepted")
    return Count(
        at_least=int(least),
        within_s=table.must("within", "a duration like 10min").duration_s(0.001),
        distinct=read_or(table.may("distinct"), Node.text, None),
    )


def _sequence(value: Node) -> Steps:
    table = value.table("steps", "within")
    steps = table.must("steps", "a list of what must come before").items()
    if len(steps) > WINDOW_SAMPLES:
        value.refuse(f"found {len(steps)} steps; at most {WINDOW_SAMPLES} are accepted")
    return Steps(
        steps=tuple(_asked(step, step.table(*_CONDITION_KEYS)) for step in steps),
        within_s=table.must("within", "a duration like 60s").duration_s(0.001),
    )


def _damping(value: Node) -> Damping:
    table = value.table("raises", "within", "clear_for")
    return Damping(
        raises=int(table.must("raises", "a whole number from 2").number(2, 1000)),
        within_s=table.must("within", "a duration like 30min").duration_s(1.0),
        clear_for_s=table.must("clear_for", "a duration like 10min").duration_s(1.0),
    )


def _exclude(value: Node) -> Exclude:
    table = value.table("permit", "works")
    found = Exclude(permit=texts(table.may("permit")), works=texts(table.may("works")))
    if not (found.permit or found.works):
        value.refuse("found nothing; permit, works or both are accepted")
    return found


def _days(value: Node | None) -> tuple[DayKind, ...]:
    if value is None:
        return ()
    if isinstance(value.node, yaml.SequenceNode):
        return tuple(item.choice(DayKind) for item in value.items())
    return (value.choice(DayKind),)


def _labels(value: Node | None) -> dict[str, tuple[str, ...]]:
    return {} if value is None else {name: texts(one) for name, one in value.table().items()}


def _threshold(
    table: TableNode, value: Node, has_measure: bool
) -> tuple[Comparison | None, float | None]:
    given = [(one, entry) for one in Comparison if (entry := table.may(one.value)) is not None]
    words = ", ".join(Comparison)
    if len(given) > 1:
        given[1][1].refuse(
            f"found both {given[0][0]} and {given[1][0]}; one of {words} is accepted"
        )
    if has_measure and not given:
        value.refuse(f"measure is given but no threshold; one of {words} is accepted")
    if given and not has_measure:
        given[0][1].refuse("a threshold needs a measure; give measure")
    if not given:
        return None, None
    return given[0][0], given[0][1].number()


def _clear_level(
    table: TableNode, value: Node, comparison: Comparison | None, threshold: float | None
) -> float | None:
    below, above = table.may("clear_below"), table.may("clear_above")
    if comparison is None or threshold is None:
        for entry in (below, above):
            if entry is not None:
                entry.refuse("a clear level needs a measure and a threshold")
        return None
    right, wrong = (below, above) if comparison.upward else (above, below)
    names = ("clear_below", "clear_above") if comparison.upward else ("clear_above", "clear_below")
    if wrong is not None:
        wrong.refuse(f"found with {comparison}; {names[0]} is accepted there")
    if right is None:
        return None
    level = right.number()
    if (level > threshold) if comparison.upward else (level < threshold):
        side = "at most" if comparison.upward else "at least"
        right.refuse(
            f"found {level:g}, but the rule raises {comparison} {threshold:g}; "
            f"{side} {threshold:g} is accepted, or it would clear while it raises"
        )
    return level


def _time_of_day(value: Node) -> TimeOfDay:
    table = value.table("from", "until")
    seconds: list[int] = []
    for name in ("from", "until"):
        entry = table.must(name, "a time like 22:00 in quotes")
        match = _DAY_TIME.fullmatch(entry.text())
        if match is None:
            entry.refuse(f"found {entry.text()!r}; a time like 22:00 in quotes is accepted")
        seconds.append(int(match[1]) * 3600 + int(match[2]) * 60)
    if seconds[0] == seconds[1]:
        value.refuse("from and until are the same; a span of the day is accepted")
    return TimeOfDay(from_s=seconds[0], until_s=seconds[1])
