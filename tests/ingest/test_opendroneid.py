"""Remote identification: vectors of the wire formats, receivers' JSON, and what is unknown."""

from __future__ import annotations

import base64
import json
import lzma
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DecodeError
from core.observations import Observation
from core.ports import RawMessage
from core.units import NS_PER_S, rfc3339_to_ns
from ingest.decoders import decode
from ingest.decoders.opendroneid import (
    Identities,
    read_broadcast,
    read_gb46750,
    read_messages,
)
from ingest.pipeline import decode_messages

NOW = "2026-07-01T00:20:36Z"
NOW_NS = rfc3339_to_ns(NOW)
BASIC = "0212313538314635424b443232354430304250383931000000"
LOCATION = "12222332fd70887e15703bc14780088f0870085c4439300200"
SYSTEM = "4201c0517e15f0fcc0470100000000000000e80700ab190e00"
OPERATOR = "5200" + b"FIN87astrdge12k8".hex().ljust(40, "0") + "000000"
SELF = "3200" + b"Survey flight".hex().ljust(46, "0")
#: A real beacon of a Chinese aircraft: vendor element, counter, pack of three.
BEACON = (
    "fa0bbc0d06f119030112313538314638444257323542383030423334313700" "0000"
    "1120ac1600a3d4ea11cbfe3c48e2089e0879082c04c6250a00"
    "4109ffeeea1199b73d48010000000000000200" "08d774da0d00"
)  # fmt: skip
#: A real frame of GB 46750, and one of our own.
GB_REAL = (
    "ff2048fffffe3135383146414e4c433235385530323952544e363030303030303030000101d1823b483bf2eb11"
    "ed0769833b4822f0eb1105001c00284700c2083d0902000c050478acc5529e0103"
)
GB_OWN = (
    "ff2048fffffe313538314635424b4432323544303042503839313132333435363738010101f0fcc047c0517e15"
    "e807703bc14770887e1566087d00f046838f08800802010c050400b4f91a9f0103"
)
MAC = "84:cc:a8:60:43:24"


def a_message(
    payload: bytes | str | Any, now: str = NOW, topic: str = "qn/qingdao/remote-id/r-1"
) -> RawMessage:
    if not isinstance(payload, bytes):
        payload = json.dumps(payload).encode()
    return RawMessage(topic=topic, payload=payload, received_ns=rfc3339_to_ns(now))


def heard(hexes: str, now: str = NOW) -> list[Observation]:
    return decode(a_message(bytes.fromhex(hexes), now))


def a_pack(*messages: str) -> str:
    return "f219" + f"{len(messages):02x}" + "".join(messages)


def a_location(**given: int) -> str:
    """A location message with some raw fields changed."""
    data = bytearray.fromhex(LOCATION)
    places = {
        "flags": (1, "<B"), "track": (2, "<B"), "speed": (3, "<B"), "vspeed": (4, "<b"),
        "lat": (5, "<i"), "lon": (9, "<i"), "baro": (13, "<H"), "geo": (15, "<H"),
        "height": (17, "<H"), "accuracy": (19, "<B"), "stamp": (21, "<H"),
    }  # fmt: skip
    for name, value in given.items():
        struct.pack_into(places[name][1], data, places[name][0], value)
    return data.hex()


