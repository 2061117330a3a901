"""Permits, planned works, maintenance windows and silences: made, changed, listed.

They take the same way as any message, so that a replay decides the same; what is listed is
what the decisions know.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers import JsonBytes, encoded
from api.guard import check_token, client_of
from api.publishing import publish
from api.query import Parameter, Parameters
from api.schemas import PROBLEMS, Plain, answer
from api.services import Services
from core.errors import InputError, NotFoundError
from core.exclusions import (
    EXCLUSION_KIND,
    MAX_RADIUS_M,
    Circle,
    Exclusion,
    ExclusionKind,
    check_exclusion,
    encode_exclusion,
)
from core.topics import exclusion_topic
from core.units import ns_to_rfc3339, rfc3339_to_ns
from scenarios.exclusions import explain_exclusion
from store.documents import fields, join_array
from store.rows import Excluding

_LIST = Parameters(
    Parameter(
        "state",
        "`in_force` (unless given) or `all`.",
        {"type": "string", "enum": ["in_force", "all"]},
    )
)


class CircleBody(BaseModel):
    """A circle on the ground."""

    model_config = ConfigDict(extra="forbid")

    lon: float = Field(ge=-180, le=180, allow_inf_nan=False, description="WGS 84 degrees")
    lat: float = Field(ge=-90, le=90, allow_inf_nan=False, description="WGS 84 degrees")
    radius_m: float = Field(gt=0, le=MAX_RADIUS_M, allow_inf_nan=False)


_Point = tuple[
    Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)],
    Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)],
]


class NewExclusion(BaseModel):
    """What is known beforehand; every part of the scope that is given must hold."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    kind: ExclusionKind = Field(description="permit and works count with rules that name subject")
    subject: Plain = Field("", max_length=100, description="e.g. night_work, occupation")
    from_: datetime | None = Field(None, alias="from", description="RFC 3339; now unless given")
    until: datetime = Field(description="RFC 3339")
    reason: Plain = Field("", max_length=300)
    actor: Plain = Field(min_length=1, max_length=100, description="Who answers for it")
    scenarios: list[Plain] = Field([], max_length=50)
    things: list[Plain] = Field([], max_length=50, description="A camera stands for all it tracks")
    sources: list[Plain] = Field([], max_length=50, description="Decoders, e.g. dji")
    area: Plain = Field("", max_length=20, description="Beginning of an area code")
    circle: CircleBody | None = None
    polygon: list[_Point] = Field([], max_length=100, description="[lon, lat] corners")


class Change(BaseModel):
    """An exclusion that ends at another time."""

    model_config = ConfigDict(extra="forbid")

    until: datetime | None = Field(None, description="RFC 3339; now unless given: it ends")
    reason: Plain | None = Field(None, max_length=300, description="As it was unless given")
    actor: Plain = Field(min_length=1, max_length=100, description="Who changes it")


