"""Says which receivers are told nothing more, as a device would: so that it becomes a case."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping

from api.services import Publish
from core.clock import Clock
from core.errors import ServiceError
from core.topics import sensor_topic
from core.units import ns_to_rfc3339

logger = logging.getLogger(__name__)

#: What did not change is said again after this many wall seconds: the rules forget who is silent.
AGAIN_S = 86_400.0


class GivenUp:
    """Publishes a reading of each receiver: at first, when it changes, and once a day.

    Args:
        city: Name of the city.
        publish: To the broker of the devices.
        clock: City time.
    """

    def __init__(self, city: str, publish: Publish, clock: Clock) -> None:
        self._city = city
        self._publish = publish
        self._clock = clock
        self._told: dict[str, tuple[bool, float]] = {}

    async def tell(self, disabled: Mapping[str, bool]) -> None:
        """Say what is new; what the broker did not take is said at the next call.

        Args:
            disabled: Whether it is disabled, by a receiver's name; of one that is no longer named
                it is told once that it is not.
        """
        now_s = time.monotonic()
        try:
            for name in sorted(self._told.keys() - disabled.keys()):
                await self._say(name, False)
                del self._told[name]
            for name, given_up in sorted(disabled.items()):
                before, at_s = self._told.get(name, (None, 0.0))
                if before != given_up or now_s - at_s >= AGAIN_S:
                    await self._say(name, given_up)
                    self._told[name] = (given_up, now_s)
        except ServiceError as error:
            logger.info("receivers that are disabled are not told of: %s", error)

    async def _say(self, name: str, given_up: bool) -> None:
        reading = {
            "kind": "webhook",
            "time": ns_to_rfc3339(self._clock.now_ns()),
            "measures": {"disabled": int(given_up)},
            "labels": {"receiver": name},
        }
        topic = sensor_topic(self._city, f"webhook-{name}")
        await self._publish(topic, json.dumps(reading).encode())
