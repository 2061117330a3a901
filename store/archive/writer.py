"""Writes the archive: files by hour, merged as they age, deleted when they are too old.

A row belongs to the hour of its own time (UTC), so late ones go to their own hour too. Within a
file rows are sorted by thing and time: a question about one thing reads few row groups of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.errors import ServiceError
from core.units import NS_PER_S, ns_to_rfc3339
from store.archive.catalog import ArchiveFile, Catalog, Progress
from store.archive.postings import Frontier, Posting
from store.archive.schema import DICTIONARY, SCHEMA

logger = logging.getLogger(__name__)

HOUR_NS = 3600 * NS_PER_S
DAY_NS = 24 * HOUR_NS

#: Rows of a row group: what a question about one thing has to decode.
ROW_GROUP_ROWS = 16_384

#: So many files of one hour and level are merged into one of the next level.
MERGE_FILES = 16

#: An hour that ended so long ago is merged into one file, late rows included.
SETTLED_NS = 15 * 60 * NS_PER_S

#: Late rows wait beside the file of their hour until they are this part of it.
LATE_RATIO = 0.1

#: A merged file holds at most so many rows, because they are sorted in memory (about 1 GB).
MERGE_ROWS = 4_000_000


class ArchiveWriter:
    """The one writer of an archive. Blocks; use it from a thread.

    Args:
        folder: The archive.
        retain_s: Observations older than this are deleted, hour by hour; 0 keeps them.
        retain_bytes: The oldest hours are deleted while the archive is larger; 0 for no limit.

    Raises:
        ServiceError: The folder cannot be used.
    """

    def __init__(self, folder: Path, *, retain_s: float = 0.0, retain_bytes: int = 0) -> None:
        self.folder = folder
        self.catalog = Catalog(folder)
        self._retain_ns = round(retain_s * NS_PER_S)
        self._retain_bytes = retain_bytes
        self._gone: list[Path] = []
        self._sweep()

    def close(self) -> None:
        """Close the catalog."""
        self.catalog.close()

    def write(
        self,
        tables: Mapping[int, pa.Table],
        progress: Mapping[int, Progress],
        postings: Sequence[Posting] = (),
        frontiers: Sequence[Frontier] = (),
    ) -> None:
        """Make rows durable and move the positions past them: all or nothing.

        Args:
            tables: Rows by partition, in the order of the log; a partition may have none.
            progress: Of every partition that moved, also where nothing of it is to be kept.
            postings: What the ledger is to know of these rows.
            frontiers: How far each partition has come, for the ledger.

        Raises:
            ServiceError: Disk or catalog refused. Nothing counts as written; the same call may
                be repeated and gives the same files.
        """
        files = []
        for partition, table in tables.items():
            for hour_ns, rows in _by_hour(table):
                offsets = rows["offset"]
                first, last = pc.min(offsets).as_py(), pc.max(offsets).as_py()
                name = f"{_folder_of(hour_ns)}/{partition:02d}-{first:012d}-{last:012d}.parquet"
                files.append(self._write_file(name, hour_ns, rows, level=0))
        self.catalog.add(files, progress, postings, frontiers)

    def tend(self, now_ns: int) -> None:
        """Merge small files, delete what is too old or too much. Call it now and then.

        Raises:
            ServiceError: Disk or catalog refused; what was there is there still.
        """
        self._unlink_replaced()
        self._retain(now_ns)
        by_hour = groupby(self.catalog.files(), key=lambda one: one.hour_ns)
        for hour_ns, found in by_hour:
            files = list(found)
            if hour_ns + HOUR_NS + SETTLED_NS <= now_ns and _worth_merging(files):
                self._merge(_affordable(files))
                continue
            for level in range(max(one.level for one in files) + 1):
                same = [one for one in files if one.level == level]
                if len(same) >= MERGE_FILES:
                    self._merge(_affordable(same))

    def _merge(self, files: Sequence[ArchiveFile]) -> None:
        if len(files) < 2:
            return
        tables = [pq.read_table(self.folder / one.name, schema=SCHEMA) for one in files]
        hour_ns = files[0].hour_ns
        # From the names of its parts, so that a merge that was killed makes the same file again.
        digest = hashlib.blake2b("\n".join(one.name for one in files).encode(), digest_size=8)
        name = f"{_folder_of(hour_ns)}/merged-{digest.hexdigest()}.parquet"
        level = max(one.level for one in files) + 1
        merged = self._write_file(name, hour_ns, pa.concat_tables(tables), level=level)
        self.catalog.replace(files, [merged])
        self._gone += [self.folder / one.name for one in files]

    def _retain(self, now_ns: int) -> None:
        files = self.catalog.files()
        size = sum(one.bytes for one in files)
        old = []
        for one in files:
            aged = self._retain_ns and one.hour_ns + HOUR_NS <= now_ns - self._retain_ns
            if not aged and not (self._retain_bytes and size > self._retain_bytes):
                break
            old.append(one)
            size -= one.bytes
        if old:
            self.catalog.replace(old, [])
            self._gone += [self.folder / one.name for one in old]
            logger.info(
                "archive: %d files up to %s deleted by retention",
                len(old),
                ns_to_rfc3339(old[-1].hour_ns + HOUR_NS),
            )

    def _write_file(self, name: str, hour_ns: int, rows: pa.Table, *, level: int) -> ArchiveFile:
        path = self.folder / name
        temporary = path.with_suffix(".tmp")
        rows = rows.sort_by([("thing_id", "ascending"), ("observed_ns", "ascending")])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                pq.write_table(
                    rows,
                    file,
                    row_group_size=ROW_GROUP_ROWS,
                    compression="zstd",
                    use_dictionary=DICTIONARY,
                )
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            temporary.replace(path)
            _sync_folder(path.parent)
        except OSError as exc:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise ServiceError(f"archive: {path} cannot be written: {exc}") from exc
        times = rows["observed_ns"]
        return ArchiveFile(
            name, hour_ns, pc.min(times).as_py(), pc.max(times).as_py(), len(rows), size, level
        )

    def _unlink_replaced(self) -> None:
        """Delete what the call before has replaced; whoever was reading it has finished."""
        gone, self._gone = self._gone, []
        for path in gone:
            path.unlink(missing_ok=True)
            for folder in (path.parent, path.parent.parent):
                with contextlib.suppress(OSError):
                    folder.rmdir()  # the last one of its hour, of its day

    def _sweep(self) -> None:
        """Delete what a crash left: files that no catalog names."""
        named = {one.name for one in self.catalog.files()}
        for path in self.folder.glob("day=*/hour=*/*"):
            if path.relative_to(self.folder).as_posix() not in named:
                path.unlink()


def _worth_merging(files: Sequence[ArchiveFile]) -> bool:
    """Whether an hour that has ended is to be one file: not for a few late rows at a time."""
    rows = [one.rows for one in files]
    return sum(rows) - max(rows) >= LATE_RATIO * max(rows)


def _affordable(files: Sequence[ArchiveFile]) -> list[ArchiveFile]:
    """The smallest of some files, as many as may be sorted in memory at once."""
    chosen, rows = [], 0
    for one in sorted(files, key=lambda file: (file.rows, file.name)):
        rows += one.rows
        if rows > MERGE_ROWS:
            break
        chosen.append(one)
    return sorted(chosen)


def _by_hour(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    hours = table["observed_ns"].to_numpy() // HOUR_NS
    for hour in np.unique(hours).tolist():
        yield hour * HOUR_NS, table.filter(pa.array(hours == hour))


def _folder_of(hour_ns: int) -> str:
    text = ns_to_rfc3339(hour_ns)
    return f"day={text[:10]}/hour={text[11:13]}"


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder and in those above it durable."""
    for one in (folder, folder.parent, folder.parent.parent):
        handle = os.open(one, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
