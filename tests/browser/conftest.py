"""A canned city on a port, and a browser to look at it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from geo.city import City, load_city

sys.path.insert(0, str(Path(__file__).parent))

from fake_city import DIST, Served

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
