"""The inner loop of the fences, compiled by numba; `geo/fence_tracker.py` is its only caller.

Positions come in the order of time. What is known of a thing and a fence is one slot in a list
of the thing's; a pair of which there is nothing to remember has none. Slots live in columns
and go back to a list of free ones.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from geo.fences import Code
from geo.kernels import F64, I32, I64, U8, compiled, side_of

#: Flags of a slot.
INSIDE = 1
DWELLED = 2
NEAR = 4
AHEAD = 8
DOUBTED = 16

#: Flags of a fence, see :class:`geo.fences.FenceSet`.
TELLS_INSIDE = 1
TELLS_CROSSINGS = 2
IS_RESTRICTED = 4
HAS_LIMITS = 8

#: Columns of a fence's limits.
_FLOOR, _CEILING, _HYSTERESIS, _DEPTH, _NEAR, _AHEAD_S = 0, 1, 2, 3, 4, 5

#: Columns of a thing: position, height by datum after the speed.
LON, LAT, EAST_MPS, NORTH_MPS, UP_MPS, HEIGHTS = 0, 1, 2, 3, 4, 5

#: Columns of a transition, in integers and in floats.
AT_NS, THING, FENCE, CODE = 0, 1, 2, 3
OUT_LON, OUT_LAT, OUT_VALUE = 0, 1, 2

#: What is counted: transitions in the arrays, stamps, and for people what was passed over.
TOLD, STAMP, UNSURE, LATE, REPEATED = 0, 1, 2, 3, 4
COUNTED = 5

NEVER = np.iinfo(np.int64).min
_NO_NS = np.iinfo(np.int64).max
_DAY_S = 86400

#: Slower than this nothing is foretold: it is noise.
_LEAST_SPEED_MPS = 0.5

#: What lies ahead is given up when it is further ahead than this many times ``ahead_s``.
_GIVEN_UP = 1.25

#: Time constant of the speed that is worked out from positions.
_SMOOTH_S = 3.0

#: Transitions of one thing and fence that one position can make, at most.
MOST_EACH = 4

_ENTER, _EXIT, _INSIDE = int(Code.ENTER), int(Code.EXIT), int(Code.INSIDE)
_CROSS, _DWELL, _NEARBY = int(Code.CROSS), int(Code.DWELL), int(Code.NEAR)
_AWAY, _APPROACH, _AVERTED = int(Code.AWAY), int(Code.APPROACH), int(Code.AVERTED)
_LOST = int(Code.LOST)


@compiled
def active_until(
    fence: int, t: int, span_starts: I64, spans: I64, daily_s: I64, offset_s: int
) -> int:
    """The end of the time around ``t`` in which a fence holds; ``t`` itself where it does not."""
    until = t
    if span_starts[fence] == span_starts[fence + 1]:
        until = _NO_NS
    for k in range(span_starts[fence], span_starts[fence + 1]):
        if spans[k, 0] <= t < spans[k, 1]:
            until = max(until, spans[k, 1])
    begin_s, end_s = daily_s[fence, 0], daily_s[fence, 1]
    if until == t or begin_s == end_s:
        return until
    local = t + offset_s * 1_000_000_000
    day = local // (_DAY_S * 1_000_000_000)
    since = local - day * (_DAY_S * 1_000_000_000)
    begin, end = begin_s * 1_000_000_000, end_s * 1_000_000_000
    left = -1
    if begin < end:
        if begin <= since < end:
            left = end - since
    elif since >= begin:
        left = end + _DAY_S * 1_000_000_000 - since
    elif since < end:
        left = end - since
    return t if left < 0 else min(until, t + left)


@compiled
def is_within(fence: int, edges: F64, starts: I64, x: float, y: float) -> bool:
    """Whether a point lies in a fence, half open."""
    parity = False
    for k in range(starts[fence], starts[fence + 1]):
        y1, y2 = edges[k, 1], edges[k, 3]
        below1 = y1 <= y
        if below1 != (y2 <= y):
            side = side_of(edges[k, 0], y1, edges[k, 2], y2, x, y)
            if side != 0 and (side > 0) == below1:
                parity = not parity
    return parity


@compiled
def border_distance_m(
    fence: int, edges: F64, starts: I64, scales: F64, x: float, y: float
) -> float:
    """Metres from a point to the nearest edge of a fence, inside or outside."""
    kx, ky = scales[fence, 0], scales[fence, 1]
    least = np.inf
    for k in range(starts[fence], starts[fence + 1]):
        ax, ay = (edges[k, 0] - x) * kx, (edges[k, 1] - y) * ky
        dx, dy = (edges[k, 2] - edges[k, 0]) * kx, (edges[k, 3] - edges[k, 1]) * ky
        length = dx * dx + dy * dy
        along = 0.0
        if length > 0.0:
            along = min(1.0, max(0.0, -(ax * dx + ay * dy) / length))
        gap_x, gap_y = ax + along * dx, ay + along * dy
        least = min(least, gap_x * gap_x + gap_y * gap_y)
    return math.sqrt(least)


@compiled
def first_within(
    fence: int,
    edges: F64,
    starts: I64,
    floor: float,
    ceiling: float,
    x1: float,
    y1: float,
    z1: float,
    x2: float,
    y2: float,
    z2: float,
) -> float:
    """Where a straight way first is in a fence, 0 at its start, 1 at its end; -1 for nowhere."""
    begin, end = 0.0, 1.0
    if floor > -np.inf or ceiling < np.inf:
        if not (z1 == z1 and z2 == z2):
            return -1.0
        climb = z2 - z1
        if climb == 0.0:
            if not floor <= z1 <= ceiling:
                return -1.0
        else:
            low, high = (floor - z1) / climb, (ceiling - z1) / climb
            if low > high:
                low, high = high, low
            begin, end = max(begin, low), min(end, high)
            if begin > end:
                return -1.0
    dx, dy = x2 - x1, y2 - y1
    if is_within(fence, edges, starts, x1 + begin * dx, y1 + begin * dy):
        return begin
    first = np.inf
    for k in range(starts[fence], starts[fence + 1]):
        ax, ay = edges[k, 0] - x1, edges[k, 1] - y1
        ex, ey = edges[k, 2] - edges[k, 0], edges[k, 3] - edges[k, 1]
        across = dx * ey - dy * ex
        if across == 0.0:
            continue
        along = (ax * ey - ay * ex) / across
        place = (ax * dy - ay * dx) / across
        if begin <= along <= end and 0.0 <= place <= 1.0:
            first = min(first, along)
    return first if first <= end else -1.0


@compiled
def _is_meant(allowed: I64, thing: int, fence: int) -> bool:
    """Whether a fence that is about certain things is about this one."""
    key = (thing << 32) | fence
    at = np.searchsorted(allowed, key)
    return bool(at < len(allowed) and allowed[at] == key)


@compiled
def _tell(
    whole: I64, parts: F64, count: int, at_ns: int, thing: int, fence: int, code: int,
    lon: float, lat: float, value: float,
) -> int:  # fmt: skip
    """Write one transition down; the new number of them."""
    whole[count, AT_NS] = at_ns
    whole[count, THING] = thing
    whole[count, FENCE] = fence
    whole[count, CODE] = code
    parts[count, OUT_LON] = lon
    parts[count, OUT_LAT] = lat
    parts[count, OUT_VALUE] = value
    return count + 1


@compiled
def _slot_of(heads: I32, slot_next: I32, slot_fence: I32, thing: int, fence: int) -> int:
    slot = int(heads[thing])
    while slot >= 0 and slot_fence[slot] != fence:
        slot = int(slot_next[slot])
    return slot


@compiled
def _take_slot(
    heads: I32, slot_counts: I32, slot_next: I32, slot_fence: I32, slot_flags: U8, free: I32,
    thing: int, fence: int,
) -> int:  # fmt: skip
    """A slot for a thing and a fence; ``free[0]`` is the first free one."""
    slot = int(free[0])
    free[0] = slot_next[slot]
    free[1] -= 1
    slot_next[slot] = heads[thing]
    slot_fence[slot] = fence
    slot_flags[slot] = 0
    heads[thing] = slot
    slot_counts[thing] += 1
    return slot


@compiled
def sweep_slots(
    heads: I32, slot_counts: I32, slot_next: I32, slot_flags: U8, free: I32, thing: int
) -> None:
    """Give back the slots of a thing of which there is nothing to remember."""
    before = -1
    slot = heads[thing]
    while slot >= 0:
        after = slot_next[slot]
        if slot_flags[slot] & (INSIDE | NEAR | AHEAD):
            before = slot
        else:
            if before < 0:
                heads[thing] = after
            else:
                slot_next[before] = after
            slot_next[slot] = free[0]
            free[0] = slot
            free[1] += 1
            slot_counts[thing] -= 1
        slot = after


@compiled
def run_timers(
    until_ns: int,
    thing: int,
    lost_ns: int,
    last_ns: I64,
    state: F64,
    heads: I32,
    slot_next: I32,
    slot_fence: I32,
    slot_since: I64,
    slot_flags: U8,
    dwell_ns: I64,
    span_starts: I64,
    spans: I64,
    daily_s: I64,
    offset_s: int,
    whole: I64,
    parts: F64,
    count: int,
) -> int:
    """What time alone makes happen to one thing up to an instant, in the order of time.

    A dwell comes due, a fence ends to hold, the thing is lost.
    """
    gone_ns = last_ns[thing] + lost_ns
    lon, lat = state[thing, LON], state[thing, LAT]
    slot = heads[thing]
    while slot >= 0:
        fence = slot_fence[slot]
        end_ns = active_until(fence, last_ns[thing], span_starts, spans, daily_s, offset_s)
        stop_ns = min(end_ns, gone_ns)
        if slot_flags[slot] & INSIDE:
            since = slot_since[slot]
            if dwell_ns[fence] != _NO_NS and not slot_flags[slot] & DWELLED:
                due = since + dwell_ns[fence]
                if due <= until_ns and due <= stop_ns:
                    slot_flags[slot] |= DWELLED
                    taken_s = dwell_ns[fence] / 1e9
                    count = _tell(whole, parts, count, due, thing, fence, _DWELL, lon, lat, taken_s)
            if stop_ns <= until_ns:
                code = _EXIT if end_ns <= gone_ns else _LOST
                been_s = (stop_ns - since) / 1e9
                count = _tell(whole, parts, count, stop_ns, thing, fence, code, lon, lat, been_s)
                slot_flags[slot] = 0
        elif stop_ns <= until_ns:
            if slot_flags[slot] & NEAR:
                count = _tell(whole, parts, count, stop_ns, thing, fence, _AWAY, lon, lat, np.nan)
            if slot_flags[slot] & AHEAD:
                count = _tell(
                    whole, parts, count, stop_ns, thing, fence, _AVERTED, lon, lat, np.nan
                )
            slot_flags[slot] = 0
        slot = slot_next[slot]
    return count


@compiled
def follow(
    first: int,
    # positions, in the order of time
    times: I64, things: I64, lon: F64, lat: F64, heights: F64, margins: F64, speeds: F64,
    # the fences that each position lies in, by row
    pair_starts: I64, pair_fences: I64,
    # fences
    edges: F64, edge_starts: I64, scales: F64, limits: F64, datums: I64, dwell_ns: I64,
    flags: U8, daily_s: I64, span_starts: I64, spans: I64, offset_s: int, allowed: I64,
    # fences looked for from outside
    around_plan: F64, around_starts: I32, around_refs: I32, around_count: int, most_ahead_s: float,
    # things
    lost_ns: int, last_ns: I64, state: F64, heads: I32, slot_counts: I32,
    # slots
    slot_next: I32, slot_fence: I32, slot_since: I64, slot_flags: U8, free: I32,
    # marks of what this position has to do with a fence
    mark_in: I64, mark_seen: I64, stamp: int,
    # transitions
    whole: I64, parts: F64, counted: I64,
) -> int:  # fmt: skip
    """Follow things through positions; how many of these were taken.

    Stops early where transitions or free slots could run out; the caller makes room and calls
    again.
    """
    datum_count = len(heights)
    count = counted[TOLD]
    for k in range(first, len(times)):
        thing, t = things[k], times[k]
        pairs = pair_starts[k + 1] - pair_starts[k]
        room = MOST_EACH * (slot_counts[thing] * 2 + pairs + around_count)
        if count + room > len(whole) or free[1] < pairs + around_count:
            counted[TOLD] = count
            counted[STAMP] = stamp
            return k
        x, y, margin = lon[k], lat[k], margins[k]
        before_ns = last_ns[thing]
        known = before_ns != NEVER
        if t <= before_ns:
            counted[REPEATED if t == before_ns else LATE] += 1
            continue
        if known:
            count = run_timers(
                t, thing, lost_ns, last_ns, state, heads, slot_next, slot_fence, slot_since,
                slot_flags, dwell_ns, span_starts, spans, daily_s, offset_s, whole, parts, count,
            )  # fmt: skip
            known = t - before_ns < lost_ns
            sweep_slots(heads, slot_counts, slot_next, slot_flags, free, thing)
        stamp += 1
        for j in range(pair_starts[k], pair_starts[k + 1]):
            fence = pair_fences[j]
            if flags[fence] & IS_RESTRICTED and not _is_meant(allowed, thing, fence):
                continue
            mark_in[fence] = stamp
            slot = _slot_of(heads, slot_next, slot_fence, thing, fence)
            if slot >= 0 and slot_flags[slot] & INSIDE:
                continue
            if active_until(fence, t, span_starts, spans, daily_s, offset_s) == t:
                continue
            if flags[fence] & HAS_LIMITS:
                height = heights[datums[fence], k]
                if height != height:
                    counted[UNSURE] += 1
                    continue
                if not limits[fence, _FLOOR] <= height <= limits[fence, _CEILING]:
                    continue
            depth = min(margin, limits[fence, _DEPTH])
            if depth > 0.0 and (border_distance_m(fence, edges, edge_starts, scales, x, y) < depth):
                continue
            if slot < 0:
                slot = _take_slot(
                    heads, slot_counts, slot_next, slot_fence, slot_flags, free, thing, fence
                )
            slot_flags[slot] = INSIDE
            slot_since[slot] = t
            mark_seen[fence] = stamp
            count = _tell(whole, parts, count, t, thing, fence, _ENTER, x, y, np.nan)
        # What was in, near or ahead until now.
        east, north, up = _speed(
            state, thing, t - before_ns, known, x, y, scales, heights, speeds, k
        )
        fast = east * east + north * north + up * up >= _LEAST_SPEED_MPS * _LEAST_SPEED_MPS
        slot = heads[thing]
        while slot >= 0:
            fence = slot_fence[slot]
            within = mark_in[fence] == stamp
            height = heights[datums[fence], k]
            limited = flags[fence] & HAS_LIMITS != 0
            if slot_flags[slot] & INSIDE:
                if mark_seen[fence] != stamp:
                    out = False
                    if limited and height == height:
                        spare = limits[fence, _HYSTERESIS]
                        out = (
                            height < limits[fence, _FLOOR] - spare
                            or height > limits[fence, _CEILING] + spare
                        )
                    if not within and not out:
                        spare = limits[fence, _HYSTERESIS] + margin
                        out = spare == 0.0 or (
                            border_distance_m(fence, edges, edge_starts, scales, x, y) > spare
                        )
                    been_s = (t - slot_since[slot]) / 1e9
                    if out:
                        slot_flags[slot] = 0
                        count = _tell(whole, parts, count, t, thing, fence, _EXIT, x, y, been_s)
                        mark_seen[fence] = stamp
                    elif flags[fence] & TELLS_INSIDE:
                        count = _tell(whole, parts, count, t, thing, fence, _INSIDE, x, y, been_s)
            else:
                if slot_flags[slot] & NEAR:
                    away = _gap_m(
                        fence, edges, edge_starts, scales, limits, limited, within, x, y, height
                    )
                    spare = limits[fence, _HYSTERESIS] + margin
                    if away > limits[fence, _NEAR] + spare:
                        slot_flags[slot] &= ~NEAR
                        count = _tell(whole, parts, count, t, thing, fence, _AWAY, x, y, away)
                if slot_flags[slot] & AHEAD:
                    ahead_s = _ahead_s(
                        fence, edges, edge_starts, scales, limits, x, y, height, east, north, up,
                        limits[fence, _AHEAD_S] * _GIVEN_UP, fast,
                    )  # fmt: skip
                    if ahead_s >= 0.0:
                        slot_flags[slot] &= ~DOUBTED
                    elif slot_flags[slot] & DOUBTED:
                        slot_flags[slot] &= ~(AHEAD | DOUBTED)
                        count = _tell(whole, parts, count, t, thing, fence, _AVERTED, x, y, np.nan)
                    else:
                        slot_flags[slot] |= DOUBTED
            slot = slot_next[slot]
        if around_count:
            count = _look_around(
                k, t, thing, x, y, known, east, north, up, fast, heights, margin,
                edges, edge_starts, scales, limits, datums, flags, daily_s, span_starts, spans,
                offset_s, allowed, around_plan, around_starts, around_refs, most_ahead_s, state,
                heads, slot_counts, slot_next, slot_fence, slot_since, slot_flags, free,
                mark_in, mark_seen, stamp, whole, parts, count,
            )  # fmt: skip
        sweep_slots(heads, slot_counts, slot_next, slot_flags, free, thing)
        last_ns[thing] = t
        state[thing, LON] = x
        state[thing, LAT] = y
        state[thing, EAST_MPS] = east
        state[thing, NORTH_MPS] = north
        state[thing, UP_MPS] = up
        for datum in range(datum_count):
            state[thing, HEIGHTS + datum] = heights[datum, k]
    counted[TOLD] = count
    counted[STAMP] = stamp
    return len(times)


@compiled
def _speed(
    state: F64, thing: int, passed_ns: int, known: bool, x: float, y: float, scales: F64,
    heights: F64, speeds: F64, k: int,
) -> tuple[float, float, float]:  # fmt: skip
    """Metres a second east, north and up: as told, else smoothed from the positions."""
    if speeds[k, 0] == speeds[k, 0] and speeds[k, 1] == speeds[k, 1]:
        return speeds[k, 0], speeds[k, 1], speeds[k, 2] if speeds[k, 2] == speeds[k, 2] else 0.0
    if not known or passed_ns <= 0:
        return 0.0, 0.0, 0.0
    passed_s = passed_ns / 1e9
    phi = np.radians(y)
    north_scale = 111_132.954 - 559.822 * np.cos(2.0 * phi)
    east_scale = 111_412.84 * np.cos(phi) - 93.5 * np.cos(3.0 * phi)
    east = (x - state[thing, LON]) * east_scale / passed_s
    north = (y - state[thing, LAT]) * north_scale / passed_s
    up = 0.0
    for datum in range(len(heights)):
        climb = heights[datum, k] - state[thing, HEIGHTS + datum]
        if climb == climb:
            up = climb / passed_s
            break
    if state[thing, EAST_MPS] == 0.0 and state[thing, NORTH_MPS] == 0.0:
        return east, north, up
    part = 1.0 - np.exp(-passed_s / _SMOOTH_S)
    return (
        state[thing, EAST_MPS] + part * (east - state[thing, EAST_MPS]),
        state[thing, NORTH_MPS] + part * (north - state[thing, NORTH_MPS]),
        state[thing, UP_MPS] + part * (up - state[thing, UP_MPS]),
    )


@compiled
def _gap_m(
    fence: int, edges: F64, edge_starts: I64, scales: F64, limits: F64, limited: bool,
    within: bool, x: float, y: float, height: float,
) -> float:  # fmt: skip
    """Metres to a fence from outside, in three dimensions where the height is known."""
    aside = 0.0 if within else border_distance_m(fence, edges, edge_starts, scales, x, y)
    if not limited or height != height:
        return aside
    above = max(0.0, limits[fence, _FLOOR] - height, height - limits[fence, _CEILING])
    return math.sqrt(aside * aside + above * above)


@compiled
def _ahead_s(
    fence: int, edges: F64, edge_starts: I64, scales: F64, limits: F64, x: float, y: float,
    height: float, east: float, north: float, up: float, horizon_s: float, fast: bool,
) -> float:  # fmt: skip
    """Seconds until a thing on its course is in a fence; -1 where it will not be in time."""
    if not fast:
        return -1.0
    along = first_within(
        fence, edges, edge_starts, limits[fence, _FLOOR], limits[fence, _CEILING],
        x, y, height,
        x + east * horizon_s / scales[fence, 0], y + north * horizon_s / scales[fence, 1],
        height + up * horizon_s,
    )  # fmt: skip
    return -1.0 if along < 0.0 else along * horizon_s


@compiled
def _look_around(
    k: int, t: int, thing: int, x: float, y: float, known: bool, east: float, north: float,
    up: float, fast: bool, heights: F64, margin: float,
    edges: F64, edge_starts: I64, scales: F64, limits: F64, datums: I64, flags: U8, daily_s: I64,
    span_starts: I64, spans: I64, offset_s: int, allowed: I64, plan: F64, around_starts: I32,
    around_refs: I32, most_ahead_s: float, state: F64,
    heads: I32, slot_counts: I32, slot_next: I32, slot_fence: I32, slot_since: I64,
    slot_flags: U8, free: I32, mark_in: I64, mark_seen: I64, stamp: int,
    whole: I64, parts: F64, count: int,
) -> int:  # fmt: skip
    """Fences near, ahead, or passed through since the last position."""
    from_x, from_y, to_x, to_y = x, y, x, y
    if known:
        from_x, from_y = min(x, state[thing, LON]), min(y, state[thing, LAT])
        to_x, to_y = max(x, state[thing, LON]), max(y, state[thing, LAT])
    if fast and most_ahead_s > 0.0:
        phi = np.radians(y)
        ahead_x = x + east * most_ahead_s / (111_412.84 * np.cos(phi) - 93.5 * np.cos(3.0 * phi))
        ahead_y = y + north * most_ahead_s / (111_132.954 - 559.822 * np.cos(2.0 * phi))
        from_x, from_y = min(from_x, ahead_x), min(from_y, ahead_y)
        to_x, to_y = max(to_x, ahead_x), max(to_y, ahead_y)
    if not (from_x <= plan[2] and to_x >= plan[0] and from_y <= plan[3] and to_y >= plan[1]):
        return count
    per_unit, columns = plan[4], int(plan[5])
    left = int((max(from_x, plan[0]) - plan[0]) * per_unit)
    right = int((min(to_x, plan[2]) - plan[0]) * per_unit)
    low = int((max(from_y, plan[1]) - plan[1]) * per_unit)
    high = int((min(to_y, plan[3]) - plan[1]) * per_unit)
    for line in range(low, high + 1):
        row = line * columns
        for j in range(around_starts[row + left], around_starts[row + right + 1]):
            fence = around_refs[j]
            if mark_seen[fence] == stamp:
                continue
            mark_seen[fence] = stamp
            if flags[fence] & IS_RESTRICTED and not _is_meant(allowed, thing, fence):
                continue
            if active_until(fence, t, span_starts, spans, daily_s, offset_s) == t:
                continue
            slot = _slot_of(heads, slot_next, slot_fence, thing, fence)
            if slot >= 0 and slot_flags[slot] & INSIDE:
                continue
            within = mark_in[fence] == stamp
            height = heights[datums[fence], k]
            limited = flags[fence] & HAS_LIMITS != 0
            if flags[fence] & TELLS_CROSSINGS and known and not within:
                along = first_within(
                    fence, edges, edge_starts, limits[fence, _FLOOR], limits[fence, _CEILING],
                    state[thing, LON], state[thing, LAT],
                    state[thing, HEIGHTS + datums[fence]], x, y, height,
                )  # fmt: skip
                if along >= 0.0:
                    count = _tell(whole, parts, count, t, thing, fence, _CROSS, x, y, np.nan)
            set_flags = 0
            if limits[fence, _NEAR] >= 0.0 and not (slot >= 0 and slot_flags[slot] & NEAR):
                away = _gap_m(
                    fence, edges, edge_starts, scales, limits, limited, within, x, y, height
                )
                if away <= limits[fence, _NEAR]:
                    set_flags |= NEAR
                    count = _tell(whole, parts, count, t, thing, fence, _NEARBY, x, y, away)
            if limits[fence, _AHEAD_S] > 0.0 and not (slot >= 0 and slot_flags[slot] & AHEAD):
                ahead_s = _ahead_s(
                    fence, edges, edge_starts, scales, limits, x, y, height, east, north, up,
                    limits[fence, _AHEAD_S], fast,
                )  # fmt: skip
                if ahead_s >= 0.0:
                    set_flags |= AHEAD
                    count = _tell(whole, parts, count, t, thing, fence, _APPROACH, x, y, ahead_s)
            if set_flags:
                if slot < 0:
                    slot = _take_slot(
                        heads, slot_counts, slot_next, slot_fence, slot_flags, free, thing, fence
                    )
                slot_flags[slot] |= set_flags
    return count


@compiled
def forget_lost(
    until_ns: int,
    lost_ns: int,
    last_ns: I64,
    used: NDArray[np.bool_],
    state: F64,
    heads: I32,
    slot_counts: I32,
    slot_next: I32,
    slot_fence: I32,
    slot_since: I64,
    slot_flags: U8,
    free: I32,
    dwell_ns: I64,
    span_starts: I64,
    spans: I64,
    daily_s: I64,
    offset_s: int,
    whole: I64,
    parts: F64,
    counted: I64,
    first: int,
) -> int:
    """Run the timers of all things up to an instant; how many things were done.

    A thing that is lost loses its slots; the caller frees its row.
    """
    count = counted[TOLD]
    for thing in range(first, len(used)):
        if not used[thing] or heads[thing] < 0:
            continue
        if count + MOST_EACH * slot_counts[thing] > len(whole):
            counted[TOLD] = count
            return thing
        count = run_timers(
            until_ns, thing, lost_ns, last_ns, state, heads, slot_next, slot_fence, slot_since,
            slot_flags, dwell_ns, span_starts, spans, daily_s, offset_s, whole, parts, count,
        )  # fmt: skip
        sweep_slots(heads, slot_counts, slot_next, slot_flags, free, thing)
    counted[TOLD] = count
    return len(used)
