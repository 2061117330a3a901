"""Routing: which unit answers for a case, and which grid worker goes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

from core.city import Unit, Worker
from core.events import Place
from core.incidents import Severity, Text
from core.units import CHINA_OFFSET_S, NS_PER_S
from geo.distance import distance_m
from scenarios.model import Receiver, Scenario

#: The queue of cases that no unit answers for; a person looks at each.
UNCLEAR_DUTY_ID = "unclear-duty"
UNCLEAR_DUTY_NAME = "权属待定"


_LEVELS = {
    0: Text("全市", "the whole city"),
    6: Text("本区", "the district"),
    9: Text("本街道", "the street"),
    12: Text("本社区", "the community"),
    15: Text("本网格", "the unit grid"),
}


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """Who must act, and why they."""

    unit_id: str
    unit_name: str
    worker_id: str | None = None
    worker_name: str | None = None
    reason: Text

    @property
    def changes(self) -> dict[str, str | None]:
        """What it changes of the incident."""
        return {
            "unit_id": self.unit_id,
            "unit_name": self.unit_name,
            "worker_id": self.worker_id,
            "worker_name": self.worker_name,
        }


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers for the component that a case is about."""

    unit: Unit
    component: str


#: Tells the owner of the component that a case of a scenario is about at a place.
OwnerOf = Callable[[Place, Scenario], Owner | None]


def nobody_owns(_place: Place, _scenario: Scenario) -> Owner | None:
    """Where no component is known."""
    return None


