"""Map layers: read from whatever GeoPandas reads, brought to WGS 84, repaired, versioned."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from core.city import AltitudeDatum, LayerRole
from core.errors import GeometryError, InputError, LayerError
from core.incidents import Text
from geo.code_changes import resolve_code
from geo.crs import BD09, GCJ02, WGS84, crs_title, geometries_to_wgs84, normal_crs
from geo.grid_codes import LEVEL_DIGITS, plain_code
from geo.schedule import Schedule
from geo.sources.reader import read_source
from geo.sources.table import SourceTable, cell_text

#: Columns that every layer has, before the geometry.
COLUMNS = ("feature_id", "code", "name", "kind", "generated")

#: Columns that an airspace layer has besides; metres above ``datum``.
AIRSPACE_COLUMNS = ("floor_m", "ceiling_m", "datum", "ceiling_datum", "active")

#: What ``fields`` of :func:`read_layer` may name.
FIELD_NAMES = ("id", "code", "name", "kind", *AIRSPACE_COLUMNS, "unit")

_TYPE_COLLECTION = 7

_AREA_ROLES = frozenset(
    {
        LayerRole.DISTRICT,
        LayerRole.STREET,
        LayerRole.COMMUNITY,
        LayerRole.GRID,
        LayerRole.ZONE,
        LayerRole.AIRSPACE,
    }
)


@dataclass(frozen=True, eq=False)
class Layer:
    """One map layer.

    Attributes:
        id: Its name within the city.
        role: What it is to the platform.
        title: For people.
        version: Hash of the content: the same features give the same version anywhere.
        frame: GeoDataFrame in WGS 84 with columns feature_id, code, name, kind, generated and,
            for airspace, floor_m, ceiling_m and datum. Not to be changed.
        crs: The CRS the data came in.
        repaired_count: Invalid geometries that were made valid.
        dropped_count: Features left out because they had no geometry.
    """

    id: str
    role: LayerRole
    title: Text
    version: str
    frame: gpd.GeoDataFrame = field(repr=False)
    crs: str = WGS84
    repaired_count: int = 0
    dropped_count: int = 0

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def geometries(self) -> NDArray[np.object_]:
        """Shapely geometries in feature order, shape (n,)."""
        return np.asarray(self.frame.geometry.values, dtype=object)

    def column(self, name: str) -> list[Any]:
        """A column in feature order; empty texts where the layer has no such column."""
        if name not in self.frame.columns:
            return [""] * len(self.frame)
        values: list[Any] = self.frame[name].tolist()
        return values

    def geojson(self) -> bytes:
        """The layer as a GeoJSON FeatureCollection; coordinates to 1e-7 degrees."""
        return (
            '{"type":"FeatureCollection","features":[' + ",\n".join(self.features) + "]}\n"
        ).encode()

    @cached_property
    def features(self) -> list[str]:
        """Each feature as GeoJSON, in their order; made once."""
        shapes = shapely.to_geojson(shapely.transform(self.geometries, lambda x: x.round(7)))
        names = [name for name in self.frame.columns if name != "geometry"]
        columns = [self.frame[name].tolist() for name in names]
        made = []
        for shape, *values in zip(shapes, *columns, strict=True):
            properties = json.dumps(
                dict(zip(names, map(plain_value, values), strict=True)), ensure_ascii=False
            )
            made.append(
                f'{{"type":"Feature","id":{json.dumps(values[0], ensure_ascii=False)},'
                f'"properties":{properties},"geometry":{shape}}}'
            )
        return made

    @cached_property
    def tree(self) -> shapely.STRtree:
        """An index of the geometries by their boxes; made once."""
        return shapely.STRtree(self.geometries)


def build_layer(
    id: str,  # noqa: A002 (the word of the layer, as in every file that names one)
    role: LayerRole,
    geometries: Sequence[Any] | NDArray[np.object_],
    *,
    title: Text | None = None,
    feature_id: Sequence[str] | None = None,
    code: Sequence[str] | None = None,
    name: Sequence[str] | None = None,
    kind: Sequence[str] | None = None,
    generated: bool = False,
    floor_m: Sequence[float] | None = None,
    ceiling_m: Sequence[float] | None = None,
    datum: Sequence[str] | None = None,
    ceiling_datum: Sequence[str] | None = None,
    active: Sequence[str] | None = None,
    unit: Sequence[str] | None = None,
    crs: str = WGS84,
    repaired_count: int = 0,
    dropped_count: int = 0,
) -> Layer:
    """Make a layer of geometries in WGS 84 and their columns.

    Args:
        id: Its name within the city.
        role: What it is to the platform.
        geometries: Shapely geometries in degrees.
        title: For people; the id where none is given.
        feature_id: Unique ids; else the codes where they are unique, else ``<id>-<number>``.
        code: Area codes, empty where there is none.
        name: Names for people.
        kind: What each feature is, e.g. ``no_parking``.
        generated: Whether our generator made it up.
        floor_m: Airspace only: lower limits above the datum.
        ceiling_m: Airspace only: upper limits above the datum.
        datum: Airspace only: a value of :class:`core.city.AltitudeDatum` each.
        ceiling_datum: Airspace only: likewise for the ceiling, where it is another one.
        active: Airspace only: when it is active, as :class:`geo.schedule.Schedule` writes it;
            empty for always.
        unit: Who answers for each feature, where that is known; mostly of components.
        crs: The CRS the data came in, for the record.
        repaired_count: Geometries that were repaired before.
        dropped_count: Features that were left out before.

    Raises:
        LayerError: Ids are not unique, or an airspace has no floor, ceiling or datum.

    Example:
        >>> layer = build_layer("z", LayerRole.ZONE, [shapely.box(120, 36, 121, 37)], kind=["site"])
        >>> layer.column("feature_id"), len(layer.version), len(layer)
        (['z-1'], 16, 1)
    """
    n = len(geometries)
    empty = [""] * n
    codes = list(code or empty)
    if feature_id is None:
        usable = n > 0 and all(codes) and len(set(codes)) == n
        ids = codes if usable else [f"{id}-{number}" for number in range(1, n + 1)]
    else:
        ids = list(feature_id)
    if len(set(ids)) != n:
        twice = next(one for one in ids if ids.count(one) > 1)
        raise LayerError(f"layer {id}: unique feature ids were wanted, {twice!r} comes twice")
    data: dict[str, Any] = {
        "feature_id": pd.Series(ids, dtype=object),
        "code": pd.Series(codes, dtype=object),
        "name": pd.Series(list(name or empty), dtype=object),
        "kind": pd.Series(list(kind or empty), dtype=object),
        "generated": np.full(n, generated),
    }
    if unit is not None or role is LayerRole.COMPONENT:
        data["unit"] = pd.Series(list(unit or empty), dtype=object)
    if role is LayerRole.AIRSPACE:
        if floor_m is None or ceiling_m is None or datum is None:
            raise LayerError(
                f"layer {id}: an airspace layer needs floor_m, ceiling_m and datum, as fields or "
                "as constants"
            )
        data |= {
            "floor_m": np.asarray(floor_m, dtype=np.float64),
            "ceiling_m": np.asarray(ceiling_m, dtype=np.float64),
            "datum": pd.Series(list(datum), dtype=object),
            "ceiling_datum": pd.Series(
                [own or low for own, low in zip(ceiling_datum or empty, datum, strict=True)],
                dtype=object,
            ),
            "active": pd.Series(list(active or empty), dtype=object),
        }
        _check_volumes(id, ids, data)
    shapes = np.empty(n, dtype=object)
    shapes[:] = list(geometries)
    frame = gpd.GeoDataFrame(data, geometry=gpd.GeoSeries(shapes, crs=4326), crs=4326)
    return Layer(
        id=id,
        role=role,
        title=title or Text(id, id),
        version=_content_version(data, shapes),
        frame=frame,
        crs=crs,
        repaired_count=repaired_count,
        dropped_count=dropped_count,
    )


def read_layer(
    path: Path,
    *,
    id: str,  # noqa: A002
    role: LayerRole,
    crs: str | int | None = None,
    title: Text | None = None,
    fields: Mapping[str, str] | None = None,
    constants: Mapping[str, str | float] | None = None,
    replace_codes: Mapping[str, str] | None = None,
    layer_name: str | None = None,
) -> Layer:
    """Read a layer file: GeoPackage, Shapefile, GeoJSON, FlatGeobuf, whatever GDAL reads.

    A GeoJSON file, or an array of GeoJSON features as some exports are, says WGS 84 only where
    it has a ``crs`` member; else the caller must say what it is in.

    Args:
        path: The file.
        id: The layer's name within the city.
        role: What it is to the platform.
        crs: What the coordinates are in: ``EPSG:n``, ``GCJ-02`` or ``BD-09``. Needed where
            the file does not say; where it does, only a shifted datum may overrule it.
        title: For people.
        fields: Which column of the file is ``id``, ``code``, ``name``, ``kind``, ``floor_m``,
            ``ceiling_m``, ``datum``; a column of the same name is found by itself.
        constants: Values for all features of the columns the file does not have.
        replace_codes: Stale codes and what they are now, as :mod:`geo.code_changes` has them.
        layer_name: Which layer of a file that has several.

    Raises:
        LayerError: The file cannot be read, declares no CRS, or lacks what the role needs; the
            message names the file.
    """
    where = f"layer {id} ({path})"
    return layer_of_source(
        read_source(path, layer_name=layer_name, where=where),
        id=id,
        role=role,
        crs=crs,
        title=title,
        fields=fields,
        constants=constants,
        replace_codes=replace_codes,
    )


def layer_of_source(
    source: SourceTable,
    *,
    id: str,  # noqa: A002
    role: LayerRole,
    crs: str | int | None = None,
    title: Text | None = None,
    fields: Mapping[str, str] | None = None,
    constants: Mapping[str, str | float] | None = None,
    replace_codes: Mapping[str, str] | None = None,
) -> Layer:
    """Bring what a reader got to WGS 84, repair it and name its columns.

    Args:
        source: Of :func:`geo.sources.reader.read_source`; the rest as in :func:`read_layer`.

    Raises:
        LayerError: It declares no CRS, lies off the Earth, or lacks what the role needs.
    """
    where = source.where
    source_crs = decide_crs(crs, source.declared, where)
    present = present_shapes(source.shapes)
    table, shapes = source.columns.loc[present], source.shapes[present]
    try:
        shapes = geometries_to_wgs84(shapes, source_crs)
    except (GeometryError, LayerError) as exc:
        raise LayerError(f"{where}: {exc}") from exc
    _check_degrees(shapes, source_crs, where)
    broken = ~shapely.is_valid(shapes)
    if broken.any():
        shapes = shapes.copy()
        shapes[broken] = shapely.make_valid(shapes[broken])
    shapes = _largest_kind(shapes)
    if role in _AREA_ROLES:
        _check_areas(shapes, np.flatnonzero(present), where)
    columns = _columns(table, dict(fields or {}), dict(constants or {}), where)
    if "code" in columns and role.value in LEVEL_DIGITS:
        columns["code"] = [plain_code(code) for code in columns["code"]]
    if "code" in columns and replace_codes:
        columns["code"] = [resolve_code(code, replace_codes) for code in columns["code"]]
    return build_layer(
        id,
        role,
        shapes,
        title=title,
        feature_id=columns.get("id"),
        code=columns.get("code"),
        name=columns.get("name"),
        kind=columns.get("kind"),
        floor_m=_numbers(columns.get("floor_m"), "floor_m", where),
        ceiling_m=_numbers(columns.get("ceiling_m"), "ceiling_m", where),
        datum=columns.get("datum"),
        ceiling_datum=columns.get("ceiling_datum"),
        active=columns.get("active"),
        unit=columns.get("unit"),
        crs=source_crs,
        repaired_count=int(broken.sum()),
        dropped_count=int((~present).sum()),
    )


def present_shapes(shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which features have a geometry at all, shape (n,)."""
    return np.asarray(~(shapely.is_missing(shapes) | shapely.is_empty(shapes)))


