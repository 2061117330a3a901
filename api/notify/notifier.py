"""Keeps others told, beside the API: one process of the city does it at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry

from api.alerts import AlertWriter
from api.mqtt_link import BrokerLogin
from api.notify.account import Account, NotifyMetrics
from api.notify.given_up import GivenUp
from api.notify.mqtt_feed import MqttFeed
from api.notify.sender import Network
from api.notify.subscriptions import WEBHOOK, Webhook, load_webhooks
from api.notify.tail import Tail
from api.notify.webhook_delivery import WebhookDelivery
from api.services import Publish
from core.clock import Clock
from core.errors import InputError, ServiceError
from core.units import NS_PER_S
from store.cases import CaseStore

logger = logging.getLogger(__name__)

#: States are saved this often (wall seconds): what was told since is told again after a kill.
SAVE_S = 1.0

#: A store that failed is tried again after so long, and whether another process still delivers.
RETRY_S = 2.0

#: The file of webhooks is looked at this often.
LOOK_S = 2.0

#: A subscriber that is no longer wanted is forgotten after this long, looked at this often.
FORGET_EVERY_S = 3600.0
FORGET_AFTER_NS = 30 * 86_400 * NS_PER_S

#: Name of the MQTT feed among the subscribers.
MQTT = "mqtt"


class Notifier:
    """Tells the subscribers of a city what its outbox holds.

    Args:
        store: Whose outbox.
        city: Name of the city.
        login: The broker; None publishes no feed.
        webhooks_path: Of ``webhooks.yaml``; it need not exist.
        allowed: Private networks that webhooks may lead to.
        clock: City time.
        wall: The machine's time: what others are told is signed and retried by it.
        registry: Where the metrics are kept.
        alerts: Writes public alerts for who wants those.
        told: Called with a part's name, whether it works, and a word on that.
        publish: Takes readings of receivers that are disabled; None says nothing of them.
    """

    def __init__(
        self,
        store: CaseStore,
        city: str,
        *,
        login: BrokerLogin | None,
        webhooks_path: Path,
        allowed: tuple[Network, ...] = (),
        clock: Clock,
        wall: Clock,
        registry: CollectorRegistry,
        alerts: AlertWriter,
        told: Callable[[str, bool, str], None] = lambda _name, _ok, _detail: None,
        publish: Publish | None = None,
    ) -> None:
        self._store = store
        self._outbox = store.outbox
        self._city = city
        self._login = login
        self._webhooks_path = webhooks_path
        self._allowed = allowed
        self._clock = clock
        self._wall = wall
        self._metrics = NotifyMetrics(registry)
        self._told = told
        self._alerts = alerts
        self._publish = publish
        self._accounts: dict[str, Account] = {}
        self._tail = Tail(store)

    async def run(self) -> None:
        """Tell them until cancelled; a store that fails is tried again."""
        while True:
            try:
                with contextlib.ExitStack() as held:
                    alone = self._outbox.deliver_alone()
                    if await asyncio.to_thread(held.enter_context, alone):
                        self._told("notifications", True, "")
                        await self._run()
                self._told("notifications", True, "another process delivers")
            except ServiceError as error:
                logger.error("notifications: %s; tried again in %.0f s", error, RETRY_S)
                self._told("notifications", False, str(error))
            await asyncio.sleep(RETRY_S)

    async def _run(self) -> None:
        self._accounts.clear()
        tasks = [
            asyncio.create_task(work, name=f"notify-{name}")
            for name, work in {
                "tail": self._tail.run(),
                "save": self._keep_saving(),
                "webhooks": self._keep_webhooks(),
                **({} if self._login is None else {"mqtt": self._feed(self._login)}),
                **({} if self._publish is None else {"given-up": self._report(self._publish)}),
            }.items()
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._save()

    async def _account(self, name: str) -> Account:
        """The account of a subscriber, as it was last saved."""
        state = await asyncio.to_thread(self._outbox.subscribe, name, self._wall.now_ns())
        account = self._accounts[name] = Account(state, self._metrics)
        return account

    async def _feed(self, login: BrokerLogin) -> None:
        feed = MqttFeed(
            login,
            self._city,
            tail=self._tail,
            outbox=self._outbox,
            account=await self._account(MQTT),
            clock=self._clock,
            wall=self._wall,
            told=lambda ok, detail: self._told("incident feed", ok, detail),
        )
        await feed.run()

    async def _keep_webhooks(self) -> None:
        """Tell the receivers that the file names, and take up its changes."""
        known: dict[str, Webhook] = {}
        running: dict[str, asyncio.Task[None]] = {}
        refused = ""
        try:
            while True:
                try:
                    loaded = await asyncio.to_thread(load_webhooks, self._webhooks_path)
                    wanted, refused = {one.subscriber: one for one in loaded}, ""
                except InputError as error:
                    wanted = known
                    if str(error) != refused:
                        logger.error("the webhooks stay as they are: %s", error)
                    refused = str(error)
                for name in [name for name in known if wanted.get(name) != known[name]]:
                    await _cancel(running.pop(name))
                    if name not in wanted:
                        await self._leave(name)
                for name in wanted.keys() - running.keys():
                    running[name] = asyncio.create_task(self._tell(wanted[name]), name=name)
                known = wanted
                self._told("webhooks", not refused, refused or self._webhooks_at_a_glance(known))
                await asyncio.sleep(LOOK_S)
                for task in running.values():
                    if task.done():
                        task.result()
        finally:
            for task in running.values():
                await _cancel(task)

    async def _tell(self, webhook: Webhook) -> None:
        name = webhook.subscriber
        delivery = WebhookDelivery(
            webhook,
            self._city,
            tail=self._tail,
            account=self._accounts.get(name) or await self._account(name),
            wall=self._wall,
            allowed=self._allowed,
            issued=self._store.alerts,
            alerts=self._alerts,
        )
        await delivery.run()

    async def _report(self, publish: Publish) -> None:
        """Let the rules know which receivers are disabled."""
        given_up = GivenUp(self._city, publish, self._clock)
        while True:
            await given_up.tell(
                {
                    name.removeprefix(WEBHOOK): account.disabled_ns is not None
                    for name, account in self._accounts.items()
                    if name.startswith(WEBHOOK)
                }
            )
            await asyncio.sleep(LOOK_S)

    def _webhooks_at_a_glance(self, known: Mapping[str, Webhook]) -> str:
        """In words: a receiver that fails is not a fault of the platform."""
        accounts = [account for name, account in self._accounts.items() if name in known]
        failing = [
            f"{one.name} {'failing' if one.disabled_ns is None else 'disabled'}: {one.last_error}"
            for one in accounts
            if one.disabled_ns is not None or one.failing_since_ns is not None
        ]
        return "; ".join([f"{len(known)} receivers", *failing])

    async def _leave(self, name: str) -> None:
        """Tell a subscriber nothing more; it is forgotten later, so it may come back."""
        with contextlib.suppress(ServiceError):
            await self._save()
        self._accounts.pop(name, None)
        self._metrics.forget(name)

    async def _keep_saving(self) -> None:
        loop = asyncio.get_running_loop()
        forget_s = loop.time() + FORGET_EVERY_S
        while True:
            if loop.time() >= forget_s:
                forget_s = loop.time() + FORGET_EVERY_S
                before_ns = self._wall.now_ns() - FORGET_AFTER_NS
                await asyncio.to_thread(self._outbox.forget, set(self._accounts), before_ns)
            await asyncio.sleep(SAVE_S)
            for account in self._accounts.values():
                account.measure(self._tail.latest)
            try:
                await self._save()
            except ServiceError as error:
                logger.error("what others were told is not saved, so told again: %s", error)

    async def _save(self) -> None:
        """Save what changed, and hear what people asked for."""
        now_ns = self._wall.now_ns()
        asked = await asyncio.to_thread(self._outbox.asked)
        unsaved = {
            name: found
            for name, account in self._accounts.items()
            if (found := account.take_unsaved(now_ns)) is not None
        }
        states = [one.state for one in unsaved.values()]
        states += [
            self._accounts[name].state(now_ns)
            for name in asked
            if name in self._accounts and name not in unsaved
        ]
        if not states:
            return
        letters = [letter for one in unsaved.values() for letter in one.dead]
        try:
            heard = await asyncio.to_thread(self._outbox.save, states, letters)
        except ServiceError:
            for name, one in unsaved.items():
                self._accounts[name].give_back(one)
            raise
        for name, sequence in heard.items():
            self._accounts[name].go_on_after(sequence)
            logger.warning("%s: goes on after line %d, as was asked for", name, sequence)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
