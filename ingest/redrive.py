"""Rejected messages that are to be read again: out of their envelopes, and which of them left.

Pure. A redrive is an MQTT message whose payload is the rejection
(:func:`core.topics.redrive_topic`). What is in it is read as it came then, under its own topic and
with its time of receipt, so its observations have the ids they would have had: sent twice, it
counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from core.errors import DecodeError
from core.ports import RawMessage, Redriven, Rejection, decode_rejections


class Redrive(NamedTuple):
    """A rejection that came again, and the message that it was."""

    digest: str
    message: RawMessage


def is_redrive(topic: str) -> bool:
    """Whether a message is an envelope.

    Example:
        >>> is_redrive("qn/qingdao/redrive/0a1b"), is_redrive("qn/redrive/sensor/w-1")
        (True, False)
    """
    return "/redrive/" in topic and topic.split("/")[::2][:2] == ["qn", "redrive"]


def open_redrives(messages: Sequence[RawMessage]) -> tuple[list[RawMessage], list[Redrive]]:
    """The messages with what is in the envelopes in their place, and which those were.

    An envelope that cannot be read stays as it is; no decoder reads its topic.
    """
    if not any("/redrive/" in one.topic for one in messages):
        return list(messages), []
    redrives: list[Redrive] = []
    opened: list[RawMessage] = []
    for message in messages:
        inner = _opened(message) if is_redrive(message.topic) else None
        if inner is not None:
            redrives.append(inner)
        opened.append(message if inner is None else inner.message)
    return opened, redrives


def _opened(message: RawMessage) -> Redrive | None:
    try:
        (one,) = decode_rejections(message.payload)
    except (DecodeError, ValueError):
        return None
    if not isinstance(one, Rejection):
        return None
    inner = msgspec.structs.replace(
        message, topic=one.topic, payload=one.payload, received_ns=one.received_ns
    )
    return Redrive(one.digest, inner)


def redriven(redrives: Sequence[Redrive], rejections: Sequence[Rejection]) -> list[Redriven]:
    """Those that leave the quarantine: what was read, or is rejected again as something else."""
    same = {one.digest for one in rejections}
    return [Redriven(digest=one.digest) for one in redrives if one.digest not in same]
