"""The benchmark of the map, with small numbers: every answer of every peer that is here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FIGURES = (
    "50,000 points, 1,024 zones",
    "batches of 1",
    "batches of 100",
    "batches of 512",
    "growth 256 to 4,096 zones, cost exponent",
    "index built",
    "index size",
    "index loaded from its file",
    "50,000 points, 500 volumes",
    "nearest road, 10,000 pieces, sparse",
    "nearest road, 10,000 pieces, dense",
    "full tag of a batch of 512",
    "fences: 2,000, 500 moving things",
)


def test_the_quick_run_measures_every_line_and_no_answer_differs(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_geo", "--quick"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    figures = json.loads((tmp_path / "build/bench/geo.json").read_text())
    names = [one["figure"].strip() for one in figures]
    for wanted in FIGURES:
        assert any(name.startswith(wanted) for name in names), wanted
    by_name = {one["figure"].strip(): one for one in figures}
    assert by_name["answers that differ"]["value"] == 0
    peers = {one["peer"] for one in figures}
    assert {"geopandas.sjoin", "STRtree.query_nearest"} <= peers
    # A peer that is missing is named with its reason, never left out in silence.
    for peer in ("SedonaDB", "DuckDB", "PostGIS", "Tile38"):
        assert any(peer in (one or "") for one in peers) != (f"skipped: {peer}" in run.stdout)
