"""What delivers, as a process of its own that a test may kill: one line of JSON says how."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from api.alerts import AlertWriter, issuer_of
from api.notify.notifier import Notifier
from core.clock import SystemClock
from geo.city import load_city
from ingest.broker import BrokerAddress
from scenarios.cap import CapStatus
from scenarios.loader import load_packs
from store.cases import CaseStore


async def run(how: dict[str, Any]) -> None:
    """Deliver until killed."""
    city = load_city("generated")
    store = CaseStore(how["store"], load_packs(None), city.units, city.workers, "QD")
    notifier = Notifier(
        store,
        city.name,
        webhooks_path=Path(how.get("webhooks", "none.yaml")),
        login=BrokerAddress(**how["broker"]) if how.get("broker") else None,
        clock=SystemClock(),
        wall=SystemClock(),
        registry=CollectorRegistry(),
        alerts=AlertWriter(
            store.alerts,
            store.scenarios,
            city,
            issuer_of(city, sender="", status=CapStatus.TEST),
        ),
        told=lambda name, ok, detail: print(name, ok, detail, flush=True),
    )
    await notifier.run()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(run(json.loads(sys.argv[1])))
