"""A proposed threshold taken over into its scenario file, with who accepted it. Pure."""

from __future__ import annotations

from typing import Any

import yaml

from core.errors import RuleError
from scenarios.loader import parse_scenario
from scenarios.model import Comparison
from scenarios.quality import Proposal


def accepted(text: str, file: str, proposal: Proposal, *, actor: str, day: str) -> str:
    """The text of a scenario file with a proposal in force.

    Only the number changes, and a comment above it says what it was, since when, who accepted
    it and on what it rests; every other byte stays.

    Args:
        text: The file's.
        file: Its name, for messages.
        proposal: What was proposed.
        actor: Who accepts it.
        day: When, for the comment.

    Raises:
        RuleError: The file has no such rule, or its threshold is no longer the one that the
            proposal was made for, or the result would be refused.
    """
    scenario_id, _, name = proposal.rule.partition("/")
    scenario = parse_scenario(text, file)
    rule = next((one for one in scenario.rules if one.id == proposal.rule), None)
    if scenario.id != scenario_id or rule is None or rule.comparison is None:
        raise RuleError(f"{file}: rule {name!r} with a threshold was wanted; it has none")
    if rule.threshold != proposal.threshold:
        raise RuleError(
            f"{file}: rule {name!r}: the proposal was made for {proposal.threshold:g}, the file "
            f"says {rule.threshold:g}; look at the proposals anew"
        )
    node = _threshold_node(text, name, rule.comparison)
    lines = text.splitlines(keepends=True)
    number = node.start_mark.line
    line = lines[number]
    changed = (
        line[: node.start_mark.column] + f"{proposal.proposed:g}" + line[node.end_mark.column :]
    )
    indent = line[: len(line) - len(line.lstrip())]
    who = " ".join(actor.split())
    comment = (
        f"{indent}# {proposal.threshold:g} until {day}; {who} accepted {proposal.proposed:g}: it "
        f"avoids {proposal.false_avoided} of {proposal.false} false alarms and loses "
        f"{proposal.real_lost} of {proposal.real} real ones.\n"
    )
    result = "".join([*lines[:number], comment, changed, *lines[number + 1 :]])
    parse_scenario(result, file)
    return result


def _threshold_node(text: str, rule: str, comparison: Comparison) -> Any:
    """The number in a file that :func:`parse_scenario` has accepted."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for one in _entry(root, "rules").value:
        if _entry(one, "id").value == rule:
            return _entry(_entry(one, "when"), comparison.value)
    raise ValueError(rule)


def _entry(node: Any, name: str) -> Any:
    return next(value for key, value in node.value if key.value == name)
