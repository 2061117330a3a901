from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InputError
from geo.grid_codes import community_code, grid_code, is_area_code, parse_area_code


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("370202", "district"),
        ("370202001", "street"),
        ("370202001004", "community"),
        ("370202001004017", "grid"),
    ],
)
def test_levels_are_prefixes(text: str, level: str) -> None:
    code = parse_area_code(text)
    assert code.level == level
    parts = [code.district, code.street, code.community, code.grid]
    assert [text[:digits] if digits <= len(text) else None for digits in (6, 9, 12, 15)] == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "6, 9, 12 or 15 digits were wanted"),
        ("37020", "6, 9, 12 or 15 digits were wanted"),
        ("37020200100401", "6, 9, 12 or 15 digits were wanted"),
        ("３７０２０２", "6, 9, 12 or 15 digits were wanted"),
        ("99020a", "6, 9, 12 or 15 digits were wanted"),
        ("990202", "must name a district"),
        ("370200", "must name a district"),
        ("370202000", "a street of 001 to 599"),
        ("370202001700", "a community of 001 to 599"),
        ("370202001004000", "a grid of 001 to 999"),
    ],
)
def test_bad_codes_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_area_code(text)
    assert not is_area_code(text)


@settings(deadline=None)
@given(st.integers(1, 599), st.integers(1, 999))
def test_built_codes_parse(community: int, sequence: int) -> None:
    code = grid_code(community_code("370202001", community), sequence)
    assert parse_area_code(code).street == "370202001"
    assert is_area_code(code, "grid")
    assert not is_area_code(code, "community")


@pytest.mark.parametrize("number", [0, 600])
def test_community_numbers_have_a_block(number: int) -> None:
    with pytest.raises(InputError, match=f"1 to 599 was wanted, got {number}"):
        community_code("370202001", number)


def test_a_grid_needs_a_community() -> None:
    with pytest.raises(InputError, match="a community code of 12 digits was wanted"):
        grid_code("370202001", 1)


@pytest.mark.realdata
def test_every_real_code_of_qingdao_is_valid(realdata: Path) -> None:
    path = realdata / "qingdao" / "codes" / "nbs_2019_qingdao_5level.csv"
    with path.open(encoding="utf-8") as lines:
        codes = [row["code"] for row in csv.DictReader(lines) if len(row["code"]) >= 6]
    assert [code for code in codes if not is_area_code(code)] == []
    assert sum(len(code) == 12 for code in codes) == 6_720
