"""``qingniao replay``: a recording through the whole pipeline, or into a broker."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from commands.keys import keys_at_terminal
from commands.playing import Played, Progress, play
from commands.sharing import address_of
from core.errors import InputError
from core.incidents import Incident
from core.settings import Settings, load_settings
from core.topics import FRAME_FILTERS
from core.units import ns_to_rfc3339, parse_duration_s, rfc3339_to_ns, seconds_to_ns
from geo.city import load_city
from ingest.camera_folder import read_camera_folder
from ingest.evidence_folder import evidence_folder
from ingest.recording.frames import FrameTransform, LiveFrames, LosslessFrames
from ingest.recording.pace import Pace
from ingest.recording.pictures import FOLDER
from ingest.recording.publish import BrokerPlayer
from ingest.recording.reader import Recording
from ingest.recording.rounds import Round, select

FRAME_CHOICES = ("none", "lossless", "live")

#: Recorded detections are left out where frames are looked at again.
_DETECTIONS = "qn/+/detection/+"
_FASTER = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0, None)


class ReplayPlan(NamedTuple):
    """What the options asked for."""

    recording: Path
    speed: float | None = None
    since: str | None = None
    until: str | None = None
    topics: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    loop: int = 1
    into: str | None = None
    frames: str = "none"
    step: bool = False
    json_path: Path | None = None
    canonical_path: Path | None = None


async def run_replay(settings: Settings, plan: ReplayPlan, console: Console) -> int:
    """Replay a recording; gives the exit code.

    Raises:
        InputError: There is no such recording, or an option is wrong.
        ServiceError: A part failed.
    """
    if plan.frames not in FRAME_CHOICES:
        raise InputError(f"--frames: one of {', '.join(FRAME_CHOICES)} wanted, got {plan.frames!r}")
    recording = await asyncio.to_thread(Recording, plan.recording)
    if plan.into is not None:
        return await _into_broker(settings, plan, recording, console)
    settings = city_of_recording(settings, recording)
    city = await asyncio.to_thread(load_city, settings.city, seed=settings.city_seed)
    first: Played | None = None
    for number in range(1, plan.loop + 1):
        # Each pass has state of its own: repeated messages would be duplicates.
        with _data_folder(settings, number) as own:
            frames: FrameTransform | None = None
            if plan.frames != "none":
                kind = LosslessFrames if plan.frames == "lossless" else LiveFrames
                cameras = read_camera_folder(settings.cameras, city)
                frames = kind(city, evidence_folder(own), cameras)
            pace = Pace(plan.speed)
            with _at_terminal(pace, console, plan, number) as (progress, opened):
                began_s = time.monotonic()
                played = await play(
                    own,
                    city,
                    _rounds(plan, recording),
                    pace=pace,
                    frames=frames,
                    progress=progress,
                    incident=opened,
                )
                taken_s = time.monotonic() - began_s
        _tell_damage(recording, console)
        if first is None:
            first = played
            _print(played, taken_s, console)
            if frames is not None:
                console.print(f"画面 frames: {frames.report()}")
            if plan.frames == "live":
                console.print(
                    "[yellow]frames were dropped as in a live run, so identity does not hold: "
                    "another replay may give other incidents; use --frames lossless for the same "
                    "ones[/yellow]"
                )
            await asyncio.to_thread(_write, plan, played)
        elif played.canonical != first.canonical and plan.frames == "live":
            console.print(f"pass {number} gave other incidents, as live frames may")
        elif played.canonical != first.canonical:
            console.print(f"[red]✗[/red] pass {number} gave other incidents than pass 1")
            return 1
        else:
            console.print(f"pass {number}: the same incidents, byte for byte ({taken_s:.1f} s)")
    return 0


def city_of_recording(settings: Settings, recording: Recording) -> Settings:
    """The settings with the city that the recording names, unless another one was asked for."""
    about = recording.about()
    if settings.city != "generated" or "city" not in about:
        return settings
    seed = about.get("city_seed", "")
    return settings.model_copy(
        update={
            "city": about["city"],
            "city_seed": int(seed) if seed.isdigit() else settings.city_seed,
        }
    )


def _rounds(plan: ReplayPlan, recording: Recording) -> Iterator[Round]:
    since_ns, until_ns = span(plan.since, plan.until, recording)
    without = list(plan.without)
    if plan.into is None:
        without += [one for one, _ in FRAME_FILTERS] if plan.frames == "none" else [_DETECTIONS]
    return select(
        recording.rounds(since_ns=since_ns, until_ns=until_ns),
        since_ns=since_ns,
        until_ns=until_ns,
        topics=plan.topics,
        without=without,
    )


def span(
    since: str | None, until: str | None, recording: Recording
) -> tuple[int | None, int | None]:
    """Two times as people write them: RFC 3339, or a duration from the recording's beginning.

    Raises:
        InputError: A text is neither.
    """
    if since is None and until is None:
        return None, None
    first = next(recording.rounds(), None)
    began_ns = 0 if first is None else first.instant_ns

    def instant(text: str | None) -> int | None:
        if text is None:
            return None
        if "T" in text or "-" in text:
            return rfc3339_to_ns(text)
        return began_ns + seconds_to_ns(parse_duration_s(text))

    return instant(since), instant(until)


async def _into_broker(
    settings: Settings, plan: ReplayPlan, recording: Recording, console: Console
) -> int:
    assert plan.into is not None
    pace = Pace(plan.speed)
    player = BrokerPlayer(address_of(plan.into, settings), pace)
    passes = 0
    with _at_terminal(pace, console, plan, 1) as (progress, _):
        while plan.loop == 0 or passes < plan.loop:
            passes += 1
            playing = asyncio.ensure_future(player.play(_rounds(plan, recording)))
            while not playing.done():
                await asyncio.wait([playing], timeout=0.2)
                progress(player.published, player.instant_ns)
            playing.result()
    _tell_damage(recording, console)
    left = f", left out: {dict(player.left_out)}" if player.left_out else ""
    console.print(f"{player.published:,} messages into {plan.into.rpartition('@')[2]}{left}")
    return 0


@contextmanager
def _data_folder(settings: Settings, number: int) -> Iterator[Settings]:
    """The settings as they are for the first pass, with a passing folder for further ones."""
    if number == 1:
        yield settings
        return
    folder = Path(tempfile.mkdtemp(prefix="qingniao-replay-"))
    try:
        yield load_settings(**(settings.model_dump() | {"data_dir": folder}))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _at_terminal(
    pace: Pace, console: Console, plan: ReplayPlan, number: int
) -> Iterator[tuple[Progress, Callable[[Incident], None]]]:
    """Tell progress, and let keys pause, step and change the speed."""
    if plan.step:
        pace.step()

    def pressed(key: str) -> None:
        if key in " p":
            if pace.paused:
                pace.resume()
            else:
                pace.pause()
        elif key in "ns":
            pace.step()
        elif key in "+-":
            speeds = list(_FASTER)
            near = min(
                range(len(speeds)),
                key=lambda row: abs((speeds[row] or 1e9) - (pace.speed or 1e9)),
            )
            row = max(0, min(len(speeds) - 1, near + (1 if key == "+" else -1)))
            pace.set_speed(speeds[row])

    with console.status("回放 replaying …") as status, keys_at_terminal(pressed) as keys:
        help_text = "  空格 space pauses, n next incident, + - speed" if keys else ""
        if plan.step and not keys:
            pace.resume()  # nobody could go on

        def progress(messages: int, instant_ns: int) -> None:
            speed = "max" if pace.speed is None else f"{pace.speed:g}×"
            state = "暂停 paused" if pace.paused else f"回放 replaying {speed}"
            which = f", pass {number}" if plan.loop != 1 else ""
            status.update(
                f"{state}  {ns_to_rfc3339(instant_ns)}  {messages:,} messages{which}{help_text}"
            )

        def opened(incident: Incident) -> None:
            console.print(
                f"{incident.case_number}  {incident.scenario}  "
                f"{ns_to_rfc3339(incident.began_ns)}  {incident.place.area_name}"
            )

        yield progress, opened


def result_of(played: Played) -> dict[str, Any]:
    """What a replay came to, as JSON."""
    return {
        "messages": played.messages,
        "observations": dict(played.observations),
        "duplicates": played.duplicates,
        "rejections": played.rejections,
        "aircraft": {
            thing: {
                "observations": track["observations"],
                "positions": track["positions"],
                "first": ns_to_rfc3339(track["first_ns"]),
                "last": ns_to_rfc3339(track["last_ns"]),
                "highest_m": {name: round(value, 3) for name, value in track["highest"].items()},
            }
            for thing, track in played.tracks.items()
        },
        "since": ns_to_rfc3339(played.since_ns),
        "until": ns_to_rfc3339(played.until_ns),
        "canonical_sha256": hashlib.sha256(played.canonical).hexdigest(),
        "incidents": [
            {
                "id": one.id,
                "case_number": one.case_number,
                "scenario": one.scenario,
                "began_at": ns_to_rfc3339(one.began_ns),
                "opened_at": ns_to_rfc3339(one.opened_ns),
                "updated_at": ns_to_rfc3339(one.updated_ns),
                "cleared_at": None if one.cleared_ns is None else ns_to_rfc3339(one.cleared_ns),
                "lon_deg": one.place.lon_deg,
                "lat_deg": one.place.lat_deg,
                "unit_id": one.unit_id,
            }
            for one, _ in played.cases
        ],
    }


def _write(plan: ReplayPlan, played: Played) -> None:
    if plan.json_path is not None:
        text = json.dumps(result_of(played), ensure_ascii=False, indent=2)
        plan.json_path.write_text(text + "\n", "utf-8")
    if plan.canonical_path is not None:
        plan.canonical_path.write_bytes(played.canonical)


def _tell_damage(recording: Recording, console: Console) -> None:
    for path, why in recording.cut_off.items():
        console.print(f"[yellow]{path}[/yellow]: {why}; what came before was played")
    for reason, count in recording.frames_gone.items():
        console.print(
            f"[yellow]{count} frames left out[/yellow] ({reason}): their pictures are to be beside "
            f"the recording, in {FOLDER}/"
        )


def _print(played: Played, taken_s: float, console: Console) -> None:
    rate = played.messages / taken_s if taken_s > 0 else 0.0
    console.print(
        f"{played.messages} messages, {sum(played.observations.values())} observations, "
        f"{played.duplicates} duplicates, {sum(played.rejections.values())} in quarantine "
        f"({taken_s:.1f} s, {rate:,.0f} messages/s)"
    )
    for reason, count in sorted(played.rejections.items()):
        console.print(f"  {reason}: {count}")
    if played.tracks:
        tracks = Table("航空器 aircraft", "positions", "first", "last", "highest m")
        for thing, track in played.tracks.items():
            highest = ", ".join(f"{name} {value:.1f}" for name, value in track["highest"].items())
            first, last = ns_to_rfc3339(track["first_ns"]), ns_to_rfc3339(track["last_ns"])
            tracks.add_row(thing, str(track["positions"]), first, last, highest)
        console.print(tracks)
    incidents = Table("案卷 case", "场景 scenario", "began", "lon, lat")
    for one, _ in played.cases:
        incidents.add_row(
            one.case_number,
            one.scenario,
            ns_to_rfc3339(one.began_ns),
            f"{one.place.lon_deg}, {one.place.lat_deg}",
        )
    console.print(incidents if played.cases else "没有事件 no incident")
