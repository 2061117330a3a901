"""``qingniao outbox``: who is told what happens to incidents, how that goes, telling it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table

from commands.inspect import open_to_read
from core.clock import SystemClock
from core.errors import InputError, NotFoundError
from core.settings import load_settings
from core.units import NS_PER_S, ns_to_rfc3339, rfc3339_to_ns
from store.outbox import Outbox, Subscriber

app = typer.Typer(
    help="Who is told of incidents (MQTT, webhooks), and telling it again.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console()

DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of log and store.")]
NameArgument = Annotated[
    str, typer.Argument(help="A subscriber as `list` names it: mqtt, or webhook/NAME.")
]


@app.command("list")
def list_subscribers(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    data: DataOption = None,
) -> None:
    """Every subscriber: how far it was told, what it took, and whether it works."""
    with _open(data) as outbox:
        extent, subscribers = outbox.extent(), outbox.subscribers()
    if as_json:
        document = {
            "oldest": extent.oldest,
            "latest": extent.latest,
            "subscribers": [msgspec.structs.asdict(one) for one in subscribers],
        }
        print(msgspec.json.encode(document).decode())
        return
    table = Table(
        Column("订阅方 subscriber", no_wrap=True),
        *("已送至 told up to", "落后 behind", "送达 delivered", "放弃 given up", "丢失 lost"),
        *("状态 state", "最近错误 last error"),
        title=f"发件箱 Outbox: {extent.oldest}–{extent.latest}",
    )
    for one in subscribers:
        numbers = (one.sequence, extent.latest - one.sequence, one.delivered, one.dead, one.lost)
        table.add_row(one.name, *map(str, numbers), _state_of(one), one.last_error)
    console.print(table if subscribers else "没有订阅方 Nobody was ever told anything.")


@app.command()
def dead(
    name: Annotated[str | None, typer.Argument(help="Only of this subscriber.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most lines shown.")] = 100,
    data: DataOption = None,
) -> None:
    """What was given up: a subscriber took others, but not these."""
    with _open(data) as outbox:
        letters = outbox.dead_letters(name, limit)
    table = Table(
        "subscriber", "line", "event", "attempts", "when", "why", title="死信 Dead letters"
    )
    for one in letters:
        when = ns_to_rfc3339(one.at_ns)
        cells = (str(one.sequence), one.event_id, str(one.attempts), when, one.error)
        table.add_row(one.subscriber, *cells)
    console.print(table if letters else "没有死信 No dead letters.")


@app.command()
def replay(
    name: NameArgument,
    sequence: Annotated[
        int | None, typer.Option("--from-sequence", min=1, help="First line to be told again.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="The same by city time, RFC 3339.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; else only say what.")] = False,
    data: DataOption = None,
) -> None:
    """Tell a subscriber everything again from a line or a time on, in order, with the same ids."""
    if (sequence is None) == (since is None):
        raise InputError("replay: one of --from-sequence and --since was wanted")
    with _open(data) as outbox:
        state = _find(outbox, name)
        extent = outbox.extent()
        asked = sequence or outbox.sequence_since(rfc3339_to_ns(since or ""))
        first = max(asked, extent.oldest)
        if first > asked:
            console.print(f"{extent.oldest} 之前的已不在发件箱 older lines are gone")
        counts = outbox.counts_from(first)
        table = Table("变化 change", "行数 lines", title=f"{name}: {first}–{extent.latest}")
        for change, count in sorted(counts.items()):
            table.add_row(change, str(count))
        console.print(table if counts else "没有可重发的 Nothing to tell again.")
        ahead = max(0, extent.latest - state.sequence)
        console.print(
            f"其中 {ahead} 行尚未送达，其余为重发  {ahead} of these lines are yet to be told, the "
            "others are repeats; its filter applies to all"
        )
        if not apply:
            console.print("试运行 Dry run; add --apply to do it.")
            return
        outbox.ask(name, first - 1)
    console.print("已登记 Asked for: whoever delivers begins within a second, else the next start.")


@app.command()
def resume(name: NameArgument, data: DataOption = None) -> None:
    """Tell a disabled subscriber again, from where it stopped."""
    with _open(data) as outbox:
        outbox.ask(name, _find(outbox, name).sequence)
    console.print("已登记 Asked for: whoever delivers begins within a second, else the next start.")


@contextmanager
def _open(data: Path | None) -> Iterator[Outbox]:
    with open_to_read(load_settings(data_dir=data)) as store:
        yield store.outbox


def _find(outbox: Outbox, name: str) -> Subscriber:
    known = outbox.subscribers()
    for one in known:
        if one.name == name:
            return one
    raise NotFoundError(
        f"subscriber {name!r}: there is {', '.join(one.name for one in known) or 'nobody yet'}"
    )


def _state_of(one: Subscriber) -> str:
    if one.disabled_ns is not None:
        return f"[red]停用 disabled[/red] {ns_to_rfc3339(one.disabled_ns)}"
    if one.failing_since_ns is not None:
        for_s = max(0, SystemClock().now_ns() - one.failing_since_ns) / NS_PER_S
        return f"[yellow]失败 failing[/yellow] for {for_s:.0f} s"
    return "[green]正常 works[/green]"
