"""``qingniao``: the platform at a terminal."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from core.errors import InputError, QingniaoError
from core.settings import Settings, load_settings

#: Groups of commands in modules of their own, imported only when asked for: a health check
#: runs every few seconds and must not load the map's libraries.
_GROUPS = ("exclusion", "geo", "outbox", "vision")


#: The commands in the order of the help text, under what one wants to do with them.
_PANELS = {
    "运行 Run": ("demo", "run", "check", "health", "backup", "restore"),
    "查看 See what happened": ("explain", "trace", "ledger", "quarantine", "redrive", "archive"),
    "告知与例外 Tell others, and what is no incident": ("outbox", "exclusion"),
    "地图与视觉 Map and cameras": ("geo", "vision"),
    "录制与回放 Record and replay": ("record", "replay", "import", "score", "incident", "backtest"),
    "模拟 Simulate": ("simulate", "day", "workers", "scenes"),
    "自建 Your own": ("scenario", "connector", "docs"),
}


class _Commands(TyperGroup):
    """Finds the groups of commands that live elsewhere, and sorts all for the help text."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all commands."""
        known = {*super().list_commands(ctx), *_GROUPS}
        in_order = [name for names in _PANELS.values() for name in names if name in known]
        return in_order + sorted(known.difference(in_order))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by its name; None where there is none."""
        if cmd_name in _GROUPS:
            command: Any = typer.main.get_command(import_module(f"commands.{cmd_name}").app)
            command.name = cmd_name
        else:
            command = super().get_command(ctx, cmd_name)
        if command is not None:
            panels = [panel for panel, names in _PANELS.items() if cmd_name in names]
            command.rich_help_panel = panels[0] if panels else None
        return command


app = typer.Typer(
    name="qingniao",
    cls=_Commands,
    help="青鸟: from what a city's sensors, drones and cameras notice to the person who must act.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console()
errors = Console(stderr=True)

CityOption = Annotated[
    str | None,
    typer.Option("--city", help="`generated`, or a folder with a city profile or a city's layers."),
]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder of log, store and pictures.")
]
ClockOption = Annotated[
    str | None, typer.Option("--clock", hidden=True, help="City clock shared by a parent.")
]


@app.command()
def demo(
    port: Annotated[int, typer.Option(help="Port of page and API; 0 takes a free one.")] = 8000,
    mqtt_port: Annotated[int, typer.Option(help="Port of the broker; 0 takes a free one.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the city and of what happens in it.")] = 7,
    time_factor: Annotated[
        float, typer.Option(min=0.1, max=200, help="City seconds per second.")
    ] = 20.0,
    duration: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds; runs headless in a fresh data folder, then stops."),
    ] = None,
    score: Annotated[bool, typer.Option(help="Score against the simulators' truth.")] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="File that takes the score as JSON.")
    ] = None,
    epoch: Annotated[
        str | None, typer.Option(help="City time at the start, RFC 3339; now unless given.")
    ] = None,
    workers: Annotated[
        bool, typer.Option("--workers", help="Simulated grid workers work the cases.")
    ] = False,
    record_to: Annotated[
        Path | None, typer.Option("--record", help="Folder that takes a recording of it all.")
    ] = None,
    city: CityOption = None,
    data: DataOption = None,
) -> None:
    """Run the whole city: simulators, broker, ingest, stream app, vision, API and page."""
    from commands.demo import DemoPlan, run_demo

    headless = duration is not None or score
    folder = data
    if headless and folder is None:
        folder = Path(tempfile.mkdtemp(prefix="qingniao-demo-"))
    settings = _settings(
        data_dir=folder,
        city=city,
        city_seed=seed,
        api={"port": port if not headless or port != 8000 else 0},
        mqtt={"url": "embedded", "port": mqtt_port},
        record=record_to,
    )
    if not headless:
        _log_to_file(settings.data_dir / "logs" / "core.log")
    plan = DemoPlan(
        seed=seed,
        time_factor=time_factor,
        duration_s=(duration or 90.0) if headless else None,
        score=score,
        json_path=json_path,
        epoch=epoch,
        workers=workers,
    )
    try:
        code = _run(run_demo(settings, plan, console))
    finally:
        if headless and data is None and folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    raise typer.Exit(code)


@app.command()
def run(
    service: Annotated[
        str,
        typer.Argument(help="all (one process), or one of ingest, streams, archive, vision, api."),
    ] = "all",
    clock: ClockOption = None,
) -> None:
    """Run the platform for real devices: all of it, or one service of docker-compose.yml."""
    from commands.services import run_service

    _run(run_service(service, _settings(), clock))


@app.command()
def simulate(
    seed: Annotated[int, typer.Option(help="Of the city and of what happens in it.")] = 7,
    duration: Annotated[
        float | None, typer.Option(help="Wall seconds; without it, until stopped.")
    ] = None,
    truth: Annotated[Path, typer.Option(help="File that takes what really happened.")] = Path(
        "truth.jsonl"
    ),
    published: Annotated[
        Path | None, typer.Option(hidden=True, help="File that takes when what was published.")
    ] = None,
    time_factor: Annotated[float, typer.Option(help="City seconds per second.")] = 1.0,
    script: Annotated[
        str, typer.Option(help="block: half hours with pictures; day: 30 hours, no pictures.")
    ] = "block",
    faults: Annotated[
        str | None,
        typer.Option(help="none, mild, rough, hostile, or e.g. mild,loss=0.01,storm=2."),
    ] = None,
    weather: Annotated[
        str | None,
        typer.Option(help="Before the cameras: city (as it goes), sun, rain, fog, night, …"),
    ] = None,
    city: CityOption = None,
    clock: ClockOption = None,
) -> None:
    """Publish a simulated city's devices, aircraft and cameras to an MQTT broker."""
    from commands.sharing import broker_address, parse_clock
    from core.clock import ScaledClock
    from geo.city import load_city
    from simulators.day.runner import run_day
    from simulators.faults import parse_faults
    from simulators.runner import run_simulators
    from simulators.views import conditions_of

    if script not in {"block", "day"}:
        raise InputError(f"--script: block or day was wanted, got {script!r}")
    settings = _settings(city=city, city_seed=seed)
    city_clock = parse_clock(clock) if clock else ScaledClock(time.time_ns(), time_factor)  # noqa: TID251
    if script == "day":
        run_day(
            city=load_city(settings.city, seed=settings.city_seed),
            seed=seed,
            clock=city_clock,
            broker=broker_address(settings),
            truth_path=truth,
            duration_s=duration,
            faults=parse_faults(faults or "mild"),
        )
        return
    run_simulators(
        city=load_city(settings.city, seed=settings.city_seed),
        seed=seed,
        clock=city_clock,
        broker=broker_address(settings),
        truth_path=truth,
        published_path=published,
        duration_s=duration,
        faults=None if faults is None else parse_faults(faults),
        conditions=None if weather is None else conditions_of(weather, seed, city_clock.epoch_ns),
    )


