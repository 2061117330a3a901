"""How long to wait before the next attempt. Pure."""

from __future__ import annotations

from random import Random

#: First wait, and the longest, in seconds.
FIRST_S, LONGEST_S = 1.0, 300.0


def backoff_s(failures: int, random: Random, *, longest_s: float = LONGEST_S) -> float:
    """Twice as long after every failure, the upper half of it by chance.

    Chance keeps many that failed together from coming back together; a lower half that is
    sure keeps the first retry from coming at once.

    Args:
        failures: How many there were in a row, at least 1.
        random: Where chance comes from.
        longest_s: The wait never exceeds this.

    Example:
        >>> from random import Random
        >>> [0.5 <= backoff_s(1, Random(n)) <= 1.0 for n in range(3)]
        [True, True, True]
        >>> 150.0 <= backoff_s(1000, Random(0)) <= 300.0
        True
    """
    whole_s = min(longest_s, FIRST_S * 2.0 ** min(failures - 1, 30))
    return whole_s * random.uniform(0.5, 1.0)
