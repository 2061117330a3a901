"""The reader of archive and ledger on a real Kafka broker."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.structs import TopicPartition

from core.errors import ServiceError
from core.ports import LogRecord
from streams.kafka.reader import KafkaReader

pytestmark = pytest.mark.kafka

TOPIC = "read-by-hand"
PARTITIONS = 2


@pytest.fixture
async def topic(admin: AIOKafkaAdminClient) -> str:
    await admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])
    return TOPIC


async def write(servers: str, values: list[bytes | None], partition: int = 0) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(TOPIC, value, key=b"k", partition=partition)
    finally:
        await producer.stop()


def numbered(first: int, end: int) -> list[bytes | None]:
    return [b"%d" % n for n in range(first, end)]


async def read_on(
    reader: KafkaReader, offset: int, *, upto: int, partition: int = 0
) -> list[bytes]:
    """Values from an offset on, until there are as many as wanted."""
    found: list[bytes] = []
    async with asyncio.timeout(20):
        while offset + len(found) < upto:
            page = await reader.fetch(TOPIC, partition, offset + len(found))
            assert [one.offset for one in page] == [
                offset + len(found) + n for n in range(len(page))
            ]
            found += [one.value for one in page]
    return found


async def test_it_reads_partitions_each_from_where_it_is_asked_to(
    kafka_servers: str, topic: str
) -> None:
    await write(kafka_servers, numbered(0, 700))
    await write(kafka_servers, numbered(0, 5), partition=1)
    async with KafkaReader(kafka_servers, topics={topic: PARTITIONS}) as reader:
        assert await read_on(reader, 0, upto=700) == numbered(0, 700)
        assert await reader.fetch(topic, 0, 700) == []
        assert await read_on(reader, 2, upto=5, partition=1) == numbered(2, 5)
        # Back again, as after a transaction that was refused.
        assert await read_on(reader, 650, upto=700) == numbered(650, 700)
        # And what comes later, while the reader was at the end.
        await write(kafka_servers, numbered(700, 703))
        assert await read_on(reader, 700, upto=703) == numbered(700, 703)
        await reader.done({(topic, 0): 703})


async def test_a_second_reader_begins_where_it_wants_too(kafka_servers: str, topic: str) -> None:
    """No group: what one has read is nothing to the other, nor to itself after a restart."""
    await write(kafka_servers, numbered(0, 10))
    for _ in range(2):
        async with KafkaReader(kafka_servers, topics={topic: PARTITIONS}) as reader:
            assert await read_on(reader, 4, upto=10) == numbered(4, 10)
            await reader.done({(topic, 0): 10})


async def test_what_retention_took_is_passed_over(
    kafka_servers: str, topic: str, admin: AIOKafkaAdminClient
) -> None:
    await write(kafka_servers, numbered(0, 20))
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=12)})
    async with KafkaReader(kafka_servers, topics={topic: PARTITIONS}) as reader:
        found: list[LogRecord] = []
        async with asyncio.timeout(20):
            while not found:
                found = list(await reader.fetch(topic, 0, 3))
        assert (found[0].offset, found[0].value) == (12, b"12")


async def test_a_record_without_value_is_empty(kafka_servers: str, topic: str) -> None:
    await write(kafka_servers, [None, b"x"])
    async with KafkaReader(kafka_servers, topics={topic: PARTITIONS}) as reader:
        assert await read_on(reader, 0, upto=2) == [b"", b"x"]


async def test_what_a_transaction_gave_up_is_no_record(kafka_servers: str, topic: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_servers, transactional_id="t")
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"given up", partition=0)
        await producer.abort_transaction()
    finally:
        await producer.stop()
    await write(kafka_servers, [b"kept"])
    async with KafkaReader(kafka_servers, topics={topic: PARTITIONS}) as reader:
        found: list[LogRecord] = []
        async with asyncio.timeout(20):
            while not found:
                found = list(await reader.fetch(topic, 0, 0))
        assert [one.value for one in found] == [b"kept"]


async def test_it_waits_for_its_topics(kafka_servers: str, admin: AIOKafkaAdminClient) -> None:
    async def opened() -> None:
        async with KafkaReader(kafka_servers, topics={TOPIC: PARTITIONS}, wait_s=20):
            pass

    opening = asyncio.create_task(opened())
    done, _ = await asyncio.wait([opening], timeout=1.5)
    assert not done
    assert TOPIC not in await admin.list_topics()  # asking has not made it
    await admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])
    await opening


async def test_it_says_what_is_lacking(kafka_servers: str, topic: str) -> None:
    with pytest.raises(ServiceError, match=r"topic none does not exist.*run streams"):
        async with KafkaReader(kafka_servers, topics={"none": 1}, wait_s=1):
            pass
    with pytest.raises(ServiceError, match=r"has 2 partitions, 4 were wanted"):
        async with KafkaReader(kafka_servers, topics={topic: 4}):
            pass
    with pytest.raises(ServiceError, match=r"Kafka at 127.0.0.1:1 does not answer"):
        async with KafkaReader("127.0.0.1:1", topics={topic: 2}, wait_s=1):
            pass
