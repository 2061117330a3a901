"""The rules' benchmark in short: it runs, and engine and peer tell the same edges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import bench_rules


def test_engine_and_peer_agree_on_every_edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bench_rules.main(["--quick"]) == 0
    figures = {one["figure"]: one for one in json.loads(Path("build/bench/rules.json").read_text())}
    assert figures["edges that differ"]["value"] == 0
    assert figures["edges compared"]["value"] > 1000
    assert figures["rules met by an observation"]["met"]
