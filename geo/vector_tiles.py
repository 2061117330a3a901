"""Layers as Mapbox vector tiles (MVT 2.1), tiles of WebMercatorQuad.

Written here, for the library of that name would hold protobuf back a major version, and makes
one feature at a time what shapely does for all at once.

Source:
    Mapbox Vector Tile Specification 2.1; OGC Two Dimensional Tile Matrix Set (17-083r4), annex D.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from core.errors import GeometryError
from geo.layers import Layer, plain_value

#: Units across a tile.
EXTENT = 4096

#: Deepest level that is made; a unit is 4 mm there.
MOST_ZOOM = 22

#: Half of the side of the world, metres of Web Mercator; its circumference over two.
HALF_WORLD_M = 20_037_508.342789244

#: What of the neighbours is drawn too, so that lines have no seams, in units.
_BUFFER = 64

_MOST_LAT_DEG = 85.0511287798066
_RADIUS_M = 6_378_137.0

_POINT, _LINE, _AREA = 1, 2, 3
_KINDS = {0: _POINT, 4: _POINT, 1: _LINE, 2: _LINE, 5: _LINE, 3: _AREA, 6: _AREA}
_MOVE_TO, _LINE_TO, _CLOSE_PATH = 1, 2, 7


def tile_bounds_m(z: int, x: int, y: int) -> tuple[float, float, float, float]:
    """West, south, east and north of a tile in metres of Web Mercator.

    Args:
        z: Level, 0 to :data:`MOST_ZOOM`.
        x: Column, counted from the west.
        y: Row, counted from the north.

    Raises:
        GeometryError: There is no such tile.

    Example:
        >>> [round(one) for one in tile_bounds_m(1, 1, 0)]
        [0, 0, 20037508, 20037508]
    """
    if not (0 <= z <= MOST_ZOOM and 0 <= x < 1 << z and 0 <= y < 1 << z):
        raise GeometryError(
            f"tile {z}/{x}/{y}: a level of 0..{MOST_ZOOM}, and a column and a row of 0..2^level-1 "
            "were wanted"
        )
    side = 2.0 * HALF_WORLD_M / (1 << z)
    west, north = x * side - HALF_WORLD_M, HALF_WORLD_M - y * side
    return west, north - side, west + side, north


def encode_tile(layer: Layer, z: int, x: int, y: int) -> bytes:
    """The part of a layer in one tile, as a vector tile of one layer of its id.

    Args:
        layer: In WGS 84.
        z: Level.
        x: Column, counted from the west.
        y: Row, counted from the north.

    Returns:
        The protobuf message, uncompressed; empty where nothing of the layer is there.

    Raises:
        GeometryError: There is no such tile.
    """
    west, south, east, north = tile_bounds_m(z, x, y)
    unit = (east - west) / EXTENT
    spare = _BUFFER * unit
    box = (west - spare, south - spare, east + spare, north + spare)
    shapes, tree = _in_mercator(layer)
    rows = np.sort(tree.query(shapely.box(*box)))
    if not len(rows):
        return b""
    near = shapely.simplify(shapes[rows], unit / 2.0)
    clipped = shapely.clip_by_rect(near, *box)

    def to_units(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([points[:, 0] - west, north - points[:, 1]]) / unit

    drawn = shapely.set_precision(shapely.transform(clipped, to_units), 1.0)
    # In a plane whose y runs down, outer rings are to have a positive area.
    drawn = shapely.orient_polygons(drawn)
    keys: dict[str, int] = {}
    values: dict[tuple[type, Any], int] = {}
    names = [str(name) for name in layer.frame.columns if name != "geometry"]
    features = []
    for row, shape in zip(rows.tolist(), drawn, strict=True):
        for kind, commands in _commands(shape):
            tags: list[int] = []
            for name in names:
                value = plain_value(layer.frame[name].iat[row])
                if value is None or value == "":
                    continue
                tags.append(keys.setdefault(name, len(keys)))
                tags.append(values.setdefault((type(value), value), len(values)))
            body = _number(1, row + 1) + _packed(2, tags) + _number(3, kind) + _packed(4, commands)
            features.append(_field(2, body))
    if not features:
        return b""
    parts = [_number(15, 2), _field(1, layer.id.encode()), *features]
    parts += [_field(3, key.encode()) for key in keys]
    parts += [_field(4, _value(value)) for _, value in values]
    parts.append(_number(5, EXTENT))
    return _field(3, b"".join(parts))


@lru_cache(maxsize=64)
def _in_mercator(layer: Layer) -> tuple[NDArray[np.object_], shapely.STRtree]:
    """A layer's shapes in metres of Web Mercator, and a tree of them; layers do not change."""

    def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
        lat = np.radians(np.clip(points[:, 1], -_MOST_LAT_DEG, _MOST_LAT_DEG))
        north = np.log(np.tan(np.pi / 4.0 + lat / 2.0))
        return _RADIUS_M * np.column_stack([np.radians(points[:, 0]), north])

    shapes = np.asarray(shapely.transform(shapely.force_2d(layer.geometries), project), object)
    return shapes, shapely.STRtree(shapes)


def _commands(shape: shapely.Geometry) -> Iterable[tuple[int, list[int]]]:
    """A shape in units as the commands of its features, with their kind."""
    by_kind: dict[int, list[shapely.Geometry]] = {}
    for part in shapely.get_parts(shapely.get_parts(shape)):
        if not part.is_empty:
            by_kind.setdefault(_KINDS[shapely.get_type_id(part)], []).append(part)
    for kind, parts in by_kind.items():
        pen = _Pen()
        if kind == _POINT:
            pen.path(shapely.get_coordinates(parts), _MOVE_TO)
        elif kind == _LINE:
            for line in parts:
                pen.path(shapely.get_coordinates(line), _LINE_TO)
        else:
            for ring in shapely.get_rings(np.array(parts)):
                pen.path(shapely.get_coordinates(ring)[:-1], _LINE_TO)
                pen.commands.append(1 << 3 | _CLOSE_PATH)
        yield kind, pen.commands


class _Pen:
    """Writes paths as steps from where the last one ended."""

    def __init__(self) -> None:
        self.commands: list[int] = []
        self._at = np.zeros((1, 2), np.int64)

    def path(self, points: NDArray[np.float64], then: int) -> None:
        """Go to the first point, and by the command on to the others."""
        places = points.round().astype(np.int64)
        steps = np.diff(np.concatenate([self._at, places]), axis=0)
        zigzag = ((steps << 1) ^ (steps >> 63)).ravel().tolist()
        self._at = places[-1:]
        if then == _MOVE_TO:
            self.commands += [len(places) << 3 | _MOVE_TO, *zigzag]
        else:
            self.commands += [1 << 3 | _MOVE_TO, *zigzag[:2]]
            self.commands += [(len(places) - 1) << 3 | _LINE_TO, *zigzag[2:]]


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _packed(field: int, numbers: Sequence[int]) -> bytes:
    return _field(field, b"".join(map(_varint, numbers)))


def _value(value: str | float | bool) -> bytes:
    if isinstance(value, bool):
        return _number(7, value)
    if isinstance(value, str):
        return _field(1, value.encode())
    return _varint(3 << 3 | 1) + struct.pack("<d", value)
