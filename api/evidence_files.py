"""Pictures and clips below the snapshot folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from core.errors import NotFoundError
from core.snapshots import MEDIA_TYPES, clip_of

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
