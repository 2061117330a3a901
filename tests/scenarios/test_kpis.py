"""Indicators: each by a table of cases whose answer is known, and what holds for all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import Place
from core.incidents import Incident, Severity, Status, Text
from core.units import NS_PER_S, rfc3339_to_ns
from scenarios.kpis import KPI_BY_ID, KPIS, GroupKey, Part, cases_behind, figure, grouped
from scenarios.routing import UNCLEAR_DUTY_ID

T0 = rfc3339_to_ns("2026-01-05T09:00:00+08:00")
H = 3600 * NS_PER_S


def a_case(number: int = 0, **more: Any) -> Incident:
    words: dict[str, Any] = {
        "status": Status.DISPATCHED,
        "filed_ns": T0,
        "dispatched_ns": T0,
        "deadline_ns": T0 + 4 * H,
        "unit_id": "u",
        "opened_ns": T0,
        "place": Place(district_code="370202"),
    } | more
    return Incident(
        id=f"i-{number}",
        case_number=str(number),
        scenario="s",
        scenario_name=Text("中", "en"),
        domain="交通",
        category_system="",
        category_code="09009",
        department=Text("", ""),
        severity=Severity.MINOR,
        began_ns=T0,
        updated_ns=T0,
        **words,
    )


def done(hours: float, **more: Any) -> Incident:
    return a_case(disposed_ns=T0 + round(hours * H), **({"status": Status.FEEDBACK} | more))


NOW = T0 + 10 * H
CASES = [
    a_case(filed_ns=None, dispatched_ns=None, status=Status.COLLECTED),
    a_case(unit_id=UNCLEAR_DUTY_ID),  # overdue
    a_case(deadline_ns=T0 + 20 * H),  # has time left
    a_case(deadline_ns=T0 + 5 * H, extension_count=1),  # overdue all the same
    done(1, status=Status.CLOSED),
    done(3, status=Status.EVALUATED, rework_count=1),
    done(8),  # late
    done(2, status=Status.CANCELLED),
    a_case(status=Status.SUSPENDED),
    a_case(status=Status.HANDLING, rework_count=1, deadline_ns=T0 + 20 * H),  # being reworked
]


@pytest.mark.parametrize(
    ("kpi", "numerator", "denominator"),
    [
        ("filing", 9, 10),
        ("dispatch", 8, 9),
        ("disposal", 3, 5),
        ("disposal-in-time", 2, 5),
        ("overdue", 2, 5),
        ("closing", 2, 3),
        ("rework", 2, 4),
        ("extension", 1, 5),
    ],
)
def test_shares(kpi: str, numerator: int, denominator: int) -> None:
    found = figure(KPI_BY_ID[kpi], CASES, NOW)
    assert (found.numerator, found.denominator) == (numerator, denominator)
    assert found.value == numerator / denominator


def test_handling_time_is_a_mean_of_hours() -> None:
    found = figure(KPI_BY_ID["handling-time"], CASES, NOW)
    assert (found.value, found.median, found.numerator) == (4.0, 3.0, 3)


def test_nothing_gives_no_hundred_per_cent() -> None:
    [(key, name, figures)] = grouped([], GroupKey.NONE, NOW)
    assert (key, name) == ("", "")
    assert {one.value for one in figures.values()} == {None}


def test_groups_are_those_of_the_cases() -> None:
    cases = [
        a_case(1, place=Place(district_code="370203")),
        a_case(2),
        a_case(3, opened_ns=rfc3339_to_ns("2026-01-31T23:59:59+08:00")),
        a_case(4, place=Place(unplaced="outside_city")),
    ]
    by_district = grouped(cases, GroupKey.DISTRICT, NOW)
    assert [(key, one["filing"].denominator) for key, _, one in by_district] == [
        ("", 1),
        ("370202", 2),
        ("370203", 1),
    ]
    assert [key for key, _, _ in grouped(cases, GroupKey.DAY, NOW)] == ["2026-01-05", "2026-01-31"]
    assert [key for key, _, _ in grouped(cases, GroupKey.MONTH, NOW)] == ["2026-01"]


maybe_hours = st.none() | st.integers(0, 30)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(Status), maybe_hours, maybe_hours, st.integers(0, 2)), max_size=20
    ),
    key=st.sampled_from(GroupKey),
)
def test_figures_open_to_the_cases_they_count_and_groups_add_up(rows: Any, key: GroupKey) -> None:
    cases = [
        a_case(
            number,
            status=status,
            disposed_ns=None if done_h is None else T0 + done_h * H,
            deadline_ns=None if due_h is None else T0 + due_h * H,
            rework_count=rework,
        )
        for number, (status, done_h, due_h, rework) in enumerate(rows)
    ]
    groups = grouped(cases, key, NOW)
    for kpi in KPIS:
        whole = figure(kpi, cases, NOW)
        assert 0 <= whole.numerator <= whole.denominator <= len(cases)
        assert (whole.value is None) == (
            whole.numerator == 0 if kpi.measure else whole.denominator == 0
        )
        for part, count in (
            (Part.NUMERATOR, whole.numerator),
            (Part.DENOMINATOR, whole.denominator),
        ):
            assert len(cases_behind(kpi, cases, part, NOW)) == count
        assert sum(one[kpi.id].denominator for _, _, one in groups) == whole.denominator
