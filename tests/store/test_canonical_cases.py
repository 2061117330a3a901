"""A store's cases in canonical form: every page, with evidence; people change nothing."""

from __future__ import annotations

import json
from typing import Any

from core.events import Edge
from scenarios.steps import Step
from store import canonical
from store.canonical import canonical_cases
from store.cases import CaseStore


def test_every_page_with_its_evidence(store: CaseStore, make: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(canonical, "_PAGE", 2)
    assert canonical_cases(store) == b""
    name = make.scenarios[0].id
    for n in range(5):
        raised = make.event(n * 10.0, scenario=name, thing=f"t-{n}", lon=120.38 + n / 100)
        store.apply([make.batch(raised)], 0)
    before = canonical_cases(store)
    assert [len(json.loads(line)["evidence"]) for line in before.splitlines()] == [1] * 5
    wanted = json.loads(before.splitlines()[0])["id"]
    store.transition(wanted, Step(action="accept", actor="w", role="worker", at_ns=10**18))
    assert canonical_cases(store) == before
    cleared = make.event(99.0, scenario=name, thing="t-0", began_s=0.0, edge=Edge.CLEAR)
    store.apply([make.batch(cleared)], 0)
    assert canonical_cases(store) != before
