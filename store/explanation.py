"""The whole explanation of a case: why it is one and why theirs, and why not of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from core.city import Unit, Worker
from core.errors import NotFoundError
from core.incidents import Incident, Text
from scenarios.model import Scenario
from scenarios.routing import Assignment, Considered, considered
from store.archive.query import ArchiveReader
from store.cases import CaseStore
from store.trace import verdicts

#: Observations that are looked up; the first evidence names few.
MAX_OBSERVATIONS = 8


def explanation(
    store: CaseStore,
    archive: ArchiveReader | None,
    incident_id: str,
    units: Sequence[Unit],
    workers: Sequence[Worker],
) -> dict[str, Any]:
    """Why a case is one, whose it is, and why the other rules and receivers were not chosen.

    Args:
        store: Cases.
        archive: Observations; without one, other rules cannot be held against them.
        incident_id: Which.
        units: The city's units.
        workers: The city's grid workers.

    Returns:
        ``explanation`` as the task carries it; ``receivers_not_chosen``, each with why not;
        ``rules_not_met``: what each other rule of the same kind of observation says of those
        that raised the case, with the conditions that failed. Where all of a rule's own
        conditions hold, only place, hours or duration is left to have failed.

    Raises:
        NotFoundError: There is no such incident.
    """
    detail = store.detail(incident_id)
    words = [msgspec.json.decode(body) for body in detail.evidence]
    spoke = {word["rule"] for word in words}
    rules = [] if archive is None else _rules(store, archive, words, spoke)
    scenario = store.scenarios.get(detail.incident.scenario)
    return {
        "incident_id": detail.incident.id,
        "case_number": detail.incident.case_number,
        "explanation": detail.incident.explanation,
        "rules_met": sorted(spoke),
        "rules_not_met": rules,
        "receivers_not_chosen": receivers_not_chosen(detail.incident, scenario, units, workers),
    }


def receivers_not_chosen(
    incident: Incident, scenario: Scenario | None, units: Sequence[Unit], workers: Sequence[Worker]
) -> list[Considered]:
    """Who else might have been expected to get a case, and why they did not."""
    if scenario is None or incident.unit_id is None:
        return []
    chosen = Assignment(
        unit_id=incident.unit_id,
        unit_name=incident.unit_name or "",
        worker_id=incident.worker_id,
        reason=Text("", ""),
    )
    return considered(incident.place, scenario, units, workers, chosen)


def _rules(
    store: CaseStore, archive: ArchiveReader, words: Sequence[dict[str, Any]], spoke: set[str]
) -> list[dict[str, Any]]:
    """What the rules that did not speak say of the observations of the first word."""
    found: dict[str, dict[str, Any]] = {}
    for word in words[:1]:
        for observation_id in word["observation_ids"][:MAX_OBSERVATIONS]:
            try:
                observation = archive.one(observation_id, word["at_ns"])
            except NotFoundError:  # evicted, or not archived yet
                continue
            for one in verdicts(store.scenarios.values(), observation):
                if one["rule"] not in spoke:
                    found.setdefault(one["rule"], one | {"observation_id": observation_id})
    return list(found.values())
