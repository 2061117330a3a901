"""What names and units of SenML records (RFC 8428) are in our words."""

from __future__ import annotations

import math
import re
from functools import lru_cache

#: RFC 8428 section 4.5.1.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")
_MEASURE_PART = re.compile(r"[a-z][a-z0-9_]*")

#: Unit to the ending of our measure name, and how to convert: value * factor + offset.
UNITS: dict[str, tuple[str, float, float]] = {
    "m": ("_m", 1.0, 0.0),
    "cm": ("_m", 0.01, 0.0),
    "mm": ("_m", 0.001, 0.0),
    "km": ("_m", 1000.0, 0.0),
    "m/s": ("_mps", 1.0, 0.0),
    "km/h": ("_mps", 1 / 3.6, 0.0),
    "Cel": ("_c", 1.0, 0.0),
    "K": ("_c", 1.0, -273.15),
    "%RH": ("_ratio", 0.01, 0.0),
    "%EL": ("_ratio", 0.01, 0.0),
    "%": ("_ratio", 0.01, 0.0),
    "/100": ("_ratio", 0.01, 0.0),
    "/": ("_ratio", 1.0, 0.0),
    "dB": ("_db", 1.0, 0.0),
    "dB/m": ("_db_per_m", 1.0, 0.0),
    "ug/m3": ("_ug_m3", 1.0, 0.0),
    "mg/m3": ("_ug_m3", 1000.0, 0.0),
    "kg/m3": ("_ug_m3", 1e9, 0.0),
    "ppm": ("_ppm", 1.0, 0.0),
    "Pa": ("_pa", 1.0, 0.0),
    "kPa": ("_pa", 1000.0, 0.0),
    "hPa": ("_pa", 100.0, 0.0),
    "V": ("_v", 1.0, 0.0),
    "mV": ("_v", 0.001, 0.0),
    "A": ("_a", 1.0, 0.0),
    "mA": ("_a", 0.001, 0.0),
    "W": ("_w", 1.0, 0.0),
    "lx": ("_lx", 1.0, 0.0),
    "s": ("_s", 1.0, 0.0),
    "min": ("_s", 60.0, 0.0),
    "ms": ("_s", 0.001, 0.0),
    "deg": ("_deg", 1.0, 0.0),
    "rad": ("_deg", 180 / math.pi, 0.0),
    "mm/h": ("_mm_per_h", 1.0, 0.0),
    "m/h": ("_mm_per_h", 1000.0, 0.0),
    "/1000": ("_ratio", 0.001, 0.0),
    "h": ("_s", 3600.0, 0.0),
    "kW": ("_w", 1000.0, 0.0),
    "Wh": ("_wh", 1.0, 0.0),
    "kWh": ("_wh", 1000.0, 0.0),
    "Hz": ("_hz", 1.0, 0.0),
    "MHz": ("_hz", 1e6, 0.0),
    "count": ("_count", 1.0, 0.0),
}

#: What a record that names only the thing measures, by its unit.
_MEASURE_OF_UNIT = {"%RH": "humidity", "Cel": "temperature", "%EL": "battery", "%": "level"}


def split_name(name: str) -> tuple[str, str]:
    """Split a resolved name at its last ``/`` or ``:`` into thing and measure.

    Where the last part cannot name a measure, the whole name is the thing's; where there is no
    separator, the whole name is the measure's.

    Example:
        >>> split_name("urn:dev:ow:10e2073a01080063:voltage")
        ('urn:dev:ow:10e2073a01080063', 'voltage')
        >>> split_name("urn:dev:ow:10e2073a01080063"), split_name("tilt_deg")
        (('urn:dev:ow:10e2073a01080063', ''), ('', 'tilt_deg'))
    """
    cut = max(name.rfind("/"), name.rfind(":"))
    if cut < 0:
        return ("", name) if _MEASURE_PART.fullmatch(name) else (name, "")
    thing, measure = name[:cut], name[cut + 1 :]
    return (thing, measure) if _MEASURE_PART.fullmatch(measure) else (name, "")


def measure_of(name: str, unit: str | None, value: float) -> tuple[str, float]:
    """Name a measure with its unit, converted to ours where the unit is known.

    Example:
        >>> measure_of("water_level", "cm", 31.0)
        ('water_level_m', 0.31)
        >>> measure_of("tilt_deg", None, 4.0), measure_of("flow", "m3/h", 2.0)
        (('tilt_deg', 4.0), ('flow_m3_h', 2.0))
    """
    name, factor, offset = conversion(name, unit)
    return name, value * factor + offset


@lru_cache(maxsize=4096)
def conversion(name: str, unit: str | None) -> tuple[str, float, float]:
    """Our name of a measure, and what takes its values there: value * factor + offset."""
    as_it_is = (1.0, -0.0)  # of all numbers, -0.0 changes none that it is added to
    if unit is None:
        return name or "value", *as_it_is
    if not name:
        name = _MEASURE_OF_UNIT.get(unit, "value")
    if unit in UNITS:
        ending, factor, offset = UNITS[unit]
        return (name if name.endswith(ending) else name + ending), factor, offset
    slug = re.sub(r"[^A-Za-z0-9]+", "_", unit).strip("_").lower()
    return (name if not slug or name.endswith("_" + slug) else f"{name}_{slug}"), *as_it_is
