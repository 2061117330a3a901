"""``qingniao demo`` as a person meets it: at a terminal, stopped with Ctrl-C, started again."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest
from running_city import ROOT, wait_for


class Terminal:
    """A program on a terminal of its own, and all that it has written there."""

    def __init__(self, *arguments: str) -> None:
        master, slave = pty.openpty()
        self._master = master
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli", *arguments],
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "140", "LINES": "40"},
            start_new_session=True,
        )
        os.close(slave)
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            if not data:
                return
            self._written += data

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._written.decode(errors="replace"))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(2)
        os.close(self._master)


def _until_incidents(terminal: Terminal) -> str:
    """Wait for the address, then for incidents in the table; gives the address."""
    url = wait_for(
        "address of the page", lambda: re.search(r"http://127\.0\.0\.1:\d+", terminal.text), 60
    )
    wait_for("incident on the terminal", lambda: re.search(r"QI-\d{8}-\d{6}", terminal.text), 60)
    return url.group(0)


def _interrupt(terminal: Terminal) -> float:
    """Ctrl-C; gives the seconds until everything is gone."""
    children = psutil.Process(terminal.process.pid).children(recursive=True)
    assert len(children) >= 3  # broker, vision, simulators
    start_s = time.monotonic()
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.process.wait(10) == 0
    took_s = time.monotonic() - start_s
    _, alive = psutil.wait_procs(children, timeout=0.5)
    assert not alive
    return took_s


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_incidents_within_a_minute_ctrl_c_and_the_next_day(tmp_path: Path) -> None:
    arguments = ("demo", "--port", "0", "--data", str(tmp_path))
    start_s = time.monotonic()
    first = Terminal(*arguments)
    try:
        url = _until_incidents(first)
        assert time.monotonic() - start_s < 60
        assert "obs/s" in first.text
        before = httpx.get(f"{url}/incidents?limit=1000", timeout=10).json()["incidents"]
        assert before
        assert _interrupt(first) < 3
    finally:
        first.close()

    second = Terminal(*arguments)
    try:
        url = _until_incidents(second)
        after = httpx.get(f"{url}/incidents?limit=1000", timeout=10).json()["incidents"]
        assert {one["id"] for one in before} <= {one["id"] for one in after}
        # Time has gone on, too: what comes now comes after what was there.
        figures = httpx.get(f"{url}/healthz", timeout=10).json()
        assert figures["city_time"] > max(one["opened_at"] for one in before)
        assert _interrupt(second) < 3
    finally:
        second.close()


@pytest.mark.slow
def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "cli", "demo", "--port", str(port), "--data", str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert f"{port} cannot be listened on" in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
