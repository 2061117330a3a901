"""Archived observations."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.answers import JsonBytes, encoded
from api.query import PAGES, PLACES, TIMES, Parameter, Parameters, area_prefix, box, interval
from api.query import limit_of as page_rows
from api.query import words as several
from api.schemas import PROBLEMS
from api.services import Services
from core.units import NS_PER_S
from store.archive.query import ObservationFilter
from store.trace import trace

#: Where no time is asked for, the last day is meant: the archive may hold years.
DEFAULT_SPAN_NS = 86_400 * NS_PER_S

_OBSERVATIONS = Parameters(
    *PLACES,
    *TIMES,
    Parameter("thing", "Ids of things, separated by commas."),
    Parameter("kind", "Kinds of observation, separated by commas."),
    Parameter("source", "Sources (wire formats), separated by commas."),
    *PAGES,
)


def build_router(services: Services) -> APIRouter:
    """The routes ``/observations``."""
    router = APIRouter(tags=["observations"], responses=PROBLEMS)

    @router.get(
        "/observations",
        summary="A page of archived observations, the newest first",
        description="What devices said, with what the map says of the place. An observation is "
        "here some seconds after it was received. Without `from`, `to` or `datetime` the last "
        "day is meant. Pictures are of grade SENSITIVE and not among the columns.",
        openapi_extra=_OBSERVATIONS.openapi,
        response_class=JsonBytes,
    )
    def list_observations(request: Request) -> Response:
        given = _OBSERVATIONS.read(request)
        from_ns, to_ns = interval(given["from"], given["to"], given["datetime"])
        if from_ns is None and to_ns is None:
            from_ns = services.clock.now_ns() - DEFAULT_SPAN_NS
        wanted = ObservationFilter(
            from_ns=from_ns,
            to_ns=to_ns,
            things=several(given["thing"], "thing"),
            kinds=several(given["kind"], "kind"),
            sources=several(given["source"], "source"),
            area_code=area_prefix(given["area"], services.old_codes),
            box=box(given["bbox"]),
        )
        found = services.opened_archive().page(
            wanted, limit=page_rows(given["limit"]), cursor=given["cursor"]
        )
        return encoded({"observations": found.rows, "next": found.next})

    @router.get(
        "/observations/{observation_id}",
        summary="One archived observation",
        response_class=JsonBytes,
    )
    def get_observation(observation_id: str) -> Response:
        return encoded(services.opened_archive().one(observation_id))

    @router.get(
        "/trace/{wanted}",
        summary="An observation from its message to the incident, or an incident back to it",
        description="Takes the id of an observation, or the id or case number of an incident. "
        "Each observation names its MQTT topic, its place in the log, and what each rule of its "
        "kind says of it: matched, nearly (all conditions but one), no.",
        response_class=JsonBytes,
    )
    def get_trace(wanted: str) -> Response:
        return encoded(trace(services.store, services.opened_archive(), wanted))

    return router
