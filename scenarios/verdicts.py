"""Verdicts: what a person on the spot found a case to be, in one tap. Pure.

A verdict is kept, takes the step that follows from it, and teaches: it tells rules, sources
and routing apart that were right from those that were not (:mod:`scenarios.quality`).
"""

from __future__ import annotations

from enum import StrEnum

from core.errors import TransitionError
from core.incidents import Incident, Text
from scenarios.lifecycle import Action, Role, allowed_actions


class Verdict(StrEnum):
    """What a case really was."""

    NOT_AN_ISSUE = "not_an_issue"
    WRONG_PLACE = "wrong_place"
    WRONG_OWNER = "wrong_owner"
    DUPLICATE = "duplicate"


VERDICT_NAMES: dict[Verdict, Text] = {
    Verdict.NOT_AN_ISSUE: Text("不是问题", "not an issue"),
    Verdict.WRONG_PLACE: Text("位置不对", "wrong place"),
    Verdict.WRONG_OWNER: Text("不归我管", "wrong owner"),
    Verdict.DUPLICATE: Text("重复案件", "a duplicate"),
}


def step_after(case: Incident, verdict: Verdict, role: Role) -> Action | None:
    """The step that follows from a verdict; None where the case stays where it is.

    Who may cancel cancels what is no issue or a duplicate; a worker sends it back to the desk,
    which then does. What is not theirs goes back to be dispatched anew.

    Raises:
        TransitionError: The case can no longer take that step.
    """
    if verdict is Verdict.WRONG_PLACE:
        return None
    wanted = (Action.RETURN,) if verdict is Verdict.WRONG_OWNER else (Action.CANCEL, Action.RETURN)
    can = allowed_actions(case.status, role)
    for action in wanted:
        if action in can:
            return action
    raise TransitionError(
        f"verdict {verdict.value!r}: a case in status {case.status.value!r} can no longer be "
        f"taken through {' or '.join(wanted)} by role {role.value!r}"
    )
