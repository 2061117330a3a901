"""Payloads of channel, type and value: a small language for tables, and the reader of it.

A table says for each (channel, type) which fields follow, as text:
``temperature:i16/10@Cel + temperature_alarm:u8{0:released,1:threshold}``. Fields are joined by
``+``. A field is ``name:type``, then perhaps a divisor ``/10``, the unit of the number
``@Cel`` (as in SenML) or the name of our measure ``=leak``, and the words of its values. Types
are ``u8 i8 u16 i16 u32 i32 f16 f32`` (little-endian), ``hexN`` and ``textN``; ``_:N`` skips N
bytes. A value without a word reads ``unknown``. A leading ``history|`` or ``event|`` puts the
fields into a list of that name; ``event+|`` puts the first of them beside the others as well.

What is read comes twice: under the maker's names (``fields``), and as ours (``measures`` with
the unit in the name, ``labels`` for words). A number with a unit of which all bits are set
says that the sensor has no value: it is a field, never a measure.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from core.errors import DecodeError
from ingest.decoders.senml_names import measure_of


class PastReading(NamedTuple):
    """A reading that the device kept and sent later."""

    unix_s: int
    measures: dict[str, float]
    labels: dict[str, str]


class Decoded:
    """What a payload says, under the maker's names and under ours."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.measures: dict[str, float] = {}
        self.labels: dict[str, str] = {}
        self.history: list[PastReading] = []
        self.lon_deg: float | None = None
        self.lat_deg: float | None = None

    def add(self, name: str, value: float | str, measure: str | None = None) -> None:
        """Keep a field; a number is a measure too (``measure`` names it), a text a label."""
        self.fields[name] = value
        if isinstance(value, str):
            self.labels[name] = value
        else:
            self.measures[measure or name] = float(value)


#: Reads what a table's text cannot say; returns the offset behind what it read.
Reader = Callable[[bytes, int, Decoded], int]
Entry = str | Reader
Table = Mapping[tuple[int, int], Entry]

_FORMATS = {
    "u8": "<B", "i8": "<b", "u16": "<H", "i16": "<h", "u32": "<I", "i32": "<i",
    "f16": "<e", "f32": "<f",
}  # fmt: skip
#: Raw values by which a sensor says that it has none.
_NO_VALUE = {
    "u8": {0xFF}, "u16": {0xFFFF, 0xFFFE}, "u32": {0xFFFFFFFF},
    "i16": {0x7FFF, -0x8000}, "i32": {0x7FFFFFFF, -0x80000000},
}  # fmt: skip
_FIELD = re.compile(r"(\w+):([a-z]*)(\d+)(?:/(\d+))?(?:@([^{=]+))?(?:=(\w+))?(?:\{(.*)\})?")


class _Field(NamedTuple):
    name: str
    kind: str
    size: int
    divisor: int
    unit: str | None
    measure: str | None
    words: dict[int, str] | None


class Spec(NamedTuple):
    """A table's text, parsed: the list the fields go to, the fields, and their bytes."""

    into: str
    fields: tuple[_Field, ...]
    size: int


@lru_cache(maxsize=2048)
def parse_spec(text: str) -> Spec:
    """Read a table's text.

    Raises:
        ValueError: The text is not of this language; tables are ours, so it is a fault here.

    Example:
        >>> parse_spec("history|timestamp:u32 + _:1 + leak:u8{0:normal,1:leak}").size
        6
    """
    into, _, rest = text.rpartition("|")
    fields = []
    for part in rest.split(" + "):
        match = _FIELD.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"a field such as battery:u8 was wanted, got {part!r} in {text!r}")
        name, letters, number, divisor, unit, measure, words = match.groups()
        kind = letters + number if letters in {"u", "i", "f"} else letters or "skip"
        fields.append(
            _Field(
                name=name,
                kind=kind,
                size=struct.calcsize(_FORMATS[kind]) if kind in _FORMATS else int(number),
                divisor=int(divisor or 1),
                unit=unit,
                measure=measure,
                words=None
                if words is None
                else {int(k, 0): v for k, v in (one.split(":", 1) for one in words.split(","))},
            )
        )
    return Spec(into, tuple(fields), sum(field.size for field in fields))


def need(payload: bytes, at: int, size: int) -> None:
    """Refuse a payload that ends before a value does.

    Raises:
        DecodeError: ``short_payload``.
    """
    if at + size > len(payload):
        raise DecodeError(
            "short_payload",
            f"{size} bytes wanted at {at}, the payload has {len(payload)}: {payload[:48].hex()}",
        )


def unpack(kind: str, payload: bytes, at: int) -> Any:
    """Read one little-endian number, e.g. ``u16``.

    Raises:
        DecodeError: ``short_payload``.

    Example:
        >>> unpack("i16", bytes.fromhex("feff"), 0)
        -2
    """
    need(payload, at, struct.calcsize(_FORMATS[kind]))
    return struct.unpack_from(_FORMATS[kind], payload, at)[0]


