"""Opens a source by what it is: a file of any format, or a table of a database."""

from __future__ import annotations

import json
from pathlib import Path

from core.errors import LayerError
from geo.sources.table import SourceTable
from geo.sources.vector import read_geojson, read_vector_file

_JSON_SUFFIXES = frozenset({".json", ".geojson"})


def read_source(path: Path, *, layer_name: str | None = None, where: str = "") -> SourceTable:
    """Read a layer's source as it is; nothing is converted or repaired.

    Args:
        path: The file: GeoPackage, Shapefile, GeoJSON, FlatGeobuf, whatever GDAL reads.
        layer_name: Which layer of a file that has several.
        where: What to call it in messages; the path unless given.

    Raises:
        LayerError: There is no such file, or it cannot be read; names the file.
    """
    where = where or str(path)
    if not path.exists():
        raise LayerError(f"{where}: there is no such file")
    if path.suffix.lower() not in _JSON_SUFFIXES:
        return read_vector_file(path, layer_name, where)
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, OSError) as exc:
        raise LayerError(f"{where}: cannot be read as a map layer: {exc}") from exc
    return read_geojson(document, where)
