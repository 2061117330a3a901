"""Parts that whole cities and single services are made of."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import uvicorn
from fastapi import FastAPI

from api.alerts import issuer_of
from api.app import create_app
from api.live import CameraState, LiveState
from api.mqtt_link import MqttLink
from api.notify.notifier import Notifier
from api.notify.sender import parse_networks
from commands.layer_start import check_at_start
from commands.map_watch import open_map, watch_map
from commands.owners import component_owners
from commands.sharing import write_private
from core import topics
from core.city import AltitudeDatum, CameraPose
from core.clock import Clock, SystemClock
from core.errors import ServiceError
from core.ports import Redriven, Rejection
from core.settings import Settings
from core.topics import quality_topic, sensor_topic
from core.units import NS_PER_S, ns_to_rfc3339
from geo.city import City
from geo.tagging import Tagger
from ingest.broker import BrokerAddress
from ingest.connectors.load import Filters
from ingest.kafka_log import KafkaLog
from ingest.mqtt_source import MqttSource
from ingest.recording.tap import RecordingTap
from ingest.recording.writer import RecordingWriter
from scenarios.cap import CapStatus
from scenarios.engine import RuleEngine
from scenarios.loader import load_packs
from scenarios.model import Scenario
from store.archive.quality import quality_document, source_quality
from store.archive.query import ArchiveReader
from store.archive.writer import ArchiveWriter
from store.cases import MAX_ESCALATIONS, CaseStore
from store.database import migrate
from store.ledger import Difference, Ledger
from store.things import Thing
from streams.app import StreamServices
from streams.archiver import Archiver
from streams.bookkeeper import TOPICS as LEDGER_TOPICS
from streams.bookkeeper import Bookkeeper
from streams.decisions import DecisionWriter
from streams.dedup import Deduplicator
from streams.embedded.reader import EmbeddedReader
from streams.fence_watch import FenceWatch
from streams.kafka.reader import KafkaReader
from streams.live import ThingTracker
from streams.partition import Processed
from streams.retention import keep_to_retention

logger = logging.getLogger(__name__)

#: The checkout, or the folder of the image.
ROOT = Path(__file__).resolve().parent.parent

#: Cases whose time runs out are looked for this often (wall seconds).
ESCALATE_S = 1.0

#: Sources are told of their data once in this much city time, looked at this often (wall).
QUALITY_EVERY_NS = 3600 * NS_PER_S
QUALITY_LOOK_S = 2.0

#: Records of observations that ingest writes to Kafka in a second, while its rounds are not full.
KAFKA_RECORDS_PER_S = 400

#: Changed things reach the store this often (wall seconds), or seldomer: writing takes at most
#: this share of the time.
THINGS_S, THINGS_SHARE = 2.0, 0.1

#: What changed reaches the live picture this often (wall seconds), or seldomer: it takes at most
#: this share of the event loop, and so many things at once (some milliseconds). 20,000 things
#: that all speak every second are a second late on the page, and the rules lose nothing to them.
PICTURE_S, PICTURE_SHARE, PICTURE_THINGS = 0.25, 0.05, 1024


def ingest_id(data_dir: Path) -> str:
    """Name of this start of ingest; starts are counted in the data folder."""
    path = data_dir / "boot"
    data_dir.mkdir(parents=True, exist_ok=True)
    number = int(path.read_text()) + 1 if path.exists() else 1
    temporary = path.with_suffix(".new")
    temporary.write_text(str(number))
    temporary.replace(path)
    return f"ingest/{number:06d}"


def api_token(settings: Settings) -> str:
    """The token that writing needs: the one set, or one made once per data folder."""
    if settings.api.secret():
        return settings.api.secret()
    path = settings.data_dir / "token"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(18))
    return path.read_text().strip()


def registered_things(city: City) -> frozenset[str]:
    """Ids of everything that is in the city's register."""
    aircraft = {dock.aircraft_sn for dock in city.docks.values()}
    return frozenset(city.devices) | frozenset(city.docks) | aircraft


