"""The platform itself: scenarios, the live stream, health, metrics."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from api.answers import JsonBytes, encoded
from api.live import Part
from api.query import Parameter, Parameters
from api.schemas import PROBLEMS
from api.services import Services
from api.stream import EventStream
from core.errors import InputError, ServiceError
from core.units import ns_to_rfc3339
from scenarios.explain import describe_rule
from scenarios.lifecycle import ACTION_NAMES, STATUS_NAMES, STEP_NAMES
from scenarios.model import Scenario

_STREAM = Parameters(
    Parameter(
        "last_event_id",
        "Number of the last incident event that was seen; the header Last-Event-ID wins.",
        {"type": "integer", "minimum": 0},
    )
)
_NONE = Parameters()


def build_router(services: Services) -> APIRouter:
    """The routes of the platform."""
    router = APIRouter(tags=["operation"], responses=PROBLEMS)

    @router.get(
        "/scenarios",
        summary="The kinds of real thing that are noticed, their rules in words",
        response_class=JsonBytes,
    )
    def list_scenarios(request: Request) -> Response:
        _NONE.read(request)
        return encoded(
            {
                "scenarios": [_scenario(one) for one in services.store.scenarios.values()],
                "statuses": STATUS_NAMES,
                "steps": STEP_NAMES,
                "actions": ACTION_NAMES,
            }
        )

    @router.get(
        "/stream",
        summary="The live stream (server-sent events)",
        description="`incident` events carry the number of the feed as id and come once each, in "
        "order; after a break the browser names the last it saw and gets what it missed. "
        "`reset` says that it was away too long and must read the lists again. `thing` events "
        "carry last states, `figures` come once a second.",
        openapi_extra=_STREAM.openapi,
        status_code=200,
        response_class=EventStream,
        responses={200: {"content": {"text/event-stream": {}}, "description": "The stream"}},
    )
    async def stream(
        request: Request, last_event_id: Annotated[str | None, Header()] = None
    ) -> Response:
        asked = _STREAM.read(request)["last_event_id"]
        return EventStream(services.hub, _sequence(last_event_id or asked))

    @router.get(
        "/figures",
        summary="The cockpit's figures now",
        response_class=JsonBytes,
    )
    def get_figures(request: Request) -> Response:
        _NONE.read(request)
        figures = services.store.figures()
        if services.live is not None:
            figures |= services.live.figures()
        return encoded(figures | {"city_time": ns_to_rfc3339(services.clock.now_ns())})

    @router.get(
        "/healthz",
        summary="Whether the platform works, part by part",
        description="200 when every part works, else 503.",
        response_class=JsonBytes,
    )
    def get_health(request: Request) -> Response:
        _NONE.read(request)
        parts = {} if services.live is None else services.live.parts()
        parts["store"] = _store_part(services)
        parts["stream"] = Part(services.hub.running, f"{services.hub.client_count} clients")
        works = all(part.ok for part in parts.values())
        document = {
            "status": "ok" if works else "failing",
            "city_time": ns_to_rfc3339(services.clock.now_ns()),
            "parts": {name: part._asdict() for name, part in sorted(parts.items())},
        }
        return encoded(document, 200 if works else 503, {"Cache-Control": "no-store"})

    @router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    def get_metrics(request: Request) -> Response:
        _NONE.read(request)
        body = generate_latest(REGISTRY) + generate_latest(services.registry)
        return Response(body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router


def _sequence(text: str | None) -> int | None:
    if text is None or text == "":
        return None
    if re.fullmatch(r"[0-9]{1,18}", text) is None:
        raise InputError(f"Last-Event-ID: the number of a feed line was wanted, got {text[:80]!r}")
    return int(text)


def _store_part(services: Services) -> Part:
    try:
        return Part(True, f"feed at {services.store.latest_sequence()}")
    except ServiceError as exc:
        return Part(False, str(exc))


def _scenario(one: Scenario) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "domain": one.domain,
        "purpose": one.purpose,
        "category": one.category,
        "department": one.department,
        "severity": one.severity,
        "deadline_s": one.deadline.duration_s,
        "deadline_clock": one.deadline.clock,
        "closes_when": one.closes_when,
        "accepts_reports": one.accepts_reports,
        "rules": [
            {"id": rule.id, "kind": rule.kind, "in_words": describe_rule(rule)}
            for rule in one.rules
        ],
    }
