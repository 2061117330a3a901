"""A recording as a source: JSON lines ``{"ts": Unix seconds, "topic": …, "data": …}``."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from core.clock import ManualClock
from core.ports import RawMessage
from core.units import NS_PER_S

#: A longer line is cut, and its message then fails to decode; memory stays bounded.
MAX_LINE_BYTES = 1024 * 1024

#: Topic of a line that is not a recorded message; no decoder reads it, so it is rejected.
BAD_LINE_TOPIC = "recording/bad-line"

BATCH = 512


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


class RecordedSource:
    """A MessageSource that plays a recording as fast as it is taken.

    Args:
        path: The recording.
        clock: Moved to the time of each batch before the batch is yielded.
        tick_interval_s: Where the recording is silent for longer, empty batches are yielded at
            this interval, so that time passes in a replay as it did that day.
    """

    def __init__(
        self, path: Path, clock: ManualClock | None = None, tick_interval_s: float | None = None
    ) -> None:
        self.path = path
        self.acknowledged = 0
        self._clock = clock
        self._tick_ns = None if tick_interval_s is None else round(tick_interval_s * NS_PER_S)

    @property
    def live(self) -> bool:
        """Silence in a recording is silence."""
        return True

    async def batches(self) -> AsyncIterator[Sequence[RawMessage]]:
        """Messages of equal time together, at most 512; empty where only time passes.

        Raises:
            OSError: The recording cannot be read.
        """
        with await asyncio.to_thread(self.path.open, "rb") as file:
            before_ns: int | None = None
            for batch in _by_time(read_messages(file)):
                now_ns = batch[0].received_ns
                if self._tick_ns is not None and before_ns is not None:
                    for instant_ns in range(before_ns + self._tick_ns, now_ns, self._tick_ns):
                        self._move_to(instant_ns)
                        yield []
                self._move_to(now_ns)
                yield batch
                before_ns = max(now_ns, before_ns or 0)
                # Others get their turn; a recording has no natural pause.
                await asyncio.sleep(0)

    def acknowledge(self, messages: Sequence[RawMessage]) -> None:
        """Count; a recording keeps everything."""
        self.acknowledged += len(messages)

    def _move_to(self, instant_ns: int) -> None:
        if self._clock is not None:
            self._clock.advance_to(instant_ns)


def _by_time(messages: Iterator[RawMessage]) -> Iterator[list[RawMessage]]:
    batch: list[RawMessage] = []
    for message in messages:
        if batch and (message.received_ns != batch[0].received_ns or len(batch) == BATCH):
            yield batch
            batch = []
        batch.append(message)
    if batch:
        yield batch
