"""Questions to the archive, answered by DuckDB from the files that the catalog names."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from core.errors import NotFoundError, ServiceError
from core.units import ns_to_rfc3339
from store.archive.catalog import ArchiveFile, Catalog
from store.filters import Box, check_limit, decode_cursor, encode_cursor
from store.rows import Page

#: What one question may use of the machine.
_SETTINGS: dict[str, Any] = {
    "threads": "2",
    "memory_limit": "512MB",
    "enable_external_access": "true",
}

#: Merging may take a file away between the catalog and the reading of it.
_ATTEMPTS = 3

#: What readers are given: everything but pictures, which are of grade SENSITIVE.
_COLUMNS = (
    "lower(hex(id)) AS id, source, thing_id, kind, observed_ns, received_ns, has_device_time, "
    "late, device_sequence, lon_deg, lat_deg, error_major_m, measures, labels, topic, "
    'area_code, road_name, zones, airspaces, ingest_id, sequence, partition, "offset"'
)


class ObservationFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which observations; all conditions must hold, an empty one holds always.

    ``from_ns`` and ``to_ns`` bound the device's time, both included. ``area_code`` is a prefix:
    a district has 6 digits, a street 9, a community 12, a grid 15. ``ids`` are 32 hex digits.
    """

    from_ns: int | None = None
    to_ns: int | None = None
    things: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    area_code: str = ""
    box: Box | None = None
    ids: tuple[str, ...] = ()


class ArchiveReader:
    """Reads an archive beside its writer; may be used from several threads.

    Args:
        folder: The archive's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._catalog: Catalog | None = None
        self._database = duckdb.connect(config=_SETTINGS)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close catalog and engine."""
        if self._catalog is not None:
            self._catalog.close()
        self._database.close()

    @property
    def catalog(self) -> Catalog:
        """The catalog.

        Raises:
            ServiceError: There is no archive yet.
        """
        with self._lock:
            if self._catalog is None:
                self._catalog = Catalog(self.folder, read_only=True)
            return self._catalog

    def page(
        self, wanted: ObservationFilter, *, limit: int = 100, cursor: str | None = None
    ) -> Page[dict[str, Any]]:
        """A page of observations as documents, the newest first.

        Raises:
            InputError: ``limit`` is not in 1..1000, or the cursor is none of ours.
            ServiceError: There is no archive, or a file cannot be read.
        """
        conditions, values = _conditions(wanted)
        if cursor is not None:
            at_ns, key = decode_cursor(cursor)
            conditions.append("(observed_ns, lower(hex(id))) < (?, ?)")
            values += [at_ns, key]
            wanted = msgspec.structs.replace(
                wanted, to_ns=at_ns if wanted.to_ns is None else min(at_ns, wanted.to_ns)
            )
        rows = self.select(  # conditions are ours, what is asked for are their parameters
            f"SELECT {_COLUMNS} FROM read_parquet(?) WHERE {' AND '.join(conditions)} "  # noqa: S608
            f"ORDER BY observed_ns DESC, id DESC LIMIT {check_limit(limit) + 1}",
            wanted,
            values,
        )
        last = rows[limit - 1] if len(rows) > limit else None
        return Page(
            rows=[document(row) for row in rows[:limit]],
            next=None if last is None else encode_cursor(last["observed_ns"], last["id"]),
        )

    def count(self, wanted: ObservationFilter) -> dict[str, int]:
        """How many observations there are, by kind."""
        conditions, values = _conditions(wanted)
        rows = self.select(
            f"SELECT kind, count(*) AS n FROM read_parquet(?) WHERE {' AND '.join(conditions)} "  # noqa: S608
            "GROUP BY kind ORDER BY kind",
            wanted,
            values,
        )
        return {row["kind"]: row["n"] for row in rows}

    def one(self, observation_id: str, near_ns: int | None = None) -> dict[str, Any]:
        """One observation by id.

        Args:
            observation_id: 32 hex digits.
            near_ns: About when it was observed; without it every file is looked into.

        Raises:
            NotFoundError: It is not there.
        """
        day_ns = 86_400_000_000_000
        spans = [(None, None)] if near_ns is None else [(near_ns, near_ns), (None, None)]
        for start, end in spans:
            wanted = ObservationFilter(
                from_ns=None if start is None else start - day_ns,
                to_ns=None if end is None else end + day_ns,
                ids=(observation_id,),
            )
            found = self.page(wanted, limit=1).rows
            if found:
                return found[0]
        raise NotFoundError(
            f"observation {observation_id!r}: the archive has none with this id; one of the last "
            "seconds is not in it yet, one older than the retention no longer"
        )

    def select(
        self, statement: str, wanted: ObservationFilter, values: Sequence[Any]
    ) -> list[dict[str, Any]]:
        """Rows of a statement whose first parameter is the list of files.

        Raises:
            ServiceError: There is no archive, or a file cannot be read.
        """
        error: Exception | None = None
        for _ in range(_ATTEMPTS):
            files = self._files(wanted)
            if not files:
                return []
            paths = [str(self.folder / one.name) for one in files]
            with self._database.cursor() as cursor:
                try:
                    cursor.execute(statement, [paths, *values])
                    names = [column[0] for column in cursor.description or ()]
                    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
                except duckdb.IOException as exc:
                    error = exc
                except duckdb.Error as exc:
                    raise ServiceError(f"archive {self.folder} cannot be read: {exc}") from exc
        raise ServiceError(f"archive {self.folder} cannot be read: {error}") from error

    def _files(self, wanted: ObservationFilter) -> list[ArchiveFile]:
        return self.catalog.files(wanted.from_ns, wanted.to_ns)


def document(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the archive as readers are given it.

    Example:
        >>> made = document({"id": "0a", "observed_ns": 0, "received_ns": 1_500_000_000,
        ...                  "partition": 0, "offset": 7, "ingest_id": "i/1", "sequence": 3})
        >>> made["received_at"], made["log"]["offset"]
        ('1970-01-01T00:00:01.500Z', 7)
    """
    made = {}
    log = {}
    for name, value in row.items():
        if name in {"ingest_id", "sequence", "partition", "offset"}:
            log[name] = value
        elif name.endswith("_ns"):
            made[name] = value
            made[f"{name[:-3]}_at"] = ns_to_rfc3339(value)
        else:
            made[name] = value
    return made | {"log": log}


def _conditions(wanted: ObservationFilter) -> tuple[list[str], list[Any]]:
    found = ["TRUE"]
    values: list[Any] = []
    for text, value in (
        ("observed_ns >= ?", wanted.from_ns),
        ("observed_ns <= ?", wanted.to_ns),
        ("starts_with(area_code, ?)", wanted.area_code or None),
    ):
        if value is not None:
            found.append(text)
            values.append(value)
    for name, several in (
        ("thing_id", wanted.things),
        ("kind", wanted.kinds),
        ("source", wanted.sources),
    ):
        if several:
            # One value is compared as such: row groups are then passed over by their statistics.
            found.append(f"{name} IN ({', '.join('?' * len(several))})")
            values += several
    if wanted.ids:
        found.append(f"id IN ({', '.join(['unhex(?)'] * len(wanted.ids))})")
        values += wanted.ids
    if wanted.box is not None:
        west, south, east, north = wanted.box
        found.append("lat_deg BETWEEN ? AND ?")
        values += [south, north]
        across = "OR" if west > east else "AND"
        found.append(f"(lon_deg >= ? {across} lon_deg <= ?)")
        values += [west, east]
    return found, values
