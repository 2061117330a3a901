"""What every test may use: the builders, and where the real recordings are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# The root first: the folders of the tests have the packages' names, and pytest started as a command
# does not look there by itself.
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from servers import kafka_servers, postgres_server  # noqa: E402

__all__ = ["kafka_servers", "postgres_server", "realdata"]


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real recordings; skips where there is none."""
    folder = Path(os.environ.get("QINGNIAO_REALDATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real recordings at {folder}; set QINGNIAO_REALDATA to their folder")
    return folder
