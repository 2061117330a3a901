"""``qingniao geo``: layers at a terminal: check one, take it in, ask where a point is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from commands.layer_import import plan_import, write_import
from core.city import AltitudeDatum, LayerRole
from core.clock import SystemClock
from core.errors import InputError
from core.settings import load_settings
from core.units import ns_to_rfc3339, rfc3339_to_ns
from geo.catalogue import load_catalogue
from geo.checks.report import LayerReport, Level, Verdict, check_layer, guess_role
from geo.city import City, load_city
from geo.crs import convert_points
from geo.layers import Layer, layer_of_source
from geo.live_map import LiveTagger
from geo.sources.reader import read_source
from geo.sources.table import guess_fields
from store.layer_tables import is_database, read_layer_table

app = typer.Typer(
    name="geo",
    help="图层 Map layers: check one, take it in, ask where a point is.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console()

_COLOURS = {Level.ERROR: "red", Level.WARNING: "yellow", Level.NOTE: "green"}
_VERDICT = {
    Verdict.ACCEPTED: ("green", "可以导入 accepted"),
    Verdict.WARNINGS: ("yellow", "可以导入,有警告 accepted with warnings"),
    Verdict.REFUSED: ("red", "拒绝 refused"),
}

CityOption = Annotated[
    str | None,
    typer.Option("--city", help="`generated`, or a folder with a city profile or a city's layers."),
]
RoleOption = Annotated[
    LayerRole | None, typer.Option(help="What the layer is; guessed by geometry and codes.")
]
CrsOption = Annotated[
    str | None,
    typer.Option(help="EPSG:n, GCJ-02 or BD-09, where the file does not say it itself."),
]
FieldOption = Annotated[
    list[str] | None,
    typer.Option("--field", help="Which column is what, e.g. code=adcode; may be repeated."),
]
ConstantOption = Annotated[
    list[str] | None,
    typer.Option(
        "--constant", help="A value for all features, e.g. kind=protected or ceiling_m=120."
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--layer-name", help="Which layer of a file that has several; which table of a database."
    ),
]
AgainstOption = Annotated[
    Path | None,
    typer.Option(help="A layer that is known to lie right, to compare with; else the city's own."),
]
AgainstCrsOption = Annotated[
    str | None, typer.Option("--against-crs", help="CRS of that layer; EPSG:4326 unless given.")
]
PictureOption = Annotated[
    Path | None, typer.Option(help="PNG that shows the layer and its problems.")
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="File that takes the report.")]


@app.command()
def check(
    layer: Annotated[
        str, typer.Argument(help="A file with a layer, or postgresql://user@host/database.")
    ],
    role: RoleOption = None,
    crs: CrsOption = None,
    field: FieldOption = None,
    constant: ConstantOption = None,
    layer_name: NameOption = None,
    city: CityOption = None,
    against: AgainstOption = None,
    against_crs: AgainstCrsOption = None,
    picture: PictureOption = None,
    json_path: JsonOption = None,
) -> None:
    """Check a layer: place, datum, geometry, codes, gaps and overlaps. Changes nothing.

    Exits with 0 where the layer can be taken, 1 where it is refused.
    """
    home = load_city(city or load_settings().city)
    report = make_report(
        layer,
        home,
        role=role,
        crs=crs,
        fields=parse_pairs(field, "--field"),
        constants=parse_pairs(constant, "--constant"),
        layer_name=layer_name,
        known=known_layers(home, role, against, against_crs),
    )
    print_report(report, console)
    if picture is not None:
        from commands.geo_picture import draw_report

        draw_report(report, picture)
        console.print(f"图 picture: {picture}")
    if json_path is not None:
        json_path.write_text(
            json.dumps(report_document(report), ensure_ascii=False, indent=1) + "\n",
            encoding="utf-8",
        )
    raise typer.Exit(1 if report.verdict is Verdict.REFUSED else 0)


@app.command(name="import")
def import_layer(
    layer: Annotated[
        str, typer.Argument(help="A file with a layer, or postgresql://user@host/database.")
    ],
    layer_id: Annotated[str, typer.Option("--id", help="Its name within the city.")],
    role: RoleOption = None,
    crs: CrsOption = None,
    field: FieldOption = None,
    constant: ConstantOption = None,
    layer_name: NameOption = None,
    valid_from: Annotated[
        str | None, typer.Option(help="RFC 3339; from when it counts. Now unless given.")
    ] = None,
    city: CityOption = None,
    against: AgainstOption = None,
    against_crs: AgainstCrsOption = None,
    picture: PictureOption = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write it; without this nothing is changed.")
    ] = False,
) -> None:
    """Take a layer into the catalogue as a new version; a dry run unless --apply is given.

    The layer is checked as `check` does; what is refused is not taken. Everything that runs takes
    the new version into use by itself, all at once.
    """
    settings = load_settings(city=city) if city else load_settings()
    home = load_city(settings.city, seed=settings.city_seed)
    report = make_report(
        layer,
        home,
        role=role,
        crs=crs,
        fields=parse_pairs(field, "--field"),
        constants=parse_pairs(constant, "--constant"),
        layer_name=layer_name,
        known=known_layers(home, role, against, against_crs),
        layer_id=layer_id,
    )
    print_report(report, console)
    if picture is not None:
        from commands.geo_picture import draw_report

        draw_report(report, picture)
    if report.layer is None:
        console.print("没有改动 nothing was changed")
        raise typer.Exit(1)
    begin_ns = SystemClock().now_ns() if valid_from is None else rfc3339_to_ns(valid_from)
    path = settings.catalogue_path
    plan = plan_import(report.layer, path, Path(report.where), ns_to_rfc3339(begin_ns))
    console.print(
        f"{path}: {layer_id} {plan.before or '—'} → {report.layer.version}, "
        f"{plan.spec.valid_from} 起 from then on; {plan.file}",
        highlight=False,
    )
    if not apply:
        console.print("试运行,没有改动 dry run, nothing was changed; add --apply to take it")
        return
    write_import(report.layer, plan, path)
    console.print("[green]已导入 imported[/green]")


@app.command(context_settings={"ignore_unknown_options": True})
def tag(
    lon: Annotated[float, typer.Argument(help="Longitude, degrees.", min=-180, max=180)],
    lat: Annotated[float, typer.Argument(help="Latitude, degrees.", min=-90, max=90)],
    crs: Annotated[
        str, typer.Option(help="What they are in: EPSG:4326, GCJ-02, BD-09, EPSG:4490.")
    ] = "EPSG:4326",
    altitude: Annotated[
        float | None, typer.Option(help="Metres above the datum, for airspace.")
    ] = None,
    datum: Annotated[AltitudeDatum, typer.Option(help="Of the altitude.")] = AltitudeDatum.AGL,
    error_m: Annotated[
        float | None, typer.Option(help="One-sigma error of the position, metres.", min=0)
    ] = None,
    city: CityOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell all that the map says of a point."""
    from geo.fact_sheet import Asked, fact_sheets

    settings = load_settings(city=city) if city else load_settings()
    home = load_city(settings.city, seed=settings.city_seed)
    now_ns = SystemClock().now_ns()
    tagger = LiveTagger(home, load_catalogue(settings.catalogue_path))
    x, y = convert_points([lon], [lat], crs, "EPSG:4326")
    asked = Asked.of_points(
        x,
        y,
        {} if altitude is None else {datum: np.array([altitude])},
        np.array([now_ns]),
        None if error_m is None else np.array([error_m]),
    )
    (sheet,) = fact_sheets(*tagger.at(now_ns), asked)
    if as_json:
        typer.echo(msgspec.json.encode(sheet).decode())
        return
    table = Table("什么 what", "值 value", title=f"{float(x[0]):.7f}, {float(y[0]):.7f} (WGS 84)")
    for name, value in msgspec.to_builtins(sheet).items():
        if name != "layer_versions":
            table.add_row(name, "—" if value is None else str(value))
    console.print(table)


