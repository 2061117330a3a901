"""Frigate: its documented messages, phases, and what is not taken over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import DecodeError
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.decoders import decode
from ingest.pipeline import decode_messages

NOW_S = 1_767_225_600
CAR: dict[str, Any] = {
    "id": "1767225590.5-ab", "camera": "gate", "label": "car", "sub_label": ["amazon", 0.8],
    "frame_time": NOW_S - 0.5, "start_time": NOW_S - 10.5, "end_time": None, "score": 0.87,
    "top_score": 0.95, "false_positive": False, "box": [432, 496, 544, 854], "area": 40096,
    "current_zones": ["yard", "driveway"], "entered_zones": ["yard"], "has_snapshot": True,
    "active": False, "stationary": True, "position_changes": 2,
    "recognized_license_plate": "鲁B12345", "velocity_angle": 180,
}  # fmt: skip


def a_message(body: Any, topic: str = "frigate/events") -> RawMessage:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return RawMessage(topic=topic, payload=payload, received_ns=NOW_S * NS_PER_S)


def an_event(phase: str = "update", **given: Any) -> RawMessage:
    return a_message({"type": phase, "before": None, "after": CAR | given})


def test_an_object() -> None:
    [one] = decode(an_event())
    assert (one.source, one.kind) == ("frigate", "detection.camera_object")
    assert one.thing_id == "frigate/gate/1767225590.5-ab"
    assert one.observed_ns == NOW_S * NS_PER_S - NS_PER_S // 2
    assert one.measures == {
        "score_ratio": 0.87, "top_score_ratio": 0.95, "dwell_s": 10.0, "seen_s": 10.0,
        "stationary": 1.0, "active": 0.0, "false_positive": 0.0, "position_change_count": 2.0,
        "area_px": 40096.0, "box_left_px": 432.0, "box_top_px": 496.0, "box_right_px": 544.0,
        "box_bottom_px": 854.0, "has_snapshot": 1.0, "has_clip": 0.0, "velocity_angle_deg": 180.0,
    }  # fmt: skip
    assert one.labels == {
        "phase": "update", "camera": "gate", "label": "car", "sub_label": "amazon",
        "zone": "driveway", "zones": "yard,driveway", "entered_zones": "yard",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("phase", "given", "wanted", "dwell_s"),
    [
        ("new", {}, "new", 10.0),
        ("end", {"end_time": NOW_S - 0.25}, "end", 0.0),
        ("end", {}, "end", 0.0),
        ("update", {"end_time": NOW_S - 0.25}, "end", 0.0),
        ("new", {"start_time": NOW_S + 5}, "new", 0.0),
    ],
)
def test_phases(phase: str, given: dict[str, Any], wanted: str, dwell_s: float) -> None:
    [one] = decode(an_event(phase, **given))
    assert (one.labels["phase"], one.measures["dwell_s"]) == (wanted, dwell_s)


def test_what_was_before_and_missing_zones_do_not_matter() -> None:
    body = {"type": "new", "before": {}, "after": CAR | {"current_zones": None}}
    [one] = decode(a_message(body))
    assert "zone" not in one.labels


def test_names_and_plates_are_not_taken_over() -> None:
    person = an_event(label="person", sub_label=["John Smith", 0.79])
    face = {"type": "face", "id": "x", "name": "John Smith", "score": 0.9, "camera": "gate"}
    plate = {"type": "lpr", "id": "x", "name": "John Smith's", "plate": "鲁B12345", "score": 0.9}
    updates = [a_message(one, "frigate/tracked_object_update") for one in (face, plate)]
    observations, rejections = decode_messages([person, *updates])
    assert (len(observations), rejections) == (3, [])
    for one in observations:
        assert "John" not in str(one.labels)
        assert "B12345" not in str(one.labels)


@pytest.mark.realdata
def test_documented_messages(realdata: Path) -> None:
    kinds = []
    for line in (realdata / "iot" / "frigate" / "messages.jsonl").read_text().splitlines():
        sample = json.loads(line)
        body = sample["message"]
        topic = next(iter(sample["topics_nearby"]), "frigate/tracked_object_update")
        stamp = body.get("timestamp") or body.get("after", {}).get("frame_time") or NOW_S
        message = RawMessage(
            topic=topic, payload=json.dumps(body).encode(), received_ns=int(stamp + 1) * NS_PER_S
        )
        [one] = decode(message)
        kinds.append(one.kind.removeprefix("detection.camera_"))
        if one.kind == "detection.camera_object":
            assert one.thing_id == "frigate/front_door/1607123955.475377-mxklsc"
            assert one.measures["score_ratio"] == 0.87890625
            assert one.measures["dwell_s"] == pytest.approx(6.607598)
            assert one.labels["zones"] == "yard,driveway"
    assert kinds == ["object", *["object_update"] * 5, "review", "trigger"]


def test_a_review() -> None:
    review = {
        "id": "r1", "camera": "gate", "start_time": NOW_S - 9.0, "end_time": NOW_S - 1.0,
        "severity": "alert", "thumb_path": "/x",
        "data": {"detections": ["a", "b"], "objects": ["car"], "zones": ["yard"], "audio": []},
    }  # fmt: skip
    [one] = decode(a_message({"type": "end", "before": {}, "after": review}, "frigate/reviews"))
    assert (one.thing_id, one.kind) == ("frigate/gate/review/r1", "detection.camera_review")
    assert one.measures == {"detection_count": 2.0, "seen_s": 8.0}
    assert (one.labels["severity"], one.labels["phase"]) == ("alert", "end")


@pytest.mark.parametrize(("payload", "online"), [(b"online", 1.0), (b"offline", 0.0)])
def test_availability(payload: bytes, online: float) -> None:
    [one] = decode(a_message(payload, "frigate/available"))
    assert (one.thing_id, one.kind, one.measures) == ("frigate", "device_state", {"online": online})


def test_an_event_of_yesterday_is_not_of_now() -> None:
    [one] = decode(an_event(frame_time=NOW_S - 90_000.0, start_time=NOW_S - 90_010.0))
    assert one.kind == "detection.camera_object.history"
    assert one.measures["measured_unix_s"] == NOW_S - 90_000


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (a_message(b"{"), "bad_json"),
        (a_message({"type": "new"}), "wrong_type"),
        (an_event("gone"), "unknown_method"),
        (an_event(frame_time=1e300), "bad_time"),
        (an_event(score="high"), "wrong_type"),
        (an_event(id=""), None),
        (a_message(b"maybe", "frigate/available"), "wrong_type"),
        (a_message(b"\xff\xd8", "frigate/gate/car/snapshot"), "unknown_topic"),
        (a_message(b"5", "frigate/gate/car"), "unknown_topic"),
    ],
)
def test_refused(message: RawMessage, reason: str | None) -> None:
    if reason is None:
        assert decode(message)
        return
    with pytest.raises(DecodeError) as caught:
        decode(message)
    assert caught.value.reason == reason
