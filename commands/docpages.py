"""The pages of docs/ that are written from the code, so that they cannot go stale."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from core import topics
from core.settings import Settings
from core.units import parse_duration_s
from scenarios.escalation import LEVEL_NAMES, SHARE_OF_TIME
from scenarios.kpis import KPIS
from scenarios.lifecycle import (
    ACTION_NAMES,
    NEEDS_REASON,
    STATUS_NAMES,
    STEP_NAMES,
    TRANSITIONS,
)
from scenarios.loader import load_packs
from scenarios.model import Rule, Scenario
from scenarios.verdicts import VERDICT_NAMES
from simulators.devices.catalogue import CATALOGUE

_WRITTEN = "<!-- Written by `make docs`; change the code, not this page. -->\n\n"


_INCIDENT_FEED = """
    `incidents/{area}/{id}` tells every change of an incident. `{area}` is the full code of every
    level that is known, from the district down, so that each level subscribes with its own code
    and nothing is sent twice:

    | who | code, for example | topic filter |
    |---|---|---|
    | city 市 | | `incidents/#` |
    | district 区 | `370202` | `incidents/370202/#` |
    | street 街道 | `370202001` | `incidents/+/370202001/#` |
    | community 社区 | `370202001002` | `incidents/+/+/370202001002/#` |
    | unit grid 网格 | `370202001002003` | `incidents/+/+/+/370202001002003/+` |
    | in no known area | | `incidents/unplaced/+` |

    The body is a CloudEvent; [notifications](notifications.md) says what is in it, what is
    retained, and what is promised.
