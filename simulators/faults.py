"""Faults of networks and devices: seeded, chosen by name or number, and noted in the truth.

Faults of the network act on messages (:func:`inject`), faults of devices on what they read and
say (:func:`lies_of`). Which message or device is hit follows from the seed and its own name and
time, not from what else is sent.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from core.city import Device
from core.errors import InputError
from core.units import NS_PER_S, seconds_to_ns
from simulators.devices.group import Lie
from simulators.messages import ScheduledMessage, digest, share_of
from simulators.truth import Fault

#: Longest a message is held back; a storm may hold it for its own length besides.
MAX_DELAY_S = 20.0
MAX_STORM_S = 90.0

#: Things of one gateway drop out together in a storm: one in so many.
_GATEWAYS = 4


class FaultPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How much goes wrong.

    Ratios of messages: ``loss`` (never arrives), ``duplicate`` (arrives twice), ``delay`` (up to
    :data:`MAX_DELAY_S`), ``reorder`` (the next ones overtake it), ``corrupt`` (cut, or bytes
    spoilt). ``storm`` is disconnect storms an hour: one gateway's things are silent for up to
    :data:`MAX_STORM_S`, then all that waited comes at once. Ratios of devices, each for some
    hours: ``skew`` (its clock is off), ``drift``, ``stuck``, ``deaf`` (says that all is well),
    ``cry`` (says that all is not).
    """

    loss: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    storm: float = 0.0
    skew: float = 0.0
    drift: float = 0.0
    stuck: float = 0.0
    deaf: float = 0.0
    cry: float = 0.0


#: Plans by name. With ``mild`` every thing can still be found; with ``hostile`` not all can.
PLANS = {
    "none": FaultPlan(),
    "mild": FaultPlan(duplicate=0.01, delay=0.01, reorder=0.01, corrupt=0.0005, skew=0.01),
    "rough": FaultPlan(
        loss=0.005, duplicate=0.02, delay=0.03, reorder=0.02, corrupt=0.002, storm=1.0,
        skew=0.03, drift=0.01, stuck=0.005,
    ),
    "hostile": FaultPlan(
        loss=0.05, duplicate=0.05, delay=0.08, reorder=0.05, corrupt=0.01, storm=4.0,
        skew=0.05, drift=0.03, stuck=0.02, deaf=0.02, cry=0.01,
    ),
}  # fmt: skip

#: What a lying device says, by kind: well beyond what any rule would let pass.
_CRIES = {"water_level": 0.6, "smoke": 0.7, "gas": 0.35, "manhole": 45.0, "parking": 1.0}
#: What a drifting one gains in an hour.
_DRIFTS = {"water_level": 0.01, "smoke": 0.01, "gas": 0.006, "manhole": 0.8, "site_air": 6.0}

_DEVICE_FAULTS = ("skew", "drift", "stuck", "deaf", "cry")


def parse_faults(text: str) -> FaultPlan:
    """Read a plan: a name, numbers, or a name and numbers that change it.

    Raises:
        InputError: An unknown word, or a number that is none or negative; says what is accepted.

    Example:
        >>> parse_faults("mild,loss=0.02").loss, parse_faults("storm=3").storm
        (0.02, 3.0)
        >>> parse_faults("mild,los=0.02")
        Traceback (most recent call last):
        ...
        core.errors.InputError: faults: one of none, mild, rough, hostile, or one of loss, \
duplicate, delay, reorder, corrupt, storm, skew, drift, stuck, deaf, cry with =NUMBER was \
wanted, got 'los=0.02'
    """
    plan = FaultPlan()
    names = FaultPlan.__struct_fields__
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, _, number = part.partition("=")
        try:
            if not number:
                plan = PLANS[part]
                continue
            value = float(number)
            if name not in names or not 0.0 <= value <= (60.0 if name == "storm" else 1.0):
                raise ValueError(part)
        except (KeyError, ValueError):
            raise InputError(
                f"faults: one of {', '.join(PLANS)}, or one of {', '.join(names)} with =NUMBER "
                f"was wanted, got {part!r}"
            ) from None
        plan = msgspec.structs.replace(plan, **{name: value})
    return plan


def lies_of(
    devices: Sequence[Device], plan: FaultPlan, *, seed: int, start_ns: int, end_ns: int
) -> dict[str, list[Lie]]:
    """Faults inside devices between two instants; at most one for each.

    Args:
        devices: Who may have one.
        plan: How many have.
        seed: Of the world.
        start_ns: From when.
        end_ns: Until when.
    """
    found: dict[str, list[Lie]] = {}
    for device in devices:
        draw = share_of(seed, "lie", device.thing_id)
        for kind in _DEVICE_FAULTS:
            ratio = getattr(plan, kind)
            if draw >= ratio:
                draw -= ratio
                continue
            amount = 0.0
            if kind == "skew":
                amount = round(40.0 * share_of(seed, "skew", device.thing_id) - 20.0, 3)
            elif kind == "drift":
                amount = _DRIFTS.get(device.kind, 0.0)
            elif kind == "cry":
                amount = _CRIES.get(device.kind, 0.0)
            if kind in {"drift", "cry"} and not amount:
                break
            first = share_of(seed, "lie at", device.thing_id)
            begin_ns = start_ns + int(0.7 * first * (end_ns - start_ns))
            hours = 1.0 + 5.0 * share_of(seed, "lie for", device.thing_id)
            until_ns = min(end_ns, begin_ns + seconds_to_ns(3600 * hours))
            found[device.thing_id] = [Lie(kind, begin_ns, until_ns, amount)]
            break
    return found


