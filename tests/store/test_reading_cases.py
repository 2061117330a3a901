"""Lists, cursors, the feed, things, rejections; readers beside a writer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from core.errors import InputError, ServiceError, SettingsError
from core.events import Edge
from core.incidents import Severity, Status
from core.ports import Redriven, Rejection
from scenarios.steps import Step
from store.cases import CaseStore
from store.database import migrate
from store.filters import EventFilter, IncidentFilter
from store.rows import Report
from store.things import Thing


def ids(store: CaseStore, limit: int = 100, cursor: str | None = None, **wanted: Any) -> Any:
    page = store.list_incidents(IncidentFilter(**wanted), limit=limit, cursor=cursor)
    return [msgspec.json.decode(row.body)["id"] for row in page.rows], page.next


@pytest.fixture
def filled(store: CaseStore, make: Any) -> CaseStore:
    """Six cases, a hundred metres and ten seconds apart, of three scenarios."""
    names = [one.id for one in make.scenarios]
    for n in range(6):
        event = make.event(
            n * 10.0, scenario=names[n % 3], thing=f"t-{n}", lon=120.38 + n / 100, began_s=n * 10.0
        )
        store.apply([make.batch(event)], 0)
    return store


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({}, 6),
        ({"scenarios": ("road-flooding",)}, 2),
        ({"scenarios": ("road-flooding", "manhole-cover")}, 4),
        ({"scenarios": ("none",)}, 0),
        ({"domains": ("低空",)}, 2),
        ({"departments": ("交通",)}, 2),
        ({"departments": ("Transport",)}, 2),
        ({"severities": (Severity.EXTREME,)}, 2),
        ({"statuses": (Status.DISPATCHED,)}, 6),
        ({"statuses": (Status.CLOSED, Status.EVALUATED)}, 0),
        ({"area_code": "370202"}, 6),
        ({"area_code": "370202091101"}, 6),
        ({"area_code": "370203"}, 0),
        ({"area_code": "3702020911012"}, 0),
        ({"box": (120.375, 36.0, 120.395, 36.1)}, 2),
        ({"box": (120.39, 36.06, 120.39, 36.06)}, 1),
        ({"box": (120.425, 36.0, 120.375, 36.1)}, 1),
        ({"thing_id": "t-3"}, 1),
        ({"unit_id": "traffic"}, 2),
        ({"worker_id": "nobody"}, 0),
    ],
)
def test_filters(filled: CaseStore, wanted: dict[str, Any], count: int) -> None:
    assert len(ids(filled, **wanted)[0]) == count


def test_interval_bounds_are_included(filled: CaseStore, make: Any) -> None:
    assert len(ids(filled, from_ns=make.at(11), to_ns=make.at(31))[0]) == 3
    assert len(ids(filled, from_ns=make.at(12))[0]) == 4


def test_pages_are_stable_while_new_ones_come(filled: CaseStore, make: Any) -> None:
    everything, end = ids(filled)
    assert end is None
    seen, cursor = ids(filled, limit=2)
    for n in range(10, 14):
        filled.apply([make.batch(make.event(n * 10.0, thing=f"t-{n}", lon=121 + n / 100))], 0)
        more, cursor = ids(filled, limit=1, cursor=cursor)
        seen += more
    assert (seen, cursor) == (everything, None)


def test_cases_opened_at_the_same_instant_are_all_listed(store: CaseStore, make: Any) -> None:
    store.apply([make.batch(*(make.event(1, thing=f"t{n}", lon=100.0 + n) for n in range(9)))], 0)
    seen: list[str] = []
    cursor = None
    while True:
        more, cursor = ids(store, limit=2, cursor=cursor)
        seen += more
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 9


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_limits(store: CaseStore, limit: int) -> None:
    with pytest.raises(InputError, match=f"1 to 1000 was wanted, got {limit}"):
        ids(store, limit=limit)


@pytest.mark.parametrize("cursor", ["", "x", "!!!!", "W10", "WzEsMl0", "青", "WyIxIiwiYSJd"])
def test_cursors_of_others_are_refused(store: CaseStore, cursor: str) -> None:
    with pytest.raises(InputError, match="cursor"):
        ids(store, cursor=cursor)


def test_events_are_listed(filled: CaseStore, make: Any) -> None:
    filled.apply([make.batch(make.event(99, Edge.CLEAR, thing="nobody"))], 0)
    first = filled.list_events(EventFilter(), limit=3)
    rest = filled.list_events(EventFilter(), limit=10, cursor=first.next)
    assert len(first.rows) + len(rest.rows) == 7
    assert rest.next is None
    for wanted, count in (
        ({"thing_id": "t-0"}, 1),
        ({"edges": ("clear",)}, 1),
        ({"scenarios": ("manhole-cover",)}, 2),
        ({"box": (120.375, 36.0, 120.395, 36.1)}, 3),
        ({"from_ns": make.at(40)}, 3),
        ({"area_code": "370299"}, 0),
    ):
        assert len(filled.list_events(EventFilter(**wanted)).rows) == count, wanted


def test_the_feed_has_one_order_without_gaps(filled: CaseStore) -> None:
    lines = filled.feed_after(0, 100)
    assert [line.sequence for line in lines] == list(range(1, 7))
    assert filled.latest_sequence() == 6
    assert [line.sequence for line in filled.feed_after(4, 1)] == [5]
    document = msgspec.json.decode(lines[0].payload)
    assert set(document) == {"change", "at", "incident", "evidence"}
    assert document["incident"] == msgspec.json.decode(filled.detail(ids(filled)[0][-1]).body)


def test_the_feed_is_bounded(
    open_store: Callable[..., CaseStore], make: Any, monkeypatch: Any
) -> None:
    from store import cases

    monkeypatch.setattr(cases, "_PRUNE_EVERY", 4)
    store = open_store(max_feed_lines=5)
    for n in range(20):
        store.apply([make.batch(make.event(n, Edge.STILL if n else Edge.RAISE))], 0)
    assert store.latest_sequence() == 20
    assert 5 <= len(store.feed_after(0, 100)) <= 9


def test_listeners_hear_of_every_commit(store: CaseStore, make: Any) -> None:
    heard: list[int] = []
    forget = store.on_change(heard.append)
    [change] = store.apply([make.batch(make.event(1))], 0)
    store.apply([make.batch(make.event(1))], 0)
    store.transition(change.incident.id, Step(action="accept", actor="w", role="worker", at_ns=5))
    forget()
    store.apply([make.batch(make.event(2, Edge.STILL))], 0)
    assert heard == [1, 2]


def test_reports(store: CaseStore, make: Any) -> None:
    report = Report(
        id="r1", scenario="road-flooding", lon_deg=120.38, lat_deg=36.06, words="积水", at_ns=5
    )
    assert store.add_report(report) == report
    assert store.add_report(msgspec.structs.replace(report, at_ns=9)) == report
    [change] = store.apply(
        [make.batch(make.event(1, thing="report/r1", rule="road-flooding/report"))], 0
    )
    assert store.report("r1").incident_id == change.incident.id


def test_things_keep_the_newest(store: CaseStore) -> None:
    def thing(name: str, observed_ns: int, kind: str = "aircraft") -> Thing:
        return Thing(thing_id=name, kind=kind, observed_ns=observed_ns, measures={"x": 1.5})

    store.upsert_things([thing("b", 5), thing("b", 4), thing("a", 1), thing("d", 1, "dock")])
    store.upsert_things([thing("b", 3), thing("a", 2)])
    store.upsert_things([])
    assert store.list_things("aircraft") == [thing("a", 2), thing("b", 5)]
    assert len(store.list_things()) == 3


def a_rejection(number: int, reason: str = "bad_json") -> Rejection:
    return Rejection(
        topic="qn/qingdao/sensor/w",
        reason=reason,
        detail="an object was wanted",
        payload=b"\xff[",
        payload_bytes=2,
        received_ns=number,
    )


def test_rejections_are_bounded_and_counted(open_store: Callable[..., CaseStore]) -> None:
    store = open_store(max_rejections=4)
    first = [a_rejection(n) for n in range(3)]
    assert store.add_rejections(first) == 3
    assert store.add_rejections([*first, a_rejection(7, "too_old")]) == 1
    assert store.add_rejections([a_rejection(n) for n in range(10, 13)]) == 3
    assert store.add_rejections([]) == 0
    assert store.rejection_counts() == {"bad_json": 6, "too_old": 1}
    assert store.rejections_evicted() == 3
    assert [one.received_ns for one in store.list_rejections()] == [12, 11, 10, 7]
    assert store.list_rejections("too_old") == [a_rejection(7, "too_old")]
    assert store.figures()["rejections"] == 7


def test_what_was_sent_again_leaves(open_store: Callable[..., CaseStore]) -> None:
    store = open_store()
    store.add_rejections([a_rejection(n) for n in range(5)])
    numbered = store.rejections_after(0, None)
    assert [number for number, _ in numbered] == sorted(number for number, _ in numbered)
    assert store.newest_rejection() == numbered[-1][0]
    assert store.rejections_after(numbered[0][0], numbered[-2][0]) == numbered[1:-1]
    # What was sent again and read leaves; told twice, or of what is not there, nothing happens.
    gone = [Redriven(digest=numbered[0][1].digest), Redriven(digest="0" * 32)]
    for _ in range(2):
        assert store.add_rejections(gone) == 0
        assert store.rejections_after(0, None) == numbered[1:]


def test_figures(filled: CaseStore) -> None:
    figures = filled.figures()
    assert figures["incidents_open"] == 6
    assert figures["incidents_open_by_domain"] == {"交通": 2, "城管": 2, "低空": 2}
    assert figures["incidents_open_by_severity"] == {"severe": 4, "extreme": 2}
    assert figures["incidents_open_by_status"] == {"dispatched": 6}


def test_what_is_kept_outlives_the_process(open_store: Callable[..., CaseStore], make: Any) -> None:
    first = open_store()
    first.apply([make.batch(make.event(1))], 0)
    first.close()
    second = open_store()
    changes = second.apply([make.batch(make.event(1)), make.batch(make.event(9, Edge.CLEAR))], 0)
    assert [(change.sequence, change.kind) for change in changes] == [(2, "cleared")]


def test_readers_beside_a_writer(open_store: Callable[..., CaseStore], make: Any) -> None:
    """Every reader sees whole transactions: a case always with its evidence and history."""
    store, other = open_store(), open_store()
    stop = threading.Event()
    faults: list[str] = []
    seen = 0

    def read() -> None:
        nonlocal seen
        try:
            while not stop.is_set():
                for case in ids(other)[0]:
                    detail = other.detail(case)
                    if detail.incident.event_count != len(detail.evidence):
                        faults.append(f"{detail.incident.event_count} {len(detail.evidence)}")
                    if len(detail.history) != 3:
                        faults.append("history")
                    seen += 1
        except Exception as error:  # a thread's error must reach the test
            faults.append(repr(error))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for n in range(60):
        events = [
            make.event(n, Edge.STILL if n else Edge.RAISE, thing=f"t-{k}", lon=100.0 + k)
            for k in range(3)
        ]
        store.apply([make.batch(*events)], 0)
    stop.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert seen > 0


def test_two_writers_take_turns(open_store: Callable[..., CaseStore], make: Any) -> None:
    stores = [open_store(), open_store()]

    def write(which: int) -> None:
        for n in range(20):
            event = make.event(n, thing=f"t-{which}-{n}", lon=100.0 + which, lat=n / 10)
            stores[which].apply([make.batch(event)], 0)

    threads = [threading.Thread(target=write, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stores[0].feed_after(0, 100)
    assert [line.sequence for line in lines] == list(range(1, 41))
    numbers = {msgspec.json.decode(line.payload)["incident"]["case_number"] for line in lines}
    assert len(numbers) == 40


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://h/d", "nonsense"])
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="was wanted"):
        migrate(url)


def test_an_unreachable_database_is_a_service_error(tmp_path: Any) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ServiceError, match="migrating"):
        migrate(f"sqlite:///{tmp_path / 'folder'}")


def test_a_failing_database_says_what_was_being_done(make: Any, tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    with (
        CaseStore(url, make.scenarios, make.units, make.workers, "QD") as store,
        pytest.raises(ServiceError, match="applying events: no such table"),
    ):
        store.apply([make.batch(make.event(1))], 0)
