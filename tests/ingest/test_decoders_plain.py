"""Plain JSON, and the bounds that every decoder shares."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.errors import DecodeError
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.decoders import decode, decoder_for

NOW_NS = 1_767_225_600 * NS_PER_S  # 2026-01-01T00:00:00Z


def a_message(body: Any, topic: str = "qn/qingdao/sensor/w-1", **more: Any) -> RawMessage:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return RawMessage(topic=topic, payload=payload, received_ns=NOW_NS, qos=1, **more)


def a_reading(**changes: Any) -> dict[str, Any]:
    return {"kind": "water_level", "measures": {"water_level_m": 0.31}, **changes}


def reason_of(message: RawMessage) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(message)
    assert caught.value.detail
    return caught.value.reason


def test_everything_is_read() -> None:
    [one] = decode(
        a_message(
            {
                "thing": "water-0001",
                "kind": "water_level",
                "time": "2026-01-01T07:59:59.123+08:00",
                "seq": 12,
                "lon": 120.38,
                "lat": 36.06,
                "error": {"major_m": 3.0, "minor_m": 1.0, "azimuth_deg": 45.0},
                "measures": {"water_level_m": 0.31},
                "labels": {"maker": "x"},
                "snapshots": ["camera-1/7.jpg"],
                "something_new": {"a": [1]},
            },
            duplicate=True,
        )
    )
    assert (one.source, one.thing_id, one.kind) == ("plain", "water-0001", "water_level")
    assert one.observed_ns == NOW_NS - 877_000_000
    assert one.has_device_time
    assert (one.device_sequence, one.repeated) == (12, True)
    assert (one.lon_deg, one.lat_deg) == (120.38, 36.06)
    assert (one.error_major_m, one.error_minor_m, one.error_azimuth_deg) == (3.0, 1.0, 45.0)
    assert one.measures == {"water_level_m": 0.31}
    assert one.labels == {"maker": "x"}
    assert one.snapshots == ("camera-1/7.jpg",)
    assert one.topic == "qn/qingdao/sensor/w-1"


def test_what_is_left_out() -> None:
    [one] = decode(a_message({"measures": {"tilt_deg": 3}}))
    assert (one.thing_id, one.kind) == ("w-1", "manhole")
    assert (one.observed_ns, one.has_device_time, one.device_sequence) == (NOW_NS, False, None)
    assert (one.lon_deg, one.lat_deg, one.error_major_m) == (None, None, None)


@pytest.mark.parametrize(
    ("time", "observed_ns"),
    [
        (NOW_NS // 1_000_000, NOW_NS),
        ("2026-01-01T00:00:00Z", NOW_NS),
        ("2026-01-01T08:00:00.000000001+08:00", NOW_NS + 1),
    ],
    ids=["milliseconds", "utc", "nanoseconds"],
)
def test_times(time: int | str, observed_ns: int) -> None:
    [one] = decode(a_message(a_reading(time=time)))
    assert (one.observed_ns, one.has_device_time) == (observed_ns, True)


@pytest.mark.parametrize(
    ("skew_s", "believed"),
    [
        (60, True), (61, False), (86_400, False),
        (-6 * 3600, True), (-6 * 3600 - 1, False), (-86_400, False),
    ],
)  # fmt: skip
def test_a_clock_that_is_off(skew_s: int, believed: bool) -> None:
    [one] = decode(a_message(a_reading(time=NOW_NS // 1_000_000 + skew_s * 1000)))
    assert one.has_device_time is believed
    if believed:
        assert one.observed_ns == NOW_NS + skew_s * NS_PER_S
        assert "clock_skew_s" not in one.measures
    else:
        assert one.observed_ns == NOW_NS
        assert one.measures["clock_skew_s"] == skew_s


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "bad_json"),
        (b"{", "bad_json"),
        (b'{"measures": {}} x', "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (b'{"thing": "\xff"}', "bad_json"),
        (b'{"thing": "\\ud800"}', "bad_json"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "bad_json"),
        (b"[]", "wrong_type"),
        (b"null", "wrong_type"),
        (b'{"measures": {"tilt_deg": "3"}}', "wrong_type"),
        (b'{"measures": {"tilt_deg": true}}', "wrong_type"),
        (b'{"measures": {"tilt_deg": null}}', "wrong_type"),
        (b'{"measures": [1]}', "wrong_type"),
        (b'{"seq": -1, "measures": {"tilt_deg": 3}}', "wrong_type"),
        (b'{"seq": 9223372036854775808, "measures": {"tilt_deg": 3}}', "wrong_type"),
        (b'{"time": 1.5, "measures": {"tilt_deg": 3}}', "wrong_type"),
        (b'{"measures": {"tilt_deg": NaN}}', "not_finite"),
        (b'{"measures": {"tilt_deg": -Infinity}}', "not_finite"),
        (b'{"measures": {"tilt_deg": 1e999}}', "not_finite"),
        (b'{"measures": {"tilt_deg": 1' + b"0" * 400 + b"}}", "not_finite"),
        (b'{"lon": NaN, "lat": 36, "measures": {"tilt_deg": 3}}', "not_finite"),
        (b" " * (1024 * 1024), "too_large"),
        (b'{"x": "' + b"x" * 1024 * 1024 + b'"}', "too_large"),
    ],
)  # fmt: skip
def test_bad_payloads(payload: bytes, reason: str) -> None:
    assert reason_of(a_message(payload)) == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"measures": {"tilt_deg": 1.1e12}}, "bad_measure"),
        ({"measures": {"": 1}}, "bad_measure"),
        ({"measures": {"a b": 1}}, "bad_measure"),
        ({"measures": {f"m{i}": 1 for i in range(200)}}, "too_large"),
        ({"lon": 120.38}, "bad_position"),
        ({"lon": 181.0, "lat": 36.0}, "bad_position"),
        ({"lon": 36.06, "lat": 120.38}, "bad_position"),
        ({"error_m": -1.0}, "bad_position"),
        ({"error_m": 1e7}, "bad_position"),
        ({"time": 0}, "bad_time"),
        ({"time": -5}, "bad_time"),
        ({"time": 10**30}, "bad_time"),
        ({"time": "yesterday"}, "bad_time"),
        ({"time": "2026-01-01T00:00:00"}, "bad_time"),
        ({"time": "2026-13-01T00:00:00Z"}, "bad_time"),
        ({"kind": "Water Level"}, "bad_kind"),
        ({"kind": "", "measures": {"temp_c": 3}}, "missing_kind"),
        ({"kind": "", "measures": {}}, "missing_kind"),
        ({"thing": "a\nb"}, "bad_id"),
        ({"thing": "x" * 300}, "bad_id"),
        ({"labels": {"k": "a\x00b"}}, "bad_label"),
        ({"labels": {"k": "x" * 3000}}, "too_large"),
        ({"snapshots": ["../../etc/passwd"]}, "bad_snapshot"),
        ({"snapshots": ["/etc/passwd"]}, "bad_snapshot"),
        ({"snapshots": ["a.jpg"] * 17}, "too_large"),
    ],
)
def test_bad_values(changes: dict[str, Any], reason: str) -> None:
    assert reason_of(a_message(a_reading(**changes))) == reason


def test_a_position_of_zeros_is_none() -> None:
    [one] = decode(a_message(a_reading(lon=0.0, lat=0.0)))
    assert (one.lon_deg, one.lat_deg) == (None, None)


@pytest.mark.parametrize(
    "topic",
    [
        "", "qn", "qn/qingdao/sensor", "qn/qingdao/sensor/", "qn//sensor/x",
        "qn/qingdao/sensor/a/b", "qn/qingdao/frame/c-1", "thing/product/X/services_reply",
        "thing/product/X/drc/up", "thing/product//osd", "sys/product/X/status_reply", "$SYS/x",
    ],
)  # fmt: skip
def test_unknown_topics(topic: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decoder_for(topic)
    assert caught.value.reason == "unknown_topic"


def test_a_report() -> None:
    body = {"labels": {"scenario": "road-flooding", "text": "积水"}, "lon": 120.38, "lat": 36.06}
    [one] = decode(a_message(body, "qn/qingdao/report/42"))
    assert (one.thing_id, one.kind) == ("report/42", "report")
    assert one.labels == {"scenario": "road-flooding", "text": "积水"}
    assert reason_of(a_message({"lon": 1}, "qn/qingdao/report/42")) == "missing_scenario"


def test_a_detection() -> None:
    body = {
        "thing": "camera-1/3",
        "kind": "detection.static_object",
        "measures": {"dwell_s": 130.0},
        "labels": {"phase": "update", "camera_id": "camera-1"},
    }
    [one] = decode(a_message(body, "qn/qingdao/detection/camera-1"))
    assert (one.thing_id, one.kind) == ("camera-1/3", "detection.static_object")


def test_the_same_message_has_the_same_id() -> None:
    body = a_reading(seq=3)
    first = decode(a_message(body))[0]
    again = decode(a_message(body, duplicate=True))[0]
    other = decode(a_message(a_reading(seq=4)))[0]
    assert first.id == again.id != other.id


def test_an_exclusion() -> None:
    body = {
        "id": "silence-1",
        "kind": "silence",
        "from_ns": 0,
        "until_ns": 10**9,
        "at_ns": 5,
        "reason": "",
        "actor": "desk",
        "scenarios": ["gas-leak"],
    }
    topic = "qn/qingdao/exclusion/silence-1"
    [one] = decode(a_message(body, topic))
    assert (one.thing_id, one.kind) == ("exclusion/silence-1", "exclusion")
    assert json.loads(one.labels["record"]) == body
    assert reason_of(a_message(body, "qn/qingdao/exclusion/other")) == "bad_exclusion"
    assert reason_of(a_message(body | {"actor": ""}, topic)) == "bad_exclusion"
    assert reason_of(a_message(body | {"who": "x"}, topic)) == "bad_exclusion"
