"""What OpenAPI says of answers, made from the core structs; checks that bodies share."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator

from core.events import Place
from core.exclusions import Exclusion
from core.incidents import Evidence, HistoryEntry, Incident, Text
from store.things import Thing


def _without_nul(text: str) -> str:
    if "\0" in text:
        msg = "a text without NUL was wanted"
        raise ValueError(msg)
    return text


#: A text that every database can keep.
Plain = Annotated[str, AfterValidator(_without_nul)]

_STRUCTS = (Incident, Evidence, HistoryEntry, Place, Text, Thing, Exclusion)
_REF = "#/components/schemas/{name}"

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem details",
    "properties": {
        "type": {"type": "string", "example": "urn:qingniao:problem:conflict"},
        "title": {"type": "string"},
        "title_zh": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was got, what was wanted, where"},
        "instance": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail", "instance"],
}


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(name="Problem")}
    return {
        "description": description,
        "content": {"application/problem+json": {"schema": schema}},
    }


#: The answers that any route may give instead.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: _problem("The token is missing or wrong"),
    404: _problem("There is no such thing"),
    409: _problem("Not in the present state, or somebody else changed it first"),
    413: _problem("The body is too large"),
    422: _problem("The request cannot be used; says what was wrong, where, what is accepted"),
    429: _problem("Too many requests; Retry-After says when to come back"),
    503: _problem("A part of the platform failed"),
}


def components() -> dict[str, Any]:
    """The schemas of answers, with instants as texts where the structs count nanoseconds.

    Example:
        >>> components()["Incident"]["properties"]["opened_at"]["format"]
        'date-time'
    """
    _, made = msgspec.json.schema_components(_STRUCTS, ref_template=_REF)
    for schema in made.values():
        properties: dict[str, Any] = {}
        for name, what in schema.get("properties", {}).items():
            if name.endswith("_ns"):
                at = "at" if name == "at_ns" else f"{name[:-3]}_at"
                properties[at] = {"type": ["string", "null"], "format": "date-time"}
            else:
                properties[name] = what
        if properties:
            schema["properties"] = properties
            schema["required"] = list(properties)
    return {**made, "Problem": _PROBLEM}


def answer(description: str, shape: Any) -> dict[int | str, dict[str, Any]]:
    """The documentation of a good answer.

    Args:
        description: For people.
        shape: A struct, or a mapping of member names to structs, [struct] or Python types.
    """
    return {
        200: {
            "description": description,
            "content": {"application/json": {"schema": _schema(shape)}},
        }
    }


def _schema(shape: Any) -> dict[str, Any]:
    if isinstance(shape, dict):
        properties = {name: _schema(part) for name, part in shape.items()}
        return {"type": "object", "properties": properties}
    if isinstance(shape, list):
        return {"type": "array", "items": _schema(shape[0])}
    if shape in _STRUCTS:
        return {"$ref": _REF.format(name=shape.__name__)}
    if shape is str:
        return {"type": ["string", "null"]}
    return {"type": "integer" if shape is int else "object"}