class Fairness(msgspec.Struct, frozen=True, kw_only=True):
    """What nobody is to be asked for: more open tasks than one can do, and small things by night.

    Times are seconds after midnight in China. What is severe or extreme knows no quiet hours.
    """

    max_open_tasks: int = 25
    quiet_from_s: int = 22 * 3600
    quiet_until_s: int = 6 * 3600

    def is_quiet(self, severity: Severity, at_ns: int | None) -> bool:
        """Whether a case of this severity leaves workers in peace at an instant.

        Example:
            >>> from core.units import rfc3339_to_ns
            >>> late_ns = rfc3339_to_ns("2026-01-05T23:30:00+08:00")
            >>> Fairness().is_quiet(Severity.MINOR, late_ns)
            True
            >>> Fairness().is_quiet(Severity.SEVERE, late_ns)
            False
        """
        if at_ns is None or severity in (Severity.SEVERE, Severity.EXTREME):
            return False
        second = (at_ns // NS_PER_S + CHINA_OFFSET_S) % 86_400
        after, before = second >= self.quiet_from_s, second < self.quiet_until_s
        return (after and before) if self.quiet_from_s <= self.quiet_until_s else after or before


class Considered(msgspec.Struct, frozen=True, kw_only=True):
    """A unit or worker who was not chosen, and why."""

    id: str
    name: str
    why_not: Text


def assign(
    place: Place,
    scenario: Scenario,
    units: Sequence[Unit],
    workers: Sequence[Worker],
    open_load: Mapping[str, int],
    *,
    at_ns: int | None = None,
    fairness: Fairness | None = None,
    owner: Owner | None = None,
) -> Assignment:
    """Choose the unit and the worker for a case.

    The unit is the component's owner, where there is one; else it is of the scenario's
    department and has the longest area code that the place lies in. The worker walks the
    smallest area around the place in which somebody has room for one more; among several the
    one with the fewest open tasks, then the nearest. In quiet hours, and where everybody is
    full, the unit's duty desk acts.

    Args:
        place: Where it is.
        scenario: What it is; names department and receiver.
        units: The city's units.
        workers: The city's grid workers.
        open_load: Open tasks by worker id; absent means none.
        at_ns: When, UTC nanoseconds; without it there are no quiet hours.
        fairness: What nobody is to be asked for.
        owner: Who answers for the component that it is about.

    Returns:
        The assignment; where no unit answers, the queue ``unclear-duty`` with the reason.
    """
    codes = area_codes(place)
    if not codes:
        why = place.unplaced or "no_area"
        return _unclear(Text(f"地点不在任何区划内（{why}）", f"no area holds the place ({why})"))
    unit = _unit_for(codes, scenario, units) if owner is None else owner.unit
    if unit is None:
        zh, en = scenario.department.zh, scenario.department.en
        reason = Text(
            f"{place.area_name or codes[0]}没有属于{zh}的责任单位",
            f"no unit of {en} answers for {place.area_name or codes[0]}",
        )
        return _unclear(reason)
    why_unit = _why_unit(unit, owner)
    if scenario.route.receiver is Receiver.UNIT:
        return Assignment(
            unit_id=unit.unit_id,
            unit_name=unit.name,
            reason=Text(f"{why_unit.zh}，由值班台处理", f"{why_unit.en}; its duty desk acts"),
        )
    rules = fairness or Fairness()
    here = [worker for worker in workers if _covers(worker.area_code, codes)]
    free = [one for one in here if open_load.get(one.worker_id, 0) < rules.max_open_tasks]
    if rules.is_quiet(scenario.severity, at_ns) or not free:
        why_desk = _why_desk(bool(here), bool(free), rules)
        reason = Text(f"{why_unit.zh}；{why_desk.zh}", f"{why_unit.en}; {why_desk.en}")
        return Assignment(unit_id=unit.unit_id, unit_name=unit.name, reason=reason)
    worker = _ranked(place, free, open_load)[0]
    walks, load = _level_of(worker.area_code), open_load.get(worker.worker_id, 0)
    reason = Text(
        f"{why_unit.zh}；您是{walks.zh}的网格员，手上有 {load} 件未办",
        f"{why_unit.en}; you walk {walks.en} and have {load} open",
    )
    return Assignment(
        unit_id=unit.unit_id,
        unit_name=unit.name,
        worker_id=worker.worker_id,
        worker_name=worker.name,
        reason=reason,
    )


def considered(
    place: Place,
    scenario: Scenario,
    units: Sequence[Unit],
    workers: Sequence[Worker],
    chosen: Assignment,
    *,
    limit: int = 12,
) -> list[Considered]:
    """Who else might have been expected to get a case, and why they did not.

    Args:
        place: Where it is.
        scenario: What it is.
        units: The city's units.
        workers: The city's grid workers.
        chosen: Who got it.
        limit: Most entries: units first, then workers, the nearest first.

    Returns:
        Units of the department elsewhere, units here of other departments, and the other
        workers who walk around the place.
    """
    codes = area_codes(place)
    names = _department_names(scenario)
    found = []
    own = next((one for one in units if one.unit_id == chosen.unit_id), None)
    by_owner = own is not None and own.department not in names
    for unit in sorted(units, key=lambda one: (-len(one.area_code), one.unit_id)):
        fits, covers = unit.department in names, _covers(unit.area_code, codes)
        if unit.unit_id == chosen.unit_id or not (fits or covers):
            continue
        if not fits:
            why = Text(f"属于{unit.department}，不管此类", f"is of {unit.department}")
        elif not covers:
            why = Text("不管这片区域", "answers for another area")
        elif by_owner:
            why = Text("部件的权属单位优先", "the owner of the component comes first")
        else:
            why = Text("辖区比所选单位大", "answers for a wider area")
        found.append(Considered(id=unit.unit_id, name=unit.name, why_not=why))
    here = [one for one in workers if _covers(one.area_code, codes)]
    finest = max((len(one.area_code) for one in here), default=0)
    for worker in _ranked(place, here, {}):
        if worker.worker_id == chosen.worker_id:
            continue
        if len(worker.area_code) < finest:
            why = Text("走的片区更大", "walks a wider area")
        elif chosen.worker_id is None:
            why = Text("由值班台处理", "the duty desk acts")
        else:
            why = Text("当时任务更多或更远", "had more open or was further away")
        found.append(Considered(id=worker.worker_id, name=worker.name, why_not=why))
    return found[:limit]


def area_codes(place: Place) -> tuple[str, ...]:
    """The codes of the areas a place lies in, smallest first.

    Example:
        >>> area_codes(Place(district_code="370202", community_code="370202001003"))
        ('370202001003', '370202')
    """
    codes = (place.grid_code, place.community_code, place.street_code, place.district_code)
    return tuple(code for code in codes if code)


def _why_unit(unit: Unit, owner: Owner | None) -> Text:
    if owner is not None:
        return Text(
            f"{unit.name}（{unit.department}）是部件“{owner.component}”的权属单位",
            f"{unit.name} ({unit.department}) owns the component {owner.component}",
        )
    level = _level_of(unit.area_code)
    return Text(
        f"{unit.name}（{unit.department}）负责{level.zh}",
        f"{unit.name} ({unit.department}) answers for {level.en}",
    )


def _unclear(reason: Text) -> Assignment:
    return Assignment(unit_id=UNCLEAR_DUTY_ID, unit_name=UNCLEAR_DUTY_NAME, reason=reason)


def _covers(area_code: str, codes: Sequence[str]) -> bool:
    return any(code.startswith(area_code) for code in codes)


def _level_of(area_code: str) -> Text:
    return _LEVELS.get(len(area_code), Text(f"片区 {area_code}", f"area {area_code}"))


def _department_names(scenario: Scenario) -> set[str]:
    return {
        *scenario.route.departments,
        scenario.department.zh,
        scenario.department.en,
        scenario.domain.value,
    }


def _unit_for(codes: Sequence[str], scenario: Scenario, units: Sequence[Unit]) -> Unit | None:
    names = _department_names(scenario)
    fitting = [
        unit for unit in units if unit.department in names and _covers(unit.area_code, codes)
    ]
    return min(fitting, key=lambda unit: (-len(unit.area_code), unit.unit_id), default=None)


def _why_desk(somebody: bool, free: bool, rules: Fairness) -> Text:
    """Why no worker is sent."""
    if not somebody:
        return Text(
            "该处没有网格员，由单位派人", "no grid worker walks there, so the unit sends somebody"
        )
    if not free:
        return Text(
            f"该处网格员手上都有 {rules.max_open_tasks} 件以上，由值班台处理",
            f"everybody who walks there has {rules.max_open_tasks} open; its duty desk acts",
        )
    return Text("夜间免打扰，由值班台处理", "in quiet hours its duty desk acts")


def _ranked(place: Place, workers: Sequence[Worker], open_load: Mapping[str, int]) -> list[Worker]:
    """Workers, the best first: the smallest area, then the fewest open tasks, then the nearest."""
    away = [0.0] * len(workers)
    if workers and place.lon_deg is not None and place.lat_deg is not None:
        lons, lats = [one.lon_deg for one in workers], [one.lat_deg for one in workers]
        metres = distance_m(place.lon_deg, place.lat_deg, lons, lats).tolist()
        away = [math.inf if math.isnan(one) else one for one in metres]
    ranked = sorted(
        (-len(worker.area_code), open_load.get(worker.worker_id, 0), metres, worker.worker_id, at)
        for at, (worker, metres) in enumerate(zip(workers, away, strict=True))
    )
    return [workers[key[-1]] for key in ranked]
