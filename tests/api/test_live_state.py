"""The live picture: bounded, true about silence, safe from any thread."""

from __future__ import annotations

import msgspec
import pytest

from api.errors import TooManyError
from api.guard import RateLimit
from api.live import CameraState, LiveState
from core.clock import ManualClock
from store.things import Thing

SECOND_NS = 10**9


def a_thing(name: str, observed_ns: int = 0) -> Thing:
    return Thing(thing_id=name, kind="aircraft", observed_ns=observed_ns)


def states(live: LiveState) -> dict[str, str]:
    return {name: msgspec.json.decode(body)["state"] for name, body in live.things().items()}


@pytest.mark.parametrize(
    ("every_s", "live_until_s", "late_until_s"),
    [(1, 30, 120), (60, 180, 600), (600, 1800, 6000)],
    ids=["every second", "every minute", "every ten minutes"],
)
def test_silence_is_measured_by_a_things_own_rhythm(
    every_s: int, live_until_s: int, late_until_s: int
) -> None:
    clock = ManualClock()
    live = LiveState(clock)
    for n in range(60):
        clock.advance_to(n * every_s * SECOND_NS)
        live.update_things([a_thing("a", n)])
    last_ns = clock.now_ns()
    seen = []
    for after_s in (live_until_s - 1, live_until_s + 2, late_until_s - 5, late_until_s + 5):
        clock.advance_to(last_ns + after_s * SECOND_NS)
        live.refresh()
        seen.append(states(live)["a"])
    assert seen == ["live", "late", "late", "stale"]
    live.update_things([a_thing("a", 99)])
    assert states(live)["a"] == "live"


def test_only_changes_are_told_and_only_once() -> None:
    live = LiveState(ManualClock())
    live.update_things([a_thing("a"), a_thing("b")])
    version, changed = live.changed_since(0)
    assert len(changed) == 2
    assert live.changed_since(version) == (version, [])
    live.refresh()
    assert live.changed_since(version) == (version, [])
    live.update_things([a_thing("a", 5), a_thing("a", 6), a_thing("b", -1)])
    version, changed = live.changed_since(version)
    assert [msgspec.json.decode(body)["thing_id"] for body in changed] == ["a"]


def test_the_picture_is_bounded() -> None:
    clock = ManualClock()
    live = LiveState(clock, max_things=100, max_cameras=1)
    for n in range(150):
        clock.advance_to(n)
        live.update_things([a_thing(f"t-{n}")])
    held = states(live)
    assert 98 <= len(held) <= 100
    assert "t-149" in held
    assert "t-0" not in held
    assert live.evicted_count == 150 - len(held)
    live.update_cameras([CameraState(camera_id=name, last_frame_ns=0) for name in ("a", "b", "a")])
    assert list(live.cameras()) == ["a"]
    assert live.evicted_count == 151 - len(held)


def test_rate_limits_forget_who_is_idle() -> None:
    limit = RateLimit(per_s=1.0, burst=1, max_clients=2)
    for client in ("a", "b", "c"):
        limit.take(client, 0.0)
    limit.take("a", 0.0)  # forgotten, as if it had waited
    with pytest.raises(TooManyError) as caught:
        limit.take("c", 0.2)
    assert caught.value.retry_after_s == 1
    limit.take("c", 1.1)
