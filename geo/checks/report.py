"""Checks a source before it becomes a layer, and says all that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import shapely
from numpy.typing import NDArray

from core.city import LayerRole
from core.errors import LayerError
from core.incidents import Text
from geo.checks.anchors import check_anchors
from geo.checks.features import (
    code_findings,
    geometry_findings,
    kind_findings,
    missing_findings,
    on_earth,
    stray_findings,
)
from geo.checks.findings import Finding, Level, metres_text, rows_text
from geo.checks.partition import Partition, check_partition
from geo.checks.placement import Misfit, Placement, check_placement
from geo.checks.readings import UNSHIFTED_TWICE, Reading
from geo.code_changes import resolve_code
from geo.crs import MAINLAND_BOX, MetricFrame, crs_title, is_wkt
from geo.grid_codes import LEVEL_DIGITS, plain_code
from geo.layers import Layer, decide_crs, layer_of_source, present_shapes
from geo.sources.table import SourceTable, cell_text, code_digits, guess_fields

#: Roles whose areas must share out the city between them.
PARTITIONS = (LayerRole.DISTRICT, LayerRole.STREET, LayerRole.COMMUNITY, LayerRole.GRID)

#: What the names of nearly all areas of a level end in. Not of districts: 区 is all kinds of area.
_ENDINGS = {
    LayerRole.STREET: ("街道", "街道办事处", "镇", "乡"),
    LayerRole.COMMUNITY: ("社区", "居委会", "村委会", "村"),
}

_LINES, _AREAS = 1, 2  #: dimensions


class Verdict(StrEnum):
    """What comes of a check."""

    ACCEPTED = "accepted"
    WARNINGS = "accepted with warnings"
    REFUSED = "refused"


@dataclass(frozen=True)
class LayerReport:
    """What a check found.

    Attributes:
        where: The source.
        role: What the layer is.
        crs: What its coordinates were read as; None where that was refused.
        findings: In the order of the checks.
        layer: The layer as it would be taken; None where it is refused.
        count: Features of the source, those without a geometry too.
        placement: The comparison with what is known; None where there is nothing to compare.
        partition: Overlaps and gaps; None for layers that need not share out the city.
        invalid_points: Where geometries were broken, (lon, lat), shape (k, 2).
        rows: The source's row of each feature that has a geometry, shape (n,).
    """

    where: str
    role: LayerRole
    crs: str | None
    findings: tuple[Finding, ...]
    count: int
    layer: Layer | None = None
    placement: Placement | None = None
    partition: Partition | None = None
    invalid_points: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    rows: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))

    @property
    def verdict(self) -> Verdict:
        """Refused with any error, else whether there were warnings."""
        levels = {finding.level for finding in self.findings}
        if Level.ERROR in levels:
            return Verdict.REFUSED
        return Verdict.WARNINGS if Level.WARNING in levels else Verdict.ACCEPTED


def check_layer(
    source: SourceTable,
    *,
    id: str,  # noqa: A002 (the word of the layer, as in every file that names one)
    role: LayerRole,
    frame: MetricFrame,
    known: Sequence[Layer] = (),
    crs: str | int | None = None,
    title: Text | None = None,
    fields: Mapping[str, str] | None = None,
    constants: Mapping[str, str | float] | None = None,
    replace_codes: Mapping[str, str] | None = None,
) -> LayerReport:
    """Check a source against its role and against what is known of the city.

    Args:
        source: Of :func:`geo.sources.reader.read_source`.
        id: What the layer is to be called.
        role: What it is.
        frame: The city's plane, in metres.
        known: Layers that are known to be right; generated ones are no evidence and are skipped.
        crs: What the coordinates are in, where the source does not say.
        title: For people.
        fields: Which column is what; those of usual names are found by themselves.
        constants: Values of columns that the source does not have.
        replace_codes: Stale codes and what they are now.

    Returns:
        All findings; errors among them are told, never raised.
    """
    named = guess_fields(source, dict(fields or {}))
    evidence = [layer for layer in known if len(layer) and not all(layer.column("generated"))]
    findings: list[Finding] = [
        Finding(
            Level.WARNING, "left_out", Text(f"读取时略去:{note}", f"left out while reading: {note}")
        )
        for note in source.notes
    ]
    try:
        used: str | None = decide_crs(crs, source.declared, source.where)
    except LayerError as exc:
        used = None
        findings.append(Finding(Level.ERROR, "no_crs", Text(f"没有可用的坐标系:{exc}", str(exc))))
    present = present_shapes(source.shapes)
    findings += missing_findings(present)
    count = len(present)
    if not present.any():
        findings.append(
            Finding(Level.ERROR, "empty", Text("没有任何要素", "the source has no feature at all"))
        )
        return LayerReport(source.where, role, used, tuple(findings), count)
    rows = np.flatnonzero(present)
    shapes = source.shapes[rows]
    findings += kind_findings(shapes, rows)
    placed = rows
    try:
        sound = on_earth(shapes, used)
        strays = stray_findings(shapes, sound, rows, used)
        if strays:
            placed = rows[sound]
        findings += strays
    except LayerError:  # PROJ does not know the CRS; taking the layer will say so
        pass
    placement = _placed(source, placed, used, role, evidence, frame, named, replace_codes or {})
    findings += _placement_findings(source, placement, used, placed)
    layer: Layer | None = None
    partition: Partition | None = None
    broken_at = np.empty((0, 2))
    if used is not None and len(placed) == len(rows):
        try:
            layer = layer_of_source(
                source,
                id=id,
                role=role,
                crs=crs,
                title=title,
                fields=named,
                constants=constants,
                replace_codes=replace_codes,
            )
        except LayerError as exc:
            text = Text(f"不符合该类图层的要求:{exc}", str(exc))
            findings.append(Finding(Level.ERROR, "unusable", text))
    if layer is not None:
        broken_at = _broken_points(shapes, layer)
        findings += geometry_findings(layer, shapes, rows)
        findings += code_findings(layer, rows)
        if role in PARTITIONS:
            partition = check_partition(layer.geometries, frame, outline=_outline(layer, evidence))
            findings += _partition_findings(layer, partition, rows)
    if any(finding.level is Level.ERROR for finding in findings):
        layer = None
    return LayerReport(
        source.where, role, used, tuple(findings), count, layer, placement, partition, broken_at,
        rows,
    )  # fmt: skip


def guess_role(source: SourceTable) -> LayerRole:
    """What a source most likely is, by its geometry and its codes.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"adcode": ["370202"]})
        >>> guess_role(SourceTable("x", table, np.array([shapely.box(0, 0, 1, 1)], dtype=object)))
        <LayerRole.DISTRICT: 'district'>
    """
    if {"floor_m", "ceiling_m", "datum"} <= set(source.names):
        return LayerRole.AIRSPACE
    kinds = set(shapely.get_dimensions(source.shapes[present_shapes(source.shapes)]).tolist())
    if kinds == {_LINES}:
        return LayerRole.ROAD
    named = guess_fields(source, {})
    if kinds == {_AREAS}:
        if "code" in named:
            codes = [plain_code(cell_text(code)) for code in source.columns[named["code"]]]
            digits = code_digits(codes)
            for level, wanted in LEVEL_DIGITS.items():
                if digits == wanted:
                    return LayerRole(level)
        names = [cell_text(name) for name in source.columns.get(named.get("name", ""), ())]
        for role, endings in _ENDINGS.items():
            if sum(name.endswith(endings) for name in names) * 10 > len(source.shapes) * 8:
                return role
        if named.get("kind") == "building":
            return LayerRole.BUILDING
    return LayerRole.CUSTOM


def _placed(
    source: SourceTable,
    rows: NDArray[np.intp],
    used: str | None,
    role: LayerRole,
    evidence: Sequence[Layer],
    frame: MetricFrame,
    named: Mapping[str, str],
    replace_codes: Mapping[str, str],
) -> Placement | None:
    def texts(column: str) -> list[str]:
        if named.get(column) not in source.names:
            return []
        return [cell_text(value) for value in source.columns[named[column]].iloc[rows]]

    codes = [resolve_code(plain_code(code), replace_codes) for code in texts("code")]
    try:
        if role in {LayerRole.AIRSPACE, LayerRole.CUSTOM}:
            anchored = check_anchors(source.shapes[rows], used)
            if anchored is not None:
                return anchored
        return check_placement(
            source.shapes[rows], used, role, evidence, frame, codes=codes, names=texts("name")
        )
    except LayerError:  # PROJ does not know the CRS; taking the layer will say so
        return None


def _placement_findings(
    source: SourceTable, placement: Placement | None, used: str | None, rows: NDArray[np.intp]
) -> list[Finding]:
    if placement is None:
        return _hearsay(source, used)
    where = f"layer {placement.reference.layer_id}"
    likely, shift, declared = placement.likely, placement.shift, placement.declared
    if declared is None:
        if likely is None:
            return _hearsay(source, used)
        best = placement.fits[0]
        text = Text(
            f"坐标最可能是 {likely.title}:"
            f"与图层 {placement.reference.layer_id} {_words_zh(best.misfit)}",
            f"its coordinates are most likely {likely.title}: read so it lies "
            f"{_words(best.misfit)} from {where}{_next_best(placement)}; "
            f"if that is so, {_advice(likely)}",
        )
        return [Finding(Level.ERROR, "likely_crs", text)]
    if shift is not None:
        text = Text(
            f"整体偏移 {shift.length_m:,.0f} 米:应向方位 {shift.azimuth_deg:.0f}° 移动"
            f"(东 {shift.east_m:+,.0f} 米,北 {shift.north_m:+,.0f} 米)",
            f"it is shifted by {metres_text(shift.length_m)}: read as {declared.reading.title} it "
            f"lies {_words(declared.misfit)} from {where}; moved {shift.east_m:+,.0f} m east and "
            f"{shift.north_m:+,.0f} m north (azimuth {shift.azimuth_deg:.0f}°) it lies "
            f"{_words(shift.misfit)}. No usual datum or projection explains it",
        )
        return [Finding(Level.ERROR, "shifted", text)]
    if likely is not None and likely != declared.reading:
        best = placement.fits[0]
        text = Text(
            f"位置不对:声明为 {declared.reading.title},实际更像 {likely.title}"
            f"(与图层 {placement.reference.layer_id} {_words_zh(declared.misfit)},"
            f"改读后 {_words_zh(best.misfit)})",
            f"it is in the wrong place: read as {declared.reading.title} it lies "
            f"{_words(declared.misfit)} from {where}, read as {likely.title} "
            f"{_words(best.misfit)}; {_advice(likely)}",
        )
        return [Finding(Level.ERROR, "wrong_place", text)]
    return _fitting_findings(placement, where, rows)


def _fitting_findings(placement: Placement, where: str, rows: NDArray[np.intp]) -> list[Finding]:
    assert placement.declared is not None
    declared = placement.declared
    if not np.isfinite(declared.misfit.median_m) or declared.misfit.lower_m > 5000.0:
        text = Text(
            f"不在本市范围内:{_words_zh(declared.misfit)}",
            f"it is not in this city: read as {declared.reading.title} it lies "
            f"{_words(declared.misfit)} from {where}, and no other reading brings it there; "
            "is it another city's, or is the declared CRS wrong?",
        )
        return [Finding(Level.ERROR, "elsewhere", text)]
    border = placement.reference.is_border
    if border and declared.misfit.upper_m < 1e-6:
        same = Text(
            f"与图层 {placement.reference.layer_id} 完全相同,位置未另行核实",
            f"its lines are exactly those of {where}: the same data, so nothing was compared",
        )
        return [Finding(Level.NOTE, "same_data", same)]
    text = Text(
        f"位置相符:与图层 {placement.reference.layer_id} {_words_zh(declared.misfit)}",
        f"it lies where it says: {_words(declared.misfit)} from {where} "
        f"(compared by {_HOW[placement.reference.how]})",
    )
    if placement.reference.how == "outline":
        coarse = Text(
            f"位置只与市域范围核对(平均在外 {declared.misfit.median_m:,.1f} 米):"
            "几公里以内的偏移看不出来",
            f"its place is only roughly verified: it lies {_words(declared.misfit)} outside the "
            f"city's area ({where}), and a shift of some kilometres would not show; name a layer "
            "of the same kind that is known to lie right",
        )
        return [Finding(Level.WARNING, "roughly_placed", coarse)]
    findings = [Finding(Level.NOTE, "placed", text)]
    mixed = _mixed(placement)
    if border and mixed is not None:
        findings.append(mixed)
    if placement.odd_features:
        odd = tuple(rows[list(placement.odd_features)].tolist())
        furthest = max(placement.odd_features.values())
        text = Text(
            f"{len(odd)} 个要素与其余不一致,最远 {furthest:,.0f} 米",
            f"{len(odd)} features lie apart from the rest, by up to {metres_text(furthest)}: "
            f"row {rows_text(odd)}",
        )
        findings.append(Finding(Level.WARNING, "odd_features", text, odd))
    return findings


def _mixed(placement: Placement) -> Finding | None:
    """Whether a part of the lines fits another datum: one of the two layers is a patchwork."""
    assert placement.declared is not None
    for fit in placement.fits:
        if fit.reading != placement.declared.reading and fit.close_ratio > 0.15:
            text = Text(
                f"{fit.close_ratio:.0%} 的点按 {fit.reading.title} 才与参照相合:"
                "两图层之一混用了坐标系",
                f"{placement.declared.close_ratio:.0%} of its points lie on the reference as "
                f"declared, another {fit.close_ratio:.0%} only as {fit.reading.title}: a part of "
                f"this layer, or of layer {placement.reference.layer_id}, is in that datum",
            )
            return Finding(Level.WARNING, "mixed_datum", text)
    return None


_HOW = {
    "code": "the borders of the same codes",
    "name": "the borders of the same names",
    "lines": "all lines",
    "parent": "the area that each code belongs to",
    "borders": "the borders of all areas",
    "outline": "the city's area",
    "anchors": "the middles of shapes and aerodromes",
}


def _hearsay(source: SourceTable, used: str | None) -> list[Finding]:
    """What can be said of the place with nothing to compare it with."""
    exporter = source.exporter
    if exporter is not None and used not in {exporter[1]}:
        maker, datum = exporter
        text = Text(
            f"列名表明出自 {maker},其坐标是 {datum}",
            f"its columns are those of {maker}, which exports {datum}"
            + (f", not {crs_title(used)}" if used else f"; add `crs: {datum}` if that is so"),
        )
        level = Level.ERROR if used is not None else Level.NOTE
        return [Finding(level, "exporter", text)]
    if used is None:
        return _abroad(source)
    text = Text(
        "没有可比对的图层,位置未经核实",
        "nothing is known to compare it with, so its place is not verified: name the city's "
        "folder, or a layer that is known to lie right",
    )
    return [Finding(Level.WARNING, "not_compared", text)]


def _abroad(source: SourceTable) -> list[Finding]:
    """Degrees outside the box in which China's shifts exist can only be plain."""
    west, south, east, north = shapely.total_bounds(source.shapes)
    box = MAINLAND_BOX
    outside = east < box[0] or west > box[2] or north < box[1] or south > box[3]
    if not (outside and abs(west) <= 180.0 and abs(east) <= 180.0 and abs(north) <= 90.0):
        return []
    text = Text(
        "位于中国偏移区之外,最可能是 WGS 84",
        "it lies outside the region that GCJ-02 shifts, so its degrees are most likely "
        "EPSG:4326 (WGS 84); add `crs: EPSG:4326` if that is so",
    )
    return [Finding(Level.NOTE, "likely_crs", text)]


