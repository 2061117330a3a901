"""The API's own connection to the broker: publishes reports, hears how the cameras are.

A citizen's report takes the same way as any sensor's message, so it is merged, recorded and
replayed like one.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, Protocol

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from core.errors import ServiceError

logger = logging.getLogger(__name__)

#: A report that the broker has not taken by then is refused to the citizen, not kept.
PUBLISH_TIMEOUT_S = 5.0


class BrokerLogin(Protocol):
    """Where an MQTT broker listens and who we are there."""

    @property
    def host(self) -> str:
        """Its name or address."""
        ...

    @property
    def port(self) -> int:
        """The port it listens on."""
        ...

    @property
    def username(self) -> str:
        """Our name there; empty for none."""
        ...

    @property
    def password(self) -> str:
        """Our password there."""
        ...

    @property
    def tls(self) -> bool:
        """Whether it speaks TLS."""
        ...


def new_client(login: BrokerLogin, client_id: str) -> mqtt.Client:
    """A client for a broker, not yet connected."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv311)
    if login.username:
        client.username_pw_set(login.username, login.password)
    if login.tls:
        client.tls_set()
    return client


class MqttLink:
    """A small MQTT client beside the API.

    Args:
        login: The broker.
        client_id: Ours alone.
        status_filter: Topic filter of the status messages to hear, QoS 0; empty hears none.
        on_status: Called on the event loop with topic and decoded JSON of each.
    """

    def __init__(
        self,
        login: BrokerLogin,
        client_id: str,
        *,
        status_filter: str = "",
        on_status: Callable[[str, Any], None] = lambda _topic, _status: None,
    ) -> None:
        self._address = (login.host, login.port)
        self._status_filter = status_filter
        self._on_status = on_status
        self._loop: asyncio.AbstractEventLoop | None = None
        client = new_client(login, client_id)
        client.on_connect = self._connected
        client.on_message = self._message
        client.reconnect_delay_set(1, 10)
        self._client = client

    def start(self) -> None:
        """Connect in the background; reconnects by itself. Call on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._client.connect_async(*self._address, keepalive=30)
        self._client.loop_start()

    def stop(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 1; returns when the broker has acknowledged.

        Raises:
            ServiceError: There is no connection, or no acknowledgement in time.
        """
        if not self._client.is_connected():
            raise ServiceError(
                f"{topic}: no connection to the broker at {self._address}; try again"
            )
        info = self._client.publish(topic, payload, qos=1)
        try:
            await asyncio.to_thread(info.wait_for_publish, PUBLISH_TIMEOUT_S)
        except (ValueError, RuntimeError) as exc:
            raise ServiceError(f"{topic}: not published: {exc}") from exc
        if not info.is_published():
            raise ServiceError(f"{topic}: no acknowledgement within {PUBLISH_TIMEOUT_S:.0f} s")

    def _connected(
        self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        if reason.is_failure:
            logger.error("broker at %s:%d refused the API: %s", *self._address, reason)
            return
        if self._status_filter:
            client.subscribe(self._status_filter, qos=0)

    def _message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            body = json.loads(message.payload)
        except ValueError:
            logger.warning("%s: status is not JSON, ignored", message.topic)
            return
        loop.call_soon_threadsafe(self._on_status, message.topic, body)
