"""``qingniao score``: what was found against what really happened, and a gate for CI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from rich.console import Console

from commands.parts import open_store
from core.city import LayerRole
from core.errors import InputError
from core.incidents import Incident
from core.settings import Settings
from core.units import rfc3339_to_ns
from geo.city import City, load_city
from geo.tagging import Tagger
from scenarios.loader import load_packs
from scenarios.model import Scenario
from scenarios.routing import assign
from simulators.score import IncidentSeen, Score, score, score_table
from simulators.score_page import score_page
from simulators.truth import Thing, read_truth
from store.canonical import all_cases


class ScorePlan(NamedTuple):
    """What the options asked for."""

    truth: Path
    result: Path
    json_path: Path | None = None
    html_path: Path | None = None
    min_precision: float | None = None
    min_recall: float | None = None
    max_per_thing: float | None = None
    max_wrong_owner: int | None = None


class Found(NamedTuple):
    """What a run found, and from when to when it looked."""

    incidents: list[IncidentSeen]
    since_ns: int | None
    until_ns: int | None


async def run_score(settings: Settings, plan: ScorePlan, console: Console) -> int:
    """Score a run; gives 1 where a gate is not passed.

    Raises:
        InputError: The truth or the result cannot be read.
    """
    truth = await asyncio.to_thread(read_truth, plan.truth)
    city = await asyncio.to_thread(load_city, settings.city, seed=settings.city_seed)
    packs = await asyncio.to_thread(load_packs, settings.packs)
    found = await asyncio.to_thread(_found, settings, city, packs, plan.result)
    result = score(
        truth.things,
        truth.near_misses,
        found.incidents,
        [],
        since_ns=found.since_ns,
        until_ns=found.until_ns,
        owners=owners_of(truth.things, city, packs),
    )
    console.print(score_table(result))
    for missed in result.missed:
        console.print(f"漏报 missed: {missed.scenario}, {missed.note}", highlight=False)
    for false in result.false:
        console.print(f"误报 false: {false.scenario} {false.id} {false.near_miss}", highlight=False)
    if plan.json_path is not None:
        plan.json_path.write_bytes(result.json() + b"\n")
    if plan.html_path is not None:
        page = await asyncio.to_thread(
            score_page,
            result,
            truth.things,
            found.incidents,
            outlines=outlines_of(city),
            title=f"{plan.result.name} · {city.name}",
        )
        plan.html_path.write_text(page, "utf-8")
    problems = failed_gates(result, plan)
    for problem in problems:
        console.print(f"[red]✗[/red] {problem}")
    return 1 if problems else 0


def failed_gates(result: Score, plan: ScorePlan) -> list[str]:
    """The gates that a score does not pass, in words."""
    problems = []
    if plan.min_precision is not None and result.precision < plan.min_precision:
        problems.append(f"precision {result.precision:.3f} is below {plan.min_precision:g}")
    if plan.min_recall is not None and result.recall < plan.min_recall:
        problems.append(f"recall {result.recall:.3f} is below {plan.min_recall:g}")
    per_thing = result.incidents_per_thing or 0.0
    if plan.max_per_thing is not None and per_thing > plan.max_per_thing:
        problems.append(f"{per_thing:.3f} incidents per thing, more than {plan.max_per_thing:g}")
    if plan.max_wrong_owner is not None and result.wrong_owner > plan.max_wrong_owner:
        problems.append(f"{result.wrong_owner} at the wrong owner, over {plan.max_wrong_owner}")
    return problems


def owners_of(
    things: Sequence[Thing], city: City, packs: Sequence[Scenario]
) -> dict[str, str | None]:
    """The unit that is responsible for each thing at its true place; None where none is."""
    if not things:
        return {}
    tags = Tagger(city).tag(
        np.array([one.lon_deg for one in things]), np.array([one.lat_deg for one in things])
    )
    scenarios = {one.id: one for one in packs}
    owners: dict[str, str | None] = {}
    for row, thing in enumerate(things):
        scenario = scenarios.get(thing.scenario)
        if scenario is not None:
            nan = float("nan")
            place = tags.place(row, error_major_m=nan, error_minor_m=nan, error_azimuth_deg=nan)
            owners[thing.truth_id] = assign(place, scenario, city.units, city.workers, {}).unit_id
    return owners


def outlines_of(city: City) -> list[list[tuple[float, float]]]:
    """The borders of the city's unit grids as lines of (lon, lat)."""
    return [
        [(x, y) for x, y in shapely.get_coordinates(part).tolist()]
        for layer in city.layers_of(LayerRole.GRID)
        for geometry in layer.geometries
        for part in shapely.get_parts(geometry.boundary)
    ]


def _found(settings: Settings, city: City, packs: Sequence[Scenario], path: Path) -> Found:
    if path.is_dir():
        store = open_store(settings.model_copy(update={"data_dir": path}), city, packs)
        try:
            seen = [seen_of(one) for one, _ in all_cases(store)]
            return Found(seen, None, store.watermark_ns() or None)
        finally:
            store.close()
    try:
        result = json.loads(path.read_bytes())
        seen = [_seen_of_result(one) for one in result["incidents"]]
        return Found(seen, _instant(result.get("since")), _instant(result.get("until")))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise InputError(
            f"{path}: a data folder, or the file of `qingniao replay --json`, was wanted: {exc!r}"
        ) from exc


def seen_of(one: Incident) -> IncidentSeen:
    """An incident as the scorer needs it."""
    return IncidentSeen(
        id=one.id,
        scenario=one.scenario,
        lon_deg=one.place.lon_deg,
        lat_deg=one.place.lat_deg,
        began_ns=one.began_ns,
        opened_ns=one.opened_ns,
        last_ns=one.updated_ns,
        cleared_ns=one.cleared_ns,
        unit_id=one.unit_id,
    )


def _seen_of_result(one: dict[str, Any]) -> IncidentSeen:
    return IncidentSeen(
        id=one["id"],
        scenario=one["scenario"],
        lon_deg=one["lon_deg"],
        lat_deg=one["lat_deg"],
        began_ns=rfc3339_to_ns(one["began_at"]),
        opened_ns=rfc3339_to_ns(one["opened_at"]),
        last_ns=rfc3339_to_ns(one["updated_at"]),
        cleared_ns=_instant(one["cleared_at"]),
        unit_id=one["unit_id"],
    )


def _instant(text: str | None) -> int | None:
    return None if text is None else rfc3339_to_ns(text)
