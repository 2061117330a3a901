"""The rules as arrays: what the kernels read. Built once from the typed rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.units import seconds_to_ns
from scenarios.model import Comparison, Condition, Rule, Scenario

I8 = NDArray[np.int8]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

#: How a rule is met.
PLAIN, RATE, COUNT, SEQUENCE, ABSENT = range(5)
#: How a measure is held against its threshold; 0 is not at all.
_OPERATORS = {
    None: 0,
    Comparison.AT_LEAST: 1,
    Comparison.ABOVE: 2,
    Comparison.AT_MOST: 3,
    Comparison.BELOW: 4,
}


class RuleTable(NamedTuple):
    """Columns of conditions (``c_``), rules (``r_``) and the rules by kind (``k_``).

    A condition's measures are ``measures[c_m0:c_m1]`` and its tests ``tests[c_t0:c_t1]``, both
    numbers of columns; the rules that a kind concerns are ``k_rules[k0:k1]``.
    """

    c_kind: I32
    c_op: I8
    c_threshold: F64
    c_clear: F64
    c_m0: I32
    c_m1: I32
    c_t0: I32
    c_t1: I32
    measures: I32
    tests: I32
    r_form: I8
    r_cond: I32
    r_step0: I32
    r_step1: I32
    r_for_ns: I64
    r_clear_for_ns: I64
    r_gone_ns: I64
    r_still_ns: I64
    r_confirm: I8
    r_window_ns: I64
    r_per_ns: F64
    r_need: I32
    r_distinct: I32
    r_damp_raises: I32
    r_damp_within_ns: I64
    r_damp_clear_ns: I64
    k0: I32
    k1: I32
    k_rules: I32


class Test(NamedTuple):
    """A yes-or-no question to a row; equal ones are asked once a batch, however many ask."""

    what: str
    argument: tuple[str, ...]


class CompiledRules(NamedTuple):
    """The table, and what its numbers of columns and kinds mean."""

    table: RuleTable
    rules: tuple[Rule, ...]
    scenarios: tuple[Scenario, ...]
    kinds: dict[str, int]
    measures: tuple[str, ...]
    tests: tuple[Test, ...]
    distinct: tuple[str, ...]


def tests_of(condition: Condition) -> list[Test]:
    """The tests of a condition, apart from its threshold."""
    found = [Test("label", (name, *texts)) for name, texts in condition.labels.items()]
    found += [
        Test("unless_label", (name, *texts)) for name, texts in condition.unless_labels.items()
    ]
    if condition.in_zone:
        found.append(Test("zone", condition.in_zone))
    if condition.unless_in_zone:
        found.append(Test("unless_zone", condition.unless_in_zone))
    if condition.in_airspace is not None:
        found.append(Test("airspace", (condition.in_airspace,)))
    if condition.registered is not None:
        found.append(Test("registered" if condition.registered else "unregistered", ()))
    if condition.time_of_day is not None:
        span = condition.time_of_day
        found.append(Test("time_of_day", (str(span.from_s), str(span.until_s))))
    if condition.days:
        found.append(Test("days", tuple(sorted(condition.days))))
    return found


def compile_rules(scenarios: Iterable[Scenario]) -> CompiledRules:
    """Turn the rules of scenarios, ordered by scenario id, into columns."""
    pairs = [
        (scenario, rule)
        for scenario in sorted(scenarios, key=lambda one: one.id)
        for rule in scenario.rules
    ]
    kinds: dict[str, int] = {}
    measures: dict[str, int] = {}
    tests: dict[Test, int] = {}
    distinct: dict[str, int] = {}
    conditions: list[tuple[Condition, list[int], list[int]]] = []

    def add(condition: Condition) -> int:
        kinds.setdefault(condition.kind, len(kinds))
        conditions.append(
            (
                condition,
                [measures.setdefault(name, len(measures)) for name in condition.measures],
                [tests.setdefault(test, len(tests)) for test in tests_of(condition)],
            )
        )
        return len(conditions) - 1

    main: list[int] = []
    steps: list[tuple[int, int]] = []
    for _, rule in pairs:
        main.append(add(rule))
        first = len(conditions)
        for step in rule.sequence.steps if rule.sequence else ():
            add(step)
        steps.append((first, len(conditions)))
    rules = [rule for _, rule in pairs]
    listeners: list[list[int]] = [[] for _ in kinds]
    for number, rule in enumerate(rules):
        parts = (rule, *(rule.sequence.steps if rule.sequence else ()))
        for kind in dict.fromkeys(part.kind for part in parts):
            listeners[kinds[kind]].append(number)
    m0, m1, flat_measures = _ranges([used for _, used, _ in conditions])
    t0, t1, flat_tests = _ranges([used for _, _, used in conditions])
    k0, k1, k_rules = _ranges(listeners)
    whole = [one for one, _, _ in conditions]
    table = RuleTable(
        c_kind=_i32([kinds[one.kind] for one in whole]),
        c_op=np.array([_OPERATORS[one.comparison] for one in whole], np.int8),
        c_threshold=_f64([one.threshold for one in whole]),
        c_clear=_f64([one.clear_level for one in whole]),
        c_m0=m0,
        c_m1=m1,
        c_t0=t0,
        c_t1=t1,
        measures=flat_measures,
        tests=flat_tests,
        r_form=np.array([_form(rule) for rule in rules], np.int8),
        r_cond=_i32(main),
        r_step0=_i32([first for first, _ in steps]),
        r_step1=_i32([last for _, last in steps]),
        r_for_ns=_ns([rule.for_s for rule in rules]),
        r_clear_for_ns=_ns([rule.clear_for_s for rule in rules]),
        r_gone_ns=_ns([rule.gone_after_s for rule in rules]),
        r_still_ns=_ns([scenario.still_every_s for scenario, _ in pairs]),
        r_confirm=np.array([rule.confirm for rule in rules], np.int8),
        r_window_ns=_ns([_window_s(rule) for rule in rules]),
        r_per_ns=_f64([rule.rate.per_s * 1e9 if rule.rate else 1.0 for rule in rules]),
        r_need=_i32([rule.count.at_least if rule.count else 0 for rule in rules]),
        r_distinct=_i32(
            [
                distinct.setdefault(rule.count.distinct, len(distinct))
                if rule.count and rule.count.distinct
                else -1
                for rule in rules
            ]
        ),
        r_damp_raises=_i32([rule.damping.raises if rule.damping else 0 for rule in rules]),
        r_damp_within_ns=_ns([rule.damping.within_s if rule.damping else 0 for rule in rules]),
        r_damp_clear_ns=_ns([rule.damping.clear_for_s if rule.damping else 0 for rule in rules]),
        k0=k0,
        k1=k1,
        k_rules=k_rules,
    )
    return CompiledRules(
        table,
        tuple(rules),
        tuple(scenario for scenario, _ in pairs),
        kinds,
        tuple(measures),
        tuple(tests),
        tuple(distinct),
    )


def _form(rule: Rule) -> int:
    if rule.rate is not None:
        return RATE
    if rule.count is not None:
        return COUNT
    if rule.sequence is not None:
        return SEQUENCE
    return ABSENT if rule.absent else PLAIN


def _window_s(rule: Rule) -> float:
    if rule.rate is not None:
        return rule.rate.over_s
    if rule.count is not None:
        return rule.count.within_s
    return rule.sequence.within_s if rule.sequence is not None else 0.0


def _ranges(lists: Sequence[Sequence[int]]) -> tuple[I32, I32, I32]:
    """Begin and end of each list in all of them joined."""
    lengths = np.array([len(one) for one in lists], np.int32)
    ends = np.cumsum(lengths).astype(np.int32)
    return ends - lengths, ends, _i32([number for one in lists for number in one])


def _i32(values: Sequence[int]) -> I32:
    return np.array(values, np.int32)


def _ns(seconds: Sequence[float]) -> I64:
    return np.array([seconds_to_ns(one) for one in seconds], np.int64)


def _f64(values: Sequence[float | None]) -> F64:
    return np.array([np.nan if one is None else one for one in values], np.float64)
