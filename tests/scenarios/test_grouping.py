"""Which case a case is part of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import RuleError
from core.events import Place
from core.incidents import Status
from core.units import seconds_to_ns
from scenarios.correlation import OpenCase
from scenarios.grouping import parent_of
from scenarios.loader import load_packs, parse_scenario
from scenarios.model import PartOf

LON, LAT = 120.3846, 36.0614
#: Metres of a degree here.
EAST_M = 90_089.0
SAID = PartOf(scenario="burst-pipe", radius_m=300.0, within_s=3600.0)
HERE = Place(lon_deg=LON, lat_deg=LAT)
GOOD = (Path(__file__).parent / "data" / "good.yaml").read_text(encoding="utf-8")


def a_parent(name: str = "burst", east_m: float = 0.0, began_s: float = 0.0, **more: Any) -> Any:
    case = OpenCase(
        incident_id=name,
        scenario="burst-pipe",
        status=Status.HANDLING,
        began_ns=seconds_to_ns(began_s),
        last_ns=seconds_to_ns(began_s),
        lon_deg=LON + east_m / EAST_M,
        lat_deg=LAT,
    )
    return msgspec.structs.replace(case, **more)


@pytest.mark.parametrize(
    ("parents", "wanted"),
    [
        ([a_parent(east_m=299)], "burst"),
        ([a_parent(east_m=302)], None),
        ([a_parent(began_s=3600)], "burst"),
        ([a_parent(began_s=-3600)], "burst"),
        ([a_parent(began_s=3601)], None),
        ([a_parent(began_s=-3601)], None),
        ([a_parent(status=Status.SUSPENDED)], "burst"),
        ([a_parent(status=Status.CLOSED)], None),
        ([a_parent(status=Status.CANCELLED)], None),
        ([a_parent(scenario="gas-leak")], None),
        ([a_parent(lon_deg=None, lat_deg=None)], None),
        ([a_parent("far", 200), a_parent("near", -100)], "near"),
        ([a_parent("near", 100, status=Status.CLOSED), a_parent("far", -200)], "far"),
        ([a_parent("late", 50, 9), a_parent("early", 50, 3)], "early"),
        ([a_parent("b", 50), a_parent("a", 50)], "a"),
        ([], None),
    ],
)
def test_the_parent_is_near_open_and_of_the_time(parents: list[Any], wanted: str | None) -> None:
    found = parent_of(HERE, 0, SAID, parents)
    assert (found and found.incident_id) == wanted


def test_what_has_no_place_is_part_of_nothing() -> None:
    assert parent_of(Place(unplaced="no_position"), 0, SAID, [a_parent()]) is None


_CASES = st.lists(
    st.builds(
        a_parent,
        st.sampled_from("abcdefgh"),
        st.sampled_from([-400.0, -120.0, -50.0, 0.0, 50.0, 120.0, 310.0]),
        st.sampled_from([-4000.0, -5.0, 0.0, 5.0, 4000.0]),
        status=st.sampled_from([Status.COLLECTED, Status.HANDLING, Status.CLOSED]),
    ),
    max_size=8,
    unique_by=lambda case: case.incident_id,
)


@given(cases=_CASES, data=st.data())
def test_the_order_of_candidates_does_not_matter(cases: list[OpenCase], data: Any) -> None:
    shuffled = data.draw(st.permutations(cases))
    assert parent_of(HERE, 0, SAID, cases) == parent_of(HERE, 0, SAID, shuffled)


@given(cases=_CASES)
def test_taking_in_parents_one_by_one_ends_where_knowing_all_does(cases: list[OpenCase]) -> None:
    held: list[OpenCase] = []
    for case in cases:
        best = parent_of(HERE, 0, SAID, [*held, case])
        held = [] if best is None else [best]
    assert parent_of(HERE, 0, SAID, cases) == (held[0] if held else None)


def test_a_pack_says_what_its_cases_are_part_of() -> None:
    text = GOOD + "part_of: {scenario: burst-pipe, radius_m: 300, within: 1h}\n"
    assert parse_scenario(text, "good.yaml").part_of == SAID


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ({"wet-road": "wet-road"}, "part_of.scenario: found the scenario itself"),
        ({"wet-road": "wet-rof", "wet-roof": None}, "found 'wet-rof'"),
        (
            {"wet-road": "wet-roof", "wet-roof": "wet-field", "wet-field": None},
            "'wet-roof' is itself part of 'wet-field'",
        ),
    ],
)
def test_a_parent_must_be_another_scenario_that_has_none(
    tmp_path: Path, parts: dict[str, str | None], wanted: str
) -> None:
    for name, parent in parts.items():
        text = GOOD.replace("wet-road", name)
        if parent is not None:
            text += f"part_of: {{scenario: {parent}, radius_m: 300, within: 1h}}\n"
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RuleError, match="part_of") as refused:
        load_packs(tmp_path)
    assert wanted in str(refused.value)
