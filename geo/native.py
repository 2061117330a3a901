"""The C kernel for points to areas, built on the machine that runs it, where that can be done.

numba's kernels (:mod:`geo.kernels`) always work and give the same answers; this one is faster
for many points at once and cheaper to call for a few. It is built once for each source,
compiler, processor, Python and NumPy, in the user's cache folder, and never where anybody else
could put a file. Where there is no compiler, no header of Python's, no such folder, or it is not
allowed (:func:`allow`, the setting ``geo_c``), numba answers.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.machinery
import importlib.util
import logging
import os
import platform
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

logger = logging.getLogger(__name__)

_SOURCE = Path(__file__).with_name("find_first.c")
_COMPILERS = ("cc", "gcc", "clang")
#: No contraction: a product and a sum rounded as one would give another sign.
_OPTIONS = ("-std=gnu11", "-O3", "-march=native", "-ffp-contract=off", "-fPIC", "-shared")
_BUILD_TIMEOUT_S = 60.0

#: words, numbers, x, y, closed to the first areas, shape (n,), int64; None where x and y are not
#: arrays of n doubles each, one after another in memory.
FindFirst = Callable[
    [NDArray[np.int32], NDArray[np.float64], ArrayLike, ArrayLike, bool],
    NDArray[np.int64] | None,
]


_allowed = True


def allow(allowed: bool) -> None:
    """Say whether tables that are made from now on may use the kernel."""
    global _allowed
    if allowed is not _allowed:
        _allowed = allowed
        find_first.cache_clear()


@functools.cache
def find_first() -> FindFirst | None:
    """The kernel, built at the first call where it was not built before; None for numba's."""
    if not _allowed:
        return None
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        return None
    try:
        library = build(Path(compiler), cache_folder())
        try:
            return load(library)
        except ImportError:  # a damaged file
            library.unlink()
            return load(build(Path(compiler), library.parent))
    except (OSError, ImportError, subprocess.SubprocessError) as error:
        logger.info("no C kernel for the map, numba answers: %s", error)
        return None


def cache_folder() -> Path:
    """The user's folder for what was built.

    Raises:
        PermissionError: Others may write to it.
        OSError: It cannot be made.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(base) / "qingniao"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{folder}: a folder that only its user may write to was wanted")
    return folder


def build(compiler: Path, folder: Path) -> Path:
    """The library in a folder, built whole or not at all unless it is there.

    Raises:
        OSError: The folder cannot be written.
        subprocess.SubprocessError: The compiler fails, with what it said in ``stderr``.
    """
    status = compiler.resolve().stat()
    headers = [f"-I{sysconfig.get_path('include')}", f"-I{np.get_include()}"]
    facts = [*_OPTIONS, str(compiler.resolve()), str(status.st_size), str(status.st_mtime_ns)]
    facts += [*headers, sys.version, np.__version__, _processor()]
    digest = hashlib.blake2b("\n".join(facts).encode(), digest_size=12)
    digest.update(_SOURCE.read_bytes())
    library = folder / f"find_first-{digest.hexdigest()}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(prefix="build-", dir=folder) as own:
            fresh = Path(own) / library.name
            subprocess.run(  # noqa: S603 - the compiler of this machine, our own source
                [compiler, *_OPTIONS, *headers, "-o", fresh, _SOURCE],
                check=True,
                capture_output=True,
                timeout=_BUILD_TIMEOUT_S,
            )
            fresh.replace(library)
    return library


def load(library: Path) -> FindFirst:
    """The kernel of a library.

    Raises:
        ImportError: It cannot be loaded.
    """
    loader = importlib.machinery.ExtensionFileLoader(_SOURCE.stem, str(library))
    spec = importlib.util.spec_from_loader(_SOURCE.stem, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return cast("FindFirst", module.first)


def _processor() -> str:
    """What ``-march=native`` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    facts = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU"))}
    return "\n".join([platform.machine(), platform.processor(), *sorted(facts)])
