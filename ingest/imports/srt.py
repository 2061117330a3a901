"""DJI flight logs beside a video: SubRip files (SRT), whose words differ by model. Pure.

Known forms: ``[latitude: 41.42] [longitude: 2.16] [rel_alt: 1.3 abs_alt: 36.5]`` (also spelt
``longtitude``), ``GPS (8.2090, 47.4692, 18)`` with longitude first and the number of
satellites last, ``GPS(36.6146,-6.1120,0.0M)`` with latitude first and a height with unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from core.errors import InputError
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.imports.track import aircraft_message

_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_CUE = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{3})\s*-->")
_DATE = re.compile(
    r"(\d{4})[-./](\d{1,2})[-./](\d{1,2})[ T](\d{1,2}):(\d\d):(\d\d)"
    r"(?:[.,](\d{1,3}))?(?:[.,](\d{1,3}))?"
)
_FIELD = re.compile(rf"(\w+)\s*:\s*({_NUMBER})")
_GPS = re.compile(rf"GPS\s*\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*(?:,\s*({_NUMBER})\s*(M)?)?", re.I)
_HEIGHT = re.compile(rf"\bH\s+({_NUMBER})\s*m", re.I)
_BAROMETER = re.compile(rf"BAROMETER\s*:\s*({_NUMBER})", re.I)
_SPEED = re.compile(rf"H\.S\s+({_NUMBER})\s*m/s", re.I)


def read_srt(
    text: str,
    *,
    city: str,
    thing: str,
    start_ns: int | None = None,
    utc_offset_s: float = 8 * 3600.0,
    where: str = "SRT",
) -> Iterator[RawMessage]:
    """Read a flight log.

    Args:
        text: The file.
        city: City of the topics.
        thing: Id of the aircraft.
        start_ns: Instant of the video's beginning, for logs without dates.
        utc_offset_s: Of the camera's clock, which writes local time.
        where: Named in errors.

    Raises:
        InputError: There is no log in it, or no date and no ``start_ns``.

    Example:
        >>> log = "1\\n00:00:01,000 --> 00:00:02,000\\nGPS (8.2090, 47.4692, 18), H 45.60m\\n"
        >>> one, = read_srt(log, city="c", thing="u-1", start_ns=0)
        >>> one.received_ns, one.payload[-26:]
        (1000000000, b'"lon":8.209,"lat":47.4692}')
        >>> next(read_srt("hello", city="c", thing="u-1"))
        Traceback (most recent call last):
        ...
        core.errors.InputError: SRT: no cue such as `00:00:01,000 --> 00:00:02,000` in it
    """
    found = 0
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n").lstrip("\ufeff")):
        cue = _CUE.search(block)
        if cue is None:
            continue
        found += 1
        body = block[cue.end() :]
        at_ns = _instant_ns(body, cue, start_ns, utc_offset_s, where)
        lon, lat = _position(body)
        yield aircraft_message(city, thing, at_ns, _measures(body), lon_deg=lon, lat_deg=lat)
    if not found:
        raise InputError(f"{where}: no cue such as `00:00:01,000 --> 00:00:02,000` in it")


def _instant_ns(
    body: str, cue: re.Match[str], start_ns: int | None, utc_offset_s: float, where: str
) -> int:
    date = _DATE.search(body)
    if date is None:
        if start_ns is None:
            raise InputError(f"{where}: this model writes no dates; give the start with --start")
        hours, minutes, seconds, milliseconds = map(int, cue.groups())
        return (
            start_ns + (((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds) * 1_000_000
        )
    year, month, day, hour, minute, second = map(int, date.groups()[:6])
    try:
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as exc:
        raise InputError(f"{where}: {date[0]!r} is no date: {exc}") from exc
    whole_s = round((local - timedelta(seconds=utc_offset_s)).timestamp())
    milli, micro = (int((part or "0").ljust(3, "0")) for part in date.groups()[6:])
    return whole_s * NS_PER_S + milli * 1_000_000 + micro * 1_000


def _position(body: str) -> tuple[float | None, float | None]:
    fields = {name.lower(): float(value) for name, value in _FIELD.findall(body)}
    lon = fields.get("longitude", fields.get("longtitude"))
    lat = fields.get("latitude")
    gps = _GPS.search(body)
    if gps is not None:
        first, second = float(gps[1]), float(gps[2])
        # Models that write the height with its unit put the latitude first.
        lon, lat = (second, first) if gps[4] else (first, second)
        if abs(lat) > 90 >= abs(lon):
            lon, lat = lat, lon
    if lon is None or lat is None or abs(lat) > 90 or abs(lon) > 180:
        return None, None
    return lon, lat


def _measures(body: str) -> dict[str, float]:
    fields = {name.lower(): float(value) for name, value in _FIELD.findall(body)}
    measures: dict[str, float] = {}
    height = _BAROMETER.search(body) or _HEIGHT.search(body)
    if height is not None:
        measures["alt_takeoff_m"] = float(height[1])
    if "rel_alt" in fields:
        measures["alt_takeoff_m"] = fields["rel_alt"]
    if "abs_alt" in fields:
        measures["alt_msl_m"] = fields["abs_alt"]
    elif "altitude" in fields:
        # Some firmwares mean the take-off point, others the sea; the file does not say.
        measures["alt_unknown_datum_m"] = fields["altitude"]
    speed = _SPEED.search(body)
    if speed is not None:
        measures["ground_speed_mps"] = float(speed[1])
    return measures
