"""An empty Kafka broker for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient


@pytest.fixture
async def admin(kafka_servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """Speaks to a broker that has no topics: what an earlier test made is deleted."""
    client = AIOKafkaAdminClient(bootstrap_servers=kafka_servers)
    await client.start()
    try:
        old = [name for name in await client.list_topics() if not name.startswith("__")]
        if old:
            await client.delete_topics(old)
        yield client
    finally:
        await client.close()
