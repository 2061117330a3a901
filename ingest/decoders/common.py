"""What every decoder shares: strict JSON, bounds, times, positions."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeVar

import msgspec

from core.errors import DecodeError, InputError
from core.observations import Observation
from core.ports import RawMessage
from core.units import NS_PER_MS, NS_PER_S, rfc3339_to_ns, seconds_to_ns

#: A reading larger than this is refused; a SenML pack of 1,000 records is about 60 KiB.
MAX_READING_BYTES = 256 * 1024

#: No sensor of a city measures anything larger, in any unit; larger is a broken register.
MAX_ABS_MEASURE = 1e12

#: A device clock may run ahead of ours by this much before it is taken to be wrong.
CLOCK_AHEAD_S = 60.0

#: A device may hold readings back for this long (no network) before its clock is taken to be
#: wrong.
CLOCK_BEHIND_S = 6 * 3600.0

CLOCK_AHEAD_NS = seconds_to_ns(CLOCK_AHEAD_S)
CLOCK_BEHIND_NS = seconds_to_ns(CLOCK_BEHIND_S)

#: Instants after 2100 do not come from a clock.
MAX_INSTANT_NS = 4_102_444_800 * NS_PER_S

_MEASURE = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,63}")
_KIND = re.compile(r"[a-z][a-z0-9_.]{0,63}")

MAX_MEASURES = 128
MAX_LABELS = 32
MAX_LABEL_CHARS = 2048
MAX_ID_CHARS = 256
MAX_SNAPSHOTS = 16
MAX_SNAPSHOT_CHARS = 512

#: What a measure says of the thing that sent it, where the message does not name a kind.
KIND_OF_MEASURE: Mapping[str, str] = {
    "water_level_m": "water_level",
    "tilt_deg": "manhole",
    "smoke_db_per_m": "smoke",
    "gas_lel_ratio": "gas",
    "pm10_ug_m3": "site_air",
    "noise_db": "site_air",
    "occupied": "parking",
    "tilt_change_deg": "structure",
    "inlet_pressure_pa": "gas_regulator",
    "supply_temperature_c": "heat_substation",
}

T = TypeVar("T")


def check_size(message: RawMessage, limit_bytes: int = MAX_READING_BYTES) -> None:
    """Refuse a payload that is larger than any reading.

    Raises:
        DecodeError: ``too_large``.
    """
    if len(message.payload) > limit_bytes:
        raise DecodeError(
            "too_large",
            f"{len(message.payload)} bytes on {message.topic}; a reading has at most {limit_bytes}",
        )


def decode_json(message: RawMessage, decoder: msgspec.json.Decoder[T]) -> T:
    """Read a payload as typed JSON.

    Raises:
        DecodeError: ``too_large``, ``bad_json`` (malformed, not UTF-8, nested too deep),
            ``not_finite`` (NaN, Infinity or a number beyond float64), ``wrong_type``.
    """
    check_size(message)
    try:
        return decoder.decode(message.payload)
    except msgspec.ValidationError as exc:
        reason = "not_finite" if "out of range" in str(exc) else "wrong_type"
        raise DecodeError(reason, f"{exc} on {message.topic}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        if _holds_non_finite(message.payload):
            raise DecodeError(
                "not_finite", f"JSON has no NaN or Infinity (RFC 8259); on {message.topic}"
            ) from exc
        raise DecodeError("bad_json", f"{exc} on {message.topic}") from exc
    except RecursionError as exc:
        raise DecodeError("bad_json", f"nested too deep, on {message.topic}") from exc


def _holds_non_finite(payload: bytes) -> bool:
    """Whether the only thing wrong with a payload is a NaN or Infinity literal."""
    found = False

    def note(_: str) -> float:
        nonlocal found
        found = True
        return 0.0

    try:
        json.loads(payload, parse_constant=note)
    except (ValueError, RecursionError):
        return False
    return found


def instant_ns(value: int | float | str | None, where: str) -> int | None:
    """Read a device time: RFC 3339 text or Unix milliseconds; None where there is none.

    Raises:
        DecodeError: ``bad_time``.

    Example:
        >>> instant_ns(1_767_225_600_123, "t"), instant_ns(None, "t")
        (1767225600123000000, None)
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            instant = rfc3339_to_ns(value)
        except InputError as exc:
            raise DecodeError("bad_time", f"{exc} at {where}") from exc
    else:
        if not math.isfinite(value):
            raise DecodeError("bad_time", f"a finite time was wanted, got {value} at {where}")
        instant = round(value * NS_PER_MS)
    if not 0 < instant < MAX_INSTANT_NS:
        raise DecodeError(
            "bad_time", f"a time between 1970 and 2100 was wanted, got {value!r} at {where}"
        )
    return instant


