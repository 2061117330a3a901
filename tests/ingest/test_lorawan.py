"""LoRaWAN codecs: the maker's own decodings, what "no value" becomes, and hostile bytes."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DecodeError
from ingest.decoders import lorawan
from ingest.decoders.lorawan import cayenne, milesight, named
from ingest.decoders.lorawan.tlv import parse_spec

MODELS = sorted([*milesight.MODELS, "gs524n", "gs601"])


@pytest.mark.realdata
def test_every_pair_is_decoded_as_the_maker_does(realdata: Path) -> None:
    lines = (realdata / "iot" / "milesight_lorawan_pairs.jsonl").read_text().splitlines()
    assert len(lines) == 165
    wrong = []
    for line in lines:
        pair = json.loads(line)
        model = pair["device"] if pair["device"] in milesight.MODELS else None
        model = model or milesight.canonical_model(pair["device"])
        decoded, _ = milesight.decode_payload(bytes.fromhex(pair["payload_hex"]), model)
        if decoded.fields != pair["expected"]:
            wrong.append((pair["device"], pair["payload_hex"], decoded.fields, pair["expected"]))
    assert wrong == []


@pytest.mark.parametrize(
    ("model", "payload", "kind", "measures"),
    [
        ("em500-swl", "017564 03771e00", "water_level",
         {"battery_ratio": 1.0, "water_level_m": 0.3}),
        ("em310-udl", "0175 5a 0382 e803 040001", "distance",
         {"battery_ratio": 0.9, "distance_m": 1.0, "tilted": 1.0}),
        ("em410-rdl", "0367 e1ff 0482 d007", "distance",
         {"temperature_c": -3.1, "distance_m": 2.0}),
        ("em300-zld", "050001", "leak", {"leak": 1.0}),
        ("ws303", "030000", "leak", {"leak": 0.0}),
        ("gs101", "058e01 060100", "gas", {"gas_alarm": 1.0, "valve_open": 0.0}),
        ("gs301", "0267 f000 0368 64 047d 9600 057d c800", "gas",
         {"temperature_c": 24.0, "humidity_ratio": 0.5, "nh3_ppm": 1.5, "h2s_ppm": 2.0}),
        ("am308", "08e6 6400", "air", {"tvoc_ug_m3": 100.0}),
        ("am107", "087d 6400", "air", {"tvoc_ppb": 100.0}),
        ("am319-hcho", "0a7d 0500", "air", {"hcho_ug_m3": 50.0}),
        ("vs132", "03d2 05000000 04d2 03000000", "people_count",
         {"people_total_in_count": 5.0, "people_total_out_count": 3.0}),
        ("vs321", "05fd 0700", "people_count", {"people_count": 7.0}),
        ("wts506", "0584ba04", "weather", {"wind_direction_deg": 121.0}),
        ("em310-tilt", "03cf 2c01 9cff 0000 01", "tilt",
         {"angle_x_deg": 3.0, "angle_y_deg": -1.0, "angle_z_deg": 0.0}),
        ("gs601", "0064 0105 050c00 0dc800", "air",
         {"battery_ratio": 1.0, "vaping_index": 5.0, "pm2_5_ug_m3": 12.0, "tvoc": 200.0}),
        # An alarm without a value, and one that brings it.
        ("gs601", "0a02 0b4302 06115000", "air",
         {"humidity_ratio": 0.579, "pm2_5_ug_m3": 80.0}),
        ("em411-rdl", "0367 e1ff 0482 d007 06c7 30f8", "distance",
         {"temperature_c": -3.1, "distance_m": 2.0, "radar_signal_rssi": -20.0}),
        # Of ten regions four are watched, and in two of them is somebody.
        ("vs321", "06fe 0f00 0600", "people_count",
         {"region_1_occupied": 0.0, "region_2_occupied": 1.0, "region_3_occupied": 1.0,
          "region_4_occupied": 0.0}),
        ("vs321", "8367 2201 01 8468 8201", "people_count",
         {"temperature_c": 29.0, "humidity_ratio": 0.65}),
        ("vs133", "10e4 01 0910 1121 10e4 02 7521 7533", "people_count",
         {"region_1_dwell_mean_s": 4105.0, "region_1_dwell_max_s": 8465.0,
          "region_2_dwell_mean_s": 8565.0, "region_2_dwell_max_s": 13173.0}),
        ("vs135", "11d2 05000000 13cc 0200 0100 1de3 01020304", "people_count",
         {"line_1_child_total_in_count": 5.0, "line_1_child_period_in_count": 2.0,
          "line_1_child_period_out_count": 1.0, "region_1_child_count": 1.0,
          "region_2_child_count": 2.0, "region_3_child_count": 3.0,
          "region_4_child_count": 4.0}),
    ],
)  # fmt: skip
def test_measures(model: str, payload: str, kind: str, measures: dict[str, float]) -> None:
    decoded, got = milesight.decode_payload(bytes.fromhex(payload), model)
    assert got == kind
    assert decoded.measures == pytest.approx(measures)


def test_people_counters_send_what_they_kept() -> None:
    line = bytes.fromhex("20ce 00f15365 05 0300 0200  20ce 00f15365 10 02 3c00")
    decoded, _ = milesight.decode_payload(line, "vs133")
    assert [one.measures for one in decoded.history] == [
        {"line_1_period_in_count": 3.0, "line_1_period_out_count": 2.0},
        {"region_2_dwell_mean_s": 60.0},
    ]
    kept = bytes.fromhex("20ce 00f15365 00 0400  20ce 3cf15365 01 0300 0100")
    decoded, _ = milesight.decode_payload(kept, "vs321")
    assert [(one.unix_s, one.measures) for one in decoded.history] == [
        (1_700_000_000, {"people_count": 4.0}),
        (1_700_000_060, {"region_1_occupied": 1.0, "region_2_occupied": 0.0}),
    ]
    assert decoded.measures == {}
    both = bytes.fromhex("20ce 00f15365 01 03 02 0002  20ce 00f15365 10 0500 0400")
    decoded, _ = milesight.decode_payload(both + bytes.fromhex("10f7 0100 0200"), "vs121")
    assert [one.measures for one in decoded.history] == [
        {"people_count_all": 3.0, "region_count": 2.0, "region_1_occupied": 0.0,
         "region_2_occupied": 1.0},
        {"people_total_in_count": 5.0, "people_total_out_count": 4.0},
    ]  # fmt: skip
    assert decoded.measures == {"line_period_in_count": 1.0, "line_period_out_count": 2.0}
    with pytest.raises(DecodeError):
        milesight.decode_payload(bytes.fromhex("20ce00f153657701020304"), "vs133")


def test_a_covered_lens_is_told() -> None:
    decoded, _ = milesight.decode_payload(bytes.fromhex("50fc 00 00 01 50fc 00 02 00"), "vs135")
    assert decoded.labels == {
        "master_occlusion_alarm": "alarm_triggered",
        "node_2_occlusion_alarm": "alarm_released",
    }


def test_a_smoke_alarm_with_its_checksum() -> None:
    body = bytes([0x22, 0x11, 90, 12, 25])
    frame = body + bytes([-sum(body) & 0xFF])
    decoded, kind = milesight.decode_payload(frame, "gs524n")
    assert (kind, decoded.measures["smoke_alarm"], decoded.measures["battery_ratio"]) == (
        "smoke", 1.0, 0.9,
    )  # fmt: skip
    with pytest.raises(DecodeError) as caught:
        milesight.decode_payload(body + b"\x00", "gs524n")
    assert caught.value.reason == "bad_checksum"


@pytest.mark.parametrize(
    ("model", "payload", "name", "field"),
    [
        ("gs301", "047dfeff", "nh3_ppm", "nh3"),
        ("gs301", "057dffff", "h2s_ppm", "h2s"),
        ("am307", "077dffff", "co2_ppm", "co2"),
        ("em500-udl", "0382ffff", "distance_m", "distance"),
        ("em300-th", "0367ff7f", "temperature_c", "temperature"),
        ("em500-swl", "0377ffff", "water_level_m", "depth"),
        ("ct101", "0498ffff", "current_a", "current_sensor_status"),
        ("em300-cl", "03edff", "liquid_low", "liquid"),
    ],
)
def test_no_value_is_not_a_measure(model: str, payload: str, name: str, field: str) -> None:
    decoded, _ = milesight.decode_payload(bytes.fromhex(payload), model)
    assert name not in decoded.measures
    assert field in decoded.fields


def test_a_past_reading_keeps_its_time() -> None:
    payload = bytes.fromhex("017564 20ce00f15365 2c01 64 01 20ce3cf15365 2d01 64 00")
    decoded, _ = milesight.decode_payload(payload, "em300-sld")
    assert [(one.unix_s, one.measures["leak"]) for one in decoded.history] == [
        (1_700_000_000, 1.0),
        (1_700_000_060, 0.0),
    ]
    assert decoded.measures == {"battery_ratio": 1.0}


@pytest.mark.parametrize(
    ("lon", "lat"), [(120.3846, 36.0614), (8.5, 47.3), (-122.97, 45.5)], ids=str
)
def test_a_position_and_none(lon: float, lat: float) -> None:
    place = b"".join(round(v * 1e6).to_bytes(4, "little", signed=True) for v in (lon, lat))
    decoded, _ = milesight.decode_payload(b"\x04\x88" + place + b"\x12", "at101")
    assert (decoded.lon_deg, decoded.lat_deg) == pytest.approx((lon, lat))
    assert decoded.labels == {"motion_status": "moving", "geofence_status": "outside"}
    nowhere, _ = milesight.decode_payload(b"\x04\x88" + bytes(9), "at101")
    assert nowhere.lon_deg is None


def test_what_no_table_knows_is_kept() -> None:
    decoded, _ = milesight.decode_payload(bytes.fromhex("017564c0de0102"), "em500-swl")
    assert decoded.fields == {"battery": 100, "undecoded": "c0de0102"}


@pytest.mark.parametrize(
    ("payload", "model", "reason"),
    [
        ("", "em500-swl", "unknown_payload"),
        ("03", "em500-swl", "unknown_payload"),
        ("0377", "em500-swl", "short_payload"),
        ("037701", "em500-swl", "short_payload"),
        ("c0de01", "em500-swl", "unknown_payload"),
        ("c0de01", None, "unknown_payload"),
        ("20ce01020304", "vs350", "short_payload"),
    ],
)
def test_refused(payload: str, model: str | None, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        milesight.decode_payload(bytes.fromhex(payload), model)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("names", "model"),
    [
        (["EM500-SWL-868M"], "em500-swl"),
        (["profile", "Milesight AM319-O3 CN470"], "am319-o3"),
        (["am319 hcho"], "am319-hcho"),
        (["AM307L"], "am307l"),
        (["CT101-V2"], "ct101"),
        (["TS201-V2"], "ts201-v2"),
        (["ws502_CN"], "ws502-cn"),
        (["", "pump"], None),
    ],
)
def test_the_model_is_found_in_a_name(names: list[str], model: str | None) -> None:
    assert lorawan.find_model(names) == model


@pytest.mark.parametrize(
    ("fields", "measures", "kind"),
    [
        ({"temperature": 21.5, "humidity": 40, "battery": 88}, {
            "temperature_c": 21.5, "humidity_ratio": 0.4, "battery_ratio": 0.88}, "air"),
        ({"parkingStatus": "occupied", "BatV": 3.6}, {"occupied": 1.0, "battery_v": 3.6},
         "parking"),
        ({"Water_leak_status": 1}, {"leak": 1.0}, "leak"),
        ({"water_level_cm": 31}, {"water_level_m": 0.31}, "water_level"),
        ({"depth_mm": 310}, {"water_level_m": 0.31}, "water_level"),
        ({"gas": {"lel": 12}}, {"gas_lel_ratio": 0.12}, "gas"),
        ({"x": None, "list": [1], "text": "hi"}, {}, "lorawan"),
        ({"big": 1e300, "flag": True}, {"flag": 1.0}, "lorawan"),
    ],
)  # fmt: skip
def test_fields_that_another_codec_named(
    fields: dict[str, Any], measures: dict[str, float], kind: str
) -> None:
    decoded, got, codec = lorawan.decode(None, None, fields)
    assert decoded.measures == pytest.approx(measures)
    assert (got, codec) == (kind, "object")


def test_the_makers_fields_are_read_with_the_models_units() -> None:
    decoded, kind, codec = lorawan.decode(
        None, 85, {"depth": 31, "battery": 50, "extra": 1}, ["EM500-SWL"]
    )
    assert (kind, codec) == ("water_level", "em500-swl object")
    assert decoded.measures == {"water_level_m": 0.31, "battery_ratio": 0.5, "extra": 1.0}


def test_cayenne() -> None:
    decoded, kind, codec = lorawan.decode(
        bytes.fromhex("01670110 0268 50 038806765ff2960a0003e8"), 2, None, ["Cayenne LPP node"]
    )
    assert (kind, codec) == ("air", "cayenne")
    assert decoded.measures == pytest.approx(
        {"temperature_c": 27.2, "humidity_ratio": 0.4, "altitude_m": 10.0}
    )
    assert (decoded.lon_deg, decoded.lat_deg) == pytest.approx((-87.9094, 42.3519))


def test_without_a_codec_the_reason_says_what_to_do() -> None:
    with pytest.raises(DecodeError, match=r"no_codec: .*name the model"):
        lorawan.decode(b"\xaa", 1, None, ["Test device-profile"])


def test_every_table_is_well_formed() -> None:
    for model, (_, table) in milesight.MODELS.items():
        for key, entry in table.items():
            if isinstance(entry, str):
                assert parse_spec(entry).size > 0, (model, key)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64), st.sampled_from([*MODELS, None]))
def test_any_bytes_are_read_or_refused(payload: bytes, model: str | None) -> None:
    for read in (
        lambda: milesight.decode_payload(payload, model),
        lambda: cayenne.decode_payload(payload),
    ):
        # Anything but a DecodeError fails the test.
        with contextlib.suppress(DecodeError):
            read()


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=12), st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=8),
    max_size=8))  # fmt: skip
def test_any_fields_are_read(fields: dict[str, Any]) -> None:
    named.read_object(fields)
