"""Which detections a second opinion is sought on, and what is told when it comes.

An opinion is told as an observation of the same thing, and in every later one of it: it is in
the log like all else that decides, so a replay decides the same without asking anybody.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Protocol

import msgspec

from core.observations import Observation
from core.units import NS_PER_S
from vision.opinion import Opinion, question

#: Detections whose picture is waited for, and open things remembered, some 2 kB each.
_MAX_WANTED, _MAX_OPEN = 256, 1024


class Asker(Protocol):
    """Asks about pictures; never makes anybody wait."""

    answers: deque[tuple[str, Opinion]]
    counts: dict[str, int]

    def ask(self, about: str, asked: str, jpeg: bytes) -> None:
        """Ask; the answer comes to ``answers`` later, or never."""
        ...


class _Open(msgspec.Struct):
    """A thing that was told of and has not ended; leaves with its end."""

    last: Observation
    opinion: Opinion | None = None


class OpinionDesk:
    """Between a camera's detections and the asker.

    :meth:`pictured` may be called from another thread than the rest.

    Args:
        asker: Asks.
        below_ratio: Detections of at least this confidence are not asked about.
    """

    def __init__(self, asker: Asker, below_ratio: float) -> None:
        self._asker = asker
        self._below_ratio = below_ratio
        self._wanted: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._open: OrderedDict[str, _Open] = OrderedDict()

    @property
    def counts(self) -> dict[str, int]:
        """What became of questions, by outcome."""
        return self._asker.counts

    def told(self, one: Observation) -> Observation:
        """A detection as it is to be published: with the opinion on its thing, if there is one."""
        phase = one.labels.get("phase")
        if phase is None:
            return one
        thing = self._open.setdefault(one.thing_id, _Open(one))
        thing.last = one
        if phase == "end":
            del self._open[one.thing_id]
        elif len(self._open) > _MAX_OPEN:
            self._open.popitem(last=False)
        unsure = one.measures.get("confidence_ratio", 1.0) < self._below_ratio
        asked = question(one)
        if phase == "new" and unsure and one.snapshots and asked is not None:
            self._wanted[one.snapshots[-1]] = (one.thing_id, asked)
            if len(self._wanted) > _MAX_WANTED:
                self._wanted.popitem(last=False)
        return one if thing.opinion is None else thing.opinion.attached_to(one)

    def pictured(self, name: str, jpeg: bytes) -> None:
        """Take note that a picture was stored; asks about it where that is wanted."""
        wanted = self._wanted.pop(name, None)
        if wanted is not None:
            self._asker.ask(*wanted, jpeg)

    def follow_ups(self, seen_ns: Mapping[str, int]) -> list[Observation]:
        """What is to be told of opinions that came since the last call.

        Args:
            seen_ns: Time of the last frame by camera; an opinion counts from then on.
        """
        found: list[Observation] = []
        while self._asker.answers:
            about, opinion = self._asker.answers.popleft()
            thing = self._open.get(about)
            if thing is None:
                continue  # It ended before the answer came.
            thing.opinion = opinion
            last = thing.last
            now_ns = max(last.observed_ns, seen_ns.get(last.labels.get("camera_id", ""), 0))
            measures = dict(last.measures)
            if "dwell_s" in measures:
                measures["dwell_s"] = round(
                    measures["dwell_s"] + (now_ns - last.observed_ns) / NS_PER_S, 3
                )
            follow_up = msgspec.structs.replace(
                last,
                observed_ns=now_ns,
                received_ns=now_ns,
                measures=measures,
                labels=last.labels | {"phase": "update"},
            )
            found.append(opinion.attached_to(follow_up))
        return found
