"""Reading incidents and taking steps over HTTP."""

from __future__ import annotations

from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from core.events import Edge
from core.units import rfc3339_to_ns


async def test_an_empty_list(client: httpx.AsyncClient) -> None:
    answer = await client.get("/incidents")
    assert answer.status_code == 200
    assert answer.json() == {"incidents": [], "next": None}


async def test_list_and_detail(site: Any, client: httpx.AsyncClient) -> None:
    site.apply(site.event(30), site.event(40, Edge.STILL))
    listed = (await client.get("/incidents", params={"bbox": "120,36,121,37"})).json()
    [one] = listed["incidents"]
    assert one["scenario"] == "manhole-cover"
    assert one["case_number"] == "QD-20260101-000001"
    assert one["place"]["district_code"] == "370202"
    assert one["explanation"]["zh"].startswith("为何立案")
    assert not any(name.endswith("_ns") for name in one)
    answer = await client.get(f"/incidents/{one['id']}")
    detail = answer.json()
    assert {name: detail[name] for name in one} == one
    assert [word["edge"] for word in detail["evidence"]] == ["raise", "still"]
    assert detail["evidence"][0]["at_ns"] == site.event(30).at_ns
    assert [line["action"] for line in detail["history"]] == ["collect", "file", "dispatch"]
    assert detail["transitions"] == [
        "accept",
        "handle",
        "return",
        "cancel",
        "extend",
        "supervise",
    ]
    assert answer.headers["etag"] == '"2"'


async def test_incidents_that_are_part_of_another(site: Any, client: httpx.AsyncClient) -> None:
    site.apply(site.event(30))
    [one] = (await client.get("/incidents")).json()["incidents"]
    assert one["parent_id"] is None
    answer = await client.get("/incidents", params={"parent": one["id"]})
    assert answer.json() == {"incidents": [], "next": None}


async def test_geojson(site: Any, client: httpx.AsyncClient) -> None:
    site.apply(*(site.event(n, thing=f"m-{n}", north_m=n * 50) for n in range(3)))
    for request in (
        {"params": {"format": "geojson", "limit": 2}},
        {"params": {"limit": 2}, "headers": {"Accept": "application/geo+json"}},
    ):
        answer = await client.get("/incidents", **request)
        assert answer.headers["content-type"] == "application/geo+json"
        page = answer.json()
        assert (page["type"], page["numberReturned"]) == ("FeatureCollection", 2)
        feature = page["features"][0]
        assert feature["geometry"]["coordinates"] == [
            feature["properties"]["place"]["lon_deg"],
            feature["properties"]["place"]["lat_deg"],
        ]
        [following] = [link["href"] for link in page["links"] if link["rel"] == "next"]
        rest = (await client.get(following, headers=request.get("headers"))).json()
        assert len(rest["features"]) == 1


async def test_pages(site: Any, client: httpx.AsyncClient) -> None:
    site.apply(*(site.event(n, thing=f"m-{n}", north_m=n * 50) for n in range(5)))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/incidents", params=params)).json()
        seen += [one["id"] for one in page["incidents"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 5


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("area=370202", 1),
        ("area=3703", 0),
        ("status=open", 1),
        ("status=open,closed", 1),
        ("status=closed", 0),
        ("severity=extreme,minor", 0),
        ("scenario=manhole-cover", 1),
        ("department=nobody", 0),
        ("thing=manhole-1", 1),
        ("from=2026-01-01T10:00:31%2B08:00&to=2026-01-01T02:00:31Z", 1),
        ("from=2026-01-01T10:00:31+08:00", 1),
        ("datetime=2026-01-01T02:00:31Z", 1),
        ("datetime=../2026-01-01T02:00:30Z", 0),
        ("datetime=2026-01-01T02:00:30Z/..", 1),
        ("bbox=179,-10,-179,10", 0),
    ],
)
async def test_filters(site: Any, client: httpx.AsyncClient, query: str, count: int) -> None:
    site.apply(site.event(30))
    answer = await client.get(f"/incidents?{query}")
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["incidents"]) == count


