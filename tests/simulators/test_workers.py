"""Grid workers: legal steps only, one thing after the other, where they walk is where it is."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import msgspec
import pytest

from core.city import Worker
from core.incidents import Status
from core.ports import RawMessage
from core.units import NS_PER_S
from geo.city import load_city
from ingest.pipeline import decode_messages
from scenarios.lifecycle import Action, Role, check_transition
from simulators.flights import LocalFrame
from simulators.workers import Case, Crew, Doing

EPOCH = 1_763_942_400 * NS_PER_S
WORKERS = [
    Worker(worker_id=f"worker-{n}", name="", area_code="", lon_deg=120.38, lat_deg=36.06)
    for n in range(4)
]


def run(crew: Crew, cases: dict[str, Case], hours: float) -> list[tuple[int, str, str, str]]:
    """Play the platform: take each step as the case process does."""
    log = []
    for step in range(int(hours * 360)):
        now_ns = EPOCH + step * 10 * NS_PER_S
        for intent in crew.work(now_ns, cases.values()):
            case = cases[intent.incident_id]
            assert intent.version == case.version
            status = check_transition(
                Status(case.status), Action(intent.action), Role(intent.role), intent.reason
            )
            log.append((now_ns, intent.incident_id, intent.action, intent.actor))
            if str(status) in {"closed", "filed"}:
                del cases[intent.incident_id]
            else:
                cases[intent.incident_id] = msgspec.structs.replace(
                    case, status=str(status), version=case.version + 1
                )
    return log


def some_cases(count: int) -> dict[str, Case]:
    return {
        f"i-{n}": Case(
            incident_id=f"i-{n}",
            status="dispatched",
            version=2,
            worker_id=WORKERS[n % 4].worker_id,
            lon_deg=120.38 + 0.0005 * n,
            lat_deg=36.06,
        )
        for n in range(count)
    }


def test_a_shift_works_all_cases_by_legal_steps() -> None:
    cases = some_cases(40)
    log = run(Crew("qingdao", WORKERS, seed=7, start_ns=EPOCH), cases, 12.0)
    assert not cases
    counts = Counter(action for _, _, action, _ in log)
    assert counts["accept"] + counts["return"] >= 40
    assert counts["return"] >= 1
    assert counts["close"] >= 30
    # Who closes is never who handled.
    assert {actor for _, _, action, actor in log if action == "close"} == {"verifier-1"}
    for worker in WORKERS:
        busy = [at for at, _, action, actor in log
                if actor == worker.worker_id and action == "feedback"]  # fmt: skip
        assert all(b - a >= 180 * NS_PER_S for a, b in pairwise(busy))


def test_the_same_seed_the_same_shift() -> None:
    logs = [
        run(Crew("qingdao", WORKERS, seed=seed, start_ns=EPOCH), some_cases(12), 4.0)
        for seed in (7, 7, 8)
    ]
    assert logs[0] == logs[1] != logs[2]


def test_a_worker_is_where_the_thing_is_when_he_handles_it() -> None:
    crew = Crew("qingdao", WORKERS[:1], seed=7, start_ns=EPOCH)
    case = msgspec.structs.replace(some_cases(1)["i-0"], status="handling", lon_deg=120.384)
    speeds, before = [], crew.where("worker-0")
    for step in range(200):
        crew.work(EPOCH + step * 10 * NS_PER_S, [case])
        here = crew.where("worker-0")
        frame = LocalFrame.at(lon_deg=here[0], lat_deg=here[1])
        speeds.append(math.hypot(*frame.to_metres(*before)) / 10)
        before = here
        if crew.doing("worker-0") is Doing.HANDLING:
            break
    assert crew.where("worker-0") == (120.384, 36.06)
    assert max(speeds) <= 4.3


def test_a_case_given_to_another_is_let_go() -> None:
    crew = Crew("qingdao", WORKERS, seed=7, start_ns=EPOCH)
    case = msgspec.structs.replace(some_cases(1)["i-0"], status="handling", lon_deg=120.39)
    crew.work(EPOCH, [case])
    assert crew.doing("worker-0") is Doing.MOVING
    crew.work(EPOCH + 60 * NS_PER_S, [msgspec.structs.replace(case, worker_id="worker-1")])
    assert crew.doing("worker-0") is Doing.IDLE
    assert crew.doing("worker-1") is Doing.MOVING


@pytest.mark.parametrize("seed", [1, 2])
def test_phones_speak_owntracks(seed: int) -> None:
    city = load_city("generated", seed=seed)
    crew = Crew(city.name, city.workers, seed=seed, start_ns=EPOCH)
    found = []
    for minute in range(30):
        found += crew.positions(EPOCH + minute * 60 * NS_PER_S)
    raw = [RawMessage(topic=m.topic, payload=m.payload, received_ns=m.at_ns) for m in found]
    observations, rejections = decode_messages(raw)
    assert not rejections
    assert {one.kind for one in observations} == {"worker_position"}
    assert len(observations) == 5 * len(city.workers)
    assert {one.thing_id for one in observations} == {one.thing_id for one in found}
