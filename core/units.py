"""Constants and conversions. Instants are integer UTC nanoseconds, durations seconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from core.errors import InputError

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

#: China Standard Time has had one offset and no summer time since 1991.
CHINA_OFFSET_S = 8 * 3600
CHINA = timezone(timedelta(seconds=CHINA_OFFSET_S), "Asia/Shanghai")

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_to_ns(seconds: float) -> int:
    """Round a duration in seconds to whole nanoseconds.

    Example:
        >>> seconds_to_ns(1.5)
        1500000000
    """
    return round(seconds * NS_PER_S)


def parse_duration_s(text: str) -> float:
    """Read a duration such as ``90s``, ``3min`` or ``1h30min`` as seconds.

    Raises:
        InputError: The text is not a sum of numbers with units ms, s, min, h or d.

    Example:
        >>> parse_duration_s("1h30min"), parse_duration_s("0s")
        (5400.0, 0.0)
    """
    compact = text.strip()
    parts = list(_DURATION.finditer(compact))
    if not parts or "".join(part.group(0) for part in parts) != compact:
        raise InputError(f"a duration like 90s, 3min or 1h30min was wanted, got {text!r}")
    return sum(float(part.group(1)) * _SECONDS[part.group(2)] for part in parts)


def ns_to_rfc3339(instant_ns: int) -> str:
    """Write an instant as RFC 3339 in UTC with milliseconds.

    Example:
        >>> ns_to_rfc3339(1_767_225_600_123_000_000)
        '2026-01-01T00:00:00.123Z'
    """
    whole_s, rest_ns = divmod(instant_ns, NS_PER_S)
    moment = datetime.fromtimestamp(whole_s, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest_ns // NS_PER_MS:03d}Z"


def china_time(instant_ns: int) -> datetime:
    """An instant as the clocks in China show it, to the second.

    Example:
        >>> f"{china_time(1_767_225_600_123_000_000):%Y-%m-%d %H:%M:%S}"
        '2026-01-01 08:00:00'
    """
    return datetime.fromtimestamp(instant_ns // NS_PER_S, CHINA)


_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?([Zz]|[+-]\d\d:?\d\d)"
)


@lru_cache(maxsize=4096)
def _unix_s(base: str, offset: str) -> int:
    """Seconds of a date-time without fraction; the devices of a city say the same ones."""
    moment = datetime.fromisoformat(base.upper() + ("+00:00" if offset in "Zz" else offset))
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())


def rfc3339_to_ns(text: str) -> int:
    """Read an RFC 3339 date-time, to the nanosecond.

    Raises:
        InputError: The text is not a date-time or has no offset.

    Example:
        >>> rfc3339_to_ns("2026-01-01T08:00:00.000000001+08:00")
        1767225600000000001
        >>> rfc3339_to_ns("2026-01-01")
        Traceback (most recent call last):
        ...
        core.errors.InputError: a time such as 2026-01-01T08:00:00Z was wanted, got '2026-01-01'
    """
    match = _RFC3339.fullmatch(text.strip())
    if match is None:
        raise InputError(f"a time such as 2026-01-01T08:00:00Z was wanted, got {text!r}")
    base, fraction, offset = match.groups()
    try:
        whole_s = _unix_s(base, offset)
    except ValueError as exc:
        raise InputError(f"a time such as 2026-01-01T08:00:00Z was wanted, got {text!r}") from exc
    return whole_s * NS_PER_S + int((fraction or "0").ljust(9, "0"))
