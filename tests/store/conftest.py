"""A case store on each database, and builders of what goes into it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import create_engine, text

from core.city import Unit, Worker
from core.events import Edge, Event, EventBatch, Place, event_id
from core.incidents import Severity, Text
from core.observations import Stamp
from core.units import rfc3339_to_ns, seconds_to_ns
from scenarios.model import (
    Category,
    CategoryKind,
    Correlate,
    Deadline,
    Domain,
    GroupBy,
    Inhibit,
    Route,
    Rule,
    Scenario,
)
from store.cases import CaseStore
from store.database import migrate

#: 2026-01-01 10:00 in China.
START_NS = rfc3339_to_ns("2026-01-01T10:00:00+08:00")

COMMUNITY = "370202091101"


def at(seconds: float) -> int:
    return START_NS + seconds_to_ns(seconds)


def a_scenario(
    name: str = "road-flooding",
    *,
    group_by: GroupBy = GroupBy.AREA,
    radius_m: float = 50.0,
    reopen_within_s: float = 600.0,
    domain: Domain = Domain.TRANSPORT,
    severity: Severity = Severity.SEVERE,
) -> Scenario:
    return Scenario(
        id=name,
        name=Text("道路积水", "Road flooding"),
        domain=domain,
        purpose=Text("积水", "Water"),
        category=Category(
            system="GB/T 47678.5-2026",
            kind=CategoryKind.MATTER,
            code="01003",
            name=Text("雨水箅子", "Rain inlet"),
        ),
        department=Text(domain.value, domain.name.title()),
        severity=severity,
        rules=(Rule(id=f"{name}/level", kind="water_level"),),
        correlate=Correlate(
            group_by=group_by, radius_m=radius_m, within_s=3600.0, reopen_within_s=reopen_within_s
        ),
        deadline=Deadline(duration_s=3600.0),
        route=Route(),
        closes_when=Text("水退", "The water is gone"),
    )


SCENARIOS = (
    a_scenario(),
    a_scenario("manhole-cover", group_by=GroupBy.SPOT, radius_m=5.0, domain=Domain.URBAN),
    a_scenario(
        "unidentified-aircraft",
        group_by=GroupBy.THING,
        domain=Domain.LOW_ALTITUDE,
        severity=Severity.EXTREME,
    ),
    a_scenario("night-work"),
    msgspec.structs.replace(
        a_scenario("site-noise"), inhibited_by=Inhibit(scenarios=("night-work",), radius_m=80.0)
    ),
)
UNITS = (
    Unit(unit_id="traffic", name="交警支队", department="交通", area_code=""),
    Unit(unit_id="urban", name="执法支队", department="城管", area_code="370202"),
)
WORKERS = tuple(
    Worker(
        worker_id=f"worker-{n}",
        name=f"网格员{n}",
        area_code=COMMUNITY,
        lon_deg=120.38,
        lat_deg=36.06,
    )
    for n in (1, 2)
)


def an_event(
    at_s: float = 0.0,
    edge: Edge = Edge.RAISE,
    *,
    scenario: str = "road-flooding",
    thing: str = "water-1",
    began_s: float = 0.0,
    lon: float | None = 120.38,
    lat: float | None = 36.06,
    **more: Any,
) -> Event:
    began_ns, at_ns = at(began_s), at(at_s)
    more.setdefault("rule", f"{scenario}/level")
    rule = more["rule"]
    place = Place(
        lon_deg=lon,
        lat_deg=lat,
        district_code="370202",
        street_code="370202091",
        community_code=COMMUNITY,
        area_name="香港中路",
    )
    if lon is None:
        place = Place(unplaced="no_position")
    return Event(
        id=event_id(rule=rule, thing_id=thing, began_ns=began_ns, edge=edge, at_ns=at_ns),
        scenario=scenario,
        edge=edge,
        source="plain",
        thing_id=thing,
        kind="water_level",
        began_ns=began_ns,
        at_ns=at_ns,
        place=more.pop("place", place),
        because=more.pop("because", {"measure": "water_level_m", "value": 0.3}),
        confidence_ratio=more.pop("confidence_ratio", 0.8),
        **more,
    )


def a_batch(*events: Event, sequence: int | None = None, partition: int = 0) -> EventBatch:
    """A batch logged a second after its last event."""
    logged_ns = max((event.at_ns for event in events), default=at(0)) + seconds_to_ns(1)
    return EventBatch(
        stamp=Stamp(
            ingest_id="ingest-1",
            sequence=logged_ns if sequence is None else sequence,
            partition=partition,
            watermark_ns=logged_ns,
            logged_ns=logged_ns,
        ),
        events=events,
    )


class Builders:
    """What the tests of this folder build with."""

    at = staticmethod(at)
    scenario = staticmethod(a_scenario)
    event = staticmethod(an_event)
    batch = staticmethod(a_batch)
    scenarios = SCENARIOS
    units = UNITS
    workers = WORKERS
    community = COMMUNITY


@pytest.fixture(scope="session")
def make() -> type[Builders]:
    return Builders


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """A PostgreSQL server: the one that is named, or one of our own."""
    named = os.environ.get("QINGNIAO_TEST_POSTGRES")
    return named or str(request.getfixturevalue("postgres_server").url())


_number = iter(range(1, 1_000_000))


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], ids=["sqlite", "pg"]
)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty, migrated database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'store.sqlite3'}"
    else:
        server = request.getfixturevalue("postgres_url")
        name = f"qingniao_test_{os.getpid()}_{next(_number)}"
        engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        url = engine.url.set(database=name).render_as_string(hide_password=False)
        engine.dispose()
    migrate(url)
    return url


@pytest.fixture
def open_store(store_url: str) -> Iterator[Callable[..., CaseStore]]:
    """Opens the same database as often as asked."""
    opened: list[CaseStore] = []

    def build(**options: Any) -> CaseStore:
        store = CaseStore(store_url, SCENARIOS, UNITS, WORKERS, "QD", **options)
        opened.append(store)
        return store

    yield build
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., CaseStore]) -> CaseStore:
    return open_store()
