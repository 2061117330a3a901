"""``faust worker`` on the embedded log: an agent with a table and a sink, stopped and started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

APP = """
import pathlib, sys
import faust
from streams.embedded import register

folder = pathlib.Path(sys.argv.pop(1))
register()
app = faust.App(
    "counting", broker=f"embedded://{folder}/log", datadir=str(folder / "faust"),
    store="memory://", web_enabled=False, topic_partitions=1,
    table_standby_replicas=0, broker_commit_interval=0.1,
)
topic = app.topic("words", key_type=str, value_type=str, internal=True, partitions=1)
counts = app.Table("counts", default=int, partitions=1)

def told(value):
    with open(folder / "sink", "a") as file:
        file.write(f"{value}\\n")

@app.agent(topic, sink=[told])
async def count(stream):
    async for key, word in stream.items():
        counts[key] += 1
        yield f"{key} {counts[key]}"

@app.task
async def send():
    for _ in range(5):
        await topic.send(key="a", value="word")

app.main()
"""


@pytest.mark.slow
def test_a_worker_with_table_and_sink_goes_on_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    sink = tmp_path / "sink"
    for lines in (5, 10):
        with (tmp_path / "out").open("ab") as out:
            worker = subprocess.Popen(
                [sys.executable, "app.py", str(tmp_path), "worker", "-l", "warn"],
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=out,
                stderr=out,
            )
        deadline = time.monotonic() + 40
        while not sink.exists() or len(sink.read_text().splitlines()) < lines:
            assert worker.poll() is None, (tmp_path / "out").read_text()
            assert time.monotonic() < deadline, (tmp_path / "out").read_text()
            time.sleep(0.05)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) in {0, -signal.SIGTERM}
    assert sink.read_text().split("\n")[:10] == [f"a {n}" for n in range(1, 11)]
