"""The README's walk: a device of one's own and a rule of one's own, as a stranger does it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from running_city import ROOT, wait_for
from servers import free_port


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_own_device_and_own_rule(tmp_path: Path) -> None:
    packs, data, output = tmp_path / "my-packs", tmp_path / "data", tmp_path / "out"
    shutil.copytree(ROOT / "scenarios" / "packs", packs)
    shutil.copy(ROOT / "docs" / "examples" / "river-level.yaml", packs)
    env = os.environ | {"QINGNIAO_PACKS": str(packs)}
    check = subprocess.run(
        [sys.executable, "-m", "cli", "check"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "river-high" in check.stdout

    mqtt_port = free_port()
    options = ["--port", "0", "--mqtt-port", str(mqtt_port), "--data", str(data)]
    with output.open("wb") as log:
        demo = subprocess.Popen(
            [sys.executable, "-m", "cli", "demo", *options],
            cwd=ROOT,
            env=env,
            stdout=log,
            stderr=log,
        )
    try:

        def told() -> re.Match[str] | None:
            assert demo.poll() is None, output.read_text()
            return re.search(r"http://127\.0\.0\.1:\d+", output.read_text())

        url = wait_for("address of the page", told, 60).group(0)
        device = [sys.executable, str(ROOT / "docs" / "examples" / "device.py")]
        subprocess.run([*device, str(data), str(mqtt_port)], check=True, timeout=60)
        (found,) = wait_for(
            "incident of our own rule",
            lambda: httpx.get(f"{url}/incidents?scenario=river-high", timeout=10).json()[
                "incidents"
            ],
        )
        assert found["scenario_name"]["en"] == "River above warning level"
        assert found["place"]["district_code"] == "370202"
        explain = [sys.executable, "-m", "cli", "explain", found["case_number"]]
        story = subprocess.run(
            [*explain, "--data", str(data)],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "river-gauge-1" in story.replace("\n", "")
    finally:
        demo.terminate()
        demo.wait(10)
