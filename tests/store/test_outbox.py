"""The outbox keeps how far each subscriber was told, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from core.errors import NotFoundError
from core.events import Edge
from store import outbox as outbox_module
from store.cases import CaseStore
from store.outbox import DeadLetter, Extent, Subscriber


def a_letter(sequence: int) -> DeadLetter:
    return DeadLetter(
        subscriber="a", sequence=sequence, event_id=f"i-{sequence}", attempts=3, error="500",
        at_ns=sequence,
    )  # fmt: skip


def test_a_new_subscriber_begins_with_what_comes(store: CaseStore, make: Any) -> None:
    assert store.outbox.extent() == Extent(oldest=1, latest=0)
    store.apply([make.batch(make.event())], make.at(2))
    state = store.outbox.subscribe("a", now_ns=5)
    assert state == Subscriber(name="a", sequence=1, updated_ns=5)
    store.apply([make.batch(make.event(60, Edge.STILL))], make.at(62))
    assert store.outbox.subscribe("a", now_ns=9) == state
    assert store.outbox.extent() == Extent(oldest=1, latest=2)


def test_a_state_is_kept_with_what_was_given_up(
    open_store: Callable[..., CaseStore], make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "MAX_DEAD_LETTERS", 3)
    outbox = open_store().outbox
    outbox.subscribe("a", 0)
    state = Subscriber(
        name="a", sequence=7, delivered=5, dead=5, lost=1, failing_since_ns=3, last_error="500",
        updated_ns=4,
    )  # fmt: skip
    assert outbox.save([state], [a_letter(n) for n in range(1, 6)]) == {}
    again = open_store().outbox
    assert again.subscribers() == [state]
    assert [one.sequence for one in again.dead_letters("a")] == [5, 4, 3]
    assert again.dead_letters("b") == []


def test_what_a_person_asks_for_is_heard_once_and_wins(store: CaseStore) -> None:
    outbox = store.outbox
    outbox.subscribe("a", 0)
    outbox.subscribe("b", 0)
    outbox.ask("a", 3)
    assert outbox.asked() == {"a": 3}
    states = [
        Subscriber(name=name, sequence=9, disabled_ns=1, failing_since_ns=1, last_error="x")
        for name in ("a", "b")
    ]
    assert outbox.save(states) == {"a": 3}
    first, second = outbox.subscribers()
    assert (first.sequence, first.disabled_ns, first.last_error) == (3, None, "")
    assert second == states[1]
    assert outbox.save(states) == outbox.asked() == {}
    with pytest.raises(NotFoundError, match="there is a, b"):
        outbox.ask("c", 1)


def test_who_is_no_longer_wanted_is_forgotten(store: CaseStore) -> None:
    outbox = store.outbox
    for name in ("a", "b", "c"):
        outbox.subscribe(name, 10 if name == "c" else 1)
    outbox.save([msgspec.structs.replace(outbox.subscribers()[0], updated_ns=1)], [a_letter(1)])
    assert outbox.forget(keep=("b",), before_ns=5) == 1
    assert [one.name for one in outbox.subscribers()] == ["b", "c"]
    assert outbox.dead_letters() == []


def test_open_cases_and_their_bodies(store: CaseStore, make: Any) -> None:
    store.apply([make.batch(make.event(), make.event(thing="x", lon=None))], make.at(2))
    latest, cases = store.outbox.open_cases()
    assert latest == store.latest_sequence()
    assert sorted(case.area_code for case in cases.values()) == ["", make.community]
    bodies = store.outbox.bodies(list(cases))
    assert {one: msgspec.json.decode(body)["version"] for one, body in bodies.items()} == {
        one: case.version for one, case in cases.items()
    }


def test_a_time_leads_to_a_line(store: CaseStore, make: Any) -> None:
    store.apply([make.batch(make.event())], make.at(2))
    store.apply([make.batch(make.event(60, Edge.STILL))], make.at(62))
    found = [store.outbox.sequence_since(make.at(seconds)) for seconds in (0, 2, 3, 62, 63)]
    assert found == [1, 1, 2, 2, 3]


def test_one_process_delivers_at_a_time(open_store: Callable[..., CaseStore]) -> None:
    first, second = open_store(), open_store()
    shared = first._database.dialect == "postgresql"
    with first.outbox.deliver_alone() as one, second.outbox.deliver_alone() as other:
        assert one
        assert other is not shared
    with second.outbox.deliver_alone() as again:
        assert again
