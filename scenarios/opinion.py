"""What a second opinion on a picture does to the confidence of an event."""

from __future__ import annotations

from core.observations import ObservationBatch

#: However sure a model is, one opinion moves the odds by no more than twenty to one.
_SUREST = 0.95


def weighed(confidence_ratio: float, opinion_ratio: float) -> float:
    """A rule's confidence and an independent opinion as one, by Bayes' rule.

    Args:
        confidence_ratio: How likely the event is real, by the rule.
        opinion_ratio: How likely it is by the opinion; a half says nothing.

    Example:
        >>> [round(weighed(0.8, opinion), 2) for opinion in (0.9, 0.5, 0.1, 0.0)]
        [0.97, 0.8, 0.31, 0.17]
        >>> weighed(1.0, 0.0)
        1.0
    """
    opinion = min(max(opinion_ratio, 1.0 - _SUREST), _SUREST)
    real, not_real = confidence_ratio * opinion, (1.0 - confidence_ratio) * (1.0 - opinion)
    return real / (real + not_real)


def opinion_of(batch: ObservationBatch, row: int) -> dict[str, str | float]:
    """The opinion that came with a row, as facts of an event; empty where none did."""
    rows, ratios = batch.measure("opinion_ratio")
    found = ratios[rows == row]
    if not len(found) or not 0.0 <= found[0] <= 1.0:
        return {}
    facts: dict[str, str | float] = {"opinion_ratio": float(found[0])}
    for name in ("opinion", "opinion_model"):
        if text := batch.label(name).get(row):
            facts[name] = text
    return facts
