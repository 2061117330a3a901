"""The stream, from a real server: what comes, once each, in order, also after a break."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest

from api import stream as stream_module
from core.events import Edge
from scenarios.steps import Step
from store.things import Thing


class Received:
    """One event of a stream."""

    def __init__(self, lines: list[str]) -> None:
        parts = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        self.event = parts.get("event", "")
        self.id = parts.get("id")
        self.data = msgspec.json.decode(parts["data"]) if "data" in parts else None


@asynccontextmanager
async def listening(base: str, **request: Any) -> AsyncIterator[AsyncIterator[Received]]:
    """Connect; gives the stream's events as they come."""
    async with (
        httpx.AsyncClient(base_url=base, timeout=10.0) as client,
        client.stream("GET", "/stream", **request) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"

        async def events() -> AsyncIterator[Received]:
            lines: list[str] = []
            async for line in answer.aiter_lines():
                if line:
                    lines.append(line)
                elif lines:
                    yield Received(lines)
                    lines = []

        yield events()


async def take(events: AsyncIterator[Received], count: int, kind: str = "incident") -> list[Any]:
    found: list[Received] = []
    async with asyncio.timeout(10):
        async for one in events:
            if one.event == kind:
                found.append(one)
                if len(found) == count:
                    break
    return found


async def test_changes_come_at_once_and_in_order(site: Any, serve: Any) -> None:
    with serve(site.app) as base:
        async with listening(base) as events:
            first = await anext(events)
            assert (first.event, first.id) == ("", "0")
            began_s = time.monotonic()
            [opened] = await asyncio.to_thread(site.apply, site.event(30))
            [one] = await take(events, 1)
            assert time.monotonic() - began_s < 2.0
            assert one.id == "1"
            assert one.data["change"] == "opened"
            assert one.data["at"] == "2026-01-01T02:00:31.000Z"
            assert one.data["incident"]["id"] == opened.incident.id
            assert one.data["evidence"]["thing_id"] == "manhole-1"
            await asyncio.to_thread(site.apply, site.event(40, Edge.STILL))
            await asyncio.to_thread(site.apply, site.event(50, Edge.CLEAR))
            more = await take(events, 2)
            assert [(one.id, one.data["change"]) for one in more] == [
                ("2", "evidence"),
                ("3", "cleared"),
            ]
            await asyncio.to_thread(
                site.store.transition,
                opened.incident.id,
                Step(action="accept", actor="w", role="worker", at_ns=1),
            )
            [step] = await take(events, 1)
            assert step.data["change"] == "transition"
            assert step.data["evidence"] is None
            assert step.data["incident"]["status"] == "handling"


@pytest.mark.parametrize("by", ["header", "query"])
async def test_after_a_break_exactly_the_missed_comes(site: Any, serve: Any, by: str) -> None:
    with serve(site.app) as base:
        for n in range(5):
            site.apply(site.event(n, Edge.STILL if n else Edge.RAISE))
        request = (
            {"headers": {"Last-Event-ID": "2"}}
            if by == "header"
            else {"params": {"last_event_id": "2"}}
        )
        async with listening(base, **request) as events:
            missed = await take(events, 3)
            assert [one.id for one in missed] == ["3", "4", "5"]
            await asyncio.to_thread(site.apply, site.event(9, Edge.CLEAR))
            [new] = await take(events, 1)
            assert new.id == "6"


async def test_what_was_missed_before_the_server_started_comes(
    make_site: Callable[..., Any], serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the table, in pages, and over into the ring, each once."""
    monkeypatch.setattr(stream_module, "PAGE_LINES", 7)
    monkeypatch.setattr("api.stream.RING_LINES", 10)  # the hub of this app is made after this line
    site = make_site()
    site.apply(*(site.event(n, Edge.STILL if n else Edge.RAISE) for n in range(40)))
    with serve(site.app) as base:
        await asyncio.to_thread(site.apply, *(site.event(n, Edge.STILL) for n in range(40, 60)))
        async with listening(base, headers={"Last-Event-ID": "3"}) as events:
            missed = await take(events, 57)
            assert [int(one.id) for one in missed] == list(range(4, 61))
        async with listening(base, headers={"Last-Event-ID": "999999"}) as events:
            first = await anext(events)
            assert first.id == "60"


async def test_a_reader_that_was_away_too_long_is_told(
    make_site: Callable[..., Any], serve: Any
) -> None:
    site = make_site()
    for n in range(3):
        site.apply(site.event(n, Edge.STILL if n else Edge.RAISE))
    from sqlalchemy import create_engine, text

    engine = create_engine(f"sqlite:///{site.folder / 'store.sqlite3'}")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM feed WHERE sequence <= 2"))
    engine.dispose()
    with serve(site.app) as base:
        async with listening(base, headers={"Last-Event-ID": "0"}) as events:
            assert [(await anext(events)).event for _ in range(3)] == ["", "reset", "incident"]


async def test_commits_of_another_process_are_found(
    site: Any, make_site: Callable[..., Any], serve: Any
) -> None:
    other = make_site()
    with serve(site.app) as base:
        async with listening(base) as events:
            await anext(events)
            await asyncio.to_thread(other.apply, other.event(30))
            [one] = await take(events, 1)
            assert one.id == "1"


async def test_things_are_coalesced_and_figures_come(site: Any, serve: Any) -> None:
    def thing(n: int) -> Thing:
        return Thing(thing_id="sn-1", kind="aircraft", observed_ns=n, measures={"alt_agl_m": n})

    with serve(site.app) as base:
        async with listening(base) as events:
            await anext(events)
            site.live.update_figures({"observations_per_s": 3.5, "incidents_open": 0})
            for n in range(1, 50):
                site.live.update_things([thing(n)])
            [one] = await take(events, 1, "thing")
            assert one.id is None
            assert one.data["state"] == "live"
            while one.data["measures"]["alt_agl_m"] < 49:
                [one] = await take(events, 1, "thing")
            figures = (await take(events, 2, "figures"))[-1].data
            assert figures["observations_per_s"] == 3.5
            assert figures["city_time"] == "2026-01-01T02:00:00.000Z"
            assert figures["rejections"] == 0


async def test_a_silent_stream_is_kept_open(
    make_site: Callable[..., Any], serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "KEEP_ALIVE_S", 0.2)
    monkeypatch.setattr(stream_module, "FIGURES_S", 1e9)
    site = make_site()
    with serve(site.app) as base:
        async with (
            httpx.AsyncClient(base_url=base, timeout=10.0) as client,
            client.stream("GET", "/stream") as answer,
        ):
            seen = 0
            async with asyncio.timeout(10):
                async for line in answer.aiter_lines():
                    seen += line == ": keep-alive"
                    if seen == 2:
                        break


async def test_too_many_clients_and_clients_that_go(
    make_site: Callable[..., Any], serve: Any
) -> None:
    site = make_site(max_stream_clients=1)
    with serve(site.app) as base:
        async with listening(base) as events:
            await anext(events)
            async with httpx.AsyncClient(base_url=base) as client:
                answer = await client.get("/stream")
                assert answer.status_code == 429
                assert answer.headers["retry-after"] == "5"
        for _ in range(100):
            if site.app.state.hub.client_count == 0:
                break
            await asyncio.sleep(0.05)
        assert site.app.state.hub.client_count == 0
        async with httpx.AsyncClient(base_url=base) as client:
            text = (await client.get("/metrics")).text
        assert 'qingniao_stream_clients_closed_total{reason="gone"} 1.0' in text
        assert 'qingniao_stream_clients_closed_total{reason="full"} 1.0' in text


async def test_a_client_that_takes_nothing_is_closed(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "STALL_S", 0.1)
    hub = site.app.state.hub
    await hub.start()

    async def receive() -> Any:
        await asyncio.sleep(3600)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(3600)

    try:
        async with asyncio.timeout(5):
            await stream_module.EventStream(hub, None)({"type": "http"}, receive, send)
        assert hub.client_count == 0
        assert hub.closed_total.labels("slow")._value.get() == 1
    finally:
        await hub.stop()


async def test_the_server_ends_with_streams_open(site: Any, serve: Any) -> None:
    began_s = time.monotonic()
    async with httpx.AsyncClient(timeout=10.0) as client:
        with serve(site.app) as base:
            request = client.build_request("GET", f"{base}/stream")
            answer = await client.send(request, stream=True)
        ended = b"".join([part async for part in answer.aiter_raw()])
        assert ended.startswith(b"retry: 2000\nid: 0\n\n")
    assert time.monotonic() - began_s < 4.0
