"""Events that rules emitted, and messages that could not be read."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers import JsonBytes, as_json, encoded
from api.guard import check_token, client_of
from api.publishing import publish
from api.query import (
    PAGES,
    PLACES,
    TIMES,
    Parameter,
    Parameters,
    area_prefix,
    box,
    choices,
    interval,
    limit_of,
    words,
)
from api.schemas import PROBLEMS, answer
from api.services import Services
from core.events import Edge
from core.incidents import Evidence
from core.ports import Rejection, encode_rejections
from core.topics import redrive_topic
from core.units import ns_to_rfc3339
from store.documents import join_array
from store.filters import EventFilter

#: Bytes of a rejected message that a list shows.
SHOWN_BYTES = 2048

_EVENTS = Parameters(
    *PLACES,
    *TIMES,
    Parameter("scenario", "Scenario ids, separated by commas."),
    Parameter("edge", f"Of {', '.join(Edge)}; separated by commas."),
    Parameter("thing", "Id of the thing that it is about."),
    Parameter("incident", "Id of the incident that took it."),
    *PAGES,
)
_QUARANTINE = Parameters(Parameter("reason", "Only rejections counted under this word."), PAGES[0])


class Redrive(BaseModel):
    """What of the quarantine is to be read again."""

    model_config = ConfigDict(extra="forbid")

    apply: bool = Field(False, description="Only counted unless true")
    reason: str | None = Field(None, max_length=100, description="Only those counted under this")
    after: int = Field(0, ge=0, description="Of the answer before")
    upto: int | None = Field(None, ge=0, description="Of the answer before")
    limit: int = Field(200, ge=1, le=1000)


def build_router(services: Services) -> APIRouter:
    """The routes ``/events`` and ``/quarantine``."""
    router = APIRouter(responses=PROBLEMS)
    store = services.store

    @router.get(
        "/events",
        tags=["incidents"],
        summary="A page of events, the newest first",
        description="Every edge that a rule emitted, also those that no incident took "
        "(`incident_id` is null).",
        openapi_extra=_EVENTS.openapi,
        response_class=JsonBytes,
        responses=answer("A page", {"events": [Evidence], "next": str}),
    )
    def list_events(request: Request) -> Response:
        given = _EVENTS.read(request)
        from_ns, to_ns = interval(given["from"], given["to"], given["datetime"])
        page = store.list_events(
            EventFilter(
                box=box(given["bbox"]),
                area_code=area_prefix(given["area"], services.old_codes),
                from_ns=from_ns,
                to_ns=to_ns,
                scenarios=words(given["scenario"], "scenario"),
                edges=choices(given["edge"], "edge", Edge),
                thing_id=given["thing"] or "",
                incident_id=given["incident"] or "",
            ),
            limit=limit_of(given["limit"]),
            cursor=given["cursor"],
        )
        return JsonBytes(b'{"events":%b,"next":%b}' % (join_array(page.rows), as_json(page.next)))

    @router.get(
        "/quarantine",
        tags=["operation"],
        summary="Messages that could not be read, the newest first, and why",
        description="`counts` are since ever, by reason; only the newest messages are kept, "
        "`evicted` says how many are not.",
        openapi_extra=_QUARANTINE.openapi,
        response_class=JsonBytes,
    )
    def list_rejections(request: Request) -> Response:
        given = _QUARANTINE.read(request)
        found = store.list_rejections(given["reason"], limit_of(given["limit"]))
        return encoded(
            {
                "rejections": [_rejection(one) for one in found],
                "counts": store.rejection_counts(),
                "evicted": store.rejections_evicted(),
            }
        )

    @router.post(
        "/quarantine/redrive",
        tags=["operation"],
        summary="Have messages of the quarantine read again, the oldest first",
        description="Needs the token. Each is sent to ingest as it was, with its time of receipt, "
        "and leaves the quarantine once it is read; what cannot be read now either stays. Sent "
        "twice, it counts once. `apply: false` only counts. `cut` are those of which the "
        "quarantine has the first 64 KiB only: they cannot be read again. Go on with `after` and "
        "`upto` of the answer until `done`.",
        response_class=JsonBytes,
    )
    async def redrive(
        request: Request,
        body: Redrive,
        authorization: Annotated[str | None, Header()] = None,
    ) -> Response:
        check_token(authorization, services.token)
        services.writes.take(client_of(request.scope))
        upto = body.upto
        if upto is None:
            upto = await asyncio.to_thread(store.newest_rejection)
        found = await asyncio.to_thread(
            store.rejections_after, body.after, upto, body.reason, body.limit
        )
        counts: Counter[str] = Counter()
        cut = 0
        for _, one in found:
            if one.payload_bytes > len(one.payload):
                cut += 1
                continue
            if body.apply:
                topic = redrive_topic(services.city.name, one.digest)
                await publish(services, topic, encode_rejections([one]))
            counts[one.reason] += 1
        return encoded(
            {
                "counts": counts,
                "cut": cut,
                "after": found[-1][0] if found else upto,
                "upto": upto,
                "done": len(found) < body.limit,
            }
        )

    return router


def _rejection(one: Rejection) -> dict[str, Any]:
    shown = one.payload[:SHOWN_BYTES]
    try:
        # The cut may split a character; what is left of it is dropped.
        payload, encoding = shown.decode("utf-8", "strict"), "utf-8"
    except UnicodeDecodeError as exc:
        if exc.start >= len(shown) - 3 and len(shown) < len(one.payload):
            payload, encoding = shown[: exc.start].decode("utf-8"), "utf-8"
        else:
            payload, encoding = base64.b64encode(shown).decode(), "base64"
    return {
        "topic": one.topic,
        "reason": one.reason,
        "detail": one.detail,
        "payload": payload,
        "payload_encoding": encoding,
        "payload_shown_bytes": len(shown),
        "payload_bytes": one.payload_bytes,
        "received_at": ns_to_rfc3339(one.received_ns),
    }
