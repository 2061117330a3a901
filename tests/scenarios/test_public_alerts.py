"""Public alerts: which are issued, and CAP messages by the schema and the rules of the standard.

``data/CAP-v1.2.xsd`` is the schema of OASIS CAP 1.2, unchanged.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import msgspec
import pytest
import xmlschema
from hypothesis import given
from hypothesis import strategies as st

from core.events import Place
from core.incidents import Incident, Severity, Status, Text
from core.units import rfc3339_to_ns
from scenarios.alerting import AlertKind, IssuedAlert, Phase, next_alert
from scenarios.cap import NAMESPACE, CapStatus, Issuer, cap_xml
from scenarios.loader import load_packs
from scenarios.model import AlertScope, Scenario

SCHEMA = xmlschema.XMLSchema(Path(__file__).parent / "data" / "CAP-v1.2.xsd")
CAP = {"c": NAMESPACE}
START_NS = rfc3339_to_ns("2026-07-01T09:00:00+08:00")
ISSUER = Issuer(sender="119.qingdao.example", name=Text("青岛", "Qingdao"), status=CapStatus.TEST)
PACKS = {one.id: one for one in load_packs()}
ALERTING = [one for one in PACKS.values() if one.alert is not None]


def a_case(scenario: Scenario = PACKS["gas-leak"], at_s: float = 0, **more: Any) -> Incident:
    given = {
        "id": "0123456789abcdef0123456789abcdef",
        "case_number": "QD-20260701-000001",
        "scenario": scenario.id,
        "scenario_name": scenario.name,
        "domain": scenario.domain.value,
        "category_system": scenario.category.system,
        "category_code": scenario.category.code,
        "department": scenario.department,
        "severity": scenario.severity,
        "status": Status.DISPATCHED,
        "place": Place(
            lon_deg=120.38, lat_deg=36.06, error_major_m=4.0, district_code="370202",
            street_code="370202001", community_code="370202001002", area_name="福州路社区",
        ),
        "began_ns": START_NS,
        "opened_ns": START_NS,
        "updated_ns": START_NS + round(at_s * 1e9),
        "confidence_ratio": 0.9,
        "explanation": Text("燃气浓度 0.2\n由您处理", "gas at 0.2\nyours"),
    }  # fmt: skip
    return Incident(**(given | more))


def chain(*cases: Incident) -> list[IssuedAlert]:
    issued: list[IssuedAlert] = []
    for sequence, case in enumerate(cases, 1):
        alert = next_alert(issued[-1] if issued else None, case, sequence)
        issued += [] if alert is None else [alert]
    return issued


CLOSED = a_case(at_s=300, status=Status.CLOSED, closed_ns=START_NS, cleared_ns=START_NS)


@pytest.mark.parametrize(
    ("cases", "kinds"),
    [
        ([a_case()], ["alert"]),
        ([a_case(), a_case(at_s=9, event_count=7, version=7)], ["alert"]),
        ([a_case(), a_case(at_s=9, source_count=2)], ["alert", "update"]),
        ([a_case(confidence_ratio=0.3), a_case(at_s=9)], ["alert", "update"]),
        ([a_case(), a_case(at_s=9, status=Status.HANDLING)], ["alert", "update"]),
        ([a_case(), a_case(at_s=9, severity=Severity.MINOR)], ["alert", "update"]),
        ([a_case(), a_case(at_s=9, place=Place(lon_deg=120.3801, lat_deg=36.06))], ["alert"]),
        (
            [a_case(), a_case(at_s=9, place=Place(lon_deg=120.39, lat_deg=36.06))],
            ["alert", "update"],
        ),
        ([a_case(), a_case(at_s=9, place=Place(community_code="1"))], ["alert", "update"]),
        ([a_case(), a_case(at_s=9, cleared_ns=START_NS), CLOSED], ["alert", "update", "cancel"]),
        ([a_case(), CLOSED, a_case(at_s=400)], ["alert", "cancel", "alert"]),
        ([a_case(), a_case(at_s=9, status=Status.CANCELLED), CLOSED], ["alert", "cancel"]),
        ([CLOSED], []),
    ],
)
def test_what_people_must_know_is_issued_once(cases: list[Incident], kinds: list[str]) -> None:
    issued = chain(*cases)
    assert [one.kind.value for one in issued] == kinds
    assert [one.number for one in issued] == list(range(1, len(kinds) + 1))
    times = [one.sent_ns for one in issued]
    assert times == sorted(times)


def read(alert: IssuedAlert, earlier: list[IssuedAlert], scenario: Scenario, *areas: Any) -> Any:
    text = cap_xml(alert, earlier, scenario, ISSUER, areas)
    SCHEMA.validate(text.decode())
    return ElementTree.fromstring(text)


def of(element: Any, path: str) -> list[str]:
    return [one.text for one in element.findall("/".join(f"c:{p}" for p in path.split("/")), CAP)]


@pytest.mark.parametrize("scenario", ALERTING, ids=lambda one: one.id)
def test_every_scenario_that_alerts_makes_messages_by_the_schema(scenario: Scenario) -> None:
    case = a_case(scenario)
    over = msgspec.structs.replace(case, cleared_ns=START_NS, updated_ns=START_NS + 10**9)
    ended = msgspec.structs.replace(over, status=Status.CLOSED)
    issued = chain(case, over, ended)
    assert [one.phase for one in issued] == [Phase.ACTIVE, Phase.OVER, Phase.ENDED]
    roots = [read(one, issued[:n], scenario) for n, one in enumerate(issued)]
    assert [of(root, "msgType") for root in roots] == [["Alert"], ["Update"], ["Cancel"]]
    for root in roots:
        assert of(root, "info/language") == ["zh-CN", "en-US"]
        assert of(root, "info/event") == [scenario.name.zh, scenario.name.en]
        assert of(root, "status") == ["Test"]
        assert of(root, "scope") == ["Restricted"]
        assert len(of(root, "restriction")) == 1
        assert not any(time.endswith("Z") for time in of(root, "sent") + of(root, "info/onset"))
    assert of(roots[0], "info/instruction") == [
        scenario.alert.instruction.zh, scenario.alert.instruction.en,
    ]  # fmt: skip
    assert of(roots[2], "info/urgency") == ["Past", "Past"]
    assert of(roots[2], "info/responseType") == ["AllClear", "AllClear"]


def test_references_name_every_message_of_the_chain_and_no_other() -> None:
    issued = chain(a_case(), CLOSED, a_case(at_s=400), a_case(at_s=500, source_count=2))
    roots = [read(one, issued[:n], PACKS["gas-leak"]) for n, one in enumerate(issued)]
    assert [bool(of(root, "references")) for root in roots] == [False, True, False, True]
    first, third = (
        f"{ISSUER.sender},{of(root, 'identifier')[0]},{of(root, 'sent')[0]}"
        for root in (roots[0], roots[2])
    )
    assert of(roots[1], "references") == [first]
    assert of(roots[3], "references") == [third]
    assert len({of(root, "identifier")[0] for root in roots}) == 4


def test_where_is_a_circle_or_the_areas_border() -> None:
    pack = PACKS["gas-leak"]
    root = read(chain(a_case())[0], [], pack)
    lat, lon_radius = of(root, "info/area/circle")[0].split(",")
    lon, radius_km = lon_radius.split(" ")
    assert (float(lat), float(lon), float(radius_km)) == (36.06, 120.38, 0.154)
    assert of(root, "info/area/geocode/value")[:3] == ["370202", "370202001", "370202001002"]
    ring = [(36.0, 120.0), (36.0, 120.1), (36.1, 120.1), (36.0, 120.0)]
    unplaced = a_case(place=Place(district_code="370202", area_name="市南区"))
    root = read(chain(unplaced)[0], [], pack, ring)
    assert of(root, "info/area/circle") == []
    assert (
        of(root, "info/area/polygon")
        == ["36.000000,120.000000 36.000000,120.100000 36.100000,120.100000 36.000000,120.000000"]
        * 2
    )
    assert of(read(chain(a_case(place=Place()))[0], [], pack), "info/area/areaDesc") == [
        "青岛", "Qingdao",
    ]  # fmt: skip


def test_the_public_is_not_told_who_and_how() -> None:
    pack = PACKS["gas-leak"]
    assert pack.alert is not None
    open_to_all = msgspec.structs.replace(
        pack, alert=msgspec.structs.replace(pack.alert, scope=AlertScope.PUBLIC)
    )
    assert of(read(chain(a_case())[0], [], pack), "info/description") == [
        "燃气浓度 0.2", "gas at 0.2",
    ]  # fmt: skip
    root = read(chain(a_case())[0], [], open_to_all)
    assert of(root, "scope") == ["Public"]
    assert of(root, "restriction") == []
    assert of(root, "info/description") == [pack.purpose.zh, pack.purpose.en]


@given(st.text(max_size=40))
def test_any_text_gives_a_message_that_can_be_read(text: str) -> None:
    case = a_case(
        explanation=Text(text, text), scenario_name=Text(text or "a", text or "b"),
        place=Place(area_name=text, lon_deg=1.0, lat_deg=2.0),
    )  # fmt: skip
    text_out = cap_xml(chain(case)[0], [], PACKS["gas-leak"], ISSUER)
    SCHEMA.validate(text_out.decode())


@pytest.mark.parametrize("sender", ["", "a b", "a,b", "a<b", "a&b", "a\nb"])
def test_a_sender_is_one_word(sender: str) -> None:
    with pytest.raises(ValueError, match="sender: a text without spaces"):
        Issuer(sender=sender, name=Text("", ""), status=CapStatus.TEST)


def test_a_scenario_without_alerts_makes_no_message() -> None:
    with pytest.raises(ValueError, match="exposed-waste: it issues no alerts"):
        cap_xml(chain(a_case())[0], [], PACKS["exposed-waste"], ISSUER)


def test_kinds_are_the_words_of_the_standard() -> None:
    assert [one.value.title() for one in AlertKind] == ["Alert", "Update", "Cancel"]
