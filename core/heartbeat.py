"""Heartbeats: a service touches a file every second, a health check looks at its age."""

from __future__ import annotations

import asyncio
from pathlib import Path

from core.clock import Clock
from core.errors import ServiceError
from core.units import NS_PER_S

#: A service whose last beat is older than this is taken for dead.
STALE_S = 10.0


def _path(data_dir: Path, service: str) -> Path:
    return data_dir / "health" / service


async def beat(data_dir: Path, service: str, clock: Clock) -> None:
    """Touch the service's file every second until cancelled; ``clock`` is the machine's."""
    path = _path(data_dir, service)
    await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
    while True:
        await asyncio.to_thread(path.write_text, str(clock.now_ns()))
        await asyncio.sleep(1)


def check_heartbeat(data_dir: Path, service: str, clock: Clock) -> float:
    """Age of the last beat in seconds.

    Raises:
        ServiceError: There is none, or it is older than STALE_S.
    """
    path = _path(data_dir, service)
    try:
        age_s = (clock.now_ns() - int(path.read_text())) / NS_PER_S
    except (OSError, ValueError) as exc:
        raise ServiceError(f"{service}: no heartbeat at {path}; is it running?") from exc
    if age_s > STALE_S:
        raise ServiceError(f"{service}: last heartbeat {age_s:.0f} s ago, at most {STALE_S:.0f}")
    return age_s
