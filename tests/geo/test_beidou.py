from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import GeometryError, InputError
from geo.beidou import decode, decode_3d, encode, encode_3d, encode_height
from geo.h3_cells import h3_cells, h3_centres, h3_parents

NAN = math.nan
LENGTHS = [4, 6, 7, 9, 11, 12, 14, 16, 18, 20]
UNITS = 3600 * 2048


def spelled(lon: Fraction, lat: Fraction) -> str:
    """The standard's rules once more, level by level, in exact fractions of a degree."""
    hexa = "0123456789ABCDEF"
    x, y = abs(lon), abs(lat)
    zone = 31 + x // 6 if lon >= 0 else 30 - x // 6
    text = f"{'S' if lat < 0 else 'N'}{zone:02d}{chr(ord('A') + int(y // 4))}"
    x, y = x % 6, y % 4
    second = Fraction(1, 3600)
    steps = [
        (1800 * second, 1800 * second, 0),
        (900 * second, 600 * second, 2),
        (60 * second, 60 * second, 0),
        (4 * second, 4 * second, 0),
        (2 * second, 2 * second, 2),
        *((second / size, second / size, 0) for size in (4, 32, 256, 2048)),
    ]
    for width, height, columns in steps:
        i, j = int(x // width), int(y // height)
        text += hexa[j * columns + i] if columns else hexa[i] + hexa[j]
        x, y = x % width, y % height
    return text


@pytest.mark.parametrize(
    ("lon", "lat", "code"),
    [
        (116 + 18 / 60 + 45.37 / 3600, 39 + 59 / 60 + 35.38 / 3600, "N50J47539B8255346152"),
        (-(116 + 18 / 60 + 45.37 / 3600), -(39 + 59 / 60 + 35.38 / 3600), "S11J47539B8255346152"),
        (120.3846, 36.0614, "N51J001831A024117221"),
        (120.312, 36.065, "N51J00133AD340603010"),
        (120.62, 36.17, "N51J1027033000000000"),
        (120.18, 35.96, "N51I074A7C9000000000"),
        (120.088, 36.362, "N51J004514A234164361"),
        (121.5272106, 31.1774276, "N51H3621099272675522"),
        (0.0, 0.0, "N31A0000000000000000"),
        (-0.0, -0.0, "N31A0000000000000000"),
        # The last meridian belongs to the last cells of its side.
        (180.0, 0.0, "N60AB01E0E0170707070"),
        (-180.0, 0.0, "N01AB01E0E0170707070"),
    ],
)
def test_published_codes(lon: float, lat: float, code: str) -> None:
    assert encode(lon, lat).tolist() == [code]
    for level, length in enumerate(LENGTHS, start=1):
        assert encode(lon, lat, level).tolist() == [code[:length]]


@pytest.mark.parametrize(
    ("lon", "lat", "start"),
    [
        (120.0, 36.0, "N51J00000000"),
        (np.nextafter(120.0, 0.0), 36.0, "N51J00000000"),
        (120.0 - 1e-9, 36.0, "N50JB01E0E01"),
        (120.0, 36.0 - 1e-9, "N51I074090E2"),
        (120.0 - 1e-9, 36.0 - 1e-9, "N50IB75E9EE3"),
        (114.0, 36.0, "N50J00000000"),
        (126.0, 36.0, "N52J00000000"),
    ],
    ids=["corner", "a-hair-west-is-the-line", "west", "south", "south-west", "zone-50", "zone-52"],
)
def test_the_lines_that_cross_the_city(lon: float, lat: float, start: str) -> None:
    assert encode(lon, lat, 6).tolist() == [start]


@pytest.mark.parametrize(
    "step_deg", [0.1, 1 / 60, 4 / 3600, 1 / 3600, 1 / 4 / 3600, 1 / 2048 / 3600]
)
def test_a_position_on_an_edge_is_in_the_cell_that_begins_there(step_deg: float) -> None:
    """Edges as sums of binary fractions miss the edge by some units in the last place."""
    numbers = np.arange(0, 500)
    lon, lat = 119.0 + numbers * step_deg, 35.0 + numbers * step_deg
    step = Fraction(step_deg).limit_denominator(UNITS)
    wanted = [spelled(119 + int(n) * step, 35 + int(n) * step) for n in numbers]
    assert encode(lon, lat).tolist() == wanted


@settings(deadline=None, max_examples=200)
@given(
    st.integers(-180 * UNITS + 1, 180 * UNITS - 1),
    st.integers(-88 * UNITS + 1, 88 * UNITS - 1),
    st.integers(1, 10),
)
def test_encode_and_decode_undo_each_other(x: int, y: int, level: int) -> None:
    code = spelled(Fraction(x, UNITS), Fraction(y, UNITS))[: LENGTHS[level - 1]]
    assert encode(x / UNITS, y / UNITS, level).tolist() == [code]
    cell = decode([code])
    west, south, east, north = (float(edge[0]) for edge in cell)
    assert west <= x / UNITS <= east
    assert south <= y / UNITS <= north
    assert encode((west + east) / 2, (south + north) / 2, level).tolist() == [code]
    near_lon = west if x >= 0 and west >= 0 else east
    near_lat = south if y >= 0 and south >= 0 else north
    if near_lon and near_lat:
        assert encode(near_lon, near_lat, level).tolist() == [code]


@settings(deadline=None, max_examples=200)
@given(
    st.floats(-179.999, 179.999),
    st.floats(-87.999, 87.999),
    st.floats(-400.0, 60_000.0),
    st.integers(1, 10),
)
def test_solid_cells_hold_their_positions(lon: float, lat: float, alt: float, level: int) -> None:
    (code,) = encode_3d(lon, lat, alt, level).tolist()
    cell = decode_3d([code])
    tiny = 1e-11
    assert cell.west_deg[0] - tiny <= lon <= cell.east_deg[0] + tiny
    assert cell.south_deg[0] - tiny <= lat <= cell.north_deg[0] + tiny
    assert cell.floor_m[0] - 1e-6 <= alt <= cell.ceiling_m[0] + 1e-6
    middle = [(cell[i] + cell[j]) / 2 for i, j in ((0, 2), (1, 3), (4, 5))]
    assert encode_3d(*middle, level).tolist() == [code]
    assert encode_3d(middle[0], middle[1], cell.floor_m, level).tolist() == [code]
    plane = encode(lon, lat, level).tolist()[0]
    assert [edge[0] for edge in decode([plane])] == [edge[0] for edge in cell[:4]]


@pytest.mark.parametrize(
    ("alt", "code"),
    [
        (50.0, "000000006414"),
        (120.0, "000000017520"),
        (300.0, "000000207111"),
        (1000.0, "000000802362"),
        (8848.86, "000004801646"),
        (-10.0, "100000001235"),
        (0.0, "000000000000"),
        (-0.001, "100000000001"),
    ],
)
def test_published_heights(alt: float, code: str) -> None:
    assert encode_height(alt).tolist() == [code]


@pytest.mark.parametrize(
    ("level", "layer_m"),
    [(5, 122.6), (6, 61.3), (7, 7.66), (8, 0.958), (9, 0.12), (10, 0.015)],
)
def test_height_of_the_first_layer(level: int, layer_m: float) -> None:
    cell = decode_3d(encode_3d(120.3846, 36.0614, 0.0, level))
    assert cell.floor_m[0] == 0.0
    assert cell.ceiling_m[0] == pytest.approx(layer_m, rel=5e-3)


def test_layers_below_the_ellipsoid_meet_those_above() -> None:
    below = decode_3d(encode_3d([120.0] * 10, [36.0] * 10, [-1e-3] * 10, 7))
    assert below.ceiling_m.tolist() == [0.0] * 10
    assert encode_3d(120.3846, 36.0614, 120.0).tolist() == ["N051J00000108301A001247115722210"]


def test_arrays_with_unknown_rows_and_without_rows() -> None:
    assert encode([120.3846, NAN, 1.0], [36.0614, 36.0, NAN], 3).tolist() == ["N51J001", "", ""]
    assert encode_3d([120.3846], [36.0614], [NAN]).tolist() == [""]
    assert encode([], []).tolist() == encode_height([]).tolist() == []
    assert decode([]).west_deg.shape == decode_3d([]).ceiling_m.shape == (0,)
    mixed = decode(["N51J", "N51J00183"])
    assert mixed.west_deg.tolist() == [120.0, pytest.approx(120 + 23 / 60)]


@pytest.mark.parametrize(
    ("lon", "lat", "level", "message"),
    [
        (120.0, 88.0, 1, r"\|lat_deg\| < 88 were wanted, got \(120.0, 88.0\)"),
        (181.0, 36.0, 1, r"\|lon_deg\| <= 180"),
        (120.0, 36.0, 0, "1 to 10 was wanted, got 0"),
        (120.0, 36.0, 11, "1 to 10 was wanted, got 11"),
        ([120.0, 121.0], [36.0], 5, r"one shape \(n,\), got \(2,\), \(1,\)"),
    ],
)
def test_what_has_no_code(lon: object, lat: object, level: int, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        encode(lon, lat, level)  # type: ignore[arg-type]


@pytest.mark.parametrize("alt", [-7e6, 1e30])
def test_heights_without_a_code(alt: float) -> None:
    with pytest.raises(GeometryError, match="at most 31 bits"):
        encode_height(alt)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("", "characters were wanted, got 0"),
        ("N51", "characters were wanted, got 3"),
        ("X51J", "N or S was wanted first"),
        ("N61J", "a zone of 01 to 60"),
        ("N5 J", "digits of 0 to 9"),
        ("N51W", "a band of A to V"),
        ("N51JC0", "digits of 0 to B"),
        ("N51J08", "digits of 0 to 7"),
        ("N51J006", "digits of 0 to 5"),
        ("N51J000F0", "digits of 0 to E"),
        ("N51J0000é", "digits of 0 to 9"),
    ],
)
def test_what_is_no_code(code: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode(["N51J", code])


def test_what_is_no_solid_code() -> None:
    with pytest.raises(InputError, match=r"'N251J00' \(row 0\): digits of 0 to 1"):
        decode_3d(["N251J00"])
    with pytest.raises(InputError, match="a height field of 00 to 63"):
        decode_3d(["N051J64"])


def test_h3_cells_of_the_reference() -> None:
    wanted = ["8730ac534ffffff", "8830ac534bfffff", "8930ac534a7ffff", "8a30ac534a67fff"]
    for resolution, text in enumerate(wanted, start=7):
        cells = h3_cells([120.3846, NAN, 120.3846], [36.0614, 36.0, math.inf], resolution)
        assert [f"{cell:x}" for cell in cells.tolist()] == [text, "0", "0"]
        assert f"{h3_parents(h3_cells(120.3846, 36.0614, 12), resolution).tolist()[0]:x}" == text
    assert h3_cells([], [], 9).shape == (0,)


@settings(deadline=None, max_examples=50)
@given(st.floats(-180.0, 180.0), st.floats(-90.0, 90.0), st.integers(0, 15))
def test_the_centre_of_an_h3_cell_lies_in_it(lon: float, lat: float, resolution: int) -> None:
    cells = h3_cells(lon, lat, resolution)
    assert h3_cells(*h3_centres(cells), resolution).tolist() == cells.tolist()


def test_what_has_no_h3_cell() -> None:
    with pytest.raises(GeometryError, match="0 to 15 was wanted, got 16"):
        h3_cells(120.0, 36.0, 16)
    with pytest.raises(GeometryError, match=r"got 91.0 in row 1"):
        h3_cells([120.0, 120.0], [36.0, 91.0], 9)
    with pytest.raises(GeometryError, match="one shape"):
        h3_cells([120.0, 121.0], [36.0], 9)
    with pytest.raises(InputError, match=r"h3 cell 0x7 \(row 1\)"):
        h3_centres([0, 7])
    with pytest.raises(InputError, match="a resolution of 0 to 9 was wanted, got 10"):
        h3_parents([0x8930AC534A7FFFF], 10)
