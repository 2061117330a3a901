"""What is wrong with single features of a layer: no geometry, off the Earth, broken, no code."""

from __future__ import annotations

from collections import Counter

import numpy as np
import shapely
from numpy.typing import NDArray

from core.city import LayerRole
from core.incidents import Text
from geo.checks.findings import Finding, Level, rows_text
from geo.crs import crs_title, points_to_wgs84
from geo.grid_codes import LEVEL_DIGITS, is_area_code
from geo.layers import Layer

_TYPE_COLLECTION = 7

_KINDS = (("点", "points"), ("线", "lines"), ("面", "areas"))


def missing_findings(present: NDArray[np.bool_]) -> list[Finding]:
    """Features without a geometry.

    Args:
        present: Which have one, shape (n,).
    """
    rows = tuple(np.flatnonzero(~present).tolist())
    if not rows:
        return []
    text = Text(
        f"{len(rows)} 个要素没有几何,将被略去",
        f"{len(rows)} features have no geometry and are left out: row {rows_text(rows)}",
    )
    return [Finding(Level.WARNING, "no_geometry", text, rows)]


def on_earth(shapes: NDArray[np.object_], crs: str | None) -> NDArray[np.bool_]:
    """Which features lie on Earth with all their points, shape (n,).

    Args:
        shapes: Shape (n,), with coordinates as they are in the source.
        crs: What they are read as; where nobody knows, they need only be finite.

    Raises:
        LayerError: PROJ does not know the CRS.
    """
    points, feature = shapely.get_coordinates(shapes, return_index=True)
    sound = np.isfinite(points).all(axis=1)
    if crs is not None:
        lonlat = points_to_wgs84(points, crs)
        with np.errstate(invalid="ignore"):
            sound &= (np.abs(lonlat) <= (180.0, 90.0)).all(axis=1)
    return np.asarray(np.bincount(feature[~sound], minlength=len(shapes)) == 0)


def stray_findings(
    shapes: NDArray[np.object_], sound: NDArray[np.bool_], rows: NDArray[np.intp], crs: str | None
) -> list[Finding]:
    """Features that are not on Earth while the others are.

    Args:
        shapes: Shape (n,), with coordinates as they are in the source.
        sound: Of :func:`on_earth`.
        rows: The row of each in the source, shape (n,).
        crs: What they are read as.
    """
    if sound.all() or not sound.any():
        return []
    found = tuple(rows[~sound].tolist())
    points = shapely.get_coordinates(shapes[~sound][0])
    worst = points[np.argmax(np.abs(np.nan_to_num(points, nan=np.inf)).max(axis=1))]
    read = "" if crs is None else f"按 {crs_title(crs)} "
    text = Text(
        f"{len(found)} 个要素{read}不在地球上,例如 {worst[0]:.6g}, {worst[1]:.6g};其余照常核对",
        f"{len(found)} features are not on Earth"
        + ("" if crs is None else f" when read as {crs_title(crs)}")
        + f", e.g. a point {worst[0]:.6g}, {worst[1]:.6g}: row {rows_text(found)}; the others were "
        "checked without them. Correct or remove them in the source",
    )
    return [Finding(Level.ERROR, "off_earth", text, found)]


def kind_findings(shapes: NDArray[np.object_], rows: NDArray[np.intp]) -> list[Finding]:
    """Areas, lines and points in one layer, and features that are collections of several.

    Args:
        shapes: Shape (n,).
        rows: The row of each in the source, shape (n,).
    """
    kinds = shapely.get_dimensions(shapes)
    collections = shapely.get_type_id(shapes) == _TYPE_COLLECTION
    counts = np.bincount(kinds, minlength=3)
    others = (kinds != counts.argmax()) | collections
    if not others.any():
        return []
    found = tuple(rows[others].tolist())
    have = [(counts[kind], zh, en) for kind, (zh, en) in enumerate(_KINDS) if counts[kind]]
    mixed = int(collections.sum())
    text = Text(
        "几何类型混杂:"
        + "、".join(f"{zh} {count}" for count, zh, _ in have)
        + (f",其中集合 {mixed} 个只取最高维部分" if mixed else ""),
        "its geometries are of several kinds: "
        + ", ".join(f"{count} {en}" for count, _, en in have)
        + (f"; of {mixed} collections only the highest kind is taken" if mixed else "")
        + f": row {rows_text(found)}",
    )
    return [Finding(Level.WARNING, "mixed_kinds", text, found)]


def geometry_findings(
    layer: Layer, raw: NDArray[np.object_], rows: NDArray[np.intp]
) -> list[Finding]:
    """Broken and repeated geometries.

    Args:
        layer: As it would be taken.
        raw: Its geometries as the source has them, shape (n,).
        rows: The row of each in the source, shape (n,).
    """
    findings = []
    broken = ~shapely.is_valid(raw)
    if broken.any():
        found = tuple(rows[broken].tolist())
        reasons = Counter(
            str(reason).split("[")[0] for reason in shapely.is_valid_reason(raw[broken])
        )
        named = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common(4))
        text = Text(
            f"{len(found)} 个几何无效,已修复:{named}",
            f"{len(found)} geometries are not valid and were repaired ({named}): "
            f"row {rows_text(found)}",
        )
        findings.append(Finding(Level.WARNING, "repaired", text, found))
    if layer.role is LayerRole.AIRSPACE:  # volumes above each other have one ground
        return findings
    wkb = shapely.to_wkb(shapely.normalize(layer.geometries))
    first: dict[bytes, int] = {}
    twice = tuple(
        int(row)
        for number, (row, one) in enumerate(zip(rows, wkb, strict=True))
        if first.setdefault(one, number) != number
    )
    if twice:
        text = Text(
            f"{len(twice)} 个要素与另一要素几何完全相同",
            f"{len(twice)} features have exactly the geometry of another: row {rows_text(twice)}",
        )
        findings.append(Finding(Level.WARNING, "duplicates", text, twice))
    return findings


def code_findings(layer: Layer, rows: NDArray[np.intp]) -> list[Finding]:
    """Codes of a level of areas that are missing, wrong or shared.

    Args:
        layer: As it would be taken.
        rows: The row of each feature in the source, shape (n,).
    """
    if layer.role.value not in LEVEL_DIGITS:
        return []
    codes = layer.column("code")
    level = layer.role.value
    findings = []
    missing = tuple(row for row, code in enumerate(codes) if not code)
    wrong = tuple(row for row, code in enumerate(codes) if code and not is_area_code(code, level))
    counts = Counter(code for code in codes if code)
    twice = tuple(row for row, code in enumerate(codes) if counts[code] > 1)
    for those, code, zh, en in (
        (missing, "no_code", "没有代码", "have no code, so what lies in them has none either"),
        (
            wrong,
            "bad_code",
            "代码无效",
            f"have no valid {level} code ({LEVEL_DIGITS[level]} digits)",
        ),
        (twice, "code_twice", "代码重复", "share their code with another"),
    ):
        if those:
            example = f", e.g. {codes[those[0]]!r}" if codes[those[0]] else ""
            found = tuple(rows[list(those)].tolist())
            text = Text(
                f"{len(found)} 个要素{zh}{example}",
                f"{len(found)} features {en}{example}: row {rows_text(found)}",
            )
            findings.append(Finding(Level.WARNING, code, text, found))
    return findings
