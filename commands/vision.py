"""``qingniao vision``: what a camera would notice, on any clip or stream, for a person to see."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from commands.vision_changes import changes
from core.clock import Clock, SystemClock
from core.errors import InputError
from core.units import NS_PER_S, rfc3339_to_ns
from ingest.video.camera_ground import watch_of
from ingest.video.decoder import is_live
from ingest.video.source import ClipPicture, VideoSource
from ingest.video.srt import SideCar, find_side_car
from ingest.vision_worker import detection_json
from vision.blur import encode_jpeg
from vision.camera_file import CameraFile, read_camera_file
from vision.detections import Image
from vision.overlay import draw_look
from vision.watch import Look

app = typer.Typer(
    name="vision",
    help="视觉 Cameras: see what would be noticed in a clip or stream.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(changes)
console = Console()

#: The background is learned from so many pictures of the first seconds of a clip.
_PRIME_PICTURES, _PRIME_S = 7, 8.0


@app.callback()
def vision() -> None:
    """Cameras at a terminal."""


@app.command()
def run(
    source: Annotated[
        str, typer.Argument(help="Video file, folder of pictures, or rtsp:// or http:// address.")
    ],
    camera: Annotated[
        Path | None,
        typer.Option(help="camera.yaml: zones, lines, ground, detectors; see docs/vision.md."),
    ] = None,
    show: Annotated[
        Path | None, typer.Option(help="Video to write, with boxes, tracks, zones and events.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option(help="JSON lines of what would be published.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for a picture of each event, people blurred.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Time of the first picture, RFC 3339; else the source's.")
    ] = None,
    fps: Annotated[float, typer.Option(min=0.01, help="Of a folder of pictures.")] = 1.0,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many seconds of the source.")
    ] = None,
) -> None:
    """Watch a clip or a stream and tell, draw and count what is noticed."""
    settings = CameraFile(id="camera") if camera is None else read_camera_file(camera)
    session = _Session(source, settings, fps=fps, start=start, show=show, pictures=pictures)
    taken: list[bytes] = []
    out = None if events is None else events.open("wb")
    try:
        with Progress(
            TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
        ) as progress:
            task = progress.add_task("opening")
            for look, at_ns in session.looks(seconds):
                for one in look.observations:
                    line = detection_json(one)
                    if out is not None:
                        out.write(line + b"\n")
                    if "phase" in one.labels:
                        taken.append(line)
                        progress.console.print(_told(line), highlight=False)
                seen = f"{session.pictures_seen} pictures, {at_ns / NS_PER_S:.1f} s"
                progress.update(task, description=f"{seen}, {look.state.words} ({look.state})")
    finally:
        session.close()
        if out is not None:
            out.close()
    session.report(len(taken), show, events)


class _Session:
    """One run over a source."""

    def __init__(
        self,
        source: str,
        camera: CameraFile,
        *,
        fps: float,
        start: str | None,
        show: Path | None,
        pictures: Path | None,
    ) -> None:
        self.camera = camera
        self.watch = watch_of(camera)
        self.source = VideoSource(source, fps=fps)
        self.pictures_seen = 0
        self.skipped = 0
        self.phases: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self._took_s = 0.0
        self._show, self._pictures = show, pictures
        self._writer: cv2.VideoWriter | None = None
        self._shown_px = (0, 0)
        self._fps = fps
        self._clock: Clock = SystemClock()
        beside = None if is_live(source) else find_side_car(Path(source))
        self._side_car = None if beside is None else SideCar(beside)
        self._start_ns = 0
        if start is not None or camera.start is not None:
            self._start_ns = rfc3339_to_ns(start or camera.start or "")
        elif self._side_car is not None:
            self._start_ns = self._side_car.utc_ns(0, camera.utc_offset_h * 3600.0) or 0

    def looks(self, seconds: float | None) -> Iterator[tuple[Look, int]]:
        """What each picture gave, with the source's time since its first picture.

        Pictures beyond ``analysis_fps`` are skipped and counted.
        """
        if not self.source.live:
            self._prime()
        period_ns = NS_PER_S / self.camera.analysis_fps
        first_ns: int | None = None
        due_ns = 0.0
        for one in self.source:
            if first_ns is None:
                first_ns, due_ns = one.time_ns, float(one.time_ns)
            since_ns = one.time_ns - first_ns
            if seconds is not None and since_ns > seconds * NS_PER_S:
                return
            # Half a millisecond: container times are rounded.
            if one.time_ns < due_ns - 5e5:
                self.skipped += 1
                continue
            due_ns = max(due_ns + period_ns, one.time_ns - period_ns)
            yield self.look(one), since_ns

    def _prime(self) -> None:
        """Learn the background from the first seconds, so that the first car counts, too."""
        found: list[Image] = []
        first_ns: int | None = None
        source = VideoSource(self.source.source, fps=self._fps)
        for one in source:
            first_ns = one.time_ns if first_ns is None else first_ns
            if one.time_ns - first_ns >= _PRIME_S * NS_PER_S * len(found) / _PRIME_PICTURES:
                found.append(one.image)
            if len(found) >= _PRIME_PICTURES:
                break
        source.stop()
        if first_ns is not None and len(found) == _PRIME_PICTURES:
            self.watch.prime(found, first_ns + self._start_ns)

    def look(self, one: ClipPicture) -> Look:
        """Watch one picture; draw and store what is to be drawn and stored."""
        began_s = time.perf_counter()
        time_ns = one.time_ns + (0 if self.source.live else self._start_ns)
        usual = self.camera.pose
        pose = None if self._side_car is None else self._side_car.pose(one.time_ns, usual)
        look = self.watch.look(one.image, time_ns, pose)
        self._took_s += time.perf_counter() - began_s
        self.pictures_seen += 1
        self.states[str(look.state)] += 1
        for event in look.events:
            self.phases[event.phase] += 1
        if self._show is not None or (self._pictures is not None and look.events):
            self._draw(look, time_ns)
        return look

    def _draw(self, look: Look, time_ns: int) -> None:
        # Asked for every picture: a leave may end while a stream runs.
        unblurred = may_store_unblurred(self.camera, self._clock)
        base = look.image.copy() if unblurred else self.watch.blurred(look.image)
        notice = "; ".join(f"{event.phase}: {event.sighting.what}" for event in look.events)
        drawn = draw_look(base, look, self.camera, time_ns, self.watch.totals, notice)
        if self._show is not None:
            self._write(drawn)
        if self._pictures is not None:
            self._pictures.mkdir(parents=True, exist_ok=True)
            for event in look.events:
                name = f"{time_ns // 1_000_000}-{event.number}-{event.phase}.jpg"
                (self._pictures / name).write_bytes(encode_jpeg(drawn))

    def _write(self, drawn: Image) -> None:
        assert self._show is not None
        size = (drawn.shape[1], drawn.shape[0])
        if self._writer is None:
            self._show.parent.mkdir(parents=True, exist_ok=True)
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._show), code, self.camera.analysis_fps, size)
            if not self._writer.isOpened():
                raise InputError(f"{self._show}: cannot be written as a video; name an .mp4 file")
            self._shown_px = size
        if size != self._shown_px:
            drawn = np.asarray(cv2.resize(drawn, self._shown_px), np.uint8)
        self._writer.write(drawn)

    def close(self) -> None:
        """Finish the video, stop the decoder."""
        self.source.stop()
        if self._writer is not None:
            self._writer.release()

    def report(self, told: int, show: Path | None, events: Path | None) -> None:
        """Print what came of it."""
        table = Table(title=f"{self.source.source}", show_header=False)
        promised = f" (header: {self.source.promised})" if self.source.promised else ""
        table.add_row("解码 decoded", f"{self.source.delivered}{promised}")
        table.add_row("分析 analysed", f"{self.pictures_seen}, skipped {self.skipped}")
        if self._took_s:
            rate = self.pictures_seen / self._took_s
            table.add_row("速度 speed", f"{rate:.0f} pictures a second without decoding")
        table.add_row("状态 state", ", ".join(f"{k} {v}" for k, v in self.states.items()))
        faults = self.source.counts | self.watch.counts
        if faults:
            table.add_row("异常 faults", ", ".join(f"{k} {v}" for k, v in faults.items()))
        for line, (came_in, came_out) in self.watch.totals.items():
            table.add_row(f"计数 line {line}", f"in {came_in}, out {came_out}")
        words = ", ".join(f"{phase} {count}" for phase, count in self.phases.items())
        table.add_row("事件 events", words or "none")
        for path in (show, events):
            if path is not None:
                table.add_row("文件 written", str(path))
        console.print(table)


def may_store_unblurred(camera: CameraFile, clock: Clock) -> bool:
    """Whether the camera's file allows it now.

    Example:
        >>> from core.clock import ManualClock
        >>> from vision.camera_file import Unblurred
        >>> leave = Unblurred(reason="staged with actors", until="2026-01-02T00:00:00Z")
        >>> camera = CameraFile(unblurred=leave)
        >>> at = [rfc3339_to_ns(f"2026-01-0{day}T12:00:00Z") for day in (1, 2)]
        >>> [may_store_unblurred(camera, ManualClock(now_ns)) for now_ns in at]
        [True, False]
    """
    leave = camera.unblurred
    return leave is not None and clock.now_ns() < rfc3339_to_ns(leave.until)


def _told(line: bytes) -> str:
    """One event in one line of a terminal."""
    one = json.loads(line)
    labels, measures = one["labels"], one["measures"]
    place = f"{one['lat']:.6f},{one['lon']:.6f}" if "lat" in one else ""
    words = [one["time"], labels["phase"], one["kind"], labels["object"], labels.get("zone", "")]
    words += [f"{measures['dwell_s']:.1f} s", place]
    return "  ".join(word for word in words if word)
