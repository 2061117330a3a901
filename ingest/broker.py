"""The brokers we can start ourselves: amqtt or Mosquitto in a child process, on loopback.

Both refuse anonymous clients. Their one user's name and password are made once and kept in
``mqtt-credentials.json`` (mode 0600) in the data folder. A child dies with its parent.

What they keep for a client with a persistent session that is slow or away:

* Mosquitto as configured here: everything up to ``QUEUE_BYTES``, also over a restart (saved
  every ``AUTOSAVE_S`` and at a clean stop). Beyond, it drops and counts under
  ``$SYS/broker/publish/messages/dropped``, which the MQTT source watches.
* The embedded broker: everything, in memory; beyond ``QUEUE_BYTES`` it withholds the
  publishers' acknowledgements instead of dropping. A crash of it loses what it had accepted
  and not yet delivered. See :mod:`ingest.broker_process` for what of amqtt had to be replaced.
"""

from __future__ import annotations

import base64
import contextlib
import getpass
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import urlsplit

from core.errors import ServiceError, SettingsError
from core.settings import Settings

LOOPBACK = "127.0.0.1"

#: The user name that every part of the platform has at a broker of ours.
USERNAME = "qingniao"

#: Most bytes that a broker of ours keeps for clients that are away: about a million readings.
QUEUE_BYTES = 256 * 1024 * 1024

#: Messages that Mosquitto may send ahead of acknowledgements: as many as ingest takes in hand. It
#: is no more than a wish: 2.0.11 sends all that is queued at the first acknowledgement.
IN_FLIGHT = 4096

#: Frames are at most 4 MiB (core.frames), and their envelope some hundred bytes.
MAX_PACKET_BYTES = 5 * 1024 * 1024

#: How often Mosquitto writes its sessions to disk.
AUTOSAVE_S = 30

_START_S = 20.0
_STOP_S = 0.7
#: Mosquitto writes what it keeps when it is asked to end; killed before, it loses all of that
#: since its last save. 256 MiB for a slow disk.
_SAVE_S = 30.0


@dataclass(frozen=True)
class BrokerAddress:
    """Where an MQTT broker listens and who we are there."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    tls: bool = False


class Broker(Protocol):
    """A broker, ours or somebody's."""

    def start(self) -> BrokerAddress:
        """Start it where it is ours; returns when it accepts our connection."""
        ...

    def stop(self) -> None:
        """Stop it where it is ours; twice does no harm."""
        ...


def credentials(data_dir: Path) -> tuple[str, str]:
    """The user name and password at brokers of ours, made at the first call.

    Raises:
        ServiceError: The file is there but cannot be read.
    """
    path = data_dir / "mqtt-credentials.json"
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return str(kept["username"]), str(kept["password"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise ServiceError(
                f"{path}: JSON with username and password was wanted, got {exc!r}; "
                "delete the file to have new ones made"
            ) from exc
    password = secrets.token_urlsafe(24)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"username": USERNAME, "password": password}, file)
    return USERNAME, password


