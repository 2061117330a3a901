"""What the benchmarks share: turns, medians, the table and the file."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FOLDER = Path("build/bench")


@dataclass(frozen=True)
class Figure:
    """One line of a benchmark.

    Attributes:
        figure: What was measured.
        value: Ours, in ``unit``.
        unit: Of the value and of the peer's.
        goal: What the ratio must reach, or what a value without a peer must not exceed; None
            where it is told for the record.
        met: Whether it was; None where there is no goal.
        peer: What it was compared with.
        peer_value: Likewise in ``unit``.
        ratio: How many times better than the peer.
    """

    figure: str
    value: float
    unit: str
    goal: float | None = None
    met: bool | None = None
    peer: str | None = None
    peer_value: float | None = None
    ratio: float | None = None


def work_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for a benchmark's files, on the disk of the checkout and not in memory."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="work-", dir=FOLDER)


def median_seconds(
    rounds: int, *works: Callable[[], Any], clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Median seconds of each piece of work, run in turns after one round to warm up.

    Wall seconds; with ``time.thread_time`` those of the processor, which others on the machine
    do not take away.
    """
    for work in works:
        work()
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for times, work in zip(taken, works, strict=True):
            began = clock()
            work()
            times.append(clock() - began)
    return [statistics.median(times) for times in taken]


def against(
    figure: str, count: int, seconds: float, peer: str, peer_seconds: float, goal: float
) -> Figure:
    """A figure in items per second against a peer's."""
    ratio = peer_seconds / seconds
    return Figure(
        figure, count / seconds, "1/s", goal, ratio >= goal, peer, count / peer_seconds, ratio
    )


def at_most(figure: str, value: float, unit: str, goal: float) -> Figure:
    """A figure that must not exceed its goal."""
    return Figure(figure, value, unit, goal, value <= goal)


def publish(name: str, figures: list[Figure], notes: Sequence[str] = ()) -> None:
    """Print the table, with notes under it, and write ``build/bench/<name>.json``."""
    table = Table(title=f"bench {name}")
    for heading in ("figure", "value", "unit", "peer", "peer's", "ratio", "goal", "met"):
        table.add_column(heading, justify="left" if heading in {"figure", "peer"} else "right")
    for one in figures:
        met = "" if one.met is None else ("yes" if one.met else "NO")
        table.add_row(
            one.figure,
            _shown(one.value),
            one.unit,
            one.peer or "",
            _shown(one.peer_value),
            "" if one.ratio is None else f"{one.ratio:.1f}x",
            _shown(one.goal),
            met,
        )
    console = Console(width=140)
    console.print(table)
    for note in notes:
        console.print(note, markup=False, highlight=False)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps([asdict(one) for one in figures], indent=1) + "\n", "utf-8")


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
