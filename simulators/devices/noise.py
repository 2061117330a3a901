"""Chance without state: a number follows from a device's key and an instant alone.

A generator per device would have to be wound forward to each instant; a hash of (key, counter)
gives any instant at once, for arrays, and the same numbers however time is cut into pieces.
The mixer is splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
2014).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulators.messages import digest

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

#: Normal numbers are cut here, so that no reading is absurd by chance.
CUT_SIGMAS = 3.0


def keys_of(seed: int, word: str, names: Sequence[str]) -> NDArray[np.uint64]:
    """A 64-bit key for each name, shape (n,).

    Example:
        >>> keys_of(7, "noise", ["a"])[0] == keys_of(7, "noise", ["a"])[0]
        np.True_
    """
    return np.array([digest(seed, word, name) & (2**64 - 1) for name in names], np.uint64)


def uniform(keys: NDArray[np.uint64], counters: ArrayLike) -> NDArray[np.float64]:
    """Numbers in (0, 1) by key and counter, of their broadcast shape.

    Example:
        >>> key = keys_of(7, "noise", ["a"])
        >>> bool(0.0 < uniform(key, 1)[0] < 1.0), bool(uniform(key, 1)[0] == uniform(key, 2)[0])
        (True, False)
    """
    with np.errstate(over="ignore"):
        z = keys + (np.asarray(counters).astype(np.uint64) + np.uint64(1)) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _FIRST
        z = (z ^ (z >> np.uint64(27))) * _SECOND
        z = z ^ (z >> np.uint64(31))
    return np.asarray(((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)


def normal(keys: NDArray[np.uint64], counters: ArrayLike) -> NDArray[np.float64]:
    """Standard normal numbers by key and counter (Box and Muller), cut at :data:`CUT_SIGMAS`."""
    radius = np.sqrt(-2.0 * np.log(uniform(keys, counters)))
    turn = 2.0 * np.pi * uniform(keys ^ _SECOND, counters)
    return np.asarray(np.clip(radius * np.cos(turn), -CUT_SIGMAS, CUT_SIGMAS))
