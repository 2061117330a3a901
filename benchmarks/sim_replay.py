"""Replay at speed: a slice of a day of a city's devices, as a city at real time records it.

Every device but buses and water meters (they follow their own clocks) reports once a minute, at a
phase of its own, so ingest carries a message or two in a round and the recording has a round for
each few milliseconds: the hardest case for a replay.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.harness import Figure, work_folder
from commands.playing import play
from core.ports import RawMessage
from core.settings import load_settings
from core.units import NS_PER_S
from geo.city import City, load_city
from ingest.recording.reader import Recording
from ingest.recording.rounds import MAX_ROUND, Round, by_time
from ingest.recording.writer import RecordingWriter
from simulators.devices.catalogue import CATALOGUE
from simulators.devices.fleet import Fleet
from simulators.environment import Environment

EPOCH_NS = 1_773_100_800 * NS_PER_S
DEVICES = 10_000
INTERVAL_S = 60
DAY_READINGS = DEVICES * 86_400 // INTERVAL_S
DAY_GOAL_S = 15 * 60.0

#: So long a live round takes to be durable; what arrives meanwhile is the next one.
ROUND_NS = 5_000_000
_TRANSIT_NS = 20_000_000
_TICK_NS = 5 * NS_PER_S
_SLAB_S = 600

#: A replay is at the pipeline's own speed when it reaches this share of it.
OWN_SPEED = 0.8


class Measured(NamedTuple):
    """What a run through the pipeline took."""

    observations: int
    wall_s: float
    cpu_s: float


def readings(city: City, span_s: int) -> Iterator[RawMessage]:
    """A reading of every device a minute, in order of arrival."""
    devices = [one for _, one in sorted(city.devices.items())
               if one.kind in CATALOGUE and one.kind not in {"water_meter", "bus"}]  # fmt: skip
    environment = Environment(7, EPOCH_NS)
    fleet = Fleet(city.name, devices[:DEVICES], seed=7, environment=environment, bounds=city.bounds)
    for group in fleet.groups.values():
        group.report_every(INTERVAL_S)
    for begin_s in range(0, span_s, _SLAB_S):
        end_s = min(begin_s + _SLAB_S, span_s)
        for one in fleet.slab(EPOCH_NS + begin_s * NS_PER_S, EPOCH_NS + end_s * NS_PER_S):
            yield RawMessage(
                topic=one.topic,
                payload=one.payload,
                received_ns=one.at_ns + _TRANSIT_NS,
                qos=one.qos,
            )


def record(city: City, span_s: int, folder: Path) -> int:
    """Record a span with its ticks; gives the number of messages."""
    about = {"city": "generated:city", "city_seed": "7", "city_name": city.name}
    writer = RecordingWriter(folder, about=about)
    ticked_ns = EPOCH_NS
    for one in by_time(readings(city, span_s), ROUND_NS):
        if one.instant_ns - ticked_ns >= _TICK_NS:
            ticked_ns = one.instant_ns
            writer.tick(ticked_ns)
        writer.write(one.messages)
    writer.close()
    return writer.messages


def through_the_pipeline(city: City, rounds: Iterable[Round]) -> Measured:
    """Play rounds through ingest, log, rules, store, archive and ledger; timed from the first."""
    process = psutil.Process()

    class Timed:
        began_s = cpu_s = 0.0

        def __iter__(self) -> Iterator[Round]:
            for one in rounds:
                if not self.began_s:
                    self.began_s, self.cpu_s = time.perf_counter(), _cpu_s(process)
                yield one

    with work_folder() as name:
        settings = load_settings(data_dir=Path(name) / "data", city="generated:city")
        timed = Timed()
        played = asyncio.run(play(settings, city, timed))
        wall_s, cpu_s = time.perf_counter() - timed.began_s, _cpu_s(process) - timed.cpu_s
    return Measured(sum(played.observations.values()), wall_s, cpu_s)


def figures(*, quick: bool, whole_day: bool) -> tuple[list[Figure], list[str]]:
    """Measure; ``whole_day`` records and replays all 14.4 million readings."""
    city = load_city("generated:city", seed=7)
    span_s = 60 if quick else 600
    with work_folder() as name:
        folder = Path(name) / "recording"
        count = record(city, span_s, folder)
        rounds = sum(1 for _ in Recording(folder).rounds())
        # The first run compiles and fills caches for both.
        through_the_pipeline(city, by_time(readings(city, 30)))
        turns = 1 if quick else 3
        replayed, pushed = [], []
        for _ in range(turns):
            pushed.append(through_the_pipeline(city, _full_rounds(city, span_s)))
            replayed.append(through_the_pipeline(city, Recording(folder).rounds()))
    wrong = {one.observations for one in (*replayed, *pushed)} - {pushed[0].observations}
    if wrong or pushed[0].observations < count:
        raise RuntimeError(f"{count} messages gave {pushed[0].observations}, {wrong} observations")
    replay, push = (min(runs, key=lambda one: one.wall_s) for runs in (replayed, pushed))
    own = push.observations / push.wall_s
    rate = replay.observations / replay.wall_s
    day_s = DAY_READINGS * replay.wall_s / count
    found = [
        Figure(
            "replay straight into the pipeline", rate, "observations/s", OWN_SPEED,
            rate >= OWN_SPEED * own, "the same, pushed in rounds of 512", own, rate / own,
        ),
        Figure(
            "replay: CPU", 1e6 * replay.cpu_s / replay.observations, "us per observation",
            None, None, "the same, pushed in rounds of 512", 1e6 * push.cpu_s / push.observations,
            push.cpu_s / replay.cpu_s,
        ),
        Figure(
            f"a day of {DEVICES:,} devices at {INTERVAL_S} s replays in, from a slice", day_s, "s",
            DAY_GOAL_S, day_s <= DAY_GOAL_S,
        ),
        Figure("the same: CPU", DAY_READINGS * replay.cpu_s / count, "s"),
    ]  # fmt: skip
    slice_of = f"replay: {span_s} s of the day, {count:,} messages in {rounds:,} rounds and ticks"
    day = f"a day is {DAY_READINGS:,} messages at the slice's seconds per message, without the"
    notes = [
        f"{slice_of}, best of {turns}",
        f'{day} start of the platform; ARGS="--whole-day" replays all of it',
    ]
    if whole_day:
        found.append(_whole_day(city))
    return found, notes


def _full_rounds(city: City, span_s: int) -> list[Round]:
    """All readings in memory, in rounds as full as ingest takes them."""
    messages = list(readings(city, span_s))
    parts = [messages[at : at + MAX_ROUND] for at in range(0, len(messages), MAX_ROUND)]
    return [Round(part[-1].received_ns, part) for part in parts]


def _whole_day(city: City) -> Figure:
    with work_folder() as name:
        folder = Path(name) / "recording"
        # As many seconds as give the readings of the day.
        per_minute = sum(1 for _ in readings(city, INTERVAL_S))
        count = record(city, -(-DAY_READINGS * INTERVAL_S // per_minute), folder)
        whole = through_the_pipeline(city, Recording(folder).rounds())
    return Figure(
        f"a day of {DEVICES:,} devices at {INTERVAL_S} s replays in, all {count:,} messages",
        whole.wall_s, "s", DAY_GOAL_S, whole.wall_s <= DAY_GOAL_S,
    )  # fmt: skip


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
