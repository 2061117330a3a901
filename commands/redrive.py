"""``qingniao redrive``: read again what is in quarantine, after what was wrong has been mended."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from commands.calling import call_api

#: What was sent is looked for in the quarantine until nothing has left it for so long.
_SETTLED_S = 3.0
_LOOK_EVERY_S = 0.25


def redrive(url: str, reason: str | None, apply: bool, console: Console) -> None:
    """Count what could be read again, by reason; with ``apply`` send it and count what left.

    Raises:
        ServiceError: The platform or its broker does not answer; what was sent counts once, so it
            may be sent again.
    """
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("隔离区 quarantine", total=None)
        found = _through(url, reason, apply, lambda done: progress.update(task, completed=done))
    counts, cut = found
    if not counts and not cut:
        console.print("隔离区为空 Nothing in quarantine.")
        return
    left = _left(url, reason, counts) if apply else counts
    table = Table("reason", "sent again" if apply else "would be sent", *(["still there"] * apply))
    for name in sorted(counts):
        table.add_row(name, str(counts[name]), *([str(left[name])] if apply else []))
    console.print(table)
    if cut:
        console.print(
            f"{cut} 条超过 64 KiB，只存了开头，无法重放  {cut} are longer than the 64 KiB that are "
            "kept and cannot be read again"
        )
    if not apply:
        console.print("试运行，什么都没有发送  dry run, nothing was sent; --apply sends")


def _through(url: str, reason: str | None, apply: bool, told: Any) -> tuple[Counter[str], int]:
    body: dict[str, Any] = {"apply": apply, "reason": reason}
    counts: Counter[str] = Counter()
    cut = 0
    while True:
        answer = call_api(url, "POST", "/quarantine/redrive", body)
        counts.update(answer["counts"])
        cut += answer["cut"]
        told(counts.total() + cut)
        if answer["done"]:
            return counts, cut
        body |= {"after": answer["after"], "upto": answer["upto"]}


def _left(url: str, reason: str | None, sent: Counter[str]) -> Counter[str]:
    """What is in quarantine once what was sent has been read, or set aside again."""
    left, since_s = sent, time.monotonic()
    while left and time.monotonic() - since_s < _SETTLED_S:
        time.sleep(_LOOK_EVERY_S)
        now, _ = _through(url, reason, False, lambda _: None)
        if now != left:
            left, since_s = now, time.monotonic()
    return left
