"""The inner loops of the cell index, compiled by numba; `geo/cells.py` is their only caller.

`geo/find_first.c` is :func:`find_first` in C: what changes here changes there.

Rules that all of them keep:

* A coordinate falls into a cell by one monotone function, :func:`_cell_of`, for points and for
  vertices alike. So "the vertex lies in a cell further east" always means "further east".
* An edge from (x1, y1) to (x2, y2) is crossed by the ray that runs east from a point if
  ``(y1 <= y) != (y2 <= y)`` and the point lies strictly to the left of it, by the exact sign.

Whether a point lies inside is the parity of crossings. Of the edges that do not meet the
point's cell, those west of it are never crossed; those east of it are crossed if they straddle
the point's y. Along a chain of edges the parity of straddling depends on the ends of the chain
only, and it ends at edges that do meet the cell. So the cell's own edges, with a mark for each
end that lies further east in the same row, and one constant bit, give the exact parity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import intrinsic
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

_F = TypeVar("_F", bound=Callable[..., Any])

#: Points that are looked up together, so that the waits for memory overlap.
_BLOCK = 1024

#: Points ahead whose lists and edges are asked for while a point is answered.
_LIST_AHEAD = 24
_EDGES_AHEAD = 8

#: In the table: nothing here; below it, minus two minus the place of a list.
EMPTY = -1

#: In the numbers, before the edges: west, south, east, north, cells per unit, columns, lines.
PLAN_SIZE = 8

#: Edges are put into cells with this part of a cell to spare; see ``MIN_CELL_ULPS``.
_SPARE = 1e-6

#: Relative rounding error of the quick sign (Shewchuk 1997, ccwerrboundA).
_QUICK_ERROR = 3.3306690738754716e-16
_SPLITTER = 134217729.0
_TWELVE = (0.0,) * 12


def compiled(function: _F) -> _F:
    """Have numba compile a function, once for each machine: the result is kept on disk."""
    return cast("_F", numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def compiled_bare(function: _F) -> _F:
    """Likewise for few points: without counting references to arrays, and without letting other
    threads run meanwhile, which are more than half of the cost of a call of one point.

    What is compiled so may not make arrays, nor what it calls.
    """
    options = {"cache": True, "error_model": "numpy", "_nrt": False}
    return cast("_F", numba.njit(**options)(function))


def _generate_prefetch(typingctx: Any, array: Any, index: Any) -> Any:
    """Code for :data:`_prefetch`, of the signature that numba's intrinsics have."""
    if not isinstance(index, types.Integer):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(view.data, [arguments[1]])
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), word, word, word])
        name = "llvm.prefetch.p0"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        address = builder.bitcast(place, ir.IntType(8).as_pointer())
        builder.call(function, [address, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, index), generate


#: Ask for a line of memory of a one-dimensional array, by an index, without waiting for it.
_prefetch = cast("Callable[[Any, Any], None]", intrinsic(_generate_prefetch))


@compiled
def _cell_of(value: float, start: float, per_unit: float) -> int:
    return int((value - start) * per_unit)


@compiled
def _exact_sign(x1: float, y1: float, x2: float, y2: float, x: float, y: float) -> int:
    """Sign of (x2-x1)*(y-y1) - (x-x1)*(y2-y1), without error: a sum of exact products."""
    sums = _TWELVE  # a tuple: an array would have to be counted, see compiled_bare
    count = 0
    for term in range(6):
        if term == 0:
            a, b = x2, y
        elif term == 1:
            a, b = -x2, y1
        elif term == 2:
            a, b = -x1, y
        elif term == 3:
            a, b = -x, y2
        elif term == 4:
            a, b = x, y1
        else:
            a, b = x1, y2
        product = a * b
        c = _SPLITTER * a
        a_high = c - (c - a)
        a_low = a - a_high
        c = _SPLITTER * b
        b_high = c - (c - b)
        b_low = b - b_high
        rest = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)
        for part in range(2):
            q = rest if part == 0 else product
            for k in range(count):
                total = q + sums[k]
                virtual = total - q
                rest_k = (q - (total - virtual)) + (sums[k] - virtual)
                sums = tuple_setitem(sums, k, rest_k)
                q = total
            sums = tuple_setitem(sums, count, q)
            count += 1
    for k in range(count - 1, -1, -1):
        if sums[k] > 0.0:
            return 1
        if sums[k] < 0.0:
            return -1
    return 0


