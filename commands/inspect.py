"""Commands that look and change nothing: quarantine, explain, check."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from api.notify.sender import parse_networks
from api.notify.subscriptions import load_webhooks
from commands.connector import check_connectors
from commands.scenario import check_scenarios
from core.clock import SystemClock
from core.errors import ConnectorError, NotFoundError
from core.incidents import Incident
from core.settings import Settings
from core.units import china_time, ns_to_rfc3339
from geo.city import load_city
from scenarios.calendar import is_decreed
from scenarios.loader import load_packs
from store.archive.query import ArchiveReader
from store.cases import CaseStore
from store.explanation import explanation, receivers_not_chosen
from store.filters import IncidentFilter


def open_to_read(settings: Settings) -> CaseStore:
    """The case store of a data folder, to read.

    Raises:
        NotFoundError: There is none.
    """
    path = settings.data_dir / "store.sqlite3"
    if settings.store_url.startswith("sqlite:") and not path.exists():
        raise NotFoundError(
            f"no case store at {path}; name the data folder of a city with --data, "
            "or run `qingniao demo` first"
        )
    return CaseStore(settings.store_url, load_packs(settings.packs), (), (), "")


def print_quarantine(settings: Settings, reason: str | None, limit: int, console: Console) -> None:
    """List rejected messages, and how many there were for each reason."""
    store = open_to_read(settings)
    try:
        counts = store.rejection_counts()
        table = Table("reason", "count", title="隔离区 Quarantine")
        for name, count in sorted(counts.items(), key=lambda item: -item[1]):
            table.add_row(name, str(count))
        console.print(table if counts else "隔离区为空 Nothing in quarantine.")
        rows = store.list_rejections(reason=reason, limit=limit)
        if rows:
            listing = Table("received", "topic", "reason", "detail", "bytes", "payload")
            for row in rows:
                listing.add_row(
                    ns_to_rfc3339(row.received_ns),
                    row.topic,
                    row.reason,
                    row.detail,
                    str(row.payload_bytes),
                    repr(row.payload[:60])[2:-1],
                )
            console.print(listing)
    finally:
        store.close()


def print_explanation(settings: Settings, wanted: str, console: Console) -> None:
    """Tell an incident's story: why, who, what speaks for it, what was done."""
    store = open_to_read(settings)
    try:
        found = store.detail(store.id_of(wanted))
        with closing(ArchiveReader(settings.archive_dir)) as archive:
            told = explanation(store, archive, found.incident.id, (), ())
        parent_id = found.incident.parent_id
        parent = None if parent_id is None else store.detail(parent_id).incident
        parts = store.list_incidents(IncidentFilter(parent_id=found.incident.id)).rows
    finally:
        store.close()
    incident, place = found.incident, found.incident.place
    console.print(
        f"[bold]{incident.case_number}[/bold]  {incident.scenario_name.zh} "
        f"{incident.scenario_name.en}  {incident.status.value}  {incident.severity.value}"
    )
    console.print(f"{place.area_name or place.unplaced or ''}  {place.lon_deg}, {place.lat_deg}")
    console.print(incident.explanation.zh)
    console.print(incident.explanation.en)
    if parent is not None:
        console.print(
            f"上级案件 Part of: {parent.case_number}  {parent.scenario_name.zh} "
            f"{parent.scenario_name.en}  {parent.status.value}"
        )
    for row in parts:
        part = msgspec.json.decode(row.body)
        name = part["scenario_name"]
        console.print(
            f"下级案件 Has part: {part['case_number']}  {name['zh']} {name['en']}  {part['status']}"
        )
    sources = Table("time", "source", "thing", "rule", "edge", "because", title="证据 Evidence")
    for body in found.evidence:
        one = msgspec.json.decode(body)
        facts = ", ".join(f"{name} {value}" for name, value in one["because"].items())
        sources.add_row(one["at"], one["source"], one["thing_id"], one["rule"], one["edge"], facts)
    console.print(sources)
    steps = Table("time", "who", "action", "status", "reason", title="过程 History")
    for body in found.history:
        step = msgspec.json.decode(body)
        steps.add_row(
            step["at"], step["actor"], step["action"], step["to_status"] or "", step["reason"]
        )
    console.print(steps)
    _print_others(settings, incident, console)
    _print_rules(told["rules_not_met"], console)


def _print_rules(rules: Sequence[dict[str, Any]], console: Console) -> None:
    """Tell which other rules looked at the same observations, and why they said nothing."""
    table = Table("rule", "规则", "in words", "failed", title="未触发的规则 Rules not met")
    for one in rules:
        failed = "; ".join(f"{each['wanted']}, got {each['got']}" for each in one["failed"])
        words = one["in_words"]
        table.add_row(
            one["rule"],
            words.zh,
            words.en,
            failed or "地点、时段或持续时间 place, hours or duration",
        )
    if table.row_count:
        console.print(table)


def _print_others(settings: Settings, incident: Incident, console: Console) -> None:
    """Tell who else might have been expected to get it, and why they did not."""
    scenarios = {one.id: one for one in load_packs(settings.packs)}
    city = load_city(settings.city, seed=settings.city_seed)
    others = Table("who", "name", "为何不是", "why not", title="其他单位与人员 Not chosen")
    for one in receivers_not_chosen(
        incident, scenarios.get(incident.scenario), city.units, city.workers
    ):
        others.add_row(one.id, one.name, one.why_not.zh, one.why_not.en)
    if others.row_count:
        console.print(others)


def print_check(settings: Settings, console: Console) -> None:
    """Load everything that can be wrong before a start, and tell what was found."""
    console.print("[bold]设置 Settings[/bold]")
    for name, value in settings.model_dump().items():
        console.print(f"  {name} = {value}", highlight=False)
    packs = load_packs(settings.packs)
    console.print(f"[bold]场景 Scenarios[/bold]  {len(packs)}: {', '.join(p.id for p in packs)}")
    check_scenarios(settings.packs, console)
    year = china_time(SystemClock().now_ns()).year
    known = ", ".join(f"{one} {'✓' if is_decreed(one) else '✗'}" for one in (year, year + 1))
    console.print(f"[bold]日历 Calendar[/bold]  holidays known: {known}")
    if settings.connectors is not None and not check_connectors(settings, None, console):
        raise ConnectorError(f"{settings.connectors}: see above; ingest runs without what fails")
    webhooks = load_webhooks(settings.webhooks_path)
    parse_networks(settings.notify.allow_networks)
    names = ", ".join(one.name for one in webhooks) or f"none in {settings.webhooks_path}"
    console.print(f"[bold]推送 Webhooks[/bold]  {names}", highlight=False)
    city = load_city(settings.city, seed=settings.city_seed)
    console.print(f"[bold]城市 City[/bold]  {city.title.zh} {city.title.en}, EPSG:{city.crs_epsg}")
    table = Table("layer", "role", "features", "version")
    for layer in city.layers.values():
        table.add_row(layer.id, layer.role.value, str(len(layer)), layer.version)
    console.print(table)
    console.print(
        f"{len(city.devices)} devices, {len(city.cameras)} cameras, {len(city.docks)} docks, "
        f"{len(city.units)} units, {len(city.workers)} workers"
    )