def test_a_pack() -> None:
    aircraft, operator = heard(a_pack(BASIC, LOCATION, SYSTEM, OPERATOR, SELF))
    assert (aircraft.source, aircraft.kind) == ("remote_id", "aircraft")
    assert aircraft.thing_id == "1581F5BKD225D00BP891"
    assert (aircraft.lon_deg, aircraft.lat_deg) == (120.3846, 36.0614)
    assert aircraft.measures == {
        "heading_deg": 215.0, "speed_mps": 12.5, "vertical_speed_mps": -1.5,
        "alt_pressure_m": 88.0, "alt_wgs84_m": 95.5, "alt_takeoff_m": 80.0, "alt_accuracy_m": 3.0,
    }  # fmt: skip
    assert aircraft.error_major_m == pytest.approx(1 / 2.4477, rel=1e-3)
    # 1,234.5 s into the hour of receipt.
    assert aircraft.observed_ns == rfc3339_to_ns("2026-07-01T00:20:34.5Z")
    assert aircraft.labels == {
        "receiver_id": "r-1", "id_type": "serial_number", "ua_type": "multirotor",
        "status": "airborne", "operator_id": "FIN87astrdge12k8", "self_id": "Survey flight",
        "classification": "undeclared", "protocol_version": "2",
    }  # fmt: skip
    assert (operator.kind, operator.thing_id) == ("remote_id_operator", aircraft.thing_id)
    assert (operator.lon_deg, operator.lat_deg) == (120.383, 36.06)
    assert (operator.measures, operator.labels["place_of"]) == ({"alt_wgs84_m": 12.0}, "dynamic")


def test_a_real_beacon() -> None:
    aircraft, operator = heard(BEACON, "2026-05-14T01:16:08Z")
    assert aircraft.thing_id == "1581F8DBW25B800B3417"
    assert (aircraft.lon_deg, aircraft.lat_deg) == (121.1956939, 30.0602531)
    assert aircraft.measures == {
        "heading_deg": 172.0, "speed_mps": 5.5, "vertical_speed_mps": 0.0,
        "alt_pressure_m": 137.0, "alt_wgs84_m": 103.0, "alt_takeoff_m": 84.5,
        "alt_accuracy_m": 45.0,
    }  # fmt: skip
    assert aircraft.labels["classification"] == "china"
    assert aircraft.observed_ns == rfc3339_to_ns("2026-05-14T01:16:07Z")
    assert (operator.lon_deg, operator.lat_deg) == (121.2004249, 30.0609279)
    assert operator.measures == {"alt_wgs84_m": 24.0}
    read = read_broadcast(bytes.fromhex(BEACON))
    assert read.unix_ns == rfc3339_to_ns("2026-05-14T01:16:07Z")


def test_gb_46750_real() -> None:
    aircraft, operator = heard("fa0bbc0d07" + GB_REAL, "2026-05-23T02:59:08Z")
    assert aircraft.thing_id == "1581FANLC258U029RTN6"
    assert (aircraft.lon_deg, aircraft.lat_deg) == (121.1859817, 30.0675106)
    assert aircraft.measures == {
        "heading_deg": 0.5, "speed_mps": 2.8, "vertical_speed_mps": 0.0, "alt_takeoff_m": 108.0,
        "alt_wgs84_m": 121.0, "alt_pressure_m": 182.5, "alt_accuracy_m": 3.0,
    }  # fmt: skip
    assert aircraft.observed_ns == rfc3339_to_ns("2026-05-23T02:59:07Z")
    assert aircraft.labels["ua_class"] == "light"
    assert "real_name_mark" not in aircraft.labels
    assert (operator.lon_deg, operator.lat_deg) == (121.1859665, 30.0675643)
    assert operator.measures == {"alt_wgs84_m": 14.5}


def test_gb_46750_own() -> None:
    [aircraft, operator] = heard(GB_OWN, "2026-07-01T00:00:00Z")
    assert (aircraft.lon_deg, aircraft.lat_deg) == (120.3846, 36.0614)
    assert aircraft.measures["vertical_speed_mps"] == -1.5
    assert (aircraft.labels["real_name_mark"], aircraft.labels["category"]) == ("12345678", "open")
    assert (operator.lon_deg, operator.lat_deg) == (120.383, 36.06)


def test_gb_46750_latitude_first() -> None:
    data = bytearray.fromhex(GB_OWN)
    at = 6 + 20 + 8 + 3
    for start in (at, at + 10):
        data[start : start + 8] = data[start + 4 : start + 8] + data[start : start + 4]
    read = read_gb46750(bytes(data))
    assert (read.lon_deg, read.lat_deg) == (120.3846, 36.0614)
    assert (read.operator_lon_deg, read.operator_lat_deg) == (120.383, 36.06)


