"""The rules' state machine over arrays, compiled by numba; `scenarios/engine.py` calls it.

One live entry is one rule for one thing that it has something to remember of. Entries of a
thing form a list (``head`` of its slot, then ``next``), so a row costs its rules' comparisons
and its own entries, never a search. Every entry keeps when it changes by itself (``due_ns``);
entries stand in blocks whose earliest due time bounds what the watermark has to look at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from scenarios.rule_table import ABSENT, COUNT, F64, I8, I32, I64, PLAIN, RATE, RuleTable

U64 = NDArray[np.uint64]

_F = TypeVar("_F", bound=Callable[..., Any])

#: Observations named by one event: the one it began with and the newest.
MAX_OBSERVATION_IDS = 8
#: Samples that a window keeps; a rate's are spread over it, a count may not ask for more.
WINDOW_SAMPLES = 32
#: A rate keeps a sample after this part of its window, so that they fit.
_RATE_PARTS = 24

FREE = 0
WATCHING = 1  # nothing holds, but a window or the damping remembers
PENDING = 2  # the condition holds, not yet for long enough
ACTIVE = 3  # raised
CLEARING = 4  # raised, and over, not yet for long enough
ENDED = 5  # cleared; kept until the thing's next word, which may be late

RAISE, STILL, CLEAR = 0, 1, 2
_UNKNOWN, _OVER, _BETWEEN, _RAISING = -2, -1, 0, 1

NEVER = np.iinfo(np.int64).max
#: Entries whose due times share a bound.
BLOCK = 256

#: Places in ``meta``.
TOP, FREED, RING_TOP, RING_FREED, OUT, TOUCHED, META = range(7)

#: Places in ``done`` of :func:`run_rounds`.
ROUND, ROW, AT_BLOCK, PASSED_NS, DONE = range(5)

#: ``place_row`` and ``snap_row``: kept from an earlier batch; there is none.
KEPT, NONE = -1, -2

#: Edges that one rule can make of one row, at most.
EDGES_A_ROW = 4


class Live(NamedTuple):
    """Columns of the live entries, and what links and frees them."""

    slot: I32
    rule: I32
    next: I32
    phase: I8
    measure: I8
    began_ns: I64
    seen_ns: I64
    over_ns: I64
    edge_ns: I64
    still_ns: I64
    due_ns: I64
    value: F64
    peak: F64
    source: I32
    place_row: I32
    snap_row: I32
    flaps: I32
    flap_ns: I64
    ring: I32
    id_count: I32
    ids: U64
    free: I32
    block_due: I64
    ring_ns: I64
    ring_value: F64
    ring_count: I32
    ring_free: I32


class Edges(NamedTuple):
    """Columns of the edges that came of a call: each entry as it was at its edge."""

    entry: I32
    slot: I32
    rule: I32
    edge: I8
    over: I8
    measure: I8
    at_ns: I64
    began_ns: I64
    trigger: I32
    value: F64
    peak: F64
    source: I32
    place_row: I32
    snap_row: I32
    id_count: I32
    ids: U64
    touched: I32
    round: I32


class Rounds(NamedTuple):
    """Columns of the rounds of a batch: behind their last row, and the watermark after them."""

    ends: I64
    watermarks_ns: I64


class Rows(NamedTuple):
    """Columns of a batch."""

    kind: I32
    slot: I32
    observed_ns: I64
    late: NDArray[np.bool_]
    measures: F64
    answers: I8
    hashes: F64
    source: I32
    ids: U64
    pictured: NDArray[np.bool_]


def _compiled(function: _F) -> _F:
    """Compiled without numba's counting of references to arrays.

    Nothing here makes an array, and counting at every use of a column made a batch take 53 ms
    where it takes 2.
    """
    return cast("_F", numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function))


def _inlined(function: _F) -> _F:
    """Compiled into its caller, where the call is hot: passing so many columns costs 0.1 µs."""
    return cast("_F", numba.njit(error_model="numpy", forceinline=True, _nrt=False)(function))


@_inlined
def _value(t: RuleTable, cond: int, rows: Rows, row: int) -> tuple[float, int]:
    """The first finite measure of a condition, and which one it is; -1 without any."""
    for position in range(t.c_m0[cond], t.c_m1[cond]):
        value = rows.measures[row, t.measures[position]]
        if np.isfinite(value):
            return value, position - t.c_m0[cond]
    return np.nan, -1


@_inlined
def _compare(op: int, value: float, threshold: float) -> bool:
    if op == 1:
        return value >= threshold
    if op == 2:
        return value > threshold
    if op == 3:
        return value <= threshold
    return value < threshold


@_inlined
def _level(t: RuleTable, cond: int, rows: Rows, row: int, value: float) -> int:
    """What a row says of a condition: raising, between, over, or nothing.

    One part that is known not to hold settles it; else one that is not known makes the row
    say nothing.
    """
    raising, unknown = True, False
    op = t.c_op[cond]
    if op:
        raising = _compare(op, value, t.c_threshold[cond])
        clear = t.c_clear[cond]
        if np.isnan(value):
            unknown = True
        elif np.isnan(clear):
            if not raising:
                return _OVER
        elif (value < clear) if op <= 2 else (value > clear):
            return _OVER
    for position in range(t.c_t0[cond], t.c_t1[cond]):
        answer = rows.answers[row, t.tests[position]]
        if answer == 0:
            return _OVER
        unknown |= answer < 0
    if unknown:
        return _UNKNOWN
    return _RAISING if raising else _BETWEEN


@_inlined
def _clear_for_ns(t: RuleTable, s: Live, i: int) -> int:
    rule = s.rule[i]
    damped = (
        t.r_damp_raises[rule] > 0
        and s.flaps[i] >= t.r_damp_raises[rule]
        and s.over_ns[i] - s.flap_ns[i] <= t.r_damp_within_ns[rule]
    )
    wait_ns: int = t.r_clear_for_ns[rule]
    return max(wait_ns, t.r_damp_clear_ns[rule]) if damped else wait_ns


@_inlined
def _next_ns(t: RuleTable, s: Live, i: int) -> int:
    """When an entry changes by itself if its thing stays silent."""
    rule, phase = s.rule[i], s.phase[i]
    due: int = s.seen_ns[i] + t.r_gone_ns[rule]
    if phase == PENDING and not t.r_confirm[rule]:
        due = s.began_ns[i] + t.r_for_ns[rule]
    elif phase == CLEARING:
        due = s.over_ns[i] + _clear_for_ns(t, s, i)
    elif phase in (ENDED, FREE):
        due = NEVER
    elif phase == WATCHING:
        due = s.flap_ns[i] + t.r_damp_within_ns[rule] if s.flaps[i] else 0
        ring = s.ring[i]
        if ring >= 0 and s.ring_count[ring]:
            newest = s.ring_ns[ring, s.ring_count[ring] - 1]
            due = max(due, newest + 2 * t.r_window_ns[rule])
    return due


@_inlined
def _schedule(t: RuleTable, s: Live, i: int) -> None:
    due = _next_ns(t, s, i)
    s.due_ns[i] = due
    block = i // BLOCK
    s.block_due[block] = min(s.block_due[block], due)


@_compiled
def _emit(
    t: RuleTable, s: Live, meta: I64, out: Edges, i: int, edge: int, at: int, row: int
) -> None:
    rule, n = s.rule[i], meta[OUT]
    meta[OUT] = n + 1
    out.entry[n] = i
    out.slot[n] = s.slot[i]
    out.rule[n] = rule
    out.edge[n] = edge
    out.over[n] = s.phase[i] == CLEARING
    out.measure[n] = s.measure[i]
    out.at_ns[n] = at
    out.began_ns[n] = s.began_ns[i]
    out.trigger[n] = row
    out.value[n] = s.value[i]
    out.peak[n] = s.peak[i]
    out.source[n] = s.source[i]
    out.place_row[n] = s.place_row[i]
    out.snap_row[n] = s.snap_row[i]
    out.id_count[n] = s.id_count[i]
    for k in range(2 * s.id_count[i]):
        out.ids[n, k] = s.ids[i, k]
    s.edge_ns[i] = at
    s.still_ns[i] = at + t.r_still_ns[rule]
    s.phase[i] = ENDED if edge == CLEAR else ACTIVE
    if edge == RAISE and t.r_damp_raises[rule]:
        if s.flaps[i] and at - s.flap_ns[i] <= t.r_damp_within_ns[rule]:
            s.flaps[i] += 1
        else:
            s.flaps[i], s.flap_ns[i] = 1, at
    if edge == CLEAR and s.ring[i] >= 0 and t.r_form[rule] != RATE:
        s.ring_count[s.ring[i]] = 0


@_compiled
def _advance(t: RuleTable, s: Live, meta: I64, out: Edges, i: int, until: int) -> None:
    """Let everything happen that is due before an instant.

    Not what is due at the instant itself: an observation of that instant has the word.
    """
    while True:
        due = _next_ns(t, s, i)
        if due >= until:
            return
        if s.phase[i] == PENDING and t.r_confirm[s.rule[i]]:
            s.phase[i], s.edge_ns[i] = ENDED, due
        elif s.phase[i] == PENDING:
            _emit(t, s, meta, out, i, RAISE, due, -1)
        elif s.phase[i] == WATCHING:
            s.flaps[i] = 0
            if s.ring[i] >= 0:
                s.ring_count[s.ring[i]] = 0
            return
        else:
            _emit(t, s, meta, out, i, CLEAR, due, -1)


@_compiled
def _create(t: RuleTable, s: Live, head: I32, meta: I64, slot: int, rule: int) -> int:
    i: int
    if meta[FREED]:
        meta[FREED] -= 1
        i = s.free[meta[FREED]]
    else:
        i = meta[TOP]
        meta[TOP] += 1
    s.slot[i], s.rule[i] = slot, rule
    s.next[i] = head[slot]
    head[slot] = i
    s.phase[i] = WATCHING
    s.edge_ns[i] = s.over_ns[i] = s.still_ns[i] = s.began_ns[i] = s.seen_ns[i] = 0
    s.due_ns[i] = NEVER
    s.flaps[i] = s.id_count[i] = 0
    s.flap_ns[i] = 0
    s.measure[i] = -1
    s.value[i] = s.peak[i] = np.nan
    s.place_row[i], s.snap_row[i], s.ring[i] = KEPT, NONE, -1
    if t.r_window_ns[rule]:
        if meta[RING_FREED]:
            meta[RING_FREED] -= 1
            ring = s.ring_free[meta[RING_FREED]]
        else:
            ring = meta[RING_TOP]
            meta[RING_TOP] += 1
        s.ring[i] = ring
        s.ring_count[ring] = 0
    return i


@_compiled
def _remove(s: Live, head: I32, meta: I64, i: int) -> None:
    slot = s.slot[i]
    if head[slot] == i:
        head[slot] = s.next[i]
    else:
        before = head[slot]
        while s.next[before] != i:
            before = s.next[before]
        s.next[before] = s.next[i]
    if s.ring[i] >= 0:
        s.ring_free[meta[RING_FREED]] = s.ring[i]
        meta[RING_FREED] += 1
        s.ring[i] = -1
    s.phase[i], s.due_ns[i] = FREE, NEVER
    s.free[meta[FREED]] = i
    meta[FREED] += 1


@_inlined
def _touch(meta: I64, out: Edges, i: int) -> None:
    out.touched[meta[TOUCHED]] = i
    meta[TOUCHED] += 1


@_compiled
def _begin(s: Live, meta: I64, out: Edges, i: int, began: int, rows: Rows, row: int) -> None:
    s.phase[i] = PENDING
    s.began_ns[i], s.seen_ns[i] = began, rows.observed_ns[row]
    s.value[i] = s.peak[i] = np.nan
    s.measure[i] = -1
    s.id_count[i] = 0
    s.source[i] = rows.source[row]
    s.place_row[i], s.snap_row[i] = row, NONE
    _touch(meta, out, i)


@_inlined
def _note(
    t: RuleTable, s: Live, meta: I64, out: Edges, i: int, rows: Rows, row: int, value: float, m: int
) -> None:
    """Remember what a row says: when, how much, which one, with which picture."""
    s.seen_ns[i] = rows.observed_ns[row]
    if m >= 0 and np.isfinite(value):
        s.measure[i], s.value[i] = m, value
        upward = 1 <= t.c_op[t.r_cond[s.rule[i]]] <= 2
        if np.isnan(s.peak[i]) or ((value > s.peak[i]) if upward else (value < s.peak[i])):
            s.peak[i] = value
    n = s.id_count[i]
    if n == MAX_OBSERVATION_IDS:
        for k in range(2, 2 * MAX_OBSERVATION_IDS - 2):
            s.ids[i, k] = s.ids[i, k + 2]
        n -= 1
    s.ids[i, 2 * n], s.ids[i, 2 * n + 1] = rows.ids[row, 0], rows.ids[row, 1]
    s.id_count[i] = n + 1
    if rows.pictured[row]:
        s.snap_row[i] = row
        _touch(meta, out, i)


@_compiled
def _rate(t: RuleTable, s: Live, i: int, at: int, value: float) -> float:
    """Add a sample; the change per unit of time since the newest sample a window ago."""
    rule, ring = s.rule[i], s.ring[i]
    window, n = t.r_window_ns[rule], s.ring_count[ring]
    drop = 0
    while drop + 1 < n and s.ring_ns[ring, drop + 1] <= at - window:
        drop += 1
    if drop:
        for k in range(drop, n):
            s.ring_ns[ring, k - drop] = s.ring_ns[ring, k]
            s.ring_value[ring, k - drop] = s.ring_value[ring, k]
        n -= drop
    rate = np.nan
    if n and s.ring_ns[ring, 0] <= at - window and at - s.ring_ns[ring, 0] <= 2 * window:
        elapsed = at - s.ring_ns[ring, 0]
        rate = (value - s.ring_value[ring, 0]) / elapsed * t.r_per_ns[rule]
    if n == 0 or at - s.ring_ns[ring, n - 1] >= window // _RATE_PARTS:
        if n == WINDOW_SAMPLES:  # cannot be while samples are spread; the oldest gives way
            for k in range(1, n):
                s.ring_ns[ring, k - 1] = s.ring_ns[ring, k]
                s.ring_value[ring, k - 1] = s.ring_value[ring, k]
            n -= 1
        s.ring_ns[ring, n], s.ring_value[ring, n] = at, value
        n += 1
    s.ring_count[ring] = n
    return rate


@_compiled
def _hits(t: RuleTable, s: Live, i: int, at: int, text: float) -> int:
    """Add a hit; how many there are within the window. A text that was there is one hit."""
    rule, ring = s.rule[i], s.ring[i]
    kept = 0
    for k in range(s.ring_count[ring]):
        past = at - s.ring_ns[ring, k] >= t.r_window_ns[rule]
        if past or (t.r_distinct[rule] >= 0 and s.ring_value[ring, k] == text):
            continue
        s.ring_ns[ring, kept], s.ring_value[ring, kept] = (
            s.ring_ns[ring, k],
            s.ring_value[ring, k],
        )
        kept += 1
    if kept == WINDOW_SAMPLES:
        for k in range(1, kept):
            s.ring_ns[ring, k - 1] = s.ring_ns[ring, k]
            s.ring_value[ring, k - 1] = s.ring_value[ring, k]
        kept -= 1
    s.ring_ns[ring, kept], s.ring_value[ring, kept] = at, text
    s.ring_count[ring] = kept + 1
    return kept + 1


@_compiled
def _reached(t: RuleTable, s: Live, i: int, rows: Rows, row: int, main: bool) -> bool:
    """Take one step of a sequence; whether the last one, the rule's own condition, was it.

    The ring holds the instants of the steps taken. Waiting for the second step, a new first
    one takes the old one's place: the newest counts.
    """
    rule, ring, at = s.rule[i], s.ring[i], rows.observed_ns[row]
    if s.ring_count[ring] and at - s.ring_ns[ring, 0] > t.r_window_ns[rule]:
        s.ring_count[ring] = 0
    first, steps = t.r_step0[rule], t.r_step1[rule] - t.r_step0[rule]
    n = s.ring_count[ring]
    if n == steps and main:
        return True
    for attempt in range(2):
        step = n if attempt == 0 else 0
        if step >= steps or (attempt == 1 and n != 1):
            continue
        cond = first + step
        if t.c_kind[cond] != rows.kind[row]:
            continue
        if _level(t, cond, rows, row, _value(t, cond, rows, row)[0]) == _RAISING:
            s.ring_ns[ring, step] = at
            s.ring_count[ring] = step + 1
            break
    return False


@_compiled
def _settle(t: RuleTable, s: Live, head: I32, meta: I64, scratch: I32, i: int) -> None:
    """An entry whose condition does not hold: forget it unless something else remembers."""
    rule = s.rule[i]
    if s.ring[i] >= 0 or s.flaps[i]:
        s.phase[i] = WATCHING
        _schedule(t, s, i)
    else:
        _remove(s, head, meta, i)
        scratch[rule] = -1


@_inlined
def _apply(
    t: RuleTable,
    s: Live,
    head: I32,
    meta: I64,
    out: Edges,
    scratch: I32,
    rows: Rows,
    row: int,
    rule: int,
) -> None:
    """Apply one row to one rule."""
    form, cond, i = t.r_form[rule], t.r_cond[rule], scratch[rule]
    own_kind = t.c_kind[cond] == rows.kind[row]
    value, m = np.nan, -1
    level = _UNKNOWN
    if own_kind:
        value, m = _value(t, cond, rows, row)
        if form != RATE:
            level = _level(t, cond, rows, row, value)
    at = rows.observed_ns[row]
    if form <= RATE or form == ABSENT:
        if form == RATE:
            if m < 0:
                return
        elif level == _UNKNOWN or (i < 0 and level != _RAISING):
            return
    elif form == COUNT and level != _RAISING:
        return
    if i >= 0:
        if at < s.edge_ns[i]:
            rows.late[row] = True  # the watermark had passed it, and an edge was told since
            return
        _advance(t, s, meta, out, i, at)
    began = at
    if form not in (PLAIN, ABSENT):
        if i < 0:
            i = scratch[rule] = _create(t, s, head, meta, rows.slot[row], rule)
        if form == RATE:
            value = _rate(t, s, i, at, value)
            level = _level(t, cond, rows, row, value)
        else:
            raised = s.phase[i] == ACTIVE
            if form == COUNT:
                column = t.r_distinct[rule]
                text = rows.hashes[row, column] if column >= 0 else 0.0
                if np.isnan(text) or (_hits(t, s, i, at, text) < t.r_need[rule] and not raised):
                    level = _UNKNOWN
                began = s.ring_ns[s.ring[i], 0] if s.ring_count[s.ring[i]] else at
            else:
                done = _reached(t, s, i, rows, row, level == _RAISING)
                began = s.ring_ns[s.ring[i], 0] if done else at
                level = _RAISING if done or (raised and level == _RAISING) else _UNKNOWN
        if level == _UNKNOWN:
            if s.phase[i] == WATCHING and not s.ring_count[s.ring[i]]:
                _settle_empty(s, head, meta, scratch, i)
            else:
                _schedule(t, s, i)
            return
    if form == ABSENT:
        if i >= 0 and s.phase[i] == ACTIVE:
            _note(t, s, meta, out, i, rows, row, value, m)
            s.phase[i] = CLEARING
            _emit(t, s, meta, out, i, CLEAR, at, row)
        if level != _RAISING:
            _remove(s, head, meta, i)
            scratch[rule] = -1
            return
        if i < 0:
            i = scratch[rule] = _create(t, s, head, meta, rows.slot[row], rule)
        _begin(s, meta, out, i, at, rows, row)
        _note(t, s, meta, out, i, rows, row, value, m)
        _schedule(t, s, i)
        return
    phase = s.phase[i] if i >= 0 else FREE
    if phase in (FREE, ENDED, WATCHING):
        if phase == ENDED and at == s.began_ns[i]:
            return  # a second raise of this instant would have the first one's id
        if level != _RAISING:
            if i >= 0:
                _settle(t, s, head, meta, scratch, i)
            return
        if i < 0:
            i = scratch[rule] = _create(t, s, head, meta, rows.slot[row], rule)
        _begin(s, meta, out, i, began, rows, row)
    if s.phase[i] == PENDING and level != _RAISING:
        _settle(t, s, head, meta, scratch, i)
        return
    _note(t, s, meta, out, i, rows, row, value, m)
    if s.phase[i] == PENDING:
        if at - s.began_ns[i] >= t.r_for_ns[rule]:
            _emit(t, s, meta, out, i, RAISE, at, row)
    elif level == _OVER:
        if s.phase[i] == ACTIVE:
            s.phase[i], s.over_ns[i] = CLEARING, at
        if at - s.over_ns[i] >= _clear_for_ns(t, s, i):
            _emit(t, s, meta, out, i, CLEAR, at, row)
    else:
        s.phase[i] = ACTIVE
        if at >= s.still_ns[i] and t.r_still_ns[rule] > 0:
            _emit(t, s, meta, out, i, STILL, at, row)
    _schedule(t, s, i)


@_compiled
def _settle_empty(s: Live, head: I32, meta: I64, scratch: I32, i: int) -> None:
    """An entry made for a window that took nothing in."""
    rule = s.rule[i]
    if not s.flaps[i]:
        _remove(s, head, meta, i)
        scratch[rule] = -1


@_compiled
def apply_rows(
    t: RuleTable,
    s: Live,
    head: I32,
    meta: I64,
    out: Edges,
    scratch: I32,
    rows: Rows,
    first: int,
    end: int,
) -> int:
    """Apply rows from ``first`` on; gives the row to go on from when there is room again."""
    for row in range(first, end):
        kind = rows.kind[row]
        if kind < 0 or rows.late[row]:
            continue
        k0, k1 = t.k0[kind], t.k1[kind]
        most = k1 - k0
        if (
            meta[OUT] + EDGES_A_ROW * most > len(out.entry)
            or meta[TOUCHED] + 3 * most > len(out.touched)
            or len(s.slot) - meta[TOP] + meta[FREED] < most
            or len(s.ring_count) - meta[RING_TOP] + meta[RING_FREED] < most
        ):
            return row
        slot = rows.slot[row]
        i = head[slot]
        while i >= 0:
            scratch[s.rule[i]] = i
            i = s.next[i]
        for position in range(k0, k1):
            rule = t.k_rules[position]
            if scratch[rule] < 0 and t.r_form[rule] == PLAIN:
                # Most rules of most rows end here.
                cond = t.r_cond[rule]
                op = t.c_op[cond]
                if op and t.c_m1[cond] - t.c_m0[cond] == 1:
                    value = rows.measures[row, t.measures[t.c_m0[cond]]]
                    if not _compare(op, value, t.c_threshold[cond]):
                        continue
            _apply(t, s, head, meta, out, scratch, rows, row, rule)
        i = head[slot]
        while i >= 0:
            scratch[s.rule[i]] = -1
            i = s.next[i]
    return end


@_compiled
def fire_timers(
    t: RuleTable,
    s: Live,
    head: I32,
    meta: I64,
    out: Edges,
    changed: NDArray[np.bool_],
    until: int,
    first: int,
) -> int:
    """Let time pass for the blocks from ``first`` on; gives the block to go on from.

    Marks in ``changed`` the slots of things that it does something to.
    """
    blocks: int = (meta[TOP] + BLOCK - 1) // BLOCK
    for block in range(first, blocks):
        if s.block_due[block] >= until:
            continue
        if meta[OUT] + 2 * BLOCK > len(out.entry):
            return block
        earliest = NEVER
        for i in range(block * BLOCK, min((block + 1) * BLOCK, meta[TOP])):
            if s.due_ns[i] < until:
                changed[s.slot[i]] = True
                if s.phase[i] == WATCHING:
                    _remove(s, head, meta, i)
                else:
                    _advance(t, s, meta, out, i, until)
                    s.due_ns[i] = _next_ns(t, s, i)
            earliest = min(earliest, s.due_ns[i])
        s.block_due[block] = earliest
    return blocks


@_compiled
def run_rounds(
    t: RuleTable,
    s: Live,
    head: I32,
    meta: I64,
    out: Edges,
    scratch: I32,
    changed: NDArray[np.bool_],
    rows: Rows,
    rounds: Rounds,
    done: I64,
) -> None:
    """Apply the rows of each round, then let time pass to its watermark.

    Args:
        done: How far it came, and goes on from when there is room again: round, row, block,
            and the watermark that time has passed to.
    """
    while done[ROUND] < len(rounds.ends):
        number = done[ROUND]
        before = meta[OUT]
        end = rounds.ends[number]
        done[ROW] = apply_rows(t, s, head, meta, out, scratch, rows, done[ROW], end)
        through = done[ROW] == end
        until = rounds.watermarks_ns[number]
        if through and until > done[PASSED_NS]:
            done[AT_BLOCK] = fire_timers(t, s, head, meta, out, changed, until, done[AT_BLOCK])
            through = done[AT_BLOCK] * BLOCK >= meta[TOP]
        out.round[before : meta[OUT]] = number
        if not through:
            return
        done[PASSED_NS] = max(done[PASSED_NS], until)
        done[ROUND] += 1
        done[AT_BLOCK] = 0


@_compiled
def forget(s: Live, head: I32, meta: I64, slots: I64, forgotten: NDArray[np.bool_]) -> None:
    """Drop all entries of things that nothing is on of, and say which things that was."""
    for position in range(len(slots)):
        slot = slots[position]
        forgotten[position] = True
        i = head[slot]
        while i >= 0:
            if s.phase[i] not in (ENDED, WATCHING):
                forgotten[position] = False
                break
            i = s.next[i]
        while forgotten[position] and head[slot] >= 0:
            _remove(s, head, meta, head[slot])


@_compiled
def link(t: RuleTable, s: Live, head: I32, meta: I64) -> None:
    """Hang entries that were read from a checkpoint into the lists of their things."""
    for i in range(meta[TOP] - 1, -1, -1):
        s.next[i] = head[s.slot[i]]
        head[s.slot[i]] = i
        _schedule(t, s, i)


def empty_live(entries: int, rings: int) -> Live:
    """Columns for so many entries and windows, all free."""

    def i64(*shape: int) -> I64:
        return np.zeros(shape, np.int64)

    def i32(size: int) -> I32:
        return np.zeros(size, np.int32)

    return Live(
        slot=i32(entries),
        rule=i32(entries),
        next=i32(entries),
        phase=np.zeros(entries, np.int8),
        measure=np.zeros(entries, np.int8),
        began_ns=i64(entries),
        seen_ns=i64(entries),
        over_ns=i64(entries),
        edge_ns=i64(entries),
        still_ns=i64(entries),
        due_ns=np.full(entries, NEVER, np.int64),
        value=np.zeros(entries),
        peak=np.zeros(entries),
        source=i32(entries),
        place_row=i32(entries),
        snap_row=i32(entries),
        flaps=i32(entries),
        flap_ns=i64(entries),
        ring=i32(entries),
        id_count=i32(entries),
        ids=np.zeros((entries, 2 * MAX_OBSERVATION_IDS), np.uint64),
        free=i32(entries),
        block_due=np.full(entries // BLOCK + 1, NEVER, np.int64),
        ring_ns=i64(rings, WINDOW_SAMPLES),
        ring_value=np.zeros((rings, WINDOW_SAMPLES)),
        ring_count=i32(rings),
        ring_free=i32(rings),
    )


def empty_edges(edges: int, touched: int) -> Edges:
    """Room for so many edges."""

    def i32(size: int) -> I32:
        return np.zeros(size, np.int32)

    return Edges(
        entry=i32(edges),
        slot=i32(edges),
        rule=i32(edges),
        edge=np.zeros(edges, np.int8),
        over=np.zeros(edges, np.int8),
        measure=np.zeros(edges, np.int8),
        at_ns=np.zeros(edges, np.int64),
        began_ns=np.zeros(edges, np.int64),
        trigger=i32(edges),
        value=np.zeros(edges),
        peak=np.zeros(edges),
        source=i32(edges),
        place_row=i32(edges),
        snap_row=i32(edges),
        id_count=i32(edges),
        ids=np.zeros((edges, 2 * MAX_OBSERVATION_IDS), np.uint64),
        touched=i32(touched),
        round=i32(edges),
    )
