"""Whatever comes in, each message is observations or a rejection, and nothing is raised."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.observations import Stamp, decode_batch, encode_batch, pack
from core.ports import RawMessage, decode_rejections, encode_rejections
from ingest import decoders
from ingest.pipeline import KEPT_BYTES, decode_messages

NOW_NS = 1_767_225_600_000_000_000

TOPICS = [
    "qn/c/sensor/w-1", "qn/c/senml/w-1", "qn/c/detection/c-1", "qn/c/remote-id/r-1",
    "qn/c/report/1", "thing/product/A/osd", "thing/product/A/state", "thing/product/A/events",
    "thing/product/A/requests", "sys/product/A/status", "dronetag", "x/y",
]  # fmt: skip

# Words that the decoders look for, so that the fuzz gets past the first check.
WORDS = st.sampled_from(
    [
        "thing", "kind", "time", "seq", "lon", "lat", "error_m", "error", "measures", "labels",
        "snapshots", "data", "tid", "bid", "timestamp", "gateway", "method", "latitude",
        "longitude", "height", "elevation", "attitude_head", "battery", "cover_state", "objs",
        "pos", "drone_list", "sub_device", "sub_devices", "sn", "list", "level", "code", "output",
        "progress", "percent", "ext", "status", "hms", "flighttask_progress", "airsense_warning",
        "icao", "devices", "bn", "bt", "bu", "bv", "bs", "bver", "n", "u", "v", "vs", "vb", "vd",
        "s", "t", "ut", "sensor_id", "operational_state", "location", "altitudes", "type",
        "value", "velocity", "heading", "ua_identifiers", "scenario", "tilt_deg", "update_topo",
        "config", "airport_bind_status", "drc_state", "HAE-WGS84", "water_level",
    ]
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.sampled_from([32767, 10**400, 0, -1000, 361, 1_767_225_600_123, "2026-01-01T00:00:00Z"])
    | WORDS
    | st.text(max_size=8)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=8)
    ),
    max_leaves=24,
)
PAYLOADS = st.binary(max_size=200) | JSON.map(lambda body: json.dumps(body).encode())


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TOPICS) | st.text(max_size=20), PAYLOADS), max_size=4))
def test_nothing_is_raised_and_nothing_is_lost(sent: list[tuple[str, bytes]]) -> None:
    for topic, payload in sent:
        message = RawMessage(
            topic=topic.encode("utf-8", "replace").decode(), payload=payload, received_ns=NOW_NS
        )
        observations, rejections = decode_messages([message])
        assert bool(observations) != bool(rejections)
        assert not [one for one in rejections if one.reason == "decoder_failed"]
        # What was taken can be written to the log and read back.
        stamp = Stamp(ingest_id="i", sequence=1, partition=0, watermark_ns=0, logged_ns=0)
        batch = decode_batch(encode_batch(pack(observations, stamp)))
        assert list(batch) == observations
        assert decode_rejections(encode_rejections(rejections)) == rejections


def a_message(payload: bytes, topic: str = "qn/c/sensor/w-1") -> RawMessage:
    return RawMessage(topic=topic, payload=payload, received_ns=NOW_NS)


def test_a_decoders_fault_is_a_rejection(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: RawMessage) -> list[Any]:
        raise ZeroDivisionError("of the decoder")

    monkeypatch.setitem(decoders._OWN, "sensor", broken)
    # A topic of its own: which decoder reads a topic is remembered.
    observations, [rejection] = decode_messages([a_message(b"{}", "qn/c/sensor/broken")])
    assert not observations
    assert rejection.reason == "decoder_failed"
    assert rejection.detail == "ZeroDivisionError: of the decoder"


def test_a_large_payload_is_cut() -> None:
    _, [rejection] = decode_messages([a_message(b"x" * 1024 * 1024)])
    assert (rejection.reason, rejection.payload_bytes) == ("too_large", 1024 * 1024)
    assert len(rejection.payload) == KEPT_BYTES


def test_other_cities() -> None:
    good = b'{"measures": {"tilt_deg": 1}}'
    sent = [a_message(good), a_message(good, "qn/other/sensor/w-1"), a_message(b"{}", "dronetag")]
    observations, rejections = decode_messages(sent, city="c")
    assert len(observations) == 1
    assert Counter(one.reason for one in rejections) == {"other_city": 1, "wrong_type": 1}


def test_one_bad_message_leaves_the_others() -> None:
    good = b'{"measures": {"tilt_deg": 1}}'
    observations, rejections = decode_messages([a_message(good), a_message(b"{"), a_message(good)])
    assert (len(observations), len(rejections)) == (2, 1)
    assert msgspec.msgpack.encode(rejections)
