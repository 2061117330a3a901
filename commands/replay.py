"""``qingniao replay``: a recording through the whole pipeline, as fast as it goes."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from commands.city_process import CityProcess
from core.clock import ManualClock
from core.errors import InputError, ServiceError
from core.settings import Settings
from core.units import ns_to_rfc3339
from geo.city import load_city
from ingest.recorded import RecordedSource
from store.filters import IncidentFilter
from streams.partition import Processed

#: Altitudes worth telling, most telling first.
_ALTITUDES = ("alt_takeoff_m", "alt_agl_m", "alt_wgs84_m", "alt_msl_m")


class TrackSummary:
    """What a recording said of each moving thing: how often, from when to when, how high."""

    def __init__(self) -> None:
        self.things: dict[str, dict[str, Any]] = {}
        self.kinds: Counter[str] = Counter()

    def observe(self, processed: Processed) -> None:
        """Take in one processed batch."""
        for one in processed.batch:
            self.kinds[one.kind] += 1
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


async def run_replay(
    settings: Settings, recording: Path, json_path: Path | None, console: Console
) -> int:
    """Replay a recording; "now" is the recording's time.

    Raises:
        InputError: There is no such file.
        ServiceError: A part failed.
    """
    if not await asyncio.to_thread(recording.is_file):
        raise InputError(f"{recording}: no such recording; JSON lines of ts, topic, data wanted")
    city = await asyncio.to_thread(load_city, settings.city, seed=settings.city_seed)
    clock = ManualClock()
    source = RecordedSource(recording, clock=clock, tick_interval_s=5.0)
    summary = TrackSummary()
    async with CityProcess(settings, clock=clock, city=city, source=source) as process:
        process.parts.listeners.append(summary.observe)
        with console.status("回放 replaying …") as status:
            settled = asyncio.ensure_future(process.settle())
            while not settled.done() and not process.failure.done():
                await asyncio.wait([settled], timeout=0.1)
                status.update(f"回放 replaying … {source.acknowledged} messages")
            if process.failure.done():
                raise ServiceError(process.failure.result())
        page = await asyncio.to_thread(process.store.list_incidents, IncidentFilter(), limit=1000)
        rejections = await asyncio.to_thread(process.store.rejection_counts)
    incidents = [msgspec.json.decode(row.body) for row in page.rows]
    result = {
        "messages": source.acknowledged,
        "observations": dict(summary.kinds),
        "duplicates": process.parts.duplicate_count,
        "rejections": rejections,
        "aircraft": {
            thing: {
                "observations": track["observations"],
                "positions": track["positions"],
                "first": ns_to_rfc3339(track["first_ns"]),
                "last": ns_to_rfc3339(track["last_ns"]),
                "highest_m": {name: round(value, 3) for name, value in track["highest"].items()},
            }
            for thing, track in summary.things.items()
        },
        "incidents": [
            {
                "id": one["id"],
                "case_number": one["case_number"],
                "scenario": one["scenario"],
                "began_at": one["began_at"],
                "lon_deg": one["place"].get("lon_deg"),
                "lat_deg": one["place"].get("lat_deg"),
            }
            for one in incidents
        ],
    }
    _print(result, console)
    if json_path is not None:
        await asyncio.to_thread(
            json_path.write_text, json.dumps(result, ensure_ascii=False, indent=2) + "\n"
        )
    return 0


def _print(result: dict[str, Any], console: Console) -> None:
    console.print(
        f"{result['messages']} messages, {sum(result['observations'].values())} observations, "
        f"{result['duplicates']} duplicates, {sum(result['rejections'].values())} in quarantine"
    )
    for reason, count in sorted(result["rejections"].items()):
        console.print(f"  {reason}: {count}")
    if result["aircraft"]:
        tracks = Table("航空器 aircraft", "positions", "first", "last", "highest m")
        for thing, track in result["aircraft"].items():
            highest = ", ".join(f"{name} {value}" for name, value in track["highest_m"].items())
            tracks.add_row(thing, str(track["positions"]), track["first"], track["last"], highest)
        console.print(tracks)
    incidents = Table("案卷 case", "场景 scenario", "began", "lon, lat")
    for one in result["incidents"]:
        incidents.add_row(
            one["case_number"],
            one["scenario"],
            one["began_at"],
            f"{one['lon_deg']}, {one['lat_deg']}",
        )
    console.print(incidents if result["incidents"] else "没有事件 no incident")
