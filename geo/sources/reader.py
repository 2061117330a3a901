"""Opens a source by what it is: a file of any format, or a table of a database."""

from __future__ import annotations

import json
from pathlib import Path

from core.errors import LayerError
from geo.sources.geozones import is_ed269, is_ed318, read_ed269, read_ed318
from geo.sources.openair import looks_like_openair, read_openair
from geo.sources.table import SourceTable
from geo.sources.vector import decode_text, read_geojson, read_vector_file

_JSON_SUFFIXES = frozenset({".json", ".geojson"})
_TEXT_SUFFIXES = frozenset({".txt", ".openair", ".air"})


def read_source(path: Path, *, layer_name: str | None = None, where: str = "") -> SourceTable:
    """Read a layer's source as it is; nothing is converted or repaired.

    Args:
        path: The file: GeoPackage, Shapefile, GeoJSON, FlatGeobuf, whatever GDAL reads; airspace
            in OpenAir, ED-269 and ED-318.
        layer_name: Which layer of a file that has several.
        where: What to call it in messages; the path unless given.

    Raises:
        LayerError: There is no such file, or it cannot be read; names the file.
    """
    where = where or str(path)
    if not path.exists():
        raise LayerError(f"{where}: there is no such file")
    suffix = path.suffix.lower()
    if suffix in _TEXT_SUFFIXES:
        text = decode_text(path.read_bytes())
        if not looks_like_openair(text):
            raise LayerError(f"{where}: OpenAir was wanted of a text file, got other text")
        return read_openair(text, where)
    if suffix not in _JSON_SUFFIXES:
        return read_vector_file(path, layer_name, where)
    try:
        document = json.loads(decode_text(path.read_bytes()))
    except (ValueError, OSError) as exc:
        raise LayerError(f"{where}: cannot be read as a map layer: {exc}") from exc
    if is_ed269(document):
        return read_ed269(document, where)
    if is_ed318(document):
        return read_ed318(document, where)
    return read_geojson(document, where)
