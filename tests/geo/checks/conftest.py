"""The real city that layers are checked against."""

from __future__ import annotations

from pathlib import Path

import pytest

from geo.city import City, load_city


@pytest.fixture(scope="module")
def qingdao(realdata: Path) -> City:
    return load_city(str(realdata / "qingdao"))
