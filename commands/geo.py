"""``qingniao geo``: layers at a terminal: check one, take it in, ask where a point is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from commands.layer_import import plan_import, write_import
from commands.layer_report import print_report, report_document
from commands.layer_request import LayerRequest, parse_pairs
from commands.map_watch import open_map
from core.city import AltitudeDatum, LayerRole
from core.clock import SystemClock
from core.settings import load_settings
from core.units import ns_to_rfc3339, rfc3339_to_ns
from geo.checks.city_layers import check_city_layers
from geo.checks.report import LayerReport, Verdict
from geo.city import load_city
from geo.crs import convert_points

app = typer.Typer(
    name="geo",
    help="图层 Map layers: check one, take it in, ask where a point is.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console()

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
        str | None,
        typer.Argument(
            help="A file with a layer, or postgresql://user@host/database; all layers of the "
            "city's profile unless given."
        ),
    ] = None,
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
    """Check a layer, or all of the city: place, datum, geometry, codes, gaps. Changes nothing.

    Exits with 0 where the layer can be taken, 1 where it is refused.
    """
    spec = city or load_settings().city
    home = load_city(spec)
    if layer is None:
        reports = list(check_city_layers(Path(spec), home))
    else:
        request = LayerRequest(
            location=layer,
            layer_name=layer_name,
            role=role,
            crs=crs,
            fields=parse_pairs(field, "--field"),
            constants=parse_pairs(constant, "--constant"),
            against=against,
            against_crs=against_crs,
        )
        reports = [request.check(home)]
    for report in reports:
        print_report(report, console)
        if picture is not None:
            _draw(report, picture if layer else _picture_of(picture, report))
    if json_path is not None:
        documents = [report_document(report) for report in reports]
        text = json.dumps(documents[0] if layer else documents, ensure_ascii=False, indent=1)
        json_path.write_text(text + "\n", encoding="utf-8")
    raise typer.Exit(1 if any(one.verdict is Verdict.REFUSED for one in reports) else 0)


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
    request = LayerRequest(
        location=layer,
        layer_name=layer_name,
        role=role,
        crs=crs,
        fields=parse_pairs(field, "--field"),
        constants=parse_pairs(constant, "--constant"),
        against=against,
        against_crs=against_crs,
    )
    report = request.check(home, layer_id)
    print_report(report, console)
    if picture is not None:
        _draw(report, picture)
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
    tagger = open_map(settings, home)
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


def _draw(report: LayerReport, picture: Path) -> None:
    from commands.geo_picture import draw_report  # Matplotlib takes a second to load

    draw_report(report, picture)
    console.print(f"图 picture: {picture}")


def _picture_of(picture: Path, report: LayerReport) -> Path:
    """Of several layers each has its own picture, named after its file."""
    return picture.with_stem(f"{picture.stem}-{Path(report.where).stem}")
