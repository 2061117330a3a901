"""The page in a real browser, against canned answers: desktop and phone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from fake_city import TOKEN, Served, Watched
from playwright.sync_api import Browser, BrowserContext, Page, expect

pytestmark = pytest.mark.browser

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
SPOT = (120.38503, 36.06140)


@pytest.fixture(params=["desktop", "phone"])
def context(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[BrowserContext]:
    if request.param == "desktop":
        context = chromium.new_context(viewport=DESKTOP, locale="zh-CN")
    else:
        context = chromium.new_context(
            viewport=PHONE, locale="zh-CN", device_scale_factor=2, is_mobile=True, has_touch=True
        )
    yield context
    context.close()


@pytest.fixture
def desktop(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport=DESKTOP, locale="en-GB")
    yield context
    context.close()


@pytest.fixture
def phone(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(
        viewport=PHONE, locale="zh-CN", device_scale_factor=2, is_mobile=True, has_touch=True
    )
    yield context
    context.close()


def open_page(context: BrowserContext, served: Served, fragment: str = "") -> Watched:
    page = context.new_page()
    watched = Watched(page, served.url)
    page.goto(f"{served.url}/{fragment}")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    return watched


def a_calm_city(served: Served) -> list[str]:
    fake = served.fake
    return [
        fake.open_incident("illegal-parking", *SPOT, minutes_ago=14, tell=False),
        fake.open_incident(
            "exposed-waste", 120.3800, 36.0650, minutes_ago=33, status="handling", tell=False
        ),
        fake.open_incident(
            "road-flooding", 120.3900, 36.0560, minutes_ago=300, status="closed", tell=False
        ),
    ]


def spread(page: Page) -> float:
    """Standard deviation of the grey values of the map's middle: 0 where nothing is drawn."""
    box = page.locator("#map canvas").bounding_box()
    assert box is not None
    clip = {
        "x": box["x"] + box["width"] * 0.4,
        "y": box["y"] + box["height"] * 0.1,
        "width": box["width"] * 0.5,
        "height": box["height"] * 0.3,
    }
    encoded = np.frombuffer(page.screenshot(clip=clip), np.uint8)
    return float(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE).std())


def test_list_map_detail_and_live_news(context: BrowserContext, served: Served) -> None:
    parking, waste, flooding = a_calm_city(served)
    watched = open_page(context, served)
    page = watched.page

    # The list: open cases, the newest first.
    cards = page.locator("#incidents .card")
    expect(cards).to_have_count(2)
    assert [card.get_attribute("data-id") for card in cards.all()] == [parking, waste]
    expect(cards.first).to_contain_text("机动车乱停放")
    expect(cards.first).to_contain_text("待接单")
    expect(cards.first.locator(".card-age")).to_have_text(re.compile(r"\d+ 分前"))

    # WebGL drew the city.
    for _ in range(20):
        if spread(page) > 4.0:
            break
        page.wait_for_timeout(300)
    assert spread(page) > 4.0

    # News comes by itself.
    gas = served.fake.open_incident("gas-leak", 120.3820, 36.0580)
    expect(cards).to_have_count(3)
    expect(cards.first).to_have_attribute("data-id", gas)
    expect(cards.first).to_have_class(re.compile(r"\bfresh\b"))
    expect(page.locator("#announcer")).to_contain_text("燃气泄漏")

    # Closed cases are behind their tab.
    page.locator('[data-status="closed"]').click()
    expect(cards).to_have_count(1)
    expect(cards.first).to_have_attribute("data-id", flooding)
    page.locator('[data-status="open"]').click()

    # A click tells all of it.
    page.locator(f'[data-id="{parking}"]').click()
    detail = page.locator("#detail")
    expect(detail.locator("h2")).to_have_text("机动车乱停放")
    expect(detail.locator(".why")).to_contain_text("结案条件")
    expect(detail.locator(".history li")).to_have_count(3)
    expect(detail.locator(".evidence li")).to_have_count(2)
    expect(detail.locator(".evidence li").first).to_contain_text("≥ 2 分")
    expect(detail.locator(".steps .now")).to_have_text("任务派遣")
    expect(detail.locator(".deadline strong")).to_have_text(re.compile("剩余"))
    picture = detail.locator(".picture img")
    expect(picture).to_be_visible()
    page.wait_for_function("document.querySelector('#detail .picture img').naturalWidth === 640")
    assert page.url.endswith(f"#incident/{parking}")

    # New evidence finds its way into the open case.
    served.fake.evidence[parking].append(dict(served.fake.evidence[parking][0], event_id="more"))
    served.fake.tell_incident("evidence", parking)
    expect(detail.locator(".evidence li")).to_have_count(3)

    detail.locator(".detail-close").click()
    expect(detail).to_be_hidden()

    assert watched.complaints == []
    assert watched.strangers == []


