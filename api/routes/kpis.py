"""The indicators of the case process, each with its formula and the very cases behind it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.answers import JsonBytes, as_json, encoded
from api.query import PLACES, TIMES, Parameter, Parameters, choices, incident_filter
from api.schemas import PROBLEMS
from api.services import Services
from core.errors import InputError, NotFoundError
from core.incidents import Severity
from core.units import ns_to_rfc3339
from scenarios.kpis import KPI_BY_ID, KPIS, Figure, GroupKey, Kpi, Part, cases_behind, grouped
from scenarios.kpis import group_of as group_of_case
from store.documents import incident_body, join_array

_FILTERS = (
    *PLACES,
    *TIMES,
    Parameter("scenario", "Scenario ids, separated by commas."),
    Parameter("domain", "城管, 交通, 住建, 社区, 低空; separated by commas."),
    Parameter("department", "Names of departments, Chinese or English, separated by commas."),
    Parameter("severity", f"Of {', '.join(Severity)}; separated by commas."),
    Parameter("unit", "Id of the responsible unit."),
    Parameter("worker", "Id of the grid worker."),
)
_GROUP_BY = Parameter(
    "group_by",
    "What the figures are told apart by.",
    {"type": "string", "enum": list(GroupKey), "default": GroupKey.NONE.value},
)
_FIGURES = Parameters(*_FILTERS, _GROUP_BY)
_BEHIND = Parameters(
    *_FILTERS,
    _GROUP_BY,
    Parameter("group", "Key of the group, as the figures have it."),
    Parameter(
        "part",
        "The cases that count, or those that could; the latter unless given.",
        {"type": "string", "enum": list(Part)},
    ),
)

#: Filters of incidents that figures do not take: they would make a figure of itself.
_UNUSED: dict[str, str | None] = {"status": None, "thing": None, "parent": None}


def build_router(services: Services) -> APIRouter:
    """The routes of ``/kpis``."""
    router = APIRouter(tags=["figures"], responses=PROBLEMS)

    @router.get(
        "/kpis",
        summary="The indicators of the case process",
        description="Of the cases opened in the time asked for. Each figure comes with its "
        "formula, the numbers it is made of, and a link to the very cases behind them. An empty "
        "denominator gives null.",
        openapi_extra=_FIGURES.openapi,
        response_class=JsonBytes,
    )
    def get_kpis(request: Request) -> Response:
        given = _FIGURES.read(request)
        key = _group_key(given)
        now_ns = services.clock.now_ns()
        cases = services.store.cases(incident_filter(given | _UNUSED, services.old_codes))
        query = {name: value for name, value in given.items() if value is not None}
        return encoded(
            {
                "at": ns_to_rfc3339(now_ns),
                "cases": len(cases),
                "definitions": [_definition(one) for one in KPIS],
                "group_by": key,
                "groups": [
                    {
                        "key": group,
                        "name": name,
                        "kpis": {
                            kpi: _figure(kpi, one, query | {"group": group})
                            for kpi, one in figures.items()
                        },
                    }
                    for group, name, figures in grouped(cases, key, now_ns)
                ],
            }
        )

    @router.get(
        "/kpis/{kpi}/incidents",
        summary="The very cases behind a figure",
        openapi_extra=_BEHIND.openapi,
        response_class=JsonBytes,
    )
    def get_cases(request: Request, kpi: str) -> Response:
        given = _BEHIND.read(request)
        definition = KPI_BY_ID.get(kpi)
        if definition is None:
            raise NotFoundError(
                f"kpi {kpi[:80]!r}: there is none; there are {', '.join(KPI_BY_ID)}"
            )
        parts = choices(given["part"], "part", Part) or (Part.DENOMINATOR,)
        if len(parts) > 1:
            raise InputError(f"part: one of {', '.join(Part)} was wanted, got {given['part']!r}")
        key = _group_key(given)
        cases = services.store.cases(incident_filter(given | _UNUSED, services.old_codes))
        if key is not GroupKey.NONE:
            cases = [one for one in cases if group_of_case(one, key)[0] == (given["group"] or "")]
        now_ns = services.clock.now_ns()
        found = cases_behind(definition, cases, parts[0], now_ns)
        return JsonBytes(
            b'{"kpi":%b,"part":%b,"at":%b,"count":%d,"incidents":%b}'
            % (
                as_json(_definition(definition)),
                as_json(parts[0]),
                as_json(ns_to_rfc3339(now_ns)),
                len(found),
                join_array(map(incident_body, found)),
            )
        )

    return router


def _group_key(given: dict[str, str | None]) -> GroupKey:
    keys = choices(given["group_by"], "group_by", GroupKey) or (GroupKey.NONE,)
    if len(keys) > 1:
        raise InputError(f"group_by: one word was wanted, got {given['group_by']!r}")
    return keys[0]


def _definition(kpi: Kpi) -> dict[str, Any]:
    return {"id": kpi.id, "name": kpi.name, "formula": kpi.formula, "unit": kpi.unit}


def _figure(kpi: str, figure: Figure, query: dict[str, str]) -> dict[str, Any]:
    return {
        "value": figure.value,
        "median": figure.median,
        "numerator": figure.numerator,
        "denominator": figure.denominator,
        **{
            f"{part}_url": f"/kpis/{kpi}/incidents?{urlencode(query | {'part': part.value})}"
            for part in Part
        },
    }