def read_spec(spec: Spec, payload: bytes, at: int, into: Decoded) -> None:
    """Read the fields of a spec at an offset.

    Raises:
        DecodeError: ``short_payload``.

    Example:
        >>> read = Decoded()
        >>> spec = parse_spec("temperature:i16/10@Cel + water:u8=leak{0:normal,1:leak}")
        >>> read_spec(spec, bytes.fromhex("0b0101"), 0, read)
        >>> read.fields, read.measures, read.labels
        ({'temperature': 26.7, 'water': 'leak'}, {'temperature_c': 26.7, 'leak': 1.0}, {})
    """
    need(payload, at, spec.size)
    for field in spec.fields:
        if field.kind in _FORMATS:
            raw = struct.unpack_from(_FORMATS[field.kind], payload, at)[0]
            _keep_number(field, raw, into)
        elif field.kind == "hex":
            into.add(field.name, payload[at : at + field.size].hex())
        elif field.kind == "text":
            text = payload[at : at + field.size].decode("utf-8", "replace")
            into.add(field.name, text.replace("\x00", ""))
        at += field.size


def _keep_number(field: _Field, raw: float, into: Decoded) -> None:
    if field.words is not None:
        word = field.words.get(int(raw), "unknown")
        into.fields[field.name] = word
        if field.measure is None:
            into.labels[field.name] = word
        elif word != "unknown":
            into.measures[field.measure] = float(raw)
        return
    value = raw / field.divisor if field.divisor != 1 else raw
    into.fields[field.name] = value
    if field.unit is not None and raw in _NO_VALUE.get(field.kind, ()):
        return
    if not math.isfinite(value):
        return
    if field.unit is None:
        into.measures[field.measure or field.name] = float(value)
    else:
        _keep_measure(field, float(value), into)


def _keep_measure(field: _Field, value: float, into: Decoded) -> None:
    name, converted = measure_of(field.measure or field.name, field.unit, value)
    # Twelve digits: what a factor such as 0.01 adds behind them nobody measured.
    into.measures[name] = float(f"{converted:.12g}")


def keep_named(text: str, value: float | str, into: Decoded) -> None:
    """Keep a value that somebody else has read by a field's text.

    Example:
        >>> read = Decoded()
        >>> keep_named("leakage_status:u8=leak{0:normal,1:leak}", "leak", read)
        >>> read.measures
        {'leak': 1.0}
    """
    [field] = parse_spec(text).fields
    if isinstance(value, str):
        raw = next((k for k, word in (field.words or {}).items() if word == value.lower()), None)
        if raw is None or field.measure is None:
            into.add(field.name, value)
        else:
            _keep_number(field, raw, into)
    elif field.words is not None:
        _keep_number(field, value, into)
    elif field.unit is None:
        into.add(field.name, value, field.measure)
    else:
        into.fields[field.name] = value
        if math.isfinite(value):
            _keep_measure(field, float(value), into)


def keep(spec: Spec, found: Decoded, into: Decoded) -> None:
    """Put what a spec read where the spec says: beside the rest, into a list, or both."""
    if spec.into == "history":
        stamp = int(found.measures.pop("timestamp", 0))
        into.history.append(PastReading(stamp, found.measures, found.labels))
    else:
        into.measures.update(found.measures)
        into.labels.update(found.labels)
    if spec.into:
        into.fields.setdefault(spec.into.rstrip("+"), []).append(found.fields)
    if spec.into.endswith("+"):
        first = spec.fields[0].name
        into.fields[first] = found.fields[first]
    if not spec.into:
        into.fields.update(found.fields)


def read_entry(entry: Entry, payload: bytes, at: int, into: Decoded) -> int:
    """Read one table entry at an offset; returns the offset behind it.

    Raises:
        DecodeError: ``short_payload``.
    """
    if callable(entry):
        return entry(payload, at, into)
    spec = parse_spec(entry)
    found = Decoded()
    read_spec(spec, payload, at, found)
    keep(spec, found, into)
    return at + spec.size


def read_payload(
    payload: bytes, table: Table, fallback: Callable[[int, int], Entry | None]
) -> Decoded:
    """Read a payload of (channel, type, value) by a table.

    Where neither the table nor the fallback knows a channel, the length of its value is not
    known either: the rest is kept as the field and label ``undecoded`` (hex).

    Raises:
        DecodeError: ``short_payload``; ``unknown_payload`` where not even the first is known.

    Example:
        >>> table = {(1, 0x75): "battery:u8"}
        >>> read_payload(bytes.fromhex("017564"), table, lambda channel, kind: None).fields
        {'battery': 100}
        >>> read_payload(bytes.fromhex("017564aabb01"), table, lambda *_: None).fields
        {'battery': 100, 'undecoded': 'aabb01'}
    """
    decoded = Decoded()
    at = 0
    while at + 2 <= len(payload):
        channel, kind = payload[at], payload[at + 1]
        entry = table.get((channel, kind)) or fallback(channel, kind)
        if entry is None:
            break
        at = read_entry(entry, payload, at + 2, decoded)
    if at == 0:
        raise DecodeError(
            "unknown_payload", f"no table reads {len(payload)} bytes {payload[:48].hex()}"
        )
    if at < len(payload):
        decoded.add("undecoded", payload[at:].hex())
    return decoded
