"""Evidence pictures on the disk: developed at once, or on a thread of their own."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2

from core.errors import QingniaoError
from core.ports import GroundProjector
from vision.darkroom import Darkroom, Negative

_LOG = logging.getLogger(__name__)

#: Pictures kept per camera, some 40 kB each: 80 MB. The oldest go first.
KEPT_PICTURES = 2000

#: Negatives that may wait, some 300 kB each: 10 MB, and five seconds of work.
MAX_WAITING = 32

_NICE = 10


class PictureFolder:
    """Evidence pictures on disk, a bounded number per camera.

    Args:
        folder: Where; a folder per camera is made in it.
        kept: Pictures kept per camera; the oldest are removed.
    """

    def __init__(self, folder: Path, kept: int = KEPT_PICTURES) -> None:
        self._folder = folder
        self._kept = kept
        self._names: dict[str, deque[str]] = {}

    def write(self, name: str, jpeg: bytes) -> None:
        """Write a picture whole or not at all.

        Args:
            name: ``camera/picture.jpg``.
            jpeg: Its bytes.

        Raises:
            OSError: The disk is full or the folder may not be written.
        """
        camera_id, _, leaf = name.rpartition("/")
        folder = self._folder / camera_id
        names = self._names.get(camera_id)
        if names is None:
            folder.mkdir(parents=True, exist_ok=True)
            # Names begin with the time in milliseconds, so their order is that of time.
            names = self._names[camera_id] = deque(sorted(one.name for one in folder.glob("*.jpg")))
        part = folder / f".{leaf}.part"
        part.write_bytes(jpeg)
        part.replace(folder / leaf)
        names.append(leaf)
        while len(names) > self._kept:
            (folder / names.popleft()).unlink(missing_ok=True)


class Pictures(Protocol):
    """Takes negatives and makes pictures of them, now or soon.

    ``newest`` is the newest picture on the disk by camera, ``rejected`` what came to nothing,
    by reason.
    """

    newest: dict[str, str]
    rejected: dict[str, int]

    def take(self, negative: Negative) -> None:
        """Take the negative of a frame; never raises on account of it."""
        ...


class PictureMaker:
    """Makes pictures at once: they are on the disk when :meth:`take` returns.

    Args:
        folder: Where they go.
        projector: Pixel to ground.
        made: Told the name and the bytes of each picture that is on the disk.
    """

    def __init__(
        self,
        folder: PictureFolder,
        projector: GroundProjector,
        made: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self.newest: dict[str, str] = {}
        self.rejected: dict[str, int] = {}
        self._folder = folder
        self._made = made
        self._darkroom = Darkroom(projector)

    def take(self, negative: Negative) -> None:
        """See :class:`Pictures`."""
        try:
            pictures = self._darkroom.develop(negative)
        except (cv2.error, QingniaoError, ArithmeticError, ValueError, IndexError) as error:
            _LOG.warning("a picture of %s not made: %s", negative.camera_id, error)
            pictures = []
        if not pictures:
            self._reject("picture_not_made")
        for name, jpeg in pictures:
            try:
                self._folder.write(name, jpeg)
            except OSError as error:
                self._reject("picture_not_written")
                _LOG.warning("picture %s not written: %s", name, error)
            else:
                self.newest[negative.camera_id] = name
                if self._made is not None:
                    self._made(name, jpeg)

    def _reject(self, reason: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1


class PictureThread:
    """Makes pictures beside: frames and what is told of them do not wait.

    A picture is named when its thing is told of and is on the disk soon after. When too many
    wait the new one is dropped and counted, which costs a picture and never a detection.

    Args:
        maker: Makes them.
        max_waiting: Negatives that may wait.
    """

    def __init__(self, maker: PictureMaker, max_waiting: int = MAX_WAITING) -> None:
        self.newest = maker.newest
        self.rejected = maker.rejected
        self._maker = maker
        self._waiting: queue.Queue[Negative | None] = queue.Queue(max_waiting)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pictures", daemon=True)
        self._thread.start()

    def take(self, negative: Negative) -> None:
        """See :class:`Pictures`; never waits."""
        try:
            self._waiting.put_nowait(negative)
        except queue.Full:
            self.rejected["picture_dropped"] = self.rejected.get("picture_dropped", 0) + 1

    def stop(self, within_s: float = 2.0) -> None:
        """Make what waits, as long as there is time, and end."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=within_s)
        self._thread.join(within_s)
        self._stop.set()

    def _run(self) -> None:
        # Frames go first where there is one core only; a thread has a niceness on Linux alone.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while not self._stop.is_set():
            negative = self._waiting.get()
            if negative is None:
                return
            self._maker.take(negative)
