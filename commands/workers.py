"""``qingniao workers``: simulated grid workers at a running platform, over its API and MQTT."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec

from commands.parts import api_token
from commands.sharing import broker_address
from core.clock import Clock
from core.errors import ServiceError
from core.settings import Settings
from core.stopping import stopping_on_signals
from geo.city import load_city
from simulators.publisher import Connection
from simulators.workers import Case, Crew, Intent

logger = logging.getLogger(__name__)

#: The phones look for news this often (wall seconds).
POLL_S = 0.5
_STATUSES = "dispatched,handling,feedback"
_PAGE = 1000
_TIMEOUT_S = 10.0


class WorkCounts(msgspec.Struct, kw_only=True):
    """What a crew did; ``refused`` are steps that somebody else had made moot."""

    steps: dict[str, int] = {}
    refused: int = 0
    positions: int = 0


class Desk:
    """The platform as a worker's phone sees it.

    Args:
        url: Of the API.
        token: For writing.
    """

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.Client(
            base_url=url, timeout=_TIMEOUT_S, headers={"Authorization": f"Bearer {token}"}
        )

    def cases(self) -> Iterator[Case]:
        """All cases that somebody works on.

        Raises:
            ServiceError: The API cannot be reached or answers with an error.
        """
        cursor: str | None = None
        while True:
            given = {"status": _STATUSES, "limit": str(_PAGE)}
            if cursor is not None:
                given["cursor"] = cursor
            try:
                answer = self._client.get("/incidents", params=given)
                answer.raise_for_status()
            except httpx.HTTPError as exc:
                raise ServiceError(f"API {self._client.base_url}: {exc}; is it running?") from exc
            body = answer.json()
            yield from map(_case, body["incidents"])
            cursor = body["next"]
            if cursor is None:
                return

    def take(self, intent: Intent) -> bool:
        """Take a step; False where it was refused because the case has moved on.

        Raises:
            ServiceError: The API cannot be reached, or refuses for another reason.
        """
        body = {
            "action": intent.action,
            "actor": intent.actor,
            "role": intent.role,
            "version": intent.version,
            "reason": intent.reason,
        }
        try:
            answer = self._client.post(
                f"/incidents/{intent.incident_id}/transitions",
                json=body,
                headers={"Idempotency-Key": intent.key},
            )
        except httpx.HTTPError as exc:
            raise ServiceError(f"API {self._client.base_url}: {exc}") from exc
        if answer.status_code in {409, 429}:
            return False
        if answer.is_error:
            raise ServiceError(
                f"API: step {intent.action!r} of {intent.incident_id}: {answer.status_code} "
                f"{answer.text[:300]}"
            )
        return True

    def close(self) -> None:
        """Hang up."""
        self._client.close()


def _case(body: dict[str, Any]) -> Case:
    place = body.get("place") or {}
    return Case(
        incident_id=body["id"],
        status=body["status"],
        version=body["version"],
        worker_id=body.get("worker_id"),
        lon_deg=place.get("lon_deg"),
        lat_deg=place.get("lat_deg"),
        cleared=body.get("cleared_at") is not None,
    )


def run_workers(
    settings: Settings,
    *,
    url: str,
    clock: Clock,
    seed: int,
    stop: threading.Event | None = None,
) -> WorkCounts:
    """Work until told to stop (SIGTERM and SIGINT do that in a process's main thread).

    Raises:
        ServiceError: API or broker cannot be reached at the start. Later ones are waited for.
    """
    stop = stop or threading.Event()
    city = load_city(settings.city, seed=settings.city_seed)
    crew = Crew(city.name, city.workers, seed=seed, start_ns=clock.now_ns())
    desk = Desk(url, api_token(settings))
    phones = Connection(broker_address(settings), "qingniao-workers")
    counts = WorkCounts()
    try:
        with stopping_on_signals(stop):
            for _ in desk.cases():
                break  # the first question must be answered
            while not stop.wait(POLL_S):
                try:
                    _once(crew, desk, clock.now_ns(), counts)
                except ServiceError as error:
                    logger.warning("%s; the workers wait", error)
                for one in crew.positions(clock.now_ns()):
                    if phones.publish(one.topic, one.payload, one.qos, give_up=stop.is_set):
                        counts.positions += 1
    finally:
        phones.close()
        desk.close()
    return counts


def _once(crew: Crew, desk: Desk, now_ns: int, counts: WorkCounts) -> None:
    for intent in crew.work(now_ns, desk.cases()):
        if desk.take(intent):
            counts.steps[intent.action] = counts.steps.get(intent.action, 0) + 1
        else:
            counts.refused += 1