def build_router(services: Services) -> APIRouter:
    """The routes of ``/exclusions``."""
    router = APIRouter(tags=["exclusions"], responses=PROBLEMS)
    store = services.store

    async def send(one: Exclusion) -> Response:
        check_exclusion(one)
        topic = exclusion_topic(services.city.name, one.id)
        await publish(services, topic, encode_exclusion(one))
        return _accepted(one)

    @router.post(
        "/exclusions",
        summary="Make a permit, planned works, a maintenance window or a silence",
        description="Needs the token. It counts from the moment the decisions have it, ends by "
        "itself, and what still goes on then becomes a case. With an `Idempotency-Key`, a "
        "repeated request is one record.",
        status_code=202,
        response_class=JsonBytes,
    )
    async def make(
        request: Request,
        body: NewExclusion,
        authorization: Annotated[str | None, Header()] = None,
        idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
    ) -> Response:
        check_token(authorization, services.token)
        services.writes.take(client_of(request.scope))
        unknown = sorted(set(body.scenarios) - store.scenarios.keys())
        if unknown:
            accepted = ", ".join(sorted(store.scenarios))
            raise InputError(f"body.scenarios: of {accepted} were wanted, got {unknown}")
        now_ns = services.clock.now_ns()
        new_id = _new_id(body, idempotency_key, now_ns)
        with suppress(NotFoundError):
            return _accepted(store.exclusion(new_id).now.record)
        return await send(
            Exclusion(
                id=new_id,
                kind=body.kind,
                subject=body.subject,
                from_ns=now_ns if body.from_ is None else _instant_ns(body.from_),
                until_ns=_instant_ns(body.until),
                at_ns=now_ns,
                reason=body.reason,
                actor=body.actor,
                scenarios=tuple(body.scenarios),
                things=tuple(body.things),
                sources=tuple(body.sources),
                area_code=body.area,
                circle=None
                if body.circle is None
                else Circle(
                    lon_deg=body.circle.lon, lat_deg=body.circle.lat, radius_m=body.circle.radius_m
                ),
                polygon=tuple(body.polygon),
            )
        )

    @router.patch(
        "/exclusions/{exclusion_id}",
        summary="End it now, or at another time",
        description="Needs the token. The versions before are kept.",
        status_code=202,
        response_class=JsonBytes,
    )
    async def change(
        request: Request,
        exclusion_id: str,
        body: Change,
        authorization: Annotated[str | None, Header()] = None,
    ) -> Response:
        check_token(authorization, services.token)
        services.writes.take(client_of(request.scope))
        known = store.exclusion(_plain(exclusion_id)).now.record
        now_ns = services.clock.now_ns()
        # Before it began it cannot end: it then is one instant that nothing falls in.
        until_ns = max(now_ns if body.until is None else _instant_ns(body.until), known.from_ns + 1)
        return await send(
            msgspec.structs.replace(
                known,
                until_ns=until_ns,
                at_ns=max(now_ns, known.at_ns + 1),
                actor=body.actor,
                reason=known.reason if body.reason is None else body.reason,
            )
        )

    @router.get(
        "/exclusions",
        summary="What is no incident, now or ever",
        description="The last to end first, with how many raises each left out.",
        openapi_extra=_LIST.openapi,
        response_class=JsonBytes,
        responses=answer("The list", {"exclusions": [Exclusion]}),
    )
    def list_exclusions(request: Request) -> Response:
        state = _LIST.read(request)["state"] or "in_force"
        if state not in {"in_force", "all"}:
            raise InputError(f"state: in_force or all was wanted, got {state[:80]!r}")
        now_ns = services.clock.now_ns()
        found = store.exclusions(in_force_ns=now_ns if state == "in_force" else None)
        return encoded({"exclusions": [_document(one, now_ns) for one in found]})

    @router.get(
        "/exclusions/{exclusion_id}",
        summary="One of them, with its versions and what it left out",
        response_class=JsonBytes,
        responses=answer("The record", Exclusion),
    )
    def get_exclusion(exclusion_id: str) -> Response:
        found = store.exclusion(_plain(exclusion_id))
        document = _document(found.now, services.clock.now_ns())
        document["versions"] = [fields(one) for one in found.versions]
        document["left_out"] = msgspec.Raw(join_array(found.left_out))
        return encoded(document)

    return router


def _accepted(one: Exclusion) -> Response:
    url = f"/exclusions/{one.id}"
    return encoded({"id": one.id, "status": "accepted", "url": url}, 202, {"Location": url})


def _document(one: Excluding, now_ns: int) -> dict[str, Any]:
    record = one.record
    state = "in_force" if record.from_ns <= now_ns < record.until_ns else "ended"
    return fields(record) | {
        "revision": one.revision,
        "excluded_count": one.excluded_count,
        "state": "coming" if now_ns < record.from_ns else state,
        "explanation": explain_exclusion(record),
    }


def _instant_ns(instant: datetime) -> int:
    if instant.tzinfo is None:
        raise InputError(
            f"body.from, body.until: a time with its offset was wanted, e.g. "
            f"{ns_to_rfc3339(0)}, got {instant.isoformat()}"
        )
    return rfc3339_to_ns(instant.isoformat())


def _new_id(body: NewExclusion, key: str | None, now_ns: int) -> str:
    text = f"{now_ns}\x1f{body.model_dump_json()}" if key is None else f"key\x1f{key}"
    digest = hashlib.blake2b(f"{EXCLUSION_KIND}\x1f{text}".encode(), digest_size=6).hexdigest()
    return f"{body.kind.value}-{digest}"


def _plain(text: str) -> str:
    if "\0" in text or len(text) > 200:
        raise NotFoundError(f"exclusion {text[:80]!r}: there is none with this id")
    return text
