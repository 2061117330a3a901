"""What is sent to a receiver, and when: tables and properties on a clock that stands still."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.notify.endpoint import (
    MAX_AHEAD_LINES,
    MAX_ATTEMPTS,
    OPENS_AFTER,
    WINDOW_LINES,
    Endpoint,
    Entry,
)
from api.notify.notices import Notice


def a_line(sequence: int, incident: str = "a") -> Notice:
    return Notice(
        sequence=sequence, change="evidence", at="", incident_id=incident, version=sequence,
        scenario="s", severity="minor", departments=(), area_code="", is_open=True, payload=b"",
    )  # fmt: skip


def an_endpoint(*incidents: str, concurrency: int = 4) -> Endpoint:
    endpoint = Endpoint(0, concurrency, Random(1))
    endpoint.offer([a_line(n, one) for n, one in enumerate(incidents, 1)], len(incidents))
    return endpoint


def numbers(entries: list[Entry]) -> list[int]:
    return [entry.notice.sequence for entry in entries]


def test_incidents_overlap_and_their_lines_do_not() -> None:
    endpoint = an_endpoint("a", "a", "b", "c")
    first = endpoint.due(0)
    assert numbers(first) == [1, 3, 4]
    assert endpoint.due(0) == []
    endpoint.took(first[1], 0)
    assert endpoint.reached == 0
    endpoint.took(first[0], 0)
    assert endpoint.reached == 1
    assert numbers(endpoint.due(0)) == [2]


def test_no_more_at_once_than_allowed() -> None:
    endpoint = an_endpoint(*"abcdef", concurrency=2)
    assert numbers(endpoint.due(0)) == [1, 2]
    assert endpoint.due(0) == []


def test_lines_for_others_are_passed_over() -> None:
    endpoint = Endpoint(10, 4, Random(1))
    assert endpoint.reached == 10
    endpoint.offer([], 15)
    assert (endpoint.reached, endpoint.next_s()) == (15, None)
    endpoint.offer([a_line(18)], 20)
    assert endpoint.reached == 17
    endpoint.took(endpoint.due(0)[0], 0)
    assert endpoint.reached == 20


def test_a_refused_line_waits_and_others_go_on() -> None:
    endpoint = an_endpoint("a", "a", "b")
    a, b = endpoint.due(0)
    assert not endpoint.refused(a, 0.0)
    endpoint.took(b, 0.0)
    assert endpoint.due(0.4) == []
    assert 0.5 <= (endpoint.next_s() or 0) <= 1.0
    assert numbers(endpoint.due(1.0)) == [1]


def test_the_receiver_says_how_long_to_wait() -> None:
    endpoint = an_endpoint("a")
    endpoint.refused(endpoint.due(0)[0], 0.0, retry_after_s=60.0)
    assert endpoint.due(59.0) == []
    assert len(endpoint.due(60.0)) == 1


def test_the_circuit_opens_and_tries_one_at_a_time() -> None:
    endpoint = an_endpoint(*"abcdef")
    first = endpoint.due(0)
    assert len(first) > OPENS_AFTER
    for entry in first:
        endpoint.refused(entry, 0.0)
    assert endpoint.is_open
    assert endpoint.due(0.1) == []
    waits, now_s = [], 0.0
    for _ in range(12):
        next_s = endpoint.next_s()
        assert next_s is not None
        waits.append(next_s - now_s)
        now_s = next_s
        [probe] = endpoint.due(now_s)
        assert endpoint.due(now_s) == []
        endpoint.refused(probe, now_s)
    assert max(waits) <= 300.0
    assert waits[8] > 10 * waits[0]
    [probe] = endpoint.due(now_s + 300)
    endpoint.took(probe, now_s)
    assert not endpoint.is_open
    assert endpoint.due(now_s + 600)


def test_a_bad_line_is_given_up_while_others_are_taken() -> None:
    endpoint = an_endpoint("bad", concurrency=2)
    now_s, given_up = 0.0, False
    number = 1
    taken: list[int] = []
    while not given_up:
        number += 1
        endpoint.offer([a_line(number, f"good-{number}")], number)
        for entry in endpoint.due(now_s):
            if entry.notice.incident_id == "bad":
                given_up = endpoint.refused(entry, now_s) or given_up
            else:
                taken.append(entry.notice.sequence)
                endpoint.took(entry, now_s)
        now_s += 20.0
        assert now_s < 7200
    assert now_s > 1800
    assert endpoint.reached == number
    assert taken == list(range(2, number + 1))


def test_a_receiver_that_takes_nothing_is_waited_for() -> None:
    endpoint = an_endpoint("a", "b")
    now_s = 0.0
    for _ in range(10 * MAX_ATTEMPTS):
        now_s += 300.0
        for entry in endpoint.due(now_s):
            assert not endpoint.refused(entry, now_s)
    assert endpoint.reached == 0


def test_what_is_in_hand_is_bounded() -> None:
    endpoint = an_endpoint(*("a",) * WINDOW_LINES)
    assert endpoint.room == 0


def test_a_stuck_line_holds_up_others_only_after_many() -> None:
    endpoint = an_endpoint("bad")
    [bad] = endpoint.due(0.0)
    number = 1
    while endpoint.room:
        number += 1
        endpoint.offer([a_line(number, "good")], number)
        [good] = endpoint.due(0.0)
        endpoint.took(good, 0.0)
    assert endpoint.offered == MAX_AHEAD_LINES
    assert endpoint.reached == 0
    endpoint.took(bad, 0.0)
    assert (endpoint.reached, endpoint.room) == (number, WINDOW_LINES)


@given(st.data())
def test_order_and_completeness_whatever_fails(data: Any) -> None:
    incidents = data.draw(st.lists(st.sampled_from("abc"), max_size=30))
    endpoint = an_endpoint(*incidents, concurrency=data.draw(st.integers(1, 4)))
    random = Random(data.draw(st.integers(0, 1000)))
    ratio = data.draw(st.sampled_from([0.0, 0.3, 0.6]))
    sending: list[Entry] = []
    taken: dict[str, list[int]] = {}
    done: list[int] = []
    now_s = 0.0
    while endpoint.reached < len(incidents):
        sending += endpoint.due(now_s)
        if not sending:
            next_s = endpoint.next_s()
            assert next_s is not None
            now_s = max(now_s + 0.01, next_s)
            continue
        entry = sending.pop(random.randrange(len(sending)))
        if random.random() < ratio:
            if endpoint.refused(entry, now_s):
                done.append(entry.notice.sequence)
        else:
            endpoint.took(entry, now_s)
            taken.setdefault(entry.notice.incident_id, []).append(entry.notice.sequence)
            done.append(entry.notice.sequence)
    assert sorted(done) == list(range(1, len(incidents) + 1))
    assert all(mine == sorted(mine) for mine in taken.values())
