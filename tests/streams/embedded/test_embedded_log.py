"""The embedded log without Faust: frames, recovery, group commit, reading, cleaning."""

from __future__ import annotations

import asyncio
import doctest
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streams.embedded.frames
import streams.embedded.log
from core.clock import ManualClock
from core.errors import InputError, ServiceError, SettingsError
from streams.embedded import EmbeddedLog, LogOptions, read_topic
from streams.embedded.frames import (
    FRAME_HEAD_BYTES,
    SEGMENT_HEAD_BYTES,
    Commit,
    Record,
    TopicInfo,
    check_frame,
    decode_frame,
    durable_after,
    encode_frame,
)
from streams.embedded.log import NewRecord
from streams.embedded.segments import frames_of

HOUR_NS = 3_600_000_000_000


def a_log(folder: Path, clock: ManualClock | None = None, **options: object) -> EmbeddedLog:
    return EmbeddedLog(folder, msgspec.convert(options, LogOptions), clock=clock or ManualClock())


async def filled(folder: Path, count: int, **options: object) -> None:
    log = a_log(folder, **options)
    log.declare("t", 1)
    for number in range(count):
        await log.send("t", 0, b"%d" % number, key=b"k")
    await log.close()


async def values(log: EmbeddedLog, topic: str = "t", partition: int = 0, start: int = 0) -> list:
    out: list[bytes | None] = []
    at = start
    while found := await log.fetch(topic, partition, at, max_records=7):
        out += [record.value for record in found]
        at = found[-1].offset + 1
    return out


def segments_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.segment"))


@contextmanager
def closing(log: EmbeddedLog) -> Iterator[EmbeddedLog]:
    try:
        yield log
    finally:
        log.abandon()


def blocks_bytes(path: Path) -> int:
    return 512 * path.stat().st_blocks


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reserves room beyond a file's end")
async def test_room_is_reserved_for_a_segment_and_given_back(tmp_path: Path) -> None:
    log = a_log(tmp_path, segment_bytes=1 << 20)
    log.declare("t", 1)
    await log.send("t", 0, b"x" * 1000)
    first = segments_in(tmp_path)[0]
    assert first.stat().st_size < 2000
    if blocks_bytes(first) < 1 << 20:
        pytest.skip("this file system reserves nothing")
    for _ in range(4):
        await log.send("t", 0, b"x" * 500_000)
    first, second = segments_in(tmp_path)
    assert blocks_bytes(first) < first.stat().st_size + (64 << 10)
    assert blocks_bytes(second) >= 1 << 20
    log.abandon()
    assert blocks_bytes(second) < second.stat().st_size + (64 << 10)
    log = a_log(tmp_path, segment_bytes=1 << 20)
    log.declare("t", 1)
    await log.send("t", 0, b"y")
    assert blocks_bytes(second) >= 1 << 20
    await log.close()
    assert len(await values(a_log(tmp_path))) == 6


@pytest.mark.parametrize("answers", [True, False])
async def test_a_file_system_that_reserves_nothing_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    refusing = (lambda *_: -1) if answers else None
    monkeypatch.setattr("streams.embedded.segments._fallocate", refusing)
    await filled(tmp_path, 40, segment_bytes=1024)
    assert len(segments_in(tmp_path)) > 1
    assert len(await values(a_log(tmp_path))) == 40


def count_cut(folder: Path) -> int:
    return len(list(folder.glob("*.cut")))


def complaint_of_another_process(folder: Path) -> str:
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "from streams.embedded import EmbeddedLog\n"
        "EmbeddedLog(pathlib.Path(sys.argv[2]))"
    )
    root = Path(__file__).parents[3]
    other = subprocess.run(
        [sys.executable, "-c", code, root, folder], capture_output=True, text=True, check=False
    )
    return other.stderr


# Frames


def test_doctests_show_real_results() -> None:
    for module in (streams.embedded.frames, streams.embedded.log):
        result = doctest.testmod(module)
        assert result.attempted
        assert not result.failed


records_strategy = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.integers(0, 2),
        st.one_of(st.none(), st.binary(max_size=20)),
        st.one_of(st.none(), st.binary(max_size=60)),
        st.integers(-(2**40), 2**40),
        st.lists(st.tuples(st.text(max_size=4), st.binary(max_size=4)), max_size=2),
    ),
    max_size=12,
)


