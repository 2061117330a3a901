"""Fields that a network server's own codec has named: JSON of any maker to our measures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ingest.decoders.lorawan.tlv import Decoded
from ingest.decoders.senml_names import measure_of

#: Names that makers use, squeezed to letters and digits, to our name and the unit meant.
_NAMES: dict[str, tuple[str, str | None]] = {
    **dict.fromkeys(
        ("temperature", "temp", "tempc", "tempcds", "tempcsht", "airtemperature", "temperaturec"),
        ("temperature", "Cel"),
    ),
    **dict.fromkeys(
        ("humidity", "hum", "humsht", "relativehumidity", "airhumidity"), ("humidity", "%RH")
    ),
    **dict.fromkeys(
        ("battery", "batterylevel", "batterypercent", "batterypercentage"), ("battery", "%")
    ),
    **dict.fromkeys(("batv", "batteryvoltage", "vbat"), ("battery", "V")),
    **dict.fromkeys(("co2", "co2ppm", "carbondioxide"), ("co2", "ppm")),
    **dict.fromkeys(("pressure", "barometricpressure", "airpressure"), ("pressure", "hPa")),
    **dict.fromkeys(("pm25", "pm2d5"), ("pm2_5", "ug/m3")),
    **dict.fromkeys(("pm10", "pm100"), ("pm10", "ug/m3")),
    "pm1": ("pm1_0", "ug/m3"),
    **dict.fromkeys(("illumination", "illuminance", "lux", "illumlx"), ("illumination", "lx")),
    **dict.fromkeys(("noise", "soundlevel", "laeq", "leq", "noiselevel"), ("noise", "dB")),
    **dict.fromkeys(("h2s",), ("h2s", "ppm")),
    **dict.fromkeys(("nh3",), ("nh3", "ppm")),
    **dict.fromkeys(("lel", "gaslel", "ch4lel"), ("gas_lel", "%")),
    **dict.fromkeys(("tilt", "tiltangle", "inclination"), ("tilt", "deg")),
}

#: States: squeezed name to measure, and the words that mean 1 (others that are known mean 0).
_STATES: dict[str, str] = {
    **dict.fromkeys(
        ("leak", "leakage", "leakagestatus", "waterleak", "waterleakstatus", "waterleakage",
         "leakdetected", "waterdetected", "flood", "flooded"),
        "leak",
    ),
    **dict.fromkeys(
        ("occupied", "occupancy", "occupancystatus", "isoccupied", "parkingstatus", "parking",
         "parkingstate", "parkflag", "parkingoccupied", "vehicle", "vehicledetected",
         "vehiclepresent", "carpresent", "carstatus", "spaceoccupied", "slotstatus"),
        "occupied",
    ),
    **dict.fromkeys(
        ("gas", "gasalarm", "gasstatus", "gasdetected", "gasleak", "gasleakage"), "gas_alarm"
    ),
    **dict.fromkeys(("smoke", "smokealarm", "smokestatus", "smokedetected"), "smoke_alarm"),
    **dict.fromkeys(("door", "dooropen", "opened", "magnetstatus", "dooropenstatus"), "opened"),
    **dict.fromkeys(("motion", "pir", "pirstatus"), "motion"),
    **dict.fromkeys(("coveropen", "coverstatus", "manholeopen"), "cover_open"),
}  # fmt: skip
_ON = {
    "1", "true", "yes", "on", "leak", "leaking", "alarm", "occupied", "busy", "parked", "open",
    "opened", "trigger", "triggered", "detected", "flood", "wet", "full", "motion",
}  # fmt: skip
_OFF = {
    "0", "false", "no", "off", "normal", "none", "vacant", "free", "empty", "idle", "close",
    "closed", "dry", "ok", "clear", "available",
}  # fmt: skip

#: Endings that say a unit, longest first.
_ENDINGS = {
    "_percent": "%", "_pct": "%", "_ug_m3": "ug/m3", "_mg_m3": "mg/m3", "_degc": "Cel",
    "_celsius": "Cel", "_cm": "cm", "_mm": "mm", "_hpa": "hPa", "_kpa": "kPa", "_ppm": "ppm",
    "_ppb": "ppb", "_mv": "mV", "_ma": "mA", "_lux": "lx", "_m": "m", "_v": "V", "_c": "Cel",
}  # fmt: skip
_LEVELS = ("waterlevel", "waterdepth", "depth", "level", "liquidlevel")
MAX_FIELDS = 96


def _squeeze(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _snake(name: str) -> str:
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")[:48]


def read_object(fields: Mapping[str, Any]) -> Decoded:
    """Read named fields; inner objects are read under the outer name.

    A number whose name is not known keeps it; a word becomes a label.

    Example:
        >>> read_object({"TempC_SHT": "21.5", "waterLeak": True, "distance_cm": 120}).measures
        {'temperature_c': 21.5, 'leak': 1.0, 'distance_m': 1.2}
        >>> read_object({"parking_status": "vacant", "mode": "auto"}).labels
        {'mode': 'auto'}
    """
    decoded = Decoded()
    for name, value in list(_flat(fields))[:MAX_FIELDS]:
        _keep(name, value, decoded)
    return decoded


def _flat(fields: Mapping[str, Any], before: str = "", depth: int = 0) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in fields.items():
        whole = f"{before}_{name}" if before else name
        if isinstance(value, Mapping):
            if depth < 2:
                found += _flat(value, whole, depth + 1)
        elif isinstance(value, bool | int | float | str):
            found.append((whole, value))
    return found


def _keep(name: str, value: bool | float | str, decoded: Decoded) -> None:
    squeezed = _squeeze(name)
    decoded.fields[name] = value
    if squeezed in _STATES:
        state = _state(value)
        if state is not None:
            decoded.measures[_STATES[squeezed]] = state
            return
    number = _number(value)
    if number is None:
        decoded.labels[_snake(name) or "value"] = str(value)
        return
    if squeezed in _NAMES:
        measure, converted = measure_of(*_NAMES[squeezed], number)
    else:
        measure, converted = _by_ending(_snake(name), number)
    if measure[:1].isalpha():
        decoded.measures[measure] = converted


def _by_ending(name: str, number: float) -> tuple[str, float]:
    for ending, unit in _ENDINGS.items():
        if name.endswith(ending) and len(name) > len(ending):
            stem = name.removesuffix(ending)
            if _squeeze(stem) in _LEVELS and unit in {"m", "cm", "mm"}:
                stem = "water_level"
            return measure_of(stem, unit, number)
    return name, number


def _state(value: bool | float | str) -> float | None:
    if isinstance(value, str):
        word = value.strip().lower()
        return 1.0 if word in _ON else 0.0 if word in _OFF else None
    return float(value) if value in {0, 1} else None


def _number(value: bool | float | str) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    number = float(value)
    return number if abs(number) < 1e12 else None
