"""Speed, pause and step change when rounds come, never what is in them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from core.clock import ManualClock
from core.errors import InputError
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.recording.pace import Pace
from ingest.recording.rounds import Round
from ingest.recording.source import RecordedSource


def some_rounds(count: int, step_s: float) -> Iterator[Round]:
    for n in range(count):
        at_ns = round(n * step_s * NS_PER_S)
        yield Round(at_ns, [RawMessage(topic="t", payload=b"%d" % n, received_ns=at_ns)])


async def played(pace: Pace, count: int = 5, step_s: float = 1.0) -> tuple[list[bytes], float]:
    began_s = time.monotonic()
    source = RecordedSource(some_rounds(count, step_s), ManualClock(), pace=pace)
    got = [batch[0].payload async for batch in source.batches()]
    return got, time.monotonic() - began_s


async def test_a_speed_is_kept_and_changes_no_round() -> None:
    fast, fast_s = await played(Pace())
    slow, slow_s = await played(Pace(10.0))
    assert fast == slow
    assert 0.4 <= slow_s < 2.0
    assert fast_s < 0.2


async def test_pause_resume_and_a_new_speed() -> None:
    pace = Pace(1.0)
    playing = asyncio.create_task(played(pace, count=4, step_s=3600.0))
    await asyncio.sleep(0.05)
    pace.pause()
    pace.set_speed(None)
    await asyncio.sleep(0.05)
    assert pace.paused
    assert not playing.done()
    pace.resume()
    got, _ = await asyncio.wait_for(playing, 5)
    assert got == [b"0", b"1", b"2", b"3"]


async def test_a_step_goes_on_until_it_ends() -> None:
    rounds_seen = 0

    async def third() -> bool:
        nonlocal rounds_seen
        rounds_seen += 1
        return rounds_seen == 3

    pace = Pace(1.0, third)
    pace.step()
    playing = asyncio.create_task(played(pace, count=5, step_s=3600.0))
    while not pace.paused:
        await asyncio.sleep(0.01)
    assert rounds_seen == 3
    pace.set_speed(None)
    pace.resume()
    got, _ = await asyncio.wait_for(playing, 5)
    assert len(got) == 5


@pytest.mark.parametrize("speed", [0.0, -1.0, 1e9, float("nan")])
def test_a_speed_out_of_range_is_refused(speed: float) -> None:
    with pytest.raises(InputError, match="speed between"):
        Pace(speed)
