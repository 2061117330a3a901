"""Reads what GDAL reads, and GeoJSON without the CRS that GDAL would assume for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio

from core.errors import LayerError
from geo.sources.table import SourceTable

_GEOJSON_TYPES = frozenset(
    {"FeatureCollection", "Feature", "GeometryCollection"}
    | {f"{many}{kind}" for many in ("", "Multi") for kind in ("Point", "LineString", "Polygon")}
)

#: Where the table of a Shapefile says what its texts are in.
_LANGUAGE_BYTE = 29


def read_vector_file(path: Path, layer_name: str | None, where: str) -> SourceTable:
    """Read GeoPackage, Shapefile, FlatGeobuf, GML, KML: whatever GDAL reads.

    Args:
        path: The file.
        layer_name: Which layer of a file that has several.
        where: For messages.

    Raises:
        LayerError: GDAL cannot read it, or it holds no geometries.
    """
    options = {} if layer_name is None else {"layer": layer_name}
    notes: tuple[str, ...] = ()
    try:
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
        if layer_name is None and len(layers) > 1:
            options["layer"] = layers[0]
            others = ", ".join(map(repr, layers[1:6])) + " …" * (len(layers) > 6)
            note = f"of {len(layers)} layers only {layers[0]!r} was read, not {others}"
            notes = (f"{note}; --layer-name names another",)
        encoding = _shapefile_encoding(path)
        if encoding is not None:
            options["encoding"] = encoding
        frame = gpd.read_file(path, **options)
    except (ValueError, OSError, RuntimeError) as exc:  # GDAL's errors are RuntimeErrors
        raise LayerError(f"{where}: cannot be read as a map layer: {exc}") from exc
    return _table(frame, where, declares=True, notes=notes)


def decode_text(data: bytes) -> str:
    r"""A text file's text: UTF-8, with or without a mark, else the national GB 18030.

    Example:
        >>> decode_text("青岛".encode("gbk")), decode_text(b"\xef\xbb\xbfa")
        ('青岛', 'a')
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("gb18030", errors="replace")


def _shapefile_encoding(path: Path) -> str | None:
    """What a Shapefile's names are in where it does not say: UTF-8 if they can be, else GB 18030.

    GDAL would take them for Latin, which nobody in China writes.
    """
    table = path.with_suffix(".dbf")
    if path.suffix.lower() != ".shp" or path.with_suffix(".cpg").exists() or not table.is_file():
        return None
    data = table.read_bytes()
    if len(data) <= _LANGUAGE_BYTE or data[_LANGUAGE_BYTE] != 0:
        return None
    try:
        data[int.from_bytes(data[8:10], "little") :].decode()
    except UnicodeDecodeError:
        return "GB18030"
    return "UTF-8"


def read_geojson(document: Any, where: str) -> SourceTable:
    """Read a GeoJSON document, or an array of features as some exports are.

    It says WGS 84 only where it has a ``crs`` member: real files without one are often shifted.

    Args:
        document: The parsed JSON.
        where: For messages.

    Raises:
        LayerError: It is no GeoJSON.
    """
    if isinstance(document, list):
        document = {"type": "FeatureCollection", "features": document}
    kind = document.get("type") if isinstance(document, dict) else None
    if kind not in _GEOJSON_TYPES:
        raise LayerError(
            f"{where}: GeoJSON, or an array of its features, was wanted, got "
            + ("other JSON" if kind is None else f"JSON of type {kind!r}")
        )
    text = json.dumps(document, ensure_ascii=False).encode()
    try:
        frame = gpd.read_file(text)
    except (ValueError, OSError, RuntimeError) as exc:
        raise LayerError(f"{where}: cannot be read as a map layer: {exc}") from exc
    return _table(frame, where, declares="crs" in document)


def _table(frame: Any, where: str, *, declares: bool, notes: tuple[str, ...] = ()) -> SourceTable:
    if not isinstance(frame, gpd.GeoDataFrame):
        raise LayerError(f"{where}: a table with geometries was wanted, got one without")
    return SourceTable(
        where=where,
        columns=frame.drop(columns=frame.geometry.name),
        shapes=np.asarray(frame.geometry.values, dtype=object),
        declared=frame.crs if declares else None,
        notes=notes,
    )
