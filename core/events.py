"""Events: edges of a rule's condition for one thing, and the records that carry them.

Rules know no cases: a rule says that something began (raise), goes on (still) or ended
(clear). What becomes of that is the store's to decide (docs/decisions/0009).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import msgspec

from core.errors import DecodeError
from core.exclusions import Exclusion
from core.grades import INTERNAL, PUBLIC, SENSITIVE
from core.ledger import Tally, summed
from core.observations import Stamp


class Edge(StrEnum):
    """How a rule's condition changed."""

    RAISE = "raise"
    STILL = "still"
    CLEAR = "clear"


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where something is, as far as the map layers can tell; unknown levels are None.

    Codes are 6 (district), 9 (street), 12 (community) and 15 (unit grid) digits.
    ``unplaced`` says why no level is known, e.g. ``no_position`` or ``outside_city``.
    ``generated`` is True where the grid code comes from our generator, not from the city.
    ``layer_versions`` names the version of every layer that was asked.
    """

    lon_deg: Annotated[float | None, INTERNAL] = None
    lat_deg: Annotated[float | None, INTERNAL] = None
    error_major_m: Annotated[float | None, INTERNAL] = None
    error_minor_m: Annotated[float | None, INTERNAL] = None
    error_azimuth_deg: Annotated[float | None, INTERNAL] = None
    district_code: Annotated[str | None, PUBLIC] = None
    street_code: Annotated[str | None, PUBLIC] = None
    community_code: Annotated[str | None, PUBLIC] = None
    grid_code: Annotated[str | None, INTERNAL] = None
    generated: Annotated[bool, PUBLIC] = False
    area_name: Annotated[str, PUBLIC] = ""
    road_name: Annotated[str | None, PUBLIC] = None
    road_distance_m: Annotated[float | None, INTERNAL] = None
    zones: Annotated[tuple[str, ...], INTERNAL] = ()
    airspaces: Annotated[tuple[str, ...], INTERNAL] = ()
    unplaced: Annotated[str | None, PUBLIC] = None
    layer_versions: Annotated[dict[str, str], INTERNAL] = {}


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One edge of one rule for one thing.

    ``began_ns`` is when the condition began and ``place`` where the thing then was;
    ``at_ns`` is when the edge happened. ``trigger_id`` is the observation that made it
    happen, empty when only time passed. ``because`` holds the facts a person is told:
    measure, value, threshold, how long.
    """

    id: Annotated[str, INTERNAL]
    scenario: Annotated[str, PUBLIC]
    rule: Annotated[str, PUBLIC]
    edge: Annotated[Edge, PUBLIC]
    source: Annotated[str, INTERNAL]
    thing_id: Annotated[str, INTERNAL]
    kind: Annotated[str, PUBLIC]
    began_ns: Annotated[int, INTERNAL]
    at_ns: Annotated[int, INTERNAL]
    place: Annotated[Place, INTERNAL]
    because: Annotated[dict[str, str | float], INTERNAL] = {}
    confidence_ratio: Annotated[float, INTERNAL] = 1.0
    trigger_id: Annotated[str, INTERNAL] = ""
    observation_ids: Annotated[tuple[str, ...], INTERNAL] = ()
    snapshots: Annotated[tuple[str, ...], SENSITIVE] = ()
    wall_ns: Annotated[int, INTERNAL] = 0


def event_id(*, rule: str, thing_id: str, began_ns: int, edge: Edge, at_ns: int) -> str:
    """Derive an event's id, so that re-delivery and replay collide with themselves.

    Example:
        >>> event_id(rule="r", thing_id="t", began_ns=1, edge=Edge.RAISE, at_ns=2)
        '53105bea3d220562a7d33d075ce22afa'
    """
    text = f"{rule}\x1f{thing_id}\x1f{began_ns}\x1f{edge}\x1f{at_ns}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class EventBatch(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="events", gc=False
):
    """The events that one observation batch gave: one record on topic ``events``.

    Written for every batch, also when it has no event: it moves the partition's frontier,
    and with it the watermark by which the sequencer orders decisions (docs/decisions/0007).
    ``exclusions`` are records that came with the batch; they count before its events.
    ``tallies`` say what became of the batch's observations, for the ledger. Where the batch held
    several rounds, this is its last one; ``earlier`` are those before it, in order, each to be
    decided on by itself.
    """

    stamp: Stamp
    events: tuple[Event, ...] = ()
    tallies: tuple[Tally, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    earlier: tuple[EventBatch, ...] = ()

    @property
    def all_events(self) -> tuple[Event, ...]:
        """The events of all its rounds, in order."""
        return (*(event for one in self.earlier for event in one.events), *self.events)


def one_record(rounds: Sequence[EventBatch]) -> EventBatch:
    """The rounds of one observation batch as one record.

    Example:
        >>> stamp = Stamp(ingest_id="i", sequence=1, partition=0, watermark_ns=0, logged_ns=0)
        >>> len(one_record([EventBatch(stamp=stamp)] * 3).earlier)
        2
    """
    *before, last = rounds
    if not before:
        return last
    return msgspec.structs.replace(
        last,
        tallies=summed(tally for one in rounds for tally in one.tallies),
        earlier=tuple(
            msgspec.structs.replace(one, tallies=()) if one.tallies else one for one in before
        ),
    )


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(EventBatch)


def encode_events(batch: EventBatch) -> bytes:
    """Write an event batch as one log record."""
    return _ENCODER.encode(batch)


def decode_events(data: bytes) -> EventBatch:
    """Read an event record back.

    Raises:
        DecodeError: The bytes are not an event batch.
    """
    try:
        return _DECODER.decode(data)
    except msgspec.MsgspecError as exc:
        raise DecodeError("bad_events", f"log record of {len(data)} bytes: {exc}") from exc
