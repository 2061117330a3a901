"""Publishing: connections to the broker, and the log of what was published when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from core.errors import InputError, ServiceError
from ingest.broker import BrokerAddress

#: Messages that may wait for the broker; about 20 MB of readings. A full queue makes the
#: simulators wait, it drops nothing.
MAX_QUEUED = 20_000
#: QoS 1 messages on their way at a time.
MAX_IN_FLIGHT = 512

_CONNECT_S = 10.0
_FLUSH_S = 0.5
_RETRY_S = 0.005


class Connection:
    """One MQTT 3.1.1 connection that publishes; connects at once and again by itself.

    Args:
        broker: Where.
        client_id: Unique at the broker.

    Raises:
        ServiceError: The broker cannot be reached or refuses us.
    """

    def __init__(self, broker: BrokerAddress, client_id: str) -> None:
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv311
        )
        if broker.username:
            self._client.username_pw_set(broker.username, broker.password)
        if broker.tls:
            self._client.tls_set()
        self._client.max_inflight_messages_set(MAX_IN_FLIGHT)
        self._client.max_queued_messages_set(MAX_QUEUED)
        self._client.reconnect_delay_set(min_delay=1, max_delay=4)
        self._connected = threading.Event()
        self._refused = ""
        self._client.on_connect = self._on_connect
        where = f"MQTT broker {broker.host}:{broker.port}"
        try:
            self._client.connect(broker.host, broker.port, keepalive=30)
        except OSError as exc:
            raise ServiceError(f"{where}: {exc}; is it running?") from exc
        self._client.loop_start()
        if not self._connected.wait(_CONNECT_S) or self._refused:
            self.close()
            raise ServiceError(f"{where}: {self._refused or 'no answer'} as {client_id!r}")

    def _on_connect(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        _properties: object,
    ) -> None:
        self._refused = str(reason) if reason.is_failure else ""
        self._connected.set()

    def publish(self, topic: str, payload: bytes, qos: int, *, give_up: Callable[[], bool]) -> bool:
        """Hand a message over; waits while the queue is full.

        Args:
            topic: Of the message.
            payload: Its bytes.
            qos: 0 or 1; with 1 it survives a lost connection.
            give_up: Asked while waiting.

        Returns:
            Whether it was taken. With QoS 0 that needs a live connection.
        """
        while True:
            info = self._client.publish(topic, payload, qos)
            if info.rc == mqtt.MQTT_ERR_SUCCESS:
                return True
            if info.rc != mqtt.MQTT_ERR_QUEUE_SIZE:
                # A lost connection: paho keeps QoS 1 and sends it on the next one.
                return qos > 0 and info.rc == mqtt.MQTT_ERR_NO_CONN
            if give_up():
                return False
            time.sleep(_RETRY_S)

    def close(self) -> None:
        """Disconnect; what waits in the queue is lost."""
        self._client.disconnect()
        self._client.loop_stop()


class PublishedLog:
    """Appends what was published to a file, for latency figures; safe for two threads.

    Rows are ``{"thing_id", "observed_ns", "wall_ns"}``, one JSON object a line, ``wall_ns`` of
    the machine's monotonic clock. They are buffered for at most half a second (some hundred
    rows) or :data:`MAX_ROWS`.

    Args:
        path: The file, replaced; None keeps no log.
    """

    #: Rows held before they are written.
    MAX_ROWS = 5_000

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._file = None if path is None else path.open("wb")
        self._rows: list[bytes] = []
        self._flushed_ns = time.monotonic_ns()
        self._lock = threading.Lock()
        self._encoder = msgspec.json.Encoder()

    def add(self, thing_id: str, observed_ns: int, wall_ns: int) -> None:
        """Note one message."""
        if self._file is None:
            return
        row = {"thing_id": thing_id, "observed_ns": observed_ns, "wall_ns": wall_ns}
        with self._lock:
            self._rows.append(self._encoder.encode(row))
            due = wall_ns - self._flushed_ns > _FLUSH_S * 1e9 or len(self._rows) >= self.MAX_ROWS
            if due:
                self._write()

    def flush(self) -> None:
        """Write what is held."""
        with self._lock:
            self._write()

    def close(self) -> None:
        """Write what is held and close the file."""
        if self._file is not None:
            self.flush()
            self._file.close()

    def _write(self) -> None:
        self._flushed_ns = time.monotonic_ns()
        if self._file is not None and self._rows:
            self._file.write(b"\n".join(self._rows) + b"\n")
            self._file.flush()
            self._rows.clear()


class _Row(msgspec.Struct):
    thing_id: str
    observed_ns: int
    wall_ns: int


def read_published(path: Path) -> dict[tuple[str, int], int]:
    """Monotonic nanoseconds of the first publishing, by thing and observed time.

    Raises:
        InputError: The file is missing or a line but the last is not a row.
    """
    decoder = msgspec.json.Decoder(_Row)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as exc:
        raise InputError(
            f"published file {path}: {exc.strerror}; run the simulators first"
        ) from exc
    found: dict[tuple[str, int], int] = {}
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            row = decoder.decode(line)
        except msgspec.MsgspecError as exc:
            if number == len(lines):  # no newline after it: the writer was killed
                break
            raise InputError(f"published file {path}, line {number}: {exc}") from exc
        found.setdefault((row.thing_id, row.observed_ns), row.wall_ns)
    return found