def decide_crs(given: str | int | None, declared: CRS | None, where: str) -> str:
    """The CRS of a source, from what the caller says and what it says itself.

    Args:
        given: ``EPSG:n``, ``GCJ-02``, ``BD-09``, or None.
        declared: What the source says, or None.
        where: For messages.

    Raises:
        LayerError: Neither says, or they contradict each other.
    """
    if given is None and declared is None:
        raise LayerError(
            f"{where}: no CRS is declared, in the file or in the profile; add `crs:` with EPSG:n, "
            "GCJ-02 (Amap, Tencent) or BD-09 (Baidu)"
        )
    own: str | None = None
    if declared is not None:
        authority = declared.to_authority(min_confidence=70)
        if authority is not None and authority[0] == "EPSG":
            own = ":".join(authority)
        elif authority == ("OGC", "CRS84"):
            own = WGS84
    if given is None:
        assert declared is not None
        if own is not None:
            return own
        if not (declared.is_projected or declared.is_geographic):
            raise LayerError(
                f"{where}: the file's CRS {declared.name!r} says nothing of a place on Earth; "
                "declare it in the profile"
            )
        return normal_crs(declared.to_wkt())  # a city's own meridian has no number
    try:
        wanted = normal_crs(given)
    except LayerError as exc:
        raise LayerError(f"{where}: {exc}") from exc
    if own is not None and wanted not in {GCJ02, BD09} and wanted != own:
        raise LayerError(
            f"{where}: the profile says {wanted}, the file says {crs_title(own)}; remove the one "
            "that is wrong"
        )
    return wanted


