"""The score as one HTML page that needs nothing else: figures, a map and a timeline."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from core.units import NS_PER_S, ns_to_rfc3339
from simulators.score import IncidentSeen, Score
from simulators.truth import Thing

_FOUND, _MISSED, _FALSE = "#1b7f3b", "#c62828", "#ef6c00"

_STYLE = """
body{font:15px/1.5 system-ui,"Noto Sans CJK SC",sans-serif;max-width:70rem;margin:2rem auto;
padding:0 1rem;color:#1c2733}table{border-collapse:collapse;margin:1rem 0}
td,th{padding:.3rem .8rem;border-bottom:1px solid #d5dde5;text-align:right}
td:first-child,th:first-child{text-align:left}img{max-width:100%}
.bad{color:#c62828}dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr))}
dt{color:#5a6b7b}dd{margin:0;font-size:1.5rem}
"""


def score_page(
    result: Score,
    things: Sequence[Thing],
    incidents: Sequence[IncidentSeen],
    *,
    outlines: Sequence[Sequence[tuple[float, float]]] = (),
    title: str = "Score",
) -> str:
    """Write the page.

    Args:
        result: The score.
        things: What happened.
        incidents: What was found.
        outlines: Lines of the map, each a sequence of (lon, lat) degrees.
        title: Of the page.
    """
    place, delay = result.location_error_m, result.detection_delay_s
    figures = (
        ("查准 precision", f"{result.precision:.3f}"),
        ("查全 recall", f"{result.recall:.3f}"),
        ("每事一案 incidents per thing", _shown(result.incidents_per_thing, "")),
        ("派错 wrong owner", str(result.wrong_owner)),
        ("位置 place p50 / p95", f"{_shown(place.p50, ' m')} / {_shown(place.p95, ' m')}"),
        ("发现 delay p50 / p95", f"{_shown(delay.p50, ' s')} / {_shown(delay.p95, ' s')}"),
    )
    rows = "".join(
        "<tr>" + "".join(
            f"<td>{html.escape(str(cell))}</td>"
            for cell in (name, row.things, row.found, row.incidents, row.duplicates,
                         row.false_incidents, row.wrong_owner)
        ) + "</tr>"
        for name, row in result.by_scenario.items()
    )  # fmt: skip
    problems = [
        f"漏报 missed: {one.scenario}, {ns_to_rfc3339(one.began_ns)}, "
        f"{one.lon_deg:.6f}, {one.lat_deg:.6f}, {one.note}"
        for one in result.missed
    ] + [f"误报 false: {one.scenario} {one.id} {one.near_miss}" for one in result.false]
    timeline = _timeline(result, things, incidents)
    head = ("scenario", "things", "found", "incidents", "duplicates", "false", "wrong owner")
    return "".join(
        (
            (
                f'<!doctype html><html lang="zh"><meta charset="utf-8"><title>{html.escape(title)}'
                f"</title><style>{_STYLE}</style><h1>{html.escape(title)}</h1><dl>"
            ),
            "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures),
            "</dl><table><tr>",
            "".join(f"<th>{name}</th>" for name in head),
            f"</tr>{rows}</table>",
            "".join(f'<p class="bad">{html.escape(one)}</p>' for one in problems),
            f'<h2>地图 Map</h2><img alt="map" src="{_map(result, things, incidents, outlines)}">',
            f'<h2>时间 Timeline</h2><img alt="timeline" src="{timeline}">',
            "</html>\n",
        )
    )


def _shown(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:.1f}{unit}"


def _map(
    result: Score,
    things: Sequence[Thing],
    incidents: Sequence[IncidentSeen],
    outlines: Sequence[Sequence[tuple[float, float]]],
) -> str:
    figure = Figure(figsize=(9, 7), layout="constrained")
    axes: Axes = figure.add_subplot()
    for line in outlines:
        axes.plot([p[0] for p in line], [p[1] for p in line], color="#c3ced9", linewidth=0.6)
    found = {one.truth_id: one.incident_id for one in result.matches}
    by_id = {one.id: one for one in incidents}
    for thing in things:
        colour = _FOUND if thing.truth_id in found else _MISSED
        axes.plot(thing.lon_deg, thing.lat_deg, "o", color=colour, fillstyle="none", markersize=9)
        incident = by_id.get(found.get(thing.truth_id, ""))
        if incident is not None and incident.lon_deg is not None and incident.lat_deg is not None:
            axes.plot(
                [thing.lon_deg, incident.lon_deg], [thing.lat_deg, incident.lat_deg], color=colour
            )
    wrong = {one.id for one in result.false}
    for one in incidents:
        if one.lon_deg is not None and one.lat_deg is not None:
            colour = _FALSE if one.id in wrong else _FOUND
            axes.plot(one.lon_deg, one.lat_deg, "x", color=colour, markersize=7)
    axes.set_aspect(1.25)  # of a degree of latitude to one of longitude at 36 degrees
    axes.ticklabel_format(useOffset=False)
    axes.set(xlabel="lon (deg)", ylabel="lat (deg)", title="o happened   x found   red missed")
    return _png(figure)


def _timeline(result: Score, things: Sequence[Thing], incidents: Sequence[IncidentSeen]) -> str:
    names = sorted({one.scenario for one in things} | {one.scenario for one in incidents})
    figure = Figure(figsize=(9, 1 + 0.35 * max(1, len(names))), layout="constrained")
    axes: Axes = figure.add_subplot()
    begins_ns = [one.began_ns for one in things] + [one.began_ns for one in incidents]
    zero_ns = min(begins_ns, default=0)
    found = {one.truth_id for one in result.matches}
    wrong = {one.id for one in result.false}

    def minutes(instant_ns: int) -> float:
        return (instant_ns - zero_ns) / NS_PER_S / 60

    for thing in things:
        row = names.index(thing.scenario)
        colour = _FOUND if thing.truth_id in found else _MISSED
        length = max(0.1, minutes(thing.ended_ns) - minutes(thing.began_ns))
        axes.broken_barh([(minutes(thing.began_ns), length)], (row - 0.3, 0.6),
                         facecolors=colour, alpha=0.4)  # fmt: skip
    for one in incidents:
        colour = _FALSE if one.id in wrong else "#16324a"
        axes.plot(minutes(one.opened_ns), names.index(one.scenario), "|", color=colour,
                  markersize=14, markeredgewidth=2)  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel=f"minutes after {ns_to_rfc3339(zero_ns)}", title="bars happened, | opened")
    return _png(figure)


def _png(figure: Figure) -> str:
    canvas = FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    canvas.print_png(buffer)  # type: ignore[no-untyped-call]
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