@settings(deadline=None)  # a busy machine is no fault of a frame
@given(records_strategy, st.integers(0, 2**40))
def test_frame_round_trip(items: list, durable: int) -> None:
    by_place: dict[tuple[str, int], list[Record]] = {}
    for topic, partition, key, value, stamp, headers in items:
        run = by_place.setdefault((topic, partition), [])
        run.append(Record(len(run), stamp, key, value, tuple(headers) or None))
    commits = [Commit("g", "a", 0, 7)]
    topics = [TopicInfo("a", 3, True, False, None)]
    data = b"before" + bytes(encode_frame(by_place, commits, topics, durable_before=durable))
    end = check_frame(data, 6)
    assert end == len(data)
    frame = decode_frame(data, 6, len(data))
    assert {block.key: block.decode() for block in frame.blocks} == by_place
    assert frame.commits == commits
    assert frame.topics == topics
    assert durable_after(data, 0) == durable
    for block in frame.blocks:
        run = by_place[block.key]
        assert (block.first, block.last) == (0, len(run) - 1)
        assert block.max_timestamp_ms == max(record.timestamp_ms for record in run)


def test_every_changed_byte_of_a_frame_is_noticed() -> None:
    data = encode_frame({("t", 0): [Record(0, 1, b"key", b"value")]}, durable_before=99)
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 0x10
        assert isinstance(check_frame(broken, 0), str), position


# Writing, reading, opening again


@settings(max_examples=20, deadline=None)
@given(batches=st.lists(records_strategy, max_size=5), tail=st.sampled_from([1024, 1 << 20]))
def test_what_is_appended_is_read_before_and_after_reopening(
    tmp_path_factory: pytest.TempPathFactory, batches: list, tail: int
) -> None:
    folder = tmp_path_factory.mktemp("log")

    async def run() -> None:
        expected: dict[tuple[str, int], list] = {(t, p): [] for t in "ab" for p in range(3)}
        log = a_log(folder, segment_bytes=1024, tail_bytes=tail)
        log.declare("a", 3)
        log.declare("b", 3)
        for batch in batches:
            new = [
                NewRecord(topic, partition, value, key, stamp, tuple(headers) or None)
                for topic, partition, key, value, stamp, headers in batch
            ]
            receipts = await log.append(new, group="g", offsets={("a", 1): len(expected["a", 1])})
            for one, receipt in zip(new, receipts, strict=True):
                place = expected[one.topic, one.partition]
                assert receipt.offset == len(place)
                place.append((one.key, one.value, one.timestamp_ms, one.headers))
        last = None if not batches else log.committed("g", "a", 1)
        for _ in range(2):
            for (topic, partition), want in expected.items():
                got = []
                while found := await log.fetch(topic, partition, len(got), max_records=3):
                    assert found[0].offset == len(got)
                    got += [(r.key, r.value, r.timestamp_ms, r.headers) for r in found]
                assert got == want
                assert log.end(topic, partition) == len(want)
            assert log.committed("g", "a", 1) == last
            await log.close()
            log = a_log(folder, segment_bytes=1024)
        await log.close()
        offline = sorted(row[:2] for row in read_topic(folder, "a"))
        assert offline == [(p, o) for p in range(3) for o in range(len(expected["a", p]))]

    asyncio.run(run())


