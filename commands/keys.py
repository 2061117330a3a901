"""Single keys at a terminal, while something else runs."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def keys_at_terminal(pressed: Callable[[str], None]) -> Iterator[bool]:
    """Call ``pressed`` with each key; gives False, and does nothing, where there is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield False
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    loop = asyncio.get_running_loop()

    def read() -> None:
        for key in os.read(descriptor, 16).decode("utf-8", "ignore"):
            pressed(key)

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield True
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
