"""Cases that are part of another: named when they open, and again when more is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.events import Place
from core.incidents import OPEN_STATUSES, HistoryEntry, Incident, Text
from scenarios.grouping import NOT_TAKEN, explain_parent, parent_of, together_with
from scenarios.model import Scenario
from scenarios.routing import Assignment
from store.case import SYSTEM, Case
from store.casebook import CaseBook
from store.changes import ChangeKind, NewLines
from store.workload import Workload


class Parts:
    """Finds parents of cases and parts of parents inside a transaction.

    Args:
        scenarios: By id.
        book: The cases in hand.
        lines: Told of what is grouped anew.
        workload: For what no longer goes with its parent.
    """

    def __init__(
        self,
        scenarios: Mapping[str, Scenario],
        book: CaseBook,
        lines: NewLines,
        workload: Workload,
    ) -> None:
        self._scenarios = scenarios
        self._book = book
        self._lines = lines
        self._workload = workload

    def parent(self, place: Place, began_ns: int, scenario: Scenario) -> Case | None:
        """The open case that a case of this scenario, here and then, is part of."""
        part_of = scenario.part_of
        if part_of is None:
            return None
        near = self._book.open_near(part_of.scenario, place, part_of.radius_m)
        found = parent_of(place, began_ns, part_of, [case.as_candidate() for case in near])
        return None if found is None else self._book[found.incident_id]

    def _open_parent(self, incident: Incident) -> Case | None:
        """The parent that a case names, while that is open."""
        parent = None if incident.parent_id is None else self._book.find(incident.parent_id)
        return parent if parent and parent.incident.status in OPEN_STATUSES else None

    def regroup_parts(self, parent: Case, logged_ns: int) -> None:
        """Let a case that is new, or known better now, have the parts that it has."""
        own = parent.incident
        for scenario in self._scenarios.values():
            if scenario.part_of is None or scenario.part_of.scenario != own.scenario:
                continue
            radius_m = scenario.part_of.radius_m
            for case in self._book.could_be_parts(own, scenario.id, radius_m):
                self.regroup(case, scenario, logged_ns)

    def regroup(self, case: Case, scenario: Scenario, logged_ns: int) -> None:
        """Let a case name the parent that it has by now, and go where that is handled.

        Whoever works on it already goes on; a parent that is closed stays its parent.
        """
        before = case.incident
        if scenario.part_of is None or before.status not in OPEN_STATUSES:
            return
        parent = self.parent(before.place, before.began_ns, scenario)
        former = self._open_parent(before)
        if parent is former:
            return
        chosen: Assignment | None = None
        if before.status in NOT_TAKEN:
            chosen = None if parent is None else together_with(parent.incident)
            own = former is None or former.incident.worker_id != before.worker_id
            if chosen is not None and own and before.worker_id is not None:
                self._workload.give_back(before.worker_id)
            elif chosen is None and not own:
                chosen = self._workload.assign(before.place, scenario, logged_ns)
        if parent is None:
            reason = Text("不再属于上级案件", "it is part of no other case any more")
        else:
            together = chosen is not None and chosen.unit_id == parent.incident.unit_id
            reason = explain_parent(parent.incident, together=together)
        changes: dict[str, Any] = {
            "parent_id": None if parent is None else parent.incident.id,
            "explanation": Text(
                f"{before.explanation.zh}\n后来：{reason.zh}。",
                f"{before.explanation.en}\nSince then: {reason.en}.",
            ),
            "updated_ns": max(before.updated_ns, logged_ns),
        }
        if chosen is not None:
            changes |= chosen.changes
        case.change(**changes)
        case.record(
            HistoryEntry(
                at_ns=logged_ns,
                actor=SYSTEM,
                action="group",
                from_status=before.status,
                to_status=before.status,
                reason=reason.zh,
            )
        )
        self._lines.tell(case, ChangeKind.GROUPED, logged_ns)
