"""The tail hands out every line once, from memory or from the store."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from api.notify import tail as tail_module
from api.notify.tail import Tail
from core.events import Edge


async def follow(tail: Tail, latest: int) -> asyncio.Task[None]:
    task = asyncio.create_task(tail.run())
    while tail.latest < latest:
        await asyncio.sleep(0.01)
    return task


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def every_line(tail: Tail) -> list[int]:
    told = [0]
    while lines := await tail.after(told[-1]):
        told += [line.sequence for line in lines]
    return told[1:]


@pytest.mark.parametrize(("ring", "page"), [(1024, 200), (5, 2), (1, 1)])
async def test_a_tail_that_stopped_for_a_while_misses_nothing(
    site: Any, monkeypatch: pytest.MonkeyPatch, ring: int, page: int
) -> None:
    monkeypatch.setattr(tail_module, "RING_LINES", ring)
    monkeypatch.setattr(tail_module, "PAGE_LINES", page)
    tail = Tail(site.store)
    number = 0

    def change(count: int) -> None:
        nonlocal number
        for _ in range(count):
            site.apply(site.event(10.0 * number, Edge.STILL if number else Edge.RAISE))
            number += 1

    task = await follow(tail, 0)
    change(7)
    await follow_up(tail, 7)
    await stop(task)
    change(4)
    task = await follow(tail, 11)
    assert await every_line(tail) == list(range(1, 12))
    change(3)
    await follow_up(tail, 14)
    assert await every_line(tail) == list(range(1, 15))
    assert await tail.after(14) == await tail.after(99) == []
    await stop(task)


async def follow_up(tail: Tail, latest: int) -> None:
    while tail.latest < latest:
        await asyncio.sleep(0.01)
