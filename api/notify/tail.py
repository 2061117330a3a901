"""The newest lines of the outbox, read once for every subscriber."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from api.notify.notices import Notice, read_line
from store.cases import CaseStore

#: Lines kept in memory for whoever is not far behind, at about 4 kB; others ask the store.
RING_LINES = 1_024

#: Most lines handed out at once.
PAGE_LINES = 200

#: Wall seconds between looks when nobody says that the outbox grew (other processes).
POLL_S = 0.5


class Tail:
    """Follows the outbox and wakes who waits for more.

    Args:
        store: Whose outbox.
    """

    def __init__(self, store: CaseStore) -> None:
        self._store = store
        self._ring: deque[Notice] = deque(maxlen=RING_LINES)
        self._grew = asyncio.Event()
        self._bells: set[asyncio.Event] = set()
        self.latest = 0

    async def run(self) -> None:
        """Follow the outbox until cancelled.

        Raises:
            ServiceError: The store cannot be read.
        """
        loop = asyncio.get_running_loop()
        self.latest = await asyncio.to_thread(self._store.latest_sequence)

        def grew(_sequence: int) -> None:
            # The loop may be gone when another thread still commits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._grew.set)

        forget = self._store.on_change(grew)
        try:
            while True:
                self._ring_bells()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._grew.wait(), POLL_S)
                self._grew.clear()
                while page := await self._read(self.latest):
                    if self._ring and page[0].sequence != self._ring[-1].sequence + 1:
                        self._ring.clear()
                    self._ring.extend(page)
                    self.latest = page[-1].sequence
                    self._ring_bells()
        finally:
            forget()

    async def after(self, sequence: int) -> list[Notice]:
        """The next lines after a number, in order; where the first is not the very next, those
        between are no longer kept.
        """
        if sequence >= self.latest:
            return []
        ring = self._ring
        if ring and ring[0].sequence <= sequence + 1 <= ring[-1].sequence:
            first = sequence + 1 - ring[0].sequence
            return [ring[index] for index in range(first, min(first + PAGE_LINES, len(ring)))]
        return await self._read(sequence)

    def bell(self) -> asyncio.Event:
        """An event that is set whenever there may be more; give it back to :meth:`hang_up`."""
        bell = asyncio.Event()
        self._bells.add(bell)
        return bell

    def hang_up(self, bell: asyncio.Event) -> None:
        """Ring this bell no more."""
        self._bells.discard(bell)

    async def _read(self, sequence: int) -> list[Notice]:
        lines = await asyncio.to_thread(self._store.feed_after, sequence, PAGE_LINES)
        return [read_line(line) for line in lines]

    def _ring_bells(self) -> None:
        for bell in self._bells:
            bell.set()