async def test_a_step(site: Any, client: httpx.AsyncClient, auth: dict[str, str]) -> None:
    [change] = site.apply(site.event(30))
    site.clock.advance_to(change.incident.opened_ns + 5_000_000_000)
    url = f"/incidents/{change.incident.id}/transitions"
    body = {"action": "accept", "version": 1, "actor": "worker-x", "role": "worker"}
    headers = auth | {"Idempotency-Key": "k-1"}
    answer = await client.post(url, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    one = answer.json()
    assert (one["status"], one["version"]) == ("handling", 2)
    assert one["transitions"][:4] == ["handle", "feedback", "return", "cancel"]
    again = await client.post(url, json=body, headers=headers)
    assert again.json() == one
    detail = (await client.get(f"/incidents/{one['id']}")).json()
    assert detail["history"][-1]["actor"] == "worker-x"
    assert detail["history"][-1]["at"] == "2026-01-01T02:00:36.000Z"
    late = await client.post(url, json=body, headers=auth)
    assert late.status_code == 409
    assert late.json()["type"] == "urn:qingniao:problem:conflict"


def a_jpeg(width_px: int, height_px: int) -> bytes:
    picture = np.random.default_rng(7).integers(0, 255, (height_px, width_px, 3), np.uint8)
    return cv2.imencode(".jpg", picture)[1].tobytes()


async def test_a_picture_is_brought_named_and_shown(
    site: Any, client: httpx.AsyncClient, auth: dict[str, str]
) -> None:
    [change] = site.apply(site.event(30))
    url = f"/incidents/{change.incident.id}"
    # An Exif segment, as phones write it, right after the start of the picture.
    exif = (
        b"\xff\xe1" + (2 + 6 + 40).to_bytes(2, "big") + b"Exif\0\0" + b"GPS 36.06 120.38".ljust(40)
    )
    whole = a_jpeg(2000, 300)
    answer = await client.post(f"{url}/photos", content=whole[:2] + exif + whole[2:], headers=auth)
    assert answer.status_code == 201, answer.text
    name = answer.json()["photo"]
    shown = await client.get(answer.json()["url"])
    assert shown.status_code == 200
    assert b"GPS" not in shown.content
    assert cv2.imdecode(np.frombuffer(shown.content, np.uint8), 1).shape == (240, 1600, 3)
    again = await client.post(f"{url}/photos", content=whole, headers=auth)
    assert again.json()["photo"] == name
    for action, photos in (("accept", []), ("feedback", [name])):
        body = {"action": action, "photos": photos}
        step = await client.post(f"{url}/transitions", json=body, headers=auth)
        assert step.status_code == 200, step.text
    assert step.json()["after_photos"] == [name]
    assert (await client.get(url)).json()["history"][-1]["photos"] == [name]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not_jpeg"),
        (b"GIF89a", "not_jpeg"),
        (a_jpeg(64, 64)[:-50], "truncated_jpeg"),
        (b"\xff\xd8\xff\xd9" * 9, "was wanted"),
    ],
)
async def test_what_is_no_picture_is_refused(
    site: Any, client: httpx.AsyncClient, auth: dict[str, str], content: bytes, words: str
) -> None:
    [change] = site.apply(site.event(30))
    url = f"/incidents/{change.incident.id}/photos"
    answer = await client.post(url, content=content, headers=auth)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert (await client.post(url, content=content)).status_code == 401
    missing = await client.post("/incidents/none/photos", content=a_jpeg(8, 8), headers=auth)
    assert missing.status_code == 404
    assert not list(site.folder.rglob("cases/*"))


async def test_a_step_takes_only_pictures_of_its_case(
    site: Any, client: httpx.AsyncClient, auth: dict[str, str]
) -> None:
    [one] = site.apply(site.event(30))
    for name in ("cases/other/1.jpg", f"cases/{one.incident.id}/../../x.jpg", "camera-1/1.jpg"):
        answer = await client.post(
            f"/incidents/{one.incident.id}/transitions",
            json={"action": "accept", "photos": [name]},
            headers=auth,
        )
        assert answer.status_code == 422
        assert "body.photos" in answer.json()["detail"]


