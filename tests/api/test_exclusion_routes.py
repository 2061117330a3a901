"""Exclusions are published like any message, and listed as the decisions know them."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from core.events import EventBatch
from core.exclusions import Exclusion, decode_exclusion
from core.observations import Stamp


def published(site: Any, number: int = -1) -> Exclusion:
    message = dict(site.published[number])
    topic = message.pop("topic")
    one = decode_exclusion(msgspec.json.encode(message))
    assert topic.endswith(f"/exclusion/{one.id}")
    return one


def take(site: Any, one: Exclusion) -> None:
    """What the pipeline does with the message."""
    stamp = Stamp(
        ingest_id="i", sequence=1, partition=0, watermark_ns=one.at_ns, logged_ns=one.at_ns
    )
    site.store.apply([EventBatch(stamp=stamp, exclusions=(one,))], 0)


BODY = {
    "kind": "permit",
    "subject": "night_work",
    "until": "2026-01-01T20:00:00+08:00",
    "reason": "夜间浇筑",
    "actor": "住建局",
    "circle": {"lon": 120.3846, "lat": 36.0614, "radius_m": 80},
}


async def test_the_life_of_a_permit(
    site: Any, client: httpx.AsyncClient, auth: dict[str, str]
) -> None:
    made = await client.post("/exclusions", json=BODY, headers=auth | {"Idempotency-Key": "k"})
    assert made.status_code == 202, made.text
    one = published(site)
    assert made.headers["location"] == f"/exclusions/{one.id}"
    assert (await client.get("/exclusions")).json() == {"exclusions": []}
    take(site, one)
    again = await client.post("/exclusions", json=BODY, headers=auth | {"Idempotency-Key": "k"})
    assert again.json() == made.json()
    assert len(site.published) == 1
    [listed] = (await client.get("/exclusions")).json()["exclusions"]
    assert (listed["state"], listed["revision"], listed["excluded_count"]) == ("in_force", 1, 0)
    assert listed["until_at"] == "2026-01-01T12:00:00.000Z"
    assert "holds until 2026-01-01 20:00: 夜间浇筑" in listed["explanation"]["en"]

    site.clock.advance_to(site.clock.now_ns() + 60 * 10**9)
    ended = await client.patch(f"/exclusions/{one.id}", json={"actor": "desk"}, headers=auth)
    assert ended.status_code == 202, ended.text
    take(site, published(site))
    assert (await client.get("/exclusions")).json() == {"exclusions": []}
    detail = (await client.get(f"/exclusions/{one.id}")).json()
    assert (detail["state"], detail["actor"], detail["left_out"]) == ("ended", "desk", [])
    assert [version["actor"] for version in detail["versions"]] == ["住建局", "desk"]
    everything = (await client.get("/exclusions?state=all")).json()["exclusions"]
    assert [row["id"] for row in everything] == [one.id]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "licence"}, "permit"),
        ({"until": "2020-01-01T00:00:00Z"}, "interval"),
        ({"until": "2026-01-01T20:00:00"}, "offset"),
        ({"subject": ""}, "subject"),
        ({"scenarios": ["none"]}, "night-work"),
        ({"circle": None}, "scope"),
        ({"polygon": [[120.0, 36.0]]}, "one of them"),
        ({"who": "x"}, "who"),
    ],
)
async def test_refusals(
    site: Any, client: httpx.AsyncClient, auth: dict[str, str], changes: Any, words: str
) -> None:
    refused = await client.post("/exclusions", json=BODY | changes, headers=auth)
    assert refused.status_code == 422
    assert words in refused.json()["detail"]
    assert site.published == []


async def test_writing_needs_the_token_and_a_broker(
    site: Any, client: httpx.AsyncClient, auth: dict[str, str]
) -> None:
    assert (await client.post("/exclusions", json=BODY)).status_code == 401
    assert (await client.patch("/exclusions/x", json={"actor": "a"})).status_code == 401
    answer = await client.patch("/exclusions/x", json={"actor": "a"}, headers=auth)
    assert answer.status_code == 404
    assert (await client.get("/exclusions/%00")).status_code == 404
    assert (await client.get("/exclusions?state=x")).status_code == 422
    site.publish_error = ConnectionRefusedError("no broker")
    assert (await client.post("/exclusions", json=BODY, headers=auth)).status_code == 503
