"""An API on a generated city with a few cases in its store."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.live import LiveState
from core.clock import ManualClock
from core.events import Edge, Event, EventBatch, event_id
from core.observations import Stamp
from core.units import rfc3339_to_ns, seconds_to_ns
from geo.city import City, load_city
from geo.tagging import Tagger
from scenarios.loader import load_packs
from store.cases import CaseStore
from store.database import migrate

START_NS = rfc3339_to_ns("2026-01-01T10:00:00+08:00")
TOKEN = "a-token-for-tests"


def at(seconds: float) -> int:
    return START_NS + seconds_to_ns(seconds)


@dataclass
class Site:
    """One API with everything behind it."""

    app: FastAPI
    store: CaseStore
    city: City
    tagger: Tagger
    clock: ManualClock
    live: LiveState
    folder: Path
    published: list[dict[str, Any]] = field(default_factory=list)
    #: The same as bytes, and what is no JSON.
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    publish_error: Exception | None = None

    def event(
        self,
        at_s: float = 0.0,
        edge: Edge = Edge.RAISE,
        *,
        thing: str = "manhole-1",
        scenario: str = "manhole-cover",
        rule: str | None = None,
        north_m: float = 0.0,
    ) -> Event:
        """An event that began at 0, in the middle of the city or north of it."""
        rule = rule or f"{scenario}/tilt"
        lon, lat = self.city.bounds[0] / 2 + self.city.bounds[2] / 2, 36.0614 + north_m / 111_000
        import numpy as np

        place = self.tagger.tag(np.array([lon]), np.array([lat])).place(0, lon, lat)
        return Event(
            id=event_id(rule=rule, thing_id=thing, began_ns=at(0), edge=edge, at_ns=at(at_s)),
            scenario=scenario,
            rule=rule,
            edge=edge,
            source="plain",
            thing_id=thing,
            kind="manhole",
            began_ns=at(0),
            at_ns=at(at_s),
            place=place,
            because={"measure": "tilt_deg", "value": 20.0},
            confidence_ratio=0.9,
        )

    def apply(self, *events: Event) -> list[Any]:
        logged_ns = max(event.at_ns for event in events) + seconds_to_ns(1)
        stamp = Stamp(
            ingest_id="i",
            sequence=logged_ns,
            partition=0,
            watermark_ns=logged_ns,
            logged_ns=logged_ns,
        )
        return self.store.apply([EventBatch(stamp=stamp, events=events)], logged_ns)


@pytest.fixture(scope="session")
def generated() -> tuple[City, Tagger]:
    city = load_city("generated")
    return city, Tagger(city)


@pytest.fixture
def make_site(generated: tuple[City, Tagger], tmp_path: Path) -> Iterator[Callable[..., Site]]:
    stores: list[CaseStore] = []

    def build(**options: Any) -> Site:
        url = f"sqlite:///{tmp_path / 'store.sqlite3'}"
        migrate(url)
        city, tagger = generated
        store = CaseStore(url, load_packs(None), city.units, city.workers, "QD")
        stores.append(store)
        clock = ManualClock(at(0))
        live = LiveState(clock)

        async def publish(topic: str, payload: bytes) -> None:
            await asyncio.sleep(0)
            if site.publish_error is not None:
                raise site.publish_error
            site.sent.append((topic, payload))
            with suppress(ValueError):
                site.published.append(json.loads(payload) | {"topic": topic})

        snapshots = tmp_path / "snapshots"
        snapshots.mkdir(exist_ok=True)
        given = {
            "store": store,
            "city": city,
            "tagger": tagger,
            "clock": clock,
            "token": TOKEN,
            "snapshot_dir": snapshots,
            "static_dir": tmp_path / "dist",
            "publish": publish,
            "live": live,
        } | options
        site = Site(
            app=create_app(**given),
            store=store,
            city=city,
            tagger=tagger,
            clock=clock,
            live=live,
            folder=tmp_path,
        )
        return site

    yield build
    for store in stores:
        store.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()


@pytest.fixture
def connect() -> Callable[[Site], httpx.AsyncClient]:
    def build(site: Site) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(site.app), base_url="http://qingniao.test"
        )

    return build


@pytest.fixture
async def client(
    site: Site, connect: Callable[[Site], httpx.AsyncClient]
) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(site) as opened:
        yield opened


@pytest.fixture
def auth() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"}


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """A real server on a free port of the loopback."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        for _ in range(1000):
            if server.started:
                break
            time.sleep(0.01)
        assert server.started
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        app.state.hub.close()
        server.should_exit = True
        thread.join()


@pytest.fixture
def serve() -> Callable[[FastAPI], Any]:
    return served