@app.command()
def record(
    folder: Annotated[Path, typer.Argument(help="Folder that takes the MCAP files.")],
    broker: Annotated[
        str | None,
        typer.Option(help="mqtt://host:port; without it the city that runs with --data."),
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="MQTT filter; repeatable; all that we read if none.")
    ] = None,
    frames: Annotated[
        str, typer.Option(help="Camera frames: blurred (whoever moves), raw, or none.")
    ] = "blurred",
    frame_files: Annotated[
        bool, typer.Option(help="Keep pictures as files beside the MCAP, named by content.")
    ] = False,
    max_frames_mb: Annotated[
        float, typer.Option(min=0.01, help="With --frame-files; the oldest leave beyond it.")
    ] = 8192.0,
    duration: Annotated[
        str | None, typer.Option("--for", help="Stop after e.g. 90s, 10min; until Ctrl-C if none.")
    ] = None,
    max_file_mb: Annotated[float, typer.Option(min=0.01, help="A new file after so much.")] = 256.0,
    max_file_age: Annotated[str, typer.Option(help="A new file after so long.")] = "1h",
    keep: Annotated[
        int | None, typer.Option(min=1, help="Remove the oldest files beyond this number.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Record MQTT traffic into MCAP files, which Foxglove opens and `replay` plays."""
    from commands.record import RecordPlan, run_record
    from core.units import parse_duration_s
    from ingest.recording.recorder import FramePolicy

    if frames not in list(FramePolicy):
        raise typer.BadParameter(f"--frames: blurred, raw or none wanted, got {frames!r}")
    plan = RecordPlan(
        folder=folder,
        broker=broker,
        topics=tuple(topic or ()),
        frames=FramePolicy(frames),
        duration_s=None if duration is None else parse_duration_s(duration),
        max_file_mb=max_file_mb,
        max_file_s=parse_duration_s(max_file_age),
        keep_files=keep,
        frame_files_mb=max_frames_mb if frame_files else None,
    )
    raise typer.Exit(_run(run_record(_settings(data_dir=data), plan, console)))


@app.command()
def replay(
    recording: Annotated[
        Path, typer.Argument(help="MCAP file, folder of them, or JSON lines of {ts, topic, data}.")
    ],
    city: CityOption = None,
    data: DataOption = None,
    speed: Annotated[
        float | None, typer.Option(help="Recorded seconds per second; as fast as it goes if none.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="RFC 3339 time, or e.g. 90s from the beginning.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Likewise.")] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="MQTT filter; only what one of them matches.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="MQTT filter; leave out what matches.")
    ] = None,
    loop: Annotated[
        int,
        typer.Option(min=0, help="Passes; each must give the same. 0: for ever, into a broker."),
    ] = 1,
    into: Annotated[
        str | None, typer.Option(help="Publish into a broker, mqtt://host:port, instead.")
    ] = None,
    frames: Annotated[
        str,
        typer.Option(
            help="none: recorded detections. lossless: frames through vision, every one. "
            "live: dropped as in a live run."
        ),
    ] = "none",
    step: Annotated[bool, typer.Option(help="Pause at each incident; n goes on.")] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="File that takes the result as JSON.")
    ] = None,
    canonical: Annotated[
        Path | None, typer.Option(help="File that takes the incidents in canonical form.")
    ] = None,
) -> None:
    """Play a recording through the pipeline, at any speed with the same incidents.

    At a terminal space pauses, n goes to the next incident, + and - change the speed.
    """
    from commands.replay import ReplayPlan, run_replay

    if loop == 0 and into is None:
        raise typer.BadParameter("--loop 0 (for ever) needs --into mqtt://host:port")
    plan = ReplayPlan(
        recording=recording,
        speed=speed,
        since=since,
        until=until,
        topics=tuple(topic or ()),
        without=tuple(without or ()),
        loop=loop,
        into=into,
        frames=frames,
        step=step,
        json_path=json_path,
        canonical_path=canonical,
    )
    folder = data or Path(tempfile.mkdtemp(prefix="qingniao-replay-"))
    try:
        code = _run(run_replay(_settings(data_dir=folder, city=city), plan, console))
    finally:
        if data is None:
            shutil.rmtree(folder, ignore_errors=True)
    raise typer.Exit(code)