@compiled
def side_of(x1: float, y1: float, x2: float, y2: float, x: float, y: float) -> int:
    """1 where the point is left of the edge, -1 right of it, 0 on its line."""
    left = (x2 - x1) * (y - y1)
    right = (x - x1) * (y2 - y1)
    size = left - right
    error = _QUICK_ERROR * (abs(left) + abs(right))
    if size > error:
        return 1
    if size < -error:
        return -1
    return _exact_sign(x1, y1, x2, y2, x, y)


@compiled
def _inside(words: I32, at: int, numbers: F64, x: float, y: float, closed: bool) -> bool:
    """Whether a point lies in the feature of one entry of its cell's list.

    An entry is: feature, number of edges * 2 + constant bit, edges * 4 + marks of their ends.
    """
    head = words[at + 1]
    parity: bool = (head & 1) != 0
    for k in range(at + 2, at + 2 + (head >> 1)):
        ref = words[k]
        edge = PLAN_SIZE + (ref & -4)
        y1 = numbers[edge + 1]
        y2 = numbers[edge + 3]
        below1 = y1 <= y
        below2 = y2 <= y
        if below1 != below2:
            side = side_of(numbers[edge], y1, numbers[edge + 2], y2, x, y)
            if side == 0:
                if closed:
                    return True
            elif (side > 0) == below1:
                parity = not parity
        elif closed and below1 and (y1 == y or y2 == y):
            x1 = numbers[edge]
            x2 = numbers[edge + 2]
            if y1 == y2:
                if min(x1, x2) <= x <= max(x1, x2):
                    return True
            elif (x1 if y1 == y else x2) == x:
                return True
        if ref & 1 and below1:
            parity = not parity
        if ref & 2 and below2:
            parity = not parity
    return parity


@compiled
def _ask_for_list(words: I32, value: int) -> None:
    """Begin to load the list that a value of the table points to."""
    _prefetch(words, -2 - value)
    _prefetch(words, 6 - value)


@compiled
def _ask_for_edges(words: I32, value: int, numbers: F64) -> None:
    """Begin to load the edges of a list, which should have been asked for before."""
    at = -1 - value
    for _ in range(words[at - 1]):
        end = at + 2 + (words[at + 1] >> 1)
        for k in range(at + 2, end):
            _prefetch(numbers, PLAN_SIZE + (words[k] & -4))
        at = end


@compiled
def find_first(words: I32, numbers: F64, x: F64, y: F64, closed: bool, found: I64) -> None:
    """For each point the first feature that it lies in, -1 for none."""
    west, south, east, north = numbers[0], numbers[1], numbers[2], numbers[3]
    per_unit, columns = numbers[4], int(numbers[5])
    n = len(x)
    room = min(n, _BLOCK)
    places = np.empty(room, dtype=np.int64)
    open_rows = np.empty(room + 1, dtype=np.int64)
    for start in range(0, n, _BLOCK):
        size = min(_BLOCK, n - start)
        for k in range(size):
            px, py = x[start + k], y[start + k]
            places[k] = -1
            if west <= px <= east and south <= py <= north:
                row = int((py - south) * per_unit)
                places[k] = row * columns + int((px - west) * per_unit)
                _prefetch(words, places[k])
        count = 0
        for k in range(size):
            value = EMPTY if places[k] < 0 else words[places[k]]
            found[start + k] = value
            open_rows[count] = start + k
            if value < EMPTY:
                _ask_for_list(words, value)
                count += 1
        for j in range(count):
            _ask_for_edges(words, found[open_rows[j]], numbers)
        for j in range(count):
            k = open_rows[j]
            at = -1 - found[k]
            found[k] = EMPTY
            for _ in range(words[at - 1]):
                if _inside(words, at, numbers, x[k], y[k], closed):
                    found[k] = words[at]
                    break
                at += 2 + (words[at + 1] >> 1)


