"""What verdicts teach: how often rules and sources are right, and thresholds that would be better.

Pure: judged cases in, figures and proposals out. Nothing changes a rule by itself; a person
accepts a proposal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec
import numpy as np

from core.incidents import Status
from scenarios.model import Comparison, Rule
from scenarios.verdicts import Verdict

#: False alarms that a proposal needs to rest on, and real ones.
MIN_FALSE = 5
MIN_REAL = 5

#: A proposal keeps at least this share of the real ones, and avoids at least this of the false.
KEPT_RATIO = 0.98
AVOIDED_RATIO = 0.2

#: A thing is proposed to be masked where at most this share of its judged cases were real.
MASK_RATIO = 0.1


class Outcome(StrEnum):
    """What came of a raise."""

    REAL = "real"
    FALSE = "false"
    DUPLICATE = "duplicate"
    PENDING = "pending"


class JudgedRaise(msgspec.Struct, frozen=True, kw_only=True):
    """One raise and what its case turned out to be.

    ``value`` is what was measured when it was raised, None where the rule measures nothing.
    """

    incident_id: str
    rule: str
    source: str
    thing_id: str
    value: float | None
    status: Status
    verdict: Verdict | None

    @property
    def outcome(self) -> Outcome:
        """Real is what somebody closed and nobody called otherwise."""
        if self.verdict is Verdict.NOT_AN_ISSUE:
            return Outcome.FALSE
        if self.verdict is Verdict.DUPLICATE:
            return Outcome.DUPLICATE
        if self.status in (Status.CLOSED, Status.EVALUATED):
            return Outcome.REAL
        return Outcome.FALSE if self.status is Status.CANCELLED else Outcome.PENDING


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How often something was right; ratios are None where nothing was judged yet."""

    key: str
    real: int
    false: int
    duplicate: int
    pending: int
    wrong_place: int
    wrong_owner: int

    @property
    def precision_ratio(self) -> float | None:
        """Share of the judged that were real."""
        judged = self.real + self.false
        return self.real / judged if judged else None


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold that would have been better, and what it would have changed."""

    rule: str
    measure: str
    threshold: float
    proposed: float
    false: int
    false_avoided: int
    real: int
    real_lost: int


class MaskProposal(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that is hardly ever right: better maintained, and not listened to until then."""

    thing_id: str
    false: int
    real: int


def mask_proposals(raises: Iterable[JudgedRaise]) -> list[MaskProposal]:
    """Devices that cry wolf, the one with most false alarms first.

    Citizens are none, and neither is what a camera tracked once: it has no second chance.
    """
    return sorted(
        (
            MaskProposal(thing_id=one.key, false=one.false, real=one.real)
            for one in quality_by(raises, "thing_id")
            if one.false >= MIN_FALSE and one.real <= MASK_RATIO * (one.real + one.false)
        ),
        key=lambda one: (-one.false, one.thing_id),
    )


def quality_by(raises: Iterable[JudgedRaise], key: str) -> list[Quality]:
    """Quality of each rule, source or thing, by its id.

    Args:
        raises: Judged raises.
        key: ``rule``, ``source`` or ``thing_id``.

    Example:
        >>> one = JudgedRaise(incident_id="i", rule="s/r", source="plain", thing_id="t",
        ...                   value=1.0, status=Status.CLOSED, verdict=None)
        >>> quality_by([one], "rule")[0].precision_ratio
        1.0
    """
    groups: dict[str, dict[str, JudgedRaise]] = {}
    for one in raises:
        # Several raises of one case by the same rule or source are one word.
        groups.setdefault(getattr(one, key), {})[one.incident_id] = one
    found = []
    for name in sorted(groups):
        cases = groups[name].values()
        counted = {outcome: sum(one.outcome is outcome for one in cases) for outcome in Outcome}
        found.append(
            Quality(
                key=name,
                real=counted[Outcome.REAL],
                false=counted[Outcome.FALSE],
                duplicate=counted[Outcome.DUPLICATE],
                pending=counted[Outcome.PENDING],
                wrong_place=sum(one.verdict is Verdict.WRONG_PLACE for one in cases),
                wrong_owner=sum(one.verdict is Verdict.WRONG_OWNER for one in cases),
            )
        )
    return found


def proposals(raises: Iterable[JudgedRaise], rules: Mapping[str, Rule]) -> list[Proposal]:
    """Thresholds that would have avoided false alarms and kept the real ones.

    Args:
        raises: Judged raises.
        rules: The rules by id.

    Returns:
        At most one for each rule that measures something, the one that avoids most first.
    """
    by_rule: dict[str, list[JudgedRaise]] = {}
    for one in raises:
        if one.value is not None and one.outcome in (Outcome.REAL, Outcome.FALSE):
            by_rule.setdefault(one.rule, []).append(one)
    found = []
    for name, judged in sorted(by_rule.items()):
        rule = rules.get(name)
        if rule is None or rule.threshold is None or rule.comparison is None:
            continue
        real = np.array([one.value for one in judged if one.outcome is Outcome.REAL], float)
        false = np.array([one.value for one in judged if one.outcome is Outcome.FALSE], float)
        proposed = better_threshold(real, false, rule.threshold, rule.comparison)
        if proposed is None:
            continue
        sign = _sign(rule.comparison)
        found.append(
            Proposal(
                rule=name,
                measure=rule.measures[0],
                threshold=rule.threshold,
                proposed=proposed,
                false=len(false),
                false_avoided=int(np.count_nonzero(sign * false < sign * proposed)),
                real=len(real),
                real_lost=int(np.count_nonzero(sign * real < sign * proposed)),
            )
        )
    return sorted(found, key=lambda one: (-one.false_avoided, one.rule))


def better_threshold(
    real: Sequence[float] | np.ndarray,
    false: Sequence[float] | np.ndarray,
    threshold: float,
    comparison: Comparison,
) -> float | None:
    """The threshold that avoids most false alarms and loses at most two in a hundred real ones.

    It lies half way between the last value that it avoids and the first that it keeps, so
    that it does not hang on one reading.

    Args:
        real: Values measured in real cases, shape (n,).
        false: Values measured in false ones, shape (m,).
        threshold: The present one.
        comparison: Which side of it raises.

    Returns:
        The better threshold, rounded to three significant digits; None where there are too few
        cases, or it would avoid too little.

    Example:
        >>> better_threshold([0.5, 0.6, 0.7, 0.8, 0.9], [0.26, 0.27, 0.28, 0.3, 0.31], 0.25,
        ...                  Comparison.AT_LEAST)
        0.405
    """
    if len(real) < MIN_REAL or len(false) < MIN_FALSE:
        return None
    sign = _sign(comparison)
    good, bad = np.sort(sign * np.asarray(real)), np.sort(sign * np.asarray(false))
    spare = int((1.0 - KEPT_RATIO) * len(good) + 1e-9)
    lowest_kept = good[spare]
    avoided = bad[bad < lowest_kept]
    if len(avoided) < max(1, AVOIDED_RATIO * len(bad)):
        return None
    found = float(f"{sign * (avoided[-1] + lowest_kept) / 2:.3g}")
    if not sign * found > sign * threshold or sign * found > lowest_kept:
        return None
    return found


def _sign(comparison: Comparison) -> float:
    return 1.0 if comparison in (Comparison.AT_LEAST, Comparison.ABOVE) else -1.0
