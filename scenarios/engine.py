"""The rule engine: observations and time in, edges out. Pure, in event time, no clock.

What a thing last said holds until it says otherwise: that makes an edge's instant a matter of
the thing's own observations alone. The watermark only decides when an edge becomes known, so
batch borders, partitions and restarts change nothing (docs/decisions/0006, 0007).

State is columns (:mod:`scenarios.kernels`): one cell per thing (when it was last heard) and one
entry per rule and thing that the rule remembers something of. Things not heard for
:data:`FORGET_AFTER_S` are forgotten; the rules' ``gone_after`` has by then ended whatever was
still on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.errors import DecodeError
from core.events import Edge, Event, Place, event_id
from core.observations import KEY_GROUPS, ObservationBatch, key_group
from core.units import NS_PER_S, seconds_to_ns
from scenarios import kernels
from scenarios.columns import RuleColumns
from scenarios.kernels import MAX_OBSERVATION_IDS, Edges, Rounds, Rows
from scenarios.model import Rule, Scenario, TagsView
from scenarios.opinion import opinion_of, weighed
from scenarios.rule_state import KEPT_COLUMNS, STATE_VERSION, RuleState, decode_state
from scenarios.rule_table import compile_rules

__all__ = ["MAX_OBSERVATION_IDS", "RuleEngine"]

#: Pictures carried by one event.
MAX_SNAPSHOTS = 4
#: A thing is forgotten after this much event time of silence.
FORGET_AFTER_S = 7 * 86400
#: A citizen may err; a case that only reports speak for says so.
REPORT_CONFIDENCE_RATIO = 0.5
REPORT_KIND = "report"
REPORT_TEXT_CHARS = 200

_SWEEP_EVERY_NS = seconds_to_ns(3600)
_NEVER_HEARD = np.iinfo(np.int64).min
_NEVER_OLD = np.iinfo(np.int64).max
_EDGES = (Edge.RAISE, Edge.STILL, Edge.CLEAR)


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
        self._compiled = compile_rules(ordered)
        self._reports = {one.id: one for one in ordered if one.accepts_reports}
        self._registered_ids = registered
        table = self._compiled.table
        self._most_rules = int((table.k1 - table.k0).max(initial=0))
        self._reset()

    def _reset(self) -> None:
        self._scratch = np.full(len(self._compiled.rules), -1, np.int32)
        self._out = kernels.empty_edges(
            kernels.EDGES_A_ROW * self._most_rules + 4 * kernels.BLOCK,
            3 * self._most_rules + 4096,
        )
        self.late_count = 0
        self.ignored_report_count = 0
        self._watermark_ns = 0
        self._swept_ns = 0
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._names: list[str] = []
        self._last = np.full(1024, _NEVER_OLD, np.int64)
        self._group = np.zeros(1024, np.uint8)
        self._changed = np.zeros(1024, np.bool_)
        self._gone: dict[str, int] = {}  # thing to key group
        self._head = np.full(1024, -1, np.int32)
        self._registered = np.zeros(1024, np.bool_)
        self._live = kernels.empty_live(1024, 64)
        self._meta = np.zeros(kernels.META, np.int64)
        self._sources: dict[str, int] = {}
        self._places: list[Place | None] = [None] * 1024
        self._snapshots: dict[int, list[str]] = {}

    @property
    def thing_count(self) -> int:
        """Things remembered."""
        return len(self._slots)

    @property
    def live_count(self) -> int:
        """Entries, by rule and thing, of what holds, just ended, or fills a window."""
        return int(self._meta[kernels.TOP] - self._meta[kernels.FREED])

    def warm_up(self) -> None:
        """Compile the kernels before the first batch needs them; changes nothing.

        The first start on a machine takes some seconds, later ones load from a cache.
        """
        for _ in self._run(_no_rows(), Rounds(np.zeros(1, np.int64), np.zeros(1, np.int64))):
            pass

    def process(self, batch: ObservationBatch, tags: TagsView) -> list[Event]:
        """Apply one batch.

        Args:
            batch: Observations without repeats, and in its stamp the watermark; may be empty.
            tags: What the map says of its rows.

        Returns:
            The edges that became known, by instant, then rule, then thing.
        """
        return [event for events in self.process_rounds(batch, tags) for event in events]

    def process_rounds(self, batch: ObservationBatch, tags: TagsView) -> list[list[Event]]:
        """Apply the rounds of a batch one after the other, time passing after each.

        Args:
            batch: Observations without repeats; may be empty.
            tags: What the map says of its rows.

        Returns:
            For each round the edges that became known with it, by instant, then rule, then thing.
        """
        table = batch.round_table
        found: list[tuple[int, int, int, Event]] = []
        columns: RuleColumns | None = None
        rows, ends = _no_rows(), np.zeros(len(table), np.int64)
        late = np.zeros(0, np.bool_)
        if len(batch):
            kinds = {kind: self._compiled.kinds.get(kind, -1) for kind in set(batch.kinds)}
            codes = np.array(list(map(kinds.__getitem__, batch.kinds)), np.int32)
            slots, late = self._mark_late(batch, codes)
            columns = RuleColumns(batch, tags, self._registered[slots] & (slots >= 0))
            if np.any((codes >= 0) & ~late):
                rows, ends = self._rows(columns, codes, slots, late), table[:, 0].copy()
            if REPORT_KIND in batch.kinds:
                self._report(columns, found)
        rounds = Rounds(ends=ends, watermarks_ns=table[:, 2].copy())
        for _ in self._run(rows, rounds):
            self._take_edges(batch, columns, found)
            self._keep_touched(batch, columns)
        self.late_count += int(late.sum())  # the kernel marks those that time has overtaken
        self._watermark_ns = max(self._watermark_ns, int(rounds.watermarks_ns.max()))
        if self._watermark_ns - self._swept_ns >= _SWEEP_EVERY_NS:
            self._sweep()
        found.sort(key=lambda one: (one[0], one[1], one[2], one[3].thing_id))
        told: list[list[Event]] = [[] for _ in table]
        for number, _, _, event in found:
            told[number].append(event)
        return told

    def _rows(
        self,
        columns: RuleColumns,
        codes: NDArray[np.int32],
        slots: NDArray[np.int32],
        late: NDArray[np.bool_],
    ) -> Rows:
        batch, compiled = columns.batch, self._compiled
        pictured = np.zeros(len(batch), np.bool_)
        pictured[list(batch.snapshots)] = True
        for one in dict.fromkeys(batch.sources):
            self._sources.setdefault(one, len(self._sources))
        sources = list(map(self._sources.__getitem__, batch.sources))
        return Rows(
            kind=codes,
            slot=slots,
            observed_ns=batch.observed_ns.copy(),  # writable like all: the kernels know one type
            late=late,
            measures=columns.measures(compiled.measures),
            answers=columns.answers(compiled.tests),
            hashes=columns.text_hashes(compiled.distinct),
            source=np.array(sources, np.int32),
            ids=np.frombuffer(bytes.fromhex("".join(batch.ids)), np.uint64).reshape(-1, 2).copy(),
            pictured=pictured,
        )

    def _run(self, rows: Rows, rounds: Rounds) -> Iterator[None]:
        """Call the kernel until it is through; its edges must be taken away after each call."""
        done = np.zeros(kernels.DONE, np.int64)
        done[kernels.PASSED_NS] = self._watermark_ns
        while done[kernels.ROUND] < len(rounds.ends):
            self._make_room()
            kernels.run_rounds(
                self._compiled.table,
                self._live,
                self._head,
                self._meta,
                self._out,
                self._scratch,
                self._changed,
                rows,
                rounds,
                done,
            )
            yield
            self._meta[kernels.OUT] = self._meta[kernels.TOUCHED] = 0

    def _keep_touched(self, batch: ObservationBatch, columns: RuleColumns | None) -> None:
        """Keep place and pictures of the entries that rows of the batch were about."""
        out, live, meta = self._out, self._live, self._meta
        for entry in set(out.touched[: meta[kernels.TOUCHED]].tolist()):
            if live.phase[entry] == kernels.FREE:
                continue
            if (row := int(live.place_row[entry])) >= 0:
                assert columns is not None
                self._places[entry] = columns.place(row)
                live.place_row[entry] = kernels.KEPT
            if (row := int(live.snap_row[entry])) >= 0:
                self._snapshots[entry] = batch.snapshots[row][-MAX_SNAPSHOTS:]
                live.snap_row[entry] = kernels.KEPT
            elif row == kernels.NONE:
                self._snapshots.pop(entry, None)

    def _take_edges(
        self,
        batch: ObservationBatch,
        columns: RuleColumns | None,
        found: list[tuple[int, int, int, Event]],
    ) -> None:
        """Turn the kernel's edges into events."""
        out, compiled = self._out, self._compiled
        sources = list(self._sources)
        for n in range(int(self._meta[kernels.OUT])):
            entry, index = int(out.entry[n]), int(out.rule[n])
            rule, scenario = compiled.rules[index], compiled.scenarios[index]
            edge, at_ns, began_ns = _EDGES[out.edge[n]], int(out.at_ns[n]), int(out.began_ns[n])
            thing_id = self._names[out.slot[n]]
            place_row, snap_row, trigger = (
                int(out.place_row[n]),
                int(out.snap_row[n]),
                int(out.trigger[n]),
            )
            place = columns.place(place_row) if columns and place_row >= 0 else self._places[entry]
            pictures: list[str] = []
            if snap_row >= 0:
                pictures = batch.snapshots[snap_row][-MAX_SNAPSHOTS:]
            elif snap_row == kernels.KEPT:
                pictures = self._snapshots.get(entry, [])
            ids = out.ids[n].tobytes().hex()
            because, confidence = _because(rule, out, n), rule.confidence_ratio
            if trigger >= 0 and "opinion_ratio" in batch.measures:
                opinion = opinion_of(batch, trigger)
                because |= opinion
                if opinion:
                    confidence = weighed(confidence, float(opinion["opinion_ratio"]))
            event = Event(
                id=event_id(
                    rule=rule.id, thing_id=thing_id, began_ns=began_ns, edge=edge, at_ns=at_ns
                ),
                scenario=scenario.id,
                rule=rule.id,
                edge=edge,
                source=sources[out.source[n]],
                thing_id=thing_id,
                kind=rule.kind,
                began_ns=began_ns,
                at_ns=at_ns,
                place=place or Place(unplaced="no_position"),
                because=because,
                confidence_ratio=confidence,
                trigger_id=batch.ids[trigger] if trigger >= 0 else "",
                observation_ids=tuple(ids[32 * k : 32 * k + 32] for k in range(out.id_count[n])),
                snapshots=tuple(pictures),
                wall_ns=batch.stamp.wall_ns,
            )
            found.append((int(out.round[n]), at_ns, index, event))

    def _report(self, columns: RuleColumns, found: list[tuple[int, int, int, Event]]) -> None:
        """A citizen's report raises at once and keeps no state; its id makes it idempotent."""
        batch = columns.batch
        scenarios, texts = batch.label("scenario"), batch.label("text")
        ends = batch.round_table[:, 0]
        for row, kind in enumerate(batch.kinds):
            if kind != REPORT_KIND:
                continue
            scenario = self._reports.get(scenarios.get(row, ""))
            if scenario is None:
                self.ignored_report_count += 1
                continue
            time_ns, thing_id = int(batch.observed_ns[row]), batch.thing_ids[row]
            words = texts.get(row, "").strip()[:REPORT_TEXT_CHARS]
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
                wall_ns=batch.stamp.wall_ns,
            )
            number = int(np.searchsorted(ends, row, side="right"))
            found.append((number, time_ns, len(self._compiled.rules), event))

    # ---- things -----------------------------------------------------------------------------

    def _mark_late(
        self, batch: ObservationBatch, codes: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Slots of the things, and rows older than the newest of their thing, each (n,).

        Remembers the newest. Rows that no rule asks for have slot -1.
        """
        late = np.zeros(len(batch), np.bool_)
        all_slots = np.full(len(batch), -1, np.int32)
        rows = np.flatnonzero(codes >= 0)
        names = list(map(batch.thing_ids.__getitem__, rows.tolist()))
        some = list(map(self._slots.get, names))
        if None in some:
            some = list(map(self._slot, names))
        # Slots first: a new one may grow the arrays.
        slots = all_slots[rows] = np.array(some, np.int32)
        self._changed[slots] = True
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
        return all_slots, late

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
                    self._last = _grown(self._last, _NEVER_OLD)
                    self._group = _grown(self._group, 0)
                    self._changed = _grown(self._changed, False)
                    self._head = _grown(self._head, -1)
                    self._registered = _grown(self._registered, False)
            self._slots[thing_id] = slot
            self._last[slot] = _NEVER_HEARD
            self._group[slot] = key_group(thing_id)
            self._registered[slot] = thing_id in self._registered_ids
        return slot

    def _sweep(self) -> None:
        """Forget things silent for :data:`FORGET_AFTER_S`; runs once an event-time hour."""
        self._swept_ns = self._watermark_ns
        oldest_ns = self._watermark_ns - seconds_to_ns(FORGET_AFTER_S)
        slots = np.flatnonzero(self._last < oldest_ns)
        forgotten = np.empty(len(slots), np.bool_)
        kernels.forget(self._live, self._head, self._meta, slots, forgotten)
        for slot in slots[forgotten].tolist():
            self._gone[self._names[slot]] = int(self._group[slot])
            self._free.append(self._slots.pop(self._names[slot]))
            self._last[slot] = _NEVER_OLD
            self._changed[slot] = False

    def _make_room(self) -> None:
        """Room for one more row's entries and windows."""
        live, meta, most = self._live, self._meta, self._most_rules
        entries, rings = len(live.slot), len(live.ring_count)
        if entries - meta[kernels.TOP] + meta[kernels.FREED] < most:
            entries = max(2 * entries, entries + most)
        if rings - meta[kernels.RING_TOP] + meta[kernels.RING_FREED] < most:
            rings = max(2 * rings, rings + most)
        if (entries, rings) == (len(live.slot), len(live.ring_count)):
            return
        grown = kernels.empty_live(entries, rings)
        for name in kernels.Live._fields:
            old = getattr(live, name)
            getattr(grown, name)[: len(old)] = old
        self._live = grown
        self._places += [None] * (entries - len(self._places))

    # ---- checkpoints ------------------------------------------------------------------------

    def group_sizes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Things of each key group, and how many changed or went since written, each (64,)."""
        used = self._group[self._last != _NEVER_OLD]
        gone = np.fromiter(self._gone.values(), np.uint8, len(self._gone))
        changed = np.concatenate([self._group[self._changed], gone])
        return (
            np.bincount(used, minlength=KEY_GROUPS),
            np.bincount(changed, minlength=KEY_GROUPS),
        )

    def dump(self) -> bytes:
        """The whole state; nothing counts as written by it."""
        return self._dump(np.flatnonzero(self._last != _NEVER_OLD), self._gone)

    def twin(self, wanted: Callable[[str], bool]) -> Self:
        """An engine of the same rules with the state of some things, to try something out on.

        Args:
            wanted: Whether a thing, by its id, is one of them.
        """
        slots = sorted(slot for thing_id, slot in self._slots.items() if wanted(thing_id))
        twin = copy(self)
        twin.load(self._dump(np.array(slots, np.int64), ()))
        return twin

    def write_group(self, group: int) -> bytes:
        """The state of a key group's things, which thereby do not count as changed any more."""
        slots = np.flatnonzero((self._last != _NEVER_OLD) & (self._group == group))
        self._changed[slots] = False
        return self._dump(slots, ())

    def write_changed(self) -> bytes:
        """The state of the things that changed since they were written, and which are gone."""
        slots = np.flatnonzero(self._changed)
        self._changed[:] = False
        gone, self._gone = self._gone, {}
        return self._dump(slots, gone)

    def mark_written(self) -> None:
        """Take it that the state is written as it is."""
        self._changed[:] = False
        self._gone = {}

    def _dump(self, slots: NDArray[np.int64], gone: Iterable[str]) -> bytes:
        live, top = self._live, int(self._meta[kernels.TOP])
        new_slot = np.full(len(self._last), -1, np.int32)
        new_slot[slots] = np.arange(len(slots))
        entries = np.flatnonzero(
            (live.phase[:top] != kernels.FREE) & (new_slot[live.slot[:top]] >= 0)
        )
        entries = entries[np.lexsort((live.rule[entries], live.slot[entries]))]
        columns = {name: getattr(live, name)[entries] for name in KEPT_COLUMNS}
        columns["slot"] = new_slot[columns["slot"]]
        # What lies behind the ends is left from entries before; equal states give equal bytes.
        columns["ids"] = _cut(columns["ids"], 2 * columns["id_count"])
        rings = live.ring[entries]
        ringed = np.flatnonzero(rings >= 0)
        some = rings[ringed]
        pictured = np.flatnonzero(columns["snap_row"] == kernels.KEPT).tolist()
        on = (columns["phase"] != kernels.WATCHING).tolist()
        return msgspec.msgpack.encode(
            RuleState(
                version=STATE_VERSION,
                watermark_ns=self._watermark_ns,
                swept_ns=self._swept_ns,
                late_count=self.late_count,
                ignored_report_count=self.ignored_report_count,
                things=[self._names[slot] for slot in slots.tolist()],
                groups=self._group[slots].tobytes(),
                last_ns=self._last[slots].tobytes(),
                gone=list(gone),
                rules=[rule.id for rule in self._compiled.rules],
                sources=list(self._sources),
                columns={name: column.tobytes() for name, column in columns.items()},
                places=[
                    self._places[n] if held else None
                    for n, held in zip(entries.tolist(), on, strict=True)
                ],
                snapshots={n: self._snapshots.get(int(entries[n]), []) for n in pictured},
                ring_of=ringed.tobytes(),
                ring_ns=_cut(live.ring_ns[some], live.ring_count[some]).tobytes(),
                ring_value=_cut(live.ring_value[some], live.ring_count[some]).tobytes(),
                ring_count=live.ring_count[some].tobytes(),
            )
        )

    def load(self, data: bytes) -> None:
        """Take over what :meth:`dump` wrote, see :meth:`take_over`."""
        self.take_over(decode_state(data))

    def take_over(self, state: RuleState) -> None:
        """Go on from a state, all of which counts as changed; what rules no longer there
        remembered is left.

        Raises:
            DecodeError: ``bad_state``: its columns do not fit each other.
        """
        self._reset()
        self._watermark_ns, self._swept_ns = state.watermark_ns, state.swept_ns
        self.late_count = state.late_count
        self.ignored_report_count = state.ignored_report_count
        try:
            self._load_things(state)
            self._load_entries(state)
        except (ValueError, IndexError, KeyError) as exc:
            raise DecodeError("bad_state", f"rule state: columns do not fit: {exc}") from exc

    def _load_things(self, state: RuleState) -> None:
        count = len(state.things)
        room = 1024
        while room < count:
            room *= 2
        self._names = list(state.things)
        self._slots = dict(zip(self._names, range(count), strict=True))
        self._head = np.full(room, -1, np.int32)
        self._last = np.full(room, _NEVER_OLD, np.int64)
        self._last[:count] = np.frombuffer(state.last_ns, np.int64)
        self._group = np.zeros(room, np.uint8)
        self._group[:count] = np.frombuffer(state.groups, np.uint8)
        self._registered = np.zeros(room, np.bool_)
        self._registered[:count] = [one in self._registered_ids for one in self._names]
        self._changed = np.arange(room) < count
        self._gone = {one: key_group(one) for one in state.gone}

    def _load_entries(self, state: RuleState) -> None:
        self._sources = {source: code for code, source in enumerate(state.sources)}
        index = {rule.id: n for n, rule in enumerate(self._compiled.rules)}
        new_rule = np.array([index.get(one, -1) for one in state.rules], np.int32)
        columns = {name: state.column(name) for name in KEPT_COLUMNS}
        rules = columns["rule"] = new_rule[columns["rule"]]
        kept = np.flatnonzero(rules >= 0)
        count = len(kept)
        ring_of, ring_ns, ring_value, ring_count = state.rings
        rings = np.full(len(rules), -1, np.int32)
        rings[ring_of] = np.arange(len(ring_of))
        size = 1024
        while size < count + self._most_rules:
            size *= 2
        self._live = live = kernels.empty_live(size, max(64, len(ring_of) + self._most_rules))
        self._places = [None] * size
        for name, column in columns.items():
            getattr(live, name)[:count] = column[kept]
        live.ring[:count] = rings[kept]
        live.ring_ns[: len(ring_of)] = ring_ns
        live.ring_value[: len(ring_of)] = ring_value
        live.ring_count[: len(ring_of)] = ring_count
        live.place_row[:count] = kernels.KEPT
        for entry, old in enumerate(kept.tolist()):
            self._places[entry] = state.places[old]
            if old in state.snapshots:
                self._snapshots[entry] = state.snapshots[old]
        self._meta[kernels.TOP], self._meta[kernels.RING_TOP] = count, len(ring_of)
        kernels.link(self._compiled.table, live, self._head, self._meta)


def _no_rows() -> Rows:
    none = np.zeros(0, np.int32)
    return Rows(
        kind=none,
        slot=none,
        observed_ns=np.zeros(0, np.int64),
        late=np.zeros(0, np.bool_),
        measures=np.zeros((0, 1)),
        answers=np.zeros((0, 1), np.int8),
        hashes=np.zeros((0, 1)),
        source=none,
        ids=np.zeros((0, 2), np.uint64),
        pictured=np.zeros(0, np.bool_),
    )


def _grown(column: NDArray[Any], fill: Any) -> NDArray[Any]:
    return np.concatenate([column, np.full_like(column, fill)])


def _cut(rows: NDArray[Any], lengths: NDArray[np.int32]) -> NDArray[Any]:
    """Rows with zeros behind their ends."""
    return np.where(np.arange(rows.shape[1]) < lengths[:, None], rows, 0).astype(rows.dtype)


def _because(rule: Rule, out: Edges, n: int) -> dict[str, str | float]:
    """The facts a person is told of an edge."""
    facts: dict[str, str | float] = {
        "for_s": rule.for_s,
        "held_s": int(out.at_ns[n] - out.began_ns[n]) / NS_PER_S,
    }
    if rule.comparison is not None and rule.threshold is not None:
        measure = int(out.measure[n])
        facts["measure"] = rule.measures[max(0, measure)]
        facts["comparison"] = rule.comparison.value
        facts["threshold"] = rule.threshold
        if measure >= 0:
            facts["value"] = float(out.value[n])
            facts["peak"] = float(out.peak[n])
        if rule.clear_level is not None:
            facts["clear_level"] = rule.clear_level
    if rule.rate is not None:
        facts |= {"per_s": rule.rate.per_s, "over_s": rule.rate.over_s}
    if rule.count is not None:
        facts |= {"count": float(rule.count.at_least), "within_s": rule.count.within_s}
    if rule.sequence is not None:
        facts["within_s"] = rule.sequence.within_s
    if rule.absent:
        facts["absent_s"] = rule.for_s
    if rule.in_zone:
        facts["zone"] = ", ".join(rule.in_zone)
    if rule.in_airspace is not None:
        facts["airspace"] = rule.in_airspace
    if rule.registered is not None:
        facts["registered"] = "yes" if rule.registered else "no"
    facts.update({f"label_{name}": ", ".join(texts) for name, texts in rule.labels.items()})
    if out.edge[n] == kernels.CLEAR:
        facts["ended"] = "over" if out.over[n] else "silence"
    return facts
