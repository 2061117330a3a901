"""Tells one receiver of a webhook, on its own, so that a slow one holds up no other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from random import Random
from urllib.parse import quote

import msgspec

from api.alerts import AlertWriter
from api.notify.account import Account
from api.notify.endpoint import Endpoint, Entry
from api.notify.notices import MEDIA_TYPE, Notice, attributes_of, data_of, encode_event
from api.notify.sender import Network, Sender
from api.notify.signature import signature_headers
from api.notify.subscriptions import Format, Webhook
from api.notify.tail import PAGE_LINES, Tail
from core.clock import Clock
from core.errors import NotFoundError, ServiceError
from core.units import NS_PER_S, seconds_to_ns
from scenarios.cap import MEDIA_TYPE as CAP_MEDIA_TYPE
from store.alerts import Alerts
from store.outbox import DeadLetter

logger = logging.getLogger(__name__)

#: The status by which a receiver says that it wants nothing more (Standard Webhooks).
_GONE = 410


class WebhookDelivery:
    """Tells one receiver.

    Args:
        webhook: The receiver.
        city: Name of the city.
        tail: The outbox's lines.
        account: How far it has been told.
        wall: The machine's time.
        allowed: Private networks that may be called.
        issued: Which lines issued public alerts.
        alerts: Writes these.
    """

    def __init__(
        self,
        webhook: Webhook,
        city: str,
        *,
        tail: Tail,
        account: Account,
        wall: Clock,
        allowed: tuple[Network, ...],
        issued: Alerts,
        alerts: AlertWriter,
    ) -> None:
        self._webhook = webhook
        self._city = city
        self._tail = tail
        self._account = account
        self._wall = wall
        self._allowed = allowed
        self._issued = issued
        self._alerts = alerts
        self._random = Random()  # noqa: S311 (spreads retries)
        self._bell = tail.bell()
        self._attempts: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Tell it until cancelled."""
        webhook = self._webhook
        sender = Sender(
            webhook.url,
            timeout_s=webhook.timeout_s,
            concurrency=webhook.concurrency,
            allowed=self._allowed,
        )
        try:
            while True:
                await self._run_generation(sender)
        finally:
            self._tail.hang_up(self._bell)
            await self._abandon()
            await sender.close()

    async def _run_generation(self, sender: Sender) -> None:
        """Tell it until a person asks to go on elsewhere."""
        account = self._account
        generation = account.generation
        endpoint = Endpoint(account.sequence, self._webhook.concurrency, self._random)
        while generation == account.generation:
            self._bell.clear()
            if account.disabled_ns is not None:
                await self._bell.wait()
                continue
            more = await self._take_in_hand(endpoint)
            if generation != account.generation:
                break  # asked meanwhile: what this endpoint reached no longer counts
            now_s = asyncio.get_running_loop().time()
            for entry in endpoint.due(now_s):
                attempt = self._attempt(sender, endpoint, entry, generation)
                self._attempts.add(asyncio.create_task(attempt))
            account.reached(endpoint.reached)
            if not more:
                await self._wait(endpoint, now_s)
            for done in [attempt for attempt in self._attempts if attempt.done()]:
                self._attempts.discard(done)
                done.result()  # a fault of ours must not leave a line for ever on its way
        await self._abandon()

    async def _take_in_hand(self, endpoint: Endpoint) -> bool:
        """Take the next lines in hand; whether there may be more that could be taken now."""
        if endpoint.room < PAGE_LINES:
            return False
        lines = await self._tail.after(endpoint.offered)
        if not lines:
            return False
        skipped = lines[0].sequence - endpoint.offered - 1
        if skipped:
            self._account.skipped(skipped)
            logger.error("%s: %d lines are no longer in the outbox", self._account.name, skipped)
        wanted = [line for line in lines if self._webhook.wants(line)]
        if wanted and self._webhook.format is Format.CAP:
            numbers = [line.sequence for line in wanted]
            alerting = await asyncio.to_thread(self._issued.of_lines, numbers)
            wanted = [line for line in wanted if line.sequence in alerting]
        endpoint.offer(wanted, lines[-1].sequence)
        return True

    async def _wait(self, endpoint: Endpoint, now_s: float) -> None:
        """Wait for more lines, the end of an attempt, or the next retry."""
        next_s = endpoint.next_s()
        wait_s = None if next_s is None else max(0.0, next_s - now_s)
        if wait_s == 0.0:
            wait_s = None  # it is due, but as many as may be are on their way: one of them ends
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._bell.wait(), wait_s)

    async def _attempt(
        self, sender: Sender, endpoint: Endpoint, entry: Entry, generation: int
    ) -> None:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        retry_after_s = 0.0
        error = ""
        status = 0
        try:
            answer = await sender.post(*await self._request(entry.notice))
            status, retry_after_s = answer.status, answer.retry_after_s
            if not answer.taken:
                error = f"HTTP {status} {' '.join(answer.text.split())[:120]}".strip()
        except (ServiceError, NotFoundError) as exc:
            error = str(exc)
        finally:
            self._account.timed(loop.time() - started_s)
            self._bell.set()
        if generation == self._account.generation:
            if error:
                self._refused(endpoint, entry, status, error, retry_after_s)
            else:
                self._account.took()
                endpoint.took(entry, loop.time())

    def _refused(
        self, endpoint: Endpoint, entry: Entry, status: int, error: str, retry_after_s: float
    ) -> None:
        account, now_ns = self._account, self._wall.now_ns()
        account.failed(error, now_ns)
        given_up = endpoint.refused(entry, asyncio.get_running_loop().time(), retry_after_s)
        if given_up:
            notice = entry.notice
            account.gave_up(
                DeadLetter(
                    subscriber=account.name,
                    sequence=notice.sequence,
                    event_id=notice.event_id,
                    attempts=entry.attempts,
                    error=account.last_error,
                    at_ns=now_ns,
                )
            )
            logger.error("%s: line %d is given up: %s", account.name, notice.sequence, error)
        failing_ns = now_ns - (account.failing_since_ns or now_ns)
        if status == _GONE or failing_ns >= seconds_to_ns(self._webhook.disable_after_s):
            account.disable(now_ns)
            logger.error(
                "%s: disabled after failing for %.1f h: %s; `qingniao outbox resume %s` tells it "
                "again", account.name, failing_ns / NS_PER_S / 3600, error, account.name,
            )  # fmt: skip

    async def _request(self, notice: Notice) -> tuple[dict[str, str], bytes]:
        webhook = self._webhook
        if webhook.format is Format.BINARY:
            body = msgspec.json.encode(data_of(notice, webhook.grade))
            headers = {"content-type": "application/json"} | {
                # Header values are ASCII: others are percent-encoded (CloudEvents HTTP binding).
                f"ce-{name}": quote(value, safe="/:;,.!@$&'()*+=-_~?")
                for name, value in attributes_of(notice, self._city).items()
            }
        elif webhook.format is Format.CAP:
            body = await asyncio.to_thread(
                self._alerts.message_of_line, notice.incident_id, notice.sequence
            )
            headers = {"content-type": CAP_MEDIA_TYPE}
        else:
            body = encode_event(notice, self._city, webhook.grade)
            headers = {"content-type": MEDIA_TYPE}
        timestamp_s = self._wall.now_ns() // NS_PER_S
        return (
            headers | signature_headers(notice.event_id, timestamp_s, body, webhook.keys),
            body,
        )

    async def _abandon(self) -> None:
        for attempt in list(self._attempts):
            attempt.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)
        self._attempts.clear()
