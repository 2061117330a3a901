"""Publishes a scripted day to a broker, each message when city time reaches it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from core.clock import ScaledClock
from core.units import NS_PER_S, seconds_to_ns
from geo.city import City
from ingest.broker import BrokerAddress
from simulators.day.feed import HOURS, day_messages, write_day
from simulators.faults import FaultPlan, faults_of, inject, lies_of
from simulators.publisher import Connection
from simulators.runner import Pace, RunCounts, Signals
from simulators.truth import TruthWriter


def run_day(
    *,
    city: City,
    seed: int,
    clock: ScaledClock,
    broker: BrokerAddress,
    truth_path: Path,
    faults: FaultPlan,
    duration_s: float | None = None,
    stop: threading.Event | None = None,
) -> RunCounts:
    """Publish a day until it is over, stopped, or the process gets SIGTERM.

    Messages are never skipped: when late, they are sent as fast as the broker takes them.

    Args:
        city: With the devices of a whole city, such as ``generated:district``.
        seed: Of the world.
        clock: City time; its epoch is the begin of the day.
        broker: Where to publish.
        truth_path: What really happens goes here at the start, faults as they are made.
        faults: What goes wrong in devices and on the network.
        duration_s: Wall seconds of the run; None for the whole day.
        stop: Set from elsewhere to end the run.

    Returns:
        What was published.

    Raises:
        ServiceError: The broker cannot be reached or refuses us.
    """
    stop = stop or threading.Event()
    signals = Signals(stop)
    counts, pace = RunCounts(), Pace(clock, stop)
    try:
        day = write_day(city, seed=seed, start_ns=clock.epoch_ns + NS_PER_S, hours=HOURS)
        end_ns = day.end_ns
        if duration_s is not None:
            end_ns = min(end_ns, clock.epoch_ns + seconds_to_ns(duration_s * clock.factor))
        needed = {name for one in day.things for name in one.devices}
        spare = [one for name, one in sorted(city.devices.items()) if name not in needed]
        lies = lies_of(spare, faults, seed=seed, start_ns=day.start_ns, end_ns=day.end_ns)
        connection = Connection(broker, f"qingniao-day-{os.getpid()}")
        try:
            with TruthWriter(truth_path) as truth:
                truth.write([*day.things, *day.near_misses, *faults_of(lies)])
                pace.begin()
                for message in inject(
                    day_messages(day, lies), faults, seed=seed, note=lambda one: truth.write((one,))
                ):
                    if message.at_ns >= end_ns or not pace.wait_for(message.at_ns):
                        break
                    counts.latest_s = max(counts.latest_s, pace.late_s(message.at_ns))
                    if not connection.publish(
                        message.topic, message.payload, message.qos, give_up=stop.is_set
                    ):
                        break
                    counts.messages += 1
                    if message.fault is not None:
                        delayed = message.fault.delay_s > 0
                        counts.delayed += delayed
                        counts.duplicated += message.fault.kind == "duplicate"
        finally:
            connection.close()
    finally:
        signals.restore()
    return counts
