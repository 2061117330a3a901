"""Scenario files: strict YAML in, typed scenarios out.

An unknown key, a wrong type, a threshold that can never clear: each is an error that names
file, line, path, what was found and what is accepted. Nothing is guessed.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import NoReturn, TypeVar

import msgspec
import yaml

from core.errors import InputError, RuleError
from core.exclusions import EXCLUSION_KIND
from core.incidents import Severity, Text
from core.units import parse_duration_s
from scenarios.categories import category_name
from scenarios.kernels import WINDOW_SAMPLES
from scenarios.model import (
    REPORT_RULE,
    Category,
    CategoryKind,
    Comparison,
    Condition,
    Correlate,
    Count,
    Damping,
    DayKind,
    Deadline,
    DeadlineClock,
    Domain,
    Exclude,
    GroupBy,
    Inhibit,
    PartOf,
    Rate,
    Receiver,
    Route,
    Rule,
    Scenario,
    Scope,
    Steps,
    TimeOfDay,
)

#: The scenarios that the platform ships.
SHIPPED_PACKS = Path(__file__).parent / "packs"

_SLUG = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_OWN_CODE = re.compile(r"[A-Z]{2}-\d{2,3}")
_NATIONAL_CODE = re.compile(r"\d{5}")
_DAY_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")

_SCENARIO_KEYS = (
    "id",
    "name",
    "domain",
    "purpose",
    "category",
    "department",
    "severity",
    "scope",
    "rules",
    "still_every",
    "accepts_reports",
    "correlate",
    "inhibited_by",
    "part_of",
    "deadline",
    "route",
    "closes_when",
)
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

_Chosen = TypeVar("_Chosen", bound=StrEnum)
_Item = TypeVar("_Item")


def load_packs(folder: Path | None = None) -> tuple[Scenario, ...]:
    """Read every ``*.yaml`` of a folder, sorted by scenario id.

    Args:
        folder: Where they are; the shipped ones when None.

    Raises:
        RuleError: A file is refused, two have the same id, or there is none.

    Example:
        >>> [scenario.id for scenario in load_packs()][:2]
        ['airspace-intrusion', 'bare-soil']
    """
    where = SHIPPED_PACKS if folder is None else folder
    paths = sorted(where.glob("*.yaml"))
    if not paths:
        raise RuleError(f"{where}: no scenario file (*.yaml) was found; name a folder with some")
    found: dict[str, tuple[Path, Scenario]] = {}
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise RuleError(f"{path}: cannot be read as UTF-8 text: {exc}") from exc
        scenario = parse_scenario(text, str(path))
        if scenario.id in found:
            raise RuleError(
                f"{path}: id: {scenario.id!r} is taken by {found[scenario.id][0]}; "
                "every scenario needs its own"
            )
        found[scenario.id] = (path, scenario)
    for path, scenario in found.values():
        for name in scenario.inhibited_by.scenarios if scenario.inhibited_by else ():
            if name not in found:
                raise RuleError(f"{path}: inhibited_by.scenarios: {_unknown(name, sorted(found))}")
        if scenario.part_of is not None:
            _check_parent(path, scenario.part_of.scenario, found)
    return tuple(found[key][1] for key in sorted(found))


def _check_parent(path: Path, parent: str, found: Mapping[str, tuple[Path, Scenario]]) -> None:
    if parent not in found:
        raise RuleError(f"{path}: part_of.scenario: {_unknown(parent, sorted(found))}")
    further = found[parent][1].part_of
    if further is not None:
        raise RuleError(
            f"{path}: part_of.scenario: {parent!r} is itself part of {further.scenario!r}; "
            "a scenario that is part of no other is accepted"
        )


def parse_scenario(text: str, file: str) -> Scenario:
    """Read one scenario.

    Args:
        text: YAML of one scenario.
        file: Its name, for messages.

    Raises:
        RuleError: It is not a scenario; says file, line, path, what was found and accepted.

    Example:
        >>> parse_scenario("id: wet", "x.yaml")
        Traceback (most recent call last):
        ...
        core.errors.RuleError: x.yaml:1: name: is missing; a mapping with zh and en is accepted
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        raise RuleError(f"{file}:{line}: not YAML: {exc.problem}") from exc
    except (yaml.YAMLError, RecursionError) as exc:
        raise RuleError(f"{file}:1: not YAML: {exc}") from exc
    if node is None:
        raise RuleError(f"{file}:1: the file is empty; a scenario is accepted")
    return _scenario(_Value(node, file, ""))


