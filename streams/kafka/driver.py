"""Faust's Kafka driver, put right where it loses or passes over messages.

What tests/kafka shows of Faust 0.15.3 with its own driver, and what is done about it here:

- It commits the longest run of consecutive acknowledged offsets, and so passes a message that
  is still in work when later ones are done before it. The decision writer acknowledges in the
  order of decisions, which is not the order of the log, so that happens all the time; after a
  kill such a message is never seen again. Here a commit stops at the first message that was
  handed out and not acknowledged.
- It joins the group before the broker knows the topics it has just made. Those are then nobody's
  until the next rebalance. Here it waits for them.
- After a rebalance it hands out messages before it goes back to the committed offsets, and
  empties the agents' queues after that; what has no committed offset yet it does not go back
  on at all. Here nothing is handed out between, and every partition goes back.
- A table's changelog is sent without anybody waiting for it, and a refusal is only logged.
  Here nothing is committed once a record was refused; the app crashes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, ClassVar

from aiokafka import TopicPartition
from faust.exceptions import ProducerSendError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from core.errors import ServiceError
from streams.commits import CommitsInOrder

#: A fetch with nothing to fetch ends after this time; going back to an offset waits for it.
_FETCH_S = 0.25
#: Messages handed on for one partition before agents and the next partition have their turn.
_TURN_MESSAGES = 64
#: A topic that was made is known to the broker within this time.
_TOPICS_S = 30


class Consumer(CommitsInOrder, driver.Consumer):  # type: ignore[misc]
    """Hands out each partition in order, and commits no further than what is done."""

    def __post_init__(self) -> None:
        # Faust calls this in its constructor, before the first use of anything below.
        super().__post_init__()
        #: Fetched and not handed out yet: at most one fetch.
        self._ahead: dict[Any, deque[Any]] = {}
        #: Offsets handed to agents, oldest first, until they are acknowledged.
        self._in_flight: dict[Any, deque[int]] = {}
        self._committable: dict[Any, int] = {}
        #: Held by a fetch, and by whoever changes positions.
        self._fetching = asyncio.Lock()
        #: Counts what makes fetched messages void.
        self._epoch = 0
        self._delivering: Any = None

    # Membership

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group for these topics, once the broker knows them all.

        Raises:
            ServiceError: It does not within half a minute.
        """
        wanted = set(topics)
        client = self._thread._ensure_consumer()._client
        for _ in range(_TOPICS_S * 10):
            cluster = await self._thread.call_thread(client.fetch_all_metadata)
            missing = {topic for topic in wanted if not cluster.partitions_for_topic(topic)}
            if not missing:
                break
            await self.sleep(0.1)
        else:
            raise ServiceError(
                f"log: Kafka has no topic {', '.join(sorted(missing))} after {_TOPICS_S} s; "
                "may this user make topics?"
            )
        await super().subscribe(wanted)

    # Delivery

    async def _drain_messages(self, fetcher: Any) -> None:
        """Fetch and hand out, until stopped."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)
                elif not await self._deliver_round():
                    await self._fetch()
        except (*self.consumer_stopped_errors, asyncio.CancelledError):
            if not self.app.should_stop:
                raise

    async def _fetch(self) -> None:
        """Take what Kafka has for partitions of which nothing is left."""
        async with self._fetching:
            wanted = {tp for tp in self._active_partitions if not self._ahead.get(tp)}
            if not wanted or not self.flow_active:
                await asyncio.sleep(0.01)
                return
            epoch = self._epoch
            records = await self._getmany(wanted, _FETCH_S)
            if epoch == self._epoch:
                for tp, found in records.items():
                    self._ahead.setdefault(TP(tp.topic, tp.partition), deque()).extend(found)

    async def _deliver_round(self) -> bool:
        """One turn for every partition; False when there was nothing to hand out."""
        epoch = self._epoch
        delivered = False
        for tp in sorted(self._active_partitions & self._ahead.keys()):
            ahead = self._ahead.get(tp)
            if ahead:
                delivered = True
                await self._deliver(tp, ahead, epoch)
                await asyncio.sleep(0)
            if epoch != self._epoch or not self.flow_active:
                return True
        return delivered

    async def _deliver(self, tp: Any, ahead: deque[Any], epoch: int) -> None:
        acks = self.app.topics.acks_enabled_for(tp.topic)
        for _ in range(min(len(ahead), _TURN_MESSAGES)):
            if tp not in self._active_partitions or not self.flow_active:
                return
            message = self._to_message(tp, ahead[0])
            in_flight = self._in_flight.setdefault(tp, deque())
            if acks:
                in_flight.append(message.offset)
            self._delivering = message
            try:
                await self.callback(message)
            finally:
                self._delivering = None
            if epoch != self._epoch:
                # Meanwhile the partition was revoked or moved: this message comes again.
                return
            if acks and not message.refcount and not message.acked:
                in_flight.pop()  # nobody subscribes to it
            ahead.popleft()
            self._read_offset[tp] = message.offset

    # Positions

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Forget what was fetched and handed out: it comes again, here or at another worker."""
        self._forget(set(self._ahead) | set(self._in_flight) | set(revoked))
        await super().on_partitions_revoked(revoked)

    async def perform_seek(self) -> None:
        """Go back to what is committed; the caller then resumes the flow."""
        self.stop_flow()
        async with self._fetching:
            await super().perform_seek()

    async def seek_to_committed(self) -> Mapping[Any, int]:
        """Go back to what is committed, or to the beginning where nothing is."""
        acks = self.app.topics.acks_enabled_for
        held = {tp for tp in self.assignment() if acks(tp.topic)}
        self._forget(held)
        if not held:
            return {}
        committed = await self._thread.seek_to_committed()
        fresh = [TopicPartition(*tp) for tp in held if not committed.get(tp)]
        if fresh:
            await self._thread.seek_to_beginning(*fresh)
        return {tp: committed.get(tp) or 0 for tp in held}

    async def seek_wait(self, partitions: Mapping[Any, int]) -> None:
        """Go to these offsets (recovery of tables)."""
        async with self._fetching:
            self._forget(partitions)
            await super().seek_wait(partitions)

    def _forget(self, tps: Iterable[Any]) -> None:
        self._epoch += 1
        for tp in tps:
            for state in (
                self._ahead,
                self._in_flight,
                self._committable,
                self._acked,
                self._acked_index,
            ):
                state.pop(tp, None)

    # Acknowledgement and commit

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:
        # Faust has flushed the producer before, so every send has succeeded or failed.
        failure = self.app.producer.failure
        if failure is not None:
            error = ServiceError(
                f"log: Kafka refused a record ({failure}); nothing that depends on it is "
                "committed. Is the topic's max.message.bytes smaller than the record?"
            )
            await self.app.crash(error)
            return False
        return bool(await super()._commit(offsets))


