"""What a check finds, one thing at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.incidents import Text


class Level(StrEnum):
    """What a finding means for the layer."""

    ERROR = "error"  # it is refused
    WARNING = "warning"  # it is taken, somebody should look
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        level: What it means.
        code: Machine word, one of few.
        text: For people, with what was got, what was wanted and where.
        features: Rows of the features concerned, in the source's order.
    """

    level: Level
    code: str
    text: Text
    features: tuple[int, ...] = ()


def metres_text(value: float) -> str:
    """A length for people."""
    if value >= 10_000.0:
        return f"{value / 1000.0:,.1f} km"
    return f"{value:,.0f} m" if value >= 20.0 else f"{value:.1f} m"


def rows_text(rows: Sequence[int]) -> str:
    """Rows as people count them, from 1, the first few."""
    shown = ", ".join(str(row + 1) for row in rows[:8])
    return shown + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
