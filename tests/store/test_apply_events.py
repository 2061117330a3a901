"""What becomes of events: cases, evidence, history, the feed."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from sqlalchemy import create_engine, text

from core.events import Edge
from core.incidents import Status
from scenarios.steps import Step
from store.cases import CaseStore
from store.filters import EventFilter, IncidentFilter


def bodies(rows: list[bytes]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(row) for row in rows]


def incidents(store: CaseStore, **wanted: Any) -> list[dict[str, Any]]:
    page = store.list_incidents(IncidentFilter(**wanted), limit=1000)
    return bodies([row.body for row in page.rows])


def dump(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row that decisions made; not when they were committed, nor the progress."""
    engine = create_engine(url)
    columns = {
        "incidents": "*",
        "incident_raises": "*",
        "evidence": "*",
        "history": "*",
        "case_days": "*",
        "feed": "sequence, change, incident_id, payload",
    }
    with engine.connect() as connection:
        rows = {
            table: sorted(
                tuple(bytes(cell) if isinstance(cell, memoryview) else cell for cell in row)
                for row in connection.execute(text(f"SELECT {what} FROM {table}"))
            )
            for table, what in columns.items()
        }
    engine.dispose()
    return rows


def test_a_raise_opens_a_dispatched_case(store: CaseStore, make: Any) -> None:
    changes = store.apply([make.batch(make.event(60))], make.at(62))
    assert [change.kind for change in changes] == ["opened"]
    [one] = incidents(store)
    assert one["case_number"] == "QD-20260101-000001"
    assert one["status"] == "dispatched"
    assert one["began_at"] == "2026-01-01T02:00:00.000Z"
    assert one["opened_at"] == "2026-01-01T02:01:01.000Z"
    assert one["deadline_at"] == "2026-01-01T03:01:01.000Z"
    assert one["unit_id"] == "traffic"
    assert one["worker_id"] == "worker-1"
    assert one["place"]["community_code"] == make.community
    assert one["department"] == {"zh": "交通", "en": "Transport"}
    assert "0.3" in one["explanation"]["en"]
    assert (one["version"], one["event_count"], one["source_count"]) == (1, 1, 1)
    steps = bodies(store.history(one["id"]))
    assert [(step["action"], step["to_status"], step["actor"]) for step in steps] == [
        ("collect", "collected", "system"),
        ("file", "filed", "system"),
        ("dispatch", "dispatched", "system"),
    ]
    [word] = bodies(store.evidence(one["id"]))
    assert word["at_ns"] == make.at(60)
    assert word["at"] == "2026-01-01T02:01:00.000Z"
    assert word["because"]["value"] == 0.3


def test_a_second_source_raises_confidence(store: CaseStore, make: Any) -> None:
    store.apply([make.batch(make.event(60))], 0)
    changes = store.apply([make.batch(make.event(61, thing="water-2", lon=120.3801))], 0)
    assert [change.kind for change in changes] == ["evidence"]
    [one] = incidents(store)
    assert one["source_count"] == 2
    assert one["confidence_ratio"] == pytest.approx(1 - 0.2 * 0.2)


def test_two_tracks_of_one_camera_are_one_source(store: CaseStore, make: Any) -> None:
    store.apply(
        [
            make.batch(
                make.event(60, thing="camera-1/1"),
                make.event(61, thing="camera-1/2"),
                make.event(62, thing="report/a", rule="road-flooding/report"),
                make.event(63, thing="report/b", rule="road-flooding/report"),
            )
        ],
        0,
    )
    [one] = incidents(store)
    assert (one["source_count"], one["event_count"]) == (3, 4)
    assert one["confidence_ratio"] == pytest.approx(1 - 0.2**3)


def test_a_better_known_place_takes_over(store: CaseStore, make: Any) -> None:
    def event(at_s: float, thing: str, error_m: float | None, **more: Any) -> Any:
        one = make.event(at_s, thing=thing, **more)
        place = msgspec.structs.replace(one.place, error_major_m=error_m)
        return msgspec.structs.replace(one, place=place)

    for number, (error_m, lon, wanted) in enumerate(
        [
            (20.0, 120.38, 120.38),
            (30.0, 120.3801, 120.38),
            (None, 120.3802, 120.38),
            (1.0, 120.3803, 120.3803),
        ]
    ):
        store.apply([make.batch(event(60 + number, f"w-{number}", error_m, lon=lon))], 0)
        [one] = incidents(store)
        assert one["place"]["lon_deg"] == wanted
    assert len(incidents(store, box=(120.3803, 36.06, 120.3803, 36.06))) == 1


