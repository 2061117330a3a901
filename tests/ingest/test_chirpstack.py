"""ChirpStack v4: its documented events, uplinks of the shipped codecs, and the device's tags."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import DecodeError
from core.ports import RawMessage
from core.units import NS_PER_S, rfc3339_to_ns
from ingest.decoders import decode

NOW_NS = rfc3339_to_ns("2026-01-01T00:00:02Z")
EUI = "24e124535c000001"


def an_uplink(
    payload: str | None = "03771e00",
    *,
    profile: str = "EM500-SWL",
    event: str = "up",
    tags: dict[str, Any] | None = None,
    name: str = "device 7",
    **given: Any,
) -> RawMessage:
    body: dict[str, Any] = {
        "deduplicationId": "6c2c5d6e",
        "time": "2026-01-01T00:00:01.123456+00:00",
        "deviceInfo": {
            "applicationName": "city",
            "deviceProfileName": profile,
            "deviceName": name,
            "devEui": EUI,
        },
        "fCnt": 4,
        "fPort": 85,
        "rxInfo": [
            {"gatewayId": "g1", "rssi": -110, "snr": -3.5},
            {"gatewayId": "g2", "rssi": -36, "snr": 10.5,
             "location": {"latitude": 36.06, "longitude": 120.38}},
        ],
    }  # fmt: skip
    if tags:
        body["deviceInfo"]["tags"] = tags
    if payload is not None:
        body["data"] = base64.b64encode(bytes.fromhex(payload)).decode()
    return RawMessage(
        topic=f"application/a-1/device/{EUI}/event/{event}",
        payload=json.dumps(body | given).encode(),
        received_ns=NOW_NS,
    )


def test_an_uplink() -> None:
    [one] = decode(an_uplink())
    assert (one.source, one.thing_id, one.kind) == ("chirpstack", EUI, "water_level")
    assert one.measures == {
        "water_level_m": 0.3, "rssi_dbm": -36.0, "snr_db": 10.5, "gateway_count": 2.0,
    }  # fmt: skip
    assert one.labels == {
        "device_name": "device 7", "device_profile": "EM500-SWL", "codec": "em500-swl",
    }  # fmt: skip
    assert one.observed_ns == NOW_NS - 876_544_000
    assert one.device_sequence == 4
    # The gateway's place is not the device's.
    assert one.lon_deg is None


@pytest.mark.realdata
def test_documented_events(realdata: Path) -> None:
    kinds = {}
    for line in (realdata / "iot" / "chirpstack" / "messages.jsonl").read_text().splitlines():
        sample = json.loads(line)
        event, body = sample["heading"].split("`")[1], sample["message"]
        message = RawMessage(
            topic=f"application/a/device/{body['deviceInfo']['devEui']}/event/{event}",
            payload=json.dumps(body).encode(),
            received_ns=rfc3339_to_ns(body["time"]) + NS_PER_S,
        )
        try:
            [one] = decode(message)
        except DecodeError as exc:
            kinds[event] = exc.reason
        else:
            kinds[event] = one.kind
            assert one.has_device_time
            if event == "location":
                assert (one.lon_deg, one.lat_deg) == (-8.839375, 37.344214)
            if event == "status":
                assert one.measures["battery_ratio"] == pytest.approx(0.883)
    # The documented uplink is one byte, 0xAA, of a device that no codec reads.
    assert kinds == {
        "up": "no_codec", "status": "device_health", "join": "device_state",
        "ack": "device_state", "txack": "device_state", "log": "device_notice",
        "location": "device_location", "integration": "device_state",
    }  # fmt: skip


@pytest.mark.realdata
def test_every_pair_as_an_uplink(realdata: Path) -> None:
    for line in (realdata / "iot" / "milesight_lorawan_pairs.jsonl").read_text().splitlines():
        pair = json.loads(line)
        if len(pair["payload_hex"]) > 2 * 242:
            continue
        found = decode(an_uplink(pair["payload_hex"], profile=pair["device"]))
        assert found
        for one in found:
            assert "undecoded" not in one.labels
            assert one.measures.keys() - {"rssi_dbm", "snr_db", "gateway_count"} or one.labels


def test_tags_say_what_the_server_cannot_know() -> None:
    tags = {"thing": "water-9", "lon": "120.38", "lat": "36.06", "kind": "sewer_level"}
    [one] = decode(an_uplink(tags=tags))
    assert (one.thing_id, one.kind) == ("water-9", "sewer_level")
    assert (one.lon_deg, one.lat_deg) == (120.38, 36.06)
    [by_model] = decode(an_uplink(profile="generic", tags={"model": "EM500-SWL"}))
    assert by_model.kind == "water_level"


@pytest.mark.parametrize(
    ("distance_mm", "height", "level_m", "kind"),
    [(1700, "2.0", 0.3, "water_level"), (2500, "2.0", 0.0, "water_level"),
     (1700, None, None, "distance"), (1700, "tall", None, "distance")],
)  # fmt: skip
def test_a_distance_above_water(
    distance_mm: int, height: str | None, level_m: float | None, kind: str
) -> None:
    payload = "0382" + distance_mm.to_bytes(2, "little").hex()
    tags = {"mount_height_m": height} if height else None
    [one] = decode(an_uplink(payload, profile="EM500-UDL", tags=tags))
    assert one.kind == kind
    assert one.measures["distance_m"] == distance_mm / 1000
    assert one.measures.get("water_level_m") == (
        None if level_m is None else pytest.approx(level_m)
    )


@pytest.mark.parametrize(
    ("profile", "name", "kind"),
    [("VS330", "toilet 2", "occupancy"), ("VS330", "消防通道 3 号车位", "parking"),
     ("VS340 parking", "bay 4", "parking")],
)  # fmt: skip
def test_parking(profile: str, name: str, kind: str) -> None:
    payload = "038e01" if "330" in profile else "030001"
    [one] = decode(an_uplink(payload, profile=profile, name=name))
    assert (one.kind, one.measures["occupied"]) == (kind, 1.0)


def test_past_readings_are_not_of_now() -> None:
    hour_ago, year_ago = NOW_NS // NS_PER_S - 3600, NOW_NS // NS_PER_S - 365 * 86_400
    entries = "".join(
        "20ce" + stamp.to_bytes(4, "little").hex() + "2c016401" for stamp in (hour_ago, year_ago)
    )
    now, recent, old = decode(an_uplink("050000" + entries, profile="EM300-SLD"))
    assert (now.kind, now.measures["leak"]) == ("leak", 0.0)
    assert (recent.kind, recent.observed_ns) == ("leak", hour_ago * NS_PER_S)
    assert (old.kind, old.measures["measured_unix_s"]) == ("leak.history", year_ago)
    assert len({one.id for one in (now, recent, old)}) == 3
    again = decode(an_uplink("050000" + entries, profile="EM300-SLD"))
    assert [one.id for one in again] == [one.id for one in (now, recent, old)]


def test_the_servers_own_codec_is_read_where_ours_cannot() -> None:
    [one] = decode(
        an_uplink("aa", profile="Dragino LWL03A", fPort=2, object={"leak": True, "BatV": 3.1})
    )
    assert (one.kind, one.measures["leak"], one.measures["battery_v"]) == ("leak", 1.0, 3.1)
    assert one.labels["codec"] == "object"


def test_an_unknown_model_on_the_usual_port() -> None:
    [one] = decode(an_uplink("0175640367f100", profile="new sensor"))
    assert (one.kind, one.labels["codec"]) == ("temperature", "milesight")
    assert one.measures["temperature_c"] == 24.1


def test_an_empty_uplink_says_that_the_device_lives() -> None:
    [one] = decode(an_uplink(None, fPort=None))
    assert (one.kind, one.measures["snr_db"]) == ("device_state", 10.5)


def test_what_is_zero_is_left_out_of_the_json() -> None:
    message = an_uplink(None, event="status")
    [one] = decode(message)
    assert one.measures == {"battery_ratio": 0.0, "link_margin_db": 0.0, "external_power": 0.0}
    [mains] = decode(an_uplink(None, event="status", externalPowerSource=True))
    assert "battery_ratio" not in mains.measures


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (an_uplink(data="!!"), "bad_base64"),
        (an_uplink("00" * 243), "too_large"),
        (an_uplink("0377"), "short_payload"),
        (an_uplink("aa", profile="x", fPort=1), "no_codec"),
        (an_uplink(time="soon"), "bad_time"),
        (an_uplink(fCnt="4"), "wrong_type"),
        (an_uplink(deviceInfo=[1]), "wrong_type"),
        (an_uplink(event="down"), "unknown_topic"),
        (an_uplink(None, event="location", location={"latitude": 91.0, "longitude": 1.0}),
         "bad_position"),
        (an_uplink(None, event="location"), "bad_position"),
        (an_uplink(tags={"thing": "x" * 300}), "bad_id"),
    ],
)  # fmt: skip
def test_refused(message: RawMessage, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(message)
    assert caught.value.reason == reason
