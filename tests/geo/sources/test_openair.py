"""OpenAir as nations publish it, and each way in which a line can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import shapely

from core.errors import LayerError
from geo.sources.openair import looks_like_openair, parse_limit, parse_point, read_openair
from geo.sources.reader import read_source
from geo.sources.table import SourceTable

SQUARE = (
    "DP 36:0:0 N 120:0:0 E\nDP 36:0:0 N 120:6:0 E\nDP 36:6:0 N 120:6:0 E\nDP 36:6:0 N 120:0:0 E"
)


def read(text: str) -> SourceTable:
    return read_openair(text, "x.txt")


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "count"), [("CZ-ASP-National-XCSoar.txt", 270), ("MW-ASP-National-XCSoar.txt", 17)]
)
def test_a_nations_airspaces_are_all_there(realdata: Path, name: str, count: int) -> None:
    source = read_source(realdata / "drone" / "openair" / name)
    assert len(source.shapes) == count
    assert shapely.is_valid(source.shapes).all()
    assert source.notes == ()
    assert all(source.columns["floor_m"] < source.columns["ceiling_m"])
    assert all(source.columns["name"])


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["arc-cw", "arc-ccw", "arc-cw-ccw", "circular", "polygon"])
def test_borders_are_those_of_another_reader(realdata: Path, name: str) -> None:
    folder = realdata / "drone" / "openair" / "openaip_fixtures"
    source = read_source(folder / f"{name}.txt")
    (wanted,) = json.loads((folder / f"{name}-result.json").read_text())["features"]
    shape = shapely.from_geojson(json.dumps(wanted["geometry"]))
    (got,) = source.shapes
    assert got.symmetric_difference(shape).area < 0.01 * shape.area
    row = source.columns.iloc[0]
    assert row["name"] == wanted["properties"]["name"]
    ceiling = wanted["properties"]["upperCeiling"]
    factor = 30.48 if ceiling["unit"] == "FL" else 0.3048
    assert row["ceiling_m"] == pytest.approx(ceiling["value"] * factor, abs=0.01)
    ground = wanted["properties"]["lowerCeiling"]["referenceDatum"] == "GND"
    assert (row["datum"] == "agl") == ground


@pytest.mark.realdata
def test_a_border_that_retraces_itself_is_refused_with_its_line(realdata: Path) -> None:
    path = realdata / "drone" / "openair" / "openaip_fixtures" / "circular-invalid.txt"
    with pytest.raises(LayerError, match=r"line 1: airspace 'ED-R4 Wannsee H24'.*13\.1375"):
        read_source(path)


@pytest.mark.parametrize(
    ("text", "metres", "datum"),
    [
        ("GND", 0.0, "agl"),
        ("SFC", 0.0, "agl"),
        ("FL 95", 2895.6, "msl"),
        ("FL95", 2895.6, "msl"),
        ("5000 MSL", 1524.0, "msl"),
        ("2500FT AMSL", 762.0, "msl"),
        ("1000 AGL", 304.8, "agl"),
        ("6000 ft AGL", 1828.8, "agl"),
        ("7500 ft", 2286.0, "msl"),
        ("300m AGL", 300.0, "agl"),
        ("UNLIM", float("inf"), "msl"),
    ],
)
def test_limits(text: str, metres: float, datum: str) -> None:
    limit = parse_limit(text, "x")
    assert (limit.metres, limit.datum.value) == (pytest.approx(metres), datum)


@pytest.mark.parametrize(
    ("text", "lonlat"),
    [
        ("52:22:39 N 013:08:15 E", (13.1375, 52.3775)),
        ("15:40.365 S 34:54.992 E", (34.916533, -15.67275)),
        ("39:29.9N119:46.1W", (-119.768333, 39.498333)),
        ("45.5 N 9.25 E", (9.25, 45.5)),
    ],
)
def test_positions(text: str, lonlat: tuple[float, float]) -> None:
    assert parse_point(text, "x") == pytest.approx(lonlat, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"AC R\nAN a\nAL high\n{SQUARE}", r"x\.txt line 3: a height such as .* got 'high'"),
        ("AC R\nAN a\nDP nowhere", r"x\.txt line 3: a position such as"),
        ("AC R\nAN a\nDP 95:0:0 N 10:0:0 E", r"line 3: a position on Earth"),
        ("AC R\nAN a\nDC 5", r"line 3: DC needs a centre before it"),
        ("AC R\nAN a\nV X=1:0:0 N 1:0:0 E\nDC wide", r"line 4: 1 numbers were wanted"),
        ("AC R\nAN a\nV X=1:0:0 N 1:0:0 E\nDB 1:1:0 N 1:0:0 E", r"DB needs two positions"),
        ("AC R\nV D=left", r"line 2: a direction of \+ or -"),
        ("AC R\nAN a\n", "no airspace with a border"),
    ],
)
def test_a_wrong_line_is_named(text: str, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        read(text)


def test_arcs_turn_the_way_that_is_said() -> None:
    head = "AC D\nAN a\nV X=36:0:0 N 120:0:0 E\n"
    small = read(head + "DA 5,0,90\nDP 36:0:0 N 120:0:0 E").shapes[0]
    large = read(head + "V D=-\nDA 5,0,90\nDP 36:0:0 N 120:0:0 E").shapes[0]
    assert large.area == pytest.approx(3 * small.area, rel=0.01)


def test_a_border_with_fewer_than_three_points_is_left_out_and_said() -> None:
    source = read(
        f"AC R\nAN thin\nDP 36:0:0 N 120:0:0 E\nDP 36:1:0 N 120:0:0 E\nAC R\nAN b\n{SQUARE}"
    )
    assert len(source.shapes) == 1
    assert "fewer than three points" in source.notes[0]


def test_other_text_is_no_openair(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("AC is on\nhello")
    assert not looks_like_openair(path.read_text())
    with pytest.raises(LayerError, match="got other text"):
        read_source(path)
