"""Pictures of a recording as files beside it, named by their content; bounded and counted."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path

from core.errors import DecodeError, ServiceError

#: Folder beside the MCAP files.
FOLDER = "frames"

#: Bytes of all pictures of a recording, unless told otherwise.
MAX_BYTES = 8 * 1024**3


class PictureStore:
    """Keeps each picture once; the longest unused leave when there are too many.

    Args:
        recording: Folder of the recording; pictures already there stay and count.
        max_bytes: Of all pictures together; the newest is always kept.

    Attributes:
        kept: Pictures taken in.
        shared: Of them, those that were there already.
        evicted: Pictures removed to make room; frames that name them are gone.
        bytes: Of all that is there.

    Raises:
        ServiceError: The folder cannot be read.
    """

    def __init__(self, recording: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._recording = recording
        self._max_bytes = max_bytes
        self.kept = self.shared = self.evicted = self.bytes = 0
        self._sizes: OrderedDict[str, int] = OrderedDict()  # least recently used first
        try:
            found = [
                (entry.stat().st_mtime_ns, entry.stem, entry.stat().st_size)
                for entry in (recording / FOLDER).glob("??/*.jpg")
            ]
        except OSError as exc:
            raise ServiceError(f"pictures in {recording / FOLDER}: {exc.strerror}") from exc
        for _, digest, size in sorted(found):
            self._sizes[digest] = size
            self.bytes += size

    def put(self, jpeg: bytes) -> str:
        """Keep a picture; gives its SHA-256 in hex digits.

        Raises:
            OSError: The disk refused.
        """
        digest = hashlib.sha256(jpeg).hexdigest()
        self.kept += 1
        if digest in self._sizes:
            self.shared += 1
            self._sizes.move_to_end(digest)
            return digest
        path = path_of(self._recording, digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: a kill must not leave half a picture under its full name.
        fresh = path.with_suffix(".new")
        fresh.write_bytes(jpeg)
        fresh.replace(path)
        self._sizes[digest] = len(jpeg)
        self.bytes += len(jpeg)
        while self.bytes > self._max_bytes and len(self._sizes) > 1:
            old, size = self._sizes.popitem(last=False)
            path_of(self._recording, old).unlink(missing_ok=True)
            self.bytes -= size
            self.evicted += 1
        return digest


def path_of(recording: Path, digest: str) -> Path:
    """Where a picture of a recording lies."""
    return recording / FOLDER / digest[:2] / f"{digest}.jpg"


def read_picture(recording: Path, digest: str) -> bytes:
    """The picture of a digest.

    Raises:
        DecodeError: ``frame_gone`` where it is no more, ``frame_damaged`` where it is another.
    """
    path = path_of(recording, digest)
    try:
        jpeg = path.read_bytes()
    except OSError as exc:
        raise DecodeError("frame_gone", f"{path}: {exc.strerror}") from exc
    if hashlib.sha256(jpeg).hexdigest() != digest:
        raise DecodeError("frame_damaged", f"{path}: its content is not what its name says")
    return jpeg