@pytest.mark.parametrize("place", ["ff" * 8, "00" * 8, "ffffffff00000000", "ffffff7fffffff7f"])
def test_gb_46750_unknown_is_no_position(place: str) -> None:
    data = bytearray.fromhex(GB_OWN)
    at = 6 + 20 + 8 + 3 + 10
    data[at : at + 8] = bytes.fromhex(place)
    data[at + 8 : at + 12] = b"\xff" * 4
    data[at + 12 : at + 14] = b"\x00" * 2
    data[at + 14] = 0xFF
    data[at + 15 : at + 17] = b"\x00" * 2
    [aircraft, _] = heard(bytes(data).hex(), "2026-07-01T00:00:00Z")
    assert (aircraft.lon_deg, aircraft.error_major_m) == (None, None)
    assert aircraft.measures.keys() == {"alt_pressure_m", "alt_accuracy_m"}


def test_gb_46750_with_fewer_items() -> None:
    # Only the product code and the place: bits 1 and 8.
    frame = "ff201c" + "8180" + b"1581F5BKD225D00BP891".hex() + "703bc14770887e15"
    [one] = heard(frame)
    assert (one.thing_id, one.lon_deg, one.lat_deg) == ("1581F5BKD225D00BP891", 120.3846, 36.0614)
    assert one.measures == {}


@pytest.mark.parametrize(
    ("given", "absent"),
    [
        ({"lat": 0, "lon": 0}, "position"),
        ({"lat": 910_000_000}, "position"),
        ({"lon": -(2**31)}, "position"),
        ({"track": 181, "flags": 0x22}, "heading_deg"),
        ({"speed": 255, "flags": 0x21}, "speed_mps"),
        ({"vspeed": 126}, "vertical_speed_mps"),
        ({"vspeed": -128}, "vertical_speed_mps"),
        ({"baro": 0}, "alt_pressure_m"),
        ({"geo": 0}, "alt_wgs84_m"),
        ({"height": 0}, "alt_takeoff_m"),
        ({"height": 0xFFFF}, "alt_takeoff_m"),
        ({"accuracy": 0}, "error"),
        ({"stamp": 0xFFFF}, "time"),
    ],
)
def test_unknown_is_left_out(given: dict[str, int], absent: str) -> None:
    [one] = heard(a_pack(BASIC, a_location(**given)))
    assert (one.lon_deg is None) is (absent == "position")
    assert (one.error_major_m is None) is (absent in {"error", "position"})
    assert one.has_device_time is (absent != "time")
    assert absent not in one.measures


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"lat": 0}, "heading_deg", 215.0),
        ({"track": 180, "flags": 0x22}, "heading_deg", 0.0),
        ({"speed": 255, "flags": 0x20}, "speed_mps", 63.75),
        ({"speed": 100, "flags": 0x21}, "speed_mps", 138.75),
        ({"height": 2240, "flags": 0x26}, "alt_agl_m", 120.0),
        ({"vspeed": -124}, "vertical_speed_mps", -62.0),
    ],
)
def test_what_is_known(given: dict[str, int], name: str, value: float) -> None:
    [one] = heard(a_pack(BASIC, a_location(**given)))
    assert one.measures[name] == value
    assert one.lon_deg == 120.3846


@pytest.mark.parametrize(
    ("now", "observed", "skew_s"),
    [
        ("2026-07-01T00:20:36Z", "2026-07-01T00:20:34.5Z", None),
        ("2026-07-01T00:21:40Z", None, -65.5),
        ("2026-07-01T00:50:00Z", None, -1765.5),
    ],
)
def test_the_second_of_the_hour(now: str, observed: str | None, skew_s: float | None) -> None:
    [one] = heard(a_pack(BASIC, LOCATION), now)
    assert one.observed_ns == rfc3339_to_ns(observed or now)
    assert one.has_device_time is (observed is not None)
    assert one.measures.get("clock_skew_s") == skew_s


