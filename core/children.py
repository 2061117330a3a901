"""Child processes that die with their parent and stop within a bound.

A child is started in a process group of its own, so that Ctrl-C at the terminal reaches only
the parent, which then stops its children in order. On Linux the kernel kills a child whose
parent died (PR_SET_PDEATHSIG), so that even ``kill -9`` of the parent leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.errors import ServiceError

_PR_SET_PDEATHSIG = 1

# Loaded before any fork: between fork and exec nothing may allocate or take a lock.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """Between fork and exec: ask the kernel to kill us when our parent dies (Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class ChildProcess:
    """A running child.

    Args:
        name: For messages, e.g. ``vision``.
        command: Program and arguments.
        log_path: File that takes its output, appended.
        env: Its environment; ours unless given.

    Raises:
        ServiceError: The program cannot be started.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log_path: Path,
        *,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        log_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log_path.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603 (our own commands)
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=dict(os.environ if env is None else env),
                    process_group=0,
                    preexec_fn=die_with_parent if sys.platform == "linux" else None,
                )
        except OSError as exc:
            raise ServiceError(f"{name}: {command[0]!r} cannot be started: {exc}") from exc

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask it to stop; does not wait."""
        if self._process.poll() is None:
            self._process.terminate()

    def join(self, timeout_s: float) -> int:
        """Wait until it has stopped, killing its whole group when the time is over."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            code = self._process.wait()
        return code

    def last_words(self, lines: int = 12) -> str:
        """The end of its log, for an error message."""
        with contextlib.suppress(OSError):
            text = self.log_path.read_bytes()[-8192:].decode(errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""


def stop_children(children: Sequence[ChildProcess], timeout_s: float) -> None:
    """Ask all to stop at once, then wait for each within one common bound."""
    for child in children:
        child.terminate()
    for child in children:
        child.join(timeout_s)
