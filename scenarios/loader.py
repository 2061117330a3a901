"""Scenario files: strict YAML in, typed scenarios out.

An unknown key, a wrong type, a threshold that can never clear: each is an error that names
file, line, path, what was found and what is accepted. Nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from core.errors import RuleError
from core.incidents import Severity
from scenarios.categories import category_name
from scenarios.model import (
    AlertCategory,
    AlertScope,
    AlertUrgency,
    Category,
    CategoryKind,
    Correlate,
    Corroborate,
    Deadline,
    DeadlineClock,
    Domain,
    GroupBy,
    Independent,
    Inhibit,
    PartOf,
    PublicAlert,
    Receiver,
    Route,
    Rule,
    Scenario,
    Scope,
)
from scenarios.rule_reader import read_rules
from scenarios.yaml_nodes import Node, read_or, texts, unknown_word

#: The scenarios that the platform ships.
SHIPPED_PACKS = Path(__file__).parent / "packs"

_OWN_CODE = re.compile(r"[A-Z]{2}-\d{2,3}")
_NATIONAL_CODE = re.compile(r"\d{5}")

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
    "corroborate",
    "part_of",
    "alert",
    "deadline",
    "route",
    "closes_when",
)


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
                raise RuleError(
                    f"{path}: inhibited_by.scenarios: {unknown_word(name, sorted(found))}"
                )
        if scenario.part_of is not None:
            _check_parent(path, scenario.part_of.scenario, found)
    return tuple(found[key][1] for key in sorted(found))


def _check_parent(path: Path, parent: str, found: Mapping[str, tuple[Path, Scenario]]) -> None:
    if parent not in found:
        raise RuleError(f"{path}: part_of.scenario: {unknown_word(parent, sorted(found))}")
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
    return _scenario(Node(node, file, ""))


def _scenario(value: Node) -> Scenario:
    table = value.table(*_SCENARIO_KEYS)
    both = "a mapping with zh and en"
    scenario_id = table.must("id", "a name like road-flooding").slug()
    name = table.must("name", both).words()
    domain = table.must("domain", f"one of {', '.join(Domain)}").choice(Domain)
    purpose = table.must("purpose", both).words()
    category = _category(table.must("category", "a mapping"))
    department = table.must("department", both).words()
    severity = table.must("severity", f"one of {', '.join(Severity)}").choice(Severity)
    scope = read_or(table.may("scope"), lambda one: one.choice(Scope), Scope.THING)
    rules = read_rules(table.must("rules", "a list of rules"), scenario_id)
    still = read_or(table.may("still_every"), lambda one: one.duration_s(1.0), 600.0)
    reports = read_or(table.may("accepts_reports"), Node.flag, False)
    correlate = _correlate(table.must("correlate", "a mapping"))
    deadline = _deadline(table.must("deadline", "a mapping"))
    route = read_or(table.may("route"), _route, Route())
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
        inhibited_by=read_or(
            table.may("inhibited_by"), lambda one: _inhibit(one, scenario_id), None
        ),
        corroborate=read_or(
            table.may("corroborate"), lambda one: _corroborate(one, scenario_id, rules), None
        ),
        part_of=read_or(table.may("part_of"), lambda one: _part_of(one, scenario_id), None),
        alert=read_or(table.may("alert"), _alert, None),
        deadline=deadline,
        route=route,
        closes_when=closes_when,
    )


def _category(value: Node) -> Category:
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


def _correlate(value: Node) -> Correlate:
    table = value.table("group_by", "radius_m", "within", "reopen_within")
    group_by = read_or(table.may("group_by"), lambda one: one.choice(GroupBy), GroupBy.SPOT)
    radius = table.may("radius_m")
    within = table.must("within", "a duration like 30min").duration_s()
    reopen = read_or(table.may("reopen_within"), Node.duration_s, 0.0)
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


def _inhibit(value: Node, scenario_id: str) -> Inhibit:
    table = value.table("scenarios", "radius_m")
    names = table.must("scenarios", "a scenario's id or a list of them")
    scenarios = texts(names)
    if scenario_id in scenarios:
        names.refuse("found the scenario itself; other scenarios are accepted")
    radius = table.must("radius_m", "a number from 0 to 1000").number(0.0, 1000.0)
    return Inhibit(scenarios=scenarios, radius_m=radius)


def _corroborate(value: Node, scenario_id: str, rules: tuple[Rule, ...]) -> Corroborate:
    table = value.table("at_least", "of", "radius_m", "within", "alone")
    least_value = table.must("at_least", "a whole number from 2 to 10")
    least = least_value.number(2, 10)
    if least != int(least):
        least_value.refuse(f"found {least:g}; a whole number is accepted")
    of = read_or(table.may("of"), lambda one: one.choice(Independent), Independent.SOURCES)
    alone_value = table.may("alone")
    alone = tuple(f"{scenario_id}/{name}" for name in texts(alone_value))
    known = [rule.id for rule in rules]
    if alone_value is not None and not set(alone) <= set(known):
        names = ", ".join(name.rpartition("/")[2] for name in known)
        alone_value.refuse(f"found a rule that is not one of this scenario's; accepted: {names}")
    kinds = {rule.kind for rule in rules}
    if of is Independent.KINDS and len(kinds) < least:
        least_value.refuse(
            f"found {least:g} kinds; the rules listen to {len(kinds)} "
            f"({', '.join(sorted(kinds))}), so at most {len(kinds)} is accepted"
        )
    return Corroborate(
        at_least=int(least),
        of=of,
        radius_m=table.must("radius_m", "a number from 0 to 1000").number(0.0, 1000.0),
        within_s=table.must("within", "a duration like 10min").duration_s(),
        alone=alone,
    )


def _part_of(value: Node, scenario_id: str) -> PartOf:
    table = value.table("scenario", "radius_m", "within")
    named = table.must("scenario", "a scenario's id")
    if named.text() == scenario_id:
        named.refuse("found the scenario itself; another scenario is accepted")
    return PartOf(
        scenario=named.text(),
        radius_m=table.must("radius_m", "a number from 0 to 5000").number(0.0, 5000.0),
        within_s=table.must("within", "a duration like 2h").duration_s(),
    )


def _alert(value: Node) -> PublicAlert:
    table = value.table("category", "urgency", "radius_m", "scope", "instruction")
    category = table.must("category", f"one of {', '.join(AlertCategory)}")
    urgency = table.must("urgency", f"one of {', '.join(AlertUrgency)}")
    return PublicAlert(
        category=category.choice(AlertCategory),
        urgency=urgency.choice(AlertUrgency),
        radius_m=table.must("radius_m", "a number from 1 to 50000").number(1.0, 50_000.0),
        instruction=table.must("instruction", "a mapping with zh and en").words(),
        scope=read_or(
            table.may("scope"), lambda one: one.choice(AlertScope), AlertScope.RESTRICTED
        ),
    )


def _deadline(value: Node) -> Deadline:
    table = value.table("duration", "clock")
    duration = table.must("duration", "a duration like 4h").duration_s(60.0)
    words = f"one of {', '.join(DeadlineClock)}"
    clock = table.must("clock", words).choice(DeadlineClock)
    return Deadline(duration_s=duration, clock=clock)


def _route(value: Node) -> Route:
    table = value.table("departments", "components", "receiver")
    named = table.may("departments")
    departments = () if named is None else tuple(item.text() for item in named.items())
    receiver = read_or(table.may("receiver"), lambda one: one.choice(Receiver), Receiver.WORKER)
    components = texts(table.may("components"))
    return Route(departments=departments, components=components, receiver=receiver)
