"""The canonical form of incidents: equal bytes where two runs found the same things.

What a replay must give again is what follows from the observations alone: which incidents,
where, when in event time, on which evidence. Case numbers, workers, what people did and when
anything was received or written down depend on the day and are left out
(docs/decisions/0019). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from core.incidents import Evidence, Incident

_ENCODER = msgspec.json.Encoder(order="sorted")


def canonical_incident(incident: Incident, evidence: Sequence[Evidence]) -> dict[str, Any]:
    """One incident reduced to what every run over the same observations must agree on.

    Evidence comes by event time, then id, whatever order it was given in.
    """
    words = sorted(evidence, key=lambda one: (one.at_ns, one.event_id))
    return {
        "id": incident.id,
        "scenario": incident.scenario,
        "place": msgspec.to_builtins(incident.place),
        "began_ns": incident.began_ns,
        "cleared_ns": incident.cleared_ns,
        "evidence": [
            {
                "event_id": one.event_id,
                "edge": one.edge,
                "rule": one.rule,
                "source": one.source,
                "thing_id": one.thing_id,
                "at_ns": one.at_ns,
                "observation_ids": list(one.observation_ids),
            }
            for one in words
        ],
    }


def canonical_json(cases: Iterable[tuple[Incident, Sequence[Evidence]]]) -> bytes:
    """Incidents with their evidence as canonical JSON: one incident a line, ordered by id.

    Keys are sorted, numbers are written in their shortest exact form, there is no white space,
    so two runs agree when the bytes are equal and ``diff`` shows where they do not.

    Example:
        >>> canonical_json([])
        b''
    """
    lines = sorted(_ENCODER.encode(canonical_incident(*case)) for case in cases)
    return b"".join(line + b"\n" for line in lines)
