"""The archive holds each accepted observation once, whatever is killed, and only those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from builders import a_batch, an_observation, at_s
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import topics
from core.clock import ManualClock
from core.errors import InputError, NotFoundError, ServiceError
from core.grades import Grade
from core.observations import Observation, encode_batch
from core.ports import LogRecord
from geo.city import City, load_city
from geo.tagging import Tagger
from store.archive.query import ArchiveReader, ObservationFilter
from store.archive.writer import HOUR_NS, ArchiveWriter
from streams.archiver import Archiver
from streams.embedded.log import EmbeddedLog


@pytest.fixture(scope="module")
def map_of() -> tuple[City, Tagger]:
    city = load_city("generated", seed=7)
    return city, Tagger(city)


class Log:
    """A log in memory, as a reader sees it."""

    def __init__(self, partitions: int = 1) -> None:
        self.records: list[list[LogRecord]] = [[] for _ in range(partitions)]
        self.told: dict[tuple[str, int], int] = {}
        self._sequence = 0

    def append(self, *rows: Observation, partition: int = 0, **stamp: Any) -> None:
        self._sequence += 1
        value = encode_batch(a_batch(*rows, sequence=self._sequence, partition=partition, **stamp))
        records = self.records[partition]
        records.append(LogRecord(len(records), value))

    async def fetch(self, topic: str, partition: int, offset: int) -> Sequence[LogRecord]:
        assert topic == topics.OBSERVATIONS
        return [one for one in self.records[partition] if one.offset >= offset][:3]

    async def done(self, positions: Mapping[tuple[str, int], int]) -> None:
        self.told.update(positions)


class Archive:
    """An archive that can be killed: what is opened again knows only what is on disk."""

    def __init__(self, folder: Path, log: Log, map_of: tuple[City, Tagger]) -> None:
        self.folder, self.log, self._map = folder, log, map_of
        self.start()

    def start(self, **options: Any) -> None:
        self.writer = ArchiveWriter(self.folder, **options)
        self.archiver = Archiver(
            self.log,
            self.writer,
            partitions=len(self.log.records),
            tagger=self._map[1],
            devices=self._map[0].devices,
            clock=ManualClock(at_s(0)),
        )

    def kill(self) -> None:
        self.writer.close()
        self.start()

    async def read_all(self) -> None:
        while await self.archiver.read_once():
            pass

    async def archive_all(self) -> None:
        await self.read_all()
        await self.archiver.flush()

    def ids(self) -> list[str]:
        reader = ArchiveReader(self.folder)
        try:
            found, cursor = [], None
            while True:
                page = reader.page(ObservationFilter(), limit=7, cursor=cursor)
                found += [row["id"] for row in page.rows]
                cursor = page.next
                if cursor is None:
                    return found
        finally:
            reader.close()


@pytest.fixture
def archive(tmp_path: Path, map_of: tuple[City, Tagger]) -> Archive:
    return Archive(tmp_path / "archive", Log(), map_of)


async def test_what_was_said_and_where_it_was_comes_back(archive: Archive) -> None:
    placed = an_observation(
        1.25, labels={"battery": "ok"}, device_sequence=7, snapshots=("a.jpg",), topic="t"
    )
    fixed = an_observation(2, thing_id="smoke-0001", kind="smoke", lon_deg=None, lat_deg=None)
    archive.log.append(placed, fixed)
    await archive.archive_all()
    reader = ArchiveReader(archive.folder)
    second, first = reader.page(ObservationFilter()).rows
    assert first["id"] == placed.id
    assert first["measures"] == {"water_level_m": 0.05}
    assert first["labels"] == {"battery": "ok"}
    assert (first["observed_ns"], first["device_sequence"]) == (at_s(1.25), 7)
    assert first["area_code"].startswith("370202")
    assert first["log"] == {"ingest_id": "ingest-1", "sequence": 1, "partition": 0, "offset": 0}
    assert "snapshots" not in first
    assert second["lon_deg"] is not None  # from the register of devices
    assert reader.one(placed.id, near_ns=at_s(0)) == first
    with pytest.raises(NotFoundError, match="none with this id"):
        reader.one("0" * 32)
    reader.close()


async def test_every_column_names_its_grade_in_the_file(archive: Archive) -> None:
    archive.log.append(an_observation())
    await archive.archive_all()
    (path,) = archive.folder.glob("day=2026-07-01/hour=01/00-000000000000-000000000000.parquet")
    grades = {
        field.name: Grade[field.metadata[b"grade"].decode()] for field in pq.read_schema(path)
    }
    assert grades["snapshots"] is Grade.SENSITIVE
    assert grades["lon_deg"] is Grade.INTERNAL
    assert grades["kind"] is Grade.PUBLIC


async def test_a_late_row_goes_to_its_own_hour_and_says_so(archive: Archive) -> None:
    archive.log.append(an_observation(0), an_observation(-7200), watermark_ns=at_s(-60))
    await archive.archive_all()
    assert sorted(one.hour_ns for one in archive.writer.catalog.files()) == [
        at_s(-7200) // HOUR_NS * HOUR_NS,
        at_s(0) // HOUR_NS * HOUR_NS,
    ]
    reader = ArchiveReader(archive.folder)
    assert [row["late"] for row in reader.page(ObservationFilter()).rows] == [False, True]
    reader.close()


async def test_a_kill_between_reading_and_writing_loses_and_doubles_nothing(
    archive: Archive,
) -> None:
    rows = [an_observation(second) for second in range(20)]
    for row in rows[:8]:
        archive.log.append(row)
    await archive.archive_all()
    for row in (rows[3], *rows[8:]):  # one is a repeat of what is in a file already
        archive.log.append(row)
    await archive.read_all()
    archive.kill()
    assert archive.log.told[topics.OBSERVATIONS, 0] == 8
    await archive.archive_all()
    assert sorted(archive.ids()) == sorted(row.id for row in rows)
    totals = archive.writer.catalog.totals()
    assert (totals.observations, totals.duplicates, totals.lost_records) == (20, 1, 0)


async def test_a_file_that_no_transaction_named_is_swept_away(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.log.append(an_observation(0))
    with monkeypatch.context() as patch:
        patch.setattr(archive.writer.catalog, "add", _fail)
        with pytest.raises(ServiceError, match="no power"):
            await archive.archive_all()
    assert len(list(archive.folder.rglob("*.parquet"))) == 1
    archive.kill()
    assert list(archive.folder.rglob("*.parquet")) == []
    await archive.archive_all()
    assert archive.ids() == [an_observation(0).id]


def _fail(*_: object) -> None:
    raise ServiceError("no power")


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("rows"), st.lists(st.integers(-9000, 9000), max_size=5)),
            st.sampled_from([("flush", []), ("kill", []), ("tend", [])]),
        ),
        max_size=25,
    )
)
async def test_any_order_of_writing_merging_and_kills_keeps_each_once(
    steps: list[tuple[str, list[int]]],
    tmp_path_factory: pytest.TempPathFactory,
    map_of: tuple[City, Tagger],
) -> None:
    archive = Archive(tmp_path_factory.mktemp("archive"), Log(partitions=2), map_of)
    wanted: set[str] = set()
    for step, seconds in steps:
        if step == "rows":
            rows = [an_observation(second, thing_id=f"w-{second % 3}") for second in seconds]
            wanted |= {row.id for row in rows}
            for partition in (0, 1):
                mine = [row for row in rows if int(row.thing_id[-1]) % 2 == partition]
                archive.log.append(*mine, partition=partition)
            await archive.read_all()
        elif step == "flush":
            await archive.archiver.flush()
        elif step == "tend":
            archive.writer.tend(at_s(30_000))
        else:
            archive.kill()
    await archive.archive_all()
    archive.writer.tend(at_s(30_000))
    assert sorted(archive.ids()) == sorted(wanted)
    archive.writer.close()


async def test_an_hour_that_has_ended_becomes_one_file_sorted_by_thing(archive: Archive) -> None:
    for second in range(6):
        archive.log.append(*(an_observation(second, thing_id=name) for name in ("w-2", "w-1")))
        await archive.archive_all()
    archive.writer.tend(at_s(600))
    assert len(archive.writer.catalog.files()) == 6  # the hour goes on
    archive.writer.tend(at_s(2 * 3600))
    (merged,) = archive.writer.catalog.files()
    assert len(list(archive.folder.rglob("*.parquet"))) == 7  # readers may be in the old ones
    archive.writer.tend(at_s(2 * 3600))
    assert [path.name for path in archive.folder.rglob("*.parquet")] == [Path(merged.name).name]
    table = pq.read_table(archive.folder / merged.name)
    assert table["thing_id"].to_pylist() == ["w-1"] * 6 + ["w-2"] * 6
    assert len(archive.ids()) == 12


async def test_retention_takes_the_oldest_hours(archive: Archive) -> None:
    archive.log.append(*(an_observation(3600 * hour) for hour in range(4)))
    await archive.archive_all()
    archive.writer.close()
    archive.start(retain_s=2 * 3600)
    archive.writer.tend(at_s(4 * 3600))
    assert sorted(archive.ids()) == sorted(an_observation(3600 * h).id for h in (2, 3))
    archive.writer.close()
    archive.start(retain_bytes=1)
    archive.writer.tend(at_s(4 * 3600))
    archive.writer.tend(at_s(4 * 3600))
    assert archive.ids() == []
    assert list(archive.folder.rglob("*.parquet")) == []


@pytest.mark.parametrize(
    ("wanted", "things"),
    [
        (ObservationFilter(things=("w-1",)), ["w-1"]),
        (ObservationFilter(kinds=("smoke",)), ["s-1"]),
        (ObservationFilter(from_ns=at_s(10), to_ns=at_s(20)), ["s-1", "w-2"]),
        (ObservationFilter(area_code="370202", kinds=("water_level",)), ["w-2", "w-1"]),
        (ObservationFilter(area_code="99"), []),
        (ObservationFilter(box=(120.38, 36.06, 120.39, 36.07), to_ns=at_s(5)), ["w-1"]),
        (ObservationFilter(box=(100, 10, 101, 11)), []),
        (ObservationFilter(ids=(an_observation(0, thing_id="w-1").id,)), ["w-1"]),
    ],
)
async def test_questions(archive: Archive, wanted: ObservationFilter, things: list[str]) -> None:
    archive.log.append(
        an_observation(0, thing_id="w-1"),
        an_observation(10, thing_id="w-2"),
        an_observation(20, thing_id="s-1", kind="smoke"),
    )
    await archive.archive_all()
    reader = ArchiveReader(archive.folder)
    assert [row["thing_id"] for row in reader.page(wanted).rows] == things
    assert sum(reader.count(wanted).values()) == len(things)
    with pytest.raises(InputError):
        reader.page(wanted, cursor="what")
    reader.close()


async def test_records_that_the_log_lost_are_counted(archive: Archive) -> None:
    for second in range(5):
        archive.log.append(an_observation(second))
    await archive.archive_all()
    for second in range(5, 9):
        archive.log.append(an_observation(second))
    del archive.log.records[0][6]
    await archive.archive_all()
    assert archive.writer.catalog.totals().lost_records == 1


def test_files_without_a_catalog_are_not_swept_away(tmp_path: Path) -> None:
    folder = tmp_path / "day=2026-07-01" / "hour=01"
    folder.mkdir(parents=True)
    (folder / "x.parquet").touch()
    with pytest.raises(ServiceError, match=r"no catalog\.sqlite3"):
        ArchiveWriter(tmp_path)
    assert (folder / "x.parquet").exists()


async def test_it_reads_the_embedded_log_and_holds_back_its_cleaning(
    tmp_path: Path, map_of: tuple[City, Tagger]
) -> None:
    from streams.embedded.reader import EmbeddedReader

    url = f"embedded://{tmp_path / 'log'}"
    wanted = {topics.OBSERVATIONS: 1}
    async with EmbeddedReader(url, group="archive", topics=wanted) as reader:
        log: EmbeddedLog = reader._log  # type: ignore[assignment]
        assert log.committed("archive", topics.OBSERVATIONS, 0) == 0
        await log.send(topics.OBSERVATIONS, 0, encode_batch(a_batch(an_observation())))
        archiver = Archiver(
            reader,
            ArchiveWriter(tmp_path / "archive"),
            partitions=1,
            tagger=map_of[1],
            devices={},
            clock=ManualClock(at_s(0)),
        )
        assert await archiver.read_once()
        await archiver.flush()
        assert log.committed("archive", topics.OBSERVATIONS, 0) == 1
