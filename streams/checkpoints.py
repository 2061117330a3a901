"""Checkpoints of one partition in a table: what changed, and a part in full, in turn.

A checkpoint says what has changed since the one before. So that what there is to read at a start
does not grow, each also writes some units in full, in turn, about as much as has changed; a unit
is a key group's rule state or the memory of ids. What changed before the oldest of them was
written in full is not needed any more (:class:`Turns`).

It is written as pages of bounded size and a head that names them. A page that the newest head
names is never written over, so a kill between two records leaves the checkpoint before whole;
pages that nothing names are written again, so a compacted table stays small (shadow paging).
Keys carry their writer: a worker that has lost the partition and does not know it yet cannot
write over what its successor wrote. Of several heads the one that includes most input counts,
which is right because a state follows from its input alone (docs/decisions/0006).
"""

from __future__ import annotations

import zlib
from collections.abc import MutableMapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.errors import ServiceError
from core.observations import KEY_GROUPS

#: Version of the layout; another one is refused, not guessed at.
CHECKPOINT_VERSION = 3

#: Largest page; with its key far below what one record of the log takes.
PAGE_BYTES = 512 * 1024

#: Units beside the key groups: the memory of ids, what follows things through fences. What has
#: changed is of no unit.
IDS = KEY_GROUPS
FENCES = KEY_GROUPS + 1
CHANGES = -1
#: Those that take turns.
TURNS = KEY_GROUPS + 1


class Counters(msgspec.Struct, kw_only=True):
    """What a partition has done since its log began; exact, because it is checkpointed."""

    accepted: int = 0
    duplicates: int = 0
    events: int = 0


class Position(msgspec.Struct, kw_only=True):
    """How far a partition's input is applied."""

    applied_offset: int = -1
    watermark_ns: int = 0
    counters: Counters = msgspec.field(default_factory=Counters)


class Turns(msgspec.Struct, kw_only=True):
    """Which units are written in full at which checkpoint. Pure.

    Attributes:
        number: Of the newest checkpoint; -1 before the first.
        next_unit: Whose turn it is.
        since: Up to which checkpoint each unit is in its part written in full; changes of it
            up to there are not needed.
        owed: Changes of each unit since then, in rows.
    """

    number: int = -1
    next_unit: int = 0
    since: list[int] = msgspec.field(default_factory=lambda: [-1] * TURNS)
    owed: list[int] = msgspec.field(default_factory=lambda: [0] * TURNS)

    def choose(self, sizes: NDArray[np.int64], changed: NDArray[np.int64]) -> list[int]:
        """Begin a checkpoint; gives the units to write in full, the others say what changed.

        At least one unit has its turn, and as many as it takes to write no less in full than is
        left as changes. So all changes that are kept are fewer than twice the rows there are,
        and older than :data:`TURNS` checkpoints they never get.

        Args:
            sizes: Rows of each unit, shape (TURNS,).
            changed: Rows of each that changed since the last checkpoint, shape (TURNS,).
        """
        self.number += 1
        owed = (np.array(self.owed) + changed).tolist()
        left, written, chosen = int(changed.sum()), 0, []
        for _ in range(TURNS):
            unit = self.next_unit
            self.next_unit = (unit + 1) % TURNS
            self.since[unit] = self.number
            if owed[unit]:
                chosen.append(unit)
                written += int(sizes[unit])
                left -= int(changed[unit])
                owed[unit] = 0
            if written >= left:
                break
        self.owed = owed
        return chosen


class Part(NamedTuple):
    """Some of a state: of which unit, written by which checkpoint."""

    unit: int
    number: int
    data: bytes


class Checkpoint(NamedTuple):
    """A position, and the parts of the state there: all of them, or those that are new."""

    position: Position
    turns: Turns
    parts: Sequence[Part]


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    """Where a part is."""

    unit: int
    number: int
    pages: tuple[bytes, ...]
    n_bytes: int
    crc32: int


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """The record that makes a checkpoint one; ``version`` comes first in every version."""

    version: int
    position: Position
    turns: Turns
    parts: tuple[_Stored, ...]


class _Versioned(msgspec.Struct, frozen=True):
    version: int


