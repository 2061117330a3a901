"""Public alerts over HTTP: CAP messages, their feed, and as a webhook."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import httpx
import pytest
import xmlschema

from core.events import Edge, Place
from scenarios.cap import NAMESPACE

SCHEMA = xmlschema.XMLSchema(Path(__file__).parents[1] / "scenarios" / "data" / "CAP-v1.2.xsd")
CAP, ATOM = {"c": NAMESPACE}, {"a": "http://www.w3.org/2005/Atom"}


def leak(site: Any, at_s: float = 0.0, edge: Edge = Edge.RAISE) -> Any:
    return site.event(at_s, edge, scenario="gas-leak", rule="gas-leak/concentration", thing="g-1")


def text_of(root: Any, name: str) -> str | None:
    return root.findtext(f"c:{name}", namespaces=CAP)


async def test_a_message_and_those_before_it(site: Any, client: httpx.AsyncClient) -> None:
    [opened] = site.apply(leak(site))
    path = f"/incidents/{opened.incident.id}.cap"
    first = await client.get(path)
    assert first.status_code == 200
    assert first.headers["content-type"].startswith("application/cap+xml")
    SCHEMA.validate(first.text)
    site.apply(leak(site, 60.0, Edge.CLEAR))
    second = await client.get(path)
    SCHEMA.validate(second.text)
    root = ElementTree.fromstring(second.content)
    assert text_of(root, "msgType") == "Update"
    assert text_of(root, "status") == "Exercise"
    assert text_of(root, "sender") == "qingniao.qingdao"
    assert (await client.get(path, params={"number": "1"})).content == first.content
    feed = ElementTree.fromstring((await client.get("/alerts")).content)
    [link] = feed.findall("a:entry/a:link", ATOM)
    assert link.get("href") == f"{path}?number=2"
    assert (await client.get(link.get("href") or "")).content == second.content
    # The incident itself is where it was.
    assert (await client.get(f"/incidents/{opened.incident.id}")).json()["id"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/incidents/nothing.cap", 404),
        ("/incidents/{manhole}.cap", 200),
        ("/incidents/{waste}.cap", 404),
        ("/incidents/{manhole}.cap?number=0", 404),
        ("/incidents/{manhole}.cap?number=9", 404),
        ("/incidents/{manhole}.cap?number=x", 422),
        ("/incidents/{manhole}.cap?colour=red", 422),
        ("/alerts?limit=1", 422),
    ],
)
async def test_what_is_not_there_is_told(
    site: Any, client: httpx.AsyncClient, path: str, status: int
) -> None:
    [manhole] = site.apply(site.event())
    [waste] = site.apply(
        site.event(scenario="exposed-waste", rule="exposed-waste/pile", thing="camera-1/1")
    )
    ids = {"manhole": manhole.incident.id, "waste": waste.incident.id}
    answer = await client.get(path.format(**ids))
    assert answer.status_code == status, answer.text
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"


async def test_an_unplaced_incident_has_the_border_of_its_area(
    site: Any, client: httpx.AsyncClient
) -> None:
    import msgspec

    placed = leak(site)
    codes = {
        name: getattr(placed.place, name)
        for name in ("district_code", "street_code", "community_code")
    }
    event = msgspec.structs.replace(placed, place=Place(area_name="某社区", **codes))
    [opened] = site.apply(event)
    answer = await client.get(f"/incidents/{opened.incident.id}.cap")
    SCHEMA.validate(answer.text)
    root = ElementTree.fromstring(answer.content)
    polygons = root.findall("c:info/c:area/c:polygon", CAP)
    assert len(polygons) >= 2
    pairs = [pair.split(",") for pair in (polygons[0].text or "").split(" ")]
    assert len(pairs) >= 4
    assert pairs[0] == pairs[-1]
    assert all(30 < float(lat) < 40 and 115 < float(lon) < 125 for lat, lon in pairs)


async def test_an_empty_feed_is_a_feed(site: Any, client: httpx.AsyncClient) -> None:
    feed = ElementTree.fromstring((await client.get("/alerts")).content)
    assert feed.findtext("a:updated", namespaces=ATOM)
    assert feed.findall("a:entry", ATOM) == []