def open_store(settings: Settings, city: City, packs: Sequence[Scenario]) -> CaseStore:
    """Open the case store, migrated to this program's schema."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    migrate(settings.store_url)
    prefix = "".join(part[0] for part in city.name.replace("_", "-").split("-") if part)
    return CaseStore(
        settings.store_url,
        scenarios=packs,
        units=city.units,
        workers=city.workers,
        owner_of=component_owners(city),
        city_prefix=(prefix if len(prefix) > 1 else city.name[:2]).upper(),
    )


def about_city(settings: Settings, city: City) -> dict[str, str]:
    """What a recording says of the city, so that a replay finds it again."""
    where = settings.city
    if where != "generated":
        where = str(Path(where).resolve())
    return {"city": where, "city_seed": str(settings.city_seed), "city_name": city.name}


def open_tap(settings: Settings, city: City) -> RecordingTap | None:
    """The recording that the settings ask for, of all that ingest carries; None for none."""
    if settings.record is None:
        return None
    return RecordingTap(RecordingWriter(settings.record, about=about_city(settings, city)))


def warm_up(tagger: Tagger, city: City) -> None:
    """Tag one point, so that the kernels are compiled before the first message needs them.

    The first start on a machine compiles for some seconds, later ones load from a cache.
    """
    if not any(len(layer) for layer in city.layers.values()):
        return  # nothing to look up
    west, south, east, north = city.bounds
    altitudes = {datum: np.zeros(1) for datum in AltitudeDatum}
    for heights in (None, altitudes):
        tagger.tag(np.array([(west + east) / 2]), np.array([(south + north) / 2]), heights)


class StreamParts:
    """The store, what the stream app calls, and the live picture it leaves behind."""

    def __init__(self, settings: Settings, city: City, clock: Clock) -> None:
        self._clock = clock
        self._catalogue_path = settings.catalogue_path
        self._retain_days = settings.cases.retain_days
        self.packs = load_packs(settings.packs)
        check_at_start(settings, city)
        self.tagger = open_map(settings, city)
        warm_up(self.tagger, city)
        self.store = open_store(settings, city, self.packs)
        self.tracker = ThingTracker()
        self.duplicate_count = 0
        self.rejection_count = 0
        self.lag_s = 0.0
        self.listeners: list[Callable[[Processed], None]] = [self.tracker.observe]
        registered = registered_things(city)
        RuleEngine(self.packs, registered).warm_up()
        FenceWatch(self.tagger.fences_at, city.devices).warm_up()
        Deduplicator().warm_up()
        self.decisions = DecisionWriter(
            self.store.apply, clock, settings.partitions, self.store.wakes_ns
        )
        self.services = StreamServices(
            tagger=self.tagger,
            devices=city.devices,
            new_engine=lambda: RuleEngine(self.packs, registered),
            decisions=self.decisions,
            store_rejections=self._keep_rejections,
            observed=self._observed,
            clock=clock,
            new_fences=lambda: FenceWatch(self.tagger.fences_at, city.devices),
        )

    async def watch_map(self) -> None:
        """Take newly imported layers into use, until cancelled."""
        await watch_map(self._catalogue_path, self.tagger)

    async def watch_deadlines(self) -> None:
        """Escalate the cases whose time runs out, until cancelled."""
        while True:
            changes = await asyncio.to_thread(self.store.escalate, self._clock.now_ns())
            # A full transaction says that there are more.
            await asyncio.sleep(0 if len(changes) >= MAX_ESCALATIONS else ESCALATE_S)

    async def keep_to_retention(self) -> None:
        """Forget what has long been over, until cancelled."""
        await keep_to_retention(self.store, self._clock, self._retain_days)

    async def keep_things(self, changed: Callable[[list[Thing]], None] | None = None) -> None:
        """Write the last state of things to the store now and then, until cancelled."""
        waiting: dict[str, Thing] = {}
        due_s, pause_s = 0.0, PICTURE_S
        while True:
            await asyncio.sleep(pause_s)
            busy_s = 0.0
            for _ in range(0, self.tracker.changed_count, PICTURE_THINGS):
                began_s = time.thread_time()
                things = self.tracker.take_changed(PICTURE_THINGS)
                if changed is not None:
                    changed(things)
                waiting.update((thing.thing_id, thing) for thing in things)
                busy_s += time.thread_time() - began_s
                await asyncio.sleep(0)
            pause_s = max(PICTURE_S, busy_s / PICTURE_SHARE)
            if waiting and time.monotonic() >= due_s:
                rows = list(waiting.values())
                waiting.clear()
                began_s = time.monotonic()
                await asyncio.to_thread(self.store.upsert_things, rows)
                took_s = time.monotonic() - began_s
                due_s = began_s + max(THINGS_S, took_s / THINGS_SHARE)

    def _observed(self, processed: Processed) -> None:
        self.duplicate_count += processed.duplicate_count
        for listener in self.listeners:
            listener(processed)
        if processed.batch.stamp.wall_ns:
            self.lag_s = (time.monotonic_ns() - processed.batch.stamp.wall_ns) / 1e9

    async def _keep_rejections(self, rejections: Sequence[Rejection | Redriven]) -> None:
        await asyncio.to_thread(self.store.add_rejections, rejections)
        self.rejection_count += sum(isinstance(one, Rejection) for one in rejections)


class ArchiveParts:
    """Archive and ledger, fed from the log; an async context manager that runs nothing itself."""

    def __init__(self, settings: Settings, city: City, clock: Clock, tagger: Tagger) -> None:
        self._readers = [
            _log_reader(settings, "archive", {topics.OBSERVATIONS: settings.partitions}),
            _log_reader(settings, "ledger", dict.fromkeys(LEDGER_TOPICS, 1)),
        ]
        self._writer = ArchiveWriter(
            settings.archive_dir,
            retain_s=settings.archive.retain_days * 86_400,
            retain_bytes=round(settings.archive.retain_gib * 2**30),
        )
        self.archiver = Archiver(
            self._readers[0],
            self._writer,
            partitions=settings.partitions,
            tagger=tagger,
            devices=city.devices,
            clock=clock,
            flush_s=settings.archive.flush_s,
        )
        self.bookkeeper = Bookkeeper(
            self._readers[1],
            Ledger(self._writer.catalog),
            clock,
            partitions=settings.partitions,
        )

    async def __aenter__(self) -> Self:
        """Open the log."""
        for reader in self._readers:
            await reader.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close log and archive; archiver and bookkeeper must have been stopped."""
        for reader in self._readers:
            await reader.__aexit__(None, None, None)
        await asyncio.to_thread(self._writer.close)

    async def caught_up(self) -> None:
        """Wait until archive and ledger have all that the log has, while both run."""
        await self.archiver.caught_up()
        while await self.bookkeeper.read_once():
            pass


