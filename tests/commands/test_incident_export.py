"""An incident is cut out of a recording and replays as a regression test, also one that fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from recordings import a_street
from rich.console import Console

from commands.incident import EXPECTED, STORY, export_incident
from core.errors import InputError, NotFoundError
from core.settings import load_settings
from geo.city import load_city
from ingest.recording.reader import Recording

ROOT = Path(__file__).resolve().parents[2]


def run_pytest(cut: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "--incident", str(cut)]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=90
    )


@pytest.mark.slow
async def test_a_cut_replays_alone_and_fails_when_a_rule_changed(tmp_path: Path) -> None:
    street = a_street(tmp_path / "street", load_city("generated", seed=7), floods=2)
    settings = load_settings(data_dir=tmp_path / "data")
    cut, console = tmp_path / "flood.mcap", Console(record=True, width=200)
    assert await export_incident(settings, "QI-20260701-000001", street, cut, console) == 0
    told = console.export_text()
    recording = Recording(cut)
    messages = [m for one in recording.rounds() for m in one.messages]
    # Of two flooded underpasses far apart only one is in the cut.
    assert len({m.topic for m in messages}) == 1
    assert f"{len(messages)} of 144 messages" in told
    assert set(recording.attachments()) >= {EXPECTED, STORY}

    good = run_pytest(cut)
    assert good.returncode == 0, good.stdout
    assert "1 passed" in good.stdout
    packs = tmp_path / "packs"
    shutil.copytree(ROOT / "scenarios" / "packs", packs)
    rule = packs / "road-flooding.yaml"
    rule.write_text(rule.read_text().replace("at_least: 0.25", "at_least: 0.6"))
    bad = run_pytest(cut, QINGNIAO_PACKS=str(packs))
    assert bad.returncode == 1
    assert "road-flooding" in bad.stdout
    assert "it is gone" in bad.stdout

    with pytest.raises(InputError, match="exists"):
        await export_incident(settings, "x", street, cut, console)
    with pytest.raises(NotFoundError, match="QI-20260701-000001"):
        await export_incident(settings, "x", street, tmp_path / "y.mcap", console)
