"""``qingniao backtest``: other rules on a recording, against the ones in force."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from commands.playing import Played, play
from commands.replay import city_of_recording
from commands.score import seen_of
from core.settings import Settings, load_settings
from core.topics import FRAME_FILTERS
from core.units import ns_to_rfc3339
from geo.city import City, load_city
from ingest.recording.reader import Recording
from ingest.recording.rounds import select
from scenarios.backtest import Change, ChangeKind, case_of, compare
from scenarios.loader import load_packs
from simulators.score import Score, score
from simulators.truth import Truth, read_truth

_WORDS = {
    ChangeKind.GAINED: "新增 gained",
    ChangeKind.LOST: "失去 lost",
    ChangeKind.MERGED: "合并 merged",
    ChangeKind.SPLIT: "拆分 split",
    ChangeKind.MOVED: "变动 moved",
}


class BacktestPlan(NamedTuple):
    """What the options asked for."""

    rules: Path
    recording: Path
    truth: Path | None = None
    json_path: Path | None = None


async def run_backtest(settings: Settings, plan: BacktestPlan, console: Console) -> int:
    """Play a recording under both sets of rules and tell how the incidents differ.

    Raises:
        RuleError: The new rules are not rules.
        InputError: There is no such recording or truth.
        ServiceError: A part failed.
    """
    new_packs = load_packs(plan.rules)  # before anything runs
    recording = await asyncio.to_thread(Recording, plan.recording)
    truth = None if plan.truth is None else await asyncio.to_thread(read_truth, plan.truth)
    settings = city_of_recording(settings, recording)
    city = await asyncio.to_thread(load_city, settings.city, seed=settings.city_seed)
    runs: dict[str, Played] = {}
    for name, packs in (("current", settings.packs), ("new", plan.rules)):
        runs[name] = await _run(settings, city, packs, recording, name, console)
    changes = compare(
        *([case_of(*case) for case in runs[name].cases] for name in ("current", "new"))
    )
    scores = {name: _score(truth, played) for name, played in runs.items() if truth is not None}
    counts = {kind: sum(one.kind is kind for one in changes) for kind in ChangeKind}
    _print(runs, changes, counts, scores, console)
    if plan.json_path is not None:
        body: dict[str, Any] = {
            "recording": str(plan.recording),
            "rules": [one.id for one in new_packs],
            "incidents": {name: len(played.cases) for name, played in runs.items()},
            "counts": {kind.value: count for kind, count in counts.items()},
            "changes": changes,
            "score": scores or None,
        }
        text = msgspec.json.format(msgspec.json.encode(body), indent=2)
        await asyncio.to_thread(plan.json_path.write_bytes, text + b"\n")
    return 0


async def _run(
    settings: Settings,
    city: City,
    packs: Path | None,
    recording: Recording,
    name: str,
    console: Console,
) -> Played:
    without = [one for one, _ in FRAME_FILTERS]
    with tempfile.TemporaryDirectory(prefix="qingniao-backtest-") as folder:
        own = load_settings(**(settings.model_dump() | {"data_dir": folder, "packs": packs}))
        with console.status(f"回测 {name} …") as status:
            return await play(
                own,
                city,
                select(recording.rounds(), without=without),
                progress=lambda count, _: status.update(f"回测 {name}: {count} messages"),
            )


def _score(truth: Truth, played: Played) -> Score:
    seen = [seen_of(incident) for incident, _ in played.cases]
    return score(truth.things, truth.near_misses, seen, [], until_ns=played.until_ns)


def _print(
    runs: dict[str, Played],
    changes: list[Change],
    counts: dict[ChangeKind, int],
    scores: dict[str, Score],
    console: Console,
) -> None:
    table = Table(title="回测 Back-test", title_justify="left")
    for heading in ("", "场景 scenario", "began", "things", "lon, lat", "moved"):
        table.add_column(heading)
    for one in changes:
        moved = ""
        if one.moved_m is not None:
            moved = f"{one.moved_m:.1f} m, {one.later_s:+.1f} s"
        table.add_row(
            _WORDS[one.kind],
            one.scenario,
            ns_to_rfc3339(one.began_ns),
            ", ".join(one.things),
            "" if one.lon_deg is None else f"{one.lon_deg:.6f}, {one.lat_deg:.6f}",
            moved,
        )
    console.print(table if changes else "没有差别 no difference")
    summary = Table("场景 scenario", "current", "new")
    totals = {
        name: Counter(incident.scenario for incident, _ in played.cases)
        for name, played in runs.items()
    }
    for scenario in sorted(totals["current"] | totals["new"]):
        summary.add_row(scenario, *(str(totals[name][scenario]) for name in ("current", "new")))
    for label, value in (("precision", "precision"), ("recall", "recall")):
        if scores:
            summary.add_row(
                label, *(f"{getattr(scores[name], value):.3f}" for name in ("current", "new"))
            )
    console.print(summary)
    console.print(", ".join(f"{count} {_WORDS[kind]}" for kind, count in counts.items()))
