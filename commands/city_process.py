"""The platform in one process: ingest, stream app, case store and API on one event loop,
with broker, vision and simulators as children that die with it (docs/decisions/0011).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Self

from api.live import LiveState
from commands.parts import (
    ROOT,
    ApiParts,
    ArchiveParts,
    StreamParts,
    about_city,
    crash_of,
    ingest_id,
    ingest_source,
    kafka_log,
    ledger_reporter,
    open_tap,
)
from commands.running import RunningCity
from commands.sharing import claim_data_dir, clock_text, write_private
from core.children import ChildProcess, stop_children
from core.clock import Clock
from core.errors import QingniaoError, ServiceError
from core.ports import LogWriter, MessageSource
from core.settings import Settings
from core.units import ns_to_rfc3339
from geo.city import City
from ingest.bridge import Bridge
from ingest.broker import (
    BrokerAddress,
    EmbeddedBroker,
    ExternalBroker,
    MosquittoBroker,
    broker_for,
)
from ingest.broker_probe import probe
from ingest.connectors.load import Filters, open_connectors
from ingest.mqtt_source import MqttSource
from ingest.recording.tap import RecordingTap
from streams.app import FaustLog, build_app

logger = logging.getLogger(__name__)

#: A part that has not stopped after this many wall seconds is left behind or killed.
STOP_S = 1.5
FIGURES_S = 1.0


class CityProcess:
    """A whole city in one process; an async context manager.

    Args:
        settings: Where everything is.
        clock: City time.
        city: The city.
        source: Where messages come from instead of a broker (a recording); then there is
            neither broker nor vision nor API.

    Attributes:
        failure: Set to a reason when a part has failed; the owner is to stop then.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        city: City,
        source: MessageSource | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.city = city
        self.live = LiveState(clock)
        self.failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.children: list[ChildProcess] = []
        self.api: ApiParts | None = None
        self._source = source
        self._address: BrokerAddress | None = None
        self._mqtt: MqttSource | None = None
        self._archive: ArchiveParts | None = None
        self._tap: RecordingTap | None = None
        self._closers: list[tuple[str, Callable[[], Awaitable[Any]]]] = []
        self._counted: tuple[float, int] = (time.monotonic(), 0)

    async def __aenter__(self) -> Self:
        """Start everything; what was started is stopped again when a part cannot start."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything."""
        await self.stop()

    async def _start(self) -> None:
        settings, clock, city = self.settings, self.clock, self.city
        await asyncio.to_thread(claim_data_dir, settings.data_dir)
        self.parts = await asyncio.to_thread(StreamParts, settings, city, clock)
        self.store = self.parts.store
        self._on_stop("store", lambda: asyncio.to_thread(self.store.close))
        if self._source is None:
            broker = broker_for(settings, settings.data_dir)
            self._on_stop("broker", lambda: asyncio.to_thread(broker.stop))
            self._address = await asyncio.to_thread(broker.start)
            running = RunningCity.of(self._address, clock_text(clock), about_city(settings, city))
            running.tell(settings.data_dir)
            self._on_stop("notice", lambda: asyncio.to_thread(running.withdraw, settings.data_dir))
            self._tap = await asyncio.to_thread(open_tap, settings, city)
            if self._tap is not None:
                self._on_stop("recording", partial(asyncio.to_thread, self._tap.close))
            if not isinstance(broker, ExternalBroker):
                self._watch("broker", _keep_running(broker))
            # Cameras come first: they take the longest to get ready.
            self.start_child("vision", "run", "vision", "--clock", clock_text(clock))
        app = build_app(
            log_url=settings.log_url,
            data_dir=settings.data_dir,
            partitions=settings.partitions,
            services=self.parts.services,
        )
        self._watch("decisions", self.parts.decisions.run())
        self._on_stop("streams", app.stop)
        await app.start()
        self._watch("streams", crash_of(app))
        if settings.archive.enabled:
            await self._start_archive()
        connectors = await asyncio.to_thread(open_connectors, settings)
        for refused in connectors.refused:
            self.live.update_part(f"connector {refused.name}", False, refused.why)
        source = self._source or await self._open_source(connectors.filters)
        self.bridge = Bridge(
            source,
            await self._log_of(app),
            clock=clock,
            city=city.name,
            partitions=settings.partitions,
            ingest_id=ingest_id(settings.data_dir),
            watermark_ns=await asyncio.to_thread(self.store.watermark_ns),
            recording=self._tap,
        )
        self.carrying = self._watch("ingest", self.bridge.run(), may_end=self._source is not None)
        if self._source is None:
            self._watch("things", self.parts.keep_things(self.live.update_things))
            self._watch("deadlines", self.parts.watch_deadlines())
            self._watch("retention", self.parts.keep_to_retention())
            self._watch("map", self.parts.watch_map())
            self._watch("figures", self._keep_figures())
            await self._start_api()
            assert self.api is not None
            self._watch("quality", self.api.tell_quality(), may_end=True)
            self._watch("notifications", self.api.tell_others())

    async def _log_of(self, app: Any) -> LogWriter:
        """The log as ingest writes it: the app's own, or a producer beside it on Kafka."""
        if not self.settings.on_kafka:
            return FaustLog(app)
        log = kafka_log(self.settings)
        self._on_stop("log", log.close)
        await log.start()
        return log

    async def settle(self) -> None:
        """After a recording has ended: wait until everything it holds has been decided on."""
        await self.carrying
        last = self.bridge.sequence
        await self.bridge.tick()  # moves every partition's frontier past the last record
        while (
            self.parts.decisions.applied_sequence < last
            or self.parts.rejection_count < self.bridge.rejections
        ) and not self.failure.done():
            await asyncio.sleep(0.02)
        if self._archive is not None:
            archived: asyncio.Future[Any] = asyncio.ensure_future(self._archive.caught_up())
            either: set[asyncio.Future[Any]] = {archived, self.failure}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

    def start_child(self, name: str, *arguments: str) -> None:
        """Run one of our own commands as a child that shares broker, data folder and city."""
        assert self._address is not None
        address, data_dir = self._address, self.settings.data_dir
        password_file = data_dir / "mqtt-password"
        write_private(password_file, address.password)
        scheme = "mqtts" if address.tls else "mqtt"
        env = os.environ | {
            "QINGNIAO_DATA_DIR": str(data_dir.resolve()),
            "QINGNIAO_CITY": self.settings.city,
            "QINGNIAO_CITY_SEED": str(self.settings.city_seed),
            "QINGNIAO_MQTT__URL": f"{scheme}://{address.host}:{address.port}",
            "QINGNIAO_MQTT__USERNAME": address.username,
            "QINGNIAO_MQTT__PASSWORD_FILE": str(password_file.resolve()),
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "cli", *arguments]
        child = ChildProcess(name, command, data_dir / "logs" / f"{name}.log", env=env)
        self.children.append(child)
        self._watch(name, _exit_of(child))

    def figures(self) -> dict[str, Any]:
        """The live figures of the cockpit; rates are since the last call."""
        now_s, count = time.monotonic(), self.parts.tracker.observation_count
        before_s, before = self._counted
        self._counted = (now_s, count)
        cameras = self.live.cameras().values()
        return {
            "city_time": ns_to_rfc3339(self.clock.now_ns()),
            "observations_per_s": round((count - before) / max(now_s - before_s, 1e-3), 1),
            "lag_s": round(self.parts.lag_s, 4),
            "frames_per_s": round(sum(camera.frames_per_s for camera in cameras), 1),
            **self.store.figures(),
        }

    async def stop(self) -> None:
        """Stop everything in the reverse order of starting; within three seconds."""
        for child in self.children:
            child.terminate()
        while self._closers:
            name, close = self._closers.pop()
            try:
                await asyncio.wait_for(close(), STOP_S)
            except (TimeoutError, QingniaoError) as error:
                logger.warning("%s did not stop cleanly: %r", name, error)
        await asyncio.to_thread(stop_children, self.children, STOP_S)

    async def _start_archive(self) -> None:
        parts = await asyncio.to_thread(
            ArchiveParts, self.settings, self.city, self.clock, self.parts.tagger
        )
        await parts.__aenter__()
        self._on_stop("archive", lambda: parts.__aexit__(None, None, None))
        self._archive = parts
        self._watch("archive", parts.archiver.run())
        self._watch("ledger", parts.bookkeeper.run())

    async def _open_source(self, added: Filters) -> MqttSource:
        assert self._address is not None
        source = ingest_source(self.settings, self._address, self.clock, self.city.name, added)
        await source.start()
        self._mqtt = source
        self._on_stop("mqtt", source.stop)
        if self.settings.mqtt.url not in {"embedded", "mosquitto"}:
            self._watch("probe", self._probe_broker(self._address), may_end=True)
        return source

    async def _probe_broker(self, address: BrokerAddress) -> None:
        """Tell whether somebody else's broker would lose what we cannot take at once."""
        try:
            lost = await probe(address)
        except ServiceError as error:
            # It went away meanwhile; the source reconnects, and the next start probes again.
            self.live.update_part("broker settings", True, f"not known: {error}")
            return
        told = "keeps what a client that is away cannot take"
        if lost:
            told = f"loses {lost} messages for a client that is away: docs/decisions/0002"
        self.live.update_part("broker settings", not lost, told)

    async def _start_api(self) -> None:
        self.api = ApiParts(
            self.settings,
            city=self.city,
            store=self.store,
            tagger=self.parts.tagger,
            clock=self.clock,
            live=self.live,
            broker=self._address,
        )
        self._watch("api", self.api.serve())
        self._on_stop("api", self.api.stop)
        await self.api.started()
        if self._archive is not None:
            self._archive.bookkeeper.report = ledger_reporter(self.city.name, self.api.publish)

    async def _keep_figures(self) -> None:
        while True:
            self.live.update_figures(await asyncio.to_thread(self.figures))
            self._tell_health()
            if self._tap is not None:
                self._tap.flush()
            await asyncio.sleep(FIGURES_S)

    def _tell_health(self) -> None:
        """Say which parts work, for ``GET /healthz``; a part that failed ends the process."""
        if self._mqtt is not None:
            connected = self._mqtt.connected
            detail = f"{self._mqtt.in_hand} messages in hand, {self._mqtt.reconnects} reconnects"
            self.live.update_part("ingest", connected, detail if connected else "no broker")
        if self._archive is not None:
            archiver, bookkeeper = self._archive.archiver, self._archive.bookkeeper
            told = archiver.failure or f"{archiver.waiting} observations wait for the next file"
            self.live.update_part("archive", not archiver.failure, told)
            self.live.update_part("ledger", not bookkeeper.failure, bookkeeper.failure or "kept")
        watermark = ns_to_rfc3339(self.parts.decisions.watermark_ns)
        self.live.update_part("decisions", True, f"watermark {watermark}")
        if self._tap is not None:
            tap = self._tap
            told = tap.failure or f"{tap.writer.messages} messages in {tap.writer.folder}"
            self.live.update_part("recording", not tap.failure, told)
        for child in self.children:
            running = child.exit_code() is None
            self.live.update_part(child.name, running, f"process {child.pid}")

    def _on_stop(self, name: str, close: Callable[[], Awaitable[Any]]) -> None:
        self._closers.append((name, close))

    def _watch(
        self, name: str, work: Coroutine[Any, Any, None], *, may_end: bool = False
    ) -> asyncio.Task[None]:
        """Run a part; when it fails, or ends and may not, the process is told."""

        async def supervise() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except Exception as error:
                logger.debug("%s failed", name, exc_info=True)
                self._fail(f"{name}: {error}")
            else:
                if not may_end:
                    self._fail(f"{name} ended")

        task = asyncio.create_task(supervise(), name=f"qingniao:{name}")

        async def cancel() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._on_stop(name, cancel)
        return task

    def _fail(self, reason: str) -> None:
        if not self.failure.done():
            self.failure.set_result(reason)


async def _keep_running(broker: EmbeddedBroker | MosquittoBroker) -> None:
    """Start the broker again, on its port, whenever it has died."""
    while True:
        await asyncio.sleep(0.5)
        if broker.pid is None:
            logger.error("the broker died; starting it again on port %d", broker.address.port)
            await asyncio.to_thread(broker.start)


async def _exit_of(child: ChildProcess) -> None:
    """Wait until a child has ended.

    Raises:
        ServiceError: It ended by itself; carries its last words.
    """
    while (code := child.exit_code()) is None:
        await asyncio.sleep(0.2)
    raise ServiceError(f"ended with code {code}; {child.log_path} ends:\n{child.last_words()}")
