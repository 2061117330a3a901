"""The score as a command: owners, spans, gates, the page."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from recordings import START_NS
from rich.console import Console

from commands.score import ScorePlan, owners_of, run_score
from core.errors import InputError
from core.settings import load_settings
from core.units import NS_PER_S, ns_to_rfc3339
from geo.city import City, load_city
from scenarios.loader import load_packs
from simulators.truth import Thing, TruthWriter


@pytest.fixture(scope="module")
def city() -> City:
    return load_city("generated", seed=7)


def a_thing(city: City, n: int, began_s: float) -> Thing:
    device = sorted(
        (one for one in city.devices.values() if one.kind == "water_level"),
        key=lambda one: one.thing_id,
    )[n]
    assert device.lon_deg is not None
    assert device.lat_deg is not None
    began_ns = START_NS + round(began_s * NS_PER_S)
    return Thing(
        truth_id=f"t-{n}-{began_s:g}",
        scenario="road-flooding",
        lon_deg=device.lon_deg,
        lat_deg=device.lat_deg,
        began_ns=began_ns,
        ended_ns=began_ns + 300 * NS_PER_S,
        note="flood",
    )


def an_incident(thing: Thing, unit_id: str | None) -> dict[str, object]:
    at = ns_to_rfc3339(thing.began_ns + 60 * NS_PER_S)
    return {
        "id": f"i-{thing.truth_id}", "case_number": "QI-1", "scenario": thing.scenario,
        "began_at": ns_to_rfc3339(thing.began_ns), "opened_at": at, "updated_at": at,
        "cleared_at": None, "lon_deg": thing.lon_deg, "lat_deg": thing.lat_deg,
        "unit_id": unit_id,
    }  # fmt: skip


async def test_a_wrong_owner_a_miss_and_the_gates(tmp_path: Path, city: City) -> None:
    right, wrong, missed = a_thing(city, 0, 60), a_thing(city, 1, 60), a_thing(city, 0, 900)
    before = a_thing(city, 1, -600)  # began before anybody listened
    truth = tmp_path / "truth.jsonl"
    with TruthWriter(truth) as writer:
        writer.write([right, wrong, missed, before])
    owner = owners_of([right], city, load_packs())[right.truth_id]
    assert owner is not None
    result = tmp_path / "result.json"
    result.write_text(
        json.dumps(
            {
                "since": ns_to_rfc3339(START_NS),
                "until": ns_to_rfc3339(START_NS + 3600 * NS_PER_S),
                "incidents": [an_incident(right, owner), an_incident(wrong, "somebody-else")],
            }
        )
    )
    console = Console(record=True, width=160)
    page, figures = tmp_path / "score.html", tmp_path / "score.json"
    plan = ScorePlan(truth, result, figures, page, min_recall=0.6, max_wrong_owner=1)
    assert await run_score(load_settings(), plan, console) == 0
    score = msgspec.json.decode(figures.read_bytes())
    assert (score["things"], score["found"], score["wrong_owner"]) == (3, 2, 1)
    assert score["by_scenario"]["road-flooding"]["wrong_owner"] == 1
    assert score["detection_delay_s"]["p50"] == 60.0
    assert score["too_late"] == 1

    text = page.read_text("utf-8")
    assert text.count("data:image/png;base64,") == 2
    assert "http" not in text.split("base64")[0]
    assert "漏报" in text

    strict = plan._replace(min_recall=0.9, max_wrong_owner=0)
    assert await run_score(load_settings(), strict, console) == 1
    told = console.export_text()
    assert "recall 0.667 is below 0.9" in told
    assert "1 at the wrong owner" in told


async def test_a_file_that_is_no_result_is_told(tmp_path: Path) -> None:
    truth, wrong = tmp_path / "truth.jsonl", tmp_path / "wrong.json"
    TruthWriter(truth).close()
    wrong.write_text("{}")
    with pytest.raises(InputError, match="replay --json"):
        await run_score(load_settings(), ScorePlan(truth, wrong), Console())
