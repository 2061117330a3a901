"""A backup of a running city is a city that goes on from there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from builders import at_s
from rich.console import Console

from commands.backup import back_up, restore
from commands.city_process import CityProcess
from core.clock import ManualClock
from core.errors import InputError
from core.ports import RawMessage
from core.settings import Settings, load_settings
from geo.city import City, load_city
from store.archive.query import ArchiveReader, ObservationFilter
from store.filters import IncidentFilter

QUIET = Console(quiet=True)


class Alarm:
    """A smoke detector over its threshold; a hook runs after some readings."""

    live = True

    def __init__(self, clock: ManualClock, numbers: range) -> None:
        self._clock = clock
        self._numbers = numbers
        self.half = asyncio.Event()
        self.go_on = asyncio.Event()

    async def batches(self) -> AsyncIterator[Sequence[RawMessage]]:
        for number in self._numbers:
            if number == 5:
                self.half.set()
                await self.go_on.wait()
            self._clock.advance_to(at_s(5 * number))
            body = {"kind": "smoke", "seq": number, "measures": {"smoke_db_per_m": 0.5}}
            yield [
                RawMessage(
                    topic="qn/qingdao/sensor/smoke-0001",
                    payload=msgspec.json.encode(body | {"time": at_s(5 * number) // 1_000_000}),
                    received_ns=at_s(5 * number),
                    qos=1,
                )
            ]

    def acknowledge(self, messages: Sequence[RawMessage]) -> None: ...


@pytest.fixture(scope="module")
def city() -> City:
    return load_city("generated", seed=7)


async def play(settings: Settings, city: City, numbers: range, copy_to: Path | None = None) -> int:
    """Play readings; copies the data folder after half of them. The number of incidents."""
    clock = ManualClock(at_s(0))
    source = Alarm(clock, numbers)
    if copy_to is None:
        source.go_on.set()
    async with CityProcess(settings, clock=clock, city=city, source=source) as process:
        if copy_to is not None:
            await source.half.wait()
            await asyncio.to_thread(back_up, settings, copy_to, QUIET)
            source.go_on.set()
        await process.settle()
        assert not process.failure.done()
        return len(process.store.list_incidents(IncidentFilter()).rows)


def archived(settings: Settings) -> Counter[int]:
    archive = ArchiveReader(settings.archive_dir)
    try:
        rows = archive.page(ObservationFilter(), limit=1000).rows
        return Counter(one["device_sequence"] for one in rows)
    finally:
        archive.close()


async def test_what_is_restored_goes_on_without_loss_or_doubles(tmp_path: Path, city: City) -> None:
    first = load_settings(data_dir=tmp_path / "first")
    assert await play(first, city, range(10), copy_to=tmp_path / "copy") == 1
    restore(tmp_path / "copy", tmp_path / "second", QUIET)
    # The broker would repeat what it was not told of: some of it is in the copy already.
    second = load_settings(data_dir=tmp_path / "second")
    assert await play(second, city, range(3, 10)) == 1
    assert archived(second) == archived(first) == Counter(range(10))


async def test_a_backup_that_is_not_whole_is_refused(tmp_path: Path, city: City) -> None:
    settings = load_settings(data_dir=tmp_path / "data")
    await play(settings, city, range(3))
    copy = tmp_path / "copy"
    back_up(settings, copy, QUIET)
    with pytest.raises(InputError, match="an empty folder was wanted"):
        back_up(settings, copy, QUIET)
    with pytest.raises(InputError, match="an empty folder was wanted"):
        restore(copy, settings.data_dir, QUIET)
    (segment,) = (copy / "log").glob("*.segment")
    segment.write_bytes(segment.read_bytes()[:-1])
    with pytest.raises(InputError, match="not what was backed up"):
        restore(copy, tmp_path / "other", QUIET)
    assert not (tmp_path / "other").exists()
    (copy / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"no manifest\.json"):
        restore(copy, tmp_path / "other", QUIET)
