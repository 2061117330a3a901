"""A public alert as a message of the Common Alerting Protocol 1.2. Pure.

Source:
    OASIS CAP 1.2 (2010-07-01), http://docs.oasis-open.org/emergency/cap/v1.2.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from core.incidents import Incident, Text
from core.topics import area_levels
from core.units import china_time
from scenarios.alerting import AlertKind, IssuedAlert, Phase, certainty_of
from scenarios.model import AlertCategory, AlertScope, PublicAlert, Scenario

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
MEDIA_TYPE = "application/cap+xml"

#: What the standard forbids in a sender's or a message's identifier (3.2.1).
_FORBIDDEN = re.compile(r"[\s,<&]")

#: Characters that XML 1.0 cannot say (2.2).
_UNSPEAKABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: The name under which area codes are given.
GEOCODE_NAME = "CN-area-code"

#: Who a restricted alert is for.
_RESTRICTION = (
    "供应急处置单位及所涉区域使用，是否向公众发布由人决定 For those who act on it and the areas "
    "concerned; whether the public is told is for a person to decide"
)

_CATEGORIES = {AlertCategory.CBRNE: "CBRNE"}
_ENDS = {
    Phase.ACTIVE: Text("", ""),
    Phase.OVER: Text("各来源均报告现象消除，待现场核实", "Every source says that it is over"),
    Phase.ENDED: Text("预警解除", "The alert is ended"),
}

#: Rings as (lat, lon) pairs, closed.
Polygon = Sequence[tuple[float, float]]


class CapStatus(StrEnum):
    """Whether a message is to be acted on."""

    ACTUAL = "Actual"
    EXERCISE = "Exercise"
    TEST = "Test"


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """Who issues alerts.

    Args:
        sender: Unique in the world, without spaces, commas, ``<`` and ``&``.
        name: For people, e.g. the city's.
        status: Whether to be acted on.
    """

    sender: str
    name: Text
    status: CapStatus

    def __post_init__(self) -> None:
        if not self.sender or _FORBIDDEN.search(self.sender):
            raise ValueError(
                f"sender: a text without spaces, commas, < and & was wanted, got {self.sender!r}"
            )


def identifier_of(alert: IssuedAlert) -> str:
    """The identifier of a message, unique for its sender."""
    return f"{alert.incident.id}-a{alert.number}"


def cap_xml(
    alert: IssuedAlert,
    earlier: Sequence[IssuedAlert],
    scenario: Scenario,
    issuer: Issuer,
    polygons: Sequence[Polygon] = (),
) -> bytes:
    """Write one message.

    Args:
        alert: The message.
        earlier: Those before it of the same case, the first first.
        scenario: Of the case; one that alerts the public.
        issuer: Who issues it.
        polygons: The area where the place is not known to the metre.

    Raises:
        ValueError: The scenario issues no alerts.
    """
    if scenario.alert is None:
        raise ValueError(f"scenario {scenario.id}: it issues no alerts")
    case, about = alert.incident, scenario.alert
    root = ElementTree.Element("alert", xmlns=NAMESPACE)
    _add(root, "identifier", identifier_of(alert))
    _add(root, "sender", issuer.sender)
    _add(root, "sent", _time(alert.sent_ns))
    _add(root, "status", issuer.status.value)
    _add(root, "msgType", alert.kind.value.title())
    _add(root, "source", "青鸟 Qingniao")
    _add(root, "scope", about.scope.value.title())
    if about.scope is AlertScope.RESTRICTED:
        _add(root, "restriction", _RESTRICTION)
    if alert.phase is not Phase.ACTIVE:
        note = _ENDS[alert.phase]
        _add(root, "note", f"{note.zh} {note.en}")
    if alert.kind is not AlertKind.ALERT:
        _add(root, "references", " ".join(_reference(one, issuer) for one in _chain(earlier)))
    _add(root, "incidents", case.case_number)
    for language in ("zh", "en"):
        _info(root, alert, scenario, about, issuer, polygons, language)
    return (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        + ElementTree.tostring(root, encoding="unicode").encode()
    )


def _chain(earlier: Sequence[IssuedAlert]) -> Sequence[IssuedAlert]:
    """The messages since the alert that began this chain."""
    first = max((n for n, one in enumerate(earlier) if one.kind is AlertKind.ALERT), default=0)
    return earlier[first:]


def _reference(alert: IssuedAlert, issuer: Issuer) -> str:
    return f"{issuer.sender},{identifier_of(alert)},{_time(alert.sent_ns)}"


def _info(
    root: ElementTree.Element,
    alert: IssuedAlert,
    scenario: Scenario,
    about: PublicAlert,
    issuer: Issuer,
    polygons: Sequence[Polygon],
    language: str,
) -> None:
    case = alert.incident

    def say(text: Text) -> str:
        return text.zh if language == "zh" else text.en

    active = alert.phase is Phase.ACTIVE
    info = ElementTree.SubElement(root, "info")
    _add(info, "language", {"zh": "zh-CN", "en": "en-US"}[language])
    _add(info, "category", _CATEGORIES.get(about.category, about.category.value.title()))
    _add(info, "event", say(case.scenario_name))
    _add(info, "responseType", "Execute" if active else "AllClear")
    _add(info, "urgency", about.urgency.value.title() if active else "Past")
    _add(info, "severity", case.severity.value.title())
    _add(info, "certainty", certainty_of(case).value.title())
    _pair(info, "eventCode", case.category_system, case.category_code)
    _add(info, "effective", _time(alert.sent_ns))
    _add(info, "onset", _time(case.began_ns))
    _add(info, "senderName", say(issuer.name))
    where = case.place.area_name or case.place.road_name or say(issuer.name)
    about_it = say(case.scenario_name) if active else say(_ENDS[alert.phase])
    _add(info, "headline", f"{where}{'：' if language == 'zh' else ': '}{about_it}")
    # Why it is a case is the explanation's first line, the others are for who handles it. The
    # public is told what it is, not which device said so.
    told = case.explanation if about.scope is AlertScope.RESTRICTED else scenario.purpose
    first = (say(told) or say(case.scenario_name)).partition("\n")[0]
    _add(info, "description", first)
    if active:
        _add(info, "instruction", say(about.instruction))
    _pair(info, "parameter", "sources", str(case.source_count))
    _area(info, case, about, where, polygons)


def _area(
    info: ElementTree.Element,
    case: Incident,
    about: PublicAlert,
    where: str,
    polygons: Sequence[Polygon],
) -> None:
    area = ElementTree.SubElement(info, "area")
    _add(area, "areaDesc", where)
    place = case.place
    if place.lon_deg is not None and place.lat_deg is not None:
        unsure_m = place.error_major_m
        if unsure_m is None or not math.isfinite(unsure_m):
            unsure_m = 0.0
        radius_km = (about.radius_m + unsure_m) / 1000
        _add(area, "circle", f"{place.lat_deg:.6f},{place.lon_deg:.6f} {radius_km:.3f}")
    else:
        for ring in polygons:
            _add(area, "polygon", " ".join(f"{lat:.6f},{lon:.6f}" for lat, lon in ring))
    codes = (place.district_code, place.street_code, place.community_code)
    for code in area_levels(max((code or "" for code in codes), key=len)):
        _pair(area, "geocode", GEOCODE_NAME, code)


def _add(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = _UNSPEAKABLE.sub("\ufffd", text)


def _pair(parent: ElementTree.Element, name: str, value_name: str, value: str) -> None:
    pair = ElementTree.SubElement(parent, name)
    _add(pair, "valueName", value_name)
    _add(pair, "value", value)


def _time(instant_ns: int) -> str:
    """An instant as CAP writes it: to the second, never with Z (3.3.2).

    Example:
        >>> _time(1_767_225_600_123_000_000)
        '2026-01-01T08:00:00+08:00'
    """
    return china_time(instant_ns).isoformat(timespec="seconds")
