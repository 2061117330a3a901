"""Exclusions: what people know beforehand and rules cannot see.

A permit (占道, 夜间施工, 开挖), planned works, a maintenance window or a silence says that what
happens in it is no incident. It enters the log like any message, so that a replay decides the
same; a later version of the same id prolongs it or ends it.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated

import msgspec

from core.errors import InputError
from core.grades import INTERNAL, PUBLIC, SENSITIVE
from core.units import NS_PER_S

#: Kind of observation that carries one in label ``record``, and the first part of its thing's id.
EXCLUSION_KIND = "exclusion"

#: Nothing is left out for longer than this at once: a permit is renewed, not forgotten.
MAX_DURATION_S = 400 * 86400.0

MAX_RADIUS_M = 5000.0

#: As JSON; it travels as the text of a label. An area of 60 corners fits.
MAX_BYTES = 2000


class ExclusionKind(StrEnum):
    """What kind of knowledge it is, and so what it may leave out."""

    PERMIT = "permit"  #: only rules that name its subject
    WORKS = "works"  #: planned works: likewise
    MAINTENANCE = "maintenance"  #: whatever the named things or sources say
    SILENCE = "silence"  #: whatever is in its scope


class Circle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A circle on the ground, WGS 84."""

    lon_deg: float
    lat_deg: float
    radius_m: float


class Exclusion(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One version of one record.

    Every part of the scope that is given must hold: ``scenarios`` and ``things`` by id (a
    camera's id stands for all it tracks), ``sources`` by decoder, ``area_code`` by its
    beginning, ``circle`` or ``polygon`` ((lon, lat) corners, WGS 84) by place. ``at_ns`` is when
    this version was made: of two, the later counts.
    """

    id: Annotated[str, PUBLIC]
    kind: Annotated[ExclusionKind, PUBLIC]
    from_ns: Annotated[int, PUBLIC]
    until_ns: Annotated[int, PUBLIC]
    at_ns: Annotated[int, INTERNAL]
    reason: Annotated[str, INTERNAL]
    actor: Annotated[str, SENSITIVE]
    subject: Annotated[str, PUBLIC] = ""
    scenarios: Annotated[tuple[str, ...], PUBLIC] = ()
    things: Annotated[tuple[str, ...], INTERNAL] = ()
    sources: Annotated[tuple[str, ...], INTERNAL] = ()
    area_code: Annotated[str, PUBLIC] = ""
    circle: Annotated[Circle | None, INTERNAL] = None
    polygon: Annotated[tuple[tuple[float, float], ...], INTERNAL] = ()


def check_exclusion(one: Exclusion) -> None:
    """Check what the types cannot.

    Raises:
        InputError: It says for which field, what was wanted and what was got.

    Example:
        >>> check_exclusion(Exclusion(id="p-1", kind=ExclusionKind.PERMIT, from_ns=0, until_ns=9,
        ...                           at_ns=0, reason="", actor="desk", things=("site-1",)))
        Traceback (most recent call last):
        core.errors.InputError: exclusion p-1: subject: what is permitted was wanted, got ''
    """
    for field, wanted, got in _faults(one):
        raise InputError(f"exclusion {one.id[:80]}: {field}: {wanted} was wanted, got {got!r}")


def _faults(one: Exclusion) -> list[tuple[str, str, object]]:
    names = (*one.scenarios, *one.things, *one.sources)
    words = (one.id, one.actor, one.reason, one.subject, one.area_code, *names)
    placed = one.area_code or one.circle is not None or one.polygon
    named = one.kind in {ExclusionKind.PERMIT, ExclusionKind.WORKS}
    points = [*one.polygon]
    if one.circle is not None:
        points.append((one.circle.lon_deg, one.circle.lat_deg))
    longest_ns = int(MAX_DURATION_S * NS_PER_S)
    checks: list[tuple[bool, str, str, object]] = [
        (bool(one.id), "id", "a name", one.id),
        (bool(one.actor), "actor", "who made it", one.actor),
        (not named or bool(one.subject), "subject", "what is permitted", one.subject),
        (named or not one.subject, "subject", f"none for {one.kind}", one.subject),
        (
            0 < one.until_ns - one.from_ns <= longest_ns,
            "from, until",
            f"an interval of at most {MAX_DURATION_S / 86400:.0f} days",
            (one.from_ns, one.until_ns),
        ),
        (not any("\0" in word for word in words), "texts", "ones without NUL", "NUL"),
        (len(encode_exclusion(one)) <= MAX_BYTES, "record", f"at most {MAX_BYTES} bytes", "more"),
        (
            one.kind is not ExclusionKind.MAINTENANCE or bool(one.things or one.sources),
            "things, sources",
            "what is maintained",
            (),
        ),
        (
            bool(placed or one.things or one.sources or one.scenarios),
            "scope",
            "scenarios, things, sources, area_code, circle or polygon",
            (),
        ),
        (
            not named or bool(placed or one.things),
            "scope",
            "things, area_code, circle or polygon of what is permitted",
            (),
        ),
        (one.circle is None or not one.polygon, "circle, polygon", "one of them", "both"),
        (
            one.circle is None or 0.0 < one.circle.radius_m <= MAX_RADIUS_M,
            "circle.radius_m",
            f"a number up to {MAX_RADIUS_M:g}",
            one.circle and one.circle.radius_m,
        ),
        (
            len(one.polygon) == 0 or len(one.polygon) >= 3,
            "polygon",
            "three corners or more",
            len(one.polygon),
        ),
        (
            all(abs(lon) <= 180.0 and abs(lat) <= 90.0 for lon, lat in points)
            and all(math.isfinite(part) for point in points for part in point),
            "circle, polygon",
            "WGS 84 degrees, longitude first",
            points[:3],
        ),
    ]
    return [(field, wanted, got) for holds, field, wanted, got in checks if not holds]


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Exclusion)


def encode_exclusion(one: Exclusion) -> bytes:
    """Write a record as JSON: the payload of ``qn/{city}/exclusion/{id}``."""
    return _ENCODER.encode(one)


def decode_exclusion(data: bytes | str) -> Exclusion:
    """Read and check a record.

    Raises:
        InputError: It is not JSON, has an unknown key, or :func:`check_exclusion` refuses it.
    """
    try:
        one = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise InputError(f"exclusion: {exc}") from exc
    check_exclusion(one)
    return one
