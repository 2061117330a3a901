"""One kind of device: when its devices report, what they read, and the messages of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from core.city import Device
from core.units import NS_PER_MS, NS_PER_S, seconds_to_ns
from simulators.devices.catalogue import CATALOGUE
from simulators.devices.noise import keys_of, normal, uniform
from simulators.devices.wire import (
    Encoder,
    Report,
    Wire,
    chirpstack_encoder,
    plain_encoder,
    senml_cbor_encoder,
    senml_encoder,
)
from simulators.environment import Environment
from simulators.messages import ScheduledMessage

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_WANDER_NS = 5 * 3600 * NS_PER_S
_YEAR_NS = 365 * 86_400 * NS_PER_S
#: A device that reports on change needs so long to notice.
_NOTICE_S = (0.4, 1.4)


class Away(Protocol):
    """A measure's way from rest to a peak and back: a trapezoid, a curve."""

    @property
    def start_ns(self) -> int:
        """When it leaves."""
        ...

    @property
    def end_ns(self) -> int:
        """When it is back."""
        ...

    @property
    def peak(self) -> float:
        """Where it goes."""
        ...

    def shape(self, instants_ns: Ints) -> Floats:
        """0 at rest to 1 at the peak, shape of the instants."""
        ...


#: What happens to devices: by thing and measure.
Excursions = Mapping[str, Mapping[str, Sequence[Away]]]


class Lie(NamedTuple):
    """A fault inside a device, from one instant to another.

    ``drift`` adds ``amount`` of the measure's units an hour; ``stuck`` repeats what it read when
    it began; ``deaf`` reads as if nothing happened; ``cry`` reads ``amount`` whatever happens;
    ``skew`` moves its clock by ``amount`` seconds. Drift and cry are of the first measure.
    """

    kind: str
    start_ns: int
    end_ns: int
    amount: float = 0.0


