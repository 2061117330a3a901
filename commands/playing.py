"""A recording through the whole pipeline: what replay, score, export and tests are made of."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from commands.city_process import CityProcess
from commands.collector import calm_collector
from core.canonical import canonical_json
from core.clock import ManualClock
from core.errors import ServiceError
from core.incidents import Evidence, Incident
from core.settings import Settings
from geo.city import City
from ingest.recording.frames import FrameTransform
from ingest.recording.pace import Pace
from ingest.recording.rounds import Round
from ingest.recording.source import RecordedSource
from store.canonical import all_cases
from store.filters import IncidentFilter
from streams.partition import Processed

#: Altitudes worth telling, most telling first.
_ALTITUDES = ("alt_takeoff_m", "alt_agl_m", "alt_wgs84_m", "alt_msl_m")

#: How often progress is told; wall seconds.
_TELL_S = 0.1


class TrackSummary:
    """What a recording said of each moving thing: how often, from when to when, how high."""

    def __init__(self) -> None:
        self.things: dict[str, dict[str, Any]] = {}
        self.kinds: Counter[str] = Counter()

    def observe(self, processed: Processed) -> None:
        """Take in one processed batch."""
        self.kinds.update(processed.batch.kinds)
        if "aircraft" not in processed.batch.kinds:
            return
        for one in processed.batch:
            if one.kind != "aircraft":
                continue
            track = self.things.setdefault(
                one.thing_id,
                {"observations": 0, "positions": 0, "first_ns": one.observed_ns, "highest": {}},
            )
            track["observations"] += 1
            track["positions"] += one.lon_deg is not None
            track["last_ns"] = one.observed_ns
            for name in _ALTITUDES:
                value = one.measures.get(name)
                if value is not None:
                    track["highest"][name] = max(value, track["highest"].get(name, value))


class Played(NamedTuple):
    """What a recording came to."""

    messages: int
    observations: Counter[str]
    tracks: dict[str, dict[str, Any]]
    duplicates: int
    rejections: dict[str, int]
    cases: list[tuple[Incident, list[Evidence]]]
    since_ns: int
    until_ns: int

    @property
    def canonical(self) -> bytes:
        """The incidents in their canonical form."""
        return canonical_json(self.cases)


#: Told now and then: messages so far, and the recorded instant.
Progress = Callable[[int, int], None]


async def play(
    settings: Settings,
    city: City,
    rounds: Iterable[Round],
    *,
    pace: Pace | None = None,
    frames: FrameTransform | None = None,
    progress: Progress | None = None,
    incident: Callable[[Incident], None] | None = None,
) -> Played:
    """Play rounds through ingest, stream app and case store; "now" is the recording's time.

    Args:
        settings: With a data folder of its own: what is there already would join in.
        city: Whose map and devices.
        rounds: Of a recording.
        pace: How fast. A step of it ends when an incident opened.
        frames: What makes detections of frames; where None, frames must have been left out.
        progress: Called with messages and recorded instant.
        incident: Called with the incident at which a step ended.

    Raises:
        ServiceError: A part failed.
        InputError: The recording cannot be read.
    """
    clock = ManualClock()
    pace = pace or Pace()
    source = RecordedSource(rounds, clock, pace=pace, transform=frames)
    summary = TrackSummary()
    try:
        async with CityProcess(settings, clock=clock, city=city, source=source) as process:
            process.parts.listeners.append(summary.observe)
            pace.step_ends = _incident_opened(process, incident)
            settled = asyncio.ensure_future(process.settle())
            with calm_collector():
                while not settled.done() and not process.failure.done():
                    waited: list[asyncio.Future[Any]] = [settled, process.failure]
                    await asyncio.wait(waited, timeout=_TELL_S, return_when=asyncio.FIRST_COMPLETED)
                    if progress is not None:
                        progress(source.acknowledged, source.instant_ns)
            if process.failure.done():
                settled.cancel()
                raise ServiceError(process.failure.result())
            settled.result()
            cases = await asyncio.to_thread(lambda: list(all_cases(process.store)))
            return Played(
                messages=source.acknowledged,
                observations=summary.kinds,
                tracks=summary.things,
                duplicates=process.parts.duplicate_count,
                rejections=await asyncio.to_thread(process.store.rejection_counts),
                cases=cases,
                since_ns=source.first_ns,
                until_ns=clock.now_ns(),
            )
    finally:
        if frames is not None:
            frames.close()


def _incident_opened(
    process: CityProcess, told: Callable[[Incident], None] | None
) -> Callable[[], Awaitable[bool]]:
    """Says whether an incident opened since it last said so, after all is decided so far."""
    known: set[str] = set()

    def newest() -> Sequence[bytes]:
        return [row.body for row in process.store.list_incidents(IncidentFilter(), limit=20).rows]

    async def ends() -> bool:
        decisions = process.parts.decisions
        while decisions.applied_sequence < process.bridge.sequence:
            if process.failure.done():
                return True
            await asyncio.sleep(0.002)
        ids = [msgspec.json.decode(body)["id"] for body in await asyncio.to_thread(newest)]
        fresh = [one for one in ids if one not in known]
        known.update(ids)
        if fresh and told is not None:
            told(await asyncio.to_thread(process.store.get, fresh[-1]))
        return bool(fresh)

    return ends