@app.command()
def workers(
    url: Annotated[str, typer.Option(help="Of the page and API.")] = "http://127.0.0.1:8000",
    seed: Annotated[int, typer.Option(help="Of what the workers do.")] = 7,
    city: CityOption = None,
    data: DataOption = None,
    clock: ClockOption = None,
) -> None:
    """Simulate the grid workers of a running platform: accept, walk, handle, report, return."""
    from commands.sharing import parse_clock
    from commands.workers import run_workers
    from core.clock import SystemClock

    counts = run_workers(
        _settings(city=city, data_dir=data),
        url=url,
        clock=parse_clock(clock) if clock else SystemClock(),
        seed=seed,
    )
    console.print(f"{counts.steps}, {counts.refused} refused, {counts.positions} positions")


@app.command()
def scenes(
    folder: Annotated[Path, typer.Argument(help="Takes the pictures and labels.jsonl.")],
    camera: Annotated[str, typer.Option(help="A street camera of the city.")] = "camera-1",
    weather: Annotated[
        str, typer.Option(help="clear, sun, rain, fog, night, wet-night, shake or flood.")
    ] = "clear",
    frames: Annotated[int, typer.Option(min=1, max=900, help="How many.")] = 60,
    step: Annotated[float, typer.Option(min=0.04, help="City seconds between two.")] = 2.0,
    after: Annotated[float, typer.Option(min=0, help="City seconds into the script.")] = 120.0,
    boxes: Annotated[bool, typer.Option("--boxes", help="Draw the labels in.")] = False,
    seed: Annotated[int, typer.Option(help="Of the city and of what happens in it.")] = 7,
) -> None:
    """Write a simulated camera's frames in some weather, each with the boxes of what is in it."""
    from commands.scenes import write_scenes

    count = write_scenes(
        folder,
        camera=camera,
        weather=weather,
        frames=frames,
        step_s=step,
        after_s=after,
        boxes=boxes,
        seed=seed,
    )
    console.print(f"{count} frames and their labels in {folder}")


