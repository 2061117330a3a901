"""The case process: which action takes a case from which status to which, and who may.

The seven steps are the national ones (数字城管): 信息采集 案卷建立 任务派遣 任务处理 处理反馈
核查结案 综合评价. Branches: 退单 and 返工 (``return``), 作废 (``cancel``), 重开 (``reopen``),
延期 (``extend``, then ``grant`` or ``refuse``), 挂账 (``suspend``, ``resume``), 督办
(``supervise``). What a step changes of a case beside its status is in
:mod:`scenarios.steps`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from core.errors import TransitionError
from core.incidents import Status, Text


class Action(StrEnum):
    """What somebody does to a case."""

    FILE = "file"
    DISPATCH = "dispatch"
    ACCEPT = "accept"
    HANDLE = "handle"
    FEEDBACK = "feedback"
    CLOSE = "close"
    EVALUATE = "evaluate"
    RETURN = "return"
    CANCEL = "cancel"
    REOPEN = "reopen"
    EXTEND = "extend"
    GRANT = "grant"
    REFUSE = "refuse"
    SUSPEND = "suspend"
    RESUME = "resume"
    SUPERVISE = "supervise"


class Role(StrEnum):
    """Who does it."""

    SYSTEM = "system"
    WORKER = "worker"
    OPERATOR = "operator"
    VERIFIER = "verifier"


class Transition(NamedTuple):
    """One arrow of the process."""

    status: Status
    action: Action
    to: Status
    roles: frozenset[Role]


#: Actions that nobody may take without saying why.
NEEDS_REASON = frozenset(
    {
        Action.RETURN,
        Action.CANCEL,
        Action.REOPEN,
        Action.EXTEND,
        Action.REFUSE,
        Action.SUSPEND,
        Action.SUPERVISE,
    }
)

_DESK = frozenset({Role.SYSTEM, Role.OPERATOR})
_FIELD = frozenset({Role.WORKER, Role.OPERATOR})
_CHECK = frozenset({Role.VERIFIER, Role.OPERATOR})
_ANY_DESK = _DESK | _CHECK
#: Who gives more time is never who asks for it.
_DECIDE = frozenset({Role.OPERATOR})

TRANSITIONS: tuple[Transition, ...] = (
    Transition(Status.COLLECTED, Action.FILE, Status.FILED, _DESK),
    Transition(Status.COLLECTED, Action.CANCEL, Status.CANCELLED, _CHECK),
    Transition(Status.FILED, Action.DISPATCH, Status.DISPATCHED, _DESK),
    Transition(Status.FILED, Action.CANCEL, Status.CANCELLED, _CHECK),
    Transition(Status.DISPATCHED, Action.ACCEPT, Status.HANDLING, _FIELD),
    Transition(Status.DISPATCHED, Action.HANDLE, Status.HANDLING, _FIELD),
    Transition(Status.DISPATCHED, Action.RETURN, Status.FILED, _FIELD),
    Transition(Status.DISPATCHED, Action.CANCEL, Status.CANCELLED, _CHECK),
    Transition(Status.HANDLING, Action.HANDLE, Status.HANDLING, _FIELD),
    Transition(Status.HANDLING, Action.FEEDBACK, Status.FEEDBACK, _FIELD),
    Transition(Status.HANDLING, Action.RETURN, Status.FILED, _FIELD),
    Transition(Status.HANDLING, Action.CANCEL, Status.CANCELLED, _CHECK),
    Transition(Status.FEEDBACK, Action.CLOSE, Status.CLOSED, _CHECK),
    Transition(Status.FEEDBACK, Action.RETURN, Status.HANDLING, _CHECK),
    Transition(Status.FEEDBACK, Action.CANCEL, Status.CANCELLED, _CHECK),
    Transition(Status.CLOSED, Action.EVALUATE, Status.EVALUATED, _ANY_DESK),
    Transition(Status.CLOSED, Action.REOPEN, Status.DISPATCHED, _ANY_DESK),
    Transition(Status.EVALUATED, Action.REOPEN, Status.DISPATCHED, _ANY_DESK),
    Transition(Status.CANCELLED, Action.REOPEN, Status.FILED, _CHECK),
    *(
        Transition(status, action, status, roles)
        for status in (Status.DISPATCHED, Status.HANDLING)
        for action, roles in (
            (Action.EXTEND, _FIELD),
            (Action.GRANT, _DECIDE),
            (Action.REFUSE, _DECIDE),
            (Action.SUPERVISE, _CHECK),
        )
    ),
    Transition(Status.HANDLING, Action.SUSPEND, Status.SUSPENDED, _DECIDE),
    Transition(Status.SUSPENDED, Action.RESUME, Status.HANDLING, _DECIDE),
    Transition(Status.SUSPENDED, Action.SUPERVISE, Status.SUSPENDED, _CHECK),
    Transition(Status.SUSPENDED, Action.CANCEL, Status.CANCELLED, _CHECK),
)

_BY_ARROW = {(one.status, one.action): one for one in TRANSITIONS}

STATUS_NAMES: dict[Status, Text] = {
    Status.COLLECTED: Text("待立案", "Collected"),
    Status.FILED: Text("待派遣", "Filed"),
    Status.DISPATCHED: Text("待接单", "Dispatched"),
    Status.HANDLING: Text("处理中", "Being handled"),
    Status.SUSPENDED: Text("挂账", "Suspended"),
    Status.FEEDBACK: Text("待核查", "Fed back, to be verified"),
    Status.CLOSED: Text("已结案", "Closed"),
    Status.EVALUATED: Text("已评价", "Evaluated"),
    Status.CANCELLED: Text("已作废", "Cancelled"),
}

#: The step of the national process that a status belongs to; a cancelled case has left it.
STEP_NAMES: dict[Status, Text] = {
    Status.COLLECTED: Text("信息采集", "Collection"),
    Status.FILED: Text("案卷建立", "Filing"),
    Status.DISPATCHED: Text("任务派遣", "Dispatch"),
    Status.HANDLING: Text("任务处理", "Handling"),
    Status.SUSPENDED: Text("任务处理", "Handling"),
    Status.FEEDBACK: Text("处理反馈", "Feedback"),
    Status.CLOSED: Text("核查结案", "Verification and closing"),
    Status.EVALUATED: Text("综合评价", "Evaluation"),
}

ACTION_NAMES: dict[Action, Text] = {
    Action.FILE: Text("立案", "File"),
    Action.DISPATCH: Text("派遣", "Dispatch"),
    Action.ACCEPT: Text("接单", "Accept"),
    Action.HANDLE: Text("处理", "Handle"),
    Action.FEEDBACK: Text("反馈", "Feed back"),
    Action.CLOSE: Text("结案", "Close"),
    Action.EVALUATE: Text("评价", "Evaluate"),
    Action.RETURN: Text("退回", "Return"),
    Action.CANCEL: Text("作废", "Cancel"),
    Action.REOPEN: Text("重开", "Reopen"),
    Action.EXTEND: Text("申请延期", "Ask for more time"),
    Action.GRANT: Text("同意延期", "Grant more time"),
    Action.REFUSE: Text("不同意延期", "Refuse more time"),
    Action.SUSPEND: Text("挂账", "Suspend"),
    Action.RESUME: Text("恢复处理", "Resume"),
    Action.SUPERVISE: Text("督办", "Supervise"),
}


def allowed_actions(status: Status, role: Role | None = None) -> tuple[Action, ...]:
    """The actions that a case in this status can take, for one role or for any.

    Example:
        >>> [str(action) for action in allowed_actions(Status.FEEDBACK)]
        ['close', 'return', 'cancel']
        >>> allowed_actions(Status.FEEDBACK, Role.WORKER)
        ()
    """
    return tuple(
        one.action
        for one in TRANSITIONS
        if one.status is status and (role is None or role in one.roles)
    )


def check_transition(
    status: Status | str, action: Action | str, role: Role | str, reason: str = ""
) -> Status:
    """The status that an action leads to.

    Args:
        status: Where the case stands.
        action: What is to be done to it.
        role: Who does it.
        reason: Why; must be given to return, cancel or reopen.

    Raises:
        TransitionError: The action is unknown, not possible in this status, not for this
            role, or lacks its reason; the message lists what is allowed.

    Example:
        >>> check_transition("dispatched", "accept", "worker")
        <Status.HANDLING: 'handling'>
        >>> check_transition("handling", "close", "worker")
        Traceback (most recent call last):
        ...
        core.errors.TransitionError: action 'close' is not possible in status 'handling'; \
allowed there: handle, feedback, return, cancel, extend, grant, refuse, supervise, suspend
    """
    try:
        from_status, what, who = Status(status), Action(action), Role(role)
    except ValueError as exc:
        raise TransitionError(
            f"status {str(status)!r}, action {str(action)!r}, role {str(role)!r}: {exc}; "
            f"actions: {', '.join(Action)}; roles: {', '.join(Role)}"
        ) from exc
    arrow = _BY_ARROW.get((from_status, what))
    if arrow is None:
        raise TransitionError(
            f"action {what.value!r} is not possible in status {from_status.value!r}; "
            f"allowed there: {', '.join(allowed_actions(from_status)) or 'nothing'}"
        )
    if who not in arrow.roles:
        raise TransitionError(
            f"action {what.value!r} in status {from_status.value!r} is not for role "
            f"{who.value!r}; it is for: {', '.join(sorted(arrow.roles))}; "
            f"{who.value} may: {', '.join(allowed_actions(from_status, who)) or 'nothing'}"
        )
    if what in NEEDS_REASON and not reason.strip():
        raise TransitionError(
            f"action {what.value!r} needs a reason, got none; say why in `reason`"
        )
    return arrow.to
