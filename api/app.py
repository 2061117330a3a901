"""Builds the API. Nothing here is global: several apps can live in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from prometheus_client import CollectorRegistry

from api.alerts import AlertWriter, issuer_of
from api.errors import install_handlers
from api.guard import MAX_BODY_BYTES, Guard, RateLimit
from api.live import LiveState
from api.metrics import RequestMetrics
from api.page import Page
from api.routes import (
    alerts,
    city_map,
    events,
    exclusions,
    incidents,
    kpis,
    ledger,
    observations,
    ogc,
    photos,
    platform,
    quality,
    reports,
)
from api.schemas import components
from api.services import Publish, Services
from api.stream import MAX_CLIENTS, StreamHub
from core.clock import Clock
from geo.city import City
from geo.tagging import Tagger
from scenarios.cap import CapStatus, Issuer
from store.archive.query import ArchiveReader
from store.cases import CaseStore

VERSION = "0.1.0"

_ROUTES = (
    alerts,  # before incidents, whose ids would match /incidents/{id}.cap
    incidents,
    photos,
    quality,
    kpis,
    events,
    observations,
    ledger,
    reports,
    exclusions,
    city_map,
    ogc,
    platform,
)

_DESCRIPTION = """\
What a city's sensors, drones and cameras noticed, as incidents that somebody must act on.

Times are RFC 3339 in UTC, positions WGS 84 degrees (longitude first). Reading is open on the
address the platform listens on; writing needs `Authorization: Bearer <token>`. Every error is a
problem document (RFC 9457) that says what was wrong, where, and what is accepted.
"""


def create_app(
    *,
    store: CaseStore,
    city: City,
    tagger: Tagger,
    clock: Clock,
    token: str,
    snapshot_dir: Path,
    static_dir: Path | None = None,
    publish: Publish | None = None,
    live: LiveState | None = None,
    archive: ArchiveReader | None = None,
    issuer: Issuer | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    max_stream_clients: int = MAX_CLIENTS,
    writes_per_s: float = 50.0,
    write_burst: int = 200,
) -> FastAPI:
    """Build the API.

    ``app.state.hub`` is the stream hub. A server that waits for its connections at the end
    must call ``app.state.hub.close()`` first: streams never end by themselves. What runs beside
    the API takes ``app.state.registry`` to be measured with it, and ``app.state.alerts``.

    Args:
        store: Incidents and the feed.
        city: Layers, cameras, units.
        tagger: Places points.
        clock: City time.
        token: What writing needs; an empty one refuses every write.
        snapshot_dir: Folder of evidence pictures.
        static_dir: Folder of the built page; may be missing.
        publish: Sends reports and exclusions to the broker; None refuses them with 503.
        live: Last states and figures; without it the store's table of things is shown.
        archive: Archived observations; None answers that there are none here.
        issuer: Who issues public alerts; the city itself, as exercises, where it is None.
        max_body_bytes: Largest body accepted.
        max_stream_clients: Most clients of the stream at once.
        writes_per_s: Writing requests a second that are accepted of one address.
        write_burst: Writing requests of one address that are accepted at once.
    """
    registry = CollectorRegistry()
    hub = StreamHub(store, live, clock, registry, max_stream_clients)
    services = Services(
        store=store,
        city=city,
        tagger=tagger,
        clock=clock,
        token=token,
        snapshot_dir=snapshot_dir,
        static_dir=static_dir,
        publish=publish,
        live=live,
        hub=hub,
        registry=registry,
        writes=RateLimit(writes_per_s, write_burst),
        archive=archive,
        alerts=AlertWriter(
            store.alerts,
            store.scenarios,
            city,
            issuer or issuer_of(city, sender="", status=CapStatus.EXERCISE),
        ),
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await hub.start()
        try:
            yield
        finally:
            await hub.stop()

    app = FastAPI(
        title="青鸟 Qingniao",
        version=VERSION,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.hub = hub
    app.state.registry = registry
    app.state.alerts = services.alerts
    install_handlers(app)
    for module in _ROUTES:
        app.include_router(module.build_router(services))
    # What no route takes; a mount at / would hide that a route takes another method.
    app.router.default = Page(static_dir)
    app.add_middleware(Guard, max_body_bytes=max_body_bytes)
    app.add_middleware(RequestMetrics, registry=registry)
    _document(app)
    return app


def _document(app: FastAPI) -> None:
    """Add the schemas of answers to the OpenAPI document, which is made once."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            document.setdefault("components", {}).setdefault("schemas", {}).update(components())
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
