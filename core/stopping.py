"""Ends the loops of a process's main thread on SIGTERM and SIGINT."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stopping_on_signals(stop: threading.Event) -> Iterator[None]:
    """Set an event on SIGTERM and SIGINT, where handlers may be installed: in the main thread.

    What handled the signals before does so again afterwards.

    Example:
        >>> stop = threading.Event()
        >>> with stopping_on_signals(stop):
        ...     signal.raise_signal(signal.SIGTERM)
        >>> stop.is_set()
        True
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(_number: int, _frame: object) -> None:
        stop.set()

    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
