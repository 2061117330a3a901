"""``qingniao connector``: a new wire format from a template, and the suite that it must pass."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from core.errors import InputError
from core.settings import Settings
from ingest.connectors.load import check_name, load_connectors, samples_path
from ingest.connectors.suite import checks

_DECODER = '''\
"""{name}: what sends it, and where its format is written down."""

from __future__ import annotations

import msgspec

from core.errors import DecodeError
from core.observations import Observation
from core.ports import RawMessage
from ingest.decoders.common import decode_json, instant_ns

#: MQTT filters, and the quality of service to ask for.
FILTERS = [("{name}/+/up", 1)]


class Reading(msgspec.Struct):
    """The JSON object, as sent."""

    level_mm: float | None = None
    time: str | None = None


_READING = msgspec.json.Decoder(Reading)


def decode(message: RawMessage) -> list[Observation]:
    """Read a message; what cannot be read is raised as DecodeError(reason, detail)."""
    reading = decode_json(message, _READING)
    if reading.level_mm is None:
        raise DecodeError("no_level", f"level_mm was wanted on {{message.topic}}")
    observed_ns = instant_ns(reading.time, message.topic)
    return [
        Observation(
            source="{name}",
            thing_id=f"{name}/{{message.topic.split('/')[1]}}",
            kind="{name}",
            observed_ns=message.received_ns if observed_ns is None else observed_ns,
            received_ns=message.received_ns,
            has_device_time=observed_ns is not None,
            measures={{"level_m": reading.level_mm / 1000}},
        )
    ]
'''

_SAMPLES = """\
{{"name": "a level", "topic": "{name}/7/up", "payload": {{"level_mm": 310, "time": "2026-07-01T00:59:58Z"}}, "gives": [{{"thing_id": "{name}/7", "kind": "{name}", "time": "2026-07-01T00:59:58Z", "measures": {{"level_m": 0.31}}}}]}}
{{"name": "without time", "topic": "{name}/7/up", "payload": {{"level_mm": 0}}, "gives": [{{"has_device_time": false, "measures": {{"level_m": 0.0}}}}]}}
{{"name": "without level", "topic": "{name}/7/up", "payload": {{}}, "rejected": "no_level"}}
{{"name": "cut short", "topic": "{name}/7/up", "payload": "{{\\"level_mm\\": 3", "rejected": "bad_json"}}
"""  # noqa: E501

_TEST = '''\
"""Connector {name} keeps the rules of all connectors."""

from pathlib import Path

import pytest

from ingest.connectors.suite import Check, checks


CHECKS = checks(Path(__file__).with_name("{name}.py"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_conformance(check: Check) -> None:
    assert check.run() == []
'''


def new_connector(name: str, folder: Path, dry_run: bool, console: Console) -> None:
    """Write a decoder file, its table of samples and its test to begin with.

    Raises:
        ConnectorError: The name is not one.
        InputError: There is such a connector already.
    """
    check_name(name, f"{name}.py")
    path = folder / f"{name}.py"
    files = {
        path: _DECODER,
        samples_path(path): _SAMPLES,
        folder / f"test_{name}.py": _TEST,
    }
    if there := [one for one in files if one.exists()]:
        raise InputError(f"{there[0]}: there is one already; choose another name")
    for one, template in files.items():
        text = template.format(name=name)
        if dry_run:
            console.print(f"[dim]# {one}[/dim]")
            console.print(text, markup=False, highlight=False, soft_wrap=True)
            continue
        folder.mkdir(parents=True, exist_ok=True)
        one.write_text(text, encoding="utf-8")
        console.print(str(one), soft_wrap=True)
    if dry_run:
        console.print("未写入任何文件 nothing was written")
        return
    console.print(
        f"改好后运行 when they say what you mean: qingniao connector check {folder}; "
        f"then set QINGNIAO_CONNECTORS={folder}",
        soft_wrap=True,
    )


def check_connectors(settings: Settings, folder: Path | None, console: Console) -> bool:
    """Run the conformance suite on every connector of a folder; whether all is well.

    Raises:
        InputError: There is no folder, or no connector in it.
    """
    where = folder or settings.connectors
    if where is None:
        raise InputError("name a folder of connectors, or set QINGNIAO_CONNECTORS")
    connectors = load_connectors(where)
    why = {one.name: one.why for one in connectors.refused}
    names = sorted([one.name for one in connectors.loaded] + list(why))
    if not names:
        raise InputError(f"{where}: no connector (NAME.py) was found; name a folder with some")
    count = failed = 0
    for name in names:
        console.print(f"[bold]{name}[/bold]")
        found: list[str] = []
        for check in checks(where / f"{name}.py"):
            wrong = check.run()
            count, failed = count + 1, failed + bool(wrong)
            found += wrong
            mark = "[red]✗[/red]" if wrong else "[green]✓[/green]"
            console.print(f"  {mark} {escape(check.name)}")
            for line in wrong:
                console.print(f"    {escape(line)}", highlight=False, soft_wrap=True)
        if name in why and not found:  # what only shows beside the others: topics read twice
            failed += 1
            console.print(f"  [red]✗[/red] {escape(why[name])}", highlight=False, soft_wrap=True)
    told = "无误 no mistake" if not failed else f"{failed} 项未通过 failed"
    console.print(f"{len(names)} connectors, {count} checks: {told}")
    return not failed
