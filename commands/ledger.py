"""``qingniao ledger``: whether what was received adds up, at a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from commands.archive import open_archive
from core.settings import Settings
from core.units import NS_PER_S, ns_to_rfc3339, rfc3339_to_ns
from store.archive.numbers import device_numbers
from store.ledger import Ledger, Line

_COLUMNS = (
    "来源 source",
    "收到 received",
    "接受 accepted",
    "重复 duplicate",
    "拒收 rejected",
    "在途 in flight",
    "归档 archived",
    "缺失 missing",
    "未归档 unarchived",
)


def print_ledger(
    settings: Settings,
    since: str | None,
    until: str | None,
    source: str | None,
    by_minute: bool,
    console: Console,
) -> bool:
    """Show the ledger; whether it balances."""
    from_s = 0 if since is None else rfc3339_to_ns(since) // NS_PER_S // 60 * 60
    to_s = 2**40 if until is None else rfc3339_to_ns(until) // NS_PER_S
    with open_archive(settings) as archive:
        ledger = Ledger(archive.catalog)
        totals = ledger.totals(from_s, to_s, source)
        lines = ledger.minutes(from_s, to_s, source) if by_minute else totals
        differences = ledger.differences(from_s, to_s)
    table = Table(*(("分钟 minute",) if by_minute else ()), *_COLUMNS, title="数据账目 Ledger")
    for line in lines:
        minute = [_minute(line.minute_s)] if line.minute_s is not None else []
        table.add_row(*minute, *_cells(line))
    console.print(table if lines else "账目为空 The ledger is empty.")
    if differences:
        wrong = Table(
            "minute", "source", "batches", "missing", "unarchived", title="不平 Differences"
        )
        for one in differences:
            batches = f"{one.ingest_id} {one.first}–{one.last}"
            cells = (batches, str(one.missing), str(one.unarchived))
            wrong.add_row(_minute(one.minute_s), one.source, *cells)
        console.print(wrong)
    unmetered = sum(line.unmetered for line in totals)
    if unmetered:
        console.print(
            f"其中 {unmetered} 条来自被中断前的最后一秒，未单独计量  of these {unmetered} were "
            "received in the last second before a kill and settled without a meter"
        )
    balanced = not any(line.missing or line.unarchived for line in totals)
    console.print("[green]平 balanced[/green]" if balanced else "[red]不平 NOT balanced[/red]")
    return balanced


def print_device_numbers(
    settings: Settings, since: str | None, until: str | None, source: str | None, console: Console
) -> None:
    """Show what the devices' own counters say was sent, against what was archived."""
    from_ns = 0 if since is None else rfc3339_to_ns(since)
    to_ns = 2**62 if until is None else rfc3339_to_ns(until)
    with open_archive(settings) as archive:
        lines, missing = device_numbers(archive, from_ns, to_ns, source, limit=20)
    table = Table(
        "来源 source",
        "设备 devices",
        "归档序号 numbers archived",
        "缺失序号 never came",
        "重新计数 restarts",
        title="设备序号 Devices' own numbers",
    )
    for line in lines:
        cells = (line.things, line.archived, line.missing, line.restarts)
        table.add_row(line.source, *map(str, cells))
    console.print(table if lines else "没有带序号的设备 No device numbers what it sends.")
    if not missing:
        return
    newest = Table(
        "source", "device", "numbers", "after", "before", title="最近的缺口 The newest gaps"
    )
    for one in missing:
        numbers = str(one.first) if one.first == one.last else f"{one.first}–{one.last}"
        times = (ns_to_rfc3339(one.before_ns), ns_to_rfc3339(one.after_ns))
        newest.add_row(one.source, one.thing_id, numbers, *times)
    console.print(newest)
    console.print(
        "缺口：在无线、代理或平台中丢失，或被拒收（qingniao quarantine）。 A gap was lost on the "
        "radio, in a broker or in the platform, or refused (qingniao quarantine)."
    )


def _minute(minute_s: int) -> str:
    return ns_to_rfc3339(minute_s * NS_PER_S)[:16] + "Z"


def _cells(line: Line) -> list[str]:
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(line.rejected.items()))
    numbers = [line.received, line.accepted, line.duplicate]
    rest = [line.in_flight, line.archived, line.missing, line.unarchived]
    return [line.source, *map(str, numbers), reasons or "0", *map(str, rest)]
