"""Tables of cells on disk, so that a map that was indexed once is there at once.

A file is named by what the table was made of: the versions of its layers and all that the
build was asked. So a new version of a layer never meets an old table, and a cache can be
deleted at any time. Files carry checksums; one that is damaged is told of and built anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

#: Goes up when what a table's arrays mean changes; older files are then not read.
FORMAT = 1

#: Most bytes of a cache; the tables that were used longest ago go first.
MOST_BYTES = 4 << 30

#: A file that is this much older than the newest and not whole was left by a process that died.
_ABANDONED_S = 3600.0

_MAGIC = b"QNTABLE\n"
_ALIGNED = 64
_DTYPES = frozenset({"int32", "int64", "float64", "bool"})


class Stored(Protocol):
    """A table that is made of arrays."""

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """All that the table is, by name."""
        ...

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """The table again."""
        ...


T = TypeVar("T", bound=Stored)


class TableCache:
    """A folder of tables.

    Args:
        folder: Made when the first table is kept.
        most_bytes: What all files together may take.

    Attributes:
        hits: Tables that were read.
        misses: Tables that were built, for want of a file or of a whole one.
    """

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder
        self.hits = 0
        self.misses = 0
        self._most_bytes = most_bytes

    def get(self, kind: type[T], made_of: object, build: Callable[[], T]) -> T:
        """The table from its file, or built and kept.

        Args:
            kind: Class of the table.
            made_of: All that the table depends on, as what JSON can say: layer versions,
                options of the build.
            build: Makes it where there is no file.

        Raises:
            GeometryError: From ``build``. A folder that cannot be written only means that the
                table is built again next time.
        """
        text = json.dumps([FORMAT, kind.__name__, made_of], sort_keys=True)
        key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        path = self.folder / f"{kind.__name__.lower()}-{key}.table"
        arrays = read_arrays(path)
        if arrays is not None:
            self.hits += 1
            return kind.from_arrays(arrays)
        if path.exists():
            logger.warning("%s is damaged or cannot be read: its table is built anew", path)
        self.misses += 1
        table = build()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_arrays(path, table.to_arrays())
            self._make_room(path)
        except OSError as error:
            logger.warning("%s is not kept, the next start builds it again: %s", path, error)
        return table

    def _make_room(self, newest: Path) -> None:
        abandoned_s = newest.stat().st_mtime - _ABANDONED_S
        for part in self.folder.glob(".*.table.*"):
            if part.stat().st_mtime < abandoned_s:
                part.unlink(missing_ok=True)
        files = [(one.stat(), one) for one in self.folder.glob("*.table") if one != newest]
        room = self._most_bytes - newest.stat().st_size
        for status, path in sorted(files, key=lambda one: -one[0].st_mtime_ns):
            room -= status.st_size
            if room < 0:
                path.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write arrays as one file, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    head = [
        [name, array.dtype.name, list(array.shape), zlib.crc32(_bytes(array))]
        for name, array in whole.items()
    ]
    text = json.dumps(head).encode()
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with fresh.open("wb") as file:
            file.write(_MAGIC + len(text).to_bytes(8, "little") + text)
            for array in whole.values():
                file.write(bytes(-file.tell() % _ALIGNED))
                file.write(_bytes(array))
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]] | None:
    """Read arrays back, and note the use; None where there is no such file or it is damaged."""
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return None
            head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            arrays: dict[str, NDArray[np.generic]] = {}
            for name, dtype, shape, checksum in head:
                if dtype not in _DTYPES:
                    return None
                file.seek(-file.tell() % _ALIGNED, os.SEEK_CUR)
                count = int(np.prod(shape, dtype=np.int64))
                array = np.fromfile(file, dtype=np.dtype(dtype), count=count)
                if len(array) != count or zlib.crc32(_bytes(array)) != checksum:
                    return None
                arrays[name] = array.reshape(shape)
    except (OSError, ValueError, TypeError, OverflowError, MemoryError):
        return None
    with contextlib.suppress(OSError):  # a folder that is read only
        os.utime(path)
    return arrays


def _bytes(array: NDArray[np.generic]) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8).data)
