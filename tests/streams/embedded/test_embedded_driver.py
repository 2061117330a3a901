"""Faust apps on the embedded log, in this process: start, work, stop, start again."""
# ruff: noqa: PERF401 (an agent collects for as long as it lives; a comprehension would never end)

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import faust
import pytest
from aiokafka.partitioner import murmur2
from faust.types import TP

from core.errors import InputError, ServiceError, SettingsError
from streams.embedded import read_topic, register
from streams.embedded.driver import _OPEN

register()

RAW = {"value_type": bytes, "value_serializer": "raw", "key_type": bytes, "key_serializer": "raw"}


def an_app(folder: Path, query: str = "", **settings: Any) -> Any:
    settings = {
        "topic_partitions": 2,
        "topic_disable_leader": True,
        "broker_commit_interval": 0.1,
        "stream_wait_empty": False,
        **settings,
    }
    return faust.App(
        "test",
        broker=f"embedded://{folder}/log{query}",
        datadir=str(folder / "faust"),
        web_enabled=False,
        **settings,
    )


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[Any]:
    await app.start()
    try:
        await until(lambda: app.tables.actives_ready and not app.rebalancing)
        yield app
    finally:
        started = time.perf_counter()
        await app.stop()
        assert time.perf_counter() - started < 1


async def until(holds: Callable[[], bool], within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.005)


async def durable(topic: Any, **message: Any) -> Any:
    return await (await topic.send(**message))


