"""PX4 flight logs (ULog, https://docs.px4.io/main/en/dev_log/ulog_file_format.html)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pyulog import ULog

from core.errors import InputError
from core.ports import RawMessage
from ingest.imports.track import aircraft_message

_GPS = ("vehicle_gps_position", "sensor_gps")
#: A two-dimensional fix has no height; below that there is no position at all.
_FIX_3D = 3


def read_ulog(path: Path, *, city: str, thing: str) -> Iterator[RawMessage]:
    """Read what the GPS receiver said; without a fix there is a message without a position.

    Raises:
        InputError: It is no ULog, or holds no GPS.
    """
    try:
        with path.open("rb") as file:
            log = ULog(file, list(_GPS))
    except Exception as exc:  # pyulog raises what the damage happens to cause
        raise InputError(f"{path}: no ULog file: {type(exc).__name__} {exc}") from exc
    tables = {one.name: one.data for one in log.data_list if one.multi_id == 0}
    data = next((tables[name] for name in _GPS if name in tables), None)
    if data is None:
        raise InputError(f"{path}: no {' or '.join(_GPS)} in it")
    # Until the receiver knows the time, it is reckoned back from where it does.
    utc_us = data["time_utc_usec"].astype(np.int64)
    boot_us = data["timestamp"].astype(np.int64)
    known = np.flatnonzero(utc_us > 0)
    if not len(known):
        raise InputError(f"{path}: its GPS never knew the time")
    began_us = int(utc_us[known[0]] - boot_us[known[0]])
    for row in range(len(boot_us)):
        at_us = int(utc_us[row]) or began_us + int(boot_us[row])
        fix = int(data["fix_type"][row]) >= _FIX_3D
        lon, lat, measures = _point(data, row)
        yield aircraft_message(
            city,
            thing,
            at_us * 1000,
            measures if fix else {"gps_satellite_count": float(data["satellites_used"][row])},
            lon_deg=lon if fix else None,
            lat_deg=lat if fix else None,
            error_m=round(float(data["eph"][row]), 3) if fix else None,
        )


def _point(data: dict[str, Any], row: int) -> tuple[float, float, dict[str, float]]:
    """Longitude, latitude and measures; degrees since PX4 1.14, before that 1e-7 and mm."""
    if "latitude_deg" in data:
        lon, lat = float(data["longitude_deg"][row]), float(data["latitude_deg"][row])
        msl = float(data["altitude_msl_m"][row])
        ellipsoid = float(data["altitude_ellipsoid_m"][row])
    else:
        lon, lat = int(data["lon"][row]) / 1e7, int(data["lat"][row]) / 1e7
        msl = int(data["alt"][row]) / 1e3
        ellipsoid = int(data["alt_ellipsoid"][row]) / 1e3
    measures = {
        "alt_msl_m": round(msl, 3),
        "alt_wgs84_m": round(ellipsoid, 3),
        "ground_speed_mps": round(float(data["vel_m_s"][row]), 3),
        "gps_satellite_count": float(data["satellites_used"][row]),
    }
    return lon, lat, {name: value for name, value in measures.items() if np.isfinite(value)}
