"""Sending what people say to the broker: it takes the same way as any source's message."""

from __future__ import annotations

import asyncio

from api.services import Services
from core.errors import ServiceError

#: Wall seconds to wait for the broker.
PUBLISH_S = 10.0


async def publish(services: Services, topic: str, payload: bytes) -> None:
    """Publish at QoS 1; returns when the broker has it.

    Raises:
        ServiceError: There is no broker, or it did not take it in time.
    """
    if services.publish is None:
        raise ServiceError(f"{topic}: the platform runs without a broker to publish it to")
    try:
        async with asyncio.timeout(PUBLISH_S):
            await services.publish(topic, payload)
    except (TimeoutError, OSError) as exc:
        raise ServiceError(
            f"{topic}: the broker did not take it within {PUBLISH_S:g} s; send it again with the "
            f"same Idempotency-Key ({type(exc).__name__}: {exc})"
        ) from exc
