"""A data folder that cannot be written, and a disk that fills: said clearly, nothing lost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from numbered_stream import PACK, EmbeddedLogFolder, NumberedStream, outcome, wait_until_decided
from running_city import ROOT, City, wait_for

from ingest.broker import MosquittoBroker, find_mosquitto


@pytest.mark.parametrize("service", ["all", "api"])
def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path, service: str) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "data"
    done = subprocess.run(
        [sys.executable, "-m", "cli", "run", service],
        cwd=ROOT,
        env=os.environ | {"QINGNIAO_DATA_DIR": str(folder), "QINGNIAO_API__PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    words = " ".join((done.stdout + done.stderr).split())
    assert done.returncode not in {0, -9}
    assert "cannot be written" in words
    assert "Traceback" not in words


@pytest.mark.slow
@pytest.mark.skipif(not find_mosquitto(), reason="needs a broker that outlives the city: mosquitto")
def test_a_full_disk_ends_the_city_and_the_next_start_has_everything(tmp_path: Path) -> None:
    """Every write beyond a size fails, as on a full disk; then there is room again."""
    packs, data_dir = tmp_path / "packs", tmp_path / "data"
    packs.mkdir()
    (packs / "chaos-pulse.yaml").write_text(PACK, encoding="utf-8")
    (tmp_path / "broker").mkdir()
    broker = MosquittoBroker(tmp_path / "broker")
    broker.start()
    city = City(data_dir, broker.address, packs=packs)
    try:
        stream = NumberedStream(broker.address)
        stream.start()
        wait_for("numbers", lambda: stream.sent > 1_000)
        # The map's indexes are large, and written once before all else.
        growing = [one for one in data_dir.rglob("*") if one.is_file() and one.suffix != ".table"]
        largest = max(one.stat().st_size for one in growing)
        limit = largest + 64 * 1024
        resource.prlimit(city.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        assert wait_for("end of the city", lambda: city.process.poll() is not None, 40)
        words = (tmp_path / "data.out").read_text()
        assert city.process.returncode != 0
        # Which part meets it first, the log, the store or the archive, is a matter of chance.
        assert "ServiceError: " in words
        reasons = ("File too large", "disk is full", "disk I/O error", "readonly")
        assert any(reason in words for reason in reasons), words[-800:]
        city = City(data_dir, broker.address, packs=packs)
        sent = stream.finish()
        store_url = f"sqlite:///{data_dir / 'store.sqlite3'}"
        wait_until_decided(store_url, sent)
        assert city.stop() == 0
        assert (
            outcome(store_url, EmbeddedLogFolder(data_dir / "log"), packs).counters.accepted == sent
        )
    finally:
        if city.process.poll() is None:
            city.kill()
        broker.stop()