def _log_reader(
    settings: Settings, group: str, wanted: dict[str, int]
) -> EmbeddedReader | KafkaReader:
    if not settings.on_kafka:
        return EmbeddedReader(settings.log_url, group=group, topics=wanted)
    return KafkaReader(settings.log_url.removeprefix("kafka://"), topics=wanted)


def kafka_log(settings: Settings) -> KafkaLog:
    """What ingest writes to where the log is Kafka; to be started."""
    wanted = {topics.OBSERVATIONS: settings.partitions, topics.REJECTIONS: 1, topics.METER: 1}
    return KafkaLog(settings.log_url.removeprefix("kafka://"), topics=wanted)


def ingest_source(
    settings: Settings, address: BrokerAddress, clock: Clock, city: str, added: Filters
) -> MqttSource:
    """What ingest reads: the city's topics and those of its connectors; to be started.

    A round of messages is a record in every partition. On Kafka that many records are fetched,
    tagged, sent on and fetched again, at a millisecond each whatever is in them, so messages
    gather to rounds; embedded there is one partition, and a round is written at once.
    """
    return MqttSource(
        address,
        clock,
        client_id=f"qingniao-ingest-{city}",
        filters=(*topics.INGEST_FILTERS, *added),
        inflight=settings.mqtt.inflight,
        gather_s=settings.partitions / KAFKA_RECORDS_PER_S if settings.on_kafka else 0.0,
    )


