"""SenML (RFC 8428) in JSON and CBOR: resolution of a pack, its records as observations."""

from __future__ import annotations

import base64
import io
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import cbor2
import msgspec

from core.errors import DecodeError
from core.observations import Columns, Observation
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.decoders.common import (
    KIND_OF_MEASURE,
    MAX_INSTANT_NS,
    check_size,
    checked,
    decode_json,
    last_level,
    position,
)
from ingest.decoders.senml_names import NAME, measure_of, split_name
from ingest.decoders.senml_plain import (
    LAT,
    LON,
    MAX_RECORDS,
    RELATIVE_BELOW_S,
    SOURCE,
    Readings,
    read_plain,
)

#: RFC 8428 section 4.4: version 10 is the newest we know.
SUPPORTED_VERSION = 10

_BASE_FIELDS = ("bn", "bt", "bu", "bv", "bs", "bver")
_KNOWN = frozenset(_BASE_FIELDS) | {"n", "u", "v", "vs", "vb", "vd", "s", "t", "ut"}
_VALUE_FIELDS = ("v", "vs", "vb", "vd")


class ResolvedRecord(NamedTuple):
    """A record without base fields and with absolute time, as in RFC 8428 section 4.6."""

    name: str
    unit: str | None
    time_s: float
    value: float | None
    text: str | None
    flag: bool | None
    data: str | None
    sum: float | None
    #: Whether the pack gave a time at all; "now" is what a record without one means.
    has_time: bool

    def to_json(self) -> dict[str, Any]:
        """The record under the labels of the RFC, absent fields left out."""
        fields: dict[str, Any] = {
            "n": self.name,
            "u": self.unit,
            "t": self.time_s,
            "v": self.value,
            "vs": self.text,
            "vb": self.flag,
            "vd": self.data,
            "s": self.sum,
        }
        return {label: value for label, value in fields.items() if value is not None}


_DECODER = msgspec.json.Decoder(list[dict[str, Any]])

