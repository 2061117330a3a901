"""The crash harness: ``kill -9`` of everything but the broker, the broker restarted between.

``make chaos`` kills fifty times; the bounded run in the tests four times. In the end every
number took effect exactly once in rule counters, events, incidents and the archive.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import psutil
import pytest
from numbered_stream import (
    PACK,
    EmbeddedLogFolder,
    NumberedStream,
    check_every_number_once,
    outcome,
    wait_until_archived,
    wait_until_decided,
)
from running_city import City

from ingest.broker import MosquittoBroker, find_mosquitto

KILLS = int(os.environ.get("QINGNIAO_CHAOS_KILLS", "4"))
SEED = int(os.environ.get("QINGNIAO_CHAOS_SEED", "4"))
#: The longest a city lives before it is killed: one by one counted from the start of its process
#: and from when it serves, so that on a busy machine, too, not all die at the start.
LIFE_S = 5.0


@pytest.mark.slow
@pytest.mark.timeout(240 + 30 * KILLS)
@pytest.mark.skipif(not find_mosquitto(), reason="needs a broker that outlives the city: mosquitto")
def test_every_number_once_whatever_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QINGNIAO_ARCHIVE__FLUSH_S", "1")
    chance = random.Random(SEED)
    data_dir, packs = tmp_path / "data", tmp_path / "packs"
    packs.mkdir()
    (packs / "chaos-pulse.yaml").write_text(PACK, encoding="utf-8")
    (tmp_path / "broker").mkdir()
    broker = MosquittoBroker(tmp_path / "broker")
    broker.start()
    city: City | None = None
    try:
        # The session is made by the first city: what is sent before it has one is nobody's.
        city = City(data_dir, broker.address, packs=packs)
        stream = NumberedStream(broker.address)
        stream.start()
        for number in range(1, KILLS + 1):
            if number % 2:
                city.wait()
            time.sleep(chance.uniform(0.2, LIFE_S))
            if number % 3 == 2:
                broker.stop()
                broker.start()
            children = psutil.Process(city.process.pid).children(recursive=True)
            city.kill()
            _, alive = psutil.wait_procs(children, timeout=5)
            assert not alive, "a killed city leaves no process behind"
            city = City(data_dir, broker.address, packs=packs, wait=False)
            print(f"kill {number} of {KILLS}: {stream.sent} numbers sent", flush=True)
        city.wait()
        sent = stream.finish()
        store_url = f"sqlite:///{data_dir / 'store.sqlite3'}"
        wait_until_decided(store_url, sent)
        starts = wait_until_archived(data_dir / "archive", sent)
        print(f"{starts} of {KILLS + 1} cities took something in")
        assert starts > KILLS // 4
        assert city.stop() == 0
        came = outcome(store_url, EmbeddedLogFolder(data_dir / "log"), packs)
        check_every_number_once(sent, came)
    finally:
        if city is not None and city.process.poll() is None:
            city.kill()
        broker.stop()