class _Value:
    """A YAML node that knows where it is."""

    def __init__(self, node: yaml.Node, file: str, path: str) -> None:
        self.node = node
        self.file = file
        self.path = path

    def refuse(self, found: str) -> NoReturn:
        """Raise with file, line and path."""
        where = f"{self.file}:{self.node.start_mark.line + 1}"
        raise RuleError(f"{where}: {self.path + ': ' if self.path else ''}{found}")

    def _is(self, what: str) -> str:
        tag = self.node.tag.rpartition(":")[2]
        names = {"map": "a mapping", "seq": "a list", "str": "text", "null": "nothing"}
        shown = names.get(tag, tag)
        if isinstance(self.node, yaml.ScalarNode) and tag != "null":
            shown = f"{self.node.value!r} ({shown})"
        return f"found {shown}; {what} is accepted"

    def table(self, *accepted: str) -> _Table:
        """As a mapping with these keys, or with any if none is named."""
        if not isinstance(self.node, yaml.MappingNode):
            self.refuse(self._is("a mapping"))
        return _Table(self, self.node, accepted)

    def items(self) -> list[_Value]:
        """As a list of at least one."""
        if not isinstance(self.node, yaml.SequenceNode):
            self.refuse(self._is("a list of at least one"))
        if not self.node.value:
            self.refuse("found an empty list; a list of at least one is accepted")
        return [
            _Value(node, self.file, f"{self.path}[{position}]")
            for position, node in enumerate(self.node.value)
        ]

    def text(self) -> str:
        """As non-empty text; a number must be quoted, for YAML reads 01004 as octal."""
        if not isinstance(self.node, yaml.ScalarNode) or not self.node.tag.endswith(":str"):
            quoted = isinstance(self.node, yaml.ScalarNode) and bool(self.node.value)
            self.refuse(self._is("text" + (" (put it in quotes)" if quoted else "")))
        if not self.node.value.strip():
            self.refuse("found empty text; some words are accepted")
        return str(self.node.value).strip()

    def slug(self) -> str:
        """As a name in small letters, digits and single hyphens."""
        text = self.text()
        if not _SLUG.fullmatch(text):
            self.refuse(f"found {text!r}; small letters, digits and single hyphens are accepted")
        return text

    def flag(self) -> bool:
        """As true or false."""
        if not isinstance(self.node, yaml.ScalarNode) or not self.node.tag.endswith(":bool"):
            self.refuse(self._is("true or false"))
        return str(self.node.value).lower() in {"true", "yes", "on"}

    def number(self, low: float = -math.inf, high: float = math.inf) -> float:
        """As a finite number within bounds."""
        span = "" if low == -math.inf else f" from {low:g}"
        span += "" if high == math.inf else f" to {high:g}"
        if not isinstance(self.node, yaml.ScalarNode) or not self.node.tag.endswith(
            (":int", ":float")
        ):
            self.refuse(self._is(f"a number{span}"))
        try:
            number = float(self.node.value.replace("_", ""))
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or not low <= number <= high:
            self.refuse(f"found {self.node.value}; a finite decimal number{span} is accepted")
        return number

    def duration_s(self, least_s: float = 0.0) -> float:
        """As a duration with a unit."""
        if not isinstance(self.node, yaml.ScalarNode):
            self.refuse(self._is("a duration like 60s or 3min"))
        try:
            seconds = parse_duration_s(self.node.value)
        except InputError:
            self.refuse(f"found {self.node.value!r}; a duration like 60s or 3min is accepted")
        if seconds < least_s:
            self.refuse(f"found {self.node.value!r}; at least {least_s:g}s is accepted")
        return seconds

    def choice(self, among: type[_Chosen]) -> _Chosen:
        """As one of an enumeration's words."""
        text = self.text()
        try:
            return among(text)
        except ValueError:
            self.refuse(_unknown(text, [one.value for one in among]))

    def words(self) -> Text:
        """As a text in both languages."""
        table = self.table("zh", "en")
        return Text(table.must("zh", "text").text(), table.must("en", "text").text())


