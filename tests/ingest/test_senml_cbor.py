"""SenML in CBOR: the RFC's files, resolution as in JSON, and hostile bytes."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DecodeError
from core.ports import RawMessage
from core.units import NS_PER_S
from ingest.decoders import decode
from ingest.decoders.senml import CBOR_LABELS, decode_cbor, resolve
from ingest.pipeline import decode_messages

RFC_NOW_S = 1498780179.0
NOW_NS = 1_767_225_600 * NS_PER_S
_KEYS = {label: key for key, label in CBOR_LABELS.items()}


def as_cbor(pack: list[dict[str, Any]]) -> bytes:
    return cbor2.dumps([{_KEYS.get(k, k): v for k, v in one.items()} for one in pack])


def a_message(payload: bytes, topic: str = "qn/c/senml-cbor/w-1") -> RawMessage:
    return RawMessage(topic=topic, payload=payload, received_ns=NOW_NS)


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["ex3", "ex5"])
def test_files_of_the_rfc(realdata: Path, name: str) -> None:
    folder = realdata / "iot" / "senml_rfc8428"
    pack = decode_cbor((folder / f"{name}.gen.cbor").read_bytes(), name)
    wanted = json.loads((folder / f"{name}.gen.resolved.json").read_text())
    assert [one.to_json() for one in resolve(pack, RFC_NOW_S)] == wanted


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["ex1", "ex2", "ex3", "ex4", "ex5", "ex6"])
def test_cbor_and_json_resolve_alike(realdata: Path, name: str) -> None:
    folder = realdata / "iot" / "senml_rfc8428"
    pack = json.loads((folder / f"{name}.gen.json").read_text())
    for record in pack:
        if "vd" in record:
            pytest.skip("vd is bytes in CBOR")
    assert resolve(decode_cbor(as_cbor(pack), name), RFC_NOW_S) == resolve(pack, RFC_NOW_S)


@pytest.mark.parametrize("topic", ["qn/c/senml-cbor/w-1", "qn/c/senml/w-1"])
def test_an_observation_on_either_topic(topic: str) -> None:
    pack = [{"bn": "w-1/", "n": "water_level", "u": "cm", "v": 31}, {"n": "ok", "vb": True}]
    [one] = decode(a_message(as_cbor(pack), topic))
    assert (one.thing_id, one.kind) == ("w-1", "water_level")
    assert one.measures == {"water_level_m": 0.31, "ok": 1.0}
    [from_json] = decode(a_message(json.dumps(pack).encode(), topic))
    assert from_json.measures == one.measures


def test_a_pack_may_say_that_it_is_cbor() -> None:
    record = {-2: "w-1/", 0: "pump", 1: "kW", 2: 1.5}
    payload = bytes.fromhex("d9d9f7") + cbor2.dumps([record])
    [one] = decode(RawMessage(topic="qn/c/senml/gw", payload=payload, received_ns=10**18))
    assert (one.thing_id, one.measures) == ("w-1", {"pump_w": 1500.0})


def test_data_is_base64url_without_padding() -> None:
    [one] = decode(a_message(as_cbor([{"n": "w/blob", "vd": b"\xff\xfe\xfd\xfc"}])))
    assert one.labels == {"blob": "__79_A"}


def test_a_decimal_fraction_is_a_number() -> None:
    [one] = decode(a_message(as_cbor([{"n": "w/tilt_deg", "v": Decimal("27.3")}])))
    assert one.measures == {"tilt_deg": 27.3}


def test_an_array_without_a_length_and_small_floats() -> None:
    payload = bytes.fromhex("9fa3006177 02f93e00 01616dff")
    assert decode_cbor(payload, "here") == [{"n": "w", "v": 1.5, "u": "m"}]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\x81", "bad_cbor"),
        (as_cbor([{"n": "a", "v": 1}]) + b"\x00", "bad_cbor"),
        (cbor2.dumps([1]), "wrong_type"),
        (cbor2.dumps([{99: 1}]), "bad_senml"),
        (cbor2.dumps([{0: "a", 2: 1, 1.5: 1}]), "wrong_type"),
        (cbor2.dumps([{0: "a", 2: True}]), "wrong_type"),
        (cbor2.dumps([{0: "a", 2: "1"}]), "wrong_type"),
        (cbor2.dumps([{0: "a", 2: float("nan")}]), "not_finite"),
        (cbor2.dumps([{0: "a", 8: "text"}]), "wrong_type"),
        (cbor2.dumps([{0: "a", 2: 1, "must_": 1}]), "bad_senml"),
        (cbor2.dumps([{0: "a", 2: 1, -1: 11}]), "bad_senml"),
        (cbor2.dumps([]), "bad_senml"),
        (cbor2.dumps([{0: "a", 2: 1}] * 4097), "too_large"),
        (b"\x82" * 100_000, "bad_cbor"),
    ],
)
def test_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(a_message(payload))
    assert caught.value.reason == reason


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(tail: bytes) -> None:
    observations, rejections = decode_messages([a_message(b"\x82" + tail), a_message(tail)])
    assert all(one.reason != "decoder_failed" for one in rejections)
    assert len(rejections) == 2 or observations