"""


def write_pages(folder: Path, *, check_only: bool) -> list[str]:
    """Write every generated page; gives the names of those that were not current."""
    pages = {
        "settings.md": _settings_page(),
        "topics.md": _topics_page(),
        "scenarios.md": _scenarios_page(),
        "devices.md": _devices_page(),
        "case-process.md": _case_process_page(),
    }
    stale = []
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check_only:
                path.write_text(text, encoding="utf-8")
    return stale


def _settings_page() -> str:
    lines = [
        "# Settings\n\n",
        _WRITTEN,
        "Read in this order: flag, environment, `.env`, default. Give secrets as files.\n\n",
        "| environment | default | what it does |\n|---|---|---|\n",
    ]
    for name, default, text in _fields(Settings, "QINGNIAO_"):
        lines.append(f"| `{name}` | {default} | {text} |\n")
    return "".join(lines)


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from _fields(type(field.default), f"{prefix}{name.upper()}__")
            continue
        default = "" if field.default in (None, PydanticUndefined, "") else f"`{field.default}`"
        if "Secret" in str(field.annotation):
            default = ""
        yield f"{prefix}{name.upper()}", default, (field.description or "").replace("|", "\\|")


def _topics_page() -> str:
    doc = inspect.getdoc(topics) or ""
    subscriptions = "".join(f"| `{name}` | {qos} |\n" for name, qos in topics.INGEST_FILTERS)
    frames = "".join(f"| `{name}` | {qos} |\n" for name, qos in topics.FRAME_FILTERS)
    return (
        f"# Topics\n\n{_WRITTEN}```text\n{doc}\n```\n\n"
        f"## What ingest subscribes to\n\n| filter | QoS |\n|---|---|\n{subscriptions}\n"
        f"## What vision subscribes to\n\n| filter | QoS |\n|---|---|\n{frames}\n"
        "## What others may subscribe to 数据直达基层\n\n"
        f"{inspect.cleandoc(_INCIDENT_FEED)}\n\n"
        "## A plain JSON reading\n\n"
        "```json\n"
        '{"thing": "water-0001", "kind": "water_level", "time": "2026-07-01T09:00:00.000+08:00",\n'
        ' "seq": 12, "lon": 120.3846, "lat": 36.0614, "error_m": 3.0,\n'
        ' "measures": {"water_level_m": 0.31}, "labels": {"battery": "ok"}}\n'
        "```\n\n"
        "Only `measures` or `labels` is needed: `thing` is the last level of the topic unless "
        "given, a device without `time` is given the time of receipt, one without `lon` and `lat` "
        "the place it has in the register of devices. Unknown keys are ignored.\n"
    )


def _devices_page() -> str:
    lines = [
        "# Simulated devices\n\n",
        _WRITTEN,
        (
            "What stands in `generated:street`, `generated:district` and `generated:city`, and "
            "how it reports; [observations.md](observations.md) says what happens to it in a "
            "scripted day.\n\n"
        ),
        "| kind | field | format | every | oftener | measures (step, noise) |\n",
        "|---|---|---|---|---|---|\n",
    ]
    for name, kind in sorted(CATALOGUE.items()):
        oftener = "on change" if kind.on_change else ""
        if kind.alert is not None:
            alert = kind.alert
            oftener = f"{alert.interval_s} s from `{alert.measure}` {alert.level:g}"
        form = f"{kind.wire} {kind.model}".strip()
        measures = ", ".join(
            f"`{one.measure}` ({one.quantum:g}, {one.noise:g})" for one in kind.signals
        )
        lines.append(
            f"| `{name}` | {kind.sector} | {form} | {kind.interval_s} s | {oftener} | "
            f"{measures} |\n"
        )
    return "".join(lines)


def _scenarios_page() -> str:
    lines = [
        "# Scenarios\n\n",
        _WRITTEN,
        "Each is one file in `scenarios/packs/` with a page beside it.\n\n",
        "| scenario | field | category | severity | raises when | deadline |\n",
        "|---|---|---|---|---|---|\n",
    ]
    for one in load_packs():
        raises = "; or ".join(_rule_words(rule) for rule in one.rules)
        lines.append(
            f"| [{one.name.zh} {one.name.en}](../scenarios/packs/{one.id}.md) `{one.id}` "
            f"| {one.domain.value} | {one.category.code} | {one.severity.value} | {raises} "
            f"| {_deadline_words(one)} |\n"
        )
    return "".join(lines)


def _case_process_page() -> str:
    lines = [
        "# The case process 案卷流程\n\n",
        _WRITTEN,
        (
            "The seven steps of 数字城管, taken with `POST /incidents/{id}/transitions`. A case "
            "that a rule opened is collected, filed and dispatched by the platform at once; "
            "people do the rest. Who fed a case back does not verify it, the clock starts at "
            "dispatch, stands while a case is suspended and moves with an extension.\n\n"
        ),
        "| step | status | action | leads to | by | reason |\n|---|---|---|---|---|---|\n",
    ]
    for one in TRANSITIONS:
        step = STEP_NAMES.get(one.status)
        lines.append(
            f"| {'' if step is None else step.zh} | {STATUS_NAMES[one.status].zh} `{one.status}` "
            f"| {ACTION_NAMES[one.action].zh} `{one.action}` "
            f"| {STATUS_NAMES[one.to].zh} `{one.to}` | {', '.join(sorted(one.roles))} "
            f"| {'needed' if one.action in NEEDS_REASON else ''} |\n"
        )
    lines += [
        "\n## When time runs out 临期与超期\n\n",
        (
            "Shares are of the time that the scenario allows, in the hours that count; each level "
            "is a line in the history and in the live stream.\n\n"
        ),
        "| level | share of the time | who is told |\n|---|---|---|\n",
    ]
    lines += [
        f"| {int(level)} | {share:g} | {LEVEL_NAMES[level].zh} {LEVEL_NAMES[level].en} |\n"
        for level, share in SHARE_OF_TIME.items()
    ]
    lines.append(
        "\n## Indicators 评价指标\n\n`GET /kpis` gives them by area, unit, category or period; "
        "each links to the very cases behind it.\n\n"
        "| indicator | | formula | |\n|---|---|---|---|\n"
    )
    lines += [
        f"| {one.name.zh} `{one.id}` | {one.name.en} | {one.formula.zh} | {one.formula.en} |\n"
        for one in KPIS
    ]
    verdicts = "; ".join(f"{one.zh} `{word}`" for word, one in VERDICT_NAMES.items())
    lines.append(
        "\n## Verdicts 核查结论\n\n`POST /incidents/{id}/verdict`, one tap: "
        f"{verdicts}. `GET /quality/rules` and `/quality/sources` tell how often each was "
        "right, `/quality/proposals` which thresholds would have avoided false alarms and kept "
        "the real ones, and which devices cry wolf. A person accepts a threshold with `qingniao "
        "scenario accept RULE --actor WHO` (a dry run until `--apply`), and masks a device by a "
        "maintenance window (`qingniao exclusion add maintenance`).\n"
    )
    lines.append(
        "\n## Pictures 前后照片\n\n`POST /incidents/{id}/photos` takes a JPEG of up to 1 MiB, "
        "strips what the phone wrote into it and gives a name; `photos` of the next step names "
        "it. With `feedback` it is kept as after, with any other action as before.\n"
    )
    return "".join(lines)


def _rule_words(rule: Rule) -> str:
    words = [rule.kind]
    if rule.comparison is not None:
        measures = " or ".join(rule.measures)
        words.append(f"{measures} {rule.comparison.value.replace('_', ' ')} {rule.threshold:g}")
    words += [f"{name} = {' or '.join(texts)}" for name, texts in rule.labels.items()]
    if rule.in_zone:
        words.append(f"in {' or '.join(rule.in_zone)}")
    if rule.in_airspace:
        words.append(f"in {rule.in_airspace} airspace")
    if rule.registered is not None:
        words.append("registered" if rule.registered else "not registered")
    if rule.count is not None:
        words.append(f"{rule.count.at_least} times within {rule.count.within_s:g} s")
    if rule.rate is not None:
        words.append(f"as a change per {rule.rate.per_s:g} s over {rule.rate.over_s:g} s")
    text = ", ".join(words)
    if rule.absent:
        return f"{text}, then silent for {rule.for_s:g} s"
    return f"{text}, for {rule.for_s:g} s" if rule.for_s else text


def _deadline_words(scenario: Scenario) -> str:
    minutes = scenario.deadline.duration_s / parse_duration_s("1min")
    amount = f"{minutes / 60:g} h" if minutes >= 60 else f"{minutes:g} min"
    return f"{amount}, working hours" if scenario.deadline.clock.value == "working" else amount
