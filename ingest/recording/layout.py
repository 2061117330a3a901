"""How MQTT traffic lies in an MCAP file (https://mcap.dev/spec).

One channel per topic, quality of service, retained and repeat flag, and encoding; the flags
are in the channel's metadata, so a message costs nothing beyond its payload. A message's data
is the MQTT payload as it was, but for camera frames: they are ``foxglove.CompressedImage`` in
JSON, which Foxglove shows, or references to files beside the recording
(:mod:`ingest.recording.pictures`). Its ``sequence`` holds the number of the round it was carried in
(upper 16 bits; only that neighbours differ matters) and the MQTT packet identifier, by which a
repeat is recognised. Its ``log_time`` is when it was received, its ``publish_time`` the time
that the payload itself names, or again ``log_time``. A tick is an empty object on
:data:`TICK_TOPIC`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from core.city import CameraPose
from core.errors import DecodeError, InputError
from core.frames import Frame, encode_frame
from core.topics import FRAME_FILTERS, topic_matches
from core.units import NS_PER_MS, NS_PER_S, rfc3339_to_ns

PROFILE = "qingniao"
LIBRARY = "qingniao"
#: Name of the metadata record that says what was recorded.
METADATA = "qingniao"
TICK_TOPIC = "qingniao/tick"

JSON, CBOR, BYTES = "json", "cbor", "application/octet-stream"

#: A payload's own time further than this from its receipt is no time of publishing.
_BELIEVED_NS = 6 * 3600 * NS_PER_S

Schema = tuple[str, dict[str, Any]]

ANY_SCHEMA: Schema = ("qingniao.json", {"title": "qingniao.json", "type": "object"})
TICK_SCHEMA: Schema = (
    "qingniao.tick",
    {"title": "qingniao.tick", "type": "object", "properties": {}},
)
IMAGE_SCHEMA: Schema = (
    "foxglove.CompressedImage",
    {
        "title": "foxglove.CompressedImage",
        "type": "object",
        "properties": {
            "timestamp": {
                "type": "object",
                "title": "time",
                "properties": {
                    "sec": {"type": "integer", "minimum": 0},
                    "nsec": {"type": "integer", "minimum": 0, "maximum": 999999999},
                },
            },
            "frame_id": {"type": "string"},
            "data": {"type": "string", "contentEncoding": "base64"},
            "format": {"type": "string"},
        },
    },
)
REFERENCE_SCHEMA: Schema = (
    "qingniao.FrameReference",
    {
        "title": "qingniao.FrameReference",
        "type": "object",
        "properties": {
            "timestamp": IMAGE_SCHEMA[1]["properties"]["timestamp"],
            "frame_id": {"type": "string"},
            "sha256": {"type": "string"},
            "bytes": {"type": "integer"},
        },
    },
)


def schema_bytes(schema: Schema) -> bytes:
    """A schema as JSON Schema text."""
    return json.dumps(schema[1], separators=(",", ":")).encode()


class _Timed(msgspec.Struct):
    time: int | float | str | None = None
    timestamp: int | float | str | None = None


_TIMED = msgspec.json.Decoder(_Timed)
_ANY = msgspec.json.Decoder(msgspec.Raw)


def encoding_and_time(payload: bytes, received_ns: int) -> tuple[str, int]:
    """How a payload is encoded, and when it says it was published.

    Example:
        >>> encoding_and_time(b'{"time": "1970-01-01T00:00:01Z"}', 2_000_000_000)
        ('json', 1000000000)
        >>> encoding_and_time(b'[{"n": "a"}]', 7), encoding_and_time(b"{oops", 7)
        (('application/octet-stream', 7), ('application/octet-stream', 7))
    """
    # Foxglove takes objects only; a SenML array is kept as bytes.
    if payload[:1] != b"{":
        return BYTES, received_ns
    try:
        timed = _TIMED.decode(payload)
    except msgspec.ValidationError:
        try:
            _ANY.decode(payload)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return BYTES, received_ns
        return JSON, received_ns
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return BYTES, received_ns
    told = timed.time if timed.time is not None else timed.timestamp
    published_ns = received_ns
    if isinstance(told, str):
        try:
            published_ns = rfc3339_to_ns(told)
        except InputError:
            return JSON, received_ns
    elif told is not None and abs(told) < 2**53:
        published_ns = round(told * NS_PER_MS)
    if published_ns < 0 or abs(published_ns - received_ns) > _BELIEVED_NS:
        return JSON, received_ns
    return JSON, published_ns


def is_frame_topic(topic: str) -> bool:
    """Whether camera frames travel on a topic."""
    return any(topic_matches(one, topic) for one, _ in FRAME_FILTERS)


class _Time(msgspec.Struct):
    sec: int
    nsec: int


class _Shown(msgspec.Struct, omit_defaults=True, kw_only=True):
    timestamp: _Time
    frame_id: str
    width_px: int
    height_px: int
    format: str = "jpeg"
    pose: CameraPose | None = None


class _Image(_Shown, omit_defaults=True, kw_only=True):
    data: str
    format: str


class _Reference(_Shown, omit_defaults=True, kw_only=True):
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    bytes: int


_IMAGE = msgspec.json.Decoder(_Image)
_REFERENCE = msgspec.json.Decoder(_Reference)


def image_of(frame: Frame) -> bytes:
    """A frame as ``foxglove.CompressedImage``; size and pose are kept beside it."""
    sec, nsec = divmod(frame.time_ns, NS_PER_S)
    data = base64.b64encode(frame.jpeg).decode()
    return msgspec.json.encode(
        _Image(
            timestamp=_Time(sec, nsec),
            frame_id=frame.camera_id,
            format="jpeg",
            data=data,
            width_px=frame.width_px,
            height_px=frame.height_px,
            pose=frame.pose,
        )
    )


def reference_to(frame: Frame, sha256: str) -> bytes:
    """A frame without its picture, which lies beside the recording under its SHA-256."""
    sec, nsec = divmod(frame.time_ns, NS_PER_S)
    return msgspec.json.encode(
        _Reference(
            timestamp=_Time(sec, nsec),
            frame_id=frame.camera_id,
            sha256=sha256,
            bytes=len(frame.jpeg),
            width_px=frame.width_px,
            height_px=frame.height_px,
            pose=frame.pose,
        )
    )


def frame_of(image: bytes) -> bytes:
    """The frame's envelope as it travels on MQTT, out of what :func:`image_of` wrote.

    Raises:
        DecodeError: ``bad_frame``.

    Example:
        >>> from core.frames import decode_frame
        >>> frame = Frame(camera_id="c-1", time_ns=5, width_px=2, height_px=1, jpeg=b"x")
        >>> decode_frame(frame_of(image_of(frame))) == frame
        True
    """
    try:
        read = _IMAGE.decode(image)
        jpeg = base64.b64decode(read.data, validate=True)
    except (msgspec.MsgspecError, binascii.Error, UnicodeDecodeError) as exc:
        raise DecodeError("bad_frame", f"recorded picture: {exc}") from exc
    return _envelope(read, jpeg)


def referenced_frame(reference: bytes, read_picture: Callable[[str], bytes]) -> bytes:
    """The frame's envelope out of what :func:`reference_to` wrote.

    Args:
        reference: As recorded.
        read_picture: Gives the picture of a SHA-256.

    Raises:
        DecodeError: ``bad_frame``, or what ``read_picture`` raises.
    """
    try:
        read = _REFERENCE.decode(reference)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise DecodeError("bad_frame", f"reference to a picture: {exc}") from exc
    return _envelope(read, read_picture(read.sha256))


def _envelope(read: _Shown, jpeg: bytes) -> bytes:
    return encode_frame(
        Frame(
            camera_id=read.frame_id,
            time_ns=read.timestamp.sec * NS_PER_S + read.timestamp.nsec,
            width_px=read.width_px,
            height_px=read.height_px,
            jpeg=jpeg,
            pose=read.pose,
        )
    )
