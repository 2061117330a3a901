"""DJI Cloud API: its documented examples, what was seen from real devices, and the bounds."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.errors import DecodeError
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.decoders import decode
from ingest.pipeline import decode_messages

NOW_NS = 1_767_225_600 * NS_PER_S
AIRCRAFT_OSD: dict[str, Any] = {
    "mode_code": 5, "latitude": 36.0614, "longitude": 120.3846, "height": 102.4,
    "elevation": 80.0, "horizontal_speed": 7.9, "vertical_speed": 0.1, "attitude_head": -42.5,
    "home_distance": 412.7, "battery": {"capacity_percent": 71, "remain_flight_time": 1320},
    "81-0-0": {"payload_index": "81-0-0"},
}  # fmt: skip
DOCK_OSD: dict[str, Any] = {
    "mode_code": 4, "flighttask_step_code": 1, "drone_in_dock": 0, "cover_state": 0,
    "rainfall": 0, "wind_speed": 4.2, "environment_temperature": 6.8, "humidity": 47,
    "latitude": 36.0598, "longitude": 120.3811, "height": 31.2,
    "sub_device": {"device_sn": "1581F6QD01", "device_online_status": 1},
}  # fmt: skip


def a_message(
    body: Any, leaf: str = "osd", *, method: str | None = None, bare: bool = False, sn: str = "SN1"
) -> RawMessage:
    if not bare:
        envelope = {"tid": "t", "bid": "b", "timestamp": NOW_NS // 1_000_000, "gateway": "DOCK1"}
        body = envelope | {"data": body} | ({"method": method} if method else {})
    return RawMessage(
        topic=f"thing/product/{sn}/{leaf}", payload=json.dumps(body).encode(), received_ns=NOW_NS
    )


def reason_of(message: RawMessage) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(message)
    return caught.value.reason


@pytest.mark.parametrize("bare", [False, True])
def test_an_aircraft(bare: bool) -> None:
    [one] = decode(a_message(AIRCRAFT_OSD, bare=bare))
    assert (one.source, one.thing_id, one.kind) == ("dji", "SN1", "aircraft")
    assert (one.lon_deg, one.lat_deg) == (120.3846, 36.0614)
    assert one.measures == pytest.approx(
        {
            "alt_takeoff_m": 80.0,
            "alt_wgs84_m": 102.4,
            "speed_mps": 7.9,
            "vertical_speed_mps": 0.1,
            "heading_deg": 317.5,
            "battery_ratio": 0.71,
            "remaining_flight_s": 1320,
            "home_distance_m": 412.7,
            "mode_code": 5,
        }
    )
    assert one.has_device_time is not bare
    assert one.labels == ({} if bare else {"gateway": "DOCK1"})


@pytest.mark.parametrize(
    ("changes", "positioned"),
    [
        ({"latitude": 0, "longitude": 0}, False),
        ({"latitude": 0.0, "longitude": 0.0}, False),
        ({"latitude": None, "longitude": None}, False),
        ({"latitude": 400.0}, False),
        ({"latitude": 32767, "longitude": 32767}, False),
        ({"latitude": 0.0}, True),
    ],
)
def test_unknown_is_no_position(changes: dict[str, Any], positioned: bool) -> None:
    [one] = decode(a_message(AIRCRAFT_OSD | changes))
    assert (one.lon_deg is not None) is positioned
    assert ("alt_wgs84_m" in one.measures) is positioned
    assert one.measures["alt_takeoff_m"] == 80.0


def test_32767_is_unknown() -> None:
    [one] = decode(
        a_message(
            AIRCRAFT_OSD
            | {"elevation": 32767, "mode_code": 32767, "battery": {"capacity_percent": 32767}}
        )
    )
    assert not one.measures.keys() & {"alt_takeoff_m", "mode_code", "battery_ratio"}


def test_a_dock_says_it_in_parts() -> None:
    [whole] = decode(a_message(DOCK_OSD))
    assert (whole.kind, whole.thing_id) == ("dock", "SN1")
    assert whole.measures == pytest.approx(
        {
            "mode_code": 4,
            "flighttask_step_code": 1,
            "drone_in_dock": 0,
            "cover_state": 0,
            "rainfall_level": 0,
            "wind_speed_mps": 4.2,
            "environment_temperature_c": 6.8,
            "humidity_ratio": 0.47,
            "alt_wgs84_m": 31.2,
            "aircraft_online": 1,
        }
    )
    assert whole.labels == {"aircraft_sn": "1581F6QD01"}
    [part] = decode(a_message({"media_file_detail": {"remain_upload": 3}}))
    assert (part.kind, part.measures, part.lon_deg) == ("dock", {"media_waiting_count": 3.0}, None)


def test_health_and_tasks() -> None:
    alarm = {"level": 1, "module": 3, "in_the_sky": 1, "code": "0x16100083", "imminent": 1}
    [health] = decode(a_message({"list": [alarm]}, "events", method="hms"))
    assert (health.kind, health.labels) == ("device_health", {"codes": "0x16100083"})
    assert health.measures == {"alarm_count": 1.0, "alarm_level": 1.0, "imminent_count": 1.0}
    [well] = decode(a_message({"list": []}, "events", method="hms"))
    assert well.measures == {"alarm_count": 0.0, "imminent_count": 0.0}
    progress = {
        "result": 0,
        "output": {
            "status": "in_progress",
            "progress": {"current_step": 25, "percent": 38},
            "ext": {"flight_id": "qd-1", "current_waypoint_index": 6},
        },
    }
    [task] = decode(a_message(progress, "events", method="flighttask_progress"))
    assert task.kind == "dock_task"
    assert task.measures["progress_ratio"] == pytest.approx(0.38)
    assert task.labels == {
        "method": "flighttask_progress", "status": "in_progress", "flight_id": "qd-1",
    }  # fmt: skip


def test_topology() -> None:
    body = {
        "tid": "t", "bid": "b", "timestamp": NOW_NS // 1_000_000, "method": "update_topo",
        "data": {"domain": "3", "type": 2, "sub_devices": [{"sn": "A1", "domain": "0"}]},
    }  # fmt: skip
    topic = "sys/product/DOCK1/status"
    [one] = decode(RawMessage(topic=topic, payload=json.dumps(body).encode(), received_ns=NOW_NS))
    assert (one.kind, one.thing_id, one.labels["devices"]) == ("dock_topology", "DOCK1", "A1")
    body["data"] = {"sub_devices": []}
    [gone] = decode(RawMessage(topic=topic, payload=json.dumps(body).encode(), received_ns=NOW_NS))
    assert gone.measures == {"device_count": 0.0}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (a_message({}), "empty"),
        (a_message(None), "empty"),
        (a_message({"nothing": 1}), "unknown_properties"),
        (a_message({"nothing": 1}, "state"), "unknown_properties"),
        (a_message({}, "events", method="some_method"), "unknown_method"),
        (a_message({}, "requests", method="some_method"), "unknown_method"),
        (a_message(AIRCRAFT_OSD | {"elevation": "80"}), "wrong_type"),
        (a_message(AIRCRAFT_OSD | {"elevation": True}), "wrong_type"),
        (a_message(AIRCRAFT_OSD | {"battery": 7}), "wrong_type"),
        (a_message(AIRCRAFT_OSD | {"elevation": 1e300}), "bad_measure"),
        (a_message(AIRCRAFT_OSD | {"elevation": 10**400}), "not_finite"),
        (a_message([1], "osd"), "wrong_type"),
        (a_message([1], bare=True), "wrong_type"),
        (a_message({"list": 3}, "events", method="hms"), "wrong_type"),
        (a_message({}, "events", method="airsense_warning"), "wrong_type"),
        (a_message([{}], "events", method="airsense_warning"), "wrong_type"),
    ],
)
def test_refused(message: RawMessage, reason: str) -> None:
    assert reason_of(message) == reason


def test_a_misprinted_time_counts_as_none() -> None:
    body = {"tid": "t", "data": DOCK_OSD, "timestamp": 16540709686556}
    [one] = decode(a_message(body, bare=True))
    assert (one.has_device_time, one.observed_ns) == (False, NOW_NS)


def test_a_clock_one_day_off() -> None:
    body = {"tid": "t", "data": AIRCRAFT_OSD, "timestamp": NOW_NS // 1_000_000 + 86_400_000}
    [one] = decode(a_message(body, bare=True))
    assert (one.has_device_time, one.measures["clock_skew_s"]) == (False, 86_400)


@pytest.mark.realdata
def test_every_documented_example(realdata: Path) -> None:
    counts: Counter[str] = Counter()
    file = realdata / "drone" / "dji_cloud_api" / "examples_cn.jsonl"
    for line in file.read_text(encoding="utf-8").splitlines():
        example = json.loads(line)
        topic = re.sub(r"\*?\{\w+\}\*?", "SN1", example["topic"])
        text = json.dumps(example["message"]) if example["parses"] else example["raw"]
        message = RawMessage(topic=topic, payload=text.encode(), received_ns=NOW_NS)
        observations, rejections = decode_messages([message])
        assert bool(observations) != bool(rejections)
        for one in rejections:
            assert one.reason != "decoder_failed", (one.detail, line[:300])
            counts[one.reason] += 1
        for seen in observations:
            counts[seen.kind] += 1
        # What we subscribe to is understood, but for the schematic examples.
        leaf = topic.rsplit("/", 1)[-1]
        if (
            example["parses"]
            and leaf in {"osd", "state", "events", "requests", "status"}
            and rejections
        ):
            assert rejections[0].reason in {"empty", "unknown_method"}, line[:300]
    assert sum(counts.values()) >= 636
    assert counts["aircraft"] >= 2
    assert counts["dock"] >= 12
    assert counts["crewed_aircraft"] == 2
    assert counts["unknown_topic"] > 400
    assert counts["unknown_method"] <= 12
