"""Incidents: one real thing that somebody must act on, and its way through the case process.

The steps are the seven of Chinese urban management (数字城管, GB/T 47678 and CJJ/T 106):
信息采集 案卷建立 任务派遣 任务处理 处理反馈 核查结案 综合评价.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated

import msgspec

from core.events import Place
from core.grades import INTERNAL, PUBLIC, SENSITIVE


class Severity(StrEnum):
    """How bad it is; the words of CAP 1.2 in lower case."""

    MINOR = "minor"
    MODERATE = "moderate"
    SEVERE = "severe"
    EXTREME = "extreme"


class Status(StrEnum):
    """Where a case stands; the national step each belongs to is in the comment."""

    COLLECTED = "collected"  # 信息采集
    FILED = "filed"  # 案卷建立
    DISPATCHED = "dispatched"  # 任务派遣
    HANDLING = "handling"  # 任务处理
    SUSPENDED = "suspended"  # 挂账: within 任务处理, its clock stands
    FEEDBACK = "feedback"  # 处理反馈
    CLOSED = "closed"  # 核查结案
    EVALUATED = "evaluated"  # 综合评价
    CANCELLED = "cancelled"  # 作废 / 不予立案


#: A case in one of these takes new evidence; in the others new evidence means rework or a new case.
OPEN_STATUSES = frozenset(
    {
        Status.COLLECTED,
        Status.FILED,
        Status.DISPATCHED,
        Status.HANDLING,
        Status.SUSPENDED,
        Status.FEEDBACK,
    }
)


class Text(msgspec.Struct, frozen=True):
    """A text for people, in both languages."""

    zh: str
    en: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One source's word on an incident: an event, or a citizen's report."""

    event_id: Annotated[str, INTERNAL]
    source: Annotated[str, INTERNAL]
    thing_id: Annotated[str, INTERNAL]
    kind: Annotated[str, PUBLIC]
    rule: Annotated[str, PUBLIC]
    edge: Annotated[str, PUBLIC]
    at_ns: Annotated[int, INTERNAL]
    lon_deg: Annotated[float | None, INTERNAL] = None
    lat_deg: Annotated[float | None, INTERNAL] = None
    because: Annotated[dict[str, str | float], INTERNAL] = {}
    observation_ids: Annotated[tuple[str, ...], INTERNAL] = ()
    snapshots: Annotated[tuple[str, ...], SENSITIVE] = ()


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a case's history: who did what, when and why."""

    at_ns: Annotated[int, INTERNAL]
    actor: Annotated[str, SENSITIVE]
    action: Annotated[str, PUBLIC]
    from_status: Annotated[Status | None, PUBLIC] = None
    to_status: Annotated[Status | None, PUBLIC] = None
    reason: Annotated[str, INTERNAL] = ""
    photos: Annotated[tuple[str, ...], SENSITIVE] = ()


class Incident(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One case.

    ``began_ns`` is when the real thing began, ``opened_ns`` when the case was opened,
    ``cleared_ns`` when every source said it was over, ``closed_ns`` when a person closed it.
    ``version`` counts changes and guards against lost updates.

    Of its process: ``filed_ns``, ``dispatched_ns`` and ``disposed_ns`` are when it was first
    filed, first dispatched and last fed back as done; ``handled_by`` is who fed it back.
    ``suspended_ns`` is since when its clock stands. ``extension_s`` is the extension asked for
    and not yet decided on, ``extension_count`` how many were granted. ``escalation_level`` is
    0 in time, 1 warned, 2 overdue at the unit, 3 at the district, 4 at the city;
    ``next_alert_ns`` is when it rises. ``before_photos`` and ``after_photos`` are people's own
    pictures, ``snapshot`` is a camera's. ``verdict`` is what a person found it to be.
    ``parent_id`` is the incident that it is part of (one burst pipe, twelve floods).
    """

    id: Annotated[str, PUBLIC]
    case_number: Annotated[str, PUBLIC]
    scenario: Annotated[str, PUBLIC]
    scenario_name: Annotated[Text, PUBLIC]
    domain: Annotated[str, PUBLIC]
    category_system: Annotated[str, PUBLIC]
    category_code: Annotated[str, PUBLIC]
    department: Annotated[Text, PUBLIC]
    severity: Annotated[Severity, PUBLIC]
    status: Annotated[Status, PUBLIC]
    place: Annotated[Place, INTERNAL]
    began_ns: Annotated[int, INTERNAL]
    opened_ns: Annotated[int, INTERNAL]
    updated_ns: Annotated[int, INTERNAL]
    deadline_ns: Annotated[int | None, INTERNAL] = None
    cleared_ns: Annotated[int | None, INTERNAL] = None
    closed_ns: Annotated[int | None, INTERNAL] = None
    unit_id: Annotated[str | None, PUBLIC] = None
    unit_name: Annotated[str | None, PUBLIC] = None
    worker_id: Annotated[str | None, INTERNAL] = None
    worker_name: Annotated[str | None, SENSITIVE] = None
    confidence_ratio: Annotated[float, INTERNAL] = 1.0
    source_count: Annotated[int, PUBLIC] = 1
    event_count: Annotated[int, PUBLIC] = 1
    rework_count: Annotated[int, PUBLIC] = 0
    explanation: Annotated[Text, INTERNAL] = Text("", "")
    snapshot: Annotated[str | None, SENSITIVE] = None
    filed_ns: Annotated[int | None, INTERNAL] = None
    dispatched_ns: Annotated[int | None, INTERNAL] = None
    disposed_ns: Annotated[int | None, INTERNAL] = None
    handled_by: Annotated[str | None, SENSITIVE] = None
    suspended_ns: Annotated[int | None, INTERNAL] = None
    extension_s: Annotated[float | None, INTERNAL] = None
    extension_count: Annotated[int, PUBLIC] = 0
    supervised_ns: Annotated[int | None, INTERNAL] = None
    escalation_level: Annotated[int, PUBLIC] = 0
    next_alert_ns: Annotated[int | None, INTERNAL] = None
    before_photos: Annotated[tuple[str, ...], SENSITIVE] = ()
    after_photos: Annotated[tuple[str, ...], SENSITIVE] = ()
    verdict: Annotated[str | None, PUBLIC] = None
    parent_id: Annotated[str | None, PUBLIC] = None
    version: Annotated[int, PUBLIC] = 1


def incident_id(scenario: str, first_event_id: str) -> str:
    """Derive an incident's id from its scenario and its first event in the one order.

    Example:
        >>> incident_id("road-flooding", "a8c9")
        'eb9d13986ce9ae117656b6b7076ad4f5'
    """
    return hashlib.blake2b(f"{scenario}\x1f{first_event_id}".encode(), digest_size=16).hexdigest()
