"""What a person's step changes of a case. Pure: a case and a step in, changes out.

Which arrow may be taken, and by whom, is :mod:`scenarios.lifecycle`'s; here are the conditions
that need the case itself, and what follows for its clock.
"""

from __future__ import annotations

from typing import Any

import msgspec

from core.errors import TransitionError
from core.incidents import Incident, Status
from scenarios.deadlines import deadline_ns, time_left_s
from scenarios.escalation import next_alert_ns
from scenarios.lifecycle import Action, Role, allowed_actions, check_transition
from scenarios.model import Deadline

#: Longest extension that may be asked for: thirty days.
MAX_EXTENSION_S = 30 * 86_400.0

#: Pictures that one step may bring, and that a case keeps of each kind.
MAX_PHOTOS = 9


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step: who does what, when and why.

    ``extension_s`` is the time asked for with ``extend``, or granted where it differs from
    what was asked. ``photos`` are names of pictures that were uploaded before.
    """

    action: str
    actor: str
    role: str
    at_ns: int
    reason: str = ""
    extension_s: float | None = None
    photos: tuple[str, ...] = ()


def take_step(case: Incident, step: Step, deadline: Deadline | None) -> dict[str, Any]:
    """The changes that a step makes to a case.

    Args:
        case: As it stands.
        step: What is done.
        deadline: How much time its scenario allows; None where the scenario is gone.

    Returns:
        Fields of the incident and their new values; ``status`` is always among them.

    Raises:
        TransitionError: The step is not possible; says what is.
    """
    to_status = check_transition(case.status, step.action, step.role, step.reason)
    action = Action(step.action)
    _check_photos(step)
    changes: dict[str, Any] = {"status": to_status, "updated_ns": max(case.updated_ns, step.at_ns)}
    changes |= _STEPS.get(action, _nothing)(case, step, deadline)
    if to_status is Status.FILED and case.filed_ns is None:
        changes["filed_ns"] = step.at_ns
    if to_status is Status.DISPATCHED and case.status is not Status.DISPATCHED:
        changes |= dispatched(case, step.at_ns, deadline)
    if step.photos:
        which = "after_photos" if action is Action.FEEDBACK else "before_photos"
        changes[which] = (*getattr(case, which), *step.photos)[-MAX_PHOTOS:]
    if deadline is not None:
        after = msgspec.structs.replace(case, **changes)
        changes["next_alert_ns"] = next_alert_ns(after, deadline)
    return changes


def possible_actions(case: Incident, role: Role | None = None) -> tuple[Action, ...]:
    """The actions that a case can take now, for one role or for any.

    Unlike :func:`scenarios.lifecycle.allowed_actions` this knows whether more time was asked
    for, so that nobody is offered to grant what nobody wants.
    """
    asked = case.extension_s is not None
    hidden = {Action.EXTEND} if asked or case.deadline_ns is None else {Action.GRANT, Action.REFUSE}
    if case.deadline_ns is None:
        hidden |= {Action.GRANT, Action.REFUSE}
    return tuple(one for one in allowed_actions(case.status, role) if one not in hidden)


def dispatched(case: Incident, at_ns: int, deadline: Deadline | None) -> dict[str, Any]:
    """The changes that follow when a case goes out to be handled, first or again.

    Args:
        case: Before it.
        at_ns: When; its clock starts then.
        deadline: How much time its scenario allows; None where the scenario is gone.
    """
    changes: dict[str, Any] = {"escalation_level": 0}
    if case.dispatched_ns is None:
        changes["dispatched_ns"] = at_ns
    if deadline is not None:
        changes["deadline_ns"] = deadline_ns(at_ns, deadline)
    return changes


def _nothing(_case: Incident, _step: Step, _deadline: Deadline | None) -> dict[str, Any]:
    return {}


def _feedback(_case: Incident, step: Step, _deadline: Deadline | None) -> dict[str, Any]:
    return {"disposed_ns": step.at_ns, "handled_by": step.actor}


def _close(case: Incident, step: Step, _deadline: Deadline | None) -> dict[str, Any]:
    # 核查: by somebody else. A desk that works under no name has nobody to compare.
    if step.actor == case.handled_by and step.actor not in set(Role):
        raise TransitionError(
            f"action 'close': {step.actor!r} handled this case; somebody else must verify it"
        )
    return {"closed_ns": step.at_ns}


def _reopen(case: Incident, _step: Step, _deadline: Deadline | None) -> dict[str, Any]:
    return {"closed_ns": None, "disposed_ns": None, "rework_count": case.rework_count + 1}


def _return(case: Incident, _step: Step, _deadline: Deadline | None) -> dict[str, Any]:
    if case.status is Status.FEEDBACK:  # 返工: the verifier was not content
        return {"rework_count": case.rework_count + 1, "disposed_ns": None}
    # 退单: not theirs; whoever dispatches again chooses anew.
    return {"worker_id": None, "worker_name": None, "extension_s": None}


def _extend(case: Incident, step: Step, _deadline: Deadline | None) -> dict[str, Any]:
    if case.deadline_ns is None:
        raise TransitionError("action 'extend': the case has no deadline")
    if case.extension_s is not None:
        raise TransitionError(
            f"action 'extend': {case.extension_s:g} s were asked for already and are not decided on"
        )
    return {"extension_s": _asked_s(step)}


def _grant(case: Incident, step: Step, deadline: Deadline | None) -> dict[str, Any]:
    if case.extension_s is None or case.deadline_ns is None:
        raise TransitionError("action 'grant': nobody has asked for more time")
    granted_s = case.extension_s if step.extension_s is None else _asked_s(step)
    more = _more_time(granted_s, deadline)
    # What is granted after the deadline counts from the deadline: late stays late by as much.
    return {
        "extension_s": None,
        "extension_count": case.extension_count + 1,
        "deadline_ns": deadline_ns(case.deadline_ns, more),
        "escalation_level": 0,
    }


def _refuse(case: Incident, _step: Step, _deadline: Deadline | None) -> dict[str, Any]:
    if case.extension_s is None:
        raise TransitionError("action 'refuse': nobody has asked for more time")
    return {"extension_s": None}


def _suspend(_case: Incident, step: Step, _deadline: Deadline | None) -> dict[str, Any]:
    return {"suspended_ns": step.at_ns, "extension_s": None}


def _resume(case: Incident, step: Step, deadline: Deadline | None) -> dict[str, Any]:
    changes: dict[str, Any] = {"suspended_ns": None}
    if case.deadline_ns is not None and case.suspended_ns is not None and deadline is not None:
        left_s = time_left_s(case.suspended_ns, case.deadline_ns, deadline.clock)
        if left_s > 0:
            changes["deadline_ns"] = deadline_ns(step.at_ns, _more_time(left_s, deadline))
    return changes


def _supervise(_case: Incident, step: Step, _deadline: Deadline | None) -> dict[str, Any]:
    return {"supervised_ns": step.at_ns}


_STEPS = {
    Action.FEEDBACK: _feedback,
    Action.CLOSE: _close,
    Action.REOPEN: _reopen,
    Action.RETURN: _return,
    Action.EXTEND: _extend,
    Action.GRANT: _grant,
    Action.REFUSE: _refuse,
    Action.SUSPEND: _suspend,
    Action.RESUME: _resume,
    Action.SUPERVISE: _supervise,
}


def _asked_s(step: Step) -> float:
    asked_s = step.extension_s
    if asked_s is None or not 60.0 <= asked_s <= MAX_EXTENSION_S:
        raise TransitionError(
            f"action {step.action!r}: extension_s of 60 to {MAX_EXTENSION_S:.0f} was wanted, "
            f"got {asked_s}"
        )
    return asked_s


def _more_time(seconds: float, deadline: Deadline | None) -> Deadline:
    if deadline is None:
        return Deadline(duration_s=seconds)
    return Deadline(duration_s=seconds, clock=deadline.clock)


def _check_photos(step: Step) -> None:
    if len(step.photos) > MAX_PHOTOS:
        raise TransitionError(
            f"action {step.action!r}: at most {MAX_PHOTOS} photos were wanted, got "
            f"{len(step.photos)}"
        )
