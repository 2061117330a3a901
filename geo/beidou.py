"""Beidou grid location codes, GB/T 39409-2020: plane and solid, levels 1 to 10, arrays at once.

Everything but the height is integer arithmetic. A position is read to 1/2,880,000,000,000
degree: on that lattice lie all decimal degrees of ten digits and all edges of cells, so a
position that is meant to lie on an edge does, however binary fractions round it.

Cells are half-open away from the equator and the prime meridian, as the code mirrors the
first quadrant: a cell owns its edges nearest to them. The meridian of 180 degrees belongs to
the last cell of its side.

Source:
    GB/T 39409-2020, as three public implementations have it; the text was not at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import GeometryError, InputError

#: Finest level; cells of 1/2048 of an arcsecond.
MAX_LEVEL = 10

#: From here to the pole the standard has another rule, which is not implemented.
MAX_LATITUDE_DEG = 88.0

#: Finest cells in a degree.
_UNITS = 3600 * 2048
_STEPS_PER_UNIT = 390_625
_STEPS = _UNITS * _STEPS_PER_UNIT

#: Cell of each level in finest cells: across and up.
_SECOND = 2048
_SIZES: tuple[tuple[int, int], ...] = (
    (6 * _UNITS, 4 * _UNITS),
    (1800 * _SECOND, 1800 * _SECOND),
    (900 * _SECOND, 600 * _SECOND),
    (60 * _SECOND, 60 * _SECOND),
    (4 * _SECOND, 4 * _SECOND),
    (2 * _SECOND, 2 * _SECOND),
    (512, 512),
    (64, 64),
    (8, 8),
    (1, 1),
)
#: Levels written as one digit, row by row, and the number of columns of a row.
_ONE_DIGIT = {3: 2, 6: 2}

#: Characters of each level of the plane code, after the hemisphere's letter.
_WIDTHS = (3, 2, 1, 2, 2, 1, 2, 2, 2, 2)
_LENGTHS = tuple(1 + sum(_WIDTHS[:level]) for level in range(MAX_LEVEL + 1))

#: Bits of each level of the height, and its characters.
_HEIGHT_BITS = (6, 3, 1, 4, 4, 1, 3, 3, 3, 3)
_HEIGHT_SHIFTS = tuple(sum(_HEIGHT_BITS[level:]) for level in range(1, MAX_LEVEL + 1))
_HEIGHT_WIDTHS = (2, 1, 1, 1, 1, 1, 1, 1, 1, 1)
_SOLID_LENGTHS = tuple(
    _LENGTHS[level] + 1 + sum(_HEIGHT_WIDTHS[:level]) for level in range(MAX_LEVEL + 1)
)
_MAX_LAYER = 2**31 - 1

_RADIUS_M = 6_378_137.0
_LAYERS_PER_LOG = _UNITS / np.log1p(np.pi / 180.0)

#: Part of the finest layer by which a height may miss a layer's face and still lie on it.
_SNAP_RATIO = 1e-6

_DIGITS = np.frombuffer(b"0123456789ABCDEF", dtype=np.uint8)
_LETTER_A = ord("A")
_BAD = 255


class Bounds(NamedTuple):
    """Cells in degrees, each array of shape (n,)."""

    west_deg: NDArray[np.float64]
    south_deg: NDArray[np.float64]
    east_deg: NDArray[np.float64]
    north_deg: NDArray[np.float64]


class SolidBounds(NamedTuple):
    """Cells in degrees and in metres above the ellipsoid, each array of shape (n,)."""

    west_deg: NDArray[np.float64]
    south_deg: NDArray[np.float64]
    east_deg: NDArray[np.float64]
    north_deg: NDArray[np.float64]
    floor_m: NDArray[np.float64]
    ceiling_m: NDArray[np.float64]


def encode(lon_deg: ArrayLike, lat_deg: ArrayLike, level: int = MAX_LEVEL) -> NDArray[np.str_]:
    """Codes of the cells that positions lie in.

    Args:
        lon_deg: Degrees, WGS 84 (or CGCS 2000, which is the same to a decimetre), shape (n,) or
            one number; NaN where unknown.
        lat_deg: Likewise.
        level: 1 (6 by 4 degrees) to 10 (1.5 cm).

    Returns:
        Texts of 4, 6, 7, 9, 11, 12, 14, 16, 18 or 20 characters, shape (n,); empty where the
        position is unknown.

    Raises:
        GeometryError: A position is not on Earth or beyond 88 degrees of latitude, the arrays
            do not fit each other, or there is no such level.

    Example:
        >>> encode([120.3846, 119.9999], [36.0614, 35.99]).tolist()
        ['N51J001831A024117221', 'N50IB75E9E6160403060']
        >>> encode(120.3846, 36.0614, level=5).tolist(), encode([], []).tolist()
        (['N51J001831A'], [])
    """
    lon, lat = _columns(("lon_deg", lon_deg), ("lat_deg", lat_deg))
    _check_level(level)
    known = np.isfinite(lon) & np.isfinite(lat)
    fields = _plane_fields(lon[known], lat[known], level)
    return _texts(fields, known, _LENGTHS[level])


def encode_3d(
    lon_deg: ArrayLike, lat_deg: ArrayLike, alt_wgs84_m: ArrayLike, level: int = MAX_LEVEL
) -> NDArray[np.str_]:
    """Codes of the solid cells that positions lie in.

    Args:
        lon_deg: As for :func:`encode`.
        lat_deg: Likewise.
        alt_wgs84_m: Metres above the ellipsoid, NaN where unknown.
        level: 1 to 10. A layer of level 5 is 123 m high, of level 7 7.7 m, of level 10 1.5 cm.

    Returns:
        Texts of up to 32 characters, shape (n,); empty where anything is unknown.

    Raises:
        GeometryError: As for :func:`encode`, or a height below the Earth's centre or beyond
            what 31 bits hold.

    Example:
        >>> encode_3d(120.3846, 36.0614, 120.0).tolist()
        ['N051J00000108301A001247115722210']
    """
    lon, lat, alt = _columns(
        ("lon_deg", lon_deg), ("lat_deg", lat_deg), ("alt_wgs84_m", alt_wgs84_m)
    )
    _check_level(level)
    known = np.isfinite(lon) & np.isfinite(lat) & np.isfinite(alt)
    plane = _plane_fields(lon[known], lat[known], level)
    height = _height_fields(alt[known], level)
    fields = [part for pair in zip(plane, height, strict=True) for part in pair]
    return _texts(fields, known, _SOLID_LENGTHS[level])


def encode_height(alt_wgs84_m: ArrayLike) -> NDArray[np.str_]:
    """The twelve characters of the height alone, at level 10.

    Raises:
        GeometryError: As for :func:`encode_3d`.

    Example:
        >>> encode_height([50.0, -10.0, float("nan")]).tolist()
        ['000000006414', '100000001235', '']
    """
    (alt,) = _columns(("alt_wgs84_m", alt_wgs84_m))
    known = np.isfinite(alt)
    return _texts(_height_fields(alt[known], MAX_LEVEL), known, 1 + sum(_HEIGHT_WIDTHS))


def decode(codes: Sequence[str] | NDArray[np.str_]) -> Bounds:
    """The cells that codes name; levels may be mixed.

    Args:
        codes: Shape (n,), as :func:`encode` writes them.

    Returns:
        Edges of the cells in WGS 84 degrees, each of shape (n,).

    Raises:
        InputError: A text is no code; the message names it and its row.

    Example:
        >>> cell = decode(["N51J00183"])
        >>> [round(float(edge[0]), 6) for edge in cell]
        [120.383333, 36.05, 120.4, 36.066667]
        >>> decode(["N61A"])
        Traceback (most recent call last):
        ...
        core.errors.InputError: beidou code 'N61A' (row 0): a zone of 01 to 60 was wanted
    """
    edges = np.empty((len(codes), 4))
    for level, rows, characters, texts in _by_level(codes, _LENGTHS):
        edges[rows] = _decode_plane(_cut(characters, level, solid=False)[0], level, rows, texts)
    return Bounds(*edges.T)


def decode_3d(codes: Sequence[str] | NDArray[np.str_]) -> SolidBounds:
    """The solid cells that codes name; levels may be mixed.

    Args:
        codes: Shape (n,), as :func:`encode_3d` writes them.

    Returns:
        Edges in WGS 84 degrees and metres above the ellipsoid, each of shape (n,).

    Raises:
        InputError: A text is no code; the message names it and its row.

    Example:
        >>> cell = decode_3d(["N051J00000108301A0"])
        >>> [round(float(edge[0]), 4) for edge in cell]
        [120.3844, 36.0611, 120.3856, 36.0622, 0.0, 122.6225]
    """
    edges = np.empty((len(codes), 6))
    for level, rows, characters, texts in _by_level(codes, _SOLID_LENGTHS):
        plane, height = _cut(characters, level, solid=True)
        edges[rows, :4] = _decode_plane(plane, level, rows, texts)
        edges[rows, 4:] = _decode_height(height, level, rows, texts)
    return SolidBounds(*edges.T)


def _columns(*named: tuple[str, ArrayLike]) -> list[NDArray[np.float64]]:
    columns = [np.atleast_1d(np.asarray(values, dtype=np.float64)) for _, values in named]
    if any(column.ndim != 1 or column.shape != columns[0].shape for column in columns):
        names = ", ".join(name for name, _ in named)
        shapes = ", ".join(str(column.shape) for column in columns)
        raise GeometryError(f"{names} must have one shape (n,), got {shapes}")
    return columns


def _check_level(level: int) -> None:
    if not 1 <= level <= MAX_LEVEL:
        raise GeometryError(f"beidou level: 1 to {MAX_LEVEL} was wanted, got {level}")


def _plane_fields(
    lon: NDArray[np.float64], lat: NDArray[np.float64], level: int
) -> list[NDArray[np.uint8]]:
    """Characters by level, each of shape (n, width); the hemisphere first."""
    bad = (np.abs(lon) > 180.0) | (np.abs(lat) >= MAX_LATITUDE_DEG)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise GeometryError(
            f"beidou code: |lon_deg| <= 180 and |lat_deg| < {MAX_LATITUDE_DEG:g} were wanted, got "
            f"({lon[row]}, {lat[row]})"
        )
    x = np.rint(np.abs(lon) * _STEPS).astype(np.int64) // _STEPS_PER_UNIT
    y = np.rint(np.abs(lat) * _STEPS).astype(np.int64) // _STEPS_PER_UNIT
    x = np.minimum(x, 180 * _UNITS - 1)
    y = np.minimum(y, int(MAX_LATITUDE_DEG) * _UNITS - 1)
    west = (lon < 0.0) & (np.rint(np.abs(lon) * _STEPS) > 0)
    south = (lat < 0.0) & (np.rint(np.abs(lat) * _STEPS) > 0)
    fields = [np.where(south, ord("S"), ord("N")).astype(np.uint8)[:, None]]
    for number, (width, height) in enumerate(_SIZES[:level], start=1):
        i, x = np.divmod(x, width)
        j, y = np.divmod(y, height)
        if number == 1:
            zone = np.where(west, 30 - i, 31 + i)
            fields.append(_stack(_DIGITS[zone // 10], _DIGITS[zone % 10], _LETTER_A + j))
        elif number in _ONE_DIGIT:
            fields.append(_stack(_DIGITS[j * _ONE_DIGIT[number] + i]))
        else:
            fields.append(_stack(_DIGITS[i], _DIGITS[j]))
    return fields


def _height_fields(alt: NDArray[np.float64], level: int) -> list[NDArray[np.uint8]]:
    with np.errstate(invalid="ignore", divide="ignore"):
        exact = np.log1p(alt / _RADIUS_M) * _LAYERS_PER_LOG
    bad = ~(np.abs(exact) <= _MAX_LAYER)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise GeometryError(
            f"beidou code: a height above the Earth's centre and of at most 31 bits was wanted, "
            f"got {alt[row]} m"
        )
    nearest = np.rint(exact)
    on_face = np.abs(exact - nearest) <= _SNAP_RATIO
    layer = np.where(on_face, nearest, np.floor(exact)).astype(np.int64)
    below = layer < 0
    size = np.abs(layer)
    fields = [_stack(_DIGITS[below.astype(np.intp)])]
    for number in range(level):
        value = (size >> _HEIGHT_SHIFTS[number]) & ((1 << _HEIGHT_BITS[number]) - 1)
        if number == 0:
            fields.append(_stack(_DIGITS[value // 10], _DIGITS[value % 10]))
        else:
            fields.append(_stack(_DIGITS[value]))
    return fields


def _stack(*columns: NDArray[np.integer]) -> NDArray[np.uint8]:
    return np.stack([column.astype(np.uint8) for column in columns], axis=1)


def _texts(
    fields: list[NDArray[np.uint8]], known: NDArray[np.bool_], length: int
) -> NDArray[np.str_]:
    codes = np.zeros(len(known), dtype=f"U{length}")
    if known.any():
        letters = np.concatenate(fields, axis=1).astype(np.uint32)
        codes[known] = np.ascontiguousarray(letters).view(f"U{length}")[:, 0]
    return codes


_Group = tuple[int, NDArray[np.intp], NDArray[np.uint32], list[str]]


def _by_level(codes: Sequence[str] | NDArray[np.str_], lengths: tuple[int, ...]) -> list[_Group]:
    """Level, rows, characters of shape (n, length) and texts, of the codes of each level."""
    texts = [str(code) for code in codes]
    sizes = np.array([len(text) for text in texts], dtype=np.intp)
    for row in np.flatnonzero(~np.isin(sizes, lengths[1:])):
        raise InputError(
            f"beidou code {texts[row]!r} (row {row}): "
            f"{', '.join(str(length) for length in lengths[1:])} characters were wanted, got "
            f"{len(texts[row])}"
        )
    groups: list[_Group] = []
    for level in range(1, MAX_LEVEL + 1):
        rows = np.flatnonzero(sizes == lengths[level])
        if len(rows):
            chosen = [texts[row] for row in rows]
            characters = np.array(chosen).view(np.uint32).reshape(len(rows), -1)
            groups.append((level, rows, characters, chosen))
    return groups


def _cut(
    characters: NDArray[np.uint32], level: int, *, solid: bool
) -> tuple[list[NDArray[np.uint32]], list[NDArray[np.uint32]]]:
    """Characters of the plane and of the height by level, hemisphere and sign first."""
    plane: list[NDArray[np.uint32]] = []
    height: list[NDArray[np.uint32]] = []
    at = 0
    for width, extra in zip((1, *_WIDTHS[:level]), (1, *_HEIGHT_WIDTHS[:level]), strict=True):
        plane.append(characters[:, at : at + width])
        at += width
        if solid:
            height.append(characters[:, at : at + extra])
            at += extra
    return plane, height


def _values(
    characters: NDArray[np.uint32], limit: int, rows: NDArray[np.intp], texts: list[str]
) -> NDArray[np.int64]:
    """Digits below a limit, by one character each."""
    table = np.full(128, _BAD, dtype=np.int64)
    table[_DIGITS] = np.arange(len(_DIGITS))
    values = table[np.where(characters < len(table), characters, 0)]
    _refuse(values >= limit, rows, texts, f"digits of 0 to {limit - 1:X} were wanted")
    return values


def _refuse(bad: NDArray[np.bool_], rows: NDArray[np.intp], texts: list[str], wanted: str) -> None:
    for number in np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1)):
        raise InputError(f"beidou code {texts[number]!r} (row {rows[number]}): {wanted}")


def _decode_plane(
    fields: list[NDArray[np.uint32]], level: int, rows: NDArray[np.intp], texts: list[str]
) -> NDArray[np.float64]:
    hemisphere = fields[0][:, 0]
    south = hemisphere == ord("S")
    _refuse(~south & (hemisphere != ord("N")), rows, texts, "N or S was wanted first")
    digits = _values(fields[1][:, :2], 10, rows, texts)
    zone = digits[:, 0] * 10 + digits[:, 1]
    _refuse((zone < 1) | (zone > 60), rows, texts, "a zone of 01 to 60 was wanted")
    band = fields[1][:, 2].astype(np.int64) - _LETTER_A
    bands = int(MAX_LATITUDE_DEG) // 4
    _refuse((band < 0) | (band >= bands), rows, texts, "a band of A to V was wanted")
    west = zone <= 30
    x = np.where(west, 30 - zone, zone - 31) * _SIZES[0][0]
    y = band * _SIZES[0][1]
    for number in range(2, level + 1):
        width, height = _SIZES[number - 1]
        across, up = _SIZES[number - 2][0] // width, _SIZES[number - 2][1] // height
        field = fields[number]
        if number in _ONE_DIGIT:
            value = _values(field, across * up, rows, texts)[:, 0]
            j, i = np.divmod(value, across)
        else:
            i = _values(field[:, :1], across, rows, texts)[:, 0]
            j = _values(field[:, 1:], up, rows, texts)[:, 0]
        x = x + i * width
        y = y + j * height
    near_x, far_x = x / _UNITS, (x + _SIZES[level - 1][0]) / _UNITS
    near_y, far_y = y / _UNITS, (y + _SIZES[level - 1][1]) / _UNITS
    return np.stack(
        [
            np.where(west, -far_x, near_x),
            np.where(south, -far_y, near_y),
            np.where(west, -near_x, far_x),
            np.where(south, -near_y, far_y),
        ],
        axis=1,
    )


def _decode_height(
    fields: list[NDArray[np.uint32]], level: int, rows: NDArray[np.intp], texts: list[str]
) -> NDArray[np.float64]:
    below = _values(fields[0], 2, rows, texts)[:, 0] == 1
    size = np.zeros(len(below), dtype=np.int64)
    for number in range(1, level + 1):
        limit = 1 << _HEIGHT_BITS[number - 1]
        if number == 1:
            digits = _values(fields[1], 10, rows, texts)
            value = digits[:, 0] * 10 + digits[:, 1]
            _refuse(value >= limit, rows, texts, f"a height field of 00 to {limit - 1} was wanted")
        else:
            value = _values(fields[number], limit, rows, texts)[:, 0]
        size = (size << _HEIGHT_BITS[number - 1]) | value
    finer = _HEIGHT_SHIFTS[level - 1]
    least, most = size << finer, (size + 1) << finer
    # Layers below the ellipsoid are counted from -1, their size is what is cut into fields.
    floor = np.where(below, 1 - most, least)
    ceiling = np.where(below, np.minimum(1 - least, 0), most)
    return np.stack([_layer_m(floor), _layer_m(ceiling)], axis=1)


def _layer_m(layer: NDArray[np.int64]) -> NDArray[np.float64]:
    """Height of the lower face of a layer."""
    return np.asarray(_RADIUS_M * np.expm1(layer / _LAYERS_PER_LOG), dtype=np.float64)
