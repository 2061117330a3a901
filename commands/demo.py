"""``qingniao demo``: the whole city in one command, watched or scored."""

from __future__ import annotations

import asyncio
import bisect
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
from rich.console import Console
from rich.live import Live

from api.terminal import city_view
from commands.city_process import CityProcess
from commands.score import seen_of
from commands.sharing import clock_text
from core.clock import HeldClock, ScaledClock
from core.errors import ServiceError
from core.settings import Settings
from core.units import rfc3339_to_ns
from geo.city import load_city
from simulators.publisher import read_published
from simulators.score import IncidentSeen, Score, score, score_table
from simulators.truth import read_truth
from store.filters import IncidentFilter

#: Incidents shown on the terminal.
ROWS = 18
#: Wall seconds given to what is on its way when a scored run ends.
DRAIN_S = 2.0
#: Longest wait for a part's first sign of life; a cold start takes a tenth of it.
READY_S = 60.0


class DemoPlan(NamedTuple):
    """What the options asked for; ``duration_s`` is None for a run until Ctrl-C."""

    seed: int
    time_factor: float
    duration_s: float | None
    score: bool
    json_path: Path | None
    epoch: str | None
    workers: bool = False


class Arrival(NamedTuple):
    """When an incident showed in the live stream, and the observation that opened it."""

    incident_id: str
    wall_ns: int
    thing_id: str
    at_ns: int


async def run_demo(settings: Settings, plan: DemoPlan, console: Console) -> int:
    """Run the city until its time is over or it is cancelled; gives the exit code.

    Raises:
        ServiceError: A part failed; says which and ends with its last words.
    """
    epoch_ns = _epoch_ns(settings, plan)
    start_path = settings.data_dir / "city-start"
    start_path.unlink(missing_ok=True)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    # City time stands until every part is ready: what a camera has not seen empty, it takes for
    # part of the street.
    clock = HeldClock(epoch_ns, plan.time_factor, start_path)
    city = await asyncio.to_thread(load_city, settings.city, seed=settings.city_seed)
    truth_path = settings.data_dir / "truth.jsonl"
    published_path = settings.data_dir / "published.jsonl"
    truth_path.unlink(missing_ok=True)
    published_path.unlink(missing_ok=True)
    async with CityProcess(settings, clock=clock, city=city) as process:
        assert process.api is not None
        await _ready(process, process.api.vision_watches.is_set, "vision")
        process.start_child(
            "simulators",
            "simulate",
            "--seed", str(plan.seed),
            "--clock", clock_text(clock),
            "--truth", str(truth_path),
            "--published", str(published_path),
        )  # fmt: skip
        where = process.api.url
        console.print(f"页面 Page {where}   写入令牌 token for writing: {process.api.token}")
        await _ready(process, lambda: not clock.held, "simulators")
        if plan.workers:
            process.start_child(
                "workers", "workers", "--url", where, "--seed", str(plan.seed),
                "--clock", clock_text(clock),
            )  # fmt: skip
        if plan.duration_s is None:
            await _watch(process, clock, where, console)
            return 0
        arrivals: list[Arrival] = []
        listener = asyncio.create_task(_listen(where, arrivals))
        try:
            await _wait_headless(process, clock, plan.duration_s, console)
            if listener.done():
                raise ServiceError(f"the live stream ended: {listener.exception()!r}")
        finally:
            listener.cancel()
        until_ns = clock.now_ns()
        seen = await asyncio.to_thread(incidents_seen, process)
        figures = process.figures()
    if not plan.score:
        return 0
    truth = await asyncio.to_thread(read_truth, truth_path)
    latencies = await asyncio.to_thread(_latencies_ms, arrivals, published_path)
    result = score(truth.things, truth.near_misses, seen, latencies, until_ns=until_ns)
    console.print(score_table(result))
    if plan.json_path is not None:
        plan.json_path.parent.mkdir(parents=True, exist_ok=True)
        plan.json_path.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return _verdict(result, figures, console)


async def _ready(process: CityProcess, is_ready: Callable[[], bool], part: str) -> None:
    """Wait until a part is ready.

    Raises:
        ServiceError: It failed, or takes longer than a cold start on a slow machine may.
    """
    until_s = time.monotonic() + READY_S
    while not is_ready():
        await asyncio.wait([process.failure], timeout=0.05)
        if process.failure.done():
            raise ServiceError(process.failure.result())
        if time.monotonic() > until_s:
            raise ServiceError(
                f"{part} is not ready after {READY_S:.0f} s; "
                f"see {process.settings.data_dir / 'logs' / part}.log"
            )


def _epoch_ns(settings: Settings, plan: DemoPlan) -> int:
    """City time at the start: as asked, or now, but never before where it was left."""
    if plan.epoch is not None:
        return rfc3339_to_ns(plan.epoch)
    now_ns = time.time_ns()  # noqa: TID251 (the edge at which city time begins)
    left = settings.data_dir / "city-time"
    return max(now_ns, int(left.read_text()) if left.exists() else 0)


