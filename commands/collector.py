"""Python's garbage collector while a city's messages pass."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def calm_collector() -> Iterator[None]:
    """Let the garbage collector look for cycles among what comes and goes, and rarely.

    With Python's defaults it looks at all that a city holds (map, rules, last states: some
    300,000 objects) again and again while batches of hundreds of observations are made. What
    they are made of refers to nothing that refers back. Afterwards all is as it was.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