class DeviceGroup:
    """The devices of one kind.

    Args:
        city: Name of the city, for topics.
        kind_name: A kind of the catalogue.
        devices: Of that kind, in a fixed order.
        seed: Of the world.
        environment: What they measure.
    """

    def __init__(
        self, city: str, kind_name: str, devices: list[Device], seed: int, environment: Environment
    ) -> None:
        kind = CATALOGUE[kind_name]
        self.kind_name, self.kind, self.devices = kind_name, kind, devices
        self.environment = environment
        names = [device.thing_id for device in devices]
        self.number_of = {name: number for number, name in enumerate(names)}
        self.keys = keys_of(seed, "device", names)
        self.report_every(kind.interval_s)
        self.sequences = np.zeros(len(devices), np.int64)
        self.rests = [
            signal.base + signal.spread * (2 * uniform(self.keys, 100 + n) - 1)
            for n, signal in enumerate(kind.signals)
        ]
        self.battery_ns = _YEAR_NS * max(kind.battery_years, 0.1) * (0.2 + uniform(self.keys, 2))
        self.encode = self._encoder(city, seed)

    def labels(self, device: Device) -> dict[str, str]:
        """What a device says of itself beside its measures, in plain JSON."""
        return {}

    def _encoder(self, city: str, seed: int) -> Encoder:
        kind = self.kind
        units = [(signal.stem or signal.measure, signal.unit) for signal in kind.signals]
        if kind.wire is Wire.SENML:
            return senml_encoder(city, units, self.devices)
        if kind.wire is Wire.SENML_CBOR:
            return senml_cbor_encoder(city, units, self.devices)
        if kind.wire is Wire.CHIRPSTACK:
            gateways = max(1, len(self.devices) // 40)
            return chirpstack_encoder(seed, self.kind_name, kind.model, self.devices, gateways)
        measures = [signal.measure for signal in kind.signals]
        labels = [self.labels(device) for device in self.devices]
        return plain_encoder(city, self.kind_name, measures, self.devices, labels)

    def report_every(self, interval_s: int) -> None:
        """Have all devices report at another interval than their kind's, from the epoch on."""
        self.interval_ns = interval_s * NS_PER_S
        self.phases = whole_ms(uniform(self.keys, 1) * self.interval_ns)

    # -- when ---------------------------------------------------------------------------------

    def schedule(self, begin_ns: int, end_ns: int, excursions: Excursions) -> tuple[Ints, Ints]:
        """Number of the device and instant of each report in [begin, end), sorted."""
        numbers, times = self.regular(begin_ns, end_ns, self.interval_ns, self.phases)
        extra = [
            (number, at_ns)
            for thing, by_measure in excursions.items()
            if (number := self.number_of.get(thing)) is not None
            for at_ns in self._called_for(number, by_measure, begin_ns, end_ns)
        ]
        if extra:
            more = np.array(extra, np.int64)
            both = np.stack(
                [np.concatenate([numbers, more[:, 0]]), np.concatenate([times, more[:, 1]])]
            )
            numbers, times = np.unique(both, axis=1)
        return numbers, times

    def regular(
        self, begin_ns: int, end_ns: int, interval_ns: int, phases: Ints
    ) -> tuple[Ints, Ints]:
        """Reports by the clock: each device at its own phase."""
        base = self.environment.epoch_ns + phases
        first = -((base - begin_ns) // interval_ns)
        first = np.maximum(first, 0)
        count = np.maximum(-((base - end_ns) // interval_ns) - first, 0)
        numbers = np.repeat(np.arange(len(base)), count)
        within = np.arange(len(numbers)) - np.repeat(np.cumsum(count) - count, count)
        return numbers, base[numbers] + (first[numbers] + within) * interval_ns

    def _called_for(
        self,
        number: int,
        by_measure: Mapping[str, Sequence[Away]],
        begin_ns: int,
        end_ns: int,
    ) -> Iterator[int]:
        """Reports of a device because something happens to it."""
        alert = self.kind.alert
        for measure, many in by_measure.items():
            for one in many:
                if one.end_ns + 120 * NS_PER_S < begin_ns or one.start_ns >= end_ns:
                    continue
                if self.kind.on_change:
                    for edge_ns in (one.start_ns, one.end_ns):
                        low, high = _NOTICE_S
                        share = float(uniform(self.keys[number : number + 1], edge_ns)[0])
                        at_ns = edge_ns + seconds_to_ns(round(low + (high - low) * share, 3))
                        if begin_ns <= at_ns < end_ns:
                            yield at_ns
                elif alert is not None:
                    yield from self._alerted(number, measure, by_measure, one, begin_ns, end_ns)

    def _alerted(
        self,
        number: int,
        measure: str,
        by_measure: Mapping[str, Sequence[Away]],
        one: Away,
        begin_ns: int,
        end_ns: int,
    ) -> list[int]:
        """It samples at the shorter interval and reports at or above the level, and once after."""
        alert = self.kind.alert
        assert alert is not None
        step = alert.interval_s * NS_PER_S
        base = self.environment.epoch_ns + int(self.phases[number])
        first = max(one.start_ns, begin_ns - 2 * step)
        last = min(one.end_ns + 3 * step, end_ns)
        times = np.arange(base - (base - first) // step * step, last, step, dtype=np.int64)
        if not len(times):
            return []
        numbers = np.full(len(times), number)
        place = [signal.measure for signal in self.kind.signals].index(measure)
        found = self.values(numbers, times, {self.devices[number].thing_id: by_measure})[place]
        # A measure without a level of its own is watched as long as something happens to it.
        high = found >= alert.level if measure == alert.measure else times < one.end_ns
        keep = high.copy()
        keep[1:] |= high[:-1]
        keep &= (times >= begin_ns) & (times < end_ns)
        return [int(at_ns) for at_ns in times[keep]]

    # -- what ---------------------------------------------------------------------------------

    def values(
        self,
        numbers: NDArray[np.intp],
        times: Ints,
        excursions: Excursions,
        lies: Mapping[str, Sequence[Lie]] | None = None,
    ) -> list[Floats]:
        """What is read, cut to steps: one array per signal, of the reports' shape."""
        read_at, deaf = times, np.zeros(len(times), np.bool_)
        gained, cried = np.zeros(len(times)), np.full(len(times), np.nan)
        for thing, many in (lies or {}).items():
            number = self.number_of.get(thing)
            if number is None:
                continue
            for lie in many:
                rows = (numbers == number) & (times >= lie.start_ns) & (times < lie.end_ns)
                if lie.kind == "stuck":
                    read_at = np.where(rows, lie.start_ns, read_at)
                elif lie.kind == "deaf":
                    deaf |= rows
                elif lie.kind == "cry":
                    cried[rows] = lie.amount
                elif lie.kind == "drift":
                    hours = (times - lie.start_ns) / (3600 * NS_PER_S)
                    gained = gained + np.where(rows, lie.amount * hours, 0.0)
        found = []
        keys, millis = self.keys[numbers], read_at // NS_PER_MS
        for place, signal in enumerate(self.kind.signals):
            value = self.rests[place][numbers]
            for channel, gain in signal.follows:
                value = value + gain * self.environment.channel(channel, read_at)
            if signal.drift:
                turns = read_at % _WANDER_NS / _WANDER_NS + uniform(self.keys, 200 + place)[numbers]
                value = value + signal.drift * np.sin(2 * np.pi * turns)
            for thing, by_measure in excursions.items():
                number = self.number_of.get(thing)
                if number is None or signal.measure not in by_measure:
                    continue
                rows = (numbers == number) & ~deaf
                for one in by_measure[signal.measure]:
                    shape = np.where(rows, one.shape(read_at), 0.0)
                    value = value + shape * (one.peak - value)
            if signal.noise:
                value = value + signal.noise * normal(keys, millis * 16 + place)
            if place == 0:
                value = np.where(np.isnan(cried), value + gained, cried)
            steps = np.round(np.clip(value, signal.low, signal.high) / signal.quantum)
            found.append(np.round(steps * signal.quantum, 6))
        return found

    def messages(
        self,
        begin_ns: int,
        end_ns: int,
        excursions: Excursions,
        lies: Mapping[str, Sequence[Lie]],
    ) -> list[ScheduledMessage]:
        """All reports of the kind in [begin, end), by device and time."""
        mine = {thing: many for thing, many in excursions.items() if thing in self.number_of}
        numbers, times = self.schedule(begin_ns, end_ns, mine)
        if not len(numbers):
            return []
        columns = self.values(numbers, times, mine, lies)
        return self.encoded(numbers, times, columns, self.encode, lies)

    def encoded(
        self,
        numbers: NDArray[np.intp],
        times: Ints,
        columns: Sequence[Floats],
        encode: Encoder,
        lies: Mapping[str, Sequence[Lie]],
    ) -> list[ScheduledMessage]:
        """Reports as messages; counts them."""
        order = np.lexsort((times, numbers))
        numbers, times = numbers[order], times[order]
        starts = np.searchsorted(numbers, numbers, side="left")
        sequences = self.sequences[numbers] + np.arange(len(numbers)) - starts + 1
        self.sequences += np.bincount(numbers, minlength=len(self.devices))
        clocks = whole_ms(times + self._skew(numbers, times, lies))
        texts = np.datetime_as_string((clocks // NS_PER_MS).astype("datetime64[ms]")).tolist()
        rows = (
            list(zip(*(column[order].tolist() for column in columns), strict=True))
            if columns
            else [()] * len(numbers)
        )
        batteries: Sequence[float | None] = [None] * len(numbers)
        if self.kind.battery_years:
            spent = (times - self.environment.epoch_ns) / self.battery_ns[numbers]
            left = np.clip(0.55 + 0.44 * uniform(self.keys, 3)[numbers] - spent, 0.02, 1.0)
            told = sequences % 8 == 1
            batteries = [
                round(one, 2) if tell else None
                for one, tell in zip(left.tolist(), told.tolist(), strict=True)
            ]
        names = [device.thing_id for device in self.devices]
        found = []
        for number, at_ns, clock_ns, text, sequence, values, battery in zip(
            numbers.tolist(), times.tolist(), clocks.tolist(), texts, sequences.tolist(), rows,
            batteries, strict=True,
        ):  # fmt: skip
            topic, payload, observed_ns = encode(
                Report(number, at_ns, clock_ns, text + "Z", sequence, values, battery)
            )
            found.append(ScheduledMessage(at_ns, topic, payload, 1, names[number], observed_ns))
        return found

    def _skew(
        self, numbers: NDArray[np.intp], times: Ints, lies: Mapping[str, Sequence[Lie]]
    ) -> Ints:
        skew = np.zeros(len(times), np.int64)
        for thing, many in lies.items():
            number = self.number_of.get(thing)
            for lie in many if number is not None else ():
                if lie.kind == "skew":
                    rows = (numbers == number) & (times >= lie.start_ns) & (times < lie.end_ns)
                    skew[rows] += seconds_to_ns(lie.amount)
        return skew


def phase_ns(seed: int, device: Device) -> int:
    """How long after the epoch, and after each interval, a device reports."""
    interval_ns = CATALOGUE[device.kind].interval_s * NS_PER_S
    keys = keys_of(seed, "device", [device.thing_id])
    return int(whole_ms(uniform(keys, 1) * interval_ns)[0])


def whole_ms(instants_ns: Ints | Floats) -> Ints:
    """Instants cut to milliseconds, which is what messages carry."""
    return np.asarray(instants_ns).astype(np.int64) // NS_PER_MS * NS_PER_MS
