"""The decoding process: opens a source with FFmpeg and writes its pictures to standard output.

It is a process because a decoder is C code fed with bytes from outside: where it aborts or
hangs, only this process is lost.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from core.clock import Clock, SystemClock
from core.units import NS_PER_MS, NS_PER_S
from ingest.video.wire import END, FAULT, PICTURE, Header, pack

#: A larger picture is refused.
MAX_PIXELS = 4096 * 4096

#: Pictures kept of a live stream while the parent is busy; older ones are dropped.
_KEPT_LIVE = 2

#: Damaged pictures in a row that a file may have before it is taken for ended.
_MAX_DAMAGED = 25

#: A live stream's own time may lie this far from the machine's before it is set anew.
_DRIFT_S = 2.0

_IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


class Decoded(NamedTuple):
    """A picture, shape (h, w, 3), with its number and the source's time."""

    number: int
    time_ns: int
    image: NDArray[np.uint8]


def is_live(source: str) -> bool:
    """Whether a source is a stream that does not wait.

    Example:
        >>> is_live("rtsp://10.0.0.5/ch1"), is_live("clips/gate.mp4")
        (True, False)
    """
    return re.match(r"(rtsps?|rtmps?|https?|udp|rtp|srt|tcp)://", source, re.IGNORECASE) is not None


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their names, numbers as numbers.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("f10.jpg", "f9.jpg", "notes.txt"):
        ...     (folder / name).touch()
        >>> [path.name for path in picture_files(folder)]
        ['f9.jpg', 'f10.jpg']
    """

    def key(path: Path) -> list[tuple[int, int | str]]:
        parts = re.findall(r"\d+|\D+", path.name)
        return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]

    return sorted((one for one in folder.iterdir() if one.suffix.lower() in _IMAGES), key=key)


def read_folder(folder: Path, skip: int, fps: float) -> Iterator[Decoded]:
    """The pictures of a folder, ``fps`` a second; unreadable ones are left out."""
    for number, path in enumerate(picture_files(folder)):
        if number < skip:
            continue
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        if image is not None:
            yield Decoded(number, round(number * NS_PER_S / fps), np.asarray(image, np.uint8))


class Capture:
    """A file or stream through FFmpeg.

    Attributes:
        promised: Pictures that the header promises; often a lie.
    """

    def __init__(self, source: str) -> None:
        live = is_live(source)
        # A file must not make the decoder open network addresses: playlists can name some.
        options = "rtsp_transport;tcp|timeout;5000000" if live else "protocol_whitelist;file,crypto"
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", options)
        self._video = cv2.VideoCapture(source, cv2.CAP_FFMPEG)
        self._fps = float(self._video.get(cv2.CAP_PROP_FPS))
        if not 0.1 <= self._fps <= 1000.0:
            self._fps = 25.0
        count = float(self._video.get(cv2.CAP_PROP_FRAME_COUNT))
        self.promised = int(count) if 0.0 < count < 1e9 else 0
        self._number = -1
        self._last_ns = -1

    def is_open(self) -> bool:
        """Whether FFmpeg could open it."""
        return self._video.isOpened()

    def read(self) -> Decoded | None:
        """The next picture; None at the end."""
        for _ in range(_MAX_DAMAGED):
            taken, image = self._video.read()
            self._number += 1
            if taken and image is not None:
                return Decoded(self._number, self._time_ns(), _coloured(image))
            if not self.promised or self._number >= self.promised:
                return None
        return None

    def skip(self, count: int) -> None:
        """Pass over the first pictures without decoding them to the end."""
        for _ in range(count):
            if not self._video.grab():
                return
            self._number += 1
            self._time_ns()

    def _time_ns(self) -> int:
        """Presentation time; where it does not go on, the frame rate says it."""
        told_ns = round(float(self._video.get(cv2.CAP_PROP_POS_MSEC)) * NS_PER_MS)
        if self._last_ns < 0:
            self._last_ns = max(told_ns, 0)
        elif told_ns > self._last_ns:
            self._last_ns = told_ns
        else:
            self._last_ns += round(NS_PER_S / self._fps)
        return self._last_ns


def read_live(capture: Capture, clock: Clock) -> Iterator[Decoded]:
    """A stream's pictures in UTC: its own time, tied to the clock at the first picture."""
    offset_ns: int | None = None
    while (one := capture.read()) is not None:
        now_ns = clock.now_ns()
        if offset_ns is None or abs(one.time_ns + offset_ns - now_ns) > _DRIFT_S * NS_PER_S:
            offset_ns = now_ns - one.time_ns
        yield one._replace(time_ns=one.time_ns + offset_ns)


class Latest:
    """Hands pictures from a thread that must not wait to one that may; drops the oldest."""

    def __init__(self, pictures: Iterator[Decoded]) -> None:
        self.dropped = 0
        self._pictures = pictures
        self._kept: deque[Decoded] = deque()
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, name="reading", daemon=True).start()

    def __iter__(self) -> Iterator[Decoded]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._kept or self._ended)
                if not self._kept:
                    return
                one = self._kept.popleft()
            yield one

    def _read(self) -> None:
        for one in self._pictures:
            with self._changed:
                if len(self._kept) >= _KEPT_LIVE:
                    self._kept.popleft()
                    self.dropped += 1
                self._kept.append(one)
                self._changed.notify()
        with self._changed:
            self._ended = True
            self._changed.notify()


def decode(source: str, out: BinaryIO, *, skip: int, fps: float, clock: Clock) -> None:
    """Write a source's pictures, then its end, or the fault that it cannot be opened."""

    def tell(kind: int, number: int = 0, text: bytes = b"", promised: int = 0) -> None:
        out.write(pack(Header(kind, number, 0, 0, 0, len(text), 0, promised)) + text)
        out.flush()

    promised = 0
    pictures: Any
    if is_live(source) or not Path(source).is_dir():
        if not is_live(source) and not Path(source).is_file():
            tell(FAULT, text=b"there is no such file or folder")
            return
        capture = Capture(source)
        if not capture.is_open():
            tell(FAULT, text=b"FFmpeg cannot open it: no video, or a format it does not know")
            return
        promised = 0 if is_live(source) else capture.promised
        if is_live(source):
            pictures = Latest(read_live(capture, clock))
        else:
            capture.skip(skip)
            pictures = iter(capture.read, None)
    else:
        pictures = read_folder(Path(source), skip, fps)
        promised = len(picture_files(Path(source)))
    number = -1
    for one in pictures:
        number = one.number
        height, width = one.image.shape[:2]
        if width * height > MAX_PIXELS:
            tell(FAULT, text=f"pictures of {width}x{height} are too large".encode())
            return
        dropped = getattr(pictures, "dropped", 0)
        body = np.ascontiguousarray(one.image)
        header = Header(PICTURE, number, one.time_ns, width, height, body.nbytes, dropped, promised)
        out.write(pack(header))
        out.write(body.data)
        out.flush()
    tell(END, number=number + 1, promised=promised)


def _coloured(image: cv2.typing.MatLike) -> NDArray[np.uint8]:
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return np.asarray(image, np.uint8)


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--fps", type=float, default=1.0)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    # Whatever a library prints must not get between the records.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with open(out.fileno(), "wb", buffering=1 << 20, closefd=False) as buffered:
        decode(given.source, buffered, skip=given.skip, fps=given.fps, clock=SystemClock())


if __name__ == "__main__":
    main()