def _advice(reading: Reading) -> str:
    if reading.crs == UNSHIFTED_TWICE:
        return "the shift of GCJ-02 was undone in data that never had it: take the original"
    first = "swap its axes (longitude first) and " if reading.swapped else ""
    if reading.shift is not None:
        return (
            f"{first}bring it from {crs_title(reading.crs)} back to degrees, which were shifted "
            f"before they were projected, and declare those as {reading.shift} "
            f"(`crs: {reading.shift}`)"
        )
    if is_wkt(reading.crs):
        return f"{first}declare {crs_title(reading.crs)}"
    return f"{first}declare {reading.crs} (`crs: {reading.crs}`)"


def _next_best(placement: Placement) -> str:
    if len(placement.fits) < 2 or not np.isfinite(placement.fits[1].misfit.median_m):
        return ""
    other = placement.fits[1]
    return f", as {other.reading.title} {_words(other.misfit)}"


def _words(misfit: Misfit) -> str:
    if not np.isfinite(misfit.median_m):
        return "nowhere on Earth"
    if misfit.lower_m == misfit.upper_m:
        return f"{metres_text(misfit.median_m)} on average"
    return (
        f"{metres_text(misfit.median_m)} (median; quartiles {metres_text(misfit.lower_m)} and "
        f"{metres_text(misfit.upper_m)})"
    )


