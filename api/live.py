"""The live picture: last states of things and cameras, figures, health of the parts.

The wiring feeds it, the API reads it. It may be fed from any thread. What a thing's state is
called follows from how long it has been silent, measured by its own rhythm, so that a dead
device is not shown as alive (docs/decisions/0015).
"""

from __future__ import annotations

import heapq
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec

from core.city import CameraPose
from core.clock import Clock
from core.grades import INTERNAL, PUBLIC, SENSITIVE
from core.units import NS_PER_S, seconds_to_ns
from store.documents import thing_body
from store.things import Thing

#: Seconds between reports that are taken for granted of a thing heard only once.
UNKNOWN_RHYTHM_S = 60.0

#: A thing is live while its silence is below this many of its own intervals, then late …
LIVE_INTERVALS, LATE_INTERVALS = 3.0, 10.0

#: … but never before this many seconds of city time.
LIVE_AT_LEAST_S, LATE_AT_LEAST_S = 30.0, 120.0

#: Weight of the newest interval in a thing's rhythm.
_NEWEST = 0.2


class CameraState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a camera now.

    ``quality`` is ``good``, or what is wrong with the picture, e.g. ``covered``, ``dark``.
    ``snapshot`` is the path of the newest evidence below the snapshot folder, ``live`` that of
    the live picture, taken at ``live_ns``. ``lying``: frames come but do not show what is there.
    ``frames_per_s`` are those looked at; ``skipped_ratio`` is the share that was not, because
    of load.
    """

    camera_id: Annotated[str, INTERNAL]
    last_frame_ns: Annotated[int, INTERNAL]
    frames_per_s: Annotated[float, PUBLIC] = 0.0
    skipped_ratio: Annotated[float, PUBLIC] = 0.0
    quality: Annotated[str, PUBLIC] = "good"
    snapshot: Annotated[str | None, SENSITIVE] = None
    live: Annotated[str | None, SENSITIVE] = None
    live_ns: Annotated[int, INTERNAL] = 0
    lying: Annotated[bool, PUBLIC] = False
    pose: Annotated[CameraPose | None, INTERNAL] = None


class Part(NamedTuple):
    """Whether a part of the platform works, and what to know about it."""

    ok: bool
    detail: str


class _Held:
    """One thing, when it was heard, its rhythm, and its state as last told."""

    __slots__ = ("body", "heard_ns", "rhythm_s", "state", "thing", "version")

    def __init__(self, thing: Thing, heard_ns: int) -> None:
        self.thing = thing
        self.heard_ns = heard_ns
        self.rhythm_s = UNKNOWN_RHYTHM_S
        self.state = "live"
        self.body: bytes | None = None
        self.version = 0

    def json(self) -> bytes:
        """Encoded when first asked for: most changes are never read."""
        if self.body is None:
            self.body = thing_body(self.thing, self.state)
        return self.body


class LiveState:
    """Holds the live picture, bounded.

    Memory: ``max_things`` things at about 1 kB; beyond it the one silent longest goes, and is
    counted in :attr:`evicted_count`.

    Args:
        clock: City time.
        max_things: Most things held.
        max_cameras: Most cameras held; further ones are not taken and counted as evicted.
    """

    def __init__(self, clock: Clock, *, max_things: int = 20_000, max_cameras: int = 2_000) -> None:
        self._clock = clock
        self._max_things = max_things
        self._max_cameras = max_cameras
        self._lock = threading.Lock()
        self._things: OrderedDict[str, _Held] = OrderedDict()  # the newest change last
        self._cameras: dict[str, CameraState] = {}
        self._figures: dict[str, Any] = {}
        self._parts: dict[str, Part] = {}
        self.version = 0
        self.evicted_count = 0

    def update_things(self, things: Iterable[Thing]) -> None:
        """Take new last states; one that was observed before the held one is ignored."""
        now_ns = self._clock.now_ns()
        with self._lock:
            for thing in things:
                held = self._things.get(thing.thing_id)
                if held is None:
                    held = self._things[thing.thing_id] = _Held(thing, now_ns)
                elif thing.observed_ns < held.thing.observed_ns:
                    continue
                else:
                    gap_s = (now_ns - held.heard_ns) / NS_PER_S
                    if gap_s > 0:
                        held.rhythm_s += _NEWEST * (gap_s - held.rhythm_s)
                    held.thing, held.heard_ns = thing, now_ns
                self._tell(held, "live")
            if len(self._things) > self._max_things:
                self._evict()

    def update_cameras(self, cameras: Iterable[CameraState]) -> None:
        """Take new states of cameras."""
        with self._lock:
            for camera in cameras:
                known = camera.camera_id in self._cameras
                if not known and len(self._cameras) >= self._max_cameras:
                    self.evicted_count += 1
                    continue
                self._cameras[camera.camera_id] = camera

    def update_figures(self, figures: Mapping[str, float | int | str | None]) -> None:
        """Replace figures of the same name; they go out with the next second's event."""
        with self._lock:
            self._figures.update(figures)

    def update_part(self, name: str, ok: bool, detail: str = "") -> None:
        """Say whether a part of the platform works, for ``GET /healthz``."""
        with self._lock:
            self._parts[name] = Part(ok, detail)

    def refresh(self) -> None:
        """Find things that have fallen silent; call about once a second."""
        now_ns = self._clock.now_ns()
        surely_live_ns = now_ns - seconds_to_ns(LIVE_AT_LEAST_S)
        with self._lock:
            for held in list(self._things.values()):
                if held.heard_ns > surely_live_ns and held.state == "live":
                    continue  # nearly all of a city, asked every second
                state = _state_of((now_ns - held.heard_ns) / NS_PER_S, held.rhythm_s)
                if state != held.state:
                    self._tell(held, state)

    def things(self, kind: str | None = None) -> dict[str, bytes]:
        """JSON of the things held, by id."""
        with self._lock:
            return {
                thing_id: held.json()
                for thing_id, held in self._things.items()
                if kind is None or held.thing.kind == kind
            }

    def changed_since(self, version: int) -> tuple[int, list[bytes]]:
        """The present version, and JSON of the things that changed after an earlier one."""
        changed: list[bytes] = []
        with self._lock:
            for held in reversed(self._things.values()):
                if held.version <= version:
                    break
                changed.append(held.json())
            return self.version, changed[::-1]

    def cameras(self) -> dict[str, CameraState]:
        """The cameras' states by id."""
        with self._lock:
            return dict(self._cameras)

    def figures(self) -> dict[str, Any]:
        """The figures as last given."""
        with self._lock:
            return dict(self._figures)

    def parts(self) -> dict[str, Part]:
        """The health of the parts as last given."""
        with self._lock:
            return dict(self._parts)

    def _evict(self) -> None:
        # One in a hundred more than needed, so that the search is rare.
        count = len(self._things) - self._max_things + self._max_things // 100
        silent = heapq.nsmallest(
            count, self._things.items(), key=lambda item: (item[1].heard_ns, item[0])
        )
        for thing_id, _ in silent:
            del self._things[thing_id]
        self.evicted_count += len(silent)

    def _tell(self, held: _Held, state: str) -> None:
        self.version += 1
        held.version = self.version
        held.state = state
        held.body = None
        self._things.move_to_end(held.thing.thing_id)


def camera_word(state: CameraState, now_ns: int) -> str:
    """Live, late or stale, by how long a camera has sent no frame; lying where it sends wrong ones.

    Example:
        >>> seen = CameraState(camera_id="c", last_frame_ns=0, frames_per_s=2.0)
        >>> camera_word(seen, 10**9), camera_word(seen, 200 * 10**9)
        ('live', 'stale')
    """
    rhythm_s = 1.0 / state.frames_per_s if state.frames_per_s > 0 else UNKNOWN_RHYTHM_S
    word = _state_of((now_ns - state.last_frame_ns) / NS_PER_S, rhythm_s)
    return "lying" if state.lying and word == "live" else word


def _state_of(silent_s: float, rhythm_s: float) -> str:
    if silent_s <= max(LIVE_AT_LEAST_S, LIVE_INTERVALS * rhythm_s):
        return "live"
    if silent_s <= max(LATE_AT_LEAST_S, LATE_INTERVALS * rhythm_s):
        return "late"
    return "stale"