def position(
    lon_deg: float | None, lat_deg: float | None, where: str
) -> tuple[float, float] | tuple[None, None]:
    """Check a WGS 84 position; (0, 0) is how devices say that they have none.

    Raises:
        DecodeError: ``bad_position``: half of it is missing, or it lies off the Earth.

    Example:
        >>> position(120.38, 36.06, "m"), position(0.0, 0.0, "m")
        ((120.38, 36.06), (None, None))
    """
    if lon_deg is None and lat_deg is None:
        return None, None
    if lon_deg is None or lat_deg is None:
        raise DecodeError(
            "bad_position", f"lon and lat were wanted, got lon={lon_deg} lat={lat_deg} at {where}"
        )
    if not (-180 <= lon_deg <= 180 and -90 <= lat_deg <= 90):
        raise DecodeError(
            "bad_position",
            f"lon within 180 and lat within 90 degrees was wanted, got lon={lon_deg} "
            f"lat={lat_deg} at {where}",
        )
    if lon_deg == 0 and lat_deg == 0:
        return None, None
    return lon_deg, lat_deg


def position_or_none(
    lon_deg: float | None, lat_deg: float | None
) -> tuple[float, float] | tuple[None, None]:
    """The same for sources in which a bad position is how "unknown" looks.

    Example:
        >>> position_or_none(24.5, 60.1), position_or_none(24.5, 400.0)
        ((24.5, 60.1), (None, None))
    """
    try:
        return position(lon_deg, lat_deg, "")
    except DecodeError:
        return None, None


def checked(one: Observation) -> Observation:
    """Check an observation's bounds and its clock; what every decoder returns goes through it.

    A device time further ahead than :data:`CLOCK_AHEAD_S` or further behind than
    :data:`CLOCK_BEHIND_S` is not believed: the observation then counts from its receipt and
    carries the difference as measure ``clock_skew_s``.

    Raises:
        DecodeError: ``bad_id``, ``bad_kind``, ``bad_measure``, ``bad_label``, ``bad_snapshot``,
            ``not_finite``, ``too_large``, ``bad_position``.
    """
    where = one.topic or one.thing_id
    if not is_id(one.thing_id):
        raise DecodeError(
            "bad_id",
            f"a printable id of 1 to {MAX_ID_CHARS} characters was wanted, got "
            f"{one.thing_id[:64]!r} on {where[:300]}",
        )
    if not _is_kind(one.kind):
        raise DecodeError(
            "bad_kind", f"a kind such as water_level was wanted, got {one.kind[:64]!r} on {where}"
        )
    if len(one.measures) > MAX_MEASURES or len(one.labels) > MAX_LABELS:
        raise DecodeError(
            "too_large",
            f"{len(one.measures)} measures and {len(one.labels)} labels; at most "
            f"{MAX_MEASURES} and {MAX_LABELS} on {where}",
        )
    for name, value in one.measures.items():
        if not is_measure_name(name):
            raise DecodeError(
                "bad_measure", f"a name such as tilt_deg was wanted, got {name[:64]!r} on {where}"
            )
        if not -MAX_ABS_MEASURE <= value <= MAX_ABS_MEASURE:
            if not math.isfinite(value):
                raise DecodeError("not_finite", f"{name} must be finite, got {value} on {where}")
            raise DecodeError(
                "bad_measure", f"{name} within {MAX_ABS_MEASURE:g} wanted, got {value} on {where}"
            )
    for name, text in one.labels.items():
        if len(name) > 64 or len(text) > MAX_LABEL_CHARS:
            raise DecodeError(
                "too_large",
                f"label {name[:64]!r} of {len(text)} characters; at most {MAX_LABEL_CHARS} "
                f"on {where}",
            )
        if "\x00" in name or "\x00" in text:
            # PostgreSQL text has no NUL.
            raise DecodeError("bad_label", f"label {name[:64]!r} holds a NUL on {where}")
    if one.snapshots:
        _check_snapshots(one.snapshots, where)
    if (one.error_major_m, one.error_minor_m, one.error_azimuth_deg) != _NO_ERROR:
        _check_error(one, where)
    return _with_believable_time(one)


