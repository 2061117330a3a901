"""A whole city as a subprocess, for tests that look at it from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from ingest.broker import BrokerAddress

ROOT = Path(__file__).resolve().parents[1]


Value = TypeVar("Value")


def wait_for(what: str, condition: Callable[[], Value | None], timeout_s: float = 30.0) -> Value:
    """Poll a condition of another process until it gives something true."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"within {timeout_s:.0f} s there was no {what}")


def wait_until_equal(get: Callable[[], Any], wanted: Any, timeout_s: float = 30.0) -> None:
    """Poll until what is got is what is wanted; shows both when it never is."""
    deadline = time.monotonic() + timeout_s
    while (got := get()) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    assert got == wanted, f"got {got!r}, wanted {wanted!r}"


#: The first start in a fresh clone compiles the kernels of map and rules, half a minute on two
#: cores; later ones load them and take two seconds.
COLD_START_S = 120.0


class City:
    """A running city: its page, and its broker."""

    def __init__(
        self,
        data_dir: Path,
        broker: BrokerAddress,
        *,
        packs: Path | None = None,
        wait: bool = True,
    ) -> None:
        self.data_dir = data_dir
        self.broker = broker
        env = os.environ | {
            "QINGNIAO_DATA_DIR": str(data_dir),
            "QINGNIAO_API__PORT": "0",
            "QINGNIAO_MQTT__URL": f"mqtt://{broker.host}:{broker.port}",
            "QINGNIAO_MQTT__USERNAME": broker.username,
            "QINGNIAO_MQTT__PASSWORD": broker.password,
        }
        if packs is not None:
            env["QINGNIAO_PACKS"] = str(packs)
        self._output = data_dir.parent / f"{data_dir.name}.out"
        with self._output.open("ab") as log:
            self._start = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", "run"], cwd=ROOT, env=env, stdout=log, stderr=log
            )
        if wait:
            try:
                self.wait()
            except BaseException:
                self.process.kill()
                self.process.wait()
                raise

    def wait(self) -> None:
        """Wait until it serves."""
        output, start = self._output, self._start

        def told() -> re.Match[bytes] | None:
            assert self.process.poll() is None, output.read_bytes()[start:].decode()
            pattern = rb"(http://\S+)\s+token for writing:\s+(\S+)"
            return re.search(pattern, output.read_bytes()[start:])

        match = wait_for("address of the city", told, COLD_START_S)
        self.url, self.token = match.group(1).decode(), match.group(2).decode()

    def get(self, path: str, **params: Any) -> Any:
        return httpx.get(self.url + path, params=params, timeout=10).raise_for_status().json()

    def incidents(self, **wanted: Any) -> list[dict[str, Any]]:
        return self.get("/incidents", limit=1000, **wanted)["incidents"]  # type: ignore[no-any-return]

    def rejections(self) -> dict[str, int]:
        return self.get("/quarantine")["counts"]  # type: ignore[no-any-return]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout_s: float = 10) -> int:
        self.process.terminate()
        return self.process.wait(timeout_s)


@contextmanager
def city_of(data_dir: Path, broker: BrokerAddress) -> Iterator[City]:
    city = City(data_dir, broker)
    try:
        yield city
    finally:
        if city.process.poll() is None:
            city.process.kill()
            city.process.wait()


class Device:
    """A publisher that keeps what the broker has not acknowledged and sends it again."""

    def __init__(self, broker: BrokerAddress, client_id: str = "device") -> None:
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False
        )
        self.client.username_pw_set(broker.username, broker.password)
        self.client.max_inflight_messages_set(100)
        self.client.max_queued_messages_set(0)
        self.client.reconnect_delay_set(1, 1)
        # Counted, each by one thread: packet identifiers come again after 65,535 messages.
        self._sent = 0
        self._acknowledged = 0
        self.client.on_publish = self._published
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()

    def publish(self, topic: str, payload: bytes | dict[str, Any], qos: int = 1) -> None:
        body = json.dumps(payload).encode() if isinstance(payload, dict) else payload
        self.client.publish(topic, body, qos=qos)
        self._sent += 1

    def _published(self, *_: Any) -> None:
        self._acknowledged += 1

    def wait(self, timeout_s: float = 30) -> None:
        """Wait until the broker has acknowledged everything; what is of QoS 0 was then sent."""
        wait_for("acknowledgement", lambda: self._acknowledged >= self._sent, timeout_s)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
