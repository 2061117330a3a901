"""Whether enough independent sources agree for a raise to become a case. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from core.events import Event
from core.incidents import Text
from core.units import seconds_to_ns
from scenarios.correlation import independent_source, reaches
from scenarios.model import Independent, Scenario


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A raise that waits for others, and the edge that ended it, if it is over by now."""

    raised: Event
    ended: Event | None = None


def agreeing(
    event: Event, scenario: Scenario, waiting: Iterable[Waiting]
) -> Sequence[Waiting] | None:
    """The raises that together with this one make a case; None where they are too few.

    They agree where they are near each other, errors taken into account as in correlation, and
    the one went on not longer than ``within_s`` before the other began. A scenario that asks for
    no other, a rule that needs none and a citizen's report have enough in themselves; what waits
    near them is part of their case all the same.

    Args:
        event: A raise that no case takes.
        scenario: Its scenario.
        waiting: Raises of the scenario that are no case, the first first.
    """
    asked = scenario.corroborate
    if asked is None:
        return ()
    enough = event.rule == scenario.report_rule or event.rule in asked.alone
    within_ns = seconds_to_ns(asked.within_s)
    found = []
    for one in waiting:
        last_ns = event.began_ns if one.ended is None else one.ended.at_ns
        near = reaches(event.place, one.raised.place, asked.radius_m)
        if near and event.began_ns - last_ns <= within_ns:
            found.append(one)
    voices = {_voice(one, asked.of) for one in (event, *(each.raised for each in found))}
    return found if enough or len(voices) >= asked.at_least else None


def _voice(event: Event, of: Independent) -> str:
    return event.kind if of is Independent.KINDS else independent_source(event.thing_id)


def explain_waiting(scenario: Scenario) -> Text:
    """Tell that a raise waits for others.

    Raises:
        ValueError: The scenario asks for none.
    """
    asked = scenario.corroborate
    if asked is None:
        raise ValueError(f"{scenario.id} asks for no corroboration")
    kinds = asked.of is Independent.KINDS
    return Text(
        f"暂不立案，待 {asked.at_least} {'类' if kinds else '个独立'}来源相互印证",
        f"no incident yet: {asked.at_least} {'kinds of' if kinds else 'independent'} sources "
        "must agree",
    )
