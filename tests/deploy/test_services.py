"""The services of docker-compose.yml as bare processes, with real servers, end to end.

Each runs with the command, the environment and the health check that docker-compose.yml gives
it; only addresses, ports and paths are changed. That the image itself starts is not shown here.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pytest
import servers
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import create_engine, text

from core.children import ChildProcess
from core.clock import SystemClock

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.broker, pytest.mark.slow]

OURS = ("streams", "archive", "ingest", "vision", "api")
BIN = Path(sys.executable).parent
STOP_S = 10.0


class Deployment(NamedTuple):
    """What runs, and how it is reached."""

    services: dict[str, ChildProcess]
    mqtt_port: int
    mqtt_password: str
    api: httpx.Client
    check: Callable[[str], None]
    start: Callable[[str], None]


class Rewriter:
    """Puts loopback ports and temporary paths where docker-compose.yml has names and mounts."""

    def __init__(self, changes: dict[str, str]) -> None:
        self._pattern = re.compile("|".join(map(re.escape, changes)))
        self._changes = changes

    def __call__(self, value: str) -> str:
        return self._pattern.sub(lambda found: self._changes[found[0]], value)


def environment(service: dict[str, Any], rewrite: Rewriter) -> dict[str, str]:
    """Only what docker-compose.yml and the Dockerfile give, and where to find programs."""
    image = re.search(r"^ENV (.*)$", (servers.ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert image is not None
    given = dict(one.split("=", 1) for one in image[1].split())
    given |= service.get("environment", {})
    # Each service would compile the map's kernels anew in its own empty cache, which on two
    # cores takes longer than anything that is tested here; the checkout's cache serves them all.
    given.pop("NUMBA_CACHE_DIR")
    rewritten = {name: rewrite(value) for name, value in given.items()}
    path = os.pathsep.join([str(BIN), os.environ["PATH"], "/usr/sbin"])
    return rewritten | {"PATH": path, "HOME": os.environ.get("HOME", "/")}


def health_check(service: dict[str, Any], rewrite: Rewriter) -> list[str]:
    """The command of a service's health check."""
    kind, *words = [rewrite(word).replace("$$", "$") for word in service["healthcheck"]["test"]]
    return ["sh", "-c", *words] if kind == "CMD-SHELL" else words


@pytest.fixture
def deployment(
    tmp_path: Path, kafka_servers: str, postgres_server: servers.PostgresServer
) -> Iterator[Deployment]:
    compose = servers.compose()["services"]
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name in ("mqtt", "postgres", "api"):
        (folder / name).write_text(secrets.token_hex(24))
    (folder / "postgres").write_text(postgres_server.password)
    engine = create_engine(postgres_server.url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS qingniao"))
        connection.execute(text("CREATE DATABASE qingniao"))
    engine.dispose()
    mosquitto = servers.MosquittoServer(tmp_path / "mosquitto", folder / "mqtt")
    mosquitto.start()
    api_port = servers.free_port()
    postgres = f"127.0.0.1:{postgres_server.port}"
    rewrite = Rewriter(
        {
            "kafka:9092": kafka_servers,
            "qingniao@postgis/": f"qingniao@{postgres}/",
            "mosquitto:1883": f"127.0.0.1:{mosquitto.port}",
            "/run/secrets": str(folder),
            "0.0.0.0": "127.0.0.1",
            "127.0.0.1:8000": f"127.0.0.1:{api_port}",
            "mosquitto_sub": f"mosquitto_sub -p {mosquitto.port}",
            "pg_isready": f"{postgres_server.binaries}/pg_isready -p {postgres_server.port}",
            "/data": str(tmp_path / "data"),
        }
    )
    services: dict[str, ChildProcess] = {}

    def check(name: str) -> None:
        """Run a service's own health check until it succeeds."""
        command = health_check(compose[name], rewrite)
        env = environment(compose[name], rewrite)

        def succeeds() -> bool:
            try:
                done = subprocess.run(
                    command, env=env, cwd=tmp_path, capture_output=True, timeout=15
                )
            except subprocess.TimeoutExpired:
                return False  # as for compose: one check that failed, not the last
            return done.returncode == 0

        servers.await_true(f"health check of {name}", succeeds, services.get(name))

    def start(name: str) -> None:
        env = environment(compose[name], rewrite)
        if name == "api":
            env["QINGNIAO_API__PORT"] = str(api_port)
        # env -C: a .env file of the checkout must not be read.
        command = ["env", "-C", str(tmp_path), str(BIN / "qingniao"), *compose[name]["command"]]
        services[name] = ChildProcess(name, command, tmp_path / f"{name}.log", env=env)

    (tmp_path / "data").mkdir()
    token = (folder / "api").read_text()
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{api_port}",
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
    )
    try:
        # All at once, as after a power cut: each waits for what it needs.
        for name in OURS:
            start(name)
        yield Deployment(
            services, mosquitto.port, (folder / "mqtt").read_text(), client, check, start
        )
    finally:
        client.close()
        for child in services.values():
            child.terminate()
        for child in services.values():
            child.join(STOP_S)
        mosquitto.stop()


