"""A whole city, as ``qingniao run`` runs it, that writes down when each observation was tagged.

Run as ``python -m benchmarks.stream_probe FILE`` with settings in the environment. For every
observation that the rules have seen, FILE gets one int64: nanoseconds since its device sequence,
which :mod:`benchmarks.stream_pacer` makes the instant (monotonic) at which it was sent.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import numpy as np

from commands.city_process import CityProcess
from commands.services import calm_collector
from core.clock import SystemClock
from core.settings import load_settings
from geo.city import load_city
from streams.partition import Processed


async def run(path: Path) -> None:
    """Run until something fails, or for ever."""
    settings = load_settings()
    city = load_city(settings.city, seed=settings.city_seed)
    with path.open("wb", buffering=0) as file:

        def note(processed: Processed) -> None:
            sent_ns = np.frombuffer(processed.batch.sequences, np.int64)
            file.write((time.monotonic_ns() - sent_ns).tobytes())

        async with CityProcess(settings, clock=SystemClock(), city=city) as process:
            process.parts.listeners.append(note)
            assert process.api is not None
            calm_collector()
            print(f"{process.api.url}  token", flush=True)
            raise SystemExit(await process.failure)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
