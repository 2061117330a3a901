"""Rounds: messages that ingest carried together, and ticks, as a recording holds them. Pure.

The order in which events become known depends on what was carried together, so a recording
keeps it and a replay repeats it (docs/decisions/0019).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from core.ports import RawMessage
from core.topics import topic_matches
from core.units import NS_PER_S

#: Most messages of a round; what the MQTT source takes at once.
MAX_ROUND = 512


class Round(NamedTuple):
    """Messages carried together at an instant; none where it is a tick: only time passed."""

    instant_ns: int
    messages: list[RawMessage]


def by_time(messages: Iterable[RawMessage], within_ns: int = 0) -> Iterator[Round]:
    """Group messages that nobody grouped: those of (nearly) equal time, at most 512.

    Args:
        messages: In the order in which they arrived.
        within_ns: Messages of the same span of this length go together; 0 means equal time.

    Example:
        >>> some = [RawMessage(topic="t", payload=b"", received_ns=t) for t in (1, 1, 2)]
        >>> [(one.instant_ns, len(one.messages)) for one in by_time(some)]
        [(1, 2), (2, 1)]
        >>> [(one.instant_ns, len(one.messages)) for one in by_time(some, within_ns=10)]
        [(2, 3)]
        >>> list(by_time([]))
        []
    """
    held: list[RawMessage] = []
    span = 0
    for message in messages:
        at = message.received_ns // within_ns if within_ns else message.received_ns
        if held and (at != span or len(held) == MAX_ROUND):
            yield Round(held[-1].received_ns, held)
            held = []
        span = at
        held.append(message)
    if held:
        yield Round(held[-1].received_ns, held)


def with_ticks(rounds: Iterable[Round], interval_s: float) -> Iterator[Round]:
    """Put ticks where a recording that has none is silent, as ingest would have written them."""
    step_ns = round(interval_s * NS_PER_S)
    before_ns: int | None = None
    for one in rounds:
        if before_ns is not None:
            for instant_ns in range(before_ns + step_ns, one.instant_ns, step_ns):
                yield Round(instant_ns, [])
        yield one
        before_ns = max(one.instant_ns, before_ns or 0)


def select(
    rounds: Iterable[Round],
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
    topics: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Iterator[Round]:
    """Keep the rounds of a span of time, and of them the messages that are wanted.

    Args:
        rounds: All of them.
        since_ns: Earlier messages are left out.
        until_ns: Messages from this instant on are left out.
        topics: MQTT filters; where there are any, only what one of them matches is kept.
        without: MQTT filters; what one of them matches is left out.
    """
    wanted: dict[str, bool] = {}

    def is_wanted(topic: str) -> bool:
        known = wanted.get(topic)
        if known is None:
            if len(wanted) > 100_000:  # bounded: a hostile recording may never repeat a topic
                wanted.clear()
            known = wanted[topic] = (
                not topics or any(topic_matches(one, topic) for one in topics)
            ) and not any(topic_matches(one, topic) for one in without)
        return known

    for one in rounds:
        if (since_ns is not None and one.instant_ns < since_ns) or (
            until_ns is not None and one.instant_ns >= until_ns
        ):
            continue
        if not one.messages or not (topics or without):
            yield one
            continue
        kept = [message for message in one.messages if is_wanted(message.topic)]
        if kept:
            yield Round(one.instant_ns, kept)
