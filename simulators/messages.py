"""Messages that fall due: what is published, when, and the mild faults of real networks."""

from __future__ import annotations

import hashlib
import heapq
import uuid
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from core.units import NS_PER_MS, NS_PER_S, seconds_to_ns
from simulators.truth import Fault

#: Share of sensor messages that are sent twice, and that come late.
DUPLICATE_RATIO = 0.01
DELAY_RATIO = 0.01
MAX_DELAY_S = 5.0


class ScheduledMessage(NamedTuple):
    """A message and the city time at which it leaves the device.

    ``thing_id`` and ``observed_ns`` are those that a decoder will read out of the payload.
    """

    at_ns: int
    topic: str
    payload: bytes
    qos: int
    thing_id: str
    observed_ns: int
    fault: Fault | None = None


_JSON = msgspec.json.Encoder()


def to_json(body: object) -> bytes:
    """Compact JSON with keys in the order they were given."""
    return _JSON.encode(body)


def whole_ms(instant_ns: int) -> int:
    """An instant cut to milliseconds, which is what messages carry."""
    return instant_ns // NS_PER_MS * NS_PER_MS


def whole_s(instant_ns: int) -> int:
    """An instant cut to seconds."""
    return instant_ns // NS_PER_S * NS_PER_S


def digest(*labels: object) -> int:
    """128 bits that follow from the labels, the same on every machine and Python.

    Example:
        >>> digest(7, "a") == digest(7, "a"), digest(7, "a") == digest(7, "b")
        (True, False)
    """
    text = "\x1f".join(map(str, labels)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "big")


def share_of(*labels: object) -> float:
    """A number in [0, 1) that follows from the labels."""
    return digest(*labels) / 2.0**128


def make_uuid(*labels: object) -> str:
    """A UUID that follows from the labels.

    Example:
        >>> make_uuid(1, "t")
        '41d66a71-eced-49cf-ac3d-71e106d33851'
    """
    return str(uuid.UUID(int=digest(*labels), version=4))


def with_faults(
    messages: Iterable[ScheduledMessage], *, seed: int, max_delay_s: float = MAX_DELAY_S
) -> Iterator[ScheduledMessage]:
    """Send some messages twice and some late, as networks do, and put them in order again.

    Which ones follows from the seed and the message alone. At most the messages of
    ``max_delay_s`` are held at a time.

    Args:
        messages: In time order.
        seed: Of the world.
        max_delay_s: The longest delay.
    """
    held: list[tuple[int, int, ScheduledMessage]] = []
    number = 0
    for message in messages:
        while held and held[0][0] <= message.at_ns:
            yield heapq.heappop(held)[2]
        draw = share_of(seed, "fault", message.thing_id, message.at_ns)
        number += 2
        heap_item = message
        if draw < DUPLICATE_RATIO:
            again = message.at_ns + seconds_to_ns(0.1 + 1.4 * draw / DUPLICATE_RATIO)
            fault = Fault(
                kind="duplicate", thing_id=message.thing_id, observed_ns=message.observed_ns
            )
            repeat = message._replace(at_ns=again, fault=fault)
            heapq.heappush(held, (again, number + 1, repeat))
        elif draw < DUPLICATE_RATIO + DELAY_RATIO:
            delay_s = max_delay_s * (0.2 + 0.8 * (draw - DUPLICATE_RATIO) / DELAY_RATIO)
            fault = Fault(
                kind="delay",
                thing_id=message.thing_id,
                observed_ns=message.observed_ns,
                delay_s=round(delay_s, 3),
            )
            heap_item = message._replace(at_ns=message.at_ns + seconds_to_ns(delay_s), fault=fault)
        heapq.heappush(held, (heap_item.at_ns, number, heap_item))
    while held:
        yield heapq.heappop(held)[2]
