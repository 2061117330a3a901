"""The case process, its deadlines, who acts, and what they are told."""

from __future__ import annotations

from datetime import date, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.city import Unit, Worker
from core.errors import TransitionError
from core.events import Event, Place
from core.incidents import OPEN_STATUSES, Status
from core.units import ns_to_rfc3339, rfc3339_to_ns, seconds_to_ns
from scenarios.deadlines import deadline_ns, is_working_day
from scenarios.explain import duration_text, explain
from scenarios.lifecycle import (
    ACTION_NAMES,
    NEEDS_REASON,
    STATUS_NAMES,
    STEP_NAMES,
    TRANSITIONS,
    Action,
    Role,
    allowed_actions,
    check_transition,
)
from scenarios.loader import load_packs
from scenarios.model import Deadline, DeadlineClock
from scenarios.routing import (
    UNCLEAR_DUTY_ID,
    Assignment,
    Fairness,
    Owner,
    assign,
    considered,
)

# ---- process ----------------------------------------------------------------------------------


def test_the_seven_steps_in_order() -> None:
    way = [
        ("file", "system"),
        ("dispatch", "system"),
        ("accept", "worker"),
        ("handle", "worker"),
        ("feedback", "worker"),
        ("close", "verifier"),
        ("evaluate", "system"),
    ]
    status = Status.COLLECTED
    steps = [STEP_NAMES[status].zh]
    for action, role in way:
        status = check_transition(status, action, role)
        if STEP_NAMES[status].zh != steps[-1]:
            steps.append(STEP_NAMES[status].zh)
    assert steps == [
        "信息采集",
        "案卷建立",
        "任务派遣",
        "任务处理",
        "处理反馈",
        "核查结案",
        "综合评价",
    ]


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("role", Role)
def test_what_is_allowed_is_what_is_listed(status: Status, action: Action, role: Role) -> None:
    allowed = action in allowed_actions(status, role)
    if allowed:
        assert check_transition(status, action, role, "because") in Status
    else:
        with pytest.raises(TransitionError) as refused:
            check_transition(status, action, role, "because")
        for other in allowed_actions(status, role):
            assert other.value in str(refused.value)


@pytest.mark.parametrize("action", sorted(NEEDS_REASON))
def test_some_need_a_reason(action: Action) -> None:
    for one in TRANSITIONS:
        if one.action is action:
            role = min(one.roles)
            with pytest.raises(TransitionError, match="needs a reason"):
                check_transition(one.status, action, role, "  ")
            assert check_transition(one.status, action, role, "wrong place") is one.to


def test_unknown_words_are_refused_with_the_known_ones() -> None:
    with pytest.raises(TransitionError, match="actions: file, dispatch, accept"):
        check_transition("filed", "burn", "worker")
    with pytest.raises(TransitionError, match="roles: system, worker"):
        check_transition("filed", "dispatch", "king")
    with pytest.raises(TransitionError, match="'lost'"):
        check_transition("lost", "dispatch", "system")


def test_a_worker_neither_closes_nor_cancels() -> None:
    for status in Status:
        assert not {Action.CLOSE, Action.CANCEL} & set(allowed_actions(status, Role.WORKER))


def test_every_open_status_can_be_left_and_everything_has_its_names() -> None:
    for status in OPEN_STATUSES:
        assert any(one.to is not status for one in TRANSITIONS if one.status is status)
    assert set(STATUS_NAMES) == set(Status)
    assert set(ACTION_NAMES) == set(Action)
    assert set(STEP_NAMES) == set(Status) - {Status.CANCELLED}


# ---- deadlines --------------------------------------------------------------------------------

FOUR_HOURS = 4 * 3600.0


@pytest.mark.parametrize(
    ("start", "hours", "expected"),
    [
        ("2026-01-05T09:00:00", 4, "2026-01-05T13:00:00"),  # a Monday
        ("2026-01-05T03:00:00", 4, "2026-01-05T13:00:00"),
        ("2026-01-05T13:00:00", 4, "2026-01-05T17:00:00"),
        ("2026-01-05T13:00:01", 4, "2026-01-06T09:00:01"),
        ("2026-01-05T20:00:00", 4, "2026-01-06T13:00:00"),
        ("2026-01-09T16:00:00", 4, "2026-01-12T12:00:00"),  # over a weekend
        ("2026-01-10T12:00:00", 8, "2026-01-12T17:00:00"),
        ("2026-01-05T09:00:00", 40, "2026-01-09T17:00:00"),
        ("2026-01-05T09:00:00", 41, "2026-01-12T10:00:00"),
    ],
)
def test_working_hours(start: str, hours: float, expected: str) -> None:
    deadline = Deadline(duration_s=hours * 3600, clock=DeadlineClock.WORKING)
    found = deadline_ns(rfc3339_to_ns(f"{start}+08:00"), deadline)
    assert found == rfc3339_to_ns(f"{expected}+08:00")