def test_language_is_switched_and_kept(desktop: BrowserContext, served: Served) -> None:
    a_calm_city(served)
    watched = open_page(desktop, served)
    page = watched.page
    # The browser's language decides at first.
    expect(page.locator("#list h2")).to_have_text("Incidents")
    expect(page.locator("#incidents .card").first).to_contain_text("Illegal parking")
    page.locator("#language").click()
    expect(page.locator("#list h2")).to_have_text("事件")
    expect(page.locator("#incidents .card").first).to_contain_text("机动车乱停放")
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    page.reload()
    expect(page.locator("#list h2")).to_have_text("事件")
    assert watched.complaints == []


def test_filters_narrow_list(desktop: BrowserContext, served: Served) -> None:
    _, waste, _ = a_calm_city(served)
    page = open_page(desktop, served).page
    cards = page.locator("#incidents .card")
    expect(cards).to_have_count(2)
    page.locator('[data-domain="urban"]').click()
    expect(cards).to_have_count(1)
    expect(cards.first).to_have_attribute("data-id", waste)
    page.locator('[data-domain="traffic"]').click()
    expect(cards).to_have_count(2)
    page.locator('[data-severity="extreme"]').click()
    expect(cards).to_have_count(0)
    expect(page.locator(".list-empty")).to_be_visible()
    page.locator('[data-severity="extreme"]').click()
    served.fake.open_incident("gas-leak", *SPOT, worker=("worker-02", "李建国"))
    page.locator('[data-domain="urban"]').click()
    page.locator('[data-domain="traffic"]').click()
    expect(cards).to_have_count(3)
    page.locator("#filter-worker").select_option("worker-02")
    expect(cards).to_have_count(1)


def test_a_step_asks_for_the_token_once(desktop: BrowserContext, served: Served) -> None:
    parking, *_ = a_calm_city(served)
    watched = open_page(desktop, served, f"#incident/{parking}")
    page = watched.page
    accept = page.locator('#detail [data-action="accept"]')
    accept.click()
    page.locator("#token").fill("wrong")
    page.locator("#token").press("Enter")
    expect(page.locator(".form-error")).to_be_visible()
    page.locator("#token").fill(TOKEN)
    page.locator("#token").press("Enter")
    expect(page.locator("#detail .steps .now")).to_have_text("Handle")
    assert served.fake.incidents[parking]["status"] == "handling"

    # Sending back needs a reason, and no token any more.
    page.locator('#detail [data-action="return"]').click()
    page.locator("#detail form button[type=submit]").click()
    assert served.fake.incidents[parking]["status"] == "handling"
    page.locator("#reason").fill("the car has gone")
    page.locator("#detail form button[type=submit]").click()
    expect(page.locator("#detail .steps .now")).to_have_text("File")
    expect(page.locator("#detail .history")).to_contain_text("the car has gone")
    expect(page.locator("dialog")).to_have_count(0)
    # The browser itself notes the refused request; nothing else complains.
    assert [one for one in watched.complaints if "401" not in one] == []


def test_a_worker_sees_and_does_what_is_theirs(desktop: BrowserContext, served: Served) -> None:
    parking, *_ = a_calm_city(served)
    other = served.fake.open_incident("gas-leak", *SPOT, worker=("worker-02", "李建国"))
    page = open_page(desktop, served).page
    page.evaluate(f"sessionStorage.setItem('qingniao.token', '{TOKEN}')")
    page.locator("#filter-worker").select_option("worker-01")
    expect(page.locator(f'[data-id="{other}"]')).to_have_count(0)
    page.locator(f'[data-id="{parking}"]').click()
    expect(page.locator('#detail [data-action="cancel"]')).to_have_count(0)
    page.locator('#detail [data-action="accept"]').click()
    expect(page.locator("#detail .steps .now")).to_have_text("Handle")
    assert served.fake.history[parking][-1]["actor"] == "worker-01"


