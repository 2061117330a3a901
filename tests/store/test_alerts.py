"""Public alerts are issued in the transaction of the change, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from core.errors import NotFoundError
from core.events import Edge
from core.incidents import Text
from scenarios.alerting import AlertKind, Phase
from scenarios.lifecycle import Action, Role
from scenarios.model import AlertCategory, AlertUrgency, PublicAlert
from scenarios.steps import Step
from store.cases import CaseStore


@pytest.fixture
def alerting(store_url: str, make: Any) -> Iterator[CaseStore]:
    """A store whose floods alert the public and whose manholes do not."""
    about = PublicAlert(
        category=AlertCategory.TRANSPORT,
        urgency=AlertUrgency.IMMEDIATE,
        radius_m=100.0,
        instruction=Text("绕行", "Go round"),
    )
    scenarios = [
        msgspec.structs.replace(one, alert=about) if one.id == "road-flooding" else one
        for one in make.scenarios
    ]
    with CaseStore(store_url, scenarios, make.units, make.workers, "QD") as store:
        yield store


def finish(store: CaseStore, make: Any, incident_id: str) -> None:
    for action in (Action.ACCEPT, Action.FEEDBACK, Action.CLOSE):
        role = Role.VERIFIER if action is Action.CLOSE else Role.WORKER
        actor = "worker-1" if role is Role.WORKER else "somebody"
        step = Step(
            action=action.value, actor=actor, role=role.value, at_ns=make.at(200), reason="done"
        )
        store.transition(incident_id, step)


def test_a_case_is_alerted_updated_and_ended(alerting: CaseStore, make: Any) -> None:
    [opened] = alerting.apply([make.batch(make.event())], make.at(2))
    incident_id = opened.incident.id
    for n in range(5):
        alerting.apply([make.batch(make.event(10.0 * n + 10, Edge.STILL))], make.at(10 * n + 11))
    assert len(alerting.alerts.of_incident(incident_id)) == 1
    alerting.apply([make.batch(make.event(90, Edge.CLEAR))], make.at(92))
    [current] = alerting.alerts.current(10)
    assert (current.number, current.phase) == (2, Phase.OVER)
    finish(alerting, make, incident_id)
    issued = alerting.alerts.of_incident(incident_id)
    kinds = [one.kind for one in issued]
    assert (kinds[0], kinds[-1]) == (AlertKind.ALERT, AlertKind.CANCEL)
    assert [one.number for one in issued] == list(range(1, len(issued) + 1))
    assert alerting.alerts.current(10) == []
    told = [one.sequence for one in issued]
    every = list(range(1, alerting.latest_sequence() + 1))
    assert alerting.alerts.of_lines(every) == frozenset(told)
    assert issued[0].incident.version == opened.incident.version


def test_several_changes_of_one_transaction_are_one_chain(alerting: CaseStore, make: Any) -> None:
    events = [make.event(), make.event(1, Edge.STILL), make.event(90, Edge.CLEAR)]
    [opened, *_] = alerting.apply([make.batch(*events)], make.at(92))
    issued = alerting.alerts.of_incident(opened.incident.id)
    assert [(one.number, one.phase) for one in issued] == [(1, Phase.ACTIVE), (2, Phase.OVER)]


def test_other_scenarios_issue_none(
    alerting: CaseStore, make: Any, open_store: Callable[..., CaseStore]
) -> None:
    [opened] = alerting.apply(
        [make.batch(make.event(scenario="manhole-cover", thing="m"))], make.at(2)
    )
    with pytest.raises(NotFoundError, match="no public alert was issued of it"):
        alerting.alerts.of_incident(opened.incident.id)
    assert alerting.alerts.current(10) == []
