"""The rules' state as bytes: of all things or of some, and many such pieces put together. Pure.

A checkpoint does not say everything each time (docs/decisions/0006): of a key group there is one
piece with all its things, and there are pieces with what has changed since, of things of any
group. :func:`joined` makes one state of them, in which each thing is as its newest piece has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.errors import DecodeError
from core.events import Place
from scenarios import kernels
from scenarios.kernels import MAX_OBSERVATION_IDS, WINDOW_SAMPLES

#: Version of the layout; another one is refused, not guessed at.
STATE_VERSION = 3

#: Columns of an entry that are kept; the rest is links, or made anew.
KEPT_COLUMNS = (
    "slot",
    "rule",
    "phase",
    "measure",
    "began_ns",
    "seen_ns",
    "over_ns",
    "edge_ns",
    "still_ns",
    "value",
    "peak",
    "source",
    "snap_row",
    "flaps",
    "flap_ns",
    "id_count",
    "ids",
)
_TYPES = {name: getattr(kernels.empty_live(1, 1), name).dtype for name in KEPT_COLUMNS}


class RuleState(msgspec.Struct, array_like=True):
    """Things and their entries. ``places`` and ``rings`` are those of the entries, in their order.

    Attributes:
        things: Ids; ``groups`` has the key group of each (uint8), ``last_ns`` when it was last
            heard (int64).
        gone: Things that were forgotten since the piece before.
        rules: Names for the numbers in the entries' column ``rule``; ``sources`` likewise.
    """

    version: int
    watermark_ns: int
    swept_ns: int
    late_count: int
    ignored_report_count: int
    things: list[str]
    groups: bytes
    last_ns: bytes
    gone: list[str]
    rules: list[str]
    sources: list[str]
    columns: dict[str, bytes]
    places: list[Place | None]
    snapshots: dict[int, list[str]]
    ring_of: bytes
    ring_ns: bytes
    ring_value: bytes
    ring_count: bytes

    def column(self, name: str) -> NDArray[Any]:
        """A column of the entries; shape (n,), that of ``ids`` (n, 2 × ids)."""
        found = np.frombuffer(self.columns[name], _TYPES[name])
        return found.reshape(-1, 2 * MAX_OBSERVATION_IDS) if name == "ids" else found

    @property
    def rings(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Windows: the entry of each, instants and values (n, samples), and how many."""
        return (
            np.frombuffer(self.ring_of, np.int64),
            np.frombuffer(self.ring_ns, np.int64).reshape(-1, WINDOW_SAMPLES),
            np.frombuffer(self.ring_value).reshape(-1, WINDOW_SAMPLES),
            np.frombuffer(self.ring_count, np.int32),
        )


class Piece(NamedTuple):
    """A state of some things.

    Attributes:
        number: Of the checkpoint that wrote it.
        group: Whose things it has all of; None for what changed, of any group.
        state: As it was written.
    """

    number: int
    group: int | None
    state: RuleState


def decode_state(data: bytes) -> RuleState:
    """A state as it was written.

    Raises:
        DecodeError: ``bad_state``: the bytes are not such a state, or of another version.
    """
    try:
        head: Any = msgspec.msgpack.decode(data)
        if isinstance(head, list) and head and head[0] != STATE_VERSION:
            raise DecodeError(
                "bad_state", f"rule state: version {STATE_VERSION} was wanted, got {head[0]}"
            )
        return msgspec.convert(head, type=RuleState)
    except msgspec.MsgspecError as exc:
        raise DecodeError("bad_state", f"rule state of {len(data)} bytes: {exc}") from exc


def joined(pieces: Sequence[Piece]) -> RuleState:
    """One state of pieces, in any order; what a group's own piece has is newer than older changes.

    Raises:
        ValueError: There are none.
        DecodeError: ``bad_state``: columns of a piece do not fit each other.
    """
    if not pieces:
        raise ValueError("a state is made of at least one piece, got none")
    # Of one checkpoint the groups come first: a thing may be gone and new again in them.
    ordered = sorted(pieces, key=lambda one: (one.number, one.group is not None), reverse=True)
    whole_since = np.full(256, -1, np.int64)
    for one in ordered:
        if one.group is not None:
            whole_since[one.group] = max(whole_since[one.group], one.number)
    try:
        return _joined(ordered, whole_since)
    except (ValueError, IndexError, KeyError) as exc:
        raise DecodeError("bad_state", f"rule state: columns do not fit: {exc}") from exc


def _joined(ordered: Sequence[Piece], whole_since: NDArray[np.int64]) -> RuleState:
    newest = ordered[0].state
    rules: dict[str, int] = {}
    sources: dict[str, int] = {}
    seen: set[str] = set()
    things: list[str] = []
    groups: list[NDArray[np.uint8]] = []
    last_ns: list[NDArray[np.int64]] = []
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in KEPT_COLUMNS}
    places: list[Place | None] = []
    snapshots: dict[int, list[str]] = {}
    rings: list[tuple[NDArray[Any], ...]] = []
    for number, group, state in ordered:
        own = np.frombuffer(state.groups, np.uint8)
        counts = whole_since[own] < number if group is None else np.ones(len(own), np.bool_)
        kept = [
            row
            for row, (thing, wanted) in enumerate(zip(state.things, counts.tolist(), strict=True))
            if wanted and thing not in seen
        ]
        new_slot = np.full(len(own), -1, np.int32)
        new_slot[kept] = np.arange(len(things), len(things) + len(kept))
        names = [state.things[row] for row in kept]
        things += names
        seen.update(names)
        seen.update(state.gone)
        groups.append(own[kept])
        last_ns.append(np.frombuffer(state.last_ns, np.int64)[kept])

        slots = new_slot[state.column("slot")]
        entries = np.flatnonzero(slots >= 0)
        mapped = {
            "slot": slots,
            "rule": _renumbered(state.rules, rules)[state.column("rule")],
            "source": _renumbered(state.sources, sources)[state.column("source")],
        }
        for name in KEPT_COLUMNS:
            columns[name].append(mapped.get(name, state.column(name))[entries])
        ring_of, ring_ns, ring_value, ring_count = state.rings
        at = np.full(len(slots), -1, np.int64)
        at[entries] = np.arange(len(places), len(places) + len(entries))
        some = np.flatnonzero(at[ring_of] >= 0)
        rings.append((at[ring_of[some]], ring_ns[some], ring_value[some], ring_count[some]))
        snapshots |= {int(at[n]): paths for n, paths in state.snapshots.items() if at[n] >= 0}
        places += [state.places[n] for n in entries.tolist()]
    return msgspec.structs.replace(
        newest,
        things=things,
        groups=np.concatenate(groups).tobytes(),
        last_ns=np.concatenate(last_ns).tobytes(),
        gone=[],
        rules=list(rules),
        sources=list(sources),
        columns={name: np.concatenate(parts).tobytes() for name, parts in columns.items()},
        places=places,
        snapshots=snapshots,
        ring_of=np.concatenate([one[0] for one in rings]).tobytes(),
        ring_ns=np.concatenate([one[1] for one in rings]).tobytes(),
        ring_value=np.concatenate([one[2] for one in rings]).tobytes(),
        ring_count=np.concatenate([one[3] for one in rings]).tobytes(),
    )


def _renumbered(names: Sequence[str], all_names: dict[str, int]) -> NDArray[np.int32]:
    """Numbers among all names, for numbers among some."""
    return np.array([all_names.setdefault(one, len(all_names)) for one in names], np.int32)
