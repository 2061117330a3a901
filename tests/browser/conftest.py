"""A canned city on a port, and a browser to look at it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from api.app import create_app
from api.live import LiveState
from core.clock import ScaledClock
from geo.city import City, load_city
from geo.tagging import Tagger
from scenarios.loader import load_packs
from store.cases import CaseStore
from store.database import migrate

sys.path.insert(0, str(Path(__file__).parent))

from fake_city import DIST, TOKEN, Served, street_picture
from on_api import EPOCH_NS, Platform, serve

#: WebGL without a graphics card, and nothing that the browser does on its own account.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def generated_city() -> City:
    return load_city("generated")


@pytest.fixture
def served(generated_city: City) -> Iterator[Served]:
    if not (DIST / "index.html").is_file():
        pytest.skip("web/dist is not built; run `make web`")
    served = Served(generated_city)
    yield served
    served.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


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
            yield Platform(address, store, city, tagger, live, clock, snapshots)
    finally:
        store.close()
