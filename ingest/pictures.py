"""Evidence made of negatives: at once, or on a thread of their own; and live pictures."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from core.errors import QingniaoError
from core.ports import GroundProjector
from core.snapshots import LIVE
from core.units import NS_PER_S
from ingest.clip_file import encode_clip
from ingest.evidence_folder import EvidenceFolder
from vision.blur import encode_jpeg
from vision.clip_ring import Clip, ClipRing
from vision.darkroom import Darkroom, Negative
from vision.detections import Image
from vision.live_view import LiveView

_LOG = logging.getLogger(__name__)

#: Pictures and clips that may wait, some 300 kB each, and five seconds of work.
MAX_WAITING = 32

#: A camera's live picture is made anew no more often than this: the page asks as often.
LIVE_EVERY_S = 3.0

#: Frames between two live pictures in which things are followed.
_FOLLOWED = 16

#: Clips are played so much faster than life, within so many pictures a second.
_CLIP_SPEED, _CLIP_FPS = 4.0, (2.0, 12.0)

#: Longest side of clips and live pictures.
_SHOWN_PX = 960


class LivePicture(NamedTuple):
    """A camera's newest picture below the folder, and its time."""

    name: str
    time_ns: int


class Pictures(Protocol):
    """Takes negatives and makes pictures of them, now or soon.

    ``newest`` is the newest evidence on the disk by camera, ``live`` the live picture,
    ``rejected`` what came to nothing, by reason.
    """

    newest: dict[str, str]
    live: dict[str, LivePicture]
    rejected: dict[str, int]

    def take(self, negative: Negative) -> None:
        """Take a negative whose pictures are wanted; never raises on account of it."""
        ...

    def see(self, view: Negative) -> None:
        """Take a frame of what a camera sees, for live picture and clips; never raises."""
        ...


