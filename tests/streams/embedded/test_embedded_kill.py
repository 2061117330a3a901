"""kill -9 at random instants: whatever was acknowledged to the client takes effect."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from streams.embedded import EmbeddedLog, read_topic

ROOT = Path(__file__).parents[3]

WORKER = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[1])
folder, start, sending = sys.argv[2], int(sys.argv[3]), sys.argv[4] == "send"
import faust
from streams.embedded import register
register()

app = faust.App("kill", broker=f"embedded://{folder}/log?segment_bytes=65536",
                datadir=f"{folder}/faust", web_enabled=False, topic_partitions=2,
                topic_disable_leader=True, stream_wait_empty=False,
                broker_commit_interval=0.05)
raw = dict(value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw")
first = app.topic("first", **raw)
second = app.topic("second", **raw)
table = app.Table("done", default=int)
sink = os.open(f"{folder}/sink", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

@app.agent(first)
async def work(stream):
    async for event in stream.events():
        table[event.value.decode()] += 1
        await second.send(key=event.key, value=event.value)

@app.agent(second)
async def collect(stream):
    async for value in stream:
        os.write(sink, value + b"\\n")

async def main():
    await app.start()
    while not app.tables.actives_ready:
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    number = start
    while sending:
        some = [await first.send(key=b"%d" % (number + i), value=b"%d" % (number + i))
                for i in range(20)]
        await asyncio.gather(*some)
        os.write(1, b"".join(b"%d\\n" % (number + i) for i in range(20)))
        number += 20
        await asyncio.sleep(0)
    log = app.consumer.disk_log
    def behind():
        return any(log.end(t, p) != log.committed("kill", t, p)
                   for t in ("first", "second") for p in (0, 1))
    while behind():
        await asyncio.sleep(0.02)
    print("table", *table.keys(), flush=True)
    await app.stop()

asyncio.run(main())
"""


def start(folder: Path, number: int, mode: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, ROOT, folder, str(number), mode],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chance = random.Random(seed)
    acked: set[int] = set()
    rounds = []
    for _ in range(3):
        child = start(tmp_path, max(acked, default=-1) + 10_000, "send")
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        timer = threading.Timer(chance.uniform(0.05, 0.5), child.send_signal, [signal.SIGKILL])
        timer.start()
        before = len(acked)
        # A line that the kill cut short was not received, so it does not count.
        acked.update(int(line) for line in child.stdout if line.endswith("\n"))
        assert child.wait() == -signal.SIGKILL
        child.stdout.close()
        timer.join()
        rounds.append(len(acked) - before)
    assert all(rounds), rounds

    started = time.monotonic()
    with start(tmp_path, 0, "finish") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        table = {int(one) for one in child.stdout.readline().split()[1:]}
        assert child.wait() == 0
    assert time.monotonic() - started < 30

    log = tmp_path / "log"
    first = [int(value or b"") for _, _, _, value, _ in read_topic(log, "first")]
    second = {int(value or b"") for _, _, _, value, _ in read_topic(log, "second")}
    sunk = {int(line) for line in (tmp_path / "sink").read_text().split()}
    for where in (set(first), second, sunk, table):
        assert not acked - where
    assert len(first) == len(set(first))
    # Every number in the log was worked on, also those whose answer the kill swallowed.
    assert second == sunk == table == set(first)
    whole = EmbeddedLog(log)
    assert whole.recovery.cut_bytes == 0
    whole.abandon()
