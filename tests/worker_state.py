"""What a partition worker remembers, for comparing one with another."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from scenarios.rule_state import KEPT_COLUMNS, decode_state
from streams.partition import PartitionWorker


def remembered(worker: PartitionWorker) -> Any:
    """The whole state in one order, however it came about."""
    position, rules, ids, _ = msgspec.msgpack.decode(worker.dump())
    state = decode_state(rules)
    told: dict[str, Any] = {
        thing: (group, last, [])
        for thing, group, last in zip(
            state.things,
            state.groups,
            np.frombuffer(state.last_ns, np.int64).tolist(),
            strict=True,
        )
    }
    columns = {name: state.column(name).tolist() for name in KEPT_COLUMNS}
    for n, slot in enumerate(columns["slot"]):
        entry = {name: column[n] for name, column in columns.items()}
        entry["rule"] = state.rules[entry["rule"]]
        entry["source"] = state.sources[entry["source"]]
        del entry["slot"]
        told[state.things[slot]][2].append((repr(entry), state.places[n], state.snapshots.get(n)))
    ring_of, *rings = state.rings
    for n, entry_number in enumerate(ring_of.tolist()):
        thing = state.things[columns["slot"][entry_number]]
        told[thing][2].append(("ring", *(column[n].tolist() for column in rings)))
    for one in told.values():
        one[2].sort(key=repr)
    return position, state.watermark_ns, state.late_count, ids, told