def ledger_reporter(
    city: str, publish: Callable[[str, bytes], Awaitable[None]]
) -> Callable[[Sequence[Difference]], Awaitable[None]]:
    """Tells differences of the ledger as a device would: by MQTT, so that a rule sees them."""

    async def report(differences: Sequence[Difference]) -> None:
        wrong: dict[str, list[Difference]] = {}
        for one in differences:
            wrong.setdefault(one.source, []).append(one)
        for source, found in wrong.items():
            last = found[-1]
            reading = {
                "kind": "ledger",
                # Each report is a reading of its own, however often it has to be sent.
                "seq": last.number,
                "measures": {
                    "ledger_missing_count": sum(abs(one.missing) for one in found),
                    "ledger_unarchived_count": sum(abs(one.unarchived) for one in found),
                },
                "labels": {
                    "source": source,
                    "batches": f"{last.ingest_id} {found[0].first}-{last.last}",
                },
            }
            topic = sensor_topic(city, f"ledger-{source}")
            await publish(topic, json.dumps(reading).encode())

    return report


class ApiParts:
    """The API with its own connection to the broker, on a listening socket."""

    def __init__(
        self,
        settings: Settings,
        *,
        city: City,
        store: CaseStore,
        tagger: Tagger,
        clock: Clock,
        live: LiveState | None,
        broker: BrokerAddress | None,
    ) -> None:
        self.token = api_token(settings)
        self._city = city
        self._clock = clock
        self._live = live
        #: Set once vision says that it hears the cameras.
        self.vision_watches = asyncio.Event()
        self._link = None if broker is None else self._link_to(broker)
        self._archive = ArchiveReader(settings.archive_dir)
        api = create_app(
            store=store,
            city=city,
            tagger=tagger,
            clock=clock,
            token=self.token,
            snapshot_dir=settings.snapshot_dir,
            static_dir=ROOT / "web" / "dist",
            publish=None if self._link is None else self.publish,
            live=live,
            archive=self._archive,
            issuer=issuer_of(
                city,
                sender=settings.notify.cap_sender,
                status=CapStatus(settings.notify.cap_status.title()),
            ),
        )
        self._hub = api.state.hub
        self._notifier = Notifier(
            store,
            city.name,
            login=broker if settings.notify.mqtt else None,
            webhooks_path=settings.webhooks_path,
            allowed=parse_networks(settings.notify.allow_networks),
            clock=clock,
            wall=SystemClock(),
            registry=api.state.registry,
            alerts=api.state.alerts,
            told=self._tell_part,
            publish=None if self._link is None else self.publish,
        )
        self._listener = _listen(settings.api.host, settings.api.port)
        host, self.port = self._listener.getsockname()[:2]
        self.url = f"http://{host}:{self.port}"
        self._server = _server(api)
        self._served = asyncio.Event()

    async def serve(self) -> None:
        """Serve until :meth:`stop`."""
        if self._link is not None:
            self._link.start()
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            self._listener.close()
            self._served.set()

    async def tell_quality(self) -> None:
        """Tell every source once an hour of city time how good its data was, until cancelled."""
        told_ns = self._clock.now_ns()
        while self._link is not None:
            await asyncio.sleep(QUALITY_LOOK_S)
            now_ns = self._clock.now_ns()
            if now_ns - told_ns < QUALITY_EVERY_NS:
                continue
            try:
                found = await asyncio.to_thread(source_quality, self._archive, told_ns, now_ns)
                for one in found:
                    topic = quality_topic(self._city.name, one.source, one.kind)
                    body = {"from": ns_to_rfc3339(told_ns), "to": ns_to_rfc3339(now_ns)}
                    await self._link.publish(
                        topic, json.dumps(body | quality_document(one)).encode()
                    )
                told_ns = now_ns
            except ServiceError as error:
                # No archive yet, or the broker is away: the next look takes it in.
                logger.info("quality not told: %s", error)

    async def tell_others(self) -> None:
        """Tell departments, streets and communities what happens to incidents, until cancelled."""
        await self._notifier.run()

    async def started(self) -> None:
        """Wait until requests are answered, or serving has ended."""
        while not self._server.started and not self._served.is_set():
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Stop serving; live streams are cut, not waited for."""
        self._hub.close()
        self._server.should_exit = True
        if self._link is not None:
            await asyncio.to_thread(self._link.stop)
        await self._served.wait()
        await asyncio.to_thread(self._archive.close)

    def _tell_part(self, name: str, ok: bool, detail: str) -> None:
        if self._live is not None:
            self._live.update_part(name, ok, detail)

    def _link_to(self, broker: BrokerAddress) -> MqttLink:
        return MqttLink(
            broker,
            f"qingniao-api-{self._city.name}",
            status_filter=f"qn/{self._city.name}/vision-status",
            on_status=self._heard,
        )

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 1 over the API's connection.

        Raises:
            ServiceError: There is none, or the broker does not acknowledge.
        """
        if self._link is None:
            raise ServiceError(f"{topic}: this API has no broker")
        await self._link.publish(topic, payload)

    def _heard(self, _topic: str, status: Any) -> None:
        """Take what vision says of its cameras; what is malformed is not ours to judge."""
        if self._live is None or not isinstance(status, dict):
            return
        if status.get("watching"):
            self.vision_watches.set()
        states = []
        for camera_id, one in status.get("cameras", {}).items():
            with suppress(TypeError, KeyError, ValueError, AttributeError):
                live, pose = one.get("live") or {}, one.get("pose")
                states.append(
                    CameraState(
                        camera_id=camera_id,
                        last_frame_ns=int(one["last_frame_ns"]),
                        frames_per_s=float(one["fps"]),
                        skipped_ratio=float(one.get("skipped_ratio", 0.0)),
                        quality=str(one.get("quality", "good")),
                        snapshot=one.get("snapshot"),
                        live=live.get("name"),
                        live_ns=int(live.get("time_ns", 0)),
                        lying=one.get("state") == "lying",
                        pose=None if pose is None else msgspec.convert(pose, CameraPose),
                    )
                )
        self._live.update_cameras(states)


class _EmbeddedServer(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own."""

    def capture_signals(self) -> Any:
        from contextlib import nullcontext

        return nullcontext()


def _server(api: FastAPI) -> uvicorn.Server:
    config = uvicorn.Config(
        api, log_level="warning", access_log=False, timeout_graceful_shutdown=1, lifespan="on"
    )
    return _EmbeddedServer(config)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        raise ServiceError(
            f"api: {host}:{port} cannot be listened on ({exc.strerror}); choose another port with "
            "--port, or 0 for a free one"
        ) from exc
    return listener


async def run_until_failure(parts: dict[str, Awaitable[Any]]) -> None:
    """Run parts together until one ends or fails, or we are cancelled.

    Raises:
        ServiceError: A part ended or failed; says which and why.
    """
    tasks = {asyncio.ensure_future(work): name for name, work in parts.items()}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            error = task.exception()
            raise ServiceError(f"{tasks[task]}: {error or 'ended'}") from error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def crash_of(app: Any) -> None:
    """Wait until the Faust app crashes.

    Raises:
        ServiceError: It has; a crashed app would leave the API up and the processing dead.
    """
    while not app.crashed:
        await asyncio.sleep(0.2)
    raise ServiceError(f"the stream app crashed: {app.crash_reason!r}")
