"""Area codes: district 6, street 9, community 12, unit grid 15 digits; each a prefix of the next.

District: GB/T 2260. Street block: 001-099 街道, 100-199 镇, 200-399 乡, 400-599 units that act
as one. Community: 001-199 居委会, 200-399 村委会, 400-599 units that act as one. Unit grid
(GB/T 47678.3): community and three digits of sequence.
"""

from __future__ import annotations

import re

import msgspec

from core.errors import InputError

#: Digits of each level.
LEVEL_DIGITS = {"district": 6, "street": 9, "community": 12, "grid": 15}

#: Provincial codes of GB/T 2260.
_PROVINCE_CODES = (
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 "
    "61 62 63 64 65 71 81 82"
)
_PROVINCES = frozenset(_PROVINCE_CODES.split())

_ACCEPTED = "6, 9, 12 or 15 digits"


class AreaCode(msgspec.Struct, frozen=True):
    """A code cut into its levels; None below the level the code names."""

    district: str
    street: str | None = None
    community: str | None = None
    grid: str | None = None

    @property
    def level(self) -> str:
        """``district``, ``street``, ``community`` or ``grid``."""
        if self.grid is not None:
            return "grid"
        if self.community is not None:
            return "community"
        return "district" if self.street is None else "street"


def plain_code(text: str) -> str:
    """A code without the zeros that statistics fill those of upper levels with, to twelve digits.

    Example:
        >>> plain_code("370202000000"), plain_code("370202001000"), plain_code("370202001001")
        ('370202', '370202001', '370202001001')
        >>> plain_code("370202"), plain_code("")
        ('370202', '')

    Source:
        The National Bureau of Statistics' codes for statistics (统计用区划代码), 12 digits.
    """
    if len(text) != LEVEL_DIGITS["community"] or not text.endswith("000"):
        return text
    return text[:6] if text.endswith("000000") else text[:9]


def parse_area_code(text: str) -> AreaCode:
    """Read a code of any level.

    Raises:
        InputError: It has another length, is not all digits, or a part is outside its block.

    Example:
        >>> parse_area_code("370202001001017").community
        '370202001001'
        >>> parse_area_code("370202").level
        'district'
        >>> parse_area_code("37020")
        Traceback (most recent call last):
        ...
        core.errors.InputError: area code: 6, 9, 12 or 15 digits were wanted, got '37020'
    """
    if not re.fullmatch(r"[0-9]+", text) or len(text) not in LEVEL_DIGITS.values():
        raise InputError(f"area code: {_ACCEPTED} were wanted, got {text!r}")
    if text[:2] not in _PROVINCES or text[4:6] == "00":
        raise InputError(
            f"area code: the first six digits must name a district, got {text[:6]!r} in {text!r}"
        )
    if len(text) >= 9 and not 1 <= int(text[6:9]) <= 599:
        raise InputError(f"area code: a street of 001 to 599 was wanted, got {text[6:9]!r}")
    if len(text) >= 12 and not 1 <= int(text[9:12]) <= 599:
        raise InputError(f"area code: a community of 001 to 599 was wanted, got {text[9:12]!r}")
    if len(text) == 15 and not 1 <= int(text[12:]) <= 999:
        raise InputError(f"area code: a grid of 001 to 999 was wanted, got {text[12:]!r}")
    return AreaCode(
        text[:6],
        text[:9] if len(text) >= 9 else None,
        text[:12] if len(text) >= 12 else None,
        text if len(text) == 15 else None,
    )


def is_area_code(text: str, level: str | None = None) -> bool:
    """Whether a text is a valid code, of a level where one is named.

    Example:
        >>> is_area_code("370202001"), is_area_code("370202001", "grid"), is_area_code("")
        (True, False, False)
    """
    try:
        code = parse_area_code(text)
    except InputError:
        return False
    return level is None or code.level == level


def community_code(street_code: str, number: int) -> str:
    """Build a 12-digit community code.

    Raises:
        InputError: The street code is not valid, or the number is outside 1 to 599.

    Example:
        >>> community_code("370202001", 7)
        '370202001007'
    """
    return _extended(street_code, "street", number, 599)


def grid_code(community: str, sequence: int) -> str:
    """Build a 15-digit unit grid code.

    Raises:
        InputError: The community code is not valid, or the sequence is outside 1 to 999.

    Example:
        >>> grid_code("370202001007", 12)
        '370202001007012'
    """
    return _extended(community, "community", sequence, 999)


def _extended(parent: str, level: str, number: int, most: int) -> str:
    if not is_area_code(parent, level):
        raise InputError(
            f"area code: a {level} code of {LEVEL_DIGITS[level]} digits was wanted, got {parent!r}"
        )
    if not 1 <= number <= most:
        raise InputError(f"area code: a number of 1 to {most} was wanted, got {number}")
    return f"{parent}{number:03d}"