@compiled_bare
def find_few(words: I32, numbers: F64, x: F64, y: F64, closed: bool, found: I64) -> None:
    """As :func:`find_first`, cheaper to call; ``found`` is all the room that it takes."""
    west, south, east, north = numbers[0], numbers[1], numbers[2], numbers[3]
    per_unit, columns = numbers[4], int(numbers[5])
    for k in range(len(x)):
        px, py = x[k], y[k]
        found[k] = EMPTY
        if west <= px <= east and south <= py <= north:
            place = int((py - south) * per_unit) * columns + int((px - west) * per_unit)
            found[k] = place
            _prefetch(words, place)
    for k in range(len(x)):
        if found[k] >= 0:
            value = words[found[k]]
            found[k] = value
            if value < EMPTY:
                _ask_for_list(words, value)
    for k in range(len(x)):
        if found[k] < EMPTY:
            _ask_for_edges(words, found[k], numbers)
    for k in range(len(x)):
        if found[k] < EMPTY:
            at = -1 - found[k]
            found[k] = EMPTY
            for _ in range(words[at - 1]):
                if _inside(words, at, numbers, x[k], y[k], closed):
                    found[k] = words[at]
                    break
                at += 2 + (words[at + 1] >> 1)


@compiled
def look_up(words: I32, numbers: F64, x: F64, y: F64, values: I32) -> int:
    """Each point's value in the table, and how many pairs there can be at most."""
    west, south, east, north = numbers[0], numbers[1], numbers[2], numbers[3]
    per_unit, columns = numbers[4], int(numbers[5])
    n = len(x)
    places = np.empty(min(n, _BLOCK), dtype=np.int64)
    most = 0
    for start in range(0, n, _BLOCK):
        size = min(_BLOCK, n - start)
        for k in range(size):
            px, py = x[start + k], y[start + k]
            places[k] = -1
            if west <= px <= east and south <= py <= north:
                row = int((py - south) * per_unit)
                places[k] = row * columns + int((px - west) * per_unit)
                _prefetch(words, places[k])
        for k in range(size):
            value = EMPTY if places[k] < 0 else words[places[k]]
            values[start + k] = value
            if value < EMPTY:
                _ask_for_list(words, value)
        for k in range(start, start + size):
            if values[k] < EMPTY:
                most += words[-2 - values[k]]
            else:
                most += values[k] != EMPTY
    return most


@compiled
def _ask_ahead(words: I32, numbers: F64, values: I32, k: int) -> None:
    """Begin to load what later points will need."""
    ahead = k + _LIST_AHEAD
    if ahead < len(values) and values[ahead] < EMPTY:
        _ask_for_list(words, values[ahead])
    ahead = k + _EDGES_AHEAD
    if ahead < len(values) and values[ahead] < EMPTY:
        _ask_for_edges(words, values[ahead], numbers)


@compiled
def find_pairs(
    words: I32,
    numbers: F64,
    x: F64,
    y: F64,
    closed: bool,
    values: I32,
    rows: I64,
    features: I64,
) -> int:
    """All pairs of points and features, by row and then by feature; their number."""
    count = 0
    for k in range(len(x)):
        _ask_ahead(words, numbers, values, k)
        value = values[k]
        if value > EMPTY:
            rows[count] = k
            features[count] = value
            count += 1
        elif value < EMPTY:
            at = -1 - value
            for _ in range(words[at - 1]):
                if _inside(words, at, numbers, x[k], y[k], closed):
                    rows[count] = k
                    features[count] = words[at]
                    count += 1
                at += 2 + (words[at + 1] >> 1)
    return count


@compiled
def find_volumes(
    words: I32,
    numbers: F64,
    x: F64,
    y: F64,
    heights: F64,
    datums: I64,
    floors: F64,
    ceilings: F64,
    closed: bool,
    values: I32,
    rows: I64,
    features: I64,
    known: NDArray[np.bool_],
) -> int:
    """All pairs of points and volumes by place and height; where no height is known, by place."""
    count = 0
    for k in range(len(x)):
        _ask_ahead(words, numbers, values, k)
        value = values[k]
        if value == EMPTY:
            continue
        at = 0 if value > EMPTY else -1 - value
        entries = 1 if value > EMPTY else words[at - 1]
        for _ in range(entries):
            feature = value if value > EMPTY else words[at]
            height = heights[datums[feature], k]
            is_known = height == height
            if (not is_known or floors[feature] <= height <= ceilings[feature]) and (
                value > EMPTY or _inside(words, at, numbers, x[k], y[k], closed)
            ):
                rows[count] = k
                features[count] = feature
                known[count] = is_known
                count += 1
            if value < EMPTY:
                at += 2 + (words[at + 1] >> 1)
    return count