@app.command()
def day(
    seed: Annotated[
        list[int] | None, typer.Option(help="Of the city and its day; may be given several times.")
    ] = None,
    hours: Annotated[float, typer.Option(min=1, max=240, help="City hours.")] = 30.0,
    faults: Annotated[
        str, typer.Option(help="none, mild, rough, hostile, or e.g. mild,loss=0.01.")
    ] = "mild",
    epoch: Annotated[
        str, typer.Option(help="City time at the start, RFC 3339.")
    ] = "2026-03-10T00:00:00Z",
    truth: Annotated[
        Path | None, typer.Option(help="File that takes what really happened.")
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="File that takes the scores as JSON.")
    ] = None,
    city: CityOption = None,
) -> None:
    """Run a scripted day over all scenarios through the pipeline, fast, and score it."""
    from commands.day import DayPlan, run_days
    from core.units import rfc3339_to_ns

    plan = DayPlan(
        seeds=tuple(seed or [7]),
        hours=hours,
        faults=faults,
        epoch_ns=rfc3339_to_ns(epoch),
        truth_path=truth,
        json_path=json_path,
    )
    raise typer.Exit(_run(run_days(_settings(city=city), plan, console)))


scenario_app = typer.Typer(help="Scenarios of your own: begin one, check them.")
app.add_typer(scenario_app, name="scenario", no_args_is_help=True)


@scenario_app.command("new")
def scenario_new(
    name: Annotated[str, typer.Argument(help="Small letters, digits, hyphens: river-high.")],
    folder: Annotated[
        Path, typer.Option("--into", help="Folder of scenario files; made where it is missing.")
    ] = Path("my-packs"),
) -> None:
    """Write a scenario file and its page to begin with."""
    from commands.scenario import new_scenario

    new_scenario(name, folder, console)


@scenario_app.command("check")
def scenario_check(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of scenario files; the shipped ones if none.")
    ] = None,
) -> None:
    """Check scenario files, and run the examples of their pages."""
    from commands.scenario import check_scenarios

    check_scenarios(folder, console)


@scenario_app.command("accept")
def scenario_accept(
    rule: Annotated[str, typer.Argument(help="Full id, as `GET /quality/proposals` has it.")],
    actor: Annotated[str, typer.Option(help="Who accepts it; written into the file.")],
    apply: Annotated[bool, typer.Option("--apply", help="Write it; a dry run without.")] = False,
    data: DataOption = None,
) -> None:
    """Take a proposed threshold over into the scenario file."""
    from commands.acceptance import accept_proposal
    from core.clock import SystemClock

    settings = _settings(data_dir=data)
    accept_proposal(settings, rule, actor=actor, apply=apply, clock=SystemClock(), console=console)


connector_app = typer.Typer(help="Wire formats of your own: begin one, check them.")
app.add_typer(connector_app, name="connector", no_args_is_help=True)


@connector_app.command("new")
def connector_new(
    name: Annotated[str, typer.Argument(help="Small letters, digits, _: acme_level.")],
    folder: Annotated[
        Path, typer.Option("--into", help="Folder of connectors; made where it is missing.")
    ] = Path("my-connectors"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the files; write nothing.")
    ] = False,
) -> None:
    """Write a decoder file, its table of samples and its test to begin with."""
    from commands.connector import new_connector

    new_connector(name, folder, dry_run, console)


@connector_app.command("check")
def connector_check(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of connectors; that of the settings if none.")
    ] = None,
) -> None:
    """Run the conformance suite on every connector: what fails, where and why."""
    from commands.connector import check_connectors

    if not check_connectors(_settings(), folder, console):
        raise typer.Exit(1)


@app.command()
def backtest(
    rules: Annotated[Path, typer.Option(help="Folder of scenario files to try.")],
    recording: Annotated[Path, typer.Option(help="MCAP file, folder of them, or JSON lines.")],
    truth: Annotated[
        Path | None, typer.Option(help="What really happened; adds precision and recall.")
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="File that takes the result as JSON.")
    ] = None,
    city: CityOption = None,
) -> None:
    """Try other rules on a recording: incidents gained, lost, merged, split and moved."""
    from commands.backtest import BacktestPlan, run_backtest

    plan = BacktestPlan(rules, recording, truth, json_path)
    raise typer.Exit(_run(run_backtest(_settings(city=city), plan, console)))