class CheckpointStore:
    """Keeps the checkpoints of one partition.

    Args:
        table: Where; a write is durable before those that come after it.
        partition: Its number.
        writer: A name that no other store of this partition ever had or will have.

    Raises:
        ServiceError: What is there was written by another version, or is damaged.

    Example:
        >>> table = {}
        >>> store = CheckpointStore(table, 0, "a")
        >>> store.load() is None
        True
        >>> turns = Turns()
        >>> _ = turns.choose(np.zeros(TURNS, int), np.zeros(TURNS, int))
        >>> store.write(Checkpoint(Position(applied_offset=7), turns, [Part(3, 0, b"state")]))
        >>> CheckpointStore(table, 0, "b").load().position.applied_offset
        7
    """

    def __init__(self, table: MutableMapping[bytes, Any], partition: int, writer: str) -> None:
        self._table = table
        self._partition = partition
        self._head_key = b"%d/%s" % (partition, writer.encode())
        self._page_count = 0
        self._free: list[bytes] = []
        self._head: _Head | None = None
        #: Pages and heads of other writers that the head before did not need either.
        self._doomed: list[bytes] = []
        #: The head that was taken over, until there is one of our own.
        self._taken_over: bytes | None = None
        self._find()

    def _find(self) -> None:
        """Take the newest head of whoever wrote one; what it does not name is to go."""
        own = b"%d" % self._partition
        keys = [key for key in self._table if key.split(b"/", 1)[0] == own]
        heads = {key: self._decoded(key) for key in keys if key.count(b"/") < 2}
        if heads:
            key, self._head = max(
                heads.items(),
                key=lambda one: (one[1].position.applied_offset, one[1].turns.number),
            )
            self._taken_over = key
            needed = {key, *(page for part in self._head.parts for page in part.pages)}
            self._doomed = [key for key in keys if key not in needed]
        else:
            self._doomed = keys

    def _decoded(self, key: bytes) -> _Head:
        record = self._table[key]
        try:
            version = msgspec.msgpack.decode(record, type=_Versioned).version
            if version == CHECKPOINT_VERSION:
                return msgspec.msgpack.decode(record, type=_Head)
        except msgspec.MsgspecError as exc:
            raise self._damaged(f"{len(record)} bytes at {key!r}: {exc}") from exc
        raise ServiceError(
            f"checkpoint of partition {self._partition} has version {version}, "
            f"this program reads {CHECKPOINT_VERSION}; use the program that wrote it"
        )

    def _damaged(self, what: str) -> ServiceError:
        return ServiceError(
            f"checkpoint of partition {self._partition} cannot be read, {what}; "
            "start with a new data folder, or restore a backup"
        )

    def load(self) -> Checkpoint | None:
        """The newest checkpoint, with all its parts; None when there is none.

        Raises:
            ServiceError: A part is not as it was written.
        """
        if self._head is None:
            return None
        parts = []
        for one in self._head.parts:
            data = b"".join(self._table.get(page) or b"" for page in one.pages)
            if len(data) != one.n_bytes or zlib.crc32(data) != one.crc32:
                raise self._damaged(
                    f"{one.n_bytes} bytes of part {one.unit} of checkpoint {one.number} were "
                    f"wanted, got {len(data)} or others"
                )
            parts.append(Part(one.unit, one.number, data))
        # Copies: whoever goes on from here changes them.
        head = msgspec.msgpack.decode(msgspec.msgpack.encode(self._head), type=_Head)
        return Checkpoint(head.position, head.turns, parts)

    def write(self, new: Checkpoint) -> None:
        """Add what is new of a checkpoint, and let go what it no longer needs."""
        for key in self._doomed:
            self._table.pop(key, None)
        self._doomed = []
        old = () if self._head is None else self._head.parts
        fresh = {part.unit for part in new.parts}
        oldest = min(new.turns.since)
        kept = [
            one
            for one in old
            if (one.number >= oldest if one.unit == CHANGES else one.unit not in fresh)
        ]
        stored = [self._put(part) for part in new.parts]
        head = _Head(
            version=CHECKPOINT_VERSION,
            position=new.position,
            turns=new.turns,
            parts=(*kept, *stored),
        )
        record = msgspec.msgpack.encode(head)
        self._table[self._head_key] = record
        self._head = msgspec.msgpack.decode(record, type=_Head)
        if self._taken_over is not None:
            self._doomed.append(self._taken_over)
            self._taken_over = None
        held = {page for one in kept for page in one.pages}
        for page in (page for one in old for page in one.pages if page not in held):
            # Another's page goes with the next checkpoint only: if we have lost the partition and
            # do not know it, our successor may still need it.
            mine = page.startswith(self._head_key + b"/")
            (self._free if mine else self._doomed).append(page)

    def _put(self, part: Part) -> _Stored:
        pages = []
        for start in range(0, len(part.data), PAGE_BYTES):
            if self._free:
                page = self._free.pop()
            else:
                page = b"%s/%d" % (self._head_key, self._page_count)
                self._page_count += 1
            self._table[page] = part.data[start : start + PAGE_BYTES]
            pages.append(page)
        return _Stored(part.unit, part.number, tuple(pages), len(part.data), zlib.crc32(part.data))