def is_id(thing_id: str) -> bool:
    """Whether a thing may be called so."""
    return 0 < len(thing_id) <= MAX_ID_CHARS and thing_id.isprintable()


@lru_cache(maxsize=4096)
def is_measure_name(name: str) -> bool:
    """Whether a measure may be called so."""
    return _MEASURE.fullmatch(name) is not None


@lru_cache(maxsize=1024)
def _is_kind(kind: str) -> bool:
    return _KIND.fullmatch(kind) is not None


_NO_ERROR = (None, None, None)


def _check_snapshots(snapshots: tuple[str, ...], where: str) -> None:
    if len(snapshots) > MAX_SNAPSHOTS:
        raise DecodeError(
            "too_large", f"{len(snapshots)} snapshots; at most {MAX_SNAPSHOTS} on {where}"
        )
    for path in snapshots:
        # A snapshot is a path below the snapshot folder; it is later joined to it.
        if (
            not path
            or len(path) > MAX_SNAPSHOT_CHARS
            or not path.isprintable()
            or path.startswith("/")
            or "\\" in path
            or ".." in path.split("/")
        ):
            raise DecodeError(
                "bad_snapshot",
                f"a relative path such as camera-1/7.jpg was wanted, got {path[:80]!r} on {where}",
            )


def _check_error(one: Observation, where: str) -> None:
    for name in ("error_major_m", "error_minor_m", "error_azimuth_deg"):
        value = getattr(one, name)
        if value is not None and not (math.isfinite(value) and abs(value) <= 1e6):
            raise DecodeError("bad_position", f"{name} within 1e6 wanted, got {value} on {where}")
    if (one.error_major_m or 0) < 0 or (one.error_minor_m or 0) < 0:
        raise DecodeError(
            "bad_position",
            f"error of 0 m or more was wanted, got {one.error_major_m} by {one.error_minor_m} "
            f"on {where}",
        )


def _with_believable_time(one: Observation) -> Observation:
    if not one.has_device_time:
        return one
    skew_ns = one.observed_ns - one.received_ns
    if -CLOCK_BEHIND_NS <= skew_ns <= CLOCK_AHEAD_NS:
        return one
    return msgspec.structs.replace(
        one,
        observed_ns=one.received_ns,
        has_device_time=False,
        measures={**one.measures, "clock_skew_s": skew_ns / NS_PER_S},
    )


def last_level(topic: str) -> str:
    """The last level of a topic.

    Example:
        >>> last_level("qn/qingdao/sensor/w-1")
        'w-1'
    """
    return topic.rsplit("/", 1)[-1]


def kind_from_measures(measures: Mapping[str, float]) -> str | None:
    """The kind of thing that sends these measures, where one of them tells.

    Example:
        >>> kind_from_measures({"temp_c": 4.0, "tilt_deg": 3.0}), kind_from_measures({})
        ('manhole', None)
    """
    return next((KIND_OF_MEASURE[name] for name in measures if name in KIND_OF_MEASURE), None)


def is_past(observed_ns: int, received_ns: int) -> bool:
    """Whether a reading is one that a device kept for longer than :data:`CLOCK_BEHIND_S`.

    :func:`checked` would take its clock to be wrong and its reading to be of now. A decoder
    that knows better gives such a reading a kind of its own (``….history``), which no rule
    takes for the present.

    Example:
        >>> is_past(0, 7 * 3600 * NS_PER_S), is_past(0, NS_PER_S)
        (True, False)
    """
    return (received_ns - observed_ns) / NS_PER_S > CLOCK_BEHIND_S
