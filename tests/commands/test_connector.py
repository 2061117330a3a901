"""``qingniao connector``, as docs/connectors.md says it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from commands.connector import check_connectors, new_connector
from core.errors import ConnectorError, InputError
from core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "connectors.md").read_text(encoding="utf-8")


def run(folder: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_walk_of_the_page(tmp_path: Path) -> None:
    lines = re.search(r"(?s)```sh\n(qingniao connector.*?)```", PAGE)
    assert lines is not None
    dry, new, check = (shlex.split(line)[1:] for line in lines[1].splitlines())
    cli = str(ROOT / "cli.py")
    assert run(tmp_path, cli, *dry)[0] == 0
    assert list(tmp_path.iterdir()) == []
    assert run(tmp_path, cli, *new)[0] == 0
    code, told = run(tmp_path, cli, *check)
    assert (code, "1 connectors, 9 checks: 无误 no mistake" in told) == (0, True), told
    folder = tmp_path / "my-connectors"
    decoder = folder / "acme_level.py"
    decoder.write_text(decoder.read_text().replace("/ 1000", "/ 100"), encoding="utf-8")
    code, told = run(tmp_path, cli, *check)
    assert code == 1
    assert "acme_level.samples.jsonl:1: observation 0: measures: {'level_m': 0.31} wanted" in told
    # pytest says the same of the test that was written
    code, told = run(ROOT, "-m", "pytest", "-q", "-n0", str(folder))
    assert code == 1
    assert "1 failed, 8 passed" in told, told


def test_nothing_is_overwritten_and_names_are_checked(tmp_path: Path) -> None:
    console = Console(quiet=True)
    new_connector("acme", tmp_path, False, console)
    with pytest.raises(InputError, match="there is one already"):
        new_connector("acme", tmp_path, False, console)
    with pytest.raises(ConnectorError, match="found 'senml'"):
        new_connector("senml", tmp_path, False, console)


def test_a_folder_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="QINGNIAO_CONNECTORS"):
        check_connectors(Settings(), None, Console(quiet=True))
    with pytest.raises(InputError, match="no connector"):
        check_connectors(Settings(), tmp_path, Console(quiet=True))