def test_holidays_and_days_worked_in_exchange() -> None:
    deadline = Deadline(duration_s=FOUR_HOURS, clock=DeadlineClock.WORKING)
    # 2026: New Year from Thursday to Saturday, and the Sunday after is worked in exchange.
    wednesday = rfc3339_to_ns("2025-12-31T15:00:00+08:00")
    assert ns_to_rfc3339(deadline_ns(wednesday, deadline)) == "2026-01-04T03:00:00.000Z"
    national_day = rfc3339_to_ns("2026-10-01T10:00:00+08:00")
    assert ns_to_rfc3339(deadline_ns(national_day, deadline)) == "2026-10-08T05:00:00.000Z"


def test_around_the_clock() -> None:
    start_ns = rfc3339_to_ns("2026-01-10T23:00:00+08:00")
    assert deadline_ns(start_ns, Deadline(duration_s=1800.0)) == start_ns + seconds_to_ns(1800)


@given(start_s=st.integers(0, 4_000_000_000), hours=st.floats(0.02, 200))
def test_working_deadlines_lie_in_working_hours_and_grow(start_s: int, hours: float) -> None:
    start_ns = start_s * 1_000_000_000
    found = deadline_ns(start_ns, Deadline(duration_s=hours * 3600, clock=DeadlineClock.WORKING))
    longer = deadline_ns(
        start_ns, Deadline(duration_s=hours * 3600 + 60, clock=DeadlineClock.WORKING)
    )
    assert start_ns + seconds_to_ns(hours * 3600) <= found < longer
    second = (found // 1_000_000_000 + 8 * 3600) % 86400
    assert 9 * 3600 <= second <= 17 * 3600
    day = date(1970, 1, 1) + timedelta(days=(found // 1_000_000_000 + 8 * 3600) // 86400)
    assert is_working_day(day)


# ---- routing ----------------------------------------------------------------------------------

PLACE = Place(
    lon_deg=120.38,
    lat_deg=36.06,
    district_code="370202",
    street_code="370202001",
    community_code="370202001003",
    grid_code="370202001003007",
    area_name="香港中路街道·甲社区",
)


def a_unit(unit_id: str, area_code: str, department: str = "城管") -> Unit:
    return Unit(unit_id=unit_id, name=unit_id, department=department, area_code=area_code)


def a_worker(worker_id: str, area_code: str, lon: float = 120.38) -> Worker:
    return Worker(worker_id=worker_id, name="", area_code=area_code, lon_deg=lon, lat_deg=36.06)


UNITS = [
    a_unit("city", ""),
    a_unit("street", "370202001"),
    a_unit("other-street", "370202002"),
    a_unit("traffic", "370202001003", "交通"),
]
WORKERS = [
    a_worker("far", "370202001003", 120.40),
    a_worker("near", "370202001003", 120.381),
    a_worker("wide", "370202001"),
    a_worker("elsewhere", "370202001004"),
]


def assigned(words: SimpleNamespace, place: Place, **load: int) -> Assignment:
    return assign(place, words.shipped("manhole-cover"), UNITS, WORKERS, load)


def test_the_finest_unit_and_the_nearest_of_the_least_busy(words: SimpleNamespace) -> None:
    one = assigned(words, PLACE)
    assert (one.unit_id, one.worker_id) == ("street", "near")
    assert "城管" in one.reason.zh
    assert "本社区" in one.reason.zh
    assert assigned(words, PLACE, near=1).worker_id == "far"
    assert assigned(words, PLACE, near=1, far=2).worker_id == "near"


def test_an_area_without_a_worker_of_its_own_has_that_of_the_street(
    words: SimpleNamespace,
) -> None:
    place = Place(street_code="370202001", community_code="370202001009")
    assert assigned(words, place).worker_id == "wide"


def test_nobody_is_asked_for_more_than_one_can_do(words: SimpleNamespace) -> None:
    full = {"near": 25, "far": 25}
    assert assigned(words, PLACE, **full).worker_id == "wide"  # walks the street around it
    one = assigned(words, PLACE, **full, wide=25)
    assert (one.unit_id, one.worker_id) == ("street", None)
    assert "everybody who walks there has 25 open" in one.reason.en


@pytest.mark.parametrize(
    ("scenario", "at", "worker"),
    [
        ("illegal-parking", "2026-01-05T23:00:00+08:00", None),
        ("illegal-parking", "2026-01-05T05:59:59+08:00", None),
        ("illegal-parking", "2026-01-05T06:00:00+08:00", "near"),
        ("gas-leak", "2026-01-05T03:00:00+08:00", "near"),
    ],
)
def test_small_things_wait_for_the_morning(
    words: SimpleNamespace, scenario: str, at: str, worker: str | None
) -> None:
    what = words.shipped(scenario)
    units = [a_unit("u", "370202", what.department.zh)]
    one = assign(PLACE, what, units, WORKERS, {}, at_ns=rfc3339_to_ns(at))
    assert one.worker_id == worker
    assert ("quiet hours" in one.reason.en) == (worker is None)


def test_who_was_not_chosen_and_why(words: SimpleNamespace) -> None:
    chosen = assigned(words, PLACE)
    found = considered(PLACE, words.shipped("manhole-cover"), UNITS, WORKERS, chosen)
    assert {one.id: one.why_not.en for one in found} == {
        "traffic": "is of 交通",
        "other-street": "answers for another area",
        "city": "answers for a wider area",
        "far": "had more open or was further away",
        "wide": "walks a wider area",
    }


PACKS = {one.id: one for one in load_packs()}
AREAS = ["", "370202", "370202001", "370202001003", "370202001003007", "370203", "370202002"]


@given(
    areas=st.lists(st.sampled_from(AREAS[1:]), max_size=8),
    unit_areas=st.lists(st.sampled_from(AREAS), max_size=5),
    loads=st.lists(st.integers(0, 30), min_size=8, max_size=8),
    severe=st.booleans(),
    at_s=st.integers(1_700_000_000, 1_800_000_000),
)
def test_a_case_goes_somewhere_and_nobody_gets_more_than_one_can_do(
    areas: list[str], unit_areas: list[str], loads: list[int], severe: bool, at_s: int
) -> None:
    what = PACKS["gas-leak" if severe else "illegal-parking"]
    units = [a_unit(f"u{n}", code, what.department.zh) for n, code in enumerate(unit_areas)]
    workers = [a_worker(f"w{n}", code, 120.38 + n / 1000) for n, code in enumerate(areas)]
    load = {f"w{n}": count for n, count in enumerate(loads)}
    fairness = Fairness()
    at_ns = seconds_to_ns(at_s)
    one = assign(PLACE, what, units, workers, load, at_ns=at_ns, fairness=fairness)
    holding = [unit for unit in units if PLACE.grid_code.startswith(unit.area_code)]
    if not holding:
        assert (one.unit_id, one.worker_id) == (UNCLEAR_DUTY_ID, None)
        return
    finest = max(len(unit.area_code) for unit in holding)
    assert one.unit_id in {unit.unit_id for unit in holding if len(unit.area_code) == finest}
    room = [
        worker
        for worker in workers
        if PLACE.grid_code.startswith(worker.area_code)
        and load[worker.worker_id] < fairness.max_open_tasks
    ]
    if fairness.is_quiet(what.severity, at_ns) or not room:
        assert one.worker_id is None
        return
    [chosen] = [worker for worker in workers if worker.worker_id == one.worker_id]
    assert chosen in room
    smallest = [one for one in room if len(one.area_code) == max(len(r.area_code) for r in room)]
    assert chosen in smallest
    assert load[chosen.worker_id] == min(load[worker.worker_id] for worker in smallest)


def test_a_unit_without_any_worker(words: SimpleNamespace) -> None:
    place = Place(district_code="370203")
    one = assigned(words, place)
    assert (one.unit_id, one.worker_id) == ("city", None)
    assert "no grid worker" in one.reason.en


def test_what_no_layer_places_is_of_unclear_duty(words: SimpleNamespace) -> None:
    one = assigned(words, Place(unplaced="outside_city"))
    assert (one.unit_id, one.worker_id) == (UNCLEAR_DUTY_ID, None)
    assert "outside_city" in one.reason.en


def test_what_no_unit_answers_for_is_of_unclear_duty(words: SimpleNamespace) -> None:
    one = assign(PLACE, words.shipped("site-dust"), UNITS, WORKERS, {})
    assert one.unit_id == UNCLEAR_DUTY_ID
    assert "住房和城乡建设部门" in one.reason.zh


def test_flights_go_to_the_duty_desk(words: SimpleNamespace) -> None:
    units = [*UNITS, a_unit("air", "", "低空")]
    one = assign(PLACE, words.shipped("height-limit"), units, WORKERS, {})
    assert (one.unit_id, one.worker_id) == ("air", None)
    assert "值班台" in one.reason.zh


def test_a_unit_may_be_named_by_its_department(words: SimpleNamespace) -> None:
    for name in ("城市管理部门", "Urban management department", "城管"):
        unit = a_unit("u", "", name)
        assert assign(PLACE, words.shipped("manhole-cover"), [unit], [], {}).unit_id == "u"


# ---- what they are told -----------------------------------------------------------------------


def first_event(words: SimpleNamespace, scenario: str, *rows: object, until_s: float) -> Event:
    from scenarios.engine import RuleEngine

    engine = RuleEngine([words.shipped(scenario)], frozenset())
    event: Event = words.process(engine, rows, until_s)[0]
    return event


def test_an_explanation_answers_the_five_questions(words: SimpleNamespace) -> None:
    event = first_event(
        words,
        "road-flooding",
        words.an_observation(0, "water-0001", zone="underpass", water_level_m=0.312),
        until_s=70,
    )
    unit = Assignment(unit_id="u", unit_name="u", reason=assigned(words, PLACE).reason)
    told = explain(event, words.shipped("road-flooding"), unit, words.at_ns(4 * 3600))
    assert told.zh.splitlines() == [
        (
            "为何立案：water-0001 自 2026-01-01 08:00:00 起符合"
            "“位于下穿通道，水位不低于 0.25 米，持续 60 秒”，实测水位 0.312 米。"
        ),
        "为何由您处理：street（城管）负责本街道；您是本社区的网格员，手上有 0 件未办。",
        "类别：GB/T 47678.5 事项 01004 雨水箅子异常。",
        "时限：4 小时（全天计时），2026-01-01 12:00:00 前办结。",
        "结案条件：现场无积水、雨水箅子畅通，附排水后照片",
    ]
    assert told.en.splitlines()[0] == (
        "Why a case: from 2026-01-01 08:00:00 on, water-0001 met: in an underpass, "
        "water level at least 0.25 m for 60 s; it measured water level 0.312 m."
    )
    assert "matter 01004" in told.en
    assert told.en.count("\n") == 4


def test_an_explanation_of_a_report_has_the_citizens_words(words: SimpleNamespace) -> None:
    report = words.an_observation(
        0, "report/1", "report", labels={"scenario": "manhole-cover", "text": "井盖没了"}
    )
    event = first_event(words, "manhole-cover", report, until_s=1)
    told = explain(event, words.shipped("manhole-cover"), assigned(words, PLACE), None)
    assert "群众上报（井盖异常）：“井盖没了”" in told.zh
    assert "a citizen reported it" in told.en


def test_every_scenario_can_be_explained(words: SimpleNamespace) -> None:
    for scenario in words.shipped_all:
        for rule in scenario.rules:
            event = Event(
                id="e",
                scenario=scenario.id,
                rule=rule.id,
                edge="raise",
                source="s",
                thing_id="t",
                kind=rule.kind,
                began_ns=words.at_ns(0),
                at_ns=words.at_ns(0),
                place=Place(),
            )
            told = explain(event, scenario, assigned(words, PLACE), None)
            assert scenario.category.code in told.zh
            assert scenario.category.code in told.en
            assert scenario.closes_when.zh in told.zh


def test_a_rule_that_is_gone_can_still_be_told(words: SimpleNamespace) -> None:
    event = first_event(
        words,
        "manhole-cover",
        words.an_observation(0, "m-1", "manhole", tilt_deg=30.0),
        until_s=30,
    )
    told = explain(event, words.shipped("gas-leak"), assigned(words, PLACE), None)
    assert "manhole-cover/tilt" in told.en


@pytest.mark.parametrize(
    ("seconds", "zh", "en"),
    [
        (600, "10 分钟", "10 min"),
        (14400, "4 小时", "4 h"),
        (5400, "1.5 小时", "1.5 h"),
        (30, "30 秒", "30 s"),
    ],
)
def test_durations(seconds: float, zh: str, en: str) -> None:
    assert (duration_text(seconds).zh, duration_text(seconds).en) == (zh, en)


def test_the_owner_of_the_component_comes_first(words: SimpleNamespace) -> None:
    water = Unit(unit_id="water", name="排水公司", department="水务", area_code="")
    what = words.shipped("manhole-cover")
    owner = Owner(unit=water, component="雨水井盖")
    one = assign(PLACE, what, UNITS, WORKERS, {}, owner=owner)
    assert one.unit_id == "water"
    assert one.worker_id is not None
    assert "owns the component 雨水井盖" in one.reason.en
    others = {
        each.id: each.why_not.en for each in considered(PLACE, what, (*UNITS, water), (), one)
    }
    without = assign(PLACE, what, UNITS, WORKERS, {})
    assert others[without.unit_id] == "the owner of the component comes first"