def test_only_the_last_clear_clears(store: CaseStore, make: Any) -> None:
    store.apply(
        [
            make.batch(
                make.event(60),
                make.event(61, thing="water-2"),
                make.event(62, thing="report/x", rule="road-flooding/report"),
            )
        ],
        0,
    )
    first = store.apply([make.batch(make.event(90, Edge.CLEAR))], 0)
    assert [change.kind for change in first] == ["evidence"]
    last = store.apply([make.batch(make.event(120, Edge.CLEAR, thing="water-2"))], 0)
    assert [change.kind for change in last] == ["cleared"]
    [one] = incidents(store)
    assert one["cleared_at"] == "2026-01-01T02:02:00.000Z"
    assert one["status"] == "dispatched"
    again = store.apply([make.batch(make.event(150, began_s=140))], 0)
    assert [change.kind for change in again] == ["evidence"]
    assert incidents(store)[0]["cleared_at"] is None


def test_reports_alone_are_never_cleared(store: CaseStore, make: Any) -> None:
    store.apply([make.batch(make.event(1, thing="report/x", rule="road-flooding/report"))], 0)
    assert incidents(store)[0]["cleared_at"] is None


def test_what_no_case_holds_is_kept_as_an_event(store: CaseStore, make: Any) -> None:
    events = [make.event(60, Edge.CLEAR), make.event(61, scenario="no-such-scenario")]
    assert store.apply([make.batch(*events)], 0) == []
    assert incidents(store) == []
    page = store.list_events(EventFilter())
    assert [row["incident_id"] for row in bodies(page.rows)] == [None, None]


def close(store: CaseStore, incident_id: str, now_ns: int) -> None:
    for action in ("accept", "feedback", "close"):
        step = Step(action=action, actor="operator", role="operator", at_ns=now_ns)
        store.transition(incident_id, step)


@pytest.mark.parametrize(
    ("back_after_s", "kinds"),
    [(300, ["rework"]), (601, ["opened"])],
    ids=["within the window", "after it"],
)
def test_coming_back_after_closing(
    store: CaseStore, make: Any, back_after_s: float, kinds: list[str]
) -> None:
    [opened] = store.apply([make.batch(make.event(60))], 0)
    store.apply([make.batch(make.event(90, Edge.CLEAR))], 0)
    close(store, opened.incident.id, make.at(100))
    back = 100 + back_after_s
    changes = store.apply([make.batch(make.event(back, began_s=back - 5))], 0)
    assert [change.kind for change in changes] == kinds
    if kinds == ["rework"]:
        one = store.get(opened.incident.id)
        assert (one.status, one.rework_count, one.closed_ns) == (Status.DISPATCHED, 1, None)
        assert one.cleared_ns is None
        assert one.deadline_ns == make.at(back + 1 + 3600)
        assert bodies(store.history(one.id))[-1]["action"] == "rework"
    else:
        assert len(incidents(store)) == 2


@pytest.mark.parametrize(
    ("still_after_s", "kinds"),
    [(300, ["rework"]), (30, ["evidence"]), (601, ["opened"])],
    ids=["within the window", "a moment to settle", "after the window"],
)
def test_closed_while_the_water_is_still_high(
    store: CaseStore, make: Any, still_after_s: float, kinds: list[str]
) -> None:
    [opened] = store.apply([make.batch(make.event(60))], 0)
    began_s = (opened.incident.began_ns - make.at(0)) / 1e9
    close(store, opened.incident.id, make.at(100))
    later = [make.event(100 + still_after_s + more, Edge.STILL, began_s=began_s) for more in (0, 1)]
    changes = store.apply([make.batch(*later)], 0)
    assert [change.kind for change in changes] == [*kinds, "evidence"]
    assert len(incidents(store)) == (2 if kinds == ["opened"] else 1)
    if kinds == ["rework"]:
        assert store.get(opened.incident.id).status is Status.DISPATCHED


def test_what_was_inhibited_opens_when_that_is_over(store: CaseStore, make: Any) -> None:
    night = {"scenario": "night-work", "thing": "air-1"}
    day = {"scenario": "site-noise", "thing": "air-1"}
    [opened] = store.apply([make.batch(make.event(10, **night))], 0)
    assert store.apply([make.batch(make.event(20, began_s=15, **day))], 0) == []
    assert store.apply([make.batch(make.event(30, Edge.STILL, began_s=15, **day))], 0) == []
    began_s = (opened.incident.began_ns - make.at(0)) / 1e9
    [cleared] = store.apply([make.batch(make.event(40, Edge.CLEAR, began_s=began_s, **night))], 0)
    assert cleared.kind.value == "cleared"
    [later] = store.apply([make.batch(make.event(50, Edge.STILL, began_s=15, **day))], 0)
    assert (later.kind.value, later.incident.scenario) == ("opened", "site-noise")


def test_an_aircraft_is_one_case_wherever_it_flies(store: CaseStore, make: Any) -> None:
    kind = {"scenario": "unidentified-aircraft", "thing": "SN1"}
    store.apply([make.batch(make.event(5, **kind))], 0)
    store.apply([make.batch(make.event(60, Edge.CLEAR, **kind))], 0)
    changes = store.apply([make.batch(make.event(100, began_s=95, lon=120.5, **kind))], 0)
    assert [change.kind for change in changes] == ["evidence"]
    assert len(incidents(store)) == 1


