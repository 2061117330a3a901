"""The page on the real API with a store behind it: both mean the same by what they say."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest
import uvicorn
from fake_city import DIST, TOKEN, Watched, street_picture
from fastapi import FastAPI
from playwright.sync_api import Browser, expect

from api.app import create_app
from api.live import CameraState, LiveState
from core.clock import ScaledClock
from core.events import Edge, Event, EventBatch, event_id
from core.incidents import Status
from core.observations import Stamp
from core.units import NS_PER_S, rfc3339_to_ns
from geo.city import City
from geo.tagging import Tagger
from scenarios.loader import load_packs
from store.cases import CaseStore
from store.database import migrate
from store.filters import IncidentFilter
from store.things import Thing

pytestmark = pytest.mark.browser

EPOCH_NS = rfc3339_to_ns("2026-05-20T08:30:00+08:00")


@contextmanager
def serve(app: FastAPI) -> Iterator[str]:
    config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline_s = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert server.started
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        app.state.hub.close()
        server.should_exit = True
        thread.join(20)


@dataclass
class Platform:
    url: str
    store: CaseStore
    city: City
    tagger: Tagger
    live: LiveState
    clock: ScaledClock
    sequence: int = 0

    def raise_event(self, scenario: str, rule: str, thing_id: str, kind: str) -> None:
        device = self.city.devices[thing_id]
        assert device.lon_deg is not None
        assert device.lat_deg is not None
        lon, lat = device.lon_deg, device.lat_deg
        now_ns = self.clock.now_ns()
        began_ns = now_ns - 95 * NS_PER_S
        event = Event(
            id=event_id(
                rule=rule, thing_id=thing_id, began_ns=began_ns, edge=Edge.RAISE, at_ns=now_ns
            ),
            scenario=scenario,
            rule=rule,
            edge=Edge.RAISE,
            source="plain",
            thing_id=thing_id,
            kind=kind,
            began_ns=began_ns,
            at_ns=now_ns,
            place=self.tagger.tag(np.array([lon]), np.array([lat])).place(0, lon, lat),
            because={
                "for_s": 20.0,
                "held_s": 95.0,
                "measure": "tilt_deg",
                "comparison": "at_least",
                "threshold": 15.0,
                "value": 22.5,
            },
            snapshots=("camera-1/one.jpg",),
        )
        self.sequence += 1
        stamp = Stamp(
            ingest_id="i",
            sequence=self.sequence,
            partition=0,
            watermark_ns=now_ns,
            logged_ns=now_ns,
        )
        self.store.apply([EventBatch(stamp=stamp, events=(event,))], now_ns)


@pytest.fixture
def platform(generated_city: City, tmp_path: Path) -> Iterator[Platform]:
    if not (DIST / "index.html").is_file():
        pytest.skip("web/dist is not built; run `make web`")
    city = generated_city
    snapshots = tmp_path / "snapshots"
    (snapshots / "camera-1").mkdir(parents=True)
    (snapshots / "camera-1" / "one.jpg").write_bytes(street_picture())
    url = f"sqlite:///{tmp_path / 'store.sqlite3'}"
    migrate(url)
    store = CaseStore(url, load_packs(None), city.units, city.workers, "370202")
    clock = ScaledClock(EPOCH_NS, 20.0)
    live = LiveState(clock)
    tagger = Tagger(city)
    app = create_app(
        store=store,
        city=city,
        tagger=tagger,
        clock=clock,
        token=TOKEN,
        snapshot_dir=snapshots,
        static_dir=DIST,
        live=live,
    )
    try:
        with serve(app) as address:
            yield Platform(address, store, city, tagger, live, clock)
    finally:
        store.close()


def test_the_page_on_the_api(chromium: Browser, platform: Platform) -> None:
    manholes = [one.thing_id for one in platform.city.devices.values() if one.kind == "manhole"]
    platform.raise_event("manhole-cover", "manhole-cover/tilt", manholes[0], "manhole")
    platform.live.update_figures({"observations_per_s": 412.5, "lag_s": 0.05, "frames_per_s": 4.0})
    platform.live.update_cameras(
        [CameraState(camera_id="camera-1", last_frame_ns=platform.clock.now_ns(), frames_per_s=2.0)]
    )
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, locale="zh-CN")
    try:
        page = context.new_page()
        watched = Watched(page, platform.url)
        page.goto(platform.url)
        expect(page.locator("#connection")).to_have_attribute("data-state", "live")
        cards = page.locator("#incidents .card")
        expect(cards).to_have_count(1)
        expect(cards.first).to_contain_text("井盖异常")
        expect(page.locator("#figure-observations")).to_have_text("413")
        expect(page.locator("#figure-open")).to_have_text("1")
        expect(page.locator("#city-clock")).to_have_text(re.compile(r"^08:3\d:\d\d$"))

        # A second case comes in over the stream, and so does an aircraft.
        platform.raise_event("manhole-cover", "manhole-cover/tilt", manholes[1], "manhole")
        platform.live.update_things(
            [
                Thing(
                    thing_id="1581F6Q8D23QN0001",
                    kind="aircraft",
                    observed_ns=platform.clock.now_ns(),
                    lon_deg=120.3846,
                    lat_deg=36.0614,
                    heading_deg=45.0,
                    measures={"alt_takeoff_m": 80.0},
                )
            ]
        )
        expect(cards).to_have_count(2)

        cards.first.click()
        detail = page.locator("#detail")
        expect(detail.locator("h2")).to_have_text("井盖异常")
        expect(detail.locator(".why")).to_contain_text("为何由您处理")
        expect(detail.locator(".evidence li").first).to_contain_text("22.5°")
        expect(detail.locator(".evidence li").first).to_contain_text("≥ 15°")
        page.wait_for_function(
            "document.querySelector('#detail .picture img').naturalWidth === 640"
        )
        steps = detail.locator(".history li").count()
        assert steps >= 2

        # A step through the page is a step in the store.
        now = detail.locator(".steps .now")
        expect(now).to_have_text("任务派遣")
        detail.locator('[data-action="accept"]').click()
        page.locator("#token").fill(TOKEN)
        page.locator("#token").press("Enter")
        expect(now).to_have_text("任务处理")
        expect(detail.locator(".history li")).to_have_count(steps + 1)

        # A picture of what was done goes with the feedback.
        detail.locator('[data-action="feedback"]').click()
        detail.locator("#photo").set_input_files(
            {"name": "after.jpg", "mimeType": "image/jpeg", "buffer": street_picture()}
        )
        detail.locator('.reason [type="submit"]').click()
        expect(now).to_have_text("处理反馈")
        waiting = IncidentFilter(statuses=(Status.FEEDBACK,))
        [done] = platform.store.list_incidents(waiting).rows
        assert len(msgspec.json.decode(done.body)["after_photos"]) == 1

        # One tap says what another case really is.
        cards.last.click()
        detail.locator(".verdicts summary").click()
        detail.locator('[data-verdict="not_an_issue"]').click()
        expect(cards).to_have_count(1)

        # The indicators open to the very cases behind them.
        page.locator("#kpis").click()
        disposal = page.locator('[data-kpi="disposal"]')
        expect(disposal.locator("strong")).to_have_text("100.0 %")
        disposal.click()
        expect(page.locator(".kpi-case")).to_have_count(1)
        page.locator(".kpi-case").click()
        expect(detail.locator("h2")).to_have_text("井盖异常")
        assert watched.complaints == []
        assert watched.strangers == []
    finally:
        context.close()
