"""``qingniao trace``: one observation or incident, from end to end, at a terminal."""

from __future__ import annotations

from typing import Any

import msgspec
from rich.console import Console
from rich.tree import Tree

from commands.archive import open_archive
from commands.inspect import open_to_read
from core.settings import Settings
from store.trace import trace


def print_trace(settings: Settings, wanted: str, as_json: bool, console: Console) -> None:
    """Show the chain as a tree, or all of it as JSON."""
    store = open_to_read(settings)
    try:
        with open_archive(settings) as archive:
            found = trace(store, archive, wanted)
    finally:
        store.close()
    if as_json:
        print(msgspec.json.encode(found).decode())
        return
    tree = Tree(f"[bold]{wanted}[/bold]")
    for one in found["observations"]:
        _add_observation(tree, one)
    for one in found["not_archived"]:
        tree.add(f"观测 observation {one}: 不在归档中 not in the archive")
    if not found["events"]:
        tree.add("没有产生事件 no event came of it")
    for event in found["events"]:
        facts = ", ".join(f"{name} {value}" for name, value in event["because"].items())
        tree.add(f"事件 event {event['event_id']}  {event['rule']} {event['edge']}  {facts}")
    for one in found["incidents"]:
        _add_incident(tree, one)
    console.print(tree, highlight=False)


def _add_observation(tree: Tree, one: dict[str, Any]) -> None:
    log = one["log"]
    node = tree.add(f"观测 observation {one['id']}  {one['thing_id']} {one['kind']}")
    node.add(f"消息 message {one['topic']}  received {one['received_at']}")
    node.add(
        f"日志 log observations\\[{log['partition']}]@{log['offset']}  "
        f"batch {log['ingest_id']} {log['sequence']}"
    )
    node.add(f"标签 tags {one['area_code'] or '无 none'}  {one['road_name'] or ''} {one['zones']}")
    rules = node.add("规则 rules")
    for rule in one["rules"]:
        failed = "; ".join(f"{bad['wanted']}, got {bad['got']}" for bad in rule["failed"])
        rules.add(f"{rule['verdict']}  {rule['rule']}  {failed}".rstrip())


def _add_incident(tree: Tree, one: dict[str, Any]) -> None:
    incident = one["incident"]
    node = tree.add(f"案件 incident {incident['case_number']}  {incident['status']}")
    for step in one["history"]:
        node.add(f"{step['at']}  {step['action']}  {step['actor']}  {step['reason']}".rstrip())
    for told in one["told"]:
        node.add(f"通知 told {told['at']}  feed {told['sequence']} {told['change']}")
