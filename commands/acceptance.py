"""``qingniao scenario accept``: a proposed threshold, taken over by a person."""

from __future__ import annotations

import difflib
from contextlib import closing
from pathlib import Path

from rich.console import Console

from commands.inspect import open_to_read
from core.clock import Clock
from core.errors import InputError, NotFoundError
from core.settings import Settings
from core.units import NS_PER_S, china_time
from scenarios.acceptance import accepted
from scenarios.quality import Proposal, proposals

#: Days that quality looks back.
LOOK_BACK_DAYS = 90


def accept_proposal(
    settings: Settings, rule: str, *, actor: str, apply: bool, clock: Clock, console: Console
) -> None:
    """Show what accepting a proposal changes in its file, and with ``apply`` change it.

    Args:
        settings: The data folder whose verdicts count, and the folder of scenario files.
        rule: Full id, ``scenario/rule``.
        actor: Who accepts it; it is written into the file.
        apply: Change the file; a dry run without it.
        clock: City time.
        console: For the change.

    Raises:
        InputError: The scenarios in force are the shipped ones, which are not changed.
        NotFoundError: Nothing is proposed for this rule; tells what is.
        RuleError: The file does not fit the proposal.
    """
    if settings.packs is None:
        raise InputError(
            "the shipped scenarios are not changed: `qingniao scenario new NAME --into my-packs` "
            "copies them into a folder of your own, which QINGNIAO_PACKS names"
        )
    now_ns = clock.now_ns()
    with closing(open_to_read(settings)) as store:
        judged = store.judged_raises(now_ns - LOOK_BACK_DAYS * 86_400 * NS_PER_S)
        rules = {one.id: one for scenario in store.scenarios.values() for one in scenario.rules}
    proposal = _find(proposals(judged, rules), rule)
    path = settings.packs / f"{rule.partition('/')[0]}.yaml"
    before = path.read_text(encoding="utf-8")
    day = f"{china_time(now_ns):%Y-%m-%d}"
    after = accepted(before, str(path), proposal, actor=actor, day=day)
    for line in difflib.unified_diff(
        before.splitlines(), after.splitlines(), str(path), str(path), n=1, lineterm=""
    ):
        console.print(line, highlight=False, markup=False)
    if apply:
        _replace(path, after)
    console.print(
        f"已写入 written; try it: qingniao backtest --rules {settings.packs} --recording DAY"
        if apply
        else "试运行，未写入 a dry run; --apply writes it"
    )


def _find(found: list[Proposal], rule: str) -> Proposal:
    for one in found:
        if one.rule == rule:
            return one
    known = ", ".join(one.rule for one in found) or "none"
    raise NotFoundError(f"rule {rule!r}: nothing is proposed for it; proposed for: {known}")


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
