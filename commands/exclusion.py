"""``qingniao exclusion``: permits, works, maintenance and silences of a running platform."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from commands.calling import HERE, UrlOption, call_api
from core.clock import SystemClock
from core.errors import InputError
from core.exclusions import ExclusionKind
from core.units import ns_to_rfc3339, parse_duration_s, rfc3339_to_ns, seconds_to_ns

app = typer.Typer(
    help="What is no incident: permits, planned works, maintenance windows, silences.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console()

ActorOption = Annotated[str, typer.Option("--actor", help="Who answers for it.")]


@app.command("add")
def add(
    kind: Annotated[ExclusionKind, typer.Argument()],
    until: Annotated[str, typer.Option(help="RFC 3339, or a duration like 2h from the start.")],
    actor: ActorOption,
    subject: Annotated[
        str, typer.Option(help="What is permitted or planned: night_work, occupation …")
    ] = "",
    from_: Annotated[str | None, typer.Option("--from", help="RFC 3339; now if none.")] = None,
    reason: Annotated[str, typer.Option(help="For whoever asks why it was no incident.")] = "",
    scenario: Annotated[list[str] | None, typer.Option(help="Scenario id; repeatable.")] = None,
    thing: Annotated[
        list[str] | None, typer.Option(help="Thing id; a camera stands for all it tracks.")
    ] = None,
    source: Annotated[list[str] | None, typer.Option(help="Decoder, e.g. dji.")] = None,
    area: Annotated[str, typer.Option(help="Beginning of an area code.")] = "",
    circle: Annotated[str | None, typer.Option(help="lon,lat,radius_m")] = None,
    url: UrlOption = HERE,
) -> None:
    """Make one; every part of the scope that is given must hold."""
    began_ns = SystemClock().now_ns() if from_ is None else rfc3339_to_ns(from_)
    body: dict[str, Any] = {
        "kind": kind.value,
        "subject": subject,
        "from": ns_to_rfc3339(began_ns),
        "until": ns_to_rfc3339(_end_ns(until, began_ns)),
        "reason": reason,
        "actor": actor,
        "scenarios": scenario or [],
        "things": thing or [],
        "sources": source or [],
        "area": area,
        "circle": None if circle is None else _circle(circle),
    }
    console.print(call_api(url, "POST", "/exclusions", body)["id"])


@app.command("end")
def end(
    exclusion_id: Annotated[str, typer.Argument(metavar="ID")],
    actor: ActorOption,
    until: Annotated[str | None, typer.Option(help="RFC 3339; now if none.")] = None,
    reason: Annotated[str | None, typer.Option(help="As it was if none.")] = None,
    url: UrlOption = HERE,
) -> None:
    """End one now, or let it end at another time."""
    body = {"actor": actor, "until": until, "reason": reason}
    console.print(call_api(url, "PATCH", f"/exclusions/{exclusion_id}", body)["id"])


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also ended and coming ones.")] = False,
    url: UrlOption = HERE,
) -> None:
    """List those in force, with how many raises each left out."""
    found = call_api(url, "GET", f"/exclusions?state={'all' if everything else 'in_force'}")
    table = Table("id", "kind", "subject", "state", "until", "left out", "who", "reason")
    for one in found["exclusions"]:
        columns = (
            "id",
            "kind",
            "subject",
            "state",
            "until_at",
            "excluded_count",
            "actor",
            "reason",
        )
        table.add_row(*(str(one[name]) for name in columns))
    console.print(table if found["exclusions"] else "无 none")


@app.command("show")
def show(exclusion_id: Annotated[str, typer.Argument(metavar="ID")], url: UrlOption = HERE) -> None:
    """Tell one with its versions and what it left out."""
    one = call_api(url, "GET", f"/exclusions/{exclusion_id}")
    console.print(one["explanation"]["zh"], one["explanation"]["en"], sep="\n")
    versions = Table("made", "who", "from", "until", "reason", title="历次 Versions")
    for each in one["versions"]:
        versions.add_row(*(each[name] for name in ("at", "actor", "from_at", "until_at", "reason")))
    console.print(versions)
    left_out = Table("time", "scenario", "thing", "rule", "edge", title="未立案 Left out")
    for each in one["left_out"]:
        left_out.add_row(*(each[name] for name in ("at", "scenario", "thing_id", "rule", "edge")))
    console.print(left_out)


def _end_ns(until: str, began_ns: int) -> int:
    try:
        return began_ns + seconds_to_ns(parse_duration_s(until))
    except InputError:
        return rfc3339_to_ns(until)


def _circle(text: str) -> dict[str, float]:
    try:
        lon, lat, radius_m = (float(part) for part in text.split(","))
    except ValueError as exc:
        raise InputError(f"--circle: lon,lat,radius_m was wanted, got {text!r}") from exc
    return {"lon": lon, "lat": lat, "radius_m": radius_m}
