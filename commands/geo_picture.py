"""Draws what a check of a layer found: where it lies, where it should, what is wrong."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.font_manager as fonts
import matplotlib.pyplot as plt
import numpy as np
import shapely
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from geo.checks.report import LayerReport, Verdict
from geo.crs import crs_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Fonts that have Chinese, on the usual systems; without one only English is drawn.
_CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "SimHei",
)

_INK = "#22303c"
_COLOURS = {
    Verdict.ACCEPTED: "#2e7d32",
    Verdict.WARNINGS: "#b26a00",
    Verdict.REFUSED: "#c62828",
}


def draw_report(report: LayerReport, path: Path) -> None:
    """Write a PNG of a layer's problems.

    Grey is what is known, blue the layer as it is read, red overlaps and wrong places, orange
    gaps; dots are sampled points, coloured by their distance to what is known.

    Args:
        report: What the check found.
        path: The PNG; its folder must exist.
    """
    chinese = _chinese_font()
    settings: dict[Any, Any] = {"font.family": [chinese, "DejaVu Sans"]} if chinese else {}
    settings["axes.unicode_minus"] = False
    with plt.rc_context(settings):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(15, 8), dpi=110, width_ratios=(3, 2), layout="constrained"
        )
        _draw_map(report, left, chinese is not None)
        _draw_words(report, right, chinese is not None)
        figure.savefig(path, format="png")
        plt.close(figure)


def _chinese_font() -> str | None:
    have = {font.name for font in fonts.fontManager.ttflist}
    return next((name for name in _CHINESE_FONTS if name in have), None)


def _draw_map(report: LayerReport, axes: Axes, chinese: bool) -> None:
    placement = report.placement
    if placement is not None:
        _lines(axes, placement.reference.shapes, "#9aa5ad", 1.4, "known 已知")
    if report.layer is not None:
        _lines(axes, report.layer.geometries, "#1565c0", 0.8, "layer 本图层")
    if report.partition is not None:
        _areas(axes, [one.shape for one in report.partition.overlaps], "#c62828", "overlaps 重叠")
        _areas(axes, [one.shape for one in report.partition.gaps], "#ef6c00", "gaps 空隙")
    if placement is not None and len(placement.points):
        order = np.argsort(placement.distances_m)
        dots = axes.scatter(
            placement.points[order, 0],
            placement.points[order, 1],
            c=np.maximum(placement.distances_m[order], 1.0),
            s=5,
            cmap="viridis",
            norm=LogNorm(1.0, max(10.0, float(placement.distances_m.max(initial=0.0)))),
            label="sampled 抽样点",
            zorder=3,
        )
        axes.figure.colorbar(dots, ax=axes, label="metres to what is known", shrink=0.6)
    if len(report.invalid_points):
        east, north = report.invalid_points.T
        axes.scatter(east, north, marker="x", c="#c62828", s=60, label="repaired 已修复")
    low, high = axes.get_ylim()
    axes.set_aspect(1.0 / max(np.cos(np.radians((low + high) / 2.0)), 0.05))
    axes.set_xlabel("lon, degrees (WGS 84)")
    axes.set_ylabel("lat, degrees")
    axes.grid(color="#dddddd", linewidth=0.5)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        words = labels if chinese else [label.split()[0] for label in labels]
        axes.legend(handles, words, loc="lower right", fontsize=8)


def _draw_words(report: LayerReport, axes: Axes, chinese: bool) -> None:
    axes.axis("off")
    name = Path(report.where).name
    lines: list[tuple[str, str, bool]] = [
        (name if chinese or name.isascii() else "layer", _INK, True),
        (
            f"{report.role.value}, read as {'-' if report.crs is None else crs_title(report.crs)}",
            _INK,
            False,
        ),
        (report.verdict.value.upper(), _COLOURS[report.verdict], True),
    ]
    for finding in report.findings:
        lines.append((f"{finding.level.value}: {finding.code}", _INK, True))
        text = finding.text.zh if chinese else _ascii(finding.text.en)
        lines += [(part, _INK, False) for part in _wrapped(text, 34 if chinese else 62)]
    height = 1.0
    for text, colour, bold in lines[:44]:
        height -= 0.022
        axes.text(
            0.0,
            height,
            text,
            color=colour,
            fontsize=9 if not bold else 10,
            fontweight="bold" if bold else "normal",
            parse_math=False,
            transform=axes.transAxes,
        )


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width)[:6]


def _ascii(text: str) -> str:
    """Without the signs that a font without Chinese cannot draw."""
    return "".join(sign if ord(sign) < 0x2E80 else "?" for sign in text)


def _lines(axes: Axes, shapes: NDArray[np.object_], colour: str, width: float, label: str) -> None:
    areas = np.isin(shapely.get_type_id(shapes), (3, 6))
    drawn = np.array(shapes, dtype=object)
    drawn[areas] = shapely.boundary(drawn[areas])
    flat = shapely.get_parts(drawn)
    points = shapely.get_type_id(flat) == 0
    if points.any():
        east, north = shapely.get_coordinates(flat[points]).T
        axes.scatter(east, north, s=6, c=colour, label=label)
    rest: list[Any] = [shapely.get_coordinates(line) for line in flat[~points]]
    if rest:
        axes.add_collection(LineCollection(rest, colors=colour, linewidths=width, label=label))
        axes.autoscale_view()


def _areas(axes: Axes, shapes: list[Any], colour: str, label: str) -> None:
    for number, shape in enumerate(shapely.get_parts(shapes) if shapes else ()):
        if shape.geom_type == "Polygon":
            axes.fill(
                *shapely.get_coordinates(shape.exterior).T,
                facecolor=colour,
                edgecolor=colour,
                alpha=0.7,
                zorder=4,
                label=label if number == 0 else None,
            )
