"""OwnTracks: positions of field workers, what phones mean by -1, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.errors import DecodeError
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.decoders import decode

NOW_S = 1_767_225_600
PLACE: dict[str, Any] = {
    "_type": "location", "lat": 36.0614, "lon": 120.3846, "tst": NOW_S - 3, "acc": 15, "alt": 42,
    "vac": 3, "batt": 71, "bs": 1, "cog": 270, "vel": 18, "p": 101.3, "t": "t", "tid": "li",
    "conn": "m", "inregions": ["depot"], "SSID": "home", "BSSID": "aa:bb", "created_at": NOW_S,
}  # fmt: skip


def a_message(body: Any, topic: str = "owntracks/li/phone") -> RawMessage:
    return RawMessage(topic=topic, payload=json.dumps(body).encode(), received_ns=NOW_S * NS_PER_S)


def test_a_position() -> None:
    [one] = decode(a_message(PLACE))
    assert (one.source, one.thing_id, one.kind) == (
        "owntracks", "owntracks/li/phone", "worker_position",
    )  # fmt: skip
    assert (one.lon_deg, one.lat_deg) == (120.3846, 36.0614)
    assert one.error_major_m == pytest.approx(15 / 1.5096, rel=1e-3)
    assert one.observed_ns == (NOW_S - 3) * NS_PER_S
    assert one.measures == {
        "alt_msl_m": 42.0, "alt_accuracy_m": 3.0, "speed_mps": 5.0, "heading_deg": 270.0,
        "battery_ratio": 0.71, "pressure_pa": 101_300.0,
    }  # fmt: skip
    assert one.labels == {
        "user": "li", "device": "phone", "tracker_id": "li", "trigger": "timer",
        "connection": "mobile", "battery_state": "unplugged", "regions": "depot",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        ({"vel": -1}, "speed_mps"),
        ({"cog": -1}, "heading_deg"),
        ({"batt": -1}, "battery_ratio"),
        ({"batt": None}, "battery_ratio"),
        ({"vac": -1}, "alt_accuracy_m"),
    ],
)
def test_minus_one_is_unknown(changes: dict[str, Any], absent: str) -> None:
    [one] = decode(a_message(PLACE | changes))
    assert absent not in one.measures


@pytest.mark.parametrize("changes", [{"acc": -1}, {"lat": 0, "lon": 0}])
def test_unknown_is_no_position(changes: dict[str, Any]) -> None:
    [one] = decode(a_message(PLACE | changes))
    assert (one.lon_deg, one.lat_deg, one.error_major_m) == (None, None, None)


@pytest.mark.parametrize("tst", [NOW_S - 3, str(NOW_S - 3), float(NOW_S - 3)])
def test_times(tst: Any) -> None:
    [one] = decode(a_message(PLACE | {"tst": tst}))
    assert (one.observed_ns, one.has_device_time) == ((NOW_S - 3) * NS_PER_S, True)


def test_a_position_kept_since_yesterday_is_not_of_now() -> None:
    [one] = decode(a_message(PLACE | {"tst": NOW_S - 90_000}))
    assert one.kind == "worker_position.history"
    assert one.measures["measured_unix_s"] == NOW_S - 90_000


def test_a_transition() -> None:
    body = {
        "_type": "transition", "wtst": 1_700_000_000, "lat": 36.06, "lon": 120.38, "tst": NOW_S,
        "acc": 8, "tid": "li", "event": "enter", "desc": "depot", "t": "c",
    }  # fmt: skip
    [one] = decode(a_message(body, "owntracks/li/phone/event"))
    assert (one.thing_id, one.kind) == ("owntracks/li/phone", "worker_transition")
    assert (one.labels["event"], one.labels["region"]) == ("enter", "depot")
    assert one.lon_deg == 120.38


def test_waypoints() -> None:
    region = {"_type": "waypoint", "desc": "depot", "lat": 36.06, "lon": 120.38, "rad": 50,
              "tst": 1_500_000_000}  # fmt: skip
    [one] = decode(a_message(region, "owntracks/li/phone/waypoint"))
    assert (one.kind, one.measures, one.labels["region"]) == (
        "worker_waypoint", {"radius_m": 50.0}, "depot",
    )  # fmt: skip
    found = decode(a_message({"_type": "waypoints", "waypoints": [region, region]}))
    assert [each.kind for each in found] == ["worker_waypoint"] * 2


def test_a_last_will_says_that_the_phone_is_gone() -> None:
    [one] = decode(a_message({"_type": "lwt", "tst": 1_500_000_000}))
    assert (one.kind, one.measures, one.observed_ns) == (
        "device_state", {"online": 0.0}, NOW_S * NS_PER_S,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"_type": "location", "tst": 1}, "bad_position"),
        (PLACE | {"lat": 91}, "bad_position"),
        (PLACE | {"lat": None}, "bad_position"),
        (PLACE | {"tst": "soon"}, "bad_time"),
        (PLACE | {"tst": -5}, "bad_time"),
        (PLACE | {"lat": "36"}, "wrong_type"),
        (PLACE | {"_type": "card"}, "unsupported_type"),
        (PLACE | {"_type": "cmd"}, "unsupported_type"),
        ({"_type": "encrypted", "data": "x"}, "unsupported_type"),
        ({"_type": "waypoints", "waypoints": []}, "empty"),
        ({"_type": "waypoints", "waypoints": [5]}, "wrong_type"),
        ({}, "unsupported_type"),
        ([], "wrong_type"),
    ],
)
def test_refused(body: Any, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(a_message(body))
    assert caught.value.reason == reason