def test_the_hour_changes_on_the_way() -> None:
    [one] = heard(a_pack(BASIC, a_location(stamp=35_990)), "2026-07-01T01:00:00.500Z")
    assert one.observed_ns == rfc3339_to_ns("2026-07-01T00:59:59Z")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda pack: pack,
        lambda pack: "fa0bbc0d2a" + pack,
        lambda pack: "16faff0d2a" + pack,
        lambda pack: "0d2a" + pack,
        lambda pack: "dd53fa0bbc0d2a" + pack,
    ],
    ids=["bare", "wifi", "bluetooth", "counter", "element"],
)
def test_carriers(wrap: Any) -> None:
    [one] = heard(wrap(a_pack(BASIC, LOCATION)))
    assert (one.thing_id, one.lat_deg) == ("1581F5BKD225D00BP891", 36.0614)
    text = a_message(wrap(a_pack(BASIC, LOCATION)).upper().encode())
    assert [each.id for each in decode(text)] == [one.id]


def test_a_message_alone_has_no_name() -> None:
    [one] = heard(LOCATION)
    assert (one.kind, one.thing_id) == ("aircraft", "receiver/r-1")
    assert one.labels["id_type"] == "not_heard"
    [flight] = heard(BASIC)
    assert (flight.kind, flight.thing_id, flight.lon_deg) == (
        "remote_id_flight", "1581F5BKD225D00BP891", None,
    )  # fmt: skip


@pytest.mark.realdata
def test_a_capture(realdata: Path) -> None:
    data = (realdata / "drone" / "opendroneid" / "odid_wifi_sample.pcap").read_bytes()
    messages, at = [], 24
    while at < len(data):
        seconds, micros, size, _ = struct.unpack_from("<IIII", data, at)
        frame = data[at + 16 : at + 16 + size]
        messages.append(
            RawMessage(
                topic="qn/c/remote-id/pcap",
                payload=frame,
                received_ns=seconds * NS_PER_S + micros * 1000,
            )
        )
        at += 16 + size
    observations, rejections = decode_messages(messages)
    # Every third frame is the beacon that only keeps the NAN cluster together.
    assert {one.reason for one in rejections} == {"no_remote_id"}
    assert (len(messages), len(rejections)) == (63, 21)
    assert {one.labels["operator_id"] for one in observations if "operator_id" in one.labels} == {
        "GBR-OP-123ABCD"
    }
    flown = [one for one in observations if one.kind == "aircraft"]
    assert len(flown) > 20
    assert {one.thing_id for one in flown} == {f"transmitter/{MAC}"}
    for one in flown:
        assert one.lon_deg == pytest.approx(-122.973, abs=0.003)
        assert one.lat_deg == pytest.approx(45.545, abs=0.003)
    assert {one.labels.get("self_id") for one in observations} >= {"Recreational"}
    again, _ = decode_messages(messages)
    assert [one.id for one in again] == [one.id for one in observations]


def a_line(**given: Any) -> dict[str, Any]:
    return {"type": "rid", "src": "ble", "mac": MAC, "rssi": -71, "proto": 2} | given


LOC: dict[str, Any] = {
    "status": 2, "lat": 36.0614, "lon": 120.3846, "alt_geo": 95.5, "alt_baro": 88.0,
    "height": 80.0, "height_ref": 0, "speed": 12.5, "vspeed": -1.5, "dir": 215, "ts": 1234.5,
}  # fmt: skip


