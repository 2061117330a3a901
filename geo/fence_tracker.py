"""Follows moving things through fences: positions in, transitions out. Pure, in event time.

State is columns: one row for each thing, one slot for each thing and fence of which there is
something to remember. A thing not heard of for ``lost_s`` is forgotten, and so is all of it.

Positions wait until their order is certain: until their thing has said something ``settle_s``
later, or the watermark has passed them. So late ones fall into their place, and any order of
arrival within that time gives the same transitions. What is older than what was already
counted changes nothing, and neither does a repeat.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from core.city import AltitudeDatum
from core.errors import DecodeError, GeometryError
from core.units import NS_PER_S, seconds_to_ns
from geo import fence_kernels as kernels
from geo.fences import CHINA_OFFSET_S, Code, FenceSet, Transition
from geo.waiting_positions import Positions, WaitingPositions

#: Version of the layout that :meth:`FenceTracker.dump` writes.
STATE_VERSION = 2

#: Most things that are followed at once; more are counted and not followed.
MOST_THINGS = 2_000_000

#: Most expectations at once.
MOST_EXPECTED = 100_000

#: A position error counts up to this many metres: beyond it, it says nothing of a fence.
MOST_MARGIN_M = 500.0

_DATUMS = tuple(AltitudeDatum)

#: Of a waiting position: lon, lat, margin, three speeds, heights by datum.
_PLACE_WIDTH = 6 + len(_DATUMS)
_WIDTH = kernels.HEIGHTS + len(_DATUMS)
_ROOM = 64

#: Words of the kernel's codes, and of corridors' where they are others.
_WORDS = tuple(Transition[code.name] for code in Code)
_OF_ROUTES = {
    Transition.ENTER: Transition.ROUTE_JOINED,
    Transition.EXIT: Transition.ROUTE_LEFT,
}


class Crossing(NamedTuple):
    """One transition.

    ``value`` is metres for near and away, seconds ahead for approach, seconds inside for exit,
    inside, dwell, lost and lifted; NaN else.
    """

    at_ns: int
    thing_id: str
    fence_id: str
    transition: Transition
    lon_deg: float
    lat_deg: float
    value: float
    fence_kind: str = ""
    fence_version: str = ""


class _Label(NamedTuple):
    """What tells one fence from another once it is no more."""

    fence_id: str
    kind: str
    version: str


class _Expected(msgspec.Struct, array_like=True):
    thing_id: str
    fence_id: str
    from_ns: int
    until_ns: int


class _State(msgspec.Struct, array_like=True):
    version: int
    fences: list[_Label]
    names: list[str]
    free_rows: list[int]
    expected: list[_Expected]
    untold: list[Crossing]
    counters: list[int]
    columns: dict[str, bytes]


class FenceTracker:
    """Follows things through a set of fences.

    Args:
        fences: Which.
        settle_s: How long a position waits for older ones of its thing; 0 for not at all.
        lost_s: After which silence a thing is lost and forgotten.
        error_sigmas: How many standard deviations a position may err by.

    Attributes:
        fences: As given.
        refused_count: Positions of things beyond :data:`MOST_THINGS`.

    Example:
        >>> import shapely
        >>> from geo.fences import Fence
        >>> yard = Fence(id="yard", geometry=shapely.box(120, 36, 120.1, 36.1))
        >>> tracker = FenceTracker(FenceSet([yard]), settle_s=0)
        >>> found = tracker.update(["van", "van", "van"], [0, 10**9, 2 * 10**9],
        ...                        [119.9, 120.05, 120.2], [36.05, 36.05, 36.05])
        >>> [(one.transition.value, one.at_ns) for one in found]
        [('enter', 1000000000), ('exit', 2000000000)]
    """

    def __init__(
        self,
        fences: FenceSet,
        *,
        settle_s: float = 2.0,
        lost_s: float = 600.0,
        error_sigmas: float = 2.0,
    ) -> None:
        for name, value in (("settle_s", settle_s), ("error_sigmas", error_sigmas)):
            if not (np.isfinite(value) and value >= 0.0):
                raise GeometryError(f"{name}: a number from 0 was wanted, got {value}")
        if not (np.isfinite(lost_s) and lost_s > settle_s):
            raise GeometryError(f"lost_s: more than settle_s was wanted, got {lost_s}")
        self._settle_ns = seconds_to_ns(settle_s)
        self._lost_ns = seconds_to_ns(lost_s)
        self._sigmas = error_sigmas
        self._counted = np.zeros(kernels.COUNTED, np.int64)
        self._use(fences)
        self._reset()

    def _use(self, fences: FenceSet) -> None:
        self.fences = fences
        self._numbers = {one.id: number for number, one in enumerate(fences.fences)}
        self._corridors = np.array([one.corridor for one in fences.fences], np.bool_)
        self._most_ahead_s = max((one.ahead_s or 0.0 for one in fences.fences), default=0.0)
        self._meant: dict[str, list[int]] = {}
        for number, one in enumerate(fences.fences):
            for thing in one.only:
                self._meant.setdefault(thing, []).append(number)
        timed = (one.dwell_s is not None or one.active or one.daily for one in fences.fences)
        self._is_timed = any(timed)
        self._mark_in = np.zeros(len(fences), np.int64)
        self._mark_seen = np.zeros(len(fences), np.int64)
        room = 4 * kernels.MOST_EACH * (len(fences) + 1024)
        self._whole = np.empty((room, 4), np.int64)
        self._parts = np.empty((room, 3))

    def _reset(self) -> None:
        self.refused_count = 0
        self._counted[:] = 0
        self._watermark_ns = int(kernels.NEVER)
        self._swept_ns = int(kernels.NEVER)
        self._rows: dict[str, int] = {}
        self._names: list[str] = []
        self._free_rows: list[int] = []
        self._expected: dict[tuple[str, str], _Expected] = {}
        self._untold: list[Crossing] = []
        self._allowed = np.empty(0, np.int64)
        self._held = WaitingPositions(_PLACE_WIDTH, self._settle_ns)
        self._used = np.zeros(_ROOM, np.bool_)
        self._last_ns = np.full(_ROOM, kernels.NEVER)
        self._state = np.full((_ROOM, _WIDTH), np.nan)
        self._heads = np.full(_ROOM, -1, np.int32)
        self._slot_counts = np.zeros(_ROOM, np.int32)
        self._slot_next = np.arange(1, _ROOM + 1, dtype=np.int32)
        self._slot_fence = np.zeros(_ROOM, np.int32)
        self._slot_since = np.zeros(_ROOM, np.int64)
        self._slot_flags = np.zeros(_ROOM, np.uint8)
        self._free = np.array([0, _ROOM], np.int32)

    @property
    def thing_count(self) -> int:
        """Things that are followed."""
        return len(self._rows)

    @property
    def held_count(self) -> int:
        """Positions that wait for their order."""
        return len(self._held)

    @property
    def unsure_count(self) -> int:
        """Times a position was over or under a fence and its height not known."""
        return int(self._counted[kernels.UNSURE])

    @property
    def late_count(self) -> int:
        """Positions that came when newer ones had counted; they changed nothing."""
        return int(self._counted[kernels.LATE])

    @property
    def repeated_count(self) -> int:
        """Positions of an instant that had counted already."""
        return int(self._counted[kernels.REPEATED])

    def inside(self, thing_id: str) -> tuple[str, ...]:
        """Ids of the fences that a thing is in, in the order of the set."""
        row = self._rows.get(thing_id)
        found: list[int] = []
        slot = -1 if row is None else int(self._heads[row])
        while slot >= 0:
            if self._slot_flags[slot] & kernels.INSIDE:
                found.append(int(self._slot_fence[slot]))
            slot = int(self._slot_next[slot])
        return tuple(self.fences.fences[number].id for number in sorted(found))

    def expect(self, thing_id: str, fence_id: str, from_ns: int, until_ns: int) -> None:
        """Expect a thing to be in a fence at some time of a span, else it is missed.

        Raises:
            GeometryError: There is no such fence, the span ends before it begins, or too much
                is expected.
        """
        if fence_id not in self._numbers:
            raise GeometryError(f"expect {thing_id}: there is no fence {fence_id!r}")
        if until_ns <= from_ns:
            raise GeometryError(f"expect {thing_id} at {fence_id}: until is not after from")
        if len(self._expected) >= MOST_EXPECTED:
            raise GeometryError(f"expect {thing_id}: {MOST_EXPECTED} are expected already")
        if from_ns <= self._watermark_ns and fence_id in self.inside(thing_id):
            return
        key = (thing_id, fence_id)
        self._expected[key] = _Expected(thing_id, fence_id, from_ns, until_ns)

    def update(
        self,
        thing_ids: Sequence[str],
        times_ns: ArrayLike,
        lon_deg: ArrayLike,
        lat_deg: ArrayLike,
        *,
        heights: Mapping[AltitudeDatum, ArrayLike] | None = None,
        error_m: ArrayLike | None = None,
        speeds_mps: ArrayLike | None = None,
        watermark_ns: int | None = None,
    ) -> list[Crossing]:
        """Take positions, and what has become certain with them.

        Args:
            thing_ids: Of the rows, n of them.
            times_ns: When each position was, UTC nanoseconds, shape (n,).
            lon_deg: WGS 84 degrees, shape (n,); rows with NaN are passed over.
            lat_deg: Likewise.
            heights: Metres by datum, each of shape (n,), NaN where unknown.
            error_m: One standard deviation of the position, shape (n,), NaN where unknown.
            speeds_mps: East, north and up, shape (n, 3), NaN where the thing does not say.
            watermark_ns: No older position is expected any more.

        Returns:
            In the order of time, then of thing and fence.

        Raises:
            GeometryError: The arrays do not fit each other.
        """
        fresh = self._columns(thing_ids, times_ns, lon_deg, lat_deg, heights, error_m, speeds_mps)
        found, self._untold = self._untold, []
        if len(fresh.times):
            self._follow(self._settled(fresh), found)
        if watermark_ns is not None:
            self._advance(watermark_ns, found)
        return _in_order(found)

    @property
    def due_ns(self) -> int:
        """The instant up to which the passing of time changes nothing but the instant.

        It stays until positions come or time goes on past it.
        """
        next_ns = self._watermark_ns + 1
        if self._untold or self._swept_ns < 0 or (self._is_timed and np.any(self._heads >= 0)):
            return next_ns
        due_ns = min(self._swept_ns + self._lost_ns // 8, self._held.earliest_ns)
        until = (one.until_ns for one in self._expected.values())
        return max(next_ns, min([due_ns, *until]))

    def advance(self, watermark_ns: int) -> list[Crossing]:
        """Take it that no position before an instant comes any more: timers run to there."""
        found, self._untold = self._untold, []
        self._advance(watermark_ns, found)
        return _in_order(found)

    def _columns(
        self,
        thing_ids: Sequence[str],
        times_ns: ArrayLike,
        lon_deg: ArrayLike,
        lat_deg: ArrayLike,
        heights: Mapping[AltitudeDatum, ArrayLike] | None,
        error_m: ArrayLike | None,
        speeds_mps: ArrayLike | None,
    ) -> Positions:
        n = len(thing_ids)
        times = np.asarray(times_ns, dtype=np.int64)
        places = np.full((n, _PLACE_WIDTH), np.nan)
        try:
            places[:, 0] = lon_deg
            places[:, 1] = lat_deg
            if error_m is not None:
                places[:, 2] = error_m
            if speeds_mps is not None:
                places[:, 3:6] = np.asarray(speeds_mps, dtype=np.float64).reshape(n, 3)
            for datum, column in (heights or {}).items():
                places[:, 6 + _DATUMS.index(datum)] = column
        except ValueError as exc:
            raise GeometryError(f"columns of {n} positions do not fit each other: {exc}") from exc
        if times.shape != (n,):
            raise GeometryError(f"times_ns must have shape ({n},), got {times.shape}")
        places[:, 2] = np.minimum(np.nan_to_num(places[:, 2]) * self._sigmas, MOST_MARGIN_M)
        rows = self._rows
        try:
            things = np.array([rows[thing] for thing in thing_ids], np.int64)
        except KeyError:
            things = np.array([self._row(thing) for thing in thing_ids], np.int64)
        good = np.isfinite(places[:, 0]) & np.isfinite(places[:, 1]) & (things >= 0)
        if not good.all():
            return Positions(times[good], things[good], places[good])
        return Positions(times, things, places)

    def _row(self, thing_id: str) -> int:
        row = self._rows.get(thing_id)
        if row is not None:
            return row
        if len(self._rows) >= MOST_THINGS:
            self.refused_count += 1
            return -1
        if self._free_rows:
            row = self._free_rows.pop()
            self._names[row] = thing_id
        else:
            row = len(self._names)
            self._names.append(thing_id)
            if row == len(self._last_ns):
                self._grow_things(2 * row)
        self._rows[thing_id] = row
        self._used[row] = True
        meant = self._meant.get(thing_id)
        if meant:
            keys = [row << 32 | number for number in meant]
            self._allowed = np.sort(np.concatenate([self._allowed, np.array(keys, np.int64)]))
        return row

    def _grow_things(self, room: int) -> None:
        for name, fill in (
            ("used", False),
            ("last_ns", kernels.NEVER),
            ("state", np.nan),
            ("heads", -1),
            ("slot_counts", 0),
        ):
            old = getattr(self, f"_{name}")
            new = np.full((room, *old.shape[1:]), fill, old.dtype)
            new[: len(old)] = old
            setattr(self, f"_{name}", new)

    def _grow_slots(self, need: int) -> None:
        old = len(self._slot_next)
        room = old + max(old, need)
        for name in ("fence", "since", "flags", "next"):
            column = getattr(self, f"_slot_{name}")
            new = np.zeros(room, column.dtype)
            new[:old] = column
            setattr(self, f"_slot_{name}", new)
        self._slot_next[old:] = np.arange(old + 1, room + 1)
        self._slot_next[room - 1] = self._free[0]
        self._free[0] = old
        self._free[1] += room - old

    def _settled(self, fresh: Positions) -> Positions:
        """Positions whose order is certain, by time; the rest waits."""
        if self._settle_ns == 0:
            if (fresh.times[1:] >= fresh.times[:-1]).all():
                return fresh
            return fresh.chosen(np.argsort(fresh.times, kind="stable"))
        self._held.add(fresh)
        return self._in_time()

    def _in_time(self) -> Positions:
        """What of the waiting is certain by now, by time."""
        one = self._held.take_certain(self._watermark_ns)
        # Of two places at one instant the same one counts, whichever came first.
        places = one.places
        return one.chosen(np.lexsort((places[:, 1], places[:, 0], one.things, one.times)))

    def _follow(self, one: Positions, found: list[Crossing]) -> None:
        n = len(one.times)
        if not n:
            return
        fences = self.fences
        lon, lat = np.ascontiguousarray(one.places[:, :2].T)
        pairs = fences.table.pairs(lon, lat)
        starts = np.searchsorted(pairs.rows, np.arange(n + 1)).astype(np.int64)
        heights = np.ascontiguousarray(one.places[:, 6:].T)
        margins = np.ascontiguousarray(one.places[:, 2])
        speeds = np.ascontiguousarray(one.places[:, 3:6])
        around = fences.around
        most_pairs = int(np.diff(starts).max())
        first = 0
        self._counted[kernels.TOLD] = 0
        while first < n:
            first = kernels.follow(
                first,
                one.times, one.things, lon, lat, heights, margins, speeds,
                starts, pairs.features,
                fences.edges, fences.edge_starts, fences.scales, fences.limits, fences.datums,
                fences.dwell_ns, fences.flags, fences.daily_s, fences.span_starts, fences.spans,
                CHINA_OFFSET_S, self._allowed,
                around.plan, around.starts, around.refs, around.count, self._most_ahead_s,
                self._lost_ns, self._last_ns, self._state, self._heads, self._slot_counts,
                self._slot_next, self._slot_fence, self._slot_since, self._slot_flags, self._free,
                self._mark_in, self._mark_seen, int(self._counted[kernels.STAMP]),
                self._whole, self._parts, self._counted,
            )  # fmt: skip
            self._take(found)
            if first < n and self._free[1] < most_pairs + around.count:
                self._grow_slots(most_pairs + around.count)

    def _advance(self, watermark_ns: int, found: list[Crossing]) -> None:
        if watermark_ns <= self._watermark_ns:
            return
        self._watermark_ns = watermark_ns
        if len(self._held):
            self._follow(self._in_time(), found)
        sweep = watermark_ns - self._swept_ns >= self._lost_ns // 8 or self._swept_ns < 0
        if self._is_timed or sweep:
            first = 0
            self._counted[kernels.TOLD] = 0
            count = len(self._names)
            while first < count:
                first = kernels.forget_lost(
                    watermark_ns, self._lost_ns, self._last_ns, self._used[:count], self._state,
                    self._heads, self._slot_counts, self._slot_next, self._slot_fence,
                    self._slot_since, self._slot_flags, self._free, self.fences.dwell_ns,
                    self.fences.span_starts, self.fences.spans, self.fences.daily_s,
                    CHINA_OFFSET_S, self._whole, self._parts, self._counted, first,
                )  # fmt: skip
                self._take(found)
        if sweep:
            self._swept_ns = watermark_ns
            self._forget(watermark_ns - self._lost_ns)
        self._tell_missed(found)

    def _take(self, found: list[Crossing]) -> None:
        """The kernel's transitions as values; its room is free again."""
        count = int(self._counted[kernels.TOLD])
        self._counted[kernels.TOLD] = 0
        if not count:
            return
        ids = self.fences.fences
        for (at_ns, thing, number, code), (lon, lat, value) in zip(
            self._whole[:count].tolist(), self._parts[:count].tolist(), strict=True
        ):
            word = _WORDS[code]
            if self._corridors[number]:
                word = _OF_ROUTES.get(word, word)
            fence = ids[number]
            name = self._names[thing]
            one = Crossing(at_ns, name, fence.id, word, lon, lat, value, fence.kind, fence.version)
            found.append(one)
            if code == Code.ENTER and self._expected:
                expected = self._expected.get((one.thing_id, one.fence_id))
                if expected and expected.from_ns <= at_ns <= expected.until_ns:
                    del self._expected[one.thing_id, one.fence_id]

    def _forget(self, before_ns: int) -> None:
        """Evict things that were last heard of before an instant."""
        count = len(self._names)
        waiting = np.zeros(count, np.bool_)
        waiting[self._held.all().things] = True
        gone = self._used[:count] & (self._last_ns[:count] <= before_ns) & ~waiting
        gone &= self._heads[:count] < 0
        rows = np.flatnonzero(gone)
        if not len(rows):
            return
        for row in rows.tolist():
            del self._rows[self._names[row]]
            self._names[row] = ""
        self._held.forget(rows)
        self._free_rows += rows.tolist()
        self._used[rows] = False
        self._last_ns[rows] = kernels.NEVER
        self._state[rows] = np.nan
        if len(self._allowed):
            self._allowed = self._allowed[~gone[self._allowed >> 32]]

    def _tell_missed(self, found: list[Crossing]) -> None:
        over = [one for one in self._expected.values() if one.until_ns <= self._watermark_ns]
        for one in over:
            del self._expected[one.thing_id, one.fence_id]
            fence = self.fences.fences[self._numbers[one.fence_id]]
            middle = fence.geometry.centroid
            found.append(
                Crossing(
                    one.until_ns,
                    one.thing_id,
                    one.fence_id,
                    Transition.MISSED,
                    middle.x,
                    middle.y,
                    np.nan,
                    fence.kind,
                    fence.version,
                )
            )

    def swap(self, fences: FenceSet) -> None:
        """Go on with other fences.

        A fence of the same id and kind keeps who is in it, also where its border has moved: the
        next position of each says whether that still holds. Who was in, near or ahead of one
        that is no more is told of as lifted with the next update. What was expected there no
        longer is.

        Args:
            fences: Those that hold from now on.
        """
        before = self._labels()
        self._use(fences)
        self._renumber(before)

    def _labels(self) -> list[_Label]:
        return [_Label(one.id, one.kind, one.version) for one in self.fences.fences]

    def _renumber(self, before: Sequence[_Label]) -> None:
        """Make a state of other fences one of these."""
        here = {(one.id, one.kind): number for number, one in enumerate(self.fences.fences)}
        numbers = np.array([here.get(one[:2], -1) for one in before], np.int32)
        for row in np.flatnonzero(self._heads >= 0).tolist():
            kept, slot = -1, int(self._heads[row])
            while slot >= 0:
                after, old = int(self._slot_next[slot]), int(self._slot_fence[slot])
                if numbers[old] >= 0:
                    self._slot_fence[slot] = numbers[old]
                    self._slot_next[slot] = kept
                    kept = slot
                else:
                    self._untold += self._lifted(row, slot, before[old])
                    self._slot_next[slot] = self._free[0]
                    self._free[0] = slot
                    self._free[1] += 1
                    self._slot_counts[row] -= 1
                slot = after
            self._heads[row] = kept
        for key in [one for one in self._expected if one[1] not in self._numbers]:
            del self._expected[key]
        keys = [
            row << 32 | number
            for name, row in self._rows.items()
            for number in self._meant.get(name, ())
        ]
        self._allowed = np.sort(np.array(keys, np.int64))

    def _lifted(self, row: int, slot: int, fence: _Label) -> list[Crossing]:
        """What is told of a thing at a fence that is no more; nothing where it was outside."""
        flags = int(self._slot_flags[slot])
        if not flags & (kernels.INSIDE | kernels.NEAR | kernels.AHEAD):
            return []
        at_ns = max(self._watermark_ns, int(self._last_ns[row]))
        inside_s = np.nan
        if flags & kernels.INSIDE:
            inside_s = (at_ns - int(self._slot_since[slot])) / NS_PER_S
        lon, lat = self._state[row, [kernels.LON, kernels.LAT]].tolist()
        word = Transition.LIFTED
        name, (fence_id, *about) = self._names[row], fence
        return [Crossing(at_ns, name, fence_id, word, lon, lat, inside_s, *about)]

    def dump(self) -> bytes:
        """The whole state as bytes."""
        columns: dict[str, Any] = {name: getattr(self, f"_{name}") for name in _COLUMNS}
        columns |= {f"held_{name}": one for name, one in self._held.all()._asdict().items()}
        return msgspec.msgpack.encode(
            _State(
                STATE_VERSION,
                self._labels(),
                self._names,
                self._free_rows,
                list(self._expected.values()),
                self._untold,
                [
                    self.refused_count,
                    self._watermark_ns,
                    self._swept_ns,
                    *self._counted[kernels.UNSURE :].tolist(),
                ],
                {name: column.tobytes() for name, column in columns.items()},
            )
        )

    def load(self, data: bytes) -> None:
        """Take over what :meth:`dump` gave; of other fences, as :meth:`swap` does.

        Raises:
            DecodeError: It is damaged, or of another version.
        """
        try:
            state = msgspec.msgpack.decode(data, type=_State)
        except msgspec.MsgspecError as exc:
            raise DecodeError("bad_fences", f"state of {len(data)} bytes: {exc}") from exc
        if state.version != STATE_VERSION:
            raise DecodeError(
                "bad_fences", f"state of version {state.version}, {STATE_VERSION} was wanted"
            )
        self._reset()
        for name, (dtype, width) in _COLUMNS.items():
            column = np.frombuffer(state.columns[name], dtype).copy()
            setattr(self, f"_{name}", column.reshape(-1, width) if width else column)
        held = Positions(
            np.frombuffer(state.columns["held_times"], np.int64),
            np.frombuffer(state.columns["held_things"], np.int64),
            np.frombuffer(state.columns["held_places"], np.float64).reshape(-1, _PLACE_WIDTH),
        )
        self._held.add(held)
        self._names = state.names
        self._free_rows = state.free_rows
        self._rows = {name: row for row, name in enumerate(self._names) if self._used[row]}
        self._expected = {(one.thing_id, one.fence_id): one for one in state.expected}
        counters = state.counters
        self.refused_count, self._watermark_ns, self._swept_ns = counters[:3]
        self._counted[kernels.UNSURE :] = counters[3:]
        self._untold = state.untold
        if state.fences != self._labels():
            self._renumber(state.fences)


#: Columns of the state: type, and width where they have two dimensions.
_COLUMNS: dict[str, tuple[Any, int]] = {
    "allowed": (np.int64, 0),
    "used": (np.bool_, 0),
    "last_ns": (np.int64, 0),
    "state": (np.float64, _WIDTH),
    "heads": (np.int32, 0),
    "slot_counts": (np.int32, 0),
    "slot_next": (np.int32, 0),
    "slot_fence": (np.int32, 0),
    "slot_since": (np.int64, 0),
    "slot_flags": (np.uint8, 0),
    "free": (np.int32, 0),
}


def _in_order(found: Iterable[Crossing]) -> list[Crossing]:
    return sorted(found, key=lambda one: one[:4])
