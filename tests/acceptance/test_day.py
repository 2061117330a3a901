"""Three hours of the scripted day through log, rules, correlation and store, scored on truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_three_hours_score_and_the_truth_file_says_what_happened(tmp_path: Path) -> None:
    found = subprocess.run(
        [
            sys.executable, "-m", "cli", "day", "--seed", "3", "--hours", "3",
            "--json", str(tmp_path / "score.json"), "--truth", str(tmp_path / "truth.jsonl"),
        ],
        env=os.environ | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=180,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    score = json.loads((tmp_path / "score.json").read_text())["3"]
    assert score["things"] >= 30
    assert score["recall"] >= 0.97
    assert score["precision"] >= 0.97
    assert score["incidents_per_thing"] <= 1.02
    records = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text().splitlines()]
    kinds = {record["type"] for record in records}
    assert kinds == {"thing", "near_miss", "fault"}