class PictureMaker:
    """Makes evidence at once: it is on the disk when :meth:`take` returns.

    Args:
        folder: Where it goes.
        projector: Pixel to ground.
        made: Told the name and the bytes of each picture that is on the disk.
    """

    def __init__(
        self,
        folder: EvidenceFolder,
        projector: GroundProjector,
        made: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self.newest: dict[str, str] = {}
        self.live: dict[str, LivePicture] = {}
        self.rejected: dict[str, int] = {}
        self.ring = ClipRing()
        self._folder = folder
        self._projector = projector
        self._made = made
        self._darkroom = Darkroom(projector)
        self._views: dict[str, LiveView] = {}

    def take(self, negative: Negative) -> None:
        """See :class:`Pictures`."""
        self.make(negative)

    def see(self, view: Negative) -> None:
        """See :class:`Pictures`; live pictures are not made."""
        for clip in self.ring.add(view):
            self.make_clip(clip)

    def make(self, negative: Negative) -> None:
        """Make the pictures that are wanted of a frame."""
        with self._counted("picture_not_made", negative.camera_id):
            pictures = self._darkroom.develop(negative)
            if not pictures:
                self._reject("picture_not_made")
            for name, jpeg in pictures:
                if self._write(name, jpeg):
                    self.newest[negative.camera_id] = name
                    if self._made is not None:
                        self._made(name, jpeg)

    def make_clip(self, clip: Clip) -> None:
        """Make the clip around a moment."""
        with self._counted("clip_not_made", clip.name):
            # A darkroom of its own: these frames are older than those of the pictures.
            drawn = _drawn(clip, Darkroom(self._projector))
            self._write(clip.name, encode_clip(drawn, _clip_fps(clip)))

    def make_live(self, frames: Sequence[Negative]) -> None:
        """Make a camera's live picture anew, of the last of the frames since the one before."""
        *before, negative = frames
        with self._counted("live_not_made", negative.camera_id):
            blurred = self._darkroom.blurred(negative)
            if blurred is None:
                return
            view = self._views.setdefault(negative.camera_id, LiveView())
            for one in before:
                view.follow(one)
            name = f"{negative.camera_id}/{LIVE}"
            self._folder.replace(name, encode_jpeg(_fitted(view.draw(negative, blurred))))
            self.live[negative.camera_id] = LivePicture(name, negative.time_ns)

    def _write(self, name: str, data: bytes) -> bool:
        try:
            self._folder.write(name, data)
        except OSError as error:
            self._reject("picture_not_written")
            _LOG.warning("%s not written: %s", name, error)
            return False
        return True

    @contextlib.contextmanager
    def _counted(self, reason: str, what: str) -> Iterator[None]:
        """Nothing that happens to one picture may end the making of others."""
        try:
            yield
        except (
            cv2.error,
            QingniaoError,
            OSError,
            ArithmeticError,
            ValueError,
            IndexError,
        ) as error:
            self._reject(reason)
            _LOG.warning("%s: %s: %s", what, reason, error)

    def _reject(self, reason: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1


class PictureThread:
    """Makes pictures beside: frames and what is told of them do not wait.

    A picture is named when its thing is told of and is on the disk soon after. When too many
    wait the new one is dropped and counted, which costs a picture and never a detection. Live
    pictures come after all evidence; of each camera the newest only waits.

    Args:
        maker: Makes them.
        max_waiting: Pictures and clips that may wait.
        monotonic_s: The machine's clock: who looks at live pictures lives in its time.
    """

    def __init__(
        self,
        maker: PictureMaker,
        max_waiting: int = MAX_WAITING,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.newest = maker.newest
        self.live = maker.live
        self.rejected = maker.rejected
        self._maker = maker
        self._max_waiting = max_waiting
        self._evidence: deque[Callable[[], None]] = deque()
        self._since: dict[str, deque[Negative]] = {}
        self._lively: dict[str, tuple[Negative, ...]] = {}
        self._due_s: dict[str, float] = {}
        self._monotonic_s = monotonic_s
        self._ending = self._abandoned = False
        self._work = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="pictures", daemon=True)
        self._thread.start()

    def take(self, negative: Negative) -> None:
        """See :class:`Pictures`; never waits."""
        with self._work:
            self._put(partial(self._maker.make, negative), "picture_dropped")
            self._work.notify()

    def see(self, view: Negative) -> None:
        """See :class:`Pictures`; never waits."""
        clips = self._maker.ring.add(view)
        since = self._since.setdefault(view.camera_id, deque(maxlen=_FOLLOWED))
        since.append(view)
        with self._work:
            self._put_clips(clips)
            now_s = self._monotonic_s()
            if now_s >= self._due_s.get(view.camera_id, now_s):
                self._due_s[view.camera_id] = now_s + LIVE_EVERY_S
                self._lively[view.camera_id] = tuple(since)
                since.clear()
            self._work.notify()

    def stop(self, within_s: float = 2.0) -> None:
        """Make what waits, as long as there is time, and end."""
        with self._work:
            self._put_clips(self._maker.ring.flush())
            self._ending = True
            self._work.notify()
        self._thread.join(within_s)
        self._abandoned = True

    def _put_clips(self, clips: list[Clip]) -> None:
        for clip in clips:
            self._put(partial(self._maker.make_clip, clip), "clip_dropped")

    def _put(self, job: Callable[[], None], dropped: str) -> None:
        if len(self._evidence) < self._max_waiting:
            self._evidence.append(job)
        else:
            self.rejected[dropped] = self.rejected.get(dropped, 0) + 1

    def _run(self) -> None:
        # Not of lower priority: on a busy machine it would wait with the interpreter's lock in
        # its hand, and frames with it.
        while (job := self._next()) is not None:
            job()

    def _next(self) -> Callable[[], None] | None:
        with self._work:
            while not (self._evidence or self._lively or self._ending):
                self._work.wait()
            if self._abandoned:
                return None
            if self._evidence:
                return self._evidence.popleft()
            if self._ending:
                return None
            camera_id = next(iter(self._lively))
            return partial(self._maker.make_live, self._lively.pop(camera_id))


def _drawn(clip: Clip, darkroom: Darkroom) -> Iterator[Image]:
    """The frames of a clip as they are shown, all of one size."""
    view = LiveView()
    size: tuple[int, int] | None = None
    for negative in clip.frames:
        blurred = darkroom.blurred(negative)
        if blurred is None:
            continue
        image = _fitted(view.draw(negative, blurred))
        size = size or (image.shape[1], image.shape[0])
        if (image.shape[1], image.shape[0]) == size:
            yield image


def _clip_fps(clip: Clip) -> float:
    """Pictures a second at which a clip is played."""
    steps = [(b.time_ns - a.time_ns) / NS_PER_S for a, b in pairwise(clip.frames)]
    step_s = float(np.median(steps)) if steps else 1.0
    low, high = _CLIP_FPS
    return min(max(_CLIP_SPEED / max(step_s, 1e-3), low), high)


def _fitted(image: Image) -> Image:
    """The picture, made smaller where it is larger than what is shown."""
    scale = _SHOWN_PX / max(image.shape[:2])
    if scale >= 1.0:
        return image
    size = (round(image.shape[1] * scale) & ~1, round(image.shape[0] * scale) & ~1)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
