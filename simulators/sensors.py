"""Fixed sensors: signals with noise, drift and quantisation, in the formats they speak.

Water level, manhole covers, smoke and parking speak plain JSON; gas and site air speak SenML.
Manhole covers and parking bays report when something changes and by a heartbeat; the others at
a fixed interval. Every second plain sensor sends no position: the register of devices has it.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.city import Device
from core.topics import senml_topic, sensor_topic
from core.units import NS_PER_S, ns_to_rfc3339, seconds_to_ns
from simulators.environment import Environment
from simulators.messages import ScheduledMessage, digest, share_of, to_json, whole_ms, whole_s


class Excursion(msgspec.Struct, frozen=True, kw_only=True):
    """A signal leaves its rest level for a peak and returns: a trapezoid in time."""

    start_ns: int
    end_ns: int
    peak: float
    ramp_s: float = 0.0

    def shape(self, instants_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """0 at rest to 1 at the peak, shape of the instants."""
        since = (instants_ns - self.start_ns) / NS_PER_S
        left = (self.end_ns - instants_ns) / NS_PER_S
        inside = (since >= 0) & (left > 0)
        if self.ramp_s <= 0:
            return inside.astype(np.float64)
        return np.where(inside, np.clip(np.minimum(since, left) / self.ramp_s, 0.0, 1.0), 0.0)

    def passes_ns(self, level: float, base: float) -> tuple[int, int]:
        """When it passes a level on the way up and on the way down."""
        share = (level - base) / (self.peak - base)
        aside = seconds_to_ns(self.ramp_s * min(1.0, max(0.0, share)))
        return self.start_ns + aside, self.end_ns - aside


class Signal(NamedTuple):
    """How a measure behaves at rest: level, how it differs and moves, noise, and its steps.

    ``follows`` names channels of the environment and what they add at their height.
    """

    measure: str
    base: float
    spread: float
    drift: float
    noise: float
    quantum: float
    low: float
    unit: str = ""
    follows: tuple[tuple[str, float], ...] = ()

    def base_at(self, environment: Environment, instants_ns: ArrayLike) -> NDArray[np.float64]:
        """Its level at instants, of their shape: a site is loud while it works."""
        level = np.full(np.shape(instants_ns), self.base)
        for channel, height in self.follows:
            level = level + height * environment.channel(channel, instants_ns)
        return level


class SensorKind(NamedTuple):
    """How a kind of sensor reports; ``change`` is the step it reports at once, 0 for none."""

    signals: tuple[Signal, ...]
    interval_s: int
    senml: bool = False
    change: bool = False


SENSOR_KINDS = {
    "water_level": SensorKind((Signal("water_level_m", 0.03, 0.01, 0.008, 0.003, 0.001, 0.0),), 10),
    "manhole": SensorKind((Signal("tilt_deg", 1.2, 0.8, 0.1, 0.15, 0.1, 0.0),), 30, change=True),
    "smoke": SensorKind((Signal("smoke_db_per_m", 0.03, 0.01, 0.005, 0.004, 0.01, 0.0),), 5),
    "gas": SensorKind(
        (Signal("gas_lel_ratio", 0.012, 0.006, 0.003, 0.002, 0.001, 0.0, "/"),), 5, senml=True
    ),
    "site_air": SensorKind(
        (
            Signal("pm10_ug_m3", 62.0, 10.0, 12.0, 2.2, 1.0, 0.0, "ug/m3"),
            Signal("noise_db", 44.0, 1.5, 1.5, 0.35, 0.1, 30.0, "dB", follows=(("works", 13.0),)),
        ),
        10,
        senml=True,
    ),
    "parking": SensorKind((Signal("occupied", 0.0, 0.0, 0.0, 0.0, 1.0, 0.0),), 60, change=True),
}

#: Slow drift has this period.
_DRIFT_NS = 5_400 * NS_PER_S
#: A sensor with reports on change needs so long to notice.
_NOTICE_S = (0.4, 1.4)


def rest_offset(seed: int, thing_id: str, signal: Signal) -> float:
    """By how much a sensor's measure rests above its kind's level; each sensor has its own."""
    return signal.spread * (2.0 * share_of(seed, "rest", thing_id, signal.measure) - 1)


def signal_values(
    environment: Environment,
    thing_id: str,
    signal: Signal,
    excursions: Sequence[Excursion],
    instants_ns: NDArray[np.int64],
    noise: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What a sensor reads: rest level, drift, excursions, noise, cut to its steps.

    Args:
        environment: Of the world.
        thing_id: The sensor.
        signal: The measure's behaviour.
        excursions: What happens to it.
        instants_ns: When it is read, shape (n,).
        noise: Standard normal numbers, shape (n,); cut at three sigma.

    Returns:
        Readings, shape (n,).
    """
    seed = environment.seed
    rest = signal.base_at(environment, instants_ns) + rest_offset(seed, thing_id, signal)
    phase = share_of(seed, "drift", thing_id, signal.measure)
    turns = (instants_ns % _DRIFT_NS) / _DRIFT_NS + phase
    values = rest + signal.drift * np.sin(2 * np.pi * turns)
    for excursion in excursions:
        values = values + excursion.shape(instants_ns) * (excursion.peak - values)
    values = values + signal.noise * np.clip(noise, -3.0, 3.0)
    steps = np.maximum(np.round(values / signal.quantum), np.ceil(signal.low / signal.quantum))
    return np.round(steps * signal.quantum, 6)


