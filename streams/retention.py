"""Keeps the case store from growing for ever: forgets in small steps, beside what is decided."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter

from prometheus_client import Counter as Metric

from core.clock import Clock
from core.errors import ServiceError
from core.units import NS_PER_S, ns_to_rfc3339
from store.cases import CaseStore

logger = logging.getLogger(__name__)

#: What is over is looked for a minute after the start, when a city is busy starting no more,
#: and then once a day (wall seconds).
FIRST_S, EVERY_S = 60.0, 86_400.0

#: Share of the writer's time that forgetting takes at most.
SHARE = 0.2

_FORGOTTEN = Metric(
    "qingniao_store_forgotten_total", "Rows of the case store deleted because of age", ["table"]
)


async def keep_to_retention(
    store: CaseStore, clock: Clock, retain_days: float, *, first_s: float = FIRST_S
) -> None:
    """Forget what is older than ``retain_days`` of city time, now and again, until cancelled.

    Args:
        store: The case store.
        clock: City time.
        retain_days: Days; 0 keeps everything.
        first_s: Wall seconds until the first look.
    """
    await asyncio.sleep(first_s)
    while True:
        if retain_days:
            await _look(store, clock, retain_days)
        await asyncio.sleep(EVERY_S)


async def _look(store: CaseStore, clock: Clock, retain_days: float) -> None:
    before_ns = clock.now_ns() - round(retain_days * 86_400) * NS_PER_S
    try:
        counts = await forget_once(store, before_ns)
    except ServiceError as error:
        # The database is away; what decides says so louder. The next look takes it in.
        logger.warning("store: not all that is old was forgotten: %s", error)
        return
    if counts:
        told = ", ".join(f"{count} of {table}" for table, count in sorted(counts.items()))
        logger.info("store: forgot what was over by %s: %s", ns_to_rfc3339(before_ns), told)


async def forget_once(store: CaseStore, before_ns: int) -> Counter[str]:
    """Forget what was over before an instant, leaving the writer free most of the time.

    Returns:
        Rows deleted, by table.

    Raises:
        ServiceError: The database failed; what was deleted until then is counted.
    """
    total: Counter[str] = Counter()
    steps = store.forget(before_ns)
    while True:
        began_s = time.monotonic()
        counts = await asyncio.to_thread(next, steps, None)
        if counts is None:
            return +total
        for table, count in counts.items():
            _FORGOTTEN.labels(table).inc(count)
        total.update(counts)
        await asyncio.sleep((time.monotonic() - began_s) * (1 / SHARE - 1))
