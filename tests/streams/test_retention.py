"""The case store is kept to its retention while it runs, counted and told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from core.clock import ManualClock
from core.errors import ServiceError
from core.units import NS_PER_S
from store.cases import CaseStore
from store.database import migrate
from store.things import Thing
from streams.retention import keep_to_retention

DAY_NS = 86_400 * NS_PER_S


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CaseStore]:
    url = f"sqlite:///{tmp_path / 'store.sqlite3'}"
    migrate(url)
    with CaseStore(url, [], [], [], "QD") as store:
        store.upsert_things(
            Thing(thing_id=f"t{day}", kind="x", observed_ns=day * DAY_NS) for day in (1, 20, 190)
        )
        yield store


def forgotten() -> float:
    return REGISTRY.get_sample_value("qingniao_store_forgotten_total", {"table": "things"}) or 0.0


def left(store: CaseStore) -> list[str]:
    return [one.thing_id for one in store.list_things()]


async def until(true: Callable[[], bool], work: Awaitable[None]) -> None:
    running = asyncio.ensure_future(work)
    try:
        async with asyncio.timeout(20):
            while not true():
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_what_is_old_goes_and_is_counted(
    store: CaseStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "streams.retention")
    before = forgotten()
    work = keep_to_retention(store, ManualClock(201 * DAY_NS), 180.0, first_s=0.0)
    asyncio.run(until(lambda: bool(caplog.records), work))
    assert left(store) == ["t190"]
    assert forgotten() - before == 2
    assert caplog.messages == [
        "store: forgot what was over by 1970-01-22T00:00:00.000Z: 2 of things"
    ]


def test_a_database_that_is_away_ends_nothing(
    store: CaseStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_before_ns: int) -> Iterator[Mapping[str, int]]:
        raise ServiceError("case store, forgetting: gone")

    monkeypatch.setattr(store, "forget", away)
    work: Any = keep_to_retention(store, ManualClock(201 * DAY_NS), 180.0, first_s=0.0)
    asyncio.run(until(lambda: bool(caplog.records), work))
    assert "not all that is old was forgotten: case store, forgetting: gone" in caplog.text
    assert left(store) == ["t1", "t190", "t20"]
