"""``qingniao day``: thirty hours of a simulated city through the whole pipeline, and its score."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from commands.city_process import CityProcess
from commands.demo import incidents_seen
from core.clock import ManualClock
from core.errors import ServiceError
from core.settings import Settings, load_settings
from core.units import NS_PER_S
from geo.city import load_city
from scenarios.loader import load_packs
from simulators.day.feed import day_messages, write_day
from simulators.day.source import DaySource
from simulators.faults import faults_of, inject, lies_of, parse_faults
from simulators.score import Score, score, score_table
from simulators.truth import Fault, TruthWriter

#: Rounds of the pipeline that may be under way before city time waits for it.
ROUNDS_UNDER_WAY = 60

#: What a day must reach on each seed.
PRECISION, RECALL, PER_THING = 0.97, 0.97, 1.02


class DayPlan(NamedTuple):
    """What the options asked for."""

    seeds: tuple[int, ...]
    hours: float
    faults: str
    epoch_ns: int
    truth_path: Path | None
    json_path: Path | None


async def run_days(settings: Settings, plan: DayPlan, console: Console) -> int:
    """Run one day for each seed; gives the exit code: 1 where one misses the mark.

    Raises:
        InputError: The faults are not known.
        ServiceError: A part failed.
    """
    results: dict[int, Score] = {}
    for seed in plan.seeds:
        folder = Path(tempfile.mkdtemp(prefix="qingniao-day-"))
        try:
            results[seed] = await _run_day(settings, plan, seed, folder, console)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        console.print(score_table(results[seed]))
        for one in results[seed].missed:
            console.print(f"  missed {one.scenario}: {one.note}", highlight=False)
        for wrong in results[seed].false:
            near = f", took for a thing: {wrong.near_miss}" if wrong.near_miss else ""
            console.print(f"  false {wrong.scenario} {wrong.id[:12]}{near}", highlight=False)
    console.print(_summary(results))
    if plan.json_path is not None:
        body = {str(seed): result for seed, result in results.items()}
        plan.json_path.parent.mkdir(parents=True, exist_ok=True)
        plan.json_path.write_bytes(msgspec.json.format(msgspec.json.encode(body)) + b"\n")
    return 0 if all(map(_is_good, results.values())) else 1


async def _run_day(
    settings: Settings, plan: DayPlan, seed: int, folder: Path, console: Console
) -> Score:
    settings = load_settings(
        data_dir=folder,
        city=settings.city if ":" in settings.city else "generated:district",
        city_seed=seed,
    )
    city = await asyncio.to_thread(load_city, settings.city, seed=seed)
    fault_plan = parse_faults(plan.faults)
    day = await asyncio.to_thread(
        write_day, city, seed=seed, start_ns=plan.epoch_ns, hours=plan.hours
    )
    # Devices that a thing or a near miss needs are not made to lie: the truth would be wrong.
    needed = {name for one in day.things for name in one.devices}
    needed |= {name for one in day.near_misses for name in one.devices}
    spare = [one for name, one in sorted(city.devices.items()) if name not in needed]
    lies = lies_of(spare, fault_plan, seed=seed, start_ns=day.start_ns, end_ns=day.end_ns)
    faults: list[Fault] = faults_of(lies)
    clock = ManualClock(day.start_ns)
    messages = inject(day_messages(day, lies), fault_plan, seed=seed, note=faults.append)
    source = DaySource(messages, clock)
    began_s = time.monotonic()
    async with CityProcess(settings, clock=clock, city=city, source=source) as process:
        source.must_wait = lambda: (
            process.bridge.sequence - process.parts.decisions.applied_sequence > ROUNDS_UNDER_WAY
        )
        with console.status("一天 a day …") as status:
            settled = asyncio.ensure_future(process.settle())
            while not settled.done() and not process.failure.done():
                await asyncio.wait([settled], timeout=0.5)
                share = (clock.now_ns() - day.start_ns) / (day.end_ns - day.start_ns)
                status.update(f"一天 a day, seed {seed}: {100 * share:.0f} % …")
            if process.failure.done():
                settled.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await settled
                raise ServiceError(process.failure.result())
        took_s = time.monotonic() - began_s
        seen = await asyncio.to_thread(incidents_seen, process)
        rejections = process.bridge.rejections
    known = {one.id for one in load_packs(settings.packs)}
    unknown = sorted({one.scenario for one in day.things} - known)
    if unknown:
        console.print(f"no pack yet, left out of the score: {', '.join(unknown)}")
    things = [one for one in day.things if one.scenario in known]
    near = [one for one in day.near_misses if one.scenario in known]
    if plan.truth_path is not None:
        with TruthWriter(plan.truth_path) as truth:
            truth.write([*day.things, *day.near_misses, *faults])
    hours = (day.end_ns - day.start_ns) / (3600 * NS_PER_S)
    console.print(
        f"seed {seed}: {hours:.0f} h of city time in {took_s:.0f} s, {source.acknowledged} "
        f"messages, {source.acknowledged / took_s:.0f} a second, {rejections} rejected, "
        f"{len(faults)} faults"
    )
    return score(things, near, seen, [], until_ns=day.end_ns)


def _is_good(result: Score) -> bool:
    return (
        result.precision >= PRECISION
        and result.recall >= RECALL
        and (result.incidents_per_thing or 9.0) <= PER_THING
    )


def _summary(results: dict[int, Score]) -> Table:
    table = Table(title="每个种子一天 one day for each seed", title_justify="left")
    for heading in ("seed", "things", "near misses", "precision", "recall", "per thing", "met"):
        table.add_column(heading, justify="right")
    rows: list[tuple[str, Any]] = [(str(seed), result) for seed, result in results.items()]
    for seed, result in rows:
        table.add_row(
            seed,
            str(result.things),
            str(result.near_misses),
            f"{result.precision:.3f}",
            f"{result.recall:.3f}",
            f"{result.incidents_per_thing or 0.0:.3f}",
            "yes" if _is_good(result) else "NO",
        )
    if len(rows) > 1:
        table.caption = (
            f"medians: precision {statistics.median(r.precision for _, r in rows):.3f}, "
            f"recall {statistics.median(r.recall for _, r in rows):.3f}; wanted on each seed: "
            f"{PRECISION}, {RECALL}, per thing at most {PER_THING}"
        )
    return table
