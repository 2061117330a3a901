"""The benchmark of the simulators, with small numbers: every line is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.broker import find_mosquitto

ROOT = Path(__file__).resolve().parents[2]

FIGURES = {
    "record, as ingest does it",
    "record: CPU",
    "record: memory grown by",
    "replay straight into the pipeline",
    "replay: CPU",
    "a day of 10,000 devices at 60 s replays in, from a slice",
}
BEHIND = {"record behind Mosquitto, QoS 1"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_quick_run_measures_every_line_and_loses_nothing(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_sim", "--quick"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    figures = json.loads((tmp_path / "build/bench/sim.json").read_text())
    named = {one["figure"]: one for one in figures}
    assert FIGURES | (BEHIND if find_mosquitto() else set()) <= named.keys()
    # Memory may not have grown at all.
    counted = (FIGURES | BEHIND) - {"record: memory grown by"}
    assert [one for one in figures if one["figure"] in counted and not one["value"] > 0] == []
    assert named["record: memory grown by"]["met"]
    assert "city time per wall time" in " ".join(named)
