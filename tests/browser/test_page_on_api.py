"""The page on the real API with a store behind it: both mean the same by what they say."""

from __future__ import annotations

import re

import msgspec
import pytest
from fake_city import TOKEN, Watched, street_picture
from on_api import Platform
from playwright.sync_api import Browser, expect

from api import evidence_files
from api.live import CameraState
from core.incidents import Status
from core.snapshots import picture_name
from core.units import NS_PER_S
from store.filters import IncidentFilter
from store.things import Thing

pytestmark = pytest.mark.browser


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

        # The indicators tell what is left out now, and open to the very cases behind them.
        platform.silence("smoke-alarm", "消防演练")
        page.locator("#kpis").click()
        expect(page.locator(".exclusions li")).to_contain_text("消防演练")
        expect(page.locator(".exclusions li")).to_contain_text("已排除 0 条 · 责任人 值班台")
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


def test_a_picture_that_is_being_made_appears_when_it_is_there(
    chromium: Browser, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    # City time runs twentyfold here.
    monkeypatch.setattr(evidence_files, "SOON_NS", 3600 * NS_PER_S)
    name = picture_name("camera-1", platform.clock.now_ns(), 3, "new")
    because: dict[str, str | float] = {"measure": "dwell_s", "value": 121.0}
    platform.raise_at(
        "illegal-parking", "illegal-parking/camera", "camera-1/3", "detection.static_object",
        120.3846, 36.0614, because, snapshots=(name,),
    )  # fmt: skip
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    try:
        page = context.new_page()
        page.goto(platform.url)
        cards = page.locator("#incidents .card")
        expect(cards).to_have_count(1)
        with page.expect_response(lambda one: one.url.endswith(name)) as answer:
            cards.first.click()
        assert answer.value.status == 503
        picture = page.locator("#detail .picture img")
        expect(picture).to_have_js_property("naturalWidth", 0)
        part = platform.snapshots / "part"
        part.write_bytes(street_picture())
        part.replace(platform.snapshots / name)
        expect(picture).to_have_js_property("naturalWidth", 640, timeout=15_000)
    finally:
        context.close()
