"""``qingniao scenario``: a new scenario from a template, and the examples of pages run."""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.console import Console

from core.errors import InputError
from scenarios.examples import check_page
from scenarios.loader import SHIPPED_PACKS, load_packs, parse_scenario

_YAML = """\
id: {name}
name: {{zh: 新场景, en: New scenario}}
domain: 城管            # 城管 交通 住建 社区 低空
purpose:
  zh: 一句话说明为什么要管
  en: Say in a line why anybody should act
category:              # national: five digits of GB/T 47678.5, kind 部件 or 事项
  system: own
  kind: 自定义
  code: "SQ-99"
  name: {{zh: 新场景, en: New scenario}}
department: {{zh: 城市管理部门, en: Urban management department}}
severity: minor        # minor moderate severe extreme
scope: thing
rules:
  - id: level
    when:
      kind: my_sensor
      measure: level_m
      at_least: 0.5
      for: 60s
      clear_below: 0.4
    confidence: 0.9
still_every: 10min
accepts_reports: true
correlate: {{group_by: spot, radius_m: 10, within: 15min, reopen_within: 15min}}
deadline: {{duration: 4h, clock: working}}
route: {{receiver: worker}}
closes_when:
  zh: 现场恢复正常，附照片
  en: The place is as it should be; a picture is attached
"""

_PAGE = """\
# New scenario 新场景

Say in a line why anybody should act. 一句话说明为什么要管。

| | |
|---|---|
| Sources | `my_sensor` (`level_m`). Citizens' reports. |
| Category | SQ-99 新场景, 自定义, our own list. |
| Department | Urban management department 城市管理部门 (城管) |
| Severity | minor 一般 |
| Deadline | 4 working h 4 小时（工作时） |
| One case | Whatever is raised within 10 m is one case. |
| Closed when | The place is as it should be; a picture is attached. 现场恢复正常，附照片。 |

## Fires

```fires
0s level_m=0.6
30s level_m=0.6
60s level_m=0.6
```

## Does not fire

```quiet
0s level_m=0.6
30s level_m=0.2
120s tick
```
"""


def new_scenario(name: str, folder: Path, console: Console) -> None:
    """Write a scenario and its page to begin with; a new folder takes the shipped ones along.

    Raises:
        InputError: There is such a scenario already.
        RuleError: The name is not one.
    """
    text = _YAML.format(name=name)
    parse_scenario(text, f"{name}.yaml")
    path, page = folder / f"{name}.yaml", folder / f"{name}.md"
    if path.exists() or (SHIPPED_PACKS / path.name).exists():
        raise InputError(f"{path}: there is a scenario of this name; choose another one")
    if not folder.exists():
        shutil.copytree(SHIPPED_PACKS, folder)
        console.print(f"{folder}: took the shipped scenarios along")
    path.write_text(text, encoding="utf-8")
    page.write_text(_PAGE, encoding="utf-8")
    console.print(f"{path}\n{page}")
    console.print(
        f"改好后运行 when they say what you mean: qingniao scenario check {folder}", soft_wrap=True
    )


def check_scenarios(folder: Path | None, console: Console) -> None:
    """Load the scenarios of a folder and run the examples of their pages.

    Raises:
        RuleError: The first mistake, with file, line, what was found and what is accepted.
    """
    where = folder or SHIPPED_PACKS
    packs = load_packs(folder)
    examples = pages = 0
    for path in sorted(where.glob("*.yaml")):
        scenario = parse_scenario(path.read_text(encoding="utf-8"), str(path))
        page = path.with_suffix(".md")
        if not page.exists():
            console.print(f"[yellow]{page}: no page; its examples would be run[/yellow]")
            continue
        pages += 1
        examples += check_page(page.read_text(encoding="utf-8"), str(page), scenario, packs)
    console.print(f"{len(packs)} scenarios, {pages} pages, {examples} examples: 无误 no mistake")
