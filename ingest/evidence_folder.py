"""Evidence on the disk: pictures and clips of cameras, within a number, a size and an age."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import NamedTuple

from core.settings import Settings
from core.snapshots import LIVE, MEDIA_TYPES

#: Files kept per camera, pictures of some 40 kB and clips of some 300 kB. The oldest go first.
KEPT_FILES = 2000

_GIB = 1024**3

_DAY_S = 86_400.0


class _Kept(NamedTuple):
    written_s: float
    leaf: str
    size: int


class EvidenceFolder:
    """A folder per camera; what is too many, too large or too old leaves, the oldest first.

    The oldest is what was written first, by the disk's own times. What people brought
    (``cases/``) and live pictures are not touched.

    Args:
        folder: Where.
        kept: Files kept per camera.
        max_gib: Size of all cameras' files together.
        retain_days: Age, against what was written last, beyond which files go; 0 for none.

    Attributes:
        evicted: Files that were removed, by reason: ``number``, ``size``, ``age``.
        byte_count: Size of what is kept.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kept: int = KEPT_FILES,
        max_gib: float = 4.0,
        retain_days: float = 90.0,
    ) -> None:
        self.evicted: dict[str, int] = {}
        self.byte_count = 0
        self._folder = folder
        self._kept = kept
        self._max_bytes = round(max_gib * _GIB)
        self._retain_s = retain_days * _DAY_S
        self._cameras: dict[str, deque[_Kept]] | None = None

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all, and remove what is beyond the bounds.

        Args:
            name: ``camera/….jpg`` or ``.webm``.
            data: Its bytes.

        Raises:
            OSError: The disk is full or the folder may not be written.
        """
        if self._cameras is None:
            self._cameras = self._read()
        self.replace(name, data)
        camera_id, _, _ = name.rpartition("/")
        kept = self._cameras.setdefault(camera_id, deque())
        self._note(kept, self._folder / name)
        while len(kept) > self._kept:
            self._evict(camera_id, "number")
        while self.byte_count > self._max_bytes and (oldest := self._oldest()) is not None:
            self._evict(oldest, "size")
        while self._retain_s and (oldest := self._oldest()) is not None:
            if kept[-1].written_s - self._cameras[oldest][0].written_s <= self._retain_s:
                break
            self._evict(oldest, "age")

    def replace(self, name: str, data: bytes) -> None:
        """Write a file over the last one of its name; it does not count.

        Raises:
            OSError: The disk is full or the folder may not be written.
        """
        file = self._folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.part")
        part.write_bytes(data)
        part.replace(file)

    def _read(self) -> dict[str, deque[_Kept]]:
        """What earlier runs left."""
        found: dict[str, deque[_Kept]] = {}
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            if folder.is_dir() and folder.name != "cases":
                kept = found[folder.name] = deque()
                files = (one for one in folder.iterdir() if one.suffix in MEDIA_TYPES)
                for file in sorted(files, key=lambda one: one.stat().st_mtime):
                    if file.name != LIVE:
                        self._note(kept, file)
        return found

    def _note(self, kept: deque[_Kept], file: Path) -> None:
        found = file.stat()
        kept.append(_Kept(found.st_mtime, file.name, found.st_size))
        self.byte_count += found.st_size

    def _oldest(self) -> str | None:
        assert self._cameras is not None
        first = ((kept[0].written_s, name) for name, kept in self._cameras.items() if kept)
        return min(first, default=(0.0, None))[1]

    def _evict(self, camera_id: str, reason: str) -> None:
        assert self._cameras is not None
        gone = self._cameras[camera_id].popleft()
        (self._folder / camera_id / gone.leaf).unlink(missing_ok=True)
        self.byte_count -= gone.size
        self.evicted[reason] = self.evicted.get(reason, 0) + 1


def evidence_folder(settings: Settings) -> EvidenceFolder:
    """The folder of a platform's settings."""
    bounds = settings.evidence
    return EvidenceFolder(
        settings.snapshot_dir, max_gib=bounds.max_gib, retain_days=bounds.retain_days
    )
