"""paho's client with fewer system calls: it reads ahead, and acknowledges many in one write.

paho asks the system three times for every message (a byte, the length, the rest) and writes
every acknowledgement alone. Each call gives the interpreter up to whoever computes, and waits
to have it back.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import MessageType

#: Bytes asked of the system at once: some 200 messages.
READ_BYTES = 64 * 1024


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
