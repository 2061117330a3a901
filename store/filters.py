"""What a reader asks for, as values, and how it becomes SQL. Pure."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, FromClause, and_, or_, select

from core.errors import InputError
from core.incidents import Severity, Status
from store import tables
from store.documents import LEVELS

#: Most rows of one page.
MAX_LIMIT = 1000

#: West, south, east, north in degrees; west > east crosses the antimeridian.
Box = tuple[float, float, float, float]


class IncidentFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which incidents; all conditions must hold, an empty one holds always.

    ``area_code`` is a prefix: a district has 6 digits, a street 9, a community 12, a grid 15.
    ``from_ns`` and ``to_ns`` bound the instant of opening, both included. ``departments``
    match the Chinese or the English name.
    """

    box: Box | None = None
    area_code: str = ""
    from_ns: int | None = None
    to_ns: int | None = None
    scenarios: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    departments: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()
    statuses: tuple[Status, ...] = ()
    unit_id: str = ""
    worker_id: str = ""
    thing_id: str = ""
    parent_id: str = ""


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events; times bound the instant of the edge, both included."""

    box: Box | None = None
    area_code: str = ""
    from_ns: int | None = None
    to_ns: int | None = None
    scenarios: tuple[str, ...] = ()
    edges: tuple[str, ...] = ()
    thing_id: str = ""
    incident_id: str = ""


def parse_box(text: str) -> Box:
    """Read ``west,south,east,north`` in degrees.

    Raises:
        InputError: Not four finite numbers, or outside the globe, or south above north.

    Example:
        >>> parse_box("120.3,36.0,120.5,36.2")
        (120.3, 36.0, 120.5, 36.2)
        >>> parse_box("1,nan")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        core.errors.InputError: bbox: four finite numbers ...
    """
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        west = south = east = north = math.nan
    if not all(map(math.isfinite, (west, south, east, north))):
        raise InputError(
            f"bbox: four finite numbers west,south,east,north were wanted, got {text!r}"
        )
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise InputError(
            "bbox: longitudes in -180..180 and latitudes in -90..90 with south <= north were "
            f"wanted, got {text!r}"
        )
    return west, south, east, north


def check_limit(limit: int) -> int:
    """Raises InputError unless ``1 <= limit <= 1000``."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InputError(f"limit: 1 to {MAX_LIMIT} was wanted, got {limit}")
    return limit


def encode_cursor(at_ns: int, key: str) -> str:
    """The place after a row, as an opaque text.

    Example:
        >>> decode_cursor(encode_cursor(7, "a"))
        (7, 'a')
    """
    return base64.urlsafe_b64encode(msgspec.json.encode((at_ns, key))).rstrip(b"=").decode()


def decode_cursor(text: str) -> tuple[int, str]:
    """Read a cursor back.

    Raises:
        InputError: It was not made by :func:`encode_cursor`.
    """
    try:
        raw = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), b"-_", validate=True)
        at_ns, key = msgspec.json.decode(raw, type=tuple[int, str])
    except (ValueError, binascii.Error, msgspec.MsgspecError) as exc:
        raise InputError(
            f"cursor: the `next` of an earlier answer was wanted, got {text[:80]!r}"
        ) from exc
    if not -(2**63) <= at_ns < 2**63 or "\0" in key:
        raise InputError(f"cursor: the `next` of an earlier answer was wanted, got {text[:80]!r}")
    return at_ns, key


def incident_conditions(wanted: IncidentFilter) -> list[ColumnElement[bool]]:
    """The conditions of a filter on the table of incidents."""
    table = tables.incidents
    found = _common(table, wanted.box, wanted.area_code)
    level = [name for name, digits in LEVELS.items() if digits <= len(wanted.area_code)][-1:]
    found += [table.c[name] == wanted.area_code[: LEVELS[name]] for name in level]
    _between(found, table.c.opened_ns, wanted.from_ns, wanted.to_ns)
    for column, values in (
        (table.c.scenario, wanted.scenarios),
        (table.c.domain, wanted.domains),
        (table.c.severity, wanted.severities),
        (table.c.status, wanted.statuses),
    ):
        if values:
            found.append(column.in_([str(value) for value in values]))
    if wanted.departments:
        found.append(
            or_(
                table.c.department_zh.in_(wanted.departments),
                table.c.department_en.in_(wanted.departments),
            )
        )
    if wanted.parent_id:
        found.append(table.c.parent_id == wanted.parent_id)
    if wanted.unit_id:
        found.append(table.c.unit_id == wanted.unit_id)
    if wanted.worker_id:
        found.append(table.c.worker_id == wanted.worker_id)
    if wanted.thing_id:
        spoken = select(tables.raises.c.incident_id).where(
            tables.raises.c.thing_id == wanted.thing_id
        )
        found.append(table.c.id.in_(spoken))
    return found


def event_conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    """The conditions of a filter on the table of evidence."""
    table = tables.evidence
    found = _common(table, wanted.box, wanted.area_code)
    _between(found, table.c.at_ns, wanted.from_ns, wanted.to_ns)
    if wanted.scenarios:
        found.append(table.c.scenario.in_(wanted.scenarios))
    if wanted.edges:
        found.append(table.c.edge.in_(wanted.edges))
    if wanted.thing_id:
        found.append(table.c.thing_id == wanted.thing_id)
    if wanted.incident_id:
        found.append(table.c.incident_id == wanted.incident_id)
    return found


def before(
    at_column: ColumnElement[Any], key_column: ColumnElement[Any], cursor: str | None
) -> list[ColumnElement[bool]]:
    """The condition that a row comes after a cursor in a list with the newest first."""
    if cursor is None:
        return []
    at_ns, key = decode_cursor(cursor)
    # The first condition is implied; it lets the index skip what was read.
    return [at_column <= at_ns, or_(at_column < at_ns, key_column < key)]


def in_box(table: FromClause, box: Box) -> ColumnElement[bool]:
    """Whether a row's position lies in a box, border included."""
    west, south, east, north = box
    lon, lat = table.c.lon_deg, table.c.lat_deg
    across = lon.between(west, east) if west <= east else or_(lon >= west, lon <= east)
    return and_(across, lat.between(south, north))


def _common(table: FromClause, box: Box | None, area_code: str) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if box is not None:
        found.append(in_box(table, box))
    if area_code:
        # Codes are digits, and : follows 9.
        found.append(table.c.area_code >= area_code)
        found.append(table.c.area_code < area_code + ":")
    return found


def _between(
    found: list[ColumnElement[bool]],
    column: ColumnElement[int],
    from_ns: int | None,
    to_ns: int | None,
) -> None:
    if from_ns is not None:
        found.append(column >= from_ns)
    if to_ns is not None:
        found.append(column <= to_ns)
