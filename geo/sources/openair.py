"""Reads OpenAir, the text format in which national airspaces are passed on.

Source: the OpenAir format as Winpilot published it and as XCSoar and openAIP read it; heights
are feet above mean sea level unless said otherwise, distances nautical miles.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import shapely

from core.city import AltitudeDatum
from core.errors import LayerError
from geo.sources.table import SourceTable
from geo.sources.volumes import (
    FOOT_M,
    GROUND,
    NAUTICAL_MILE_M,
    UNLIMITED,
    Limit,
    Volume,
    arc,
    azimuth_and_distance,
    circle,
    volume_table,
)

_NUMBER = r"(\d+(?:\.\d*)?)"
_ANGLE = rf"{_NUMBER}(?:\s*:\s*{_NUMBER})?(?:\s*:\s*{_NUMBER})?\s*"
_POINT = re.compile(rf"{_ANGLE}([NS])[\s,]*{_ANGLE}([EW])", re.IGNORECASE)
_LEVEL = re.compile(r"^(?:FL|F)\s*(\d+(?:\.\d+)?)$")
_HEIGHT = re.compile(
    r"^(?:ALT\s*)?(\d+(?:\.\d+)?)\s*(FT|F|FEET|M)?\s*"
    r"(MSL|AMSL|ALT|AGL|AGND|ASFC|SFC|GND|STD)?$"
)
_SURFACE = frozenset({"GND", "SFC", "SURFACE", "GROUND", "0", "0 AGL", "0 FT", "MSL", "0 MSL"})
_NO_LIMIT = frozenset({"UNL", "UNLIM", "UNLIMITED", "UNLTD"})
_ABOVE_GROUND = frozenset({"AGL", "AGND", "ASFC", "SFC", "GND"})

#: Classes that have a name of their own; the rest are ``class_a`` and so on.
_KINDS = {
    "P": "prohibited",
    "R": "restricted",
    "Q": "danger",
    "GP": "glider_prohibited",
    "GS": "glider_sector",
    "W": "wave",
}

#: Lines that say how to draw it, or that carry what we do not keep.
_IGNORED = frozenset({"AY", "AF", "AG", "AT", "AI", "AX", "TO", "TC", "SP", "SB", "AA"})

#: What rounding of published points may do to a border: cut off this share of its area, and
#: retrace this much of it, degrees. More is a mistake.
_ROUNDING_RATIO = 1e-4
_ROUNDING_DEG = 1e-3


def looks_like_openair(text: str) -> bool:
    """Whether a text file is OpenAir: it has airspace classes and borders.

    Example:
        >>> looks_like_openair("* x\\nAC R\\nDP 1:0:0 N 1:0:0 E\\n"), looks_like_openair("a,b")
        (True, False)
    """
    lines = re.findall(r"(?m)^\s*(AC|DP|DC|DB|DA|DY)\s", text[:200_000])
    return "AC" in lines and len(set(lines)) > 1


def read_openair(text: str, where: str) -> SourceTable:
    """Read a file of airspaces.

    Args:
        text: The file.
        where: For messages.

    Returns:
        One row per airspace, in WGS 84, limits in metres. Flight levels are taken as heights
        above mean sea level in the standard atmosphere.

    Raises:
        LayerError: A line cannot be read, or a border is none; names file and line.
    """
    volumes: list[Volume] = []
    notes: list[str] = []
    draft = _Draft(0)
    for number, raw in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        line = raw.split("*")[0].split(";")[0].strip()
        if not line:
            continue
        word, _, rest = line.partition(" ")
        word, rest = word.upper(), rest.strip()
        here = f"{where} line {number}"
        if word == "AC" or (word == "AN" and draft.name and draft.has_border):
            _finish(draft, volumes, notes, where)
            draft = _Draft(number, kind=_kind(rest) if word == "AC" else draft.kind)
        if word == "AC":
            continue
        if word == "AN":
            draft.name = rest
        elif word == "AL":
            draft.floor = parse_limit(rest, here)
        elif word == "AH":
            draft.ceiling = parse_limit(rest, here)
        elif word == "V":
            draft.set_variable(rest, here)
        elif word in {"DP", "DC", "DA", "DB"}:
            draft.draw(word, rest, here)
        elif word == "DY":
            draft.airway = True
        elif word not in _IGNORED:
            notes.append(f"line {number}: {word!r} is no OpenAir word that is known")
    _finish(draft, volumes, notes, where)
    if not volumes:
        raise LayerError(f"{where}: OpenAir was wanted, no airspace with a border was found")
    return volume_table(volumes, where, notes)


def parse_limit(text: str, where: str) -> Limit:
    """Read a floor or ceiling.

    Args:
        text: As after ``AL`` or ``AH``.
        where: For messages.

    Raises:
        LayerError: It cannot be read.

    Example:
        >>> parse_limit("FL 95", "x"), parse_limit("GND", "x").datum.value
        (Limit(metres=2895.6, datum=<AltitudeDatum.MSL: 'msl'>), 'agl')
        >>> parse_limit("1000m AGL", "x").metres, parse_limit("UNLIM", "x").metres
        (1000.0, inf)
    """
    upper = " ".join(text.upper().split())
    if upper in _NO_LIMIT:
        return UNLIMITED
    if upper in _SURFACE:
        return GROUND
    level = _LEVEL.match(upper)
    if level:
        return Limit(round(float(level[1]) * 100.0 * FOOT_M, 3), AltitudeDatum.MSL)
    height = _HEIGHT.match(upper)
    if height is None:
        raise LayerError(
            f"{where}: a height such as `2500 ft MSL`, `300 AGL`, `FL 95`, `GND` or `UNLIM` was "
            f"wanted, got {text!r}"
        )
    metres = float(height[1]) * (1.0 if height[2] == "M" else FOOT_M)
    datum = AltitudeDatum.AGL if height[3] in _ABOVE_GROUND else AltitudeDatum.MSL
    return Limit(round(metres, 3), datum)


def parse_point(text: str, where: str) -> tuple[float, float]:
    """Read a position as (lon, lat) in degrees.

    Raises:
        LayerError: It cannot be read, or is not on Earth.

    Example:
        >>> parse_point("52:22:39 N 013:08:15 E", "x"), parse_point("15:40.5S 34:54W", "x")
        ((13.1375, 52.3775), (-34.9, -15.675))
    """
    found = _POINT.search(text)
    if found is None:
        raise LayerError(
            f"{where}: a position such as `52:22:39 N 013:08:15 E` was wanted, got {text!r}"
        )
    lat = _degrees(found[1], found[2], found[3]) * (-1.0 if found[4] in "sS" else 1.0)
    lon = _degrees(found[5], found[6], found[7]) * (-1.0 if found[8] in "wW" else 1.0)
    if abs(lat) > 90.0 or abs(lon) > 180.0:
        raise LayerError(f"{where}: a position on Earth was wanted, got {text!r}")
    return lon, lat


def _degrees(degrees: str, minutes: str | None, seconds: str | None) -> float:
    return float(degrees) + float(minutes or 0.0) / 60.0 + float(seconds or 0.0) / 3600.0


def _kind(text: str) -> str:
    word = text.upper()
    return _KINDS.get(word, f"class_{word.lower()}" if len(word) == 1 else word.lower())


@dataclass
class _Draft:
    """An airspace that is being read."""

    line: int
    kind: str = "airspace"
    name: str = ""
    floor: Limit = GROUND
    ceiling: Limit = UNLIMITED
    centre: tuple[float, float] | None = None
    clockwise: bool = True
    border: list[tuple[float, float]] = field(default_factory=list)
    circle: shapely.Geometry | None = None
    airway: bool = False

    @property
    def has_border(self) -> bool:
        return bool(self.border) or self.circle is not None

    def set_variable(self, text: str, here: str) -> None:
        name, _, value = text.partition("=")
        name, value = name.strip().upper(), value.strip()
        if name == "X":
            self.centre = parse_point(value, here)
        elif name == "D":
            if value not in {"+", "-"}:
                raise LayerError(f"{here}: a direction of + or - was wanted, got {value!r}")
            self.clockwise = value == "+"

    def draw(self, word: str, rest: str, here: str) -> None:
        if word == "DP":
            self.border.append(parse_point(rest, here))
            return
        if self.centre is None:
            raise LayerError(f"{here}: {word} needs a centre before it, `V X=<position>`")
        if word == "DC":
            radius = _numbers(rest, 1, here)[0]
            self.circle = circle(*self.centre, radius * NAUTICAL_MILE_M)
        elif word == "DA":
            radius, start, end = _numbers(rest, 3, here)
            metres = radius * NAUTICAL_MILE_M
            sweep = self._sweep(start, end)
            self.border += arc(*self.centre, metres, metres, start, sweep)
        else:
            ends = [parse_point(part, here) for part in rest.split(",")]
            if len(ends) != 2:
                raise LayerError(f"{here}: DB needs two positions and a comma, got {rest!r}")
            (start, start_m), (end, end_m) = (
                azimuth_and_distance(self.centre, point) for point in ends
            )
            self.border += arc(*self.centre, start_m, end_m, start, self._sweep(start, end))

    def _sweep(self, start_deg: float, end_deg: float) -> float:
        turn = (end_deg - start_deg) % 360.0 or 360.0
        return turn if self.clockwise else turn - 360.0 or -360.0


def _numbers(text: str, count: int, here: str) -> list[float]:
    parts = [part for part in re.split(r"[,\s]+", text) if part]
    try:
        numbers = [float(part) for part in parts[:count]]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise LayerError(f"{here}: {count} numbers were wanted, got {text!r}")
    return numbers


def _finish(draft: _Draft, volumes: list[Volume], notes: list[str], where: str) -> None:
    """Take what was read, or say why not."""
    if draft.airway:
        notes.append(f"line {draft.line}: airway {draft.name!r}: airways are not read")
        return
    if not draft.has_border:
        return  # a class on its own sets colours for those that follow
    here = f"{where} line {draft.line}: airspace {draft.name!r}"
    shape = draft.circle
    if draft.border:
        if len(set(draft.border)) < 3:
            notes.append(f"line {draft.line}: airspace {draft.name!r} has fewer than three points")
            return
        shape = _border_polygon(draft.border, here)
        if draft.circle is not None:
            shape = shapely.union(shape, draft.circle)
    volumes.append(
        Volume(
            id="",
            name=draft.name,
            kind=draft.kind,
            shape=shape,
            floor=draft.floor,
            ceiling=draft.ceiling,
            line=draft.line,
        )
    )


def _border_polygon(border: list[tuple[float, float]], here: str) -> shapely.Geometry:
    """The polygon of a border; crossings that rounding explains are resolved.

    Raises:
        LayerError: It crosses or retraces itself: what it encloses would be a guess, and the
            border of an airspace is law.
    """
    polygon = shapely.Polygon(border)
    if shapely.is_valid(polygon):
        return polygon
    sound = shapely.make_valid(polygon)
    parts = [part for part in shapely.get_parts(sound) if part.geom_type == "Polygon"]
    if parts:
        largest = max(parts, key=lambda part: float(part.area))
        kept = shapely.union_all(shapely.boundary(parts)).buffer(_ROUNDING_DEG / 10.0)
        retraced = shapely.length(shapely.difference(shapely.LineString(border), kept))
        if sound.area - largest.area <= sound.area * _ROUNDING_RATIO and retraced <= _ROUNDING_DEG:
            return largest
    raise LayerError(
        f"{here}: a border that does not cross or retrace itself was wanted, got "
        f"{shapely.is_valid_reason(polygon)} (lon lat); what it encloses would be a guess"
    )
