"""Simulated grid workers at a running platform: cases are accepted, handled, checked, closed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from running_city import ROOT, wait_for


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_demo_with_workers_closes_cases(tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "cli", "demo", "--workers", "--port", "0",
               "--time-factor", "180", "--data", str(tmp_path / "data")]  # fmt: skip
    with output.open("wb") as log:
        demo = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:

        def told() -> re.Match[str] | None:
            assert demo.poll() is None, output.read_text()
            return re.search(r"http://127\.0\.0\.1:\d+", output.read_text())

        url = wait_for("address of the page", told, 60).group(0)
        [closed, *_] = wait_for(
            "closed case",
            lambda: httpx.get(f"{url}/incidents", params={"status": "closed"}, timeout=10).json()[
                "incidents"
            ],
            80,
        )
        detail = httpx.get(f"{url}/incidents/{closed['id']}", timeout=10).json()
        actions = [line["action"] for line in detail["history"]]
        assert {"accept", "feedback", "close"} <= set(actions)
        actors = {line["action"]: line["actor"] for line in detail["history"]}
        assert actors["accept"].startswith("worker-")
        assert actors["close"] == "verifier-1"
        assert demo.poll() is None
    finally:
        demo.terminate()
        demo.wait(15)
