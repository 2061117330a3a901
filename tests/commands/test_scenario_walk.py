"""docs/writing-scenarios.md, followed to the letter as a new user would."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from commands.scenario import check_scenarios, new_scenario
from core.errors import InputError, RuleError
from scenarios.loader import load_packs

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "writing-scenarios.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"(?ms)^(`{{3,4}}){language}\n(.*?)^\1$", PAGE)
    assert found is not None, language
    return found[2]


def qingniao(line: str, folder: Path) -> str:
    words = shlex.split(line)
    assert words[0] == "qingniao"
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *words[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_walk_ends_with_an_incident(tmp_path: Path) -> None:
    begin, check, backtest = re.findall(r"(?m)^```sh\n(.*)\n```$", PAGE)
    qingniao(begin, tmp_path)
    packs = tmp_path / "my-packs"
    assert "no mistake" in qingniao(check, tmp_path)  # the template itself is whole
    (packs / "bench-sleeper.yaml").write_text(block("yaml"), encoding="utf-8")
    (packs / "bench-sleeper.md").write_text(block("markdown"), encoding="utf-8")
    count = len(load_packs()) + 1
    assert f"{count} scenarios, {count} pages" in qingniao(check, tmp_path)
    (tmp_path / "night.jsonl").write_text(block("jsonl"), encoding="utf-8")
    qingniao(f"{backtest} --json result.json", tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["counts"] == {"gained": 1, "lost": 0, "merged": 0, "split": 0, "moved": 0}
    [gained] = result["changes"]
    assert (gained["scenario"], gained["things"]) == ("bench-sleeper", ["bench-7"])


def test_a_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    console = Console(record=True)
    new_scenario("river-high", tmp_path / "packs", console)
    path = tmp_path / "packs" / "river-high.yaml"
    path.write_text(path.read_text().replace("clear_below: 0.4", "clear_below: 0.6"))
    with pytest.raises(RuleError, match=r"river-high.yaml:\d+: rules\[0\].when.clear_below"):
        check_scenarios(tmp_path / "packs", console)


def test_a_name_that_is_taken_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose another"):
        new_scenario("road-flooding", tmp_path / "packs", Console())
    with pytest.raises(RuleError, match="small letters"):
        new_scenario("Road Flooding", tmp_path / "packs", Console())
    assert not (tmp_path / "packs").exists()