async def test_offsets_and_records_become_true_together(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    log.declare("t", 2)
    await log.flush()
    durable = log.stats().n_bytes
    await log.append(
        [NewRecord("t", 0, b"x"), NewRecord("t", 1, b"y")], group="g", offsets={("in", 0): 5}
    )
    await log.close()
    (path,) = segments_in(tmp_path)
    whole = path.read_bytes()
    assert len(list(frames_of(path, durable, len(whole)))) == 1
    for size in (len(whole), len(whole) - 1):
        path.write_bytes(whole[:size])
        with closing(a_log(tmp_path)) as log:
            complete = size == len(whole)
            assert log.committed("g", "in", 0) == (5 if complete else None)
            assert log.end("t", 0) == log.end("t", 1) == (1 if complete else 0)


async def test_torn_tail_is_cut_at_every_byte(tmp_path: Path) -> None:
    await filled(tmp_path, 3)
    (path,) = segments_in(tmp_path)
    whole = path.read_bytes()
    *_, last = frames_of(path, SEGMENT_HEAD_BYTES, len(whole))
    start = last[0]
    for size in range(start, len(whole)):
        path.write_bytes(whole[:size])
        with closing(a_log(tmp_path)) as log:
            assert log.end("t", 0) == 2
            assert log.recovery.cut_bytes == size - start
            assert (path.name in log.recovery.cut) == (size > start)
        assert path.stat().st_size == start
    # The log goes on where the good part ended.
    log = a_log(tmp_path)
    receipt = await log.send("t", 0, b"again")
    assert receipt.offset == 2
    assert await values(log) == [b"0", b"1", b"again"]
    await log.close()


async def test_a_head_that_was_never_finished_is_written_anew(tmp_path: Path) -> None:
    await filled(tmp_path, 2)
    extra = tmp_path / "0000000001-0000000001.000000.segment"
    for content in (b"", b"QNLOG"):
        extra.write_bytes(content)
        log = a_log(tmp_path)
        assert log.end("t", 0) == 2
        await log.close()


@pytest.mark.parametrize("sealed", [False, True], ids=["newest segment", "sealed segment"])
async def test_damage_in_the_middle_is_refused_and_can_be_cut(tmp_path: Path, sealed: bool) -> None:
    await filled(tmp_path, 40, segment_bytes=1024 if sealed else 1 << 20)
    path = segments_in(tmp_path)[0]
    data = bytearray(path.read_bytes())
    position = [at for at, _ in frames_of(path, SEGMENT_HEAD_BYTES, len(data))][4]
    data[position + FRAME_HEAD_BYTES] ^= 1
    path.write_bytes(data)
    before = {one.name: one.read_bytes() for one in segments_in(tmp_path)}
    with pytest.raises(ServiceError, match=rf"damaged at byte {position}: the checksum is wrong"):
        a_log(tmp_path)
    assert {one.name: one.read_bytes() for one in segments_in(tmp_path)} == before
    log = a_log(tmp_path, damage="cut")
    assert await values(log) == [b"0", b"1", b"2", b"3"]
    assert str(position) in log.recovery.cut
    assert log.recovery.cut_bytes == len(data) - position
    await log.close()
    assert path.with_name(path.name + ".cut").read_bytes() == data[position:]
    assert count_cut(tmp_path) == len(before)


async def test_unsynced_frames_lost_out_of_order_are_a_torn_tail(tmp_path: Path) -> None:
    await filled(tmp_path, 6, sync="normal")
    (path,) = segments_in(tmp_path)
    data = bytearray(path.read_bytes())
    position = [at for at, _ in frames_of(path, SEGMENT_HEAD_BYTES, len(data))][3]
    data[position + 30] ^= 1
    path.write_bytes(data)
    log = a_log(tmp_path, sync="normal")
    assert log.recovery.cut_bytes == len(data) - position
    assert await values(log) == [b"0", b"1", b"2"]
    await log.close()


async def test_a_second_opener_is_told_who_has_the_folder(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    with pytest.raises(ServiceError, match=rf"{tmp_path} is in use by process {os.getpid()}"):
        a_log(tmp_path)
    assert f"is in use by process {os.getpid()}" in complaint_of_another_process(tmp_path)
    await log.close()
    a_log(tmp_path).abandon()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="file/log"):
        EmbeddedLog(tmp_path / "file" / "log")


async def test_appends_of_one_turn_go_out_in_one_frame(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    log.declare("t", 1)
    await log.flush()
    batches = log.stats().batches
    await asyncio.gather(*(log.send("t", 0, b"%d" % number) for number in range(100)))
    assert log.stats().batches - batches == 1
    assert log.stats().records == 100
    await log.close()


async def test_readers_see_only_what_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = a_log(tmp_path)
    log.declare("t", 1)
    future = log.send("t", 0, b"x")
    assert log.end("t", 0) == 0
    assert await log.fetch("t", 0, 0) == []
    woken = asyncio.Event()
    stop = log.on_durable(woken.set)
    await woken.wait()
    assert future.done()
    assert await values(log) == [b"x"]
    stop()
    await log.close()


async def test_senders_wait_for_room(tmp_path: Path) -> None:
    log = a_log(tmp_path, max_pending_bytes=4096)
    log.declare("t", 1)
    futures = []
    most = 0
    for _ in range(50):
        await log.room()
        futures.append(log.send("t", 0, b"x" * 1000))
        most = max(most, log.stats().pending_bytes)
    assert 4096 <= most < 4096 + 1200
    await asyncio.gather(*futures)
    assert log.stats().pending_bytes == 0
    assert log.end("t", 0) == 50
    await log.close()


@pytest.mark.parametrize("code", ["ENOSPC", "EROFS", "EIO"])
async def test_a_disk_error_reaches_every_waiter_and_stops_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    import errno

    number = getattr(errno, code)
    log = a_log(tmp_path, max_pending_bytes=2048)
    log.declare("t", 1)
    await log.send("t", 0, b"kept")

    def full(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("streams.embedded.segments._fdatasync", full)
    told: list[ServiceError] = []
    log.on_failure(told.append)
    futures = [log.send("t", 0, b"x" * 1000) for _ in range(3)]
    room = asyncio.ensure_future(log.room())
    results = await asyncio.gather(*futures, room, return_exceptions=True)
    assert all(isinstance(one, ServiceError) for one in results)
    assert os.strerror(number) in str(results[0])
    assert str(tmp_path) in str(results[0])
    assert len(told) == 1
    for call in (lambda: log.send("t", 0, b"y"), lambda: log.declare("u", 1)):
        with pytest.raises(ServiceError, match="has stopped"):
            call()
    with pytest.raises(ServiceError, match="has stopped"):
        await log.flush()
    assert log.end("t", 0) == 1
    await log.close()
    monkeypatch.undo()
    log = a_log(tmp_path)
    assert (await values(log))[0] == b"kept"
    await log.close()


def test_a_file_size_limit_is_a_service_error(tmp_path: Path) -> None:
    """A real limit of the kernel, in a child: write() itself comes back short, then fails."""
    code = """
import asyncio, pathlib, resource, sys
sys.path.insert(0, sys.argv[1])
from core.errors import ServiceError
from streams.embedded import EmbeddedLog

async def main():
    log = EmbeddedLog(pathlib.Path(sys.argv[2]))
    log.declare("t", 1)
    acked = 0
    try:
        while True:
            await log.send("t", 0, b"x" * 1000)
            acked += 1
    except ServiceError as error:
        print(acked, error)
    await log.close()

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
asyncio.run(main())
"""
    root = Path(__file__).parents[3]
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, root, tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    acked, text = child.stdout.split(" ", 1)
    assert int(acked) == 18
    assert "File too large" in text
    with closing(a_log(tmp_path)) as log:
        assert log.recovery.cut_bytes > 0
        assert log.end("t", 0) == 18
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20_000


@pytest.mark.parametrize(
    ("topic", "partition", "value", "text"),
    [
        ("nope", 0, b"", "has no topic 'nope'"),
        ("t", 2, b"", "partitions 0 to 1, got 2"),
        ("t", -1, b"", "partitions 0 to 1, got -1"),
        ("t", 0, "text", "must be bytes or None, got str"),
    ],
)
async def test_wrong_records_are_refused_whole(
    tmp_path: Path, topic: str, partition: int, value: bytes, text: str
) -> None:
    log = a_log(tmp_path)
    log.declare("t", 2)
    with pytest.raises(InputError, match=text):
        log.send(topic, partition, value)
    with pytest.raises(InputError, match=text):
        log.append([NewRecord("t", 0, b"good"), NewRecord(topic, partition, value)])
    assert (await log.send("t", 0, b"first")).offset == 0
    await log.close()


async def test_partitions_of_an_existing_topic_stay(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    log.declare("t", 2)
    await log.flush()
    await log.close()
    log = a_log(tmp_path)
    assert log.declare("t", 8).partitions == 2
    assert log.declare("t", 2, compact=True).compact
    await log.close()
    log = a_log(tmp_path)
    assert log.topic("t") == TopicInfo("t", 2, True, False, None)
    await log.close()
    with pytest.raises(ServiceError, match="is closed"):
        log.send("t", 0, b"")


@pytest.mark.parametrize(
    "query", [{"sync": "sometimes"}, {"segment_bytes": "3"}, {"retain": "1"}, {"retain_s": "-1"}]
)
def test_unknown_options_are_named(query: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="takes the options sync"):
        LogOptions.from_query(query)


async def test_old_records_are_read_from_disk_without_the_others(tmp_path: Path) -> None:
    log = a_log(tmp_path, segment_bytes=400_000, tail_bytes=1024)
    log.declare("big", 1)
    log.declare("rare", 1)
    for number in range(300):
        futures = [log.send("big", 0, bytes(5000))]
        if number % 50 == 0:
            futures.append(log.send("rare", 0, b"%d" % number))
        await asyncio.gather(*futures)
    assert log.stats().segments > 3
    assert await values(log, "rare") == [b"%d" % number for number in range(0, 300, 50)]
    assert len(await values(log, "big", start=123)) == 177
    assert log.stats().cold_reads > 0
    await log.close()


# Cleaning


async def cleaned(log: EmbeddedLog, runs: int) -> None:
    async with asyncio.timeout(60):
        while log.stats().cleaned_runs < runs or log._cleaning is not None:
            await asyncio.sleep(0.01)


async def test_compaction_keeps_the_last_record_of_every_key(tmp_path: Path) -> None:
    clock = ManualClock(HOUR_NS)
    log = a_log(tmp_path, clock, segment_bytes=4096, tail_bytes=1024, tombstone_s=3600)
    log.declare("table", 2, compact=True)
    want: dict[int, dict[bytes, tuple[int, bytes]]] = {0: {}, 1: {}}

    async def send(numbers: range) -> None:
        for number in numbers:
            partition, key = number % 2, b"k%d" % (number % 14)
            value = None if number >= 300 and key == b"k3" else b"%d" % number
            if number >= 400 and key == b"k3":
                continue
            if number == 2000:
                clock.advance_to(3 * HOUR_NS)
            receipt = await log.send("table", partition, value, key=key)
            if value is None:
                want[partition].pop(key, None)
            else:
                want[partition][key] = (receipt.offset, value)

    await send(range(3000))
    await cleaned(log, 1)
    # A slow run may have begun long ago: one that sees all of it comes with the next segments.
    so_far = log.stats().cleaned_runs
    more = 3000
    while log.stats().cleaned_runs == so_far and more < 6000:
        await send(range(more, more + 50))
        more += 50
    await cleaned(log, so_far + 1)
    assert b"k3" not in want[1]
    ends = [log.end("table", partition) for partition in (0, 1)]
    first_size = log.stats().n_bytes
    for _ in range(2):
        for partition in (0, 1):
            state: dict[bytes, tuple[int, bytes]] = {}
            at, count = 0, 0
            while found := await log.fetch("table", partition, at):
                for record in found:
                    assert record.offset >= at
                    at = record.offset + 1
                    count += 1
                    assert record.key is not None
                    if record.value is None:
                        state.pop(record.key, None)
                    else:
                        state[record.key] = (record.offset, record.value)
            assert state == want[partition]
            assert at == ends[partition] == log.end("table", partition)
            assert count < 600
        await log.close()
        log = a_log(tmp_path, clock, segment_bytes=4096, tail_bytes=1024)
    await log.close()
    assert first_size < 60_000


async def test_retention_takes_only_old_records_that_every_group_has_read(tmp_path: Path) -> None:
    clock = ManualClock(HOUR_NS)
    log = a_log(tmp_path, clock, segment_bytes=4096, retain_s=600)
    log.declare("t", 1)
    log.declare("unread", 1)
    log.declare("other", 1)
    for number in range(200):
        await log.append(
            [NewRecord("t", 0, b"%d" % number), NewRecord("unread", 0, b"%d" % number)]
        )
    await log.append([], group="g", offsets={("t", 0): 150, ("unread", 0): 0})
    await log.append([], group="h", offsets={("t", 0): 120})
    clock.advance_to(2 * HOUR_NS)
    for _ in range(80):
        await log.send("other", 0, bytes(100))
    await cleaned(log, 1)
    assert 60 < log.first("t", 0) <= 120
    assert (await values(log))[-1] == b"199"
    assert len(await values(log, "unread")) == 200
    assert await log.forget_group("h") == 1
    await log.append([], group="g", offsets={("t", 0): 200, ("unread", 0): 200})
    runs = log.stats().cleaned_runs
    for _ in range(80):
        await log.send("other", 0, bytes(100))
    await cleaned(log, runs + 1)
    # The newest record of a partition stays: offsets never start again.
    assert await values(log, "unread", start=190) == [b"199"] or log.first("unread", 0) > 150
    assert log.end("t", 0) == 200
    await log.close()
    log = a_log(tmp_path, clock)
    assert log.committed("g", "t", 0) == 200
    assert log.committed("h", "t", 0) is None
    assert log.end("t", 0) == log.end("unread", 0) == 200
    assert (await log.send("t", 0, b"next")).offset == 200
    await log.close()


async def test_offsets_survive_when_all_old_records_go(tmp_path: Path) -> None:
    clock = ManualClock(HOUR_NS)
    log = a_log(tmp_path, clock, segment_bytes=2048, retain_s=0, retain_bytes=4096)
    log.declare("t", 1)
    log.declare("fill", 1)
    for _ in range(20):
        await log.send("t", 0, bytes(100))
    clock.advance_to(2 * HOUR_NS)
    for _ in range(100):
        await log.send("fill", 0, bytes(100))
    await cleaned(log, 1)
    assert log.end("t", 0) - log.first("t", 0) < 10
    await log.close()
    with closing(a_log(tmp_path, clock)) as log:
        assert log.end("t", 0) == 20
        assert log.topic("t") is not None


async def test_a_cleaning_cut_short_by_a_crash_changes_nothing(tmp_path: Path) -> None:
    """Old files beside the new one, and an unfinished new one: what a kill can leave."""
    saved = tmp_path / "saved"
    folder = tmp_path / "log"
    log = a_log(folder, segment_bytes=4096)
    log.declare("table", 1, compact=True)
    for number in range(20):
        await log.send("table", 0, b"%d" % number, key=b"%d" % (number % 5))
    await log.flush()
    await log.close()
    before = {path.name: path.read_bytes() for path in segments_in(folder)}
    log = a_log(folder, segment_bytes=1024)
    for number in range(20, 600):
        await log.send("table", 0, b"%d" % number, key=b"%d" % (number % 5))
    await cleaned(log, 1)
    state = {record.key: record.value for record in await log.fetch("table", 0, 0)}
    await log.close()
    saved.mkdir()
    assert any(".000001." in path.name or ".000002." in path.name for path in segments_in(folder))
    for name, data in before.items():
        (folder / name).write_bytes(data)
    (folder / "0000000000-0000000009.000009.segment.cleaning").write_bytes(b"half a file")
    log = a_log(folder, segment_bytes=1 << 20)
    assert set(log.recovery.removed) >= {"0000000000-0000000009.000009.segment.cleaning"}
    found = await log.fetch("table", 0, 0, max_records=10_000)
    assert [record.offset for record in found] == sorted({record.offset for record in found})
    again = {record.key: record.value for record in found}
    assert {again[b"%d" % key] for key in range(5)} == {b"%d" % n for n in range(595, 600)}
    assert set(state) == set(again)
    await log.close()


async def test_reading_goes_on_while_segments_are_replaced(tmp_path: Path) -> None:
    log = a_log(tmp_path, segment_bytes=2048, tail_bytes=1024)
    log.declare("table", 1, compact=True)
    seen: list[int] = []

    async def read() -> None:
        at = 0
        while at < 3000:
            found = await log.fetch("table", 0, at, max_records=5)
            for record in found:
                seen.append(record.offset)
                at = record.offset + 1
            await asyncio.sleep(0)

    reader = asyncio.ensure_future(read())
    for number in range(3000):
        await log.send("table", 0, b"%d" % number, key=b"%d" % (number % 50))
    await asyncio.wait_for(reader, 20)
    assert log.stats().cleaned_runs > 0
    assert seen == sorted(set(seen))
    assert seen[-50:] == list(range(2950, 3000))
    await log.close()


async def test_a_failed_cleaning_leaves_the_log_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = a_log(tmp_path, segment_bytes=2048)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("streams.embedded.cleaning.sync_folder", full)
    log.declare("table", 1, compact=True)
    for number in range(400):
        await log.send("table", 0, b"%d" % number, key=b"k")
    async with asyncio.timeout(10):
        while not log.stats().clean_failures:
            await asyncio.sleep(0.01)
    assert (await values(log, "table"))[-1] == b"399"
    await log.close()
    monkeypatch.undo()
    log = a_log(tmp_path, segment_bytes=2048)
    assert (await values(log, "table"))[-1] == b"399"
    await log.close()


async def test_offline_reading_beside_a_running_log(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    log.declare("t", 1)
    await log.send("t", 0, b"v", key=b"k", timestamp_ms=5)
    with segments_in(tmp_path)[0].open("ab") as file:
        file.write(b"\xabQn1half a frame")
    assert list(read_topic(tmp_path, "t")) == [(0, 0, b"k", b"v", 5)]
    assert list(read_topic(tmp_path, "u")) == []
    log.abandon()
    with pytest.raises(ServiceError, match="no log in"):
        list(read_topic(tmp_path / "nowhere", "t"))
