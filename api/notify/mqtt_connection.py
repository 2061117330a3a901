"""One connection to the broker that publishes in order and knows what was acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import paho.mqtt.client as mqtt

from api.mqtt_link import BrokerLogin, new_client
from core.errors import ServiceError

#: A broker that has not answered after this many wall seconds is given up.
ANSWER_S = 10.0

#: Messages on the way to the broker at once.
IN_FLIGHT = 512

#: When no retained message came for so long after the broker had all our requests, it has no more.
QUIET_S = 0.3


class Message(NamedTuple):
    """What is published at QoS 1; an empty retained payload clears the topic."""

    topic: str
    payload: bytes
    retain: bool


class MqttConnection:
    """One connection, for as long as it lasts; an async context manager.

    What was under way when it broke is to be published again over the next one, from the
    first message on that was not acknowledged: so a subscriber sees repeats, never a change of
    order.

    Args:
        login: The broker, and who we are there.
        client_id: Ours alone.
    """

    def __init__(self, login: BrokerLogin, client_id: str) -> None:
        self._login = login
        self._client_id = client_id
        self._loop = asyncio.get_running_loop()
        self._moved = asyncio.Event()
        self._connected = False
        self._lost = ""
        self._retained: dict[str, bytes] = {}
        self._marker = ""
        self._marked = False
        self._subscribed = False
        self._acknowledged: set[int] = set()

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            ServiceError: The broker does not answer, or refuses us.
        """
        client = self._client = new_client(self._login, self._client_id)
        client.max_inflight_messages_set(IN_FLIGHT)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        try:
            await asyncio.to_thread(
                client.connect, self._login.host, self._login.port, keepalive=15
            )
        except (OSError, ValueError) as exc:
            raise ServiceError(f"broker at {self._where}: {exc}") from exc
        client.loop_start()
        try:
            await self._until(lambda: self._connected, "does not let us in")
        except BaseException:
            await asyncio.to_thread(self._stop)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await asyncio.to_thread(self._stop)

    @property
    def lost(self) -> bool:
        """Whether it broke."""
        return bool(self._lost)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish in order; returns when the broker has acknowledged all.

        Raises:
            ServiceError: The connection broke or the broker does not answer.
        """
        waiting = deque(
            self._client.publish(one.topic, one.payload, qos=1, retain=one.retain).mid
            for one in messages
        )

        def acknowledged() -> bool:
            while waiting and waiting[0] in self._acknowledged:
                self._acknowledged.discard(waiting.popleft())
            return not waiting

        await self._until(acknowledged, "does not acknowledge")

    async def retained(self, topic_filter: str, marker_topic: str) -> dict[str, bytes]:
        """What the broker holds on the topics of a filter.

        A broker sends these before what is published later, or soon after: the marker that we
        publish ourselves tells that they have come.

        Raises:
            ServiceError: The connection broke or the broker does not answer.
        """
        self._retained, self._marked = {}, False
        self._marker = f"{marker_topic}/{secrets.token_hex(8)}"
        self._subscribed = False
        self._client.subscribe([(topic_filter, 1), (self._marker, 1)])
        # A broker may take a message before a subscription that was sent earlier.
        await self._until(lambda: self._subscribed, "does not take a subscription")
        await self.publish([Message(self._marker, b"1", retain=False)])
        await self._until(lambda: self._marked, "does not send what it holds")
        count = -1
        while count != len(self._retained):
            count = len(self._retained)
            await asyncio.sleep(QUIET_S)
        self._client.unsubscribe([topic_filter, self._marker])
        self._marker = ""
        return self._retained

    async def wait(self, bell: asyncio.Event) -> None:
        """Wait until a bell rings or the connection is lost.

        Raises:
            ServiceError: It is lost.
        """
        rung = asyncio.create_task(bell.wait())
        try:
            while not rung.done():
                self._check()
                self._moved.clear()
                moved = asyncio.create_task(self._moved.wait())
                await asyncio.wait({rung, moved}, return_when=asyncio.FIRST_COMPLETED)
                moved.cancel()
        finally:
            rung.cancel()

    @property
    def _where(self) -> str:
        return f"{self._login.host}:{self._login.port}"

    def _check(self) -> None:
        if self._lost:
            raise ServiceError(f"broker at {self._where}: {self._lost}")

    async def _until(self, so: Any, complaint: str) -> None:
        deadline_s = self._loop.time() + ANSWER_S
        while not so():
            self._check()
            self._moved.clear()
            if so():
                return
            left_s = deadline_s - self._loop.time()
            if left_s <= 0:
                raise ServiceError(f"broker at {self._where}: {complaint} within {ANSWER_S:.0f} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), left_s)

    def _wake(self) -> None:
        # Called on the client's thread; the loop may be gone by then.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._moved.set)

    def _stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        if reason.is_failure:
            self._lost = f"refuses {self._client_id}: {reason}"
        elif self._connected:
            self._lost = "the connection broke and came back"
        else:
            self._connected = True
        self._wake()

    def _on_disconnect(
        self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        self._lost = self._lost or f"disconnected: {reason}"
        self._wake()

    def _on_subscribe(self, *_: Any) -> None:
        self._subscribed = True
        self._wake()

    def _on_publish(
        self, _client: mqtt.Client, _data: Any, mid: int, _reason: Any, _properties: Any
    ) -> None:
        # paho marks its own MQTTMessageInfo only after this call.
        self._acknowledged.add(mid)
        self._wake()

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        if message.topic == self._marker:
            self._marked = True
            self._wake()
        elif message.retain:
            self._retained[message.topic] = bytes(message.payload)
