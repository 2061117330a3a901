"""The indicators of the case process (综合评价), each defined in one place. Pure.

An indicator is a share of cases: those that count, of those that could. What could not be is
no 100 %: an empty denominator gives None. "Should be done" means that it is done, or that its
deadline has passed. Source: the indicators of local 数字城管 documents (GB/T 30428 frame);
where they differ, the definition here is the one that its page shows.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

import msgspec

from core.incidents import Incident, Status, Text
from core.units import NS_PER_S, china_time
from scenarios.routing import UNCLEAR_DUTY_ID

Counts = Callable[[Incident, int], bool]


class Part(StrEnum):
    """The cases behind an indicator."""

    NUMERATOR = "numerator"
    DENOMINATOR = "denominator"


class GroupKey(StrEnum):
    """What indicators can be told apart by."""

    NONE = "none"
    DISTRICT = "district"
    STREET = "street"
    COMMUNITY = "community"
    GRID = "grid"
    UNIT = "unit"
    WORKER = "worker"
    DOMAIN = "domain"
    SCENARIO = "scenario"
    CATEGORY = "category"
    SEVERITY = "severity"
    DAY = "day"
    MONTH = "month"


class Kpi(msgspec.Struct, frozen=True, kw_only=True):
    """One indicator: its name, its formula in words, and which cases it is made of.

    ``of`` says which cases could count, ``counts`` which of those do; both are asked with a
    case and the instant "now". A ``measure`` in hours makes it a mean over those that count.
    """

    id: str
    name: Text
    formula: Text
    of: Counts
    counts: Counts
    measure: Callable[[Incident], float] | None = None

    @property
    def unit(self) -> str:
        """Unit of the value: ``ratio`` or ``h``."""
        return "ratio" if self.measure is None else "h"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """The value of an indicator and the number of cases it rests on; None where there are none."""

    value: float | None
    numerator: int
    denominator: int
    median: float | None = None


def _everything(_case: Incident, _now_ns: int) -> bool:
    return True


def _filed(case: Incident, _now_ns: int) -> bool:
    return case.filed_ns is not None


def _dispatched(case: Incident, _now_ns: int) -> bool:
    return case.dispatched_ns is not None and case.unit_id not in (None, UNCLEAR_DUTY_ID)


def _disposed(case: Incident, _now_ns: int) -> bool:
    return case.disposed_ns is not None


def _late(case: Incident, now_ns: int) -> bool:
    return case.deadline_ns is not None and case.deadline_ns < now_ns


def _should_be_disposed(case: Incident, now_ns: int) -> bool:
    if case.dispatched_ns is None or case.status in (Status.CANCELLED, Status.SUSPENDED):
        return False
    return _disposed(case, now_ns) or _late(case, now_ns)


def _disposed_in_time(case: Incident, _now_ns: int) -> bool:
    return (
        case.disposed_ns is not None
        and case.deadline_ns is not None
        and case.disposed_ns <= case.deadline_ns
    )


def _overdue(case: Incident, now_ns: int) -> bool:
    return case.disposed_ns is None and _late(case, now_ns)


def _should_be_closed(case: Incident, now_ns: int) -> bool:
    return _disposed(case, now_ns) and case.status is not Status.CANCELLED


def _closed(case: Incident, _now_ns: int) -> bool:
    return case.status in (Status.CLOSED, Status.EVALUATED)


def _checked(case: Incident, now_ns: int) -> bool:
    return _should_be_closed(case, now_ns) or case.rework_count > 0


def _reworked(case: Incident, _now_ns: int) -> bool:
    return case.rework_count > 0


def _extended(case: Incident, _now_ns: int) -> bool:
    return case.extension_count > 0


def _handling_h(case: Incident) -> float:
    assert case.disposed_ns is not None
    started_ns = case.dispatched_ns if case.dispatched_ns is not None else case.opened_ns
    return (case.disposed_ns - started_ns) / NS_PER_S / 3600


KPIS: tuple[Kpi, ...] = (
    Kpi(
        id="filing",
        name=Text("立案率", "filed"),
        formula=Text("立案数 ÷ 采集数", "filed ÷ collected"),
        of=_everything,
        counts=_filed,
    ),
    Kpi(
        id="dispatch",
        name=Text("派遣率", "dispatched"),
        formula=Text("已派遣到责任单位数 ÷ 立案数", "dispatched to a unit ÷ filed"),
        of=_filed,
        counts=_dispatched,
    ),
    Kpi(
        id="disposal",
        name=Text("处置率", "disposed"),
        formula=Text(
            "已处置数 ÷ 应处置数（已处置或已到期；作废、挂账不计）",
            "disposed ÷ to be disposed (disposed, or past the deadline; not cancelled, not "
            "suspended)",
        ),
        of=_should_be_disposed,
        counts=_disposed,
    ),
    Kpi(
        id="disposal-in-time",
        name=Text("按期处置率", "disposed in time"),
        formula=Text("时限内处置数 ÷ 应处置数", "disposed by the deadline ÷ to be disposed"),
        of=_should_be_disposed,
        counts=_disposed_in_time,
    ),
    Kpi(
        id="overdue",
        name=Text("超期待处置率", "overdue"),
        formula=Text(
            "超期仍未处置数 ÷ 应处置数", "past the deadline and not disposed ÷ to be disposed"
        ),
        of=_should_be_disposed,
        counts=_overdue,
    ),
    Kpi(
        id="closing",
        name=Text("结案率", "closed"),
        formula=Text("已结案数 ÷ 应结案数（已处置，作废不计）", "closed ÷ disposed, not cancelled"),
        of=_should_be_closed,
        counts=_closed,
    ),
    Kpi(
        id="rework",
        name=Text("返工率", "reworked"),
        formula=Text(
            "返工数 ÷ 应结案数（含返工中）", "handled more than once ÷ disposed or reworked"
        ),
        of=_checked,
        counts=_reworked,
    ),
    Kpi(
        id="extension",
        name=Text("延期率", "extended"),
        formula=Text("获准延期数 ÷ 应处置数", "given more time ÷ to be disposed"),
        of=_should_be_disposed,
        counts=_extended,
    ),
    Kpi(
        id="handling-time",
        name=Text("平均用时", "mean handling time"),
        formula=Text(
            "派遣至处置的平均小时数（自然时）", "mean hours from dispatch to disposal, by the clock"
        ),
        of=_should_be_closed,
        counts=_disposed,
        measure=_handling_h,
    ),
)

KPI_BY_ID: dict[str, Kpi] = {one.id: one for one in KPIS}


def cases_behind(kpi: Kpi, cases: Iterable[Incident], part: Part, now_ns: int) -> list[Incident]:
    """The very cases that a figure counts.

    Args:
        kpi: The indicator.
        cases: Those of the period.
        part: Its numerator or its denominator.
        now_ns: The instant it is asked at.
    """
    could = [case for case in cases if kpi.of(case, now_ns)]
    if part is Part.DENOMINATOR:
        return could
    return [case for case in could if kpi.counts(case, now_ns)]


def figure(kpi: Kpi, cases: Sequence[Incident], now_ns: int) -> Figure:
    """The value of an indicator over cases.

    Example:
        >>> figure(KPI_BY_ID["closing"], [], 0)
        Figure(value=None, numerator=0, denominator=0, median=None)
    """
    could = cases_behind(kpi, cases, Part.DENOMINATOR, now_ns)
    counted = [case for case in could if kpi.counts(case, now_ns)]
    if kpi.measure is None:
        value = len(counted) / len(could) if could else None
        return Figure(value=value, numerator=len(counted), denominator=len(could))
    hours = [kpi.measure(case) for case in counted]
    return Figure(
        value=statistics.fmean(hours) if hours else None,
        numerator=len(counted),
        denominator=len(could),
        median=statistics.median(hours) if hours else None,
    )


def group_of(case: Incident, key: GroupKey) -> tuple[str, str]:
    """The group a case falls in, and its name for people; both empty where it has none.

    Days and months are those of China in which the case was opened.
    """
    place = case.place
    if key is GroupKey.DISTRICT:
        return place.district_code or "", ""
    if key is GroupKey.STREET:
        return place.street_code or "", ""
    if key is GroupKey.COMMUNITY:
        return place.community_code or "", place.area_name or ""
    if key is GroupKey.GRID:
        return place.grid_code or "", ""
    if key is GroupKey.UNIT:
        return case.unit_id or "", case.unit_name or ""
    if key is GroupKey.WORKER:
        return case.worker_id or "", case.worker_name or ""
    if key is GroupKey.SCENARIO:
        return case.scenario, case.scenario_name.zh
    if key in (GroupKey.DAY, GroupKey.MONTH):
        text = f"{china_time(case.opened_ns):%Y-%m-%d}"
        text = text if key is GroupKey.DAY else text[:7]
        return text, text
    word = {
        GroupKey.NONE: "",
        GroupKey.DOMAIN: case.domain,
        GroupKey.CATEGORY: case.category_code,
        GroupKey.SEVERITY: case.severity.value,
    }[key]
    return word, word


def grouped(
    cases: Iterable[Incident], key: GroupKey, now_ns: int
) -> list[tuple[str, str, dict[str, Figure]]]:
    """Every indicator for every group, by the group's key.

    Returns:
        Key, name and figures by indicator. Without a key one group holds all, also where
        there are no cases.
    """
    groups: dict[str, list[Incident]] = {"": []} if key is GroupKey.NONE else {}
    names: dict[str, str] = {}
    for case in cases:
        group, name = group_of(case, key)
        groups.setdefault(group, []).append(case)
        names[group] = name or names.get(group, "")
    return [
        (group, names.get(group, ""), {kpi.id: figure(kpi, groups[group], now_ns) for kpi in KPIS})
        for group in sorted(groups)
    ]
