"""Pictures and clips below the snapshot folder."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from api.errors import NotYetError
from core.clock import Clock
from core.errors import NotFoundError
from core.snapshots import MEDIA_TYPES, clip_of, taken_ns
from core.units import NS_PER_S

#: Most clips of one incident that are told of.
_MAX_CLIPS = 16


class _Said(msgspec.Struct):
    """What is read of a line of evidence."""

    thing_id: str


_SAID = msgspec.json.Decoder(_Said)


def clips(folder: Path, evidence: Sequence[bytes]) -> list[str]:
    """The clips there are of the things that are evidence of an incident, the first first."""
    found: list[str] = []
    for thing_id in dict.fromkeys(_SAID.decode(one).thing_id for one in evidence):
        name = clip_of(thing_id)
        if len(found) < _MAX_CLIPS and "/" in name:
            try:
                snapshot_file(folder, name)
            except NotFoundError:
                continue
            found.append(name)
    return found


def snapshot_file(folder: Path, path: str) -> Path:
    """The file of a picture or clip, never one outside the folder.

    Raises:
        NotFoundError: There is no such picture.
    """
    missing = NotFoundError(f"snapshot {path[:200]!r}: there is no such picture")
    if not path.endswith(tuple(MEDIA_TYPES)) or "\0" in path or "\\" in path:
        raise missing
    root = folder.resolve()
    try:
        file = (root / path).resolve()
        if not file.is_relative_to(root) or not file.is_file():
            raise missing
    except OSError as exc:
        raise missing from exc
    return file


#: A picture that is named is made within seconds; one of before its thing came is of a frame up to
#: 70 s old. City time, which may run faster than ours.
SOON_NS = 120 * NS_PER_S

#: A request waits so long for a picture (wall seconds), looking so often; then it is told when to
#: come again.
WAIT_S, LOOK_S, RETRY_AFTER_S = 2.0, 0.05, 1

#: Requests that wait at once; a further one is told to come again.
MAX_WAITING = 64


class SnapshotDesk:
    """Hands out pictures and clips, also those that are named and not there yet.

    A picture is named when its thing is told of and developed beside, a moment later.

    Args:
        folder: Where they are.
        cameras: Ids of the cameras that make them.
        clock: City time.
    """

    def __init__(self, folder: Path, cameras: Collection[str], clock: Clock) -> None:
        self._folder = folder
        self._cameras = cameras
        self._clock = clock
        self._waiting = 0

    async def find(self, path: str) -> Path:
        """The file of a picture or clip; waits a little for one that is being made.

        Raises:
            NotFoundError: There is none, and none is to be expected.
            NotYetError: It is still being made.
        """
        for _ in range(round(WAIT_S / LOOK_S)):
            try:
                return await asyncio.to_thread(snapshot_file, self._folder, path)
            except NotFoundError:
                if not self._is_expected(path):
                    raise
            if self._waiting >= MAX_WAITING:
                break
            self._waiting += 1
            try:
                await asyncio.sleep(LOOK_S)
            finally:
                self._waiting -= 1
        raise NotYetError(f"snapshot {path[:200]!r}: it is being made", RETRY_AFTER_S)

    def _is_expected(self, path: str) -> bool:
        at_ns = taken_ns(path)
        if at_ns is None or path.partition("/")[0] not in self._cameras:
            return False
        return abs(self._clock.now_ns() - at_ns) < SOON_NS
