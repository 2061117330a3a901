"""Real servers for tests: Kafka, PostgreSQL with PostGIS, Mosquitto.

Each is the one that an environment variable names, or a child process on a free loopback port
with its data in a temporary folder, configured by docker-compose.yml and deploy/ with only
paths and ports changed. Where a server cannot be had, its tests skip and say why.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
import yaml

from core.children import ChildProcess

ROOT = Path(__file__).resolve().parent.parent

#: Servers start in this time, also on a busy machine.
START_S = 60.0
STOP_S = 5.0

T = TypeVar("T")


def compose() -> dict[str, Any]:
    """docker-compose.yml."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())  # type: ignore[no-any-return]


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def await_true(what: str, check: Callable[[], bool], child: ChildProcess | None = None) -> None:
    """Poll until it is so; fails when the time is over or the child has ended."""
    deadline = time.monotonic() + START_S
    while not check():
        if child is not None and child.exit_code() is not None:
            pytest.fail(f"{what}: ended with {child.exit_code()}\n{child.last_words(40)}")
        if time.monotonic() > deadline:
            words = "" if child is None else child.last_words(40)
            pytest.fail(f"{what}: not within {START_S:.0f} s\n{words}")
        time.sleep(0.1)


def run_async(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in a thread of its own: the test's event loop stays as it is."""
    result: list[T] = []
    thread = threading.Thread(target=lambda: result.append(asyncio.run(make())))
    thread.start()
    thread.join()
    if not result:
        pytest.fail(f"{make} failed")
    return result[0]


# Kafka


def kafka_jars() -> Path:
    """Folder of Kafka's jars, fetched by Maven once; skips where that cannot be."""
    pom = ROOT / "tests/kafka/pom.xml"
    found = re.search(r"kafka_2.13</artifactId>\s*<version>([^<]+)", pom.read_text())
    assert found is not None
    folder = ROOT / "build/kafka" / found[1]
    if folder.is_dir():
        return folder
    if shutil.which("java") is None or shutil.which("mvn") is None:
        pytest.skip("no Kafka: needs java (17) and mvn, or QINGNIAO_TEST_KAFKA=host:port")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}-{os.getpid()}")
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={fresh}", "-DincludeScope=runtime"]
    try:
        subprocess.run(
            ["mvn", "-q", "-B", "-f", str(pom), *goal],
            check=True,
            capture_output=True,
            text=True,
            timeout=150,
        )
        fresh.rename(folder)
    except subprocess.TimeoutExpired:
        pytest.skip("no Kafka: Maven did not fetch it within 150 s")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no Kafka: Maven could not fetch it: {error.stdout[-500:]}")
    except OSError:
        # Another test run was faster.
        assert folder.is_dir()
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def kafka_properties(settings: Mapping[str, str]) -> str:
    """Environment of the image apache/kafka as server.properties, by the image's own rule."""
    return "".join(
        f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={value}\n"
        for name, value in settings.items()
        if name.startswith("KAFKA_")
    )


