"""The area-scoped MQTT feed: ``incidents/{area}/{id}`` (core.topics.incident_topic).

Every line of the outbox is published once acknowledged and never out of order; the topic of
an open incident holds its last state (retained), that of one that is no longer open, or that
turned out to lie elsewhere, holds nothing. A broker may forget what it held, or hold what an
outage left behind: at every connection it is asked, and put right.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping

from api.mqtt_link import BrokerLogin
from api.notify.account import Account
from api.notify.backoff import backoff_s
from api.notify.mqtt_connection import Message, MqttConnection
from api.notify.notices import Notice, encode_event, encode_state, read_retained
from api.notify.tail import Tail
from core.clock import Clock
from core.errors import ServiceError
from core.grades import Grade
from core.topics import INCIDENTS, incident_topic
from core.units import ns_to_rfc3339
from store.outbox import OpenCaseState, Outbox

logger = logging.getLogger(__name__)

#: Longest wait before another attempt to reach the broker, in seconds.
LONGEST_WAIT_S = 10.0

#: Incidents read at once where the broker lacks their state; some 600 kB.
_STATES_AT_ONCE = 200

#: What subscribers of a city's broker may see: they are its departments and its streets.
FEED_GRADE = Grade.INTERNAL


class MqttFeed:
    """Publishes the outbox.

    Memory: topic and version of every open incident, at about 200 bytes.

    Args:
        login: The broker.
        city: Name of the city.
        tail: The outbox's lines.
        outbox: What is open now.
        account: How far the broker has been told.
        clock: City time, for states that are told without a change.
        wall: The machine's time.
        told: Called with whether it works and a word on that.
    """

    def __init__(
        self,
        login: BrokerLogin,
        city: str,
        *,
        tail: Tail,
        outbox: Outbox,
        account: Account,
        clock: Clock,
        wall: Clock,
        told: Callable[[bool, str], None],
    ) -> None:
        self._login = login
        self._city = city
        self._tail = tail
        self._outbox = outbox
        self._account = account
        self._clock = clock
        self._wall = wall
        self._told = told
        self._random = random.Random()  # noqa: S311 (spreads retries)
        #: What the broker holds: topics of each incident with the version there.
        self._held: dict[str, dict[str, int]] = {}
        self._skipped = False

    async def run(self) -> None:
        """Publish until cancelled; a broker that is away is waited for."""
        failures = 0
        while True:
            try:
                async with MqttConnection(
                    self._login, f"qingniao-notify-{self._city}"
                ) as connection:
                    failures = 0
                    await self._serve(connection)
            except ServiceError as error:
                failures += 1
                self._account.failed(str(error), self._wall.now_ns())
                self._told(False, str(error))
                logger.warning("incident feed: %s; it goes on after %d", error, self._after)
            await asyncio.sleep(backoff_s(failures, self._random, longest_s=LONGEST_WAIT_S))

    @property
    def _after(self) -> int:
        return self._account.sequence

    async def _serve(self, connection: MqttConnection) -> None:
        bell = self._tail.bell()
        try:
            await self._ask_what_is_held(connection)
            await self._put_right(connection, bell)
            while True:
                bell.clear()
                await self._publish_new(connection, None)
                if self._skipped:
                    await self._put_right(connection, bell)
                await connection.wait(bell)
        finally:
            self._tail.hang_up(bell)

    async def _ask_what_is_held(self, connection: MqttConnection) -> None:
        held: dict[str, dict[str, int]] = {}
        retained = await connection.retained(f"{INCIDENTS}/#", f"qn/{self._city}/notify-marker")
        for topic, payload in retained.items():
            ours = read_retained(payload, self._city)
            if ours is not None:
                incident_id, version = ours
                held.setdefault(incident_id, {})[topic] = version
        self._held = held

    async def _put_right(self, connection: MqttConnection, bell: asyncio.Event) -> None:
        """Publish all up to now, then what the broker should hold then and does not."""
        self._skipped = False
        until, open_cases = await asyncio.to_thread(self._outbox.open_cases)
        generation = self._account.generation
        while self._after < until and generation == self._account.generation:
            bell.clear()
            if not await self._publish_new(connection, until):
                await connection.wait(bell)
        await self._clear_stale(connection, open_cases)
        await self._publish_missing(connection, open_cases)
        self._told(True, f"{len(open_cases)} open incidents")

    async def _publish_new(self, connection: MqttConnection, until: int | None) -> bool:
        """Publish the lines there are, up to a number; whether there were any."""
        account = self._account
        found = False
        while True:
            generation = account.generation
            lines = await self._tail.after(self._after)
            if generation != account.generation:
                continue  # asked meanwhile to go on elsewhere
            if until is not None:
                lines = [line for line in lines if line.sequence <= until]
            if not lines:
                return found
            skipped = lines[0].sequence - self._after - 1
            messages = [message for line in lines for message in self._messages(line)]
            started_s = asyncio.get_running_loop().time()
            await connection.publish(messages)
            account.timed(asyncio.get_running_loop().time() - started_s)
            if generation != account.generation:
                continue
            if skipped:
                self._skipped = True
                account.skipped(skipped)
                logger.error("incident feed: %d lines are no longer in the outbox", skipped)
            account.took(len(lines))
            account.reached(lines[-1].sequence)
            self._told(True, f"told up to {self._after}")
            found = True

    def _messages(self, line: Notice) -> list[Message]:
        """A line as messages; keeps account of what the broker then holds."""
        topic = incident_topic(line.area_code, line.incident_id)
        before = self._held.pop(line.incident_id, {})
        elsewhere = [Message(other, b"", retain=True) for other in before if other != topic]
        event = encode_event(line, self._city, FEED_GRADE)
        if line.is_open:
            self._held[line.incident_id] = {topic: line.version}
            return [*elsewhere, Message(topic, event, retain=True)]
        cleared = [Message(topic, b"", retain=True)] if topic in before else []
        return [*elsewhere, Message(topic, event, retain=False), *cleared]

    async def _clear_stale(
        self, connection: MqttConnection, open_cases: Mapping[str, OpenCaseState]
    ) -> None:
        stale = []
        for incident_id, topics in list(self._held.items()):
            case = open_cases.get(incident_id)
            right = None if case is None else incident_topic(case.area_code, incident_id)
            stale += [topic for topic in topics if topic != right]
            kept = {topic: version for topic, version in topics.items() if topic == right}
            if kept:
                self._held[incident_id] = kept
            else:
                del self._held[incident_id]
        for first in range(0, len(stale), _STATES_AT_ONCE):
            some = stale[first : first + _STATES_AT_ONCE]
            await connection.publish([Message(topic, b"", retain=True) for topic in some])

    async def _publish_missing(
        self, connection: MqttConnection, open_cases: Mapping[str, OpenCaseState]
    ) -> None:
        missing = [
            incident_id
            for incident_id, case in open_cases.items()
            if max(self._held.get(incident_id, {}).values(), default=0) < case.version
        ]
        for first in range(0, len(missing), _STATES_AT_ONCE):
            some = missing[first : first + _STATES_AT_ONCE]
            bodies = await asyncio.to_thread(self._outbox.bodies, some)
            at = ns_to_rfc3339(self._clock.now_ns())
            messages = []
            for incident_id, body in bodies.items():
                case = open_cases[incident_id]
                event = encode_state(body, self._city, at, FEED_GRADE)
                told = read_retained(event, self._city)
                if told is None or told[1] != case.version:
                    continue  # it has changed since, and that line is still to be published
                topic = incident_topic(case.area_code, incident_id)
                messages.append(Message(topic, event, retain=True))
                self._held[incident_id] = {topic: case.version}
            await connection.publish(messages)