async def _watch(process: CityProcess, clock: ScaledClock, where: str, console: Console) -> None:
    """Show the live table until cancelled or a part fails."""
    left = process.settings.data_dir / "city-time"
    with Live(console=console, refresh_per_second=4, screen=console.is_terminal) as live:
        while not process.failure.done():
            page = await asyncio.to_thread(
                process.store.list_incidents, IncidentFilter(), limit=ROWS
            )
            live.update(
                city_view(
                    [msgspec.json.decode(row.body) for row in page.rows],
                    process.live.figures(),
                    now_ns=clock.now_ns(),
                    where=where,
                )
            )
            left.write_text(str(clock.now_ns()))
            await asyncio.wait([process.failure], timeout=0.5)
    raise ServiceError(process.failure.result())


async def _wait_headless(
    process: CityProcess, clock: ScaledClock, duration_s: float, console: Console
) -> None:
    """Wait for the time to pass, telling how it goes every ten seconds."""
    ends_s = time.monotonic() + duration_s
    while (rest_s := ends_s - time.monotonic()) > 0:
        await asyncio.wait([process.failure], timeout=min(10.0, rest_s))
        if process.failure.done():
            raise ServiceError(process.failure.result())
        figures = process.live.figures()
        console.print(
            f"{duration_s - max(0.0, ends_s - time.monotonic()):4.0f} s  "
            f"{figures.get('observations_per_s', 0):6.1f} obs/s  "
            f"{figures.get('frames_per_s', 0):5.1f} frames/s  "
            f"lag {1000 * figures.get('lag_s', 0):5.1f} ms  "
            f"open {figures.get('incidents_open', 0)}  rejected {figures.get('rejections', 0)}"
        )
    for child in process.children:
        if child.name == "simulators":
            child.terminate()
    await asyncio.sleep(DRAIN_S)


async def _listen(where: str, arrivals: list[Arrival]) -> None:
    """Note when each incident shows in the live stream, as a browser would see it."""
    async with (
        httpx.AsyncClient(timeout=httpx.Timeout(10, read=None)) as client,
        client.stream("GET", f"{where}/stream?last_event_id=0") as response,
    ):
        event = ""
        async for line in response.aiter_lines():
            if line.startswith("event:"):
                event = line[6:].strip()
            elif line.startswith("data:") and event == "incident":
                wall_ns = time.monotonic_ns()
                body = json.loads(line[5:])
                evidence = body.get("evidence")
                if body["change"] == "opened" and evidence:
                    arrivals.append(
                        Arrival(
                            body["incident"]["id"],
                            wall_ns,
                            evidence["thing_id"],
                            evidence["at_ns"],
                        )
                    )


def incidents_seen(process: CityProcess) -> list[IncidentSeen]:
    """All incidents of a city as the scorer needs them."""
    return [seen_of(one) for one in process.store.cases(IncidentFilter())]


def _latencies_ms(arrivals: list[Arrival], published_path: Path) -> list[float]:
    """Wall time from publishing the message that made an incident known to its arrival.

    That message is the thing's first at or after the instant of the event. A detection is
    published by vision as ``camera/number``; what counts is when the camera published the
    frame. Incidents that became known by the passing of time alone are left out.
    """
    sent: dict[str, list[tuple[int, int]]] = {}
    for (thing_id, observed_ns), wall_ns in read_published(published_path).items():
        sent.setdefault(thing_id, []).append((observed_ns, wall_ns))
    for rows in sent.values():
        rows.sort()
    latencies = []
    for one in arrivals:
        rows = sent.get(one.thing_id.partition("/")[0], [])
        position = bisect.bisect_left(rows, (one.at_ns, 0))
        if position < len(rows) and rows[position][1] <= one.wall_ns:
            latencies.append((one.wall_ns - rows[position][1]) / 1e6)
    return latencies


def _verdict(result: Score, figures: dict[str, Any], console: Console) -> int:
    """0 when the main job worked: things happened, were found, once each."""
    problems = []
    if result.things < 1:
        problems.append("nothing happened in the city")
    if (result.recall or 0) < 0.9:
        problems.append(f"recall {result.recall} is below 0.9")
    if (result.incidents_per_thing or 0) > 1.1:
        problems.append(f"{result.incidents_per_thing} incidents per thing, more than 1.1")
    if result.false_incidents > max(1, result.things // 10):
        problems.append(f"{result.false_incidents} false incidents")
    if result.publish_to_incident_ms.p50 is None:
        problems.append("no incident arrived in the live stream")
    if figures.get("rejections"):
        problems.append(f"{figures['rejections']} messages of our own simulators were rejected")
    for problem in problems:
        console.print(f"[red]✗[/red] {problem}")
    return 1 if problems else 0
