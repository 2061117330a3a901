"""The layers of the city's profile are checked before anything is tagged by them."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from prometheus_client import Gauge

from core.errors import LayerError
from core.settings import Settings
from geo.checks.city_layers import check_city_layers
from geo.checks.findings import Level
from geo.checks.report import LayerReport, Verdict
from geo.city import City

logger = logging.getLogger(__name__)

_FINDINGS = Gauge(
    "qingniao_layer_findings",
    "What the check at the start found in a file of the city's profile",
    ["file", "level"],
)


def check_at_start(settings: Settings, city: City) -> list[LayerReport]:
    """Check the files of the city's profile, as ``qingniao geo check`` without a layer does.

    What is wrong with a layer refuses the start where it is an error, unless ``layer_check`` is
    ``warn``, and is told where it is a warning; both are counted. Generated cities have no files,
    and imported layers were checked when they were taken in.

    Raises:
        LayerError: A layer is refused; says why, and what to do.
    """
    folder = Path(settings.city)
    if settings.layer_check == "off" or not folder.is_dir():
        return []
    reports = []
    for report in check_city_layers(folder, city):
        reports.append(report)
        counts = Counter(finding.level for finding in report.findings)
        for level in Level:
            _FINDINGS.labels(Path(report.where).name, level.value).set(counts[level])
        for finding in report.findings:
            if finding.level is not Level.NOTE:
                text = finding.text
                logger.warning("%s: %s: %s %s", report.where, finding.code, text.zh, text.en)
        if report.verdict is Verdict.REFUSED and settings.layer_check == "refuse":
            why = next(one for one in report.findings if one.level is Level.ERROR)
            raise LayerError(
                f"{report.where}: {why.code}: {why.text.en}; `qingniao geo check --city {folder} "
                "--picture problems.png` shows all of it, QINGNIAO_LAYER_CHECK=warn starts anyway"
            )
    return reports
