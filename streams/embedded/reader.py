"""core.ports.LogReader on the embedded log that this process has open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from core.ports import LogRecord
from streams.embedded.driver import acquire_log, release_log
from streams.embedded.log import EmbeddedLog, LogOptions


class EmbeddedReader:
    """Reads the log at its own pace under a group of its own; an async context manager.

    Args:
        url: ``embedded:///folder?option=value``, as the app has it.
        group: Name of the reader; what it has not said it is done with is not cleaned away.
        topics: The topics it reads, with their partitions.
    """

    def __init__(self, url: str, *, group: str, topics: Mapping[str, int]) -> None:
        parts = urlsplit(url)
        self._folder = Path(parts.path).resolve()
        self._options = LogOptions.from_query(dict(parse_qsl(parts.query)))
        self._group = group
        self._topics = dict(topics)
        self._log: EmbeddedLog | None = None

    async def __aenter__(self) -> Self:
        """Open the log, or share the one that is open; hold back cleaning from now on."""
        self._log = log = await acquire_log(self._folder, self._options)
        fresh: dict[tuple[str, int], int] = {}
        for topic, partitions in self._topics.items():
            log.declare(topic, partitions)
            for partition in range(partitions):
                if log.committed(self._group, topic, partition) is None:
                    fresh[topic, partition] = log.first(topic, partition)
        await self.done(fresh)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the log back."""
        if self._log is not None:
            self._log = None
            await release_log(self._folder)

    async def fetch(self, topic: str, partition: int, offset: int) -> Sequence[LogRecord]:
        """Records from an offset on; none at the end."""
        assert self._log is not None, "used outside its context"
        found = await self._log.fetch(topic, partition, offset)
        return [LogRecord(one.offset, one.value or b"") for one in found if one.offset >= offset]

    async def done(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Commit positions, so that what lies before them may be cleaned away."""
        assert self._log is not None, "used outside its context"
        if positions:
            await self._log.append((), group=self._group, offsets=positions)
