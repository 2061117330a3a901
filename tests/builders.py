"""Builders of values for tests: what is not said is plausible and fixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.events import Edge, Event, EventBatch, Place, event_id
from core.observations import Observation, ObservationBatch, Stamp, pack, stamped
from core.rows import concat
from core.units import NS_PER_S, rfc3339_to_ns

#: A Wednesday morning in Qingdao.
EPOCH_NS = rfc3339_to_ns("2026-07-01T09:00:00+08:00")


def at_s(seconds: float) -> int:
    """An instant some seconds into the test."""
    return EPOCH_NS + round(seconds * NS_PER_S)


def an_observation(seconds: float = 0.0, **given: Any) -> Observation:
    """A water level reading, unless told otherwise."""
    fields: dict[str, Any] = {
        "source": "plain",
        "thing_id": "water-0001",
        "kind": "water_level",
        "observed_ns": at_s(seconds),
        "received_ns": at_s(seconds),
        "lon_deg": 120.3846,
        "lat_deg": 36.0614,
        "measures": {"water_level_m": 0.05},
    }
    return Observation(**(fields | given))


def a_stamp(sequence: int = 1, **given: Any) -> Stamp:
    """A stamp of partition 0, its watermark at the test's start."""
    fields: dict[str, Any] = {
        "ingest_id": "ingest-1",
        "sequence": sequence,
        "partition": 0,
        "watermark_ns": EPOCH_NS,
        "logged_ns": EPOCH_NS,
    }
    return Stamp(**(fields | given))


def a_batch(*observations: Observation, **stamp: Any) -> ObservationBatch:
    """Observations as a batch."""
    return pack(observations, a_stamp(**stamp))


def as_one(batches: Sequence[ObservationBatch]) -> ObservationBatch:
    """Batches of one round each as the rounds of one batch."""
    table, row = [], 0
    for one in batches:
        row += len(one)
        table.append((row, one.stamp.sequence, one.stamp.watermark_ns, one.stamp.logged_ns))
    rounds = np.array(table, np.int64).tobytes()
    return stamped(concat(batches), batches[-1].stamp, rounds=rounds)


def an_event(seconds: float = 0.0, **given: Any) -> Event:
    """A raise of the flooding rule, unless told otherwise."""
    fields: dict[str, Any] = {
        "scenario": "road-flooding",
        "rule": "road-flooding/sensor",
        "edge": Edge.RAISE,
        "source": "plain",
        "thing_id": "water-0001",
        "kind": "water_level",
        "began_ns": at_s(seconds),
        "at_ns": at_s(seconds),
        "place": Place(lon_deg=120.3846, lat_deg=36.0614, district_code="370202"),
    }
    fields |= given
    fields.setdefault(
        "id",
        event_id(
            rule=fields["rule"],
            thing_id=fields["thing_id"],
            began_ns=fields["began_ns"],
            edge=fields["edge"],
            at_ns=fields["at_ns"],
        ),
    )
    return Event(**fields)


def an_event_batch(*events: Event, **stamp: Any) -> EventBatch:
    """Events as a record."""
    return EventBatch(stamp=a_stamp(**stamp), events=events)