def test_keyboard_alone_is_enough(desktop: BrowserContext, served: Served) -> None:
    parking, waste, _ = a_calm_city(served)
    page = open_page(desktop, served).page
    page.locator(f'[data-id="{parking}"]').focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(f'[data-id="{waste}"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#detail h2")).to_have_text("Exposed waste")
    expect(page.locator("#detail .detail-close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    expect(page.locator(f'[data-id="{waste}"]')).to_be_focused()


def test_a_lost_stream_is_told_and_resumed(desktop: BrowserContext, served: Served) -> None:
    a_calm_city(served)
    watched = open_page(desktop, served)
    page = watched.page
    cards = page.locator("#incidents .card")
    expect(cards).to_have_count(2)
    served.fake.refuse = True
    served.fake.drop_streams()
    expect(page.locator("#connection")).to_have_attribute("data-state", "reconnecting")
    served.fake.open_incident("gas-leak", *SPOT)
    served.fake.refuse = False
    expect(page.locator("#connection")).to_have_attribute("data-state", "live", timeout=15_000)
    expect(cards).to_have_count(3)


def test_aircraft_and_cameras(desktop: BrowserContext, served: Served) -> None:
    fake = served.fake
    watched = open_page(desktop, served)
    page = watched.page
    page.wait_for_timeout(1500)
    for step in range(12):
        fake.move(
            "unknown-1",
            "aircraft",
            120.3846 + step * 2e-4,
            36.0614,
            heading_deg=90,
            registered=False,
            measures={"alt_takeoff_m": 64.0},
        )
        page.wait_for_timeout(60)
    # The highlight of an unregistered aircraft is the only pink on the map; a machine without
    # a graphics card takes its time to draw it.
    before, blob = 0, np.zeros(5)
    for _ in range(30):
        shot = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        blue, green, red = (shot[..., channel].astype(int) for channel in range(3))
        pink = ((red > 220) & (green < 140) & (blue > 140)).astype(np.uint8)
        _, _, stats, centres = cv2.connectedComponentsWithStats(pink)
        largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])) if len(stats) > 1 else 0
        blob, area = centres[largest], int(pink.sum())
        if area > 50 and area == before:
            break
        before = area
        page.wait_for_timeout(300)
    assert before > 50
    page.mouse.click(float(blob[0]), float(blob[1]))
    card = page.locator(".card-popup .popup")
    expect(card).to_contain_text("unknown-1")
    expect(card).to_contain_text("Not registered")
    expect(card).to_contain_text("64 m")

    assert watched.complaints == []


def test_phone_sheet_and_targets(phone: BrowserContext, served: Served) -> None:
    parking, *_ = a_calm_city(served)
    watched = open_page(phone, served)
    page = watched.page
    panel = page.locator("#panel")
    expect(panel).to_have_attribute("data-snap", "half")
    page.locator("#handle").tap()
    expect(panel).to_have_attribute("data-snap", "full")
    page.locator("#handle").tap()
    expect(panel).to_have_attribute("data-snap", "peek")
    page.locator("#handle").tap()
    page.wait_for_timeout(400)
    # Fingers need 44 pixels.
    for name in ("#language", "#legend-toggle", ".card", ".tile", "#filter-worker"):
        box = page.locator(name).first.bounding_box()
        assert box is not None
        assert box["height"] >= 44, name
    # Nothing is wider than the screen.
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]

    page.locator(f'[data-id="{parking}"]').tap()
    page.wait_for_timeout(400)
    box = page.locator("#detail").bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (PHONE["width"], PHONE["height"])
    expect(page.locator("#detail h2")).to_be_in_viewport()
    expect(page.locator('#detail [data-action="accept"]')).to_be_in_viewport()
    page.locator("#detail .show-on-map").tap()
    expect(page.locator("#detail")).to_be_hidden()
    expect(panel).to_have_attribute("data-snap", "peek")
    assert watched.complaints == []
    assert watched.strangers == []
