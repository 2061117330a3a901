"""Deliveries that MQTT may repeat, recognised also after a crash. Pure.

An observation of a device that sends neither time nor number has its time of receipt in its id
(docs/decisions/0008). A broker that got no acknowledgement sends the message again, marked DUP
and under the same packet identifier (MQTT 3.1.1, 4.4); given the time of receipt it had at
first, the repeat collides with itself. The packet identifier tells two equal readings apart.

What was delivered is written into the log with the observations it gave, and read back at the
next start: a record that the log has, and of which no acknowledgement reached the broker before
the process was killed, is thus known.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from core.observations import Columns
from core.ports import RawMessage
from core.units import seconds_to_ns
from ingest import metrics

#: A message marked DUP is the one that came before under its key while no other has come for the
#: first time more than this after that one.
REPEAT_WINDOW_S = 120.0

#: Messages remembered: about 15 MB. A broker may repeat as many as it has packet identifiers,
#: 65,535; the same identifier comes again no sooner than that.
REMEMBERED = 61_440


def delivery_key(message: RawMessage) -> int:
    """Packet identifier, topic and content of a message as one number below 2**48.

    Example:
        >>> one = RawMessage(topic="t", payload=b"x", received_ns=1, qos=1, packet_id=7)
        >>> again = msgspec.structs.replace(one, received_ns=2, duplicate=True)
        >>> other = msgspec.structs.replace(one, packet_id=8)
        >>> delivery_key(one) == delivery_key(again), delivery_key(one) == delivery_key(other)
        (True, False)
    """
    content = zlib.crc32(message.payload, zlib.crc32(message.topic.encode("utf-8", "replace")))
    return message.packet_id << 32 | content


class _Delivery(msgspec.Struct, frozen=True, gc=False):
    """When a message came, for the first time and last; how many had come for the first time."""

    first_ns: int
    last_ns: int
    number: int


class Repeats:
    """Gives a message that MQTT repeats (DUP) the time of receipt it had at first.

    Entries leave when another message comes for the first time more than ``window_s`` later, or
    when ``remembered`` have come since: not many more, and a broker gives their packet
    identifier to another. However long broker or ingest are away meanwhile: what a broker
    repeats comes before what it has not sent yet (MQTT 3.1.1, 4.6).
    """

    def __init__(self, window_s: float = REPEAT_WINDOW_S, remembered: int = REMEMBERED) -> None:
        self._window_ns = seconds_to_ns(window_s)
        self._remembered = remembered
        self._deliveries: OrderedDict[int, _Delivery] = OrderedDict()
        #: Messages that came for the first time: how many, and when the newest did.
        self._count = 0
        self._newest_ns = 0

    def __len__(self) -> int:
        return len(self._deliveries)

    def settle(self, messages: Sequence[RawMessage]) -> list[RawMessage]:
        """The messages, repeats with their first time of receipt; order is kept."""
        settled = []
        for message in messages:
            first_ns = message.received_ns
            if message.qos:
                key = delivery_key(message)
                known = self._deliveries.get(key) if message.duplicate else None
                if known is None or self._is_another(known):
                    self._count += 1
                    number = self._count
                else:
                    metrics.REPEATS.inc()
                    first_ns, number = known.first_ns, known.number
                self._remember(key, _Delivery(first_ns, message.received_ns, number))
                if not message.duplicate:
                    self._newest_ns = max(self._newest_ns, message.received_ns)
            settled.append(
                message
                if first_ns == message.received_ns
                else msgspec.structs.replace(message, received_ns=first_ns)
            )
        self._evict()
        return settled

    def restore(self, records: Iterable[tuple[int, int, bytes]]) -> None:
        """Take over what records of the log say was delivered, the oldest record first.

        Args:
            records: When ingest logged a record, how many messages are in it that are in none
                after it, and what it wrote into it of deliveries.
        """
        for logged_ns, count, written in records:
            self._count += count
            for key, first_ns in np.frombuffer(written, np.int64).reshape(-1, 2).tolist():
                known = self._deliveries.get(key)
                again = known is not None and known.first_ns == first_ns
                number = known.number if known and again else self._count
                self._remember(key, _Delivery(first_ns, logged_ns, number))
                self._newest_ns = max(self._newest_ns, first_ns)
        self._evict()

    def is_forgotten(self, logged_ns: int, newest_ns: int) -> bool:
        """Whether nothing of a record is remembered any more.

        Args:
            logged_ns: When ingest logged it.
            newest_ns: When a message came, of those that came for the first time the newest.
        """
        return logged_ns < newest_ns - self._window_ns

    def _is_another(self, known: _Delivery) -> bool:
        """Whether a message with the key of one that came is too far from it to be the same."""
        return (
            self._count - known.number >= self._remembered
            or self._newest_ns - known.last_ns > self._window_ns
        )

    def _remember(self, key: int, delivery: _Delivery) -> None:
        self._deliveries[key] = delivery
        self._deliveries.move_to_end(key)

    def _evict(self) -> None:
        while self._deliveries:
            key, delivery = next(iter(self._deliveries.items()))
            if len(self._deliveries) <= self._remembered and not self._is_another(delivery):
                return
            del self._deliveries[key]


class DeliveryWriter:
    """What is written of a round's deliveries into the record of each partition.

    Example:
        >>> from core.observations import Observation, columns_of
        >>> message = RawMessage(topic="t", payload=b"x", received_ns=9, qos=1, packet_id=7)
        >>> one = Observation(source="s", thing_id="t", kind="k", observed_ns=9, received_ns=9,
        ...                   has_device_time=False, topic="t")
        >>> writer = DeliveryWriter([message])
        >>> np.frombuffer(writer.of(columns_of([one, one])), np.int64).tolist()[1]
        9
        >>> DeliveryWriter([]).of(columns_of([one]))
        b''
    """

    def __init__(self, messages: Sequence[RawMessage]) -> None:
        self._by_receipt = {(one.topic, one.received_ns): one for one in messages if one.qos}

    def of(self, columns: Columns) -> bytes:
        """Key and time of receipt, int64, of the messages these came from; each once."""
        unnamed = np.flatnonzero(columns.depends_on_receipt)
        receipts = zip(
            map(columns.topics.__getitem__, unnamed.tolist()),
            columns.received_ns[unnamed].tolist(),
            strict=True,
        )
        found = [key for key in dict.fromkeys(receipts) if key in self._by_receipt]
        rows = [(delivery_key(self._by_receipt[key]), key[1]) for key in found]
        return np.array(rows, np.int64).tobytes()
