"""What the routes work with, handed to each by closure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from api.alerts import AlertWriter
from api.guard import RateLimit
from api.live import LiveState
from api.stream import StreamHub
from core.clock import Clock
from core.errors import ServiceError
from geo.city import City
from geo.live_map import LiveTagger
from geo.tagging import Tagger
from store.archive.query import ArchiveReader
from store.cases import CaseStore

#: Sends a payload to a topic, as any source would; returns when the broker has it.
Publish = Callable[[str, bytes], Awaitable[None]]


@dataclass(frozen=True)
class Services:
    """The parts of one API."""

    store: CaseStore
    city: City
    tagger: Tagger
    clock: Clock
    token: str
    snapshot_dir: Path
    static_dir: Path | None
    publish: Publish | None
    live: LiveState | None
    hub: StreamHub
    registry: CollectorRegistry
    writes: RateLimit
    archive: ArchiveReader | None
    alerts: AlertWriter

    def opened_archive(self) -> ArchiveReader:
        """The archive.

        Raises:
            ServiceError: This API has none.
        """
        if self.archive is None:
            raise ServiceError("archive: this API was started without one")
        return self.archive

    @property
    def old_codes(self) -> dict[str, str]:
        """Area codes of former years and what they are today."""
        if isinstance(self.tagger, LiveTagger):
            return self.tagger.at(self.clock.now_ns())[1].old_codes
        return self.city.old_codes
