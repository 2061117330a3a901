"""Words of the ledger: what ingest says it received, and what the rules say they made of it.

Everything is counted by source and by minute of receipt. A batch of ingest has a number in a
start of ingest; both sides name it, so that they can be held against each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.errors import DecodeError
from core.units import NS_PER_S

#: Source and minute of receipt, as seconds since 1970.
Account = tuple[str, int]

#: Source of what no decoder reads.
UNKNOWN_SOURCE = "unknown"


def account_of(source: str, received_ns: int) -> Account:
    """What a message or an observation is counted under.

    Example:
        >>> account_of("plain", 61_000_000_000)
        ('plain', 60)
    """
    return source, received_ns // NS_PER_S // 60 * 60


class Tally(msgspec.Struct, frozen=True, array_like=True):
    """How many observations of a source and a minute were accepted, and how many repeated.

    ``again`` are those of the accepted that were set aside before: the archive has them.
    """

    source: str
    minute_s: int
    accepted: int
    duplicates: int
    again: int = 0


def accounts_of(sources: Iterable[str], received_ns: Iterable[int]) -> Counter[Account]:
    """How many rows are counted under each account.

    Example:
        >>> accounts_of(["plain", "plain"], [0, 61_000_000_000])
        Counter({('plain', 0): 1, ('plain', 60): 1})
    """
    rows = Counter(zip(sources, received_ns, strict=True))  # one message gives many alike
    accounts: Counter[Account] = Counter()
    for (source, at_ns), count in rows.items():
        accounts[account_of(source, at_ns)] += count
    return accounts


def tallies(
    sources: Sequence[str],
    received_ns: NDArray[np.int64],
    fresh: NDArray[np.bool_],
    again: NDArray[np.bool_] | None = None,
) -> tuple[Tally, ...]:
    """Count the rows of a batch.

    Args:
        sources: Of each row.
        received_ns: Of each row, shape (n,).
        fresh: Whether each row was seen for the first time, shape (n,).
        again: Whether each row was set aside before, shape (n,); None for no row.

    Example:
        >>> tallies(["plain", "plain"], np.array([0, 1]), np.array([True, False]))
        (Tally(source='plain', minute_s=0, accepted=1, duplicates=1, again=0),)
        >>> tallies([], np.array([], np.int64), np.array([], np.bool_))
        ()
    """
    minutes = (received_ns // (60 * NS_PER_S)).tolist()
    rows = Counter(zip(sources, minutes, fresh.tolist(), strict=True))
    keys = dict.fromkeys((source, minute) for source, minute, _ in rows)
    known: Counter[tuple[str, int]] = Counter()
    if again is not None:
        known.update((sources[row], minutes[row]) for row in np.flatnonzero(fresh & again).tolist())
    return tuple(
        Tally(
            source,
            60 * minute,
            rows[source, minute, True],
            rows[source, minute, False],
            known[source, minute],
        )
        for source, minute in keys
    )


def summed(parts: Iterable[Tally]) -> tuple[Tally, ...]:
    """One tally of each source and minute: a batch is posted once under each.

    Example:
        >>> summed([Tally("plain", 0, 1, 0), Tally("plain", 0, 2, 1), Tally("dji", 0, 1, 0)])[0]
        Tally(source='plain', minute_s=0, accepted=3, duplicates=1, again=0)
    """
    sums: dict[tuple[str, int], Tally] = {}
    for one in parts:
        key = (one.source, one.minute_s)
        held = sums.get(key, Tally(*key, 0, 0))
        sums[key] = Tally(
            *key,
            held.accepted + one.accepted,
            held.duplicates + one.duplicates,
            held.again + one.again,
        )
    return tuple(sums.values())


class Received(msgspec.Struct, frozen=True, array_like=True):
    """How much of a source and a minute ingest received: observations and rejections."""

    source: str
    minute_s: int
    count: int


class MeterRecord(msgspec.Struct, frozen=True, kw_only=True, tag="meter"):
    """What ingest received in the batches ``first`` to ``last`` of one start.

    Counted where a message is decoded, before anything is written, and written to a topic of
    its own after the batches are durable: what is missing from the log is still in here.
    ``messages`` is what came from the broker.
    """

    ingest_id: str
    first: int
    last: int
    messages: int
    received: tuple[Received, ...]


class Meter:
    """Counts what ingest receives until a record of it is due.

    Example:
        >>> meter = Meter("ingest/1")
        >>> meter.count({("plain", 0): 2}, messages=1)
        >>> meter.cover(1, 4)
        >>> meter.take().received
        (Received(source='plain', minute_s=0, count=2),)
        >>> meter.take() is None
        True
    """

    def __init__(self, ingest_id: str) -> None:
        self._ingest_id = ingest_id
        self._counts: Counter[Account] = Counter()
        self._messages = 0
        self._first: int | None = None
        self._last = 0

    def count(self, accounts: Mapping[Account, int], messages: int) -> None:
        """Count what messages came to."""
        self._counts.update(accounts)
        self._messages += messages

    def cover(self, first: int, last: int) -> None:
        """Say that the batches up to ``last``, which began at ``first``, are durable."""
        if self._first is None:
            self._first = first
        self._last = last

    def take(self) -> MeterRecord | None:
        """What was received since the last call; None where no batch was written."""
        if self._first is None:
            return None
        record = MeterRecord(
            ingest_id=self._ingest_id,
            first=self._first,
            last=self._last,
            messages=self._messages,
            received=tuple(Received(*key, count) for key, count in self._counts.items()),
        )
        self._counts.clear()
        self._messages, self._first = 0, None
        return record


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(MeterRecord)


def encode_meter(record: MeterRecord) -> bytes:
    """Write a record of topic ``meter``."""
    return _ENCODER.encode(record)


def decode_meter(data: bytes) -> MeterRecord:
    """Read a record of topic ``meter`` back.

    Raises:
        DecodeError: The bytes are none.
    """
    try:
        return _DECODER.decode(data)
    except msgspec.MsgspecError as exc:
        raise DecodeError("bad_meter", f"log record of {len(data)} bytes: {exc}") from exc


def start_of(ingest_id: str) -> tuple[str, int]:
    """An ingest's name, and the number of its start, by which its batches are ordered.

    What an ingest wrote before it died is thus followed by what it wrote after, also where it
    died within a round and some partitions have no record of that.

    Example:
        >>> start_of("ingest/000017")
        ('ingest', 17)
        >>> start_of("ingest-1")
        ('ingest-1', 0)
    """
    name, _, start = ingest_id.rpartition("/")
    return (name, int(start)) if name and start.isdigit() else (ingest_id, 0)
