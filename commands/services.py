"""``qingniao run``: the platform for real devices, whole or one service at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from aiokafka.errors import KafkaError
from rich.console import Console

from api.mqtt_link import MqttLink
from commands.city_process import CityProcess
from commands.collector import calm_collector
from commands.map_watch import open_map, watch_map
from commands.parts import (
    ApiParts,
    ArchiveParts,
    StreamParts,
    crash_of,
    ingest_id,
    ingest_source,
    kafka_log,
    ledger_reporter,
    open_store,
    open_tap,
    run_until_failure,
)
from commands.sharing import broker_address, claim_data_dir, parse_clock
from core.clock import SystemClock
from core.errors import ServiceError, SettingsError
from core.heartbeat import beat
from core.settings import Settings
from geo.city import load_city
from ingest.bridge import Bridge
from ingest.connectors.load import open_connectors
from ingest.vision_worker import run_vision_worker
from scenarios.loader import load_packs
from streams.app import build_app

console = Console()

#: A stream app that has not stopped by then is left; the process ends.
_STOP_S = 3.0


async def run_service(service: str, settings: Settings, clock: str | None) -> None:
    """Run one service until cancelled.

    Raises:
        SettingsError: There is no such service, or it needs Kafka.
        ServiceError: It failed.
    """
    if service not in SERVICES:
        raise SettingsError(f"service: one of {', '.join(SERVICES)} was wanted, got {service!r}")
    if service in {"ingest", "streams", "archive"} and not settings.on_kafka:
        raise SettingsError(
            f"run {service}: a service of its own shares its log with others, which needs "
            f"broker=kafka://host:port, got {settings.broker!r}; `qingniao run` runs all in one"
        )
    await asyncio.to_thread(claim_data_dir, settings.data_dir)
    ready = asyncio.Event()

    async def beat_when_ready() -> None:
        await ready.wait()
        with calm_collector():
            await beat(settings.data_dir, service, SystemClock())

    heartbeat = asyncio.create_task(beat_when_ready())
    try:
        await SERVICES[service](settings, clock, ready)
    finally:
        heartbeat.cancel()


async def _run_all(settings: Settings, _clock: str | None, ready: asyncio.Event) -> None:
    city = await asyncio.to_thread(load_city, settings.city, seed=settings.city_seed)
    async with CityProcess(settings, clock=SystemClock(), city=city) as process:
        assert process.api is not None
        console.print(f"{process.api.url}  token for writing: {process.api.token}")
        ready.set()
        raise ServiceError(await process.failure)


async def _run_ingest(settings: Settings, _clock: str | None, ready: asyncio.Event) -> None:
    clock = SystemClock()
    city = await asyncio.to_thread(load_city, settings.city, seed=settings.city_seed)
    log = kafka_log(settings)
    connectors = await asyncio.to_thread(open_connectors, settings)
    source = ingest_source(settings, broker_address(settings), clock, city.name, connectors.filters)
    tap = await asyncio.to_thread(open_tap, settings, city)
    try:
        # The log first: a message must have somewhere to go before it is taken.
        await log.start()
        await source.start()
        ready.set()
        bridge = Bridge(
            source,
            log,
            clock,
            city=city.name,
            partitions=settings.partitions,
            ingest_id=ingest_id(settings.data_dir),
            recording=tap,
        )
        await bridge.run()
    finally:
        if tap is not None:
            await asyncio.to_thread(tap.close)
        await source.stop()
        await log.close()


async def _run_streams(settings: Settings, _clock: str | None, ready: asyncio.Event) -> None:
    clock = SystemClock()
    city = await asyncio.to_thread(load_city, settings.city, seed=settings.city_seed)
    parts = await asyncio.to_thread(StreamParts, settings, city, clock)
    app = build_app(
        log_url=settings.log_url,
        data_dir=settings.data_dir,
        partitions=settings.partitions,
        services=parts.services,
    )
    try:
        await _start(app, settings.broker)
        ready.set()
        await run_until_failure(
            {
                "decisions": parts.decisions.run(),
                "things": parts.keep_things(),
                "deadlines": parts.watch_deadlines(),
                "retention": parts.keep_to_retention(),
                "map": parts.watch_map(),
                "streams": crash_of(app),
            }
        )
    finally:
        # Kafka may be gone; what was not committed is done again at the next start.
        with suppress(TimeoutError):
            await asyncio.wait_for(app.stop(), _STOP_S)
        await asyncio.to_thread(parts.store.close)


async def _start(app: Any, broker: str) -> None:
    try:
        await app.start()
    except KafkaError as exc:
        raise ServiceError(f"log: Kafka at {broker} does not answer: {exc}") from exc


async def _run_archive(settings: Settings, _clock: str | None, ready: asyncio.Event) -> None:
    clock = SystemClock()
    city = await asyncio.to_thread(load_city, settings.city, seed=settings.city_seed)
    tagger = await asyncio.to_thread(open_map, settings, city)
    parts = await asyncio.to_thread(ArchiveParts, settings, city, clock, tagger)
    link = MqttLink(broker_address(settings), f"qingniao-ledger-{city.name}")
    parts.bookkeeper.report = ledger_reporter(city.name, link.publish)
    async with parts:
        link.start()
        ready.set()
        try:
            await run_until_failure(
                {
                    "archive": parts.archiver.run(),
                    "ledger": parts.bookkeeper.run(),
                    "map": watch_map(settings.catalogue_path, tagger),
                }
            )
        finally:
            await asyncio.to_thread(link.stop)


async def _run_vision(settings: Settings, clock: str | None, ready: asyncio.Event) -> None:
    city = await asyncio.to_thread(load_city, settings.city, seed=settings.city_seed)
    stop = threading.Event()
    ready.set()
    try:
        await asyncio.to_thread(
            run_vision_worker,
            settings,
            city,
            broker=broker_address(settings),
            clock=parse_clock(clock) if clock else SystemClock(),
            stop=stop,
        )
    finally:
        # The thread does not see that we were cancelled.
        stop.set()


async def _run_api(settings: Settings, _clock: str | None, ready: asyncio.Event) -> None:
    clock = SystemClock()
    city = await asyncio.to_thread(load_city, settings.city, seed=settings.city_seed)
    store = await asyncio.to_thread(open_store, settings, city, load_packs(settings.packs))
    tagger = await asyncio.to_thread(open_map, settings, city)
    api = ApiParts(
        settings,
        city=city,
        store=store,
        tagger=tagger,
        clock=clock,
        live=None,
        broker=broker_address(settings),
    )
    # A token of one's own is a secret; the one made here must be told.
    told = "" if settings.api.secret() else f"  token for writing: {api.token}"
    console.print(api.url + told)
    serving = asyncio.create_task(api.serve())
    beside = [
        asyncio.create_task(watch_map(settings.catalogue_path, tagger)),
        asyncio.create_task(api.tell_quality()),
        asyncio.create_task(api.tell_others()),
    ]
    ready.set()
    try:
        # Shielded: cut short, the server would leave its streams and its own end unfinished.
        await asyncio.shield(serving)
    finally:
        for task in beside:
            task.cancel()
        await api.stop()
        await asyncio.gather(serving, *beside, return_exceptions=True)
        await asyncio.to_thread(store.close)


#: What ``qingniao run`` can run. Each sets the event once it works; its heart beats from then.
SERVICES: dict[str, Callable[[Settings, str | None, asyncio.Event], Coroutine[Any, Any, None]]] = {
    "all": _run_all,
    "ingest": _run_ingest,
    "streams": _run_streams,
    "archive": _run_archive,
    "vision": _run_vision,
    "api": _run_api,
}
