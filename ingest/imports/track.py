"""What imported flights have in common: points of an aircraft as plain JSON messages. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from core.ports import RawMessage
from core.units import ns_to_rfc3339


def aircraft_message(
    city: str,
    thing: str,
    at_ns: int,
    measures: dict[str, float],
    *,
    lon_deg: float | None = None,
    lat_deg: float | None = None,
    error_m: float | None = None,
) -> RawMessage:
    """One point of a flight as an aircraft would have sent it, received as it was sent.

    Example:
        >>> aircraft_message("c", "u-1", 0, {"alt_msl_m": 5.0}, lon_deg=8.0, lat_deg=47.0).payload
        b'{"kind":"aircraft","time":"1970-01-01T00:00:00.000Z","measures":{"alt_msl_m":5.0},\
"lon":8.0,"lat":47.0}'
    """
    body: dict[str, Any] = {"kind": "aircraft", "time": ns_to_rfc3339(at_ns), "measures": measures}
    # (0, 0) is how receivers without a fix say that they know nothing.
    if lon_deg is not None and lat_deg is not None and (lon_deg, lat_deg) != (0.0, 0.0):
        body |= {"lon": lon_deg, "lat": lat_deg}
    if error_m is not None:
        body["error_m"] = error_m
    return RawMessage(
        topic=f"qn/{city}/sensor/{thing}",
        payload=msgspec.json.encode(body),
        received_ns=at_ns,
        qos=1,
    )
