"""The live stream (server-sent events): every change of an incident once, in order.

One hub reads the feed and keeps its newest lines encoded; a client is only a position in the
feed, so a slow one costs no memory: what it missed in the hub's ring it reads from the feed
table. States of things are coalesced, a client gets the last one. A client that takes nothing
for :data:`STALL_S` is closed and counted; its browser comes back with Last-Event-ID.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import anyio.to_thread
import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.errors import TooManyError
from api.live import LiveState
from core.clock import Clock
from core.errors import ServiceError
from core.units import ns_to_rfc3339
from store.cases import CaseStore

logger = logging.getLogger(__name__)

#: Lines of the feed kept encoded; at 3 kB each about 6 MB.
RING_LINES = 2048

#: Lines a client is sent in one write; about 600 kB.
PAGE_LINES = 200

#: Wall seconds between looks at what changed: at the picture of things, and at the feed, of which
#: nobody here says that it moved where another process writes it.
TICK_S = 0.2

#: Wall seconds between figures, and between comments that keep a silent connection open.
FIGURES_S, KEEP_ALIVE_S = 1.0, 15.0

#: A client that takes nothing for this long is closed.
STALL_S = 30.0

#: Most clients at once.
MAX_CLIENTS = 512


class StreamHub:
    """Reads the feed once for all clients and wakes them.

    Args:
        store: Its feed is what is sent.
        live: Things and figures; may be None.
        clock: City time, for the figures.
        registry: Where the hub's own metrics are kept.
        max_clients: Further clients are refused with 429.
    """

    def __init__(
        self,
        store: CaseStore,
        live: LiveState | None,
        clock: Clock,
        registry: CollectorRegistry,
        max_clients: int = MAX_CLIENTS,
    ) -> None:
        self.store = store
        self.live = live
        self.max_clients = max_clients
        self.latest = 0
        self.figures_version = 0
        self.figures_frame = b""
        self.closing = False
        self._clock = clock
        self._ring: deque[tuple[int, bytes]] = deque(maxlen=RING_LINES)
        self._clients: set[asyncio.Event] = set()
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._forget: Callable[[], None] | None = None
        self._store_figures: dict[str, Any] = {}
        self._store_figures_of = -1
        self.closed_total = Counter(
            "qingniao_stream_clients_closed_total",
            "Stream clients closed, by reason",
            ["reason"],
            registry=registry,
        )
        clients = Gauge("qingniao_stream_clients", "Stream clients now", registry=registry)
        clients.set_function(lambda: len(self._clients))

    @property
    def running(self) -> bool:
        """Whether the hub follows the feed."""
        return self._task is not None and not self._task.done()

    @property
    def client_count(self) -> int:
        """Clients connected now."""
        return len(self._clients)

    async def start(self) -> None:
        """Begin to follow the feed."""
        loop = asyncio.get_running_loop()
        self.latest = await anyio.to_thread.run_sync(self.store.latest_sequence)

        def moved(_sequence: int) -> None:
            # The loop may be gone when another thread still commits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._moved.set)

        self._forget = self.store.on_change(moved)
        self._task = asyncio.create_task(self._run(), name="stream-hub")

    async def stop(self) -> None:
        """Stop following and end every client's stream."""
        self.close()
        if self._forget is not None:
            self._forget()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def close(self) -> None:
        """End every client's stream; call before a server that waits for its connections."""
        self.closing = True
        self._wake()

    def join(self) -> asyncio.Event:
        """A new client's bell.

        Raises:
            TooManyError: As many clients as are accepted are connected.
        """
        if len(self._clients) >= self.max_clients:
            self.closed_total.labels("full").inc()
            raise TooManyError(
                f"stream: {len(self._clients)} clients are connected, at most "
                f"{self.max_clients} are accepted; try again later",
                retry_after_s=5,
            )
        bell = asyncio.Event()
        self._clients.add(bell)
        return bell

    def leave(self, bell: asyncio.Event) -> None:
        """A client went."""
        self._clients.discard(bell)

    async def after(self, sequence: int) -> tuple[int, bytes]:
        """The next page of the feed after a position, encoded, and the position it reaches."""
        if sequence >= self.latest:
            return sequence, b""
        if self._ring and self._ring[0][0] <= sequence + 1:
            skip = sequence + 1 - self._ring[0][0]
            lines = [self._ring[i] for i in range(skip, min(skip + PAGE_LINES, len(self._ring)))]
        else:
            lines = await anyio.to_thread.run_sync(self._read, sequence)
        if not lines:
            return self.latest, b""
        frames = [frame for _, frame in lines]
        if lines[0][0] > sequence + 1:
            # Older lines are no longer kept: what lies between cannot be told.
            frames.insert(0, b"event: reset\ndata: {}\n\n")
        return lines[-1][0], b"".join(frames)

    def _read(self, sequence: int) -> list[tuple[int, bytes]]:
        return [
            (line.sequence, _frame(b"incident", line.payload, line.sequence))
            for line in self.store.feed_after(sequence, PAGE_LINES)
        ]

    async def _run(self) -> None:
        figured_s = 0.0
        version = -1
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), TICK_S)
            now_s = time.monotonic()
            try:
                self._moved.clear()
                await self._follow()
                if now_s - figured_s >= FIGURES_S:
                    figured_s = now_s
                    await self._figure()
            except ServiceError:
                logger.exception("stream: the feed cannot be read; trying again in a second")
                await asyncio.sleep(1.0)
            if self.live is not None and self.live.version != version:
                version = self.live.version
                self._wake()

    async def _follow(self) -> None:
        while True:
            lines = await anyio.to_thread.run_sync(self._read, self.latest)
            if not lines:
                return
            if self._ring and lines[0][0] != self._ring[-1][0] + 1:
                self._ring.clear()
            self._ring.extend(lines)
            self.latest = lines[-1][0]
            self._wake()
            if len(lines) < PAGE_LINES:
                return

    async def _figure(self) -> None:
        if self.live is not None:
            self.live.refresh()
        if self._store_figures_of != self.latest:
            self._store_figures_of = self.latest
            self._store_figures = await anyio.to_thread.run_sync(self.store.figures)
        figures = self._store_figures | {"city_time": ns_to_rfc3339(self._clock.now_ns())}
        if self.live is not None:
            figures |= self.live.figures()
        self.figures_version += 1
        self.figures_frame = _frame(b"figures", msgspec.json.encode(figures), None)
        self._wake()

    def _wake(self) -> None:
        for bell in self._clients:
            bell.set()


