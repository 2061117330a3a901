"""The map, events, quarantine, health, the page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest
import shapely

from api import evidence_files
from api.live import CameraState
from api.query import area_prefix
from core.city import CameraPose
from core.events import Edge
from core.ports import Rejection, decode_rejections
from core.snapshots import picture_name
from geo.camera import FlatGroundProjector
from geo.crs import wgs84_to_gcj02
from store.things import Thing


async def test_tagging(client: httpx.AsyncClient) -> None:
    answer = await client.post("/geo/tag", json={"points": [[120.3846, 36.0614], [0.0, 0.0]]})
    inside, outside = answer.json()["places"]
    assert inside["district_code"] == "370202"
    assert len(inside["community_code"]) == 12
    assert outside["district_code"] is None
    assert outside["unplaced"]
    assert (await client.post("/geo/tag", json={"points": []})).json() == {"places": []}


async def test_layers(site: Any, client: httpx.AsyncClient) -> None:
    listed = (await client.get("/layers")).json()
    assert {one["role"] for one in listed} >= {"district", "community", "zone", "airspace"}
    for one in listed:
        answer = await client.get(one["url"])
        assert answer.headers["content-type"] == "application/geo+json"
        assert len(answer.json()["features"]) == one["feature_count"]
        again = await client.get(one["url"], headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def a_thing(name: str, kind: str = "aircraft", observed_ns: int = 5) -> Thing:
    return Thing(thing_id=name, kind=kind, observed_ns=observed_ns, lon_deg=120.38, lat_deg=36.06)


async def test_things_fall_silent(site: Any, client: httpx.AsyncClient) -> None:
    site.store.upsert_things([a_thing("a-1"), a_thing("a-2"), a_thing("d-1", "dock")])
    site.live.update_things([a_thing("a-2", observed_ns=6)])

    async def states() -> dict[str, Any]:
        things = (await client.get("/things?kind=aircraft")).json()["things"]
        return {one["thing_id"]: one["state"] for one in things}

    assert await states() == {"a-1": None, "a-2": "live"}
    for after_s, state in ((179, "live"), (200, "late"), (700, "stale")):
        site.clock.advance_to(site.event().at_ns + after_s * 10**9)
        site.live.refresh()
        assert (await states())["a-2"] == state
    assert len((await client.get("/things")).json()["things"]) == 3


async def test_things_without_a_live_picture(
    make_site: Callable[..., Any], connect: Callable[[Any], httpx.AsyncClient]
) -> None:
    site = make_site(live=None, static_dir=None)
    site.store.upsert_things([a_thing("a-1")])
    async with connect(site) as client:
        [one] = (await client.get("/things")).json()["things"]
        assert (one["thing_id"], one["state"]) == ("a-1", None)
        assert one["observed_at"] == "1970-01-01T00:00:00.000Z"
        cameras = (await client.get("/cameras")).json()["cameras"]
        assert {camera["state"] for camera in cameras} == {None}
        assert (await client.get("/nothing.js")).status_code == 404


async def test_cameras_and_pictures(site: Any, client: httpx.AsyncClient) -> None:
    (site.folder / "snapshots" / "camera-1").mkdir()
    (site.folder / "snapshots" / "camera-1" / "7.jpg").write_bytes(b"\xff\xd8")
    state = CameraState(
        camera_id="camera-1",
        last_frame_ns=site.clock.now_ns(),
        frames_per_s=5.0,
        skipped_ratio=0.4,
        snapshot="camera-1/7.jpg",
    )
    site.live.update_cameras([state])
    cameras = {one["camera_id"]: one for one in (await client.get("/cameras")).json()["cameras"]}
    assert cameras["camera-1"]["state"] == "live"
    assert cameras["camera-1"]["skipped_ratio"] == 0.4
    assert cameras["camera-1"]["pose"]["width_px"] == 640
    assert cameras["camera-air-1"]["flies"] is True
    picture = await client.get(cameras["camera-1"]["snapshot_url"])
    assert (picture.content, picture.headers["content-type"]) == (b"\xff\xd8", "image/jpeg")


@pytest.mark.parametrize(
    "path",
    [
        "nothing.jpg",
        "../secret.jpg",
        "..%2fsecret.jpg",
        "%2e%2e/secret.jpg",
        "camera-1/../../secret.jpg",
        "%2Fetc/passwd",
        "link.jpg",
        "notes.txt",
        "a%00.jpg",
        "..%5csecret.jpg",
        "folder.jpg",
        "x" * 5000 + ".jpg",
        "",
    ],
)
async def test_no_way_out_of_the_pictures(site: Any, client: httpx.AsyncClient, path: str) -> None:
    (site.folder / "secret.jpg").write_bytes(b"secret")
    folder = site.folder / "snapshots"
    (folder / "notes.txt").write_text("notes")
    (folder / "folder.jpg").mkdir()
    (folder / "link.jpg").symlink_to(site.folder / "secret.jpg")
    answer = await client.get(f"http://qingniao.test/snapshots/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def a_name(site: Any, age_s: float = 0.0, camera: str = "camera-1") -> str:
    return picture_name(camera, site.clock.now_ns() - round(age_s * 1e9), 3, "new")


async def test_a_picture_that_is_being_made_is_waited_for(
    site: Any, client: httpx.AsyncClient
) -> None:
    name = a_name(site)
    asked = asyncio.create_task(client.get(f"/snapshots/{name}"))
    await asyncio.sleep(3 * evidence_files.LOOK_S)
    assert not asked.done()
    file = site.folder / "snapshots" / name
    file.parent.mkdir()
    file.with_suffix(".part").write_bytes(b"\xff\xd8picture")
    file.with_suffix(".part").replace(file)
    answer = await asked
    assert (answer.status_code, answer.content) == (200, b"\xff\xd8picture")


async def test_a_picture_that_does_not_come_is_told_as_not_yet(
    site: Any, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_files, "WAIT_S", 0.1)
    answer = await client.get(f"/snapshots/{a_name(site, 70.0)}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["type"] == "urn:qingniao:problem:not-yet"
    # When so many wait already, at once.
    monkeypatch.setattr(evidence_files, "WAIT_S", 3600.0)
    monkeypatch.setattr(evidence_files, "MAX_WAITING", 0)
    assert (await client.get(f"/snapshots/{a_name(site)}")).status_code == 503


@pytest.mark.parametrize(
    "wanted", [{"age_s": 121.0}, {"age_s": -121.0}, {"camera": "no-camera"}], ids=str
)
async def test_what_is_not_to_be_expected_is_not_waited_for(
    site: Any, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, Any]
) -> None:
    monkeypatch.setattr(evidence_files, "WAIT_S", 3600.0)
    assert (await client.get(f"/snapshots/{a_name(site, **wanted)}")).status_code == 404


async def test_events(site: Any, client: httpx.AsyncClient) -> None:
    site.apply(site.event(30))
    site.apply(site.event(50, Edge.CLEAR, thing="nobody"))
    listed = (await client.get("/events")).json()["events"]
    assert [one["edge"] for one in listed] == ["clear", "raise"]
    assert listed[0]["incident_id"] is None
    for query, count in (
        ("edge=raise", 1),
        ("thing=nobody", 1),
        (f"incident={listed[1]['incident_id']}", 1),
        ("bbox=0,0,1,1", 0),
        ("scenario=manhole-cover&limit=1", 1),
    ):
        assert len((await client.get(f"/events?{query}")).json()["events"]) == count, query


async def test_quarantine(site: Any, client: httpx.AsyncClient) -> None:
    payloads = [b'{"a":', b"\xff\xfe", "青".encode() * 1000]
    site.store.add_rejections(
        Rejection(
            topic="qn/qingdao/sensor/w",
            reason="bad_json",
            detail="an object was wanted",
            payload=payload,
            payload_bytes=len(payload),
            received_ns=n,
        )
        for n, payload in enumerate(payloads)
    )
    answer = (await client.get("/quarantine?limit=10&reason=bad_json")).json()
    assert answer["counts"] == {"bad_json": 3}
    shown = [(one["payload_encoding"], one["payload_bytes"]) for one in answer["rejections"]]
    assert shown == [("utf-8", 3000), ("base64", 2), ("utf-8", 5)]
    assert answer["rejections"][0]["payload"].startswith("青青")


async def test_redrive(site: Any, client: httpx.AsyncClient, auth: dict[str, str]) -> None:
    def a_rejection(n: int, payload: bytes, more: int = 0) -> Rejection:
        return Rejection(
            topic="qn/qingdao/sensor/w",
            reason="bad_json" if n % 2 else "no_codec",
            detail="d",
            payload=payload,
            payload_bytes=len(payload) + more,
            received_ns=n,
        )

    kept = [a_rejection(n, b"%d" % n) for n in range(5)] + [a_rejection(7, b"{", more=1)]
    site.store.add_rejections(kept)

    async def ask(**body: Any) -> dict[str, Any]:
        answer = await client.post("/quarantine/redrive", json=body, headers=auth)
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    assert (await client.post("/quarantine/redrive", json={})).status_code == 401
    counted = await ask()
    assert (counted["counts"], counted["cut"]) == ({"no_codec": 3, "bad_json": 2}, 1)
    assert (counted["done"], site.sent) == (True, [])
    first = await ask(apply=True, limit=4)
    assert (sum(first["counts"].values()), first["done"]) == (4, False)
    site.store.add_rejections([a_rejection(9, b"comes meanwhile")])
    rest = await ask(apply=True, limit=4, after=first["after"], upto=first["upto"])
    assert (rest["counts"], rest["cut"], rest["done"]) == ({"no_codec": 1}, 1, True)
    assert [topic for topic, _ in site.sent] == [
        f"qn/{site.city.name}/redrive/{one.digest}" for one in kept[:5]
    ]
    assert [decode_rejections(payload) for _, payload in site.sent] == [[one] for one in kept[:5]]
    assert (await ask(reason="no_codec"))["counts"] == {"no_codec": 3}


async def test_scenarios(client: httpx.AsyncClient) -> None:
    document = (await client.get("/scenarios")).json()
    names = {one["id"] for one in document["scenarios"]}
    assert {"road-flooding", "illegal-parking", "unidentified-aircraft"} <= names
    assert document["statuses"]["closed"]["zh"] == "已结案"


async def test_health_names_the_part_that_fails(site: Any, client: httpx.AsyncClient) -> None:
    await site.app.state.hub.start()
    try:
        assert (await client.get("/healthz")).json()["status"] == "ok"
        site.live.update_part("broker", False, "no connection since 12 s")
        answer = await client.get("/healthz")
        assert answer.status_code == 503
        parts = answer.json()["parts"]
        assert parts["broker"] == {"ok": False, "detail": "no connection since 12 s"}
        assert parts["store"]["ok"]
    finally:
        await site.app.state.hub.stop()


async def test_metrics_count_routes_by_template(site: Any, client: httpx.AsyncClient) -> None:
    for path in ("/incidents/a", "/incidents/b", "/nothing"):
        await client.get(path)
    text = (await client.get("/metrics")).text
    counted = 'qingniao_http_requests_total{method="GET",route="%s",status="404"} %s'
    assert counted % ("/incidents/{incident_id}", "2.0") in text
    assert counted % ("other", "1.0") in text


async def test_figures(site: Any, client: httpx.AsyncClient) -> None:
    site.apply(site.event(30))
    site.live.update_figures({"observations_per_s": 12.5})
    figures = (await client.get("/figures")).json()
    assert figures["incidents_open"] == 1
    assert figures["observations_per_s"] == 12.5
    assert figures["city_time"] == "2026-01-01T02:00:00.000Z"


async def test_the_page(site: Any, client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert "make web" in answer.text
    dist = site.folder / "dist"
    (dist / "assets").mkdir(parents=True)
    (dist / "index.html").write_text("<html>built</html>")
    (dist / "assets" / "app-1.js").write_text("1")
    answer = await client.get("/")
    assert "built" in answer.text
    assert "worker-src 'self' blob:" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    answer = await client.get("/assets/app-1.js")
    assert "immutable" in answer.headers["cache-control"]
    assert (await client.get("/assets/nothing.js")).status_code == 404
    assert (await client.get("/%2e%2e/store.sqlite3")).status_code == 404


async def test_openapi_describes_every_route(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    json.dumps(document)
    assert "opened_at" in document["components"]["schemas"]["Incident"]["properties"]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
    names = {one["name"] for one in document["paths"]["/incidents"]["get"]["parameters"]}
    assert {"bbox", "area", "from", "to", "limit", "cursor"} <= names


async def test_points_of_other_systems_with_errors_altitudes_and_everything(
    client: httpx.AsyncClient,
) -> None:
    lon, lat = wgs84_to_gcj02(120.3846, 36.0614)
    body = {
        "points": [[float(lon), float(lat)], [1.0, 1.0]],
        "crs": "GCJ-02",
        "altitudes_m": [50.0, None],
        "datum": "wgs84",
        "errors_m": [30.0, None],
        "time": "2026-07-01T00:00:00Z",
        "detail": "full",
    }
    answer = await client.post("/geo/tag", json=body)
    assert answer.status_code == 200
    first, second = answer.json()["places"]
    assert first["lon_deg"] == pytest.approx(120.3846, abs=1e-8)
    assert first["beidou_code"] == "N51J001831A024117221"
    assert len(first["beidou_code_3d"]) == 32
    assert len(first["grid_shares"]) > 1
    assert first["generated"] is True
    assert second["unknown"]["grid_code"] == "outside_city"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"errors_m": [1.0, 2.0]}, "body.errors_m: one value for each of the 1 points"),
        ({"crs": "mars"}, "EPSG:<number>, GCJ-02 or BD-09 was wanted"),
        ({"time": "soon"}, "soon"),
        ({"crs": "EPSG:4549", "points": [[1e12, 1e12]]}, "body.points[0]"),
    ],
)
async def test_wrong_questions_are_told(
    client: httpx.AsyncClient, more: dict[str, object], words: str
) -> None:
    answer = await client.post("/geo/tag", json={"points": [[120.0, 36.0]]} | more)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_an_area_of_former_years_is_the_one_of_today() -> None:
    table = {"370282*": "370215*"}
    assert area_prefix("370282003", table) == "370215003"
    assert area_prefix("3702", table) == "3702"
    assert area_prefix(None, table) == ""


async def test_a_camera_shows_its_live_picture_and_says_how_it_is(
    site: Any, client: httpx.AsyncClient
) -> None:
    (site.folder / "snapshots" / "camera-1").mkdir()
    (site.folder / "snapshots" / "camera-1" / "live.jpg").write_bytes(b"\xff\xd8live")

    async def shown(**more: Any) -> dict[str, Any]:
        now_ns = site.clock.now_ns()
        given = {"last_frame_ns": now_ns, "frames_per_s": 5.0, "live_ns": now_ns} | more
        site.live.update_cameras([CameraState(camera_id="camera-1", **given)])
        cameras = (await client.get("/cameras")).json()["cameras"]
        return next(one for one in cameras if one["camera_id"] == "camera-1")

    live = await shown(live="camera-1/live.jpg", skipped_ratio=0.25)
    assert (live["state"], live["skipped_ratio"]) == ("live", 0.25)
    assert (await client.get(live["live_url"])).content == b"\xff\xd8live"
    # A newer picture has another address: the browser keeps no old one for it.
    site.clock.advance_to(site.clock.now_ns() + 3_000_000_000)
    assert (await shown(live="camera-1/live.jpg"))["live_url"] != live["live_url"]
    lying = await shown(lying=True, quality="frozen")
    assert (lying["state"], lying["quality"], lying["live_url"]) == ("lying", "frozen", None)
    silent_ns = site.clock.now_ns() - 600_000_000_000
    assert (await shown(lying=True, last_frame_ns=silent_ns))["state"] == "stale"


async def test_the_clip_of_a_thing_comes_with_its_incident(
    site: Any, client: httpx.AsyncClient
) -> None:
    site.apply(site.event(30, thing="camera-1/1767225611"), site.event(31, thing="camera-1/9"))
    [one] = (await client.get("/incidents")).json()["incidents"]
    assert (await client.get(f"/incidents/{one['id']}")).json()["clips"] == []
    (site.folder / "snapshots" / "camera-1").mkdir()
    clip = bytes(range(256)) * 4
    (site.folder / "snapshots" / "camera-1" / "1767225611.webm").write_bytes(clip)
    [name] = (await client.get(f"/incidents/{one['id']}")).json()["clips"]
    whole = await client.get(f"/snapshots/{name}")
    assert (whole.content, whole.headers["content-type"]) == (clip, "video/webm")
    assert whole.headers["accept-ranges"] == "bytes"
    part = await client.get(f"/snapshots/{name}", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, clip[10:20])
    assert part.headers["content-range"] == "bytes 10-19/1024"
    beyond = await client.get(f"/snapshots/{name}", headers={"Range": "bytes=5000-"})
    assert beyond.status_code == 416


async def test_a_cameras_footprint_is_what_its_picture_shows_also_in_flight(
    site: Any, client: httpx.AsyncClient
) -> None:
    async def camera(camera_id: str) -> dict[str, Any]:
        cameras = (await client.get("/cameras")).json()["cameras"]
        return next(one for one in cameras if one["camera_id"] == camera_id)

    fixed = await camera("camera-1")
    told = shapely.from_geojson(json.dumps(fixed["footprint"]))
    shown = FlatGroundProjector().footprint(site.city.cameras["camera-1"].pose)
    assert told.symmetric_difference(shown).area < 0.01 * shown.area
    assert (await camera("camera-air-1"))["footprint"] is None
    pose = CameraPose(
        lon_deg=120.39, lat_deg=36.07, height_agl_m=60.0, yaw_deg=0.0, pitch_deg=-90.0,
        hfov_deg=70.0, width_px=640, height_px=360,
    )  # fmt: skip
    flying = CameraState(camera_id="camera-air-1", last_frame_ns=site.clock.now_ns(), pose=pose)
    site.live.update_cameras([flying])
    seen = await camera("camera-air-1")
    assert (seen["lon_deg"], seen["lat_deg"]) == (120.39, 36.07)
    assert shapely.from_geojson(json.dumps(seen["footprint"])).contains(
        shapely.Point(120.39, 36.07)
    )
    upwards = msgspec.structs.replace(pose, pitch_deg=30.0)
    site.live.update_cameras([msgspec.structs.replace(flying, pose=upwards)])
    assert (await camera("camera-air-1"))["footprint"] is None
