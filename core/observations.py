"""Observations: what a thing said about itself or its surroundings, and batches of them.

An observation is one thing at one time. Numbers live in ``measures`` under names that carry
their unit (``water_level_m``), words in ``labels``. Altitudes are measures whose name says
their datum: ``alt_wgs84_m`` (above the ellipsoid), ``alt_msl_m`` (mean sea level),
``alt_takeoff_m`` (above the take-off point), ``alt_agl_m`` (above ground).

A batch holds up to a few hundred observations as columns, because Python costs per message
and numpy costs per batch (docs/decisions/0004).
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.errors import DecodeError
from core.grades import INTERNAL, PUBLIC, SENSITIVE

#: Most observations in one batch; about 100 kB of log record.
MAX_BATCH = 512

#: Things hash into this many groups; a group's state moves as one (docs/decisions/0006).
KEY_GROUPS = 64


class Observation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One thing at one time.

    ``observed_ns`` is the device's time; where the device sends none it equals
    ``received_ns`` and ``has_device_time`` is False. Positions are WGS 84 degrees; None where
    the message had none (a fixed device is then placed by the register of devices). The
    one-sigma position error is an ellipse: semi axes in metres, azimuth of the major axis in
    degrees clockwise from north. ``set_aside`` says that it made the rules fail before: the
    archive has it from then.
    """

    source: Annotated[str, INTERNAL]
    thing_id: Annotated[str, INTERNAL]
    kind: Annotated[str, PUBLIC]
    observed_ns: Annotated[int, INTERNAL]
    received_ns: Annotated[int, INTERNAL]
    has_device_time: Annotated[bool, INTERNAL] = True
    device_sequence: Annotated[int | None, INTERNAL] = None
    repeated: Annotated[bool, INTERNAL] = False
    lon_deg: Annotated[float | None, INTERNAL] = None
    lat_deg: Annotated[float | None, INTERNAL] = None
    error_major_m: Annotated[float | None, INTERNAL] = None
    error_minor_m: Annotated[float | None, INTERNAL] = None
    error_azimuth_deg: Annotated[float | None, INTERNAL] = None
    measures: Annotated[dict[str, float], INTERNAL] = {}
    labels: Annotated[dict[str, str], INTERNAL] = {}
    snapshots: Annotated[tuple[str, ...], SENSITIVE] = ()
    topic: Annotated[str, INTERNAL] = ""
    set_aside: Annotated[bool, INTERNAL] = False

    @property
    def id(self) -> str:
        """32 hex digits derived from source, thing, sequence or time, and content.

        The same message delivered or replayed again has the same id, which is what makes
        every later step idempotent. Where the device sends neither time nor number, the time
        of receipt takes their place.

        Example:
            >>> one = Observation(source="plain", thing_id="w-1", kind="water_level",
            ...                   observed_ns=7, received_ns=9, measures={"water_level_m": 0.3})
            >>> again = msgspec.structs.replace(one, received_ns=11)
            >>> one.id == again.id, len(one.id)
            (True, 32)
        """
        if self.device_sequence is not None:
            when = f"#{self.device_sequence}@{self.observed_ns if self.has_device_time else ''}"
        else:
            when = f"@{self.observed_ns}"
        content = _JSON.encode((self.measures, self.labels, self.lon_deg, self.lat_deg))
        head = f"{self.source}\x1f{self.thing_id}\x1f{self.kind}\x1f{when}\x1f".encode()
        return _digest(head + content)


_JSON = msgspec.json.Encoder()
_DIGEST = hashlib.blake2b(digest_size=16)


def _digest(content: bytes) -> str:
    digest = _DIGEST.copy()  # dearer to make than to copy
    digest.update(content)
    return digest.hexdigest()