class _Table:
    """A mapping whose keys are checked before any value is read."""

    def __init__(self, value: _Value, node: yaml.MappingNode, accepted: tuple[str, ...]) -> None:
        self._value = value
        self._values: dict[str, _Value] = {}
        for key_node, value_node in node.value:
            name = _Value(key_node, value.file, value.path).text()
            path = f"{value.path}.{name}" if value.path else name
            if accepted and name not in accepted:
                hint = _unknown(name, accepted)
                _Value(key_node, value.file, path).refuse(f"unknown key; {hint}")
            if name in self._values:
                _Value(key_node, value.file, path).refuse("is given twice; once is accepted")
            self._values[name] = _Value(value_node, value.file, path)

    def may(self, name: str) -> _Value | None:
        """A key's value, or None where it is absent."""
        return self._values.get(name)

    def must(self, name: str, accepted: str) -> _Value:
        """A key's value; refuses where it is absent."""
        value = self._values.get(name)
        if value is None:
            path = f"{self._value.path}.{name}" if self._value.path else name
            missing = _Value(self._value.node, self._value.file, path)
            missing.refuse(f"is missing; {accepted} is accepted")
        return value

    def items(self) -> list[tuple[str, _Value]]:
        """Keys and values in the order of the file."""
        return list(self._values.items())