@compiled
def span_edges(edges: F64, plan: F64, spans: I32) -> int:
    """The cells that edges meet: for each edge and row, the first and the last column.

    Call with no room to learn how many spans there are; a span is edge, row, first, last.
    """
    west, south, per_unit = plan[0], plan[1], plan[4]
    side = 1.0 / per_unit
    spare = _SPARE * side
    room = len(spans)
    count = 0
    for edge in range(len(edges)):
        x1, y1, x2, y2 = edges[edge, 0], edges[edge, 1], edges[edge, 2], edges[edge, 3]
        if y1 > y2:
            x1, y1, x2, y2 = x2, y2, x1, y1
        first_row = _cell_of(y1, south, per_unit)
        last_row = _cell_of(y2, south, per_unit)
        if room == 0:
            count += last_row - first_row + 1
            continue
        low_x, high_x = min(x1, x2), max(x1, x2)
        first = _cell_of(low_x, west, per_unit)
        last = _cell_of(high_x, west, per_unit)
        for row in range(first_row, last_row + 1):
            begin, end = first, last
            if first_row != last_row and first != last:
                bottom = south + row * side - spare
                top = bottom + side + 2.0 * spare
                at_bottom = x1 if bottom <= y1 else x1 + (bottom - y1) / (y2 - y1) * (x2 - x1)
                at_top = x2 if top >= y2 else x1 + (top - y1) / (y2 - y1) * (x2 - x1)
                from_x = max(low_x, min(at_bottom, at_top) - spare)
                to_x = min(high_x, max(at_bottom, at_top) + spare)
                begin = max(first, _cell_of(from_x, west, per_unit))
                end = min(last, _cell_of(to_x, west, per_unit))
            spans[count, 0] = edge
            spans[count, 1] = row
            spans[count, 2] = begin
            spans[count, 3] = end
            count += 1
    return count


@compiled
def measure_cells(
    spans: I32,
    span_starts: I64,
    edges: F64,
    plan: F64,
    boxes: I32,
    entry_counts: I32,
    word_counts: I32,
) -> None:
    """How many entries, and how many words, each cell's list needs."""
    columns = int(plan[5])
    for feature in range(len(boxes)):
        _measure_feature(
            spans[span_starts[feature] : span_starts[feature + 1]],
            edges,
            plan,
            boxes[feature],
            columns,
            entry_counts,
            word_counts,
        )


@compiled
def _local_cells(spans: I32, edges: F64, plan: F64, box: I32, refs: I32, inside: U8) -> None:
    """Of one feature's cells: the number of edges in each, and the parity of those further east.

    The parity is taken at the height of the middle of each row.
    """
    south, per_unit = plan[1], plan[4]
    first_row, first, last = box[0], box[2], box[3]
    width = last - first + 1
    for k in range(len(spans)):
        edge, row, begin, end = spans[k, 0], spans[k, 1], spans[k, 2], spans[k, 3]
        base = (row - first_row) * width - first
        for column in range(begin, end + 1):
            refs[base + column] += 1
        middle = south + (row + 0.5) / per_unit
        if (edges[edge, 1] <= middle) != (edges[edge, 3] <= middle):
            inside[base + begin] ^= 1
    for row in range(box[1] - first_row + 1):
        parity = 0
        for k in range(row * width + width - 1, row * width - 1, -1):
            toggle = inside[k]
            inside[k] = parity
            parity ^= toggle


