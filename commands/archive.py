"""``qingniao archive``: what the archive holds, at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
from rich.console import Console
from rich.table import Table

from core.settings import Settings
from core.units import ns_to_rfc3339, rfc3339_to_ns
from store.archive.query import ArchiveReader, ObservationFilter
from store.archive.schema import SCHEMA
from store.filters import parse_box


@contextmanager
def open_archive(settings: Settings) -> Iterator[ArchiveReader]:
    """The archive of a data folder, to read."""
    reader = ArchiveReader(settings.archive_dir)
    try:
        yield reader
    finally:
        reader.close()


def print_observations(
    settings: Settings,
    things: Sequence[str],
    kinds: Sequence[str],
    since: str | None,
    until: str | None,
    area: str,
    bbox: str | None,
    limit: int,
    as_json: bool,
    console: Console,
) -> None:
    """List observations, the newest first, as a table or as JSON lines."""
    wanted = ObservationFilter(
        from_ns=None if since is None else rfc3339_to_ns(since),
        to_ns=None if until is None else rfc3339_to_ns(until),
        things=tuple(things),
        kinds=tuple(kinds),
        area_code=area,
        box=None if bbox is None else parse_box(bbox),
    )
    with open_archive(settings) as archive:
        rows = archive.page(wanted, limit=limit).rows
    if as_json:
        for row in rows:
            print(msgspec.json.encode(row).decode())
        return
    table = Table("observed", "thing", "kind", "area", "said", "id", title="观测 Observations")
    for row in rows:
        said = [f"{name} {value:g}" for name, value in row["measures"].items()]
        said += [f"{name} {value}" for name, value in row["labels"].items()]
        late = " 迟 late" if row["late"] else ""
        table.add_row(
            row["observed_at"] + late,
            row["thing_id"],
            row["kind"],
            row["area_code"] or "",
            ", ".join(said),
            row["id"],
        )
    console.print(table if rows else "没有观测 No observations.")


def print_archive(settings: Settings, console: Console) -> None:
    """Tell what there is: files, rows, bytes, the span of time, and who may see which column."""
    with open_archive(settings) as archive:
        totals = archive.catalog.totals()
    console.print(f"[bold]{settings.archive_dir}[/bold]", highlight=False)
    span = "空 empty"
    if totals.oldest_ns is not None and totals.newest_ns is not None:
        span = f"{ns_to_rfc3339(totals.oldest_ns)} – {ns_to_rfc3339(totals.newest_ns)}"
    console.print(f"{totals.rows} 条观测 observations, {totals.files} files, {span}")
    size = totals.bytes / max(1, totals.rows)
    console.print(f"{totals.bytes / 2**20:.1f} MiB, {size:.0f} bytes per observation")
    console.print(
        f"已归档 archived since ever {totals.observations}, 重复 duplicates {totals.duplicates}, "
        f"日志缺失 log records lost {totals.lost_records}"
    )
    grades = Table("column", "type", "grade", title="数据分级 Data grades")
    for field in SCHEMA:
        grades.add_row(field.name, str(field.type), field.metadata[b"grade"].decode())
    console.print(grades)
