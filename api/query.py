"""Reads the parameters of requests into the store's filters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from fastapi import Request

from core.errors import InputError
from core.incidents import OPEN_STATUSES, Severity, Status
from core.units import rfc3339_to_ns
from geo.code_changes import resolve_code
from store.filters import MAX_LIMIT, Box, IncidentFilter, check_limit, parse_box

Word = TypeVar("Word", bound=StrEnum)

#: Rows of a page where none are asked for.
DEFAULT_LIMIT = 100

#: Longest word in a filter.
_MAX_CHARS = 200


class Parameter(NamedTuple):
    """A query parameter, for the route and for its page in OpenAPI."""

    name: str
    description: str
    schema: Mapping[str, Any] = {"type": "string"}


class Parameters:
    """The query parameters of a route.

    Any other is refused: a slip of the pen must not quietly give everything.
    """

    def __init__(self, *parameters: Parameter) -> None:
        self._names = tuple(parameter.name for parameter in parameters)
        self.openapi: dict[str, Any] = {
            "parameters": [
                {
                    "name": parameter.name,
                    "in": "query",
                    "required": False,
                    "description": parameter.description,
                    "schema": dict(parameter.schema),
                }
                for parameter in parameters
            ]
        }

    def read(self, request: Request) -> dict[str, str | None]:
        """What a request says; None where it says nothing.

        Raises:
            InputError: A parameter is unknown, comes twice, or holds a NUL.
        """
        given: dict[str, str | None] = dict.fromkeys(self._names)
        for name, value in request.query_params.multi_items():
            if name not in given:
                accepted = ", ".join(self._names) or "none"
                raise InputError(f"query: unknown parameter {name[:80]!r}; accepted: {accepted}")
            if given[name] is not None:
                raise InputError(f"query.{name}: one value was wanted, it is given twice")
            if "\0" in value:
                raise InputError(f"query.{name}: a text without NUL was wanted")
            given[name] = value
        return given


TIMES = (
    Parameter("from", "Not before this RFC 3339 time.", {"type": "string", "format": "date-time"}),
    Parameter("to", "Not after this RFC 3339 time.", {"type": "string", "format": "date-time"}),
    Parameter("datetime", "Instead of from and to: an instant, `a/b`, `../b` or `a/..` (OGC)."),
)
PLACES = (
    Parameter("bbox", "`west,south,east,north` in WGS 84 degrees, border included."),
    Parameter(
        "area",
        "Beginning of an area code: district 6 digits, street 9, community 12; a code of "
        "former years counts as today's.",
    ),
)
PAGES = (
    Parameter(
        "limit",
        f"Rows of the page; {DEFAULT_LIMIT} unless given.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
    ),
    Parameter("cursor", "`next` of the page before."),
)


def words(text: str | None, name: str) -> tuple[str, ...]:
    """A comma-separated list.

    Example:
        >>> words("a, b", "scenario"), words(None, "scenario")
        (('a', 'b'), ())
    """
    if text is None:
        return ()
    found = tuple(word.strip() for word in text.split(","))
    if not all(found) or len(found) > 50 or max(map(len, found)) > _MAX_CHARS:
        raise InputError(
            f"{name}: up to 50 words separated by commas were wanted, got {text[:80]!r}"
        )
    return found


def choices(text: str | None, name: str, kind: type[Word]) -> tuple[Word, ...]:
    """A comma-separated list of the words of an enumeration.

    Raises:
        InputError: A word is not one of them; lists them.
    """
    try:
        return tuple(kind(word) for word in words(text, name))
    except ValueError as exc:
        raise InputError(f"{name}: {', '.join(kind)} were wanted, got {str(text)[:80]!r}") from exc


def area_prefix(text: str | None, old_codes: Mapping[str, str] | None = None) -> str:
    """An area code or the beginning of one; a code of former years is what it is today.

    Args:
        text: As it was asked.
        old_codes: As :mod:`geo.code_changes` has them.

    Raises:
        InputError: Not 1 to 15 digits.
    """
    if text is None:
        return ""
    if re.fullmatch(r"[0-9]{1,15}", text) is None:
        raise InputError(
            "area: the first 1 to 15 digits of an area code were wanted (district 6, street 9, "
            f"community 12, grid 15), got {text[:80]!r}"
        )
    return resolve_code(text, old_codes or {})


def interval(
    from_: str | None, to: str | None, datetime: str | None
) -> tuple[int | None, int | None]:
    """The instants a list is bounded by: ``from`` and ``to``, or OGC's ``datetime``.

    Raises:
        InputError: A time cannot be read, both ways are used, or it ends before it begins.

    Example:
        >>> interval(None, None, "../1970-01-01T00:00:01Z")
        (None, 1000000000)
        >>> interval("1970-01-01T00:00:01Z", None, None)
        (1000000000, None)
    """
    if datetime is not None:
        if from_ is not None or to is not None:
            raise InputError("datetime: give either datetime, or from and to")
        first, slash, last = datetime.partition("/")
        bounds = (first, last if slash else first)
        from_, to = (None if text in {"", ".."} else text for text in bounds)
        if not slash and from_ is None:
            raise InputError(f"datetime: an instant or start/end was wanted, got {datetime[:80]!r}")
    begin, end = _instant(from_, "from"), _instant(to, "to")
    if begin is not None and end is not None and begin > end:
        raise InputError(f"to: a time not before from was wanted, got {to!r}")
    return begin, end


def _instant(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    try:
        # A plus that nobody encoded arrives as a blank.
        instant_ns = rfc3339_to_ns(text[:80].replace(" ", "+") if "T" in text else text[:80])
    except InputError as exc:
        raise InputError(f"{name}: {exc}") from exc
    if not -(2**63) <= instant_ns < 2**63:
        raise InputError(f"{name}: a time between 1678 and 2262 was wanted, got {text[:80]!r}")
    return instant_ns


def box(text: str | None) -> Box | None:
    """A bounding box, or none."""
    return None if text is None else parse_box(text[:200])


def limit_of(text: str | None) -> int:
    """Rows of a page.

    Raises:
        InputError: Not a whole number from 1 to 1000.
    """
    if text is None:
        return DEFAULT_LIMIT
    if re.fullmatch(r"-?[0-9]{1,9}", text) is None:
        raise InputError(f"limit: a whole number from 1 to 1000 was wanted, got {text[:80]!r}")
    return check_limit(int(text))


def incident_filter(
    given: dict[str, str | None], old_codes: Mapping[str, str] | None = None
) -> IncidentFilter:
    """The filter of ``GET /incidents``."""
    from_ns, to_ns = interval(given["from"], given["to"], given["datetime"])
    return IncidentFilter(
        box=box(given["bbox"]),
        area_code=area_prefix(given["area"], old_codes),
        from_ns=from_ns,
        to_ns=to_ns,
        scenarios=words(given["scenario"], "scenario"),
        domains=words(given["domain"], "domain"),
        departments=words(given["department"], "department"),
        severities=choices(given["severity"], "severity", Severity),
        statuses=_statuses(given["status"]),
        unit_id=(given["unit"] or "")[:_MAX_CHARS],
        worker_id=(given["worker"] or "")[:_MAX_CHARS],
        thing_id=(given["thing"] or "")[:_MAX_CHARS],
        parent_id=(given["parent"] or "")[:_MAX_CHARS],
    )


def _statuses(text: str | None) -> tuple[Status, ...]:
    """Statuses by name; ``open`` stands for every one in which somebody still has to act."""
    found = words(text, "status")
    if "open" in found:
        rest = ",".join(word for word in found if word != "open")
        return (*sorted(OPEN_STATUSES), *choices(rest or None, "status", Status))
    return choices(text, "status", Status)