def faults_of(lies: Mapping[str, Sequence[Lie]]) -> list[Fault]:
    """Faults inside devices as the truth notes them."""
    return [
        Fault(
            kind=lie.kind,
            thing_id=thing,
            observed_ns=lie.start_ns,
            ended_ns=lie.end_ns,
            amount=lie.amount,
        )
        for thing, many in sorted(lies.items())
        for lie in many
    ]


def inject(
    messages: Iterable[ScheduledMessage],
    plan: FaultPlan,
    *,
    seed: int,
    note: Callable[[Fault], None],
) -> Iterator[ScheduledMessage]:
    """Let the network do to messages what it does, and put them in order of arrival again.

    At most the messages of a storm's length are held at a time.

    Args:
        messages: In time order; ``at_ns`` is when each leaves its device.
        plan: How much goes wrong.
        seed: Of the world.
        note: Told each fault.

    Yields:
        What arrives, in order of arrival; ``at_ns`` is when.
    """
    storms = _Storms(plan.storm, seed)
    held: list[tuple[int, int, ScheduledMessage]] = []
    number = 0
    for message in messages:
        while held and held[0][0] <= message.at_ns:
            yield heapq.heappop(held)[2]
        for one in _hit(message, plan, storms, seed):
            if one.fault is not None:
                note(one.fault)
                if one.fault.kind == "loss":
                    continue
            number += 1
            heapq.heappush(held, (one.at_ns, number, one))
    while held:
        yield heapq.heappop(held)[2]


def _hit(
    message: ScheduledMessage, plan: FaultPlan, storms: _Storms, seed: int
) -> list[ScheduledMessage]:
    """What becomes of one message."""

    def fault(kind: str, delay_s: float = 0.0) -> Fault:
        return Fault(
            kind=kind,
            thing_id=message.thing_id,
            observed_ns=message.observed_ns,
            delay_s=round(delay_s, 3),
        )

    until_ns = storms.over_at(message)
    bits = digest(seed, "fault", message.thing_id, message.at_ns, message.topic)
    draw, more = (bits >> 64) / 2.0**64, (bits & (2**64 - 1)) / 2.0**64
    if until_ns:
        waited_s = (until_ns - message.at_ns) / NS_PER_S
        return [message._replace(at_ns=until_ns, fault=fault("storm", waited_s))]
    for kind in ("loss", "duplicate", "delay", "reorder", "corrupt"):
        ratio = getattr(plan, kind)
        if draw >= ratio:
            draw -= ratio
            continue
        if kind == "duplicate":
            again_ns = message.at_ns + seconds_to_ns(0.1 + 3.0 * more)
            return [message, message._replace(at_ns=again_ns, fault=fault(kind))]
        if kind == "corrupt":
            spoilt = message._replace(payload=spoil(message.payload, more), fault=fault(kind))
            return [spoilt]
        if kind == "loss":
            return [message._replace(fault=fault(kind))]
        longest_s = MAX_DELAY_S if kind == "delay" else 2.0
        delay_s = longest_s * (0.1 + 0.9 * more)
        late_ns = message.at_ns + seconds_to_ns(delay_s)
        return [message._replace(at_ns=late_ns, fault=fault(kind, delay_s))]
    return [message]


def spoil(payload: bytes, share: float) -> bytes:
    """Cut a payload or overwrite bytes of it, so that nothing can read it.

    Example:
        >>> spoil(b'{"a":1}', 0.2), spoil(b'{"a":1}', 0.9)
        (b'{"a', b'\\xff\\xff\\xff\\xff\\xff1}')
    """
    if share < 0.5:
        return payload[: max(1, int(len(payload) * (0.2 + 1.4 * share)))][: len(payload) - 1]
    return b"\xff" * len(payload[:5]) + payload[5:]


class _Storms:
    """When the things of which gateway are cut off."""

    def __init__(self, an_hour: float, seed: int) -> None:
        self._span_ns = int(3600 * NS_PER_S / an_hour) if an_hour > 0 else 0
        self._seed = seed
        self._of: dict[int, tuple[int, int, int]] = {}
        self._gateway: dict[str, int] = {}

    def over_at(self, message: ScheduledMessage) -> int:
        """When a message that falls into a storm gets through; 0 for one that does not."""
        if not self._span_ns:
            return 0
        number = message.at_ns // self._span_ns
        known = self._of.get(number)
        if known is None:
            begin = number * self._span_ns + int(
                0.8 * share_of(self._seed, "storm at", number) * self._span_ns
            )
            length_s = MAX_STORM_S * (0.2 + 0.8 * share_of(self._seed, "storm for", number))
            gateway = digest(self._seed, "storm of", number) % _GATEWAYS
            known = self._of[number] = (begin, begin + seconds_to_ns(length_s), gateway)
            self._of.pop(number - 2, None)
        begin, end, gateway = known
        if not begin <= message.at_ns < end:
            return 0
        mine = self._gateway.get(message.thing_id)
        if mine is None:
            mine = digest("gateway", message.thing_id) % _GATEWAYS
            self._gateway[message.thing_id] = mine
        if mine != gateway:
            return 0
        # All that waited comes within a second, in the order in which it was sent.
        return end + (message.at_ns - begin) // 100


__all__ = ["PLANS", "FaultPlan", "faults_of", "inject", "lies_of", "parse_faults", "spoil"]
