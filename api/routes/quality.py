"""Verdicts of people on the spot, and what they teach of rules and sources (质量反馈)."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.answers import JsonBytes, encoded
from api.guard import check_token, client_of
from api.query import TIMES, Parameter, Parameters, interval
from api.schemas import PROBLEMS, Plain, answer
from api.services import Services
from core.errors import InputError
from core.events import Place
from core.incidents import Incident
from core.units import NS_PER_S, ns_to_rfc3339
from scenarios.lifecycle import Role
from scenarios.quality import JudgedRaise, Quality, mask_proposals, proposals, quality_by
from scenarios.verdicts import VERDICT_NAMES, Verdict
from store.archive.quality import quality_document, source_quality
from store.documents import incident_body
from store.rows import Judgement

#: Days that quality looks back where nothing else is asked for.
DEFAULT_DAYS = 90
MAX_DAYS = 3660

_DAYS = Parameters(
    Parameter(
        "days",
        f"How far back to look; {DEFAULT_DAYS} unless given.",
        {"type": "integer", "minimum": 1, "maximum": MAX_DAYS},
    )
)


_TIMES = Parameters(*TIMES)


class NewVerdict(BaseModel):
    """What somebody found a case to be."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    role: Role = Field(Role.OPERATOR, description="In which role: worker, operator or verifier")
    actor: Plain = Field("", max_length=100, description="Who, e.g. a worker's id")
    note: Plain = Field("", max_length=1000)
    lon: float | None = Field(None, ge=-180, le=180, allow_inf_nan=False)
    lat: float | None = Field(None, ge=-90, le=90, allow_inf_nan=False)
    duplicate_of: Plain | None = Field(None, max_length=200, description="Id of the other case")

    @model_validator(mode="after")
    def _complete(self) -> NewVerdict:
        if (self.lon is None) != (self.lat is None):
            msg = "lon and lat were wanted together"
            raise ValueError(msg)
        if self.lon is not None and self.verdict is not Verdict.WRONG_PLACE:
            msg = "lon and lat belong to wrong_place only"
            raise ValueError(msg)
        if self.duplicate_of is not None and self.verdict is not Verdict.DUPLICATE:
            msg = "duplicate_of belongs to duplicate only"
            raise ValueError(msg)
        return self


def build_router(services: Services) -> APIRouter:
    """The routes of verdicts and of ``/quality``."""
    router = APIRouter(tags=["quality"], responses=PROBLEMS)
    store = services.store

    @router.post(
        "/incidents/{incident_id}/verdict",
        summary="Say what a case really is, in one tap",
        description="Needs the token. Not an issue and a duplicate are cancelled, or sent back "
        "to the desk by a worker; what is not theirs is dispatched anew; with a place the case "
        "moves there. The last verdict on a case counts.",
        response_class=JsonBytes,
        responses=answer("The incident afterwards", Incident),
    )
    def judge(
        request: Request,
        incident_id: str,
        body: NewVerdict,
        authorization: Annotated[str | None, Header()] = None,
    ) -> Response:
        check_token(authorization, services.token)
        services.writes.take(client_of(request.scope))
        if body.role is Role.SYSTEM:
            raise InputError("body.role: worker, operator or verifier was wanted, got 'system'")
        judgement = Judgement(
            verdict=body.verdict,
            actor=body.actor or body.role.value,
            role=body.role.value,
            at_ns=services.clock.now_ns(),
            note=body.note,
            place=_place(services, body),
            duplicate_of=body.duplicate_of,
        )
        return JsonBytes(incident_body(store.judge(incident_id[:200], judgement)))

    @router.get(
        "/quality/rules",
        summary="How often each rule was right, by people's verdicts",
        openapi_extra=_DAYS.openapi,
        response_class=JsonBytes,
    )
    def rules(request: Request) -> Response:
        return encoded({"rules": _qualities(_judged(services, request), "rule")})

    @router.get(
        "/quality/sources",
        summary="How often each source and each device was right",
        openapi_extra=_DAYS.openapi,
        response_class=JsonBytes,
    )
    def sources(request: Request) -> Response:
        judged = _judged(services, request)
        return encoded(
            {"sources": _qualities(judged, "source"), "things": _qualities(judged, "thing_id")}
        )

    @router.get(
        "/quality/proposals",
        summary="Thresholds that would have avoided false alarms, and devices that cry wolf",
        description="Only proposals, which a person accepts: a threshold with `qingniao scenario "
        "accept`, after trying it on a recording; a mask by a maintenance window of the thing "
        "(`POST /exclusions`).",
        openapi_extra=_DAYS.openapi,
        response_class=JsonBytes,
    )
    def propose(request: Request) -> Response:
        known = {rule.id: rule for one in store.scenarios.values() for rule in one.rules}
        judged = _judged(services, request)
        return encoded({"proposals": proposals(judged, known), "masks": mask_proposals(judged)})

    @router.get(
        "/quality/data",
        summary="How good the data of each source is: complete, timely, valid, consistent",
        description="Over the archive; without `from`, `to` or `datetime` over the last day. The "
        "same is told to each source hourly on `qn/{city}/quality/{source}/{kind}`.",
        openapi_extra=_TIMES.openapi,
        response_class=JsonBytes,
    )
    def data(request: Request) -> Response:
        given = _TIMES.read(request)
        from_ns, to_ns = interval(given["from"], given["to"], given["datetime"])
        to_ns = services.clock.now_ns() if to_ns is None else to_ns
        from_ns = to_ns - 86_400 * NS_PER_S if from_ns is None else from_ns
        found = source_quality(services.opened_archive(), from_ns, to_ns)
        return encoded(
            {
                "from": ns_to_rfc3339(from_ns),
                "to": ns_to_rfc3339(to_ns),
                "sources": [quality_document(one) for one in found],
            }
        )

    @router.get("/quality/verdicts", summary="The verdicts there are", response_class=JsonBytes)
    def verdicts() -> Response:
        return encoded({"verdicts": VERDICT_NAMES})

    return router


def _judged(services: Services, request: Request) -> list[JudgedRaise]:
    text = _DAYS.read(request)["days"]
    if text is not None and not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_DAYS):
        raise InputError(f"days: a whole number from 1 to {MAX_DAYS} was wanted, got {text[:80]!r}")
    days = DEFAULT_DAYS if text is None else int(text)
    return services.store.judged_raises(services.clock.now_ns() - days * 86_400 * NS_PER_S)


def _qualities(judged: list[JudgedRaise], key: str) -> list[dict[str, Any]]:
    return [_quality(one) for one in quality_by(judged, key)]


def _quality(one: Quality) -> dict[str, Any]:
    return {
        "id": one.key,
        "precision_ratio": one.precision_ratio,
        "real": one.real,
        "false": one.false,
        "duplicate": one.duplicate,
        "pending": one.pending,
        "wrong_place": one.wrong_place,
        "wrong_owner": one.wrong_owner,
    }


def _place(services: Services, body: NewVerdict) -> Place | None:
    if body.lon is None or body.lat is None:
        return None
    tags = services.tagger.tag(np.array([body.lon]), np.array([body.lat]))
    return tags.place(0, body.lon, body.lat)
