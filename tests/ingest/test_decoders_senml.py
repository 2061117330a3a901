"""SenML: the RFC's own vectors, its rules, and what becomes of the records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DecodeError
from core.observations import Columns, columns_of
from core.ports import RawMessage
from core.rows import concat, cut
from core.units import NS_PER_S
from ingest.decoders.senml import decode, resolve
from ingest.decoders.senml_plain import MAX_RECORDS, MIN_COLUMN_ROWS

#: When the RFC's resolved examples were made: the time of those that give none.
RFC_NOW_S = 1498780179.0
NOW_NS = 1_767_225_600 * NS_PER_S


def a_pack(*records: dict[str, Any], topic: str = "qn/c/senml/w-1") -> RawMessage:
    return RawMessage(topic=topic, payload=json.dumps(records).encode(), received_ns=NOW_NS)


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["ex1", "ex2", "ex3", "ex4", "ex5", "ex6"])
@pytest.mark.parametrize("form", ["gen", ""], ids=["generated", "as-printed"])
def test_vectors_of_the_rfc(realdata: Path, name: str, form: str) -> None:
    folder = realdata / "iot" / "senml_rfc8428"
    wanted_file = folder / f"{name}.gen.resolved.json"
    pack = json.loads((folder / (f"{name}.gen.json" if form else f"{name}.json")).read_text())
    resolved = [one.to_json() for one in resolve(pack, RFC_NOW_S)]
    assert resolved == json.loads(wanted_file.read_text())


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], "bad_senml"),
        ([{"n": "a", "v": 1, "must_": 1}], "bad_senml"),
        ([{"n": "a", "v": 1, "bver": 11}], "bad_senml"),
        ([{"n": "a", "v": 1, "bver": 10}, {"n": "b", "v": 1, "bver": 9}], "bad_senml"),
        ([{"v": 1}], "bad_senml"),
        ([{"n": "/a", "v": 1}], "bad_senml"),
        ([{"n": "a b", "v": 1}], "bad_senml"),
        ([{"n": "a"}], "bad_senml"),
        ([{"n": "a", "v": 1, "vs": "x"}], "bad_senml"),
        ([{"n": "a", "v": "1"}], "wrong_type"),
        ([{"n": "a", "v": True}], "wrong_type"),
        ([{"n": "a", "v": None}], "wrong_type"),
        ([{"n": "a", "vb": 1}], "wrong_type"),
        ([{"n": 7, "v": 1}], "wrong_type"),
        ([{"n": "a", "v": 1, "t": 1e12}], "bad_time"),
        ([{"n": "a", "v": 10**400}], "not_finite"),
        ([{"n": "a", "v": 1e13}], "bad_measure"),
        ([{"n": "w/x", "u": "lon", "v": 300}, {"n": "w/x", "u": "lat", "v": 3}], "bad_position"),
        ([{"n": "a", "v": 1}] * 4097, "too_large"),
    ],
)
def test_refused(records: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(a_pack(*records))
    assert caught.value.reason == reason


@pytest.mark.parametrize("payload", [b"{}", b"[1]", b"[", b'[{"v":NaN}]'])
def test_not_a_pack(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(RawMessage(topic="qn/c/senml/w-1", payload=payload, received_ns=NOW_NS))


def test_an_unknown_label_is_ignored() -> None:
    assert len(resolve([{"n": "a", "v": 1, "new": 2}], 0.0)) == 1


def test_base_fields_last_until_they_change() -> None:
    pack = [
        {"bn": "w:", "bv": 10, "bs": 100, "bu": "m", "n": "a", "v": 1},
        {"n": "b", "s": 5},
        {"bn": "x:", "bv": 0, "bu": "Cel", "n": "c", "v": 2},
    ]
    assert [(r.name, r.unit, r.value, r.sum) for r in resolve(pack, 0.0)] == [
        ("w:a", "m", 11.0, 100.0),
        ("w:b", "m", 10.0, 105.0),
        ("x:c", "Cel", 2.0, 100.0),
    ]


def test_records_of_one_thing_and_time_are_one_observation() -> None:
    base_s = NOW_NS // NS_PER_S
    found = decode(
        a_pack(
            {"bn": "site-1/", "bt": base_s, "n": "pm10", "u": "ug/m3", "v": 150, "t": 0},
            {"n": "noise", "u": "dB", "v": 66.5},
            {"n": "pm10", "u": "ug/m3", "v": 151, "t": -10},
            {"n": "position", "u": "lon", "v": 120.38},
            {"n": "position", "u": "lat", "v": 36.06},
            {"n": "maker", "vs": "x"},
        )
    )
    assert [(one.observed_ns, one.measures) for one in found] == [
        (NOW_NS - 10 * NS_PER_S, {"pm10_ug_m3": 151.0}),
        (NOW_NS, {"pm10_ug_m3": 150.0, "noise_db": 66.5}),
    ]
    assert {(one.thing_id, one.kind, one.source) for one in found} == {
        ("site-1", "site_air", "senml")
    }
    assert (found[1].lon_deg, found[1].lat_deg) == (120.38, 36.06)
    assert found[1].labels == {"maker": "x"}
    assert all(one.has_device_time for one in found)


@pytest.mark.parametrize(
    ("record", "kind", "measures"),
    [
        ({"n": "g/gas_lel", "u": "%", "v": 12}, "gas", {"gas_lel_ratio": 0.12}),
        ({"n": "g/gas_lel_ratio", "u": "/", "v": 0.12}, "gas", {"gas_lel_ratio": 0.12}),
        ({"n": "w:water_level", "u": "cm", "v": 31}, "water_level", {"water_level_m": 0.31}),
        ({"n": "w:water_level_m", "v": 0.31}, "water_level", {"water_level_m": 0.31}),
        ({"n": "m/tilt", "u": "rad", "v": 0.0}, "manhole", {"tilt_deg": 0.0}),
        ({"n": "s/smoke", "u": "dB/m", "v": 0.2}, "smoke", {"smoke_db_per_m": 0.2}),
        ({"n": "p/occupied", "vb": True}, "parking", {"occupied": 1.0}),
        ({"n": "t/temp", "u": "Cel", "v": 5.4}, "senml", {"temp_c": 5.4}),
        ({"n": "f/flow", "u": "m3/h", "v": 2}, "senml", {"flow_m3_h": 2.0}),
        ({"n": "urn:dev:ow:10e2073a01080063", "u": "%RH", "v": 20}, "senml",
         {"humidity_ratio": 0.2}),
    ],
)  # fmt: skip
def test_measures(record: dict[str, Any], kind: str, measures: dict[str, float]) -> None:
    [one] = decode(a_pack(record))
    assert one.kind == kind
    assert one.measures == pytest.approx(measures)
    assert not one.has_device_time
    assert one.observed_ns == NOW_NS


def test_things_of_two_kinds_are_two_observations() -> None:
    found = decode(a_pack({"n": "x/tilt_deg", "v": 1}, {"n": "x/occupied", "vb": False}))
    assert [(one.thing_id, one.kind) for one in found] == [("x", "manhole"), ("x", "parking")]


def test_a_name_without_a_thing_takes_the_topic() -> None:
    [one] = decode(a_pack({"n": "tilt_deg", "v": 1}, topic="qn/c/senml/m-7"))
    assert (one.thing_id, one.kind) == ("m-7", "manhole")


def test_a_clock_one_day_off() -> None:
    [one] = decode(a_pack({"n": "w/tilt_deg", "v": 1, "t": NOW_NS // NS_PER_S - 86_400}))
    assert (one.observed_ns, one.has_device_time) == (NOW_NS, False)
    assert one.measures["clock_skew_s"] == -86_400


NUMBERS = st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e13, 1e13), st.just(-0.0))
TIMES = st.sampled_from([0, -5, 2.5, NOW_NS // NS_PER_S, NOW_NS / NS_PER_S - 90_000, 2**28, 1e12])
UNITS = st.sampled_from(["m", "cm", "%", "K", "lon", "lat", "m3/h", ""])
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "n": st.sampled_from(["", "water_level", "w/tilt_deg", "x:", "y:level", "a b", "P"]),
        "v": NUMBERS,
        "u": UNITS,
        "t": TIMES,
        "bn": st.sampled_from(["", "urn:dev:mac:0024befffe804ff1:", "site-1/", "w" * 300]),
        "bt": TIMES,
        "bu": UNITS,
        "vb": st.booleans(),
        "s": NUMBERS,
    },
)


@given(records=st.lists(RECORDS, max_size=6))
def test_plain_packs_give_what_the_long_way_gives(records: list[dict[str, Any]]) -> None:
    long_way = [{**record, "extension": 1} for record in records]  # ignored, and not plain

    def outcome(pack: list[dict[str, Any]]) -> object:
        try:
            return [(one, one.id) for one in decode(a_pack(*pack))]
        except DecodeError as error:
            return error.reason, error.detail

    assert outcome(records) == outcome(long_way)


PACKS = st.lists(
    st.fixed_dictionaries(
        {"v": st.floats(-1e13, 1e13) | st.integers(-9, 9) | st.just(-0.0)},
        optional={
            "u": st.sampled_from(["m", "cm", "Cel", "K", "%RH", "lon", "m3/h"]),
            "t": st.sampled_from([-5, 0, 2.5, -90_000]),
        },
    ),
    min_size=MIN_COLUMN_ROWS - 1,
    max_size=24,
)


@given(records=PACKS, names=st.integers(1, 30), timed=st.booleans(), repeated=st.booleans())
def test_columns_of_a_pack_are_its_observations(
    records: list[dict[str, Any]], names: int, timed: bool, repeated: bool
) -> None:
    pack = [{"n": f"w-{row % names}:level", **one} for row, one in enumerate(records)]
    pack[0] |= {"bn": "urn:dev:mac:"} | ({"bt": NOW_NS // NS_PER_S} if timed else {})
    long_way = [{**record, "extension": 1} for record in pack]

    def outcome(records: list[dict[str, Any]]) -> object:
        message = msgspec.structs.replace(a_pack(*records), duplicate=repeated)
        try:
            return columns_of(list(decode(message)))
        except DecodeError as error:
            return error.reason, error.detail

    assert outcome(pack) == outcome(long_way)
    try:
        found = decode(a_pack(*pack))
    except DecodeError:
        return
    if isinstance(found, Columns):
        assert found == columns_of(list(found))


def test_a_gateways_pack_is_columns() -> None:
    records = [{"n": f"w-{row}:water_level", "u": "cm", "v": row} for row in range(100)]
    records[0]["bt"] = NOW_NS // NS_PER_S
    found = decode(a_pack(*records))
    assert isinstance(found, Columns)
    assert [one.measures for one in found][:3] == [{"water_level_m": row / 100} for row in range(3)]


def test_a_pack_in_which_every_record_has_a_measure_of_its_own() -> None:
    records = [{"n": f"w:m{row}", "v": row, "t": row / 1000} for row in range(MAX_RECORDS)]
    records[0]["bt"] = NOW_NS // NS_PER_S
    found = decode(a_pack(*records))
    assert isinstance(found, Columns)
    parts = cut(found, 512)
    assert concat(parts) == found
    assert [len(part.measures) for part in parts] == [512] * 8
    assert parts[7].measure("m4000")[1].tolist() == [4000.0]
