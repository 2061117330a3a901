from __future__ import annotations

from builders import a_stamp

from core.events import EventBatch
from streams.sequencer import Sequencer


def a_batch(start: int, sequence: int, partition: int) -> EventBatch:
    stamp = a_stamp(sequence, ingest_id=f"ingest/{start:06d}", partition=partition)
    return EventBatch(stamp=stamp, events=())


def test_what_an_ingest_wrote_before_it_died_within_a_round_is_decided_on_first() -> None:
    sequencer = Sequencer(partitions=2)
    before = a_batch(1, 1, 0)
    assert sequencer.push(before) == []
    # It died before it wrote the other half of the round; its next start numbers anew.
    after = [a_batch(2, 1, 0), a_batch(2, 2, 1)]
    assert sequencer.push(after[0]) == []
    assert sequencer.push(after[1]) == [before, after[0]]
    assert sequencer.push(a_batch(2, 3, 0)) == [after[1]]
    assert len(sequencer) == 1


def test_starts_leave_nothing_behind() -> None:
    sequencer = Sequencer(partitions=1)
    for start in range(1, 100):
        assert len(sequencer.push(a_batch(start, 1, 0))) == 1
    assert len(sequencer) == 0
    assert len(sequencer._frontiers) == 1
