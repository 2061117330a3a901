"""What follows from a verdict, and what verdicts teach."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import TransitionError
from core.incidents import Status
from scenarios.lifecycle import Action, Role
from scenarios.model import Comparison, Rule
from scenarios.quality import JudgedRaise, better_threshold, mask_proposals, proposals, quality_by
from scenarios.verdicts import Verdict, step_after
from tests.scenarios.test_steps import a_case

NOT, PLACE, OWNER, TWICE = Verdict


@pytest.mark.parametrize(
    ("status", "role", "verdict", "action"),
    [
        (Status.DISPATCHED, Role.OPERATOR, NOT, Action.CANCEL),
        (Status.DISPATCHED, Role.WORKER, NOT, Action.RETURN),
        (Status.HANDLING, Role.WORKER, TWICE, Action.RETURN),
        (Status.FEEDBACK, Role.VERIFIER, TWICE, Action.CANCEL),
        (Status.HANDLING, Role.WORKER, OWNER, Action.RETURN),
        (Status.CLOSED, Role.WORKER, PLACE, None),
    ],
)
def test_the_step_that_follows(
    status: Status, role: Role, verdict: Verdict, action: Action | None
) -> None:
    assert step_after(a_case(status=status), verdict, role) is action


def test_a_closed_case_is_no_longer_somebody_elses() -> None:
    with pytest.raises(TransitionError, match="status 'closed' can no longer be"):
        step_after(a_case(status=Status.CLOSED), OWNER, Role.OPERATOR)


def raised(
    number: int, status: Status = Status.CLOSED, verdict: Verdict | None = None, value: float = 1.0
) -> JudgedRaise:
    return JudgedRaise(
        incident_id=f"i-{number}",
        rule="s/level",
        source="plain",
        thing_id="w-1",
        value=value,
        status=status,
        verdict=verdict,
    )


def test_quality_counts_cases_not_raises() -> None:
    rows = [
        raised(1),
        raised(1),
        raised(2, verdict=PLACE),
        raised(3, Status.CANCELLED, NOT),
        raised(4, Status.CANCELLED),
        raised(5, Status.CANCELLED, TWICE),
        raised(6, Status.HANDLING),
    ]
    [one] = quality_by(rows, "rule")
    assert (one.real, one.false, one.duplicate, one.pending, one.wrong_place) == (2, 2, 1, 1, 1)
    assert one.precision_ratio == 0.5
    assert quality_by(rows[-1:], "source")[0].precision_ratio is None


RULE = Rule(
    id="s/level",
    kind="water_level",
    measures=("water_level_m",),
    comparison=Comparison.AT_LEAST,
    threshold=0.25,
)


def test_a_proposal_says_what_it_would_have_changed() -> None:
    rows = [raised(n, value=0.4 + n / 100) for n in range(20)]
    rows += [raised(100 + n, Status.CANCELLED, NOT, value=0.26 + n / 1000) for n in range(10)]
    [one] = proposals(rows, {RULE.id: RULE})
    assert 0.27 < one.proposed <= 0.4
    assert (one.false, one.false_avoided, one.real, one.real_lost) == (10, 10, 20, 0)
    assert proposals(rows[:22], {RULE.id: RULE}) == []  # two false alarms are no reason
    assert proposals(rows, {}) == []


def test_a_device_that_cries_wolf_is_proposed_to_be_masked() -> None:
    rows = [raised(n, Status.CANCELLED, NOT) for n in range(5)]
    [one] = mask_proposals(rows)
    assert (one.thing_id, one.false, one.real) == ("w-1", 5, 0)
    assert mask_proposals(rows[:4]) == []
    assert mask_proposals([*rows, raised(9)]) == []  # right once in six times
    assert mask_proposals([*rows, *(raised(n) for n in range(50, 60))]) == []


def test_a_rule_that_raises_below_is_mirrored() -> None:
    found = better_threshold([-5, -6, -7, -8, -9], [-1, -1.5, -2, -2.5, -3], 0.0, Comparison.BELOW)
    assert found == -4.0


values = st.lists(st.floats(0.0, 100.0), min_size=0, max_size=40)


@given(real=values, false=values, above=st.booleans())
def test_what_is_proposed_keeps_what_was_real(
    real: list[float], false: list[float], above: bool
) -> None:
    comparison = Comparison.AT_LEAST if above else Comparison.AT_MOST
    sign = 1 if above else -1
    threshold = -1.0 if above else 101.0
    found = better_threshold(real, false, threshold, comparison)
    if found is None:
        return
    assert sign * found > sign * threshold
    kept = np.count_nonzero(sign * np.array(real) >= sign * found)
    assert kept >= 0.98 * len(real)
    assert np.count_nonzero(sign * np.array(false) < sign * found) >= 0.2 * len(false)


@given(
    judged=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(Status), st.sampled_from([None, *Verdict])),
        max_size=20,
    )
)
def test_every_case_counts_once_whatever_became_of_it(
    judged: list[tuple[int, Status, Verdict | None]],
) -> None:
    by_case = {f"i-{case}": (status, verdict) for case, status, verdict in judged}
    raises = [
        JudgedRaise(
            incident_id=case,
            rule="s/r",
            source="plain",
            thing_id=f"t-{word}",
            value=None,
            status=status,
            verdict=verdict,
        )
        for case, (status, verdict) in by_case.items()
        for word in range(2)
    ]
    found = quality_by(raises, "rule")
    assert len(found) == (1 if by_case else 0)
    for one in found:
        assert one.real + one.false + one.duplicate + one.pending == len(by_case)
        ended = (Status.CLOSED, Status.EVALUATED)
        not_real = (Verdict.NOT_AN_ISSUE, Verdict.DUPLICATE)
        assert one.real == sum(
            status in ended and verdict not in not_real for status, verdict in by_case.values()
        )
