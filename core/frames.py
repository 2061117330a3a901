"""The envelope of a camera frame on MQTT: CBOR (RFC 8949) around a JPEG.

MQTT 3.1.1 has no user properties, so time, camera and pose travel in the payload
(docs/decisions/0017). Keys: ``v`` version 1, ``camera`` id, ``t`` frame time in UTC
nanoseconds from the camera, ``w`` and ``h`` pixels, ``pose`` optional map, ``jpeg`` bytes.
"""

from __future__ import annotations

import io
from typing import Any

import cbor2
import msgspec

from core.city import CameraPose
from core.errors import DecodeError

#: A frame larger than this is refused; 1080p at quality 95 is about 1.5 MB.
MAX_FRAME_BYTES = 4 * 1024 * 1024


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One picture of one camera; the JPEG is not yet decoded."""

    camera_id: str
    time_ns: int
    width_px: int
    height_px: int
    jpeg: bytes
    pose: CameraPose | None = None


def encode_frame(frame: Frame) -> bytes:
    """Wrap a frame.

    Example:
        >>> frame = Frame(camera_id="c-1", time_ns=5, width_px=2, height_px=1, jpeg=b"x")
        >>> decode_frame(encode_frame(frame)) == frame
        True
    """
    body: dict[str, Any] = {
        "v": 1,
        "camera": frame.camera_id,
        "t": frame.time_ns,
        "w": frame.width_px,
        "h": frame.height_px,
        "jpeg": frame.jpeg,
    }
    if frame.pose is not None:
        body["pose"] = msgspec.to_builtins(frame.pose)
    return cbor2.dumps(body)


def decode_frame(payload: bytes) -> Frame:
    """Unwrap a frame.

    Raises:
        DecodeError: ``frame_too_large``, ``bad_cbor``, ``bad_frame`` (a key is missing or has
            another type).

    Example:
        >>> decode_frame(b"\\x01")
        Traceback (most recent call last):
        ...
        core.errors.DecodeError: bad_frame: frame envelope: a CBOR map was wanted, got int
    """
    if len(payload) > MAX_FRAME_BYTES:
        raise DecodeError("frame_too_large", f"{len(payload)} bytes, at most {MAX_FRAME_BYTES}")
    try:
        body = cbor2.load(io.BytesIO(payload))
    except Exception as exc:  # cbor2 raises its own, ValueError and more on hostile input
        raise DecodeError("bad_cbor", f"frame envelope of {len(payload)} bytes: {exc}") from exc
    if not isinstance(body, dict):
        raise DecodeError(
            "bad_frame", f"frame envelope: a CBOR map was wanted, got {type(body).__name__}"
        )
    if body.get("v") != 1:
        raise DecodeError(
            "bad_frame", f"frame envelope: version 1 was wanted, got {body.get('v')!r}"
        )
    try:
        return msgspec.convert(
            {
                "camera_id": body.get("camera"),
                "time_ns": body.get("t"),
                "width_px": body.get("w"),
                "height_px": body.get("h"),
                "jpeg": body.get("jpeg"),
                "pose": body.get("pose"),
            },
            Frame,
        )
    except msgspec.ValidationError as exc:
        raise DecodeError("bad_frame", f"frame envelope: {exc}") from exc
