"""SenML packs as nearly all gateways send them, read into columns: numbers under names."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from core.observations import Columns, columns_of_readings
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.decoders.common import (
    CLOCK_AHEAD_NS,
    CLOCK_BEHIND_NS,
    KIND_OF_MEASURE,
    MAX_ABS_MEASURE,
    MAX_ID_CHARS,
    MAX_INSTANT_NS,
    check_size,
    is_id,
    is_measure_name,
    last_level,
)
from ingest.decoders.senml_names import NAME, conversion, split_name

SOURCE = "senml"

#: RFC 8428 section 4.5.3: smaller times are relative to now.
RELATIVE_BELOW_S = 2**28

#: A pack of more records is refused: it would be 256 KiB of the smallest records.
MAX_RECORDS = 4096

#: Smaller packs are not worth columns of their own.
MIN_COLUMN_ROWS = 8


class _PlainRecord(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A record as nearly all are: a number, and at most the base fields of names and times."""

    v: float
    n: str = ""
    u: str | UnsetType = UNSET
    t: float | UnsetType = UNSET
    bn: str | UnsetType = UNSET
    bt: float | UnsetType = UNSET
    bu: str | UnsetType = UNSET


_PLAIN_DECODER = msgspec.json.Decoder(list[_PlainRecord])

#: In place of a measure's name: the value is half of the thing's position. No measure is so called.
LON, LAT = "@lon", "@lat"


class Readings(NamedTuple):
    """The records of a plain pack by column; ``measures`` may be :data:`LON` and :data:`LAT`."""

    thing_ids: list[str]
    observed_ns: list[int]
    has_time: list[bool]
    measures: list[str]
    values: list[float]

    def as_columns(self, message: RawMessage) -> Columns | None:
        """The readings as columns, where each is an observation and none needs a closer look."""
        n, received_ns, observed_ns = len(self.values), message.received_ns, self.observed_ns
        if (
            n < MIN_COLUMN_ROWS
            or len(set(zip(self.thing_ids, observed_ns, strict=True))) < n
            or min(observed_ns) < received_ns - CLOCK_BEHIND_NS
            or max(observed_ns) > received_ns + CLOCK_AHEAD_NS
            or observed_ns != sorted(observed_ns)
            or min(self.values) < -MAX_ABS_MEASURE
            or max(self.values) > MAX_ABS_MEASURE
            or not all(map(is_measure_name, set(self.measures)))
            or not is_id(last_level(message.topic))
        ):
            return None
        return columns_of_readings(
            source=SOURCE,
            topic=message.topic,
            received_ns=received_ns,
            repeated=message.duplicate,
            thing_ids=self.thing_ids,
            kinds=[KIND_OF_MEASURE.get(one, SOURCE) for one in self.measures],
            observed_ns=observed_ns,
            has_device_time=self.has_time,
            names=self.measures,
            values=self.values,
        )


def read_plain(message: RawMessage) -> Readings | None:
    """A JSON pack of plain records, read in a fraction of the time of the long way.

    None where the pack holds anything else, or a fault: the long way knows what to say of it.
    """
    check_size(message)
    try:
        pack = _PLAIN_DECODER.decode(message.payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not 0 < len(pack) <= MAX_RECORDS:
        return None
    base_name, base_unit, base_time_s, own_time_s = "", None, 0.0, math.nan
    has_time, observed_ns = False, message.received_ns
    nameless = last_level(message.topic)
    thing_ids: list[str] = []
    instants_ns: list[int] = []
    timed: list[bool] = []
    measures: list[str] = []
    values: list[float] = []
    for record in pack:
        if record.bn is not UNSET:
            base_name = record.bn
        if record.bu is not UNSET:
            base_unit = record.bu
        own_s = 0.0 if record.t is UNSET else record.t
        if record.bt is not UNSET or own_s != own_time_s:
            base_time_s = base_time_s if record.bt is UNSET else record.bt
            own_time_s, time_s = own_s, base_time_s + own_s
            if time_s < RELATIVE_BELOW_S:
                time_s += message.received_ns / NS_PER_S
            if not 0 <= time_s * NS_PER_S < MAX_INSTANT_NS:
                return None
            has_time = bool(base_time_s or own_s)
            observed_ns = round(time_s * 1e6) * 1000 if has_time else message.received_ns
        name = base_name + record.n
        if len(name) > MAX_ID_CHARS:
            return None
        named = _named(name, base_unit if record.u is UNSET else record.u or base_unit)
        if named is None:
            return None
        thing_id, measure, factor, offset = named
        thing_ids.append(thing_id or nameless)
        instants_ns.append(observed_ns)
        timed.append(has_time)
        measures.append(measure)
        values.append(record.v * factor + offset)
    return Readings(thing_ids, instants_ns, timed, measures, values)


@lru_cache(maxsize=65_536)
def _named(name: str, unit: str | None) -> tuple[str, str, float, float] | None:
    """Thing and measure of a name as the RFC allows them, and what takes values to our unit.

    None of another name.
    """
    if not NAME.fullmatch(name):
        return None
    thing_id, measure = split_name(name)
    if unit in {"lon", "lat"}:
        return thing_id, LON if unit == "lon" else LAT, 1.0, -0.0
    return thing_id, *conversion(measure, unit)
