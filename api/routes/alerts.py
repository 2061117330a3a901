"""Public alerts: one as a CAP message, those that stand now as a feed."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.query import Parameter, Parameters
from api.schemas import PROBLEMS
from api.services import Services
from core.errors import InputError, NotFoundError
from core.units import ns_to_rfc3339
from scenarios.alerting import IssuedAlert
from scenarios.cap import MEDIA_TYPE, identifier_of

#: Alerts in the feed at most, the latest first.
MAX_FEED = 200

_ATOM = "http://www.w3.org/2005/Atom"
_ONE = Parameters(
    Parameter(
        "number",
        "Which of the incident's alerts, from 1; the last unless given.",
        {"type": "integer", "minimum": 1},
    )
)
_NONE = Parameters()


class CapXml(Response):
    """An answer that is a CAP message."""

    media_type = MEDIA_TYPE


class AtomXml(Response):
    """An answer that is an Atom feed."""

    media_type = "application/atom+xml"


def build_router(services: Services) -> APIRouter:
    """The routes of public alerts."""
    router = APIRouter(tags=["alerts"], responses=PROBLEMS)

    @router.get(
        "/incidents/{incident_id}.cap",
        summary="A public alert of an incident as a CAP 1.2 message",
        description="Of scenarios that concern public safety. Each is issued once, when what "
        "people must know changes, and stays as it is.",
        openapi_extra=_ONE.openapi,
        response_class=CapXml,
    )
    def get_alert(request: Request, incident_id: str) -> Response:
        number = _ONE.read(request)["number"]
        if number is not None and not (number.isascii() and number.isdigit() and len(number) < 7):
            raise InputError(f"number: a whole number from 1 was wanted, got {number[:80]!r}")
        if "\0" in incident_id or len(incident_id) > 200:
            raise NotFoundError(f"incident {incident_id[:80]!r}: there is none with this id")
        return CapXml(services.alerts.message(incident_id, None if number is None else int(number)))

    @router.get(
        "/alerts",
        summary="The public alerts that stand now, as an Atom feed of CAP messages",
        openapi_extra=_NONE.openapi,
        response_class=AtomXml,
    )
    def list_alerts(request: Request) -> Response:
        _NONE.read(request)
        return AtomXml(_feed(services.store.alerts.current(MAX_FEED), services))

    return router


def _feed(alerts: list[IssuedAlert], services: Services) -> bytes:
    city = services.city
    root = ElementTree.Element("feed", xmlns=_ATOM)
    updated_ns = max((one.sent_ns for one in alerts), default=services.clock.now_ns())
    _add(root, "id", f"urn:qingniao:{city.name}:alerts")
    _add(root, "title", f"{city.title.zh} 公共安全预警 {city.title.en} public alerts")
    _add(root, "updated", ns_to_rfc3339(updated_ns))
    ElementTree.SubElement(root, "link", rel="self", href="/alerts")
    _add(ElementTree.SubElement(root, "author"), "name", "青鸟 Qingniao")
    for one in alerts:
        case = one.incident
        entry = ElementTree.SubElement(root, "entry")
        _add(entry, "id", f"urn:qingniao:{city.name}:{identifier_of(one)}")
        name = case.scenario_name
        _add(entry, "title", f"{case.place.area_name} {name.zh} {name.en}".strip())
        _add(entry, "updated", ns_to_rfc3339(one.sent_ns))
        _add(entry, "summary", f"{one.kind.value} {case.severity.value} {one.phase.value}")
        href = f"/incidents/{case.id}.cap?number={one.number}"
        ElementTree.SubElement(entry, "link", rel="alternate", type=MEDIA_TYPE, href=href)
    return (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        + ElementTree.tostring(root, encoding="unicode").encode()
    )


def _add(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text