def kafka_java() -> list[str]:
    """Java with Kafka's classes, in a small virtual machine that is cheap to start."""
    machine = ("-Xmx256m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    return [str(shutil.which("java")), *machine, "-cp", f"{kafka_jars()}/*"]


def run_kafka_health_check(servers: str) -> None:
    """The health check of docker-compose.yml: its script only adds the class path."""
    tool = "org.apache.kafka.tools.BrokerApiVersionsCommand"
    command = [*kafka_java(), tool, "--bootstrap-server", servers]
    subprocess.run(command, check=True, capture_output=True, timeout=START_S)


class KafkaServer:
    """One Kafka broker in KRaft mode, with the settings of docker-compose.yml.

    Args:
        folder: Takes its data and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.port, controller = free_port(), free_port()
        self.servers = f"127.0.0.1:{self.port}"
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._java = kafka_java()
        rewritten = {
            "KAFKA_LISTENERS": f"PLAINTEXT://127.0.0.1:{self.port},"
            f"CONTROLLER://127.0.0.1:{controller}",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{self.servers}",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@127.0.0.1:{controller}",
            "KAFKA_LOG_DIRS": str(folder / "data"),
            # Fifty by default, made at the first consumer group: seconds of a small machine.
            "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "2",
        }
        self._properties = folder / "server.properties"
        environment = compose()["services"]["kafka"]["environment"]
        self._properties.write_text(kafka_properties(environment | rewritten))
        self._process: ChildProcess | None = None

    def start(self) -> None:
        """Format the storage if it is new, start, and wait until it answers."""
        if not (self._folder / "data").exists():
            # As the image's entry point does.
            cluster = "5L6g3nShT-eMCtK--X86sw"
            subprocess.run(
                [*self._java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c",
                 str(self._properties)],
                check=True, capture_output=True, timeout=START_S,
            )  # fmt: skip
        command = [*self._java, "kafka.Kafka", str(self._properties)]
        self._process = ChildProcess("kafka", command, self._folder / "kafka.log")
        await_true("kafka", lambda: run_async(self._answers), self._process)

    async def _answers(self) -> bool:
        if not listens(self.port):
            return False
        # Imported here: every test run imports this file, few need Kafka.
        from aiokafka.admin import AIOKafkaAdminClient
        from aiokafka.errors import KafkaError

        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers, request_timeout_ms=2000)
        try:
            await admin.start()
            await admin.list_topics()
        except (KafkaError, OSError):
            return False
        else:
            return True
        finally:
            await admin.close()

    def stop(self) -> int:
        """Stop within five seconds; its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.join(STOP_S)


@pytest.fixture(scope="session")
def kafka_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``host:port`` of a Kafka broker: the one that is named, or one of our own."""
    named = os.environ.get("QINGNIAO_TEST_KAFKA")
    if named:
        yield named
        return
    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    server.start()
    yield server.servers
    server.stop()


# PostgreSQL


class PostgresServer(NamedTuple):
    """A running PostgreSQL server on loopback and how to reach it."""

    port: int
    user: str
    password: str
    binaries: Path

    def url(self, database: str = "postgres", *, password: bool = True) -> str:
        """For SQLAlchemy."""
        secret = f":{self.password}" if password else ""
        return f"postgresql+psycopg://{self.user}{secret}@127.0.0.1:{self.port}/{database}"


def start_postgres(folder: Path, *settings: str) -> tuple[PostgresServer, Callable[[], None]]:
    """Start a PostgreSQL server with a user and password as the image makes them.

    Args:
        folder: Takes its data.
        settings: More of its settings, each ``name=value``.

    Returns:
        The server, and what stops it.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = str(found[-1]) if found else shutil.which("initdb")
    if initdb is None:
        pytest.skip("no PostgreSQL: set QINGNIAO_TEST_POSTGRES, or install postgresql")
    prefix: list[str] = []
    if os.getuid() == 0:
        # initdb refuses root; Debian's package made this user.
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root and there is no user postgres")
        prefix = [shutil.which("runuser", path=_PATH) or "runuser", "-u", "postgres", "--"]
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        for parent in folder.parents:
            if parent.name.startswith("pytest-"):
                parent.chmod(0o755)
    server = PostgresServer(free_port(), "qingniao", secrets.token_hex(12), Path(initdb).parent)
    password_file = folder / "password"
    password_file.write_text(server.password)
    password_file.chmod(0o644)
    data = folder / "data"
    run = [*prefix, initdb, "-D", str(data), "-U", server.user, f"--pwfile={password_file}"]
    run += ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8"]
    subprocess.run(run, check=True, capture_output=True)
    options = (
        f"-c unix_socket_directories={folder} -c listen_addresses=127.0.0.1 "
        f"-c port={server.port} -c fsync=off -c synchronous_commit=off -c shared_buffers=32MB"
    )
    options += "".join(f" -c {one}" for one in settings)
    control = [*prefix, str(server.binaries / "pg_ctl"), "-D", str(data), "-w"]
    start = [*control, "-o", options, "-l", str(folder / "log"), "start"]
    subprocess.run(start, check=True, capture_output=True)

    def stop() -> None:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True)

    return server, stop


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of our own on loopback."""
    # Not below pytest's own folder: every pytest that starts closes that to other users.
    with tempfile.TemporaryDirectory(prefix="qingniao-postgres-") as folder:
        server, stop = start_postgres(Path(folder))
        yield server
        stop()


# Mosquitto


class MosquittoServer:
    """Mosquitto, started by deploy/mosquitto/start.sh with only paths and the port changed.

    Args:
        folder: Takes its data and configuration.
        password_file: The secret ``mqtt``.
    """

    def __init__(self, folder: Path, password_file: Path) -> None:
        if shutil.which("mosquitto", path=_PATH) is None:
            pytest.skip("no Mosquitto: install mosquitto")
        self.port = free_port()
        self.folder = folder
        self.password_file = password_file
        self._process: ChildProcess | None = None
        (folder / "data").mkdir(parents=True)
        rewritten = {
            "listener 1883": f"listener {self.port} 127.0.0.1",
            "/mosquitto/data/": f"{folder}/data/",
            "/mosquitto/config": str(folder),
            "/run/secrets/mqtt": str(password_file),
            "/tmp/passwd": str(folder / "passwd"),
            "chown mosquitto ": f"chown {_mosquitto_user()} ",
        }
        for name in ("mosquitto.conf", "start.sh"):
            text = (ROOT / "deploy/mosquitto" / name).read_text()
            for old, new in rewritten.items():
                text = text.replace(old, new)
            (folder / name).write_text(text)
        if os.getuid() == 0:
            shutil.chown(folder / "data", _mosquitto_user())
            for parent in (folder, *folder.parents):
                if parent == Path("/tmp"):
                    break
                parent.chmod(0o755)

    def start(self) -> None:
        """Start and wait until it listens."""
        environment = os.environ | {"PATH": _PATH}
        command = ["sh", str(self.folder / "start.sh")]
        log = self.folder / "mosquitto.log"
        self._process = ChildProcess("mosquitto", command, log, env=environment)
        await_true("mosquitto", lambda: listens(self.port), self._process)

    def stop(self) -> int:
        """Stop; its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.join(STOP_S)


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


def _mosquitto_user() -> str:
    try:
        return pwd.getpwnam("mosquitto").pw_name
    except KeyError:
        return pwd.getpwuid(os.getuid()).pw_name
