"""Commits that never pass a message still in work, for Faust consumers of any log.

Faust commits the longest run of consecutive acknowledged offsets, and so passes a message that
is still in work when later ones are done before it. The decision writer acknowledges in the
order of decisions, which is not the order of the log, so that happens all the time; after a
kill such a message would never be seen again.
"""

from __future__ import annotations

from collections import deque
from typing import Any


class CommitsInOrder:
    """Comes before a Faust consumer in the bases of one that keeps what it handed out.

    Attributes:
        _in_flight: Offsets handed to agents by partition, oldest first, until acknowledged.
        _committable: By partition, the offset up to which everything is done.
        _delivering: The message that is being handed out.
    """

    app: Any
    _acked: Any
    _acked_index: Any
    _unacked_messages: Any
    _in_flight: dict[Any, deque[int]]
    _committable: dict[Any, int]
    _delivering: Any

    # Acknowledgement and commit

    def ack(self, message: Any) -> bool:
        """Count an acknowledgement, unless the stream only skipped the message.

        Where Faust runs without its compiled parts, a stream acknowledges messages it skips
        because of a rebalance or a stop; nobody has processed those.
        """
        stale = message.generation_id != self.app.consumer_generation_id
        if stale or not (message.tracked or message is self._delivering):
            message.acked = True
            self._unacked_messages.discard(message)
            return False
        return bool(super().ack(message))  # type: ignore[misc]

    def _new_offset(self, tp: Any) -> int | None:
        """The first offset that was handed out and not acknowledged."""
        in_flight = self._in_flight.get(tp)
        acked = self._acked_index[tp]
        while in_flight and in_flight[0] in acked:
            offset = in_flight.popleft()
            acked.discard(offset)
            self._committable[tp] = offset + 1
        self._acked[tp].clear()
        return self._committable.get(tp)