class Reading(NamedTuple):
    """One report of a sensor; measures in the order of its kind's signals."""

    at_ns: int
    values: tuple[float, ...]


def report_times(device: Device, *, seed: int, epoch_ns: int, begin_ns: int, end_ns: int) -> range:
    """When a sensor reports by its clock in [begin, end); each has its own phase."""
    interval_ns = SENSOR_KINDS[device.kind].interval_s * NS_PER_S
    phase_ns = whole_ms(int(interval_ns * share_of(seed, "phase", device.thing_id)))
    base_ns = epoch_ns + phase_ns
    first = base_ns - (base_ns - begin_ns) // interval_ns * interval_ns
    return range(first, end_ns, interval_ns)


def readings(
    device: Device,
    *,
    environment: Environment,
    block: tuple[int, int],
    excursions: Mapping[str, tuple[Excursion, ...]],
) -> list[Reading]:
    """What a sensor reports within a block of time.

    Args:
        device: The sensor.
        environment: Of the world.
        block: Begin and end of the block; nothing spans its ends.
        excursions: What happens to each measure in the block.
    """
    kind = SENSOR_KINDS[device.kind]
    seed, epoch_ns = environment.seed, environment.epoch_ns
    begin_ns, end_ns = block
    times = list(
        report_times(device, seed=seed, epoch_ns=epoch_ns, begin_ns=begin_ns, end_ns=end_ns)
    )
    if kind.change:
        for excursion in (one for many in excursions.values() for one in many):
            for edge_ns in (excursion.start_ns, excursion.end_ns):
                low, high = _NOTICE_S
                late = low + (high - low) * share_of(seed, "notice", device.thing_id, edge_ns)
                bisect.insort(times, edge_ns + seconds_to_ns(round(late, 3)))
    instants = np.array(times, np.int64)
    rng = np.random.default_rng(digest(seed, "noise", device.thing_id, begin_ns - epoch_ns))
    noise = rng.standard_normal((len(kind.signals), len(times)))
    columns = [
        signal_values(
            environment,
            device.thing_id,
            signal,
            excursions.get(signal.measure, ()),
            instants,
            noise[row],
        ).tolist()
        for row, signal in enumerate(kind.signals)
    ]
    return [
        Reading(at, values) for at, values in zip(times, zip(*columns, strict=True), strict=True)
    ]


def encode_reading(
    city: str, device: Device, reading: Reading, *, sequence: int, with_position: bool
) -> ScheduledMessage:
    """A report as the sensor sends it.

    Args:
        city: The city's name, for the topic.
        device: The sensor.
        reading: What it read.
        sequence: Its counter (plain JSON only).
        with_position: Whether it tells its place (plain JSON only).
    """
    kind = SENSOR_KINDS[device.kind]
    thing = device.thing_id
    if kind.senml:
        observed_ns = whole_s(reading.at_ns)
        pack: list[dict[str, str | int | float]] = [
            {"n": signal.measure, "u": signal.unit, "v": value}
            for signal, value in zip(kind.signals, reading.values, strict=True)
        ]
        pack[0] = {"bn": f"{thing}/", "bt": observed_ns // NS_PER_S, **pack[0]}
        payload = to_json(pack)
        return ScheduledMessage(
            reading.at_ns, senml_topic(city, thing), payload, 1, thing, observed_ns
        )
    observed_ns = whole_ms(reading.at_ns)
    body: dict[str, object] = {
        "thing": thing,
        "kind": device.kind,
        "time": ns_to_rfc3339(observed_ns),
        "seq": sequence,
    }
    if with_position:
        body |= {"lon": device.lon_deg, "lat": device.lat_deg}
    body["measures"] = {
        signal.measure: int(value) if signal.quantum == 1.0 else value
        for signal, value in zip(kind.signals, reading.values, strict=True)
    }
    return ScheduledMessage(
        reading.at_ns, sensor_topic(city, thing), to_json(body), 1, thing, observed_ns
    )


def sensor_messages(
    city: str,
    devices: Sequence[Device],
    blocks: Iterable[tuple[int, int, Mapping[str, Mapping[str, tuple[Excursion, ...]]]]],
    *,
    seed: int,
    epoch_ns: int,
) -> Iterator[ScheduledMessage]:
    """All that sensors send, in time order; one block of readings is held at a time.

    Args:
        city: The city's name.
        devices: The sensors; every second one tells no place.
        blocks: Begin, end and excursions (by thing and measure) of each block, from the epoch
            on: counters run through.
        seed: Of the world.
        epoch_ns: Its beginning.
    """
    environment = Environment(seed, epoch_ns)
    sequences = [0] * len(devices)
    for begin_ns, end_ns, excursions in blocks:
        due: list[tuple[int, int, int, Reading]] = []
        for number, device in enumerate(devices):
            for reading in readings(
                device,
                environment=environment,
                block=(begin_ns, end_ns),
                excursions=excursions.get(device.thing_id, {}),
            ):
                sequences[number] += 1
                due.append((reading.at_ns, number, sequences[number], reading))
        due.sort(key=lambda one: one[:3])
        for _, number, sequence, reading in due:
            yield encode_reading(
                city,
                devices[number],
                reading,
                sequence=sequence,
                with_position=number % 2 == 0,
            )