def test_a_line_of_an_esp32() -> None:
    line = a_line(
        basic_id=[{"id_type": 1, "ua_type": 2, "uas_id": "1581F5"}],
        loc=LOC,
        system={"op_lat": 36.06, "op_lon": 120.383, "op_alt": 12.0, "op_loc_type": 1},
        op_id="FIN1",
        self_id="hello",
    )
    aircraft, operator = decode(a_message(line))
    assert (aircraft.thing_id, aircraft.lon_deg) == ("1581F5", 120.3846)
    assert aircraft.measures == {
        "heading_deg": 215.0, "speed_mps": 12.5, "vertical_speed_mps": -1.5, "rssi_dbm": -71.0,
        "alt_pressure_m": 88.0, "alt_wgs84_m": 95.5, "alt_takeoff_m": 80.0,
    }  # fmt: skip
    assert aircraft.labels["ua_type"] == "multirotor"
    assert aircraft.observed_ns == rfc3339_to_ns("2026-07-01T00:20:34.5Z")
    assert (operator.kind, operator.lat_deg) == ("remote_id_operator", 36.06)


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        ({"lat": 0, "lon": 0}, "position"),
        ({"lat": None, "lon": None}, "position"),
        ({"lat": 36.0, "lon": 400}, "position"),
        ({"alt_geo": -1000}, "alt_wgs84_m"),
        ({"height": -1000.0}, "alt_takeoff_m"),
        ({"dir": 361}, "heading_deg"),
        ({"speed": 255}, "speed_mps"),
        ({"vspeed": 63}, "vertical_speed_mps"),
        ({"speed": "fast"}, "speed_mps"),
    ],
)
def test_unknown_in_a_line(changes: dict[str, Any], absent: str) -> None:
    [one] = decode(a_message(a_line(basic_id=[{"id_type": 1, "uas_id": "x"}], loc=LOC | changes)))
    assert (one.lon_deg is None) is (absent == "position")
    assert absent not in one.measures


def test_parts_of_one_transmitter_belong_together() -> None:
    mac = "00:11:22:33:44:55"
    before = decode(a_message(a_line(mac=mac, loc=LOC), "2026-07-01T00:20:34Z"))
    decode(a_message(a_line(mac=mac, basic_id=[{"id_type": 1, "uas_id": "S1"}]),
                     "2026-07-01T00:20:35Z"))  # fmt: skip
    [linked] = decode(a_message(a_line(mac=mac, loc=LOC), "2026-07-01T00:20:36Z"))
    [much_later] = decode(a_message(a_line(mac=mac, loc=LOC), "2026-07-01T00:30:36Z"))
    other = decode(
        a_message(a_line(mac=mac, loc=LOC), "2026-07-01T00:20:36Z", "qn/qingdao/remote-id/r-2")
    )
    assert before[0].thing_id == f"transmitter/{mac}"
    assert (linked.thing_id, linked.kind) == ("S1", "aircraft")
    assert much_later.thing_id == other[0].thing_id == f"transmitter/{mac}"


def test_the_table_of_transmitters_is_bounded() -> None:
    table = Identities()
    for n in range(Identities.CAPACITY + 10):
        table.put(("t", str(n)), 5, f"S{n}", {})
    assert len(table) == Identities.CAPACITY
    assert table.get(("t", "0"), 6) is None
    assert table.get(("t", "20"), 6) == ("S20", {})
    assert table.get(("t", "20"), 4) is None  # heard later than the message
    assert table.get(("t", "20"), 5 + 301 * NS_PER_S) is None
    assert len(table) == Identities.CAPACITY - 1


def test_a_flat_line() -> None:
    line = {
        "mac": MAC, "rssi": -60, "drone_lat": 36.0614, "drone_long": 120.3846,
        "drone_altitude": 95, "pilot_lat": 36.06, "pilot_long": 120.383, "basic_id": "1581F5",
    }  # fmt: skip
    aircraft, operator = decode(a_message(line))
    assert (aircraft.thing_id, aircraft.lon_deg) == ("1581F5", 120.3846)
    assert aircraft.measures == {"alt_wgs84_m": 95.0, "rssi_dbm": -60.0}
    assert operator.kind == "remote_id_operator"
    [lost] = decode(a_message(line | {"drone_lat": 0, "drone_long": 0, "drone_altitude": 0,
                                      "pilot_lat": 0, "pilot_long": 0}))  # fmt: skip
    assert (lost.lon_deg, lost.measures) == (None, {"rssi_dbm": -60.0})


