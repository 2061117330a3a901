"""The archive's catalog: which files there are, and how far each partition has got.

One SQLite file beside the Parquet files. A file counts from the moment at which the transaction
that names it also moves the partition's position past its rows; one that is not named here is
left over from a crash, and is deleted at the next start. So each observation is in the archive
exactly once, whatever is killed.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import ServiceError
from store.archive.postings import LEDGER_TABLES, Frontier, Posting, post

#: Version of the catalog's tables (SQLite's user_version).
CATALOG_VERSION = 1

#: Longest wait for another process that writes.
_WAIT_S = 30.0

_TABLES = """
CREATE TABLE progress (
    partition INTEGER PRIMARY KEY,
    next_offset INTEGER NOT NULL,
    observations INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,
    lost_records INTEGER NOT NULL,
    dedup BLOB NOT NULL
);
CREATE TABLE files (
    name TEXT PRIMARY KEY,
    hour_ns INTEGER NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    level INTEGER NOT NULL
);
CREATE INDEX files_by_time ON files (hour_ns, first_ns);
"""
_ALL_TABLES = _TABLES + LEDGER_TABLES


class ArchiveFile(NamedTuple):
    """A Parquet file: the hour it belongs to, the times in it, its size.

    ``level`` says how often it was merged from smaller ones.
    """

    name: str
    hour_ns: int
    first_ns: int
    last_ns: int
    rows: int
    bytes: int
    level: int


class Progress(NamedTuple):
    """How far a partition is archived: the next offset wanted, exact counts, de-duplication.

    ``lost_records`` are offsets that the log no longer had when the archive came to read them.
    """

    next_offset: int = 0
    observations: int = 0
    duplicates: int = 0
    lost_records: int = 0
    dedup: bytes = b""


class Totals(NamedTuple):
    """What the archive holds, and what it has counted since it began."""

    files: int
    rows: int
    bytes: int
    observations: int
    duplicates: int
    lost_records: int
    oldest_ns: int | None
    newest_ns: int | None


class Catalog:
    """The catalog of an archive's folder.

    Args:
        folder: The archive; made when missing, unless read only.
        read_only: For readers beside the one writer.

    Raises:
        ServiceError: There is none (read only), it was written by another version, or files
            are there without it.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.folder = folder
        self.path = folder / "catalog.sqlite3"
        self._lock = threading.RLock()
        if read_only:
            if not self.path.exists():
                raise ServiceError(
                    f"archive: there is none at {folder} yet; is this the folder of a city that "
                    "runs, and is QINGNIAO_ARCHIVE__ENABLED not false?"
                )
            target = f"file:{self.path}?mode=ro"
        else:
            folder.mkdir(parents=True, exist_ok=True)
            if not self.path.exists() and any(folder.glob("day=*/hour=*/*.parquet")):
                raise ServiceError(
                    f"archive: {folder} has Parquet files and no catalog.sqlite3; restore it from "
                    "a backup, or move the files away"
                )
            target = f"file:{self.path}"
        with _failures("opening", self.path):
            self._connection = sqlite3.connect(
                target, uri=True, timeout=_WAIT_S, check_same_thread=False, isolation_level=None
            )
            if read_only:
                self._check_version()
            else:
                self._prepare()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def write(self, doing: str) -> Iterator[sqlite3.Connection]:
        """A transaction; commits at the end, rolls back on an error.

        Raises:
            ServiceError: SQLite refused; nothing was written.
        """
        with self._lock, _failures(doing, self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def progress(self) -> dict[int, Progress]:
        """How far each partition is, by number."""
        rows = self.rows(
            "SELECT partition, next_offset, observations, duplicates, lost_records, dedup "
            "FROM progress"
        )
        return {row[0]: Progress(*row[1:]) for row in rows}

    def files(self, from_ns: int | None = None, to_ns: int | None = None) -> list[ArchiveFile]:
        """Files that hold instants between two, both included, the oldest first."""
        rows = self.rows(
            "SELECT name, hour_ns, first_ns, last_ns, rows, bytes, level FROM files "
            "WHERE (? IS NULL OR last_ns >= ?) AND (? IS NULL OR first_ns <= ?) "
            "ORDER BY hour_ns, name",
            (from_ns, from_ns, to_ns, to_ns),
        )
        return [ArchiveFile(*row) for row in rows]

    def totals(self) -> Totals:
        """What there is, and what was counted."""
        ((files, rows, size, oldest, newest),) = self.rows(
            "SELECT count(*), coalesce(sum(rows), 0), coalesce(sum(bytes), 0), "
            "min(first_ns), max(last_ns) FROM files"
        )
        ((observations, duplicates, lost),) = self.rows(
            "SELECT coalesce(sum(observations), 0), coalesce(sum(duplicates), 0), "
            "coalesce(sum(lost_records), 0) FROM progress"
        )
        return Totals(files, rows, size, observations, duplicates, lost, oldest, newest)

    def add(
        self,
        files: Sequence[ArchiveFile],
        progress: Mapping[int, Progress],
        postings: Sequence[Posting] = (),
        frontiers: Sequence[Frontier] = (),
    ) -> None:
        """Name new files, move the positions past their rows, tell the ledger: all or nothing."""
        with self.write("naming files") as connection:
            _insert(connection, files)
            connection.executemany(
                "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?, ?)",
                [(partition, *one) for partition, one in progress.items()],
            )
            post(connection, postings, frontiers)

    def replace(self, old: Sequence[ArchiveFile], new: Sequence[ArchiveFile]) -> None:
        """Name merged files instead of those they were made of; none only forgets them."""
        with self.write("replacing files") as connection:
            connection.executemany("DELETE FROM files WHERE name = ?", [(one.name,) for one in old])
            _insert(connection, new)

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a question.

        Raises:
            ServiceError: SQLite refused.
        """
        with self._lock, _failures("reading", self.path):
            return self._connection.execute(statement, values).fetchall()

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL, because the log may forget what is named here.
        connection.execute("PRAGMA synchronous = FULL")
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            connection.executescript(
                f"BEGIN IMMEDIATE; {_ALL_TABLES} PRAGMA user_version = {CATALOG_VERSION}; COMMIT;"
            )
        self._check_version()

    def _check_version(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version != CATALOG_VERSION:
            raise ServiceError(
                f"archive: {self.path} has version {version}, this program reads "
                f"{CATALOG_VERSION}; use the program that wrote it"
            )


def _insert(connection: sqlite3.Connection, files: Sequence[ArchiveFile]) -> None:
    connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", files)


@contextmanager
def _failures(doing: str, path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise ServiceError(f"archive catalog {path}, {doing}: {exc}") from exc
