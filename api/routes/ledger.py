"""The ledger: what was received, and what became of it."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.answers import JsonBytes, encoded
from api.query import TIMES, Parameter, Parameters, interval, limit_of
from api.schemas import PROBLEMS
from api.services import Services
from core.units import NS_PER_S, ns_to_rfc3339
from store.archive.numbers import Gap, device_numbers
from store.ledger import Ledger

#: Where no time is asked for, the last hour is meant.
DEFAULT_SPAN_NS = 3600 * NS_PER_S

_LEDGER = Parameters(
    *TIMES,
    Parameter("source", "Only this source (wire format)."),
    Parameter("limit", "Minutes and sources of the answer; 100 unless given."),
)
_DEVICES = Parameters(
    *TIMES,
    Parameter("source", "Only this source (wire format)."),
    Parameter("limit", "Gaps of the answer; 100 unless given."),
)


def build_router(services: Services) -> APIRouter:
    """The routes under ``/ledger``."""
    router = APIRouter(tags=["operation"], responses=PROBLEMS)

    @router.get(
        "/ledger",
        summary="What was received by source and minute, and what became of it",
        description="received = accepted + duplicate + rejected + in flight, and accepted = "
        "archived; `missing` and `unarchived` say by how much that is not so. `in_flight` is what "
        "not every party has spoken of yet. Without a time the last hour is meant.",
        openapi_extra=_LEDGER.openapi,
        response_class=JsonBytes,
    )
    def get_ledger(request: Request) -> Response:
        given = _LEDGER.read(request)
        from_ns, to_ns = _span(given, services)
        from_s, to_s = from_ns // NS_PER_S // 60 * 60, to_ns // NS_PER_S
        ledger = Ledger(services.opened_archive().catalog)
        return encoded(
            {
                "totals": ledger.totals(from_s, to_s, given["source"]),
                "minutes": [
                    _with_time(one)
                    for one in ledger.minutes(
                        from_s, to_s, given["source"], limit_of(given["limit"])
                    )
                ],
                "differences": [_with_time(one) for one in ledger.differences(from_s, to_s)],
            }
        )

    @router.get(
        "/ledger/devices",
        summary="What the devices' own counters say was sent, against what was archived",
        description="Of devices that number what they send: how many numbers are archived, how "
        "many between them never came, and the newest gaps. Such a number was lost on the radio, "
        "in a broker or here, or it was refused. Without a time the last hour is meant.",
        openapi_extra=_DEVICES.openapi,
        response_class=JsonBytes,
    )
    def get_devices(request: Request) -> Response:
        given = _DEVICES.read(request)
        archive, span = services.opened_archive(), (*_span(given, services), given["source"])
        lines, newest = device_numbers(archive, *span, limit=limit_of(given["limit"]))
        return encoded({"totals": lines, "gaps": [_gap(one) for one in newest]})

    return router


def _span(given: dict[str, str | None], services: Services) -> tuple[int, int]:
    """The time that is asked for; the last hour where none is."""
    from_ns, to_ns = interval(given["from"], given["to"], given["datetime"])
    if from_ns is None and to_ns is None:
        from_ns = services.clock.now_ns() - DEFAULT_SPAN_NS
    return from_ns or 0, 2**62 if to_ns is None else to_ns


def _gap(one: Gap) -> dict[str, Any]:
    fields = msgspec.structs.asdict(one)
    before_ns, after_ns = fields.pop("before_ns"), fields.pop("after_ns")
    return fields | {"from": ns_to_rfc3339(before_ns), "to": ns_to_rfc3339(after_ns)}


def _with_time(line: msgspec.Struct) -> dict[str, Any]:
    fields = msgspec.structs.asdict(line)
    return {"minute": ns_to_rfc3339(fields.pop("minute_s") * NS_PER_S)} | fields
