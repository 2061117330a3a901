"""A day as a source of messages: straight into the pipeline, as fast as it takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from core.clock import ManualClock
from core.ports import RawMessage
from core.units import NS_PER_S
from simulators.messages import ScheduledMessage

#: A message is on its way for so long.
TRANSIT_NS = 20_000_000

#: Messages of at most so many seconds of city time travel together, well below the lateness
#: that the watermark allows.
_SPAN_NS = 8 * NS_PER_S
_BATCH = 512
_NAP_S = 0.002


class DaySource:
    """A MessageSource that plays scheduled messages; city time follows them.

    Args:
        messages: In order of arrival.
        clock: Moved to the last message of each batch before the batch is handed over.
        must_wait: Asked before each batch whether the pipeline is too far behind: what it
            decides is stamped with city time, which must not run away from it.
    """

    def __init__(
        self,
        messages: Iterable[ScheduledMessage],
        clock: ManualClock,
        must_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        self.acknowledged = 0
        self._messages = messages
        self._clock = clock
        self.must_wait = must_wait

    @property
    def live(self) -> bool:
        """Silence is silence."""
        return True

    async def batches(self) -> AsyncIterator[Sequence[RawMessage]]:
        """Messages that are due together."""
        batch: list[RawMessage] = []
        for message in self._messages:
            if batch and (
                len(batch) == _BATCH
                or message.at_ns + TRANSIT_NS >= batch[0].received_ns + _SPAN_NS
            ):
                yield await self._due(batch)
                batch = []
            batch.append(
                RawMessage(
                    topic=message.topic,
                    payload=message.payload,
                    received_ns=message.at_ns + TRANSIT_NS,
                    qos=message.qos,
                )
            )
        if batch:
            yield await self._due(batch)

    async def _due(self, batch: list[RawMessage]) -> list[RawMessage]:
        while self.must_wait():
            await asyncio.sleep(_NAP_S)
        self._clock.advance_to(batch[-1].received_ns)
        await asyncio.sleep(0)
        return batch

    def acknowledge(self, messages: Sequence[RawMessage]) -> None:
        """Count; the day can be written again."""
        self.acknowledged += len(messages)
