"""What a person finds at a terminal."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from cli import app

RUNNER = CliRunner()
GROUP = typer.main.get_command(app)
CONTEXT = typer.Context(GROUP)
NAMES = GROUP.list_commands(CONTEXT)  # type: ignore[attr-defined]


def test_every_command_has_its_place_in_the_help_text() -> None:
    for name in NAMES:
        command = GROUP.get_command(CONTEXT, name)  # type: ignore[attr-defined]
        assert command.name == name
        assert command.rich_help_panel, f"cli.py: {name} stands in no panel of _PANELS"


@pytest.mark.parametrize("name", NAMES)
def test_every_command_says_what_it_does(name: str) -> None:
    result = RUNNER.invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert f"qingniao {name}" in result.output or f"{name} [OPTIONS]" in result.output
    assert "--install-completion" not in result.output
