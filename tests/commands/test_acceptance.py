"""A person accepts a proposed threshold: the file keeps all but the number, and says who."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from builders import an_event, an_event_batch, at_s
from rich.console import Console

from commands.acceptance import accept_proposal
from commands.parts import open_store
from core.clock import ManualClock
from core.errors import InputError, NotFoundError, RuleError
from core.events import Place
from core.settings import Settings, load_settings
from geo.city import load_city
from scenarios.acceptance import accepted
from scenarios.lifecycle import Role
from scenarios.loader import SHIPPED_PACKS, load_packs, parse_scenario
from scenarios.quality import Proposal
from scenarios.steps import Step
from scenarios.verdicts import Verdict
from store.rows import Judgement

RULE = "road-flooding/level"


def a_proposal(**changes: Any) -> Proposal:
    given: dict[str, Any] = {
        "rule": RULE,
        "measure": "water_level_m",
        "threshold": 0.25,
        "proposed": 0.31,
        "false": 10,
        "false_avoided": 9,
        "real": 20,
        "real_lost": 0,
    }
    return Proposal(**(given | changes))


def test_only_the_number_changes_and_a_comment_says_why() -> None:
    path = SHIPPED_PACKS / "road-flooding.yaml"
    before = path.read_text(encoding="utf-8")
    after = accepted(before, path.name, a_proposal(), actor="王主任", day="2026-03-01")
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    comment = (
        "      # 0.25 until 2026-03-01; 王主任 accepted 0.31: it avoids 9 of 10 false alarms and "
        "loses 0 of 20 real ones."
    )
    assert added == [comment, "      at_least: 0.31"]
    assert len(after.splitlines()) == len(before.splitlines()) + 1
    (rule, *_) = parse_scenario(after, path.name).rules
    assert (rule.threshold, rule.clear_level) == (0.31, 0.15)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rule": "road-flooding/none"}, "'none' with a threshold was wanted"),
        ({"rule": "gas-leak/level"}, "was wanted"),
        ({"threshold": 0.2}, "made for 0.2, the file says 0.25"),
        # It would clear while it raises.
        ({"proposed": 0.1}, "clear_below"),
    ],
)
def test_what_does_not_fit_the_file(changes: dict[str, Any], words: str) -> None:
    path = SHIPPED_PACKS / "road-flooding.yaml"
    text = path.read_text(encoding="utf-8")
    with pytest.raises(RuleError, match=words):
        accepted(text, path.name, a_proposal(**changes), actor="a", day="2026-03-01")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder of thirty floods, ten of which people found to be none."""
    packs = tmp_path / "packs"
    shutil.copytree(SHIPPED_PACKS, packs)
    settings = load_settings(data_dir=tmp_path / "data", packs=packs)
    store = open_store(settings, load_city("generated", seed=7), load_packs(packs))
    for number in range(30):
        real = number < 20
        event = an_event(
            100.0 * number,
            thing_id=f"water-{number}",
            rule=RULE,
            began_ns=at_s(100.0 * number),
            place=Place(lon_deg=120.3846, lat_deg=36.0 + number / 500, district_code="370202"),
            because={"measure": "water_level_m", "value": 0.5 if real else 0.27},
        )
        [change] = store.apply([an_event_batch(event, sequence=number + 1)], at_s(0))
        case = change.incident.id
        if real:
            for action, actor in (("handle", "a"), ("feedback", "a"), ("close", "b")):
                role = Role.OPERATOR if action != "close" else Role.VERIFIER
                step = Step(
                    action=action, actor=actor, role=role.value, at_ns=at_s(4000), reason="ok"
                )
                store.transition(case, step)
        else:
            judgement = Judgement(
                verdict=Verdict.NOT_AN_ISSUE, actor="b", role="operator", at_ns=at_s(4000)
            )
            store.judge(case, judgement)
    store.close()
    return settings


def accept(settings: Settings, rule: str = RULE, *, apply: bool = False) -> str:
    console = Console(record=True, width=200, force_terminal=False)
    clock = ManualClock(at_s(5000))
    accept_proposal(settings, rule, actor="王主任", apply=apply, clock=clock, console=console)
    return console.export_text()


def test_a_dry_run_shows_and_apply_writes(settings: Settings) -> None:
    assert settings.packs is not None
    path = settings.packs / "road-flooding.yaml"
    before = path.read_text(encoding="utf-8")
    told = accept(settings)
    assert "a dry run" in told
    assert "-      at_least: 0.25" in told
    assert "+      at_least: 0.385" in told
    assert path.read_text(encoding="utf-8") == before
    assert "qingniao backtest" in accept(settings, apply=True)
    changed = {one.id: one for one in load_packs(settings.packs)}
    assert changed["road-flooding"].rules[0].threshold == 0.385
    # What was accepted is no longer proposed.
    with pytest.raises(NotFoundError, match="proposed for: none"):
        accept(settings)


def test_what_cannot_be_accepted(settings: Settings) -> None:
    with pytest.raises(NotFoundError, match=f"proposed for: {RULE}"):
        accept(settings, "gas-leak/concentration")
    with pytest.raises(InputError, match="scenario new"):
        accept(load_settings(data_dir=settings.data_dir))
