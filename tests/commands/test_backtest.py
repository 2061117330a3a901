"""Back-test: other rules on a recording, told as a table and as JSON."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from recordings import START_NS, a_street
from rich.console import Console

from commands.backtest import BacktestPlan, run_backtest
from core.errors import RuleError
from core.settings import load_settings
from core.units import NS_PER_S
from geo.city import load_city
from scenarios.backtest import Case, compare
from scenarios.loader import SHIPPED_PACKS
from simulators.truth import Thing, TruthWriter


def rules_with(folder: Path, change: tuple[str, str]) -> Path:
    shutil.copytree(SHIPPED_PACKS, folder)
    flood = folder / "road-flooding.yaml"
    text = flood.read_text()
    assert change[0] in text
    flood.write_text(text.replace(*change))
    return folder


async def test_a_threshold_too_high_loses_the_flood(tmp_path: Path) -> None:
    city = load_city("generated", seed=7)
    street = a_street(tmp_path / "street", city)
    flooded = min(one.thing_id for one in city.devices.values() if one.kind == "water_level")
    device = city.devices[flooded]
    with TruthWriter(tmp_path / "truth.jsonl") as truth:
        truth.write(
            [
                Thing(
                    truth_id="t-1",
                    scenario="road-flooding",
                    lon_deg=device.lon_deg or 0.0,
                    lat_deg=device.lat_deg or 0.0,
                    began_ns=START_NS + 120 * NS_PER_S,
                    ended_ns=START_NS + 400 * NS_PER_S,
                    note="a flood",
                )
            ]
        )
    plan = BacktestPlan(
        rules=rules_with(tmp_path / "new", ("at_least: 0.25", "at_least: 0.50")),
        recording=street,
        truth=tmp_path / "truth.jsonl",
        json_path=tmp_path / "result.json",
    )
    console = Console(record=True, width=200, force_terminal=False)
    settings = load_settings(data_dir=tmp_path / "data")
    assert await run_backtest(settings, plan, console) == 0
    told = console.export_text()
    result = json.loads((tmp_path / "result.json").read_text())
    assert {kind: n for kind, n in result["counts"].items() if n} == {"lost": 1}
    assert result["incidents"] == {"current": 1, "new": 0}
    assert result["changes"][0]["things"] == [flooded]
    assert result["score"]["current"]["recall"] == 1.0
    assert result["score"]["new"]["recall"] == 0.0
    assert re.search(r"失去 lost +│ road-flooding", told)


async def test_rules_with_a_mistake_are_refused_before_anything_runs(tmp_path: Path) -> None:
    folder = rules_with(tmp_path / "new", ("at_least: 0.25", "at_leat: 0.25"))
    plan = BacktestPlan(rules=folder, recording=tmp_path / "none")
    with pytest.raises(RuleError, match=r"road-flooding.yaml:\d+: rules\[0\]"):
        await run_backtest(load_settings(data_dir=tmp_path), plan, Console())


def a_case(name: str, *raises: tuple[str, float], began_s: float | None = None) -> Case:
    began = raises[0][1] if began_s is None else began_s
    return Case(
        id=name,
        scenario="s",
        began_ns=round(began * NS_PER_S),
        until_ns=round(raises[-1][1] * NS_PER_S),
        lon_deg=120.0,
        lat_deg=36.0,
        raises=tuple((thing, round(at * NS_PER_S)) for thing, at in raises),
    )


@pytest.mark.parametrize(
    ("current", "new", "kinds"),
    [
        pytest.param([], [], [], id="nothing"),
        pytest.param([a_case("a", ("w", 5))], [a_case("b", ("w", 5))], [], id="the same"),
        pytest.param([a_case("a", ("w", 5))], [a_case("b", ("w", 65))], ["moved"], id="later"),
        pytest.param([], [a_case("b", ("w", 5))], ["gained"], id="gained"),
        pytest.param(
            [a_case("a", ("w", 5)), a_case("b", ("v", 6))],
            [a_case("c", ("w", 5), ("v", 6))],
            ["merged"],
            id="merged",
        ),
        pytest.param(
            [a_case("c", ("w", 5), ("v", 6))],
            [a_case("a", ("w", 5)), a_case("b", ("v", 6))],
            ["split"],
            id="split",
        ),
        pytest.param(
            [a_case("a", ("w", 5))],
            [a_case("b", ("w", 5000))],
            ["lost", "gained"],
            id="hours apart are two",
        ),
    ],
)
def test_how_two_runs_differ(current: list[Case], new: list[Case], kinds: list[Any]) -> None:
    assert [one.kind.value for one in compare(current, new)] == kinds
