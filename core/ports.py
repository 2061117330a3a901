"""What the parts of the platform ask of each other, as protocols and plain values."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.city import CameraPose
from core.errors import DecodeError


class RawMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A message as it came in, before anybody read it.

    ``received_ns`` is city time. ``token`` is what the source needs to acknowledge it.
    ``packet_id`` is MQTT's packet identifier, under which a broker repeats a message that it
    got no acknowledgement for; 0 where there is none.
    """

    topic: str
    payload: bytes
    received_ns: int
    qos: int = 0
    retained: bool = False
    duplicate: bool = False
    token: int = 0
    packet_id: int = 0


class Rejection(msgspec.Struct, frozen=True, kw_only=True, tag="rejection"):
    """A message, or a part of one, that ingest could not take, and why.

    ``reason`` is a short machine word, one of few (metrics are counted under it);
    ``detail`` says what was got, what was wanted and where. ``payload`` is cut to 64 KiB,
    ``payload_bytes`` is its true size. ``source`` is the wire format, as observations name it
    or, where no decoder took it, ``unknown``; ``ingest_id`` and ``sequence`` name the batch of
    ingest that it belongs to, for the ledger.
    """

    topic: str
    reason: str
    detail: str
    payload: bytes
    payload_bytes: int
    received_ns: int
    source: str = ""
    ingest_id: str = ""
    sequence: int = 0

    @property
    def digest(self) -> str:
        """32 hex digits of what was rejected and why; told again, it is the same."""
        head = f"{self.topic}\x1f{self.reason}\x1f{self.received_ns}\x1f{self.detail}\x1f".encode()
        return hashlib.blake2b(head + self.payload, digest_size=16).hexdigest()


class Redriven(msgspec.Struct, frozen=True, kw_only=True, tag="redriven"):
    """What became of a rejection that was sent again: it leaves the quarantine."""

    digest: str


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Rejection | Redriven])


def encode_rejections(rejections: Sequence[Rejection | Redriven]) -> bytes:
    """Write rejections as one record of topic ``rejections``."""
    return _ENCODER.encode(list(rejections))


def decode_rejections(data: bytes) -> list[Rejection | Redriven]:
    """Read a record of topic ``rejections`` back.

    Raises:
        DecodeError: The bytes are no list of rejections.

    Example:
        >>> decode_rejections(encode_rejections([]))
        []
    """
    try:
        return _DECODER.decode(data)
    except msgspec.MsgspecError as exc:
        raise DecodeError("bad_rejections", f"log record of {len(data)} bytes: {exc}") from exc


class MessageSource(Protocol):
    """Where messages come from: a broker, a recording."""

    def batches(self) -> AsyncIterator[Sequence[RawMessage]]:
        """All that has arrived, as soon as there is any; never waits for more."""
        ...

    def acknowledge(self, messages: Sequence[RawMessage]) -> None:
        """Tell the source that the log has these; it need not keep them any longer."""
        ...


class LogWriter(Protocol):
    """The log, as far as ingest knows it."""

    async def append(self, topic: str, partition: int, value: bytes, *, key: bytes | None) -> None:
        """Write one record; returns when it is durable, raises ServiceError when it is not."""
        ...

    async def append_all(self, topic: str, records: Sequence[tuple[int, bytes]]) -> None:
        """Write records, each with its partition, in their order; returns when all are durable.

        They are made durable together. Raises ServiceError where any is not; some may be then.
        """
        ...

    def backwards(self, topic: str, partition: int) -> AsyncGenerator[bytes, None]:
        """The records of a partition, the newest first; raises ServiceError as ``append``."""
        ...


class LogRecord(NamedTuple):
    """A record of the log as it is read back."""

    offset: int
    value: bytes


class LogReader(Protocol):
    """The log, read beside the stream app at a reader's own pace and from its own positions.

    What :meth:`done` has not been told of is kept in the log, as far as its retention allows.
    """

    async def fetch(self, topic: str, partition: int, offset: int) -> Sequence[LogRecord]:
        """Durable records from an offset on; none at the end, and never waits for more.

        Offsets that retention took away are passed over.
        """
        ...

    async def done(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Say that everything before these offsets, by topic and partition, is kept elsewhere."""
        ...


class GroundPoints(NamedTuple):
    """Pixels put on the ground: arrays of shape (n,).

    Positions are WGS 84 degrees; the one-sigma error ellipse has semi axes in metres and the
    azimuth of its major axis clockwise from north. Where ``seen`` is False (on or above the
    horizon, or too grazing) the other columns are NaN.
    """

    lon_deg: NDArray[np.float64]
    lat_deg: NDArray[np.float64]
    error_major_m: NDArray[np.float64]
    error_minor_m: NDArray[np.float64]
    error_azimuth_deg: NDArray[np.float64]
    seen: NDArray[np.bool_]


class GroundProjector(Protocol):
    """Pixel to ground and back; vision asks, geo answers, the edges wire them."""

    def to_ground(self, pixels: NDArray[np.float64], pose: CameraPose) -> GroundPoints:
        """Put pixels (shape (n, 2), u right, v down, origin top left) on flat ground."""
        ...

    def to_pixels(
        self, lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64], pose: CameraPose
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Ground points as pixels, shape (n, 2), and whether each lies before the camera."""
        ...


class Ground(Protocol):
    """Pixels of one view, and the ground.

    ``from_above`` says that the view looks straight down: a thing stands at the middle of its
    box, not at its foot.
    """

    from_above: bool

    def metres(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (n, 2) as metres east and north (n, 2); NaN where no ground is seen."""
        ...

    def points(self, pixels: NDArray[np.float64]) -> GroundPoints | None:
        """Pixels (n, 2) in degrees with their error; None where only metres are known."""
        ...
