"""The archive's columns, each with its data grade, and batches of observations as Arrow tables.

A field's metadata names its grade (数据分类分级), so that whoever opens a file knows who may see
what. Instants are integer UTC nanoseconds, positions WGS 84 degrees. ``partition`` and ``offset``
say which record of the log a row came from, ``sequence`` and ``ingest_id`` which batch of ingest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.events import Place
from core.grades import Grade, grade_of_fields
from core.observations import Columns, Observation
from geo.tagging import Tags

#: Written into every file; a reader that knows another one refuses it.
SCHEMA_VERSION = "1"

_OBSERVATION = grade_of_fields(Observation)
_PLACE = grade_of_fields(Place)


def _field(name: str, kind: pa.DataType, grade: Grade | None) -> pa.Field:
    assert grade is not None, f"column {name} has no data grade"
    return pa.field(name, kind, metadata={"grade": grade.name})


_WORDS = pa.list_(pa.string())

SCHEMA = pa.schema(
    [
        _field("id", pa.binary(16), Grade.INTERNAL),
        *(_field(name, pa.string(), _OBSERVATION[name]) for name in ("source", "thing_id", "kind")),
        _field("observed_ns", pa.int64(), _OBSERVATION["observed_ns"]),
        _field("received_ns", pa.int64(), _OBSERVATION["received_ns"]),
        _field("has_device_time", pa.bool_(), _OBSERVATION["has_device_time"]),
        _field("late", pa.bool_(), Grade.INTERNAL),
        _field("device_sequence", pa.int64(), _OBSERVATION["device_sequence"]),
        *(
            _field(name, pa.float64(), _OBSERVATION[name])
            for name in (
                "lon_deg",
                "lat_deg",
                "error_major_m",
                "error_minor_m",
                "error_azimuth_deg",
            )
        ),
        _field("measures", pa.map_(pa.string(), pa.float64()), _OBSERVATION["measures"]),
        _field("labels", pa.map_(pa.string(), pa.string()), _OBSERVATION["labels"]),
        _field("snapshots", _WORDS, _OBSERVATION["snapshots"]),
        _field("topic", pa.string(), _OBSERVATION["topic"]),
        _field("area_code", pa.string(), _PLACE["grid_code"]),
        _field("road_name", pa.string(), _PLACE["road_name"]),
        _field("zones", _WORDS, _PLACE["zones"]),
        _field("airspaces", _WORDS, _PLACE["airspaces"]),
        _field("ingest_id", pa.string(), Grade.INTERNAL),
        _field("sequence", pa.int64(), Grade.INTERNAL),
        _field("partition", pa.int32(), Grade.INTERNAL),
        _field("offset", pa.int64(), Grade.INTERNAL),
    ],
    metadata={"qingniao.archive": SCHEMA_VERSION},
)

#: Columns whose values repeat; the others would only make a dictionary as large as themselves.
DICTIONARY = [
    "source",
    "thing_id",
    "kind",
    "measures.key_value.key",
    "labels.key_value.key",
    "labels.key_value.value",
    "topic",
    "area_code",
    "road_name",
    "zones.list.element",
    "airspaces.list.element",
    "ingest_id",
]


class Origin(NamedTuple):
    """Where the rows of a table come from: one value per row, shape (n,)."""

    ingest_ids: Sequence[str]
    sequence: NDArray[np.int64]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    watermark_ns: NDArray[np.int64]


def to_table(batch: Columns, tags: Tags, origin: Origin) -> pa.Table:
    """Observations with what the map says of them, as rows of the archive.

    Args:
        batch: The rows.
        tags: Of the same rows.
        origin: Of the same rows. A row is late where its time lies before the watermark of the
            batch it came in.
    """
    n = len(batch)
    flags = np.frombuffer(batch.flags, np.uint8)
    numbers = np.frombuffer(batch.sequences, np.int64)
    place = batch.place
    columns = {
        "id": _ids(batch),
        "source": pa.array(batch.sources, pa.string()),
        "thing_id": pa.array(batch.thing_ids, pa.string()),
        "kind": pa.array(batch.kinds, pa.string()),
        "observed_ns": pa.array(batch.observed_ns),
        "received_ns": pa.array(batch.received_ns),
        "has_device_time": pa.array((flags & 1).astype(np.bool_)),
        "late": pa.array(batch.observed_ns < origin.watermark_ns),
        "device_sequence": pa.array(numbers, mask=numbers < 0),
        "measures": _floats(batch, n),
        "labels": _texts(batch, n),
        "snapshots": _snapshots(batch, n),
        "topic": pa.array(batch.topics, pa.string()),
        "area_code": pa.array(tags.area_codes(), pa.string()),
        "road_name": pa.array(tags.road_names(), pa.string()),
        "zones": pa.array(tags.zone_lists(), _WORDS),
        "airspaces": pa.array(tags.airspace_lists(), _WORDS),
        "ingest_id": pa.array(origin.ingest_ids, pa.string()),
        "sequence": pa.array(origin.sequence),
        "partition": pa.array(origin.partition),
        "offset": pa.array(origin.offset),
    }
    for number, name in enumerate(
        ("lon_deg", "lat_deg", "error_major_m", "error_minor_m", "error_azimuth_deg")
    ):
        column = np.ascontiguousarray(place[:, number])
        columns[name] = pa.array(column, mask=np.isnan(column))
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _ids(batch: Columns) -> pa.Array:
    """The ids as 16 bytes each."""
    whole = pa.py_buffer(bytes.fromhex("".join(batch.ids)))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(batch), [None, whole])


def _snapshots(batch: Columns, n: int) -> pa.ListArray:
    """The pictures of every row; most have none."""
    names: list[Sequence[str]] = [()] * n
    for row, given in batch.snapshots.items():
        names[row] = given
    return pa.array(names, _WORDS)


def _floats(batch: Columns, n: int) -> pa.MapArray:
    """All measures as one column of maps."""
    rows, keys, values = [], [], []
    for name in sorted(batch.measures):
        where, numbers = batch.measure(name)
        rows.append(where)
        values.append(numbers)
        keys.append(name)
    items = np.concatenate([np.empty(0), *values])
    return _maps(n, rows, keys, lambda order: pa.array(items[order]))


def _texts(batch: Columns, n: int) -> pa.MapArray:
    """All labels as one column of maps."""
    rows, keys = [], []
    items: list[str] = []
    for name in sorted(batch.labels):
        column = batch.labels[name]
        rows.append(np.frombuffer(column.rows, np.int32))
        keys.append(name)
        items.extend(column.values)
    words = pa.array(items, pa.string())
    return _maps(n, rows, keys, lambda order: words.take(pa.array(order)))


def _maps(
    n: int,
    rows: Sequence[NDArray[np.int32]],
    keys: Sequence[str],
    items_in: Callable[[NDArray[np.intp]], pa.Array],
) -> pa.MapArray:
    """Sparse columns, by name, as one map per row; names ascend within a row."""
    of_row = np.concatenate([np.empty(0, np.int32), *rows])
    order = np.argsort(of_row, kind="stable")
    ends = np.cumsum(np.bincount(of_row, minlength=n))
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    number = np.repeat(np.arange(len(keys)), [len(one) for one in rows])
    names = pa.array(keys, pa.string()).take(pa.array(number[order].astype(np.int64)))
    return pa.MapArray.from_arrays(pa.array(offsets), names, items_in(order))
