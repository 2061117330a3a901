"""Routing: which unit answers for a case, and which grid worker goes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from core.city import Unit, Worker
from core.events import Place
from core.incidents import Text
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


def assign(
    place: Place,
    scenario: Scenario,
    units: Sequence[Unit],
    workers: Sequence[Worker],
    open_load: Mapping[str, int],
) -> Assignment:
    """Choose the unit and the worker for a case.

    The unit is of the scenario's department and has the longest area code that the place
    lies in. The worker walks the smallest area around the place; among several the one with
    the fewest open tasks, then the nearest.

    Args:
        place: Where it is.
        scenario: What it is; names department and receiver.
        units: The city's units.
        workers: The city's grid workers.
        open_load: Open tasks by worker id; absent means none.

    Returns:
        The assignment; where no unit answers, the queue ``unclear-duty`` with the reason.
    """
    codes = area_codes(place)
    if not codes:
        why = place.unplaced or "no_area"
        return _unclear(Text(f"地点不在任何区划内（{why}）", f"no area holds the place ({why})"))
    unit = _unit_for(codes, scenario, units)
    if unit is None:
        zh, en = scenario.department.zh, scenario.department.en
        reason = Text(
            f"{place.area_name or codes[0]}没有属于{zh}的责任单位",
            f"no unit of {en} answers for {place.area_name or codes[0]}",
        )
        return _unclear(reason)
    level = _level_of(unit.area_code)
    why_unit = Text(
        f"{unit.name}（{unit.department}）负责{level.zh}",
        f"{unit.name} ({unit.department}) answers for {level.en}",
    )
    if scenario.route.receiver is Receiver.UNIT:
        return Assignment(
            unit_id=unit.unit_id,
            unit_name=unit.name,
            reason=Text(f"{why_unit.zh}，由值班台处理", f"{why_unit.en}; its duty desk acts"),
        )
    worker = _worker_for(place, codes, workers, open_load)
    if worker is None:
        reason = Text(
            f"{why_unit.zh}；该处没有网格员，由单位派人",
            f"{why_unit.en}; no grid worker walks there, so the unit sends somebody",
        )
        return Assignment(unit_id=unit.unit_id, unit_name=unit.name, reason=reason)
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


def area_codes(place: Place) -> tuple[str, ...]:
    """The codes of the areas a place lies in, smallest first.

    Example:
        >>> area_codes(Place(district_code="370202", community_code="370202001003"))
        ('370202001003', '370202')
    """
    codes = (place.grid_code, place.community_code, place.street_code, place.district_code)
    return tuple(code for code in codes if code)


def _unclear(reason: Text) -> Assignment:
    return Assignment(unit_id=UNCLEAR_DUTY_ID, unit_name=UNCLEAR_DUTY_NAME, reason=reason)


def _covers(area_code: str, codes: Sequence[str]) -> bool:
    return any(code.startswith(area_code) for code in codes)


def _level_of(area_code: str) -> Text:
    return _LEVELS.get(len(area_code), Text(f"片区 {area_code}", f"area {area_code}"))


def _unit_for(codes: Sequence[str], scenario: Scenario, units: Sequence[Unit]) -> Unit | None:
    names = {
        *scenario.route.departments,
        scenario.department.zh,
        scenario.department.en,
        scenario.domain.value,
    }
    fitting = [
        unit for unit in units if unit.department in names and _covers(unit.area_code, codes)
    ]
    return min(fitting, key=lambda unit: (-len(unit.area_code), unit.unit_id), default=None)


def _worker_for(
    place: Place, codes: Sequence[str], workers: Sequence[Worker], open_load: Mapping[str, int]
) -> Worker | None:
    fitting = [worker for worker in workers if _covers(worker.area_code, codes)]
    if not fitting:
        return None
    finest = max(len(worker.area_code) for worker in fitting)
    closest = [worker for worker in fitting if len(worker.area_code) == finest]
    away = [0.0] * len(closest)
    if place.lon_deg is not None and place.lat_deg is not None:
        lons, lats = [one.lon_deg for one in closest], [one.lat_deg for one in closest]
        metres = distance_m(place.lon_deg, place.lat_deg, lons, lats).tolist()
        away = [math.inf if math.isnan(one) else one for one in metres]
    ranked = [
        (open_load.get(worker.worker_id, 0), metres, worker.worker_id, position)
        for position, (worker, metres) in enumerate(zip(closest, away, strict=True))
    ]
    return closest[min(ranked)[-1]]
