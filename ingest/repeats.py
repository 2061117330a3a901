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
from ingest.decoders.common import REPEAT_WINDOW_S

#: Messages remembered: about 10 MB. A broker counts through its 65,535 packet identifiers
#: before it uses one again.
REMEMBERED = 65_535


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


class Repeats:
    """Gives a message that MQTT repeats (DUP) the time of receipt it had at first.

    Entries leave after ``window_s``, or when there are more than ``remembered``.
    """

    def __init__(self, window_s: float = REPEAT_WINDOW_S, remembered: int = REMEMBERED) -> None:
        self._window_ns = seconds_to_ns(window_s)
        self._remembered = remembered
        self._first: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._first)

    def settle(self, messages: Sequence[RawMessage]) -> list[RawMessage]:
        """The messages, repeats with their first time of receipt; order is kept."""
        settled = []
        for message in messages:
            if message.qos == 0:
                settled.append(message)
                continue
            key = delivery_key(message)
            if message.duplicate:
                first_ns = self._first.get(key)
                if first_ns is not None and message.received_ns - first_ns <= self._window_ns:
                    metrics.REPEATS.inc()
                    settled.append(msgspec.structs.replace(message, received_ns=first_ns))
                    continue
            self._remember(key, message.received_ns)
            settled.append(message)
        self._evict(messages[-1].received_ns if messages else 0)
        return settled

    def restore(self, deliveries: Iterable[bytes]) -> None:
        """Take over what records of the log say was delivered, the oldest record first."""
        newest_ns = 0
        for written in deliveries:
            for key, received_ns in np.frombuffer(written, np.int64).reshape(-1, 2).tolist():
                self._remember(key, received_ns)
                newest_ns = max(newest_ns, received_ns)
        self._evict(newest_ns)

    def _remember(self, key: int, received_ns: int) -> None:
        self._first[key] = received_ns
        self._first.move_to_end(key)

    def _evict(self, now_ns: int) -> None:
        while self._first:
            key = next(iter(self._first))
            if (
                len(self._first) <= self._remembered
                and self._first[key] >= now_ns - self._window_ns
            ):
                return
            del self._first[key]


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
