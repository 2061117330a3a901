"""Checks the layers that a city's profile names, each against those that it names before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from core.errors import LayerError
from geo.checks.report import LayerReport, check_layer
from geo.layers import Layer, present_shapes
from geo.model import City
from geo.profile import find_profile, parse_profile
from geo.sources.reader import read_source

#: Column of the codes that a profile takes from a list.
_CODES = "code of the list"


def check_city_layers(folder: Path, city: City) -> Iterator[LayerReport]:
    """Check the files of a city's profile, in its order.

    Args:
        folder: With the profile or the files of a built-in one.
        city: As it was loaded from there.

    Yields:
        A report for each file; the first has nothing to be compared with, which is no finding.

    Raises:
        LayerError: The city has no files, or the profile or a file cannot be read.
    """
    if not folder.is_dir():
        raise LayerError(f"city {folder} has no files to check; a folder with a profile was wanted")
    path = find_profile(folder)
    profile = parse_profile(path.read_text(encoding="utf-8"), str(path))
    known: list[Layer] = []
    for spec in profile.layers:
        source = read_source(folder / spec.path, layer_name=spec.layer)
        layer, fields = city.layers[spec.id], dict(spec.fields)
        if spec.codes_from is not None:
            codes = np.full(len(source.shapes), "", dtype=object)
            codes[present_shapes(source.shapes)] = layer.column("code")
            source = replace(source, columns=source.columns.assign(**{_CODES: codes}))
            fields["code"] = _CODES
        report = check_layer(
            source,
            id=spec.id,
            role=spec.role,
            frame=city.frame,
            known=known,
            crs=spec.crs,
            title=spec.title,
            fields=fields,
            constants=spec.constants,
            replace_codes=profile.old_codes | spec.replace_codes,
        )
        if not known:
            findings = tuple(one for one in report.findings if one.code != "not_compared")
            report = replace(report, findings=findings)
        known.append(layer)
        yield report
