"""``qingniao record``: MQTT traffic into MCAP files."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from commands.running import RunningCity
from commands.sharing import address_of
from core.clock import Clock, SystemClock
from core.settings import Settings
from core.topics import INGEST_FILTERS
from ingest.connectors.load import open_connectors
from ingest.recording.pictures import PictureStore
from ingest.recording.recorder import FramePolicy, Recorder
from ingest.recording.writer import RecordingWriter

#: How often the terminal is told; wall seconds.
_TELL_S = 1.0


class RecordPlan(NamedTuple):
    """What the options asked for."""

    folder: Path
    broker: str | None
    topics: tuple[str, ...]
    frames: FramePolicy
    duration_s: float | None
    max_file_mb: float
    max_file_s: float
    keep_files: int | None
    frame_files_mb: float | None = None  #: pictures beside the files, up to so much together


async def run_record(settings: Settings, plan: RecordPlan, console: Console) -> int:
    """Record until the time is over or it is cancelled.

    Raises:
        ServiceError: The broker refuses us, no city runs here, or the disk is full.
        InputError: An option is wrong.
    """
    clock: Clock = SystemClock()
    about: dict[str, str] = {}
    if plan.broker is None and settings.mqtt.url in {"embedded", "mosquitto"}:
        running = RunningCity.find(settings.data_dir)
        address, clock, about = running.address(), running.city_clock(), running.about
    else:
        address = address_of(plan.broker or settings.mqtt.url, settings)
    pictures = None
    if plan.frame_files_mb is not None:
        pictures = await asyncio.to_thread(
            PictureStore, plan.folder, max_bytes=round(plan.frame_files_mb * 1e6)
        )
    writer = RecordingWriter(
        plan.folder,
        about=about,
        max_file_bytes=round(plan.max_file_mb * 1e6),
        max_file_s=plan.max_file_s,
        keep_files=plan.keep_files,
        pictures=pictures,
    )
    filters = [(one, 1) for one in plan.topics] or [
        *INGEST_FILTERS,
        *open_connectors(settings).filters,
    ]
    recorder = Recorder(address, clock, writer, filters, frames=plan.frames)
    began_s = time.monotonic()
    recording = asyncio.create_task(recorder.run())
    before = 0
    try:
        with console.status("录制 recording …") as status:
            while not recording.done():
                left_s = _TELL_S
                if plan.duration_s is not None:
                    left_s = min(left_s, began_s + plan.duration_s - time.monotonic())
                    if left_s <= 0:
                        break
                await asyncio.wait({recording}, timeout=left_s)
                status.update(
                    f"录制 recording into {plan.folder}: {writer.messages:,} messages "
                    f"({writer.messages - before:,}/s), {writer.files} files; Ctrl-C ends"
                )
                before = writer.messages
        if recording.done():
            recording.result()  # it failed: it ends by itself for no other reason
    finally:
        recording.cancel()
        await asyncio.gather(recording, return_exceptions=True)
        console.print(
            f"{plan.folder}: {writer.messages:,} messages, {writer.ticks} ticks, "
            f"{writer.files} files, {writer.bytes / 1e6:.1f} MB"
        )
        hidden, dropped = recorder.blurrer.blurred_whole, recorder.blurrer.dropped
        if hidden or dropped:
            console.print(
                f"frames: {hidden} blurred as a whole (street not known yet, or a camera in "
                f"flight), {dropped} left out (no picture)"
            )
        if pictures is not None:
            console.print(
                f"pictures beside the files: {pictures.kept} ({pictures.shared} of them equal to "
                f"others), {pictures.bytes / 1e6:.1f} MB, {pictures.evicted} removed for room"
            )
    return 0
