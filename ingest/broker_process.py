"""The child process of a broker of ours: ``python -m ingest.broker_process``.

``amqtt FD PASSWORDS QUEUE_BYTES`` runs amqtt on a listening socket inherited as FD;
``exec BINARY ARG…`` becomes another program that ends with its parent.

amqtt 0.12 is not safe for messages that must not be lost: it forgets a QoS 1 message when the
subscriber does not acknowledge within 5 s or disconnects, drops what a publisher sent just
before it closed, marks a session as away when its client took over its own connection, and
lets a client that it refuses end another's session. So delivery is replaced here: messages are
routed as they are read, each session has a queue and an in-flight window, a message leaves the
session only with its PUBACK, and a publisher is acknowledged after routing. The protocol's
parsing, authentication and connections stay amqtt's. QoS 2 is granted as QoS 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

log = logging.getLogger("ingest.broker_process")

#: QoS 1 messages sent to a session and not acknowledged; packet ids end at 65,535.
WINDOW = 32_768

#: More waits in the session's queue instead of in the socket's buffer.
SEND_BUFFER_BYTES = 1024 * 1024

#: A QoS 0 message is dropped for a session that has this much unsent: two large frames.
QOS0_BUFFER_BYTES = 8 * 1024 * 1024

#: A persistent session that stays away for longer is forgotten, with its queue.
SESSION_EXPIRY_S = 24 * 3600

_PR_SET_PDEATHSIG = 1


def end_with_parent(number: int) -> None:
    """Have Linux send this process a signal when the parent ends; elsewhere do nothing."""
    if platform.system() == "Linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


class _Waiting(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    retain: bool


class Outbox:
    """What one session is still owed."""

    def __init__(self, budget: Budget) -> None:
        self.queue: deque[_Waiting] = deque()
        self.in_flight: dict[int, _Waiting] = {}
        self.handler: Any = None
        self.dropped = 0
        self._budget = budget
        self._next_id = 0
        self._draining: asyncio.Task[None] | None = None

    def put(self, message: _Waiting) -> None:
        """Owe the session one more QoS 1 message."""
        self.queue.append(message)
        self._budget.add(len(message.payload))
        self.pump()

    def put_qos0(self, message: _Waiting) -> None:
        """Send a QoS 0 message now or never."""
        transport = self._transport()
        if transport is None:
            return
        if transport.get_write_buffer_size() > QOS0_BUFFER_BYTES:
            self.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:
                log.warning("%d QoS 0 messages dropped for a slow subscriber", self.dropped)
            return
        self._write(message, None, dup=False)

    def acknowledged(self, packet_id: int) -> None:
        """The session has a message."""
        message = self.in_flight.pop(packet_id, None)
        if message is not None:
            self._budget.add(-len(message.payload))
            self.pump()

    def attach(self, handler: Any) -> None:
        """A connection began: send again what was not acknowledged, then go on [MQTT-4.4]."""
        self.handler = handler
        for packet_id, message in self.in_flight.items():
            self._write(message, packet_id, dup=True)
        self.pump()

    def detach(self, handler: Any) -> None:
        """A connection ended; a newer one stays."""
        if self.handler is handler:
            self.handler = None

    def forget(self) -> None:
        """The session is over."""
        owed = sum(len(m.payload) for m in self.queue)
        owed += sum(len(m.payload) for m in self.in_flight.values())
        self._budget.add(-owed)
        self.queue.clear()
        self.in_flight.clear()

    def pump(self) -> None:
        """Send what the window and the socket take."""
        while self.queue and len(self.in_flight) < WINDOW:
            transport = self._transport()
            if transport is None:
                return
            if transport.get_write_buffer_size() > SEND_BUFFER_BYTES:
                if self._draining is None or self._draining.done():
                    self._draining = asyncio.ensure_future(self._pump_when_drained())
                return
            message = self.queue.popleft()
            packet_id = self._packet_id()
            self.in_flight[packet_id] = message
            self._write(message, packet_id, dup=False)

    async def _pump_when_drained(self) -> None:
        while self._transport() is not None:
            with contextlib.suppress(OSError):
                await self.handler.writer.drain()
            transport = self._transport()
            if transport is None or transport.get_write_buffer_size() <= SEND_BUFFER_BYTES:
                break
            await asyncio.sleep(0.01)
        self._draining = None
        self.pump()

    def _packet_id(self) -> int:
        while True:
            self._next_id = self._next_id % 65_535 + 1
            if self._next_id not in self.in_flight:
                return self._next_id

    def _transport(self) -> Any:
        handler = self.handler
        if handler is None or handler.writer is None or handler.writer.is_closed:
            return None
        transport = handler.writer._writer.transport
        return None if transport.is_closing() else transport

    def _write(self, message: _Waiting, packet_id: int | None, *, dup: bool) -> None:
        transport = self._transport()
        if transport is None:
            return
        topic = message.topic.encode()
        head = len(topic).to_bytes(2, "big") + topic
        if packet_id is not None:
            head += packet_id.to_bytes(2, "big")
        first = 0x30 | dup << 3 | (packet_id is not None) << 1 | message.retain
        length = len(head) + len(message.payload)
        digits = bytearray()
        while True:
            length, digit = divmod(length, 128)
            digits.append(digit | (0x80 if length else 0))
            if not length:
                break
        # One write, so that it cannot interleave with amqtt's own packets.
        transport.write(bytes([first]) + bytes(digits) + head + message.payload)


class Budget:
    """Bytes owed to all sessions; publishers wait for their acknowledgement above the cap."""

    def __init__(self, cap_bytes: int) -> None:
        self.cap_bytes = cap_bytes
        self.used_bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    def add(self, count: int) -> None:
        """Count bytes in or, negative, out."""
        self.used_bytes += count
        if self.used_bytes > self.cap_bytes:
            if self._room.is_set():
                log.error(
                    "subscribers are owed %d bytes, more than %d: publishers now wait for their "
                    "acknowledgement; is a subscriber with a persistent session gone for good?",
                    self.used_bytes,
                    self.cap_bytes,
                )
            self._room.clear()
        elif not self._room.is_set() and self.used_bytes < self.cap_bytes * 0.9:
            log.warning("subscribers are owed %d bytes; publishers go on", self.used_bytes)
            self._room.set()

    async def wait(self) -> None:
        """Return when there is room."""
        await self._room.wait()


def build_broker(listener: socket.socket, password_file: str, queue_bytes: int) -> Any:
    """amqtt with our delivery, not yet started; needs a running loop."""
    import amqtt.broker
    from amqtt.errors import MQTTError
    from amqtt.mqtt.connack import NOT_AUTHORIZED, ConnackPacket
    from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
    from amqtt.mqtt.puback import PubackPacket

    budget = Budget(queue_bytes)

    def outbox_of(session: Any) -> Outbox:
        outbox = session.attributes.get("qingniao.outbox")
        if outbox is None:
            outbox = session.attributes["qingniao.outbox"] = Outbox(budget)
        return outbox  # type: ignore[no-any-return]

    class Handler(BrokerProtocolHandler):  # type: ignore[misc]
        """A connection whose QoS 1 messages are kept until they are acknowledged."""

        @classmethod
        async def init_from_connect(
            cls, reader: Any, writer: Any, plugins_manager: Any, loop: Any = None
        ) -> tuple[Any, Any]:
            handler, session = await super().init_from_connect(
                reader, writer, plugins_manager, loop
            )
            # Before the broker looks the client id up: a refused client must not touch the
            # session of another.
            if not await broker._authenticate(session, None):
                await ConnackPacket.build(0, NOT_AUTHORIZED).to_stream(writer)
                await writer.close()
                raise MQTTError(f"client {session.client_id!r} refused")
            known = broker._sessions.get(session.client_id)
            if known is not None and known[0].clean_session and not session.clean_session:
                await broker._delete_session(session.client_id)
            return handler, session

        async def _retry_deliveries(self) -> None:
            if not self.session.transitions.is_connected():
                # A take-over marks the session as away while the new connection is set up.
                self.session.transitions.connect()
            outbox_of(self.session).attach(self)

        async def stop(self) -> None:
            if self.session is not None:
                outbox_of(self.session).detach(self)
            await super().stop()

        async def _handle_qos1_message_flow(self, app_message: Any) -> None:
            outbox_of(self.session).put(
                _Waiting(app_message.topic, bytes(app_message.data), 1, bool(app_message.retain))
            )

        async def handle_puback(self, puback: Any) -> None:
            if self.session is not None and puback.variable_header is not None:
                outbox_of(self.session).acknowledged(puback.variable_header.packet_id)

        async def handle_publish(self, publish_packet: Any) -> None:
            if publish_packet.qos == 2:
                await super().handle_publish(publish_packet)
                return
            topic, data = publish_packet.topic_name, publish_packet.data
            if not topic or data is None or topic.startswith("$") or set(topic) & {"#", "+"}:
                log.warning("a publisher used topic %r, which nobody may", topic)
                await self.handle_connection_closed()
                return
            if publish_packet.qos:
                await budget.wait()
            broker.route(_Waiting(topic, bytes(data), publish_packet.qos, retain=False))
            if publish_packet.retain_flag:
                await broker.retain_message(self.session, topic, data, publish_packet.qos)
            if publish_packet.qos:
                await self._send_packet(PubackPacket.build(publish_packet.packet_id))

    class KeepingBroker(amqtt.broker.Broker):  # type: ignore[misc]
        """amqtt, with routing at the moment a message is read."""

        async def _create_server_instance(self, *_: Any) -> asyncio.Server:
            return await asyncio.start_server(
                lambda reader, writer: self.stream_connected(reader, writer, "default"),
                sock=listener,
            )

        def route(self, message: _Waiting) -> None:
            best: dict[str, tuple[Any, int]] = {}
            for topic_filter, subscriptions in self._subscriptions.items():
                if not self._matches(message.topic, topic_filter):
                    continue
                for session, granted in subscriptions:
                    # One copy per client, at the best QoS of its filters [MQTT-3.3.5-1].
                    known = best.get(session.client_id)
                    if known is None or known[1] < granted:
                        best[session.client_id] = (session, granted)
            for session, granted in best.values():
                outbox = outbox_of(session)
                if min(message.qos, granted) == 0:
                    outbox.put_qos0(message)
                elif outbox.handler is not None or not session.clean_session:
                    outbox.put(message)

        async def _run_broadcast(self, running_tasks: Any) -> None:
            one = await self._broadcast_queue.get()
            self.route(
                _Waiting(one["topic"], bytes(one["data"]), one.get("qos") or 1, retain=False)
            )

        async def add_subscription(self, subscription: tuple[str, int], session: Any) -> int:
            topic_filter, qos = subscription
            granted = await super().add_subscription((topic_filter, min(qos, 1)), session)
            if granted < 2:
                # A subscription replaces the one before [MQTT-3.8.4-3].
                self._subscriptions[topic_filter] = [
                    (one, granted if one is session else was)
                    for one, was in self._subscriptions[topic_filter]
                    if one is session or one.client_id != session.client_id
                ]
                if all(one is not session for one, _ in self._subscriptions[topic_filter]):
                    self._subscriptions[topic_filter].append((session, granted))
            return int(granted)

        async def _publish_retained_messages_for_subscription(
            self, subscription: tuple[str, int], session: Any
        ) -> None:
            held = self._subscriptions.get(subscription[0], [])
            if any(one is session for one, _ in held):
                await super()._publish_retained_messages_for_subscription(subscription, session)

        async def _handle_disconnect(
            self, client_session: Any, handler: Any, disconnect_waiter: Any
        ) -> None:
            known = self._sessions.get(client_session.client_id)
            if known is not None and known[1] is not handler:
                # The client has a newer connection; its session goes on.
                await self._stop_handler(handler)
                return
            await super()._handle_disconnect(client_session, handler, disconnect_waiter)

        async def _delete_session(self, client_id: str) -> None:
            known = self._sessions.get(client_id)
            await super()._delete_session(client_id)
            if known is not None:
                outbox_of(known[0]).forget()
                await self._stop_handler(known[1])

        async def _cleanup_session(self, client_id: str) -> None:
            known = self._sessions.get(client_id)
            await super()._cleanup_session(client_id)
            if known is not None:
                outbox_of(known[0]).forget()

    amqtt.broker.BrokerProtocolHandler = Handler
    broker = KeepingBroker(
        {
            "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:0"}},
            "session_expiry_interval": SESSION_EXPIRY_S,
            "plugins": {
                "amqtt.plugins.authentication.FileAuthPlugin": {"password_file": password_file}
            },
        }
    )
    return broker


async def run_amqtt(listener: socket.socket, password_file: str, queue_bytes: int) -> None:
    """Serve until the process is told to end; the kernel closes what is open then."""
    broker = build_broker(listener, password_file, queue_bytes)
    await broker.start()
    await asyncio.Event().wait()


def _when_stdin_closes(act: Callable[[], None]) -> None:
    """The parent holds the other end of stdin: it closes however the parent ends."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        act()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _become(command: list[str]) -> int:
    """Run another program that ends with the parent of this process."""
    if platform.system() == "Linux":
        os.execv(command[0], command)  # noqa: S606 (the parent names it)
    child = subprocess.Popen(command)  # noqa: S603
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    _when_stdin_closes(child.terminate)
    return child.wait()


def main(arguments: list[str]) -> int:
    """Run as a child; returns the exit code."""
    parent = os.getppid()
    match arguments:
        case ["exec", *command] if command:
            end_with_parent(signal.SIGTERM)
            if os.getppid() != parent:
                return 0  # the parent ended before it could be watched
            return _become(command)
        case ["amqtt", fd, password_file, queue_bytes]:
            # Linux sends the signal also when only the thread that started us ends.
            signal.signal(
                signal.SIGUSR1, lambda *_: None if os.getppid() == parent else os._exit(0)
            )
            end_with_parent(signal.SIGUSR1)
            # Nothing is kept on disk, so there is nothing to put in order.
            signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            _when_stdin_closes(lambda: os._exit(0))
            logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
            logging.getLogger("amqtt").setLevel(logging.ERROR)
            listener = socket.socket(fileno=int(fd))
            asyncio.run(run_amqtt(listener, password_file, int(queue_bytes)))
            return 0
    sys.stderr.write(f"unknown arguments {arguments}; see the module's text\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