def test_an_unplaced_event_goes_to_unclear_duty(store: CaseStore, make: Any) -> None:
    store.apply([make.batch(make.event(5, lon=None))], 0)
    [one] = incidents(store)
    assert one["unit_id"] == "unclear-duty"
    assert one["place"]["unplaced"] == "no_position"
    assert one["place"]["lon_deg"] is None


def test_tasks_are_dealt_out_by_load(store: CaseStore, make: Any) -> None:
    events = [make.event(n, thing=f"w-{n}", lon=120.38 + n / 100) for n in range(4)]
    store.apply([make.batch(*events)], 0)
    workers = sorted(one["worker_id"] for one in incidents(store))
    assert workers == ["worker-1", "worker-1", "worker-2", "worker-2"]


def test_case_numbers_count_per_day_in_china(store: CaseStore, make: Any) -> None:
    midnight_s = 14 * 3600
    for n, at_s in enumerate((midnight_s - 10, midnight_s - 5, midnight_s + 5)):
        store.apply([make.batch(make.event(at_s, thing=f"w-{n}", lon=120.38 + n / 100))], 0)
    numbers = sorted(one["case_number"] for one in incidents(store))
    assert numbers == ["QD-20260101-000001", "QD-20260101-000002", "QD-20260102-000001"]


def test_nul_in_a_device_name_stops_nothing(store: CaseStore, make: Any) -> None:
    store.apply([make.batch(make.event(5, thing="w\0-1"))], 0)
    changes = store.apply([make.batch(make.event(9, Edge.CLEAR, thing="w\0-1"))], 0)
    assert [change.kind for change in changes] == ["cleared"]


def a_day(make: Any, seed: int) -> list[Any]:
    """Batches of a busy day: some sources, raising, going on and clearing."""
    rng = random.Random(seed)
    batches = []
    for number in range(60):
        events = []
        for source in rng.sample(range(8), rng.randint(0, 4)):
            began_s = number // 6 * 60.0
            edge = rng.choice([Edge.RAISE, Edge.RAISE, Edge.STILL, Edge.CLEAR])
            lon = 120.38 + source // 3 / 100
            events.append(
                make.event(number * 10.0 + 1, edge, thing=f"w-{source}", began_s=began_s, lon=lon)
            )
        batches.append(make.batch(*events, sequence=number))
    return batches


def test_any_grouping_and_repetition_gives_the_same_rows(
    store: CaseStore, store_url: str, make: Any, tmp_path: Any
) -> None:
    from store.database import migrate

    batches = a_day(make, seed=11)
    store.apply(batches, make.at(0))
    whole = dump(store_url)
    assert len(whole["incidents"]) >= 3
    assert len(whole["evidence"]) > 50
    store.apply(batches, make.at(5))
    assert dump(store_url) == whole

    url = f"sqlite:///{tmp_path / 'pieces.sqlite3'}"
    migrate(url)
    rng = random.Random(3)
    with CaseStore(url, make.scenarios, make.units, make.workers, "QD") as pieces:
        done = 0
        while done < len(batches):
            # A crash after the commit: some of what was applied comes again.
            start = max(0, done - rng.randint(0, 3))
            done = min(len(batches), done + rng.randint(1, 7))
            pieces.apply(batches[start:done], rng.randint(0, 9))
        assert pieces.progress() == {("ingest-1", 0): 59}
    assert dump(url) == whole


def test_a_transaction_that_fails_leaves_nothing(
    store: CaseStore, make: Any, monkeypatch: Any
) -> None:
    from store import changes

    def fails(*_args: Any) -> None:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(changes, "next_numbers", fails)
        with pytest.raises(RuntimeError):
            store.apply([make.batch(make.event(60))], 0)
    assert incidents(store) == []
    assert len(store.apply([make.batch(make.event(60))], 0)) == 1


def test_an_opinion_lowers_the_confidence_and_an_end_does_not_raise_it(
    store: CaseStore, make: Any
) -> None:
    because = {"opinion_ratio": 0.1, "opinion": "a shadow", "opinion_model": "m"}

    def confidence_after(*events: Any) -> float:
        store.apply([make.batch(*events)], 0)
        return float(incidents(store)[0]["confidence_ratio"])

    assert confidence_after(make.event(60)) == pytest.approx(0.8)
    still = make.event(660, Edge.STILL, because=because, confidence_ratio=0.31)
    assert confidence_after(still) == pytest.approx(0.31)
    assert confidence_after(make.event(700, Edge.CLEAR)) == pytest.approx(0.31)
    words = bodies(store.evidence(incidents(store)[0]["id"]))
    assert [word["because"].get("opinion") for word in words] == [None, "a shadow", None]
