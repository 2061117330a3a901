"""The benchmark of the stream engine, with small numbers: every line is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ingest.broker import find_mosquitto

ROOT = Path(__file__).resolve().parents[2]

FIGURES = {
    "log, 512 rows of 300 bytes as one record, fdatasync each",
    "decode and check types of a reading",
    "all stages together",
    "Faust: log to agent, per record",
    "state in memory at 20,000 things",
    "growth exponent of that cost",
}
CITY = {
    "pipeline, one reading per message: CPU above the subscriber",
    "pipeline, one reading per message: rate",
    "pipeline, packs of 100 readings: rate",
}


def test_the_quick_run_measures_every_line_and_no_answer_is_wrong(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_stream", "--quick"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    figures = json.loads((tmp_path / "build/bench/stream.json").read_text())
    named = {one["figure"]: one["value"] for one in figures}
    assert FIGURES | (CITY if find_mosquitto() else set()) <= named.keys()
    assert all(named[one] > 0 for one in FIGURES if "exponent" not in one)
