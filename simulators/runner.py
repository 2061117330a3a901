"""Runs the simulated city: publishes each message when city time reaches it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from core.clock import HeldClock, ScaledClock
from core.topics import frame_topic
from core.units import NS_PER_S, seconds_to_ns
from geo.city import City
from ingest.broker import BrokerAddress
from simulators.faults import FaultPlan, inject
from simulators.feed import FrameMaker, frames_due, reading_messages
from simulators.publisher import Connection, PublishedLog
from simulators.truth import TruthWriter
from simulators.views import Conditions
from simulators.world import World

_LOG = logging.getLogger(__name__)

#: A frame that is later than this (wall seconds) is skipped and counted.
FRAME_LATE_S = 2.0
#: Longest sleep before a stop is noticed.
_NAP_S = 0.2
#: Longest wait for a camera when a signal came.
_PAINT_S = 0.3
#: Far beyond any run: 100 years of city time.
_FOREVER_NS = 100 * 365 * 86_400 * NS_PER_S


class RunCounts(msgspec.Struct, kw_only=True):
    """What a run published and what it left out."""

    messages: int = 0
    duplicated: int = 0
    delayed: int = 0
    frames: int = 0
    frames_late: int = 0
    frames_unsent: int = 0
    latest_s: float = 0.0


class Pace:
    """Waits for city time, until told to stop."""

    def __init__(self, clock: ScaledClock, stop: threading.Event) -> None:
        self._clock = clock
        self.stop = stop

    def begin(self) -> None:
        """Start city time where it is held."""
        if isinstance(self._clock, HeldClock):
            self._clock.start()

    def wait_for(self, city_ns: int) -> bool:
        """Sleep until city time reaches an instant; False when told to stop."""
        while not self.stop.is_set():
            left_s = self._clock.wall_seconds_until(city_ns)
            if left_s <= 0:
                return True
            self.stop.wait(min(left_s, _NAP_S))
        return False

    def late_s(self, city_ns: int) -> float:
        """Wall seconds since city time was there; negative before."""
        return (self._clock.now_ns() - city_ns) / 1e9 / self._clock.factor


def run_simulators(
    *,
    city: City,
    seed: int,
    clock: ScaledClock,
    broker: BrokerAddress,
    truth_path: Path,
    published_path: Path | None = None,
    duration_s: float | None = None,
    cameras: bool = True,
    faults: FaultPlan | None = None,
    conditions: Callable[[int], Conditions] | None = None,
    stop: threading.Event | None = None,
) -> RunCounts:
    """Publish a simulated city until it is over, stopped, or the process gets SIGTERM.

    Readings are never skipped: when late, they are sent as fast as the broker takes them.
    Frames travel on a connection and a thread of their own, and late ones are skipped.

    Args:
        city: The city.
        seed: Of the world.
        clock: City time; its epoch is the world's. One that is held is started here, once the
            first messages and pictures are ready to be sent.
        broker: Where to publish.
        truth_path: What really happened goes here, and only here.
        published_path: What was published when goes here.
        duration_s: Wall seconds of the run, counted from the clock's start; None has no end.
        cameras: Whether cameras take pictures.
        faults: What the network does to readings; a few repeats and delays unless given.
        conditions: Air and light before the cameras, by city time; calm and overcast unless given.
        stop: Set from elsewhere to end the run; SIGTERM and SIGINT do the same when this runs
            in a process's main thread, and then end the process if a camera does not stop in
            time.

    Returns:
        What was published and left out.

    Raises:
        ServiceError: The broker cannot be reached or refuses us.
    """
    stop = stop or threading.Event()
    end_ns = clock.epoch_ns + (
        _FOREVER_NS if duration_s is None else seconds_to_ns(duration_s * clock.factor)
    )
    signals = Signals(stop)
    counts = RunCounts()
    world = World(city, seed=seed, epoch_ns=clock.epoch_ns)
    pace = Pace(clock, stop)
    published = PublishedLog(published_path)
    camera_thread: threading.Thread | None = None
    pictures_ready = threading.Event()
    try:
        if cameras and city.cameras:
            camera_thread = threading.Thread(
                target=_publish_frames,
                args=(world, broker, pace, end_ns, published, counts, pictures_ready, conditions),
                name="cameras",
                daemon=True,
            )
            camera_thread.start()
        else:
            pictures_ready.set()
        _publish_readings(
            world, broker, pace, end_ns, published, counts, truth_path, pictures_ready, faults
        )
        stop.wait(0 if duration_s is None else max(0.0, -pace.late_s(end_ns)))
    finally:
        stop.set()
        if camera_thread is not None:
            camera_thread.join(_PAINT_S if signals.came else None)
        published.close()
        if camera_thread is not None and camera_thread.is_alive():
            # It paints a scene, which takes a second, and cannot be interrupted; an interpreter
            # that ends under it aborts. All files are written by now.
            os._exit(0)
        signals.restore()
    return counts


def _publish_readings(
    world: World,
    broker: BrokerAddress,
    pace: Pace,
    end_ns: int,
    published: PublishedLog,
    counts: RunCounts,
    truth_path: Path,
    pictures_ready: threading.Event,
    faults: FaultPlan | None,
) -> None:
    connection = Connection(broker, f"qingniao-sim-{os.getpid()}")
    next_block = 0
    world.block(0)
    try:
        while not pictures_ready.wait(_NAP_S):
            if pace.stop.is_set():
                return
        pace.begin()
        with TruthWriter(truth_path) as truth:
            messages = reading_messages(world, world.epoch_ns, end_ns, sound=faults is not None)
            if faults is not None:
                # What the network does is noted as it does it: what is lost is never published.
                messages = (
                    message._replace(fault=None)
                    for message in inject(
                        messages, faults, seed=world.seed, note=lambda one: truth.write((one,))
                    )
                )
            for message in messages:
                while next_block <= world.index_at(message.at_ns):
                    block = world.block(next_block)
                    truth.write((*block.things, *block.near_misses))
                    next_block += 1
                if not pace.wait_for(message.at_ns):
                    return
                counts.latest_s = max(counts.latest_s, pace.late_s(message.at_ns))
                wall_ns = time.monotonic_ns()
                if not connection.publish(
                    message.topic, message.payload, message.qos, give_up=pace.stop.is_set
                ):
                    return
                counts.messages += 1
                published.add(message.thing_id, message.observed_ns, wall_ns)
                if message.fault is not None:
                    truth.write((message.fault,))
                    if message.fault.kind == "duplicate":
                        counts.duplicated += 1
                    else:
                        counts.delayed += 1
    finally:
        connection.close()


def _publish_frames(
    world: World,
    broker: BrokerAddress,
    pace: Pace,
    end_ns: int,
    published: PublishedLog,
    counts: RunCounts,
    ready: threading.Event,
    conditions: Callable[[int], Conditions] | None,
) -> None:
    # A world of its own: blocks are kept without a lock, and both say the same.
    world = World(world.city, seed=world.seed, epoch_ns=world.epoch_ns)
    maker = FrameMaker(world, conditions)
    connection = Connection(broker, f"qingniao-sim-frames-{os.getpid()}")
    try:
        maker.prepare()
        ready.set()
        for due in frames_due(world, world.epoch_ns, end_ns):
            if not pace.wait_for(due.at_ns):
                return
            if pace.late_s(due.at_ns) > FRAME_LATE_S:
                counts.frames_late += 1
                continue
            payload = maker.take(due)
            topic = frame_topic(world.city.name, due.camera_id)
            wall_ns = time.monotonic_ns()
            if connection.publish(topic, payload, 0, give_up=pace.stop.is_set):
                counts.frames += 1
                published.add(due.camera_id, due.at_ns, wall_ns)
            else:
                counts.frames_unsent += 1
    except Exception:
        # The run goes on without pictures; that must not go unseen.
        _LOG.exception("cameras stopped")
        raise
    finally:
        ready.set()
        connection.close()


class Signals:
    """Sets ``stop`` on SIGTERM and SIGINT, in a process's main thread."""

    def __init__(self, stop: threading.Event) -> None:
        self.came = False
        self._stop = stop
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.came = True
        self._stop.set()

    def restore(self) -> None:
        """Put back what was there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
