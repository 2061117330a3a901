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


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_from_a_recording_to_a_regression_test(tmp_path: Path) -> None:
    """The commands of the README's second walk, line by line; only folder and length differ."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## From a recording to a regression test")[1].split("\n## ")[0]
    lines = [
        line
        for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(lines) == 10
    told: list[str] = []
    python = f"{sys.executable} -m"
    (tmp_path / "walk").mkdir()
    for line in lines:
        command = re.sub(r'make demo ARGS="(.*)"', rf"{python} cli demo \1", line)
        command = command.replace(".venv/bin/qingniao", f"{python} cli")
        command = command.replace(".venv/bin/pytest", f"{python} pytest")
        command = command.replace("--duration 60", "--duration 40").replace(
            "walk/", f"{tmp_path}/walk/"
        )
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=ROOT,
            env=os.environ | {"COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}"
        told.append(" ".join(done.stdout.split()))
    _, replayed, scored, _, _, _, rescored, exported, passed, failed = told
    assert "the same incidents, byte for byte" in replayed
    assert "precision" in scored
    assert "missed: road-flooding" not in scored
    assert "data:image/png" in (tmp_path / "walk" / "score.html").read_text("utf-8")
    assert "missed: road-flooding" in rescored
    assert "it is the same incident" in exported
    assert "1 passed" in passed
    assert "1 failed" in failed
    assert "road-flooding" in failed
