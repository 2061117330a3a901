"""A recording into a broker, as its devices published it."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Iterable

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import MQTTErrorCode

from core.errors import ServiceError
from ingest.broker import BrokerAddress
from ingest.frame_source import build_client
from ingest.recording.jsonl import BAD_LINE_TOPIC
from ingest.recording.layout import TICK_TOPIC
from ingest.recording.pace import Pace
from ingest.recording.rounds import Round

#: Messages handed to the client and not yet taken by the broker, at most.
MAX_UNDERWAY = 2048

_CONNECT_S = 10.0
_TAKEN_S = 30.0


class BrokerPlayer:
    """Publishes the messages of a recording with their quality of service and retained flag.

    Args:
        address: The broker and who we are there.
        pace: How fast.

    Attributes:
        published: Messages that the broker has taken.
        left_out: Lines that are no messages, and topics that MQTT forbids to publish to.
    """

    def __init__(self, address: BrokerAddress, pace: Pace) -> None:
        self.published = 0
        self.left_out: Counter[str] = Counter()
        self.instant_ns = 0
        self._address = address
        self._pace = pace

    async def play(self, rounds: Iterable[Round]) -> None:
        """Publish everything; returns when the broker has it.

        Raises:
            ServiceError: The broker does not answer, or refuses us.
        """
        client = build_client(self._address, f"qingniao-replay-{secrets.token_hex(4)}")
        client.max_inflight_messages_set(MAX_UNDERWAY)
        client.connect_async(self._address.host, self._address.port)
        client.loop_start()
        try:
            await self._connected(client)
            underway: deque[MQTTMessageInfo] = deque()
            for one in rounds:
                await self._pace.until(one.instant_ns)
                self.instant_ns = one.instant_ns
                for message in one.messages:
                    if message.topic in {BAD_LINE_TOPIC, TICK_TOPIC}:
                        self.left_out["not a message"] += 1
                        continue
                    try:
                        info = client.publish(
                            message.topic, message.payload, message.qos, message.retained
                        )
                    except ValueError as exc:  # wildcards, too long
                        self.left_out[str(exc)[:80]] += 1
                        continue
                    underway.append(info)
                    while len(underway) >= MAX_UNDERWAY:
                        await self._taken(underway.popleft())
                await self._pace.passed()
                await asyncio.sleep(0)
            while underway:
                await self._taken(underway.popleft())
        finally:
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)

    async def _connected(self, client: Client) -> None:
        deadline = asyncio.get_running_loop().time() + _CONNECT_S
        while not client.is_connected():
            if asyncio.get_running_loop().time() > deadline:
                raise ServiceError(
                    f"MQTT broker {self._address.host}:{self._address.port}, user "
                    f"{self._address.username!r}: not connected within {_CONNECT_S:g} s"
                )
            await asyncio.sleep(0.02)

    async def _taken(self, info: MQTTMessageInfo) -> None:
        if info.rc not in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN}:
            raise ServiceError(f"publishing a recorded message: {info.rc!s}")
        if not info.is_published():
            await asyncio.to_thread(info.wait_for_publish, _TAKEN_S)
        if not info.is_published():
            raise ServiceError(f"the broker took no message for {_TAKEN_S:g} s")
        self.published += 1