#: RFC 8428 section 6: the integer labels of CBOR, and the JSON labels that they stand for.
CBOR_LABELS: dict[int, str] = {
    -1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip

#: A CBOR pack is an array: of known length below 24, longer, or without a length. It may say of
#: itself that it is CBOR (RFC 8949, 3.4.6).
_CBOR_ARRAYS = frozenset({*range(0x80, 0x9C), 0x9F})
_CBOR_SAID = b"\xd9\xd9\xf7"
_NUMBERS = frozenset({"bver", "bt", "bv", "bs", "v", "s", "t", "ut"})


def decode_cbor(payload: bytes, where: str) -> list[dict[str, Any]]:
    """Read a CBOR pack as the records that JSON would have; ``vd`` becomes base64url text.

    Raises:
        DecodeError: ``bad_cbor`` (malformed, or bytes behind it), ``wrong_type`` (not an array
            of maps, a label that is neither an integer nor text, a number that is not one),
            ``bad_senml`` (an integer label that SenML does not have).

    Example:
        >>> decode_cbor(bytes.fromhex("81a2006374696c02fb4010000000000000"), "here")
        [{'n': 'til', 'v': 4.0}]
    """
    stream = io.BytesIO(payload.removeprefix(_CBOR_SAID))
    try:
        pack = cbor2.load(stream)
    except Exception as exc:  # cbor2 raises its own, ValueError and more on hostile input
        raise DecodeError("bad_cbor", f"{exc} at {where}") from exc
    if stream.read(1):
        raise DecodeError("bad_cbor", f"bytes behind the pack at {where}")
    if not isinstance(pack, list) or not all(isinstance(one, dict) for one in pack):
        raise DecodeError("wrong_type", f"an array of maps was wanted at {where}")
    return [
        {(label := _cbor_label(key, where)): _cbor_value(label, value, where)
         for key, value in record.items()}
        for record in pack
    ]  # fmt: skip


def _cbor_label(key: Any, where: str) -> str:
    if isinstance(key, bool) or not isinstance(key, int | str):
        raise DecodeError("wrong_type", f"a label {type(key).__name__} at {where}")
    if isinstance(key, str):
        # Labels of extensions are text; the RFC's own are integers only.
        return key
    if key not in CBOR_LABELS:
        raise DecodeError("bad_senml", f"no label {key} in SenML, at {where}")
    return CBOR_LABELS[key]


def _cbor_value(label: str, value: Any, where: str) -> Any:
    if label == "vd":
        if not isinstance(value, bytes):
            raise DecodeError("wrong_type", f"vd must be bytes, got {type(value).__name__}")
        return base64.urlsafe_b64encode(value).decode().rstrip("=")
    if label in _NUMBERS and isinstance(value, Decimal | Fraction):
        # Tagged numbers (decimal fractions, big floats) are allowed by section 6.
        try:
            return float(value)
        except OverflowError as exc:
            raise DecodeError("not_finite", f"{label} is beyond float64 at {where}") from exc
    return value


def is_cbor(payload: bytes) -> bool:
    """Whether a payload begins as a CBOR array; JSON text never does.

    Example:
        >>> is_cbor(bytes([0x81, 0xA0])), is_cbor(b' [{"n":"a"}]')
        (True, False)
    """
    payload = payload[:4].removeprefix(_CBOR_SAID)
    return bool(payload) and payload[0] in _CBOR_ARRAYS


def read_pack(message: RawMessage) -> list[dict[str, Any]]:
    """The records of a message, whichever of the two forms they have.

    Raises:
        DecodeError: As :func:`decode_cbor` and :func:`ingest.decoders.common.decode_json`.
    """
    if is_cbor(message.payload):
        check_size(message)
        return decode_cbor(message.payload, message.topic)
    return decode_json(message, _DECODER)


def _number(record: dict[str, Any], label: str, where: str) -> float | None:
    value = record.get(label)
    if value is None and label not in record:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DecodeError(
            "wrong_type", f"{label} must be a number, got {type(value).__name__} at {where}"
        )
    try:
        number = float(value)
    except OverflowError as exc:
        raise DecodeError("not_finite", f"{label} is beyond float64 at {where}") from exc
    if not math.isfinite(number):
        raise DecodeError("not_finite", f"{label} must be finite, got {number} at {where}")
    return number


def _text(record: dict[str, Any], label: str, where: str) -> str | None:
    value = record.get(label)
    if value is None and label not in record:
        return None
    if not isinstance(value, str):
        raise DecodeError(
            "wrong_type", f"{label} must be a string, got {type(value).__name__} at {where}"
        )
    return value


def _flag(record: dict[str, Any], label: str, where: str) -> bool | None:
    value = record.get(label)
    if value is None and label not in record:
        return None
    if not isinstance(value, bool):
        raise DecodeError(
            "wrong_type", f"{label} must be true or false, got {type(value).__name__} at {where}"
        )
    return value


def _check_labels(record: dict[str, Any], where: str) -> None:
    for label in record:
        if label not in _KNOWN and label.endswith("_"):
            # RFC 8428 section 4.4: such a label must be understood, or the pack refused.
            raise DecodeError("bad_senml", f"label {label[:64]!r} must be understood, at {where}")


def _check_version(record: dict[str, Any], version: float | None, where: str) -> float | None:
    given = _number(record, "bver", where)
    if given is None:
        return version
    if given > SUPPORTED_VERSION or given < 1 or given != int(given):
        raise DecodeError(
            "bad_senml", f"bver 1 to {SUPPORTED_VERSION} was wanted, got {given:g} at {where}"
        )
    if version is not None and given != version:
        raise DecodeError("bad_senml", f"bver changes from {version:g} to {given:g} at {where}")
    return given


def resolve(pack: list[dict[str, Any]], now_s: float) -> list[ResolvedRecord]:
    """Resolve a pack: apply base fields, make times absolute. The order of records is kept.

    Args:
        pack: The records as parsed from JSON.
        now_s: Unix time that relative times count from.

    Raises:
        DecodeError: ``bad_senml`` (a label that must be understood, version, name, number of
            values), ``bad_time``, ``wrong_type``, ``not_finite``, ``too_large``.

    Example:
        >>> [one] = resolve([{"bn": "w-1:", "n": "level", "u": "m", "v": 2, "t": -5}], 100.0)
        >>> one.to_json()
        {'n': 'w-1:level', 'u': 'm', 't': 95.0, 'v': 2.0}
        >>> resolve([], 0.0)
        []
    """
    if len(pack) > MAX_RECORDS:
        raise DecodeError("too_large", f"{len(pack)} records; at most {MAX_RECORDS} in a pack")
    base_name, base_unit, version = "", None, None
    base_time: float | None = None
    base_value: float | None = None
    base_sum: float | None = None
    resolved = []
    for row, record in enumerate(pack):
        where = f"record {row}"
        _check_labels(record, where)
        version = _check_version(record, version, where)
        if "bn" in record:
            base_name = _text(record, "bn", where) or ""
        if "bu" in record:
            base_unit = _text(record, "bu", where)
        if "bt" in record:
            base_time = _number(record, "bt", where)
        if "bv" in record:
            base_value = _number(record, "bv", where)
        if "bs" in record:
            base_sum = _number(record, "bs", where)
        name = base_name + (_text(record, "n", where) or "")
        if not NAME.fullmatch(name):
            raise DecodeError(
                "bad_senml", f"a name of A-Z a-z 0-9 - : . / _ wanted, got {name[:64]!r} at {where}"
            )
        own_time = _number(record, "t", where)
        time_s = (base_time or 0.0) + (own_time or 0.0)
        if time_s < RELATIVE_BELOW_S:
            time_s += now_s
        if not 0 <= time_s * NS_PER_S < MAX_INSTANT_NS:
            raise DecodeError("bad_time", f"a time before 2100 was wanted, got {time_s} at {where}")
        values = [label for label in _VALUE_FIELDS if label in record]
        total = _sum(_number(record, "s", where), base_sum)
        value = _number(record, "v", where)
        if not values or values == ["v"]:
            value = _sum(value, base_value)
        if len(values) > 1 or (not values and value is None and total is None):
            raise DecodeError(
                "bad_senml", f"one of v, vs, vb, vd (or s) was wanted, got {values} at {where}"
            )
        resolved.append(
            ResolvedRecord(
                name=name,
                unit=_text(record, "u", where) or base_unit,
                time_s=time_s,
                value=value,
                text=_text(record, "vs", where),
                flag=_flag(record, "vb", where),
                data=_text(record, "vd", where),
                sum=total,
                has_time=bool(base_time or own_time),
            )
        )
    return resolved


def _sum(own: float | None, base: float | None) -> float | None:
    if own is None or base is None:
        return base if own is None else own
    return own + base


class _Draft:
    """The observation that grows from the records of one thing at one time."""

    __slots__ = ("has_time", "labels", "lat_deg", "lon_deg", "measures")

    def __init__(self, has_time: bool) -> None:
        self.has_time = has_time
        self.lon_deg: float | None = None
        self.lat_deg: float | None = None
        self.measures: dict[str, float] = {}
        self.labels: dict[str, str] = {}

    def add(self, record: ResolvedRecord, measure: str) -> None:
        if record.unit == "lon" and record.value is not None:
            self.lon_deg = record.value
            return
        if record.unit == "lat" and record.value is not None:
            self.lat_deg = record.value
            return
        if record.text is not None or record.data is not None:
            self.labels[measure or "value"] = (
                record.text if record.text is not None else record.data or ""
            )
        elif record.flag is not None:
            self.measures[measure or "value"] = float(record.flag)
        elif record.value is not None:
            name, value = measure_of(measure, record.unit, record.value)
            self.measures[name] = value
        if record.sum is not None:
            # A sum is the integral of the value over time; its unit has a second more.
            self.measures[f"{measure or 'value'}_sum"] = record.sum

    def by_kind(self) -> dict[str, dict[str, float]]:
        """The measures by the kind of thing that sends them; unknown ones go to the first."""
        if len(self.measures) == 1:
            return {KIND_OF_MEASURE.get(next(iter(self.measures)), SOURCE): self.measures}
        kinds: dict[str, dict[str, float]] = {}
        for name, value in self.measures.items():
            if name in KIND_OF_MEASURE:
                kinds.setdefault(KIND_OF_MEASURE[name], {})[name] = value
        first = next(iter(kinds), SOURCE)
        for name, value in self.measures.items():
            if name not in KIND_OF_MEASURE:
                kinds.setdefault(first, {})[name] = value
        return kinds or {SOURCE: {}}


def decode(message: RawMessage) -> list[Observation] | Columns:
    """Read a SenML pack: the records of one thing at one time are one observation.

    Observations come in the order of time; as columns where each record is one of its own, as
    in the packs of gateways.

    Raises:
        DecodeError: As :func:`resolve`, :func:`read_pack` and
            :func:`ingest.decoders.common.checked`; ``bad_senml`` for an empty pack.

    Example:
        >>> pack = b'[{"bn":"w-1/","n":"water_level","u":"cm","v":31},{"n":"ok","vb":true}]'
        >>> [one] = decode(RawMessage(topic="qn/c/senml/w-1", payload=pack, received_ns=5))
        >>> one.thing_id, one.kind, one.measures
        ('w-1', 'water_level', {'water_level_m': 0.31, 'ok': 1.0})
    """
    readings = read_plain(message)
    if readings is None:
        drafts = _drafts(message)
    else:
        columns = readings.as_columns(message)
        if columns is not None:
            return columns
        drafts = _drafts_of(readings)
    observations = []
    for (thing_id, observed_ns), draft in sorted(drafts.items(), key=lambda item: item[0][1]):
        lon_deg, lat_deg = position(draft.lon_deg, draft.lat_deg, message.topic)
        for kind, measures in draft.by_kind().items():
            observations.append(
                checked(
                    Observation(
                        source=SOURCE,
                        thing_id=thing_id,
                        kind=kind,
                        observed_ns=observed_ns,
                        received_ns=message.received_ns,
                        has_device_time=draft.has_time,
                        repeated=message.duplicate,
                        lon_deg=lon_deg,
                        lat_deg=lat_deg,
                        measures=measures,
                        labels=draft.labels,
                        topic=message.topic,
                    )
                )
            )
    return observations


def _drafts(message: RawMessage) -> dict[tuple[str, int], _Draft]:
    """The observations of a pack by thing and time, from any records."""
    pack = read_pack(message)
    if not pack:
        raise DecodeError("bad_senml", f"a pack has at least one record, on {message.topic}")
    drafts: dict[tuple[str, int], _Draft] = {}
    for record in resolve(pack, message.received_ns / NS_PER_S):
        thing_id, measure = split_name(record.name)
        if record.unit in {"lon", "lat"} and measure not in {"lon", "lat", "longitude", "latitude"}:
            # A position belongs to the thing, whichever of its records carries it.
            measure = ""
        # A float64 of Unix seconds is good to a quarter of a microsecond.
        observed_ns = round(record.time_s * 1e6) * 1000 if record.has_time else message.received_ns
        key = (thing_id or last_level(message.topic), observed_ns)
        drafts.setdefault(key, _Draft(record.has_time)).add(record, measure)
    return drafts


def _drafts_of(readings: Readings) -> dict[tuple[str, int], _Draft]:
    """The observations that plain readings are parts of, by thing and time."""
    drafts: dict[tuple[str, int], _Draft] = {}
    for thing_id, observed_ns, has_time, measure, value in zip(*readings, strict=True):
        key = (thing_id, observed_ns)
        draft = drafts.get(key)
        if draft is None:
            draft = drafts[key] = _Draft(has_time)
        if measure == LON:
            draft.lon_deg = value
        elif measure == LAT:
            draft.lat_deg = value
        else:
            draft.measures[measure] = value
    return drafts
