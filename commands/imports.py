"""``qingniao import``: captures, flight logs and tables of others into a recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from core.errors import InputError
from core.ports import RawMessage
from core.units import rfc3339_to_ns
from ingest.imports.gpx import read_gpx
from ingest.imports.srt import read_srt
from ingest.imports.table import load_mapping, read_table
from ingest.imports.ulog import read_ulog
from ingest.recording.reader import TICK_INTERVAL_S, Recording
from ingest.recording.rounds import Round, by_time, with_ticks
from ingest.recording.writer import RecordingWriter

#: A text log larger than this is refused; an hour of SRT at 60 Hz has about 50 MB.
MAX_TEXT_BYTES = 512 * 1024 * 1024


class ImportPlan(NamedTuple):
    """What the options asked for."""

    source: Path
    folder: Path
    city: str = "qingdao"
    thing: str | None = None
    mapping: Path | None = None
    start: str | None = None
    utc_offset_h: float = 8.0


def run_import(plan: ImportPlan, console: Console) -> int:
    """Import one file; its kind is told by its ending.

    Raises:
        InputError: The file cannot be read, or an option is missing.
    """
    writer = RecordingWriter(plan.folder, about={"imported": plan.source.name})
    try:
        for one in import_rounds(plan):
            if one.messages:
                writer.write(one.messages)
            else:
                writer.tick(one.instant_ns)
    finally:
        writer.close()
    console.print(f"{plan.source} into {plan.folder}: {writer.messages:,} messages")
    return 0


def import_rounds(plan: ImportPlan) -> Iterator[Round]:
    """The rounds of a file, with ticks where it is silent.

    Raises:
        InputError: The file cannot be read, or an option is missing.
    """
    if plan.source.suffix.lower() in {".jsonl", ".mcap"} or plan.source.is_dir():
        return Recording(plan.source).rounds()
    return with_ticks(by_time(_in_order(_messages(plan))), TICK_INTERVAL_S)


def _messages(plan: ImportPlan) -> Iterator[RawMessage]:
    path, thing, city = plan.source, plan.thing or plan.source.stem, plan.city
    match path.suffix.lower():
        case ".srt":
            start_ns = None if plan.start is None else rfc3339_to_ns(plan.start)
            return read_srt(
                _text(path),
                city=city,
                thing=thing,
                start_ns=start_ns,
                utc_offset_s=plan.utc_offset_h * 3600.0,
                where=str(path),
            )
        case ".gpx":
            return read_gpx(_text(path), city=city, thing=thing, where=str(path))
        case ".ulg":
            return read_ulog(path, city=city, thing=thing)
        case ".csv":
            if plan.mapping is None:
                raise InputError(
                    f"{path}: a CSV needs --mapping FILE; docs/recordings.md shows one"
                )
            return _rows(plan, plan.mapping)
    raise InputError(f"{path}: .jsonl, .csv, .srt, .ulg or .gpx wanted, got {path.suffix!r}")


def _rows(plan: ImportPlan, mapping: Path) -> Iterator[RawMessage]:
    with plan.source.open(encoding="utf-8-sig", newline="") as file:
        yield from read_table(file, load_mapping(mapping), city=plan.city, where=str(plan.source))


def _in_order(messages: Iterable[RawMessage]) -> Iterator[RawMessage]:
    """Messages as ingest would have received them: never earlier than the one before."""
    newest_ns = 0
    for message in messages:
        newest_ns = max(newest_ns, message.received_ns)
        if message.received_ns < newest_ns:
            yield RawMessage(
                topic=message.topic,
                payload=message.payload,
                received_ns=newest_ns,
                qos=message.qos,
            )
        else:
            yield message


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise InputError(f"{path}: larger than {MAX_TEXT_BYTES} bytes")
        return path.read_text("utf-8", "replace")
    except OSError as exc:
        raise InputError(f"{path}: {exc.strerror}") from exc