class Producer(driver.Producer):  # type: ignore[misc]
    """Remembers that a record was not taken."""

    failure: BaseException | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._soon: set[Any] = set()

    def send_soon(self, fut: Any) -> None:
        """Send without waiting: this is how tables write their changelog."""
        self._soon.add(fut)
        fut.add_done_callback(self._soon.discard)
        super().send_soon(fut)

    async def flush(self) -> None:
        """Wait until everything sent was taken or refused."""
        await super().flush()
        # What Faust has taken out of its buffer and not yet given to the client is in neither.
        while self._soon and self.failure is None:
            await asyncio.wait(self._soon, timeout=1.0)

    async def send(self, *arguments: Any, **options: Any) -> Awaitable[Any]:
        """Send a record; the result resolves when every in-sync replica has it.

        Raises:
            ProducerSendError: It cannot be sent.
        """
        try:
            sent: Any = await super().send(*arguments, **options)
        except ProducerSendError as error:
            self.failure = error
            raise
        sent.add_done_callback(self._sent)
        return sent  # type: ignore[no-any-return]

    def _sent(self, sent: Any) -> None:
        if not sent.cancelled() and sent.exception() is not None:
            self.failure = sent.exception()


class Transport(driver.Transport):  # type: ignore[misc]
    """``kafka://host:port``."""

    Consumer: ClassVar[type[Consumer]] = Consumer
    Producer: ClassVar[type[Producer]] = Producer
