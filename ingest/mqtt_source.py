"""Messages from an MQTT broker (paho-mqtt, MQTT 3.1.1), acknowledged when the log has them.

One thread owns the connection and every call of paho; it stamps the time of receipt and
enqueues, nothing else. Acknowledgements are handed to it. A full queue stops the reading of
the socket, so the broker keeps what we cannot take; nothing of QoS 1 is dropped here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from core import topics
from core.clock import Clock
from core.errors import ServiceError
from core.ports import RawMessage
from ingest import metrics
from ingest.broker import BrokerAddress
from ingest.mqtt_client import BufferedClient, Published

log = logging.getLogger("ingest.mqtt")

#: Most messages that a batch holds.
BATCH = 512

#: Most payload bytes in hand; with 4,096 messages of 64 KiB it is this that stops the reading.
MAX_BYTES = 64 * 1024 * 1024

KEEPALIVE_S = 30

_FIRST_DELAY_S = 0.05
# One client per city: it does not come in a herd, and what is published meanwhile to a broker
# that lost our session is lost.
_LONGEST_DELAY_S = 1.0

#: Mosquitto tells here what it dropped for slow or absent clients.
_DROPPED_TOPIC = "$SYS/broker/publish/messages/dropped"

#: After a connect, silence means nothing until the broker had this long to send what it kept.
_SETTLE_S = 1.0

#: That reading has stopped is told once in this time: with a backlog it does ten times a second.
STALL_TOLD_S = 10.0

#: The broker has this long to read our last acknowledgements when we leave.
_LEAVE_S = 0.5


class MqttSource:
    """A MessageSource on an MQTT broker, with a persistent session under a fixed client id.

    Args:
        address: The broker and who we are there.
        clock: Stamps the time of receipt.
        client_id: Fixed, one per ingest process; the broker keeps our messages under it.
        filters: Topic filters and the QoS to subscribe with.
        inflight: Messages in hand (queued, or yielded and not acknowledged) at which reading
            stops.
        max_bytes: Payload bytes in hand at which reading stops.
        gather_s: Wall seconds from one batch to the next, where that is not full; messages
            gather meanwhile. For a log on which a record costs more than what is in it.
        persistent: Whether the broker keeps our messages while we are away; a passing listener
            must not leave a queue behind that nobody will read.

    Example::

        source = MqttSource(address, SystemClock(), client_id="qingniao-ingest")
        await source.start()
        async for batch in source.batches():
            ...
            source.acknowledge(batch)
    """

    def __init__(
        self,
        address: BrokerAddress,
        clock: Clock,
        *,
        client_id: str = "qingniao-ingest",
        filters: Sequence[tuple[str, int]] = topics.INGEST_FILTERS,
        inflight: int = 4096,
        max_bytes: int = MAX_BYTES,
        gather_s: float = 0.0,
        persistent: bool = True,
    ) -> None:
        self.address = address
        self.client_id = client_id
        self._clock = clock
        self._filters = tuple(filters)
        self._inflight = inflight
        self._max_bytes = max_bytes
        self._gather_s = gather_s
        self._persistent = persistent

        self._lock = threading.Lock()
        self._queue: deque[RawMessage] = deque()
        # Queued messages that nobody will acknowledge: of QoS 0, or of an earlier connection.
        self._loose = 0
        self._loose_bytes = 0
        self._unacknowledged: dict[int, int] = {}  # token to payload bytes
        self._unacknowledged_bytes = 0
        self._to_acknowledge: deque[int] = deque()
        self._connection = 0
        self._connected_s: float | None = None
        self._subscribed_on: int | None = None  # the connection that has our subscriptions
        self._ready = threading.Event()
        self._refusal: str | None = None
        self._stopping = threading.Event()
        self._stalled = False
        self._stall_told_s = -math.inf
        self._taken = 0

        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived = asyncio.Event()
        self._signalled = False
        self._thread: threading.Thread | None = None
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)

        self.reconnects = 0
        self.sessions_lost = 0
        self.stalls = 0
        self.broker_dropped = 0

    # -- what others ask ---------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and our subscriptions."""
        return self._connected_s is not None and self._subscribed_on == self._connection

    @property
    def live(self) -> bool:
        """Whether silence now means that nothing was sent; not so while we are cut off."""
        since_s = self._connected_s
        return (
            self.connected
            and since_s is not None
            and time.monotonic() - since_s > _SETTLE_S
            and not self._queue
        )

    @property
    def in_hand(self) -> int:
        """Messages queued, or yielded and not acknowledged."""
        with self._lock:
            return self._loose + len(self._unacknowledged)

    # -- life --------------------------------------------------------------------------

    async def start(self, *, wait_s: float = 10.0) -> None:
        """Connect, subscribe and begin to take messages.

        Raises:
            ServiceError: The broker refused us, or did not answer within ``wait_s``. After a
                first success the source reconnects for ever, with a growing, jittered delay.
        """
        if self._thread is not None:
            raise ServiceError(f"MQTT source {self.client_id!r} was started before")
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(
            target=self._run, name=f"mqtt-{self.client_id}", daemon=True
        )
        self._thread.start()
        done = await asyncio.to_thread(self._ready.wait, wait_s)
        if not done or self._refusal:
            reason = self._refusal or f"no answer within {wait_s:g} s"
            await self.stop()
            raise ServiceError(
                f"MQTT broker {self.address.host}:{self.address.port}, user "
                f"{self.address.username!r}: {reason}"
            )

    async def stop(self) -> None:
        """Disconnect; the broker keeps the session. ``batches()`` ends."""
        self._stopping.set()
        self._wake()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.join, 2.0)
        self._arrived.set()
        with contextlib.suppress(OSError):
            self._wake_reader.close()
            self._wake_writer.close()

    # -- MessageSource -----------------------------------------------------------------

    async def batches(self) -> AsyncIterator[Sequence[RawMessage]]:
        """All that has arrived, at most 512, as soon as there is any; ends after ``stop``."""
        due_s = 0.0
        while True:
            early_s = due_s - time.monotonic()
            if early_s > 0 and len(self._queue) < BATCH:
                await asyncio.sleep(early_s)
            with self._lock:
                count = min(len(self._queue), BATCH)
                batch = [self._queue.popleft() for _ in range(count)]
                for message in batch:
                    if message.token not in self._unacknowledged:
                        self._loose -= 1
                        self._loose_bytes -= len(message.payload)
                if not batch:
                    self._signalled = False
                    self._arrived.clear()
            if batch:
                if self._stalled:
                    self._wake()
                due_s = time.monotonic() + self._gather_s
                yield batch
            elif self._stopping.is_set():
                return
            else:
                await self._arrived.wait()

    def acknowledge(self, messages: Sequence[RawMessage]) -> None:
        """Send PUBACK for messages that came on the present connection.

        Those of an earlier connection are the broker's to send again; there is nothing that
        could be said about them.
        """
        with self._lock:
            for message in messages:
                size = self._unacknowledged.pop(message.token, None)
                if size is not None:
                    self._unacknowledged_bytes -= size
                    self._to_acknowledge.append(message.token)
            metrics.UNACKNOWLEDGED.set(len(self._unacknowledged))
        self._wake()

    # -- the network thread ------------------------------------------------------------

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it will wake anyway
            self._wake_writer.send(b"\0")

    def _run(self) -> None:
        client = self._build_client()
        delay_s = _FIRST_DELAY_S
        while not self._stopping.is_set():
            try:
                client.connect(self.address.host, self.address.port, KEEPALIVE_S)
                self._serve(client)
            except (OSError, ValueError) as exc:
                log.warning(
                    "MQTT %s:%d: %s; next try within %.1f s",
                    self.address.host,
                    self.address.port,
                    exc,
                    delay_s,
                )
                metrics.CONNECTS.labels("failed").inc()
            except Exception:  # a fault in paho must not end the feed without a word
                log.exception("MQTT connection of %r failed", self.client_id)
                metrics.CONNECTS.labels("failed").inc()
            if self._connected_s is not None:
                delay_s = _FIRST_DELAY_S
            self._forget_connection()
            if self._stopping.is_set():
                break
            # Full jitter: many clients must not come back in step.
            self._stopping.wait(random.uniform(delay_s / 2, delay_s))  # noqa: S311
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)
            self.reconnects += 1

    def _build_client(self) -> BufferedClient:
        client = BufferedClient(
            CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            clean_session=not self._persistent,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = 5.0
        if self.address.username:
            client.username_pw_set(self.address.username, self.address.password)
        if self.address.tls:
            client.tls_set()
        client.max_inflight_messages = self._inflight
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        # paho then leaves all writing to our loop, which writes once per round.
        client.on_socket_register_write = lambda *_: None
        return client

    def _serve(self, client: BufferedClient) -> None:
        """Move bytes until the connection ends or we are to stop."""
        with selectors.DefaultSelector() as selector:
            sock: Any = client.socket()
            selector.register(sock, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            watched = selectors.EVENT_READ
            while not self._stopping.is_set():
                reading = not self._is_full()
                wanted = (selectors.EVENT_READ if reading else 0) | (
                    selectors.EVENT_WRITE if client.want_write() else 0
                )
                watched = self._watch(selector, sock, watched, wanted)
                pending = reading and (
                    client.has_unread or bool(getattr(sock, "pending", lambda: 0)())
                )
                ready = {key.fileobj for key, _ in selector.select(0.0 if pending else 1.0)}
                if self._wake_reader in ready:
                    with contextlib.suppress(OSError):
                        self._wake_reader.recv(4096)
                self._send_acknowledgements(client)
                rc = MQTTErrorCode.MQTT_ERR_SUCCESS
                if reading and (sock in ready or pending):
                    rc = self._read_burst(client)
                if rc == MQTTErrorCode.MQTT_ERR_SUCCESS and client.want_write():
                    rc = client.loop_write()
                if rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
                    rc = client.loop_misc()
                if rc != MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None:
                    if self._refusal is None:
                        log.warning("MQTT connection ended: %s", rc)
                    return
        self._leave(client)

    def _leave(self, client: BufferedClient) -> None:
        """Disconnect once the broker has read our acknowledgements.

        A socket closed with unread data in it makes the kernel throw away what the broker has
        not yet read. MQTT does not confirm a PUBACK; but packets are answered in order.
        """
        self._send_acknowledgements(client)
        answered = threading.Event()
        client.on_unsubscribe = lambda *_: answered.set()
        client.unsubscribe(_DROPPED_TOPIC)
        deadline_s = time.monotonic() + _LEAVE_S
        while not answered.is_set() and time.monotonic() < deadline_s:
            sock: Any = client.socket()
            if sock is None or client.loop_write() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return
            pending = client.has_unread or bool(getattr(sock, "pending", lambda: 0)())
            with selectors.DefaultSelector() as selector:
                selector.register(sock, selectors.EVENT_READ)
                if not pending and not selector.select(0.05):
                    continue
            if client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return
        client.disconnect()
        client.loop_write()

    def _watch(self, selector: selectors.BaseSelector, sock: Any, watched: int, wanted: int) -> int:
        if wanted != watched:
            if not wanted:
                selector.unregister(sock)
            elif watched:
                selector.modify(sock, wanted)
            else:
                selector.register(sock, wanted)
        return wanted

    def _read_burst(self, client: BufferedClient) -> MQTTErrorCode:
        """Read packets while they keep coming, then tell the event loop once."""
        rc = MQTTErrorCode.MQTT_ERR_SUCCESS
        until = self._taken + BATCH
        while self._taken < until:
            self._enqueue(client.take_published(min(until - self._taken, self._room())))
            if self._is_full():
                break
            before = self._taken
            rc = client.loop_read()
            if rc != MQTTErrorCode.MQTT_ERR_SUCCESS or self._taken == before or self._is_full():
                break
        self._announce()
        return rc

    def _announce(self) -> None:
        with self._lock:
            if self._signalled or not self._queue:
                return
            self._signalled = True
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._arrived.set)

    def _room(self) -> int:
        """Messages that may be taken before reading stops."""
        with self._lock:
            return self._inflight - self._loose - len(self._unacknowledged)

    def _is_full(self) -> bool:
        with self._lock:
            full = (
                self._loose + len(self._unacknowledged) >= self._inflight
                or self._loose_bytes + self._unacknowledged_bytes >= self._max_bytes
            )
        if full and not self._stalled:
            # What the broker had kept for us comes before its answer to our subscription.
            self._ready.set()
            self.stalls += 1
            metrics.BACKPRESSURE.inc()
            if (now_s := time.monotonic()) >= self._stall_told_s + STALL_TOLD_S:
                self._stall_told_s = now_s
                log.warning(
                    "%d messages in hand: reading stops until the log has some of them, now and "
                    "again while there is a backlog",
                    self.in_hand,
                )
        self._stalled = full
        return full

    def _send_acknowledgements(self, client: BufferedClient) -> None:
        with self._lock:
            tokens = list(self._to_acknowledge)
            self._to_acknowledge.clear()
            current = self._connection
        client.acknowledge(token & 0xFFFF for token in tokens if token >> 16 == current)

    def _forget_connection(self) -> None:
        with self._lock:
            self._connected_s = None
            self._connection += 1
            self._unacknowledged.clear()
            self._unacknowledged_bytes = 0
            self._loose = len(self._queue)
            self._loose_bytes = sum(len(message.payload) for message in self._queue)
            self._to_acknowledge.clear()

    # -- paho's callbacks, on the network thread ---------------------------------------

    def _on_connect(
        self,
        client: Client,
        _userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason_code.is_failure:
            metrics.CONNECTS.labels("refused").inc()
            log.error("MQTT broker refused us: %s", reason_code)
            if not self._ready.is_set():
                self._refusal = f"refused: {reason_code}"
                self._ready.set()
            return
        metrics.CONNECTS.labels("accepted").inc()
        self._refusal = None
        if self.reconnects and not flags.session_present:
            self.sessions_lost += 1
            metrics.SESSIONS_LOST.inc()
            log.error(
                "the broker has no session for %r: what it had accepted for us and not yet "
                "delivered is lost; is its persistence on?",
                self.client_id,
            )
        self._connected_s = time.monotonic()
        client.subscribe([*self._filters, (_DROPPED_TOPIC, 0)])

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: Any,
        _mid: int,
        reason_codes: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        # The last filter is the broker's own counter, which not every broker lets us see.
        for (topic_filter, wanted), granted in zip(self._filters, reason_codes, strict=False):
            if granted.is_failure:
                log.error("the broker refused the subscription %r: %s", topic_filter, granted)
            elif granted.value < wanted:
                log.error(
                    "the broker granted QoS %d for %r, %d was asked: messages can be lost",
                    granted.value,
                    topic_filter,
                    wanted,
                )
        self._subscribed_on = self._connection
        self._ready.set()

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        one = Published(
            topic=bytes(message._topic),
            payload=bytes(message.payload),
            qos=message.qos,
            duplicate=message.dup,
            retained=message.retain,
            mid=message.mid,
        )
        self._enqueue([one])

    def _enqueue(self, published: Sequence[Published]) -> None:
        """Stamp messages with the time and put them where :meth:`batches` finds them."""
        if not published:
            return
        self._taken += len(published)
        dropped = _DROPPED_TOPIC.encode()
        # What one read gave is a nanosecond apart: equal readings stay two, in their order.
        received_ns = self._clock.now_ns()
        connection = self._connection << 16
        raws = [
            RawMessage(
                topic=one.topic.decode("utf-8", "replace"),
                payload=one.payload,
                received_ns=received_ns + number,
                qos=one.qos,
                retained=one.retained,
                duplicate=one.duplicate,
                token=connection | one.mid if one.qos else 0,
                packet_id=one.mid,
            )
            for number, one in enumerate(published)
            if one.topic != dropped
        ]
        with self._lock:
            self._queue.extend(raws)
            for raw in raws:
                size = len(raw.payload)
                if raw.qos:
                    self._unacknowledged[raw.token] = size
                    self._unacknowledged_bytes += size
                else:
                    self._loose += 1
                    self._loose_bytes += size
        metrics.MESSAGES.inc(len(raws))
        for one in published:
            if one.topic == dropped:
                self._note_dropped(one.payload)

    def _note_dropped(self, payload: bytes) -> None:
        try:
            dropped = int(payload)
        except ValueError:
            return
        if dropped > self.broker_dropped:
            log.error(
                "the broker says it dropped %d messages (%d before) for clients that were slow "
                "or away; raise its max_queued_messages and max_queued_bytes",
                dropped,
                self.broker_dropped,
            )
        self.broker_dropped = dropped
        metrics.BROKER_DROPPED.set(dropped)