async def test_more_time(site: Any, client: httpx.AsyncClient, auth: dict[str, str]) -> None:
    [change] = site.apply(site.event(30))
    url = f"/incidents/{change.incident.id}/transitions"
    for body, status in (
        ({"action": "extend", "reason": "等备件", "extension_s": 10}, 422),
        ({"action": "extend", "reason": "等备件", "extension_s": 7200}, 200),
        ({"action": "grant"}, 200),
        ({"action": "grant"}, 409),
    ):
        answer = await client.post(url, json=body, headers=auth)
        assert answer.status_code == status, answer.text
    one = (await client.get(f"/incidents/{change.incident.id}")).json()
    assert one["extension_count"] == 1
    moved_ns = rfc3339_to_ns(one["deadline_at"]) - change.incident.deadline_ns
    assert moved_ns >= 7200 * 10**9


async def test_a_report_takes_the_way_of_any_source(
    site: Any, client: httpx.AsyncClient, auth: dict[str, str]
) -> None:
    scenario = next(one.id for one in site.store.scenarios.values() if one.accepts_reports)
    place = site.event().place
    body = {"scenario": scenario, "lon": place.lon_deg, "lat": place.lat_deg, "text": "井盖没了"}
    body["error_m"] = 6.5
    headers = auth | {"Idempotency-Key": "r-1"}
    answer = await client.post("/reports", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    where = answer.headers["location"]
    report_id = answer.json()["id"]
    assert where == f"/reports/{report_id}"
    [message] = site.published
    assert message["thing"] == f"report/{report_id}"
    assert message["labels"] == {"scenario": scenario, "text": "井盖没了"}
    assert (message["kind"], message["time"]) == ("report", "2026-01-01T02:00:00.000Z")
    assert message["error_m"] == 6.5
    assert (await client.get(where)).json()["status"] == "accepted"
    # The same request again, later: the same message, which the pipeline drops as seen.
    site.clock.advance_to(site.clock.now_ns() + 10**9)
    assert (await client.post("/reports", json=body, headers=headers)).status_code == 202
    assert site.published == [message, message]
    other = await client.post("/reports", json=body | {"text": "x"}, headers=headers)
    assert other.status_code == 409

    [change] = site.apply(
        site.event(1, thing=message["thing"], scenario=scenario, rule=f"{scenario}/report")
    )
    found = (await client.get(where)).json()
    assert (found["status"], found["incident_id"]) == ("matched", change.incident.id)


async def test_a_broker_that_is_away(
    site: Any, client: httpx.AsyncClient, auth: dict[str, str]
) -> None:
    scenario = next(one.id for one in site.store.scenarios.values() if one.accepts_reports)
    place = site.event().place
    body = {"scenario": scenario, "lon": place.lon_deg, "lat": place.lat_deg}
    site.publish_error = ConnectionRefusedError("no broker")
    answer = await client.post("/reports", json=body, headers=auth | {"Idempotency-Key": "r"})
    assert answer.status_code == 503
    assert "same Idempotency-Key" in answer.json()["detail"]
    site.publish_error = None
    answer = await client.post("/reports", json=body, headers=auth | {"Idempotency-Key": "r"})
    assert answer.status_code == 202
    assert len(site.published) == 1


async def test_the_explanation_says_who_else_did_not_get_it(
    site: Any, client: httpx.AsyncClient
) -> None:
    [change] = site.apply(site.event(30))
    told = (await client.get(f"/incidents/{change.incident.id}/explanation")).json()
    assert told["explanation"]["en"] == change.incident.explanation.en
    assert told["rules_met"] == ["manhole-cover/tilt"]
    others = {one["id"]: one["why_not"]["en"] for one in told["receivers_not_chosen"]}
    assert others
    assert change.incident.unit_id not in others
    assert (await client.get("/incidents/none/explanation")).status_code == 404
