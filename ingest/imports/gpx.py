"""GPX tracks (https://www.topografix.com/GPX/1/1/): points with a time, others are left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC

import gpxpy
from gpxpy.gpx import GPXException

from core.errors import InputError
from core.ports import RawMessage
from ingest.imports.track import aircraft_message


def read_gpx(text: str, *, city: str, thing: str, where: str = "GPX") -> Iterator[RawMessage]:
    """Read the points of all tracks; the elevation of GPX is above mean sea level.

    Raises:
        InputError: It is no GPX, or no point of it has a time.
    """
    try:
        read = gpxpy.parse(text)
    except (GPXException, ValueError) as exc:
        raise InputError(f"{where}: {exc}") from exc
    found = 0
    for track in read.tracks:
        for segment in track.segments:
            for point in segment.points:
                if point.time is None:
                    continue
                found += 1
                moment = point.time if point.time.tzinfo else point.time.replace(tzinfo=UTC)
                at_ns = round(moment.timestamp() * 1000) * 1_000_000
                height = {} if point.elevation is None else {"alt_msl_m": float(point.elevation)}
                yield aircraft_message(
                    city, thing, at_ns, height, lon_deg=point.longitude, lat_deg=point.latitude
                )
    if not found:
        raise InputError(f"{where}: no track point with a time in it")
