"""Cameras on the page: pictures that vision made, their honest state, and clips that play."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from fake_city import Watched
from on_api import Platform
from playwright.sync_api import Browser, BrowserContext, Page, expect

from api.live import CameraState
from core.frames import Frame, encode_frame
from geo.camera import FlatGroundProjector
from geo.city import City
from ingest.evidence_folder import EvidenceFolder
from ingest.frame_source import RawFrame
from ingest.pictures import PictureMaker
from ingest.vision_worker import VisionWorker, zones_of
from simulators.actors import Actor, Waypoint
from simulators.cameras import CameraSimulator

pytestmark = pytest.mark.browser

S = 1_000_000_000
EPOCH_NS = 1_767_225_600 * S


@cache
def parked_car_frames(city: City) -> tuple[Frame, ...]:
    """A car that drives up to the no-parking stretch of camera 1 and stands there."""
    zone = next(one for one in zones_of(city) if one.zone_id == "no-parking-1")
    lon = sum(point[0] for point in zone.ring) / len(zone.ring)
    lat = sum(point[1] for point in zone.ring) / len(zone.ring)
    stops = [(12, 3e-4), (18, 0.0), (90, 0.0)]
    car = Actor(
        kind="car",
        length_m=4.6,
        width_m=1.8,
        height_m=1.5,
        colour_bgr=(50, 50, 190),
        waypoints=tuple(Waypoint(EPOCH_NS + at * S, lon + east, lat, 258.0) for at, east in stops),
    )
    camera = CameraSimulator("camera-1", city, [car], 7)
    return tuple(camera.frame(EPOCH_NS + second * S) for second in range(60))


def seen_by_vision(platform: Platform) -> dict[str, Any]:
    """Let vision look at the frames; gives the detection that was published as new."""
    published: list[dict[str, Any]] = []

    def publish(_topic: str, payload: bytes) -> bool:
        published.append(json.loads(payload))
        return True

    maker = PictureMaker(EvidenceFolder(platform.snapshots), FlatGroundProjector())
    worker = VisionWorker(platform.city, publish, maker)
    for frame in parked_car_frames(platform.city):
        result = worker.handle(RawFrame("camera-1", encode_frame(frame), 0))
        if result is not None and result.view is not None:
            maker.make_live([result.view])
    assert worker.rejected == {}
    return next(one for one in published if one.get("labels", {}).get("phase") == "new")


@pytest.fixture(params=["desktop", "phone"])
def context(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[BrowserContext]:
    if request.param == "desktop":
        context = chromium.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    else:
        context = chromium.new_context(
            viewport={"width": 390, "height": 844},
            locale="zh-CN",
            device_scale_factor=2,
            is_mobile=True,
            has_touch=True,
        )
    yield context
    context.close()


def opened(context: BrowserContext, platform: Platform, fragment: str = "") -> tuple[Page, Watched]:
    page = context.new_page()
    watched = Watched(page, platform.url)
    page.goto(f"{platform.url}/{fragment}")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    return page, watched


def until(page: Page, true: str) -> None:
    """Wait until an expression is true; the page's policy forbids Playwright's own way."""
    for _ in range(200):
        if page.evaluate(true):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"{true} did not come true")


def tell(platform: Platform, camera_id: str = "camera-1", **more: Any) -> None:
    # City time runs twentyfold here: a frame from ahead stays new while the test looks.
    given = {"last_frame_ns": platform.clock.now_ns() + 900 * S, "frames_per_s": 5.0} | more
    platform.live.update_cameras([CameraState(camera_id=camera_id, **given)])


def test_a_camera_opens_shows_its_picture_and_follows_it(
    context: BrowserContext, platform: Platform
) -> None:
    seen_by_vision(platform)
    live = {"live": "camera-1/live.jpg", "live_ns": EPOCH_NS, "skipped_ratio": 0.25}
    tell(platform, **live)
    tell(platform, "camera-2")
    page, watched = opened(context, platform)
    english = page.evaluate("document.documentElement.lang") == "en"

    page.locator("#cameras").click()
    dialog = page.locator(".camera-dialog")
    picture = dialog.locator("img.camera-picture")
    expect(picture).to_have_attribute("src", re.compile(r"^/snapshots/camera-1/live\.jpg\?at="))
    until(page, "document.querySelector('img.camera-picture').naturalWidth === 640")
    expect(dialog).to_contain_text("Live" if english else "在线")
    expect(dialog).to_contain_text("25% of frames skipped" if english else "跳过 25% 的帧")
    expect(dialog).to_contain_text("Red: what was told of" if english else "红框：已认定的目标")
    # It fits the screen: nothing to scroll sideways, the picture whole.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = picture.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page.viewport_size["width"]  # type: ignore[index]

    # The next picture comes by itself, into the same element; the state is as it is.
    page.evaluate("window.before = document.querySelector('img.camera-picture')")
    tell(platform, **(live | {"live_ns": EPOCH_NS + 3 * S, "lying": True, "quality": "frozen"}))
    expect(picture).to_have_attribute("src", re.compile(f"at={EPOCH_NS // 1_000_000 + 3000}$"))
    assert page.evaluate("window.before === document.querySelector('img.camera-picture')")
    expect(dialog).to_contain_text("Shows what is not there" if english else "画面失实")
    expect(dialog).to_contain_text("The picture stands still" if english else "画面静止不变")
    expect(picture).to_have_class(re.compile("picture-old"))

    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert watched.complaints == []
    assert watched.strangers == []


def test_the_clip_of_an_incident_plays(context: BrowserContext, platform: Platform) -> None:
    new = seen_by_vision(platform)
    platform.raise_at(
        "illegal-parking",
        "illegal-parking/camera",
        new["thing"],
        "detection.static_object",
        new["lon"],
        new["lat"],
        {
            "measure": "dwell_s",
            "comparison": "at_least",
            "threshold": 120.0,
            "value": 121.0,
            "for_s": 0.0,
            "held_s": 0.0,
            "opinion_ratio": 0.9,
            "opinion": "a red car at the kerb",
            "opinion_model": "m",
        },
    )
    page, watched = opened(context, platform)
    page.locator("#incidents .card").first.click()
    video = page.locator("#detail video.clip")
    expect(video).to_have_attribute("src", f"/snapshots/{new['thing']}.webm")
    until(page, "document.querySelector('video.clip').readyState >= 1")
    assert page.evaluate("document.querySelector('video.clip').videoWidth") == 640
    assert page.evaluate("document.querySelector('video.clip').duration") > 5.0
    page.evaluate("document.querySelector('video.clip').play()")
    until(page, "document.querySelector('video.clip').currentTime > 1")
    # Seeking asks for a part of it.
    page.evaluate("document.querySelector('video.clip').currentTime = 5")
    until(page, "document.querySelector('video.clip').currentTime >= 5")
    until(page, "document.querySelector('video.clip').seeking === false")
    assert page.evaluate("document.querySelector('video.clip').error") is None
    # The second opinion stands with the evidence.
    expect(page.locator("#detail .evidence")).to_contain_text("a red car at the kerb")
    assert watched.complaints == []
