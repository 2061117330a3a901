"""Citizens' reports: they take the same way as any source."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers import JsonBytes, encoded
from api.guard import check_token, client_of
from api.publishing import publish
from api.schemas import PROBLEMS, Plain, answer
from api.services import Services
from core.errors import ConflictError, InputError, NotFoundError
from core.topics import report_topic
from core.units import ns_to_rfc3339
from store.rows import Report


class NewReport(BaseModel):
    """What a citizen saw."""

    model_config = ConfigDict(extra="forbid")

    scenario: Plain = Field(max_length=100, description="Id of a scenario that accepts reports")
    lon: float = Field(ge=-180, le=180, allow_inf_nan=False, description="WGS 84 degrees")
    lat: float = Field(ge=-90, le=90, allow_inf_nan=False, description="WGS 84 degrees")
    error_m: float | None = Field(
        None, gt=0, le=10_000, allow_inf_nan=False, description="One sigma, where a phone knows it"
    )
    text: Plain = Field("", max_length=500, description="In the reporter's own words")


def build_router(services: Services) -> APIRouter:
    """The routes of ``/reports``."""
    router = APIRouter(tags=["reports"], responses=PROBLEMS)
    store = services.store

    @router.post(
        "/reports",
        summary="Report something",
        description="Needs the token. The report is published to the broker and takes the same "
        "way as any source; its address tells which incident it became evidence of. With an "
        "`Idempotency-Key`, a repeated request is one report.",
        status_code=202,
        response_class=JsonBytes,
    )
    async def report(
        request: Request,
        body: NewReport,
        authorization: Annotated[str | None, Header()] = None,
        idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
    ) -> Response:
        check_token(authorization, services.token)
        services.writes.take(client_of(request.scope))
        _check_scenario(services, body.scenario)
        _check_place(services, body)
        now_ns = services.clock.now_ns()
        wanted = Report(
            id=_report_id(body, idempotency_key, now_ns),
            scenario=body.scenario,
            lon_deg=body.lon,
            lat_deg=body.lat,
            words=body.text,
            at_ns=now_ns,
            error_m=body.error_m,
        )
        kept = await anyio.to_thread.run_sync(store.add_report, wanted)
        if _content(kept) != _content(wanted):
            raise ConflictError(
                f"idempotency key {idempotency_key!r} was used for another report; use a new key"
            )
        topic = report_topic(services.city.name, kept.id)
        payload = json.dumps(_message(kept), ensure_ascii=False).encode()
        await publish(services, topic, payload)
        url = f"/reports/{kept.id}"
        document = {"id": kept.id, "status": "accepted", "url": url}
        return encoded(document, 202, {"Location": url})

    @router.get(
        "/reports/{report_id}",
        summary="What became of a report",
        description="`status` is accepted, or matched when it is evidence of `incident_id`.",
        response_class=JsonBytes,
        responses=answer("The report", {"id": str, "status": str, "incident_id": str}),
    )
    def get_report(report_id: str) -> Response:
        if "\0" in report_id:
            raise NotFoundError("report: there is none with this id")
        kept = store.report(report_id)
        matched = kept.incident_id is not None
        return encoded(
            {
                "id": kept.id,
                "status": "matched" if matched else "accepted",
                "scenario": kept.scenario,
                "lon_deg": kept.lon_deg,
                "lat_deg": kept.lat_deg,
                "text": kept.words,
                "at": ns_to_rfc3339(kept.at_ns),
                "incident_id": kept.incident_id,
                "incident_url": f"/incidents/{kept.incident_id}" if matched else None,
            }
        )

    return router


def _check_scenario(services: Services, name: str) -> None:
    accepting = sorted(one.id for one in services.store.scenarios.values() if one.accepts_reports)
    if name not in accepting:
        raise InputError(
            f"body.scenario: one that accepts reports was wanted ({', '.join(accepting)}), "
            f"got {name[:80]!r}"
        )


def _check_place(services: Services, body: NewReport) -> None:
    west, south, east, north = services.city.bounds
    if not (west <= body.lon <= east and south <= body.lat <= north):
        raise InputError(
            f"body.lon, body.lat: a place in {services.city.name} was wanted "
            f"({west:.5f}..{east:.5f}, {south:.5f}..{north:.5f}), got {body.lon}, {body.lat}"
        )


def _report_id(body: NewReport, key: str | None, now_ns: int) -> str:
    text = f"{now_ns}\x1f{body.model_dump_json()}" if key is None else f"key\x1f{key}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _content(report: Report) -> tuple[Any, ...]:
    return report.scenario, report.lon_deg, report.lat_deg, report.error_m, report.words


def _message(report: Report) -> dict[str, Any]:
    """The plain JSON of ``qn/{city}/report/{id}``."""
    message: dict[str, Any] = {
        "thing": f"report/{report.id}",
        "kind": "report",
        "time": ns_to_rfc3339(report.at_ns),
        "lon": report.lon_deg,
        "lat": report.lat_deg,
        "labels": {"scenario": report.scenario, "text": report.words},
    }
    if report.error_m is not None:
        message["error_m"] = report.error_m
    return message