def _write_private(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


class _Child(ABC):
    """A broker in a child process."""

    #: It is killed when it has not ended this long (wall seconds) after it was asked to.
    _stop_s = _STOP_S

    def __init__(self, data_dir: Path, port: int) -> None:
        self._data_dir = data_dir
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._address: BrokerAddress | None = None

    @property
    def address(self) -> BrokerAddress:
        """Where it listens.

        Raises:
            ServiceError: It was not started.
        """
        if self._address is None:
            raise ServiceError("the broker was not started; call start() first")
        return self._address

    @property
    def pid(self) -> int | None:
        """The child's process id; None when it does not run."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def start(self) -> BrokerAddress:
        """Start the child and wait until it accepts our connection.

        A start after a stop or a crash takes the same port. Call it from a thread that lives
        as long as the broker is to live: Linux ends Mosquitto with the thread that started it.

        Raises:
            ServiceError: The child ended, or did not answer within 20 s.
        """
        if self.pid is not None:
            return self.address
        self.stop()
        username, password = credentials(self._data_dir)
        port = self._port if self._address is None else self._address.port
        self._log = (self._data_dir / "broker.log").open("ab")
        try:
            port = self._spawn(port, username, password)
            address = BrokerAddress(LOOPBACK, port, username, password)
            self._await_ready(address)
        except ServiceError:
            self.stop()
            raise
        self._address = address
        return address

    @abstractmethod
    def _spawn(self, port: int, username: str, password: str) -> int:
        """Start the program; gives the port it listens on."""

    def _popen(self, command: list[str], pass_fds: tuple[int, ...] = ()) -> None:
        self._process = subprocess.Popen(  # noqa: S603 (our own interpreter and arguments)
            [sys.executable, "-m", "ingest.broker_process", *command],
            # The child also watches this pipe, which closes however the parent ends.
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            pass_fds=pass_fds,
            # Ctrl-C at the terminal is for the parent, which then stops us.
            process_group=0,
            cwd=Path(__file__).resolve().parent.parent,
        )

    def _await_ready(self, address: BrokerAddress) -> None:
        deadline = time.monotonic() + _START_S
        while True:
            process = self._process
            if process is None or process.poll() is not None:
                code = None if process is None else process.returncode
                raise ServiceError(
                    f"the broker ended with code {code} while starting; its output is in "
                    f"{self._data_dir / 'broker.log'}"
                )
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise ServiceError(
                    f"the broker did not answer on {address.host}:{address.port} within "
                    f"{_START_S:.0f} s; its output is in {self._data_dir / 'broker.log'}"
                )
            try:
                greet(address, timeout_s=min(left_s, 5.0))
            except ConnectionRefusedError:
                # Nobody listens yet; a refused connect returns at once.
                time.sleep(0.01)
            except OSError:
                continue
            else:
                return

    def stop(self) -> None:
        """End the child, within a second where it has nothing to save.

        Does nothing when it does not run.
        """
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(self._stop_s)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    def kill(self) -> None:
        """End the child at once, as a crash would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self.stop()

    def __enter__(self) -> BrokerAddress:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class EmbeddedBroker(_Child):
    """amqtt in a child process; needs nothing installed. MQTT 3.1.1.

    Args:
        data_dir: Folder of the credentials and the child's log.
        port: Port on loopback; 0 takes a free one.
    """

    def __init__(self, data_dir: Path, port: int = 0) -> None:
        super().__init__(data_dir, port)

    def _spawn(self, port: int, username: str, password: str) -> int:
        from pwdlib import PasswordHash
        from pwdlib.hashers.argon2 import Argon2Hasher

        # The password is 24 random bytes, so a cheap hash is as good as a dear one, and the
        # broker checks it on its only thread.
        cheap = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=1024, parallelism=1),))
        password_file = self._data_dir / "mqtt-passwords-amqtt"
        _write_private(password_file, f"{username}:{cheap.hash(password)}\n")
        # The parent listens and hands the socket over: nobody can take the port in between,
        # and the first connection waits for the child instead of being refused.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((LOOPBACK, port))
            except OSError as exc:
                raise ServiceError(f"cannot listen on {LOOPBACK}:{port}: {exc}") from exc
            listener.listen(128)
            self._popen(
                ["amqtt", str(listener.fileno()), str(password_file), str(QUEUE_BYTES)],
                (listener.fileno(),),
            )
            return int(listener.getsockname()[1])


class MosquittoBroker(_Child):
    """Mosquitto in a child process, where it is installed.

    Args:
        data_dir: Folder of the credentials, the configuration, the sessions and the log.
        port: Port on loopback; 0 takes a free one.
    """

    _stop_s = _SAVE_S

    def __init__(self, data_dir: Path, port: int = 0) -> None:
        super().__init__(data_dir, port)

    def _spawn(self, port: int, username: str, password: str) -> int:
        binary = find_mosquitto()
        if binary is None:
            raise ServiceError(
                "mosquitto was wanted and is not installed; install it, or set mqtt=embedded"
            )
        folder = (self._data_dir / "mosquitto").resolve()
        folder.mkdir(parents=True, exist_ok=True)
        _write_private(folder / "passwords", mosquitto_password_line(username, password))
        if port == 0:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.bind((LOOPBACK, 0))
                port = int(probe.getsockname()[1])
        config = folder / "mosquitto.conf"
        config.write_text(
            mosquitto_config(
                listener=f"{port} {LOOPBACK}",
                password_file=str(folder / "passwords"),
                persistence_location=f"{folder}/",
                # Started as root, Mosquitto would become a user who cannot read the folder.
                user=getpass.getuser(),
            ),
            encoding="utf-8",
        )
        self._popen(["exec", binary, "-c", str(config)])
        return port


class ExternalBroker:
    """A broker that somebody else runs."""

    def __init__(self, address: BrokerAddress) -> None:
        self.address = address

    def start(self) -> BrokerAddress:
        """Where it is; it is not touched."""
        return self.address

    def stop(self) -> None:
        """Nothing: it is not ours."""


