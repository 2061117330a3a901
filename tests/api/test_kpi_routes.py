"""Every figure opens to its formula and to the very cases behind it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from core.units import seconds_to_ns


async def step(site: Any, client: httpx.AsyncClient, auth: dict[str, str], case: str, *ways: str):
    for action in ways:
        body = {"action": action, "actor": f"who-{action}"}
        answer = await client.post(f"/incidents/{case}/transitions", json=body, headers=auth)
        assert answer.status_code == 200, answer.text


async def test_figures_and_the_cases_behind_them(
    site: Any, client: httpx.AsyncClient, auth: dict[str, str]
) -> None:
    opened = site.apply(*(site.event(n, thing=f"m-{n}", north_m=n * 50) for n in range(3)))
    ids = [one.incident.id for one in opened]
    site.clock.advance_to(opened[-1].incident.opened_ns + seconds_to_ns(60))
    await step(site, client, auth, ids[0], "accept", "feedback", "close")
    await step(site, client, auth, ids[1], "accept", "feedback")
    page = (await client.get("/kpis", params={"area": "370202"})).json()
    assert page["cases"] == 3
    [group] = page["groups"]
    assert {
        name: (one["numerator"], one["denominator"]) for name, one in group["kpis"].items()
    } == {
        "filing": (3, 3),
        "dispatch": (3, 3),
        "disposal": (2, 2),
        "disposal-in-time": (2, 2),
        "overdue": (0, 2),
        "closing": (1, 2),
        "rework": (0, 2),
        "extension": (0, 2),
        "handling-time": (2, 2),
    }
    assert all(one["formula"]["zh"] for one in page["definitions"])
    for figure in group["kpis"].values():
        for part in ("numerator", "denominator"):
            behind = (await client.get(figure[f"{part}_url"])).json()
            assert behind["count"] == len(behind["incidents"]) == figure[part]
    closing = (await client.get(group["kpis"]["closing"]["numerator_url"])).json()
    assert [one["id"] for one in closing["incidents"]] == [ids[0]]


async def test_groups_link_to_their_own_cases(site: Any, client: httpx.AsyncClient) -> None:
    site.apply(*(site.event(n, thing=f"m-{n}", north_m=n * 50) for n in range(2)))
    page = (await client.get("/kpis", params={"group_by": "unit"})).json()
    for group in page["groups"]:
        behind = (await client.get(group["kpis"]["filing"]["denominator_url"])).json()
        assert {one["unit_id"] for one in behind["incidents"]} == {group["key"]}


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/kpis?group_by=mood", 422, "none, district"),
        ("/kpis?status=open", 422, "unknown parameter"),
        ("/kpis/happiness/incidents", 404, "filing, dispatch"),
        ("/kpis/filing/incidents?part=half", 422, "numerator, denominator"),
    ],
)
async def test_what_cannot_be_asked(
    client: httpx.AsyncClient, path: str, status: int, words: str
) -> None:
    answer = await client.get(path)
    assert answer.status_code == status
    assert words in answer.json()["detail"]


async def test_no_cases_no_figures(client: httpx.AsyncClient) -> None:
    page = (await client.get("/kpis")).json()
    assert [one["value"] for one in page["groups"][0]["kpis"].values()] == [None] * 9
