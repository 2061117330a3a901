"""Whether a broker keeps what a client that is away cannot take; asked at every start."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from core.errors import ServiceError
from ingest.broker import BrokerAddress

log = logging.getLogger("ingest.mqtt")

KEEPALIVE_S = 30

#: One more than Mosquitto's default queue of 1,000 and its 20 in flight.
_PROBE_COUNT = 1_200


async def probe(address: BrokerAddress, *, count: int = _PROBE_COUNT) -> int:
    """How many of ``count`` QoS 1 messages the broker loses for a client that is away.

    A client with a persistent session subscribes and leaves, the messages are published and
    acknowledged, the client comes back and counts. 0 is what a feed that must not lose
    messages needs; a Mosquitto with default settings loses all beyond 1,000.

    Raises:
        ServiceError: The broker did not let us.
    """
    return await asyncio.to_thread(_probe, address, count)


def _probe(address: BrokerAddress, count: int) -> int:
    number = f"{random.getrandbits(32):08x}"
    topic, client_id = f"qn-probe/{number}", f"qingniao-probe-{number}"
    got: set[bytes] = set()

    def client(name: str, *, clean: bool) -> Client:
        one = Client(
            CallbackAPIVersion.VERSION2, client_id=name, clean_session=clean,
            protocol=MQTTProtocolVersion.MQTTv311,
        )  # fmt: skip
        if address.username:
            one.username_pw_set(address.username, address.password)
        if address.tls:
            one.tls_set()
        one.max_inflight_messages = 256
        one.on_message = lambda _c, _u, message: got.add(bytes(message.payload))
        one.connect(address.host, address.port, KEEPALIVE_S)
        one.loop_start()
        return one

    def close(one: Client) -> None:
        one.disconnect()
        one.loop_stop()

    try:
        away = client(client_id, clean=False)
        granted = threading.Event()
        away.on_subscribe = lambda *_: granted.set()
        away.subscribe(topic, 1)
        if not granted.wait(5.0):
            raise ServiceError("the broker did not answer the probe's subscription within 5 s")
        close(away)
        publisher = client(f"{client_id}-p", clean=True)
        sent = [publisher.publish(topic, str(i).encode(), 1) for i in range(count)]
        for one in sent:
            one.wait_for_publish(10.0)
        close(publisher)
        away = client(client_id, clean=False)
        deadline = time.monotonic() + 10.0
        before = -1
        while len(got) < count and time.monotonic() < deadline and len(got) != before:
            before = len(got)
            time.sleep(0.5)
        close(away)
        close(client(client_id, clean=True))  # the broker forgets the session
    except (OSError, RuntimeError, ValueError) as exc:
        raise ServiceError(
            f"MQTT broker {address.host}:{address.port} could not be probed: {exc}"
        ) from exc
    lost = count - len(got)
    if lost:
        log.error(
            "the broker lost %d of %d messages for a client that was away: set its "
            "max_queued_messages 0 and max_inflight_messages 4096 (see docs/decisions/0002)",
            lost,
            count,
        )
    return lost