def _unknown(found: str, accepted: Iterable[str]) -> str:
    names = list(dict.fromkeys(accepted))
    near = difflib.get_close_matches(found, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"found {found!r}; accepted: {', '.join(names)}{hint}"


def _or(value: _Value | None, read: Callable[[_Value], _Item], default: _Item) -> _Item:
    return default if value is None else read(value)


def _scenario(value: _Value) -> Scenario:
    table = value.table(*_SCENARIO_KEYS)
    both = "a mapping with zh and en"
    scenario_id = table.must("id", "a name like road-flooding").slug()
    name = table.must("name", both).words()
    domain = table.must("domain", f"one of {', '.join(Domain)}").choice(Domain)
    purpose = table.must("purpose", both).words()
    category = _category(table.must("category", "a mapping"))
    department = table.must("department", both).words()
    severity = table.must("severity", f"one of {', '.join(Severity)}").choice(Severity)
    scope = _or(table.may("scope"), lambda one: one.choice(Scope), Scope.THING)
    rules = _rules(table.must("rules", "a list of rules"), scenario_id)
    still = _or(table.may("still_every"), lambda one: one.duration_s(1.0), 600.0)
    reports = _or(table.may("accepts_reports"), _Value.flag, False)
    correlate = _correlate(table.must("correlate", "a mapping"))
    deadline = _deadline(table.must("deadline", "a mapping"))
    route = _or(table.may("route"), _route, Route())
    closes_when = table.must("closes_when", both).words()
    return Scenario(
        id=scenario_id,
        name=name,
        domain=domain,
        purpose=purpose,
        category=category,
        department=department,
        severity=severity,
        scope=scope,
        rules=rules,
        still_every_s=still,
        accepts_reports=reports,
        correlate=correlate,
        inhibited_by=_or(table.may("inhibited_by"), lambda one: _inhibit(one, scenario_id), None),
        part_of=_or(table.may("part_of"), lambda one: _part_of(one, scenario_id), None),
        deadline=deadline,
        route=route,
        closes_when=closes_when,
    )


def _category(value: _Value) -> Category:
    table = value.table("system", "kind", "code", "name")
    system = table.must("system", "the name of a code list").text()
    kind = table.must("kind", f"one of {', '.join(CategoryKind)}").choice(CategoryKind)
    code_value = table.must("code", "a category code in quotes")
    code = code_value.text()
    name = table.must("name", "a mapping with zh and en").words()
    if kind is CategoryKind.OWN:
        if not _OWN_CODE.fullmatch(code):
            code_value.refuse(f"found {code!r}; a code of our own like LA-01 is accepted")
    elif not _NATIONAL_CODE.fullmatch(code):
        code_value.refuse(f"found {code!r}; five digits in quotes are accepted")
    elif category_name(kind, code) is None:
        code_value.refuse(
            f"found {code!r}; a code of {kind.value} in GB/T 47678.5 is accepted, see "
            "scenarios/categories.py"
        )
    return Category(system=system, kind=kind, code=code, name=name)


def _rules(value: _Value, scenario_id: str) -> tuple[Rule, ...]:
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
        confidence = _or(table.may("confidence"), lambda one: one.number(0.0, 1.0), 1.0)
        rules[name] = _condition(when, f"{scenario_id}/{name}", confidence)
    return tuple(rules.values())


def _condition(value: _Value, rule_id: str, confidence: float) -> Rule:
    table = value.table(*_RULE_KEYS)
    asked = _asked(value, table)
    given = [name for name in _FORMS if table.may(name) is not None]
    if len(given) > 1:
        table.must(given[1], "").refuse(
            f"found with {given[0]}; one of {', '.join(_FORMS)} is accepted"
        )
    rate = _or(table.may("rate"), lambda one: _rate(one, asked), None)
    count = _or(table.may("count"), _count, None)
    sequence = _or(table.may("sequence"), _sequence, None)
    absent_s = _or(table.may("absent"), lambda one: one.duration_s(1.0), 0.0)
    for_value = table.may("for")
    if for_value is not None and given and given[0] != "rate":
        for_value.refuse(f"found with {given[0]}, which says itself how long; leave for out")
    for_s = absent_s or _or(for_value, _Value.duration_s, 0.0)
    clear_for_s = _or(table.may("clear_for"), _Value.duration_s, 0.0)
    confirm = _or(table.may("confirm"), _Value.flag, False)
    damping = _or(table.may("damping"), _damping, None)
    exclude = _or(table.may("exclude"), _exclude, None)
    gone_value = table.may("gone_after")
    window_s = count.within_s if count else sequence.within_s if sequence else 0.0
    gone_after_s = _or(gone_value, lambda one: one.duration_s(1.0), window_s or 7 * 86400.0)
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


def _asked(value: _Value, table: _Table) -> Condition:
    """What one observation is asked; the keys have been checked."""
    kind_value = table.must("kind", "a kind of observation")
    kind = kind_value.text()
    if kind == EXCLUSION_KIND:
        kind_value.refuse("records are no observations to raise on; see exclude")
    if kind == REPORT_RULE:
        kind_value.refuse("citizens' reports need no rule; set accepts_reports: true")
    measures = _texts(table.may("measure"))
    comparison, threshold = _threshold(table, value, bool(measures))
    labels = _labels(table.may("labels"))
    in_zone = _texts(table.may("in_zone"))
    in_airspace = _or(table.may("in_airspace"), _Value.text, None)
    registered = _or(table.may("registered"), _Value.flag, None)
    unless_value = table.may("unless")
    unless_labels: dict[str, tuple[str, ...]] = {}
    unless_in_zone: tuple[str, ...] = ()
    if unless_value is not None:
        unless = unless_value.table("labels", "in_zone")
        unless_labels = _labels(unless.may("labels"))
        unless_in_zone = _texts(unless.may("in_zone"))
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
        time_of_day=_or(table.may("time_of_day"), _time_of_day, None),
        days=_days(table.may("days")),
    )


def _rate(value: _Value, asked: Condition) -> Rate:
    table = value.table("per", "over")
    if asked.comparison is None:
        value.refuse("a rate needs a measure and a threshold for its change")
    return Rate(
        per_s=table.must("per", "a duration like 1h").duration_s(0.001),
        over_s=table.must("over", "a duration like 10min").duration_s(1.0),
    )


def _count(value: _Value) -> Count:
    table = value.table("at_least", "within", "distinct")
    least_value = table.must("at_least", f"a whole number from 2 to {WINDOW_SAMPLES}")
    least = least_value.number(2, WINDOW_SAMPLES)
    if least != int(least):
        least_value.refuse(f"found {least:g}; a whole number is accepted")
    return Count(
        at_least=int(least),
        within_s=table.must("within", "a duration like 10min").duration_s(0.001),
        distinct=_or(table.may("distinct"), _Value.text, None),
    )


def _sequence(value: _Value) -> Steps:
    table = value.table("steps", "within")
    steps = table.must("steps", "a list of what must come before").items()
    if len(steps) > WINDOW_SAMPLES:
        value.refuse(f"found {len(steps)} steps; at most {WINDOW_SAMPLES} are accepted")
    return Steps(
        steps=tuple(_asked(step, step.table(*_CONDITION_KEYS)) for step in steps),
        within_s=table.must("within", "a duration like 60s").duration_s(0.001),
    )


