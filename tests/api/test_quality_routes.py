"""A verdict moves the case, is kept, and is counted against the rule that raised it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest


async def judge(
    client: httpx.AsyncClient, auth: dict[str, str], case: str, **body: Any
) -> httpx.Response:
    return await client.post(f"/incidents/{case}/verdict", json=body, headers=auth)


async def test_verdicts_move_cases_and_are_counted(
    site: Any, client: httpx.AsyncClient, auth: dict[str, str]
) -> None:
    opened = site.apply(*(site.event(n, thing=f"m-{n}", north_m=n * 50) for n in range(4)))
    ids = [one.incident.id for one in opened]
    site.clock.advance_to(opened[-1].incident.opened_ns)
    first = await judge(client, auth, ids[0], verdict="not_an_issue", note="井盖完好")
    assert first.status_code == 200, first.text
    assert (first.json()["status"], first.json()["verdict"]) == ("cancelled", "not_an_issue")
    second = await judge(
        client, auth, ids[1], verdict="wrong_owner", role="worker", actor="worker-1"
    )
    assert (second.json()["status"], second.json().get("worker_id")) == ("filed", None)
    third = await judge(client, auth, ids[2], verdict="duplicate", duplicate_of=ids[3])
    assert third.json()["status"] == "cancelled"
    lon, lat = opened[3].incident.place.lon_deg, opened[3].incident.place.lat_deg
    fourth = await judge(client, auth, ids[3], verdict="wrong_place", lon=lon, lat=lat + 0.0005)
    assert fourth.json()["place"]["lat_deg"] == lat + 0.0005
    assert fourth.json()["place"]["district_code"] == "370202"
    detail = (await client.get(f"/incidents/{ids[0]}")).json()
    assert [line["action"] for line in detail["history"]][3:] == ["cancel", "verdict"]
    [rule] = (await client.get("/quality/rules")).json()["rules"]
    assert rule == {
        "id": "manhole-cover/tilt",
        "precision_ratio": 0.0,
        "real": 0,
        "false": 1,
        "duplicate": 1,
        "pending": 2,
        "wrong_place": 1,
        "wrong_owner": 1,
    }
    sources = (await client.get("/quality/sources?days=1")).json()
    assert [one["id"] for one in sources["things"]] == ["m-0", "m-1", "m-2", "m-3"]
    assert (await client.get("/quality/proposals")).json() == {
        "proposals": [],
        "masks": [],
    }


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"verdict": "bad"}, 422, "not_an_issue"),
        ({"verdict": "duplicate", "duplicate_of": "none"}, 404, "no other incident"),
        ({"verdict": "wrong_place", "lon": 120.0}, 422, "together"),
        ({"verdict": "wrong_owner", "lon": 120.0, "lat": 36.0}, 422, "wrong_place only"),
        ({"verdict": "not_an_issue", "role": "system"}, 422, "system"),
    ],
)
async def test_refusals(
    site: Any,
    client: httpx.AsyncClient,
    auth: dict[str, str],
    body: dict[str, Any],
    status: int,
    words: str,
) -> None:
    [one] = site.apply(site.event(30))
    answer = await judge(client, auth, one.incident.id, **body)
    assert answer.status_code == status
    assert words in answer.text
    assert site.store.get(one.incident.id) == one.incident


async def test_a_verdict_needs_the_token(site: Any, client: httpx.AsyncClient) -> None:
    [one] = site.apply(site.event(30))
    assert (await judge(client, {}, one.incident.id, verdict="duplicate")).status_code == 401
