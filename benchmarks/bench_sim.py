"""``make bench-sim``: the developer's half at speed; one section for each part.

Prints a table and writes ``build/bench/sim.json``. ``--quick`` is the bounded run of the tests.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks import sim_record, sim_replay, sim_world
from benchmarks.harness import publish


def main() -> int:
    """Run the sections; 1 with ``--strict`` where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the time")
    parser.add_argument("--strict", action="store_true", help="fail where a goal is missed")
    parser.add_argument(
        "--whole-day", action="store_true", help="replay all 14.4 million readings, too"
    )
    options = parser.parse_args()
    # Memory first: what a process once had, it keeps.
    figures, notes = sim_record.figures(quick=options.quick)
    replayed, told = sim_replay.figures(quick=options.quick, whole_day=options.whole_day)
    figures = [*sim_world.figures(quick=options.quick), *figures, *replayed]
    publish("sim", figures, [*notes, *told])
    return int(options.strict and any(one.met is False for one in figures))


if __name__ == "__main__":
    sys.exit(main())