def _damping(value: _Value) -> Damping:
    table = value.table("raises", "within", "clear_for")
    return Damping(
        raises=int(table.must("raises", "a whole number from 2").number(2, 1000)),
        within_s=table.must("within", "a duration like 30min").duration_s(1.0),
        clear_for_s=table.must("clear_for", "a duration like 10min").duration_s(1.0),
    )


def _exclude(value: _Value) -> Exclude:
    table = value.table("permit", "works")
    found = Exclude(permit=_texts(table.may("permit")), works=_texts(table.may("works")))
    if not (found.permit or found.works):
        value.refuse("found nothing; permit, works or both are accepted")
    return found


def _texts(value: _Value | None) -> tuple[str, ...]:
    """One text or a list of them; none where the key is absent."""
    if value is None:
        return ()
    if isinstance(value.node, yaml.SequenceNode):
        return tuple(item.text() for item in value.items())
    return (value.text(),)


def _days(value: _Value | None) -> tuple[DayKind, ...]:
    if value is None:
        return ()
    if isinstance(value.node, yaml.SequenceNode):
        return tuple(item.choice(DayKind) for item in value.items())
    return (value.choice(DayKind),)


def _labels(value: _Value | None) -> dict[str, tuple[str, ...]]:
    return {} if value is None else {name: _texts(texts) for name, texts in value.table().items()}


def _threshold(
    table: _Table, value: _Value, has_measure: bool
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
    table: _Table, value: _Value, comparison: Comparison | None, threshold: float | None
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


def _time_of_day(value: _Value) -> TimeOfDay:
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


def _correlate(value: _Value) -> Correlate:
    table = value.table("group_by", "radius_m", "within", "reopen_within")
    group_by = _or(table.may("group_by"), lambda one: one.choice(GroupBy), GroupBy.SPOT)
    radius = table.may("radius_m")
    within = table.must("within", "a duration like 30min").duration_s()
    reopen = _or(table.may("reopen_within"), _Value.duration_s, 0.0)
    if group_by is GroupBy.THING:
        if radius is not None:
            radius.refuse("group_by thing goes by the thing, wherever it is; leave radius_m out")
        return Correlate(group_by=group_by, within_s=within, reopen_within_s=reopen)
    if radius is None:
        value.refuse(f"group_by {group_by} needs radius_m, a number from 0 to 1000")
    return Correlate(
        group_by=group_by,
        radius_m=radius.number(0.0, 1000.0),
        within_s=within,
        reopen_within_s=reopen,
    )


def _inhibit(value: _Value, scenario_id: str) -> Inhibit:
    table = value.table("scenarios", "radius_m")
    names = table.must("scenarios", "a scenario's id or a list of them")
    scenarios = _texts(names)
    if scenario_id in scenarios:
        names.refuse("found the scenario itself; other scenarios are accepted")
    radius = table.must("radius_m", "a number from 0 to 1000").number(0.0, 1000.0)
    return Inhibit(scenarios=scenarios, radius_m=radius)


def _part_of(value: _Value, scenario_id: str) -> PartOf:
    table = value.table("scenario", "radius_m", "within")
    named = table.must("scenario", "a scenario's id")
    if named.text() == scenario_id:
        named.refuse("found the scenario itself; another scenario is accepted")
    return PartOf(
        scenario=named.text(),
        radius_m=table.must("radius_m", "a number from 0 to 5000").number(0.0, 5000.0),
        within_s=table.must("within", "a duration like 2h").duration_s(),
    )


def _deadline(value: _Value) -> Deadline:
    table = value.table("duration", "clock")
    duration = table.must("duration", "a duration like 4h").duration_s(60.0)
    words = f"one of {', '.join(DeadlineClock)}"
    clock = table.must("clock", words).choice(DeadlineClock)
    return Deadline(duration_s=duration, clock=clock)


def _route(value: _Value) -> Route:
    table = value.table("departments", "receiver")
    named = table.may("departments")
    departments = () if named is None else tuple(item.text() for item in named.items())
    receiver = _or(table.may("receiver"), lambda one: one.choice(Receiver), Receiver.WORKER)
    return Route(departments=departments, receiver=receiver)
