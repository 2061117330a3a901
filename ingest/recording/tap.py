"""Records what ingest carries, as it carries it; a full disk ends the recording, not the city."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from core.errors import ServiceError
from core.ports import RawMessage
from ingest.recording.writer import RecordingWriter

log = logging.getLogger(__name__)


class RecordingTap:
    """A recording beside the log.

    Attributes:
        failure: Why nothing is recorded any more; empty while all is well.
        missed: Messages and ticks that were not recorded since.
    """

    def __init__(self, writer: RecordingWriter) -> None:
        self.writer = writer
        self.failure = ""
        self.missed = 0

    def carried(self, messages: Sequence[RawMessage]) -> None:
        """Record messages that the log has."""
        if self.failure:
            self.missed += len(messages)
            return
        try:
            self.writer.write(messages)
        except ServiceError as error:
            self._fail(error)

    def ticked(self, instant_ns: int) -> None:
        """Record that the log has a tick."""
        if self.failure:
            self.missed += 1
            return
        try:
            self.writer.tick(instant_ns)
        except ServiceError as error:
            self._fail(error)

    def flush(self) -> None:
        """Bring what was recorded to the disk; to be called now and then while it is silent."""
        if not self.failure:
            try:
                self.writer.flush()
            except ServiceError as error:
                self._fail(error)

    def close(self) -> None:
        """End the recording."""
        try:
            self.writer.close()
        except OSError as error:
            self._fail(ServiceError(str(error)))

    def _fail(self, error: ServiceError) -> None:
        self.failure = str(error)
        log.critical("the recording ended: %s; the city goes on", error)
