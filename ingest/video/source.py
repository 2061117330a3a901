"""Pictures of one source, from a decoding process that may die."""

from __future__ import annotations

import logging
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.children import die_with_parent
from core.errors import ServiceError
from ingest.video.decoder import MAX_PIXELS, is_live
from ingest.video.wire import END, FAULT, HEADER_BYTES, PICTURE, Header, unpack

_LOG = logging.getLogger(__name__)

_CHUNK = 1 << 20


class SourceLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a source may cost."""

    first_picture_s: float = 20.0  #: opening, and the first picture
    picture_s: float = 10.0  #: every further one
    restarts: int = 5  #: of a file; a live stream is tried for ever
    pause_s: float = 1.0  #: before a live stream is opened again


class ClipPicture(NamedTuple):
    """A decoded picture: ``number`` in the source, its ``time_ns``, ``image`` (h, w, 3).

    Time is since the beginning for files and folders and UTC for live streams.
    """

    number: int
    time_ns: int
    image: NDArray[np.uint8]


class VideoSource:
    """A file, a folder of pictures, or an RTSP, HTTP, RTMP or UDP stream.

    A decoder that aborts, hangs or writes nonsense is stopped and started again behind the
    picture at fault, and counted. Memory is one picture and what the pipe holds.

    Args:
        source: Path or address.
        fps: Pictures a second, for folders.
        limits: What it may cost.
        command: The decoder, given source, ``--skip`` and ``--fps``; ours unless given.

    Attributes:
        counts: What went wrong, by reason: ``decoder_crashed``, ``decoder_hung``,
            ``decoder_garbled``, ``dropped`` (live pictures nobody took in time),
            ``missing`` (pictures that the header promised and that never came).
        promised: Pictures that the header promises, 0 where it says nothing.
    """

    def __init__(
        self,
        source: str,
        *,
        fps: float = 1.0,
        limits: SourceLimits | None = None,
        command: Sequence[str] = (sys.executable, "-m", "ingest.video.decoder"),
    ) -> None:
        self.source = source
        self.live = is_live(source)
        self.counts: dict[str, int] = {}
        self.promised = 0
        self.delivered = 0
        self._fps = fps
        self._limits = limits or SourceLimits()
        self._command = tuple(command)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the iteration at the next picture; safe from another thread."""
        self._stopped.set()

    def __iter__(self) -> Iterator[ClipPicture]:
        """The pictures in order.

        Raises:
            ServiceError: The source cannot be opened, or failed too often.
        """
        skip = failures = dropped_before = 0
        while not self._stopped.is_set():
            process = self._start(skip)
            reader = _PipeReader(process)
            reason, first = "", True
            try:
                while not self._stopped.is_set():
                    limit_s = self._limits.first_picture_s if first else self._limits.picture_s
                    header = self._header(reader, limit_s)
                    if header.kind == FAULT:
                        words = reader.take(header.size_bytes, limit_s).decode(errors="replace")
                        raise ServiceError(f"video source {self.source!r}: {words}")
                    self.promised = max(self.promised, header.promised)
                    if header.kind == END:
                        self._note_end(header)
                        break
                    body = reader.take(header.size_bytes, limit_s)
                    image = np.frombuffer(body, np.uint8)
                    first = False
                    self._count_drops(dropped_before + header.dropped)
                    skip = header.number + 1
                    self.delivered += 1
                    shape = (header.height_px, header.width_px, 3)
                    yield ClipPicture(header.number, header.time_ns, image.reshape(shape))
            except _DecoderError as error:
                reason = error.reason
            finally:
                reader.close()
                _end(process)
            if self._stopped.is_set() or (not reason and not self.live):
                return
            dropped_before = self.counts.get("dropped", 0)
            failures += 1
            if reason:
                self._count(reason)
                _LOG.warning("%s: %s at picture %d, started again", self.source, reason, skip)
            if not self.live:
                skip += 1  # the picture at fault
                if failures > self._limits.restarts:
                    raise ServiceError(
                        f"video source {self.source!r}: the decoder failed {failures} times, "
                        f"last with {reason} at picture {skip - 1}; {self.delivered} pictures came"
                    )
            elif first:
                time.sleep(self._limits.pause_s)

    def _start(self, skip: int) -> subprocess.Popen[bytes]:
        command = [*self._command, self.source, "--skip", str(skip), "--fps", str(self._fps)]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)
        }
        try:
            return subprocess.Popen(  # noqa: S603 (our own decoder)
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                process_group=0,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )
        except OSError as exc:
            raise ServiceError(f"decoder {command[0]!r} cannot be started: {exc}") from exc

    @staticmethod
    def _header(reader: _PipeReader, limit_s: float) -> Header:
        header = unpack(bytes(reader.take(HEADER_BYTES, limit_s)))
        size = header.width_px * header.height_px * 3
        sound = header.kind in (PICTURE, END, FAULT) and header.number >= -1
        if header.kind == PICTURE:
            sound &= 0 < header.size_bytes == size <= MAX_PIXELS * 3
        elif header.size_bytes > _CHUNK:
            sound = False
        if not sound:
            raise _DecoderError("decoder_garbled")
        return header

    def _note_end(self, header: Header) -> None:
        missing = header.promised - header.number
        if header.promised and missing > 0:
            self.counts["missing"] = missing

    def _count_drops(self, dropped: int) -> None:
        if dropped:
            self.counts["dropped"] = dropped

    def _count(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1


class _DecoderError(Exception):
    """The decoder is of no use any more."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _PipeReader:
    """Reads so many bytes from a process within a time."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        assert process.stdout is not None
        self._pipe = process.stdout
        self._monotonic = monotonic
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)

    def take(self, size: int, limit_s: float) -> bytearray:
        """Exactly ``size`` bytes.

        Raises:
            _DecoderError: The pipe ended before (``decoder_crashed``) or the time was over
                (``decoder_hung``).
        """
        data = bytearray(size)
        view = memoryview(data)
        got = 0
        until_s = self._monotonic() + limit_s
        while got < size:
            left_s = until_s - self._monotonic()
            if left_s <= 0.0 or not self._selector.select(left_s):
                raise _DecoderError("decoder_hung")
            count = os.readv(self._pipe.fileno(), [view[got : got + _CHUNK]])
            if not count:
                raise _DecoderError("decoder_crashed")
            got += count
        return data

    def close(self) -> None:
        """Stop listening."""
        self._selector.close()
        self._pipe.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing is lost by killing a decoder."""
    if process.poll() is None:
        process.kill()
    process.wait()
