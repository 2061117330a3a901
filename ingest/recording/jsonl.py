"""Captures as JSON lines: ``{"ts": Unix seconds, "topic": …, "data": …}``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import IO

import msgspec

from core.ports import RawMessage

#: A longer line is cut, and its message then fails to decode; memory stays bounded.
MAX_LINE_BYTES = 1024 * 1024

#: Topic of a line that is not a recorded message; no decoder reads it, so it is rejected.
BAD_LINE_TOPIC = "recording/bad-line"


class _Line(msgspec.Struct):
    ts: float
    topic: str
    data: msgspec.Raw


_LINE = msgspec.json.Decoder(_Line)


def read_messages(file: IO[bytes]) -> Iterator[RawMessage]:
    """Read a recording line by line.

    A line that is no recorded message (truncated, not JSON, without topic) becomes a message
    on :data:`BAD_LINE_TOPIC` at the time of the line before, so that it is rejected and counted
    like any other.

    Example:
        >>> import io
        >>> lines = io.BytesIO(b'{"ts": 1.5, "topic": "a/b", "data": {"x": 1}}' + b"\\n{oops")
        >>> [(one.topic, one.received_ns, one.payload) for one in read_messages(lines)]
        [('a/b', 1500000000, b'{"x": 1}'), ('recording/bad-line', 1500000000, b'{oops')]
        >>> list(read_messages(io.BytesIO(b"")))
        []
    """
    before_ns = 0
    while line := file.readline(MAX_LINE_BYTES):
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
        line = line.strip()
        if not line:
            continue
        message = _message(line, before_ns)
        before_ns = message.received_ns
        yield message


def _message(line: bytes, before_ns: int) -> RawMessage:
    bad = RawMessage(topic=BAD_LINE_TOPIC, payload=line, received_ns=before_ns)
    try:
        read = _LINE.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return bad
    if not (math.isfinite(read.ts) and 0 <= read.ts < 2**33):
        return bad
    # float64 seconds hold a quarter of a microsecond.
    received_ns = round(read.ts * 1e6) * 1000
    return RawMessage(topic=read.topic, payload=bytes(read.data), received_ns=received_ns, qos=1)
