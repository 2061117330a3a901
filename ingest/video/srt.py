"""Side-car files that DJI aircraft write beside a video: time and place of every picture.

There is no specification, and the fields differ by model: some write ``GPS (lon, lat,
satellites)``, some ``GPS(lat,lon,0.0M)``, some name each value (with ``longtitude`` misspelt).
A latitude beyond 90 degrees settles the order; otherwise a third value with the unit M says
that a latitude comes first.
"""

from __future__ import annotations

import bisect
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from core.city import CameraPose
from core.errors import InputError
from core.units import NS_PER_S

#: A larger file is refused; an hour at 60 pictures a second is about 60 MB.
MAX_BYTES = 256 * 1024 * 1024

_SPAN = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{3})\s*-->")
_WHEN = re.compile(
    r"(\d{4})[-.](\d\d)[-.](\d\d) (\d\d):(\d\d):(\d\d)(?:[,.](\d{3})(?:[,.]?(\d{3}))?)?"
)
_NUMBER = r"\s*:?\s*(-?\d+(?:\.\d+)?)"
_GPS = re.compile(r"GPS\s*\(\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*(?:,\s*(-?[\d.]+)\s*(M?)\s*)?\)", re.I)
_NAMED = {
    "lat_deg": re.compile(rf"\blatitude{_NUMBER}", re.I),
    "lon_deg": re.compile(rf"\blong?t?itude{_NUMBER}", re.I),
    "alt_takeoff_m": re.compile(rf"\b(?:rel_alt|BAROMETER|H){_NUMBER}"),
    "alt_m": re.compile(rf"\b(?:abs_alt|altitude){_NUMBER}", re.I),
    "yaw_deg": re.compile(rf"\bgb_yaw{_NUMBER}"),
    "pitch_deg": re.compile(rf"\bgb_pitch{_NUMBER}"),
    "roll_deg": re.compile(rf"\bgb_roll{_NUMBER}"),
}


class Telemetry(NamedTuple):
    """What one subtitle says.

    ``from_ns`` is video time. ``local_ns`` is the aircraft's own clock read as UTC: the file
    names no time zone. ``alt_takeoff_m`` is above the take-off point, ``alt_m`` as the file
    calls it "altitude", of unknown datum. Gimbal angles in degrees. None where nothing is said.
    """

    from_ns: int
    local_ns: int | None
    lon_deg: float | None
    lat_deg: float | None
    alt_takeoff_m: float | None
    alt_m: float | None
    yaw_deg: float | None
    pitch_deg: float | None
    roll_deg: float | None


def parse_srt(text: str) -> list[Telemetry]:
    """Read a side-car file; blocks that say nothing are left out.

    Example:
        >>> block = "1\\n00:00:01,000 --> 00:00:02,000\\nGPS (8.2090, 47.4692, 18), H 45.60m\\n"
        >>> one, = parse_srt(block)
        >>> one.from_ns, one.lon_deg, one.lat_deg, one.alt_takeoff_m
        (1000000000, 8.209, 47.4692, 45.6)
        >>> one, = parse_srt(block.replace("8.2090, 47.4692, 18", "36.6,-6.1,0.0M"))
        >>> one.lon_deg, one.lat_deg
        (-6.1, 36.6)
    """
    told: list[Telemetry] = []
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n").lstrip("\ufeff")):
        span = _SPAN.search(block)
        if span is None:
            continue
        hours, minutes, seconds, millis = (int(part) for part in span.groups())
        from_ns = ((hours * 60 + minutes) * 60 + seconds) * NS_PER_S + millis * 1_000_000
        values: dict[str, float | None] = {
            name: float(found.group(1)) if (found := pattern.search(block)) else None
            for name, pattern in _NAMED.items()
        }
        place = _GPS.search(block)
        if place is not None:
            values["lon_deg"], values["lat_deg"] = _ordered(place)
        lon, lat = values["lon_deg"], values["lat_deg"]
        # Without a fix the aircraft writes zeros.
        if lon is None or lat is None or (lon == 0.0 and lat == 0.0) or abs(lat) > 90.0:
            values["lon_deg"] = values["lat_deg"] = None
        told.append(Telemetry(from_ns=from_ns, local_ns=_local_ns(block), **values))
    return told


class SideCar:
    """The telemetry beside a video, asked by video time.

    Raises:
        InputError: The file is too large or says nothing.
    """

    def __init__(self, path: Path) -> None:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: {path.stat().st_size} bytes, at most {MAX_BYTES}")
        self._told = parse_srt(path.read_text("utf-8", errors="replace"))
        if not self._told:
            raise InputError(f"{path}: no subtitle with a time was found; a DJI .SRT was wanted")
        self._told.sort(key=lambda one: one.from_ns)
        self._from_ns = [one.from_ns for one in self._told]

    def __len__(self) -> int:
        return len(self._told)

    def at(self, video_ns: int) -> Telemetry:
        """What was said last at a video time."""
        return self._told[max(0, bisect.bisect_right(self._from_ns, video_ns) - 1)]

    def utc_ns(self, video_ns: int, utc_offset_s: float) -> int | None:
        """The instant of a picture, or None where the file has no clock.

        Args:
            video_ns: Video time.
            utc_offset_s: Of the aircraft's clock, e.g. 28,800 in China.
        """
        one = self.at(video_ns)
        if one.local_ns is None:
            return None
        return one.local_ns + (video_ns - one.from_ns) - round(utc_offset_s * NS_PER_S)

    def pose(self, video_ns: int, usual: CameraPose | None) -> CameraPose | None:
        """The camera's pose at a video time.

        Args:
            video_ns: Video time.
            usual: What holds where the file says nothing: lens, picture size, and gimbal angles
                and height for models that do not write them.

        Returns:
            None without ``usual``, a place or a height.
        """
        one = self.at(video_ns)
        if usual is None or one.lon_deg is None or one.lat_deg is None:
            return usual if one.lon_deg is None else None
        height_m = one.alt_takeoff_m if one.alt_takeoff_m else usual.height_agl_m
        if height_m <= 0.5:
            return None
        return CameraPose(
            lon_deg=one.lon_deg,
            lat_deg=one.lat_deg,
            height_agl_m=height_m,
            yaw_deg=usual.yaw_deg if one.yaw_deg is None else one.yaw_deg,
            pitch_deg=usual.pitch_deg if one.pitch_deg is None else one.pitch_deg,
            roll_deg=usual.roll_deg if one.roll_deg is None else one.roll_deg,
            hfov_deg=usual.hfov_deg,
            width_px=usual.width_px,
            height_px=usual.height_px,
            position_sigma_m=max(usual.position_sigma_m, 2.0),
            angle_sigma_deg=max(usual.angle_sigma_deg, 1.0),
        )


def find_side_car(video: Path) -> Path | None:
    """The ``.SRT`` of the same name beside a video, or None."""
    for suffix in (".SRT", ".srt"):
        path = video.with_suffix(suffix)
        if path.is_file():
            return path
    return None


def _ordered(place: re.Match[str]) -> tuple[float, float]:
    first, second = float(place.group(1)), float(place.group(2))
    latitude_first = place.group(4).upper() == "M" if place.group(4) else False
    if abs(first) > 90.0:
        latitude_first = False
    elif abs(second) > 90.0:
        latitude_first = True
    return (second, first) if latitude_first else (first, second)


def _local_ns(block: str) -> int | None:
    when = _WHEN.search(block)
    if when is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in when.groups()[:6])
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    micros = int(when.group(7) or 0) * 1000 + int(when.group(8) or 0)
    since = moment + timedelta(microseconds=micros) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since // timedelta(microseconds=1)) * 1000