def _words_zh(misfit: Misfit) -> str:
    if not np.isfinite(misfit.median_m):
        return "相比不在地球上"
    return f"相距中位 {misfit.median_m:,.1f} 米"


def _broken_points(shapes: NDArray[np.object_], layer: Layer) -> NDArray[np.float64]:
    """About where geometries were broken: a point on each that was."""
    broken = ~shapely.is_valid(shapes)
    if not broken.any() or len(layer) != len(shapes):
        return np.empty((0, 2))
    return np.asarray(shapely.get_coordinates(shapely.centroid(layer.geometries[broken])))


def _outline(layer: Layer, evidence: Sequence[Layer]) -> list[shapely.Geometry] | None:
    """The areas that a level must fill: those above it that its own codes name."""
    digits = {
        LayerRole.STREET: (6, LayerRole.DISTRICT),
        LayerRole.COMMUNITY: (9, LayerRole.STREET),
        LayerRole.GRID: (12, LayerRole.COMMUNITY),
    }.get(layer.role)
    if digits is None:
        return None
    prefixes = {code[: digits[0]] for code in layer.column("code") if code}
    areas = [
        shape
        for above in evidence
        if above.role is digits[1]
        for shape, code in zip(above.geometries, above.column("code"), strict=True)
        if code in prefixes
    ]
    return areas or None


