"""Which public alerts are issued of a case: one whenever what people must know changes. Pure.

A word more on what is known already alerts nobody. The messages of a case are a chain of CAP:
an alert, updates, a cancel; a case that is opened again begins with an alert anew.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from core.incidents import OPEN_STATUSES, Incident, Severity, Status

#: A place that is known better by less than this moves no alert, in metres on the ground.
MOVES_M = 25.0

#: Confidence from which a thing that only one source reports is called likely.
_LIKELY_RATIO = 0.5

#: Metres of a degree of latitude, near enough to tell whether a place has moved.
_DEGREE_M = 111_000.0


class AlertKind(StrEnum):
    """What a message is to those before it; the words of CAP 1.2 in lower case."""

    ALERT = "alert"
    UPDATE = "update"
    CANCEL = "cancel"


class Phase(StrEnum):
    """Where the danger stands."""

    ACTIVE = "active"
    OVER = "over"  #: every source says so; a person has yet to see that it is
    ENDED = "ended"  #: the case is closed, or was none


class Certainty(StrEnum):
    """How sure it is; the words of CAP 1.2 in lower case."""

    OBSERVED = "observed"
    LIKELY = "likely"
    POSSIBLE = "possible"


class IssuedAlert(msgspec.Struct, frozen=True, kw_only=True):
    """One message: the ``number``-th of its case, and the case as it was then."""

    number: int
    sequence: int
    kind: AlertKind
    phase: Phase
    sent_ns: int
    incident: Incident


def next_alert(before: IssuedAlert | None, case: Incident, sequence: int) -> IssuedAlert | None:
    """The message that is due of a case; None where those before it say all.

    Args:
        before: The last that was issued of it, if any.
        case: As it is now.
        sequence: The line of the feed that tells of the change.
    """
    phase = phase_of(case)
    if before is None or before.phase is Phase.ENDED:
        if phase is Phase.ENDED:
            return None
        kind = AlertKind.ALERT
    elif phase is Phase.ENDED:
        kind = AlertKind.CANCEL
    elif phase is before.phase and not _differs(before.incident, case):
        return None
    else:
        kind = AlertKind.UPDATE
    return IssuedAlert(
        number=1 if before is None else before.number + 1,
        sequence=sequence,
        kind=kind,
        phase=phase,
        # Each later than the one before, so that a receiver never sees time stand still.
        sent_ns=case.updated_ns if before is None else max(case.updated_ns, before.sent_ns),
        incident=case,
    )


def phase_of(case: Incident) -> Phase:
    """Where the danger of a case stands."""
    if case.status not in OPEN_STATUSES:
        return Phase.ENDED
    return Phase.ACTIVE if case.cleared_ns is None else Phase.OVER


def certainty_of(case: Incident) -> Certainty:
    """How sure a case is: several sources or somebody on the spot make it observed."""
    on_the_spot = case.status in {Status.HANDLING, Status.FEEDBACK}
    if case.source_count > 1 or on_the_spot:
        return Certainty.OBSERVED
    return Certainty.LIKELY if case.confidence_ratio >= _LIKELY_RATIO else Certainty.POSSIBLE


def _differs(old: Incident, new: Incident) -> bool:
    """Whether people must know: it got worse or better, surer, or it is elsewhere."""
    return (
        Severity(old.severity) is not Severity(new.severity)
        or certainty_of(old) is not certainty_of(new)
        or _moved(old, new)
    )


def _moved(old: Incident, new: Incident) -> bool:
    before, now = old.place, new.place
    if now.lon_deg is None or now.lat_deg is None or before.lon_deg is None:
        return (before.lon_deg is None) is not (now.lon_deg is None) or (
            before.community_code != now.community_code
        )
    assert before.lat_deg is not None
    # East by the metres of a degree of latitude: too far rather than too near.
    north_m = (now.lat_deg - before.lat_deg) * _DEGREE_M
    east_m = (now.lon_deg - before.lon_deg) * _DEGREE_M
    return bool(north_m**2 + east_m**2 > MOVES_M**2)
