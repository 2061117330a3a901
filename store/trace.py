"""Follows one observation from its message to what came of it, and an incident back to it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from core.errors import NotFoundError
from core.units import NS_PER_S
from scenarios.explain import describe_rule
from scenarios.model import Comparison, Rule, Scenario
from store.archive.query import ArchiveReader
from store.cases import CaseStore
from store.filters import EventFilter

#: An event names observations no older than the longest condition, a day and some.
REACH_NS = 2 * 86_400 * NS_PER_S

_HOLDS: dict[Comparison, Callable[[float, float], bool]] = {
    Comparison.AT_LEAST: operator.ge,
    Comparison.ABOVE: operator.gt,
    Comparison.AT_MOST: operator.le,
    Comparison.BELOW: operator.lt,
}

#: Observations that the trace of an incident shows.
MAX_OBSERVATIONS = 50


def trace(store: CaseStore, archive: ArchiveReader, wanted: str) -> dict[str, Any]:
    """Everything that belongs to an observation or to an incident.

    Args:
        store: Incidents and events.
        archive: Observations.
        wanted: Id of an observation, or id or case number of an incident.

    Returns:
        ``observations``, each with its MQTT topic, place in the log and what each rule of its
        kind says of it; ``events`` that they made; ``incidents`` that took these, with history
        and what others were told. ``not_archived`` are ids that the archive does not have.

    Raises:
        NotFoundError: There is nothing with this id.
    """
    try:
        incident_id = store.id_of(wanted)
    except NotFoundError:
        observation = archive.one(wanted)
        events = _events_of(store, observation)
        found = [observation]
        missing: list[str] = []
    else:
        detail = store.detail(incident_id)
        events = [msgspec.json.decode(body) for body in detail.evidence]
        found, missing = _observations_of(archive, events)
    scenarios = store.scenarios.values()
    return {
        "observations": [one | {"rules": verdicts(scenarios, one)} for one in found],
        "not_archived": missing,
        "events": events,
        "incidents": [
            _incident(store, one)
            for one in dict.fromkeys(event["incident_id"] for event in events)
            if one is not None
        ],
    }


def verdicts(scenarios: Iterable[Scenario], observation: dict[str, Any]) -> list[dict[str, Any]]:
    """What each rule of an observation's kind says of it.

    ``matched``: it meets every condition on its own measures and labels, ``nearly``: all but
    one, ``no`` otherwise. Where it had to be and for how long is in the rule's words: that is
    not for one observation to say.
    """
    found = [
        _verdict(rule, observation)
        for scenario in scenarios
        for rule in scenario.rules
        if rule.kind == observation["kind"]
    ]
    order = ("matched", "nearly", "no")
    return sorted(found, key=lambda one: (order.index(one["verdict"]), one["rule"]))


def _verdict(rule: Rule, observation: dict[str, Any]) -> dict[str, Any]:
    failed: list[dict[str, Any]] = []
    # A rate is held against a change, which one observation does not have.
    if rule.comparison is not None and rule.threshold is not None and rule.rate is None:
        name = next((one for one in rule.measures if one in observation["measures"]), None)
        got = None if name is None else observation["measures"][name]
        if got is None or not _HOLDS[rule.comparison](got, rule.threshold):
            measures = " or ".join(rule.measures)
            comparison = rule.comparison.value.replace("_", " ")
            failed.append({"wanted": f"{measures} {comparison} {rule.threshold:g}", "got": got})
    for name, texts in rule.labels.items():
        if (label := observation["labels"].get(name)) not in texts:
            failed.append({"wanted": f"{name} = {' or '.join(texts)}", "got": label})
    for name, texts in rule.unless_labels.items():
        if (label := observation["labels"].get(name)) in texts:
            failed.append({"wanted": f"{name} not {' or '.join(texts)}", "got": label})
    words = ("matched", "nearly", "no")
    return {
        "rule": rule.id,
        "verdict": words[min(len(failed), 2)],
        "failed": failed,
        "in_words": describe_rule(rule),
    }


def _events_of(store: CaseStore, observation: dict[str, Any]) -> list[dict[str, Any]]:
    """Events that name an observation, the first first."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    wanted = EventFilter(
        thing_id=observation["thing_id"],
        from_ns=observation["observed_ns"],
        to_ns=observation["observed_ns"] + REACH_NS,
    )
    while True:
        page = store.list_events(wanted, limit=1000, cursor=cursor)
        events = [msgspec.json.decode(body) for body in page.rows]
        found += [one for one in events if observation["id"] in one["observation_ids"]]
        cursor = page.next
        if cursor is None:
            return found[::-1]


def _observations_of(
    archive: ArchiveReader, events: Iterable[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Observations that events name, the first first; and those the archive does not have."""
    near = {one: event["at_ns"] for event in events for one in event["observation_ids"]}
    found, missing = [], []
    for observation_id, at_ns in list(near.items())[:MAX_OBSERVATIONS]:
        try:
            found.append(archive.one(observation_id, at_ns))
        except NotFoundError:
            missing.append(observation_id)
    return sorted(found, key=lambda one: (one["observed_ns"], one["id"])), missing


def _incident(store: CaseStore, incident_id: str) -> dict[str, Any]:
    detail = store.detail(incident_id)
    return {
        "incident": msgspec.json.decode(detail.body),
        "history": [msgspec.json.decode(body) for body in detail.history],
        "told": store.changes_of(incident_id),
    }
