"""Camera frames from MQTT: the newest matter, so each camera has a small ring.

Frames travel on a connection of their own with QoS 0, so that they never stand in the way of
what must not be lost. The callback only puts them into rings; when a ring is full its oldest
frame is dropped and counted.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from typing import Any, NamedTuple

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from core.frames import MAX_FRAME_BYTES
from core.topics import FRAME_FILTERS
from ingest.broker import BrokerAddress

_LOG = logging.getLogger(__name__)

#: Frames kept per camera. At a frame a second more would only be older.
RING_FRAMES = 4

#: Cameras kept; with full rings of 1080p frames about 300 MB.
MAX_CAMERAS = 64

_KEEPALIVE_S = 15
_LEAVE_S = 0.2


class RawFrame(NamedTuple):
    """A frame as it came in; ``wall_ns`` is the machine's monotonic clock then."""

    camera_id: str
    payload: bytes
    wall_ns: int


class FrameRings:
    """One ring of frames per camera, read in turn; safe for one writer and one reader.

    A camera's ring stays once it is made; at most ``max_cameras`` are.

    Args:
        ring_frames: Frames kept per camera; when there are more, the oldest goes.
        max_cameras: Frames of further cameras are dropped and counted.

    Example:
        >>> rings = FrameRings(ring_frames=2)
        >>> for payload in (b"1", b"2", b"3"):
        ...     rings.offer("camera-1", payload, wall_ns=0)
        >>> rings.offer("camera-2", b"4", wall_ns=0)
        >>> [rings.take(0.0).payload for _ in range(3)], rings.drops
        ([b'2', b'4', b'3'], {'camera-1': 1})
    """

    def __init__(self, ring_frames: int = RING_FRAMES, max_cameras: int = MAX_CAMERAS) -> None:
        self._ring_frames = ring_frames
        self._max_cameras = max_cameras
        self._rings: dict[str, deque[RawFrame]] = {}
        self._turn: deque[str] = deque()
        self._changed = threading.Condition()
        #: Frames that were dropped because newer ones came, by camera.
        self.drops: dict[str, int] = {}
        #: Frames of cameras beyond the limit, and frames too large to be one.
        self.refused: dict[str, int] = {}

    def offer(self, camera_id: str, payload: bytes, *, wall_ns: int) -> None:
        """Put a frame into its camera's ring; never waits."""
        with self._changed:
            if len(payload) > MAX_FRAME_BYTES:
                self._refuse("frame_too_large")
                return
            ring = self._rings.get(camera_id)
            if ring is None:
                if len(self._rings) >= self._max_cameras:
                    self._refuse("too_many_cameras")
                    return
                ring = self._rings[camera_id] = deque()
                self._turn.append(camera_id)
            if len(ring) >= self._ring_frames:
                ring.popleft()
                self.drops[camera_id] = self.drops.get(camera_id, 0) + 1
            ring.append(RawFrame(camera_id, payload, wall_ns))
            self._changed.notify()

    def take(self, timeout_s: float) -> RawFrame | None:
        """The oldest frame of the camera whose turn it is; None when none came in time."""
        with self._changed:
            frame = self._next()
            if frame is None and timeout_s > 0.0:
                self._changed.wait(timeout_s)
                frame = self._next()
            return frame

    def wake(self) -> None:
        """End a waiting :meth:`take`."""
        with self._changed:
            self._changed.notify_all()

    def _next(self) -> RawFrame | None:
        for _ in range(len(self._turn)):
            camera_id = self._turn[0]
            self._turn.rotate(-1)
            ring = self._rings[camera_id]
            if ring:
                return ring.popleft()
        return None

    def _refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1


class FrameSource:
    """Subscribes to the frames of all cameras and keeps the newest of each.

    A lost or absent broker is tried again until :meth:`stop`; :meth:`start` does not wait.

    Args:
        address: The broker and who we are there.
        rings: Where frames go.
    """

    def __init__(self, address: BrokerAddress, rings: FrameRings) -> None:
        self.rings = rings
        self.connects = 0
        #: Whether the broker has confirmed that frames will come to us.
        self.subscribed = False
        self._address = address
        self._client = build_client(address, f"qingniao-frames-{secrets.token_hex(4)}")
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def start(self) -> None:
        """Connect in the background."""
        self._client.connect_async(self._address.host, self._address.port, _KEEPALIVE_S)
        self._client.loop_start()

    def stop(self) -> None:
        """Disconnect."""
        leave(self._client)

    def _on_connect(
        self,
        client: Client,
        _userdata: Any,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            _LOG.warning("frames: broker refused us: %s", reason)
            return
        self.connects += 1
        for topic_filter, qos in FRAME_FILTERS:
            client.subscribe(topic_filter, qos)

    def _on_subscribe(self, *_: Any) -> None:
        self.subscribed = True

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        if message.retain:  # an old picture is no news
            return
        camera_id = message.topic.rpartition("/")[2]
        self.rings.offer(camera_id, bytes(message.payload), wall_ns=time.monotonic_ns())


def leave(client: Client) -> None:
    """Disconnect and end a client's thread, within a bound.

    Without a broker paho's thread may just be waiting to try again, which cannot be cut short;
    being a daemon it then ends by itself.
    """
    client.disconnect()
    closer = threading.Thread(target=client.loop_stop, name="leaving", daemon=True)
    closer.start()
    closer.join(_LEAVE_S)


def build_client(address: BrokerAddress, client_id: str) -> Client:
    """A paho client for a broker: MQTT 3.1.1, reconnects within two seconds by itself."""
    client = Client(
        CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv311
    )
    if address.username:
        client.username_pw_set(address.username, address.password)
    if address.tls:
        client.tls_set()
    client.reconnect_delay_set(min_delay=1, max_delay=2)
    return client
