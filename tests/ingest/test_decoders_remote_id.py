"""Remote identification: plain JSON of receivers, and Dronetag's JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.errors import DecodeError
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.decoders import decode

NOW_NS = 1_769_527_746 * NS_PER_S  # 2026-01-27T15:29:06Z
TELEMETRY: dict[str, Any] = {
    "timestamp": "2026-01-27T15:29:02+00:00",
    "sensor_id": "1596F28F",
    "operation_id": "op-1",
    "operational_state": "airborne",
    "location": {"latitude": 60.1315, "longitude": 24.5081, "accuracy": 1.0},
    "altitudes": [
        {"type": "HAE-WGS84", "value": 142.9, "accuracy": 1.0},
        {"type": "PA-QNE", "value": 109.2},
        {"type": "ATO", "value": 113.9},
        {"type": "MSL", "value": 124.4},
        {"type": "SOMETHING", "value": 1.0},
    ],
    "velocity": {"heading": 112.0, "horizontal_speed": 14.5, "vertical_speed": 0.0},
}


def a_message(body: Any, topic: str = "dronetag") -> RawMessage:
    return RawMessage(topic=topic, payload=json.dumps(body).encode(), received_ns=NOW_NS)


def test_telemetry_names_every_datum() -> None:
    [one] = decode(a_message(TELEMETRY))
    assert (one.thing_id, one.kind, one.source) == ("1596F28F", "aircraft", "remote_id")
    assert one.measures == {
        "alt_wgs84_m": 142.9, "alt_pressure_m": 109.2, "alt_takeoff_m": 113.9,
        "alt_msl_m": 124.4, "heading_deg": 112.0, "speed_mps": 14.5, "vertical_speed_mps": 0.0,
    }  # fmt: skip
    assert (one.lon_deg, one.lat_deg) == (24.5081, 60.1315)
    assert one.error_major_m == pytest.approx(1 / 2.4477, rel=1e-3)
    assert one.observed_ns == NOW_NS - 4 * NS_PER_S


def test_the_place_of_the_operator_is_not_the_aircraft() -> None:
    [one] = decode(
        a_message(
            {
                "timestamp": "2026-01-27T15:29:02Z",
                "sensor_id": "1596F28F",
                "operation_id": "op-1",
                "location": {"latitude": 60.13, "longitude": 24.51},
                "altitude": {"type": "HAE-WGS84", "value": 35.1},
                "source_type": "take_off",
            }
        )
    )
    assert (one.kind, one.labels["place_of"]) == ("remote_id_operator", "take_off")


@pytest.mark.parametrize("status", ["past", "current"])
def test_a_flight_has_no_place(status: str) -> None:
    [one] = decode(
        a_message(
            {
                "id": "op-1",
                "timestamp": "2026-01-27T15:29:02.659598Z",
                "sensor_id": "1596F28F",
                "status": status,
                "uas_operator_id": "FIN77",
                "ua_identifiers": [{"type": "serial_number", "value": "1596F28F"}],
            }
        )
    )
    assert (one.kind, one.lon_deg, one.measures) == ("remote_id_flight", None, {})
    assert one.labels["flight_status"] == status
    assert one.labels["serial_number"] == "1596F28F"


@pytest.mark.parametrize(
    ("body", "measures", "positioned"),
    [
        (
            {"measures": {"alt_takeoff_m": 80}, "lon": 120.3, "lat": 36.0},
            {"alt_takeoff_m": 80},
            True,
        ),
        ({"measures": {"alt_wgs84_m": -1000, "speed_mps": 3}}, {"speed_mps": 3}, False),
        ({"measures": {"heading_deg": 361, "vertical_speed_mps": 63}}, {}, False),
        ({"measures": {"speed_mps": 255}, "lon": 0, "lat": 0}, {}, False),
        ({"measures": {"heading_deg": 360}}, {"heading_deg": 0}, False),
    ],
)
def test_plain_json_of_a_receiver(
    body: dict[str, Any], measures: dict[str, float], positioned: bool
) -> None:
    [one] = decode(a_message({"thing": "1581F5"} | body, "qn/qingdao/remote-id/r-1"))
    assert (one.kind, one.thing_id) == ("aircraft", "1581F5")
    assert one.measures == measures
    assert (one.lon_deg is not None) is positioned
    assert one.labels == {"receiver_id": "r-1"}


@pytest.mark.parametrize(
    ("topic", "body", "reason"),
    [
        ("qn/qingdao/remote-id/r-1", {"measures": {}}, "missing_thing"),
        ("dronetag", {"timestamp": "2026-01-27T15:29:02Z", "sensor_id": "x"}, "unknown_properties"),
        ("dronetag", {"sensor_id": "x", "status": "past"}, "wrong_type"),
        ("dronetag", TELEMETRY | {"timestamp": "soon"}, "bad_time"),
        ("dronetag", TELEMETRY | {"altitudes": 5}, "wrong_type"),
        ("dronetag", TELEMETRY | {"sensor_id": ""}, "bad_id"),
    ],
)
def test_refused(topic: str, body: dict[str, Any], reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(a_message(body, topic))
    assert caught.value.reason == reason