def uas_data(*, lat: float = 36.0614, lon: float = 120.3846, height: float = 80.0) -> bytes:
    data = bytearray(920)
    struct.pack_into("<II21s", data, 0, 2, 1, b"1581F5BKD225D00BP891")
    struct.pack_into("<Ifff", data, 64, 2, 215.0, 12.5, -1.5)
    struct.pack_into("<ddffIf", data, 80, lat, lon, 88.0, 95.5, 0, height)
    struct.pack_into("<IIIIIf", data, 112, 12, 5, 4, 4, 2, 1234.5)
    struct.pack_into("<I24s", data, 776, 0, b"Survey")
    struct.pack_into("<IIdd", data, 808, 1, 0, 36.06, 120.383)
    struct.pack_into("<fI", data, 852, 12.0, 236_563_200)
    struct.pack_into("<I21s", data, 864, 0, b"FIN1")
    data[892] = data[894] = data[911] = data[912] = data[913] = 1
    return bytes(data)


def a_dronescout(data: bytes) -> dict[str, Any]:
    return {
        "protocol": 1.0,
        "data": {
            "sensor ID": "ds1", "RSSI": -80, "channel": 6, "MAC address": MAC, "type": "WiFi",
            "timestamp": NOW_NS // 1_000_000, "UASdata": base64.b64encode(data).decode(),
        },
    }  # fmt: skip


@pytest.mark.parametrize("form", ["plain", "padded", "lzma", "xz"])
def test_dronescout(form: str) -> None:
    payload = json.dumps(a_dronescout(uas_data())).encode()
    payload = {
        "plain": payload,
        "padded": payload + b"\n\x00\x00",
        "lzma": lzma.compress(payload, format=lzma.FORMAT_ALONE),
        "xz": lzma.compress(payload),
    }[form]
    aircraft, operator = decode(a_message(payload))
    assert (aircraft.thing_id, aircraft.kind) == ("1581F5BKD225D00BP891", "aircraft")
    assert aircraft.measures == {
        "heading_deg": 215.0, "speed_mps": 12.5, "vertical_speed_mps": -1.5, "rssi_dbm": -80.0,
        "alt_pressure_m": 88.0, "alt_wgs84_m": 95.5, "alt_takeoff_m": 80.0, "alt_accuracy_m": 3.0,
    }  # fmt: skip
    assert (aircraft.lon_deg, aircraft.lat_deg) == (120.3846, 36.0614)
    assert aircraft.labels["operator_id"] == "FIN1"
    assert (operator.lon_deg, operator.measures) == (120.383, {"alt_wgs84_m": 12.0})


def test_dronescout_unknown_is_no_position() -> None:
    body = a_dronescout(uas_data(lat=0.0, lon=0.0, height=-1000.0))
    aircraft = decode(a_message(body))[0]
    assert (aircraft.lon_deg, aircraft.error_major_m) == (None, None)
    assert "alt_takeoff_m" not in aircraft.measures


def test_dronescout_objects_one_after_the_other() -> None:
    one = json.dumps(a_dronescout(uas_data()))
    status = json.dumps({"protocol": 1.0, "status": {"sensor ID": "ds1", "status": "ok",
                                                     "firmware version": "1.2"}})  # fmt: skip
    adsb = json.dumps({"protocol": 1.0, "aircraft": {
        "address": "7800A1", "flight": "CES123", "altitude": 900, "altitude type": 1,
        "latitude": 36.1, "longitude": 120.4, "speed": 70, "track": 90}})  # fmt: skip
    found = decode(a_message((one + status + adsb).encode()))
    assert [each.kind for each in found] == [
        "aircraft", "remote_id_operator", "device_health", "crewed_aircraft",
    ]  # fmt: skip
    assert found[3].measures == {"alt_pressure_m": 900.0, "speed_mps": 70.0, "heading_deg": 90.0}
    broken = decode(a_message((one + '{"protocol": 1.0}').encode()))
    assert broken[0].measures["unread_objects_count"] == 1.0


