"""One order for decisions, whatever the partitions, their speed, and what comes again."""

from __future__ import annotations

import random

import pytest
from builders import a_stamp, an_event
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ServiceError
from core.events import Event, EventBatch
from core.observations import partition_of
from streams.sequencer import Sequencer, merge_round


def a_batch(start: int, sequence: int, partition: int, *events: Event) -> EventBatch:
    stamp = a_stamp(sequence, ingest_id=f"ingest/{start:06d}", partition=partition)
    return EventBatch(stamp=stamp, events=events)


#: A round is the events of some things at some instants, as one batch of ingest gave them.
ROUNDS = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=6), min_size=1, max_size=12
)


def decided(
    rounds: list[list[tuple[int, int]]], partitions: int, chance: random.Random
) -> list[str]:
    """Event ids as decided on, from partitions that come at any speed, some records again."""
    lanes: list[list[EventBatch]] = [[] for _ in range(partitions)]
    for number, said in enumerate(rounds):
        rows: list[list[Event]] = [[] for _ in range(partitions)]
        for thing, second in sorted(said, key=lambda one: one[1]):
            name = f"w-{thing}"
            event = an_event(10 * number + second, thing_id=name)
            rows[partition_of(name, partitions)].append(event)
        for partition, events in enumerate(rows):
            sequence = number * partitions + partition + 1
            lanes[partition].append(a_batch(1, sequence, partition, *events))
    sequencer, found = Sequencer(partitions), []
    positions = [0] * partitions
    while any(at < len(lane) for at, lane in zip(positions, lanes, strict=True)):
        partition = chance.choice(
            [one for one in range(partitions) if positions[one] < len(lanes[one])]
        )
        if positions[partition] and chance.random() < 0.2:  # a worker was killed
            positions[partition] -= 1
        batch = lanes[partition][positions[partition]]
        positions[partition] += 1
        for due in sequencer.push(batch):
            found += [event.id for event in merge_round(due).events]
    assert len(sequencer) == 0
    return list(dict.fromkeys(found))  # the store takes an event once


@given(rounds=ROUNDS, partitions=st.sampled_from([2, 3, 8]), seed=st.integers(0, 2**16))
def test_decisions_do_not_depend_on_partitions_speed_or_repeats(
    rounds: list[list[tuple[int, int]]], partitions: int, seed: int
) -> None:
    chance = random.Random(seed)
    if chance.random() < 0.5:
        rounds = [sorted(set(said)) for said in rounds]
    assert decided(rounds, partitions, chance) == decided(rounds, 1, random.Random(0))


def test_what_an_ingest_wrote_before_it_died_within_a_round_is_decided_on_first() -> None:
    sequencer = Sequencer(partitions=2)
    before = a_batch(1, 1, 0)
    assert sequencer.push(before) == []
    # It died before it wrote the other half of the round; its next start numbers anew.
    after = [a_batch(2, 1, 0), a_batch(2, 2, 1)]
    assert sequencer.push(after[0]) == []
    assert sequencer.push(after[1]) == [[before], after]
    assert sequencer.push(a_batch(2, 3, 0)) == []
    assert len(sequencer) == 1


def test_starts_leave_nothing_behind() -> None:
    sequencer = Sequencer(partitions=1)
    for start in range(1, 100):
        assert len(sequencer.push(a_batch(start, 1, 0))) == 1
    assert len(sequencer) == 0
    assert [len(held) for held in sequencer._held.values()] == [0]
    assert [len(order) for order in sequencer._order.values()] == [0]


def test_a_silent_partition_is_an_error_not_a_leak() -> None:
    sequencer = Sequencer(2, capacity=5)
    for number in range(5):
        sequencer.push(a_batch(1, 2 * number + 1, 0))
    with pytest.raises(ServiceError, match="partition 1"):
        sequencer.push(a_batch(1, 11, 0))


def test_a_redelivery_passes() -> None:
    sequencer = Sequencer(1)
    batch = a_batch(1, 3, 0)
    assert sequencer.push(batch) == [[batch]]
    assert sequencer.push(batch) == [[batch]]