class Chain:
    """Two agents, one after the other, a table and a sink."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        app = self.app = an_app(folder, **settings)
        self.first = app.topic("first", **RAW)
        self.second = app.topic("second", **RAW)
        self.counts = counts = app.Table("counts", default=int)
        self.seen: list[bytes] = []
        self.sunk: list[bytes] = []

        async def sink(value: bytes) -> None:
            self.sunk.append(value)

        @app.agent(self.first)
        async def count(stream: Any) -> None:
            async for event in stream.events():
                counts[event.key.decode()] += 1
                await self.second.send(key=event.key, value=event.value + b"!")

        @app.agent(self.second, sink=[sink])
        async def collect(stream: Any) -> Any:
            async for value in stream:
                self.seen.append(value)
                yield value.upper()


def clear_of_logs() -> bool:
    return not _OPEN


async def test_a_restart_goes_on_from_committed_offsets_with_its_table(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    async with running(chain.app):
        for number in range(20):
            await durable(chain.first, key=b"k%d" % (number % 3), value=b"a%d" % number)
        await until(lambda: len(chain.sunk) == 20)
        await chain.app.consumer.commit()
    assert sorted(chain.sunk) == sorted(b"A%d!" % number for number in range(20))
    assert clear_of_logs()

    # Sent while nobody consumes: an app that only produces.
    producer = an_app(tmp_path)
    topic = producer.topic("first", **RAW)
    await durable(topic, key=b"k0", value=b"b0")
    await producer.producer.stop()
    assert clear_of_logs()

    again = Chain(tmp_path)
    async with running(again.app):
        assert dict(again.counts) == {"k0": 7 + (len(again.seen) > 0), "k1": 7, "k2": 6}
        await until(lambda: len(again.sunk) == 1)
        assert again.seen == [b"b0!"]
        assert again.counts["k0"] == 8
    assert len(list(read_topic(tmp_path / "log", "second"))) == 21
    assert {p for p, *_ in read_topic(tmp_path / "log", "first")} <= {0, 1}


async def test_messages_arrive_at_once_and_carry_what_was_sent(tmp_path: Path) -> None:
    app = an_app(tmp_path)
    topic = app.topic("t", partitions=4, internal=True, **RAW)
    got: list[tuple[float, Any]] = []

    @app.agent(topic)
    async def agent(stream: Any) -> None:
        async for event in stream.events():
            got.append((time.perf_counter(), event))

    async with running(app):
        delays = []
        for number in range(30):
            started = time.perf_counter()
            receipt = await durable(
                topic,
                key=b"key",
                value=b"%d" % number,
                partition=number % 4,
                timestamp=1_700_000_000.25,
                headers={"h": b"x"},
            )
            assert receipt.topic_partition == TP("t", number % 4)
            assert receipt.offset == number // 4
            await until(lambda count=number: len(got) > count)
            delays.append(got[-1][0] - started)
        # The median: this machine is shared.
        assert sorted(delays)[15] < 0.005
        event = got[-1][1]
        assert event.message.timestamp == 1_700_000_000.25
        assert list(event.headers.items()) == [("h", b"x")]
        assert event.message.partition == 29 % 4
        with pytest.raises(InputError, match="partitions 0 to 3, got 4"):
            await topic.send(value=b"", partition=4)
        keyed = await durable(topic, key=b"thing-17", value=b"")
        assert keyed.partition == (murmur2(b"thing-17") & 0x7FFFFFFF) % 4


async def test_only_acknowledged_offsets_are_committed(tmp_path: Path) -> None:
    """A checkpointing agent: it acknowledges later, out of order, or never."""
    held: list[Any] = []

    def app_that_holds() -> tuple[Any, Any]:
        app = an_app(tmp_path, topic_partitions=1)
        topic = app.topic("t", **RAW)

        @app.agent(topic)
        async def hold(stream: Any) -> None:
            async for event in stream.noack().events():
                held.append(event)

        return app, topic

    app, topic = app_that_holds()
    async with running(app):
        for number in range(6):
            await durable(topic, value=b"%d" % number)
        await until(lambda: len(held) == 6)
        log = app.consumer.disk_log
        assert log.committed("test", "t", 0) == 0
        # 3 and 4 are done, 0 is still in work: Faust itself would commit 5 here.
        for number in (3, 4):
            held[number].ack()
        await app.consumer.commit()
        assert log.committed("test", "t", 0) == 0
        held[0].ack()
        await app.consumer.commit()
        assert log.committed("test", "t", 0) == 1
        for number in (1, 2):
            held[number].ack()
        await app.consumer.commit()
        assert log.committed("test", "t", 0) == 5
    held.clear()
    app, topic = app_that_holds()
    async with running(app):
        await until(lambda: len(held) == 1)
        assert held[0].value == b"5"
        held[0].ack()
        await until(lambda: app.consumer.disk_log.committed("test", "t", 0) == 6)


async def test_what_is_in_work_when_the_app_stops_comes_again(tmp_path: Path) -> None:
    """Faust cancels the agent and acknowledges the message it had; that must not count."""
    begun: list[bytes] = []
    done: list[bytes] = []

    def a_slow_app(pause_s: float) -> tuple[Any, Any]:
        app = an_app(tmp_path, topic_partitions=1)
        topic = app.topic("t", **RAW)

        @app.agent(topic)
        async def slow(stream: Any) -> None:
            async for value in stream:
                begun.append(value)
                await asyncio.sleep(pause_s if value == b"1" else 0)
                done.append(value)

        return app, topic

    app, topic = a_slow_app(30)
    async with running(app):
        for number in range(3):
            await durable(topic, value=b"%d" % number)
        await until(lambda: begun == [b"0", b"1"])
    assert done == [b"0"]
    app, _ = a_slow_app(0)
    async with running(app):
        await until(lambda: len(done) == 3)
    assert done == [b"0", b"1", b"2"]


async def test_a_slow_agent_holds_back_its_partition_only(tmp_path: Path) -> None:
    app = an_app(tmp_path, stream_buffer_maxsize=16, topic_partitions=1)
    slow_topic, fast_topic = app.topic("slow", **RAW), app.topic("fast", **RAW)
    gate = asyncio.Event()
    slow: list[bytes] = []
    fast: list[bytes] = []

    @app.agent(slow_topic)
    async def slow_agent(stream: Any) -> None:
        async for value in stream:
            await gate.wait()
            slow.append(value)

    @app.agent(fast_topic)
    async def fast_agent(stream: Any) -> None:
        async for value in stream:
            fast.append(value)

    async with running(app):
        for number in range(500):
            await slow_topic.send(value=b"%d" % number)
        for number in range(500):
            await fast_topic.send(value=b"%d" % number)
        await until(lambda: len(fast) == 500)
        assert slow == []
        assert len(app.consumer._in_flight[TP("slow", 0)]) <= 16
        gate.set()
        started = time.perf_counter()
        await until(lambda: len(slow) == 500)
        assert time.perf_counter() - started < 1
    assert slow == fast == [b"%d" % number for number in range(500)]


async def test_a_table_is_right_after_compaction_and_a_topic_added_later(tmp_path: Path) -> None:
    query = "?segment_bytes=4096&tail_bytes=1024"
    settings = {"topic_partitions": 1}

    def counting() -> tuple[Any, Any, Any]:
        app = an_app(tmp_path, query, **settings)
        topic = app.topic("t", **RAW)
        table = app.Table("counts", default=int)

        @app.agent(topic)
        async def count(stream: Any) -> None:
            async for event in stream.events():
                key = event.key.decode()
                if event.value == b"drop":
                    table.pop(key, None)
                else:
                    table[key] += 1

        return app, topic, table

    app, topic, table = counting()
    async with running(app):
        for number in range(1500):
            await topic.send(key=b"k%d" % (number % 5), value=b"x")
            if number % 100 == 0:
                await asyncio.sleep(0.01)
        await durable(topic, key=b"k4", value=b"drop")
        await until(lambda: dict(table) == {f"k{number}": 300 for number in range(4)})
        log = app.consumer.disk_log
        await until(lambda: log.stats().cleaned_runs > 0 and log._cleaning is None)
        await app.consumer.commit()
        # A topic that is subscribed to later rebalances the running app.
        app.topics._resubscribe_sleep_lock_seconds = 0.05
        late: list[bytes] = []
        late_topic = app.topic("late", **RAW)

        async def read_late(stream: Any) -> None:
            async for value in stream:
                late.append(value)

        app.add_future(read_late(late_topic.stream()))
        await until(lambda: TP("late", 0) in app.consumer.assignment() and not app.rebalancing)
        await durable(late_topic, value=b"hello")
        await until(lambda: late == [b"hello"])
        assert dict(table) == {f"k{number}": 300 for number in range(4)}
    changelog = [*read_topic(tmp_path / "log", "test-counts-changelog")]
    assert len(changelog) < 1000
    app, topic, table = counting()
    async with running(app):
        assert dict(table) == {f"k{number}": 300 for number in range(4)}
        await durable(topic, key=b"k0", value=b"x")
        await until(lambda: table["k0"] == 301)


async def test_a_topic_subscribed_with_latest_starts_at_its_end(tmp_path: Path) -> None:
    app = an_app(tmp_path, topic_partitions=1, consumer_auto_offset_reset="latest")
    topic = app.topic("t", **RAW)
    seen: list[bytes] = []

    @app.agent(topic)
    async def agent(stream: Any) -> None:
        async for value in stream:
            seen.append(value)

    await durable(topic, value=b"before")
    async with running(app):
        await durable(topic, value=b"after")
        await until(lambda: seen == [b"after"])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_disk_error_fails_the_sender_and_crashes_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain(tmp_path)
    await chain.app.start()
    await until(lambda: chain.app.tables.actives_ready)
    await durable(chain.first, key=b"k", value=b"good")

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("streams.embedded.segments._fdatasync", full)
    with pytest.raises(ServiceError, match="No space left on device"):
        await durable(chain.first, key=b"k", value=b"lost?")
    await until(lambda: chain.app.crashed)
    with pytest.raises(ServiceError, match="has stopped"):
        await chain.first.send(key=b"k", value=b"later")
    await chain.app.stop()
    monkeypatch.undo()
    assert clear_of_logs()
    assert b"good" in [value for _, _, _, value, _ in read_topic(tmp_path / "log", "first")]


async def test_two_apps_share_a_folder_in_one_loop(tmp_path: Path) -> None:
    chain = Chain(tmp_path)
    async with running(chain.app):
        other = an_app(tmp_path)
        topic = other.topic("first", **RAW)
        await durable(topic, key=b"k", value=b"from the other app")
        await until(lambda: chain.seen == [b"from the other app!"])
        await other.producer.stop()
        assert not clear_of_logs()
    assert clear_of_logs()


async def test_exactly_once_is_refused(tmp_path: Path) -> None:
    app = an_app(tmp_path, processing_guarantee="exactly_once")
    app.in_worker = True
    with pytest.raises(SettingsError, match="at_least_once"):
        await app.consumer.on_start()


@pytest.mark.parametrize(
    "broker",
    ["embedded://host/path", "embedded:///", "embedded:///a;embedded:///b", "embedded:///a?x=1"],
)
async def test_wrong_urls_are_refused(broker: str, tmp_path: Path) -> None:
    app = faust.App("test", broker=broker, web_enabled=False, datadir=str(tmp_path))
    with pytest.raises(SettingsError, match=r"embedded://"):
        _ = app.transport