@compiled
def _measure_feature(
    spans: I32,
    edges: F64,
    plan: F64,
    box: I32,
    columns: int,
    entry_counts: I32,
    word_counts: I32,
) -> None:
    width = box[3] - box[2] + 1
    size = (box[1] - box[0] + 1) * width
    refs = np.zeros(size, dtype=np.int32)
    inside = np.zeros(size, dtype=np.uint8)
    _local_cells(spans, edges, plan, box, refs, inside)
    for k in range(size):
        if refs[k] or inside[k]:
            cell = (box[0] + k // width) * columns + box[2] + k % width
            entry_counts[cell] += 1
            word_counts[cell] += 2 + refs[k]


@compiled
def place_cells(entry_counts: I32, word_counts: I32, starts: I64) -> int:
    """Where each cell's list begins, after the table; the length of both.

    A cell with one entry and no edge has no list: it lies inside its feature.
    """
    at = len(entry_counts)
    for cell in range(len(entry_counts)):
        starts[cell] = -1
        if entry_counts[cell] > 1 or word_counts[cell] > 2:
            starts[cell] = at
            at += 1 + word_counts[cell]
    return at


@compiled
def fill_cells(
    spans: I32,
    span_starts: I64,
    edges: F64,
    plan: F64,
    boxes: I32,
    starts: I64,
    words: I32,
) -> None:
    """Write the table and its lists; features come in their order."""
    south, west, per_unit = plan[1], plan[0], plan[4]
    columns = int(plan[5])
    # Where the next entry of a cell goes; what a list's head holds meanwhile is its length.
    for cell in range(len(starts)):
        words[cell] = EMPTY if starts[cell] < 0 else -2 - starts[cell]
    for feature in range(len(boxes)):
        box = boxes[feature]
        width = box[3] - box[2] + 1
        size = (box[1] - box[0] + 1) * width
        refs = np.zeros(size, dtype=np.int32)
        inside = np.zeros(size, dtype=np.uint8)
        own = spans[span_starts[feature] : span_starts[feature + 1]]
        _local_cells(own, edges, plan, box, refs, inside)
        places = np.empty(size, dtype=np.int64)
        for k in range(size):
            if refs[k] == 0 and inside[k] == 0:
                continue
            cell = (box[0] + k // width) * columns + box[2] + k % width
            if starts[cell] < 0:
                words[cell] = feature
                continue
            head = -2 - words[cell]
            if starts[cell] == head:
                starts[cell] = head + 1
            at = starts[cell]
            words[head] += 1
            words[at] = feature
            words[at + 1] = (refs[k] << 1) | (refs[k] == 0)
            places[k] = at + 2
            starts[cell] = at + 2 + refs[k]
        for j in range(len(own)):
            edge, row = own[j, 0], own[j, 1]
            x1, y1, x2, y2 = edges[edge, 0], edges[edge, 1], edges[edge, 2], edges[edge, 3]
            row1, row2 = _cell_of(y1, south, per_unit), _cell_of(y2, south, per_unit)
            column1, column2 = _cell_of(x1, west, per_unit), _cell_of(x2, west, per_unit)
            middle = south + (row + 0.5) / per_unit
            for column in range(own[j, 2], own[j, 3] + 1):
                k = (row - box[0]) * width + column - box[2]
                marks = 0
                if row1 == row and column1 > column:
                    marks |= 1
                    inside[k] ^= y1 <= middle
                if row2 == row and column2 > column:
                    marks |= 2
                    inside[k] ^= y2 <= middle
                words[places[k]] = (edge << 2) | marks
                places[k] += 1
        for k in range(size):
            if refs[k] and inside[k]:
                words[places[k] - refs[k] - 1] |= 1


@compiled
def _squared_to_segment(ax: float, ay: float, bx: float, by: float, x: float, y: float) -> float:
    """Square of the distance, for choosing candidates only."""
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy
    along = 0.0
    if length > 0.0:
        along = min(1.0, max(0.0, ((x - ax) * dx + (y - ay) * dy) / length))
    gap_x, gap_y = ax + along * dx - x, ay + along * dy - y
    return gap_x * gap_x + gap_y * gap_y


@compiled
def _segments_cross(
    ax: float, ay: float, bx: float, by: float, cx: float, cy: float, dx: float, dy: float
) -> bool:
    """Whether two segments cross properly; touching shows in the distances of their ends."""
    c_side = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    d_side = (bx - ax) * (dy - ay) - (dx - ax) * (by - ay)
    a_side = (dx - cx) * (ay - cy) - (ax - cx) * (dy - cy)
    b_side = (dx - cx) * (by - cy) - (bx - cx) * (dy - cy)
    return (c_side > 0.0) != (d_side > 0.0) and (a_side > 0.0) != (b_side > 0.0)


@compiled
def _least_squared(
    ax: float, ay: float, bx: float, by: float, x0: float, y0: float, x1: float, y1: float
) -> float:
    """Square of the distance between a segment and a rectangle."""
    if (x0 <= ax <= x1 and y0 <= ay <= y1) or (x0 <= bx <= x1 and y0 <= by <= y1):
        return 0.0
    if _segments_cross(ax, ay, bx, by, x0, y0, x1, y1) or _segments_cross(
        ax, ay, bx, by, x0, y1, x1, y0
    ):
        return 0.0
    least = np.inf
    for corner in range(4):
        x = x0 if corner & 1 == 0 else x1
        y = y0 if corner & 2 == 0 else y1
        least = min(least, _squared_to_segment(ax, ay, bx, by, x, y))
    for end in range(2):
        x, y = (ax, ay) if end == 0 else (bx, by)
        gap_x = max(x0 - x, 0.0, x - x1)
        gap_y = max(y0 - y, 0.0, y - y1)
        least = min(least, gap_x * gap_x + gap_y * gap_y)
    return least


@compiled
def _most_squared(
    ax: float, ay: float, bx: float, by: float, x0: float, y0: float, x1: float, y1: float
) -> float:
    """Square of the largest distance from a rectangle's points to a segment."""
    most = 0.0
    for corner in range(4):
        x = x0 if corner & 1 == 0 else x1
        y = y0 if corner & 2 == 0 else y1
        most = max(most, _squared_to_segment(ax, ay, bx, by, x, y))
    return most


@compiled
def reach_cells(
    segments: F64, plan: F64, reach: float, best: F64, counts: I32, starts: I32, refs: I32
) -> None:
    """Candidates of each cell, in three rounds, told apart by what has room.

    First, with empty ``counts``: for each cell an upper bound of the distance to the nearest
    segment. Second, with empty ``refs``: the number of candidates. Third: the candidates.
    """
    west, south, per_unit = plan[0], plan[1], plan[4]
    columns, lines = int(plan[5]), int(plan[6])
    side = 1.0 / per_unit
    spare = 1e-3 * side
    for segment in range(len(segments)):
        ax, ay = segments[segment, 0], segments[segment, 1]
        bx, by = segments[segment, 2], segments[segment, 3]
        first = max(0, _cell_of(min(ax, bx) - reach - spare, west, per_unit))
        last = min(columns - 1, _cell_of(max(ax, bx) + reach + spare, west, per_unit))
        low = max(0, _cell_of(min(ay, by) - reach - spare, south, per_unit))
        high = min(lines - 1, _cell_of(max(ay, by) + reach + spare, south, per_unit))
        for row in range(low, high + 1):
            y0 = south + row * side - spare
            y1 = y0 + side + 2.0 * spare
            for column in range(first, last + 1):
                x0 = west + column * side - spare
                x1 = x0 + side + 2.0 * spare
                cell = row * columns + column
                if len(counts) == 0:
                    best[cell] = min(best[cell], _most_squared(ax, ay, bx, by, x0, y0, x1, y1))
                    continue
                least = _least_squared(ax, ay, bx, by, x0, y0, x1, y1)
                if least > best[cell] or least > (reach + spare) * (reach + spare):
                    continue
                if len(refs):
                    refs[starts[cell] + counts[cell]] = segment
                counts[cell] += 1


@compiled
def find_nearest(
    starts: I32,
    refs: I32,
    segments: F64,
    owners: I32,
    plan: F64,
    reach: float,
    x: F64,
    y: F64,
    found: I64,
    distances: F64,
) -> None:
    """The nearest feature within reach, the first one of a tie; -1 and NaN for none.

    Segments come in the order of their owners, so the first one found is the first one.
    The distance is worked out in GEOS's steps, so that it is the same number to the last bit.
    """
    west, south, east, north, per_unit = plan[0], plan[1], plan[2], plan[3], plan[4]
    columns = int(plan[5])
    for k in range(len(x)):
        px, py = x[k], y[k]
        found[k] = -1
        distances[k] = np.nan
        if not (west <= px <= east and south <= py <= north):
            continue
        cell = int((py - south) * per_unit) * columns + int((px - west) * per_unit)
        nearest = np.inf
        owner = -1
        for j in range(starts[cell], starts[cell + 1]):
            segment = refs[j]
            ax, ay = segments[segment, 0], segments[segment, 1]
            bx, by = segments[segment, 2], segments[segment, 3]
            dx, dy = bx - ax, by - ay
            length = dx * dx + dy * dy
            along = 0.0 if length == 0.0 else ((px - ax) * dx + (py - ay) * dy) / length
            if along <= 0.0:
                away = np.sqrt((px - ax) * (px - ax) + (py - ay) * (py - ay))
            elif along >= 1.0:
                away = np.sqrt((px - bx) * (px - bx) + (py - by) * (py - by))
            else:
                offset = ((ay - py) * dx - (ax - px) * dy) / length
                away = abs(offset) * np.sqrt(length)
            if away < nearest:
                nearest = away
                owner = owners[segment]
        if nearest <= reach:
            found[k] = owner
            distances[k] = nearest