def make_report(
    location: str,
    city: City,
    *,
    role: LayerRole | None,
    crs: str | None,
    fields: dict[str, str],
    constants: dict[str, str],
    layer_name: str | None,
    known: list[Layer],
    layer_id: str | None = None,
) -> LayerReport:
    """Read a source and check it against a city.

    Raises:
        LayerError: The source cannot be read.
    """
    if is_database(location):
        source = read_layer_table(location, layer_name)
    else:
        source = read_source(Path(location), layer_name=layer_name)
    return check_layer(
        source,
        id=layer_id or (layer_name if is_database(location) else None) or Path(location).stem,
        role=role or guess_role(source),
        replace_codes=city.old_codes,
        frame=city.frame,
        known=known,
        crs=crs,
        fields=fields,
        constants=constants,
    )


def known_layers(
    city: City, role: LayerRole | None, against: Path | None, against_crs: str | None
) -> list[Layer]:
    """What a layer is compared with: the one that is named, else the city's own.

    Raises:
        LayerError: The named one cannot be read.
    """
    if against is None:
        return list(city.layers.values())
    source = read_source(against)
    declared = against_crs or (None if source.declared is not None else "EPSG:4326")
    return [
        layer_of_source(
            source,
            id=against.stem,
            role=role or guess_role(source),
            crs=declared,
            fields=guess_fields(source, {}),
        )
    ]


