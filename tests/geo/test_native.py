from __future__ import annotations

import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely

from core.errors import GeometryError
from geo import native
from geo.cells import CellTable, find_by_numba

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler"
)


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.find_first.cache_clear()
    yield
    native.allow(True)
    native.find_first.cache_clear()


def a_table() -> CellTable:
    return CellTable([shapely.box(0, 0, 1, 1), shapely.Polygon([(1, 0), (3, 0), (1, 2)])])


def ask_and_check(wanted: bool) -> None:
    table = a_table()
    assert (table.find is not find_by_numba) is wanted
    for count in (1, 100, 512, 10_000):
        x, y = np.random.default_rng(3).uniform(-1, 4, (2, count))
        x[1::7] = np.nan
        found = table.first(x, y)
        table.find = find_by_numba
        assert (table.first(x, y) == found).all()
    assert set(found.tolist()) == {-1, 0, 1}


@needs_compiler
def test_what_is_no_plain_array_gets_the_same_answer() -> None:
    table = a_table()
    assert table.find is not find_by_numba
    x, y = np.random.default_rng(4).uniform(-1, 4, (2, 50))
    wanted = table.first(x, y).tolist()
    single = x.astype(np.float32), y.astype(np.float32)
    other_order = x.astype(x.dtype.newbyteorder()), y.astype(y.dtype.newbyteorder())
    apart = np.column_stack([x, y])
    unaligned = np.frombuffer(b"." + np.stack([x, y]).tobytes(), np.float64, 100, 1).reshape(2, 50)
    forms = {
        "lists": (x.tolist(), y.tolist()),
        "one list": (x, y.tolist()),
        "steps": (apart[:, 0], apart[:, 1]),
        "byte order": other_order,
        "unaligned": (unaligned[0], unaligned[1]),
        "subclass": (x.view(np.matrix).A1, np.ma.masked_array(y)),
        "read only": (np.frombuffer(x.tobytes()), y),
    }
    for name, (xs, ys) in forms.items():
        assert table.first(xs, ys).tolist() == wanted, name
    rounded = table.first(*(one.astype(np.float64) for one in single))
    assert table.first(*single).tolist() == rounded.tolist()
    for xs, ys in ((x, y[1:]), (x[None], y[None]), (x, 1.0), (x, None)):
        with pytest.raises((GeometryError, TypeError)):
            table.first(xs, ys)


@needs_compiler
def test_others_run_while_many_points_are_answered() -> None:
    table = a_table()
    x, y = np.random.default_rng(5).uniform(-1, 4, (2, 20_000_000))
    ended = threading.Event()
    worker = threading.Thread(target=lambda: (table.first(x, y), ended.set()))
    worker.start()
    turns = 0
    while not ended.is_set():
        turns += 1
        time.sleep(0)
    worker.join()
    assert turns > 100


@needs_compiler
def test_it_is_built_once_and_kept(tmp_path: Path) -> None:
    ask_and_check(True)
    (library,) = (tmp_path / "qingniao").iterdir()
    built = library.stat().st_mtime_ns
    native.find_first.cache_clear()
    ask_and_check(True)
    assert library.stat().st_mtime_ns == built


@needs_compiler
def test_it_can_be_turned_off(tmp_path: Path) -> None:
    native.allow(False)
    ask_and_check(False)
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_numba_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    ask_and_check(False)


def test_a_compiler_that_fails_is_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with caplog.at_level(logging.INFO, native.__name__):
        ask_and_check(False)
    assert "exit status 3" in caplog.text
    assert not list((tmp_path / "qingniao").iterdir())
    with pytest.raises(subprocess.SubprocessError):
        native.build(broken, native.cache_folder())


@needs_compiler
def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "qingniao").mkdir()
    (tmp_path / "qingniao").chmod(0o777)
    with pytest.raises(PermissionError, match="only its user"):
        native.cache_folder()
    ask_and_check(False)


@needs_compiler
def test_a_library_that_is_damaged_is_built_anew() -> None:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))))
    library = native.build(Path(compiler), native.cache_folder())
    size = library.stat().st_size
    library.write_bytes(b"no library")
    assert native.find_first() is not None
    assert library.stat().st_size == size
    ask_and_check(True)
