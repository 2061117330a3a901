"""Incidents: lists, details, steps."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers import GEOJSON, JsonBytes, as_json, encoded
from api.evidence_files import clips
from api.guard import check_token, client_of
from api.query import PAGES, PLACES, TIMES, Parameter, Parameters, incident_filter, limit_of
from api.routes.photos import check_photos
from api.schemas import PROBLEMS, Plain, answer
from api.services import Services
from core.errors import InputError, NotFoundError
from core.incidents import Incident, Severity, Status
from scenarios.lifecycle import Action, Role
from scenarios.steps import MAX_EXTENSION_S, MAX_PHOTOS, Step, possible_actions
from store.documents import incident_body, incident_feature, join_array
from store.explanation import explanation
from store.rows import IncidentRow, Page

_LIST = Parameters(
    *PLACES,
    *TIMES,
    Parameter("scenario", "Scenario ids, separated by commas."),
    Parameter("domain", "城管, 交通, 住建, 社区, 低空; separated by commas."),
    Parameter("department", "Names of departments, Chinese or English, separated by commas."),
    Parameter("severity", f"Of {', '.join(Severity)}; separated by commas."),
    Parameter("status", f"Of {', '.join(Status)}, or open; separated by commas."),
    Parameter("thing", "Id of a thing that is evidence of it."),
    Parameter("parent", "Id of the incident that they are part of."),
    Parameter("unit", "Id of the responsible unit."),
    Parameter("worker", "Id of the grid worker."),
    *PAGES,
    Parameter("format", "json or geojson.", {"type": "string", "enum": ["json", "geojson"]}),
)


class StepBody(BaseModel):
    """One step of the case process."""

    model_config = ConfigDict(extra="forbid")

    action: Action = Field(description="What is done; `transitions` of the incident lists them")
    reason: Plain = Field("", max_length=1000, description="Why; to return, cancel, reopen")
    version: int | None = Field(
        None, ge=1, lt=2**31, description="Version that the decision was made on"
    )
    actor: Plain = Field("", max_length=100, description="Who, e.g. a worker's id")
    role: Role = Field(Role.OPERATOR, description="In which role; system is the platform's own")
    extension_s: float | None = Field(
        None,
        ge=60,
        le=MAX_EXTENSION_S,
        allow_inf_nan=False,
        description="Seconds of more time, to extend (asked for) and to grant (if other)",
    )
    photos: list[Plain] = Field(
        [],
        max_length=MAX_PHOTOS,
        description="Names that `POST /incidents/{id}/photos` gave; with feedback: after, "
        "else: before",
    )


def build_router(services: Services) -> APIRouter:
    """The routes of ``/incidents``."""
    router = APIRouter(tags=["incidents"], responses=PROBLEMS)
    store = services.store

    @router.get(
        "/incidents",
        summary="A page of incidents, the last opened first",
        description="The cursor stays true while new incidents come in. With "
        "`format=geojson` or `Accept: application/geo+json` a FeatureCollection.",
        openapi_extra=_LIST.openapi,
        response_class=JsonBytes,
        responses=answer("A page", {"incidents": [Incident], "next": str}),
    )
    def list_incidents(request: Request) -> Response:
        given = _LIST.read(request)
        geojson = _wants_geojson(given["format"], request.headers.get("accept", ""))
        page = store.list_incidents(
            incident_filter(given, services.old_codes),
            limit=limit_of(given["limit"]),
            cursor=given["cursor"],
        )
        if geojson:
            return Response(_collection(page, request), media_type=GEOJSON)
        rows = join_array([row.body for row in page.rows])
        return JsonBytes(b'{"incidents":%b,"next":%b}' % (rows, as_json(page.next)))

    @router.get(
        "/incidents/{incident_id}",
        summary="One incident with its evidence, clips, history and possible steps",
        response_class=JsonBytes,
        responses=answer("The incident", Incident),
    )
    def get_incident(incident_id: str) -> Response:
        detail = store.detail(_plain_id(incident_id))
        steps = as_json(possible_actions(detail.incident))
        body = b'%b,"evidence":%b,"clips":%b,"history":%b,"transitions":%b}' % (
            detail.body[:-1],
            join_array(detail.evidence),
            as_json(clips(services.snapshot_dir, detail.evidence)),
            join_array(detail.history),
            steps,
        )
        return JsonBytes(body, headers={"ETag": f'"{detail.incident.version}"'})

    @router.get(
        "/incidents/{incident_id}/explanation",
        summary="Why it is a case, why theirs, and why not of the others",
        description="`rules_not_met` says of each other rule of the same kind of observation "
        "which of its conditions failed; `receivers_not_chosen` why each other unit and worker "
        "did not get it.",
        response_class=JsonBytes,
    )
    def explain(incident_id: str) -> Response:
        city = services.city
        wanted = _plain_id(incident_id)
        return encoded(explanation(store, services.archive, wanted, city.units, city.workers))

    @router.post(
        "/incidents/{incident_id}/transitions",
        summary="Take a case one step further",
        description="Needs the token. With `version`, refused with 409 where somebody else took "
        "a step since. With an `Idempotency-Key`, a repeated request changes nothing and has "
        "the same answer.",
        response_class=JsonBytes,
        responses=answer("The incident afterwards", Incident),
    )
    def take_step(
        request: Request,
        incident_id: str,
        step: StepBody,
        authorization: Annotated[str | None, Header()] = None,
        idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
    ) -> Response:
        check_token(authorization, services.token)
        services.writes.take(client_of(request.scope))
        if step.role is Role.SYSTEM:
            raise InputError("body.role: worker, operator or verifier was wanted, got 'system'")
        wanted = _plain_id(incident_id)
        photos = check_photos(services.snapshot_dir, wanted, step.photos)
        incident = store.transition(
            wanted,
            Step(
                action=step.action.value,
                actor=step.actor or step.role.value,
                role=step.role.value,
                at_ns=services.clock.now_ns(),
                reason=step.reason,
                extension_s=step.extension_s,
                photos=photos,
            ),
            expected_version=step.version,
            idempotency_key=idempotency_key,
        )
        steps = as_json(possible_actions(incident))
        body = b'%b,"transitions":%b}' % (incident_body(incident)[:-1], steps)
        return JsonBytes(body, headers={"ETag": f'"{incident.version}"'})

    return router


def _wants_geojson(format_: str | None, accept: str) -> bool:
    if format_ not in {None, "json", "geojson"}:
        raise InputError(f"format: json or geojson was wanted, got {str(format_)[:80]!r}")
    return format_ == "geojson" or (format_ is None and GEOJSON in accept)


def _collection(page: Page[IncidentRow], request: Request) -> bytes:
    """A GeoJSON page; its links follow OGC API Features."""
    links = [{"rel": "self", "type": GEOJSON, "href": _relative(request)}]
    if page.next is not None:
        href = _relative(request, cursor=page.next)
        links.append({"rel": "next", "type": GEOJSON, "href": href})
    features = join_array([incident_feature(*row) for row in page.rows])
    return (
        b'{"type":"FeatureCollection","features":%b,"links":%b,"numberReturned":%d,"next":%b}'
        % (features, as_json(links), len(page.rows), as_json(page.next))
    )


def _relative(request: Request, **replaced: Any) -> str:
    url = request.url.include_query_params(**replaced) if replaced else request.url
    return f"{url.path}?{url.query}" if url.query else url.path


def _plain_id(text: str) -> str:
    if "\0" in text or len(text) > 200:
        raise NotFoundError(f"incident {text[:80]!r}: there is none with this id")
    return text