def parse_pairs(pairs: list[str] | None, option: str) -> dict[str, str]:
    """``code=adcode`` and the like as a mapping.

    Raises:
        InputError: A pair has no ``=``.

    Example:
        >>> parse_pairs(["code=adcode"], "--field"), parse_pairs(None, "--field")
        ({'code': 'adcode'}, {})
    """
    found = {}
    for pair in pairs or []:
        name, sign, value = pair.partition("=")
        if not sign or not name or not value:
            raise InputError(f"{option}: name=value was wanted, e.g. code=adcode, got {pair!r}")
        found[name] = value
    return found


def print_report(report: LayerReport, out: Console) -> None:
    """Tell what a check found."""
    colour, words = _VERDICT[report.verdict]
    count = "?" if report.layer is None else str(len(report.layer))
    out.print(f"[bold]{report.where}[/bold]", highlight=False)
    out.print(
        f"  {report.role.value}, {count} features, read as {report.crs or '—'}"
        + (f", version {report.layer.version}" if report.layer is not None else ""),
        highlight=False,
    )
    for finding in report.findings:
        mark = _COLOURS[finding.level]
        out.print(
            f"  [{mark}]{finding.level.value:>7}[/{mark}] [bold]{finding.code}[/bold]",
            highlight=False,
        )
        out.print(f"          {finding.text.zh}", highlight=False, markup=False)
        out.print(f"          {finding.text.en}", highlight=False, markup=False)
    if report.placement is not None and report.placement.fits:
        table = Table("read as 读作", "quarter within", "half within", "on it", title="位置 Place")
        for fit in report.placement.fits[:5]:
            row = [f"{value:,.1f} m" for value in fit.misfit[:2]]
            table.add_row(fit.reading.title, *row, f"{fit.close_ratio:.0%}")
        out.print(table)
    out.print(f"[{colour}]{words}[/{colour}]")


def report_document(report: LayerReport) -> dict[str, Any]:
    """A report as JSON can say it."""
    placement = report.placement
    document: dict[str, Any] = {
        "source": report.where,
        "role": report.role.value,
        "crs": report.crs,
        "verdict": report.verdict.value,
        "version": None if report.layer is None else report.layer.version,
        "findings": [
            {
                "level": finding.level.value,
                "code": finding.code,
                "zh": finding.text.zh,
                "en": finding.text.en,
                "rows": [row + 1 for row in finding.features],
            }
            for finding in report.findings
        ],
    }
    if placement is not None:
        shift = placement.shift
        document["place"] = {
            "compared_with": placement.reference.layer_id,
            "compared_by": placement.reference.how,
            "likely": None if placement.likely is None else placement.likely.title,
            "shift_m": None if shift is None else [shift.east_m, shift.north_m],
        }
    if report.partition is not None:
        document["flaws"] = [
            {
                "kind": flaw.kind,
                "area_m2": flaw.area_m2,
                "width_m": flaw.width_m,
                "lon_deg": flaw.lon_deg,
                "lat_deg": flaw.lat_deg,
                "rows": [row + 1 for row in flaw.features],
            }
            for flaw in (*report.partition.overlaps, *report.partition.gaps)
        ]
    return document
