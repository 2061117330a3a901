"""``qingniao backup`` and ``restore``: a city's data folder, copied while it runs.

Order is what makes a copy of running parts consistent. Whoever reads the log is copied before
the log when it must not be ahead of it (the archive: what it lacks it reads again), and after it
when it must not be behind (the store: what it has already, it decides on again with the same
ids). The log is one stream that only grows, so a copy of it is a moment of it; a frame that was
being written is cut at the next start.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from rich.console import Console

from core.errors import InputError, ServiceError
from core.settings import Settings
from store.archive.catalog import Catalog
from streams.embedded.segments import list_segments

#: Layout of a backup; another one is refused.
BACKUP_VERSION = 1

#: Merging and cleaning may take a file away while it is copied; then it is done again.
_ATTEMPTS = 5

#: What is copied as it is, after all else; ``boot`` last of all, so that the number of the next
#: start is larger than any in the log.
_PLAIN = ("snapshots", "token", "boot")

_BLOCK_BYTES = 1 << 20


class CopiedFile(msgspec.Struct, frozen=True):
    """A file of a backup: its path in the data folder, size and digest."""

    path: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds; written last, so that one that was broken off has none."""

    version: int
    files: list[CopiedFile]


def back_up(settings: Settings, target: Path, console: Console) -> None:
    """Copy a city's data folder, whether it runs or not.

    Raises:
        InputError: The target is not empty, or the city keeps its data elsewhere.
        ServiceError: Something cannot be copied.
    """
    if not settings.log_url.startswith("embedded:") or not settings.store_url.startswith("sqlite:"):
        raise InputError(
            "backup: this copies an embedded log and an SQLite store; for Kafka and PostgreSQL "
            "see docs/deployment.md"
        )
    _want_empty(target)
    source = settings.data_dir
    if not (source / "store.sqlite3").exists():
        raise InputError(f"backup: {source} holds no city; name its data folder with --data")
    files: list[CopiedFile] = []
    for name, copy in (("archive", _archive), ("log", _log)):
        if (source / name).is_dir():
            files += _repeated(copy, source / name, target, name)
            console.print(f"{name}: {len(files)} files so far")
    _copy_database(source / "store.sqlite3", target / "store.sqlite3")
    files.append(_known(target, "store.sqlite3"))
    for name in _PLAIN:
        files += _copy_plain(source, target, name)
    manifest = Manifest(BACKUP_VERSION, files)
    (target / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    size = sum(one.size for one in files) / 2**20
    console.print(f"已备份 backed up: {len(files)} files, {size:.1f} MiB in {target}")


def restore(source: Path, target: Path, console: Console) -> None:
    """Make a data folder of a backup; every file is checked before anything is written.

    Raises:
        InputError: There is no whole backup there, or the target is not empty.
    """
    path = source / "manifest.json"
    if not path.exists():
        raise InputError(f"restore: {source} has no manifest.json: not a backup, or a broken one")
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.MsgspecError as exc:
        raise InputError(f"restore: {path} cannot be read: {exc}") from exc
    if manifest.version != BACKUP_VERSION:
        raise InputError(
            f"restore: {path} has version {manifest.version}, this program reads {BACKUP_VERSION}"
        )
    _want_empty(target)
    for one in manifest.files:
        if not (source / one.path).is_file() or _known(source, one.path) != one:
            raise InputError(f"restore: {source / one.path} is missing or not what was backed up")
    for one in manifest.files:
        (target / one.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / one.path, target / one.path)
    console.print(f"已恢复 restored: {len(manifest.files)} files in {target}")


def _archive(source: Path, target: Path) -> Iterator[Path]:
    """The catalog as it is now, and the files it names."""
    _copy_database(source / "catalog.sqlite3", target / "catalog.sqlite3")
    yield Path("catalog.sqlite3")
    catalog = Catalog(target, read_only=True)
    try:
        names = [one.name for one in catalog.files()]
    finally:
        catalog.close()
    for name in names:
        _copy_file(source / name, target / name)
        yield Path(name)


def _log(source: Path, target: Path) -> Iterator[Path]:
    """The segments that count, the oldest first."""
    for segment in list_segments(source)[0]:
        _copy_file(segment.path, target / segment.path.name)
        yield Path(segment.path.name)


def _repeated(
    copy: Callable[[Path, Path], Iterator[Path]], source: Path, target: Path, name: str
) -> list[CopiedFile]:
    for _ in range(_ATTEMPTS):
        shutil.rmtree(target / name, ignore_errors=True)
        (target / name).mkdir(parents=True)
        try:
            return [_known(target, f"{name}/{path}") for path in copy(source, target / name)]
        except FileNotFoundError:
            continue
    raise ServiceError(
        f"backup: files of {source} kept vanishing while they were copied; try again"
    )


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _copy_database(source: Path, target: Path) -> None:
    """An SQLite file as of one moment, beside those who write it."""
    try:
        reading = sqlite3.connect(f"file:{source}?mode=ro", uri=True)
        writing = sqlite3.connect(target)
        with reading, writing:
            reading.backup(writing)
        reading.close()
        writing.close()
    except sqlite3.Error as exc:
        raise ServiceError(f"backup: {source} cannot be copied: {exc}") from exc


def _copy_plain(source: Path, target: Path, name: str) -> list[CopiedFile]:
    path = source / name
    found = [path] if path.is_file() else sorted(path.rglob("*")) if path.is_dir() else []
    files = []
    for one in found:
        if one.is_file():
            relative = one.relative_to(source)
            _copy_file(one, target / relative)
            shutil.copymode(one, target / relative)
            files.append(_known(target, relative.as_posix()))
    return files


def _known(folder: Path, path: str) -> CopiedFile:
    digest = hashlib.sha256()
    with (folder / path).open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
        return CopiedFile(path, file.tell(), digest.hexdigest())


def _want_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: an empty folder was wanted, or one that is not there yet")