def test_network_identification() -> None:
    flight = {
        "id": "f-1",
        "aircraft_type": "HelicopterOrMultirotor",
        "current_state": {
            "timestamp": {"value": "2026-07-01T00:20:34Z", "format": "RFC3339"},
            "operational_status": "Airborne",
            "position": {"lat": 36.0614, "lng": 120.3846, "alt": 95.5, "accuracy_h": "HA10m"},
            "height": {"distance": 80.0, "reference": "TakeoffLocation"},
            "track": 361, "speed": 255, "vertical_speed": 63,
        },
        "details": {"uas_id": {"serial_number": "1581F5"}, "operator_id": "FIN1",
                    "operator_location": {"position": {"lat": 36.06, "lng": 120.383}}},
    }  # fmt: skip
    aircraft, operator = decode(a_message({"flights": [flight]}))
    assert aircraft.thing_id == "1581F5"
    assert aircraft.measures == {"alt_wgs84_m": 95.5, "alt_takeoff_m": 80.0}
    assert aircraft.error_major_m == pytest.approx(10 / 2.4477, rel=1e-3)
    assert aircraft.observed_ns == rfc3339_to_ns("2026-07-01T00:20:34Z")
    assert operator.lat_deg == 36.06


def test_plain_json_is_read_as_before() -> None:
    [one] = decode(a_message({"thing": "1581F5", "measures": {"alt_takeoff_m": 80}}))
    assert (one.kind, one.thing_id) == ("aircraft", "1581F5")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "no_remote_id"),
        (b"\x00\x01", "no_remote_id"),
        (bytes.fromhex("f2190a" + BASIC * 9), "bad_message"),
        (bytes.fromhex("f21902" + BASIC), "short_payload"),
        (bytes.fromhex("f218" + "01" + BASIC), "no_remote_id"),
        (bytes.fromhex("f21901" + "c2" + BASIC[2:]), "bad_message"),
        (bytes.fromhex("fa0bbc0d"), "short_payload"),
        (bytes.fromhex(GB_OWN[:60]), "short_payload"),
        (bytes.fromhex("fa0bbc0d01ff4048fffffe"), "bad_message"),
        (b"{", "bad_json"),
        (b'{"loc": {"lat": NaN}}', "not_finite"),
        (b'{"x": 1}', "unknown_properties"),
        (b"[1]", "wrong_type"),
        (b"[]", "bad_json"),
        (b'{"protocol": 1.0, "data": {"UASdata": "!"}}', "bad_base64"),
        (b'{"protocol": 1.0, "data": {"UASdata": "AAAA"}}', "short_payload"),
        (b"\x5d\x00\x00\x01", "no_remote_id"),
        (b"\xfd7zXZ\x00rubbish!", "bad_lzma"),
        (lzma.compress(b" " * 2_000_000), "too_large"),
        (b"{}" * 300, "too_large"),
        (b"x" * 300_000, "too_large"),
        (b"{\xff}", "bad_json"),
    ],
)  # fmt: skip
def test_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(a_message(payload))
    assert caught.value.reason == reason


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.sampled_from(["", "f219", "ff20", "fa0bbc0d00", "12", "7b"]))
def test_any_bytes_are_read_or_refused(tail: bytes, head: str) -> None:
    observations, rejections = decode_messages([a_message(bytes.fromhex(head) + tail)])
    assert all(one.reason != "decoder_failed" for one in rejections)
    assert observations or rejections


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=24, max_size=24))
def test_any_location_is_on_the_earth_or_unknown(body: bytes) -> None:
    read = read_messages(b"\x12" + body)
    if read.lon_deg is not None and read.lat_deg is not None:
        assert -180 <= read.lon_deg <= 180
        assert -90 <= read.lat_deg <= 90
        assert (read.lon_deg, read.lat_deg) != (0, 0)
