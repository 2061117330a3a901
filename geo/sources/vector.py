"""Reads what GDAL reads, and GeoJSON without the CRS that GDAL would assume for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np

from core.errors import LayerError
from geo.sources.table import SourceTable


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
    try:
        frame = gpd.read_file(path, **options)
    except (ValueError, OSError, RuntimeError) as exc:  # GDAL's errors are RuntimeErrors
        raise LayerError(f"{where}: cannot be read as a map layer: {exc}") from exc
    return _table(frame, where, declares=True)


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
    if not isinstance(document, dict) or "type" not in document:
        raise LayerError(f"{where}: GeoJSON was wanted, got other JSON")
    text = json.dumps(document, ensure_ascii=False).encode()
    try:
        frame = gpd.read_file(text)
    except (ValueError, OSError, RuntimeError) as exc:
        raise LayerError(f"{where}: cannot be read as a map layer: {exc}") from exc
    return _table(frame, where, declares="crs" in document)


def _table(frame: Any, where: str, *, declares: bool) -> SourceTable:
    if not isinstance(frame, gpd.GeoDataFrame):
        raise LayerError(f"{where}: a table with geometries was wanted, got one without")
    return SourceTable(
        where=where,
        columns=frame.drop(columns=frame.geometry.name),
        shapes=np.asarray(frame.geometry.values, dtype=object),
        declared=frame.crs if declares else None,
    )
