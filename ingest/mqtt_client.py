"""paho's client for many messages: it reads ahead, takes what was read, acknowledges in one write.

paho asks the system three times for every message (a byte, the length, the rest), makes four
objects of it, and writes every acknowledgement alone. Each call gives the interpreter up to
whoever computes, and waits to have it back.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from paho.mqtt.client import Client
from paho.mqtt.enums import MessageType

#: Bytes asked of the system at once: some 200 messages.
READ_BYTES = 64 * 1024

_PUBLISH = int(MessageType.PUBLISH)


class Published(NamedTuple):
    """A PUBLISH packet of QoS 0 or 1 as it was sent [MQTT-3.3]; ``mid`` is 0 at QoS 0."""

    topic: bytes
    payload: bytes
    qos: int
    duplicate: bool
    retained: bool
    mid: int


class BufferedClient(Client):
    """A client driven by ``loop_read`` and ``loop_write``.

    Where :attr:`has_unread`, bytes wait that no selector tells of: call ``loop_read``.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._ahead = b""
        self._at = 0
        super().__init__(*args, **options)

    @property
    def has_unread(self) -> bool:
        """Whether bytes were taken from the socket that no packet was made of yet."""
        return self._at < len(self._ahead)

    def take_published(self, limit: int) -> list[Published]:
        """The next of the messages that were read ahead, at most ``limit``, in their order.

        Ends where something else comes that paho is to handle: another kind of packet, one of
        QoS 2, one that is malformed, or one that is not all there yet. Only for MQTT 3.1.1.
        """
        found: list[Published] = []
        if self._in_packet["command"]:
            return found  # paho is in the middle of a packet
        data, at, end = self._ahead, self._at, len(self._ahead)
        while len(found) < limit and at + 4 < end:
            head, length, start = data[at], data[at + 1], at + 2
            if head & 0xF4 != _PUBLISH:
                break
            if length & 0x80:  # of two bytes or more [MQTT-2.2.3]
                if data[start] & 0x80:
                    break  # 16 KiB and more: paho may have them
                length = length & 0x7F | data[start] << 7
                start += 1
            topic_at = start + 2
            stop = start + length
            if stop > end or length < 2:
                break
            topic_end = body = topic_at + (data[start] << 8 | data[start + 1])
            qos, mid = head >> 1 & 1, 0
            if qos and body + 2 <= stop:
                mid = data[body] << 8 | data[body + 1]
                body += 2
            if body > stop or topic_end == topic_at or (qos and not mid):
                break
            found.append(
                Published(
                    data[topic_at:topic_end],
                    data[body:stop],
                    qos,
                    head & 0x08 != 0,
                    head & 0x01 != 0,
                    mid,
                )
            )
            at = stop
        self._at = at
        return found

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Queue PUBACK for messages of QoS 1, as one write."""
        packets = [struct.pack("!BBH", MessageType.PUBACK, 2, mid) for mid in mids]
        if packets:
            self._packet_queue(MessageType.PUBACK, b"".join(packets), 0, 1)

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self.has_unread:
            self._ahead = super()._sock_recv(max(bufsize, READ_BYTES))
            self._at = 0
        taken = self._ahead[self._at : self._at + bufsize]
        self._at += len(taken)
        return taken

    def _sock_close(self) -> None:
        self._ahead, self._at = b"", 0  # of a connection that is no more
        super()._sock_close()
