"""The real API with a store behind it, for the page to look at."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI

from api.live import LiveState
from core.clock import ScaledClock
from core.events import Edge, Event, EventBatch, event_id
from core.exclusions import Exclusion, ExclusionKind
from core.observations import Stamp
from core.units import NS_PER_S, rfc3339_to_ns
from geo.city import City
from geo.tagging import Tagger
from store.cases import CaseStore

EPOCH_NS = rfc3339_to_ns("2026-05-20T08:30:00+08:00")


@contextmanager
def serve(app: FastAPI) -> Iterator[str]:
    config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline_s = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert server.started
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        app.state.hub.close()
        server.should_exit = True
        thread.join(20)


@dataclass
class Platform:
    url: str
    store: CaseStore
    city: City
    tagger: Tagger
    live: LiveState
    clock: ScaledClock
    snapshots: Path
    sequence: int = 0

    def raise_event(self, scenario: str, rule: str, thing_id: str, kind: str) -> None:
        """A device's event, where the device is."""
        device = self.city.devices[thing_id]
        assert device.lon_deg is not None
        assert device.lat_deg is not None
        because = {
            "for_s": 20.0,
            "held_s": 95.0,
            "measure": "tilt_deg",
            "comparison": "at_least",
            "threshold": 15.0,
            "value": 22.5,
        }
        self.raise_at(scenario, rule, thing_id, kind, device.lon_deg, device.lat_deg, because)

    def raise_at(
        self,
        scenario: str,
        rule: str,
        thing_id: str,
        kind: str,
        lon: float,
        lat: float,
        because: dict[str, str | float],
        snapshots: tuple[str, ...] = ("camera-1/one.jpg",),
    ) -> None:
        now_ns = self.clock.now_ns()
        began_ns = now_ns - 95 * NS_PER_S
        event = Event(
            id=event_id(
                rule=rule, thing_id=thing_id, began_ns=began_ns, edge=Edge.RAISE, at_ns=now_ns
            ),
            scenario=scenario,
            rule=rule,
            edge=Edge.RAISE,
            source="plain",
            thing_id=thing_id,
            kind=kind,
            began_ns=began_ns,
            at_ns=now_ns,
            place=self.tagger.tag(np.array([lon]), np.array([lat])).place(0, lon, lat),
            because=because,
            snapshots=snapshots,
        )
        self._apply(now_ns, events=(event,))

    def silence(self, scenario: str, reason: str) -> None:
        """A silence of an hour."""
        now_ns = self.clock.now_ns()
        one = Exclusion(
            id="silence-1",
            kind=ExclusionKind.SILENCE,
            from_ns=now_ns - NS_PER_S,
            until_ns=now_ns + 3600 * NS_PER_S,
            at_ns=now_ns,
            reason=reason,
            actor="值班台",
            scenarios=(scenario,),
        )
        self._apply(now_ns, exclusions=(one,))

    def _apply(
        self,
        now_ns: int,
        *,
        events: tuple[Event, ...] = (),
        exclusions: tuple[Exclusion, ...] = (),
    ) -> None:
        self.sequence += 1
        stamp = Stamp(
            ingest_id="i",
            sequence=self.sequence,
            partition=0,
            watermark_ns=now_ns,
            logged_ns=now_ns,
        )
        self.store.apply([EventBatch(stamp=stamp, events=events, exclusions=exclusions)], now_ns)
