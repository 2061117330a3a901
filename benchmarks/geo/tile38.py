"""Tile38 as a peer: a server of our own on loopback, spoken to in its protocol, in pipelines."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import shapely

from benchmarks.geo.joins import UnavailableError
from core.children import ChildProcess
from tests.servers import await_true, free_port, listens

#: Names the server where it is not on PATH.
VARIABLE = "QINGNIAO_TILE38"

_MODULE = "github.com/tidwall/tile38/cmd/tile38-server@latest"
_BUILD_S = 300.0

#: The fence and the thing whose crossing says that all before has been told.
_END = "end"


def tile38_binary(*, build: bool) -> Path:
    """The server: the one that is named, on PATH, or built by Go and kept.

    Args:
        build: Whether Go may fetch and build it, which takes minutes.

    Raises:
        UnavailableError: There is none.
    """
    named = os.environ.get(VARIABLE) or shutil.which("tile38-server")
    if named:
        return Path(named)
    kept = Path("build/tile38").resolve()
    binary = kept / "tile38-server"
    if binary.is_file():
        return binary
    go = shutil.which("go")
    if go is None or not build:
        raise UnavailableError(f"Tile38: needs tile38-server on PATH or {VARIABLE}=FILE")
    try:
        subprocess.run(  # noqa: S603 (fixed words)
            [go, "install", _MODULE],
            env=os.environ | {"GOBIN": str(kept)},
            check=True,
            capture_output=True,
            text=True,
            timeout=_BUILD_S,
        )
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.split())[-160:]
        raise UnavailableError(f"Tile38: go install failed: {reason}") from error
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"Tile38: go install took more than {_BUILD_S:.0f} s") from error
    return binary


def _command(*words: str) -> bytes:
    parts = [word.encode() for word in words]
    text = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%s" % (len(parts), text)


def encode_sets(
    things: Sequence[str], lon: Iterable[float], lat: Iterable[float]
) -> tuple[bytes, int]:
    """Positions as one pipeline of commands, and their number."""
    rows = [
        _command("SET", "fleet", thing, "POINT", repr(y), repr(x))
        for thing, x, y in zip(things, lon, lat, strict=True)
    ]
    return b"".join(rows), len(rows)


class Tile38:
    """A connection that sends, and one that hears of crossings.

    Attributes:
        heard: Crossings in the order of arrival: fence, thing, word, longitude, latitude.
    """

    def __init__(self, port: int, fences: dict[str, shapely.Geometry]) -> None:
        self._talk = socket.create_connection(("127.0.0.1", port))
        self._replies = self._talk.makefile("rb")
        corner = shapely.box(-170.0, -80.0, -169.0, -79.0)
        wanted = [
            _command(
                "SETCHAN", name, "WITHIN", "fleet", "FENCE", "DETECT", "enter,exit",
                "OBJECT", shapely.to_geojson(shape),
            )
            for name, shape in (fences | {_END: corner}).items()
        ]  # fmt: skip
        self.send(b"".join(wanted), len(wanted))
        self.heard: list[tuple[str, str, str, float, float]] = []
        self._ended = threading.Event()
        self._listen = socket.create_connection(("127.0.0.1", port))
        self._listen.sendall(_command("PSUBSCRIBE", "*"))
        stream = self._listen.makefile("rb")
        _read(stream)
        threading.Thread(target=self._hear, args=(stream,), daemon=True).start()

    def send(self, pipeline: bytes, count: int) -> None:
        """Send commands and wait for the answer to each."""
        sender = threading.Thread(target=self._talk.sendall, args=(pipeline,))
        sender.start()
        for _ in range(count):
            line = self._replies.readline()
            if line[:1] in b"-":
                raise RuntimeError(f"Tile38: {line!r}")
        sender.join()

    def drain(self) -> None:
        """Wait until all crossings so far have been heard."""
        self._ended.clear()
        self.send(_command("SET", "fleet", _END, "POINT", "-79.5", "-169.5"), 1)
        if not self._ended.wait(60.0):
            raise RuntimeError("Tile38: its crossings did not arrive within 60 s")
        self.send(_command("DEL", "fleet", _END), 1)

    def close(self) -> None:
        """Hang up."""
        self._talk.close()
        self._listen.close()

    def _hear(self, stream: BinaryIO) -> None:
        while True:
            try:
                message = _read(stream)
            except (OSError, ValueError):
                return
            if not isinstance(message, list) or message[0] != b"pmessage":
                return
            told = json.loads(message[3])
            if told["hook"] != _END:
                lon, lat = told["object"]["coordinates"][:2]
                self.heard.append((told["hook"], told["id"], told["detect"], lon, lat))
            elif told.get("detect") == "enter":
                self._ended.set()


def _read(stream: BinaryIO) -> bytes | list[bytes]:
    """One answer of the protocol."""
    line = stream.readline()
    if line[:1] == b"*":
        return [item for _ in range(int(line[1:])) if isinstance(item := _read(stream), bytes)]
    if line[:1] == b"$":
        return stream.read(int(line[1:]) + 2)[:-2]
    return line.strip()


@contextmanager
def tile38(fences: dict[str, shapely.Geometry], *, build: bool) -> Iterator[Tile38]:
    """A server with fences, for as long as it is needed.

    Args:
        fences: By name.
        build: As for :func:`tile38_binary`.

    Raises:
        UnavailableError: There is no server to be had.
    """
    binary = tile38_binary(build=build)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-tile38-") as folder:
        command = [str(binary), "-h", "127.0.0.1", "-p", str(port), "-d", folder]
        command += ["-appendonly", "no", "-q"]
        child = ChildProcess("tile38", command, Path(folder) / "log")
        try:
            await_true("tile38", lambda: listens(port), child)
            peer = Tile38(port, fences)
            try:
                yield peer
            finally:
                peer.close()
        finally:
            child.terminate()
            child.join(5.0)
