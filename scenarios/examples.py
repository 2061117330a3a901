"""The examples of a scenario's page, and whether its rules do as the page says. Pure.

A page has blocks fenced as ``fires`` and ``quiet``. Each line is an instant after
2026-01-01T08:00 China time and what is then said, or ``tick`` where only time passes::

    0s water_level_m=0.31 zone=underpass label.battery=ok thing=w-1
    90s tick

``kind`` is that of the first rule unless given, ``thing`` is ``thing-1``,
which is registered like ``registered-1``; ``zone`` and ``airspace`` are what the map would say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError, RuleError
from core.events import Edge, Place
from core.observations import Observation, ObservationBatch, Stamp, pack
from core.units import parse_duration_s, seconds_to_ns
from scenarios.engine import RuleEngine
from scenarios.model import Scenario

_EPOCH_NS = 1_767_225_600_000_000_000
_BLOCK = re.compile(r"```(fires|quiet)\n(.*?)```", re.DOTALL)
_WORD = re.compile(r"([\w.]+)=(\S+)")
_LON, _LAT = 120.38, 36.06
_REGISTERED = frozenset({"thing-1", "registered-1"})


class TimelineMap:
    """A map on which a row lies where its labels ``is_in_zone`` and ``is_in_airspace`` say."""

    def __init__(self, batch: ObservationBatch) -> None:
        self._batch = batch

    def _where(self, label: str, kind: str) -> NDArray[np.bool_]:
        mask = np.zeros(len(self._batch), np.bool_)
        for row, text in self._batch.label(label).items():
            mask[row] = text == kind
        return mask

    def in_zone(self, kind: str) -> NDArray[np.bool_]:
        """Rows that say so."""
        return self._where("is_in_zone", kind)

    def in_airspace(self, kind: str) -> NDArray[np.bool_]:
        """Rows that say so."""
        return self._where("is_in_airspace", kind)

    def airspace_unsure(self, kind: str) -> NDArray[np.bool_]:
        """No row."""
        return np.zeros(len(self._batch), np.bool_)

    def place(self, row: int, **_errors: float | None) -> Place:
        """One place for all."""
        return Place(lon_deg=_LON, lat_deg=_LAT)


def parse_timeline(text: str, kind: str) -> tuple[list[Observation], float]:
    """Read a timeline: its observations, and the second at which it ends.

    Raises:
        InputError: A line is not of a timeline; says which word.

    Example:
        >>> (one,), last_s = parse_timeline("5s level_m=0.3 zone=site\\n60s tick", "water")
        >>> one.kind, one.measures, last_s
        ('water', {'level_m': 0.3}, 60.0)
    """
    observations: list[Observation] = []
    last_s = 0.0
    for line in text.strip().splitlines():
        offset, *words = line.split()
        last_s = parse_duration_s(offset)
        if words == ["tick"]:
            continue
        told = {"thing": "thing-1", "kind": kind}
        labels: dict[str, str] = {}
        measures: dict[str, float] = {}
        for word in words:
            match = _WORD.fullmatch(word)
            if match is None:
                raise InputError(f"{line!r}: name=value is wanted, got {word!r}")
            name, value = match.groups()
            if name in told:
                told[name] = value
            elif name in {"zone", "airspace"}:
                labels[f"is_in_{name}"] = value
            elif name.startswith("label."):
                labels[name.removeprefix("label.")] = value
            else:
                try:
                    measures[name] = float(value)
                except ValueError:
                    raise InputError(f"{line!r}: a number is wanted for {name}") from None
        at_ns = _EPOCH_NS + seconds_to_ns(last_s)
        observations.append(
            Observation(
                source="plain",
                thing_id=told["thing"],
                kind=told["kind"],
                observed_ns=at_ns,
                received_ns=at_ns,
                lon_deg=_LON,
                lat_deg=_LAT,
                measures=measures,
                labels=labels,
            )
        )
    return observations, last_s


def raised_by(timeline: str, kind: str, scenarios: Iterable[Scenario]) -> set[str]:
    """Ids of the scenarios that a timeline raises."""
    observations, last_s = parse_timeline(timeline, kind)
    stamp = Stamp(
        ingest_id="example",
        sequence=1,
        partition=0,
        watermark_ns=_EPOCH_NS + seconds_to_ns(last_s),
        logged_ns=0,
    )
    batch = pack(observations, stamp)
    events = RuleEngine(scenarios, _REGISTERED).process(batch, TimelineMap(batch))
    return {event.scenario for event in events if event.edge is Edge.RAISE}


def check_page(page: str, file: str, scenario: Scenario, among: Iterable[Scenario]) -> int:
    """Run the examples of a scenario's page; gives how many there are.

    Args:
        page: Its text.
        file: Its name, for messages.
        scenario: Whose page it is.
        among: The scenarios that are in force together; an example may raise no other.

    Raises:
        RuleError: An example of one sort is missing, cannot be read, or does otherwise; says
            file, line, what was found and what is accepted.
    """
    among = tuple(among)
    examples = list(_BLOCK.finditer(page))
    for sort in ("fires", "quiet"):
        if all(one[1] != sort for one in examples):
            raise RuleError(f"{file}: no example; at least one block ```{sort} is accepted")
    for one in examples:
        where = f"{file}:{page.count(chr(10), 0, one.start()) + 1}: example ({one[1]})"
        try:
            raised = raised_by(one[2], scenario.rules[0].kind, among)
        except InputError as exc:
            raise RuleError(f"{where}: {exc}") from exc
        wanted = {scenario.id} if one[1] == "fires" else set()
        if raised != wanted:
            raise RuleError(
                f"{where}: raises {', '.join(sorted(raised)) or 'nothing'}; "
                f"{', '.join(wanted) or 'nothing'} is accepted"
            )
    return len(examples)