@app.command("import")
def import_file(
    source: Annotated[Path, typer.Argument(help=".jsonl, .csv, .srt (DJI), .ulg (PX4) or .gpx.")],
    folder: Annotated[Path, typer.Argument(help="Folder that takes the MCAP files.")],
    city: Annotated[str, typer.Option(help="City of the topics.")] = "qingdao",
    thing: Annotated[str | None, typer.Option(help="Id of the aircraft; the file's name.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="What a CSV's columns mean, YAML.")] = None,
    start: Annotated[
        str | None, typer.Option(help="RFC 3339 time of the beginning, for logs without dates.")
    ] = None,
    utc_offset: Annotated[float, typer.Option(help="Hours, of a camera's local time.")] = 8.0,
) -> None:
    """Turn captures, flight logs and tables of others into a recording."""
    from commands.imports import ImportPlan, run_import

    plan = ImportPlan(source, folder, city, thing, mapping, start, utc_offset)
    raise typer.Exit(run_import(plan, console))


@app.command()
def score(
    truth: Annotated[Path, typer.Argument(help="Truth file of the simulators, truth.jsonl.")],
    result: Annotated[Path, typer.Argument(help="File of `replay --json`, or a data folder.")],
    city: CityOption = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Takes the score.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Takes a page with map and timeline; needs nothing else.")
    ] = None,
    min_precision: Annotated[float | None, typer.Option(help="Exit 1 below it.")] = None,
    min_recall: Annotated[float | None, typer.Option(help="Exit 1 below it.")] = None,
    max_per_thing: Annotated[
        float | None, typer.Option(help="Exit 1 above so many incidents per real thing.")
    ] = None,
    max_wrong_owner: Annotated[
        int | None, typer.Option(help="Exit 1 above so many at the wrong unit.")
    ] = None,
) -> None:
    """Score what was found against what really happened; a gate for CI."""
    from commands.score import ScorePlan, run_score

    plan = ScorePlan(
        truth=truth,
        result=result,
        json_path=json_path,
        html_path=html,
        min_precision=min_precision,
        min_recall=min_recall,
        max_per_thing=max_per_thing,
        max_wrong_owner=max_wrong_owner,
    )
    raise typer.Exit(_run(run_score(_settings(city=city), plan, console)))


incident_app = typer.Typer(help="One incident: cut it out of a recording.", no_args_is_help=True)
app.add_typer(incident_app, name="incident")


@incident_app.command()
def export(
    incident: Annotated[str, typer.Argument(help="Case number, id, or a scenario.")],
    recording: Annotated[Path, typer.Option(help="The recording that it is in.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write.")] = Path(
        "incident.mcap"
    ),
    city: CityOption = None,
    data: DataOption = None,
) -> None:
    """Write an incident with all that led to it as one file, for `pytest --incident FILE`."""
    from commands.incident import export_incident

    settings = _settings(data_dir=data, city=city)
    raise typer.Exit(_run(export_incident(settings, incident, recording, out, console)))


@app.command()
def quarantine(
    reason: Annotated[str | None, typer.Option(help="Only those with this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    data: DataOption = None,
) -> None:
    """List the messages that could not be read, newest first, and count them by reason."""
    from commands.inspect import print_quarantine

    print_quarantine(_settings(data_dir=data), reason, limit, console)


@app.command()
def redrive(
    reason: Annotated[str | None, typer.Option(help="Only those with this reason.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Send; without it only count.")] = False,
    url: Annotated[str, typer.Option(help="Of the page and API.")] = "http://127.0.0.1:8000",
) -> None:
    """Read again what is in quarantine: messages, and observations that made the rules fail.

    For when the decoder, connector or rule at fault was mended and the platform started with it.
    Each counts once, however often it is sent; what cannot be read now either stays.
    """
    from commands.redrive import redrive as run_redrive

    run_redrive(url, reason, apply, console)


archive_app = typer.Typer(no_args_is_help=True, help="The archive of all observations.")
app.add_typer(archive_app, name="archive")


@archive_app.command("query")
def archive_query(
    thing: Annotated[list[str] | None, typer.Option(help="Of this thing; may be repeated.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Of this kind; may be repeated.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="Not before, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Not after, RFC 3339.")] = None,
    area: Annotated[str, typer.Option(help="Beginning of an area code.")] = "",
    bbox: Annotated[str | None, typer.Option(help="`west,south,east,north` in degrees.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines instead of a table.")] = False,
    data: DataOption = None,
) -> None:
    """List archived observations, the newest first."""
    from commands.archive import print_observations

    given = (thing or [], kind or [], since, until, area, bbox)
    print_observations(_settings(data_dir=data), *given, limit, as_json, console)


@archive_app.command("info")
def archive_info(data: DataOption = None) -> None:
    """Tell what the archive holds: files, size, time span, data grades of the columns."""
    from commands.archive import print_archive

    print_archive(_settings(data_dir=data), console)


@app.command()
def ledger(
    since: Annotated[str | None, typer.Option("--from", help="Not before, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Not after, RFC 3339.")] = None,
    source: Annotated[str | None, typer.Option(help="Only this source (wire format).")] = None,
    by_minute: Annotated[bool, typer.Option("--minutes", help="A line per minute.")] = False,
    devices: Annotated[
        bool,
        typer.Option("--devices", help="Also which of the devices' own numbers never came."),
    ] = False,
    data: DataOption = None,
) -> None:
    """Tell whether all that was received is accounted for and archived; exit 1 when not."""
    from commands.ledger import print_device_numbers, print_ledger

    if devices:
        print_device_numbers(_settings(data_dir=data), since, until, source, console)

    given = (since, until, source, by_minute)
    if not print_ledger(_settings(data_dir=data), *given, console):
        raise typer.Exit(1)


@app.command()
def trace(
    wanted: Annotated[str, typer.Argument(help="Id of an observation, or an incident's number.")],
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    data: DataOption = None,
) -> None:
    """Follow an observation from its message to the incident, or an incident back to it."""
    from commands.trace import print_trace

    print_trace(_settings(data_dir=data), wanted, as_json, console)


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="Folder that takes the copy; empty or new.")],
    data: DataOption = None,
) -> None:
    """Copy a city's log, store, archive and pictures, while it runs or not."""
    from commands.backup import back_up

    back_up(_settings(data_dir=data), target, console)


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A backup.")],
    data: Annotated[Path, typer.Option("--data", help="Data folder to make; empty or new.")],
) -> None:
    """Make a data folder of a backup, after checking every file of it."""
    from commands.backup import restore as restore_backup

    restore_backup(source, data, console)


@app.command()
def explain(
    incident: Annotated[str, typer.Argument(help="Case number or id.")], data: DataOption = None
) -> None:
    """Tell why an incident is one, who it went to, and what speaks for it."""
    from commands.inspect import print_explanation

    print_explanation(_settings(data_dir=data), incident, console)


@app.command()
def check(city: CityOption = None) -> None:
    """Check settings, scenario packs and the city's layers, without running anything."""
    from commands.inspect import print_check

    print_check(_settings(city=city), console)


@app.command()
def health(
    service: Annotated[str, typer.Argument(help="ingest, streams, archive or vision.")],
) -> None:
    """Exit 0 when a service of this data folder is alive."""
    from core.clock import SystemClock
    from core.heartbeat import check_heartbeat

    age_s = check_heartbeat(_settings().data_dir, service, SystemClock())
    console.print(f"{service}: heartbeat {age_s:.1f} s ago")


@app.command()
def docs(
    check_only: Annotated[
        bool, typer.Option("--check", help="Fail when a page is not current; write nothing.")
    ] = False,
) -> None:
    """Write the generated pages of docs/: settings, scenarios, topics, command line."""
    from commands.docpages import write_pages

    stale = write_pages(Path(__file__).resolve().parent / "docs", check_only=check_only)
    if stale and check_only:
        errors.print(f"not current, run `make docs`: {', '.join(stale)}")
        raise typer.Exit(1)


def _settings(**overrides: Any) -> Settings:
    settings = load_settings(**overrides)
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    if settings.calendar is not None:
        from scenarios.calendar import load_calendar, use_calendar

        use_calendar(load_calendar(settings.calendar))
    noisy_ones = ("faust", "mode", "aiokafka", "amqtt", "transitions", "httpx", "alembic")
    for noisy in (*noisy_ones, "streams.embedded.driver", "streams.kafka.driver"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return settings


def _log_to_file(path: Path) -> None:
    """Write the log to a file: the terminal belongs to the table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    root = logging.getLogger()
    handler.setFormatter(root.handlers[0].formatter)
    root.handlers[:] = [handler]


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine; Ctrl-C and SIGTERM cancel it, a second Ctrl-C ends at once."""

    async def supervised() -> Any:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if task.cancelling():
                os._exit(130)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):
                loop.add_signal_handler(number, stop)
        with suppress(asyncio.CancelledError):
            return await task
        return 0

    return asyncio.run(supervised())


def main() -> None:
    """Entry point: errors of ours are told in one line, without a stack."""
    # Faust looks through the arguments of the process for options of its own, e.g. --loop.
    arguments, sys.argv[1:] = sys.argv[1:], []
    try:
        app(arguments)
    except QingniaoError as error:
        errors.print(f"[red]{type(error).__name__}[/red]: {error}", highlight=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
