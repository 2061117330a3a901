"""A layer as its source has it, before anything is believed of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyproj import CRS

_DBF_NAME_BYTES = 10

#: Columns that files of the field call otherwise, in the order of trust.
_ALIASES = {
    "code": (
        "code",
        "adcode",
        "division_code",
        "area_code",
        "xzqdm",
        "区划代码",
        "行政区划代码",
        "统计用区划代码",
        "网格编码",
        "网格代码",
        "编码",
        "代码",
    ),
    "name": ("name", "name:zh", "xzqmc", "名称", "网格名称", "道路名称", "mc"),
    "kind": ("kind", "highway", "building", "类型"),
    "unit": ("unit", "owner", "责任单位", "权属单位", "主管部门", "管养单位"),
}


@dataclass(frozen=True)
class SourceTable:
    """What a reader got.

    Attributes:
        where: The source, for messages.
        columns: One row per feature, without the geometry.
        shapes: Shape (n,), shapely geometries in the source's own coordinates; None where a
            feature has none.
        declared: The CRS that the source itself claims, or None.
        notes: What the reader had to leave out, one line each.
    """

    where: str
    columns: pd.DataFrame = field(repr=False)
    shapes: NDArray[np.object_] = field(repr=False)
    declared: CRS | None = None
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [str(name) for name in self.columns.columns]

    @property
    def exporter(self) -> tuple[str, str] | None:
        """Who made the file and the datum that they use, where the columns give it away.

        Example:
            >>> table = pd.DataFrame(columns=["adcode", "name", "centroid", "acroutes"])
            >>> SourceTable("x", table, np.empty(0, dtype=object)).exporter
            ('DataV.GeoAtlas', 'GCJ-02')
        """
        have = set(self.names)
        for needed, maker, datum in _EXPORTERS:
            if needed <= have:
                return maker, datum
        return None


#: Columns that only one exporter writes; what it writes is shifted and does not say so.
_EXPORTERS: tuple[tuple[frozenset[str], str, str], ...] = (
    (frozenset({"adcode", "centroid", "acroutes"}), "DataV.GeoAtlas", "GCJ-02"),
    (frozenset({"adcode", "centroid", "childrenNum"}), "DataV.GeoAtlas", "GCJ-02"),
    (frozenset({"adcode", "citycode", "level", "center"}), "the Amap district service", "GCJ-02"),
)


def guess_fields(source: SourceTable, fields: dict[str, str]) -> dict[str, str]:
    """Which column is the code, the name and so on, where the caller does not say.

    Args:
        source: The table.
        fields: What the caller says; it is kept.

    Example:
        >>> table = pd.DataFrame({"adcode": [370202], "名称": ["市南区"]})
        >>> guess_fields(SourceTable("x", table, np.empty(1, dtype=object)), {})
        {'code': 'adcode', 'name': '名称'}
        >>> table = pd.DataFrame({"division_c": [370202]})
        >>> guess_fields(SourceTable("x", table, np.empty(1, dtype=object)), {})
        {'code': 'division_c'}
    """
    lower = {name.lower(): name for name in reversed(source.names)}
    guessed = dict(fields)
    for wanted, aliases in _ALIASES.items():
        if wanted not in guessed:
            every = [*aliases, *(short for alias in aliases for short in _short_names(alias))]
            found = next((lower[alias] for alias in every if alias in lower), None)
            if found is not None:
                guessed[wanted] = found
    return guessed


def _short_names(name: str) -> set[str]:
    """What a Shapefile, whose names have ten bytes, makes of a name that does not lose half."""
    shorts = {
        name.encode(encoding)[:_DBF_NAME_BYTES].decode(encoding, "ignore")
        for encoding in ("utf-8", "gb18030")
    }
    return {short for short in shorts - {name} if len(short) * 2 > len(name)}


def cell_text(value: object) -> str:
    """A cell as text: whole numbers without the .0 that a gap elsewhere in the column gives.

    Example:
        >>> cell_text(370202.0), cell_text(None), cell_text(float("nan")), cell_text("a")
        ('370202', '', '', 'a')
    """
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def code_digits(codes: Sequence[str]) -> int | None:
    """How many digits nearly all codes have that there are; None where they differ or are none.

    Example:
        >>> code_digits(["370202", "", "370203"]), code_digits(["a"]), code_digits([])
        (6, None, None)
    """
    digits = [len(code) for code in codes if re.fullmatch(r"[0-9]+", code)]
    if not digits or len(digits) * 10 < sum(map(bool, codes)) * 9:
        return None
    usual = max(set(digits), key=digits.count)
    return usual if digits.count(usual) * 10 >= len(digits) * 9 else None
