"""Messages to observations and rejections: pure, and it never raises."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import DecodeError
from core.observations import Columns, Observation
from core.ports import RawMessage, Rejection
from ingest.decoders import decode, source_of
from ingest.gathered import Rows, as_columns

#: What is kept of a rejected payload.
KEPT_BYTES = 64 * 1024

#: What is kept of a rejected topic, and of the text that says why.
KEPT_CHARS = 1024


def reject(message: RawMessage, reason: str, detail: str) -> Rejection:
    """Write down that a message could not be taken, and why."""
    return Rejection(
        topic=_kept(message.topic),
        reason=reason,
        detail=_kept(detail),
        payload=message.payload[:KEPT_BYTES],
        payload_bytes=len(message.payload),
        received_ns=message.received_ns,
        source=source_of(message.topic),
    )


def _kept(text: str) -> str:
    """A text cut, and with what cannot be written as UTF-8 replaced."""
    return text[:KEPT_CHARS].encode("utf-8", "replace").decode()


def decode_messages(
    messages: Sequence[RawMessage], *, city: str | None = None
) -> tuple[list[Observation], list[Rejection]]:
    """Decode messages; each gives observations or a rejection, and nothing is raised.

    Args:
        messages: In the order in which they arrived.
        city: Where given, messages on ``qn/{another city}/…`` are rejected as ``other_city``.

    Example:
        >>> good = RawMessage(topic="qn/c/sensor/w-1", received_ns=5,
        ...                   payload=b'{"measures": {"water_level_m": 0.31}}')
        >>> bad = RawMessage(topic="qn/c/sensor/w-1", received_ns=5, payload=b"{")
        >>> observations, rejections = decode_messages([good, bad])
        >>> [one.thing_id for one in observations], [one.reason for one in rejections]
        (['w-1'], ['bad_json'])
        >>> decode_messages([])
        ([], [])
    """
    rows, rejections = decode_rows(messages, city=city)
    return list(rows), rejections


def decode_rows(
    messages: Sequence[RawMessage], *, city: str | None = None
) -> tuple[Rows, list[Rejection]]:
    """The same, for hot paths: as columns where a message gave columns."""
    parts: list[Rows] = []
    singles: list[Observation] = []
    rejections: list[Rejection] = []
    for message in messages:
        try:
            if city is not None:
                _check_city(message.topic, city)
            found = decode(message)
        except DecodeError as exc:
            rejections.append(reject(message, exc.reason, exc.detail))
        except Exception as exc:  # a decoder's fault must not stop the city
            rejections.append(reject(message, "decoder_failed", f"{type(exc).__name__}: {exc}"))
        else:
            if isinstance(found, Columns):
                parts += [singles, found]
                singles = []
            else:
                singles += found
    if not parts:
        return singles, rejections
    return as_columns([*parts, singles]), rejections


def _check_city(topic: str, city: str) -> None:
    if topic.startswith("qn/") and not topic.startswith(f"qn/{city}/"):
        raise DecodeError("other_city", f"this is {city!r}, the topic is {topic[:256]!r}")
