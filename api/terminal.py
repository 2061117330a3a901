"""The city on a terminal: a live table of incidents with the figures above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from core.incidents import Severity, Status
from core.units import CHINA, NS_PER_S, rfc3339_to_ns

_STYLE = {
    Severity.MINOR: "cyan",
    Severity.MODERATE: "yellow",
    Severity.SEVERE: "dark_orange",
    Severity.EXTREME: "bold red",
}
_STATUS = {
    Status.COLLECTED: "采集 collected",
    Status.FILED: "立案 filed",
    Status.DISPATCHED: "派遣 dispatched",
    Status.HANDLING: "处理 handling",
    Status.FEEDBACK: "反馈 feedback",
    Status.CLOSED: "结案 closed",
    Status.EVALUATED: "评价 evaluated",
    Status.CANCELLED: "作废 cancelled",
}


def age_text(seconds: float) -> str:
    """An age for people.

    Example:
        >>> age_text(42), age_text(130), age_text(7300), age_text(200_000)
        ('42 s', '2 min', '2 h', '2 d')
    """
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def city_view(
    incidents: Sequence[Mapping[str, Any]], figures: Mapping[str, Any], *, now_ns: int, where: str
) -> RenderableType:
    """What the terminal shows: figures, then the newest incidents (as the API's JSON)."""
    clock = datetime.fromtimestamp(now_ns / NS_PER_S, CHINA)
    head = Text.assemble(
        ("青鸟 Qingniao  ", "bold cyan"),
        f"{clock:%Y-%m-%d %H:%M:%S}  ",
        (where, "underline"),
        "\n",
        f"{figures.get('observations_per_s', 0):.0f} obs/s · "
        f"{figures.get('frames_per_s', 0):.0f} frames/s · "
        f"lag {1000 * figures.get('lag_s', 0):.0f} ms · "
        f"open {figures.get('incidents_open', 0)} · "
        f"rejected {figures.get('rejections', 0)}",
    )
    table = Table(expand=True, box=None, header_style="bold", pad_edge=False)
    for title in (
        "案卷 Case",
        "场景 Scenario",
        "地点 Place",
        "级别 Severity",
        "状态 Status",
        "时长 Age",
    ):
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    for incident in incidents:
        name, place = incident["scenario_name"], incident["place"]
        severity = Severity(incident["severity"])
        table.add_row(
            incident["case_number"],
            f"{name['zh']} {name['en']}",
            place.get("area_name") or place.get("unplaced") or "",
            Text(severity.value, style=_STYLE[severity]),
            _STATUS[Status(incident["status"])],
            age_text((now_ns - rfc3339_to_ns(incident["began_at"])) / NS_PER_S),
        )
    if not incidents:
        table.add_row("", "尚无事件 no incident yet", "", "", "", "")
    return Group(head, Text(""), table)
