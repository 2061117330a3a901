"""From sightings to events: one ``new``, few ``update``, one ``end`` for one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from core.units import NS_PER_S
from vision.detectors.protocol import Patience, Sighting

#: Things remembered of one camera at a time; more are refused and counted.
MAX_THINGS = 64


class Event(NamedTuple):
    """Something to tell of a thing. ``phase`` is ``new``, ``update`` or ``end``."""

    phase: str
    number: int
    sighting: Sighting
    since_ns: int
    time_ns: int
    score_ratio: float

    @property
    def dwell_s(self) -> float:
        """How long it has been there."""
        return (self.time_ns - self.since_ns) / NS_PER_S


class _Thing(msgspec.Struct):
    number: int
    first_ns: int
    last_ns: int
    sighting: Sighting
    seen: int = 0
    looks: int = 0
    told_ns: int | None = None
    best_ratio: float = 0.0


class EventKeeper:
    """Keeps what is seen until it is sure, and ends what is gone.

    A thing becomes an event when it was seen for ``new_after_s`` in at least ``least_share`` of
    the pictures; it ends when it was not seen for ``gone_after_s``. State leaves with it.

    Example:
        >>> keeper = EventKeeper({"flame": Patience(1.0, 2.0)})
        >>> flame = Sighting("a", "flame", "flame", (0.0, 0.0, 4.0, 4.0))
        >>> seen = [[flame], [flame], [flame], [], [], [], []]
        >>> told = [keeper.update(one, at_s * NS_PER_S) for at_s, one in enumerate(seen)]
        >>> [[event.phase for event in events] for events in told]
        [[], ['new'], [], [], ['end'], [], []]
    """

    def __init__(self, patience: Mapping[str, Patience]) -> None:
        #: Sightings that could not be kept.
        self.refused = 0
        self._patience = dict(patience)
        self._things: dict[tuple[str, str], _Thing] = {}
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._things)

    @property
    def open(self) -> list[tuple[int, Sighting]]:
        """Things that were told of and have not ended, for drawing."""
        return [
            (thing.number, thing.sighting)
            for thing in self._things.values()
            if thing.told_ns is not None
        ]

    def update(self, sightings: Sequence[Sighting], now_ns: int) -> list[Event]:
        """Take what is seen now."""
        events: list[Event] = []
        for thing in self._things.values():
            thing.looks += 1
        for sighting in sightings:
            key = (sighting.kind, sighting.key)
            one = self._things.get(key)
            if one is None:
                if len(self._things) >= MAX_THINGS:
                    self.refused += 1
                    continue
                first_ns = now_ns if sighting.since_ns is None else sighting.since_ns
                one = _Thing(self._number(now_ns), first_ns, now_ns, sighting, looks=1)
                self._things[key] = one
            one.seen += 1
            one.last_ns, one.sighting = now_ns, sighting
            one.best_ratio = max(one.best_ratio, sighting.score_ratio)
        for key, thing in list(self._things.items()):
            patience = self._patience[key[0]]
            unseen_s = (now_ns - thing.last_ns) / NS_PER_S
            if unseen_s > 0.0 and unseen_s >= patience.gone_after_s:
                del self._things[key]
                if thing.told_ns is not None:
                    events.append(self._event("end", thing, thing.last_ns))
                continue
            sure = thing.seen >= patience.least_share * thing.looks
            if thing.told_ns is None:
                if (
                    unseen_s == 0.0
                    and sure
                    and (now_ns - thing.first_ns >= patience.new_after_s * NS_PER_S)
                ):
                    thing.told_ns = now_ns
                    events.append(self._event("new", thing, now_ns))
            elif unseen_s == 0.0 and (now_ns - thing.told_ns >= patience.update_every_s * NS_PER_S):
                thing.told_ns = now_ns
                events.append(self._event("update", thing, now_ns))
        return events

    @staticmethod
    def _event(phase: str, thing: _Thing, time_ns: int) -> Event:
        return Event(phase, thing.number, thing.sighting, thing.first_ns, time_ns, thing.best_ratio)

    def _number(self, now_ns: int) -> int:
        """The second it was first seen: the same on every replay, another after a restart."""
        self._last_number = max(self._last_number + 1, now_ns // NS_PER_S)
        return self._last_number
