"""The rule engine against a plain Python matcher: ``make bench-rules``.

500 rules of one kind, batches of 512 observations of 512 things. Every observation meets at
least 20 rules, of which at least five hold a pending ``for``; now and then
one jumps, so that edges keep coming. The peer is what one writes first: for each
row and rule a compiled Python expression and a dictionary of states. Both must tell the same
edges, to the nanosecond. The figure for DuckDB is the comparisons alone, without any state.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from types import CodeType

import duckdb
import numpy as np

from benchmarks.harness import Figure, against, at_most, median_seconds, publish
from core.events import Edge, Event, Place
from core.incidents import Severity, Text
from core.observations import MAX_BATCH, Observation, ObservationBatch, Stamp, pack
from core.units import NS_PER_S, seconds_to_ns
from scenarios.engine import RuleEngine
from scenarios.model import (
    Category,
    CategoryKind,
    Comparison,
    Correlate,
    Deadline,
    Domain,
    Route,
    Rule,
    Scenario,
)

RULES = 500
MEASURES = 10
GOAL_MS = 5.0
#: So many rules are met by an ordinary reading, and so many of them wait out a ``for``.
MET, HELD = 24, 8
_START_NS = 1_767_225_600 * NS_PER_S
_CATEGORY = Category(system="own", kind=CategoryKind.OWN, code="XX-01", name=Text("", ""))


class NoMap:
    """Says of every row that it is nowhere in particular."""

    def __init__(self, rows: int) -> None:
        self._none = np.zeros(rows, np.bool_)

    def in_zone(self, kind: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """No row lies in a zone."""
        return self._none

    in_airspace = airspace_unsure = in_zone

    def place(self, row: int, **errors: float | None) -> Place:
        """One place for all."""
        return Place(lon_deg=120.38, lat_deg=36.06)


def rules() -> list[Rule]:
    """Rules over ten measures; an ordinary reading of 50 meets the first ``MET`` of them."""
    made = []
    for number in range(RULES):
        threshold = 20.0 + number % 20 if number < MET else 70.0 + number % 30
        for_s = 0.0
        if number < HELD:
            for_s = 86400.0  # waits for a day: pending throughout
        elif number % 3 == 0:
            for_s = 5.0
        made.append(
            Rule(
                id=f"bench/r{number:03d}",
                kind="reading",
                measures=(f"m{number % MEASURES}",),
                comparison=Comparison.AT_LEAST,
                threshold=threshold,
                clear_level=threshold - 5.0,
                for_s=for_s,
                gone_after_s=7 * 86400.0,
            )
        )
    return made


def scenario_of(some: list[Rule]) -> Scenario:
    """One scenario that holds them all."""
    words = Text("", "")
    return Scenario(
        id="bench",
        name=words,
        domain=Domain.URBAN,
        purpose=words,
        category=_CATEGORY,
        department=words,
        severity=Severity.MINOR,
        rules=tuple(some),
        correlate=Correlate(),
        deadline=Deadline(duration_s=3600),
        route=Route(),
        closes_when=words,
    )


def batches(count: int) -> list[ObservationBatch]:
    """A day's beginning: each thing reads once a second, most readings near 50."""
    random = np.random.default_rng(7)
    made = []
    for second in range(count):
        levels = np.full((MAX_BATCH, MEASURES), 50.0) + random.normal(0, 0.5, (MAX_BATCH, MEASURES))
        for thing in np.flatnonzero(random.random(MAX_BATCH) < 0.004).tolist():
            levels[thing, random.integers(MEASURES)] = random.uniform(0.0, 100.0)
        at_ns = _START_NS + second * NS_PER_S
        rows = [
            Observation(
                source="bench",
                thing_id=f"t-{thing:04d}",
                kind="reading",
                observed_ns=at_ns,
                received_ns=at_ns,
                lon_deg=120.38,
                lat_deg=36.06,
                measures={f"m{k}": float(levels[thing, k]) for k in range(MEASURES)},
            )
            for thing in range(MAX_BATCH)
        ]
        stamp = Stamp(
            ingest_id="bench", sequence=second, partition=0, watermark_ns=at_ns, logged_ns=at_ns
        )
        made.append(pack(rows, stamp))
    return made


def in_short(events: list[Event]) -> list[tuple[str, str, str, int]]:
    """What of an event must agree."""
    return sorted((one.rule, one.thing_id, str(one.edge), one.at_ns) for one in events)