def _partition_findings(
    layer: Layer, partition: Partition, rows: NDArray[np.intp]
) -> list[Finding]:
    findings = []
    names = layer.column("name")
    for flaws, code, zh, en in (
        (partition.overlaps, "overlaps", "重叠", "overlaps"),
        (partition.gaps, "gaps", "空隙", "gaps"),
    ):
        if not flaws:
            continue
        total = sum(flaw.area_m2 for flaw in flaws)
        worst = flaws[0]
        who = " / ".join(names[one] or str(rows[one] + 1) for one in worst.features[:3])
        text = Text(
            f"{len(flaws)} 处{zh},共 {_area(total)},最大 {_area(worst.area_m2)}"
            f"({who},{worst.lon_deg:.5f} {worst.lat_deg:.5f})",
            f"{len(flaws)} {en}, {_area(total)} in all ({total / partition.area_m2:.2%}); the "
            f"largest {_area(worst.area_m2)}, about {metres_text(worst.width_m)} wide, at "
            f"{worst.lon_deg:.5f}, {worst.lat_deg:.5f} ({who})",
        )
        concerned = sorted({one for flaw in flaws for one in flaw.features})
        findings.append(Finding(Level.WARNING, code, text, tuple(rows[concerned].tolist())))
    if not findings:
        text = Text(
            f"要素之间没有重叠和空隙,共 {_area(partition.area_m2)}",
            f"no overlaps and no gaps; {_area(partition.area_m2)} in all",
        )
        findings.append(Finding(Level.NOTE, "partition", text))
    return findings


def _area(square_metres: float) -> str:
    if square_metres >= 1e5:
        return f"{square_metres / 1e6:,.3f} km²"
    return f"{square_metres:,.0f} m²"
