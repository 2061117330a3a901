"""The rule engine: observations and time in, edges out. Pure, in event time, no clock.

What a thing last said holds until it says otherwise: that makes an edge's instant a matter of
the thing's own observations alone. The watermark only decides when an edge becomes known, so
batch borders, partitions and restarts change nothing (docs/decisions/0006, 0007).

State is one array cell per thing (when it was last heard) and one small record per rule and
thing whose condition holds or just ended. Things not heard for :data:`FORGET_AFTER_S` are
forgotten; the rules' ``gone_after`` has by then ended whatever was still on.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from enum import IntEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.errors import DecodeError
from core.events import Edge, Event, Place, event_id
from core.observations import KEY_GROUPS, ObservationBatch, key_group
from core.units import NS_PER_S, seconds_to_ns
from scenarios.model import Comparison, Rule, Scenario, TagsView

#: Observations named by one event: the one it began with and the newest.
MAX_OBSERVATION_IDS = 8
#: Pictures carried by one event.
MAX_SNAPSHOTS = 4
#: A thing is forgotten after this much event time of silence.
FORGET_AFTER_S = 7 * 86400
#: A citizen may err; a case that only reports speak for says so.
REPORT_CONFIDENCE_RATIO = 0.5
REPORT_KIND = "report"
REPORT_TEXT_CHARS = 200

#: Version of the layout that :meth:`RuleEngine.dump` writes.
STATE_VERSION = 1

_SWEEP_EVERY_NS = seconds_to_ns(3600)
_CHINA_OFFSET_S = 8 * 3600
_NEVER_HEARD = np.iinfo(np.int64).min
_NEVER_OLD = np.iinfo(np.int64).max
_UNKNOWN, _OVER, _BETWEEN, _RAISING = -2, -1, 0, 1


class _Phase(IntEnum):
    PENDING = 1  # the condition holds, not yet for long enough
    ACTIVE = 2  # raised
    CLEARING = 3  # raised, and over, not yet for long enough
    ENDED = 4  # cleared; kept until the thing's next word, which may be late


class _Live(msgspec.Struct, array_like=True):
    """One thing under one rule, while there is something to remember."""

    thing_id: str
    source: str
    place: Place
    began_ns: int
    seen_ns: int
    value: float
    peak: float
    ids: list[str]
    snapshots: list[str]
    phase: int = _Phase.PENDING
    over_ns: int = 0
    edge_ns: int = 0
    still_ns: int = 0
    timer_ns: int = -1
    measure: str = ""


class _Group(msgspec.Struct, array_like=True):
    things: list[str]
    last: bytes
    live: dict[str, list[_Live]]


class _State(msgspec.Struct, array_like=True):
    version: int
    watermark_ns: int
    swept_ns: int
    late_count: int
    ignored_report_count: int
    groups: list[_Group]


class _Columns:
    """A batch as the rules ask for it, each column made once."""

    def __init__(self, batch: ObservationBatch, tags: TagsView) -> None:
        self.batch = batch
        self.tags = tags
        self.time_ns = batch.observed_ns
        self._placed: NDArray[np.bool_] | None = None
        self._measures: dict[str, NDArray[np.float64]] = {}
        self._labels: dict[str, dict[int, str]] = {}

    def placed(self) -> NDArray[np.bool_]:
        if self._placed is None:
            place = self.batch.place
            self._placed = ~(np.isnan(place[:, 0]) | np.isnan(place[:, 1]))
        return self._placed

    def place(self, row: int) -> Place:
        major, minor, azimuth = self.batch.place[row, 2:].tolist()
        return self.tags.place(
            row, error_major_m=major, error_minor_m=minor, error_azimuth_deg=azimuth
        )

    def label(self, name: str) -> dict[int, str]:
        found = self._labels.get(name)
        if found is None:
            found = self._labels[name] = self.batch.label(name)
        return found

    def measure(self, name: str) -> NDArray[np.float64]:
        """A measure of every row, shape (n,), NaN where a row has none."""
        dense = self._measures.get(name)
        if dense is None:
            dense = self._measures[name] = self.batch.dense_measure(name)
        return dense

    def first_measure(self, names: Sequence[str], rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """The first of the measures that a row has, NaN where it has none; shape of rows."""
        values = np.full(len(rows), np.nan)
        for name in reversed(names):
            chosen = self.measure(name)[rows]
            values = np.where(np.isfinite(chosen), chosen, values)
        return values

    def in_zone(self, kind: str, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """A camera that names the zone itself is believed: it saw the ground, not a position."""
        inside = self.tags.in_zone(kind)[rows]
        said = self.label("zone_kind")
        if said:
            inside = inside.copy()
            for position, row in enumerate(rows.tolist()):
                if text := said.get(row):
                    inside[position] = text == kind
        return inside

    def zone_known(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        known = self.placed()[rows]
        said = self.label("zone_kind")
        if said:
            known |= np.array([bool(said.get(row)) for row in rows.tolist()], np.bool_)
        return known


class RuleEngine:
    """Runs the rules of all scenarios over batches; deterministic.

    Args:
        scenarios: Whose rules to run.
        registered: Ids of registered things, for rules that ask.

    Attributes:
        late_count: Observations older than the newest of their thing; they change nothing.
        ignored_report_count: Reports of a scenario that is unknown or takes none.

    Example:
        >>> RuleEngine((), frozenset()).thing_count
        0
    """

    def __init__(self, scenarios: Iterable[Scenario], registered: frozenset[str]) -> None:
        ordered = sorted(scenarios, key=lambda scenario: scenario.id)
        self._pairs = [(scenario, rule) for scenario in ordered for rule in scenario.rules]
        self._reports = {one.id: one for one in ordered if one.accepts_reports}
        self._registered = registered
        kinds = sorted({rule.kind for _, rule in self._pairs})
        self._codes = {kind: code for code, kind in enumerate(kinds)}
        self._by_code: list[list[int]] = [[] for _ in kinds]
        for index, (_, rule) in enumerate(self._pairs):
            self._by_code[self._codes[rule.kind]].append(index)
        self._reset()

    def _reset(self) -> None:
        self.late_count = 0
        self.ignored_report_count = 0
        self._watermark_ns = 0
        self._swept_ns = 0
        self._live: list[dict[str, _Live]] = [{} for _ in self._pairs]
        self._timers: list[tuple[int, int, str]] = []
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._names: list[str] = []
        self._last = np.full(1024, _NEVER_OLD, np.int64)

    @property
    def thing_count(self) -> int:
        """Things remembered."""
        return len(self._slots)

    @property
    def live_count(self) -> int:
        """Conditions, by rule and thing, that hold or just ended."""
        return sum(len(live) for live in self._live)

    def process(self, batch: ObservationBatch, tags: TagsView) -> list[Event]:
        """Apply one batch.

        Args:
            batch: Observations without repeats, and in its stamp the watermark; may be empty.
            tags: What the map says of its rows.

        Returns:
            The edges that became known, by instant, then rule, then thing.
        """
        found: list[tuple[int, int, Event]] = []
        wall_ns = batch.stamp.wall_ns
        if len(batch):
            columns = _Columns(batch, tags)
            codes = np.fromiter(
                (self._codes.get(kind, -1) for kind in batch.kinds), np.int64, len(batch)
            )
            late = self._mark_late(batch, codes)
            for code in np.unique(codes[codes >= 0]).tolist():
                rows = np.flatnonzero((codes == code) & ~late)
                for index in self._by_code[code] if len(rows) else ():
                    self._apply(index, columns, rows, late, found, wall_ns)
            if REPORT_KIND in batch.kinds:
                self._report(columns, found, wall_ns)
            self.late_count += int(late.sum())
        if batch.stamp.watermark_ns > self._watermark_ns:
            self._watermark_ns = batch.stamp.watermark_ns
            self._fire_timers(found, wall_ns)
            if self._watermark_ns - self._swept_ns >= _SWEEP_EVERY_NS:
                self._sweep()
        found.sort(key=lambda one: (one[0], one[1], one[2].thing_id))
        return [event for _, _, event in found]

    def dump(self) -> bytes:
        """The whole state, by key group."""
        things: list[list[str]] = [[] for _ in range(KEY_GROUPS)]
        for thing_id in sorted(self._slots):
            things[key_group(thing_id)].append(thing_id)
        live: list[dict[str, list[_Live]]] = [{} for _ in range(KEY_GROUPS)]
        for (_, rule), states in zip(self._pairs, self._live, strict=True):
            for thing_id in sorted(states):
                one = msgspec.structs.replace(states[thing_id], timer_ns=-1)
                live[key_group(thing_id)].setdefault(rule.id, []).append(one)
        groups = [
            _Group(names, self._last[[self._slots[name] for name in names]].tobytes(), states)
            for names, states in zip(things, live, strict=True)
        ]
        state = _State(
            STATE_VERSION,
            self._watermark_ns,
            self._swept_ns,
            self.late_count,
            self.ignored_report_count,
            groups,
        )
        return msgspec.msgpack.encode(state)

    def load(self, data: bytes) -> None:
        """Take over a state that :meth:`dump` wrote; states of rules no longer there are left.

        Raises:
            DecodeError: ``bad_state``: the bytes are not such a state, or of another version.
        """
        try:
            state = msgspec.msgpack.decode(data, type=_State)
        except msgspec.MsgspecError as exc:
            raise DecodeError("bad_state", f"rule state of {len(data)} bytes: {exc}") from exc
        if state.version != STATE_VERSION:
            raise DecodeError(
                "bad_state", f"rule state: version {STATE_VERSION} was wanted, got {state.version}"
            )
        self._reset()
        self._watermark_ns, self._swept_ns = state.watermark_ns, state.swept_ns
        self.late_count = state.late_count
        self.ignored_report_count = state.ignored_report_count
        positions = {rule.id: index for index, (_, rule) in enumerate(self._pairs)}
        for group in state.groups:
            last_ns = np.frombuffer(group.last, np.int64)
            if len(last_ns) != len(group.things):
                raise DecodeError("bad_state", "rule state: a group's columns differ in length")
            for thing_id, last in zip(group.things, last_ns.tolist(), strict=True):
                slot = self._slot(thing_id)  # may grow the array, so it comes first
                self._last[slot] = last
            for rule_id, states in group.live.items():
                if rule_id in positions:
                    live = self._live[positions[rule_id]]
                    live.update((one.thing_id, one) for one in states)
        self._rebuild_timers()

    # ---- rows -------------------------------------------------------------------------------

    def _mark_late(self, batch: ObservationBatch, codes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Rows older than the newest of their thing, shape (n,); remembers the newest."""
        late = np.zeros(len(batch), np.bool_)
        rows = np.flatnonzero(codes >= 0)
        names = batch.thing_ids
        slots = np.fromiter((self._slot(names[row]) for row in rows.tolist()), np.int64, len(rows))
        times = batch.observed_ns[rows]
        order = np.argsort(slots, kind="stable")
        same = slots[order][1:] == slots[order][:-1]
        if np.any(same & (np.diff(times[order]) < 0)):
            for row, slot, time_ns in zip(
                rows.tolist(), slots.tolist(), times.tolist(), strict=True
            ):
                late[row] = time_ns < self._last[slot]
                self._last[slot] = max(self._last[slot], time_ns)
        else:
            late[rows] = times < self._last[slots]
            np.maximum.at(self._last, slots, times)
        return late

    def _slot(self, thing_id: str) -> int:
        slot = self._slots.get(thing_id)
        if slot is None:
            if self._free:
                slot = self._free.pop()
                self._names[slot] = thing_id
            else:
                slot = len(self._names)
                self._names.append(thing_id)
                if slot == len(self._last):
                    more = np.full_like(self._last, _NEVER_OLD)
                    self._last = np.concatenate([self._last, more])
            self._slots[thing_id] = slot
            self._last[slot] = _NEVER_HEARD
        return slot

    def _levels(
        self, rule: Rule, columns: _Columns, rows: NDArray[np.intp], *, any_live: bool
    ) -> NDArray[np.int8] | None:
        """What each row says of the condition: raising, between, over, or nothing.

        One condition that is known not to hold settles it; else one that is not known (no
        such measure, no position) makes the row say nothing. None when no row can matter.
        """
        over = np.zeros(len(rows), np.bool_)
        unknown = np.zeros(len(rows), np.bool_)
        raising = np.ones(len(rows), np.bool_)
        if rule.comparison is not None and rule.threshold is not None:
            values = columns.first_measure(rule.measures, rows)
            raising = _compare(values, rule.comparison, rule.threshold)
            # Nearly every batch of nearly every rule ends here; the rest costs ten times more.
            if not any_live and not raising.any():
                return None
            unknown = np.isnan(values)
            if rule.clear_level is None:
                over = ~raising & ~unknown
            elif rule.comparison.upward:
                over = values < rule.clear_level
            else:
                over = values > rule.clear_level
        for name, wanted in rule.labels.items():
            texts = columns.label(name)
            said = [texts.get(row) for row in rows.tolist()]
            unknown |= np.array([text is None for text in said], np.bool_)
            over |= np.array([text is not None and text != wanted for text in said], np.bool_)
        if rule.registered is not None:
            names = columns.batch.thing_ids
            over |= np.array(
                [(names[row] in self._registered) != rule.registered for row in rows.tolist()],
                np.bool_,
            )
        if rule.time_of_day is not None:
            second = (columns.time_ns[rows] // NS_PER_S + _CHINA_OFFSET_S) % 86400
            over |= ~rule.time_of_day.holds(second)
        if rule.in_zone is not None:
            known = columns.zone_known(rows)
            over |= known & ~columns.in_zone(rule.in_zone, rows)
            unknown |= ~known
        if rule.in_airspace is not None:
            inside = columns.tags.in_airspace(rule.in_airspace)[rows]
            unsure = columns.tags.airspace_unsure(rule.in_airspace)[rows] & ~inside
            known = columns.placed()[rows] & ~unsure
            over |= known & ~inside
            unknown |= ~known
        levels = np.where(raising, _RAISING, _BETWEEN)
        levels[unknown] = _UNKNOWN
        levels[over] = _OVER
        return levels.astype(np.int8)

    def _apply(
        self,
        index: int,
        columns: _Columns,
        rows: NDArray[np.intp],
        late: NDArray[np.bool_],
        found: list[tuple[int, int, Event]],
        wall_ns: int,
    ) -> None:
        """Run one rule over the rows of its kind; only those that matter cost Python."""
        _, rule = self._pairs[index]
        live = self._live[index]
        levels = self._levels(rule, columns, rows, any_live=bool(live))
        if levels is None:
            return
        names = columns.batch.thing_ids
        hot = {names[row] for row in rows[levels == _RAISING].tolist()}
        if not hot and not live:
            return
        for row, level in zip(rows.tolist(), levels.tolist(), strict=True):
            thing_id = names[row]
            if level == _UNKNOWN or (thing_id not in live and thing_id not in hot):
                continue
            time_ns = int(columns.time_ns[row])
            one = live.get(thing_id)
            if one is not None and time_ns < one.edge_ns:
                late[row] = True  # the watermark had passed it, and an edge was told since
                continue
            if one is not None:
                self._advance(index, one, time_ns, found, wall_ns)
            if one is None or one.phase == _Phase.ENDED:
                if one is not None and time_ns == one.began_ns:
                    continue  # a second raise of this instant would have the first one's id
                live.pop(thing_id, None)
                if level != _RAISING:
                    continue
                one = live[thing_id] = _Live(
                    thing_id=thing_id,
                    source=columns.batch.sources[row],
                    place=columns.place(row),
                    began_ns=time_ns,
                    seen_ns=time_ns,
                    value=math.nan,
                    peak=math.nan,
                    ids=[],
                    snapshots=[],
                )
            self._observe(index, one, columns, row, level, found, wall_ns)
            if one.phase == _Phase.PENDING and level != _RAISING:
                del live[thing_id]
            else:
                self._schedule(index, one)

    def _observe(
        self,
        index: int,
        one: _Live,
        columns: _Columns,
        row: int,
        level: int,
        found: list[tuple[int, int, Event]],
        wall_ns: int,
    ) -> None:
        """Apply one observation to a live condition whose timers have been advanced to it."""
        scenario, rule = self._pairs[index]
        batch, time_ns = columns.batch, int(columns.time_ns[row])
        if one.phase == _Phase.PENDING and level != _RAISING:
            return
        one.seen_ns = time_ns
        for name in rule.measures:
            if math.isfinite(value := float(columns.measure(name)[row])):
                _take_value(one, rule, name, value)
                break
        if len(one.ids) == MAX_OBSERVATION_IDS:
            del one.ids[1]
        one.ids.append(batch.ids[row])
        if pictures := batch.snapshots.get(row):
            one.snapshots = pictures[-MAX_SNAPSHOTS:]
        trigger = batch.ids[row]
        if one.phase == _Phase.PENDING:
            if time_ns - one.began_ns >= seconds_to_ns(rule.for_s):
                self._emit(index, one, Edge.RAISE, time_ns, trigger, found, wall_ns)
        elif level == _OVER:
            if one.phase == _Phase.ACTIVE:
                one.phase, one.over_ns = _Phase.CLEARING, time_ns
            if time_ns - one.over_ns >= seconds_to_ns(rule.clear_for_s):
                self._emit(index, one, Edge.CLEAR, time_ns, trigger, found, wall_ns)
        else:
            one.phase = _Phase.ACTIVE
            if time_ns >= one.still_ns and scenario.still_every_s > 0:
                self._emit(index, one, Edge.STILL, time_ns, trigger, found, wall_ns)

    def _report(self, columns: _Columns, found: list[tuple[int, int, Event]], wall_ns: int) -> None:
        """A citizen's report raises at once and keeps no state; its id makes it idempotent."""
        batch = columns.batch
        for row, kind in enumerate(batch.kinds):
            if kind != REPORT_KIND:
                continue
            scenario = self._reports.get(columns.label("scenario").get(row, ""))
            if scenario is None:
                self.ignored_report_count += 1
                continue
            time_ns, thing_id = int(columns.time_ns[row]), batch.thing_ids[row]
            words = columns.label("text").get(row, "").strip()[:REPORT_TEXT_CHARS]
            event = Event(
                id=event_id(
                    rule=scenario.report_rule,
                    thing_id=thing_id,
                    began_ns=time_ns,
                    edge=Edge.RAISE,
                    at_ns=time_ns,
                ),
                scenario=scenario.id,
                rule=scenario.report_rule,
                edge=Edge.RAISE,
                source=batch.sources[row],
                thing_id=thing_id,
                kind=REPORT_KIND,
                began_ns=time_ns,
                at_ns=time_ns,
                place=columns.place(row),
                because={"text": words} if words else {},
                confidence_ratio=REPORT_CONFIDENCE_RATIO,
                trigger_id=batch.ids[row],
                observation_ids=(batch.ids[row],),
                snapshots=tuple(batch.snapshots.get(row, ())[:MAX_SNAPSHOTS]),
                wall_ns=wall_ns,
            )
            found.append((time_ns, len(self._pairs), event))

    # ---- time -------------------------------------------------------------------------------

    def _next_ns(self, rule: Rule, one: _Live) -> int | None:
        """When a live condition changes by itself if its thing stays silent."""
        if one.phase == _Phase.PENDING and not rule.confirm:
            return one.began_ns + seconds_to_ns(rule.for_s)
        if one.phase == _Phase.CLEARING:
            return one.over_ns + seconds_to_ns(rule.clear_for_s)
        if one.phase == _Phase.ENDED:
            return None
        return one.seen_ns + seconds_to_ns(rule.gone_after_s)

    def _advance(
        self,
        index: int,
        one: _Live,
        until_ns: int,
        found: list[tuple[int, int, Event]],
        wall_ns: int,
    ) -> None:
        """Let everything happen that is due before an instant.

        Not what is due at the instant itself: an observation of that instant has the word.
        """
        _, rule = self._pairs[index]
        while (due_ns := self._next_ns(rule, one)) is not None and due_ns < until_ns:
            if one.phase == _Phase.PENDING and rule.confirm:
                one.phase, one.edge_ns = _Phase.ENDED, due_ns
            elif one.phase == _Phase.PENDING:
                self._emit(index, one, Edge.RAISE, due_ns, "", found, wall_ns)
            else:
                self._emit(index, one, Edge.CLEAR, due_ns, "", found, wall_ns)

    def _emit(
        self,
        index: int,
        one: _Live,
        edge: Edge,
        at_ns: int,
        trigger_id: str,
        found: list[tuple[int, int, Event]],
        wall_ns: int,
    ) -> None:
        scenario, rule = self._pairs[index]
        because = _because(rule, one, edge, at_ns)
        one.edge_ns = at_ns
        one.phase = _Phase.ENDED if edge is Edge.CLEAR else _Phase.ACTIVE
        one.still_ns = at_ns + seconds_to_ns(scenario.still_every_s)
        event = Event(
            id=event_id(
                rule=rule.id, thing_id=one.thing_id, began_ns=one.began_ns, edge=edge, at_ns=at_ns
            ),
            scenario=scenario.id,
            rule=rule.id,
            edge=edge,
            source=one.source,
            thing_id=one.thing_id,
            kind=rule.kind,
            began_ns=one.began_ns,
            at_ns=at_ns,
            place=one.place,
            because=because,
            confidence_ratio=rule.confidence_ratio,
            trigger_id=trigger_id,
            observation_ids=tuple(one.ids),
            snapshots=tuple(one.snapshots),
            wall_ns=wall_ns,
        )
        found.append((at_ns, index, event))

    def _schedule(self, index: int, one: _Live) -> None:
        """Keep at most one valid timer per live condition; a later due time waits its turn."""
        due_ns = self._next_ns(self._pairs[index][1], one)
        if due_ns is not None and (one.timer_ns < 0 or due_ns < one.timer_ns):
            one.timer_ns = due_ns
            heapq.heappush(self._timers, (due_ns, index, one.thing_id))

    def _fire_timers(self, found: list[tuple[int, int, Event]], wall_ns: int) -> None:
        while self._timers and self._timers[0][0] < self._watermark_ns:
            due_ns, index, thing_id = heapq.heappop(self._timers)
            one = self._live[index].get(thing_id)
            if one is None or one.timer_ns != due_ns:
                continue
            one.timer_ns = -1
            self._advance(index, one, self._watermark_ns, found, wall_ns)
            self._schedule(index, one)
        # Timers of conditions that ended early stay until due; beyond this many they go at once.
        if len(self._timers) > 2 * self.live_count + 1024:
            self._rebuild_timers()

    def _rebuild_timers(self) -> None:
        self._timers = []
        for index, live in enumerate(self._live):
            for one in live.values():
                one.timer_ns = -1
                self._schedule(index, one)

    def _sweep(self) -> None:
        """Forget things silent for :data:`FORGET_AFTER_S`; runs once an event-time hour."""
        self._swept_ns = self._watermark_ns
        oldest_ns = self._watermark_ns - seconds_to_ns(FORGET_AFTER_S)
        for slot in np.flatnonzero(self._last < oldest_ns).tolist():
            thing_id = self._names[slot]
            states = [live.get(thing_id) for live in self._live]
            if any(one is not None and one.phase != _Phase.ENDED for one in states):
                continue
            self._free.append(self._slots.pop(thing_id))
            self._last[slot] = _NEVER_OLD
            for live in self._live:
                live.pop(thing_id, None)


def _compare(
    values: NDArray[np.float64], comparison: Comparison, threshold: float
) -> NDArray[np.bool_]:
    """Hold measures against a threshold, shape (n,); NaN never holds."""
    if comparison is Comparison.AT_LEAST:
        return values >= threshold
    if comparison is Comparison.ABOVE:
        return values > threshold
    if comparison is Comparison.AT_MOST:
        return values <= threshold
    return values < threshold


def _take_value(one: _Live, rule: Rule, name: str, value: float) -> None:
    one.measure, one.value = name, value
    upward = rule.comparison is not None and rule.comparison.upward
    if math.isnan(one.peak) or (value > one.peak if upward else value < one.peak):
        one.peak = value


def _because(rule: Rule, one: _Live, edge: Edge, at_ns: int) -> dict[str, str | float]:
    """The facts a person is told of an edge."""
    facts: dict[str, str | float] = {
        "for_s": rule.for_s,
        "held_s": (at_ns - one.began_ns) / NS_PER_S,
    }
    if rule.comparison is not None and rule.threshold is not None:
        facts["measure"] = one.measure or rule.measures[0]
        facts["comparison"] = rule.comparison.value
        facts["threshold"] = rule.threshold
        if not math.isnan(one.value):
            facts["value"] = one.value
            facts["peak"] = one.peak
        if rule.clear_level is not None:
            facts["clear_level"] = rule.clear_level
    if rule.in_zone is not None:
        facts["zone"] = rule.in_zone
    if rule.in_airspace is not None:
        facts["airspace"] = rule.in_airspace
    if rule.registered is not None:
        facts["registered"] = "yes" if rule.registered else "no"
    facts.update({f"label_{name}": text for name, text in rule.labels.items()})
    if edge is Edge.CLEAR:
        facts["ended"] = "over" if one.phase == _Phase.CLEARING else "silence"
    return facts
