"""Answers made of JSON that is encoded already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi.responses import Response

GEOJSON = "application/geo+json"

_ENCODER = msgspec.json.Encoder()


class JsonBytes(Response):
    """An answer whose body is JSON in bytes."""

    media_type = "application/json"


def encoded(
    value: Any, status_code: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Encode a value as an answer."""
    return JsonBytes(_ENCODER.encode(value), status_code, headers=dict(headers or {}))


def as_json(value: Any) -> bytes:
    """Encode a value."""
    return _ENCODER.encode(value)
