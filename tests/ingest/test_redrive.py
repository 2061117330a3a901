"""A rejected message sent again is read as it came, and leaves the quarantine once it was read."""

from __future__ import annotations

import pytest
from builders import a_batch, an_observation, at_s
from hypothesis import given
from hypothesis import strategies as st

from core.observations import encode_batch
from core.ports import RawMessage, Redriven, Rejection, encode_rejections
from core.topics import redrive_topic
from ingest.pipeline import decode_messages
from ingest.redrive import is_redrive, open_redrives, redriven

READING = b'{"measures": {"water_level_m": 0.31}}'


def a_rejection(payload: bytes = READING, topic: str = "qn/c/sensor/w-1") -> Rejection:
    return Rejection(
        topic=topic,
        reason="decoder_failed",
        detail="d",
        payload=payload,
        payload_bytes=len(payload),
        received_ns=at_s(0),
    )


def sent_again(*rejections: Rejection, at_ns: int = at_s(3600)) -> list[RawMessage]:
    return [
        RawMessage(
            topic=redrive_topic("c", one.digest),
            payload=encode_rejections([one]),
            received_ns=at_ns,
            qos=1,
            packet_id=7,
        )
        for one in rejections
    ]


def test_it_is_read_as_it_came_whenever_it_is_sent() -> None:
    original = RawMessage(topic="qn/c/sensor/w-1", payload=READING, received_ns=at_s(0), qos=1)
    wanted, _ = decode_messages([original], city="c")
    for at_ns in (at_s(10), at_s(1e6)):
        opened, redrives = open_redrives(sent_again(a_rejection(), at_ns=at_ns))
        observations, rejections = decode_messages(opened, city="c")
        assert observations == wanted  # without a clock of its own: the time of receipt counts
        assert observations[0].id == wanted[0].id
        assert redriven(redrives, rejections) == [Redriven(digest=a_rejection().digest)]
        assert (opened[0].packet_id, opened[0].qos) == (7, 1)


def test_what_cannot_be_read_now_either_stays_as_it_is() -> None:
    bad = RawMessage(topic="qn/c/sensor/w-1", payload=b"{", received_ns=at_s(0))
    _, (first,) = decode_messages([bad], city="c")
    opened, redrives = open_redrives(sent_again(first, a_rejection()))
    observations, (again,) = decode_messages(opened, city="c")
    assert again.digest == first.digest
    assert len(observations) == 1
    assert redriven(redrives, [again]) == [Redriven(digest=a_rejection().digest)]


def test_what_is_rejected_for_another_reason_now_takes_the_place_of_the_old() -> None:
    old = a_rejection(b"{")
    opened, redrives = open_redrives(sent_again(old))
    _, rejections = decode_messages(opened, city="c")
    assert rejections[0].digest != old.digest
    assert redriven(redrives, rejections) == [Redriven(digest=old.digest)]


def test_an_observation_that_the_rules_set_aside_is_what_it_was_and_marked() -> None:
    one = an_observation(5, device_sequence=3, topic="qn/c/sensor/w-1")
    where = f"observations[3]@17 {one.topic} {one.id}"
    opened, _ = open_redrives(sent_again(a_rejection(encode_batch(a_batch(one)), where)))
    (found,), rejections = decode_messages(opened, city="c")
    assert rejections == []
    assert found.id == one.id
    assert found.set_aside
    assert (found.received_ns, found.topic) == (one.received_ns, one.topic)


def test_a_whole_record_that_could_not_be_read_is_not_marked() -> None:
    rows = [an_observation(n) for n in range(3)]
    record = a_rejection(encode_batch(a_batch(*rows)), "observations[0]@4")
    opened, _ = open_redrives(sent_again(record))
    found, _ = decode_messages(opened, city="c")
    assert found == rows
    opened, redrives = open_redrives(sent_again(a_rejection(b"\xc1", "observations[0]@4")))
    _, (still,) = decode_messages(opened, city="c")
    assert still.reason == "bad_batch"
    assert len(redriven(redrives, [still])) == 1


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        encode_rejections([]),
        encode_rejections([a_rejection(), a_rejection()]),
        encode_rejections([Redriven(digest="0")]),
    ],
)
def test_an_envelope_that_cannot_be_read_is_rejected_itself(payload: bytes) -> None:
    message = RawMessage(topic=redrive_topic("c", "0a"), payload=payload, received_ns=1)
    opened, redrives = open_redrives([message])
    assert (opened, redrives) == ([message], [])
    _, (rejection,) = decode_messages(opened, city="c")
    assert rejection.reason == "unknown_topic"


@given(st.binary(max_size=60), st.text(max_size=40))
def test_it_never_fails_and_leaves_other_messages_alone(payload: bytes, topic: str) -> None:
    plain = RawMessage(topic=topic, payload=payload, received_ns=1)
    envelope = RawMessage(topic=redrive_topic("c", "x"), payload=payload, received_ns=1)
    opened, _ = open_redrives([plain, envelope])
    assert len(opened) == 2
    if not is_redrive(topic):
        assert opened[0] is plain
    decode_messages(opened, city="c")


def test_an_envelope_in_an_envelope_is_not_opened_twice() -> None:
    inner = encode_rejections([a_rejection()])
    nested = a_rejection(inner, redrive_topic("c", "x"))
    opened, _ = open_redrives(sent_again(nested))
    _, (rejection,) = decode_messages(opened, city="c")
    assert rejection.reason == "unknown_topic"
