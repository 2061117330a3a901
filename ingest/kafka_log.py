"""The log on Kafka, as ingest sees it: an idempotent producer that waits for every replica."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from core.errors import ServiceError
from core.topics import MAX_RECORD_BYTES

logger = logging.getLogger(__name__)

#: The broker is asked again after this time (wall seconds).
_RETRY_S = 0.5

_CLOSE_S = 3.0

#: Records read at once where the log is read backwards.
_PAGE_RECORDS = 256


class KafkaLog:
    """core.ports.LogWriter on Kafka.

    Args:
        servers: ``host:port`` of a broker, or several joined by commas.
        topics: Topics that must exist before anything is written, and how many partitions
            each has. The stream service makes them.
        wait_s: Wall seconds to wait for the broker and the topics.
    """

    def __init__(
        self, servers: str, *, topics: Mapping[str, int] | None = None, wait_s: float = 60.0
    ) -> None:
        self._servers = servers
        self._topics = dict(topics or {})
        self._wait_s = wait_s
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect, and wait until the topics are there.

        Raises:
            ServiceError: No broker answers in time, a topic is not made in time, or it has
                another number of partitions than was said.
        """
        told = ""
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(self._wait_s):
                while True:
                    if producer is None:
                        producer, lacking = await self._connect()
                    if producer is not None:
                        lacking = await self._lacking(producer)
                    if not lacking:
                        break
                    if lacking != told:
                        logger.warning("%s; waiting at most %.0f s", lacking, self._wait_s)
                        told = lacking
                    await asyncio.sleep(_RETRY_S)
        except TimeoutError as exc:
            lacking = told or f"Kafka at {self._servers} does not answer"
            raise ServiceError(
                f"log: {lacking}, for {self._wait_s:.0f} s; `qingniao run streams` makes the "
                "topics, is it running with the same broker?"
            ) from exc
        else:
            self._producer, producer = producer, None
        finally:
            if producer is not None:
                await producer.stop()

    async def append(self, topic: str, partition: int, value: bytes, *, key: bytes | None) -> None:
        """Write one record; returns when every in-sync replica has it."""
        await self._send(topic, [(partition, value)], key)

    async def append_all(self, topic: str, records: Sequence[tuple[int, bytes]]) -> None:
        """Write records in their order; returns when every in-sync replica has all of them."""
        await self._send(topic, records, None)

    async def _send(
        self, topic: str, records: Sequence[tuple[int, bytes]], key: bytes | None
    ) -> None:
        if self._producer is None:
            raise ServiceError("log: not connected; call start() first")
        sent: list[asyncio.Future[Any]] = []
        failure: BaseException | None = None
        try:
            for partition, value in records:
                sent.append(
                    await self._producer.send(topic, value=value, key=key, partition=partition)
                )
        except KafkaError as exc:
            failure = exc
        answers = [*await asyncio.gather(*sent, return_exceptions=True), failure]
        for (partition, value), answer in zip(records, answers, strict=False):
            if isinstance(answer, KafkaError):
                raise ServiceError(
                    f"log: {topic}[{partition}], record of {len(value)} bytes, was not taken by "
                    f"Kafka at {self._servers}: {answer}"
                ) from answer
            if isinstance(answer, BaseException):
                raise answer

    async def backwards(self, topic: str, partition: int) -> AsyncGenerator[bytes, None]:
        """The records of a partition, the newest first."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        at = TopicPartition(topic, partition)
        try:
            await consumer.start()
            consumer.assign([at])
            first = (await consumer.beginning_offsets([at]))[at]
            upto = (await consumer.end_offsets([at]))[at]
            while upto > first:
                start = max(first, upto - _PAGE_RECORDS)
                consumer.seek(at, start)
                page: list[bytes] = []
                async with asyncio.timeout(self._wait_s):
                    while await consumer.position(at) < upto:
                        found = await consumer.getmany(at, timeout_ms=1000)
                        page += [
                            one.value
                            for one in found.get(at, ())
                            if one.offset < upto and one.value is not None
                        ]
                for value in reversed(page):
                    yield value
                upto = start
        except (KafkaError, TimeoutError) as exc:
            raise ServiceError(
                f"log: {topic}[{partition}] on Kafka at {self._servers} cannot be read: {exc}"
            ) from exc
        finally:
            await consumer.stop()

    async def close(self) -> None:
        """Send what is buffered and disconnect; gives up after three seconds."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            try:
                await asyncio.wait_for(producer.stop(), _CLOSE_S)
            except TimeoutError:
                logger.warning("Kafka at %s did not take what was buffered", self._servers)

    async def _connect(self) -> tuple[AIOKafkaProducer | None, str]:
        """A connected producer, or why there is none."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            enable_idempotence=True,
            acks="all",
            max_request_size=MAX_RECORD_BYTES,
        )
        try:
            await producer.start()
        except KafkaError as exc:
            await producer.stop()
            return None, f"Kafka at {self._servers} does not answer ({exc})"
        except BaseException:
            await producer.stop()
            raise
        return producer, ""

    async def _lacking(self, producer: AIOKafkaProducer) -> str:
        """What is not as it must be; empty when all is.

        Raises:
            ServiceError: It never will be.
        """
        try:
            # All topics: to ask for one by name would make it, where the broker does so.
            cluster = await producer.client.fetch_all_metadata()
        except KafkaError as exc:
            return f"Kafka at {self._servers} does not answer ({exc})"
        for topic, wanted in self._topics.items():
            partitions = cluster.partitions_for_topic(topic)
            if partitions is None:
                return f"topic {topic} does not exist on Kafka at {self._servers}"
            if len(partitions) != wanted:
                raise ServiceError(
                    f"log: topic {topic} on Kafka at {self._servers} has {len(partitions)} "
                    f"partitions, {wanted} were wanted; set QINGNIAO_PARTITIONS for all services "
                    "to what it was made with"
                )
        return ""
