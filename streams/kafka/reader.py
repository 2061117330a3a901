"""core.ports.LogReader on Kafka: all partitions by hand, positions from the reader itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from core.errors import ServiceError
from core.ports import LogRecord
from core.topics import MAX_RECORD_BYTES

#: The broker is asked again after this time (wall seconds).
_RETRY_S = 0.5

#: An empty answer of the broker comes back after this time.
_WAIT_MS = 100


class KafkaReader:
    """Reads the log at its own pace; an async context manager.

    Args:
        servers: ``host:port`` of a broker, or several joined by commas.
        topics: The topics it reads, with their partitions; the stream service makes them.
        wait_s: Wall seconds to wait for the broker and the topics.
    """

    def __init__(self, servers: str, *, topics: Mapping[str, int], wait_s: float = 60.0) -> None:
        self._servers = servers
        self._wait_s = wait_s
        self._wanted = dict(topics)
        self._opened: AIOKafkaConsumer | None = None
        self._partitions = [
            TopicPartition(topic, partition)
            for topic, count in topics.items()
            for partition in range(count)
        ]
        self._positions: dict[TopicPartition, int] = {}

    async def __aenter__(self) -> Self:
        """Connect, and wait until the topics are there.

        Raises:
            ServiceError: No broker answers, or a topic is not made in time or not as wanted.
        """
        lacking = f"Kafka at {self._servers} does not answer"
        try:
            async with asyncio.timeout(self._wait_s):
                while not await self._connect():
                    await asyncio.sleep(_RETRY_S)
                while lacking := await self._lacking():
                    await asyncio.sleep(_RETRY_S)
        except BaseException as exc:
            await self.__aexit__(None, None, None)
            if isinstance(exc, TimeoutError):
                raise ServiceError(
                    f"log: {lacking}, for {self._wait_s:.0f} s; is `qingniao run streams` running "
                    "with the same broker?"
                ) from exc
            raise
        self._consumer.assign(self._partitions)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        if self._opened is not None:
            consumer, self._opened = self._opened, None
            await consumer.stop()

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        assert self._opened is not None, "used outside its context"
        return self._opened

    async def _connect(self) -> bool:
        # One that could not start once does not start again.
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            # No group: the positions are with what was made of the records.
            group_id=None,
            auto_offset_reset="earliest",
            # What was written in a transaction that was given up is no record.
            isolation_level="read_committed",
            max_partition_fetch_bytes=MAX_RECORD_BYTES,
            fetch_max_wait_ms=_WAIT_MS,
        )
        try:
            await consumer.start()
        except KafkaError:
            await consumer.stop()
            return False
        except BaseException:
            await consumer.stop()
            raise
        self._opened = consumer
        return True

    async def _lacking(self) -> str:
        """Which topic is not there yet; empty when all are."""
        # All topics: to ask for one by name would make it, where the broker does so.
        cluster = await self._consumer._client.fetch_all_metadata()
        for topic, wanted in self._wanted.items():
            found = cluster.partitions_for_topic(topic)
            if not found:
                return f"topic {topic} does not exist on Kafka at {self._servers}"
            if len(found) != wanted:
                raise ServiceError(
                    f"log: topic {topic} on Kafka at {self._servers} has {len(found)} partitions, "
                    f"{wanted} were wanted; set QINGNIAO_PARTITIONS for all services to what it "
                    "was made with"
                )
        return ""

    async def fetch(self, topic: str, partition: int, offset: int) -> Sequence[LogRecord]:
        """Records from an offset on; none at the end, after asking the broker once."""
        where = TopicPartition(topic, partition)
        try:
            if self._positions.get(where) != offset:
                first = (await self._consumer.beginning_offsets([where]))[where]
                self._consumer.seek(where, max(offset, first))
            found = await self._consumer.getmany(where, timeout_ms=_WAIT_MS, max_records=512)
        except KafkaError as exc:
            raise ServiceError(f"log: {topic}[{partition}] cannot be read: {exc}") from exc
        records = [LogRecord(one.offset, one.value or b"") for one in found.get(where, ())]
        self._positions[where] = records[-1].offset + 1 if records else offset
        return records

    async def done(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Nothing to do: Kafka keeps records by age and size, whoever has read them."""