def broker_for(
    settings: Settings, data_dir: Path
) -> EmbeddedBroker | MosquittoBroker | ExternalBroker:
    """The broker that the settings name; it is not started.

    Raises:
        SettingsError: The URL of an own broker has no host.
    """
    mqtt = settings.mqtt
    if mqtt.url == "embedded":
        return EmbeddedBroker(data_dir, mqtt.port)
    if mqtt.url == "mosquitto":
        return MosquittoBroker(data_dir, mqtt.port)
    parts = urlsplit(mqtt.url)
    if not parts.hostname:
        raise SettingsError(f"mqtt.url: mqtt://host:port was wanted, got {mqtt.url!r}")
    tls = parts.scheme == "mqtts"
    return ExternalBroker(
        BrokerAddress(
            parts.hostname,
            parts.port or (8883 if tls else 1883),
            mqtt.username or parts.username or "",
            mqtt.secret() or parts.password or "",
            tls,
        )
    )


def find_mosquitto() -> str | None:
    """The path of the mosquitto server, also where it is not on a user's PATH."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def mosquitto_password_line(username: str, password: str, *, iterations: int = 101) -> str:
    """A line of Mosquitto's password file: PBKDF2 with SHA-512, as mosquitto_passwd writes it.

    Example:
        >>> mosquitto_password_line("u", "p").startswith("u:$7$101$")
        True
    """
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations, 64)
    encoded = "$".join(base64.b64encode(part).decode() for part in (salt, digest))
    return f"{username}:$7${iterations}${encoded}\n"


def mosquitto_config(
    *,
    listener: str,
    password_file: str,
    persistence_location: str,
    user: str | None = None,
) -> str:
    """Mosquitto's configuration for a feed that must not lose messages (version 2.0 and later).

    Args:
        listener: Port and, optionally, address.
        password_file: Path of the password file.
        persistence_location: Folder of the session file, ending in a slash.
        user: Who Mosquitto is to be when it was started as root.

    Example:
        >>> text = mosquitto_config(listener="1883", password_file="/p", persistence_location="/d/")
        >>> "max_queued_messages 0" in text and "allow_anonymous false" in text
        True
    """
    lines = [
        "# Nothing may be lost between the broker and the log: docs/decisions/0002.",
        f"listener {listener}",
        "allow_anonymous false",
        f"password_file {password_file}",
        *([f"user {user}"] if user else []),
        "",
        "# Sessions and what is queued for them outlive a restart.",
        "persistence true",
        f"persistence_location {persistence_location}",
        f"autosave_interval {AUTOSAVE_S}",
        "persistent_client_expiration 14d",
        "",
        "# The default (1000 queued) drops what a slow subscriber cannot take, after having",
        "# acknowledged it. 0 is unlimited; bytes are capped, per client, and what is dropped",
        "# beyond shows in $SYS/broker/publish/messages/dropped. More in flight than ingest takes",
        "# in hand (mqtt.inflight) only comes again after a kill.",
        f"max_inflight_messages {IN_FLIGHT}",
        "max_queued_messages 0",
        f"max_queued_bytes {QUEUE_BYTES}",
        f"max_packet_size {MAX_PACKET_BYTES}",
        "",
        "# Small messages go out at once.",
        "set_tcp_nodelay true",
        "sys_interval 10",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "connection_messages false",
        "",
    ]
    return "\n".join(lines)


def greet(address: BrokerAddress, *, timeout_s: float) -> None:
    """Open an MQTT 3.1.1 connection, wait for the broker's answer, and close it.

    Raises:
        OSError: Nobody listens, or no answer came in time.
        ServiceError: The broker refused us; the message has its return code.
    """

    def field_of(text: str) -> bytes:
        raw = text.encode()
        return len(raw).to_bytes(2, "big") + raw

    flags = 0x02 | (0xC0 if address.username else 0)
    body = field_of("MQTT") + bytes([4, flags, 0, 30]) + field_of(f"greet-{secrets.token_hex(4)}")
    if address.username:
        body += field_of(address.username) + field_of(address.password)
    if len(body) > 127:
        # Remaining length in two bytes [MQTT-2.2.3]; ours is never 16 KiB.
        length = bytes([len(body) & 0x7F | 0x80, len(body) >> 7])
    else:
        length = bytes([len(body)])
    with socket.create_connection((address.host, address.port), timeout=timeout_s) as sock:
        sock.sendall(b"\x10" + length + body)
        answer = b""
        while len(answer) < 4:
            part = sock.recv(4 - len(answer))
            if not part:
                raise ConnectionResetError("the broker closed the connection without an answer")
            answer += part
        if answer[3] != 0:
            raise ServiceError(
                f"the broker at {address.host}:{address.port} refused user "
                f"{address.username!r} with return code {answer[3]} [MQTT-3.2.2]"
            )
        sock.sendall(b"\xe0\x00")