class Stamp(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What ingest says of a batch: its place in the one order, and how far time has come.

    ``watermark_ns``: no observation older than this is still expected from a live source.
    ``logged_ns``: city time at which ingest wrote the batch. ``wall_ns``: the machine's
    monotonic clock at that moment, for latency figures only, never for decisions.
    """

    ingest_id: str
    sequence: int
    partition: int
    watermark_ns: int
    logged_ns: int
    wall_ns: int = 0


class SparseFloats(msgspec.Struct, frozen=True, gc=False):
    """A measure of some rows: int32 row numbers, ascending, and float64 values."""

    rows: bytes
    values: bytes


class SparseTexts(msgspec.Struct, frozen=True, gc=False):
    """A label of some rows: int32 row numbers, ascending, and the texts."""

    rows: bytes
    values: list[str]


class Columns(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Observations as columns."""

    ids: list[str]
    sources: list[str]
    thing_ids: list[str]
    kinds: list[str]
    topics: list[str]
    observed: bytes  # int64
    received: bytes  # int64
    flags: bytes  # uint8: 1 has device time, 2 repeated, 4 set aside
    positions: bytes  # float64, shape (n, 5): lon, lat, error major, minor, azimuth; NaN unknown
    sequences: bytes  # int64, -1 where the device sends none
    measures: dict[str, SparseFloats]
    labels: dict[str, SparseTexts]
    snapshots: dict[int, list[str]]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def observed_ns(self) -> NDArray[np.int64]:
        """Device times, shape (n,)."""
        return np.frombuffer(self.observed, np.int64)

    @property
    def received_ns(self) -> NDArray[np.int64]:
        """Times of receipt, shape (n,)."""
        return np.frombuffer(self.received, np.int64)

    @property
    def depends_on_receipt(self) -> NDArray[np.bool_]:
        """Rows whose ids hold their times of receipt, shape (n,)."""
        has_time = (np.frombuffer(self.flags, np.uint8) & 1).astype(np.bool_)
        return ~has_time & (np.frombuffer(self.sequences, np.int64) < 0)

    @property
    def set_aside(self) -> NDArray[np.bool_]:
        """Rows that made the rules fail before, shape (n,)."""
        return (np.frombuffer(self.flags, np.uint8) & 4).astype(np.bool_)

    @property
    def place(self) -> NDArray[np.float64]:
        """Shape (n, 5): lon_deg, lat_deg, error_major_m, error_minor_m, error_azimuth_deg."""
        return np.frombuffer(self.positions, np.float64).reshape(-1, 5)

    def measure(self, name: str) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Rows that have a measure, and its values; both empty where none has."""
        column = self.measures.get(name)
        if column is None:
            return np.empty(0, np.int32), np.empty(0, np.float64)
        return np.frombuffer(column.rows, np.int32), np.frombuffer(column.values, np.float64)

    def dense_measure(self, name: str) -> NDArray[np.float64]:
        """A measure of every row, shape (n,), NaN where a row has none."""
        dense = np.full(len(self), np.nan)
        rows, values = self.measure(name)
        dense[rows] = values
        return dense

    def label(self, name: str) -> dict[int, str]:
        """A label by row number, of the rows that have it."""
        column = self.labels.get(name)
        if column is None:
            return {}
        return dict(zip(np.frombuffer(column.rows, np.int32).tolist(), column.values, strict=True))

    def __iter__(self) -> Iterator[Observation]:
        """The rows as observations; for edges and tests, not for hot paths."""
        place = self.place.tolist()
        flags = self.flags
        sequences = np.frombuffer(self.sequences, np.int64).tolist()
        observed, received = self.observed_ns.tolist(), self.received_ns.tolist()
        measures: list[dict[str, float]] = [{} for _ in self.ids]
        labels: list[dict[str, str]] = [{} for _ in self.ids]
        for name in self.measures:
            rows, values = self.measure(name)
            for row, value in zip(rows.tolist(), values.tolist(), strict=True):
                measures[row][name] = value
        for name in self.labels:
            for row, text in self.label(name).items():
                labels[row][name] = text
        for row in range(len(self)):
            lon, lat, major, minor, azimuth = (None if x != x else x for x in place[row])
            yield Observation(
                source=self.sources[row],
                thing_id=self.thing_ids[row],
                kind=self.kinds[row],
                observed_ns=observed[row],
                received_ns=received[row],
                has_device_time=bool(flags[row] & 1),
                repeated=bool(flags[row] & 2),
                set_aside=bool(flags[row] & 4),
                device_sequence=None if sequences[row] < 0 else sequences[row],
                lon_deg=lon,
                lat_deg=lat,
                error_major_m=major,
                error_minor_m=minor,
                error_azimuth_deg=azimuth,
                measures=measures[row],
                labels=labels[row],
                snapshots=tuple(self.snapshots.get(row, ())),
                topic=self.topics[row],
            )


class ObservationBatch(Columns, frozen=True, kw_only=True, tag="obs", gc=False):
    """Columns with the stamp of ingest; a batch of no rows is a tick: only time has passed.

    A recording that is played fast comes as many rounds of a few rows: ``rounds`` lets one log
    record hold several, each with a stamp of its own. What follows from the batch must be as if
    each had been a batch; the stamp of the batch is that of its last round.

    ``deliveries`` is what ingest needs at its next start to know a repeated message; see
    :mod:`ingest.repeats`.
    """

    stamp: Stamp
    deliveries: bytes = b""  # int64, shape (m, 2): message key, time of receipt
    rounds: bytes = b""  # int64, shape (k, 4), see round_table; empty where it is one round

    @property
    def round_table(self) -> NDArray[np.int64]:
        """Shape (k, 4), k from 1: behind its last row, sequence, watermark_ns, logged_ns."""
        if self.rounds:
            return np.frombuffer(self.rounds, np.int64).reshape(-1, 4)
        stamp = self.stamp
        return np.array([[len(self), stamp.sequence, stamp.watermark_ns, stamp.logged_ns]])

    def round_stamps(self) -> list[Stamp]:
        """The stamp of each round."""
        if not self.rounds:
            return [self.stamp]
        one = self.stamp
        return [
            Stamp(
                ingest_id=one.ingest_id,
                sequence=sequence,
                partition=one.partition,
                watermark_ns=watermark_ns,
                logged_ns=logged_ns,
                wall_ns=one.wall_ns,
            )
            for _, sequence, watermark_ns, logged_ns in self.round_table.tolist()
        ]


def pack(observations: Sequence[Observation], stamp: Stamp) -> ObservationBatch:
    """Turn observations into a batch.

    Example:
        >>> stamp = Stamp(ingest_id="i", sequence=1, partition=0, watermark_ns=0, logged_ns=0)
        >>> rows = [Observation(source="plain", thing_id="w-1", kind="water_level",
        ...                     observed_ns=7, received_ns=9, measures={"water_level_m": 0.3})]
        >>> list(pack(rows, stamp)) == rows
        True
        >>> len(pack([], stamp))
        0
    """
    return stamped(columns_of(observations), stamp)


def stamped(
    columns: Columns, stamp: Stamp, deliveries: bytes = b"", rounds: bytes = b""
) -> ObservationBatch:
    """Make columns a batch."""
    given = {name: getattr(columns, name) for name in Columns.__struct_fields__}
    return ObservationBatch(**given, stamp=stamp, deliveries=deliveries, rounds=rounds)


def columns_of(observations: Sequence[Observation]) -> Columns:
    """Turn observations into columns."""
    nan = math.nan
    place: list[tuple[float, ...]] = []
    measures: dict[str, tuple[list[int], list[float]]] = {}
    labels: dict[str, tuple[list[int], list[str]]] = {}
    snapshots: dict[int, list[str]] = {}
    for row, one in enumerate(observations):
        place.append(
            (
                nan if one.lon_deg is None else one.lon_deg,
                nan if one.lat_deg is None else one.lat_deg,
                nan if one.error_major_m is None else one.error_major_m,
                nan if one.error_minor_m is None else one.error_minor_m,
                nan if one.error_azimuth_deg is None else one.error_azimuth_deg,
            )
        )
        for name, value in one.measures.items():
            rows, values = measures.setdefault(name, ([], []))
            rows.append(row)
            values.append(value)
        for name, text in one.labels.items():
            label_rows, texts = labels.setdefault(name, ([], []))
            label_rows.append(row)
            texts.append(text)
        if one.snapshots:
            snapshots[row] = list(one.snapshots)
    return Columns(
        ids=[one.id for one in observations],
        sources=[one.source for one in observations],
        thing_ids=[one.thing_id for one in observations],
        kinds=[one.kind for one in observations],
        topics=[one.topic for one in observations],
        observed=np.array([one.observed_ns for one in observations], np.int64).tobytes(),
        received=np.array([one.received_ns for one in observations], np.int64).tobytes(),
        flags=bytes(
            one.has_device_time | one.repeated << 1 | one.set_aside << 2 for one in observations
        ),
        positions=np.array(place, np.float64).tobytes(),
        sequences=np.array(
            [-1 if one.device_sequence is None else one.device_sequence for one in observations],
            np.int64,
        ).tobytes(),
        measures={
            name: SparseFloats(np.array(rows, np.int32).tobytes(), np.array(values).tobytes())
            for name, (rows, values) in measures.items()
        },
        labels={
            name: SparseTexts(np.array(rows, np.int32).tobytes(), texts)
            for name, (rows, texts) in labels.items()
        },
        snapshots=snapshots,
    )


def columns_of_readings(
    *,
    source: str,
    topic: str,
    received_ns: int,
    repeated: bool,
    thing_ids: list[str],
    kinds: list[str],
    observed_ns: list[int],
    has_device_time: list[bool],
    names: list[str],
    values: list[float],
) -> Columns:
    """Columns of one message's readings: one measure each, no label, position or number.

    The same as :func:`columns_of` of such observations, in a third of the time.

    Args:
        source: Of all.
        topic: Of the message.
        received_ns: When the message came.
        repeated: Whether MQTT says that it came before.
        thing_ids: Of each row.
        kinds: Of each row.
        observed_ns: Of each row.
        has_device_time: Of each row.
        names: Measure of each row; of characters that JSON writes as they are.
        values: Of each row, finite.

    Example:
        >>> [one] = columns_of_readings(
        ...     source="s", topic="t", received_ns=9, repeated=False, thing_ids=["w"], kinds=["k"],
        ...     observed_ns=[7], has_device_time=[True], names=["level_m"], values=[0.25])
        >>> one.thing_id, one.measures
        ('w', {'level_m': 0.25})
    """
    n = len(values)
    texts = _JSON.encode(values)[1:-1].decode().split(",")
    numbers = np.array(values, np.float64)
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        rows_of[name].append(row)
    measures = {
        name: SparseFloats(np.array(rows, np.int32).tobytes(), numbers[rows].tobytes())
        for name, rows in rows_of.items()
    }
    timed = np.array(has_device_time, np.uint8)
    return Columns(
        ids=[
            _digest(
                f"{source}\x1f{thing_id}\x1f{kind}\x1f@{at_ns}\x1f"
                f'[{{"{name}":{text}}},{{}},null,null]'.encode()
            )
            for thing_id, kind, at_ns, name, text in zip(
                thing_ids, kinds, observed_ns, names, texts, strict=True
            )
        ],
        sources=[source] * n,
        thing_ids=thing_ids,
        kinds=kinds,
        topics=[topic] * n,
        observed=np.array(observed_ns, np.int64).tobytes(),
        received=np.full(n, received_ns, np.int64).tobytes(),
        flags=(timed | repeated << 1).tobytes(),
        positions=np.full(5 * n, np.nan).tobytes(),
        sequences=np.full(n, -1, np.int64).tobytes(),
        measures=measures,
        labels={},
        snapshots={},
    )


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(ObservationBatch)


def encode_batch(batch: ObservationBatch) -> bytes:
    """Write a batch as one log record (MessagePack, columns as raw little-endian bytes)."""
    return _ENCODER.encode(batch)


def decode_batch(data: bytes) -> ObservationBatch:
    """Read a log record back.

    Raises:
        DecodeError: The bytes are not a batch, or its columns differ in length.
    """
    try:
        batch = _DECODER.decode(data)
    except msgspec.MsgspecError as exc:
        raise DecodeError("bad_batch", f"log record of {len(data)} bytes: {exc}") from exc
    n = len(batch.ids)
    if not (
        len(batch.thing_ids) == len(batch.kinds) == len(batch.sources) == len(batch.topics) == n
        and len(batch.observed) == len(batch.received) == len(batch.sequences) == 8 * n
        and len(batch.flags) == n
        and len(batch.positions) == 40 * n
        and len(batch.rounds) % 32 == 0
    ):
        raise DecodeError("bad_batch", f"columns of a batch of {n} rows differ in length")
    ends = batch.round_table[:, 0]
    if ends[-1] != n or np.any(np.diff(ends, prepend=0) < 0):
        raise DecodeError("bad_batch", f"rounds of a batch of {n} rows end at {ends.tolist()}")
    return batch


@lru_cache(maxsize=65_536)
def key_group(thing_id: str) -> int:
    """The key group of a thing, 0 to 63; the same on every machine and Python.

    Example:
        >>> key_group("w-1") == key_group("w-1"), 0 <= key_group("青") < KEY_GROUPS
        (True, True)
    """
    return hashlib.blake2b(thing_id.encode(), digest_size=1).digest()[0] % KEY_GROUPS


def partitions_of(thing_ids: Sequence[str], partitions: int) -> NDArray[np.int64]:
    """The partition of each of several things, shape (n,)."""
    if partitions == 1:
        return np.zeros(len(thing_ids), np.int64)
    return np.array([partition_of(one, partitions) for one in thing_ids], np.int64)


def partition_of(thing_id: str, partitions: int) -> int:
    """The partition a thing's observations go to; key groups are dealt out evenly."""
    return key_group(thing_id) * partitions // KEY_GROUPS