class PlainMatcher:
    """The peer: expressions and dictionaries, a row and a rule at a time."""

    def __init__(self, some: list[Rule], still_every_s: float) -> None:
        self._rules = [(rule, *self._expressions(rule)) for rule in some]
        self._still_ns = seconds_to_ns(still_every_s)
        # Of what holds: since when, whether it was raised, when it is next told.
        self._states: dict[tuple[str, str], tuple[int, bool, int]] = {}

    @staticmethod
    def _expressions(rule: Rule) -> tuple[CodeType, CodeType, int]:
        name = rule.measures[0]
        return (
            compile(f"{name} >= {rule.threshold!r}", rule.id, "eval"),
            compile(f"{name} < {rule.clear_level!r}", rule.id, "eval"),
            seconds_to_ns(rule.for_s),
        )

    def process(self, batch: ObservationBatch) -> list[tuple[str, str, str, int]]:
        """Edges of a batch whose rows are in order of time."""
        told = []
        for one in batch:
            values, at_ns, thing = one.measures, one.observed_ns, one.thing_id
            for rule, holds, over, for_ns in self._rules:
                key = (rule.id, thing)
                state = self._states.get(key)
                if state is None:
                    if eval(holds, {}, values):  # noqa: S307
                        raised = for_ns == 0
                        self._states[key] = (at_ns, raised, at_ns + self._still_ns)
                        if raised:
                            told.append((rule.id, thing, str(Edge.RAISE), at_ns))
                    continue
                began_ns, raised, still_ns = state
                if not raised and began_ns + for_ns < at_ns:
                    due_ns = began_ns + for_ns
                    told.append((rule.id, thing, str(Edge.RAISE), due_ns))
                    raised, still_ns = True, due_ns + self._still_ns
                if raised and eval(over, {}, values):  # noqa: S307
                    told.append((rule.id, thing, str(Edge.CLEAR), at_ns))
                    del self._states[key]
                    continue
                if not raised and not eval(holds, {}, values):  # noqa: S307
                    del self._states[key]
                    continue
                if not raised and began_ns + for_ns == at_ns:
                    told.append((rule.id, thing, str(Edge.RAISE), at_ns))
                    raised, still_ns = True, at_ns + self._still_ns
                elif raised and at_ns >= still_ns:
                    told.append((rule.id, thing, str(Edge.STILL), at_ns))
                    still_ns = at_ns + self._still_ns
                self._states[key] = (began_ns, raised, still_ns)
        return told


def comparisons_in_duckdb(some: list[Rule], batch: ObservationBatch) -> int:
    """How many rules the rows of a batch meet, by one query."""
    columns = ", ".join(
        f"sum((m{k} >= r.threshold)::int) filter (where r.measure = {k})" for k in range(MEASURES)
    )
    levels = {f"m{k}": batch.dense_measure(f"m{k}") for k in range(MEASURES)}
    numbers = {
        "measure": np.arange(RULES) % MEASURES,
        "threshold": np.array([rule.threshold for rule in some]),
    }
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        connection.register("levels", levels)
        connection.register("numbers", numbers)
        found = connection.execute(f"select {columns} from levels, numbers r").fetchone()  # noqa: S608
    return int(sum(found or ()))


def measure(rounds: int, strict: bool, checked: int) -> int:
    """Check that both agree, time them, print; the exit code."""
    some = rules()
    scenario = scenario_of(some)
    day = batches(checked + rounds + 2)
    maps = NoMap(MAX_BATCH)
    engine, peer = RuleEngine([scenario], frozenset()), PlainMatcher(some, scenario.still_every_s)
    edges = 0
    ours: list[tuple[str, str, str, int]] = []
    theirs: list[tuple[str, str, str, int]] = []
    for batch in day[:checked]:
        ours += in_short(engine.process(batch, maps))
        theirs += peer.process(batch)
    # What only time made is known to us with the watermark, to the peer with the next row.
    last_ns = int(day[checked - 1].observed_ns[0])
    wrong = len(
        {one for one in ours if one[3] < last_ns} ^ {one for one in theirs if one[3] < last_ns}
    )
    edges = len(theirs)
    met = comparisons_in_duckdb(some, day[checked - 1])
    expected = sum(
        int((day[checked - 1].dense_measure(rule.measures[0]) >= (rule.threshold or 0)).sum())
        for rule in some
    )
    wrong += met != expected
    waiting = day[checked:]
    ahead, behind = iter(waiting), iter(waiting)
    core_s: list[float] = []

    def ours_timed() -> None:
        began = time.thread_time()
        engine.process(next(ahead), maps)
        core_s.append(time.thread_time() - began)

    seconds = median_seconds(
        rounds,
        ours_timed,
        lambda: peer.process(next(behind)),
        lambda: comparisons_in_duckdb(some, waiting[0]),
    )
    core_ms = statistics.median(core_s[1:]) * 1e3  # what others run on the machine is not ours
    pairs = RULES * MAX_BATCH
    publish(
        "rules",
        [
            at_most("500 rules x 512 observations, one core", core_ms, "ms of CPU", GOAL_MS),
            Figure("the same by the clock on the wall", seconds[0] * 1e3, "ms"),
            against("rule evaluations", pairs, seconds[0], "plain Python", seconds[1], 10.0),
            Figure(
                "comparisons only",
                pairs / seconds[0],
                "1/s",
                peer="DuckDB, no state",
                peer_value=pairs / seconds[2],
                ratio=seconds[2] / seconds[0],
            ),
            Figure(
                "rules met by an observation", met / MAX_BATCH, "rules", 20, met / MAX_BATCH >= 20
            ),
            Figure("of them waiting out a for", float(HELD), "rules", 5, HELD >= 5),
            Figure("live entries", float(engine.live_count), "entries"),
            Figure("edges compared", float(edges), "edges"),
            at_most("edges that differ", float(wrong), "edges", 0),
        ],
    )
    failed = wrong or (strict and core_ms > GOAL_MS)
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """Run; ``--quick`` does less, ``--strict`` fails when the goal is missed."""
    parser = argparse.ArgumentParser(prog="bench_rules", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for the tests")
    parser.add_argument("--strict", action="store_true", help="fail when a goal is not met")
    options = parser.parse_args(arguments)
    rounds, checked = (2, 3) if options.quick else (15, 12)
    return measure(rounds, options.strict, checked)


if __name__ == "__main__":
    sys.exit(main())