class EventStream(Response):
    """The stream of one client, written straight to the server (raw ASGI).

    Args:
        hub: The hub.
        sequence: Position in the feed after which the client wants to hear; None for now.
    """

    media_type = "text/event-stream"

    def __init__(self, hub: StreamHub, sequence: int | None) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._sequence = hub.latest if sequence is None else min(sequence, hub.latest)
        self._bell = hub.join()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes, stalls, or the hub closes."""
        gone = asyncio.create_task(_until_gone(receive, self._bell))
        reason = "gone"
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            # An id with no data: a browser that is cut off before the first change still
            # says where it was.
            await self._write(send, b"retry: 2000\nid: %d\n\n" % self._sequence)
            await self._serve(send, gone)
            if self._hub.closing:
                reason = "closing"
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            reason = "slow"
        except OSError:
            reason = "gone"
        finally:
            gone.cancel()
            self._hub.leave(self._bell)
            self._hub.closed_total.labels(reason).inc()

    async def _serve(self, send: Send, gone: asyncio.Task[None]) -> None:
        hub, live = self._hub, self._hub.live
        version = figures = 0
        while not gone.done() and not hub.closing:
            self._bell.clear()
            self._sequence, out = await hub.after(self._sequence)
            more = self._sequence < hub.latest
            if live is not None and live.version != version:
                version, changed = live.changed_since(version)
                out += b"".join(_frame(b"thing", body, None) for body in changed)
            if hub.figures_version != figures:
                figures = hub.figures_version
                out += hub.figures_frame
            if out:
                await self._write(send, out)
            if more:
                continue
            try:
                await asyncio.wait_for(self._bell.wait(), KEEP_ALIVE_S)
            except TimeoutError:
                await self._write(send, b": keep-alive\n\n")

    async def _write(self, send: Send, data: bytes) -> None:
        async with asyncio.timeout(STALL_S):
            await send({"type": "http.response.body", "body": data, "more_body": True})


async def _until_gone(receive: Receive, bell: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    bell.set()


def _frame(event: bytes, data: bytes, sequence: int | None) -> bytes:
    """One event of the stream; JSON from msgspec has no line breaks.

    Example:
        >>> _frame(b"incident", b"{}", 7)
        b'event: incident\\nid: 7\\ndata: {}\\n\\n'
    """
    if sequence is None:
        return b"event: %b\ndata: %b\n\n" % (event, data)
    return b"event: %b\nid: %d\ndata: %b\n\n" % (event, sequence, data)
