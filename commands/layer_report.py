"""What a check of a layer found, for a person and for a program."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from geo.checks.findings import Level
from geo.checks.report import LayerReport, Verdict
from geo.crs import crs_title

_COLOURS = {Level.ERROR: "red", Level.WARNING: "yellow", Level.NOTE: "green"}
_VERDICT = {
    Verdict.ACCEPTED: ("green", "可以导入 accepted"),
    Verdict.WARNINGS: ("yellow", "可以导入,有警告 accepted with warnings"),
    Verdict.REFUSED: ("red", "拒绝 refused"),
}


def print_report(report: LayerReport, out: Console) -> None:
    """Tell what a check found."""
    colour, words = _VERDICT[report.verdict]
    read_as = "—" if report.crs is None else crs_title(report.crs)
    out.print(f"[bold]{report.where}[/bold]", highlight=False)
    out.print(
        f"  {report.role.value}, {report.count} features, read as {read_as}"
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
        "count": report.count,
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
                "rows": [int(report.rows[row]) + 1 for row in flaw.features],
            }
            for flaw in (*report.partition.overlaps, *report.partition.gaps)
        ]
    return document
