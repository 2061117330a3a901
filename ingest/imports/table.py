"""CSV tables, with a mapping file that says what their columns mean.

.. code-block:: yaml

    thing: {value: air-1}            # or {column: station}
    kind: site_air
    time: {columns: [year, month, day, hour], utc_offset: "+08:00"}   # or
    # time: {column: timestamp, format: "%Y-%m-%d %H:%M:%S", utc_offset: "+00:00"}
    lon: longitude                   # column names, optional
    lat: latitude
    measures:
      pm10_ug_m3: {column: PM10}     # value × scale + offset
      speed_mps: {column: km_h, scale: 0.27778}
    labels: {wind: wd}
    missing: [NA, ""]
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import msgspec
import yaml

from core.errors import InputError
from core.ports import RawMessage
from core.units import ns_to_rfc3339, rfc3339_to_ns

#: Topic of a row that cannot be read; no decoder reads it, so it is rejected and counted.
BAD_ROW_TOPIC = "recording/bad-row"

_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)")


class _Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    pass


class Value(_Strict, frozen=True, forbid_unknown_fields=True):
    """A column, or one value for all rows."""

    column: str | None = None
    value: str | None = None


class Time(_Strict, frozen=True, forbid_unknown_fields=True):
    """A column of text in a format (RFC 3339 without one), or columns of numbers from the year."""

    column: str | None = None
    columns: tuple[str, ...] = ()
    format: str | None = None
    utc_offset: str = "+00:00"


class Number(_Strict, frozen=True, forbid_unknown_fields=True):
    """A column of numbers."""

    column: str
    scale: float = 1.0
    offset: float = 0.0


class Mapping(_Strict, frozen=True, forbid_unknown_fields=True):
    """What the columns mean."""

    thing: Value
    kind: str
    time: Time
    measures: dict[str, Number]
    lon: str | None = None
    lat: str | None = None
    labels: dict[str, str] = {}
    missing: tuple[str, ...] = ("", "NA", "NaN", "null")


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file.

    Raises:
        InputError: A key is unknown, missing or of another type; names file and place.
    """
    try:
        return msgspec.convert(yaml.safe_load(path.read_text("utf-8")), Mapping)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as exc:
        raise InputError(f"mapping {path}: {exc}") from exc


def read_table(
    file: IO[str], mapping: Mapping, *, city: str, where: str = "CSV"
) -> Iterator[RawMessage]:
    """Read the rows; one that cannot be read becomes a message that is rejected.

    Raises:
        InputError: A column of the mapping is not in the table.
    """
    reader = csv.DictReader(file)
    columns = set(reader.fieldnames or ())
    absent = sorted(_columns_of(mapping) - columns)
    if absent:
        raise InputError(
            f"{where}: no column {', '.join(absent)}; it has {', '.join(sorted(columns))}"
        )
    before_ns = 0
    for row in reader:
        try:
            message = _message(row, mapping, city)
        except (ValueError, KeyError, TypeError, InputError) as exc:
            text = f"{where}, line {reader.line_num}: {exc!r}: {row!r}"
            message = RawMessage(
                topic=BAD_ROW_TOPIC, payload=text.encode("utf-8", "replace")[:4096],
                received_ns=before_ns,
            )  # fmt: skip
        before_ns = message.received_ns
        yield message


def _columns_of(mapping: Mapping) -> set[str]:
    names = {one.column for one in mapping.measures.values()} | set(mapping.labels.values())
    names |= set(mapping.time.columns)
    optional = (mapping.thing.column, mapping.time.column, mapping.lon, mapping.lat)
    return names | {one for one in optional if one is not None}


def _message(row: dict[str, Any], mapping: Mapping, city: str) -> RawMessage:
    absent = set(mapping.missing)
    at_ns = _instant_ns(row, mapping.time)
    thing = mapping.thing.value or row[str(mapping.thing.column)]
    body: dict[str, Any] = {
        "kind": mapping.kind,
        "time": ns_to_rfc3339(at_ns),
        "measures": {
            name: float(row[one.column]) * one.scale + one.offset
            for name, one in mapping.measures.items()
            if row[one.column].strip() not in absent
        },
    }
    labels = {name: row[column] for name, column in mapping.labels.items()}
    body["labels"] = {name: text for name, text in labels.items() if text.strip() not in absent}
    if mapping.lon and mapping.lat and row[mapping.lon].strip() not in absent:
        body |= {"lon": float(row[mapping.lon]), "lat": float(row[mapping.lat])}
    return RawMessage(
        topic=f"qn/{city}/sensor/{thing}",
        payload=msgspec.json.encode(body),
        received_ns=at_ns,
        qos=1,
    )


def _instant_ns(row: dict[str, Any], time: Time) -> int:
    match = _OFFSET.fullmatch(time.utc_offset)
    if match is None:
        raise InputError(f"utc_offset such as +08:00 wanted, got {time.utc_offset!r}")
    offset = timedelta(hours=int(match[2]), minutes=int(match[3])) * (-1 if match[1] == "-" else 1)
    if time.columns:
        local = datetime(*(int(row[name]) for name in time.columns), tzinfo=UTC)  # type: ignore[arg-type,misc]
    elif time.format is None:
        return rfc3339_to_ns(row[str(time.column)])
    else:
        text = row[str(time.column)]
        local = datetime.strptime(text, time.format).replace(tzinfo=UTC)
    return round((local - offset).timestamp() * 1000) * 1_000_000
