"""``qingniao incident export``: one incident, with all that led to it, as one file."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console

from commands.playing import Played, play
from commands.replay import city_of_recording
from core.canonical import canonical_json
from core.errors import InputError, NotFoundError, ServiceError
from core.incidents import Evidence, Incident
from core.settings import Settings, load_settings
from core.topics import FRAME_FILTERS
from core.units import seconds_to_ns
from geo.city import City, load_city
from ingest.pipeline import decode_messages
from ingest.recording.reader import TICK_INTERVAL_S, Recording
from ingest.recording.rounds import Round, select, with_ticks
from ingest.recording.writer import RecordingWriter

#: Names of what a cut carries beside its messages.
EXPECTED, STORY = "expected.jsonl", "incident.json"

#: How much before an incident began is tried first, and how much after its last word.
_BEFORE_S, _AFTER_S = 1800.0, 300.0


class _Cut(NamedTuple):
    """What of a recording is kept."""

    told: str
    things: frozenset[str] | None
    since_ns: int | None
    until_ns: int | None


async def export_incident(
    settings: Settings, wanted: str, recording_path: Path, out: Path, console: Console
) -> int:
    """Cut an incident out of a recording; the least that gives it again is kept.

    Args:
        settings: The city and, for its pictures, the data folder.
        wanted: Id or case number; or a scenario, whose first incident it then is.
        recording_path: Where it is in.
        out: The file to write.
        console: For progress.

    Raises:
        NotFoundError: The recording gives no such incident.
        InputError: There is no such recording, or the file exists.
        ServiceError: Not even the whole recording gives it again.
    """
    if await asyncio.to_thread(out.exists):
        raise InputError(f"{out} exists; remove it or name another file with -o")
    recording = await asyncio.to_thread(Recording, recording_path)
    settings = city_of_recording(settings, recording)
    city = await asyncio.to_thread(load_city, settings.city, seed=settings.city_seed)
    with console.status("回放 replaying the whole recording …") as status:
        whole = await played_apart(settings, city, _without_frames(recording.rounds()))
        case = find_case(whole, wanted)
        expected = canonical_json([case])
        for cut in _cuts(case):
            status.update(f"裁剪 trying {cut.told} …")
            rounds = list(_cut_rounds(recording, cut, city.name))
            again = await played_apart(settings, city, rounds)
            if expected in again.canonical.splitlines(keepends=True):
                break
        else:
            raise ServiceError(f"{wanted}: the recording does not give the same incident twice")
    await asyncio.to_thread(_write, out, rounds, case, recording, settings)
    messages = sum(len(one.messages) for one in rounds)
    console.print(
        f"{out}: {case[0].case_number} {case[0].scenario}, {messages} of {whole.messages} "
        f"messages ({cut.told}); replayed, and it is the same incident.\n"
        f"As a regression test: pytest --incident {out}"
    )
    return 0


async def played_apart(settings: Settings, city: City, rounds: Iterable[Round]) -> Played:
    """Play rounds in a passing data folder, so that nothing of before joins in."""
    folder = Path(tempfile.mkdtemp(prefix="qingniao-cut-"))
    try:
        return await play(apart(settings, folder), city, rounds)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def apart(settings: Settings, folder: Path) -> Settings:
    """The same city and rules, with log and store of its own."""
    return load_settings(
        data_dir=folder,
        city=settings.city,
        city_seed=settings.city_seed,
        packs=settings.packs,
        log_level=settings.log_level,
        broker="embedded://",
        store="sqlite://",
    )


def find_case(played: Played, wanted: str) -> tuple[Incident, list[Evidence]]:
    """The incident with an id or case number, or the first of a scenario.

    Raises:
        NotFoundError: There is none; names those that there are.
    """
    for case in played.cases:
        if wanted in {case[0].id, case[0].case_number}:
            return case
    of_scenario = [case for case in played.cases if case[0].scenario == wanted]
    if of_scenario:
        return min(of_scenario, key=lambda case: (case[0].opened_ns, case[0].id))
    known = ", ".join(one.case_number for one, _ in played.cases[:8]) or "none"
    raise NotFoundError(f"incident {wanted!r}: the recording gives {known}")


def _cuts(case: tuple[Incident, list[Evidence]]) -> Iterator[_Cut]:
    """What to try, the least first."""
    incident, words = case
    things = frozenset(one.thing_id for one in words)
    until_ns = max(one.at_ns for one in words) + seconds_to_ns(_AFTER_S)
    since_ns = incident.began_ns - seconds_to_ns(_BEFORE_S)
    yield _Cut("what its things said around it", things, since_ns, until_ns)
    yield _Cut("all that its things said", things, None, None)
    yield _Cut("everything around it", None, since_ns, until_ns)
    yield _Cut("the whole recording", None, None, None)


def _cut_rounds(recording: Recording, cut: _Cut, city: str) -> Iterator[Round]:
    rounds = _without_frames(
        select(
            recording.rounds(since_ns=cut.since_ns, until_ns=cut.until_ns),
            since_ns=cut.since_ns,
            until_ns=cut.until_ns,
        )
    )
    if cut.things is None:
        yield from rounds
        return
    # What is left out was no silence: time passed, which a tick says.
    yield from with_ticks(_of_things(rounds, cut.things, city), TICK_INTERVAL_S)


def _of_things(rounds: Iterable[Round], things: frozenset[str], city: str) -> Iterator[Round]:
    last_ns = told_ns = 0
    for one in rounds:
        last_ns = one.instant_ns
        kept = []
        for message in one.messages:
            observations, _ = decode_messages([message], city=city)
            if any(each.thing_id in things for each in observations):
                kept.append(message)
        if kept or not one.messages:
            told_ns = last_ns
            yield Round(last_ns, kept)
    if last_ns > told_ns:
        yield Round(last_ns, [])


def _without_frames(rounds: Iterable[Round]) -> Iterator[Round]:
    return select(rounds, without=[one for one, _ in FRAME_FILTERS])


def _write(
    out: Path,
    rounds: Iterable[Round],
    case: tuple[Incident, list[Evidence]],
    recording: Recording,
    settings: Settings,
) -> None:
    incident, words = case
    folder = Path(tempfile.mkdtemp(prefix="qingniao-cut-"))
    try:
        about = recording.about() | {"incident": incident.id, "scenario": incident.scenario}
        about.pop("began", None)
        writer = RecordingWriter(folder, about=about, max_file_bytes=2**62, max_file_s=1e9)
        for one in rounds:
            if one.messages:
                writer.write(one.messages)
            else:
                writer.tick(one.instant_ns)
        at_ns = incident.began_ns
        writer.attach(EXPECTED, "application/x-ndjson", canonical_json([case]), at_ns)
        story = msgspec.json.format(msgspec.json.encode({"incident": incident, "evidence": words}))
        writer.attach(STORY, "application/json", story, at_ns)
        for name in dict.fromkeys(name for word in words for name in word.snapshots):
            path = settings.snapshot_dir / name
            if path.is_file():
                writer.attach(f"snapshots/{name}", "image/jpeg", path.read_bytes(), at_ns)
        writer.close()
        (made,) = folder.glob("*.mcap")
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
