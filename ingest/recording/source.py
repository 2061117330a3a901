"""A recording as a source of messages: the same rounds at any speed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

from core.clock import ManualClock
from core.ports import RawMessage
from ingest.recording.pace import Pace
from ingest.recording.rounds import Round

#: Changes a round on its way, e.g. frames into what vision sees in them.
Transform = Callable[[Round], Awaitable[Round]]


class RecordedSource:
    """A MessageSource that plays rounds.

    Args:
        rounds: In order; a round without messages is a tick.
        clock: Moved to the time of each round before the round is yielded; it never goes back.
        pace: How fast; as fast as it is taken unless given.
        transform: Applied to each round before it is yielded.

    Attributes:
        acknowledged: Messages that the log has.
        first_ns: Time of the first round.
        instant_ns: Time of the newest round.
        more_at_hand: Whether the next round comes without a pause.
    """

    def __init__(
        self,
        rounds: Iterable[Round],
        clock: ManualClock | None = None,
        *,
        pace: Pace | None = None,
        transform: Transform | None = None,
    ) -> None:
        self.acknowledged = 0
        self.first_ns = 0
        self.instant_ns = 0
        self.more_at_hand = False
        self._rounds = rounds
        self._clock = clock
        self._pace = pace or Pace()
        self._transform = transform

    @property
    def live(self) -> bool:
        """Silence in a recording is silence."""
        return True

    async def batches(self) -> AsyncIterator[Sequence[RawMessage]]:
        """The messages of each round; empty where only time passes.

        Raises:
            InputError: The recording cannot be read.
        """
        rounds = iter(self._rounds)
        one = next(rounds, None)
        while one is not None:
            if not self.more_at_hand:
                # Others get their turn; a recording has no natural pause.
                await asyncio.sleep(0)
            await self._pace.until(one.instant_ns)
            if self._transform is not None and one.messages:
                one = await self._transform(one)
            self.instant_ns = one.instant_ns
            self.first_ns = self.first_ns or one.instant_ns
            if self._clock is not None:
                self._clock.advance_to(one.instant_ns)
            following = next(rounds, None)
            self.more_at_hand = following is not None and self._pace.is_due(following.instant_ns)
            yield one.messages
            await self._pace.passed()
            one = following

    def acknowledge(self, messages: Sequence[RawMessage]) -> None:
        """Count; a recording keeps everything."""
        self.acknowledged += len(messages)
