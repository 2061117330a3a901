"""A pytest plugin: ``pytest --incident FILE`` replays a cut incident as a regression test.

The file is what ``qingniao incident export`` wrote. The test passes when the present rules,
map and code still make the same incident of it, byte for byte in canonical form; other rules
are tried with ``QINGNIAO_PACKS=folder``.
"""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class IncidentChangedError(Exception):
    """The incident is not what it was."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--incident``."""
    parser.getgroup("qingniao").addoption(
        "--incident",
        action="append",
        default=[],
        metavar="FILE",
        help="replay a file of `qingniao incident export` as a regression test; repeatable",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Collect the named files; alone, unless other tests were named too."""
    files = [str(Path(one).resolve()) for one in config.getoption("--incident")]
    if files:
        named = config.args_source is pytest.Config.ArgsSource.ARGS
        config.args = [*(config.args if named else []), *files]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A file that ``--incident`` names is a test."""
    wanted = {str(Path(one).resolve()) for one in parent.config.getoption("--incident")}
    if str(file_path) in wanted:
        return IncidentFile.from_parent(parent, path=file_path)
    return None


class IncidentFile(pytest.File):
    """A cut incident."""

    def collect(self) -> Iterator[pytest.Item]:
        """One test."""
        yield IncidentItem.from_parent(self, name="same-incident")


class IncidentItem(pytest.Item):
    """Replays the file and compares."""

    def runtest(self) -> None:
        """Replay.

        Raises:
            IncidentChangedError: The incident is not what it was; shows how.
        """
        from commands.incident import EXPECTED, played_apart
        from commands.replay import city_of_recording
        from core.settings import load_settings
        from geo.city import load_city
        from ingest.recording.reader import Recording

        recording = Recording(self.path)
        expected = recording.attachments().get(EXPECTED)
        if expected is None:
            raise IncidentChangedError(
                f"{self.path} holds no expected incident; make it with `qingniao incident export`"
            )
        settings = city_of_recording(load_settings(), recording)
        city = load_city(settings.city, seed=settings.city_seed)
        played = asyncio.run(played_apart(settings, city, recording.rounds()))
        lines = played.canonical.splitlines(keepends=True)
        if expected not in lines:
            raise IncidentChangedError(_difference(expected, lines))

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """What changed, without our own stack."""
        if isinstance(excinfo.value, IncidentChangedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Named by its file."""
        return self.path, None, f"incident {self.path.name}"


def _difference(expected: bytes, lines: list[bytes]) -> str:
    """How the incident differs from the nearest one that there is now."""
    want = json.loads(expected)
    found = [json.loads(line) for line in lines]
    same = [one for one in found if one["id"] == want["id"]] or [
        one for one in found if one["scenario"] == want["scenario"]
    ]
    head = f"{want['scenario']} {want['id']}: "
    if not same:
        others = ", ".join(sorted(one["scenario"] for one in found)) or "no incident at all"
        return f"{head}it is gone; the recording now gives {others}"
    diff = difflib.unified_diff(
        json.dumps(want, indent=1, ensure_ascii=False).splitlines(),
        json.dumps(same[0], indent=1, ensure_ascii=False).splitlines(),
        "expected", "now", lineterm="", n=1,
    )  # fmt: skip
    return f"{head}it changed\n" + "\n".join(list(diff)[:60])