def publish(deployment: Deployment, readings: list[tuple[str, dict[str, Any]]]) -> None:
    """Publish readings at QoS 1; returns when the broker has them."""
    client = Client(CallbackAPIVersion.VERSION2, client_id="a-device")
    client.username_pw_set("qingniao", deployment.mqtt_password)
    client.connect("127.0.0.1", deployment.mqtt_port)
    client.loop_start()
    sent = [client.publish(topic, json.dumps(body), qos=1) for topic, body in readings]
    for one in sent:
        one.wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def smoke_over(thing: str, seconds: int) -> list[tuple[str, dict[str, Any]]]:
    """A smoke detector over its threshold, every four seconds until now."""
    now_ms = SystemClock().now_ns() // 1_000_000
    return [
        (
            f"qn/qingdao/sensor/{thing}",
            {
                "kind": "smoke",
                "time": now_ms - 1000 * (seconds - at),
                "seq": at,
                "measures": {"smoke_db_per_m": 0.5},
            },
        )
        for at in range(0, seconds + 1, 4)
    ]


def until(wanted: str, found: Callable[[], Any], deployment: Deployment) -> Any:
    """Poll until something is found; fails with the logs."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        result = found()
        if result:
            return result
        time.sleep(0.2)
    logs = "\n".join(
        f"--- {one.name}\n{one.last_words(30)}" for one in deployment.services.values()
    )
    pytest.fail(f"{wanted}: not within 40 s\n{logs}")


def test_from_a_reading_to_an_incident_and_to_a_clean_stop(deployment: Deployment) -> None:
    for name in OURS:
        deployment.check(name)
    publish(deployment, smoke_over("smoke-0001", 16))

    def incidents() -> list[dict[str, Any]]:
        return deployment.api.get("/incidents").json()["incidents"]  # type: ignore[no-any-return]

    (incident,) = until("an incident", incidents, deployment)
    assert incident["scenario"] == "smoke-alarm"
    assert incident["place"]["district_code"] == "370202"
    # Killed, it goes on from its checkpoint: the same incident, and the next.
    killed = deployment.services["streams"]
    os.kill(killed.pid, signal.SIGKILL)
    killed.join(STOP_S)
    publish(deployment, smoke_over("smoke-0003", 16))
    deployment.start("streams")
    until("a second incident", lambda: len(incidents()) > 1, deployment)
    assert len(incidents()) == 2
    assert incident["id"] in {one["id"] for one in incidents()}
    # By the API to the broker and the whole way back: its token, its broker, its store.
    report = {"scenario": "road-flooding", "lon": 120.3846, "lat": 36.0614, "text": "积水"}
    assert deployment.api.post("/reports", json=report, headers={"Authorization": ""}).is_error
    accepted = deployment.api.post("/reports", json=report).raise_for_status().json()
    until(
        "a matched report",
        lambda: deployment.api.get(accepted["url"]).json()["status"] == "matched",
        deployment,
    )

    # Every reading once in the archive: the repeats that the kill made are none of them.
    def archived() -> list[tuple[str, int]]:
        answer = deployment.api.get("/observations", params={"kind": "smoke"})
        rows = [] if answer.is_error else answer.json()["observations"]
        return [(one["thing_id"], one["device_sequence"]) for one in rows]

    things = ("smoke-0001", "smoke-0003")
    readings = sorted((thing, at) for thing in things for at in range(0, 17, 4))
    until("every reading in the archive", lambda: len(archived()) >= len(readings), deployment)
    assert sorted(archived()) == readings
    processes = [psutil.Process(child.pid) for child in deployment.services.values()]
    everyone = [one for process in processes for one in [process, *process.children(True)]]
    for child in deployment.services.values():
        child.terminate()
    deadline = time.monotonic() + STOP_S
    codes = {name: child.join(max(0.1, deadline - time.monotonic()))
             for name, child in deployment.services.items()}  # fmt: skip
    words = {name: deployment.services[name].last_words() for name, code in codes.items() if code}
    assert codes == dict.fromkeys(OURS, 0), words
    assert [one for one in everyone if one.is_running()] == []
    for child in deployment.services.values():
        assert "Traceback" not in child.log_path.read_text(), child.last_words(60)


def test_the_health_checks_of_the_servers(
    tmp_path: Path, kafka_servers: str, postgres_server: servers.PostgresServer
) -> None:
    compose = servers.compose()["services"]
    password = tmp_path / "mqtt"
    password.write_text("a password")
    mosquitto = servers.MosquittoServer(tmp_path / "mosquitto", password)
    mosquitto.start()
    rewrite = Rewriter(
        {
            "/run/secrets/mqtt": str(password),
            "mosquitto_sub": f"mosquitto_sub -p {mosquitto.port}",
            "pg_isready": f"{postgres_server.binaries}/pg_isready -p {postgres_server.port}",
        }
    )
    checks = ["postgis"]
    if shutil.which("mosquitto_sub"):
        checks.append("mosquitto")
    for name in checks:
        command = health_check(compose[name], rewrite)
        run = partial(subprocess.run, command, capture_output=True)
        servers.await_true(name, lambda run=run: run().returncode == 0)
    mosquitto.stop()
    assert "kafka-broker-api-versions.sh" in " ".join(compose["kafka"]["healthcheck"]["test"])
    servers.run_kafka_health_check(kafka_servers)
