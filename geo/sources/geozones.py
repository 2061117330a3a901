"""Reads UAS geographical zones: ED-269 and ED-318.

Source: EUROCAE ED-269 (JSON with ``UASZoneList``, or ``features`` without geometry types) and
ED-318 (GeoJSON whose geometries carry a ``layer`` with floor and ceiling).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import shapely
from shapely.geometry import shape

from core.city import AltitudeDatum
from core.errors import InputError, LayerError
from core.units import rfc3339_to_ns
from geo.schedule import Period, Schedule
from geo.sources.table import SourceTable
from geo.sources.volumes import FOOT_M, Limit, Volume, circle, volume_table

_DATUMS = {
    "AGL": AltitudeDatum.AGL,
    "AMSL": AltitudeDatum.MSL,
    "MSL": AltitudeDatum.MSL,
    "WGS84": AltitudeDatum.WGS84,
    "HAE": AltitudeDatum.WGS84,
}

#: Files write this, or more, for a zone without a ceiling.
_NO_CEILING_M = 90_000.0

_DAYS = frozenset({"MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"})


def is_ed269(document: Any) -> bool:
    """Whether a JSON document is ED-269."""
    if not isinstance(document, dict):
        return False
    features = document.get("UASZoneList", document.get("features"))
    return (
        isinstance(features, list)
        and bool(features)
        and all(isinstance(one, dict) and isinstance(one.get("geometry"), list) for one in features)
    )


def is_ed318(document: Any) -> bool:
    """Whether a JSON document is ED-318: a feature whose geometry has a vertical layer."""
    if not isinstance(document, dict):
        return False
    if document.get("type") == "Feature":
        features: Any = [document]
    else:
        features = document.get("features")
    return isinstance(features, list) and any(
        isinstance(part.get("layer"), dict)
        for one in features
        if isinstance(one, dict)
        for part in _parts(one.get("geometry"))
    )


def read_ed269(document: dict[str, Any], where: str) -> SourceTable:
    """Read ED-269.

    Raises:
        LayerError: A zone lacks its border or limits; names it.
    """
    volumes = []
    notes: list[str] = []
    zones = document.get("UASZoneList", document.get("features"))
    for number, zone in enumerate(zones or [], start=1):
        here = f"{where}: zone {zone.get('identifier') or number}"
        for part in zone["geometry"]:
            feet = str(part.get("uomDimensions", "M")).upper().startswith("F")
            volumes.append(
                Volume(
                    id=str(zone.get("identifier") or ""),
                    name=_text(zone.get("name")),
                    kind=str(zone.get("restriction") or zone.get("type") or "zone").lower(),
                    shape=_projection(part.get("horizontalProjection"), feet, here),
                    floor=_limit(
                        part.get("lowerLimit"), part.get("lowerVerticalReference"), feet, 0.0, here
                    ),
                    ceiling=_limit(
                        part.get("upperLimit"),
                        part.get("upperVerticalReference"),
                        feet,
                        math.inf,
                        here,
                    ),
                    active=_schedule(zone.get("applicability"), here, notes),
                )
            )
    return volume_table(volumes, where, notes)


def read_ed318(document: dict[str, Any], where: str) -> SourceTable:
    """Read ED-318.

    Raises:
        LayerError: A zone lacks its border or limits; names it.
    """
    volumes = []
    notes: list[str] = []
    features = [document] if document.get("type") == "Feature" else document["features"]
    for number, feature in enumerate(features, start=1):
        zone = feature.get("properties") or {}
        here = f"{where}: zone {zone.get('identifier') or number}"
        for part in _parts(feature.get("geometry")):
            layer = part.get("layer") or {}
            feet = str(layer.get("uom", "m")).lower() == "ft"
            volumes.append(
                Volume(
                    id=str(zone.get("identifier") or ""),
                    name=_text(zone.get("name")),
                    kind=str(zone.get("type") or "zone").lower(),
                    shape=_layered_shape(part, here),
                    floor=_limit(layer.get("lower"), layer.get("lowerReference"), feet, 0.0, here),
                    ceiling=_limit(
                        layer.get("upper"), layer.get("upperReference"), feet, math.inf, here
                    ),
                    active=_schedule(zone.get("limitedApplicability"), here, notes),
                )
            )
    return volume_table(volumes, where, notes)


def _parts(geometry: Any) -> Iterator[dict[str, Any]]:
    """The geometries of a feature, each of which has its own floor and ceiling."""
    if not isinstance(geometry, dict):
        return
    if geometry.get("type") == "GeometryCollection":
        for part in geometry.get("geometries") or []:
            yield from _parts(part)
    else:
        yield geometry


def _layered_shape(part: dict[str, Any], here: str) -> shapely.Geometry:
    extent = part.get("extent")
    if part.get("type") == "Point":
        if not isinstance(extent, dict) or not isinstance(extent.get("radius"), int | float):
            raise LayerError(f"{here}: a point was got, an extent with a radius was wanted")
        lon, lat = part["coordinates"][:2]
        return circle(float(lon), float(lat), float(extent["radius"]))
    return _geojson_shape(part, here)


def _projection(part: Any, feet: bool, here: str) -> shapely.Geometry:
    if not isinstance(part, dict):
        raise LayerError(f"{here}: horizontalProjection was wanted, there is none")
    if part.get("type") == "Circle":
        try:
            lon, lat = part["center"][:2]
            radius = float(part["radius"]) * (FOOT_M if feet else 1.0)
        except (KeyError, TypeError, ValueError) as exc:
            raise LayerError(f"{here}: a circle needs center and radius: {exc!r}") from exc
        return circle(float(lon), float(lat), radius)
    return _geojson_shape(part, here)


def _geojson_shape(part: dict[str, Any], here: str) -> shapely.Geometry:
    try:
        return shapely.force_2d(shape(part))
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as exc:
        raise LayerError(
            f"{here}: a GeoJSON geometry was wanted, got {str(part)[:120]}: {exc!r}"
        ) from exc


def _limit(value: Any, reference: Any, feet: bool, default: float, here: str) -> Limit:
    datum = _DATUMS.get(str(reference or "AGL").upper())
    if datum is None:
        raise LayerError(
            f"{here}: a vertical reference of {', '.join(_DATUMS)} was wanted, got {reference!r}"
        )
    if value is None:
        return Limit(default, datum)
    try:
        metres = float(value) * (FOOT_M if feet else 1.0)
    except (TypeError, ValueError) as exc:
        raise LayerError(f"{here}: a height was wanted, got {value!r}") from exc
    return Limit(math.inf if metres >= _NO_CEILING_M else metres, datum)


def _text(value: Any) -> str:
    """A name: a text, or one of several languages; Chinese, then English, then the first."""
    if isinstance(value, list):
        texts = {
            str(one.get("lang", "")): str(one.get("text", ""))
            for one in value
            if isinstance(one, dict)
        }
        for wanted in ("zh", "en"):
            for language, text in texts.items():
                if language.lower().startswith(wanted):
                    return text
        return next(iter(texts.values()), "")
    return "" if value is None else str(value)


def _schedule(periods: Any, here: str, notes: list[str]) -> str:
    """Activity of a zone; what cannot be told makes it active, for a zone must not vanish."""
    if not isinstance(periods, list):
        return ""
    spans: list[Period] = []
    for one in periods:
        if not isinstance(one, dict) or str(one.get("permanent", "")).upper() == "YES":
            return ""
        try:
            start, end = one.get("startDateTime"), one.get("endDateTime")
            whole = {
                "from_ns": None if start is None else rfc3339_to_ns(start),
                "to_ns": None if end is None else rfc3339_to_ns(end),
            }
            daily = one.get("schedule", one.get("dailyPeriod")) or [{}]
            for day in daily:
                days = tuple(name for name in day.get("day") or () if name in _DAYS)
                if day.get("startEvent") or day.get("endEvent"):
                    notes.append(f"{here}: hours of daylight are taken as the whole day")
                    spans.append(Period(**whole, days=days))
                    continue
                hours = {
                    "start_s": _second(day.get("startTime")),
                    "end_s": _second(day.get("endTime")),
                }
                spans.append(Period(**whole, days=days, **hours))
        except (InputError, ValueError, AttributeError, TypeError) as exc:
            notes.append(f"{here}: its hours cannot be read and are taken as always: {exc}")
            return ""
    return Schedule(spans).text


def _second(text: str | None) -> int | None:
    """Second of the day in UTC of ``16:00:00Z`` or ``08:00:00+08:00``."""
    if not text:
        return None
    return rfc3339_to_ns(f"1970-01-02T{text}" + ("" if _has_zone(text) else "Z")) // 10**9 % 86_400


def _has_zone(text: str) -> bool:
    return text.endswith(("Z", "z")) or "+" in text or "-" in text