def _check_degrees(shapes: NDArray[np.object_], crs: str, where: str) -> None:
    if len(shapes) == 0:
        return
    west, south, east, north = shapely.total_bounds(shapes)
    if not (west >= -180.0 and east <= 180.0 and south >= -90.0 and north <= 90.0):
        raise LayerError(
            f"{where}: read as {crs_title(crs)} it spans {west:.6g}..{east:.6g} by "
            f"{south:.6g}..{north:.6g} degrees, which is not on Earth; is the declared CRS the "
            "true one?"
        )


def _largest_kind(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Of collections, such as make_valid leaves, the areas, else the lines, else the points."""
    mixed = np.flatnonzero(shapely.get_type_id(shapes) == _TYPE_COLLECTION)
    if len(mixed):
        shapes = shapes.copy()
    for row in mixed:
        parts = shapely.get_parts(shapes[row])
        kinds = shapely.get_dimensions(parts)
        shapes[row] = shapely.union_all(parts[kinds == kinds.max()])
    return shapes


def _check_areas(shapes: NDArray[np.object_], rows: NDArray[np.intp], where: str) -> None:
    for number in np.flatnonzero(shapely.get_dimensions(shapes) != 2):
        raise LayerError(
            f"{where}: areas were wanted, feature {rows[number] + 1} is a "
            f"{shapes[number].geom_type}"
        )


def _columns(
    table: pd.DataFrame, fields: dict[str, str], constants: dict[str, str | float], where: str
) -> dict[str, list[str]]:
    have = [str(column) for column in table.columns if column != "geometry"]
    columns: dict[str, list[str]] = {}
    for name in FIELD_NAMES:
        column = fields.get(name, name)
        if column in have and (name in fields or name != "id"):
            columns[name] = [cell_text(value) for value in table[column].tolist()]
        elif name in fields:
            raise LayerError(
                f"{where}: field {name}: column {column!r} was wanted, the file has "
                f"{', '.join(have) or 'none'}"
            )
        if name in constants:
            constant = cell_text(constants[name])
            got = columns.get(name, [""] * len(table))
            columns[name] = [value or constant for value in got]
    return columns


def _numbers(texts: list[str] | None, name: str, where: str) -> list[float] | None:
    if texts is None:
        return None
    try:
        return [float(text) for text in texts]
    except ValueError as exc:
        raise LayerError(f"{where}: {name}: metres were wanted: {exc}") from exc


def _check_volumes(layer_id: str, ids: Sequence[str], data: Mapping[str, Any]) -> None:
    accepted = [datum.value for datum in AltitudeDatum]
    for one, floor, ceiling, low, high, active in zip(
        ids, *(data[name] for name in AIRSPACE_COLUMNS), strict=True
    ):
        where = f"layer {layer_id}: airspace {one}"
        for datum in (low, high):
            if datum not in accepted:
                raise LayerError(
                    f"{where}: datum must be one of {', '.join(accepted)}, got {datum!r}"
                )
        if not floor <= ceiling and low == high:
            raise LayerError(f"{where}: floor_m <= ceiling_m was wanted, got {floor} and {ceiling}")
        if not (np.isfinite(floor) or floor == -np.inf) or np.isnan(ceiling):
            raise LayerError(f"{where}: metres were wanted, got {floor} and {ceiling}")
        try:
            Schedule.parse(active)
        except InputError as exc:
            raise LayerError(f"{where}: {exc}") from exc


def _content_version(data: Mapping[str, Any], shapes: NDArray[np.object_]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, column in data.items():
        digest.update(json.dumps([name, [plain_value(value) for value in column]]).encode())
    for wkb in shapely.to_wkb(shapes, byte_order=1):
        digest.update(wkb)
    return digest.hexdigest()


def plain_value(value: Any) -> Any:
    """A cell as JSON can say it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
