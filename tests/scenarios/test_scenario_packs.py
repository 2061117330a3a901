"""The shipped scenarios: the contract's ids, and pages whose examples are run."""

from __future__ import annotations

import re

import pytest

from core.errors import RuleError
from scenarios.categories import COMPONENTS, MATTERS, category_name
from scenarios.examples import check_page
from scenarios.explain import describe_rule
from scenarios.loader import SHIPPED_PACKS, load_packs
from scenarios.model import CategoryKind, Comparison, Scenario

PACKS = load_packs()
IDS = [one.id for one in PACKS]

#: kind, threshold, for_s, clear level, zones
RULES = {
    "road-flooding/level": ("water_level", 0.25, 60, 0.15, "underpass"),
    "road-flooding/seen": ("detection.standing_water", 40, 60, 30, "underpass"),
    "illegal-parking/camera": ("detection.static_object", 120, 0, None, "no_parking"),
    "exposed-waste/camera": ("detection.static_object", 120, 0, None, "pavement"),
    "manhole-cover/tilt": ("manhole", 15, 20, 8, None),
    "site-dust/pm10": ("site_air", 150, 120, 120, None),
    "site-noise/level": ("site_air", 70, 120, 65, None),
    "smoke-alarm/density": ("smoke", 0.20, 10, 0.10, None),
    "gas-leak/concentration": ("gas", 0.10, 10, 0.05, None),
    "fire-lane-blocked/sensor": ("parking", 1, 90, None, "fire_lane"),
    "fire-lane-blocked/camera": ("detection.static_object", 90, 0, None, "fire_lane"),
    "airspace-intrusion/inside": ("aircraft", None, 0, None, None),
    "height-limit/height": ("aircraft", 120, 3, 115, None),
    "unidentified-aircraft/unregistered": ("aircraft", None, 5, None, None),
    "street-trading/camera": ("detection.static_object", 600, 0, None, "pavement"),
    "illegal-building/two-flights": ("detection.building_change", 2, 0, None, None),
    "floating-debris/camera": ("detection.floating_debris", 3, 600, 2, "water"),
    "stopped-vehicle/stopped": ("detection.static_object", 90, 0, None, "carriageway"),
    "stopped-vehicle/wrong-way": ("detection.wrong_way", 6, 0, None, "carriageway"),
    "traffic-congestion/slow": ("detection.traffic", 18, 120, 12, "carriageway"),
    "bare-soil/two-flights": ("detection.bare_soil", 450, 0, None, "site"),
    "uncovered-truck/gate": ("detection.truck_load", 0.4, 0, None, "site site_gate"),
    "structure-tilt/level": ("structure", 0.25, 300, 0.2, None),
    "structure-tilt/speed": ("structure", 0.4, 300, None, None),
    "night-work/noise": ("site_air", 56, 300, 53, None),
    "falling-object/camera": ("detection.falling_object", 6, 0, None, None),
    "silent-water-meter/silent": ("water_meter", None, 86400, None, None),
    "burst-pipe/pressure": ("pipe_pressure", 180_000, 240, 240_000, None),
    "ledger-imbalance/missing": ("ledger", 1, 0, None, None),
    "ledger-imbalance/unarchived": ("ledger", 1, 0, None, None),
    "receiver-disabled/disabled": ("webhook", 1, 0, None, None),
    "lost-link/silent": ("aircraft", 5, 60, None, None),
}


def page_of(scenario: Scenario) -> str:
    return (SHIPPED_PACKS / f"{scenario.id}.md").read_text(encoding="utf-8")


def test_the_scenarios_have_the_agreed_thresholds() -> None:
    found = {
        rule.id: (
            rule.kind,
            rule.threshold,
            rule.for_s,
            rule.clear_level,
            " ".join(rule.in_zone) or None,
        )
        for one in PACKS
        for rule in one.rules
    }
    assert found == RULES


def test_the_height_limit_is_lawful_at_the_limit_itself() -> None:
    (rule,) = next(one for one in PACKS if one.id == "height-limit").rules
    assert rule.comparison is Comparison.ABOVE


def test_six_or_more_scenarios_serve_the_three_departments_of_the_city() -> None:
    assert {one.domain.value for one in PACKS} == {"城管", "交通", "住建", "社区", "低空"}
    assert sum(one.domain.value in {"城管", "交通", "住建"} for one in PACKS) >= 6


@pytest.mark.parametrize("one", PACKS, ids=IDS)
def test_category_codes_are_national_or_our_own(one: Scenario) -> None:
    if one.category.kind is CategoryKind.OWN:
        prefixes = {"城管": "CG", "低空": "LA", "交通": "JT", "住建": "ZJ", "社区": "SQ"}
        assert one.category.code.startswith(prefixes[one.domain.value] + "-")
    else:
        assert category_name(one.category.kind, one.category.code) == one.category.name.zh


def test_the_national_list_is_whole() -> None:
    assert (len(COMPONENTS), len(MATTERS)) == (153, 250)


@pytest.mark.parametrize("one", PACKS, ids=IDS)
def test_a_page_names_code_department_severity_and_deadline(one: Scenario) -> None:
    page = page_of(one)
    length = f"{one.deadline.duration_s / 3600:g} h"
    if one.deadline.duration_s < 3600:
        length = f"{one.deadline.duration_s / 60:g} min"
    length = length.replace(" h", " working h") if one.deadline.clock == "working" else length
    for word in (
        one.category.code,
        one.category.name.zh,
        one.department.zh,
        one.department.en,
        one.severity.value,
        length,
        one.name.zh,
        one.closes_when.zh,
        *(rule.kind for rule in one.rules),
        *(measure for rule in one.rules for measure in rule.measures),
    ):
        assert word in page, f"{one.id}.md does not name {word!r}"
    assert [path.stem for path in sorted(SHIPPED_PACKS.glob("*.md"))] == IDS


@pytest.mark.parametrize("one", PACKS, ids=IDS)
def test_the_examples_of_a_page_do_as_it_says(one: Scenario) -> None:
    assert check_page(page_of(one), f"{one.id}.md", one, PACKS) >= 2


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (
            "```fires\n0s tilt_deg=90\n30s tilt_deg=90\n```",
            "x.md: no example; at least one block ```quiet",
        ),
        (
            "# X\n\n```fires\n0s tilt_deg=1\n```\n```quiet\n0s tilt_deg=1\n```",
            "x.md:3: example (fires): raises nothing; manhole-cover is accepted",
        ),
        (
            "```fires\n0s tilt_deg=90\n30s tick\n```\n```quiet\n0s tilt=deep\n```",
            "x.md:5: example (quiet): '0s tilt=deep': a number is wanted for tilt",
        ),
        (
            "```fires\n0s tilt_deg=90\n30s tick\n```\n```quiet\nsoon tilt=1\n```",
            "x.md:5: example (quiet): a duration like",
        ),
    ],
)
def test_a_page_that_does_otherwise_is_told(page: str, message: str) -> None:
    cover = next(one for one in PACKS if one.id == "manhole-cover")
    with pytest.raises(RuleError) as caught:
        check_page(page, "x.md", cover, PACKS)
    assert message in str(caught.value)


@pytest.mark.parametrize("one", PACKS, ids=IDS)
def test_every_rule_can_be_told_in_both_languages(one: Scenario) -> None:
    for rule in one.rules:
        told = describe_rule(rule)
        assert re.search(r"[\u4e00-\u9fff]", told.zh)
        assert re.search(r"[a-z]", told.en)
        assert not re.search(r"[\u4e00-\u9fff]", told.en)
